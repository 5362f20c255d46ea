//! TLS on any stream of the loop: rustls inside, no I/O of its own.
//!
//! A service is written once; [`TlsServer`] puts TLS around it for connections that come, [`TlsConnector`] makes connections
//! under TLS for it. The service inside does not know: its bytes, its half-close, its resets and its back-pressure go through.
//! If it asks, [`StreamTls::tls`] says which version, cipher, protocol (ALPN), server name (SNI) and certificates there are.
//!
//! - Which certificates, versions, ciphers, session tickets and client certificates: that is rustls' own
//!   [`ServerConfig`](rustls::ServerConfig) and [`ClientConfig`](rustls::ClientConfig), re-exported with all of [`rustls`]. Early data is refused and keys are logged nowhere
//!   unless the configuration says otherwise.
//! - Certificates are renewed by [`ReloadableConfig::replace`]; connections that stand go on.
//! - A configuration or a service for each name or protocol: [`TlsServer::choose_config`], [`TlsServer::choose_service`].
//! - In the middle of a connection, as by STARTTLS: [`Stream::switch_to`](sockeye_event_loop::Stream::switch_to) a `TlsServer`, [`TlsConnector::start`].
//! - An end without `close_notify` is an error, never an ordinary end: [`TlsError::Truncated`].
//! - Handshakes have a deadline and a cap: [`HandshakeLimits`]. What became of them is counted: [`TlsCounters`];
//!   each that failed is told: [`TlsServer::on_failure`].
//!
//! It runs in the simulated network too. There the order of all that happens repeats by its seed; keys and tickets do not, as
//! they come from the provider's own source of random numbers, and with them the bytes on the wire and, by a few bytes, the
//! lengths of handshakes signed by ECDSA. The feature `testing` has a provider whose random numbers follow from a seed
//! (`testing::seeded_provider`): with it, and with Ed25519 keys, all times and sizes repeat.
//!
//! | module of the source | what it holds |
//! |---|---|
//! | `server`, `client` | [`TlsServer`], [`TlsConnector`] |
//! | `carrier` | a connection that carries TLS, and the pair that it carries: handshakes, records, ends |
//! | `engine` | one TLS connection without I/O |
//! | `testing` | for tests, by the feature of that name: a provider whose random numbers follow from a seed |
//! | `info`, `error`, `stats` | [`TlsInfo`], [`TlsError`], [`TlsCounters`] |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod carrier;
mod client;
mod engine;
mod error;
mod hello;
mod info;
mod server;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod words;

pub use carrier::HandshakeLimits;
pub use client::{ConnectorOptions, TlsConnector};
pub use error::TlsError;
pub use info::{StreamTls, TlsInfo};
pub use rustls;
pub use server::{HandshakeFailure, ReloadableConfig, TlsConn, TlsServer};
pub use stats::{TlsCounters, TlsStats};
