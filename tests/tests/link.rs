//! Links of two namespaces: live captures beside tcpdump, and the router of `sockeye-link`'s examples.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "link/dump.rs"]
mod dump;
#[path = "link/looped.rs"]
mod looped;
#[path = "link/router.rs"]
mod router;
#[path = "link/simulated.rs"]
mod simulated;
