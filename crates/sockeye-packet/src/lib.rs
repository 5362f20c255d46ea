//! IPv4, IPv6, ICMP, UDP and TCP packets: views, builders, checksums, fragments. No I/O, no_std.
#![forbid(unsafe_code)]
