//! `cargo xtask bench start`: how large the program is, and what its start costs.
//!
//! Instructions decide, as they do not depend on the load of the machine; the time is printed beside them. A start that needs
//! twice the instructions of today has read, parsed or built something that the command does not need: certificates, tables,
//! the configuration of the resolver.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::instructions::collected;
use crate::report::Recorder;
use crate::report::model::{Bound, Measurement, Role, Section, Unit};
use crate::running::{PROGRAM, Profile};
use crate::workspace::target_folder;

/// Bytes of the stripped program that there may be.
const MOST_BYTES: u64 = 10_000_000;
/// The commands, and the user instructions that each may cost, those of the dynamic linker among them.
const STARTS: [(&str, u64); 3] = [
    ("--version", 2_000_000),
    ("explain 127.0.0.1", 2_000_000),
    ("serve --help", 3_000_000),
];
/// How often each is timed; the median is printed.
const ROUNDS: usize = 21;

/// Builds the program, measures, and prints the table.
///
/// # Errors
/// When a bound is broken, or a program is missing or fails.
#[expect(clippy::print_stdout, reason = "the table is this command's data")]
pub(crate) fn run(recorder: &mut Recorder) -> Result<()> {
    for (program, package) in [("valgrind", "valgrind"), ("strip", "binutils")] {
        let is_there = Command::new(program).arg("--version").output().is_ok();
        ensure!(
            is_there,
            "{program} is not installed; install it with: apt-get install {package}"
        );
    }
    Profile::Release.build([PROGRAM])?;
    let stripped = target_folder().join("release/sockeye.stripped");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(Profile::Release.executable(PROGRAM))
        .status()
        .context("start strip")?;
    ensure!(status.success(), "strip: {status}");
    let mut broken = Vec::new();
    let bytes = stripped.metadata().context("look at the program")?.len();
    println!("{:<20} {:>12} {:>12} {:>8}", "what", "counted", "at most", "ms");
    println!(
        "{:<20} {bytes:>12} {MOST_BYTES:>12} {:>8}",
        "bytes, stripped", "-"
    );
    recorder
        .measurements
        .push(measurement("program", "stripped", Unit::Bytes, bytes, MOST_BYTES));
    if bytes > MOST_BYTES {
        broken.push("bytes".to_owned());
    }
    for (words, limit) in STARTS {
        let count = count(&stripped, words)?;
        let time_ms = time_ms(&stripped, words)?;
        println!("{words:<20} {count:>12} {limit:>12} {time_ms:>8.2}");
        let counted = measurement("instructions", words, Unit::Instructions, count, limit);
        let timed = Measurement {
            group: "time".to_owned(),
            unit: Unit::Nanoseconds,
            value: time_ms * 1e6,
            bounds: Vec::new(),
            ..counted.clone()
        };
        recorder.measurements.extend([counted, timed]);
        if count > limit {
            broken.push(format!("instructions of {words}"));
        }
    }
    if !broken.is_empty() {
        bail!("more than allowed: {}", broken.join("; "));
    }
    Ok(())
}

fn measurement(group: &str, case: &str, unit: Unit, value: u64, limit: u64) -> Measurement {
    Measurement {
        kind: "start".to_owned(),
        section: Section::Start,
        group: group.to_owned(),
        case: case.to_owned(),
        contender: "sockeye".to_owned(),
        role: Role::Ours,
        unit,
        per: if unit == Unit::Bytes { "program" } else { "start" }.to_owned(),
        value: value as f64,
        noise: None,
        rounds: Vec::new(),
        percentiles: Vec::new(),
        size: None,
        bounds: vec![Bound {
            text: format!("at most {limit}"),
            limit: limit as f64,
            broken: value > limit,
        }],
        command: "cargo xtask bench start".to_owned(),
    }
}

/// The instructions of one run.
fn count(program: &Path, words: &str) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(words.split(' '))
        .output()
        .context("start valgrind")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words}: {}: {report}", output.status);
    collected(&report).with_context(|| format!("valgrind counted nothing: {report}"))
}

/// The median time of a run, from its start to its end.
fn time_ms(program: &Path, words: &str) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let status = Command::new(program)
            .args(words.split(' '))
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("start {}", program.display()))?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(status.success(), "{words}: {status}");
    }
    times.sort_by(f64::total_cmp);
    times.get(ROUNDS / 2).copied().context("no time was taken")
}
