//! A run while it goes on, whatever protocol measures: its start, its intervals, the line that says how far it is.

use std::time::Duration;

use indicatif::ProgressBar;
use sockeye::measure::run::Parameters;

use super::figures::{Interval, Protocol};
use super::print;
use super::series::Series;
use crate::output::{self, Output};

/// Where a run tells how it goes.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    /// The server, as it was given.
    pub(crate) target: &'a str,
    protocol: Protocol,
    parameters: &'a Parameters,
    series: Series,
    progress: Progress,
    output: &'a mut Output,
}

impl<'a> Live<'a> {
    pub(super) fn new(
        target: &'a str,
        protocol: Protocol,
        parameters: &'a Parameters,
        output: &'a mut Output,
    ) -> Self {
        Self {
            target,
            protocol,
            parameters,
            series: Series::default(),
            progress: Progress::new(parameters),
            output,
        }
    }

    /// The load begins.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn started(&mut self) -> anyhow::Result<()> {
        let mut fields = serde_json::json!({ "target": self.target });
        let what = print::start_json(self.protocol, self.parameters);
        if let (Some(fields), serde_json::Value::Object(what)) = (fields.as_object_mut(), what) {
            fields.extend(what);
        }
        self.output.event("start", fields)?;
        self.output
            .line(print::start_line(self.parameters, self.target))?;
        self.progress.start();
        Ok(())
    }

    /// An interval is over.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn intervals(&mut self, rows: &[Interval]) -> anyhow::Result<()> {
        self.series.add(rows);
        self.progress.hide(|| print::intervals(self.output, rows))
    }

    /// It is over: how its figures went.
    pub(super) fn end(self) -> Series {
        self.progress.finish();
        self.series
    }
}

/// The progress line, for runs that take their time.
#[derive(Debug)]
struct Progress {
    bar: ProgressBar,
    is_wanted: bool,
}

impl Progress {
    fn new(parameters: &Parameters) -> Self {
        let seconds = Duration::from_nanos(parameters.time_ns + parameters.omit_ns).as_secs();
        let template = if parameters.time_ns > 0 {
            "{spinner} measuring {elapsed}/{len} s"
        } else {
            "{spinner} measuring {elapsed}"
        };
        Self {
            bar: output::progress(seconds, template),
            is_wanted: parameters.time_ns == 0 || seconds > 2,
        }
    }

    fn start(&mut self) {
        if self.is_wanted {
            self.bar.reset_elapsed();
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    /// Prints lines where the progress line is.
    fn hide<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
