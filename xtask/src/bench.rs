//! `cargo xtask bench`: what is measured, in which order, and what comes of it: a table, results as JSON, a page.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};

use crate::process::Process;
use crate::report::{Plan, Recorder, criterion, store};
use crate::step::{self, Step};
use crate::{cpu, growth, instructions, latency, names, start, workspace};

#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Each run ends with a table, target/sockeye/bench/last.json and target/sockeye/report/index.html.\n\n\
Examples:\n\
\x20 cargo xtask bench udp\n\
\x20 cargo xtask bench tcp --save before\n\
\x20 cargo xtask bench tcp --baseline before\n\
\x20 cargo xtask bench tcp --instructions\n\
\x20 cargo xtask bench growth timers")]
pub(crate) struct Arguments {
    /// One of endpoint, packet, tcp, udp, unix, raw, event_loop, pair, sim, probe, spin; all of them when left out; or relay or
    /// tls: instructions and system calls beside programs by hand, then CPU time beside them and other programs; or quic:
    /// CPU time and memory beside quinn; or resolver:
    /// instructions, then queries a second, CPU time and memory beside other clients; or growth: what a unit costs while things
    /// become large; or start: the size of the program and the instructions of its start
    #[arg(value_name = "TYPE")]
    pub(crate) name: Option<String>,
    /// Of growth: one of its subjects, such as connections
    pub(crate) subject: Option<String>,
    /// Go quickly through all types, or through one, to show that they work: nothing is judged, and the page says so
    #[arg(long)]
    pub(crate) smoke: bool,
    /// Count user instructions a message under callgrind, against their bounds (needs: apt-get install valgrind)
    #[arg(long, conflicts_with = "smoke")]
    pub(crate) instructions: bool,
    /// Keep the results as target/sockeye/bench/NAME.json
    #[arg(long, value_name = "NAME")]
    pub(crate) save: Option<String>,
    /// Compare with the results of that name: the column `before` has how many times its cost ours is now
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// Of relay, tls, quic and resolver: CPU time alone, nothing is counted
    #[arg(long, conflicts_with = "instructions")]
    pub(crate) cpu: bool,
    /// Of relay, tls, quic and resolver: how often each CPU time is measured; the median counts
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Of relay, tls, quic, resolver and event_loop: the core on which everything runs whose CPU time is measured; of the first two its
    /// load too
    #[arg(long, default_value_t = 0)]
    pub(crate) core: u32,
    /// Of resolver: this is the run in namespaces of its own, with its files in this folder
    #[arg(long, hide = true, requires = "cpu")]
    pub(crate) within: Option<PathBuf>,
}

impl Arguments {
    fn smoke() -> Self {
        Self {
            smoke: true,
            rounds: 1,
            ..Self::default()
        }
    }

    /// As one would type it.
    fn command(&self) -> String {
        let mut words = vec!["cargo xtask bench".to_owned()];
        words.extend([&self.name, &self.subject].into_iter().flatten().cloned());
        let flags = [
            (self.smoke, "--smoke"),
            (self.instructions, "--instructions"),
            (self.cpu, "--cpu"),
        ];
        words.extend(
            flags
                .into_iter()
                .filter(|(set, _)| *set)
                .map(|(_, flag)| flag.to_owned()),
        );
        words.extend(self.save.as_ref().map(|name| format!("--save {name}")));
        words.extend(self.baseline.as_ref().map(|name| format!("--baseline {name}")));
        words.join(" ")
    }
}

