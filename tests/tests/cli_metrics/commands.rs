//! What each command tells: the numbers are those of what the test did.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

use serde_json::Value;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

use crate::ground::{Program, ask, connect, echo, file, session};
use crate::reader::{self, Exposition};

fn read(program: &Program) -> Exposition {
    reader::read(&program.get("/metrics"))
}

fn status(program: &Program) -> Value {
    serde_json::from_str(&program.get("/status.json")).expect("JSON")
}

#[test]
fn a_relay_counts_its_sessions() {
    let backend = format!("tcp://{}", echo());
    let words = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &backend,
        "--metrics",
        "127.0.0.1:0",
    ];
    let program = Program::start(&words);
    for _ in 0..3 {
        session(program.listener(0), "salmon");
    }
    let open = connect(program.listener(0));
    wait::until("three sessions over and one open", PATIENCE, || {
        let now = read(&program);
        now.sum("sockeye_relay_ended_sessions_total") == 3.0
            && now.sum("sockeye_relay_pool_sessions_total") == 4.0
    });
    let now = read(&program);
    let listener = [("listener", program.listens[0].as_str())];
    let of_backend = [("pool", "streams"), ("backend", backend.as_str())];
    assert_eq!(
        now.value(
            "sockeye_build_info",
            &[("command", "relay"), ("version", env!("CARGO_PKG_VERSION"))]
        ),
        1.0
    );
    assert_eq!(now.value("sockeye_relay_sessions_total", &listener), 4.0);
    assert_eq!(now.value("sockeye_relay_open_sessions", &listener), 1.0);
    assert_eq!(now.value("sockeye_relay_received_bytes_total", &listener), 18.0);
    assert_eq!(now.value("sockeye_relay_sent_bytes_total", &listener), 18.0);
    assert_eq!(
        now.value(
            "sockeye_relay_ended_sessions_total",
            &[listener[0], ("reason", "done")]
        ),
        3.0
    );
    assert_eq!(
        now.value("sockeye_relay_session_duration_seconds_count", &listener),
        3.0
    );
    assert_eq!(
        now.value("sockeye_relay_pool_connect_seconds_count", &[("pool", "streams")]),
        3.0
    );
    assert_eq!(now.value("sockeye_relay_backend_up", &of_backend), 1.0);
    assert_eq!(now.value("sockeye_relay_backend_share", &of_backend), 1.0);
    assert_eq!(
        now.value("sockeye_relay_backend_sessions_total", &of_backend),
        4.0
    );
    assert_eq!(now.value("sockeye_relay_backend_open_sessions", &of_backend), 1.0);
    assert!(now.value("process_start_time_seconds", &[]) > 1.7e9);
    assert!(now.value("sockeye_loop_turns_total", &[]) > 3.0);
    assert_eq!(now.kinds["sockeye_relay_session_duration_seconds"], "histogram");
    let status = status(&program);
    assert_eq!(
        (&status["schema"], &status["command"]),
        (&1.into(), &"relay".into())
    );
    assert_eq!(status["listeners"][0]["sessions"], 4);
    assert_eq!(status["backends"][0]["name"], backend.as_str());
    assert_eq!(status["listeners"][0]["lasted"]["count"], 3);
    let totals = &status["totals"];
    assert_eq!((&totals["open"], &totals["sessions"]), (&1.into(), &4.into()));
    assert_eq!(
        (&totals["received_bytes"], &totals["sent_bytes"]),
        (&18.into(), &18.into())
    );
    assert_eq!(totals["unserved"], 0);
    drop(open);
    program.end();
}

