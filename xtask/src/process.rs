//! A command as data: shown before it runs, run with the terminal's streams, judged by its status.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// A program with its arguments and what it adds to the environment; it runs in the workspace's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Process {
    /// A program without arguments.
    pub(crate) fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The cargo that runs us, with these words, separated by blanks.
    pub(crate) fn cargo(words: &str) -> Self {
        Self::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())).words(words)
    }

    /// More arguments, separated by blanks.
    pub(crate) fn words(mut self, words: &str) -> Self {
        self.arguments.extend(words.split_whitespace().map(str::to_owned));
        self
    }

    /// One more argument, whatever is in it.
    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable in its environment.
    pub(crate) fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((variable, value.into()));
        self
    }

    /// The command for the standard library, for those who want its output.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(workspace::root());
        for variable in of_this_package() {
            command.env_remove(variable);
        }
        command
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it does not start, or its status is not success.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self.command().status().with_context(|| format!("start {self}"))?;
        if !status.success() {
            bail!("{self}: {status}");
        }
        Ok(())
    }
}

/// What cargo has told us about our own package. Build scripts ask to run again when it changes (ring's does): handed on, it
/// would have them and all that is built upon them made anew by each cargo that another cargo starts.
fn of_this_package() -> impl Iterator<Item = OsString> {
    let variables = std::env::vars_os().map(|(name, _)| name);
    variables.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")
    })
}

/// As one would type it.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        let name = Path::new(&self.program)
            .file_name()
            .map_or(self.program.as_str().into(), |name| name.to_string_lossy());
        write!(f, "{name}")?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let process = Process::new("/usr/bin/cargo")
            .words("test --test")
            .argument("prop_*")
            .with("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            process.to_string(),
            "RUSTDOCFLAGS='-D warnings' cargo test --test 'prop_*'"
        );
    }

    #[test]
    fn a_status_that_is_not_zero_is_an_error_that_names_the_command() {
        assert!(Process::new("true").run().is_ok());
        let error = Process::new("false").words("-x").run().unwrap_err().to_string();
        assert!(error.starts_with("false -x: "), "{error}");
        let error = Process::new("no-such-program").run().unwrap_err().to_string();
        assert_eq!(error, "start no-such-program");
    }
}
