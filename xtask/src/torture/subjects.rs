//! What is tortured: scenarios made for it, or the tests of a test binary, one at a time.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::trace::Marks;
use crate::binaries::{self, Binary};
use crate::process::Process;
use crate::workspace::target_folder;

/// A program with its arguments, and how its end is to be understood.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Of the scenario or the test.
    pub(super) name: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Scenario(PathBuf),
    Test(Box<Binary>),
}

/// What the scenarios look up at their beginning and their end.
const SCENARIO: Marks = Marks {
    begin: "/sockeye-torture/begin",
    end: "/sockeye-torture/end",
};

/// What libtest prints before and after the test.
const TEST: Marks = Marks {
    begin: "running 1 test",
    end: "test result",
};

impl Subject {
    /// A scenario for tests.
    #[cfg(test)]
    pub(super) fn nothing() -> Self {
        Self {
            name: "nothing".to_owned(),
            what: What::Scenario(PathBuf::new()),
        }
    }

    pub(super) fn command_line(&self) -> Vec<String> {
        match &self.what {
            What::Scenario(program) => vec![program.to_string_lossy().into_owned(), self.name.clone()],
            What::Test(binary) => vec![
                binary.executable.to_string_lossy().into_owned(),
                "--exact".to_owned(),
                self.name.clone(),
                "--test-threads".to_owned(),
                "1".to_owned(),
            ],
        }
    }

    /// The environment and folder that it needs, for a command that runs it.
    pub(super) fn prepare(&self, command: &mut Command) {
        if let What::Test(binary) = &self.what {
            binary.prepare(command);
        }
    }

    pub(super) fn marks(&self) -> Marks {
        match self.what {
            What::Scenario(_) => SCENARIO,
            What::Test(_) => TEST,
        }
    }

    /// Whether all that is in its trace is its own: a test may start programs that close what is not open.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.what, What::Scenario(_))
    }

    /// Whether it ended as it may although a call failed: `Some(true)` in success, `Some(false)` with an error that somebody was
    /// told of, `None` in any other way.
    ///
    /// A test that expected success and got an error panics: in a file of its own. A panic in a file of a crate is a fault.
    pub(super) fn understood(&self, status: Option<i32>, printed: &str) -> Option<bool> {
        match (&self.what, status) {
            (_, Some(0)) => Some(true),
            (What::Scenario(_), Some(1)) => Some(false),
            (What::Test(_), Some(101)) if !panics_in_a_crate(printed) => Some(false),
            _ => None,
        }
    }
}

fn panics_in_a_crate(printed: &str) -> bool {
    printed
        .lines()
        .filter_map(|line| line.split_once("panicked at "))
        .any(|(_, place)| place.starts_with("crates/") || place.contains("/crates/sockeye"))
}

/// The scenarios with `filter` in their names.
///
/// # Errors
/// When there is none, or they do not compile.
pub(super) fn scenarios(filter: Option<&str>) -> Result<Vec<Subject>> {
    Process::cargo("build --package sockeye-tests --example torture").run()?;
    let program = target_folder().join("debug/examples/torture");
    let output = Command::new(&program)
        .arg("--list")
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    let known = String::from_utf8_lossy(&output.stdout).into_owned();
    chosen(known.lines(), filter, &What::Scenario(program))
}

/// The tests of one integration test binary with `filter` in their names.
///
/// # Errors
/// When there is none, or the binary does not compile.
pub(super) fn tests(binary: &str, filter: Option<&str>) -> Result<Vec<Subject>> {
    let built = binaries::build_these(&format!("--package sockeye-tests --test {binary}"))?;
    let binary = built.into_iter().next().context("cargo built no test binary")?;
    let names = binary.tests()?;
    chosen(
        names.iter().map(String::as_str),
        filter,
        &What::Test(Box::new(binary)),
    )
}

fn chosen<'n>(
    known: impl Iterator<Item = &'n str> + Clone,
    filter: Option<&str>,
    what: &What,
) -> Result<Vec<Subject>> {
    let subjects: Vec<_> = known
        .clone()
        .filter(|name| filter.is_none_or(|filter| name.contains(filter)))
        .map(|name| Subject {
            name: name.to_owned(),
            what: what.clone(),
        })
        .collect();
    ensure!(
        !subjects.is_empty(),
        "nothing has {} in its name; there are: {}",
        filter.unwrap_or_default(),
        known.collect::<Vec<_>>().join(", ")
    );
    Ok(subjects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_crate_is_told_from_that_of_a_test() {
        assert!(!panics_in_a_crate(
            "thread 'a' (7) panicked at tests/tests/udp.rs:5:9:\nassertion failed"
        ));
        assert!(panics_in_a_crate(
            "thread 'a' (7) panicked at crates/sockeye-event-loop/src/core/life.rs:5:9:\n"
        ));
        let scenario = Subject::nothing();
        let understood = |status| scenario.understood(status, "");
        assert_eq!(
            [Some(0), Some(1), Some(3), Some(101), None].map(understood),
            [Some(true), Some(false), None, None, None]
        );
    }
}
