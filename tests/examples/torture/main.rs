//! What `cargo xtask torture` runs under strace: small scenarios that use the crates as a program would, each of which may
//! meet a system call that fails.
//!
//! `torture NAME` runs one, `torture --list` names them all. Its status says what came of it:
//!
//! | status | meaning |
//! |---|---|
//! | 0 | everything arrived, byte by byte |
//! | 1 | an error was reported by the API, as it should be |
//! | 3 | a fault: a wrong byte, an end that nobody reported, a descriptor that was left open |
//! | 4 | a fault: no progress until the deadline, and no error |
//! | 5 | a fault: a panic |
//!
//! Two marks, lookups of paths that do not exist, tell the trace where the scenario begins and ends: what the dynamic linker
//! does before, and what this file does after, is not under test.

mod alone;
mod datagrams;
mod ground;
mod relays;
mod streams;
mod threads;
mod whole;

use std::io::Write as _;
use std::process::{ExitCode, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ground::Failure;

/// After this long the process ends itself, whatever it does.
const WATCHDOG: Duration = Duration::from_secs(30);
/// How long descriptors may take to be closed: threads end in their own time.
const SETTLING: Duration = Duration::from_secs(3);

const STUCK: u8 = 4;
const PANICKED: u8 = 5;

/// A panic on any thread, also one that was caught.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

type Scenario = (&'static str, fn() -> Result<(), Failure>);

const SCENARIOS: &[Scenario] = &[
    ("tcp-echo", streams::tcp_echo),
    ("tcp-connects", streams::tcp_connects),
    ("tcp-file", streams::tcp_file),
    ("tcp-join", relays::tcp_join),
    ("unix-echo", streams::unix_echo),
    ("tls-echo", streams::tls_echo),
    ("relay-tcp", relays::tcp),
    ("relay-tls", relays::tls),
    ("relay-udp", relays::udp),
    ("udp-echo", datagrams::udp_echo),
    ("unix-datagrams", datagrams::unix_datagrams),
    ("names", datagrams::names),
    ("names-tcp", datagrams::names_by_tcp),
    ("ping", datagrams::ping),
    ("trace", datagrams::trace),
    ("timers", whole::timers),
    ("signals", whole::signals),
    ("remotes", threads::remotes),
    ("shards", threads::shards),
    ("shards-handed", threads::shards_by_hand),
    ("names-blocking", threads::names_blocking),
    ("alone-tcp", alone::tcp),
    ("alone-splice", alone::splice),
    ("alone-udp", alone::udp),
    ("alone-unix", alone::unix),
    ("alone-raw", alone::raw),
];

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let Some(name) = argument.filter(|name| name != "--list") else {
        for (name, _) in SCENARIOS {
            say(name);
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, scenario)) = SCENARIOS.iter().find(|(known, _)| *known == name) else {
        say(&format!("no scenario is called {name}"));
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|information| {
        HAS_PANICKED.store(true, Ordering::SeqCst);
        say(&format!("panic: {information}"));
    }));
    let watchdog = std::thread::Builder::new().spawn(|| {
        std::thread::sleep(WATCHDOG);
        say("stuck: the watchdog ended it");
        exit(STUCK.into());
    });
    if let Err(error) = watchdog {
        say(&format!("told: {error}"));
        return ExitCode::from(1);
    }
    let before = descriptors();
    mark("begin");
    let outcome = std::panic::catch_unwind(scenario);
    mark("end");
    ExitCode::from(judged(outcome, before))
}

/// The status, after a line that gives the reason.
fn judged(outcome: std::thread::Result<Result<(), Failure>>, before: Vec<String>) -> u8 {
    let status = match outcome {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => {
            say(&failure.to_string());
            failure.status()
        }
        Err(_) => PANICKED,
    };
    if HAS_PANICKED.load(Ordering::SeqCst) {
        return PANICKED;
    }
    if status > 1 {
        return status;
    }
    let begun = Instant::now();
    loop {
        let left: Vec<String> = descriptors()
            .into_iter()
            .filter(|descriptor| !before.contains(descriptor))
            .collect();
        if left.is_empty() {
            return status;
        }
        if begun.elapsed() > SETTLING {
            let failure = Failure::Wrong(format!("descriptors were left open: {left:?}"));
            say(&failure.to_string());
            return failure.status();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What is open, as number and object, without the descriptor that the look itself needs.
fn descriptors() -> Vec<String> {
    // It may meet the injected error itself: then once more.
    for _ in 0..3 {
        let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
            continue;
        };
        return entries
            .flatten()
            .filter_map(|entry| {
                let target = std::fs::read_link(entry.path()).ok()?;
                let text = format!("{} {}", entry.file_name().to_string_lossy(), target.display());
                (!text.contains("/proc/")).then_some(text)
            })
            .collect();
    }
    Vec::new()
}

/// A system call that the trace knows again.
fn mark(what: &str) {
    let _ = std::fs::metadata(format!("/sockeye-torture/{what}"));
}

/// A line on stdout: never a panic, as `println!` has where stdout fails.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
