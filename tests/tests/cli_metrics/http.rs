//! What comes in over HTTP, in order and out of it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;
use sockeye_tests::program;
use sockeye_tests::wait::{self, PATIENCE};

use crate::ground::{Program, answer, ask, connect, file, session};
use crate::reader;

const ENDPOINT: &str = "127.0.0.1:0";
const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn serve() -> Program {
    Program::start(&[
        "serve",
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--metrics",
        ENDPOINT,
    ])
}

#[test]
fn each_refusal_has_its_status_and_the_server_goes_on() {
    let program = serve();
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(3000));
    let endless = format!("GET /{}", "a".repeat(9000));
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {}", "b".repeat(9000));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "A: b\r\n".repeat(70)
    );
    let cases = [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
            405,
        ),
        ("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (&long, 414),
        (&endless, 414),
        (&large, 431),
        (&many, 431),
        ("GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
    ];
    for (request, status) in cases {
        let mut stream = connect(program.addr());
        let answer = ask(&mut stream, request);
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{request:?}");
        assert_eq!(answer.header("allow").is_some(), status == 405);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("an end in order");
        assert_eq!(rest, "", "{request:?}");
    }
    // Of these it is known where the next one begins.
    let mut stream = connect(program.addr());
    for (request, status) in [
        ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (GET, 200),
    ] {
        assert_eq!(ask(&mut stream, request).status, status, "{request:?}");
    }
    program.end();
}

#[test]
fn answers_have_their_types_and_their_policies() {
    let program = serve();
    let mut stream = connect(program.addr());
    let mut get = |path: &str, more: &str| {
        let answer = ask(
            &mut stream,
            &format!("GET {path} HTTP/1.1\r\nHost: [::1]\r\n{more}\r\n"),
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        let policy = answer
            .header("content-security-policy")
            .expect("a policy")
            .to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        (answer, policy)
    };
    let (open, _) = get(
        "/metrics",
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n",
    );
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(kind));
    let (text, _) = get("/metrics?x=1", "Accept: text/plain\r\n");
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(
        text.body
            .contains("# TYPE sockeye_serve_connections_total counter\n"),
        "{}",
        text.body
    );
    let (status, _) = get("/status.json", "");
    assert_eq!(status.header("content-type"), Some("application/json"));
    let (page, policy) = get("/", "");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let nonce = policy
        .split_once("script-src 'nonce-")
        .and_then(|(_, rest)| rest.split_once('\''));
    let nonce = nonce.expect("a nonce").0;
    assert!(
        page.body.contains(&format!("<script nonce=\"{nonce}\">")) && policy.contains("connect-src 'self'")
    );
    // It is another one each time.
    let (_, again) = get("/", "");
    assert_ne!(policy, again);
    program.end();
}

#[test]
fn requests_may_come_together_or_in_pieces() {
    let program = serve();
    let mut stream = connect(program.addr());
    let head = "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let together = format!("{GET}{head}GET / HTTP/1.1\r\nHost: localhost\r\n\r\n{last}{GET}");
    stream.write_all(together.as_bytes()).expect("it takes them");
    reader::read(&answer(&mut stream, true).body);
    let without = answer(&mut stream, false);
    assert_eq!(
        (without.status, without.header("content-length").is_some()),
        (200, true)
    );
    assert!(answer(&mut stream, true).body.starts_with("<!doctype html>"));
    assert!(answer(&mut stream, true).body.starts_with('{'));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("an end in order");
    assert_eq!(rest, "", "after the last one nothing is answered");

    let mut stream = connect(program.addr());
    stream.set_nodelay(true).expect("an option");
    for byte in GET.bytes() {
        stream.write_all(&[byte]).expect("it takes one");
    }
    reader::read(&answer(&mut stream, true).body);

    // Whoever ends its side has asked all the same.
    let mut stream = connect(program.addr());
    stream.write_all(GET.as_bytes()).expect("it takes one");
    stream.shutdown(Shutdown::Write).expect("an end");
    reader::read(&answer(&mut stream, true).body);
    program.end();
}

#[test]
fn clients_that_do_nothing_or_never_read_keep_nobody_out_but_each_other() {
    let program = serve();
    // These ask and ask, and read nothing: they are not read from either.
    let mut greedy: Vec<_> = (0..4).map(|_| connect(program.addr())).collect();
    for stream in &mut greedy {
        stream.set_nonblocking(true).expect("an option");
        let request = GET.repeat(1000);
        for _ in 0..1000 {
            if stream.write_all(request.as_bytes()).is_err() {
                break;
            }
        }
    }
    let mut idle: Vec<_> = (0..59).map(|_| connect(program.addr())).collect();
    session(program.listener(0), "salmon");
    let mut last = connect(program.addr());
    assert_eq!(ask(&mut last, GET).status, 200, "there is a place left");
    // Now there is none: the next one waits until one leaves.
    let mut waiting = connect(program.addr());
    waiting.write_all(GET.as_bytes()).expect("the system takes it");
    assert_eq!(ask(&mut last, GET).status, 200);
    waiting.set_nonblocking(true).expect("an option");
    assert!(waiting.read(&mut [0]).is_err(), "nobody has answered yet");
    waiting.set_nonblocking(false).expect("an option");
    drop(idle.pop());
    assert_eq!(answer(&mut waiting, true).status, 200);
    program.end();
}

