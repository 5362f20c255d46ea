//! `cargo xtask bench resolver`: queries a second, CPU time a query and memory a query of clients of the DNS, beside each other.
//!
//! A client runs on one core, alone with its threads; the name server on another one. In a round each client gets one sample, in
//! an order that changes from round to round; what is compared are samples of the same round. The first client of a table stands
//! in it a second time: what the two differ by is noise.
//!
//! getaddrinfo(3) asks whom `/etc/resolv.conf` says, at port 53. So everything runs in namespaces of its own, with a loopback and
//! files that belong to nobody else; where they are not allowed, getaddrinfo is left out.

mod ground;
mod rows;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench::Arguments;
use crate::cpu::ratio;
use crate::report::model::{self, Measurement, Section, Unit, median};
use crate::report::{Part, Recorder, roles};
use crate::running::Profile;
use ground::{Ground, Kind};
use rows::{Bound, CASES, Case, Client, MEMORY, OURS};

/// Memory does not depend on what else the machine does.
const MEMORY_ROUNDS: u32 = 3;

/// Measures, prints the tables, and judges: in namespaces of its own where that is allowed.
///
/// # Errors
/// When a bound is broken or a program fails.
pub(crate) fn run(arguments: &Arguments, recorder: &mut Recorder) -> Result<()> {
    Profile::of(arguments.smoke).build(["names_load", "names_echo"])?;
    let folder = ground::Folder::new()?;
    match ground::enter(arguments, &folder)? {
        Some(status) => {
            // Also what was measured before a bound was broken.
            if let Ok(part) = std::fs::read(folder.part()) {
                recorder.take(serde_json::from_slice::<Part>(&part).context("read what was measured")?);
            }
            ensure!(status.success(), "the benchmark in its namespaces: {status}");
            Ok(())
        }
        None => measure(arguments, &Ground::outside(&folder), recorder),
    }
}

/// The run in namespaces of its own: what it measures goes into a file for the process outside.
///
/// # Errors
/// As [`run`].
pub(crate) fn within(arguments: &Arguments, folder: &std::path::Path) -> Result<()> {
    let mut recorder = Recorder::default();
    let measured = measure(arguments, &Ground::within(folder)?, &mut recorder);
    let part = serde_json::to_vec(&recorder.into_part())?;
    std::fs::write(ground::part(folder), part).context("write what was measured")?;
    measured
}

/// One sample.
#[derive(Debug, Clone, Copy)]
struct Sample {
    time_ns: f64,
    cpu_ns: f64,
}

fn measure(arguments: &Arguments, ground: &Ground, recorder: &mut Recorder) -> Result<()> {
    let mut out = std::io::stdout();
    let mut broken = Vec::new();
    if let Some(why) = ground.without_getaddrinfo() {
        recorder.skip(why)?;
    }
    for (title, kind) in [("a server that echoes", Kind::Echo), ("unbound", Kind::Unbound)] {
        if let Some(what) = kind.missing() {
            recorder.skip(&format!("needs {what}"))?;
            continue;
        }
        let server = ground.start(Profile::of(arguments.smoke), kind, arguments.core)?;
        let how = if arguments.smoke {
            "once, nothing is judged".to_owned()
        } else {
            format!("median of {} rounds", arguments.rounds)
        };
        writeln!(
            out,
            "\nclients on one core, asking {title} ({how}; ratios to {OURS})"
        )?;
        for case in CASES {
            let clients = case.clients.iter();
            let clients: Vec<Client> = clients
                .filter(|client| !client.is_system() || ground.has_getaddrinfo())
                .copied()
                .collect();
            let samples = rounds(arguments, case, &clients, server.address)?;
            let faults = report(&mut out, case, &clients, &samples, !arguments.smoke)?;
            broken.extend(faults.into_iter().map(|fault| format!("{title}, {fault}")));
            let judged = !arguments.smoke;
            recorder
                .measurements
                .extend(record(title, case, &clients, &samples, judged));
        }
    }
    broken.extend(memory(arguments, ground, &mut out, recorder)?);
    if !broken.is_empty() {
        bail!("bounds are broken: {}", broken.join("; "));
    }
    Ok(())
}

/// The samples of a case, for each client one of each round.
fn rounds(
    arguments: &Arguments,
    case: &Case,
    clients: &[Client],
    server: SocketAddr,
) -> Result<Vec<Vec<Sample>>> {
    let rounds = if arguments.smoke { 1 } else { arguments.rounds };
    let mut samples = vec![Vec::new(); clients.len()];
    for round in 0..rounds as usize {
        for turn in 0..clients.len() {
            let place = (round + turn) % clients.len();
            let client = &clients[place];
            let queries = if arguments.smoke {
                4 * client.under_way
            } else {
                case.queries
            };
            let text = load(arguments, client, server, &queries.to_string())?;
            let sample = figure(&text, "time").zip(figure(&text, "cpu"));
            let (time, cpu) = sample.with_context(|| format!("{} said {text:?}", client.name))?;
            samples[place].push(Sample {
                time_ns: time / queries as f64,
                cpu_ns: cpu / queries as f64,
            });
        }
    }
    Ok(samples)
}

