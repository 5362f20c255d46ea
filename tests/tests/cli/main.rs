//! The `sockeye` program under conditions that nobody wishes for: streams that fail, limits, forged datagrams, routes that
//! refuse, text that a terminal would obey; and `sockeye relay` with real clients and backends.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

mod escape;
mod limits;
mod reflect;
mod relay;
mod routes;
mod server;
mod streams;
