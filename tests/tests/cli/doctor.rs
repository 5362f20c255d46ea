//! `sockeye doctor`, with and without privileges.

use std::process::Command;

use serde_json::Value;
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::server::wrapped;

const SETPRIV: Need = Need::Program {
    name: "setpriv",
    package: "util-linux",
};

/// The findings, each well-formed.
#[track_caller]
fn findings(mut command: Command) -> Vec<Value> {
    let output = program::output(command.args(["doctor", "--json"]), PATIENCE);
    let text = output.text();
    let mut events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an event"))
        .collect();
    let end = events.pop().expect("an end");
    assert_eq!(
        (&end["event"], &end["findings"]),
        (&"end".into(), &events.len().into()),
        "{text}"
    );
    let (mut warnings, mut hints) = (0, 0);
    for event in &events {
        assert_eq!(
            (&event["schema"], &event["event"]),
            (&1.into(), &"finding".into())
        );
        for key in ["name", "value", "meaning"] {
            assert!(
                event[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {event}"
            );
        }
        let verdict = event["verdict"].as_str().expect("text");
        assert!(["ok", "hint", "warn"].contains(&verdict), "{event}");
        assert_eq!(
            verdict != "ok",
            event["command"].is_string(),
            "what could be better says what to do: {event}"
        );
        warnings += u64::from(verdict == "warn");
        hints += u64::from(verdict == "hint");
    }
    assert_eq!(
        (&end["warnings"], &end["hints"]),
        (&warnings.into(), &hints.into())
    );
    assert_eq!(
        output.status.code(),
        Some(i32::from(warnings > 0)),
        "{}",
        output.stderr
    );
    events
}

#[track_caller]
fn verdict(findings: &[Value], name: &str) -> String {
    let finding = findings.iter().find(|finding| finding["name"] == name);
    finding.unwrap_or_else(|| panic!("{name} is not among {findings:?}"))["verdict"]
        .as_str()
        .expect("text")
        .to_owned()
}

#[test]
fn it_finds_what_the_needs_of_the_tests_find() {
    let findings = findings(Command::new(program::sockeye()));
    for (name, need) in [
        ("CAP_NET_RAW", Need::NetRaw),
        ("CAP_NET_ADMIN", Need::NetAdmin),
        ("IPv6", Need::Ipv6),
    ] {
        assert_eq!(verdict(&findings, name) == "ok", need.is_met(), "{name}");
    }
    for name in [
        "RLIMIT_NOFILE",
        "net.core.somaxconn",
        "UDP GSO",
        "MPTCP",
        "conntrack",
        "clock source",
        "names",
    ] {
        verdict(&findings, name);
    }
}

#[test]
fn without_privileges_it_says_what_is_not_permitted() {
    if !require(&[SETPRIV]) {
        return;
    }
    let command = wrapped(
        "setpriv",
        &["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"],
    );
    // Only root may take anything out of the bounding set, and nobody else has to.
    let is_root = Need::NetRaw.is_met();
    let findings = findings(if is_root {
        command
    } else {
        Command::new(program::sockeye())
    });
    assert_eq!(verdict(&findings, "CAP_NET_RAW"), "warn");
    // Each setcap takes away what the one before it has given: there is one for all.
    let mut commands: Vec<&str> = findings
        .iter()
        .filter_map(|finding| finding["command"].as_str())
        .filter(|command| command.starts_with("setcap "))
        .collect();
    commands.dedup();
    let [command] = commands.as_slice() else {
        panic!("{commands:?}");
    };
    let (names, program) = command
        .strip_prefix("setcap ")
        .and_then(|rest| rest.split_once("+ep "))
        .expect("names and a program");
    assert!(names.starts_with("cap_net_raw,cap_net_admin"), "{command}");
    assert_eq!(std::path::Path::new(program), program::sockeye());
}

#[test]
fn the_program_of_a_command_is_the_one_that_runs() {
    if !require(&[SETPRIV, Need::NetRaw]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("my sockeye");
    std::fs::copy(program::sockeye(), &path).expect("a copy");
    let words = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"];
    let mut command = Command::new("setpriv");
    command.args(words).arg(&path);
    command.args(["serve", "echo", "--listen", "tcp://127.0.0.1:7"]);
    let output = program::output(&mut command, PATIENCE);
    let said = format!("setcap cap_net_bind_service+ep '{}'", path.display());
    assert!(output.stderr.contains(&said), "{}", output.stderr);
}

#[test]
fn what_would_only_be_faster_is_no_warning() {
    let findings = findings(Command::new(program::sockeye()));
    for name in [
        "net.core.rmem_max",
        "net.core.wmem_max",
        "net.core.somaxconn",
        "net.ipv4.tcp_fastopen",
        "clock source",
        "MPTCP",
    ] {
        assert_ne!(verdict(&findings, name), "warn", "{name}");
    }
}

#[test]
fn few_descriptors_are_a_warning_with_the_command() {
    if !require(&[Need::program("prlimit")]) {
        return;
    }
    let findings = findings(wrapped("prlimit", &["--nofile=64:8192"]));
    let finding = findings
        .iter()
        .find(|finding| finding["name"] == "RLIMIT_NOFILE")
        .expect("it is there");
    assert_eq!(
        (&finding["verdict"], &finding["command"]),
        (&"warn".into(), &"ulimit -n 8192".into())
    );
}

#[test]
fn people_read_a_line_a_finding() {
    let output = program::output(Command::new(program::sockeye()).arg("doctor"), PATIENCE);
    let text = output.text();
    let lines = text
        .lines()
        .filter(|line| {
            ["ok ", "hint ", "warn "]
                .iter()
                .any(|verdict| line.starts_with(verdict))
        })
        .count();
    assert!(
        text.lines()
            .last()
            .is_some_and(|line| line.starts_with(&format!("{lines} findings"))),
        "{text}"
    );
    let output = program::output(
        Command::new(program::sockeye()).args(["doctor", "--warnings"]),
        PATIENCE,
    );
    assert!(
        !output.text().lines().any(|line| line.starts_with("ok ")),
        "{}",
        output.text()
    );
}
