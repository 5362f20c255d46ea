//! Peers that lie, speak something else, or vanish: the server says so, frees all they had, and serves the next one.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

use serde_json::{Value, json};
use sockeye_tests::program::{self, Running};
use sockeye_tests::wait::{self, PATIENCE};

use super::ground::{Server, run};

const HELLO: &[u8] = b"SKBENCH\x01";

/// A client of the protocol by hand.
struct Peer(TcpStream);

impl Peer {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addr()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    fn greeted(server: &Server) -> Self {
        let mut peer = Self::connect(server);
        peer.write(HELLO);
        peer
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server reads");
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let len = u32::try_from(text.len()).expect("a short message");
        self.write(&[&len.to_be_bytes(), text.as_bytes()].concat());
    }

    fn hear(&mut self) -> Value {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).expect("a length");
        let mut text = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut text).expect("a message");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// A run that was granted: its name.
    fn granted(server: &Server, parameters: &Value) -> (Self, Value) {
        let mut peer = Self::greeted(server);
        peer.say(parameters);
        let ready = peer.hear();
        assert_eq!(ready["type"], "ready", "{ready}");
        (peer, ready["run"].clone())
    }

    fn join(server: &Server, run: &Value, flow: u32) -> (Self, Value) {
        let mut peer = Self::greeted(server);
        peer.say(&json!({ "type": "join", "run": run, "flow": flow }));
        let answer = peer.hear();
        (peer, answer)
    }

    /// The end of the connection, after whatever is still to come.
    fn ends(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.0.read_to_end(&mut rest);
    }
}

fn parameters() -> Value {
    json!({
        "type": "parameters", "mode": "stream", "transport": "tcp", "up": 1, "down": 1, "probe": false, "length": 1000,
        "time_ns": 60_000_000_000_u64, "omit_ns": 0, "interval_ns": 1_000_000_000, "bitrate": 8_000_000,
    })
}

#[track_caller]
fn is_refused(server: &Server, why: &str) {
    let event = server.event();
    assert_eq!(event["event"], "refused", "{event}");
    let reason = event["reason"].as_str().expect("a reason");
    assert!(reason.contains(why), "{reason}");
}

#[track_caller]
fn has_failed(server: &Server, why: &str) {
    let event = server.event();
    assert_eq!(event["event"], "run", "{event}");
    let failure = event["failure"].as_str().unwrap_or_default();
    assert!(failure.contains(why), "{event}");
}

/// Descriptors that the server has open.
fn descriptors(server: &Server) -> usize {
    let folder = format!("/proc/{}/fd", server.running.pid());
    std::fs::read_dir(folder).expect("its descriptors").count()
}

#[test]
fn what_is_not_of_the_protocol_is_refused_and_told() {
    let server = Server::local();
    for (bytes, why) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], "does not speak"),
        (b"SKBENCH\x07", "version 7"),
        (b"SKBENCH\x01\xff\xff\xff\xff", "4294967295 bytes"),
        // 100 MB of parameters: refused by the length alone.
        (b"SKBENCH\x01\x06\x00\x00\x00{", "100663296 bytes"),
        (b"SKBENCH\x01\0\0\0\x02hi", "not a message"),
        (b"SKBENCH\x01\0\0\0\x11{\"type\":\"joined\"}", "no place"),
        (b"SKBENCH\x01\0\0\0\x13{\"type\":\"whatever\"}", "not a message"),
    ] {
        let mut peer = Peer::connect(&server);
        peer.write(bytes);
        is_refused(&server, why);
        peer.ends();
    }
    server.serves();
}

