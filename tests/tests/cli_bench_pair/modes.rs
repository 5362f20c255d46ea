//! Every mode over every transport: what was sent is what has come, on both sides.

use std::process::Command;
use std::thread;

use serde_json::Value;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::Need;
use sockeye_tests::wait::PATIENCE;

use super::ground::{LIMIT, Server, client, events, events_of, number};

/// A server on every transport that this process may have, and the options of its clients by target.
struct Everywhere {
    server: Server,
    targets: Vec<(String, Vec<String>)>,
    _folder: tempfile::TempDir,
}

impl Everywhere {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let unix = format!("unix:{}", path("bench.sock"));
        let mut addresses = vec!["127.0.0.1:0", "tls://127.0.0.1:0", &unix];
        if Need::Ipv6.is_met() {
            addresses.push("[::1]:0");
        }
        if Need::NetRaw.is_met() {
            addresses.push("raw://127.0.0.1:0");
        }
        let tls = ["--cert", &cert, "--key", &key];
        let server = Server::start(Command::new(program::sockeye()), &addresses, &tls);
        let targets = server.at.iter().map(|at| {
            let ca = at
                .starts_with("tls://")
                .then(|| vec!["--ca".to_owned(), cert.clone()]);
            (at.clone(), ca.unwrap_or_default())
        });
        Self {
            targets: targets.collect(),
            server,
            _folder: folder,
        }
    }

    /// Measures over each of them, and hands the last event and what the server says to `check`.
    #[track_caller]
    fn each(&self, words: &[&str], check: impl Fn(&str, &Value, &Value)) {
        for (target, more) in &self.targets {
            let mut all = vec![target.as_str()];
            all.extend(more.iter().map(String::as_str));
            all.extend(words);
            if target.starts_with("udp://") || target.starts_with("raw://") {
                // As fast as it goes would lose some.
                if words.contains(&"crr") {
                    continue;
                }
                if words.contains(&"stream") {
                    all.extend(["-b", "40M"]);
                }
            }
            let end = client(&all);
            check(target, &end, &self.server.run());
        }
    }
}

fn is_datagrams(target: &str) -> bool {
    target.starts_with("udp://") || target.starts_with("raw://")
}

/// Of datagrams whole ones are sent.
fn whole(target: &str, bytes: u64) -> u64 {
    if is_datagrams(target) {
        bytes.div_ceil(1400) * 1400
    } else {
        bytes
    }
}

#[test]
fn a_stream_up_is_counted_to_the_byte_on_both_sides() {
    Everywhere::start().each(
        &["--mode", "stream", "-n", "300001", "-P", "3", "--idle", "0.05"],
        |target, end, run| {
            let bytes = whole(target, 300_001);
            assert_eq!(number(end, "/up/sent_bytes"), bytes, "{target}");
            assert_eq!(number(end, "/up/received_bytes"), bytes, "{target}");
            assert_eq!(end["flows"].as_array().map(Vec::len), Some(3), "{target}");
            assert!(end.get("down").is_none(), "{target}: {end}");
            assert!(number(end, "/latency_ns/idle/count") > 0, "{target}");
            // The probe's requests are counted there too.
            assert!(number(run, "/received_bytes") >= bytes, "{target}");
            assert_eq!(
                end["up"]["retransmits"].is_u64(),
                target.starts_with("tcp://"),
                "{target}: {end}"
            );
        },
    );
}

#[test]
fn a_stream_down_and_both_ways_are_counted_to_the_byte() {
    let everywhere = Everywhere::start();
    let reverse = ["--mode", "stream", "-n", "300001", "-R", "-P", "2", "--idle", "0"];
    everywhere.each(&reverse, |target, end, run| {
        let bytes = whole(target, 300_001);
        assert_eq!(number(end, "/down/sent_bytes"), bytes, "{target}");
        assert_eq!(number(end, "/down/received_bytes"), bytes, "{target}");
        assert_eq!(
            (number(run, "/sent_bytes"), number(run, "/received_bytes")),
            (bytes, 0),
            "{target}"
        );
    });
    let both = ["--mode", "stream", "-n", "200000", "--bidir", "--idle", "0"];
    everywhere.each(&both, |target, end, run| {
        let bytes = whole(target, 200_000);
        for direction in ["up", "down"] {
            assert_eq!(
                number(end, &format!("/{direction}/sent_bytes")),
                bytes,
                "{target}"
            );
            assert_eq!(
                number(end, &format!("/{direction}/received_bytes")),
                bytes,
                "{target}"
            );
        }
        assert_eq!(
            (number(run, "/sent_bytes"), number(run, "/received_bytes")),
            (bytes, bytes),
            "{target}"
        );
    });
}

