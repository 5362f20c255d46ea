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
