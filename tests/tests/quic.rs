//! QUIC on the loop: streams, connections and datagrams, on the kernel and in the simulated network.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::redundant_clone,
    clippy::type_complexity,
    reason = "what fails in a helper fails the test; a log is cloned for the closure that waits on it"
)]
#![allow(unreachable_pub, dead_code, reason = "the modules of several test targets")]

#[path = "event_loop/world.rs"]
#[macro_use]
mod world;
#[path = "event_loop/probe.rs"]
mod probe;
#[path = "quic/setting.rs"]
mod setting;

#[path = "quic/connections.rs"]
mod connections;
#[path = "quic/ends.rs"]
mod ends;
#[path = "quic/hostile.rs"]
mod hostile;
#[path = "quic/same_service.rs"]
mod same_service;
#[path = "quic/shards.rs"]
mod shards;
#[path = "quic/streams.rs"]
mod streams;
#[path = "quic/weather.rs"]
mod weather;
