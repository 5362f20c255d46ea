//! The simulated name server, in the simulation: what it answers, when, and how it lies.
//!
//! The client here is a few lines that send bytes and note what comes back: what a real client makes of it is tested with
//! that client.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]
#![expect(unreachable_pub, reason = "the modules of one test target")]

#[path = "resolver_server/setting.rs"]
mod setting;

#[path = "resolver_server/answers.rs"]
mod answers;
#[path = "resolver_server/faults.rs"]
mod faults;
#[path = "resolver_server/lies.rs"]
mod lies;
#[path = "resolver_server/streams.rs"]
mod streams;
