//! `quic://` in `serve`, `connect` and `relay`.

use std::path::PathBuf;
use std::process::Command;

use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::relay::secure::Authority;

/// Certificates for the loopback in a folder of their own.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = authority.sign();
        for (name, text) in [("ca", authority.pem()), ("cert", cert), ("key", key)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, words: &[&str], with_cert: bool) -> Running {
        let mut command = Command::new(program::sockeye());
        command.args(words);
        if with_cert {
            command.arg("--cert").arg(self.path("cert"));
            command.arg("--key").arg(self.path("key"));
        }
        Running::start(&mut command)
    }

    /// `sockeye connect` with that stdin.
    fn connect(&self, to: &str, input: &[u8]) -> program::Output {
        let mut command = Command::new(program::sockeye());
        command.args(["connect", to]);
        if to.starts_with("quic://") {
            // What the certificate is for, by whatever name it is asked.
            command
                .args(["--servername", "127.0.0.1", "--ca"])
                .arg(self.path("ca"));
        }
        program::output_with_input(&mut command, input, PATIENCE)
    }
}

/// The address at the end of a line.
fn address(line: &str) -> String {
    line.rsplit(' ').next().unwrap().to_owned()
}

fn much() -> Vec<u8> {
    (0..400_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn serve_echoes_over_quic_on_one_loop_and_on_several() {
    let files = Files::new();
    for shards in ["1", "3"] {
        let words = [
            "serve",
            "echo",
            "--listen",
            "quic://127.0.0.1:0",
            "--shards",
            shards,
        ];
        let mut server = files.start(&words, true);
        let at = address(&server.line(PATIENCE));
        assert!(at.starts_with("quic://127.0.0.1:"), "{at}");
        for input in [&b"hello\n"[..], &much()] {
            let said = files.connect(&at, input);
            assert!(said.status.success(), "{}", said.stderr);
            assert!(
                said.stdout == input,
                "{} bytes of {}",
                said.stdout.len(),
                input.len()
            );
        }
        server.signal(libc::SIGTERM);
        assert!(server.wait(PATIENCE).success());
    }
}

#[test]
fn the_next_address_is_tried_when_one_does_not_answer() {
    if !require(&[Need::Ipv6]) {
        return;
    }
    let files = Files::new();
    let server = files.start(&["serve", "echo", "--listen", "quic://127.0.0.1:0"], true);
    let at = address(&server.line(PATIENCE));
    // `localhost` is ::1 and 127.0.0.1: at the first nobody is.
    let said = files.connect(&at.replace("127.0.0.1", "localhost"), b"hello\n");
    assert!(said.status.success(), "{}", said.stderr);
    assert_eq!(said.text(), "hello\n");
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let (files, others) = (Files::new(), Files::new());
    let server = files.start(&["serve", "echo", "--listen", "quic://127.0.0.1:0"], true);
    let at = address(&server.line(PATIENCE));
    let said = others.connect(&at, b"hello\n");
    assert!(!said.status.success());
    assert!(said.stderr.contains("TLS alert"), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("connect {at}")), "{}", said.stderr);
}

#[test]
fn the_relay_takes_tcp_to_quic_and_back() {
    let files = Files::new();
    let server = files.start(&["serve", "echo", "--listen", "tcp://127.0.0.1:0"], false);
    let plain = address(&server.line(PATIENCE));
    let ca = files.path("ca");
    let ca = ca.to_str().unwrap();
    let words = ["relay", "--listen", "quic://127.0.0.1:0", "--to", &plain];
    let back = files.start(&words, true);
    let secret = back.line_with(PATIENCE, |line| line.contains("quic://"));
    let secret = secret
        .split_whitespace()
        .find(|word| word.starts_with("quic://"))
        .unwrap()
        .to_owned();
    let words = [
        "relay",
        "--listen",
        "tcp://127.0.0.1:0",
        "--to",
        &secret,
        "--ca",
        ca,
    ];
    let front = files.start(&words, false);
    let at = front.line_with(PATIENCE, |line| line.contains("tcp://"));
    let at = at
        .split_whitespace()
        .find(|word| word.starts_with("tcp://"))
        .unwrap()
        .to_owned();
    for input in [&b"hello\n"[..], &much()] {
        let said = files.connect(&at, input);
        assert!(said.status.success(), "{}", said.stderr);
        assert!(
            said.stdout == input,
            "{} bytes of {}",
            said.stdout.len(),
            input.len()
        );
    }
}
