//! `sockeye connect` and `sockeye listen` with nc, ncat, socat and openssl at the other end: a MiB each way at once.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;

use sockeye_tests::pattern;
use sockeye_tests::ports::free_port;
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::talking::{Talking, exchange, sockeye_with, wait_for_listener};
use sockeye_tests::wait::{self, PATIENCE};

const MIB: usize = 1 << 20;

/// `PROGRAM WORDS...`, words split at blanks.
fn command(program: &str, words: &str) -> Command {
    let mut command = Command::new(program::find(program).expect("it is required before"));
    command.args(words.split(' '));
    command
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').expect("an address has a port").1
}

/// A program connects to `sockeye listen`.
fn comes(program: &'static str, listen: &[&str], words: impl Fn(&str) -> String) {
    if !require(&[Need::program(program)]) {
        return;
    }
    let (mut here, address) = Talking::listen(listen);
    let mut there = Talking::start(&mut command(program, &words(&address)));
    exchange(&mut here, &mut there, &pattern(MIB));
}

/// As [`comes`], with a program that prints the rest of what it has decrypted when something follows: ncat 7.93 as a client
/// of TLS leaves the second half of the last record until then.
fn comes_and_hears_the_end(program: &'static str, listen: &[&str], words: impl Fn(&str) -> String) {
    if !require(&[Need::program(program)]) {
        return;
    }
    let (mut here, address) = Talking::listen(listen);
    let mut there = Talking::start(&mut command(program, &words(&address)));
    let sent = pattern(MIB);
    here.write(&sent);
    there.write(&sent);
    assert!(here.has(MIB) == sent, "other bytes");
    here.end_input();
    assert!(there.has(MIB) == sent, "other bytes");
}

/// `sockeye connect` connects to a program that listens at a port of TCP.
fn goes(program: &'static str, words: impl Fn(u16) -> String, connect: &[&str], scheme: &str) {
    if !require(&[Need::program(program)]) {
        return;
    }
    let port = free_port();
    let mut there = Talking::start(&mut command(program, &words(port)));
    wait_for_listener(port);
    let address = format!("{scheme}://127.0.0.1:{port}");
    let mut here = Talking::start(sockeye_with(&["connect", &address]).args(connect));
    exchange(&mut here, &mut there, &pattern(MIB));
}

#[test]
fn nc_comes_and_is_gone_to() {
    comes("nc", &["tcp://127.0.0.1:0"], |at| {
        format!("127.0.0.1 {}", port_of(at))
    });
    comes("nc", &["tcp://[::1]:0"], |at| format!("-6 ::1 {}", port_of(at)));
    goes("nc", |port| format!("-l 127.0.0.1 {port}"), &[], "tcp");
}

#[test]
fn ncat_comes_and_is_gone_to() {
    comes("ncat", &["tcp://127.0.0.1:0"], |at| {
        format!("127.0.0.1 {}", port_of(at))
    });
    goes("ncat", |port| format!("-l 127.0.0.1 {port}"), &[], "tcp");
}

#[test]
fn socat_comes_and_is_gone_to() {
    comes("socat", &["tcp://127.0.0.1:0"], |at| {
        format!("- TCP4:127.0.0.1:{}", port_of(at))
    });
    goes(
        "socat",
        |port| format!("- TCP4-LISTEN:{port},bind=127.0.0.1"),
        &[],
        "tcp",
    );
}

/// Who ends stdin after a MiB, with each side's option for it, has the other's MiB whole, and both end.
#[test]
fn both_ends_of_stdin_are_told_and_nothing_is_lost() {
    for (program, words) in [("nc", "-N 127.0.0.1"), ("socat", "-t20 - TCP4:127.0.0.1:")] {
        if !require(&[Need::program(program)]) {
            return;
        }
        let sent = pattern(MIB);
        let (mut here, address) = Talking::listen(&["tcp://127.0.0.1:0"]);
        let blank = if program == "nc" { " " } else { "" };
        let mut there = Talking::start(&mut command(
            program,
            &format!("{words}{blank}{}", port_of(&address)),
        ));
        there.write(&sent);
        there.end_input();
        here.write(&sent);
        here.end_input();
        let (status, came, said) = here.finish();
        assert_eq!(status.code(), Some(0), "{said:?}");
        assert!(came == sent, "{program}: {} bytes came", came.len());
        let (_, came, said) = there.finish();
        assert!(came == sent, "{program}: {} bytes went: {said:?}", came.len());
    }
}

#[test]
fn unix_streams_talk_with_socat_and_nc() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let one = path("one");
    comes("socat", &[&format!("unix:{one}")], |_| {
        format!("- UNIX-CONNECT:{one}")
    });
    let two = path("two");
    comes("nc", &[&format!("unix:{two}")], |_| format!("-U {two}"));
    if !require(&[Need::program("socat")]) {
        return;
    }
    let three = path("three");
    let mut there = Talking::start(&mut command("socat", &format!("- UNIX-LISTEN:{three}")));
    let mut here = connected_once_it_is_there(&three, &["connect", &format!("unix:{three}")]);
    exchange(&mut here, &mut there, &pattern(MIB));
}

