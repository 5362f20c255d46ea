//! `cargo xtask bench tls`, `bench quic` and `bench relay`: the CPU time of servers a message, each beside its peers.
//!
//! All servers of a table run on one core, and their loads too. In a round each of them gets one sample, in an order that
//! changes from round to round; what is compared are times of the same round. The first server of a table stands in it a second
//! time: what the two differ by is noise.

mod peers;
mod rows;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench::Arguments;
use crate::report::Recorder;
use crate::report::model::{self, Measurement, Section, Unit, median};
use crate::report::roles;
use crate::running::Profile;
use peers::{Program, Server};
use rows::{Bound, Case, Load, TABLES, Table};

/// The echo behind relays.
const BACKEND: Program = Program::Ours("tcp_echo_mio", &["0"]);

/// Memory does not depend on what else the machine does.
const MEMORY_ROUNDS: u32 = 3;

/// What stands in a table twice.
const AGAIN: &str = "the same again";

/// Measures the servers of `tls`, `quic` or `relay`, prints the tables, and judges.
///
/// # Errors
/// When a bound is broken or a program fails.
pub(crate) fn run(kind: &str, arguments: &Arguments, recorder: &mut Recorder) -> Result<()> {
    let tables: Vec<_> = TABLES.iter().filter(|table| table.bench == kind).collect();
    let profile = Profile::of(arguments.smoke);
    build(profile, &tables)?;
    let folder = Folder::new(profile, &tables)?;
    let mut broken = Vec::new();
    for table in tables {
        measure(arguments, table, &folder.0, &mut broken, recorder)?;
    }
    if !broken.is_empty() {
        bail!("more CPU time or memory than allowed: {}", broken.join("; "));
    }
    Ok(())
}

fn build(profile: Profile, tables: &[&Table]) -> Result<()> {
    let mut examples = vec!["tls_certificate"];
    examples.extend(tables.iter().map(|table| loader(table)));
    let programs = tables.iter().flat_map(|table| table.servers);
    for program in programs.map(|server| server.program).chain([BACKEND]) {
        if let Program::Ours(example, _) = program {
            examples.push(example);
        }
    }
    profile.build(examples)
}

/// What the servers need as files: taken away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(profile: Profile, tables: &[&Table]) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sockeye-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        let folder = Self(path);
        if tables.iter().any(|table| table.bench == "tls") {
            let status = Command::new(profile.executable("tls_certificate"))
                .arg(&folder.0)
                .status()?;
            ensure!(status.success(), "tls_certificate: {status}");
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One table.
fn measure(
    arguments: &Arguments,
    table: &Table,
    folder: &Path,
    broken: &mut Vec<String>,
    recorder: &mut Recorder,
) -> Result<()> {
    let profile = Profile::of(arguments.smoke);
    let mut out = std::io::stdout();
    let mut servers = Vec::new();
    for server in table.servers {
        match server.program.missing() {
            None => servers.push(*server),
            Some(what) => recorder.skip(&format!("needs {what}"))?,
        }
    }
    let backend = table
        .relays
        .then(|| BACKEND.start(profile, arguments.core, folder, None))
        .transpose()?;
    let start = |server: &rows::Server| {
        let port = backend.as_ref().map(|backend| backend.port);
        let started = server.program.start(profile, arguments.core, folder, port);
        started.with_context(|| server.name)
    };
    let running: Vec<_> = servers.iter().map(start).collect::<Result<_>>()?;
    let first = servers.first().map_or("", |server| server.name);
    let how = if arguments.smoke {
        "once, nothing is judged".to_owned()
    } else {
        format!("median of {} rounds", arguments.rounds)
    };
    writeln!(out, "\n{} ({how}; ratio to {first})", table.title)?;
    for case in table.cases {
        let case = if arguments.smoke { short(*case) } else { *case };
        let load = case.load;
        let is_memory = matches!(load, Load::Idle { .. });
        let rounds = match (arguments.smoke, is_memory) {
            (true, _) => 1,
            (false, true) => MEMORY_ROUNDS,
            (false, false) => arguments.rounds,
        };
        let mut samples = vec![Vec::new(); servers.len()];
        for round in 0..rounds as usize {
            for turn in 0..servers.len() {
                let place = (round + turn) % servers.len();
                let name = servers[place].name;
                let value = if is_memory {
                    // Memory that an earlier load has left would be used again.
                    sample(profile, arguments.core, table, load, &start(&servers[place])?)
                } else {
                    sample(profile, arguments.core, table, load, &running[place])
                };
                samples[place].push(value.with_context(|| format!("{name}, {}", words(load)))?);
            }
        }
        let names: Vec<_> = servers.iter().map(|server| server.name).collect();
        broken.extend(report(&mut out, &case, &names, &samples)?);
        recorder
            .measurements
            .extend(record(table, &case, &names, &samples));
    }
    Ok(())
}

/// A case that only shows that everything works.
fn short(case: Case) -> Case {
    let load = match case.load {
        Load::Echo {
            connections, size, ..
        } => Load::Echo {
            connections,
            size,
            messages: connections * 2,
        },
        Load::Handshakes { resumed, .. } => Load::Handshakes { count: 10, resumed },
        Load::Bulk { streams, .. } => Load::Bulk {
            streams,
            pieces: streams,
        },
        Load::Idle { .. } => Load::Idle { count: 10 },
    };
    Case { load, bounds: &[] }
}

/// The program that is the load of a table's servers.
fn loader(table: &Table) -> &'static str {
    match table.bench {
        "tls" => "tls_load",
        "quic" => "quic_load",
        _ => "tcp_load",
    }
}

