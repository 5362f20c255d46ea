//! `ping` beside fping, and what it draws and counts.

use std::process::Command;

use serde_json::Value;
use sockeye_tests::netns::{self, Namespace, World};
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::tmux::Terminal;

fn sockeye(words: &[&str]) -> program::Output {
    program::output(Command::new(program::sockeye()).args(words), PATIENCE)
}

fn within(namespace: &Namespace, program: &str, words: &[&str]) -> (Vec<String>, Option<i32>) {
    let output = program::output(namespace.command(program).args(words), PATIENCE);
    let mut lines: Vec<String> = output.text().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    (lines, output.status.code())
}

#[test]
fn the_alive_and_the_unreachable_are_those_of_fping() {
    if !require(&[Need::Namespaces, Need::program("fping")]) {
        return;
    }
    let world = World::new();
    let (here, there) = (world.namespace(), world.namespace());
    let alive = ["192.0.2.2/24", "192.0.2.3/24", "192.0.2.9/24", "2001:db8::2/64"];
    here.veth("h0", &["192.0.2.1/24", "2001:db8::1/64"], &there, "t0", &alive);
    let sockeye = program::sockeye().to_string_lossy();
    for (ours, theirs) in [("--alive", "-a"), ("--unreachable", "-u")] {
        for network in ["192.0.2.0/28", "192.0.2.5/32"] {
            let (fping, status) = within(
                &here,
                "fping",
                &[theirs, "-r", "1", "-t", "1000", "-q", "-g", network],
            );
            let words = ["ping", ours, "-r", "1", "-W", "1", "-g", network];
            assert_eq!(
                within(&here, &sockeye, &words),
                (fping, status),
                "{ours} {network}"
            );
        }
        let (fping, _) = within(
            &here,
            "fping",
            &[
                theirs,
                "-r",
                "1",
                "-t",
                "1000",
                "-q",
                "-g",
                "192.0.2.2",
                "192.0.2.4",
            ],
        );
        let words = ["ping", ours, "-r", "1", "-W", "1", "-g", "192.0.2.2-192.0.2.4"];
        assert_eq!(within(&here, &sockeye, &words).0, fping, "{ours}");
        let (fping, status) = within(
            &here,
            "fping",
            &[
                theirs,
                "-r",
                "1",
                "-t",
                "1000",
                "-q",
                "2001:db8::2",
                "2001:db8::3",
            ],
        );
        let words = [
            "ping",
            ours,
            "-r",
            "1",
            "-W",
            "1",
            "-g",
            "2001:db8::2-2001:db8::3",
        ];
        assert_eq!(within(&here, &sockeye, &words), (fping, status), "{ours} IPv6");
    }
    let (lines, _) = within(&here, &sockeye, &["ping", "-a", "-g", "192.0.2.0/29"]);
    assert_eq!(
        lines,
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
        "the test's own hosts are there"
    );
}

