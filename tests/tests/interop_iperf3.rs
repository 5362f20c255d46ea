//! `sockeye bench server --iperf3` and `bench client --iperf3` with the real iperf3 as the other side, and with others that
//! are not what they say.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

#[path = "interop_iperf3/ours.rs"]
mod ours;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Output, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::{self, PATIENCE};

/// A run of iperf3 or of ours takes seconds; on a busy machine more.
const LIMIT: Duration = Duration::from_secs(60);
const COOKIE: &[u8; 37] = b"abcdefghijklmnopqrstuvwxyz2345672345\0";

fn has_iperf3() -> bool {
    require(&[Need::program("iperf3")])
}

/// Our server at a free port of the loopback.
struct Server {
    running: Running,
    port: u16,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let mut command = Command::new(program::sockeye());
        command.args(["bench", "server", "--iperf3", "--listen", "127.0.0.1:0", "--json"]);
        let running = Running::start(command.args(more));
        let event = event(&running.line(PATIENCE));
        let endpoint = event["endpoint"].as_str().expect("an endpoint");
        let port = endpoint.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        running.line(PATIENCE);
        Self {
            running,
            port: port.expect("a port"),
        }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The next event of that name.
    #[track_caller]
    fn next(&self, name: &str) -> Value {
        let is_it = |line: &str| event(line)["event"] == name;
        event(&self.running.line_with(LIMIT, is_it))
    }

    /// Why the next one that fails does: a run, or who was refused before there was one.
    #[track_caller]
    fn failure(&self) -> String {
        let is_it = |line: &str| {
            let event = event(line);
            event["event"] == "refused" || event["failure"].is_string()
        };
        let event = event(&self.running.line_with(LIMIT, is_it));
        let why = event["reason"].as_str().or_else(|| event["failure"].as_str());
        why.expect("words").to_owned()
    }

    /// Runs the real client against it.
    #[track_caller]
    fn serve(&self, arguments: &[&str]) -> Output {
        let output = program::output(&mut client(self.port, arguments), LIMIT);
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            output.text(),
            output.stderr
        );
        output
    }

    /// Runs the real client, whose results are JSON.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.serve(&[arguments, &["-J"]].concat());
        serde_json::from_slice(&output.stdout).expect("the client prints JSON")
    }

    /// It has forgotten all tests: nothing is open but what listens.
    #[track_caller]
    fn is_free(&self) {
        wait::until("the server to have freed everything", PATIENCE, || {
            sockets(self.running.pid()) == 2
        });
    }
}

/// The descriptors of a process that are sockets of IP: those of the loop are none.
fn sockets(pid: u32) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the server runs");
    let targets = folder.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let inodes: Vec<String> = targets
        .filter_map(|target| {
            let name = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(format!(" {name} "))
        })
        .collect();
    let tables = ["tcp", "udp"].map(|table| {
        std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).expect("proc has tables of sockets")
    });
    let is_ip = |inode: &&String| tables.iter().any(|table| table.contains(inode.as_str()));
    inodes.iter().filter(is_ip).count()
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).expect("each line is an object")
}

