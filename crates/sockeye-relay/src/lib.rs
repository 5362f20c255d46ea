//! A relay as services of the loop, the PROXY protocol, and many protocols on one port.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "the services that use it come next")]

mod balance;
mod config;
mod flows;
mod health;
mod pool;
mod seams;
mod sources;
mod stats;

pub use config::{
    BackendConfig, Balance, CheckKind, CheckRules, Config, ConfigErrors, ConfigFault, ConnectRules, Fault,
    HealthRules, ListenerConfig, NameRules, PoolConfig, ProxyIn, ProxyVersion, QueueRules, ServerNameRoute,
    SourceLimits, Timeouts, UdpRules,
};
pub use health::Condition;
pub use stats::{
    BackendCounters, BackendStats, ListenerCounters, ListenerStats, PoolCounters, PoolStats, RelayStats,
};
