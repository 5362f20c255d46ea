//! A relay as services of the loop, the PROXY protocol, and many protocols on one port.
#![forbid(unsafe_code)]

pub mod mux;
pub mod proxy;
