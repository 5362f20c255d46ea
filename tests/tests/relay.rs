//! What a relay does for its clients, on the kernel and in the simulated network alike.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::redundant_clone,
    clippy::type_complexity,
    reason = "what fails in a helper fails the test; a log is cloned for the closure that waits on it"
)]
#![allow(
    unreachable_pub,
    dead_code,
    unused_macros,
    reason = "the modules of one test target; the worlds are those of the event loop's tests"
)]

#[path = "event_loop/world.rs"]
#[macro_use]
mod world;
#[path = "relay/ground.rs"]
mod ground;
#[path = "event_loop/probe.rs"]
mod probe;
#[path = "relay/secure.rs"]
mod secure;
#[path = "tls/setting.rs"]
mod setting;

#[path = "relay/checks.rs"]
mod checks;
#[path = "relay/encrypted.rs"]
mod encrypted;
#[path = "relay/encrypted_ends.rs"]
mod encrypted_ends;
#[path = "relay/encrypted_faults.rs"]
mod encrypted_faults;
#[path = "relay/encrypted_headers.rs"]
mod encrypted_headers;
#[path = "relay/faults.rs"]
mod faults;
#[path = "relay/flows.rs"]
mod flows;
#[path = "relay/greetings.rs"]
mod greetings;
#[path = "relay/limits.rs"]
mod limits;
#[path = "relay/names.rs"]
mod names;
#[path = "relay/reload.rs"]
mod reload;
#[path = "relay/sessions.rs"]
mod sessions;
