//! Round trips over TCP as a distribution, and the CPU time of a message: the event loop beside blocking calls and bare mio.
//!
//! The servers share one core, the load has another one where the machine has two. In each round every server has its turn; a
//! percentile is the median of the rounds'.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::bench::Arguments;
use crate::report::Recorder;
use crate::report::model::{Measurement, Section, Unit, median, spread};
use crate::report::roles;
use crate::running::{Profile, Running};

/// The kind of benchmark that this is a part of.
const KIND: &str = "event_loop";
/// Contenders, as the roles name them, and their programs.
const SERVERS: [(&str, &str, &[&str]); 3] = [
    ("event loop", "loop_echo", &["tcp", "0"]),
    ("blocking", "tcp_echo_blocking", &["0"]),
    ("bare mio", "tcp_echo_mio", &["0"]),
];
const LOAD: &str = "tcp_load";
/// Connections, bytes, messages of a round.
const CASES: [(u32, u32, u64); 2] = [(1, 64, 10_000), (64, 64, 40_000)];
const ROUNDS: usize = 7;

/// What one load has brought.
#[derive(Debug)]
struct Sample {
    cpu_ns: f64,
    percentiles: Vec<(f64, f64)>,
}

/// Measures, and records both.
///
/// # Errors
/// When a program does not build or fails.
pub(crate) fn run(arguments: &Arguments, recorder: &mut Recorder) -> Result<()> {
    let profile = Profile::of(arguments.smoke);
    profile.build(SERVERS.map(|(_, program, _)| program).into_iter().chain([LOAD]))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let core = arguments.core.to_string();
    let other = ((arguments.core as usize + 1) % cores).to_string();
    let mut servers = Vec::new();
    for (name, program, words) in SERVERS {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let program = profile.executable(program);
        let mut server = Running::start(&["taskset", "-c", &core], &program, &words)?;
        let port = server.port().with_context(|| name)?;
        servers.push((name, server, port));
    }
    for (connections, size, messages) in CASES {
        let (rounds, messages) = if arguments.smoke {
            (1, u64::from(connections) * 4)
        } else {
            (ROUNDS, messages)
        };
        eprintln!("latency: {connections} x {size} B, {rounds} rounds");
        let mut samples: Vec<Vec<Sample>> = servers.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            for turn in 0..servers.len() {
                let place = (round + turn) % servers.len();
                let Some(((name, server, port), samples)) = servers.get(place).zip(samples.get_mut(place))
                else {
                    continue;
                };
                let words = [
                    port.clone(),
                    connections.to_string(),
                    size.to_string(),
                    messages.to_string(),
                    server.id().to_string(),
                    "latency".to_owned(),
                ];
                let output = Command::new("taskset")
                    .args(["-c", &other])
                    .arg(profile.executable(LOAD))
                    .args(words)
                    .output()
                    .context("start the load (with taskset, of util-linux)")?;
                let failed = String::from_utf8_lossy(&output.stderr);
                ensure!(output.status.success(), "the load of {name}: {failed}");
                let text = String::from_utf8_lossy(&output.stdout);
                samples.push(read(&text, messages).with_context(|| format!("the load said {text:?}"))?);
            }
        }
        let case = format!("{connections} x {size} B");
        for ((name, ..), samples) in servers.iter().zip(&samples) {
            recorder.measurements.extend(record(name, &case, samples)?);
        }
    }
    Ok(())
}

/// The lines `cpu NS` and `latency PERCENTILE NS` of a load.
fn read(text: &str, messages: u64) -> Option<Sample> {
    let cpu = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let percentiles = text.lines().filter_map(|line| line.strip_prefix("latency "));
    let percentiles = percentiles.map(|words| {
        let (percentile, ns) = words.split_once(' ')?;
        Some((percentile.parse().ok()?, ns.parse().ok()?))
    });
    let percentiles: Vec<(f64, f64)> = percentiles.collect::<Option<_>>()?;
    (!percentiles.is_empty()).then_some(Sample {
        cpu_ns: cpu.parse::<f64>().ok()? / messages as f64,
        percentiles,
    })
}

/// Of one server its distribution, whose value is the median, and the CPU time of a message.
fn record(name: &str, case: &str, samples: &[Sample]) -> Result<[Measurement; 2]> {
    let first = samples.first().context("no round")?;
    let percentiles: Vec<(f64, f64)> = first
        .percentiles
        .iter()
        .enumerate()
        .map(|(place, (percentile, _))| {
            let of_round = samples.iter().filter_map(|sample| sample.percentiles.get(place));
            (*percentile, median(of_round.map(|(_, ns)| *ns).collect()))
        })
        .collect();
    let middle = |sample: &Sample| {
        let found = sample
            .percentiles
            .iter()
            .find(|(percentile, _)| *percentile == 50.0);
        found.map_or(f64::NAN, |(_, ns)| *ns)
    };
    let medians: Vec<f64> = samples.iter().map(middle).collect();
    let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu_ns).collect();
    let round_trip = Measurement {
        kind: KIND.to_owned(),
        section: Section::Latency,
        group: "TCP echo".to_owned(),
        case: case.to_owned(),
        contender: name.to_owned(),
        role: roles::of(KIND, name).with_context(|| format!("{name} has no role"))?,
        unit: Unit::Nanoseconds,
        per: "round trip".to_owned(),
        value: median(medians.clone()),
        noise: spread(&medians),
        rounds: medians,
        percentiles,
        size: None,
        bounds: Vec::new(),
        command: format!("cargo xtask bench {KIND}"),
    };
    let cpu = Measurement {
        section: Section::Cpu,
        unit: Unit::CpuNanoseconds,
        per: "message".to_owned(),
        value: median(cpu.clone()),
        noise: spread(&cpu),
        rounds: cpu,
        percentiles: Vec::new(),
        ..round_trip.clone()
    };
    Ok([round_trip, cpu])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_read_and_its_rounds_become_one_curve() {
        let text = |median: u32| {
            format!("7 messages/s\ncpu 4000\nlatency 0 10\nlatency 50 {median}\nlatency 100 99\n")
        };
        let samples: Vec<Sample> = [30, 10, 20].map(|ns| read(&text(ns), 4).unwrap()).into();
        let [round_trip, cpu] = record("event loop", "1 x 64 B", &samples).unwrap();
        assert_eq!(round_trip.percentiles, [(0.0, 10.0), (50.0, 20.0), (100.0, 99.0)]);
        assert_eq!((round_trip.value, cpu.value), (20.0, 1_000.0));
        assert!(read("7 messages/s\n", 4).is_none());
        assert!(read("cpu 4000\nlatency 0 ten\n", 4).is_none());
    }

    #[test]
    fn every_server_has_a_role() {
        for (name, ..) in SERVERS {
            assert!(roles::of(KIND, name).is_some(), "{name}");
        }
    }
}
