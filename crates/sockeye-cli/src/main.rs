//! The `sockeye` program.
#![forbid(unsafe_code)]
fn main() {}
