//! Sessions over TCP, Unix sockets and UDP; headers, balance, limits, the log.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::thread;

use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use super::{Backend, Relay, asks, client_of, command, finish, line_from, name_from, nobody, text_of};
use crate::server::wrapped;

#[test]
fn a_session_is_relayed_and_is_a_line_of_the_log() {
    let backend = Backend::start("one");
    let relay = Relay::start(&["--listen", "127.0.0.1:0", "--to", &backend.to()], 1);
    let client = relay.client();
    let own = client.local_addr().expect("an address");
    assert_eq!(name_from(&client), "one");
    asks(&client, "hello");
    finish(client);
    let line = relay.logs();
    let begins = format!("{} {own} -> {}: 5 bytes in, 9 out, ", relay.at[0], backend.to());
    assert!(line.starts_with(&begins) && line.ends_with(", done"), "{line}");
    relay.end();
}

#[test]
fn a_session_is_an_event_and_the_stream_stays_valid() {
    let backend = Backend::start("one");
    let words = ["--json", "--listen", "tcp://127.0.0.1:0", "--to", &backend.to()];
    let relay = Relay::of(command(&words), 0);
    let event = |line: String| serde_json::from_str::<serde_json::Value>(&line).expect("JSON");
    let listening = event(relay.logs());
    assert_eq!(
        (&listening["schema"], &listening["event"]),
        (&1.into(), &"listening".into())
    );
    let at = listening["endpoint"]
        .as_str()
        .and_then(|at| at.strip_prefix("tcp://"));
    let client = client_of(at.expect("an endpoint").parse().expect("an address"));
    assert_eq!(name_from(&client), "one");
    finish(client);
    let session = event(relay.logs());
    assert_eq!(session["event"], "session");
    assert_eq!(session["listener"], listening["endpoint"]);
    assert_eq!(session["backend"], backend.to());
    assert_eq!(
        (&session["bytes_in"], &session["bytes_out"]),
        (&0.into(), &4.into())
    );
    assert_eq!(
        (&session["end"], &session["why"]),
        (&"done".into(), &serde_json::Value::Null)
    );
    relay.end();
}

#[test]
fn a_connect_that_fails_says_why() {
    let refusing = format!("tcp://127.0.0.1:{}", sockeye_tests::ports::free_port());
    for (to, why) in [
        (refusing.as_str(), "Connection refused"),
        ("unix:/no/such/socket", "No such file or directory"),
    ] {
        let relay = Relay::start(&["--listen", "127.0.0.1:0", "--to", to], 1);
        let _ = relay.client().read(&mut [0; 1]);
        let line = relay.logs();
        assert!(line.ends_with(&format!(" connect-failed ({why})")), "{line}");
        relay.end();
        let relay = Relay::of(
            command(&["--json", "--listen", "tcp://127.0.0.1:0", "--to", to]),
            0,
        );
        let event = |line: String| serde_json::from_str::<serde_json::Value>(&line).expect("JSON");
        let listening = event(relay.logs());
        let at = listening["endpoint"]
            .as_str()
            .and_then(|at| at.strip_prefix("tcp://"));
        let at = at.expect("an endpoint").parse().expect("an address");
        let _ = client_of(at).read(&mut [0; 1]);
        let session = event(relay.logs());
        assert_eq!(
            (&session["end"], &session["why"]),
            (&"connect-failed".into(), &why.into()),
            "{session}"
        );
        relay.end();
    }
}

#[test]
fn a_backend_has_a_name_and_totals_are_said() {
    let backend = Backend::start("one");
    let to = format!("tcp://localhost:{}", backend.at.port());
    let words = ["--stats", "0.1", "--listen", "127.0.0.1:0", "--to", &to];
    let relay = Relay::start(&words, 1);
    // Its addresses may not be there yet: then there is no session.
    sockeye_tests::wait::until("a session", PATIENCE, || {
        let mut client = relay.client();
        let mut name = [0; 4];
        client.read_exact(&mut name).is_ok_and(|()| &name == b"one\n")
    });
    let line = relay.says(" ended");
    assert!(
        line.contains("sessions open") && line.contains("of 1 backends up"),
        "{line}"
    );
}

