//! Programs that are measured: found, started under an observer, ended.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::process::Process;
use crate::workspace::target_folder;

/// The program of the workspace, which is measured as it ships.
pub(crate) const PROGRAM: &str = "sockeye";

/// Where a program of ours lies: one of `benches/examples`, or [`PROGRAM`], built for release.
pub(crate) fn executable(example: &str) -> PathBuf {
    let release = target_folder().join("release");
    match example {
        PROGRAM => release.join(PROGRAM),
        example => release.join("examples").join(example),
    }
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
