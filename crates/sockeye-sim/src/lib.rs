//! A deterministic simulated network: the other backend of the Sockeye event loop.
#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code, reason = "temporary")]
mod backend;
mod capture;
mod errno;
mod link;
mod mutant;
mod queue;
mod random;
mod ring;
mod trace;
mod world;
mod plan;