#[test]
fn parameters_beyond_the_limits_are_refused_by_a_message() {
    let server = Server::local();
    for (key, value, why) in [
        ("up", json!(4_000_000_000_u32), "flows"),
        ("length", json!(0), "messages of 0 bytes"),
        ("length", json!(4_000_000_000_u32), "messages of"),
        ("time_ns", json!(u64::MAX), "seconds"),
        ("interval_ns", json!(1), "interval"),
        ("window", json!(4_000_000_000_u32), "buffers"),
        ("bitrate", json!(0), "options"),
        ("transport", json!("raw"), "no raw socket"),
        ("cpu", json!(65_000), "CPU"),
        ("salmon", json!(1), "not a message"),
    ] {
        let mut wrong = parameters();
        wrong[key] = value;
        if key == "transport" {
            wrong["probe"] = json!(false);
        }
        let mut peer = Peer::greeted(&server);
        peer.say(&wrong);
        let answer = peer.hear();
        assert_eq!(answer["type"], "refused", "{key}: {answer}");
        let reason = answer["reason"].as_str().expect("a reason");
        assert!(reason.contains(why), "{key}: {reason}");
        is_refused(&server, why);
    }
    // Each within its limit, and together more than a machine has.
    let mut wide = parameters();
    wide["mode"] = json!("oneway");
    wide["up"] = json!(4000);
    wide["length"] = json!(16 << 20);
    let mut peer = Peer::greeted(&server);
    peer.say(&wide);
    assert!(
        peer.hear()["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("no memory"))
    );
    is_refused(&server, "no memory");
    server.serves();
}

#[test]
fn a_flow_joins_its_own_run_once_and_in_time() {
    let server = Server::local();
    let (mut control, run) = Peer::granted(&server, &parameters());
    let wrong = json!("0".repeat(32));
    for (run, flow, why) in [
        (&wrong, 1, "no such run"),
        (&run, 0, "no flow 0"),
        (&run, 3, "no flow 3"),
    ] {
        let (_, answer) = Peer::join(&server, run, flow);
        assert!(
            answer["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(why)),
            "{answer}"
        );
        is_refused(&server, why);
    }
    let (_first, answer) = Peer::join(&server, &run, 1);
    assert_eq!(answer["type"], "joined");
    let (_, answer) = Peer::join(&server, &run, 1);
    assert!(
        answer["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("already")),
        "{answer}"
    );
    is_refused(&server, "already");
    // Flow 2 has not joined.
    control.say(&json!({ "type": "start", "offset_ns": 0 }));
    control.ends();
    // Both are told, in whatever order.
    let events = [server.event(), server.event()];
    assert!(
        events
            .iter()
            .all(|event| event.to_string().contains("not joined yet")),
        "{events:?}"
    );
    server.serves();
}

#[test]
fn a_client_that_vanishes_in_any_state_frees_all_it_had() {
    let server = Server::local();
    server.serves();
    let before = descriptors(&server);
    // Connected, and nothing said; a hello; half of a length.
    for bytes in [&b""[..], HELLO, b"SKBENCH\x01\0\0"] {
        let mut peer = Peer::connect(&server);
        peer.write(bytes);
        drop(peer);
    }
    // A run is granted; a flow has joined; it runs, and the server sends.
    let (control, _) = Peer::granted(&server, &parameters());
    drop(control);
    has_failed(&server, "the client is gone");
    let (control, run) = Peer::granted(&server, &parameters());
    let (mut flow, _) = Peer::join(&server, &run, 1);
    drop(control);
    has_failed(&server, "the client is gone");
    flow.ends();
    let (mut control, run) = Peer::granted(&server, &parameters());
    let (_up, _) = Peer::join(&server, &run, 1);
    let (mut down, _) = Peer::join(&server, &run, 2);
    control.say(&json!({ "type": "start", "offset_ns": 0 }));
    let mut some = [0; 1000];
    down.0.read_exact(&mut some).expect("the server sends");
    drop(control);
    has_failed(&server, "the client is gone");
    down.ends();
    // A flow that goes away takes the run with it.
    let (mut control, run) = Peer::granted(&server, &parameters());
    let (_up, _) = Peer::join(&server, &run, 1);
    let (mut down, _) = Peer::join(&server, &run, 2);
    control.say(&json!({ "type": "start", "offset_ns": 0 }));
    down.0.read_exact(&mut some).expect("the server sends");
    // Unread bytes: a reset.
    drop(down);
    has_failed(&server, "flow 2");
    control.ends();
    wait::until("the descriptors of before", PATIENCE, || {
        descriptors(&server) <= before
    });
    server.serves();
}

#[test]
fn a_real_client_that_is_killed_is_over_at_once() {
    let server = Server::local();
    for scheme in ["tcp://", "udp://"] {
        let words = [
            "bench",
            "client",
            server.target(scheme),
            "-t",
            "600",
            "-b",
            "1M",
            "--idle",
            "0",
            "--json",
        ];
        let client = Running::start(Command::new(program::sockeye()).args(words));
        client.line_with(PATIENCE, |line| line.contains("\"start\""));
        drop(client);
        has_failed(&server, "the client is gone");
    }
    server.serves();
}

#[test]
fn a_datagram_is_answered_only_to_who_knows_the_run_and_is_no_longer_than_the_question() {
    let server = Server::local();
    let mut asked = parameters();
    asked["transport"] = json!("udp");
    let (_control, run) = Peer::granted(&server, &asked);
    let run = run.as_str().expect("digits");
    let id: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&run[2 * at..2 * at + 2], 16).expect("digits"))
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server.addr()).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let join = |id: &[u8]| [&[0x53, 0x42, 1, 1, 0, 0, 0, 2], id, &[0; 8][..]].concat();
    // Of a run that is not there, cut off, and with an answer's kind: silence, which the next answer shows.
    let mut guessed = id.clone();
    guessed[15] ^= 1;
    let mut answer_kind = join(&id);
    answer_kind[3] = 2;
    for question in [
        join(&guessed),
        join(&id)[..31].to_vec(),
        answer_kind,
        b"x".to_vec(),
        Vec::new(),
    ] {
        socket.send(&question).expect("sent");
    }
    let mut buffer = [0; 2000];
    for _ in 0..2 {
        // Repeated, as its answer may be lost.
        socket.send(&join(&id)).expect("sent");
        let len = socket.recv(&mut buffer).expect("an answer");
        assert_eq!(len, 32);
        assert_eq!(
            (buffer[3], &buffer[8..24]),
            (2, id.as_slice()),
            "joined, and nothing before it"
        );
    }
}

