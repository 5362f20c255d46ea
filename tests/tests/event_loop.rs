//! What an event loop does for its services, on the kernel and in the simulated network alike.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::redundant_clone,
    clippy::type_complexity,
    reason = "what fails in a helper fails the test; a log is cloned for the closure that waits on it"
)]
#![allow(unreachable_pub, reason = "the modules of one test target")]

#[path = "event_loop/world.rs"]
#[macro_use]
mod world;
#[path = "event_loop/probe.rs"]
mod probe;

#[path = "event_loop/carrying.rs"]
mod carrying;
#[path = "event_loop/cipher.rs"]
mod cipher;
#[path = "event_loop/connecting.rs"]
mod connecting;
#[path = "event_loop/datagrams.rs"]
mod datagrams;
#[path = "event_loop/deadlines.rs"]
mod deadlines;
#[path = "event_loop/faults.rs"]
mod faults;
#[path = "event_loop/frames.rs"]
mod frames;
#[path = "event_loop/limits.rs"]
mod limits;
#[path = "event_loop/order.rs"]
mod order;
#[path = "event_loop/pairs.rs"]
mod pairs;
#[path = "event_loop/panics.rs"]
mod panics;
#[path = "event_loop/reading.rs"]
mod reading;
#[path = "event_loop/refused.rs"]
mod refused;
#[path = "event_loop/switching.rs"]
mod switching;
#[path = "event_loop/turn_ends.rs"]
mod turn_ends;
#[path = "event_loop/unix.rs"]
mod unix;
#[path = "event_loop/writing.rs"]
mod writing;
