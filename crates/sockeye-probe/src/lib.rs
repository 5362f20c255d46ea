//! Ping, traceroute and path MTU discovery as engines without I/O, and services that drive them.
#![forbid(unsafe_code)]
