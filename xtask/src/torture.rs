//! `cargo xtask torture`: scenarios run again and again under strace, each time with another system call that fails.
//!
//! The idea is curl's: count the calls that a run makes, then make the first fail, the second, and so on, with each error
//! that it can return. The scenarios (`tests/examples/torture`) check their own bytes and descriptors. A run may end in
//! success or with an error that the API reported. It must not panic, hang, be killed by a signal, end early without an
//! error, deliver a wrong byte, leave a descriptor open, or close one twice.
//!
//! `--tests BINARY` does the same with the tests of an integration test binary. Those were not made for it: a test whose own
//! assertion fails counts as an error that was reported, and descriptors are not counted.

mod calls;
mod subjects;
mod trace;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use subjects::Subject;
use trace::Point;

/// What hangs is ended after this long. The scenario ends itself earlier.
const LIMIT: Duration = Duration::from_secs(45);

/// The pause between two looks at a run.
const PAUSE: Duration = Duration::from_millis(1);

/// Progress is printed this often where it is not on a terminal.
const REPORTED: usize = 500;

/// What `SOCKEYE_REQUIRE` is set to where nothing may be skipped (see `tests/src/skip.rs`).
const REQUIRE: &str = "SOCKEYE_REQUIRE";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only the scenarios (or tests) with this in their name: `tcp`, `relay`, `alone-unix`
    name: Option<String>,
    /// The tests of this integration test binary instead of the scenarios: `udp`, `tcp_stream`
    #[arg(long, value_name = "BINARY")]
    tests: Option<String>,
    /// One error for each call, and of its places the first, the middle and the last
    #[arg(long)]
    quick: bool,
    /// Runs at the same time [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Print the scenarios and how many runs they would take, and run none
    #[arg(long)]
    list: bool,
}

/// What `ci` runs: `--quick`, and nothing where strace is missing, unless nothing may be skipped.
///
/// # Errors
/// As [`run`].
pub(crate) fn quick() -> Result<()> {
    let required = std::env::var_os(REQUIRE).is_some_and(|value| value == "all");
    if !required && !has_strace() {
        eprintln!("skipped: needs strace (install: apt-get install strace)");
        return Ok(());
    }
    run(&Arguments {
        name: None,
        tests: None,
        quick: true,
        jobs: None,
        list: false,
    })
}

/// Runs the scenarios with their faults, and prints the table.
///
/// # Errors
/// When a run showed a fault, or there is no strace, or no such scenario.
#[expect(clippy::print_stdout, reason = "the table is this command's data")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        has_strace(),
        "strace is not installed; install it with: apt-get install strace"
    );
    let filter = arguments.name.as_deref();
    let subjects = match &arguments.tests {
        Some(binary) => subjects::tests(binary, filter)?,
        None => subjects::scenarios(filter)?,
    };
    let folder = Folder::new()?;
    let mut queue = Vec::new();
    for subject in &subjects {
        queue.extend(planned(subject, arguments.quick, &folder)?);
    }
    if arguments.list {
        let mut counts = BTreeMap::<&str, usize>::new();
        for fault in &queue {
            *counts.entry(&fault.subject.name).or_default() += 1;
        }
        for (name, count) in counts {
            println!("{name:16} {count:6}");
        }
        return Ok(());
    }
    let jobs = arguments.jobs.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        |jobs| jobs as usize,
    );
    let begun = Instant::now();
    let results = all(queue, jobs, &folder)?;
    println!("{}", table(&subjects, &results, begun.elapsed()));
    let faults: Vec<_> = results
        .iter()
        .filter_map(|(fault, outcome)| match outcome {
            Outcome::Fault(what) => Some((fault, what)),
            _ => None,
        })
        .collect();
    for (fault, what) in &faults {
        println!("\nFAULT {}: {what}\n    {}", fault.title(), fault.command());
    }
    ensure!(
        faults.is_empty(),
        "{} of {} runs showed a fault",
        faults.len(),
        results.len()
    );
    Ok(())
}