/// Names are whatever a configuration says; a reload may bring one back that still has sessions.
#[test]
fn any_name_is_told_once_and_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = echo();
    let text = |listener: &str| {
        format!(
            "[[listeners]]\nname = \"{listener}\"\nat = \"tcp://127.0.0.1:0\"\nto = \"p\"\n\
             [[pools]]\nname = \"p\"\nbackends = [{{ at = \"tcp://{backend}\", name = \"a\\\\b\\\"c\\nd, e=\\u00e9\" }}]\n"
        )
    };
    let path = file(folder.path(), "relay.toml", &text("front"));
    let mut program = Program::start(&["relay", "--config", &path, "--metrics", "127.0.0.1:0"]);
    let kept = connect(program.listener(0));
    let has_one = |program: &Program| read(program).sum("sockeye_relay_backend_sessions_total") == 1.0;
    wait::until("a session", PATIENCE, || has_one(&program));
    for (nth, listener) in ["other", "front"].into_iter().enumerate() {
        file(folder.path(), "relay.toml", &text(listener));
        program.running.signal(libc::SIGHUP);
        let reloads = f64::from(u8::try_from(nth).expect("few") + 1);
        wait::until("a reload", PATIENCE, || {
            read(&program).value("sockeye_relay_reloads_total", &[("result", "done")]) == reloads
        });
    }
    file(folder.path(), "relay.toml", "nonsense");
    program.running.signal(libc::SIGHUP);
    wait::until("a reload that fails", PATIENCE, || {
        read(&program).value("sockeye_relay_reloads_total", &[("result", "failed")]) == 1.0
    });
    // The reader takes no sample twice.
    let now = read(&program);
    assert_eq!(
        now.value("sockeye_relay_open_sessions", &[("listener", "front")]),
        1.0
    );
    let labels = [("pool", "p"), ("backend", "a\\b\"c\nd, e=\u{e9}")];
    assert_eq!(now.value("sockeye_relay_backend_open_sessions", &labels), 1.0);
    drop(kept);
    program.end();
}

#[test]
fn a_backend_that_is_down_is_told() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let backend = format!("tcp://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    let words = [
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &backend,
        "--check",
        "connect",
        "--check-interval",
        "0.01",
        "--metrics",
        "127.0.0.1:0",
    ];
    let program = Program::start(&words);
    let labels = [("pool", "streams"), ("backend", backend.as_str())];
    wait::until("it is down", PATIENCE, || {
        read(&program).value("sockeye_relay_backend_up", &labels) == 0.0
    });
    let now = read(&program);
    assert_eq!(now.value("sockeye_relay_backend_share", &labels), 0.0);
    assert_eq!(now.value("sockeye_relay_backend_downs_total", &labels), 1.0);
    assert!(now.value("sockeye_relay_backend_failed_checks_total", &labels) >= 1.0);
    drop(connect(program.listener(0)));
    let reason = [("pool", "streams"), ("reason", "all-down")];
    wait::until("a session without a backend", PATIENCE, || {
        read(&program).value("sockeye_relay_pool_failures_total", &reason) == 1.0
    });
    assert_eq!(status(&program)["backends_up"], 0);
    program.end();
}

/// Many backends are many pieces of an answer; the status is cut, and says so.
#[test]
fn two_thousand_backends_are_all_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let backends: Vec<String> = (0..2000)
        .map(|nth| format!("{{ at = \"tcp://127.1.{}.{}:9\" }}", nth / 250, nth % 250 + 1))
        .collect();
    let text = format!(
        "[[listeners]]\nat = \"tcp://127.0.0.1:0\"\nto = \"p\"\n[[pools]]\nname = \"p\"\nbackends = [{}]\n",
        backends.join(",\n")
    );
    let path = file(folder.path(), "relay.toml", &text);
    let program = Program::start(&["relay", "--config", &path, "--metrics", "127.0.0.1:0"]);
    let now = read(&program);
    assert_eq!(now.count("sockeye_relay_backend_up"), 2000);
    assert_eq!(now.sum("sockeye_relay_backend_up"), 2000.0);
    let status = status(&program);
    assert_eq!(status["backends"].as_array().map(Vec::len), Some(500));
    assert_eq!(status["backends_total"], 2000);
    assert_eq!(
        (&status["listeners_total"], &status["pools_total"]),
        (&1.into(), &1.into())
    );
    program.end();
}