#[test]
fn each_request_is_answered_once() {
    let everywhere = Everywhere::start();
    for mode in ["rr", "crr"] {
        everywhere.each(
            &["--mode", mode, "-k", "60", "-P", "2", "-l", "100"],
            |target, end, run| {
                assert_eq!(number(end, "/up/received_messages"), 60, "{target} {mode}");
                assert_eq!(number(end, "/up/received_bytes"), 6000, "{target} {mode}");
                assert_eq!(number(end, "/latency_ns/rtt/count"), 60, "{target} {mode}");
                assert_eq!(number(end, "/unanswered"), 0, "{target} {mode}");
                assert_eq!(
                    (number(run, "/received_bytes"), number(run, "/sent_bytes")),
                    (6000, 6000),
                    "{target} {mode}"
                );
            },
        );
    }
}

#[test]
fn each_message_of_one_way_has_its_delay() {
    let everywhere = Everywhere::start();
    for direction in ["up", "down"] {
        let mut words = vec!["--mode", "oneway", "-k", "50", "--rate", "500"];
        if direction == "down" {
            words.push("-R");
        }
        everywhere.each(&words, |target, end, _| {
            assert_eq!(
                number(end, &format!("/{direction}/received_messages")),
                50,
                "{target}"
            );
            assert_eq!(
                number(end, &format!("/{direction}/datagrams/lost")),
                0,
                "{target}"
            );
            assert_eq!(number(end, "/latency_ns/delay/count"), 50, "{target}");
            // One machine has one clock: what was estimated is not further off than was said.
            let offset = end["clock"]["offset_ns"].as_i64().expect("an offset");
            assert!(
                offset.unsigned_abs() <= number(end, "/clock/uncertainty_ns"),
                "{target}: {end}"
            );
        });
    }
}

/// A schedule of 100 a second: however late they are sent, a latency from when they were due is no shorter.
#[test]
fn on_schedule_latencies_are_told_corrected_and_uncorrected() {
    let server = Server::local();
    for scheme in ["tcp://", "udp://"] {
        let end = client(&[server.target(scheme), "--mode", "rr", "-k", "40", "--rate", "100"]);
        assert_eq!(number(&end, "/latency_ns/rtt/count"), 40);
        assert_eq!(number(&end, "/latency_ns/rtt_uncorrected/count"), 40);
        for at in ["p50", "p99", "max"] {
            let of = |name: &str| number(&end, &format!("/latency_ns/{name}/{at}"));
            assert!(of("rtt") >= of("rtt_uncorrected"), "{end}");
        }
        // The last of 40 is due 390 ms after the first.
        assert!(number(&end, "/up/elapsed_ns") >= 390_000_000, "{end}");
    }
}

#[test]
fn a_time_has_its_intervals_and_what_is_omitted_is_in_none() {
    let server = Server::local();
    let words = [
        server.target("tcp://"),
        "-t",
        "0.6",
        "-O",
        "1",
        "-i",
        "0.2",
        "-b",
        "8M",
        "--bidir",
        "--idle",
        "0",
    ];
    let events = events(&words, 0);
    let of_flow = |flow: u64| {
        let intervals = events
            .iter()
            .filter(move |event| event["event"] == "interval" && event["flow"] == flow);
        intervals.collect::<Vec<_>>()
    };
    let end = events.last().expect("an event");
    for (flow, direction, at) in [(1, "up", "/up/sent_bytes"), (2, "down", "/down/received_bytes")] {
        let intervals = of_flow(flow);
        // A busy machine may be late for the last one, and has it in the one before.
        assert!((1..=3).contains(&intervals.len()), "{events:?}");
        assert_eq!(number(intervals[0], "/from_ns"), 0);
        assert!(
            intervals
                .windows(2)
                .all(|two| two[0]["to_ns"] == two[1]["from_ns"]),
            "{intervals:?}"
        );
        assert!(
            intervals
                .iter()
                .all(|interval| interval["direction"] == direction)
        );
        let total: u64 = intervals.iter().map(|interval| number(interval, "/bytes")).sum();
        // What was on its way when the time was over is in no interval, and what was omitted in neither.
        assert!(total > 0 && total <= number(end, at), "{events:?}");
        // TCP_INFO is that of the side that sends.
        assert!(
            intervals[0]["rtt_ns"].is_u64() && intervals[0]["cwnd_bytes"].is_u64(),
            "{}",
            intervals[0]
        );
    }
    // The server's log has the omitted second too.
    let run = server.run();
    assert!(
        number(&run, "/received_bytes") > number(end, "/up/received_bytes"),
        "{run} {end}"
    );
}

