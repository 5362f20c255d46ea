//! `sockeye serve sockperf` and `bench client --sockperf` with the real sockperf as the other side.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sockeye_tests::program::{self, Output, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::{self, PATIENCE};

/// A run takes a second; on a busy machine more.
const LIMIT: Duration = Duration::from_secs(60);

/// Our server by each of these, and its ports.
fn server(listen: &[&str]) -> (Running, Vec<u16>) {
    let mut command = Command::new(program::sockeye());
    command.args(["serve", "sockperf", "--udp-rate", "0", "--json"]);
    for address in listen {
        command.args(["--listen", address]);
    }
    let running = Running::start(&mut command);
    let ports = listen.iter().map(|_| {
        let event: Value = serde_json::from_str(&running.line(PATIENCE)).expect("an event");
        let port = event["endpoint"]
            .as_str()
            .and_then(|endpoint| endpoint.rsplit_once(':'));
        port.and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    });
    let ports = ports.collect();
    (running, ports)
}

#[track_caller]
fn sockperf(arguments: &[&str], port: u16) -> String {
    let mut command = Command::new("sockperf");
    command
        .args(arguments)
        .args(["-i", "127.0.0.1", "-p", &port.to_string(), "-t", "1"]);
    let output = program::output(&mut command, LIMIT);
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        output.text(),
        output.stderr
    );
    output.text()
}

