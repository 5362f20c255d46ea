//! UDP sockets with everything the kernel offers: batches, GSO and GRO, packet info, ECN, the error queue.
//!
//! [`UdpSocket`] is nonblocking and means by `bind`, `connect`, `send`, `recv`, `send_to`, `recv_from` and `peek_from`
//! what the standard library means. What goes beyond that carries more beside the payload:
//!
//! ```
//! use sockeye_udp_datagram::{Ecn, Metadata, Outgoing, UdpOptions};
//! # use std::time::{Duration, Instant};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = UdpOptions::new()
//!     .metadata(Metadata::DESTINATION | Metadata::TRAFFIC_CLASS)
//!     .bind("0.0.0.0:0".parse()?)?;
//! let client = UdpOptions::new().bind("127.0.0.1:0".parse()?)?;
//!
//! let to = ([127, 0, 0, 2], server.local_addr()?.port()).into();
//! client.send_msg(&Outgoing::to(to, b"hello").ecn(Ecn::Ect0))?;
//!
//! # server.wait_readable(Duration::from_secs(5))?;
//! let mut buffer = [0; 2048];
//! let incoming = server.recv_msg(&mut buffer)?;
//! assert_eq!(incoming.payload, b"hello");
//! assert_eq!(incoming.meta.ecn, Some(Ecn::Ect0));
//! // From 127.0.0.2, the address that was asked, although the socket is bound to all of them.
//! server.send_msg(&incoming.reply(b"world"))?;
//! # client.wait_readable(Duration::from_secs(5))?;
//! # let mut buffer = [0; 2048];
//! assert_eq!(client.recv_from(&mut buffer)?, (5, to));
//! # Ok(())
//! # }
//! ```
//!
//! Three shapes of one call: a message ([`send_msg`](UdpSocket::send_msg), [`recv_msg`](UdpSocket::recv_msg)), a batch
//! ([`SendBatch`], [`RecvBatch`]), and segments of one payload ([`Outgoing::segment_size`],
//! [`Incoming::segment_size`]). A batch coalesces what it can into segments by itself.
//!
//! | module | what it holds |
//! |---|---|
//! | [`UdpSocket`] | the socket: datagrams out and in, the error queue, what it knows of its path |
//! | [`UdpOptions`] | everything that is settled before the socket is bound or connected |
//! | [`PathMtu`], [`BufferSize`] | values of options |
//! | [`Outgoing`], [`Incoming`], [`RecvBatch`], ... | the messages, from `sockeye-socket` |
//!
//! With the feature `mio` (on by default) the socket is a [`mio::event::Source`](https://docs.rs/mio).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod familiar;
#[cfg(feature = "mio")]
mod mio_source;
mod multicast;
mod options;
mod socket;

pub use options::{BufferSize, PathMtu, UdpOptions};
pub use socket::UdpSocket;

pub use sockeye_socket::{
    Capabilities, Cause, DepartureClock, Dscp, Ecn, Fault, Incoming, Meta, Metadata, Op, OpError, Outgoing,
    QueueEntry, QueuedError, Quoted, RecvBatch, Segments, SendBatch, SendError, SendReport, TxTimestamp,
    filter,
};
