//! Programs that talk with each other through their stdin and stdout.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use crate::program::{send, sockeye};
use crate::wait::{self, PATIENCE};

/// A program whose stdout is read byte by byte. It is killed, by its pid, when this is dropped.
#[derive(Debug)]
pub struct Talking {
    child: Child,
    name: String,
    input: Option<Sender<Vec<u8>>>,
    stdout: Receiver<Vec<u8>>,
    came: Vec<u8>,
    stderr: Receiver<String>,
}

/// `sockeye WORDS...`.
pub fn sockeye_with(words: &[&str]) -> Command {
    let mut command = Command::new(sockeye());
    command.args(words);
    command
}

/// Waits until somebody listens at a port of TCP, without connecting: some programs take one connection only.
///
/// # Panics
/// When nobody does in time.
#[track_caller]
pub fn wait_for_listener(port: u16) {
    let needle = format!(":{port:04X} ");
    wait::until("a listener", PATIENCE, || {
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|path| {
            let table = std::fs::read_to_string(path).unwrap_or_default();
            table.lines().any(|line| {
                let mut words = line.split_whitespace().skip(1);
                let local = words.next().unwrap_or_default();
                format!("{local} ").ends_with(&needle) && words.nth(1) == Some("0A")
            })
        })
    });
}

/// Whether a process of one thread waits in the kernel for something to happen. Whoever spins never does (proc(5), `stat`).
pub fn is_asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state may have anything in it.
    let behind = stat.rsplit_once(") ").map(|(_, behind)| behind);
    behind.is_some_and(|behind| behind.starts_with('S'))
}

fn carry_input(mut stdin: ChildStdin, input: &Receiver<Vec<u8>>) {
    while let Ok(bytes) = input.recv() {
        // A program that ends without reading everything closes the pipe; that is its right.
        if stdin.write_all(&bytes).is_err() {
            return;
        }
    }
}

impl Talking {
    /// Starts the command with all three streams piped.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (input, to_write) = channel();
        std::thread::spawn(move || carry_input(stdin, &to_write));
        let (sender, came) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(stderr)) {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            name,
            input: Some(input),
            stdout: came,
            came: Vec::new(),
            stderr: said,
        }
    }

    /// Starts `sockeye listen WORDS...` and says where it listens, as it says it.
    ///
    /// # Panics
    /// When it does not say it.
    #[track_caller]
    pub fn listen(words: &[&str]) -> (Self, String) {
        let mut command = sockeye_with(&["listen"]);
        let talking = Self::start(command.args(words));
        let line = talking.says("listening on ");
        let (_, address) = line.split_once("listening on ").expect("it has these words");
        let address = address.to_owned();
        (talking, address)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes for its stdin.
    pub fn write(&self, bytes: &[u8]) {
        if let Some(input) = &self.input {
            // It may have ended.
            let _ = input.send(bytes.to_vec());
        }
    }

    /// The end of its stdin, behind what was written.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line of stderr that has these words in it.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    pub fn says(&self, words: &str) -> String {
        let begun = Instant::now();
        let mut others = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.stderr.recv_timeout(left) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => others.push(line),
                Err(_) => panic!("{} did not say {words:?} but {others:?}", self.name),
            }
        }
    }

    /// Waits until this many bytes of stdout have come in all, and gives what has come.
    ///
    /// # Panics
    /// When they do not in time, or it closes stdout.
    #[track_caller]
    pub fn has(&mut self, len: usize) -> &[u8] {
        let begun = Instant::now();
        while self.came.len() < len {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            match self.stdout.recv_timeout(left) {
                Ok(bytes) => self.came.extend(bytes),
                Err(error) => {
                    let said: Vec<String> = self.stderr.try_iter().collect();
                    panic!(
                        "{}: {} of {len} bytes on stdout: {error}; stderr: {said:?}",
                        self.name,
                        self.came.len()
                    )
                }
            }
        }
        &self.came
    }

    /// Waits for its end: the status, all of stdout, and what is left of stderr.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn finish(mut self) -> (ExitStatus, Vec<u8>, Vec<String>) {
        let (child, name) = (&mut self.child, &self.name);
        let status = wait::value(&format!("the end of {name}"), PATIENCE, || {
            child.try_wait().expect("the child is ours")
        });
        let mut came = std::mem::take(&mut self.came);
        while let Ok(bytes) = self.stdout.recv_timeout(PATIENCE) {
            came.extend(bytes);
        }
        let mut said = Vec::new();
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
            said.push(line);
        }
        (status, came, said)
    }

    /// Sends the child a signal.
    ///
    /// # Panics
    /// When the child is gone.
    pub fn signal(&mut self, signal: i32) {
        send(&mut self.child, signal, &self.name);
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        // `kill` after the child was reaped does nothing, so a recycled pid is never hit.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both send these bytes at once, and each has all of the other's. Neither stdin ends.
///
/// # Panics
/// When bytes are missing or are others.
#[track_caller]
pub fn exchange(one: &mut Talking, other: &mut Talking, bytes: &[u8]) {
    let (there, back) = (bytes.to_vec(), bytes.iter().rev().copied().collect::<Vec<u8>>());
    one.write(&there);
    other.write(&back);
    assert!(other.has(there.len()) == there, "{}: other bytes", other.name);
    assert!(one.has(back.len()) == back, "{}: other bytes", one.name);
}
