//! Programs that are measured: found, started under an observer, ended.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::process::Process;
use crate::workspace::target_folder;

/// The program of the workspace, which is measured as it ships.
pub(crate) const PROGRAM: &str = "sockeye";

/// The relay that ends TLS, an example of its crate.
const TLS_RELAY: &str = "tls_relay";

/// How programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// To be measured, each as it ships.
    Release,
    /// To be shown to work: by the selection of the tests, most of which is built already.
    Dev,
}

impl Profile {
    /// That of a run which measures, or does not.
    pub(crate) const fn of(smoke: bool) -> Self {
        if smoke { Self::Dev } else { Self::Release }
    }

    /// Where a program of ours lies: an example, or [`PROGRAM`].
    pub(crate) fn executable(self, example: &str) -> PathBuf {
        let folder = target_folder().join(match self {
            Self::Release => "release",
            Self::Dev => "debug",
        });
        match example {
            PROGRAM => folder.join(PROGRAM),
            example => folder.join("examples").join(example),
        }
    }

    /// Builds examples, and [`PROGRAM`] where it is among them.
    ///
    /// # Errors
    /// When something does not build.
    pub(crate) fn build<'a>(self, programs: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut examples: Vec<&str> = programs.into_iter().collect();
        examples.sort_unstable();
        examples.dedup();
        let mut selected = |name: &str| {
            let before = examples.len();
            examples.retain(|example| *example != name);
            before > examples.len()
        };
        let (program, relay) = (selected(PROGRAM), selected(TLS_RELAY));
        if self == Self::Dev {
            let build = Process::cargo("build --workspace --all-features");
            let build = if program {
                build.words("--bin").argument(PROGRAM)
            } else {
                build
            };
            let build = if relay {
                build.words("--example").argument(TLS_RELAY)
            } else {
                build
            };
            return with_examples(build, &examples).run();
        }
        // Apart: with the features of the benchmarks they would not be the programs that ship.
        if program {
            Process::cargo("build --release --package sockeye-cli --bin sockeye").run()?;
        }
        if relay {
            Process::cargo("build --release --package sockeye-relay --features ring --example tls_relay")
                .run()?;
        }
        if examples.is_empty() {
            return Ok(());
        }
        with_examples(
            Process::cargo("build --release --package sockeye-benches"),
            &examples,
        )
        .run()
    }
}

fn with_examples(build: Process, examples: &[&str]) -> Process {
    examples.iter().fold(build, |build, example| {
        build.words("--example").argument(*example)
    })
}

/// A program, under an observer or alone; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts a program, with an observer's words before it.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(observer: &[&str], program: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = match observer {
            [] => Command::new(program),
            [name, words @ ..] => {
                let mut command = Command::new(name);
                command.args(words).arg(program);
                command
            }
        };
        let child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self(child))
    }

    /// The number of its process, or of its observer's.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it: by the signal that it would get from a terminal, which its observer passes on or shares.
    pub(crate) fn end(&self) -> Result<()> {
        // strace detaches at a signal and leaves its program running: that is the one to end.
        let own = self.0.id();
        let children =
            std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let pid = children
            .split_whitespace()
            .next()
            .map_or_else(|| own.to_string(), str::to_owned);
        Process::new("kill").argument(pid).run()
    }

    /// The port of the line with which a server program begins.
    pub(crate) fn port(&mut self) -> Result<String> {
        let stdout = self.0.stdout.as_mut().context("the line is read once")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("read the server's first line")?;
        let port = line
            .trim_end()
            .rsplit(':')
            .next()
            .filter(|port| port.starts_with('@') || port.parse::<u16>().is_ok());
        port.map(str::to_owned)
            .with_context(|| format!("the server began with {line:?}"))
    }

    /// Waits for its end and returns what the observer said.
    pub(crate) fn finish(mut self) -> Result<String> {
        let mut report = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            stderr
                .read_to_string(&mut report)
                .context("read the observer's report")?;
        }
        Ok(report)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
