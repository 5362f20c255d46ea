//! `sockeye bench`: its table, its events, and what it does without privileges.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sockeye_tests::program::{self, Output, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

const LIMIT: Duration = Duration::from_secs(60);

fn bench(arguments: &[&str]) -> Output {
    program::output(
        Command::new(program::sockeye())
            .args(["bench", "--seconds", "0.4"])
            .args(arguments),
        LIMIT,
    )
}

/// Each line as an event; the first two keys are those that every event has.
fn events(output: &Output) -> Vec<Value> {
    let text = output.text();
    text.lines()
        .map(|line| {
            assert!(line.starts_with("{\"schema\":1,\"event\":\""), "{line}");
            serde_json::from_str(line).expect("each line is an object")
        })
        .collect()
}

/// The results of the last event.
fn results(output: &Output) -> Vec<Value> {
    let events = events(output);
    let last = events.last().expect("there are events");
    assert_eq!(last["event"], "end", "{last}");
    last["results"]
        .as_array()
        .expect("the results are a list")
        .clone()
}

#[track_caller]
fn is_measured(result: &Value, socket: &str, size: u64) {
    assert_eq!(result["socket"], socket);
    assert_eq!(result["mode"], "echo");
    assert_eq!(result["size_bytes"], size);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {result}"));
    let (messages, bytes) = (number(&result["messages_per_s"]), number(&result["bytes_per_s"]));
    assert!(messages > 100, "{result}");
    assert!(bytes.abs_diff(messages * size) <= size, "{result}");
    let quantiles = ["p50", "p99", "p999"].map(|name| number(&result["rtt_ns"][name]));
    assert!(quantiles[0] > 1_000 && quantiles.is_sorted(), "{result}");
}

#[test]
fn the_default_run_measures_every_socket_type() {
    if !skip::require(&[Need::NetRaw]) {
        return;
    }
    let output = bench(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let results = results(&output);
    assert_eq!(results.len(), 4);
    for (result, socket) in results.iter().zip(["tcp", "udp", "unix", "raw"]) {
        is_measured(result, socket, 64);
    }
}

#[test]
fn the_table_goes_to_stdout_and_the_progress_to_stderr() {
    if !skip::require(&[Need::NetRaw]) {
        return;
    }
    let output = bench(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    let rows: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(rows, ["socket", "tcp", "udp", "unix", "raw"], "{text}");
    for word in ["rtt p50", "p99.9", "messages/s", "throughput"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    assert!(output.stderr.contains("measuring tcp"), "{}", output.stderr);
}

#[test]
fn one_socket_type_alone_and_the_size_asked_for() {
    let output = bench(&["tcp", "--size", "1000", "--in-flight", "8", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let results = results(&output);
    assert_eq!(results.len(), 1);
    is_measured(&results[0], "tcp", 1000);
}

#[test]
fn udp_alone_has_a_row_for_each_way_of_moving_datagrams() {
    let output = bench(&["udp", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let results = results(&output);
    is_measured(&results[0], "udp", 64);
    for mode in ["single", "batch", "gso", "gso+gro"] {
        for size in [64, 1200] {
            let row = results
                .iter()
                .find(|row| row["mode"] == mode && row["size_bytes"] == size);
            let rate = row.and_then(|row| row["messages_per_s"].as_u64());
            assert!(rate.is_some_and(|rate| rate > 0), "{mode} at {size}: {row:?}");
        }
    }
}

#[test]
fn without_the_capability_the_raw_row_says_which_and_the_rest_runs() {
    if !skip::require(&[Need::program("setpriv")]) {
        return;
    }
    let mut command = Command::new("setpriv");
    // Root gets every capability of the bounding set at exec; others have none to lose.
    if Need::NetRaw.is_met() {
        command.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"]);
    } else {
        command.arg("--no-new-privs");
    }
    command
        .arg(program::sockeye())
        .args(["bench", "--seconds", "0.4", "--json"]);
    let output = program::output(&mut command, LIMIT);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let results = results(&output);
    assert_eq!(results.len(), 4);
    for (result, socket) in results.iter().zip(["tcp", "udp", "unix"]) {
        is_measured(result, socket, 64);
    }
    assert_eq!(results[3]["socket"], "raw");
    let why = results[3]["skipped"].as_str().expect("the raw row says why");
    assert!(
        why.contains("CAP_NET_RAW") && why.contains("setcap cap_net_raw+ep"),
        "{why}"
    );
}

#[test]
fn interrupted_before_any_result_it_ends_with_130() {
    let mut command = Command::new(program::sockeye());
    let mut bench = Running::start(command.args(["bench", "tcp", "--seconds", "60"]));
    let line = bench.error_line(PATIENCE);
    assert!(
        line.as_deref().is_some_and(|line| line.contains("measuring tcp")),
        "{line:?}"
    );
    // The loop that takes the signal is made after that line.
    sockeye_tests::wait::until("a handler", PATIENCE, || bench.catches(libc::SIGINT));
    bench.signal(libc::SIGINT);
    assert_eq!(bench.wait(PATIENCE).code(), Some(130));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let program = program::sockeye().display();
    let line = format!("{program} bench tcp --seconds 0.2 --json | true; echo ${{PIPESTATUS[0]}}");
    let output = program::output(Command::new("bash").args(["-c", &line]), LIMIT);
    assert_eq!(output.text().trim(), "0", "{}", output.stderr);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
}