#[test]
fn a_server_takes_so_many_clients_and_tells_the_next_one() {
    let server = Server::start(
        Command::new(program::sockeye()),
        &["127.0.0.1:0"],
        &["--max-clients", "1"],
    );
    let (first, _) = Peer::granted(&server, &parameters());
    let output = run(&[server.target("tcp://"), "-n", "1K", "--idle", "0"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.contains("there are 1 runs"), "{}", output.stderr);
    is_refused(&server, "there are 1 runs");
    drop(first);
    has_failed(&server, "the client is gone");
    server.serves();
}

#[test]
fn a_client_says_what_is_wrong_with_its_server() {
    // Nobody there; somebody who speaks something else; somebody who hangs up.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let at = free.local_addr().expect("an address").to_string();
    drop(free);
    let output = run(&[&at, "-n", "1K"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stderr.contains("has to run there"), "{}", output.stderr);
    for (answer, why) in [
        (&b"HTTP/1.0 400 No\r\n\r\n"[..], "the server: a message of"),
        (b"", "closed"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let at = listener.local_addr().expect("an address").to_string();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the client");
            let mut some = [0; 8];
            stream.read_exact(&mut some).expect("its hello");
            assert_eq!(some, HELLO);
            stream.write_all(answer).expect("it reads");
        });
        let output = run(&[&at, "-n", "1K"]);
        answering.join().expect("no panic");
        assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
        assert!(
            output.stderr.contains(why) || output.stderr.contains("reset"),
            "{}",
            output.stderr
        );
    }
}