/// A part of a run.
#[derive(Debug, PartialEq, Eq)]
enum Work {
    /// These targets of `benches/benches`.
    Criterion(Vec<String>),
    Latency,
    /// The tables of a kind: servers beside peers.
    Cpu(&'static str),
    Names,
    /// Of a kind, or of all.
    Instructions(Option<String>),
    Growth,
    Start,
}

/// The target that needs a capability.
const RAW: &str = "raw";

/// Kinds that have no criterion target, or are measured beside other programs: they take their time, and are no part of a run
/// that names no kind.
const APART: [&str; 6] = ["relay", "tls", "quic", "resolver", "growth", "start"];

/// Measures, and writes table, results and page, also when something has failed or a bound is broken.
///
/// # Errors
/// What was wrong in the parts of the run; before anything is measured, when there is no such benchmark, or a baseline that cannot
/// be used.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(folder) = &arguments.within {
        return names::within(arguments, folder);
    }
    let known = workspace::targets(&workspace::root().join("benches/benches"))?;
    let works = works(arguments, &known)?;
    let mut plan = Plan::new(
        arguments.save.as_deref(),
        arguments.baseline.as_deref(),
        arguments.smoke,
    )?;
    plan.partial = arguments.subject.is_some();
    let mut recorder = Recorder::default();
    let mut faults = Vec::new();
    for work in &works {
        if let Err(error) = work.run(arguments, &mut recorder) {
            eprintln!("xtask: {error:#}");
            faults.push(format!("{error:#}"));
        }
    }
    if let Err(error) = recorder.judge_skipped() {
        faults.push(format!("{error:#}"));
    }
    plan.finish(recorder, arguments.command())?;
    if arguments.name.is_none() && !arguments.smoke && !arguments.instructions {
        eprintln!(
            "not in it, as they take their time: cargo xtask bench {}; and --instructions",
            APART.join("|")
        );
    }
    match faults.len() {
        0 => Ok(()),
        _ => bail!("{}", faults.join("; ")),
    }
}

/// The step of `ci`.
///
/// # Errors
/// As [`run`].
pub(crate) fn smoke() -> Result<()> {
    run(&Arguments::smoke())
}

/// What the words ask for.
fn works(arguments: &Arguments, known: &[String]) -> Result<Vec<Work>> {
    let name = arguments.name.as_ref().map(|name| name.replace('-', "_"));
    let name = name.as_deref();
    let has_peers = matches!(name, Some("relay" | "tls" | "quic" | "resolver"));
    ensure!(
        !arguments.cpu || has_peers,
        "CPU time beside peers is measured of relay, tls, quic and resolver"
    );
    if let Some(subject) = &arguments.subject {
        ensure!(name == Some("growth"), "{subject}: only growth has subjects");
    }
    if let Some(name) = name
        && !known.iter().any(|target| target == name)
        && !APART.contains(&name)
    {
        let all: Vec<&str> = known.iter().map(String::as_str).chain(APART).collect();
        bail!("no benchmark is called {name}; there are: {}", all.join(", "));
    }
    if arguments.instructions {
        return Ok(vec![Work::Instructions(name.map(str::to_owned))]);
    }
    let counted = |kind: &str, measured: Work| {
        if arguments.cpu || arguments.smoke {
            vec![measured]
        } else {
            vec![Work::Instructions(Some(kind.to_owned())), measured]
        }
    };
    Ok(match name {
        None if arguments.smoke => vec![
            Work::Criterion(known.to_vec()),
            Work::Latency,
            Work::Instructions(None),
            Work::Cpu("relay"),
            Work::Cpu("tls"),
            Work::Cpu("quic"),
            Work::Names,
            Work::Growth,
        ],
        None => vec![Work::Criterion(known.to_vec()), Work::Latency],
        Some("relay") => counted("relay", Work::Cpu("relay")),
        Some("tls") => counted("tls", Work::Cpu("tls")),
        Some("quic") => vec![Work::Cpu("quic")],
        Some("resolver") => counted("resolver", Work::Names),
        Some("growth") => vec![Work::Growth],
        Some("start") => vec![Work::Start],
        Some("event_loop") => vec![Work::Criterion(vec!["event_loop".to_owned()]), Work::Latency],
        Some(name) => vec![Work::Criterion(vec![name.to_owned()])],
    })
}

impl Work {
    fn run(&self, arguments: &Arguments, recorder: &mut Recorder) -> Result<()> {
        match self {
            Self::Criterion(targets) => run_criterion(targets, arguments.smoke, recorder),
            Self::Latency => latency::run(arguments, recorder),
            Self::Cpu(kind) => cpu::run(kind, arguments, recorder),
            Self::Names => names::run(arguments, recorder),
            Self::Instructions(_) if arguments.smoke => instructions::smoke(recorder),
            Self::Instructions(kind) => instructions::run(kind.as_deref(), recorder),
            Self::Growth => growth::run(arguments, recorder),
            Self::Start => start::run(recorder),
        }
    }
}

