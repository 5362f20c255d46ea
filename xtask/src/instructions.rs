//! `cargo xtask bench --instructions`: user instructions a message, counted under callgrind, and where a row bounds them
//! system calls, counted under strace.
//!
//! Each program runs twice, with few messages and with many; the difference by the difference in messages is
//! what one message costs, start and end left out. The count does not depend on the load of the machine.

mod rows;

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use rows::{BACKEND, Bound, Load, MEASUREMENTS, Measurement};

use crate::report::model::{self, Section, Unit};
use crate::report::{Recorder, roles};
use crate::running::{Profile, Running};

/// glibc copies long pieces by one instruction, `rep movsb`, which callgrind counts as one for each byte: beside ciphers, whose
/// instructions each do 16 bytes or more, a copy would seem to be most of the work. It then copies by vectors, in all programs
/// that are compared alike.
const WITHOUT_REP_MOVSB: &str = "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000";

/// Messages, or calls, of the short run and of the long one.
const TIMES: [u64; 2] = [2_000, 12_000];

/// The rows of the smoke run.
const SMOKE: [&str; 2] = ["bare mio, 1 connection", "event loop, 1 connection"];
/// Its messages.
const SMOKE_TIMES: [u64; 2] = [20, 60];

/// Builds the programs of a kind, or of all, counts, and prints the table.
///
/// # Errors
/// When a bound is broken, or a program fails; without valgrind.
pub(crate) fn run(kind: Option<&str>, recorder: &mut Recorder) -> Result<()> {
    let is_chosen = |row: &&Measurement| kind.is_none_or(|kind| row.benches.contains(&kind));
    let chosen: Vec<_> = MEASUREMENTS.iter().filter(is_chosen).collect();
    ensure!(
        !chosen.is_empty(),
        "nothing is counted for {}",
        kind.unwrap_or_default()
    );
    ensure!(
        has_valgrind(),
        "valgrind is not installed; install it with: apt-get install valgrind"
    );
    build(Profile::Release, &chosen)?;
    if chosen.iter().any(|row| row.calls.is_some()) {
        ensure!(
            Command::new("strace").arg("-V").output().is_ok(),
            "strace is not installed; install it with: apt-get install strace"
        );
    }
    count_rows(kind, &chosen, recorder)
}

/// Shows that counting works, and judges nothing.
///
/// # Errors
/// When a program fails.
pub(crate) fn smoke(recorder: &mut Recorder) -> Result<()> {
    if !has_valgrind() {
        return recorder.skip("needs valgrind (install: apt-get install valgrind)");
    }
    let rows: Vec<_> = MEASUREMENTS
        .iter()
        .filter(|row| SMOKE.contains(&row.name) && row.benches.contains(&"event_loop"))
        .collect();
    build(Profile::Dev, &rows)?;
    for row in rows {
        let [few, many] = SMOKE_TIMES.map(|times| count(Profile::Dev, row, times).with_context(|| row.name));
        let [short, long] = SMOKE_TIMES;
        let each = many?.saturating_sub(few?) as f64 / (long - short) as f64;
        recorder
            .measurements
            .push(measurement(Some("event_loop"), row, Section::Instructions, each));
    }
    Ok(())
}

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

