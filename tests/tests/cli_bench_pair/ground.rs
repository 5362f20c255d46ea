//! A server, clients of it, and what they print.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sockeye_tests::program::{self, Output, Running};
use sockeye_tests::wait::PATIENCE;

/// A run of a client moves little, but the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A server that runs, with `--json`.
pub(crate) struct Server {
    pub(crate) running: Running,
    /// What it listens on.
    pub(crate) at: Vec<String>,
}

impl Server {
    /// Listens on these, and waits until it says so of each scheme.
    #[track_caller]
    pub(crate) fn listen(addresses: &[&str]) -> Self {
        Self::start(Command::new(program::sockeye()), addresses, &[])
    }

    /// On TCP and UDP of the loopback.
    #[track_caller]
    pub(crate) fn local() -> Self {
        Self::listen(&["127.0.0.1:0"])
    }

    #[track_caller]
    pub(crate) fn start(mut command: Command, addresses: &[&str], more: &[&str]) -> Self {
        command.args(["bench", "server", "--json"]).args(more);
        for address in addresses {
            command.args(["--listen", address]);
        }
        let running = Running::start(&mut command);
        // Without a scheme it is two.
        let lines = addresses.iter().map(|at| {
            if at.contains(':') && !at.contains("://") && !at.starts_with("unix:") {
                2
            } else {
                1
            }
        });
        let mut at = Vec::new();
        for _ in 0..lines.sum::<usize>() {
            let event = event(&running);
            assert_eq!(event["event"], "listening", "{event}");
            at.push(event["endpoint"].as_str().expect("an address").to_owned());
        }
        Self { running, at }
    }

    /// The address of that scheme.
    #[track_caller]
    pub(crate) fn target(&self, scheme: &str) -> &str {
        let found = self.at.iter().find(|at| at.starts_with(scheme));
        found.unwrap_or_else(|| panic!("no {scheme} in {:?}", self.at))
    }

    /// Where its control connections go.
    #[track_caller]
    pub(crate) fn addr(&self) -> SocketAddr {
        self.target("tcp://")["tcp://".len()..]
            .parse()
            .expect("an address")
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn event(&self) -> Value {
        event(&self.running)
    }

    /// What it says of a run that is over in order.
    #[track_caller]
    pub(crate) fn run(&self) -> Value {
        let event = self.event();
        assert_eq!(
            (&event["event"], &event["failure"]),
            (&"run".into(), &Value::Null),
            "{event}"
        );
        event
    }

    /// It still serves.
    #[track_caller]
    pub(crate) fn serves(&self) {
        let end = client(&[self.target("tcp://"), "-n", "100K", "--idle", "0"]);
        assert_eq!(end["up"]["received_bytes"], 102_400, "{end}");
        self.run();
    }
}

#[track_caller]
fn event(running: &Running) -> Value {
    let line = running.line(PATIENCE);
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Runs a client to its end.
#[track_caller]
pub(crate) fn run(words: &[&str]) -> Output {
    program::output(
        Command::new(program::sockeye())
            .args(["bench", "client"])
            .args(words),
        LIMIT,
    )
}

/// The events of a client that ends with that status.
#[track_caller]
pub(crate) fn events(words: &[&str], status: i32) -> Vec<Value> {
    let output = run(&[words, &["--json"]].concat());
    events_of(&output, status)
}

#[track_caller]
pub(crate) fn events_of(output: &Output, status: i32) -> Vec<Value> {
    assert_eq!(
        output.status.code(),
        Some(status),
        "{}{}",
        output.text(),
        output.stderr
    );
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    output.text().lines().map(parse).collect()
}

/// The last event of a client that has measured.
#[track_caller]
pub(crate) fn client(words: &[&str]) -> Value {
    let events = events(words, 0);
    assert_eq!(events.first().expect("an event")["event"], "start");
    let end = events.last().expect("an event").clone();
    assert_eq!(end["event"], "end", "{end}");
    end
}

/// A number within an event.
#[track_caller]
pub(crate) fn number(event: &Value, at: &str) -> u64 {
    let value = event.pointer(at).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no {at} in {event}"))
}