/// Runs a client to its end and gives back what it said.
fn load(arguments: &Arguments, client: &Client, server: SocketAddr, what: &str) -> Result<String> {
    let output = Command::new("taskset")
        .args(["-c", &arguments.core.to_string()])
        .arg(Profile::of(arguments.smoke).executable("names_load"))
        .args([client.program, &server.to_string()])
        .args([&client.under_way.to_string(), what])
        .output()
        .context("start the client (with taskset, of util-linux)")?;
    ensure!(
        output.status.success(),
        "{}: {}",
        client.name,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The number of the line `name 123`.
fn figure(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Prints the rows of a case, and says which bounds are broken.
fn report(
    out: &mut impl std::io::Write,
    case: &Case,
    clients: &[Client],
    samples: &[Vec<Sample>],
    judged: bool,
) -> Result<Vec<String>> {
    let times = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(|sample| sample.time_ns).collect() };
    let cpus = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(|sample| sample.cpu_ns).collect() };
    let Some(first) = samples.first() else {
        return Ok(Vec::new());
    };
    let mut faults = Vec::new();
    for (place, (client, samples)) in clients.iter().zip(samples).enumerate() {
        let (time, cpu) = (times(samples), cpus(samples));
        // Of queries a second: the inverse of the times.
        let (faster, cheaper) = (ratio(&times(first), &time), ratio(&cpu, &cpus(first)));
        write!(
            out,
            "{:<18} {:<18} {:>8.0} queries/s {faster:>5.2}  {:>7.0} ns CPU {cheaper:>5.2}",
            if place == 0 { case.title } else { "" },
            client.name,
            1e9 / median(time.clone()),
            median(cpu.clone()),
        )?;
        if judged && let Some(bound) = client.bound {
            // How many times as fast as this one the first is, and what part of its CPU time it takes.
            let verdicts = judge(bound, ratio(&time, &times(first)), ratio(&cpus(first), &cpu));
            for (verdict, fault) in verdicts {
                write!(out, "  {verdict}")?;
                let said = format!("{} beside {}: {verdict}", case.title, client.name);
                faults.extend(fault.then_some(said));
            }
        }
        writeln!(out)?;
    }
    Ok(faults)
}

/// What stands in a table twice.
const AGAIN: &str = "the same again";

/// A measurement without its value.
fn measurement(section: Section, group: &str, case: &str, client: &Client) -> Measurement {
    Measurement {
        kind: "resolver".to_owned(),
        section,
        group: group.to_owned(),
        case: case.to_owned(),
        contender: client.name.to_owned(),
        role: roles::of("resolver", client.name).unwrap_or(model::Role::Peer),
        unit: match section {
            Section::Rate => Unit::PerSecond,
            Section::Memory => Unit::Bytes,
            _ => Unit::CpuNanoseconds,
        },
        per: "query".to_owned(),
        value: f64::NAN,
        noise: None,
        rounds: Vec::new(),
        percentiles: Vec::new(),
        size: None,
        bounds: Vec::new(),
        command: "cargo xtask bench resolver --cpu".to_owned(),
    }
}

/// Queries a second and CPU time of each client of a case; ours carries the bounds beside its peers.
fn record(
    title: &str,
    case: &Case,
    clients: &[Client],
    samples: &[Vec<Sample>],
    judged: bool,
) -> Vec<Measurement> {
    let rates = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(|one| 1e9 / one.time_ns).collect() };
    let cpus = |samples: &[Sample]| -> Vec<f64> { samples.iter().map(|one| one.cpu_ns).collect() };
    let values: [(Section, Vec<Vec<f64>>); 2] = [
        (
            Section::Rate,
            samples.iter().map(|samples| rates(samples)).collect(),
        ),
        (
            Section::Cpu,
            samples.iter().map(|samples| cpus(samples)).collect(),
        ),
    ];
    let again = clients.iter().position(|client| client.name == AGAIN);
    let mut measurements = Vec::new();
    for (section, values) in &values {
        let Some(first) = values.first() else { continue };
        let noise = again
            .and_then(|again| values.get(again))
            .map(|again| (ratio(again, first) - 1.0).abs());
        for (client, rounds) in clients
            .iter()
            .zip(values)
            .filter(|(client, _)| client.name != AGAIN)
        {
            let mut own = measurement(*section, title, case.title, client);
            (own.value, own.noise, own.rounds) = (median(rounds.clone()), noise, rounds.clone());
            if judged && client.name == OURS {
                for (peer, other) in clients.iter().zip(values) {
                    own.bounds.extend(bound_of(*section, peer, ratio(first, other)));
                }
            }
            measurements.push(own);
        }
    }
    measurements
}

