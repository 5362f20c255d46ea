//! Real programs as peers: found on the `PATH`, started, read line by line, ended by their own pid.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::wait::{self, PATIENCE};

/// Where the program of that name is, looking where a shell would and in the system administrator's folders.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The `sockeye` program of this workspace, built if need be, in the profile of the running test.
///
/// `SOCKEYE_PROGRAM` names a ready one instead.
///
/// # Panics
/// When it does not build.
pub fn sockeye() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("SOCKEYE_PROGRAM") {
            return PathBuf::from(path);
        }
        build("sockeye-cli", &["--bin", "sockeye"], "sockeye")
    })
}

/// The cargo that runs the tests, without what it has told them about their own package. Build scripts ask to run again when
/// that changes (ring's does): handed on, it would have them and all that is built upon them made anew by each test binary,
/// within the time of a test.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_") {
            command.env_remove(&variable);
        }
    }
    command
}

/// Builds one target of a package of the workspace and says where it is.
///
/// # Panics
/// When it does not build, with the compiler's words.
pub fn build(package: &str, selection: &[&str], target: &str) -> PathBuf {
    let output = cargo()
        .args([
            "build",
            "--quiet",
            "--package",
            package,
            "--message-format",
            "json",
        ])
        .args(selection)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let messages = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{package} does not build:\n{messages}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // One JSON object a line; the artifact of the wanted name is the last that has an executable.
    let name = format!("\"name\":\"{target}\"");
    messages
        .lines()
        .filter(|line| line.contains(&name))
        .filter_map(|line| line.split_once("\"executable\":\"")?.1.split_once('"'))
        .map(|(path, _)| PathBuf::from(path))
        .next_back()
        .expect("cargo names what it has built")
}

/// A child that is killed, by its pid, when this is dropped; its output is read as it comes.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts the command with all three streams piped.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = spawn(command);
        let stdout = lines_of(child.stdout.take().expect("stdout is piped"));
        let stderr = lines_of(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            name,
            stdout,
            stderr,
        }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The way in; taken once. Dropping it is end of file for the child.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("stdin is taken once")
    }

    /// The next line of stdout, without its end.
    ///
    /// # Panics
    /// When there is none within `limit`, with what stderr says.
    #[track_caller]
    pub fn line(&self, limit: Duration) -> String {
        match self.stdout.recv_timeout(limit) {
            Ok(line) => line,
            Err(reason) => {
                let said: Vec<String> = self.stderr.try_iter().collect();
                let reason = match reason {
                    RecvTimeoutError::Timeout => "no line within the limit",
                    RecvTimeoutError::Disconnected => "it closed its stdout",
                };
                panic!("{}: {reason} ({limit:?}); stderr: {said:?}", self.name)
            }
        }
    }

    /// The first line of stdout for which `accept` says yes; the others are dropped.
    ///
    /// # Panics
    /// As [`line`](Self::line).
    #[track_caller]
    pub fn line_with(&self, limit: Duration, accept: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.line(limit);
            if accept(&line) {
                return line;
            }
        }
    }

    /// The lines of stdout that have come and were not taken.
    pub fn lines_so_far(&self) -> Vec<String> {
        self.stdout.try_iter().collect()
    }

    /// The lines of stdout that were not taken, to its end: after [`wait`](Self::wait) some may still be on their way here.
    ///
    /// # Panics
    /// When it is not closed within `limit`.
    #[track_caller]
    pub fn last_lines(&self, limit: Duration) -> Vec<String> {
        let until = Instant::now() + limit;
        let mut lines = Vec::new();
        loop {
            match self
                .stdout
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("{}: its stdout is open after {limit:?}", self.name),
            }
        }
    }

    /// The next line of stderr, if one comes within `limit`.
    pub fn error_line(&self, limit: Duration) -> Option<String> {
        self.stderr.recv_timeout(limit).ok()
    }

    /// Sends the child a signal, such as `libc::SIGTERM`.
    ///
    /// # Panics
    /// When the child is gone.
    #[doc(alias = "kill")]
    pub fn signal(&mut self, signal: i32) {
        send(&mut self.child, signal, &self.name);
    }

    /// Whether the child has a handler for a signal. Until then the signal ends it or, where it was started to ignore it, as
    /// shells start what runs in the background, is lost (proc(5), `SigCgt`).
    pub fn catches(&self, signal: i32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }

    /// Waits for the end of the child.
    ///
    /// # Panics
    /// When it has not ended within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let Self { child, name, .. } = self;
        wait::value(&format!("the end of {name}"), limit, || {
            child.try_wait().expect("the child is ours")
        })
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }
}