fn client(port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new("iperf3");
    command
        .args(["-c", "127.0.0.1", "-p", &port.to_string()])
        .args(arguments);
    command
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The sum of a field over the flows of a `run` or an `end`: also of what a receiver of datagrams has seen.
fn sum(end: &Value, field: &str) -> u64 {
    let flows = end["flows"].as_array().expect("flows");
    let field_of = |flow: &Value| {
        let value = if flow[field].is_null() {
            &flow["datagrams"][field]
        } else {
            &flow[field]
        };
        number(value)
    };
    flows.iter().map(field_of).sum()
}

#[track_caller]
fn agree(one: u64, other: u64) {
    assert!(one > 0 && one.abs_diff(other) * 100 <= one, "{one} and {other}");
}

#[test]
fn four_streams_down_agree_with_the_clients_json() {
    if !has_iperf3() {
        return;
    }
    let server = Server::start(&[]);
    let client = server.json(&["-P", "4", "-R", "-n", "400M"]);
    let end = server.next("run");
    assert_eq!(end["flows"].as_array().map(Vec::len), Some(4));
    agree(
        number(&client["end"]["sum_received"]["bytes"]),
        sum(&end, "received_bytes"),
    );
    agree(
        number(&client["end"]["sum_sent"]["bytes"]),
        sum(&end, "sent_bytes"),
    );
    assert!(
        number(&client["end"]["sum_received"]["bytes"]) >= 400 << 20,
        "{end}"
    );
    server.is_free();
}

#[test]
fn an_upload_is_counted_to_the_byte() {
    if !has_iperf3() {
        return;
    }
    let server = Server::start(&[]);
    let client = server.json(&["-n", "64M", "-l", "100000", "-P", "2"]);
    let end = server.next("run");
    let sent = number(&client["end"]["sum_sent"]["bytes"]);
    assert_eq!(sum(&end, "sent_bytes"), sent);
    agree(sent, sum(&end, "received_bytes"));
    agree(sent, number(&client["end"]["sum_received"]["bytes"]));
    server.serve(&["-k", "50"]);
    assert_eq!(sum(&server.next("run"), "sent_bytes"), 50 * 131_072);
}

#[test]
fn both_ways_at_once_with_an_omitted_second_and_our_output() {
    if !has_iperf3() {
        return;
    }
    let server = Server::start(&["-i", "0.5"]);
    let client = server.json(&[
        "--bidir",
        "-t",
        "1",
        "-O",
        "1",
        "-b",
        "100M",
        "-i",
        "0.5",
        "--get-server-output",
    ]);
    assert!(server.next("interval")["omitted"] == true);
    let end = server.next("run");
    let directions: Vec<&Value> = end["flows"]
        .as_array()
        .expect("flows")
        .iter()
        .map(|flow| &flow["direction"])
        .collect();
    assert_eq!(directions, ["up", "down"]);
    // 100 Mbit/s for one second, of which blocks of 128 KiB are a hundredth.
    for flow in end["flows"].as_array().expect("flows") {
        assert!(number(&flow["received_bytes"]) > 4_000_000, "{end}");
        assert!(
            number(&flow["sent_bytes"]) < 40_000_000,
            "the omitted second does not count: {end}"
        );
    }
    let text = client["server_output_text"].as_str().expect("our output");
    assert!(text.contains("(omitted)") && text.contains("\ndown: "), "{text}");
}

#[test]
fn datagrams_go_up_down_and_both_ways() {
    if !has_iperf3() {
        return;
    }
    let server = Server::start(&[]);
    for more in [&[][..], &["-R"], &["--bidir", "--udp-counters-64bit"]] {
        let fixed = ["-u", "-b", "20M", "-l", "1000", "-P", "2", "-t", "1"];
        let client = server.json(&[&fixed[..], more].concat());
        let end = server.next("run");
        let (sent, lost) = (sum(&end, "sent_messages"), sum(&end, "lost"));
        // 2,500 a second and stream; how many of them a busy machine drops is not ours to say, but both say the same.
        assert!(sent > 1000, "{end}");
        if more.is_empty() {
            assert_eq!(number(&client["end"]["sum"]["lost_packets"]), lost, "{client}");
        }
        assert!(lost < sent, "{end}");
    }
    server.is_free();
}

/// A filter in the kernel drops each fifth datagram and counts, so that the loss is known exactly.
#[test]
fn the_loss_that_is_told_is_the_loss_that_there_was() {
    if !require(&[Need::program("iperf3"), Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let world = World::new();
    let namespace = world.namespace();
    let server = in_namespace(&namespace, &["--listen", "127.0.0.1:5201"]);
    // Datagrams of the test are longer than the greeting; of five the last one is dropped.
    let rules = "table ip loss { counter dropped {}\n chain in {\n type filter hook input priority 0\n \
                 udp dport 5201 udp length > 100 numgen inc mod 5 == 4 counter name dropped drop\n }\n}\n";
    let mut nft = namespace.command("nft");
    let output = program::output_with_input(nft.args(["-f", "-"]), rules.as_bytes(), PATIENCE);
    assert!(output.status.success(), "{}", output.stderr);
    let mut client = namespace.command("iperf3");
    client.args(["-c", "127.0.0.1", "-u", "-b", "4M", "-l", "1000", "-t", "2", "-J"]);
    let output = program::output(&mut client, LIMIT);
    let client: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let end = event(&server.line_with(LIMIT, |line| event(line)["event"] == "run"));
    let (sent, lost) = (sum(&end, "sent_messages"), sum(&end, "lost"));
    let counter = namespace.run("nft", &["list", "counter", "ip", "loss", "dropped"]);
    let mut words = counter
        .split_whitespace()
        .skip_while(|word| *word != "packets")
        .skip(1);
    let dropped: u64 = words.next().and_then(|word| word.parse().ok()).expect("a count");
    assert!(sent > 500, "{end}");
    // Of the datagrams behind the last that came nobody knows; and each fifth is dropped.
    assert!(
        lost.abs_diff(dropped) <= 1,
        "{lost} told, {dropped} dropped: {end}"
    );
    assert!(
        (100 * lost).abs_diff(20 * sent) <= sent,
        "within a point of 20 %: {lost} of {sent}"
    );
    agree(number(&client["end"]["sum"]["lost_packets"]), lost);
}

fn in_namespace(namespace: &Namespace, more: &[&str]) -> Running {
    let path = program::sockeye().to_str().expect("a path in UTF-8").to_owned();
    let mut command = namespace.command(&path);
    command.args(["bench", "server", "--iperf3", "--json"]).args(more);
    let running = Running::start(&mut command);
    running.line(PATIENCE);
    running.line(PATIENCE);
    running
}

#[test]
fn two_clients_at_once_are_both_served() {
    if !has_iperf3() {
        return;
    }
    for udp in [&[][..], &["-u", "-b", "5M", "-l", "1000"]] {
        let server = Server::start(&[]);
        let fixed = ["-P", "3", "-t", "2", "-J"];
        let arguments = [&fixed[..], udp].concat();
        let start = || Running::start(&mut client(server.port, &arguments));
        let mut both = [start(), start()];
        // Both begin before one of them ends: neither waits for the other.
        let mut begun = 0;
        while begun < 2 {
            let line = server.running.line(LIMIT);
            let event = event(&line);
            assert_ne!(event["event"], "run", "one ended before both had begun: {line}");
            assert_ne!(event["event"], "refused", "{line}");
            begun += usize::from(event["event"] == "begin");
        }
        for client in &mut both {
            assert!(client.wait(LIMIT).success(), "{:?}", client.last_lines(LIMIT));
        }
        for _ in 0..2 {
            let end = server.next("run");
            assert_eq!(end["flows"].as_array().map(Vec::len), Some(3));
            assert!(sum(&end, "received_bytes") > 0, "{end}");
        }
        server.is_free();
    }
}

#[test]
fn clients_that_vanish_are_told_and_freed_and_the_next_one_is_served() {
    if !has_iperf3() {
        return;
    }
    let server = Server::start(&[]);
    for more in [
        &["-P", "2"][..],
        &["-R"],
        &["-u", "-b", "10M"],
        &["-u", "-R", "-b", "10M"],
    ] {
        let arguments = [&["-t", "60"][..], more].concat();
        let client = Running::start(&mut client(server.port, &arguments));
        server.next("begin");
        drop(client);
        let why = server.failure();
        assert!(why.contains("while the test was running"), "{more:?}: {why}");
        server.is_free();
    }
    let mut polite = Running::start(&mut client(server.port, &["-t", "60"]));
    server.next("begin");
    wait::until("the client to take signals", PATIENCE, || {
        polite.catches(libc::SIGINT)
    });
    polite.signal(libc::SIGINT);
    assert_eq!(
        server.failure(),
        "the client has ended the test (while the test was running)"
    );
    server.is_free();
    server.serve(&["-n", "1M"]);
    server.next("run");
}

/// A message after its length.
fn framed(text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&len[..], text.as_bytes()].concat()
}

#[test]
fn who_does_not_speak_the_protocol_is_named_and_freed() {
    let server = Server::start(&[]);
    let says = |pieces: &[&[u8]]| {
        let mut stream = TcpStream::connect(server.address()).expect("the server listens");
        for piece in pieces {
            // It may have ended this before all was said.
            let _ = stream.write_all(piece);
        }
        server.failure()
    };
    assert!(says(&[b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]).starts_with("not iperf3: byte 14"));
    assert!(says(&[b"\x16\x03\x01"]).starts_with("not iperf3: byte 0"));
    let huge = 100_000_000_u32.to_be_bytes();
    assert_eq!(
        says(&[COOKIE, &huge]),
        "a message of 100000000 bytes was announced while waiting for the parameters: at most 65536 are accepted"
    );
    assert!(
        says(&[COOKIE, &framed("{]")])
            .starts_with("a message that cannot be read came while waiting for the parameters")
    );
    assert!(
        says(&[COOKIE, &framed("{\"tcp\":true,\"parallel\":1000000}")]).contains("1000000 parallel streams")
    );
    assert!(says(&[COOKIE, &framed("{\"sctp\":true,\"parallel\":1}")]).contains("neither TCP nor UDP"));
    let good = framed("{\"tcp\":true,\"parallel\":1,\"time\":1}");
    assert_eq!(
        says(&[COOKIE, &good, &[4]]),
        "TEST_END came while waiting for the data streams"
    );
    assert_eq!(
        says(&[COOKIE, &good, &[99]]),
        "unknown state 99 came while waiting for the data streams"
    );
    server.is_free();
}

#[test]
fn who_stops_in_the_middle_is_told_at_its_end() {
    let server = Server::start(&[]);
    let good = framed("{\"tcp\":true,\"parallel\":2,\"time\":1}");
    let stops: [(&[&[u8]], &str); 4] = [
        (&[&COOKIE[..10]], "it ended before it had said a cookie"),
        (
            &[COOKIE],
            "the control connection ended while waiting for the parameters",
        ),
        (
            &[COOKIE, &good[..9]],
            "the control connection ended while waiting for the parameters",
        ),
        (
            &[COOKIE, &good],
            "the control connection ended while waiting for the data streams",
        ),
    ];
    for (pieces, expected) in stops {
        let mut stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.write_all(&pieces.concat()).expect("the server reads");
        drop(stream);
        let why = server.failure();
        assert!(why.starts_with(expected), "{why}");
    }
    server.is_free();
}

#[test]
fn silence_is_ended_by_the_deadline_and_a_full_server_says_so() {
    let server = Server::start(&["--max-connections", "2"]);
    let mut silent = TcpStream::connect(server.address()).expect("the server listens");
    silent.write_all(COOKIE).expect("the server reads");
    let mut state = [0];
    silent.set_read_timeout(Some(LIMIT)).expect("a timeout");
    silent.read_exact(&mut state).expect("PARAM_EXCHANGE");
    assert_eq!(state, [9]);
    // It has one of two places, and any other test needs two.
    let mut second = TcpStream::connect(server.address()).expect("the server listens");
    second.set_read_timeout(Some(LIMIT)).expect("a timeout");
    second
        .write_all(b"2345672345abcdefghijklmnopqrstuvwxyz\0")
        .expect("the server reads");
    second.read_exact(&mut state).expect("ACCESS_DENIED");
    assert_eq!(state, [0xff]);
    assert_eq!(
        server.failure(),
        "as many connections as --max-connections allows"
    );
    assert_eq!(
        server.failure(),
        "nothing came for 10 s while waiting for the parameters"
    );
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).expect("an end in order");
    // SERVER_ERROR and two numbers.
    assert_eq!(rest, [0xfe, 0, 0, 0, 114, 0, 0, 0, 0]);
    server.is_free();
}
