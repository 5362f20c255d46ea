//! The real iperf3 as the other side: `bench server --iperf3`, `bench client --iperf3`.
//!
//! | module | what |
//! |---|---|
//! | `serving` | the server: its sockets, its limits |
//! | `hub` | its tests, many at once |
//! | `services` | what runs on its connections and its socket of datagrams |
//! | `measuring` | the client: its arguments, its end |
//! | `client` | what runs on its connections and sockets |
//! | `run` | a test that runs, on either side: streams, intervals, outcome |
//! | `flow` | one stream: counting, and sending at a rate |
//! | `told` | what a test tells, apart from how it is printed |
//! | `report` | how it is printed |
//! | `cpu` | processor time of this process |
//!
//! The protocol is `sockeye::measure::iperf3`, which does no I/O.

mod client;
mod cpu;
mod flow;
mod hub;
mod measuring;
mod report;
mod run;
mod services;
mod serving;
mod told;

pub(super) use measuring::measure;
pub(super) use serving::serve;

/// Bytes that one read of a connection takes at most. The kernel's default receive buffers hold more; larger reads go beyond
/// the second-level cache of most processors.
const READ_BUFFER: usize = 256 * 1024;