fn has_strace() -> bool {
    let version = Command::new("strace").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// One run: this call of this scenario fails with this error.
#[derive(Debug, Clone)]
struct Fault {
    subject: Arc<Subject>,
    call: String,
    n: usize,
    error: &'static str,
}

impl Fault {
    fn title(&self) -> String {
        format!(
            "{}: {} number {} fails with {}",
            self.subject.name, self.call, self.n, self.error
        )
    }

    fn injection(&self) -> String {
        format!("inject={}:error={}:when={}", self.call, self.error, self.n)
    }

    /// What one types to see it again.
    fn command(&self) -> String {
        let (injection, call) = (self.injection(), &self.call);
        let subject = self.subject.command_line().join(" ");
        format!("strace -f -yy -e trace={call} -e {injection} {subject}")
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The scenario succeeded all the same.
    Survived,
    /// The API reported an error.
    Told,
    /// The call was not made this time: threads do not always take the same way.
    Missed,
    Fault(String),
}

/// Where the traces go; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sockeye-torture-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn strace(log: &Path, traced: &str, injection: Option<&str>, subject: &Subject) -> Command {
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-qq",
            "-yy",
            "--seccomp-bpf",
            "-e",
            "signal=none",
            "-e",
            traced,
            "-o",
        ])
        .arg(log)
        .stdin(Stdio::null());
    if let Some(injection) = injection {
        command.args(["-e", injection]);
    }
    command.args(subject.command_line());
    subject.prepare(&mut command);
    command
}

/// Runs a subject undisturbed, and plans a run for each of its calls.
fn planned(subject: &Subject, quick: bool, folder: &Folder) -> Result<Vec<Fault>> {
    let log = folder.0.join("calls");
    let traced = format!("trace=statx,{}", calls::TRACED.join(","));
    let output = strace(&log, &traced, None, subject)
        .output()
        .context("start strace")?;
    ensure!(
        output.status.success(),
        "{} fails where no call does: {}",
        subject.name,
        String::from_utf8_lossy(&output.stdout)
    );
    let trace = std::fs::read(&log)?;
    let mut points = trace::points(&String::from_utf8_lossy(&trace), subject.marks());
    points.retain(|point| !calls::errors(&point.call, &point.line).is_empty());
    Ok(faults(&Arc::new(subject.clone()), &points, quick))
}

/// Each place with each error; or of each call three places, each with another of its errors.
fn faults(subject: &Arc<Subject>, points: &[Point], quick: bool) -> Vec<Fault> {
    let mut planned = Vec::new();
    for places in points.chunk_by(|one, other| one.call == other.call) {
        let last = places.len() - 1;
        for (index, point) in places.iter().enumerate() {
            let errors = calls::errors(&point.call, &point.line);
            let chosen = if !quick {
                errors
            } else if index == 0 || index == last / 2 || index == last {
                let of_this = index % errors.len();
                errors.get(of_this..=of_this).unwrap_or_default()
            } else {
                continue;
            };
            planned.extend(chosen.iter().map(|error| Fault {
                subject: Arc::clone(subject),
                call: point.call.clone(),
                n: point.n,
                error,
            }));
        }
    }
    planned
}

/// Runs them all, several at a time; in the order in which they were planned.
fn all(queue: Vec<Fault>, jobs: usize, folder: &Folder) -> Result<Vec<(Fault, Outcome)>> {
    let count = queue.len();
    let next = Mutex::new(queue.into_iter().enumerate());
    let done = Mutex::new(Vec::with_capacity(count));
    let take = || next.lock().ok().and_then(|mut queue| queue.next());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|job| {
                let log = folder.0.join(job.to_string());
                let (take, done) = (&take, &done);
                scope.spawn(move || -> Result<()> {
                    while let Some((index, fault)) = take() {
                        let outcome = one(&fault, &log)?;
                        let Ok(mut done) = done.lock() else {
                            bail!("another worker has failed");
                        };
                        if let Outcome::Fault(what) = &outcome {
                            // At once: the rest may take long.
                            eprintln!("\rFAULT {}: {what}", fault.title());
                        }
                        done.push((index, fault, outcome));
                        progress(done.len(), count);
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(result) => result?,
                Err(_) => bail!("a worker panicked"),
            }
        }
        Ok(())
    })?;
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, ..)| *index);
    Ok(done
        .into_iter()
        .map(|(_, fault, outcome)| (fault, outcome))
        .collect())
}

fn progress(done: usize, count: usize) {
    if std::io::stderr().is_terminal() {
        let end = if done == count { "\n" } else { "" };
        eprint!("\r\x1b[K{done} of {count} runs{end}");
    } else if done.is_multiple_of(REPORTED) || done == count {
        eprintln!("{done} of {count} runs");
    }
}

