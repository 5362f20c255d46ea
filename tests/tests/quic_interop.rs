//! QUIC with quinn on tokio at the other side, both ways round, on the loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::type_complexity,
    reason = "what fails in a helper fails the test"
)]
#![allow(unreachable_pub, dead_code, reason = "the modules of several test targets")]

#[path = "event_loop/world.rs"]
#[macro_use]
mod world;
#[path = "event_loop/probe.rs"]
mod probe;
#[path = "quic/setting.rs"]
mod setting;

#[path = "quic_interop/ours.rs"]
mod ours;
#[path = "quic_interop/their_client.rs"]
mod their_client;
#[path = "quic_interop/their_server.rs"]
mod their_server;
