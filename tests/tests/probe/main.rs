//! `sockeye ping`, `trace` and `mtu` over real kernel routers, beside the programs that people know.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

mod faults;
mod interrupted;
mod mtu;
mod path;
mod ping;
mod trace;
mod unprivileged;
