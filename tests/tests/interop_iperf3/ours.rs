//! `bench client --iperf3`: with the real server, and with ours.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::process::{Child, Command};

use serde_json::Value;
use sockeye_tests::program::{self, Running};
use sockeye_tests::wait::{self, PATIENCE};

use super::{LIMIT, Server, agree, client, event, has_iperf3, sum};

/// The real server at a free port; it serves one client at a time.
fn real_server() -> (Running, u16) {
    for _ in 0..16 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let mut command = Command::new("iperf3");
        let mut running =
            Running::start(command.args(["-s", "-B", "127.0.0.1", "-p", &port.to_string(), "--forceflush"]));
        let mut is_up = false;
        wait::until("iperf3 to listen or to end", PATIENCE, || {
            is_up = running
                .lines_so_far()
                .iter()
                .any(|line| line.starts_with("Server listening"));
            is_up || !running.is_running()
        });
        if is_up {
            return (running, port);
        }
    }
    panic!("iperf3 found no free port");
}

/// Runs our client; the events that it has printed.
#[track_caller]
fn measure(port: u16, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new(program::sockeye());
    command.args([
        "bench",
        "client",
        &format!("127.0.0.1:{port}"),
        "--iperf3",
        "--json",
    ]);
    let output = program::output(command.args(arguments), LIMIT);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", output.stderr);
    output.text().lines().map(event).collect()
}

#[test]
fn our_client_drives_the_real_server() {
    if !has_iperf3() {
        return;
    }
    let (_server, port) = real_server();
    for (arguments, flows) in [
        (&["-t", "1", "-P", "2"][..], 2),
        (&["-t", "1", "-R"], 1),
        (&["-t", "1", "-O", "1", "--bidir", "-b", "50M"], 2),
        (&["-n", "20M", "-R", "-P", "2"], 2),
        (&["-t", "1", "-u", "-b", "20M", "-P", "2"], 2),
        (&["-t", "1", "-u", "-R", "-b", "20M"], 1),
        (
            &["-t", "1", "-u", "--bidir", "-b", "5M", "--get-server-output"],
            2,
        ),
        (&["-t", "1", "-w", "200K", "-l", "10K"], 1),
    ] {
        let events = measure(port, arguments);
        let (start, end) = (&events[0], events.last().expect("there are events"));
        assert_eq!(
            (&start["event"], &start["protocol"]),
            (&"start".into(), &"iperf3".into())
        );
        assert_eq!(end["event"], "end", "{end}");
        assert_eq!(
            end["flows"].as_array().map(Vec::len),
            Some(flows),
            "{arguments:?}"
        );
        let (sent, received) = (sum(end, "sent_bytes"), sum(end, "received_bytes"));
        assert!(sent > 100_000 && received > 0, "{arguments:?}: {end}");
        if arguments.contains(&"-n") {
            assert!(received >= 20 << 20, "{end}");
        }
        let has_output = end["server_output"]
            .as_str()
            .is_some_and(|text| text.contains("[ ID]"));
        assert!(has_output || !arguments.contains(&"--get-server-output"), "{end}");
    }
}

#[test]
fn a_busy_server_and_one_that_refuses_are_told_in_words() {
    if !has_iperf3() {
        return;
    }
    let (server, port) = real_server();
    let _busy = Running::start(client(port, &["-t", "60", "-b", "1M"]).arg("--forceflush"));
    server.line_with(PATIENCE, |line| line.contains("Accepted"));
    let mut command = Command::new(program::sockeye());
    command.args(["bench", "client", &format!("127.0.0.1:{port}"), "--iperf3"]);
    let output = program::output(&mut command, LIMIT);
    assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
    assert!(
        output.stderr.contains("busy with another test"),
        "{}",
        output.stderr
    );
    // One that answers everything with an error of its own.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let refusing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("our client connects");
        let mut cookie = [0; 37];
        stream.read_exact(&mut cookie).expect("a cookie");
        stream
            .write_all(&[0xfe, 0, 0, 0, 200, 0, 0, 0, 98])
            .expect("our client reads");
        let end = stream.read(&mut cookie);
        assert!(matches!(end, Ok(0)) || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    });
    let mut command = Command::new(program::sockeye());
    command.args(["bench", "client", &format!("127.0.0.1:{port}"), "--iperf3"]);
    let output = program::output(&mut command, LIMIT);
    refusing.join().expect("it went as expected");
    assert_eq!(output.status.code(), Some(5));
    let said = "the server reports: a stream could not be made (iperf3's error 200): Address already in use (errno 98)";
    assert!(output.stderr.contains(said), "{}", output.stderr);
}

