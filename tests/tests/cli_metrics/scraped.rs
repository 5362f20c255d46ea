//! The endpoint as Prometheus takes it: the real one, and its checker.

use std::process::Command;

use serde_json::Value;
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::{self, PATIENCE};

use crate::ground::{Program, ask, connect, echo, file, session};

fn relay() -> Program {
    let backend = format!("tcp://{}", echo());
    Program::start(&[
        "relay",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &backend,
        "--metrics",
        "127.0.0.1:0",
    ])
}

#[test]
fn promtool_finds_nothing_wrong() {
    if !skip::require(&[Need::program("promtool")]) {
        return;
    }
    let program = relay();
    session(program.listener(0), "salmon");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n";
    let text = ask(&mut connect(program.addr()), request).body;
    let mut checker = Command::new("promtool");
    let checked = program::output_with_input(checker.args(["check", "metrics"]), text.as_bytes(), PATIENCE);
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}",
        checked.stderr
    );
    program.end();
}

#[test]
fn a_prometheus_scrapes_a_relay() {
    if !skip::require(&[Need::program("prometheus")]) {
        return;
    }
    let program = relay();
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\nscrape_configs:\n\
         - {{ job_name: relay, static_configs: [ {{ targets: [ '{}' ] }} ] }}\n",
        program.addr()
    );
    let config = file(folder.path(), "prometheus.yml", &config);
    let data = folder.path().join("data");
    let mut command = Command::new(program::find("prometheus").expect("it was required"));
    command
        .arg(format!("--config.file={config}"))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg("--web.listen-address=127.0.0.1:0");
    let prometheus = Running::start(&mut command);
    // It says which port it got.
    let at = loop {
        let line = prometheus.error_line(PATIENCE).expect("it listens");
        if line.contains("msg=\"Listening on\"") {
            break line
                .split_once("address=")
                .expect("an address")
                .1
                .trim()
                .to_owned();
        }
    };
    let at = at.parse().expect("an address");
    for _ in 0..5 {
        session(program.listener(0), "salmon");
    }
    let asked = |query: &str| -> Option<f64> {
        let request = format!(
            "GET /api/v1/query?query={query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        let mut stream = connect(at);
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        assert!(!head.contains("chunked"), "{head}");
        let said: Value = serde_json::from_str(body).ok()?;
        said["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    wait::until("it is up", PATIENCE, || asked("up") == Some(1.0));
    wait::until("it has the sessions", PATIENCE, || {
        asked("sum(sockeye_relay_sessions_total)") == Some(5.0)
    });
    wait::until("it has the histogram", PATIENCE, || {
        asked("sum(sockeye_relay_session_duration_seconds_count)") == Some(5.0)
    });
    assert_eq!(asked("count(sockeye_relay_backend_up==1)"), Some(1.0));
    program.end();
}