#[expect(clippy::print_stdout, reason = "the table is this command's data")]
fn count_rows(kind: Option<&str>, chosen: &[&Measurement], recorder: &mut Recorder) -> Result<()> {
    println!(
        "{:<10} {:<30} {:>12} {:>24}",
        "benchmark", "what", "a message", "at most"
    );
    let (mut counts, mut calls, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    let mut record =
        |row: &Measurement, section: Section, count: f64, limit: f64, said: &str, fault: bool| {
            let mut measurement = measurement(kind, row, section, count);
            if limit.is_finite() {
                measurement.bounds.push(model::Bound {
                    text: format!("at most {said}"),
                    limit,
                    broken: fault,
                });
            }
            recorder.measurements.push(measurement);
        };
    for row in chosen {
        let bench = row.benches.first().unwrap_or(&"");
        let count = per_message(row, count).with_context(|| row.name)?;
        counts.push((row.name, count));
        let (limit_count, said) = limit(row.bound, &counts)?;
        println!("{bench:<10} {:<30} {count:>12.1} {said:>24}", row.name);
        let fault = count > limit_count;
        record(row, Section::Instructions, count, limit_count, &said, fault);
        if fault {
            broken.push(format!("{}: instructions", row.name));
        }
        if let Some(bound) = row.calls {
            let count = per_message(row, count_calls).with_context(|| row.name)?;
            calls.push((row.name, count));
            let (limit_count, said) = limit(bound, &calls)?;
            println!("{bench:<10} {:<30} {count:>12.2} {said:>24}", "  system calls");
            // To hundredths, as it is printed: where the last messages come together differs by a call or two.
            let fault = (count * 100.0).round() > (limit_count * 100.0).round();
            record(row, Section::SystemCalls, count, limit_count, &said, fault);
            if fault {
                broken.push(format!("{}: system calls", row.name));
            }
        }
    }
    if !broken.is_empty() {
        bail!("more than allowed: {}", broken.join("; "));
    }
    Ok(())
}

/// What a row has brought. Its name is a contender and a case, or of ours a case alone.
fn measurement(kind: Option<&str>, row: &Measurement, section: Section, value: f64) -> model::Measurement {
    let first = row.benches.first().copied().unwrap_or_default();
    let kind = kind.unwrap_or(first);
    let parts = row.name.split_once(", ");
    let named = parts.and_then(|(contender, case)| Some((contender, case, roles::of(kind, contender)?)));
    let (contender, case, role) = named.unwrap_or(("sockeye", row.name, model::Role::Ours));
    let (group, unit) = match section {
        Section::SystemCalls => ("system calls", Unit::SystemCalls),
        _ => ("user instructions", Unit::Instructions),
    };
    model::Measurement {
        kind: kind.to_owned(),
        section,
        group: group.to_owned(),
        case: case.to_owned(),
        contender: contender.to_owned(),
        role,
        unit,
        per: if matches!(kind, "endpoint" | "resolver") {
            "call"
        } else {
            "message"
        }
        .to_owned(),
        value,
        noise: None,
        rounds: Vec::new(),
        percentiles: Vec::new(),
        size: None,
        bounds: Vec::new(),
        command: format!("cargo xtask bench {kind} --instructions"),
    }
}

/// The most that is allowed, as a number and in words.
fn limit(bound: Bound, counts: &[(&str, f64)]) -> Result<(f64, String)> {
    let count_of = |other: &str| {
        let found = counts.iter().find(|(name, _)| *name == other);
        found
            .map(|(_, count)| *count)
            .with_context(|| format!("no row is called {other}"))
    };
    Ok(match bound {
        Bound::None => (f64::INFINITY, "-".to_owned()),
        Bound::AtMost(limit) => (limit, format!("{limit:.0}")),
        Bound::Ratio(other, ratio) => {
            let limit = count_of(other)? * ratio;
            (limit, format!("{limit:.0} ({ratio} of {other})"))
        }
        Bound::Beyond(other, more) => {
            let limit = count_of(other)? + more;
            (limit, format!("{limit:.0} ({other} and {more:.0})"))
        }
    })
}

fn build(profile: Profile, rows: &[&Measurement]) -> Result<()> {
    let programs = rows.iter().map(|row| row.example);
    let loads = rows.iter().filter(|row| row.load.is_some());
    profile.build(
        programs
            .chain(loads.map(|row| row.load_program()))
            .chain([BACKEND]),
    )
}

/// What one message more costs, by a count of a run.
fn per_message(row: &Measurement, count: fn(Profile, &Measurement, u64) -> Result<u64>) -> Result<f64> {
    // Large messages are many calls each.
    let scale = match row.load {
        Some(load) if load.size > 16_384 => 20,
        _ => 1,
    };
    let [short, long] = TIMES.map(|times| times / scale);
    let (few, many) = (
        count(Profile::Release, row, short)?,
        count(Profile::Release, row, long)?,
    );
    Ok(many.saturating_sub(few) as f64 / (long - short) as f64)
}

/// The instructions of one run.
fn count(profile: Profile, row: &Measurement, times: u64) -> Result<u64> {
    let mut observer = vec!["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    if row.benches.contains(&"tls") {
        observer.splice(0..0, ["env", WITHOUT_REP_MOVSB]);
    }
    let report = observed(profile, row, times, &observer)?;
    collected(&report).with_context(|| format!("valgrind counted nothing: {report}"))
}

/// The system calls of one run.
fn count_calls(profile: Profile, row: &Measurement, times: u64) -> Result<u64> {
    let report = observed(profile, row, times, &["strace", "-f", "-c"])?;
    total_calls(&report).with_context(|| format!("strace counted nothing: {report}"))
}

/// Runs a program under an observer and gives back what that says on stderr.
fn observed(profile: Profile, row: &Measurement, times: u64, observer: &[&str]) -> Result<String> {
    let mut arguments: Vec<String> = row.arguments.iter().map(|word| (*word).to_owned()).collect();
    let Some(Load { connections, size }) = row.load else {
        arguments.push(times.to_string());
        return Running::start(observer, &profile.executable(row.example), &arguments)?.finish();
    };
    let mut backend = None;
    if row.relays {
        let echo = ["tcp".to_owned(), "0".to_owned()];
        let backend = backend.insert(Running::start(&[], &profile.executable(BACKEND), &echo)?);
        arguments.push(backend.port()?);
    }
    let mut server = Running::start(observer, &profile.executable(row.example), &arguments)?;
    let port = server.port()?;
    let load = Command::new(profile.executable(row.load_program()))
        .args([port, connections.to_string(), size.to_string(), times.to_string()])
        .output()
        .context("start the load")?;
    ensure!(
        load.status.success(),
        "the load: {}",
        String::from_utf8_lossy(&load.stderr)
    );
    server.end()?;
    server.finish()
}

/// The number in `==123== Collected : 456`.
pub(crate) fn collected(report: &str) -> Option<u64> {
    report
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

/// The number of calls in the last line of `strace -c`: `100.00    0.012   1   34567   12 total`.
fn total_calls(report: &str) -> Option<u64> {
    let line = report.lines().rev().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::running::PROGRAM;

    #[test]
    fn a_row_is_a_contender_and_a_case() {
        let parts = |kind: Option<&str>, name: &str| {
            let row = MEASUREMENTS.iter().find(|row| row.name == name).unwrap();
            let measurement = measurement(kind, row, Section::Instructions, 1.0);
            (
                measurement.kind,
                measurement.contender,
                measurement.case,
                measurement.role,
            )
        };
        let told = |kind: &str, contender: &str, case: &str, role| {
            (kind.to_owned(), contender.to_owned(), case.to_owned(), role)
        };
        use model::Role::{Limit, Ours, Peer};
        let cases = [
            (
                Some("event_loop"),
                SMOKE[0],
                told("event_loop", "bare mio", "1 connection", Limit),
            ),
            (None, SMOKE[1], told("tcp", "event loop", "1 connection", Ours)),
            (
                None,
                "mio, 64 B there and back",
                told("tcp", "mio", "64 B there and back", Peer),
            ),
            (None, "std, parse v4", told("endpoint", "std", "parse v4", Peer)),
            (
                None,
                "whole relay, 64 x 64 B",
                told("relay", "whole relay", "64 x 64 B", Ours),
            ),
            (
                None,
                "a query, message to message",
                told("resolver", "sockeye", "a query, message to message", Ours),
            ),
        ];
        for (kind, name, expected) in cases {
            assert_eq!(parts(kind, name), expected);
        }
    }

    #[test]
    fn the_count_is_read_from_valgrinds_report() {
        let report = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(report), Some(123_456));
        assert_eq!(collected("==7== Process terminating\n"), None);
        let report = "% time     seconds  usecs/call     calls    errors syscall\n\
                      100.00    0.469      196      2391         1 recvfrom\n\
                      ------ ----------- ----------- --------- ---------\n\
                      100.00    0.479869         197      2434         1 total\n";
        assert_eq!(total_calls(report), Some(2_434));
        assert_eq!(total_calls("nothing"), None);
    }

    #[test]
    fn every_program_that_is_counted_exists() {
        for row in MEASUREMENTS.iter().filter(|row| row.example != PROGRAM) {
            let path = crate::workspace::root()
                .join("benches/examples")
                .join(format!("{}.rs", row.example));
            assert!(path.is_file(), "{}", path.display());
        }
    }

    #[test]
    fn a_bound_is_a_number_or_a_ratio_to_a_row_above() {
        let counts = [("peer", 50.0)];
        assert_eq!(limit(Bound::AtMost(100.0), &counts).unwrap().0, 100.0);
        assert_eq!(limit(Bound::Ratio("peer", 2.0), &counts).unwrap().0, 100.0);
        assert_eq!(limit(Bound::Beyond("peer", 30.0), &counts).unwrap().0, 80.0);
        assert!(limit(Bound::Ratio("nobody", 2.0), &counts).is_err());
        for (index, row) in MEASUREMENTS.iter().enumerate() {
            if let Bound::Ratio(other, _) | Bound::Beyond(other, _) = row.bound {
                assert!(
                    MEASUREMENTS[..index].iter().any(|row| row.name == other),
                    "{other} stands above {}",
                    row.name
                );
            }
        }
    }
}
