//! `sockeye bench client TARGET`: the side that starts and reports.

mod arguments;
pub(crate) mod figures;

use crate::exit::Exit;
use crate::output::{Output, Rows};

use super::{iperf3, sockperf};
pub(crate) use arguments::{Arguments, Mode};

/// The rows of `--csv`: an interval each.
pub(crate) const ROWS: Rows = Rows {
    events: &["interval"],
    columns: &[
        "from_ns",
        "to_ns",
        "flow",
        "direction",
        "bytes",
        "bytes_per_s",
        "messages",
        "retransmits",
        "rtt_ns",
        "cwnd_bytes",
        "delivery_bytes_per_s",
        "lost",
        "reordered",
        "duplicates",
        "jitter_ns",
    ],
};

/// Measures, and reports.
///
/// # Errors
/// When the server cannot be reached, or a run breaks.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    if arguments.iperf3 {
        return iperf3::measure(arguments, output);
    }
    if arguments.sockperf {
        return sockperf::measure(arguments, output);
    }
    anyhow::bail!("not there yet")
}
