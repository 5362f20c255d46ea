//! What is done with the figures of a run: everything that can be refused is refused before the run.

use std::time::SystemTime;

use sockeye::measure::run::Parameters;

use super::Arguments;
use super::compare::Earlier;
use super::conditions::Has;
use super::figures::{Outcome, Protocol};
use super::hdr::{self, Kept};
use super::print::outcome_json;
use super::series::Series;
use crate::exit::{Exit, Failure};
use crate::output::{Output, warn};

/// Files that are open, and the run that this one is compared with.
#[derive(Debug)]
pub(super) struct Afterwards {
    earlier: Option<Earlier>,
    hdr: Option<Kept>,
    report: Option<Kept>,
}

impl Afterwards {
    /// # Errors
    /// A condition on a figure that there will not be, a file that cannot be written, an earlier run of something else.
    pub(super) fn new(
        arguments: &Arguments,
        protocol: Protocol,
        parameters: &Parameters,
    ) -> anyhow::Result<Self> {
        let has = Has::of(protocol, parameters);
        for condition in &arguments.fail_if {
            condition.check(has).map_err(Failure::usage)?;
        }
        if let (Some(_), Err(why)) = (&arguments.hdr, has.latencies) {
            return Err(Failure::usage(format!("--hdr: {why}")));
        }
        if arguments.report.is_some() && cfg!(not(feature = "report")) {
            return Err(Failure::usage(
                "--report: this program was built without it: build it with the feature `report`",
            ));
        }
        let (mode, transport) = (parameters.mode.name(), parameters.transport.name());
        let earlier = arguments.compare.as_deref();
        let (hdr, report) = (arguments.hdr.as_deref(), arguments.report.as_deref());
        Ok(Self {
            earlier: earlier
                .map(|path| Earlier::read(path, mode, transport))
                .transpose()?,
            hdr: hdr.map(|path| Kept::open(path, "--hdr")).transpose()?,
            report: report.map(|path| Kept::open(path, "--report")).transpose()?,
        })
    }

    /// Writes, compares and judges.
    ///
    /// # Errors
    /// A file that cannot be written any more.
    pub(super) fn finish(
        &mut self,
        arguments: &Arguments,
        outcome: &Outcome,
        series: &Series,
        output: &mut Output,
    ) -> anyhow::Result<Exit> {
        if let Some(earlier) = &self.earlier {
            earlier.print(&outcome_json(outcome), output)?;
        }
        if let Some(file) = &mut self.hdr {
            file.write(&hdr::log(outcome, SystemTime::now())?)?;
        }
        if let Some(file) = &mut self.report {
            file.write(page(outcome, series)?.as_bytes())?;
        }
        let mut exit = Exit::Success;
        for condition in &arguments.fail_if {
            if let Some(sentence) = condition.holds(outcome) {
                output.event(
                    "failed",
                    serde_json::json!({ "condition": condition.text(), "message": sentence }),
                )?;
                warn(format_args!("sockeye: --fail-if {sentence}"));
                exit = Exit::Negative;
            }
        }
        Ok(exit)
    }
}

#[cfg(feature = "report")]
fn page(outcome: &Outcome, series: &Series) -> anyhow::Result<String> {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    super::report::page(outcome, series, &words.join(" "))
}

#[cfg(not(feature = "report"))]
fn page(_: &Outcome, _: &Series) -> anyhow::Result<String> {
    Ok(String::new())
}
