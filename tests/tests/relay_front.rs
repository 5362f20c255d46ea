//! What stands in front of services: the PROXY protocol and many protocols on one port, on the kernel and in the simulated
//! network alike.

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
    reason = "the modules of one test target; worlds and probes are those of the event loop's tests"
)]

#[path = "event_loop/world.rs"]
#[macro_use]
mod world;
#[path = "event_loop/probe.rs"]
mod probe;

#[path = "relay_front/faults.rs"]
mod faults;
#[path = "relay_front/mux.rs"]
mod mux;
#[path = "relay_front/proxy.rs"]
mod proxy;
