//! Unix sockets: streams, datagrams and seqpackets, with their names, credentials and descriptors.
//!
//! A program on mio moves over by changing an import: [`UnixListener`], [`UnixStream`] and [`UnixDatagram`] have mio's
//! methods with mio's signatures. Beside them stand typed outcomes ([`UnixStream::start_connect`],
//! [`UnixListener::accept_outcome`]), [names](UnixName) that are no paths, and [`ListenOptions`], which see to the path: a
//! socket file that a crashed program has left is taken over, a live one and anything else is not; its permissions are set
//! before anybody can connect; and it goes when the listener does.
//!
//! On the event loop a Unix socket is `EventLoop::listen_unix` and `ConnectRequest::to_unix` of `sockeye-event-loop`, whose
//! options are `UnixListenOptions`.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::time::Duration;
//! use sockeye_unix::{AcceptOutcome, ListenOptions, UnixName, UnixStream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("app.sock");
//! # let path = path.to_str().ok_or("not UTF-8")?;
//! let name: UnixName = path.parse()?;
//! let listener = ListenOptions::new().mode(0o600).bind(&name)?;
//! let mut client = UnixStream::start_connect(&name)?.wait(Duration::from_secs(5))?;
//! client.write_all(b"hello")?;
//!
//! let AcceptOutcome::Accepted(mut server, _) = listener.accept_outcome() else {
//!     return Err("nobody waits".into());
//! };
//! assert_eq!(server.peer_credentials()?.pid.map(u32::from), Some(std::process::id()));
//! let mut buffer = [0; 16];
//! assert_eq!(server.read(&mut buffer)?, 5);
//! # Ok(())
//! # }
//! ```
//!
//! | module of the source | what it holds |
//! |---|---|
//! | `listener`, `accept` | [`UnixListener`], [`AcceptOutcome`] |
//! | `stream`, `connect` | [`UnixStream`], [`ConnectOptions`], [`Connecting`], [`ConnectOutcome`] |
//! | `datagram` | [`UnixDatagram`], [`UnixRecvBatch`], [`UnixSendBatch`] |
//! | `seqpacket` | [`UnixSeqpacketListener`], [`UnixSeqpacket`] |
//! | `options`, `path` | [`ListenOptions`], [`DatagramOptions`]; how a path is taken, kept and given back |
//! | `notify` | [`ServiceManager`]: what a service tells systemd of itself |
//! | `error` | [`BindError`], [`BindCause`], [`ConnectError`], [`ConnectCause`] |
//! | `name`, `common` | conversions of names; what all the sockets share |
//!
//! What passes beside the payload, [`UnixOutgoing`], [`UnixIncoming`], [`Credentials`], [`PeerProcess`], comes from
//! `sockeye-socket`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod accept;
mod common;
mod connect;
mod convert;
mod datagram;
mod error;
mod listener;
mod name;
mod notify;
mod options;
mod path;
mod seqpacket;
#[cfg(feature = "mio")]
mod source;
mod stream;

pub use accept::AcceptOutcome;
pub use connect::{ConnectOptions, ConnectOutcome, Connecting};
pub use datagram::UnixDatagram;
pub use error::{BindCause, BindError, ConnectCause, ConnectError};
pub use listener::UnixListener;
pub use name::{name_of_addr, name_of_path};
pub use notify::ServiceManager;
pub use options::{DatagramOptions, ListenOptions};
pub use seqpacket::{UnixSeqpacket, UnixSeqpacketListener};
pub use sockeye_socket::unix::{
    Credentials, MAX_PASSED_FDS, PeerProcess, UnixDatagramIn, UnixIncoming, UnixName, UnixOutgoing,
    UnixRecvBatch, UnixSendBatch,
};
pub use stream::UnixStream;
