//! `cargo xtask bench growth`: what a unit costs while a user makes things large, step by step.
//!
//! The program `growth` of `benches/examples` does one measurement a run, so that each begins with fresh memory. Here the
//! steps are gone through several times, the median is taken, and a unit that costs more than twice what it did at the
//! smallest size fails, unless the row says why it does and how far it may go.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench::Arguments;
use crate::report::Recorder;
use crate::report::model::{Bound, Measurement, Role, Section, Unit, grouped, median};
use crate::running::{PROGRAM, Profile};

/// How often each size is measured; the median counts.
const ROUNDS: usize = 9;

/// Up to here a second step is quick without optimization.
const SMOKE_SIZE: usize = 1_000;

/// By how much a unit may become dearer from the smallest size on.
const AT_MOST: f64 = 2.0;

/// One row of the table.
#[derive(Debug)]
struct Subject {
    name: &'static str,
    /// What is counted.
    unit: &'static str,
    sizes: &'static [usize],
    /// Where a unit costs more than [`AT_MOST`] for a reason: the reason, and the limit that holds instead.
    reason: Option<(&'static str, f64)>,
    /// What a unit may cost at the largest size, in nanoseconds.
    bound_ns: Option<u64>,
}

const fn subject(name: &'static str, unit: &'static str, sizes: &'static [usize]) -> Subject {
    Subject {
        name,
        unit,
        sizes,
        reason: None,
        bound_ns: None,
    }
}

impl Subject {
    const fn because(mut self, reason: &'static str, limit: f64) -> Self {
        self.reason = Some((reason, limit));
        self
    }

    const fn at_most_ns(mut self, bound_ns: u64) -> Self {
        self.bound_ns = Some(bound_ns);
        self
    }

