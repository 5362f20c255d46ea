//! What goes wrong in the world: each kind of fault is provoked, on the kernel for real and in the simulated network, and
//! what a service is promised then is asserted. The table of all kinds is `docs/RELIABILITY.md`; many are shown by the tests
//! of their areas, and those that are not, here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::redundant_clone,
    clippy::type_complexity,
    reason = "what fails in a helper fails the test; a log is cloned for the closure that waits on it; processes talk by stdout"
)]
#![allow(
    unreachable_pub,
    dead_code,
    unused_macros,
    reason = "the modules of one test target, and it uses a part of them"
)]

#[path = "faults/ground.rs"]
#[macro_use]
mod ground;
#[path = "event_loop/probe.rs"]
mod probe;
#[path = "resolver_loop/setting.rs"]
mod setting;
#[path = "event_loop/world.rs"]
mod world;

#[path = "faults/accept.rs"]
mod accept;
#[path = "faults/close.rs"]
mod close;
#[path = "faults/connect.rs"]
mod connect;
#[path = "faults/icmp.rs"]
mod icmp;
#[path = "faults/names.rs"]
mod names;
#[path = "faults/panics.rs"]
mod panics;
#[path = "faults/read.rs"]
mod read;
#[path = "faults/resources.rs"]
mod resources;
#[path = "faults/shutdown.rs"]
mod shutdown;
#[path = "faults/signals.rs"]
mod signals;
#[path = "faults/table.rs"]
mod table;
#[path = "faults/timers.rs"]
mod timers;
#[path = "faults/udp.rs"]
mod udp;
#[path = "faults/unix.rs"]
mod unix;
#[path = "faults/write.rs"]
mod write;
