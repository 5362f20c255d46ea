//! Names to addresses: lookups off the loop with deadlines, RFC 6724 order, Happy Eyeballs.
#![forbid(unsafe_code)]
