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
//! | `told` | what a client's test tells; a server's tells what any server of ours does |
//!
//! The protocol is `sockeye::measure::iperf3`, which does no I/O.

mod client;
mod flow;
mod hub;
mod measuring;
mod run;
mod services;
mod serving;
mod told;

use std::time::Duration;

use sockeye::measure::iperf3;
use sockeye::measure::run::{Mode, Parameters, Transport};

use super::flows::nanoseconds;
pub(super) use measuring::{Plan, measure};
pub(super) use serving::serve;

/// Bytes that one read of a connection takes at most. The kernel's default receive buffers hold more; larger reads go beyond
/// the second-level cache of most processors.
const READ_BUFFER: usize = 256 * 1024;

/// A test in the words of our own runs, in which it is reported.
fn parameters_of(test: &iperf3::Parameters, interval: Duration) -> Parameters {
    let some = |value: u64| (value > 0).then_some(value);
    let block = test.block();
    let bytes = some(test.num).or_else(|| some(test.blockcount.saturating_mul(block)));
    let seconds = |seconds: u32| nanoseconds(Duration::from_secs(seconds.into()));
    let (up, down) = match (test.reverse, test.bidirectional) {
        (_, true) => (test.parallel, test.parallel),
        (true, _) => (0, test.parallel),
        _ => (test.parallel, 0),
    };
    Parameters {
        mode: Mode::Stream,
        transport: if test.udp { Transport::Udp } else { Transport::Tcp },
        up,
        down,
        probe: false,
        length: u32::try_from(block).unwrap_or(u32::MAX),
        time_ns: if bytes.is_some() { 0 } else { seconds(test.time) },
        omit_ns: seconds(test.omit),
        bytes,
        bitrate: some(test.bandwidth),
        rate: None,
        interval_ns: nanoseconds(interval),
        window: u32::try_from(test.window).ok().filter(|bytes| *bytes > 0),
        zerocopy: test.zerocopy,
        cpu: None,
    }
}
