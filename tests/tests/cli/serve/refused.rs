//! What `serve` refuses before it opens anything, and what it warns of.

use std::io::{Read as _, Write as _};

use sockeye_tests::netns;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use super::streams::tcp;
use super::{file, output, serve, text_of};
use crate::relay::secure::Authority;

#[track_caller]
fn refused(words: &[&str], status: i32, said: &str) {
    let output = output(words);
    assert_eq!(output.status.code(), Some(status), "{words:?}: {}", output.stderr);
    assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
    assert!(output.stdout.is_empty(), "{words:?}: {}", output.text());
}

#[test]
fn options_that_make_no_sense_together() {
    let tcp = ["--listen", "tcp://127.0.0.1:0"];
    let with = |words: &[&'static str]| [words, &tcp[..]].concat();
    refused(
        &["time", "--listen", "tls://127.0.0.1:0"],
        2,
        "add --cert FILE --key FILE",
    );
    refused(
        &with(&["time", "--cert", "a", "--key", "b"]),
        2,
        "--cert: it is for tls:// and quic:// listeners",
    );
    refused(&with(&["time", "--cert", "a"]), 2, "--key <FILE>");
    refused(
        &with(&["time", "--quotes", "a"]),
        2,
        "--quotes: only qotd has quotes",
    );
    refused(&with(&["time", "--utmp", "a"]), 2, "--utmp: only active-users");
    refused(
        &with(&["echo", "--datagram"]),
        2,
        "--datagram: it is for unix: listeners",
    );
    refused(
        &["echo", "--listen", "quic://127.0.0.1:0"],
        2,
        "quic://: it has no certificate: add --cert FILE --key FILE",
    );
    refused(
        &["echo", "--listen", "udplite://127.0.0.1:0"],
        2,
        "tcp://, udp://, unix:, tls:// and quic:// can",
    );
    refused(
        &[
            "echo",
            "--listen",
            "tcp://127.0.0.1:4433",
            "--listen",
            "tls://127.0.0.1:4433",
            "--cert",
            "a",
            "--key",
            "b",
        ],
        2,
        "--listen tls://127.0.0.1:4433: given twice",
    );
    refused(
        &[
            "qotd",
            "--listen",
            "tls://127.0.0.1:0",
            "--cert",
            "-",
            "--key",
            "k",
            "--quotes",
            "-",
        ],
        2,
        "--cert - and --quotes -: there is one stdin only",
    );
}

#[test]
fn files_that_are_not_what_they_have_to_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let tcp = ["--listen", "tcp://127.0.0.1:0"];
    for (text, status, said) in [
        (&b""[..], 2, "there is no quote in it"),
        (b"\x1b[2J\n", 2, "none of its 1 quotes can be sent"),
        (b"caf\xe9\n", 2, "no text in UTF-8"),
    ] {
        let path = file(&folder, "quotes", text);
        refused(
            &[&["qotd", "--quotes", text_of(&path)], &tcp[..]].concat(),
            status,
            said,
        );
    }
    refused(
        &[&["qotd", "--quotes", "/no/such"], &tcp[..]].concat(),
        5,
        "/no/such: No such file",
    );
    let ([cert, _], [_, key]) = (Authority::new().sign(), Authority::new().sign());
    let (cert, key) = (file(&folder, "cert", cert), file(&folder, "key", key));
    let words = [
        "time",
        "--listen",
        "tls://127.0.0.1:0",
        "--cert",
        text_of(&cert),
        "--key",
        text_of(&key),
    ];
    refused(&words, 2, "is not the key of the certificate");
}

#[test]
fn quotes_that_cannot_be_sent_are_left_out_and_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "quotes", format!("short\n{}\n", "x".repeat(511)));
    let (running, _) = serve(
        &[
            "qotd",
            "--quotes",
            text_of(&path),
            "--listen",
            "tcp://127.0.0.1:0",
        ],
        1,
    );
    let note = running.error_line(PATIENCE).expect("a note");
    assert!(note.contains("1 of 2 quotes are left out"), "{note}");
}

#[test]
fn users_for_all_the_world_are_warned_of() {
    let name = "serve::refused::users_for_all_the_world_are_warned_of";
    if !require(&[Need::Namespaces]) || !netns::enter(name, |_| {}) {
        return;
    }
    let words = [
        "active-users",
        "--utmp",
        "/dev/null",
        "--listen",
        "tcp://127.0.0.1:0",
    ];
    let (running, _) = serve(&[&words[..], &["--listen", "tcp://0.0.0.0:0"]].concat(), 2);
    let note = running.error_line(PATIENCE).expect("a note");
    assert!(
        note.contains("tcp://0.0.0.0:0: whoever can reach it learns who is logged in"),
        "{note}"
    );
}

#[test]
fn connections_that_wait_are_told_of_under_tls_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let [cert, key] = authority.sign();
    let (cert, key) = (file(&folder, "cert", cert), file(&folder, "key", key));
    let words = [
        "echo",
        "--listen",
        "tls://127.0.0.1:0",
        "--cert",
        text_of(&cert),
        "--key",
        text_of(&key),
        "--max-connections",
        "1",
    ];
    let (running, lines) = serve(&words, 1);
    // Connections that are over count no more, whatever carried them.
    for text in ["first", "second"] {
        let mut stream = authority.connects(tcp(&lines[0]));
        stream.write_all(text.as_bytes()).expect("room");
        stream.read_exact(&mut [0; 5]).expect("an answer");
        if text == "second" {
            let note = running.error_line(PATIENCE).expect("a note");
            assert!(
                note.contains("as many connections as --max-connections allows"),
                "{note}"
            );
        }
    }
}
