//! `cargo xtask fuzz`: the targets of `tests/fuzz`, by libFuzzer, with the stable compiler and nothing to install.
//!
//! One program holds all targets; it is built with the flags that `cargo fuzz` sets, into a target folder of its own. What
//! the fuzzer learns stays in `tests/fuzz/corpus`, which is not in the repository; what breaks a target is written to
//! `tests/fuzz/artifacts`, and belongs into `tests/fuzz/seeds` with the repair, where an ordinary test replays it for ever.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::Process;
use crate::workspace::{root, target_folder, targets};

/// What the build is for: named, so that the flags stay away from build scripts and macros.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What `cargo fuzz` sets: coverage, comparisons, AddressSanitizer.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-sanitizer-coverage-stack-depth \
    -Zsanitizer=address -Ccodegen-units=1 --cfg fuzzing";

/// The longest input that is tried, in bytes; what is longer has no more to say.
const MAX_LEN: u32 = 4096;
/// The longest that one input may take. A target that is slow is a fault too.
const SLOWEST_S: u32 = 10;
/// Beyond its seconds, before the fuzzer itself is ended.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A target: a file of tests/fuzz/targets
    #[arg(required_unless_present = "all")]
    target: Option<String>,
    /// Every target, as many at a time as there are cores
    #[arg(long, conflicts_with = "target")]
    all: bool,
    /// How long, each
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// What one target did.
struct Ran {
    target: String,
    /// What libFuzzer says at its end: `stat::number_of_executed_units` and the like.
    executed: u64,
    took: Duration,
    /// How it broke; the end of what was printed.
    broke: Option<String>,
}

/// Builds the fuzzer and runs one target or all.
///
/// # Errors
/// When an input breaks a target, or there is no such target, or it does not compile.
#[expect(clippy::print_stdout, reason = "the table is this command's data")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut known = targets(&root().join("tests/fuzz/targets"))?;
    known.retain(|name| name != "mod");
    let chosen = match &arguments.target {
        Some(target) if !known.contains(target) => {
            bail!(
                "no fuzz target is called {target}; there are: {}",
                known.join(", ")
            )
        }
        Some(target) => vec![target.clone()],
        None => known,
    };
    let program = build()?;
    let results = all(&program, chosen, arguments.seconds)?;
    println!("{:16} {:>10} {:>9}  result", "target", "inputs", "inputs/s");
    for ran in &results {
        let rate = ran.executed as f64 / ran.took.as_secs_f64().max(0.001);
        let result = if ran.broke.is_some() { "BROKEN" } else { "ok" };
        println!("{:16} {:10} {rate:9.0}  {result}", ran.target, ran.executed);
    }
    let total: u64 = results.iter().map(|ran| ran.executed).sum();
    println!("{total} inputs for {} targets", results.len());
    let broken: Vec<_> = results.iter().filter(|ran| ran.broke.is_some()).collect();
    for ran in &broken {
        println!("\n{}:\n{}", ran.target, ran.broke.as_deref().unwrap_or_default());
    }
    ensure!(
        broken.is_empty(),
        "{} targets broke; the inputs are in tests/fuzz/artifacts",
        broken.len()
    );
    Ok(())
}

/// What `ci` runs: every target for ten seconds.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke() -> Result<()> {
    run(&Arguments {
        target: None,
        all: true,
        seconds: SMOKE_S,
    })
}

/// Seconds a target in `ci`.
const SMOKE_S: u32 = 10;

/// The fuzzer, built.
fn build() -> Result<PathBuf> {
    let folder = target_folder().join("fuzz");
    Process::cargo("build --release --manifest-path tests/fuzz/Cargo.toml --target")
        .argument(TRIPLE)
        .with("RUSTC_BOOTSTRAP", "1")
        .with("RUSTFLAGS", FLAGS)
        .with("CARGO_TARGET_DIR", folder.to_string_lossy())
        .run()?;
    Ok(folder.join(TRIPLE).join("release/sockeye-fuzz"))
}

/// Runs the targets, as many at a time as there are cores; in the order of their names.
fn all(program: &Path, chosen: Vec<String>, seconds: u32) -> Result<Vec<Ran>> {
    let queue = Mutex::new(VecDeque::from(chosen));
    let take = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<Ran>> {
                    let mut results = Vec::new();
                    while let Some(target) = take() {
                        eprintln!("fuzz {target} for {seconds} s");
                        results.push(one(program, target, seconds)?);
                    }
                    Ok(results)
                })
            })
            .collect();
        let mut results = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(of_one) => results.extend(of_one?),
                Err(_) => bail!("a worker panicked"),
            }
        }
        Ok(results)
    })?;
    results.sort_by(|one: &Ran, other| one.target.cmp(&other.target));
    Ok(results)
}

fn one(program: &Path, target: String, seconds: u32) -> Result<Ran> {
    let folder = root().join("tests/fuzz");
    // What it finds goes into the first folder; the second is in the repository and only read.
    let (corpus, seeds) = (
        folder.join("corpus").join(&target),
        folder.join("seeds").join(&target),
    );
    let artifacts = folder.join("artifacts").join(&target);
    for made in [&corpus, &artifacts] {
        std::fs::create_dir_all(made).with_context(|| format!("create {}", made.display()))?;
    }
    let log = artifacts.join("log");
    let begun = Instant::now();
    let mut child = Command::new(program)
        .arg(corpus)
        .arg(seeds)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-timeout={SLOWEST_S}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .env("SOCKEYE_FUZZ_TARGET", &target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?)
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let limit = Duration::from_secs(seconds.into()) + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status.to_string();
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            break format!("not ended after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let printed = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    Ok(Ran {
        target,
        executed: executed(&printed),
        took: begun.elapsed(),
        broke: (status != "exit status: 0").then(|| format!("{status}\n{}", tail(&printed))),
    })
}

/// Inputs that were tried, from what libFuzzer says at its end.
fn executed(printed: &str) -> u64 {
    let of_line = |line: &str| {
        line.strip_prefix("stat::number_of_executed_units:")?
            .trim()
            .parse()
            .ok()
    };
    printed.lines().find_map(of_line).unwrap_or(0)
}

/// From the panic on, or else the last lines.
fn tail(printed: &str) -> String {
    const SHOWN: usize = 30;
    let lines: Vec<&str> = printed.lines().collect();
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    let from = panic.unwrap_or(lines.len().saturating_sub(SHOWN));
    let shown: Vec<&str> = lines.iter().skip(from).take(SHOWN).copied().collect();
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_target_is_named() {
        let error = run(&Arguments {
            target: Some("no_such".to_owned()),
            all: false,
            seconds: 1,
        })
        .unwrap_err();
        assert!(error.to_string().contains("no fuzz target is called no_such"));
        assert!(!error.to_string().contains("mod,"));
    }

    #[test]
    fn the_count_is_read_and_the_panic_shown() {
        let printed = "#2 INITED\nthread panicked at x.rs:1:\nwrong\nstat::number_of_executed_units: 1234\n";
        assert_eq!(executed(printed), 1234);
        assert!(tail(printed).starts_with("thread panicked at"));
        assert_eq!(executed(""), 0);
    }
}
