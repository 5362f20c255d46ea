//! TCP listeners and streams: what mio offers under the same names, and what the kernel offers beside it.
//!
//! A program on mio moves over by changing an import: [`TcpListener`] and [`TcpStream`] have mio's methods with mio's
//! signatures. Beside them stand the typed outcomes: [`TcpStream::start_connect`], whose [`Connecting`] becomes a stream
//! or a [`ConnectError`] and is never mistaken for either, and [`TcpListener::accept_outcome`], which says what to do
//! about an accept that failed.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::time::Duration;
//! use sockeye_tcp_stream::{AcceptOutcome, TcpListener, TcpStream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
//! let mut client = TcpStream::start_connect(listener.local_addr()?)?.wait(Duration::from_secs(5))?;
//! client.write_all(b"hello")?;
//!
//! let AcceptOutcome::Accepted(mut server, _peer) = listener.accept_outcome() else {
//!     return Err("nobody waits".into());
//! };
//! server.wait_readable(Duration::from_secs(5))?;
//! let mut buffer = [0; 16];
//! assert_eq!(server.read(&mut buffer)?, 5);
//! # Ok(())
//! # }
//! ```
//!
//! | module of the source | what it holds |
//! |---|---|
//! | `listener`, `accept` | [`TcpListener`], [`AcceptOutcome`], [`AcceptQueue`] |
//! | `stream` | [`TcpStream`] |
//! | `connect`, `error` | [`ConnectOptions`], [`Connecting`], [`ConnectOutcome`], [`ConnectError`], [`ConnectCause`] |
//! | `options` | [`ListenOptions`], [`StreamOptions`], [`Keepalive`], [`CongestionControl`], [`Mptcp`], a stream's setters |
//! | `transfer`, `zerocopy`, `urgent` | sendfile and splice, [`ZeroCopy`], [`ZeroCopyBuffer`], [`Urgent`] |
//! | `info` | [`TcpInfo`], [`TcpState`], [`MptcpState`], [`FastOpen`] |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod accept;
mod connect;
mod convert;
mod error;
mod info;
mod listener;
mod options;
#[cfg(feature = "mio")]
mod source;
mod stream;
mod transfer;
mod urgent;
mod zerocopy;

pub use accept::AcceptOutcome;
pub use connect::{ConnectOptions, ConnectOutcome, Connecting};
pub use error::{ConnectCause, ConnectError};
pub use info::{FastOpen, MptcpState, TcpInfo, TcpState};
pub use listener::{AcceptQueue, TcpListener};
pub use options::{CongestionControl, Keepalive, ListenOptions, Mptcp, StreamOptions};
pub use sockeye_socket::ZeroCopyBuffer;
pub use stream::TcpStream;
pub use urgent::Urgent;
pub use zerocopy::{Done, ZeroCopy};
