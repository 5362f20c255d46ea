//! A relay as services of the loop, the PROXY protocol, and many protocols on one port.
#![forbid(unsafe_code)]

mod balance;
mod checks;
mod config;
mod flows;
mod health;
mod lookups;
mod names;
mod pool;
mod record;
mod relay;
mod seams;
mod service;
mod shared;
mod sources;
mod stats;
mod streams;
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
pub use record::{Arrival, Hooks, SessionEnd, SessionRecord};
pub use relay::{Relay, ReloadError, Running, StartError};
pub use service::RelayService;
pub use stats::{
    BackendCounters, BackendStats, ListenerCounters, ListenerStats, PoolCounters, PoolStats, RelayStats,
};
