//! `sockeye relay --listen ADDRESS... --to ADDRESS...`: streams and datagrams to backends; `--config` for all that the crate can.

mod arguments;
mod certificates;
mod inherited;
#[cfg(feature = "metrics")]
mod metrics;
mod plan;
mod running;
mod told;

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::exit::Exit;
use crate::files::Files;
use crate::output::{Output, log};
pub(crate) use arguments::{Arguments, ROWS};
use plan::Plan;
use running::Program;

/// How long the last lines of the log, and the sockets of sessions that were cut, may take.
const LAST: Duration = Duration::from_secs(1);

/// Relays until a signal ends it.
///
/// # Errors
/// All that is wrong with the options or the file, before anything is opened; then what cannot be opened.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let passed = inherited::passed()?;
    let plan = Plan::read(arguments, &mut Files::default(), &passed)?;
    let config = plan.config.clone();
    if arguments.check_config {
        let (listeners, pools) = (config.listeners.len(), config.pools.len());
        output.line(format_args!("in order: listeners {listeners}, pools {pools}"))?;
        output.event("checked", json!({ "listeners": listeners, "pools": pools }))?;
        return Ok(Exit::Success);
    }
    let (log, writer) = log::start(std::io::stdout()).context("begin the log")?;
    let mut log = Output::to(log, output.format());
    let outcome = Program::start(arguments, plan, passed)
        .and_then(|mut program| program.run(&config, &mut log, &writer));
    drop(log);
    writer.finish(LAST);
    outcome
}