/// Runs criterion targets, and takes in what they have left.
fn run_criterion(targets: &[String], smoke: bool, recorder: &mut Recorder) -> Result<()> {
    // Times of files are those of the last tick of the kernel's clock.
    let since = SystemTime::now() - Duration::from_millis(20);
    let ran = step::run_all(&steps(targets, smoke), step::OnFailure::KeepGoing);
    let measured = criterion::collect(&criterion_home(smoke), since)?;
    // Without the capability this target says so and ends well.
    let needs_capability = |target: &&String| {
        target.as_str() == RAW && ran.is_ok() && !measured.iter().any(|one| one.kind == RAW)
    };
    if targets.iter().any(|target| needs_capability(&target)) {
        recorder.skip("raw needs CAP_NET_RAW (run as root, or under `unshare -Urn`)")?;
    }
    recorder.measurements.extend(measured);
    ran
}

/// Those of a smoke run lie apart: the next run that measures compares itself with the last that did.
fn criterion_home(smoke: bool) -> PathBuf {
    if smoke {
        store::folder().join("criterion-smoke")
    } else {
        workspace::target_folder().join("criterion")
    }
}

/// One for each target; of a smoke run one for all, by what the tests select, in their profile: everything but the benchmarks
/// themselves is then built already.
fn steps(targets: &[String], smoke: bool) -> Vec<Step> {
    let home = criterion_home(smoke);
    let home = home.to_string_lossy();
    if smoke {
        let run = Process::cargo("bench --workspace --all-features --profile dev");
        let run = targets
            .iter()
            .fold(run, |run, target| run.words("--bench").argument(target))
            .words("-- --noplot --quiet --warm-up-time 0.001 --measurement-time 0.01 --sample-size 10 --nresamples 1001")
            .with("SOCKEYE_BENCH_SMOKE", "1")
            .with("CRITERION_HOME", home);
        return vec![Step::new("bench", "criterion, smoke", run)];
    }
    let run = |target: &String| {
        Process::cargo("bench --package sockeye-benches --bench")
            .argument(target)
            .words("-- --noplot --warm-up-time 0.3 --measurement-time 1 --sample-size 30")
            .with("CRITERION_HOME", home.clone())
    };
    targets
        .iter()
        .map(|target| Step::new("bench", target, run(target)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["event_loop", "tcp"].map(str::to_owned).to_vec()
    }

    fn of(name: &str) -> Arguments {
        Arguments {
            name: Some(name.to_owned()),
            ..Arguments::default()
        }
    }

    #[test]
    fn an_unknown_benchmark_is_named() {
        let error = works(&of("sctp"), &known()).unwrap_err().to_string();
        assert!(
            error.contains("no benchmark is called sctp; there are: event_loop, tcp, relay"),
            "{error}"
        );
        assert!(works(&of("event-loop"), &known()).is_ok());
    }

    #[test]
    fn words_that_do_not_go_together_are_errors() {
        let with = |change: fn(&mut Arguments)| {
            let mut arguments = of("tcp");
            change(&mut arguments);
            works(&arguments, &known()).is_err()
        };
        assert!(with(|arguments| arguments.cpu = true));
        assert!(with(|arguments| arguments.subject = Some("timers".to_owned())));
        assert!(!with(|arguments| arguments.instructions = true));
    }

    #[test]
    fn a_baseline_that_is_not_there_is_an_error_before_anything_is_measured() {
        let arguments = Arguments {
            baseline: Some("no-run-has-this-name".to_owned()),
            ..of("tcp")
        };
        let error = format!("{:#}", run(&arguments).unwrap_err());
        assert!(
            error.contains("no results are called no-run-has-this-name"),
            "{error}"
        );
        let arguments = Arguments {
            save: Some("../x".to_owned()),
            ..of("tcp")
        };
        assert!(run(&arguments).is_err());
    }

    #[test]
    fn the_smoke_run_goes_through_everything_that_is_apart() {
        let works = works(&Arguments::smoke(), &known()).unwrap();
        for work in [
            Work::Cpu("relay"),
            Work::Cpu("tls"),
            Work::Cpu("quic"),
            Work::Names,
            Work::Growth,
            Work::Latency,
        ] {
            assert!(works.contains(&work), "{work:?}");
        }
    }

    #[test]
    fn the_smoke_run_leaves_what_was_measured_alone() {
        let steps = steps(&known(), true);
        let [step] = &steps[..] else { panic!("{steps:?}") };
        assert!(step.title().contains("criterion-smoke"), "{}", step.title());
        assert_ne!(criterion_home(true), criterion_home(false));
    }

    #[test]
    fn the_command_is_shown_as_it_was_typed() {
        let arguments = Arguments {
            save: Some("a".to_owned()),
            cpu: true,
            ..of("relay")
        };
        assert_eq!(arguments.command(), "cargo xtask bench relay --cpu --save a");
    }
}
