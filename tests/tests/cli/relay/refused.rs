//! What is wrong is found before anything is opened, and the message says what to do.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use sockeye_tests::program;
use sockeye_tests::wait::PATIENCE;

use super::secure::Authority;
use super::{command, file, output};

/// Runs it, and looks at its status and its words.
#[track_caller]
fn refused(words: &[&str], status: i32, says: &str) {
    let output = output(words);
    assert_eq!(output.status.code(), Some(status), "{words:?}: {}", output.stderr);
    assert!(output.stderr.contains(says), "{words:?}: {}", output.stderr);
    assert_eq!(output.text(), "", "{words:?}");
}

const TO: &str = "tcp://127.0.0.1:9";
const AT: &str = "tcp://127.0.0.1:0";

#[test]
fn options_that_make_no_sense() {
    for (words, says) in [
        (
            &["--to", TO][..],
            "there is no listener: give one or more by --listen ADDRESS",
        ),
        (
            &["--listen", AT],
            "there is no backend: give one or more by --to ADDRESS",
        ),
        (
            &["--listen", "tcp://127.0.0.1:77", "--to", "tcp://127.0.0.1:77"],
            "--to tcp://127.0.0.1:77: tcp://127.0.0.1:77 is the listener tcp://127.0.0.1:77 itself",
        ),
        (
            &["--listen", "tcp://0.0.0.0:77", "--to", "tcp://127.0.0.1:77"],
            "is the listener tcp://0.0.0.0:77 itself",
        ),
        (
            &["--listen", "udp://127.0.0.1:0", AT, "--to", TO],
            "give one such as --to udp://127.0.0.1:53",
        ),
        (
            &["--listen", AT, "--to", "udp://127.0.0.1:9"],
            "give one such as --to tcp://127.0.0.1:80",
        ),
        (
            &["--listen", "tls://127.0.0.1:0", "--to", TO],
            "it has no certificate: add --cert FILE --key FILE",
        ),
        (
            &["--listen", AT, "--to", TO, "--cert", "c", "--key", "k"],
            "it is for tls:// and quic:// listeners",
        ),
        (
            &["--listen", AT, "--to", TO, "--ca", "c"],
            "--ca: it is for tls:// and quic:// backends",
        ),
        (
            &["--listen", AT, "--to", TO, "--insecure"],
            "--insecure: it is for tls:// and quic:// backends",
        ),
        (&["--listen", AT, "--to", TO, "--cert", "c"], "--key"),
        (
            &["--listen", AT, "--to", TO, "--config", "x"],
            "cannot be used with",
        ),
        (
            &["--listen", "tcp://localhost:80", "--to", TO],
            "not on a name: write 127.0.0.1:80",
        ),
        (
            &["--listen", "quic://127.0.0.1:80", "--to", TO],
            "it has no certificate: add --cert FILE --key FILE",
        ),
        (
            &["--listen", "udplite://127.0.0.1:80", "--to", TO],
            "udplite:// addresses cannot be used here",
        ),
        (
            &["--listen", AT, "--to", "tcp://127.0.0.1:0"],
            "port 0 is no backend's",
        ),
        (
            &["--listen", AT, "--to", TO, "--balance", "luck"],
            "least-sessions",
        ),
        (
            &["--listen", AT, "--to", TO, "--proxy-in", "10.0.0.0/99"],
            "--proxy-in",
        ),
        (
            &[
                "--listen",
                "tls://127.0.0.1:0",
                "--to",
                TO,
                "--cert",
                "-",
                "--key",
                "-",
            ],
            "--cert - and --key -: there is one stdin only",
        ),
    ] {
        refused(words, 2, says);
    }
}

