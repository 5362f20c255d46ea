//! The test binaries of the workspace: built once, run as often as one likes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process::Process;
use crate::workspace::{Area, target_folder};

/// How long one run may take. What hangs is ended, and counts as failed.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The pause between two looks at a run.
const PAUSE: Duration = Duration::from_millis(10);

/// One binary with tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binary {
    package: String,
    /// As cargo selects it: `--lib`, `--test udp`, `--bin sockeye`.
    selection: String,
    /// The target's name: `sockeye_endpoint`, `udp`.
    pub(crate) target: String,
    pub(crate) executable: PathBuf,
    /// The package's folder, in which cargo runs its tests.
    folder: PathBuf,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Passed,
    /// The tests that failed with what they printed; one without a name where the binary did not end as it should.
    Failed(Vec<Failure>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) test: Option<String>,
    pub(crate) output: String,
}

/// Builds the tests of every package, and returns their binaries.
///
/// # Errors
/// When something does not compile.
pub(crate) fn build() -> Result<Vec<Binary>> {
    build_these("--workspace --all-features --tests")
}

/// Builds the tests that cargo selects by these words.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_these(words: &str) -> Result<Vec<Binary>> {
    let build = Process::cargo("test --no-run --message-format json-render-diagnostics").words(words);
    let output = build
        .command()
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {build}"))?;
    ensure!(output.status.success(), "{build}: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| Binary::of(&serde_json::from_str(line).ok()?))
        .collect())
}

/// Tells the logs of runs apart.
static RUN: AtomicU64 = AtomicU64::new(0);

impl Binary {
    /// Of one of cargo's messages, if it is about a binary with tests.
    fn of(message: &Value) -> Option<Self> {
        message.pointer("/profile/test")?.as_bool().filter(|&test| test)?;
        let text = |pointer| message.pointer(pointer)?.as_str().map(str::to_owned);
        let target = text("/target/name")?;
        let selection = match text("/target/kind/0")?.as_str() {
            "test" => format!("--test {target}"),
            "bin" => format!("--bin {target}"),
            _ => "--lib".to_owned(),
        };
        // `path+file:///folder/name#0.1.0` or `path+file:///folder#name@0.1.0`.
        let id = text("/package_id")?;
        let (folder, version) = id.split_once('#')?;
        let package = match version.split_once('@') {
            Some((name, _)) => name,
            None => folder.rsplit('/').next()?,
        };
        Some(Self {
            package: package.to_owned(),
            selection,
            target,
            executable: text("/executable")?.into(),
            folder: Path::new(&text("/manifest_path")?).parent()?.to_owned(),
        })
    }

    /// Whether it has tests of that area.
    pub(crate) fn is_of(&self, area: &Area<'_>) -> bool {
        area.package == Some(&self.package)
            || (self.package == "sockeye-tests" && area.tests.contains(&self.target.as_str()))
    }

    /// `sockeye-tests --test udp`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.package, self.selection)
    }

    /// What one types to run one test of it, or all.
    pub(crate) fn command_line(&self, test: Option<&str>) -> String {
        let all = format!("cargo test --all-features --package {}", self.title());
        test.map_or(all.clone(), |test| format!("{all} -- --exact {test}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    /// What a command needs that runs it, or runs something that runs it.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("SOCKEYE_PROGRAM", target_folder().join("debug/sockeye"))
            .stdin(Stdio::null());
    }

    /// Whether any of its tests has `filter` in its path.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn has(&self, filter: &str) -> Result<bool> {
        Ok(self.tests()?.iter().any(|test| test.contains(filter)))
    }

    /// The paths of its tests.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn tests(&self) -> Result<Vec<String>> {
        let output = self
            .command(&["--list", "--format", "terse"])
            .output()
            .with_context(|| self.title())?;
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect())
    }

    /// Runs it to its end, or to the limit.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, String)]) -> Result<Run> {
        // Several may run at once.
        let number = RUN.fetch_add(1, Ordering::Relaxed);
        let log = std::env::temp_dir().join(format!("sockeye-run-{}-{number}.log", std::process::id()));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut child = self
            .command(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| self.title())?;
        let begun = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break (!status.success()).then(|| status.to_string());
            }
            if begun.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                break Some(format!("not ended after {} s", LIMIT.as_secs()));
            }
            std::thread::sleep(PAUSE);
        };
        let output = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        std::fs::remove_file(&log)?;
        Ok(ended.map_or(Run::Passed, |status| Run::Failed(failures(&output, &status))))
    }
}

/// The tests that libtest says have failed, each with what it printed.
fn failures(output: &str, status: &str) -> Vec<Failure> {
    let failed: Vec<Failure> = output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(|test| Failure {
            test: Some(test.to_owned()),
            output: printed(output, test),
        })
        .collect();
    if !failed.is_empty() {
        return failed;
    }
    let lines: Vec<&str> = output.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
    vec![Failure {
        test: None,
        output: format!("{status}\n{}", tail.join("\n")),
    }]
}

/// The lines between `---- TEST stdout ----` and the next such line, or the list of names at the end. A test that runs itself
/// as a process of its own prints what libtest said there, with a `failures:` of its own.
fn printed(output: &str, test: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let names = lines.iter().rposition(|line| *line == "failures:");
    let lines: Vec<&str> = lines[..names.unwrap_or(lines.len())]
        .iter()
        .copied()
        .skip_while(|line| *line != format!("---- {test} stdout ----"))
        .skip(1)
        .take_while(|line| !line.starts_with("---- "))
        .collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_read_from_cargos_message() {
        let message = |id: &str, kind: &str, test: bool| {
            serde_json::json!({
                "package_id": id,
                "manifest_path": "/w/tests/Cargo.toml",
                "target": { "kind": [kind], "name": "udp" },
                "profile": { "test": test },
                "executable": "/w/target/debug/deps/udp-1",
            })
        };
        let binary = Binary::of(&message("path+file:///w/tests#sockeye-tests@0.1.0", "test", true)).unwrap();
        assert_eq!(binary.title(), "sockeye-tests --test udp");
        assert_eq!(
            binary.command_line(Some("a::b")),
            "cargo test --all-features --package sockeye-tests --test udp -- --exact a::b"
        );
        assert_eq!(binary.folder, Path::new("/w/tests"));
        let library = Binary::of(&message("path+file:///w/crates/sockeye-udp#0.1.0", "lib", true)).unwrap();
        assert_eq!(library.title(), "sockeye-udp --lib");
        assert_eq!(Binary::of(&message("path+file:///w#a@1", "lib", false)), None);
    }

    #[test]
    fn a_failure_is_named_with_what_it_printed() {
        let output = "running 2 tests\ntest a ... ok\ntest b::c ... FAILED\n\nfailures:\n\n---- b::c stdout ----\n\
                      thread panicked\nleft: 1\n\nfailures:\n    b::c\n";
        assert_eq!(
            failures(output, "exit status: 101"),
            [Failure {
                test: Some("b::c".to_owned()),
                output: "thread panicked\nleft: 1".to_owned(),
            }]
        );
        let nested = "test c ... FAILED\n\nfailures:\n\n---- c stdout ----\ntest c ... \n\nfailures:\n\nfailures:\n    c\n\n\
                      the reason\n\n\nfailures:\n    c\n";
        assert!(
            failures(nested, "exit status: 101")[0]
                .output
                .ends_with("the reason")
        );
        let killed = failures("running 1 test\n", "signal: 9 (SIGKILL)");
        assert_eq!(killed.len(), 1);
        assert_eq!(killed[0].test, None);
        assert!(killed[0].output.starts_with("signal: 9"));
    }
}
