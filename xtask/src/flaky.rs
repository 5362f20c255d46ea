//! `cargo xtask flaky`: the test binaries run many times, and what ever failed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _};
use std::panic::resume_unwind;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};

use crate::binaries::{self, Binary, Failure, Run};
use crate::test::Skips;

/// Busy processes beside the tests with `--load`.
const BUSY: usize = 2;

/// How much of a failure's output is shown.
const SHOWN_LINES: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the binaries with this in their name: `prop`, `udp`, `sockeye_endpoint`
    name: Option<String>,
    /// How often each binary runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Run beside two processes that keep a core busy each
    #[arg(long)]
    load: bool,
    /// Binaries that run at once: most tests wait more than they compute
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
}

/// Builds the binaries, runs them, and lists what failed.
///
/// # Errors
/// When a test has failed in any run, or does not compile.
#[expect(clippy::print_stdout, reason = "the list is this command's data")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut chosen = binaries::build()?;
    if let Some(name) = &arguments.name {
        let known: Vec<_> = chosen.iter().map(|binary| binary.target.clone()).collect();
        chosen.retain(|binary| binary.target.contains(name.as_str()));
        ensure!(
            !chosen.is_empty(),
            "no test binary has {name} in its name; there are: {}",
            known.join(", ")
        );
    }
    let skips = Skips::start();
    let load = if arguments.load {
        Load::start()?
    } else {
        Load::default()
    };
    let failed = run_all(&chosen, arguments)?;
    drop(load);
    skips.report();
    let tests = format!("{} binaries, each {} times", chosen.len(), arguments.runs);
    if failed.is_empty() {
        println!("{tests}: nothing ever failed");
        return Ok(());
    }
    for ((binary, test), seen) in &failed {
        println!("{}", listed(binary, test, seen, arguments.runs));
    }
    bail!("{tests}: {} failed, some or all of the times", failed.len());
}

/// What failed, by binary and test.
type Failed = BTreeMap<(String, String), Seen>;

/// How often, and what it printed the first time.
#[derive(Debug)]
struct Seen {
    times: u32,
    output: String,
}

/// What is to be run next, and what has failed.
struct Runs<'a> {
    chosen: &'a [Binary],
    runs: u32,
    /// The round and the place of the next binary.
    next: (u32, usize),
    failed: Failed,
}

impl<'a> Runs<'a> {
    /// The next binary, with its round; every binary has run before one runs again.
    fn take(&mut self) -> Option<(u32, &'a Binary)> {
        let (round, place) = self.next;
        let binary = self.chosen.get(place).filter(|_| round <= self.runs)?;
        self.next = if place + 1 < self.chosen.len() {
            (round, place + 1)
        } else {
            (round + 1, 0)
        };
        progress(&format!(
            "run {round} of {}, {} failed so far: {}",
            self.runs,
            self.failed.len(),
            binary.title()
        ));
        Some((round, binary))
    }

    #[expect(clippy::print_stdout, reason = "a failure is this command's data")]
    fn failed(&mut self, round: u32, binary: &Binary, failure: Failure) {
        let test = failure.test.unwrap_or_else(|| "(the binary itself)".to_owned());
        let key = (binary.title(), test);
        let seen = self.failed.entry(key.clone()).or_insert(Seen {
            times: 0,
            output: failure.output,
        });
        seen.times += 1;
        if seen.times == 1 {
            // At once: the rest may take hours.
            println!("{}", listed(&key.0, &key.1, seen, round));
        }
    }
}

/// Runs them all, `--jobs` at once; a binary that cannot be started ends it.
fn run_all(chosen: &[Binary], arguments: &Arguments) -> Result<Failed> {
    let environment = [Skips::variable()];
    let runs = Mutex::new(Runs {
        chosen,
        runs: arguments.runs,
        next: (1, 0),
        failed: Failed::new(),
    });
    let lock = || runs.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || -> Result<()> {
        loop {
            // Apart: the lock must not be held while it runs.
            let next = lock().take();
            let Some((round, binary)) = next else {
                return Ok(());
            };
            if let Run::Failed(failures) = binary.run(&[], &environment)? {
                let mut runs = lock();
                for failure in failures {
                    runs.failed(round, binary, failure);
                }
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(ended) => ended?,
                Err(panic) => resume_unwind(panic),
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    progress("");
    Ok(runs.into_inner().unwrap_or_else(PoisonError::into_inner).failed)
}

/// One line that is written over on a terminal, a line each elsewhere.
fn progress(line: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{line}");
    } else if !line.is_empty() {
        eprintln!("{line}");
    }
}

fn listed(binary: &str, test: &str, seen: &Seen, runs: u32) -> String {
    let mut text = format!("{} of {runs}: {binary}: {test}", seen.times);
    for line in seen.output.lines().take(SHOWN_LINES) {
        let _ = write!(text, "\n    {line}");
    }
    text
}

/// Processes that keep cores busy; ended when dropped. Should this process end in another way, they see the end of
/// their input and end too.
#[derive(Debug, Default)]
struct Load(Vec<Child>);

impl Load {
    fn start() -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut load = Self::default();
        for _ in 0..BUSY {
            let child = Command::new(&program)
                .arg("busy")
                .stdin(Stdio::piped())
                .spawn()
                .context("start a busy process")?;
            load.0.push(child);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Keeps a core busy until stdin ends: one of the processes that `--load` starts.
pub(crate) fn busy() {
    thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    // An error is an end too.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_listed_with_its_count_and_the_head_of_its_output() {
        let seen = Seen {
            times: 3,
            output: "line\n".repeat(100),
        };
        let text = listed("sockeye-tests --test udp", "a::b", &seen, 20);
        assert!(text.starts_with("3 of 20: sockeye-tests --test udp: a::b\n    line\n"));
        assert_eq!(text.lines().count(), 1 + SHOWN_LINES);
    }
}
