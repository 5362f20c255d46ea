//! TLS on the streams of the loop, on the kernel and in the simulated network.

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
#[path = "tls/setting.rs"]
mod setting;

#[path = "tls/ends.rs"]
mod ends;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/hostile.rs"]
mod hostile;
#[path = "tls/repeats.rs"]
mod repeats;
#[path = "tls/streams.rs"]
mod streams;
#[path = "tls/told.rs"]
mod told;