#[test]
fn our_client_and_our_server_agree() {
    let server = Server::start(&[]);
    for arguments in [
        &["-n", "50M"][..],
        &["-n", "50M", "-Z"],
        &["-n", "50M", "-R", "-P", "3"],
        &["-u", "-b", "10M", "-t", "1"],
    ] {
        let events = measure(server.port, arguments);
        let (ours, theirs) = (events.last().expect("an end"), server.next("run"));
        for field in [
            "sent_bytes",
            "received_bytes",
            "sent_messages",
            "received_messages",
        ] {
            assert_eq!(sum(ours, field), sum(&theirs, field), "{arguments:?} {field}");
        }
    }
    server.is_free();
}

/// What is done with the figures is done with those of any protocol.
#[test]
fn a_run_has_conditions_comparisons_and_a_page() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let target = format!("127.0.0.1:{}", server.port);
    let run = |target: &str, words: &[&str]| {
        let mut command = Command::new(program::sockeye());
        command.args(["bench", "client", target, "--iperf3"]).args(words);
        program::output(&mut command, LIMIT)
    };
    let output = run(&target, &["-n", "1M", "--json"]);
    std::fs::write(path("old"), &output.stdout).expect("a file");
    let words = ["-n", "1M", "--compare", &path("old"), "--report", &path("page")];
    let output = run(&target, &[&words[..], &["--fail-if", "rate<1000G"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    for words in ["up.bytes_per_s", "received in", "client CPU", "server CPU"] {
        assert!(output.text().contains(words), "{words}: {}", output.text());
    }
    let page = std::fs::read_to_string(path("page")).expect("the page");
    assert!(page.contains("stream over tcp, with iperf3"), "{page}");
    let rows = run(&target, &["-t", "1", "-i", "0.2", "--csv"]);
    assert!(rows.text().starts_with("from_ns,to_ns,flow,"), "{}", rows.text());
    assert!(rows.text().lines().count() > 2, "{}", rows.text());
    // Refused before anybody is asked: nobody listens there.
    for (words, why) in [
        (&["--fail-if", "p99>1us"][..], "iperf3 measures no latencies"),
        (&["--hdr", "x"], "iperf3 measures no latencies"),
        (&["--fail-if", "loss>1%"], "only udp"),
        (&["-u", "--fail-if", "retransmits>1"], "only senders of tcp"),
        (&["--mode", "rr"], "leave out --iperf3"),
        (&["-A", "0,1"], "one CPU"),
        (&["-t", "0.5"], "whole seconds"),
    ] {
        let output = run("127.0.0.1:1", words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(why), "{words:?}: {}", output.stderr);
    }
}

#[test]
fn an_interrupted_client_has_figures_and_its_server_a_run() {
    let server = Server::start(&[]);
    let mut command = Command::new(program::sockeye());
    let target = format!("127.0.0.1:{}", server.port);
    command.args([
        "bench", "client", &target, "--iperf3", "-t", "60", "-i", "0.1", "--json",
    ]);
    let mut client = Running::start(&mut command);
    client.line_with(LIMIT, |line| event(line)["event"] == "interval");
    client.signal(libc::SIGINT);
    let end = event(&client.line_with(LIMIT, |line| event(line)["event"] == "end"));
    assert_eq!(end["is_interrupted"], true, "{end}");
    let run = server.next("run");
    assert_eq!(run["failure"], Value::Null, "{run}");
    agree(sum(&run, "received_bytes"), sum(&end, "received_bytes"));
    assert!(client.wait(LIMIT).success());
    server.is_free();
}

/// Ends its process.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sixteen flows with a line each every ten milliseconds are more than a pipe holds.
#[test]
fn a_log_that_nobody_reads_holds_no_test_up_and_ends_nothing() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(program::sockeye());
    command.args(["bench", "server", "--iperf3", "--listen", "127.0.0.1:0", "--json"]);
    let server = command.args(["-i", "0.01"]).stdout(writer).spawn();
    let _server = Ended(server.expect("the server starts"));
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).expect("where it listens");
    let endpoint = event(&line)["endpoint"].as_str().expect("an endpoint").to_owned();
    let target = endpoint.strip_prefix("tcp://").expect("TCP is first").to_owned();
    let run = || {
        let mut command = Command::new(program::sockeye());
        command.args(["bench", "client", &target, "--iperf3", "-P", "8", "--bidir"]);
        let output = program::output(command.args(["-t", "1", "-b", "1M"]), LIMIT);
        assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    };
    run();
    run();
    // There was more to read than a pipe holds: without a thread of its own the log would have held the server up.
    let mut bytes = 0;
    while bytes <= 65_536 {
        line.clear();
        let read = reader.read_line(&mut line).expect("it is still written");
        assert!(read > 0 && event(&line)["event"].is_string(), "{line}");
        bytes += read;
    }
    drop(reader);
    run();
    run();
}
