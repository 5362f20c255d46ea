//! Measuring over a network, without I/O: what a benchmark's two sides say to each other, and what they count.
//!
//! | module | what |
//! |---|---|
//! | [`iperf3`] | the protocol of iperf3: states, cookies, parameters, results, headers of datagrams |
//! | [`sockperf`] | the messages of sockperf |
//! | [`run`] | the protocol of `sockeye bench`: hello, parameters, joining connections, reports |
//! | [`sequence`] | loss, duplicates and reordering of numbered messages |
//! | [`jitter`] | interarrival jitter (RFC 3550, section 6.4.1) |
//! | [`schedule`] | when messages are due at a rate, whether or not answers come (open loop) |
//!
//! All of it works on bytes and on times that the caller gives: it opens no socket and reads no clock.
#![forbid(unsafe_code)]

pub mod iperf3;
pub mod jitter;
pub mod run;
pub mod schedule;
pub mod sequence;
pub mod sockperf;
