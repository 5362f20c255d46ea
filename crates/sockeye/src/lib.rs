//! The sockets of the Internet, re-exported.
#![forbid(unsafe_code)]
