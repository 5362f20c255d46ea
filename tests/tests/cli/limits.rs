//! `serve` at its limits, and with sockets that fail.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;

use sockeye_tests::netns;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::server::{Server, wrapped};

fn client(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addresses[0]).expect("a place in the backlog");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn is_answered(stream: &mut TcpStream) -> bool {
    let mut back = [0];
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut back).is_ok()
}

#[test]
fn an_idle_connection_ends() {
    let server = Server::start(&["echo", "--idle-timeout", "0.3"], &["tcp://127.0.0.1:0"]);
    let mut stream = client(&server);
    assert!(is_answered(&mut stream));
    // An end or a reset: but not the timeout.
    let ended = stream.read(&mut [0]);
    let timed_out = ended
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(matches!(ended, Ok(0) | Err(_)) && !timed_out, "{ended:?}");
}

#[test]
fn connections_beyond_the_limit_wait_and_are_served_later() {
    for shards in ["1", "2"] {
        let words = ["echo", "--max-connections", "2", "--shards", shards];
        let server = Server::start(&words, &["tcp://127.0.0.1:0"]);
        let mut streams: Vec<_> = (0..8).map(|_| client(&server)).collect();
        server.says("as many connections as --max-connections allows");
        // In whatever order: each that is answered makes room for another.
        while !streams.is_empty() {
            let before = streams.len();
            streams.retain_mut(|stream| {
                stream
                    .set_read_timeout(Some(std::time::Duration::from_millis(20)))
                    .expect("a timeout");
                !is_answered(stream)
            });
            assert!(before - streams.len() <= 8);
        }
    }
}

#[test]
fn it_says_that_no_descriptor_is_left() {
    if !require(&[Need::program("prlimit")]) {
        return;
    }
    let command = wrapped("prlimit", &["--nofile=24:24"]);
    let server = Server::under(command, &["echo"], &["tcp://127.0.0.1:0"]);
    let mut streams: Vec<_> = (0..30).map(|_| client(&server)).collect();
    let line = server.says("no descriptor");
    assert!(line.contains("24 descriptors: ulimit -n"), "{line}");
    assert!(is_answered(&mut streams[0]), "and goes on");
    streams.truncate(1);
    assert!(is_answered(&mut client(&server)));
}

const STRACE: Need = Need::Program {
    name: "strace",
    package: "strace",
};

/// The program under strace, which makes `calls` fail by `fault`.
fn injected(calls: &str, fault: &str) -> Command {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{fault}"));
    wrapped(
        "strace",
        &["-D", "-f", "-o", "/dev/null", "-e", &trace, "-e", &inject],
    )
}

#[test]
fn it_ends_when_its_last_listener_is_lost() {
    if !require(&[STRACE]) {
        return;
    }
    let mut server = Server::under(
        injected("accept4", "error=EINVAL:when=1"),
        &["echo"],
        &["tcp://127.0.0.1:0"],
    );
    let _client = TcpStream::connect(server.addresses[0]).expect("a place in the backlog");
    let line = server.says("is lost");
    assert!(line.contains(&format!("tcp://{}", server.addresses[0])), "{line}");
    server.says("nothing is left to serve");
    assert_eq!(server.running.wait(PATIENCE).code(), Some(5));
}

#[test]
fn a_relay_ends_when_its_last_listener_is_lost() {
    if !require(&[STRACE]) {
        return;
    }
    let mut command = injected("accept4", "error=EINVAL:when=1");
    let words = ["relay", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"];
    let mut relay = Running::start(command.args(words));
    let line = relay.line(PATIENCE);
    let at: SocketAddr = line
        .strip_prefix("listening on tcp://")
        .and_then(|at| at.parse().ok())
        .expect("an address");
    let _client = TcpStream::connect(at).expect("a place in the backlog");
    let mut said = Vec::new();
    while let Some(line) = relay.error_line(PATIENCE) {
        said.push(line);
    }
    let said = said.join("\n");
    assert!(said.contains("is lost: its socket failed"), "{said}");
    assert!(
        said.contains("every listener is lost, nobody can come in"),
        "{said}"
    );
    assert_eq!(relay.wait(PATIENCE).code(), Some(5));
}

#[test]
fn it_ends_when_its_last_datagram_socket_is_lost() {
    if !require(&[STRACE]) {
        return;
    }
    let mut server = Server::under(
        injected("recvmmsg", "error=EBADF:when=1+"),
        &["echo"],
        &["udp://[::1]:0"],
    );
    let client = UdpSocket::bind("[::1]:0").expect("a socket");
    client.send_to(b"x", server.addresses[0]).expect("sent");
    let line = server.says("is lost");
    assert!(line.contains(&format!("udp://{}", server.addresses[0])), "{line}");
    server.says("nothing is left to serve");
    assert_eq!(server.running.wait(PATIENCE).code(), Some(5));
}

#[test]
fn a_ping_whose_receives_fail_ends() {
    let name = "limits::a_ping_whose_receives_fail_ends";
    if !require(&[Need::Namespaces, STRACE]) || !netns::enter(name, |_| {}) {
        return;
    }
    let mut command = injected("recvmsg,recvmmsg,recvfrom", "error=EIO");
    let output = program::output(command.args(["ping", "-c", "2", "127.0.0.1"]), PATIENCE);
    assert_eq!(
        output.status.code(),
        Some(5),
        "{}{}",
        output.text(),
        output.stderr
    );
    assert!(output.text().contains("0 received"), "{}", output.text());
    assert!(output.stderr.contains("Input/output error"), "{}", output.stderr);
}

#[test]
fn a_name_without_an_address_is_reported_and_the_others_are_pinged() {
    let name = "limits::a_name_without_an_address_is_reported_and_the_others_are_pinged";
    if !require(&[Need::Namespaces]) || !netns::enter(name, |_| {}) {
        return;
    }
    let mut command = Command::new(program::sockeye());
    command.args(["ping", "-c", "1", "127.0.0.1", "nope.invalid"]);
    let output = program::output(&mut command, PATIENCE);
    assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
    assert!(
        output.text().contains("127.0.0.1: 1 sent, 1 received"),
        "{}",
        output.text()
    );
    assert!(
        output.stderr.contains("resolve nope.invalid"),
        "{}",
        output.stderr
    );
    let output = program::output(command.arg("--json"), PATIENCE);
    assert!(
        output.text().contains(r#""event":"unresolved""#),
        "{}",
        output.text()
    );
}

#[test]
fn a_ping_that_loses_its_socket_says_so_at_once() {
    let name = "limits::a_ping_that_loses_its_socket_says_so_at_once";
    if !require(&[Need::Namespaces, STRACE]) || !netns::enter(name, |_| {}) {
        return;
    }
    let mut command = injected("recvmmsg", "error=EBADF");
    let output = program::output(command.args(["ping", "-c", "100", "127.0.0.1"]), PATIENCE);
    assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
    assert!(output.stderr.contains("Bad file descriptor"), "{}", output.stderr);
    assert!(output.text().contains("0 received"), "{}", output.text());
}