/// Sends a child a signal.
///
/// # Panics
/// When the child is gone.
pub(crate) fn send(child: &mut Child, signal: i32, name: &str) {
    assert!(matches!(child.try_wait(), Ok(None)), "{name} has ended");
    let pid = i32::try_from(child.id()).expect("pids are positive i32");
    // SAFETY: kill takes two integers; the child was not reaped yet (line above), so the pid is its own.
    #[expect(unsafe_code, reason = "std sends no signal but SIGKILL")]
    let result = unsafe { libc::kill(pid, signal) };
    assert_eq!(result, 0, "signal {signal} to {name}");
}

/// The commands that the help of the program lists, apart from `help`.
pub fn commands() -> Vec<String> {
    let help = output(Command::new(sockeye()).arg("--help"), PATIENCE).text();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        // `kill` after the child was reaped does nothing, so a recycled pid is never hit.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the command with all three streams piped.
#[track_caller]
fn spawn(command: &mut Command) -> Child {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.unwrap_or_else(|error| panic!("start {command:?}: {error}"))
}

/// Reads a stream to its end on a thread, so that a child never blocks on a full pipe.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// Runs the command to its end with nothing on stdin; stdout, stderr and status as `Command::output` has them.
///
/// # Panics
/// When it does not start, or has not ended within `limit` (it is killed then).
#[track_caller]
pub fn output(command: &mut Command, limit: Duration) -> Output {
    output_with_input(command, b"", limit)
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it wrote to stdout.
    pub stdout: Vec<u8>,
    /// Everything it wrote to stderr, as text.
    pub stderr: String,
}

impl Output {
    /// The stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// As [`output`], with these bytes on stdin, then end of file.
///
/// # Panics
/// As [`output`].
#[track_caller]
pub fn output_with_input(command: &mut Command, input: &[u8], limit: Duration) -> Output {
    let name = format!("{command:?}");
    let mut child = spawn(command);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    // Guards the child from here on: a panic below kills it.
    let mut guard = KillOnDrop(child);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends without reading everything closes the pipe; that is its right.
            let _ = std::io::Write::write_all(&mut stdin, input);
        });
        let out = scope.spawn(move || read_all(&mut stdout));
        let err = scope.spawn(move || read_all(&mut stderr));
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = guard.0.try_wait().expect("the child is ours") {
                break Some(status);
            }
            if begun.elapsed() >= limit {
                // Killed here, so that the readers come to an end and the scope can close.
                let _ = guard.0.kill();
                let _ = guard.0.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let stdout = out.join().expect("the reader does not panic");
        let stderr = String::from_utf8_lossy(&err.join().expect("the reader does not panic")).into_owned();
        let Some(status) = status else {
            panic!(
                "{name}: not ended within {limit:?}; {} bytes on stdout; stderr: {stderr}",
                stdout.len()
            )
        };
        Output {
            status,
            stdout,
            stderr,
        }
    })
}

fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::wait::PATIENCE;

    #[test]
    fn lines_come_as_they_are_written_and_the_status_at_the_end() {
        let mut child =
            Running::start(Command::new("sh").args(["-c", "echo ready; read x; echo got $x; exit 7"]));
        assert_eq!(child.line(PATIENCE), "ready");
        child.stdin().write_all(b"salmon\n").unwrap();
        assert_eq!(
            child.line_with(PATIENCE, |line| line.starts_with("got")),
            "got salmon"
        );
        assert_eq!(child.wait(PATIENCE).code(), Some(7));
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let child = Running::start(Command::new("sh").args(["-c", "echo ready; exec sleep 600"]));
        child.line(PATIENCE);
        let proc = format!("/proc/{}", child.pid());
        assert!(Path::new(&proc).exists());
        drop(child);
        assert!(!Path::new(&proc).exists());
    }

    #[test]
    fn a_signal_reaches_the_program() {
        let mut child =
            Running::start(Command::new("sh").args(["-c", "trap 'exit 5' TERM; echo ready; read x"]));
        child.line(PATIENCE);
        child.signal(libc::SIGTERM);
        assert_eq!(child.wait(PATIENCE).code(), Some(5));
    }

    #[test]
    fn more_than_a_pipe_holds_goes_both_ways() {
        let input = vec![b'x'; 1 << 20];
        let output = output_with_input(&mut Command::new("cat"), &input, PATIENCE);
        assert!(output.status.success());
        assert_eq!(output.stdout, input);
    }

    #[test]
    #[should_panic(expected = "not ended within 20ms")]
    fn a_program_that_does_not_end_fails_the_test() {
        output(Command::new("sleep").arg("600"), Duration::from_millis(20));
    }
}
