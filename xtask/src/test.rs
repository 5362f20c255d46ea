//! `test`, `prop`: the tests, all or by area, and the count of those that were skipped.

use std::path::PathBuf;

use anyhow::Result;

use crate::explore::{self, CASES, SEED};
use crate::process::Process;
use crate::step::{self, Step};
use crate::workspace::{Workspace, root, target_folder, targets};

/// The packages that the workspace-wide runs select, always the same, so that cargo builds each dependency
/// with one set of features.
const EVERYTHING: &str = "test --workspace --all-features";

/// The examples, with the same features.
const EXAMPLES: &str = "build --workspace --all-features --examples";

/// Names the file that the tests append their skips to (see `tests/src/skip.rs`).
const SKIP_LOG: &str = "SOCKEYE_SKIP_LOG";

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// An area: a crate by its short name (`udp`), or a word of an integration test's name (`interop`)
    name: Option<String>,
}

/// The tests of every package, or of one area: its crate, and the integration tests with its name.
///
/// # Errors
/// When there is no such area.
pub(crate) fn test(arguments: &Arguments, workspace: &Workspace) -> Result<Vec<Step>> {
    let Some(name) = &arguments.name else {
        // `--tests` selects everything but doctests, which `doc` runs, and examples, which clippy compiles.
        // It builds the program too, which the interop tests then find here; and the programs of the book are examples.
        let program = target_folder().join("debug/sockeye");
        let examples = target_folder().join("debug/examples");
        let compile = Process::cargo(EVERYTHING).words("--tests --no-run");
        let run = Process::cargo(EVERYTHING)
            .words("--tests --no-fail-fast")
            .with("SOCKEYE_PROGRAM", program.to_string_lossy())
            .with("SOCKEYE_EXAMPLES", examples.to_string_lossy())
            .with(SKIP_LOG, Skips::path().to_string_lossy());
        return Ok(vec![
            Step::new("test", "compile", compile),
            Step::new("test", "examples", Process::cargo(EXAMPLES)),
            Step::new("test", "run", run),
        ]);
    };
    let area = workspace.area(name)?;
    let mut steps = Vec::new();
    if let Some(package) = area.package {
        let run = Process::cargo("test --all-features --package").argument(package);
        steps.push(Step::new(
            "test",
            package,
            run.with(SKIP_LOG, Skips::path().to_string_lossy()),
        ));
    }
    if !area.tests.is_empty() {
        let run = integration(&area.tests).with(SKIP_LOG, Skips::path().to_string_lossy());
        steps.push(Step::new("test", area.tests.join(" "), run));
    }
    Ok(steps)
}

fn integration(targets: &[&str]) -> Process {
    targets.iter().fold(
        Process::cargo("test --no-fail-fast --package sockeye-tests"),
        |run, target| run.words("--test").argument(*target),
    )
}

#[derive(Debug, Default, clap::Args)]
pub(crate) struct PropArguments {
    /// An area, as for `test`
    name: Option<String>,
    /// Cases for each property [default: what the test asks for, mostly 256]
    #[arg(long)]
    cases: Option<u32>,
    /// The seed of the cases [default: the same every time, from .cargo/config.toml]
    #[arg(long)]
    seed: Option<u64>,
    /// Draw new seeds for so many minutes, and print the line that repeats a failure
    #[arg(long, value_name = "MINUTES", conflicts_with = "seed")]
    explore: Option<u64>,
}

/// Runs the properties, once or for as long as asked for.
///
/// # Errors
/// When a property fails, or there is no such area.
pub(crate) fn run_prop(arguments: &PropArguments, workspace: &Workspace) -> Result<()> {
    if let Some(minutes) = arguments.explore {
        let area = arguments.name.as_deref().map(|name| workspace.area(name));
        return explore::run(area.transpose()?.as_ref(), minutes, arguments.cases);
    }
    step::run_all(&prop(arguments, workspace)?, step::OnFailure::Stop)
}

