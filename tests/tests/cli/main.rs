//! The `sockeye` program under conditions that nobody wishes for: streams that fail, limits, forged datagrams, routes that
//! refuse, text that a terminal would obey; and `sockeye relay` with real clients and backends.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what a test expects and does not get fails it"
)]
#![allow(unreachable_pub, dead_code, reason = "the modules of several test targets")]

#[path = "../resolver_loop/certificates.rs"]
mod certificates;
mod chain;
mod doctor;
mod escape;
mod everywhere;
mod installed;
mod limits;
mod ping;
mod privileges;
mod quic;
mod reflect;
mod relay;
mod resolve;
mod routes;
mod scan;
mod serve;
mod server;
#[path = "../resolver_loop/serving.rs"]
mod serving;
mod sockets;
mod streams;
mod talk;
mod tmux;
mod trace;
