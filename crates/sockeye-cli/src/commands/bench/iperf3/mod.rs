//! The real iperf3 as the other side: `bench server --iperf3`, `bench client --iperf3`.

use crate::exit::Exit;
use crate::output::Output;

use super::{client, server};

/// Serves iperf3 clients until a signal ends it.
///
/// # Errors
/// When an address cannot be listened on.
pub(crate) fn serve(arguments: &server::Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let _ = (arguments, output);
    anyhow::bail!("not there yet")
}

/// Measures with an iperf3 server.
///
/// # Errors
/// When the server cannot be reached, or refuses.
pub(crate) fn measure(arguments: &client::Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let _ = (arguments, output);
    anyhow::bail!("not there yet")
}
