//! The base under every Sockeye socket: options, messages with metadata, the error queue, filters, errors.
//!
//! A [`Socket`] is nonblocking and close-on-exec from its first moment, owns its descriptor, and says nothing about
//! the protocol it carries; the crates above it (`sockeye-tcp-stream`, `sockeye-udp-datagram`, `sockeye-raw-ip`) do.
//! Options are typed constants, so that one pair of calls reads and writes them all:
//!
//! ```
//! use sockeye_socket::{Domain, Socket, Type, options};
//!
//! # fn main() -> std::io::Result<()> {
//! let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
//! socket.set(options::TCP_NODELAY, true)?;
//! assert!(socket.get(options::TCP_NODELAY)?);
//! # Ok(())
//! # }
//! ```
//!
//! This is the only crate of the workspace with `unsafe` code, in the private module `sys` (and where `FromRawFd` passes its caller's promise on); what the other
//! crates need of the operating system beyond sockets they find, safe, in [`os`].
//!
//! | module | what it holds |
//! |---|---|
//! | [`Socket`] | the descriptor: open, bind, connect, accept, stream calls, conversions |
//! | [`options`] | every option as a typed constant |
//! | [`OpError`], [`Op`] | set-up errors that say what was tried, on what, and what to do |
//! | [`Outgoing`], [`Incoming`] | one message out, one in, with what goes beside the payload |
//! | [`RecvBatch`], [`SendBatch`] | many messages a system call |
//! | [`recv_error`] | the error queue: ICMP errors, transmit timestamps, zero-copy completions |
//! | [`ZeroCopyBuffer`] | bytes for sends without a copy, safe to drop at any time |
//! | [`filter`] | classic BPF for taking, dropping and steering packets |
//! | [`link`] | addresses, metadata, batches and rings of packet sockets |
//! | [`unix`] | names, credentials, descriptors and batches of Unix sockets |
//! | [`os`] | timers, sendfile, splice, pipes, CPUs, clocks, limits, descriptor adoption and passing |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![expect(
    unsafe_code,
    reason = "the one crate that talks to the kernel: in the module sys, and where a raw descriptor is taken over"
)]

mod accept_fault;
mod batch;
mod capabilities;
mod convert;
pub mod errno;
mod error;
mod errqueue;
pub mod filter;
pub mod link;
mod message;
mod multicast;
pub mod options;
pub mod os;
mod socket;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
pub mod unix;
mod zerocopy;

pub use accept_fault::AcceptFault;
pub use batch::{RecvBatch, SendBatch, SendReport};
pub use capabilities::Capabilities;
pub use error::{Op, OpError};
pub use errqueue::{
    Cause, DepartureClock, QueueEntry, QueuedError, Quoted, TxTimestamp, ZeroCopyDone, enable_error_queue,
    enable_tx_timestamps, recv_error, set_departure_clock,
};
pub use message::{
    Dscp, Ecn, Fault, Incoming, Meta, Metadata, Outgoing, Segments, SendError, peek_from, peek_msg,
    recv_from, recv_msg, send_msg, send_to,
};
pub use multicast::{join_group, join_source, leave_group, leave_source};
pub use socket::{ConnectStart, Socket};
pub use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
pub use zerocopy::ZeroCopyBuffer;