/// A server with more addresses than a table has rows, and a connection to one that is not shown.
pub(crate) fn more_than_is_shown() -> (Program, TcpStream) {
    let mut words = vec!["serve".to_owned(), "echo".to_owned()];
    for nth in 0..502 {
        words.push("--listen".to_owned());
        words.push(format!("tcp://127.1.{}.{}:0", nth / 250, nth % 250 + 1));
    }
    words.extend(["--metrics".to_owned(), "127.0.0.1:0".to_owned()]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let program = Program::start(&words);
    let rows = status(&program)["addresses"].as_array().cloned().expect("rows");
    assert_eq!(rows.len(), 500);
    let is_shown = |name: &String| rows.iter().any(|row| row["name"] == name.as_str());
    let hidden = program
        .listens
        .iter()
        .position(|name| !is_shown(name))
        .expect("more");
    let mut stream = connect(program.listener(hidden));
    stream.write_all(b"salmon").expect("room");
    stream.read_exact(&mut [0; 6]).expect("an answer");
    (program, stream)
}

/// What is added up is added up over all, those that are not shown among them.
#[test]
fn the_totals_are_of_all_rows() {
    let (program, _open) = more_than_is_shown();
    let status = status(&program);
    assert_eq!(status["addresses_total"], 502);
    let totals = &status["totals"];
    assert_eq!((&totals["open"], &totals["connections"]), (&1.into(), &1.into()));
    assert_eq!(
        (&totals["received_bytes"], &totals["sent_bytes"]),
        (&6.into(), &6.into())
    );
    program.end();
}

#[test]
fn a_server_adds_up_its_shards() {
    let words = [
        "serve",
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--listen",
        "udp://127.0.0.1:0",
        "--shards",
        "2",
        "--udp-rate",
        "5",
        "--metrics",
        "127.0.0.1:0",
    ];
    let program = Program::start(&words);
    for _ in 0..20 {
        session(program.listener(0), "salmon");
    }
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    udp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    udp.send_to(b"roe", program.listener(1)).expect("it leaves");
    udp.recv_from(&mut [0; 8]).expect("an answer");
    let stream = [("address", program.listens[0].as_str())];
    let datagram = [("address", program.listens[1].as_str())];
    wait::until("all are gone", PATIENCE, || {
        read(&program).value("sockeye_serve_closed_connections_total", &stream) == 20.0
    });
    let now = read(&program);
    assert_eq!(now.value("sockeye_serve_connections_total", &stream), 20.0);
    assert_eq!(now.value("sockeye_serve_open_connections", &stream), 0.0);
    assert_eq!(now.value("sockeye_serve_received_bytes_total", &stream), 120.0);
    assert_eq!(now.value("sockeye_serve_sent_bytes_total", &stream), 120.0);
    assert_eq!(
        now.value("sockeye_serve_received_datagrams_total", &datagram),
        1.0
    );
    assert_eq!(now.value("sockeye_serve_sent_datagrams_total", &datagram), 1.0);
    assert_eq!(now.value("sockeye_serve_sent_bytes_total", &datagram), 3.0);
    // More than a source may have are counted, and not answered.
    wait::until("answers are withheld", PATIENCE, || {
        for _ in 0..50 {
            udp.send_to(b"roe", program.listener(1)).expect("it leaves");
        }
        read(&program).value(
            "sockeye_serve_withheld_datagrams_total",
            &[("reason", "source-rate")],
        ) > 0.0
    });
    // Those of the other loop are published once a second.
    wait::until("the loops' own counters", PATIENCE, || {
        read(&program).value("sockeye_loop_closed_connections_total", &[]) >= 20.0
    });
    assert_eq!(status(&program)["addresses"][0]["connections"], 20);
    program.end();
}

#[test]
fn chargen_counts_what_it_sends() {
    let program = Program::start(&[
        "serve",
        "chargen",
        "--listen",
        "tcp://127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ]);
    let mut stream = connect(program.listener(0));
    stream.read_exact(&mut vec![0; 1 << 20]).expect("characters");
    let labels = [("address", program.listens[0].as_str())];
    assert!(read(&program).value("sockeye_serve_sent_bytes_total", &labels) >= 1_048_576.0);
    drop(stream);
    program.end();
}

#[test]
fn a_ping_tells_of_each_host() {
    if !skip::require(&[Need::NetRaw]) {
        return;
    }
    let words = [
        "ping",
        "127.0.0.1",
        "127.0.0.2",
        "--interval",
        "0.02",
        "--quiet",
        "--numeric",
        "--metrics",
        "127.0.0.1:0",
    ];
    let mut program = Program::start(&words);
    let labels = [("host", "127.0.0.1"), ("address", "127.0.0.1")];
    wait::until("some replies", PATIENCE, || {
        read(&program).value("sockeye_ping_received_replies_total", &labels) >= 3.0
    });
    let now = read(&program);
    assert_eq!(now.count("sockeye_ping_up"), 2);
    assert_eq!(now.value("sockeye_ping_up", &labels), 1.0);
    assert!(now.value("sockeye_ping_last_reply_time_seconds", &labels) > 1.7e9);
    let replies = now.value("sockeye_ping_received_replies_total", &labels);
    // Round trips are read last, when others may have come.
    assert!(now.value("sockeye_ping_rtt_seconds_count", &labels) >= replies);
    assert!(now.value("sockeye_ping_sent_requests_total", &labels) >= replies);
    let status = status(&program);
    assert_eq!(
        (&status["hosts_total"], &status["command"]),
        (&2.into(), &"ping".into())
    );
    assert!(
        status["totals"]["sent"].as_u64() >= Some(6),
        "{}",
        status["totals"]
    );
    program.running.signal(libc::SIGINT);
    assert_eq!(program.running.wait(PATIENCE).code(), Some(0));
}

/// Resident memory of a ping of 65,536 hosts that has begun, in KiB.
#[track_caller]
fn resident_kib(more: &[&str]) -> u64 {
    let mut command = Command::new(program::sockeye());
    // The next request is a minute after the first.
    command.args(["ping", "--generate", "127.0.0.0/16", "--gap", "60", "--numeric"]);
    let running = Running::start(command.args(more));
    let begun = running.line(PATIENCE);
    assert!(begun.starts_with("ping 65"), "{begun}");
    let path = format!("/proc/{}/status", running.pid());
    let status = std::fs::read_to_string(path).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse().ok());
    kib.expect("a number")
}

/// What `--metrics` needs of a host is not kept without it: two names and a histogram, more than 200 bytes.
#[test]
fn a_ping_pays_nothing_for_metrics_that_nobody_wants() {
    if !skip::require(&[Need::NetRaw]) {
        return;
    }
    let (without, with) = (resident_kib(&[]), resident_kib(&["--metrics", "127.0.0.1:0"]));
    assert!(
        with > without + 12_000,
        "{with} KiB with them, {without} KiB without"
    );
}

/// What would be cut short is not sent at all, and the program goes on.
#[test]
fn an_answer_beyond_all_measure_is_refused() {
    if !skip::require(&[Need::NetRaw]) {
        return;
    }
    // Of these hosts the metrics have 150 MB.
    let words = ["ping", "--generate", "127.0.0.0/16", "--gap", "60", "--numeric"];
    let program = Program::start(&[&words[..], &["--metrics", "127.0.0.1:0"]].concat());
    let mut stream = connect(program.addr());
    let answer = ask(&mut stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer.status, 503, "{}", answer.body.len());
    assert_eq!(status(&program)["hosts_total"], 65_534);
}
