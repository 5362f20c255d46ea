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
    /// With --iperf3: connections and UDP streams of all tests together; a client that would need more is told to try again
    /// later
    #[arg(long, default_value_t = 1024, value_name = "COUNT", value_parser = parse_count)]
    pub(crate) max_connections: usize,
    /// With --iperf3: seconds in which nothing moves that end a test
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(crate) idle_timeout: f64,
    /// With --iperf3: seconds between two intervals of the report
    #[arg(short = 'i', long, default_value_t = 1.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    pub(crate) interval: f64,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// A number of connections.
fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 2..=1_000_000) => Ok(count),
        _ => Err("expected 2 to 1000000".to_owned()),
    }
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
