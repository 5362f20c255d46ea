//! A `sockeye serve` of a test.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use sockeye_tests::program::{self, Running};
use sockeye_tests::wait::PATIENCE;

/// It, and where it listens, in the order of its endpoints.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts `sockeye serve` with these words, on these endpoints.
    pub(crate) fn start(words: &[&str], endpoints: &[&str]) -> Self {
        Self::under(Command::new(program::sockeye()), words, endpoints)
    }

    /// The same, by a command that runs `sockeye` with the words that follow.
    pub(crate) fn under(mut command: Command, words: &[&str], endpoints: &[&str]) -> Self {
        command.arg("serve").args(words);
        for endpoint in endpoints {
            command.args(["--listen", endpoint]);
        }
        let running = Running::start(&mut command);
        let addresses = endpoints
            .iter()
            .map(|_| {
                let line = running.line(PATIENCE);
                let address = line.split_once("://").map(|(_, address)| address);
                address
                    .and_then(|address| address.parse().ok())
                    .unwrap_or_else(|| panic!("it said {line}"))
            })
            .collect();
        Self { running, addresses }
    }

    /// Waits for a line on stderr that has these words in it.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let line = self.running.error_line(left.max(Duration::from_millis(1)));
            match line {
                Some(line) if line.contains(words) => return line,
                Some(_) => {}
                None => panic!("it did not say {words:?}"),
            }
        }
    }
}

/// `program WORDS... sockeye`.
pub(crate) fn wrapped(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).arg(program::sockeye());
    command
}