/// One load: nanoseconds of CPU time a message, or bytes a connection.
fn sample(profile: Profile, core: u32, table: &Table, load: Load, server: &Server) -> Result<f64> {
    let (program, words, units) = match load {
        Load::Echo {
            connections,
            size,
            messages,
        } => (
            loader(table),
            vec![connections.to_string(), size.to_string(), messages.to_string()],
            messages,
        ),
        Load::Handshakes { count, resumed } => {
            let kind = if resumed { "resumed" } else { "handshakes" };
            (loader(table), vec![kind.to_owned(), count.to_string()], count)
        }
        Load::Bulk { streams, pieces } => (
            loader(table),
            vec!["bulk".to_owned(), streams.to_string(), pieces.to_string()],
            pieces,
        ),
        Load::Idle { count } => (loader(table), vec!["idle".to_owned(), count.to_string()], count),
    };
    let output = Command::new("taskset")
        .args(["-c", &core.to_string()])
        .arg(profile.executable(program))
        .arg(server.port.to_string())
        .args(words)
        .arg(server.pid().to_string())
        .output()
        .context("start the load (with taskset, of util-linux)")?;
    ensure!(
        output.status.success(),
        "the load: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let number = figure(&text).with_context(|| format!("the load said {text:?}"))?;
    Ok(number / f64::from(units))
}

/// What a load says: `cpu 123` or `memory 123`.
fn figure(text: &str) -> Option<f64> {
    let words = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        matches!(name, "cpu" | "memory")
            .then(|| number.parse().ok())
            .flatten()
    };
    text.lines().find_map(words)
}

fn words(load: Load) -> String {
    match load {
        Load::Echo {
            connections, size, ..
        } => {
            let size = match size {
                size if size >= 1 << 20 => format!("{} MiB", size >> 20),
                size if size >= 1 << 10 => format!("{} KiB", size >> 10),
                size => format!("{size} B"),
            };
            format!("{connections} x {size}")
        }
        Load::Bulk { streams, .. } => format!("bulk, {streams} streams"),
        Load::Handshakes { resumed: false, .. } => "a full handshake".to_owned(),
        Load::Handshakes { resumed: true, .. } => "a resumed handshake".to_owned(),
        Load::Idle { .. } => "an idle connection".to_owned(),
    }
}