/// The number behind a name in `RunTime=0.5 sec; SentMessages=10; ReceivedMessages=10` of the part that counts.
#[track_caller]
fn count(text: &str, name: &str) -> u64 {
    let valid = text
        .lines()
        .find(|line| line.contains("[Valid Duration]"))
        .expect("a result");
    let value = valid
        .split_once(name)
        .and_then(|(_, rest)| rest.strip_prefix('='));
    let digits = value.map(|value| value.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.and_then(|digits| digits.parse().ok()).expect("a number")
}

#[test]
fn the_real_client_is_answered_by_udp_and_tcp() {
    if !require(&[Need::program("sockperf")]) {
        return;
    }
    let (_server, ports) = server(&["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]);
    for (port, more) in ports.iter().zip([&[][..], &["--tcp"]]) {
        let run = |arguments: &[&str]| sockperf(&[arguments, more].concat(), *port);
        for size in ["14", "60000"] {
            let text = run(&["ping-pong", "-m", size]);
            let (sent, received) = (count(&text, "SentMessages"), count(&text, "ReceivedMessages"));
            assert!(sent > 10 && received + 1 >= sent, "{more:?}: {text}");
        }
        let text = run(&["under-load", "--mps", "1000", "--reply-every", "10"]);
        let (sent, received) = (count(&text, "SentMessages"), count(&text, "ReceivedMessages"));
        // One of ten asks for an answer.
        assert!(received > 0 && received * 5 < sent, "{more:?}: {text}");
        let text = run(&["throughput", "--mps", "1000", "-m", "100"]);
        assert!(text.contains("Message Rate"), "{text}");
    }
}

fn client(target: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program::sockeye());
    command.args(["bench", "client", target, "--sockperf", "-t", "1", "--json"]);
    program::output(command.args(arguments), LIMIT)
}

/// The last event of a run that went well.
#[track_caller]
fn measured(target: &str, arguments: &[&str]) -> Value {
    let output = client(target, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    let last = text.lines().next_back().expect("an event");
    serde_json::from_str(last).expect("an object")
}

#[track_caller]
fn is_measured(end: &Value) {
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {end}"));
    assert_eq!(
        (&end["event"], &end["protocol"]),
        (&"end".into(), &"sockperf".into())
    );
    assert!(number(&end["up"]["received_messages"]) > 10, "{end}");
    let times = ["min", "p50", "p99", "max"].map(|name| number(&end["latency_ns"]["rtt"][name]));
    assert!(times[0] > 1_000 && times.is_sorted(), "{end}");
}

#[test]
fn our_client_drives_the_real_server() {
    if !require(&[Need::program("sockperf")]) {
        return;
    }
    for tcp in [false, true] {
        // Free a moment ago; sockperf takes no port 0.
        let port = if tcp {
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())
        } else {
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr())
        };
        let port = port.expect("a free port").port();
        let mut command = Command::new("sockperf");
        command.args(["server", "-i", "127.0.0.1", "-p", &port.to_string()]);
        if tcp {
            command.arg("--tcp");
        }
        let _server = Running::start(&mut command);
        // What it prints comes when it ends.
        let local = format!(" 0100007F:{port:04X} ");
        let table = if tcp { "/proc/net/tcp" } else { "/proc/net/udp" };
        wait::until("sockperf to have its socket", PATIENCE, || {
            std::fs::read_to_string(table).is_ok_and(|sockets| sockets.contains(&local))
        });
        let target = format!("{}://127.0.0.1:{port}", if tcp { "tcp" } else { "udp" });
        is_measured(&measured(&target, &[]));
        let loaded = measured(&target, &["--rate", "500", "-l", "100"]);
        is_measured(&loaded);
        assert!(
            loaded["latency_ns"]["rtt"]["p50"].as_u64()
                >= loaded["latency_ns"]["rtt_uncorrected"]["p50"].as_u64(),
            "{loaded}"
        );
    }
}

/// What is done with the figures is done with those of any protocol.
#[test]
fn a_run_has_intervals_conditions_and_files() {
    let (_server, ports) = server(&["udp://127.0.0.1:0"]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let target = format!("127.0.0.1:{}", ports[0]);
    let output = client(
        &target,
        &["-i", "0.25", "--hdr", &path("log"), "--report", &path("page")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    let text = output.text();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect();
    let (first, last) = (&events[0], events.last().expect("an end"));
    assert_eq!((&first["event"], &first["mode"]), (&"start".into(), &"rr".into()));
    let intervals = events.iter().filter(|event| event["event"] == "interval");
    let messages: u64 = intervals.filter_map(|event| event["messages"].as_u64()).sum();
    assert_eq!(Some(messages), last["up"]["received_messages"].as_u64(), "{text}");
    let log = std::fs::read_to_string(path("log")).expect("the log");
    assert!(log.contains("Tag=rtt,"), "{log}");
    let page = std::fs::read_to_string(path("page")).expect("the page");
    assert!(page.contains("rr over udp, with sockperf"), "{page}");
    std::fs::write(path("old"), &text).expect("a file");
    let output = client(&target, &["--compare", &path("old"), "--fail-if", "p50>1ns"]);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.text().contains("latency_ns.rtt.p99"), "{}", output.text());
    // Refused before anybody is asked: nobody listens there.
    for (words, why) in [
        (&["--fail-if", "rate<1G"][..], "rr and crr"),
        (&["-P", "2"], "leave out --sockperf"),
        (&["--insecure"], "leave out --sockperf"),
        (&["--compare", "/dev/null"], "no end of a run"),
    ] {
        let output = client("tcp://127.0.0.1:1", words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{words:?}: {}", output.stderr);
    }
}

#[test]
fn our_client_and_our_server_agree_on_every_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let unix = format!("unix:{}", folder.path().join("s").display());
    let (_server, ports) = server(&["udp://127.0.0.1:0", "tcp://127.0.0.1:0", &unix]);
    let targets = [
        format!("127.0.0.1:{}", ports[0]),
        format!("tcp://127.0.0.1:{}", ports[1]),
        unix,
    ];
    for target in &targets {
        is_measured(&measured(target, &["-l", "1000"]));
    }
}

#[test]
fn lengths_that_lie_end_a_connection_and_answers_are_never_answered() {
    let (_server, ports) = server(&["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]);
    let good = [0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0, 0, 0, 14];
    let answer = [0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 0, 0, 0, 14];
    let lying = [0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0xff, 0xff, 0xff, 0xff];
    let mut stream = TcpStream::connect(("127.0.0.1", ports[1])).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for byte in good {
        stream.write_all(&[byte]).expect("the server reads");
    }
    let mut read = [0; 14];
    stream.read_exact(&mut read).expect("an answer");
    assert_eq!(read, answer);
    stream.write_all(&lying).expect("the server reads");
    assert!(
        matches!(stream.read(&mut read), Ok(0) | Err(_)),
        "the connection has ended"
    );
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.connect(("127.0.0.1", ports[0])).expect("it is connected");
    // None of the first three has an answer: the only one that comes is that of the fourth, whose number is another.
    let mut last = good;
    last[7] = 10;
    for message in [&answer[..], &lying, b"x", &last] {
        socket.send(message).expect("it is sent");
    }
    let len = socket.recv(&mut read).expect("an answer");
    assert_eq!((len, read[7], read[9]), (14, 10, 2));
}

#[test]
fn a_closed_port_and_a_silent_server_are_told_apart() {
    let closed = UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port");
    let output = client(&closed.to_string(), &[]);
    assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
    assert!(output.stderr.contains("the port is closed"), "{}", output.stderr);
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = silent.local_addr().expect("it is bound");
    let output = client(&address.to_string(), &[]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "nothing was answered: {}",
        output.stderr
    );
}
