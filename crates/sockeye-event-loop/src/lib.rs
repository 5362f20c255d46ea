//! An event loop on mio without an async runtime: services, timers, remotes, shards; generic over its backend.
//!
//! A *service* is what runs at an endpoint: a value that implements [`StreamService`], [`DatagramService`] or
//! [`PacketService`]. One [`EventLoop`] carries many services of many types on one thread. It owns the sockets,
//! the buffers and the clock; a service sees a connection only through the [`Stream`] (or [`Datagrams`]) that
//! its callback is given, and never names the backend. So the same service runs on the kernel ([`Mio`]) and on
//! the simulated network of `sockeye-sim`.
//!
//! ```
//! use std::time::Duration;
//! use sockeye_event_loop::*;
//!
//! struct Echo;
//!
//! impl StreamService for Echo {
//!     type Conn = ();
//!     fn on_open(&mut self, _: &mut Stream<'_>) {}
//!     fn on_data(&mut self, stream: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
//!         if stream.write(data).is_taken() { data.len() } else { 0 }
//!     }
//! }
//!
//! # #[cfg(feature = "tcp")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut events = EventLoop::new()?;
//! let deadlines = Deadlines { idle: Some(Duration::from_secs(60)), ..Deadlines::default() };
//! let echo = events.add_stream_service(Echo, StreamOptions { deadlines, ..StreamOptions::default() });
//! let listener = events.listen(echo, "[::1]:0".parse()?, &ListenOptions::default())?;
//! println!("listening on {}", events.local_addr(listener)?);
//! # events.remote().stop()?;
//! events.run()?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tcp"))]
//! # fn main() {}
//! ```
//!
//! The same service on other streams:
//!
//! - **A Unix socket** (feature `unix`): [`EventLoop::listen_unix`] at a path (`"/run/app.sock".parse()?`, with the mode in
//!   [`UnixListenOptions`]) or an abstract name; [`ConnectRequest::to_unix`] connects. [`Stream::peer`] says which process and
//!   user is at the other side. The path goes with the listener: a program that ends by a signal stops its loop first
//!   ([`EventLoop::on_signals`], feature `signals`).
//! - **A pair**: two services of one loop talk without a socket. `events.pair(first, second, &PairOptions::default())?` makes
//!   two ends, each a connection like any other; `examples/cipher.rs` carries one service in another that way.
//! - [`Stream::join`] relays two connections, [`Stream::switch_to`] gives one to another service. TLS around any service is
//!   the crate `sockeye-tls`, a whole relay `sockeye-relay`.
//!
//! Names (feature `resolver`): [`ConnectRequest::to_target`] connects to a name by Happy Eyeballs, [`Context::resolve`] looks up
//! records of any type for a service; the module [`names`] has an example, and says how to choose the name servers.
//!
//! What the loop does for a service: it reads into one shared buffer and keeps only what was not consumed; gathers
//! small writes, queues what the kernel does not take, and stops reading from a peer that does not read; accepts
//! within limits and backs off when descriptors run out; holds deadlines; closes in order; and goes on when a
//! callback panics. Everything has a bound: see [`LoopOptions`], [`Watermarks`], [`Deadlines`].
//!
//! | module of the source | what it holds |
//! |---|---|
//! | `id`, `time`, `options`, `stats`, `connect`, `outcome` | plain data |
//! | `backend`, `kernel` | what a backend supplies; the kernel as one |
//! | `context`, `stream`, `datagrams`, `remote` | the handles that callbacks and other threads act through |
//! | `service`, `by_handle` | the traits; what a callback does with another service |
//! | `names` | who answers for names (feature `resolver`) |
//! | `codec`, `reflect` | lines, length-prefixed and fixed frames; which datagrams a service may answer |
//! | `event_loop`, `shards` | the loop as its owner sees it; one a core |
//! | `core` and the rest | how it works inside: `docs/ARCHITECTURE.md` draws the floors |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod backend;
mod by_handle;
pub mod codec;
mod connect;
mod context;
mod core;
mod datagrams;
#[cfg(feature = "resolver")]
mod dns;
mod driver;
mod event_loop;
mod fault;
mod frames;
mod gather;
mod host;
mod id;
mod kernel;
#[cfg(feature = "resolver")]
pub mod names;
mod options;
mod outcome;
mod pair;
mod queue;
mod reflect;
mod remote;
mod service;
mod shards;
mod stats;
mod stream;
mod tail;
mod time;
mod trace;
mod unix_peers;
mod wheel;

pub use connect::{AddressFilter, ConnectId, ConnectRequest};
pub use context::Context;
pub use core::scratch::Scratch;
pub use datagrams::{Datagram, Datagrams};
pub use event_loop::EventLoop;
pub use frames::Frame;
pub use id::{AnyId, DatagramId, ListenerId, ServiceHandle, ServiceId, StreamId, StreamServiceId, TimerId};
pub use kernel::Mio;
pub use options::{
    ConnectOptions, DatagramOptions, Deadlines, FrameOptions, ListenOptions, LoopOptions, PacketKind,
    PacketOptions, PairOptions, PanicPolicy, StreamOption, StreamOptions, UnixDatagramOptions,
    UnixListenOptions, Watermarks,
};
pub use outcome::{
    CloseReason, ConnectFailure, ConnectFault, Deadline, Identity, Message, PairError, Peer, PeerName,
    Relayed, SendFailure, Sent, SwitchError,
};
pub use reflect::{ANSWERING_PORTS, AnswerRate, ReflectorGuard, ReflectorOptions, Withheld, WithheldCounts};
pub use remote::{Remote, RemoteError};
pub use service::{DatagramService, FrameService, Frames, Packet, PacketService, Packets, StreamService};
pub use shards::{ShardOptions, Shards, Spread};
pub use sockeye_endpoint::UnixName;
pub use sockeye_socket::link::{ChecksumStatus, FrameMeta, LinkAddress, PacketType, VlanTag};
pub use sockeye_socket::unix::Credentials;
pub use sockeye_socket::{
    Cause, Fault, Meta, Op, OpError, Outgoing, QueueEntry, QueuedError, SendError, errno,
};
pub use stats::Stats;
pub use stream::Stream;
pub use time::Time;