    fn limit(&self) -> f64 {
        self.reason.map_or(AT_MOST, |(_, limit)| limit)
    }
}

const THOUSANDS: &[usize] = &[100, 1_000, 10_000, 100_000];

/// Measured beside the loop: a C loop on epoll spends 1,784, 2,252 and 5,787 ns a message with 10, 1,000 and 9,000 connections,
/// this one 1,774, 2,245 and 5,875; of these, less than 200 ns are not the kernel's.
const KERNEL_SOCKETS: &str = "the kernel's sockets lie in no cache: a C loop's cost grows 3.2 times";

const SUBJECTS: &[Subject] = &[
    subject(
        "frame",
        "KiB of frames of so many KiB",
        &[64, 1_024, 16_384, 65_536],
    ),
    // 0.7 of the MB/s of frames of 1 MiB.
    subject("frame-rate", "KiB of frames of so many KiB", &[1_024, 65_536]).because(
        "64 MiB lie in no cache: the bound is 0.7 of the bytes a second",
        1.0 / 0.7,
    ),
    subject("queued-output", "KiB queued to a peer that sleeps", THOUSANDS),
    subject("connections", "round trip over TCP", &[10, 100, 1_000, 9_000]).because(KERNEL_SOCKETS, 3.5),
    subject(
        "unix-connections",
        "round trip over a Unix socket",
        &[10, 100, 1_000, 9_000],
    )
    .because(KERNEL_SOCKETS, 3.5),
    subject("pairs", "round trip over a pair", THOUSANDS),
    subject("timers", "timer", &[1_000, 10_000, 100_000, 1_000_000]),
    subject("services", "service with a timer", &[60, 600, 6_000, 60_000]),
    subject("remote-messages", "message from another thread", THOUSANDS),
    subject("broadcast", "recipient", THOUSANDS),
    subject(
        "udp-peers",
        "datagram of so many peers",
        &[10, 100, 1_000, 10_000],
    ),
    subject(
        "udp-batch",
        "datagram in batches of so many",
        &[1, 10, 100, 1_000],
    ),
    subject("networks-inserted", "network", &[1_000, 10_000, 100_000]).at_most_ns(5_000),
    subject(
        "networks-at-once",
        "network",
        &[1_000, 10_000, 100_000, 1_000_000],
    )
    .at_most_ns(2_000),
    subject("network-lookups", "lookup", &[1_000, 10_000, 100_000, 1_000_000]).because(
        "a binary search: a step more for each doubling, the last of them out of the cache",
        8.0,
    ),
    subject("ports-inserted", "port", &[32, 320, 3_200, 32_000]).because(
        "a binary search, and within a chunk of 512 what lies behind moves",
        5.0,
    ),
    subject("map-entries", "entry", &[1_000, 10_000, 100_000, 1_000_000]).at_most_ns(2_000),
    subject("map-lookups", "lookup", &[1_000, 10_000, 100_000, 1_000_000]).because(
        "a trie: deeper with each doubling, and each step out of the cache",
        8.0,
    ),
    subject("simulated-hosts", "host", &[4, 40, 400, 4_000]),
    subject(
        "simulated-round-trips",
        "round trip of so many hosts",
        &[100, 1_000, 4_000],
    ),
    subject("simulated-links", "round trip over a link", &[4, 40, 400, 4_000]),
    subject("simulated-connections", "round trip", &[10, 100, 1_000, 10_000]),
    subject("probe-targets", "target", THOUSANDS),
    subject("resolver-queries", "query", THOUSANDS),
    subject(
        "dns-queries",
        "query of so many under way",
        &[10, 100, 1_000, 10_000, 100_000],
    ),
    subject(
        "dns-cache",
        "answer kept and found",
        &[1_000, 10_000, 100_000, 1_000_000],
    ),
    subject(
        "hosts-lines",
        "line read and found",
        &[100, 1_000, 10_000, 100_000],
    ),
    subject("reassembled-datagrams", "datagram", &[10, 100, 1_000, 10_000]),
    subject("explain-lines", "line", &[10_000, 100_000, 1_000_000]),
    subject("dump-packets", "packet", &[10_000, 100_000, 1_000_000]),
];

/// Measures, prints the table, and fails where a cost grows faster than it may.
///
/// # Errors
/// When a measurement fails, a cost is above its limit, or there is no such subject.
pub(crate) fn run(arguments: &Arguments, recorder: &mut Recorder) -> Result<()> {
    let wanted = arguments.subject.as_deref();
    let subjects: Vec<&Subject> = SUBJECTS
        .iter()
        .filter(|subject| wanted.is_none_or(|name| subject.name == name))
        .collect();
    if subjects.is_empty() {
        let names: Vec<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
        bail!("nothing of that name grows; there are: {}", names.join(", "));
    }
    let profile = Profile::of(arguments.smoke);
    profile.build(["growth", PROGRAM])?;
    let program = profile.executable("growth");
    let mut faults = Vec::new();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:<22} {:<32} cost of a unit in ns at the sizes",
        "subject", "unit"
    )?;
    for (number, subject) in (1..).zip(&subjects) {
        eprintln!("[{number}/{}] {}", subjects.len(), subject.name);
        // The smoke run goes a step or two, once.
        let (sizes, rounds) = match subject.sizes {
            [first, second, ..] if arguments.smoke && *second <= SMOKE_SIZE => (&[*first, *second][..], 1),
            [first, ..] if arguments.smoke => (&[*first][..], 1),
            sizes => (sizes, ROUNDS),
        };
        let costs = measure(&program, subject, sizes, rounds)?;
        write!(out, "{:<22} {:<32}", subject.name, subject.unit)?;
        for (size, cost) in sizes.iter().zip(&costs) {
            write!(out, " {:>10}: {cost:<8.1}", grouped(*size as f64))?;
        }
        writeln!(out)?;
        if let Some((reason, limit)) = subject.reason {
            writeln!(out, "{:<22} (at most {limit:.2} times: {reason})", "")?;
        }
        let judged = !arguments.smoke;
        recorder
            .measurements
            .extend(record(subject, sizes, &costs, judged));
        if judged {
            faults.extend(judge(subject, &costs));
        }
    }
    ensure!(faults.is_empty(), "costs grow:\n  {}", faults.join("\n  "));
    Ok(())
}