/// Runs one, to its end or the limit.
fn one(fault: &Fault, log: &Path) -> Result<Outcome> {
    let traced = format!("trace={},close", fault.call);
    // A file, as a pipe that nobody reads meanwhile would hold up who has much to say.
    let said = log.with_extension("said");
    let file = File::create(&said).with_context(|| format!("create {}", said.display()))?;
    let mut child = strace(log, &traced, Some(&fault.injection()), &fault.subject)
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("start strace")?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(Outcome::Fault(format!("not ended after {} s", LIMIT.as_secs())));
        }
        std::thread::sleep(PAUSE);
    };
    let text =
        |path: &Path| Ok::<_, std::io::Error>(String::from_utf8_lossy(&std::fs::read(path)?).into_owned());
    let (printed, trace) = (text(&said)?, text(log)?);
    Ok(judged(&fault.subject, status.code(), printed.trim(), &trace))
}

/// What a status, what was printed and the trace mean.
fn judged(subject: &Subject, status: Option<i32>, printed: &str, trace: &str) -> Outcome {
    if subject.is_alone()
        && let Some(line) = trace::closed_twice(trace)
    {
        return Outcome::Fault(format!("closed twice: {line}"));
    }
    let seen = trace::injected(trace).next();
    match (subject.understood(status, printed), seen) {
        (Some(_), None) => Outcome::Missed,
        (Some(true), Some(_)) => Outcome::Survived,
        (Some(false), Some(_)) => Outcome::Told,
        (None, seen) => {
            let status = status.map_or("ended by a signal".to_owned(), |status| {
                format!("status {status}")
            });
            Outcome::Fault(format!(
                "{status}: {printed}\n    {}",
                seen.unwrap_or("(no call failed)")
            ))
        }
    }
}

/// A line for each scenario, and one for all.
fn table(subjects: &[Subject], results: &[(Fault, Outcome)], took: Duration) -> String {
    let mut text = String::new();
    let mut line = |name: &str, of: &[&(Fault, Outcome)]| {
        let count = |wanted: fn(&Outcome) -> bool| of.iter().filter(|(_, outcome)| wanted(outcome)).count();
        let mut calls: Vec<&str> = of.iter().map(|(fault, _)| fault.call.as_str()).collect();
        calls.sort_unstable();
        calls.dedup();
        let _ = writeln!(
            text,
            "{name:16} {:6} {:6} {:8} {:8} {:8} {:6}",
            calls.len(),
            of.len(),
            count(|outcome| *outcome == Outcome::Survived),
            count(|outcome| *outcome == Outcome::Told),
            count(|outcome| *outcome == Outcome::Missed),
            count(|outcome| matches!(outcome, Outcome::Fault(_))),
        );
    };
    for subject in subjects {
        let is_of = |(fault, _): &&(Fault, Outcome)| fault.subject.name == subject.name;
        line(&subject.name, &results.iter().filter(is_of).collect::<Vec<_>>());
    }
    line("all", &results.iter().collect::<Vec<_>>());
    format!(
        "{:16} {:>6} {:>6} {:>8} {:>8} {:>8} {:>6}\n{text}in {:.1} s; a run that reported has told an error, in a run that missed the call was not made",
        "scenario",
        "calls",
        "runs",
        "survived",
        "reported",
        "missed",
        "faults",
        took.as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: &str = "10 accept4(5<TCP:[1]>) = -1 EMFILE (Too many open files) (INJECTED)\n";

    #[test]
    fn statuses_and_traces_are_judged() {
        let subject = Subject::nothing();
        let judged = |status, trace: &str| judged(&subject, status, "x", trace);
        assert_eq!(judged(Some(0), SEEN), Outcome::Survived);
        assert_eq!(judged(Some(1), SEEN), Outcome::Told);
        assert_eq!(judged(Some(1), ""), Outcome::Missed);
        for status in [Some(3), Some(4), Some(5), Some(101), None] {
            assert!(matches!(judged(status, SEEN), Outcome::Fault(_)), "{status:?}");
        }
        let twice = format!("{SEEN}10 close(5) = -1 EBADF (Bad file descriptor)\n");
        assert!(matches!(judged(Some(0), &twice), Outcome::Fault(_)));
    }

    #[test]
    fn quick_takes_three_places_of_each_call() {
        let point = |n| Point {
            call: "accept4".to_owned(),
            n,
            line: "accept4(5<TCP:[1]>".to_owned(),
        };
        let points: Vec<_> = (1..=9).map(point).collect();
        let of = |quick| faults(&Arc::new(Subject::nothing()), &points, quick);
        let places: Vec<_> = of(true).iter().map(|fault| fault.n).collect();
        assert_eq!(places, [1, 5, 9]);
        let errors = calls::errors("accept4", "");
        assert_eq!(of(false).len(), 9 * errors.len());
        assert_eq!(of(true)[1].error, errors[4]);
    }
}