/// The property tests: tests with `prop` in their path in the crates, and `tests/tests/prop_*.rs`.
///
/// # Errors
/// When there is no such area.
pub(crate) fn prop(arguments: &PropArguments, workspace: &Workspace) -> Result<Vec<Step>> {
    let mut runs = Vec::new();
    if let Some(name) = &arguments.name {
        let area = workspace.area(name)?;
        if let Some(package) = area.package {
            let run = Process::cargo("test --all-features --tests --package").argument(package);
            runs.push((package.to_owned(), run.words("-- prop")));
        }
        let targets: Vec<_> = area
            .tests
            .into_iter()
            .filter(|name| name.starts_with("prop"))
            .collect();
        if !targets.is_empty() {
            runs.push((targets.join(" "), integration(&targets)));
        }
    } else {
        runs.push((
            "in the crates".to_owned(),
            Process::cargo(EVERYTHING).words("--lib -- prop"),
        ));
        if targets(&root().join("tests/tests"))?
            .iter()
            .any(|name| name.starts_with("prop_"))
        {
            let run = Process::cargo(EVERYTHING)
                .words("--no-fail-fast --test")
                .argument("prop_*");
            runs.push(("across the crates".to_owned(), run));
        }
    }
    let configured = |mut run: Process| {
        if let Some(cases) = arguments.cases {
            run = run.with(CASES, cases.to_string());
        }
        if let Some(seed) = arguments.seed {
            run = run.with(SEED, seed.to_string());
        }
        run
    };
    Ok(runs
        .into_iter()
        .map(|(name, run)| Step::new("prop", name, configured(run)))
        .collect())
}

/// The tests that were skipped since it was started.
#[derive(Debug)]
pub(crate) struct Skips(());

impl Skips {
    /// Begins to count.
    pub(crate) fn start() -> Self {
        // Left over from a run that was killed and had the same process number.
        let _ = std::fs::remove_file(Self::path());
        Self(())
    }

    /// What names the file to the tests.
    pub(crate) fn variable() -> (&'static str, String) {
        (SKIP_LOG, Self::path().to_string_lossy().into_owned())
    }

    fn path() -> PathBuf {
        std::env::temp_dir().join(format!("sockeye-skips-{}.log", std::process::id()))
    }

    /// Prints how many there were, and for want of what.
    pub(crate) fn report(self) {
        if let Ok(log) = std::fs::read_to_string(Self::path()) {
            eprintln!("{}", summary(&log));
            let _ = std::fs::remove_file(Self::path());
        }
    }
}

fn summary(log: &str) -> String {
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    let mut text = format!("{} tests were skipped:", lines.len());
    for group in lines.chunk_by(|a, b| a == b) {
        if let [line, ..] = group {
            text.push_str(&format!("\n{:5} x {line}", group.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(steps: &[Step]) -> Vec<String> {
        steps.iter().map(Step::title).collect()
    }

    #[test]
    fn an_area_runs_its_crate() {
        let workspace = Workspace::load().unwrap();
        let steps = test(
            &Arguments {
                name: Some("endpoint".to_owned()),
            },
            &workspace,
        )
        .unwrap();
        assert!(titles(&steps)[0].contains("test --all-features --package sockeye-endpoint"));
        assert!(
            test(
                &Arguments {
                    name: Some("no-such-area".to_owned())
                },
                &workspace
            )
            .is_err()
        );
    }

    #[test]
    fn cases_and_seed_reach_proptest() {
        let workspace = Workspace::load().unwrap();
        let arguments = PropArguments {
            name: None,
            cases: Some(7),
            seed: Some(42),
            explore: None,
        };
        for title in titles(&prop(&arguments, &workspace).unwrap()) {
            assert!(title.contains("PROPTEST_CASES=7 PROPTEST_RNG_SEED=42"), "{title}");
        }
    }

    #[test]
    fn cases_are_the_same_every_time() {
        let text = std::fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
        let config: toml::Table = text.parse().unwrap();
        let seed = config["env"][SEED].as_str().unwrap();
        assert!(seed.parse::<u64>().is_ok(), "{seed}");
        assert!(
            config["env"]
                .get("PROPTEST_DISABLE_FAILURE_PERSISTENCE")
                .is_some()
        );
        // It has reached this process, so it reaches every test that cargo runs.
        assert!(std::env::var(SEED).is_ok());
    }

    #[test]
    fn skips_are_counted_by_what_was_missing() {
        let log = "skipped: needs b\nskipped: needs a\nskipped: needs b\n";
        assert_eq!(
            summary(log),
            "3 tests were skipped:\n    1 x skipped: needs a\n    2 x skipped: needs b"
        );
    }
}
