//! A deterministic simulated network: the other backend of the Sockeye event loop.
#![forbid(unsafe_code)]
