//! QUIC on a datagram socket of the loop: quinn-proto inside, no I/O of its own.
//!
//! A service is written once; [`QuicServer`] has it serve the streams of QUIC connections that come, [`QuicClient`] opens streams
//! for it. The service inside does not know: its bytes, its half-close, its resets and its back-pressure go through. If it asks,
//! [`StreamQuic::quic`] says which protocol (ALPN), server name (SNI), certificate and direction there are.
//!
//! - Certificates, protocols, session tickets, client certificates: rustls' own [`ServerConfig`](rustls::ServerConfig) and
//!   [`ClientConfig`](rustls::ClientConfig), re-exported with all of [`rustls`]. TLS 1.3 is what QUIC is built on.
//! - Windows, streams, timeouts, path MTU, congestion control: [`QuicOptions`]. Who is let in: [`QuicLimits`],
//!   [`QuicServer::admit`].
//! - Connections as a whole: [`ConnectionService`] hears of them and has their unreliable datagrams (RFC 9221), a [`QuicHandle`] opens
//!   streams on them, closes, migrates and measures them.
//! - 0-RTT only when asked for, on both sides: [`QuicServer::early_data`], [`QuicConnect::early_data`].
//! - Sockets are those of the loop: [`socket_options`] has the offloads on, ECN both ways, and packets that are never fragmented.
//!   What a turn has to send leaves in one go at its end: an acknowledgement goes with the answer that a service gives in the same
//!   turn.
//!
//! It runs in the simulated network too: there connection ids, tokens, packet numbers and times follow from the seed. What does
//! not are keys, which ring draws from the system, and with them the bytes on the wire; their number does, if TLS has a provider with seeded
//! random numbers (`seeded_provider` of `sockeye-tls`, in its feature `testing`) and Ed25519 keys.
//!
//! | module of the source | what it holds |
//! |---|---|
//! | `server`, `client`, `service`, `handle` | [`QuicServer`], [`QuicClient`], [`ConnectionService`], [`QuicHandle`] |
//! | `core` | the endpoint: datagrams, connections, streams and their pairs |
//! | `ends` | the service that has the first ends of the pairs |
//! | `seed` | time and randomness for quinn-proto |
//! | `options`, `info`, `error`, `stats` | [`QuicOptions`], [`QuicInfo`], [`QuicError`], [`QuicCounters`] |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod client;
mod core;
mod ends;
mod error;
mod handle;
mod info;
mod options;
mod seed;
mod server;
mod service;
mod stats;

pub use client::{QuicClient, QuicConnect};
pub use error::QuicError;
pub use handle::{DatagramError, PathStats, QuicHandle};
pub use info::{Direction, QuicId, QuicInfo, QuicStreamInfo, StreamQuic};
pub use options::{Congestion, QuicLimits, QuicOptions, socket_options};
pub use rustls;
pub use server::{Admission, Client, ConfigError, QuicServer};
pub use service::ConnectionService;
pub use stats::{QuicCounters, QuicStats};
