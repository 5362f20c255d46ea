//! TLS of the loop with programs that nobody here wrote at the other end: OpenSSL, GnuTLS, ncat, curl and socat.
//!
//! The event loop runs in the test's thread and the program beside it. Traffic stays on the loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test expects and does not get fails it"
)]
#![expect(unreachable_pub, reason = "the modules of one test target")]

#[path = "tls_interop/setting.rs"]
mod setting;

#[path = "tls_interop/their_clients.rs"]
mod their_clients;
#[path = "tls_interop/their_servers.rs"]
mod their_servers;