#[test]
fn files_that_make_no_sense() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = "[[listeners]]\nat = \"tcp://127.0.0.1:0\"\nto = \"a\"\n";
    let pool = "[[pools]]\nname = \"a\"\nbackends = [{ at = \"tcp://127.0.0.1:9\" }]\n";
    for (text, says) in [
        ("not toml\n".to_owned(), "bad.toml:1:5: "),
        (
            format!("{listener}{pool}what = 1\n"),
            "bad.toml:7:1: unknown field `what`, expected one of",
        ),
        (listener.to_owned(), "missing field `pools`"),
        (
            format!(
                "{listener}{}",
                pool.replace("[{ at = \"tcp://127.0.0.1:9\" }]", "[]")
            ),
            "pools[0].backends: there is none",
        ),
        (
            format!("{listener}{}", pool.replace("\"a\"", "\"b\"")),
            "listeners[0].to: no pool named `a`",
        ),
        (
            format!("{listener}{pool}drain = \"5\"\n"),
            "bad.toml:7:9: `5` is not a duration such as 250ms",
        ),
        (
            format!(
                "{}{pool}",
                listener.replace("tcp://127.0.0.1:0", "tls://127.0.0.1:0")
            ),
            "listeners[0].tls: it has no certificate: add a table [tls.server.default] with cert and key",
        ),
        (
            format!(
                "{listener}{}",
                pool.replace(":9\"", ":9\", tls = \"x\"").replace("tcp:", "tls:")
            ),
            "pools[0].backends[0].tls: there is no table [tls.client.x]",
        ),
        (
            format!("{}{pool}", listener.replace(":0", ":9")),
            "pools[0].backends[0].at: tcp://127.0.0.1:9 is the listener tcp://127.0.0.1:9 itself",
        ),
        (
            format!("{listener}{pool}[tls.server.x]\ncert = \"none.pem\"\nkey = \"none.pem\"\nca = \"c\"\n"),
            "unknown field `ca`",
        ),
    ] {
        let path = file(&folder, "bad.toml", &text);
        refused(&["--config", &path], 2, says);
        refused(&["--config", &path, "--check-config"], 2, says);
    }
    refused(
        &["--config", "/nowhere/relay.toml"],
        5,
        "/nowhere/relay.toml: No such file or directory",
    );
    let text = format!("{listener}{pool}[tls.server.x]\ncert = \"none.pem\"\nkey = \"none.pem\"\n");
    let path = file(&folder, "bad.toml", &text);
    refused(&["--config", &path], 5, "none.pem: No such file or directory");
}

#[test]
fn certificates_that_are_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let ([cert, key], [_, other]) = (authority.sign(), authority.sign());
    let names = [("cert.pem", &cert), ("key.pem", &key), ("other.pem", &other)];
    let [cert, key, other] = names.map(|(name, text)| file(&folder, name, text));
    let empty = file(&folder, "empty.pem", "");
    let at = ["--listen", "tls://127.0.0.1:0", "--to", TO];
    for (pair, says) in [
        ([&cert, &other], "other.pem is not the key of the certificate"),
        ([&empty, &key], "empty.pem: there is no certificate in it"),
        ([&cert, &empty], "empty.pem: there is no private key in it"),
        ([&cert, &cert], "cert.pem: there is no private key in it"),
    ] {
        refused(
            &[&at[..], &["--cert", pair[0], "--key", pair[1]]].concat(),
            2,
            says,
        );
    }
    let gone = format!("{key}.gone");
    refused(
        &[&at[..], &["--cert", &cert, "--key", &gone]].concat(),
        5,
        "read the private key",
    );
    let tls = ["--listen", AT, "--to", "tls://127.0.0.1:9", "--ca", &empty];
    refused(&tls, 2, "empty.pem: there is no certificate in it");
    // To root everything is readable.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o0)).expect("a mode");
    if std::fs::read(&key).is_err() {
        refused(
            &[&at[..], &["--cert", &cert, "--key", &key]].concat(),
            4,
            "Permission denied",
        );
    }
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = format!("tcp://{}", taken.local_addr().expect("an address"));
    refused(&["--listen", &at, "--to", TO], 5, "Address already in use");
    let holder = format!("({})", std::process::id());
    refused(&["--listen", &at, "--to", TO], 5, &holder);
}

#[test]
fn a_check_opens_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = format!("tcp://{}", taken.local_addr().expect("an address"));
    let checked = output(&["--check-config", "--listen", &at, "--to", TO]);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.stderr);
    assert_eq!(checked.text(), "in order: listeners 1, pools 1\n");
}

#[test]
fn the_file_may_come_from_stdin_but_not_twice() {
    let text = "[[listeners]]\nat = \"tcp://127.0.0.1:0\"\nto = \"a\"\n\
                [[pools]]\nname = \"a\"\nbackends = [{ at = \"tcp://127.0.0.1:9\" }]\n";
    let mut check = command(&["--config", "-", "--check-config"]);
    let checked = program::output_with_input(&mut check, text.as_bytes(), PATIENCE);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.stderr);
    let twice = format!("{text}[tls.server.x]\ncert = \"-\"\nkey = \"k\"\n");
    let checked = program::output_with_input(&mut check, twice.as_bytes(), PATIENCE);
    assert_eq!(checked.status.code(), Some(2), "{}", checked.stderr);
    let says = "--config - and [tls] -: there is one stdin only";
    assert!(checked.stderr.contains(says), "{}", checked.stderr);
}

#[test]
fn an_error_is_an_event_too() {
    let failed = output(&["--json", "--listen", AT]);
    assert_eq!(failed.status.code(), Some(2));
    let event: serde_json::Value = serde_json::from_str(failed.text().trim_end()).expect("JSON");
    assert_eq!((&event["event"], &event["exit"]), (&"error".into(), &2.into()));
}
