//! Steps as data, run one after another with a clock, and the table at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::Process;
use crate::test::Skips;

/// One thing to do: `clippy / sockeye-endpoint`.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) section: &'static str,
    pub(crate) name: String,
    pub(crate) action: Action,
}

/// How a step is done.
#[derive(Debug)]
pub(crate) enum Action {
    /// By a program.
    Run(Process),
    /// By a function of ours, which prints what it has to say.
    Call(fn() -> Result<()>),
}

impl Step {
    /// A step that runs a program.
    pub(crate) fn new(section: &'static str, name: impl Into<String>, process: Process) -> Self {
        Self {
            section,
            name: name.into(),
            action: Action::Run(process),
        }
    }

    /// The line that announces it.
    pub(crate) fn title(&self) -> String {
        match &self.action {
            Action::Run(process) => format!("{} / {}: {process}", self.section, self.name),
            Action::Call(_) => format!("{} / {}", self.section, self.name),
        }
    }

    fn run(&self) -> Result<()> {
        match &self.action {
            Action::Run(process) => process.run(),
            Action::Call(function) => function(),
        }
    }
}

/// What happens after a step has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// The rest is left out.
    Stop,
    /// The rest is run all the same.
    KeepGoing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

#[derive(Debug)]
struct Row {
    section: &'static str,
    name: String,
    time: Duration,
    outcome: Outcome,
}

/// Runs the steps, prints the table, and counts the tests that were skipped.
///
/// # Errors
/// When a step has failed; the table says which.
pub(crate) fn run_all(steps: &[Step], on_failure: OnFailure) -> Result<()> {
    let skips = Skips::start();
    let rows = run_steps(steps, on_failure);
    eprintln!("\n{}", table(&rows));
    skips.report();
    let failed: Vec<_> = rows.iter().filter(|row| row.outcome == Outcome::Failed).collect();
    if let Some(first) = failed.first() {
        bail!(
            "{} of {} steps failed, the first: {} / {}",
            failed.len(),
            rows.len(),
            first.section,
            first.name
        );
    }
    Ok(())
}

fn run_steps(steps: &[Step], on_failure: OnFailure) -> Vec<Row> {
    let mut rows = Vec::with_capacity(steps.len());
    let mut stopped = false;
    for step in steps {
        let begun = Instant::now();
        let outcome = if stopped {
            Outcome::NotRun
        } else {
            eprintln!("\n== {}", step.title());
            match step.run() {
                Ok(()) => Outcome::Passed,
                Err(error) => {
                    eprintln!("xtask: {error:#}");
                    stopped = on_failure == OnFailure::Stop;
                    Outcome::Failed
                }
            }
        };
        rows.push(Row {
            section: step.section,
            name: step.name.clone(),
            time: begun.elapsed(),
            outcome,
        });
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let width = |of: fn(&Row) -> usize, least: usize| rows.iter().map(of).max().unwrap_or(0).max(least);
    let (sections, names) = (width(|row| row.section.len(), 7), width(|row| row.name.len(), 5));
    let mut text = String::new();
    let mut line = |section: &str, name: &str, time: &str, outcome: &str| {
        let _ = writeln!(text, "{section:sections$}  {name:names$}  {time:>9}  {outcome}");
    };
    line("section", "step", "time", "result");
    for row in rows {
        let outcome = match row.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "not run",
        };
        line(row.section, &row.name, &seconds(row.time), outcome);
    }
    let total = rows.iter().map(|row| row.time).sum();
    let passed = rows.iter().filter(|row| row.outcome == Outcome::Passed).count();
    line(
        "total",
        "",
        &seconds(total),
        &format!("{passed} of {} ok", rows.len()),
    );
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> [Step; 3] {
        [("a", "true"), ("b", "false"), ("c", "true")]
            .map(|(section, program)| Step::new(section, program, Process::new(program)))
    }

    fn outcomes(on_failure: OnFailure) -> Vec<Outcome> {
        run_steps(&steps(), on_failure)
            .iter()
            .map(|row| row.outcome)
            .collect()
    }

    #[test]
    fn the_first_failure_stops_unless_told_to_keep_going() {
        assert_eq!(
            outcomes(OnFailure::Stop),
            [Outcome::Passed, Outcome::Failed, Outcome::NotRun]
        );
        assert_eq!(
            outcomes(OnFailure::KeepGoing),
            [Outcome::Passed, Outcome::Failed, Outcome::Passed]
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_step_and_one_for_all() {
        let text = table(&run_steps(&steps(), OnFailure::Stop));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[0].starts_with("section  step") && lines[0].ends_with("result"));
        assert!(lines[2].starts_with('b') && lines[2].ends_with("FAILED"));
        assert!(lines[3].ends_with("not run"));
        assert!(lines[4].starts_with("total") && lines[4].ends_with("1 of 3 ok"));
    }

    #[test]
    fn a_failed_step_fails_the_run_by_name() {
        let error = run_all(&steps(), OnFailure::KeepGoing).unwrap_err().to_string();
        assert_eq!(error, "1 of 3 steps failed, the first: b / false");
    }
}
