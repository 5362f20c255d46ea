//! `trace --report` beside mtr, and `trace --watch` in a terminal of tmux.

use std::process::Command;

use serde_json::Value;
use sockeye_tests::netns::Namespace;
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::chain::Chain;
use crate::tmux::Terminal;

fn sockeye(namespace: &Namespace, words: &[&str]) -> program::Output {
    let path = program::sockeye().to_string_lossy();
    program::output(namespace.command(&path).args(words), PATIENCE)
}

fn events(output: &program::Output) -> Vec<Value> {
    let lines = output.text();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// The hosts of `mtr --report`: `  1.|-- 10.0.0.2   0.0%   3 ...`.
fn hops_of_mtr(text: &str) -> Vec<String> {
    let hop = |line: &str| Some(line.split_once("|--")?.1.split_whitespace().next()?.to_owned());
    text.lines().filter_map(hop).collect()
}

#[test]
fn a_report_finds_the_hops_that_mtr_finds() {
    if !require(&[Need::Namespaces, Need::program("mtr")]) {
        return;
    }
    let chain = Chain::new(3);
    for v6 in [false, true] {
        let hops = chain.hops(v6);
        let server = hops.last().expect("a server").as_str();
        let mtr = chain
            .client()
            .run("mtr", &["--report", "-c", "3", "-i", "0.2", "-n", server]);
        assert_eq!(hops_of_mtr(&mtr), hops, "{mtr}");
        for method in ["-I", "-U", "-T"] {
            let words = [
                "trace", "--report", "3", "-i", "0.05", "-n", method, "--json", server,
            ];
            let output = sockeye(chain.client(), &words);
            assert_eq!(output.status.code(), Some(0), "{method}: {}", output.stderr);
            let events = events(&output);
            let stats: Vec<&Value> = events
                .iter()
                .filter(|event| event["event"] == "hop_stats")
                .collect();
            let found: Vec<&str> = stats
                .iter()
                .filter_map(|hop| hop["paths"][0]["address"].as_str())
                .collect();
            assert_eq!(found, hops, "{method}");
            for hop in stats {
                assert_eq!(hop["sent"], 3, "{hop}");
                assert_eq!(
                    (&hop["received"], &hop["pending"]),
                    (&3.into(), &0.into()),
                    "{hop}"
                );
                let rtt = |key: &str| hop["rtt_ns"][key].as_u64().expect("a figure");
                assert!(0 < rtt("min") && rtt("min") <= rtt("avg") && rtt("avg") <= rtt("max"));
                assert!(hop["jitter_ns"]["mean"].is_u64());
            }
            assert_eq!(events.last().map(|end| &end["outcome"]), Some(&"reached".into()));
        }
        let table = sockeye(
            chain.client(),
            &["trace", "--report", "2", "-i", "0.05", "-n", server],
        )
        .text();
        for hop in &hops {
            let line = table.lines().find(|line| line.contains(&format!("  {hop} ")));
            assert!(line.is_some_and(|line| line.contains(" 0.0% ")), "{table}");
        }
    }
}

#[test]
fn a_silent_router_is_all_loss_and_those_behind_it_none() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let chain = Chain::new(3);
    for rule in [
        "add table ip t",
        "add chain ip t output { type filter hook output priority 0; }",
        "add rule ip t output icmp type time-exceeded drop",
    ] {
        chain.hosts[2].run("nft", &[rule]);
    }
    let words = [
        "trace", "--report", "3", "-i", "0.05", "-W", "3", "-n", "10.0.4.2",
    ];
    let output = sockeye(chain.client(), &words);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    let line = |hop: &str| {
        text.lines()
            .find(|line| line.starts_with(hop))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(line("  2  (no answer)").contains(" 100.0% "), "{text}");
    assert!(line("  4  10.0.4.2").contains(" 0.0% "), "{text}");
    assert!(text.ends_with("10.0.4.2 is 4 hops away\n"), "{text}");
}

#[test]
fn a_target_that_nobody_has_is_a_negative_result() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let chain = Chain::new(1);
    // The router says that it cannot find it, after looking for it; or nobody says anything.
    let words = [
        "trace",
        "--report",
        "2",
        "-i",
        "0.05",
        "-W",
        "0.5",
        "-n",
        "--json",
        "10.0.2.77",
    ];
    let output = sockeye(chain.client(), &words);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let events = events(&output);
    let end = events.last().expect("an end");
    assert_eq!((&end["event"], &end["rounds"]), (&"end".into(), &2.into()));
    assert_ne!(end["outcome"], "reached");
}

