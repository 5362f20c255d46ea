//! `sockeye bench server`: the side that waits, for many clients at once.

use crate::exit::Exit;
use crate::output::{Format, Output};

use super::iperf3;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye bench server\n\
\x20 sockeye bench server --listen tls://0.0.0.0:5202 --cert C.pem --key K.pem\n\
\x20 sockeye bench server --iperf3")]
pub(crate) struct Arguments {
    /// Where to wait [default: both families, TCP and UDP, port 5202; with --iperf3 port 5201]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<String>,
    /// Serve the clients of iperf3 (3.1 and later)
    #[arg(long)]
    pub(crate) iperf3: bool,
    /// Connections at once; more wait (with --iperf3 UDP streams count too, and who needs more is told to try again)
    #[arg(long, default_value_t = 16_384, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_connections: u32,
    /// With --iperf3: seconds in which nothing moves that end a test
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(crate) idle_timeout: f64,
    /// With --iperf3: seconds between two intervals of the report
    #[arg(short = 'i', long, default_value_t = 1.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(crate) interval: f64,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Serves until a signal ends it.
///
/// # Errors
/// When an address cannot be listened on.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    if arguments.iperf3 {
        return iperf3::serve(arguments, output);
    }
    anyhow::bail!("not there yet")
}
