//! A relay of streams and datagrams as services of the event loop: backends, balance, health, limits, reload.
//!
//! A relay is made from a [`Config`], which is plain data and looked at as a whole before anything is opened, and started on
//! an [`EventLoop`](sockeye_event_loop::EventLoop), of the kernel or of the simulated network. It runs beside whatever else
//! the loop has.
//!
//! ```
//! use sockeye_event_loop::EventLoop;
//! use sockeye_relay::{Balance, Config, Hooks, ListenerConfig, PoolConfig, Relay, SessionRecord};
//!
//! struct Log;
//!
//! impl Hooks for Log {
//!     fn on_session(&mut self, record: &SessionRecord) {
//!         println!("{:?} to {:?}: {}", record.client, record.backend, record.end);
//!     }
//! }
//!
//! let mut pool = PoolConfig::new("web", ["tcp://127.0.0.1:8001".parse()?, "unix:/run/web.sock".parse()?]);
//! pool.balance = Balance::LeastSessions;
//! let config = Config {
//!     listeners: vec![ListenerConfig::new("tcp://127.0.0.1:0".parse()?, "web")],
//!     pools: vec![pool],
//!     ..Config::default()
//! };
//! let mut events = EventLoop::new()?;
//! let relay = Relay::new(config.clone())?.hooks(Log).start(&mut events)?;
//! relay.reload(&mut events, config)?; // another one, any time: no session is lost
//! relay.drain(&mut events, std::time::Duration::from_secs(30));
//! while !relay.is_drained(&mut events) {
//!     events.turn(None)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **Streams.** A client is not read from until a backend was reached; a connect that fails is tried at another backend
//!   before a byte was sent. Then the two are joined: the loop copies or splices, passes back-pressure, half-closes and
//!   resets on, and the relay costs nothing until the end. Bytes are counted at the end of a session.
//! - **Datagrams.** A client of a `udp://` listener has a connected socket to its backend until both have been silent for
//!   long enough. Replies leave from the address that was asked. Runs of one size leave in one call.
//! - **Backends** are addresses, Unix sockets or names that are looked up again and again ([`Names`]); they take turns, by
//!   weight, or by the fewest sessions, or by the client's address ([`Balance`]). Whether they work is told by checks and
//!   by how sessions went ([`HealthRules`]); those that are back get a growing share.
//! - **Limits** for a listener, a backend and a source ([`SourceLimits`]); who finds all backends full may wait
//!   ([`QueueRules`]).
//! - **Many protocols on one port** without a relay around them: [`mux::Mux`]; the PROXY protocol in front of any service:
//!   [`proxy::ProxyServer`].
//! - **Told**: counters ([`RelayStats`]), a record of each session ([`SessionRecord`]), changes of backends ([`Hooks`]).
//! - **Greetings**: clients send a PROXY header, or backends get one; TLS is passed on by the name that the client asks for
//!   (SNI), or ends here and begins again (`tls://` listeners and backends, by the feature `tls`; with `ring` it brings rustls's provider of that name).
//!
//! A `tls://` listener takes the settings that the program gives under the name in [`ListenerConfig::tls`]; with one setting and no
//! name, `Relay::new(config)?.tls_server("", tls_config)` is all. A handshake that fails is no session and has no
//! record; [`Hooks::on_turned_away`] hears of it, and `Relay::tls_handshakes` counts it.
//!
//! `Running::reload_with` renews certificates and brings new settings together with a configuration. Sockets that a service manager has
//! opened are given to their listeners by [`Relay::inherited`].
//!
//! A PROXY header comes in front of TLS, in clear: that of a client before its handshake, that for a backend before the one
//! that the relay begins.
//!
//! | module of the source | what it holds |
//! |---|---|
//! | `config` | the configuration as data, and its check |
//! | `balance`, `health`, `sources`, `flows`, `pool` | who gets a session; without I/O, with the caller's clock |
//! | `relay`, `service` | the relay as its program sees it; the service that its connections belong to |
//! | `shared`, `streams`, `udp` | the accounts of a session or a flow; sessions of streams; flows of datagrams |
//! | `checks`, `lookups`, `names` | active checks; names and who knows them |
//! | `record`, `stats` | what the program is told |
//! | `opening` | the sockets of listeners: opened, or taken over |
//! | `greeting`, `tls` | PROXY headers and server names; TLS of listeners and backends |
//! | [`proxy`], [`mux`] | the PROXY protocol; many protocols on one port |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod balance;
mod checks;
mod config;
mod flows;
mod greeting;
mod health;
mod lookups;
mod names;
mod opening;
mod pool;
mod quic;
mod record;
mod relay;
mod service;
mod shared;
mod sources;
mod stats;
mod streams;
mod tls;
mod udp;

pub use config::{
    BackendConfig, Balance, CheckKind, CheckRules, Config, ConfigErrors, ConfigFault, ConnectRules, Fault,
    HealthRules, ListenerConfig, NameRules, PoolConfig, ProxyIn, ProxyVersion, QueueRules, ServerNameRoute,
    SourceLimits, Timeouts, UdpRules,
};
pub use health::Condition;
pub use names::Names;
#[cfg(feature = "resolver")]
pub use names::SystemNames;
pub use record::{Arrival, Cause, Hooks, SessionEnd, SessionRecord, TurnedAway};
pub use relay::{Relay, ReloadError, Running, StartError};
pub use service::RelayService;
pub use stats::{
    BackendCounters, BackendStats, ListenerCounters, ListenerStats, PoolCounters, PoolStats, RelayStats,
};
#[cfg(feature = "tls")]
pub use tls::TlsSettings;
pub mod mux;
pub mod proxy;