#[test]
fn who_answers_is_asked_once_and_who_does_not_as_often_as_told() {
    let name = "ping::who_answers_is_asked_once_and_who_does_not_as_often_as_told";
    let silent = |namespace: &Namespace| {
        for rule in [
            "add table ip t",
            "add chain ip t input { type filter hook input priority 0; }",
            "add rule ip t input ip daddr 127.0.0.2 drop",
        ] {
            namespace.run("nft", &[rule]);
        }
    };
    if !require(&[Need::Namespaces, Need::program("nft")]) || !netns::enter(name, silent) {
        return;
    }
    let output = sockeye(&[
        "ping",
        "-a",
        "-r",
        "2",
        "-W",
        "1",
        "--json",
        "127.0.0.1",
        "127.0.0.2",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let events: Vec<Value> = output
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let names: Vec<&str> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert_eq!(names, ["begin", "alive", "end"]);
    assert_eq!(events[1]["target"], "127.0.0.1");
    let results = &events[2]["results"];
    assert_eq!((&results[0]["sent"], &results[1]["sent"]), (&1.into(), &3.into()));
    let sparks = sockeye(&[
        "ping",
        "-c",
        "3",
        "-i",
        "0.01",
        "-W",
        "0.1",
        "-q",
        "--sparks",
        "127.0.0.2",
    ]);
    assert!(sparks.text().ends_with("\n  ×××\n"), "{}", sparks.text());
}

#[test]
fn networks_that_are_too_large_are_refused_before_anything_is_sent() {
    for (network, said) in [
        ("10.0.0.0/8", "16777214 hosts are too many"),
        ("::/0", "are too many"),
        ("10.0.0.0/15", "--yes"),
        ("10.0.0.9-10.0.0.1", "ends before it begins"),
        ("10.0.0.1", "say FIRST-LAST or ADDRESS/PREFIX"),
    ] {
        let output = sockeye(&["ping", "-g", network]);
        assert_eq!(output.status.code(), Some(2), "{network}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{network}: {}", output.stderr);
        assert_eq!(output.text(), "");
    }
}

#[test]
fn a_histogram_has_every_round_trip() {
    let output = sockeye(&[
        "ping",
        "-c",
        "50",
        "-i",
        "0.001",
        "-q",
        "--histogram",
        "--json",
        "127.0.0.1",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    let end: Value = serde_json::from_str(text.lines().last().expect("an end")).expect("JSON");
    let result = &end["results"][0];
    let buckets = result["histogram"].as_array().expect("a histogram");
    let count: u64 = buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
    assert_eq!(Some(count), result["received"].as_u64());
    let within = |rtt: &Value| {
        buckets.iter().any(|bucket| {
            bucket["from_ns"].as_u64() <= rtt.as_u64() && rtt.as_u64() < bucket["to_ns"].as_u64()
        })
    };
    assert!(within(&result["rtt_ns"]["p50"]), "{result}");
    let shown = sockeye(&["ping", "-c", "5", "-i", "0.001", "-q", "--histogram", "127.0.0.1"]).text();
    assert!(shown.contains("|####"), "{shown}");
}

#[test]
fn sparks_stand_at_the_end_and_live_lines_want_a_terminal() {
    let output = sockeye(&["ping", "-c", "5", "-i", "0.01", "--sparks", "127.0.0.1"]);
    let text = output.text();
    let sparks = text.lines().last().expect("a line").trim();
    assert_eq!(sparks.chars().count(), 5, "{text}");
    assert!(sparks.chars().all(|spark| ('▁'..='▇').contains(&spark)), "{text}");
    assert!(!text.contains('\u{1b}'), "nothing is redrawn without a terminal");
    let output = sockeye(&["ping", "-c", "1", "--live", "127.0.0.1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.contains("stdout is none"), "{}", output.stderr);
}

#[test]
fn several_hosts_have_a_live_line_each_on_a_terminal() {
    if !require(&[Need::Namespaces, Need::program("tmux")]) {
        return;
    }
    let world = World::new();
    let terminal = Terminal::open(&world.namespace());
    let program = program::sockeye().to_string_lossy();
    let command = format!("clear; {program} ping -n -c 12 -i 0.05 127.0.0.1 127.0.0.2");
    terminal.type_keys(&[&command, "Enter"]);
    let screen = terminal.until("the end", |screen| {
        screen.contains("12 received") && screen.trim_end().ends_with("ready>")
    });
    let lines: Vec<&str> = screen.lines().collect();
    for host in ["127.0.0.1", "127.0.0.2"] {
        let live: Vec<&&str> = lines
            .iter()
            .filter(|line| line.starts_with(&format!("{host} ")) && line.contains(" sent "))
            .collect();
        let [live] = live[..] else {
            panic!("one line a host, drawn in place: {screen}")
        };
        assert!(
            live.contains("12 sent") && live.contains("0.0% loss") && live.contains('▁'),
            "{screen}"
        );
        assert!(
            screen.contains(&format!("{host}: 12 sent, 12 received")),
            "{screen}"
        );
    }
    assert!(!screen.contains("bytes from"), "{screen}");
}

#[test]
fn eighty_columns_have_room_for_sparks_and_whole_figures() {
    if !require(&[Need::Namespaces, Need::program("tmux")]) {
        return;
    }
    let world = World::new();
    let terminal = Terminal::open(&world.namespace());
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    let program = program::sockeye().to_string_lossy();
    let command = format!("clear; {program} ping -n -c 12 -i 0.05 127.0.0.1 127.0.0.2");
    terminal.type_keys(&[&command, "Enter"]);
    let screen = terminal.until("a summary", |screen| {
        screen.contains("127.0.0.2: 12 sent") && screen.trim_end().ends_with("ready>")
    });
    let live = screen.lines().find(|line| line.starts_with("127.0.0.1 "));
    let live = live.unwrap_or_else(|| panic!("no live line: {screen}"));
    let sparks = live.chars().filter(|letter| ('▁'..='▇').contains(letter));
    assert_eq!(sparks.count(), 12, "{screen}");
    let figure = |name: &str| {
        let (_, behind) = live.split_once(name).expect("a figure");
        let word = behind.split_whitespace().next().expect("a figure");
        word.parse::<f64>().is_ok()
    };
    assert!(figure(" last ") && figure(" avg "), "{screen}");
    let flags = terminal.tmux(&["display-message", "-p", "#{wrap_flag}"]);
    assert_eq!(flags.trim(), "1", "long lines wrap as before");
}

#[test]
fn sparks_without_live_lines_have_a_line_a_reply() {
    if !require(&[Need::Namespaces, Need::program("tmux")]) {
        return;
    }
    let world = World::new();
    let terminal = Terminal::open(&world.namespace());
    let program = program::sockeye().to_string_lossy();
    let command = format!("clear; {program} ping -n -c 2 -i 0.05 --sparks --no-live 127.0.0.1");
    terminal.type_keys(&[&command, "Enter"]);
    let screen = terminal.until("a summary", |screen| {
        screen.contains("127.0.0.1: 2 sent") && screen.trim_end().ends_with("ready>")
    });
    assert_eq!(screen.matches("bytes from 127.0.0.1").count(), 2, "{screen}");
}

#[test]
fn live_lines_and_what_forbids_them_exclude_each_other() {
    for words in [
        &["ping", "--live", "--csv", "127.0.0.1"][..],
        &["ping", "--live", "-q", "127.0.0.1"],
        &["-q", "ping", "--live", "127.0.0.1"],
    ] {
        let output = sockeye(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        let named = |option| output.stderr.contains("--live") && output.stderr.contains(option);
        assert!(named("--csv") || named("--quiet"), "{words:?}: {}", output.stderr);
    }
}
