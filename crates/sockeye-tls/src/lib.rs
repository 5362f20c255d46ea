//! TLS on any stream of the loop: rustls inside, no I/O of its own.
#![forbid(unsafe_code)]