#[test]
fn a_port_asks_for_a_method_that_has_ports() {
    for words in [
        &["-p", "17000", "127.0.0.1"][..],
        &["127.0.0.1:17000"],
        &["localhost:17000", "-4"],
        &["udp://127.0.0.1:17000", "-p", "17000"],
        &["udp://127.0.0.1", "-p", "17000"],
        &["[::1]:17000"],
    ] {
        let words = [&["trace", "--report", "1", "-n", "--json"], words].concat();
        let output = program::output(Command::new(program::sockeye()).args(&words), PATIENCE);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", output.stderr);
        assert_eq!(events(&output)[0]["method"], "udp", "{words:?}");
    }
    for (words, said) in [
        (
            &["udp://127.0.0.1:17000", "-p", "5"][..],
            "another port than the option",
        ),
        (
            &["-U", "127.0.0.1:17000", "-p", "5"],
            "another port than the option",
        ),
        (&["-I", "127.0.0.1", "-p", "5"], "ICMP has no ports"),
        (
            &["--report", "1", "icmp://127.0.0.1", "-p", "5"],
            "ICMP has no ports",
        ),
        (&["-I", "tcp://127.0.0.1:5"], "another method than the option"),
    ] {
        let words = [&["trace"], words].concat();
        let output = program::output(Command::new(program::sockeye()).args(&words), PATIENCE);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
    }
}

#[test]
fn a_watch_is_for_people() {
    for option in ["--csv", "--json"] {
        let words = ["trace", "--watch", option, "127.0.0.1"];
        let output = program::output(Command::new(program::sockeye()).args(words), PATIENCE);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr.contains(option), "{}", output.stderr);
    }
}

#[test]
fn a_watch_without_a_terminal_says_what_to_do() {
    let output = program::output(
        Command::new(program::sockeye()).args(["trace", "--watch", "127.0.0.1"]),
        PATIENCE,
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.contains("--report COUNT"), "{}", output.stderr);
    assert_eq!(output.text(), "", "nothing was drawn");
}

#[test]
fn a_watch_shows_the_hops_obeys_keys_and_gives_the_terminal_back() {
    if !require(&[Need::Namespaces, Need::program("tmux")]) {
        return;
    }
    let chain = Chain::new(3);
    let hops = chain.hops(false);
    let terminal = Terminal::open(chain.client());
    let before = terminal.settings("before");
    let words = "-n -i 0.1 10.0.4.2";

    terminal.watch(words, &hops);
    let screen = terminal.until("figures", |screen| screen.contains("0.0%"));
    assert!(screen.contains("jitter") && screen.contains("stdev"), "{screen}");
    terminal.type_keys(&["p"]);
    terminal.until("a pause", |screen| screen.contains(", paused"));
    terminal.type_keys(&["Space"]);
    terminal.until("rounds", |screen| screen.contains(", round "));
    terminal.type_keys(&["d"]);
    terminal.until("jitter and percentiles", |screen| screen.contains("p99"));
    terminal.type_keys(&["d"]);
    terminal.until("sparks", |screen| screen.contains('▁'));
    terminal.type_keys(&["?"]);
    terminal.until("the help", |screen| screen.contains("begin all figures anew"));
    terminal.type_keys(&["?"]);
    terminal.until("no help", |screen| !screen.contains("begin all figures anew"));
    terminal.type_keys(&["r"]);
    // Fewer rounds than before, or as many as a moment has.
    terminal.until("figures again", |screen| {
        hops.iter().all(|hop| screen.contains(hop))
    });
    terminal.tmux(&["resize-window", "-x", "40", "-y", "6"]);
    terminal.until("a small window", |screen| screen.contains("more lines"));
    terminal.tmux(&["resize-window", "-x", "100", "-y", "30"]);
    terminal.until("a large window", |screen| {
        screen.contains("avg") && screen.contains(&hops[3])
    });
    terminal.type_keys(&["d"]);
    terminal.until("all figures", |screen| {
        screen.contains("jitter") && screen.contains("stdev")
    });
    terminal.type_keys(&["q"]);
    terminal.is_as_before(&before, "quit");

    terminal.watch(words, &hops);
    terminal.type_keys(&["C-c"]);
    terminal.is_as_before(&before, "interrupted");
    for signal in ["INT", "TERM", "HUP", "QUIT"] {
        let pid = terminal.watch(words, &hops);
        chain
            .client()
            .run("sh", &["-c", &format!("kill -{signal} {pid}")]);
        terminal.is_as_before(&before, signal);
    }
}
