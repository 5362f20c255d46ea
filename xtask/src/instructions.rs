//! `cargo xtask bench --instructions`: user instructions a message, counted under callgrind.
//!
//! Each program runs twice, with few messages and with many; the difference by the difference in messages is
//! what one message costs, start and end left out. The count does not depend on the load of the machine.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench::Arguments;
use crate::process::Process;
use crate::workspace::target_folder;

/// The program that sends messages to server programs.
const LOAD: &str = "tcp_load";

/// Messages of the short run and of the long one.
const MESSAGES: [u64; 2] = [2_000, 12_000];

/// One row of the table.
#[derive(Debug)]
struct Measurement {
    /// The benchmark that it belongs to: `cargo xtask bench event_loop --instructions`.
    bench: &'static str,
    name: &'static str,
    program: Program,
    /// More instructions a message than this are a failure.
    bound: Option<f64>,
}

/// A program of `benches/examples`.
#[derive(Debug)]
enum Program {
    /// An echo server, which [`LOAD`] sends messages to.
    Server {
        example: &'static str,
        connections: u32,
        size: u32,
    },
}

/// What is counted.
const MEASUREMENTS: &[Measurement] = &[
    tcp_echo("bare mio, 1 connection", "tcp_echo_mio", 1, None),
    tcp_echo("bare mio, 64 connections", "tcp_echo_mio", 64, None),
];

const fn tcp_echo(
    name: &'static str,
    example: &'static str,
    connections: u32,
    bound: Option<f64>,
) -> Measurement {
    let program = Program::Server {
        example,
        connections,
        size: 64,
    };
    Measurement {
        bench: "event_loop",
        name,
        program,
        bound,
    }
}

/// Builds the programs, counts, and prints the table.
///
/// # Errors
/// When a bound is broken, or a program fails; without valgrind.
#[expect(clippy::print_stdout, reason = "the table is this command's data")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let name = arguments.name.as_ref().map(|name| name.replace('-', "_"));
    let chosen: Vec<_> = MEASUREMENTS
        .iter()
        .filter(|row| name.as_ref().is_none_or(|name| name == row.bench))
        .collect();
    ensure!(
        !chosen.is_empty(),
        "nothing is counted for {}",
        name.unwrap_or_default()
    );
    ensure!(
        Command::new("valgrind").arg("--version").output().is_ok(),
        "valgrind is not installed; install it with: apt-get install valgrind"
    );
    build(&chosen)?;
    println!(
        "{:<12} {:<36} {:>14} {:>8}",
        "benchmark", "what", "instructions", "bound"
    );
    let mut broken = Vec::new();
    for row in chosen {
        let count = per_message(&row.program).with_context(|| row.name)?;
        let bound = row
            .bound
            .map_or_else(|| "-".to_owned(), |bound| format!("{bound:.0}"));
        println!("{:<12} {:<36} {count:>14.1} {bound:>8}", row.bench, row.name);
        if row.bound.is_some_and(|bound| count > bound) {
            broken.push(row.name);
        }
    }
    if !broken.is_empty() {
        bail!("more instructions a message than allowed: {}", broken.join("; "));
    }
    Ok(())
}

fn build(rows: &[&Measurement]) -> Result<()> {
    let mut build = Process::cargo("build --release --package sockeye-benches --example").argument(LOAD);
    for row in rows {
        let Program::Server { example, .. } = row.program;
        build = build.argument("--example").argument(example);
    }
    build.run()
}

fn per_message(program: &Program) -> Result<f64> {
    let [short, long] = MESSAGES;
    let (few, many) = (count(program, short)?, count(program, long)?);
    Ok(many.saturating_sub(few) as f64 / (long - short) as f64)
}

/// The instructions of one run.
fn count(program: &Program, messages: u64) -> Result<u64> {
    match *program {
        Program::Server {
            example,
            connections,
            size,
        } => {
            let mut server = Counted::start(&executable(example), &["0"])?;
            let port = server.port()?;
            let load = Command::new(executable(LOAD))
                .args([
                    port,
                    connections.to_string(),
                    size.to_string(),
                    messages.to_string(),
                ])
                .output()
                .context("start the load")?;
            ensure!(
                load.status.success(),
                "the load: {}",
                String::from_utf8_lossy(&load.stderr)
            );
            server.finish()
        }
    }
}

fn executable(example: &str) -> PathBuf {
    target_folder().join("release/examples").join(example)
}

/// A program under callgrind; killed when dropped.
struct Counted(Child);

impl Counted {
    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let child = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self(child))
    }

    /// The port of the line with which a server program begins.
    fn port(&mut self) -> Result<String> {
        let stdout = self.0.stdout.as_mut().context("the line is read once")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("read the server's first line")?;
        let port = line
            .trim_end()
            .rsplit(':')
            .next()
            .filter(|port| port.parse::<u16>().is_ok());
        port.map(str::to_owned)
            .with_context(|| format!("the server began with {line:?}"))
    }

    /// Ends a server and returns what it has counted.
    fn finish(mut self) -> Result<u64> {
        Process::new("kill").argument(self.0.id().to_string()).run()?;
        let mut report = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr
                .read_to_string(&mut report)
                .context("read valgrind's report")?;
        }
        collected(&report).with_context(|| format!("valgrind counted nothing: {report}"))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number in `==123== Collected : 456`.
fn collected(report: &str) -> Option<u64> {
    report
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_valgrinds_report() {
        let report = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(report), Some(123_456));
        assert_eq!(collected("==7== Process terminating\n"), None);
    }

    #[test]
    fn every_program_that_is_counted_exists() {
        for row in MEASUREMENTS {
            let Program::Server { example, .. } = row.program;
            let path = crate::workspace::root()
                .join("benches/examples")
                .join(format!("{example}.rs"));
            assert!(path.is_file(), "{}", path.display());
        }
    }
}