/// Prints the rows of a case, and says what is above its bounds.
fn report(
    out: &mut impl std::io::Write,
    case: &Case,
    names: &[&'static str],
    samples: &[Vec<f64>],
) -> Result<Vec<String>> {
    let unit = if matches!(case.load, Load::Idle { .. }) {
        "B"
    } else {
        "ns"
    };
    let mut faults = Vec::new();
    let (title, mut shown) = (words(case.load), false);
    for (name, values) in names.iter().zip(samples) {
        let title = if std::mem::replace(&mut shown, true) {
            ""
        } else {
            &title
        };
        let first = samples.first().map_or(f64::NAN, |first| ratio(values, first));
        write!(
            out,
            "{title:<20} {name:<22} {:>10.0} {unit:<2} {first:>6.2}",
            median(values.clone())
        )?;
        for bound in case.bounds.iter().filter(|bound| bound.of == *name) {
            let Some(place) = names.iter().position(|name| *name == bound.against) else {
                continue;
            };
            let (said, fault) = judge(bound, ratio(values, &samples[place]));
            let verdict = format!("{}: {said}", if fault { "FAIL" } else { "pass" });
            write!(out, "  {verdict}")?;
            faults.extend(fault.then(|| format!("{}: {verdict}", words(case.load))));
        }
        writeln!(out)?;
    }
    Ok(faults)
}

/// The measurements of a case: of each server one, the first of which is not in it a second time but as noise.
fn record(table: &Table, case: &Case, names: &[&str], samples: &[Vec<f64>]) -> Vec<Measurement> {
    let first = samples.first();
    let again = names.iter().position(|name| *name == AGAIN);
    let noise = again
        .and_then(|again| samples.get(again))
        .zip(first)
        .map(|(again, first)| (ratio(again, first) - 1.0).abs());
    let (section, unit, per) = match case.load {
        Load::Echo { .. } => (Section::Cpu, Unit::CpuNanoseconds, "message"),
        Load::Handshakes { .. } => (Section::Cpu, Unit::CpuNanoseconds, "handshake"),
        Load::Bulk { .. } => (Section::Cpu, Unit::CpuNanoseconds, "64 KiB"),
        Load::Idle { .. } => (Section::Memory, Unit::Bytes, "connection"),
    };
    // A message and a handshake are not compared with each other.
    let group = match per {
        "message" | "connection" => table.title.to_owned(),
        per => format!("{}, {per}s", table.title),
    };
    let mut measurements = Vec::new();
    for (name, values) in names.iter().zip(samples) {
        let Some(role) = roles::of(table.bench, name) else {
            continue;
        };
        let bounds = case.bounds.iter().filter(|bound| bound.of == *name);
        let judged = bounds.filter_map(|bound| {
            let against = names.iter().position(|name| *name == bound.against)?;
            let (text, broken) = judge(bound, ratio(values, samples.get(against)?));
            Some(model::Bound {
                text,
                limit: bound.at_most,
                broken,
            })
        });
        measurements.push(Measurement {
            kind: table.bench.to_owned(),
            section,
            group: group.clone(),
            case: words(case.load),
            contender: (*name).to_owned(),
            role,
            unit,
            per: per.to_owned(),
            value: median(values.clone()),
            noise,
            rounds: values.clone(),
            percentiles: Vec::new(),
            size: None,
            bounds: judged.collect(),
            command: format!("cargo xtask bench {} --cpu", table.bench),
        });
    }
    measurements
}

/// A bound in words, and whether it is broken.
fn judge(bound: &Bound, ratio: f64) -> (String, bool) {
    // As it is printed: to hundredths.
    let fault = (ratio * 100.0).round() > (bound.at_most * 100.0).round();
    let Bound { against, at_most, .. } = bound;
    (format!("{ratio:.2} of {against} (at most {at_most:.2})"), fault)
}

/// The median of the ratios round by round.
pub(crate) fn ratio(values: &[f64], others: &[f64]) -> f64 {
    let ratios = values.iter().zip(others).map(|(value, other)| value / other);
    median(ratios.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_load_says_is_read() {
        assert_eq!(figure("123 ns\ncpu 4567\n"), Some(4_567.0));
        assert_eq!(figure("memory 8\n"), Some(8.0));
        assert_eq!(figure("123 messages/s\n"), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        assert!((ratio(&[2.0, 30.0, 8.0], &[1.0, 10.0, 2.0]) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_above_its_bound_is_told() {
        let load = Load::Echo {
            connections: 1,
            size: 64,
            messages: 1,
        };
        const BOUND: Bound = Bound {
            of: "ours",
            against: "theirs",
            at_most: 1.05,
        };
        let case = Case {
            load,
            bounds: &[BOUND],
        };
        let mut out = Vec::new();
        let names = ["theirs", "ours"];
        assert!(
            report(&mut out, &case, &names, &[vec![100.0], vec![105.4]])
                .unwrap()
                .is_empty()
        );
        let faults = report(&mut out, &case, &names, &[vec![100.0], vec![106.0]]).unwrap();
        assert_eq!(faults, ["1 x 64 B: FAIL: 1.06 of theirs (at most 1.05)"]);
        // One that is not installed bounds nobody.
        let mut out = Vec::new();
        assert!(
            report(&mut out, &case, &["ours"], &[vec![9.0]])
                .unwrap()
                .is_empty()
        );
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("1 x 64 B") && text.contains("9 ns   1.00"),
            "{text}"
        );
    }

    #[test]
    fn every_bound_is_of_servers_of_its_table() {
        for table in TABLES {
            for bound in table.cases.iter().flat_map(|case| case.bounds) {
                for name in [bound.of, bound.against] {
                    assert!(roles::of(table.bench, name).is_some(), "{name} has a role");
                    assert!(
                        table.servers.iter().any(|server| server.name == name),
                        "{}: {name}",
                        table.title
                    );
                }
            }
        }
    }
}
