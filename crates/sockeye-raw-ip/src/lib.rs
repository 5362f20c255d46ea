//! Raw IP and ICMP sockets, unprivileged wherever the kernel allows it.
//!
//! Three sockets with one vocabulary, that of `sockeye-udp-datagram`:
//!
//! - [`IpSocket`] carries the payloads of one IP protocol, whichever number it has;
//! - [`HeaderSocket`] sends packets with an IP header of the caller's own;
//! - [`IcmpSocket`] carries ICMP messages, over a ping socket that needs no privilege where there may be one, over a
//!   raw one where there must ([`Access`]).
//!
//! The kernel hands out the IP header on raw IPv4 sockets and on no others. Here `payload` always begins after it,
//! and the header stands beside it when there is one ([`IncomingPacket::header`]). There are no ports: those of a
//! [`SocketAddr`](std::net::SocketAddr) are ignored on the way out and 0 on the way in.
//!
//! ```no_run
//! use std::time::Duration;
//! use sockeye_raw_ip::{Access, Family, IcmpSocket};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let icmp = IcmpSocket::open(Family::V4, Access::Auto)?;
//! let mut buffer = [0; 1500];
//! let len = icmp.write_echo(&mut buffer, 1, b"payload")?;
//! icmp.send_to(&buffer[..len], "127.0.0.1:0".parse()?)?;
//! icmp.wait_readable(Duration::from_secs(1))?;
//! let reply = icmp.recv_msg(&mut buffer)?;
//! println!("{} bytes of ICMP from {}", reply.payload.len(), reply.source.ip());
//! # Ok(())
//! # }
//! ```
//!
//! What to know of the kernel: every raw socket of a protocol gets a copy of every packet, its own on loopback
//! included, and the kernel's own handlers see them too. Packets come reassembled. On loopback, UDP and TCP packets
//! show unfinished checksums and segments of up to 64 KiB: do not verify them blindly.
//!
//! | module | what it holds |
//! |---|---|
//! | [`IpSocket`], [`HeaderSocket`], [`IcmpSocket`] | the sockets |
//! | [`IpOptions`] | everything that is settled before a socket is bound |
//! | [`IncomingPacket`] | what came in: message, metadata, IPv4 header |
//! | [`IcmpFilter`] | which ICMP types are not to be received |
//! | [`Outgoing`], [`RecvBatch`], ... | the messages, from `sockeye-socket` |
//!
//! With the feature `mio` (on by default) the sockets are [`mio::event::Source`](https://docs.rs/mio).

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod common;
mod filter;
mod header;
mod icmp;
mod incoming;
mod options;
mod socket;

pub use filter::IcmpFilter;
pub use header::HeaderSocket;
pub use icmp::{Access, IcmpSocket};
pub use incoming::IncomingPacket;
pub use options::{Family, IpOptions};
pub use socket::IpSocket;

pub use sockeye_socket::{
    Cause, Dscp, Ecn, Fault, Incoming, Meta, Metadata, Op, OpError, Outgoing, QueueEntry, QueuedError,
    Quoted, RecvBatch, SendBatch, SendError, SendReport, TxTimestamp, filter as packet_filter,
};