#[test]
fn quiet_is_quiet_about_sessions() {
    let backend = Backend::start("one");
    let relay = Relay::start(&["-q", "--listen", "127.0.0.1:0", "--to", &backend.to()], 1);
    let client = relay.client();
    assert_eq!(name_from(&client), "one");
    finish(client);
    let mut relay = relay;
    relay.running.signal(libc::SIGTERM);
    assert_eq!(relay.running.wait(PATIENCE).code(), Some(0));
    assert_eq!(relay.running.last_lines(PATIENCE), [""; 0]);
}

#[test]
fn unix_sockets_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let (front, back) = (folder.path().join("front"), folder.path().join("back"));
    let listener = UnixListener::bind(&back).expect("a path");
    let (from, to) = (
        format!("unix:{}", text_of(&front)),
        format!("unix:{}", text_of(&back)),
    );
    let relay = Relay::start(&["--listen", &from, "--to", &to], 1);
    assert_eq!(relay.at[0], from);
    let mut client = UnixStream::connect(&front).expect("a connection");
    client.write_all(b"over two paths").expect("it takes them");
    client.shutdown(std::net::Shutdown::Write).expect("an end");
    let (mut server, _) = listener.accept().expect("the relay");
    let mut text = String::new();
    server.read_to_string(&mut text).expect("all of it");
    assert_eq!(text, "over two paths");
    drop((server, client));
    let line = relay.logs();
    assert!(
        line.starts_with(&format!("{from} local -> {to}: 14 bytes in")),
        "{line}"
    );
    relay.end();
    assert!(!front.exists(), "the path goes with the relay");
}

#[test]
fn datagrams_beside_streams() {
    let backend = Backend::start("one");
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let udp = format!("udp://{}", server.local_addr().expect("an address"));
    let words = [
        "--listen",
        "udp://127.0.0.1:0",
        "127.0.0.1:0",
        "--to",
        &backend.to(),
        &udp,
    ];
    let relay = Relay::start(&words, 2);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.connect(relay.addr(0)).expect("a peer");
    client.send(b"ask").expect("sent");
    let mut buffer = [0; 16];
    let (len, flow) = server.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..len], b"ask");
    server.send_to(b"answer", flow).expect("sent");
    let len = client.recv(&mut buffer).expect("an answer");
    assert_eq!(&buffer[..len], b"answer");
    let stream = client_of(relay.addr(1));
    assert_eq!(name_from(&stream), "one");
    finish(stream);
    assert!(relay.logs().starts_with("tcp://"), "the stream's");
    let mut relay = relay;
    relay.running.signal(libc::SIGTERM);
    relay.says("1 session may go on");
    relay.running.signal(libc::SIGTERM);
    assert_eq!(relay.running.wait(PATIENCE).code(), Some(0));
    let own = client.local_addr().expect("an address");
    let flow = format!("{} {own} -> {udp}: 3 bytes in, 6 out, ", relay.at[0]);
    let line = relay.logs();
    assert!(line.starts_with(&flow) && line.ends_with("drained"), "{line}");
}

#[test]
fn a_backend_that_is_down_is_passed_over() {
    let backend = Backend::start("up");
    let (_bound, down) = nobody();
    let relay = Relay::start(&["--listen", "127.0.0.1:0", "--to", &down, &backend.to()], 1);
    for _ in 0..8 {
        let client = relay.client();
        assert_eq!(name_from(&client), "up");
        finish(client);
    }
    let said = relay.says("is down");
    assert!(said.contains(&down), "{said}");
    relay.end();
}

#[test]
fn backends_take_turns_and_sources_stay() {
    let backends = [Backend::start("one"), Backend::start("two")];
    let to = backends.each_ref().map(Backend::to);
    for (balance, both) in [("round-robin", true), ("source", false)] {
        let words = [
            "--balance",
            balance,
            "--listen",
            "127.0.0.1:0",
            "--to",
            &to[0],
            &to[1],
        ];
        let relay = Relay::start(&words, 1);
        let names = [(); 4].map(|()| {
            let client = relay.client();
            let name = name_from(&client);
            finish(client);
            name
        });
        let differ = names.iter().any(|name| *name != names[0]);
        assert_eq!(differ, both, "{balance}: {names:?}");
        relay.end();
    }
}