/// The measurements of a subject: the bounds are with the largest size.
fn record(subject: &Subject, sizes: &[usize], costs: &[f64], judged: bool) -> Vec<Measurement> {
    let mut measurements: Vec<Measurement> = sizes
        .iter()
        .zip(costs)
        .map(|(size, cost)| Measurement {
            kind: "growth".to_owned(),
            section: Section::Growth,
            group: "growth".to_owned(),
            case: format!("{}: {}", subject.name, grouped(*size as f64)),
            contender: "sockeye".to_owned(),
            role: Role::Ours,
            unit: Unit::Nanoseconds,
            per: subject.unit.to_owned(),
            value: *cost,
            noise: None,
            rounds: Vec::new(),
            percentiles: Vec::new(),
            size: Some(*size as u64),
            bounds: Vec::new(),
            command: "cargo xtask bench growth".to_owned(),
        })
        .collect();
    let faults = judge(subject, costs);
    if let (Some(first), Some(last)) = (costs.first(), measurements.last_mut()) {
        let times = last.value / first;
        let limit = subject.limit();
        last.bounds.push(Bound {
            text: format!("{times:.2} times the smallest (at most {limit:.2})"),
            limit,
            broken: judged && faults.iter().any(|fault| fault.contains("times as much")),
        });
        if let Some(bound_ns) = subject.bound_ns {
            last.bounds.push(Bound {
                text: format!("at most {bound_ns} ns"),
                limit: bound_ns as f64,
                broken: judged && last.value > bound_ns as f64,
            });
        }
    }
    measurements
}

/// What is wrong with the costs of a subject at its sizes.
fn judge(subject: &Subject, costs: &[f64]) -> Vec<String> {
    let mut faults = Vec::new();
    let Some((&first, &last)) = costs.first().zip(costs.last()) else {
        return faults;
    };
    for (size, cost) in subject.sizes.iter().zip(costs) {
        let times = cost / first;
        if times > subject.limit() {
            faults.push(format!(
                "{}: a {} costs {times:.2} times as much at {} as at {} (at most {:.2})",
                subject.name,
                subject.unit,
                grouped(*size as f64),
                grouped(subject.sizes[0] as f64),
                subject.limit(),
            ));
        }
    }
    if let Some(bound_ns) = subject.bound_ns
        && last > bound_ns as f64
    {
        faults.push(format!(
            "{}: a {} costs {last:.0} ns (at most {bound_ns})",
            subject.name, subject.unit
        ));
    }
    faults
}

/// The median cost of a unit at each size, the sizes taken in turns.
fn measure(program: &Path, subject: &Subject, sizes: &[usize], rounds: usize) -> Result<Vec<f64>> {
    let mut costs = vec![Vec::new(); sizes.len()];
    for _ in 0..rounds {
        for (size, costs) in sizes.iter().zip(&mut costs) {
            costs.push(once(program, subject.name, *size)?);
        }
    }
    Ok(costs.into_iter().map(median).collect())
}

/// One measurement: nanoseconds a unit.
fn once(program: &Path, name: &str, size: usize) -> Result<f64> {
    let output = Command::new(program)
        .args([name, &size.to_string()])
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    let failed = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "growth {name} {size}: {failed}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace();
    let mut number = || -> Result<f64> { Ok(words.next().context("two numbers")?.parse()?) };
    let (units, cpu_ns) = (number()?, number()?);
    Ok(cpu_ns / units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_costs_more_and_more_is_told() {
        let steps = subject("x", "unit", &[1, 10, 100]);
        assert!(judge(&steps, &[10.0, 19.0, 20.0]).is_empty());
        let faults = judge(&steps, &[10.0, 12.0, 20.1]);
        assert_eq!(
            faults,
            ["x: a unit costs 2.01 times as much at 100 as at 1 (at most 2.00)"]
        );
        assert!(
            judge(
                &subject("x", "unit", &[1, 10, 100]).because("so it is", 3.0),
                &[10.0, 12.0, 29.0]
            )
            .is_empty()
        );
        let bounded = subject("x", "unit", &[1]).at_most_ns(5);
        assert_eq!(judge(&bounded, &[6.0]), ["x: a unit costs 6 ns (at most 5)"]);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(vec![5.0, 1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
        assert_eq!(grouped(1e6), "1,000,000");
    }

    #[test]
    fn every_subject_of_the_program_has_a_row() {
        let source =
            std::fs::read_to_string(crate::workspace::root().join("benches/examples/growth/main.rs"))
                .unwrap();
        for row in SUBJECTS {
            assert!(source.contains(&format!("(\"{}\", ", row.name)), "{}", row.name);
        }
        assert_eq!(source.matches("    (\"").count(), SUBJECTS.len());
    }
}
