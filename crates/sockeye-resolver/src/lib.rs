//! Names to addresses: lookups off the loop with deadlines, RFC 6724 order, Happy Eyeballs.
//!
//! For those who want to block:
//!
//! ```
//! use std::time::Duration;
//!
//! let addresses = sockeye_resolver::resolve(&"localhost:80".parse()?, Duration::from_secs(5))?;
//! assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It asks the servers of resolv.conf itself, or the system: [`Resolver`](Resolver#which-way) says when, and how to choose.
//!
//! Other records (MX, TXT, SRV, HTTPS, PTR, any type by number) are looked up by `dns::Client`, which blocks, with the feature
//! `dns`; its page has an example. Services of `sockeye-event-loop` look names up on their loop, by `Context::resolve` and
//! `on_answer`, and need nothing from here but the types.
//!
//! For another loop: [`Resolver::start`] gives a [`Query`] at once and calls a [`Waker`] whenever an answer has come; A and
//! AAAA are asked apart and answered apart, and each [`Answer`] is an [`Event`](happy_eyeballs::Event) for
//! [`HappyEyeballs`](happy_eyeballs::HappyEyeballs), which says which connection attempt to start when. A lookup that
//! hangs costs its own query its deadline; threads, queue and answers are bounded ([`Config`]).
//!
//! | module or type | what it is |
//! |---|---|
//! | [`resolve`], [`order`](order()) | blocking: addresses in the order to try them |
//! | [`Resolver`], [`Query`], [`Answer`] | lookups with a deadline and a cancel each; which way they go ([`Way`]) |
//! | [`Lookup`], [`SystemLookup`] | who answers |
//! | `dns` (feature `dns`) | a client of the DNS: one that blocks, and the engine without I/O |
//! | [`files`] | resolv.conf, hosts and nsswitch.conf: parsers, and the files of the machine |
//! | [`happy_eyeballs`] | RFC 8305 as a state machine without I/O |
//! | [`order`](mod@order) | RFC 6724 without I/O, and a replaceable policy table |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "dns")]
pub mod dns;
pub mod files;
pub mod happy_eyeballs;
mod lookup;
pub mod order;
mod pool;
mod query;
mod resolver;
/// What the threads of the pool wait with; a model has its own.
mod sync {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread;
}

pub use files::Way;
pub use lookup::{Lookup, LookupError, SystemLookup};
pub use pool::ThreadCount;
pub use query::{Answer, Progress, Query, Waker};
pub use resolver::{
    Config, ResolveError, Resolved, Resolver, StartError, order, order_by, resolve, source_of,
};
pub use sockeye_socket::os::AddressFamily;