#[test]
fn the_backend_hears_of_the_client_by_a_header() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("tcp://{}", listener.local_addr().expect("an address"));
    let heard = thread::spawn(move || {
        [(); 2].map(|()| {
            let (stream, _) = listener.accept().expect("the relay");
            line_from(&stream)
        })
    });
    let words = ["--listen", "127.0.0.1:0", "--to", &to, "--proxy-out", "v1"];
    let relay = Relay::start(&words, 1);
    let client = relay.client();
    let own = client.local_addr().expect("an address");
    let here = relay.addr(0);
    // And through another one, which takes the header in front of it.
    let words = [
        "--proxy-in",
        "127.0.0.0/8",
        "--proxy-out",
        "v1",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
    ];
    let behind = Relay::start(&words, 1);
    let mut other = behind.client();
    other
        .write_all(b"PROXY TCP4 192.0.2.7 198.51.100.9 4321 443\r\n")
        .expect("it takes them");
    let heard = heard.join().expect("two headers");
    let (from, to) = (own.port(), here.port());
    assert!(
        heard.contains(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n")),
        "{heard:?}"
    );
    assert!(
        heard.contains(&"PROXY TCP4 192.0.2.7 198.51.100.9 4321 443\r\n".to_owned()),
        "{heard:?}"
    );
    drop((client, other));
    // Who sends none is no session.
    let mut none = behind.client();
    none.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it takes them");
    let begins = format!(
        "{} {} turned away: ",
        behind.at[0],
        none.local_addr().expect("an address")
    );
    let line = behind
        .running
        .line_with(PATIENCE, |line| line.contains("turned away"));
    assert!(line.starts_with(&begins), "{line}");
}

#[test]
fn a_source_has_no_more_than_it_may() {
    let backend = Backend::start("one");
    let words = [
        "--max-per-source",
        "1",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &backend.to(),
    ];
    let relay = Relay::start(&words, 1);
    let first = relay.client();
    assert_eq!(name_from(&first), "one");
    let second = relay.client();
    let line = relay.logs();
    assert!(line.ends_with("too-many-of-source"), "{line}");
    drop(second);
    asks(&first, "still here");
    finish(first);
    relay.end();
}

#[test]
fn it_says_that_no_descriptor_is_left_and_goes_on() {
    if !require(&[Need::program("prlimit")]) {
        return;
    }
    let backend = Backend::start("one");
    let mut command = wrapped("prlimit", &["--nofile=24:24"]);
    command.args(["relay", "--listen", "127.0.0.1:0", "--to", &backend.to()]);
    let relay = Relay::of(command, 1);
    let mut clients: Vec<_> = (0..24).map(|_| relay.client()).collect();
    let line = relay.says("no descriptor");
    assert!(line.contains("24") && line.contains("ulimit -Hn"), "{line}");
    clients.clear();
    // Those that waited are accepted now, and want descriptors too: each of them is over before another comes.
    for _ in 0..24 {
        relay.logs();
    }
    let client = relay.client();
    assert_eq!(name_from(&client), "one");
}

/// A child that is gone with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_ends_nothing() {
    let backend = Backend::start("one");
    let mut command = command(&["--listen", "127.0.0.1:0", "--to", &backend.to()]);
    let mut child = Ended(command.stdout(Stdio::piped()).spawn().expect("it starts"));
    let stdout = child.0.stdout.take().expect("piped");
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("where it listens");
    let at = line
        .trim_end()
        .strip_prefix("listening on tcp://")
        .expect("an address");
    let at = at.parse().expect("an address");
    for _ in 0..3 {
        let client = client_of(at);
        assert_eq!(name_from(&client), "one");
        finish(client);
    }
    assert!(child.0.try_wait().expect("ours").is_none(), "it goes on");
}