/// Starts sockeye when somebody has the path.
fn connected_once_it_is_there(path: &str, words: &[&str]) -> Talking {
    wait::until("the socket", PATIENCE, || {
        let table = std::fs::read_to_string("/proc/net/unix").expect("the table");
        // Flags: it listens, or is of datagrams.
        table
            .lines()
            .any(|line| line.ends_with(path) && (line.contains("00010000") || line.contains(" 0002 ")))
    });
    Talking::start(&mut sockeye_with(words))
}

#[test]
fn unix_datagrams_and_seqpackets_talk_with_socat() {
    if !require(&[Need::program("socat")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (seq, there, back) = (path("seq"), path("there"), path("back"));
    let mut socat = Talking::start(&mut command("socat", &format!("- UNIX-LISTEN:{seq},socktype=5")));
    let mut here = connected_once_it_is_there(&seq, &["connect", &format!("unix:{seq}"), "--seqpacket"]);
    exchange(&mut here, &mut socat, &pattern(4096));
    let (mut here, _) = Talking::listen(&[&format!("unix:{there}"), "--datagram"]);
    let words = format!("- UNIX-SENDTO:{there},bind={back}");
    let mut socat = Talking::start(&mut command("socat", &words));
    socat.write(b"one");
    assert_eq!(here.has(3), b"one");
    here.write(b"two");
    assert_eq!(socat.has(3), b"two");
}

#[test]
fn datagrams_of_udp_talk_with_each() {
    for (program, to) in [
        ("nc", "-u 127.0.0.1 "),
        ("ncat", "-u 127.0.0.1 "),
        ("socat", "- UDP4:127.0.0.1:"),
    ] {
        if !require(&[Need::program(program)]) {
            return;
        }
        let (mut here, address) = Talking::listen(&["udp://127.0.0.1:0"]);
        let mut there = Talking::start(&mut command(program, &format!("{to}{}", port_of(&address))));
        there.write(b"there");
        assert_eq!(here.has(5), b"there", "{program}");
        here.write(b"and back");
        assert_eq!(there.has(8), b"and back", "{program}");
    }
    for (program, words) in [
        ("nc", "-u -l 127.0.0.1 PORT"),
        ("socat", "- UDP4-LISTEN:PORT,bind=127.0.0.1"),
    ] {
        let port = {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.local_addr().expect("its address").port()
        };
        let words = words.replace("PORT", &port.to_string());
        let mut there = Talking::start(&mut command(program, &words));
        let needle = format!(":{port:04X} ");
        wait::until("the socket", PATIENCE, || {
            std::fs::read_to_string("/proc/net/udp").is_ok_and(|table| table.contains(&needle))
        });
        let mut here = Talking::start(&mut sockeye_with(&[
            "connect",
            &format!("udp://127.0.0.1:{port}"),
        ]));
        here.write(b"there");
        assert_eq!(there.has(5), b"there", "{program}");
        there.write(b"and back");
        assert_eq!(here.has(8), b"and back", "{program}");
    }
}

/// A certificate of `localhost` and 127.0.0.1, its key, and whom to trust for it, in files.
struct Files {
    _folder: tempfile::TempDir,
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

fn files() -> Files {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let cert = write("cert.pem", made.cert.pem());
    let key = write("key.pem", made.signing_key.serialize_pem());
    let ca = write("ca.pem", made.cert.pem());
    Files {
        _folder: folder,
        cert,
        key,
        ca,
    }
}

#[test]
fn tls_talks_with_openssl_ncat_and_socat() {
    let files = files();
    let (cert, key, ca) = (
        files.cert.display().to_string(),
        files.key.display().to_string(),
        files.ca.display().to_string(),
    );
    let listen = ["tls://127.0.0.1:0", "--cert", &cert, "--key", &key];
    comes("openssl", &listen, |at| {
        format!(
            "s_client -quiet -verify_return_error -CAfile {ca} -connect 127.0.0.1:{}",
            port_of(at)
        )
    });
    comes_and_hears_the_end("ncat", &listen, |at| format!("--ssl 127.0.0.1 {}", port_of(at)));
    comes("socat", &listen, |at| {
        format!("- OPENSSL:127.0.0.1:{},cafile={ca}", port_of(at))
    });
    let trust = ["--ca", ca.as_str()];
    goes(
        "openssl",
        |port| format!("s_server -quiet -accept 127.0.0.1:{port} -cert {cert} -key {key}"),
        &trust,
        "tls",
    );
    goes(
        "ncat",
        |port| format!("-l --ssl --ssl-cert {cert} --ssl-key {key} 127.0.0.1 {port}"),
        &["--insecure"],
        "tls",
    );
    goes(
        "socat",
        |port| format!("- OPENSSL-LISTEN:{port},bind=127.0.0.1,cert={cert},key={key},verify=0"),
        &trust,
        "tls",
    );
}