#[test]
fn sendfile_sends_the_same() {
    let server = Server::local();
    for more in [&["-R"][..], &[]] {
        let end = client(
            &[
                &[server.target("tcp://"), "-Z", "-n", "1000001", "--idle", "0"],
                more,
            ]
            .concat(),
        );
        let direction = if more.is_empty() { "up" } else { "down" };
        assert_eq!(number(&end, &format!("/{direction}/received_bytes")), 1_000_001);
    }
}

#[test]
fn several_clients_are_served_at_once() {
    let server = Server::local();
    let at = server.target("tcp://");
    // Each waits for its own schedule, so that they are there together.
    let words = [at, "--mode", "rr", "-k", "100", "--rate", "100", "--json"];
    let start = || {
        let mut command = Command::new(program::sockeye());
        command.args(["bench", "client"]).args(words);
        thread::spawn(move || program::output(&mut command, LIMIT))
    };
    let clients = [start(), start(), start()];
    let mut shared = 0;
    for client in clients {
        let output = client.join().expect("no panic");
        let end = events_of(&output, 0).pop().expect("an event");
        assert_eq!(number(&end, "/up/received_messages"), 100);
        shared += u32::from(end["server_is_shared"] == true);
        server.run();
    }
    assert!(shared >= 2, "they were there one after another");
}

#[test]
fn csv_has_a_row_for_each_interval() {
    let server = Server::local();
    let output = super::ground::run(&[server.target("udp://"), "-n", "14000", "--idle", "0", "--csv"]);
    let text = output.text();
    let mut lines = text.lines();
    assert!(
        lines
            .next()
            .is_some_and(|header| header.starts_with("from_ns,to_ns,flow,direction,bytes,"))
    );
    let row: Vec<&str> = lines.next().expect("a row").split(',').collect();
    assert_eq!((row[2], row[3]), ("1", "up"));
}

#[test]
fn an_interrupted_run_has_the_figures_so_far() {
    let server = Server::local();
    for more in [&["-b", "8M", "--bidir"][..], &["--mode", "rr", "--rate", "100"]] {
        for scheme in ["tcp://", "udp://"] {
            let mut command = Command::new(program::sockeye());
            command.args([
                "bench",
                "client",
                server.target(scheme),
                "-t",
                "600",
                "-i",
                "0.1",
                "--idle",
                "0",
                "--json",
            ]);
            let mut running = Running::start(command.args(more));
            running.line_with(PATIENCE, |line| line.contains("\"interval\""));
            running.signal(libc::SIGINT);
            let end = running.line_with(PATIENCE, |line| line.contains("\"end\""));
            let end: Value = serde_json::from_str(&end).expect("JSON");
            assert_eq!(end["is_interrupted"], true);
            assert!(number(&end, "/up/received_messages") > 0, "{end}");
            assert_eq!(running.wait(PATIENCE).code(), Some(0));
            server.run();
        }
    }
}

#[test]
fn each_side_stays_on_the_cpu_it_is_given() {
    let server = Server::local();
    let end = client(&[server.target("tcp://"), "-n", "100K", "--idle", "0", "-A", "0,0"]);
    assert_eq!(number(&end, "/up/received_bytes"), 102_400);
    server.run();
    let output = super::ground::run(&[
        server.target("tcp://"),
        "-n",
        "1K",
        "--idle",
        "0",
        "-A",
        "0,60000",
    ]);
    assert_eq!(output.status.code(), Some(5));
    assert!(
        output
            .stderr
            .contains("the server refuses: there is no CPU 60000"),
        "{}",
        output.stderr
    );
}

#[test]
fn many_flows_are_as_exact_as_one() {
    let server = Server::local();
    for scheme in ["tcp://", "udp://"] {
        let end = client(&[
            server.target(scheme),
            "-P",
            "200",
            "-k",
            "400",
            "-l",
            "500",
            "-R",
            "--idle",
            "0",
        ]);
        assert_eq!(number(&end, "/down/received_bytes"), 200_000, "{scheme}");
        assert_eq!(end["flows"].as_array().map(Vec::len), Some(200));
    }
}