#[test]
fn a_unix_socket_may_be_asked_by_any_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.sock");
    let at = format!("unix:{}", path.display());
    let program = Program::start(&[
        "serve",
        "discard",
        "--listen",
        "tcp://127.0.0.1:0",
        "--metrics",
        &at,
    ]);
    assert_eq!(program.metrics, at);
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let answer = ask(&mut stream, "GET /metrics HTTP/1.1\r\nHost: anything\r\n\r\n");
    let read = reader::read(&answer.body);
    assert_eq!(read.value("sockeye_serve_info", &[("service", "discard")]), 1.0);
    program.end();
    assert!(!path.exists(), "the path goes with it");
}

#[test]
fn a_name_that_was_allowed_is_answered() {
    let words = [
        "serve",
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--metrics",
        ENDPOINT,
        "--metrics-host",
        "node7",
    ];
    let program = Program::start(&words);
    let mut stream = connect(program.addr());
    assert_eq!(
        ask(&mut stream, "GET / HTTP/1.1\r\nHost: Node7:80\r\n\r\n").status,
        200
    );
    assert_eq!(
        ask(&mut stream, "GET / HTTP/1.1\r\nHost: node8\r\n\r\n").status,
        421
    );
    program.end();
}

#[test]
fn an_endpoint_that_cannot_be_is_refused_and_an_open_one_is_said() {
    let run = |words: &[&str]| {
        let mut command = Command::new(program::sockeye());
        program::output(command.args(["serve", "echo", "--listen"]).args(words), PATIENCE)
    };
    let udp = run(&["tcp://127.0.0.1:0", "--metrics", "udp://127.0.0.1:9100"]);
    assert_eq!(udp.status.code(), Some(2), "{}", udp.stderr);
    assert!(udp.stderr.contains("tcp:// and unix: can"), "{}", udp.stderr);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at: SocketAddr = taken.local_addr().expect("an address");
    let used = run(&["tcp://127.0.0.1:0", "--metrics", &at.to_string()]);
    assert_eq!(used.status.code(), Some(5), "{}", used.stderr);
    assert!(
        used.stderr.contains(&format!("--metrics tcp://{at}")),
        "{}",
        used.stderr
    );
    let twice = run(&["tcp://127.0.0.1:7", "--metrics", "127.0.0.1:7"]);
    assert_eq!(twice.status.code(), Some(2), "{}", twice.stderr);
    let open = Program::start(&[
        "serve",
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--metrics",
        "0.0.0.0:0",
    ]);
    let said = open.running.error_line(PATIENCE).expect("a note");
    assert!(said.contains("no password"), "{said}");
    open.end();
}

/// An answer that closes has as long to be taken as any other, in all.
#[test]
fn a_slow_client_gets_all_of_an_answer_that_closes() {
    let folder = tempfile::tempdir().expect("a folder");
    let backends: Vec<String> = (1..=250)
        .map(|nth| format!("{{ at = \"tcp://127.1.0.{nth}:9\" }}"))
        .collect();
    let text = format!(
        "[[listeners]]\nat = \"tcp://127.0.0.1:0\"\nto = \"p\"\n[[pools]]\nname = \"p\"\nbackends = [{}]\n",
        backends.join(",\n")
    );
    let path = file(folder.path(), "relay.toml", &text);
    let program = Program::start(&["relay", "--config", &path, "--metrics", ENDPOINT]);
    let mut slow = connect(program.addr());
    let closes = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    slow.write_all(closes.as_bytes()).expect("it takes one");
    // By the program's own clock: it has had its turns meanwhile.
    let now_ms = || {
        let status: Value = serde_json::from_str(&program.get("/status.json")).expect("JSON");
        status["now_unix_ms"].as_u64().expect("a time")
    };
    let begun_ms = now_ms();
    wait::until("some seconds pass", PATIENCE, || now_ms() >= begun_ms + 4_000);
    let answer = answer(&mut slow, true);
    // More than the system keeps for who does not read, less than the queue: the program was done with it at once.
    assert!(
        (150_000..400_000).contains(&answer.body.len()),
        "{}",
        answer.body.len()
    );
    assert_eq!(reader::read(&answer.body).count("sockeye_relay_backend_up"), 250);
    let mut rest = String::new();
    slow.read_to_string(&mut rest).expect("an end in order");
    assert_eq!(rest, "");
    program.end();
}

/// The limit of `serve` is for those whom it serves.
#[test]
fn the_endpoint_and_what_is_served_take_no_places_of_each_other() {
    let words = [
        "serve",
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--max-connections",
        "1",
        "--metrics",
        ENDPOINT,
    ];
    let program = Program::start(&words);
    let mut idle = connect(program.addr());
    assert_eq!(ask(&mut idle, GET).status, 200);
    // It stays.
    session(program.listener(0), "salmon");
    let mut open = connect(program.listener(0));
    open.write_all(b"roe").expect("room");
    open.read_exact(&mut [0; 3]).expect("an answer");
    reader::read(&program.get("/metrics"));
    // And there is still one place alone.
    let mut late = connect(program.listener(0));
    late.write_all(b"late").expect("the system takes it");
    reader::read(&program.get("/metrics"));
    late.set_nonblocking(true).expect("an option");
    assert!(late.read(&mut [0]).is_err(), "nobody has answered it");
    late.set_nonblocking(false).expect("an option");
    drop(open);
    late.read_exact(&mut [0; 4]).expect("an answer");
    drop(idle);
    program.end();
}