/// What ours has to reach beside a peer, by its ratio to it.
fn bound_of(section: Section, peer: &Client, ratio: f64) -> Option<model::Bound> {
    let rounded = |number: f64| (number * 100.0).round();
    let (limit, word, broken): (f64, &str, fn(f64, f64) -> bool) = match section {
        Section::Rate => (peer.bound?.queries, "at least", |ratio, limit| ratio < limit),
        _ => (peer.bound?.cpu?, "at most", |ratio, limit| ratio > limit),
    };
    Some(model::Bound {
        text: format!("{ratio:.2} of {} ({word} {limit:.2})", peer.name),
        limit,
        broken: broken(rounded(ratio), rounded(limit)),
    })
}

/// The bounds beside a peer in words, and whether they are broken: as they are printed, to hundredths.
fn judge(bound: Bound, faster: f64, cpu: f64) -> Vec<(String, bool)> {
    let rounded = |number: f64| (number * 100.0).round();
    let verdict = |fault: bool, text: String| {
        let word = if fault { "FAIL" } else { "pass" };
        (format!("{word}: {text}"), fault)
    };
    let mut verdicts = vec![verdict(
        rounded(faster) < rounded(bound.queries),
        format!(
            "ours {faster:.2} times the queries/s (at least {:.2})",
            bound.queries
        ),
    )];
    if let Some(limit) = bound.cpu {
        verdicts.push(verdict(
            rounded(cpu) > rounded(limit),
            format!("{cpu:.2} of the CPU (at most {limit:.2})"),
        ));
    }
    verdicts
}

/// Memory of queries that nobody answers.
fn memory(
    arguments: &Arguments,
    ground: &Ground,
    out: &mut impl std::io::Write,
    recorder: &mut Recorder,
) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let server = ground.start(Profile::of(arguments.smoke), Kind::Silent, arguments.core)?;
    writeln!(out, "\nresident memory, all queries under way at once")?;
    for client in MEMORY {
        let mut client = *client;
        if arguments.smoke {
            client.under_way = 100;
        }
        let rounds = if arguments.smoke { 1 } else { MEMORY_ROUNDS };
        let mut samples = Vec::new();
        for _ in 0..rounds {
            let text = load(arguments, &client, server.address, "memory")?;
            let bytes = figure(&text, "memory").with_context(|| format!("{} said {text:?}", client.name))?;
            samples.push(bytes / client.under_way as f64);
        }
        let bytes = median(samples);
        write!(
            out,
            "{:<18} {:<18} {bytes:>8.0} B a query",
            format!("{} under way", client.under_way),
            client.name
        )?;
        let mut measurement = measurement(
            Section::Memory,
            "resident memory",
            &format!("{} under way", client.under_way),
            &client,
        );
        measurement.value = bytes;
        if client.name == OURS && !arguments.smoke {
            let fault = bytes >= rows::MEMORY_BELOW;
            let word = if fault { "FAIL" } else { "pass" };
            let verdict = format!("{word}: below {}", rows::MEMORY_BELOW);
            write!(out, "  {verdict}")?;
            broken.extend(fault.then(|| format!("memory: {bytes:.0} B a query, {verdict}")));
            measurement.bounds.push(model::Bound {
                text: format!("below {}", rows::MEMORY_BELOW),
                limit: rows::MEMORY_BELOW,
                broken: fault,
            });
        }
        recorder.measurements.push(measurement);
        writeln!(out)?;
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_is_read() {
        assert_eq!(figure("time 123\ncpu 45\n", "cpu"), Some(45.0));
        assert_eq!(figure("time 123\n", "memory"), None);
    }

    #[test]
    fn both_bounds_are_judged_as_they_are_printed() {
        let bound = Bound {
            queries: 1.0,
            cpu: Some(0.5),
        };
        let faults = |faster, cpu| -> Vec<bool> {
            let verdicts = judge(bound, faster, cpu);
            verdicts.into_iter().map(|(_, fault)| fault).collect()
        };
        assert_eq!(faults(0.996, 0.504), [false, false]);
        assert_eq!(faults(0.99, 0.51), [true, true]);
    }

    #[test]
    fn the_first_client_is_ours_and_stands_there_twice() {
        for case in CASES {
            let ours = case
                .clients
                .iter()
                .filter(|client| client.program == "event-loop");
            assert_eq!(ours.count(), 2, "{}", case.title);
            assert_eq!(case.clients[0].name, OURS);
            assert!(case.clients[0].bound.is_none() && case.clients[1].bound.is_none());
        }
    }

    #[test]
    fn rows_are_printed_with_their_verdicts() {
        let of = |time_ns, cpu_ns| vec![Sample { time_ns, cpu_ns }; 3];
        let case = &CASES[0];
        let clients = [case.clients[0], case.clients[1], case.clients[3]];
        let samples = [of(10.0, 10.0), of(10.0, 10.0), of(20.0, 15.0)];
        let mut out = Vec::new();
        let faults = report(&mut out, case, &clients, &samples, true).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(faults.len(), 1, "{text}");
        assert!(
            text.contains("pass: ours 2.00 times") && text.contains("FAIL: 0.67 of"),
            "{text}"
        );
    }
}
