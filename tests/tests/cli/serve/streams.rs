//! The services on connections: TCP on both families, Unix sockets and TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use super::{USERS, check_daytime, check_time, file, seconds_now, serve, text_of, utmp};
use crate::relay::secure::Authority;

/// Everything that comes until the end of the connection, which must be one in order.
#[track_caller]
fn all(mut stream: impl Read) -> Vec<u8> {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("an end in order");
    said
}

pub(super) fn tcp(line: &str) -> TcpStream {
    let (_, at) = line.split_once("://").expect("an address");
    let stream = TcpStream::connect(at).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What the service says on TCP over IPv4 and IPv6, on a Unix socket, and under TLS 1.3, on one loop and on two.
fn said_everywhere(words: &[&str], check: impl Fn(&[u8])) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let [cert, key] = authority.sign();
    let (cert, key) = (file(&folder, "cert", cert), file(&folder, "key", key));
    let path = folder.path().join("sock");
    let unix = format!("unix:{}", text_of(&path));
    for shards in ["1", "2"] {
        let mut all_words = words.to_vec();
        all_words.extend([
            "--shards",
            shards,
            "--cert",
            text_of(&cert),
            "--key",
            text_of(&key),
        ]);
        for at in [&unix, "tls://127.0.0.1:0", "tcp://127.0.0.1:0", "tcp://[::1]:0"] {
            all_words.extend(["--listen", at]);
        }
        let (_running, lines) = serve(&all_words, 4);
        for line in &lines[2..] {
            let mut stream = tcp(line);
            check(&all(&stream));
            // What the client says is dropped, before and after.
            stream = tcp(line);
            stream.write_all(b"any words").expect("room");
            stream.shutdown(Shutdown::Write).expect("a half");
            check(&all(&stream));
        }
        let stream = UnixStream::connect(&path).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        check(&all(&stream));
        assert!(lines[1].starts_with("listening on tls://"), "{}", lines[1]);
        check(&all(authority.connects(tcp(&lines[1]))));
    }
}

#[test]
fn the_time_is_four_bytes() {
    if !require(&[Need::Ipv6]) {
        return;
    }
    let begun = seconds_now();
    said_everywhere(&["time"], |said| check_time(said, begun));
}

#[test]
fn the_date_is_one_that_date_reads() {
    if !require(&[Need::Ipv6]) {
        return;
    }
    let begun = seconds_now();
    said_everywhere(&["daytime"], |said| check_daytime(said, begun));
}

#[test]
fn quotes_come_from_the_file() {
    if !require(&[Need::Ipv6]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let quotes = file(&folder, "quotes", "One.\n  -- me\n%\nTwo: é.\n%\n");
    said_everywhere(&["qotd", "--quotes", text_of(&quotes)], |said| {
        let text = std::str::from_utf8(said).expect("text");
        assert!(matches!(text, "One.\r\n  -- me\r\n" | "Two: é.\r\n"), "{text:?}");
    });
}

#[test]
fn users_come_from_the_file_of_the_sessions() {
    if !require(&[Need::Ipv6, Need::program("utmpdump")]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let sessions = utmp(&folder);
    said_everywhere(&["active-users", "--utmp", text_of(&sessions)], |said| {
        assert_eq!(String::from_utf8_lossy(said), USERS);
    });
}

#[test]
fn without_sessions_nobody_is_listed() {
    let (running, lines) = serve(
        &[
            "active-users",
            "--utmp",
            "/no/such/file",
            "--listen",
            "tcp://127.0.0.1:0",
        ],
        1,
    );
    let note = running.error_line(PATIENCE).expect("a note");
    assert!(note.contains("/no/such/file: No such file"), "{note}");
    assert_eq!(all(tcp(&lines[0])), b"(none)\r\n");
}

#[test]
fn echo_and_chargen_go_through_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let [cert, key] = authority.sign();
    let (cert, key) = (file(&folder, "cert", cert), file(&folder, "key", key));
    let with = [
        "--listen",
        "tls://127.0.0.1:0",
        "--cert",
        text_of(&cert),
        "--key",
        text_of(&key),
    ];
    let words = |service| [&[service], &with[..]].concat();
    let (_echo, lines) = serve(&words("echo"), 1);
    let mut stream = authority.connects(tcp(&lines[0]));
    let message: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_be_bytes).collect();
    let mut back = vec![0; 4096];
    for piece in message.chunks(4096) {
        stream.write_all(piece).expect("room");
        stream.read_exact(&mut back).expect("an answer");
        assert!(back == piece);
    }
    let (chargen, lines) = serve(&words("chargen"), 1);
    let mut stream = authority.connects(tcp(&lines[0]));
    let mut text = vec![0; 74 * 95];
    stream.read_exact(&mut text).expect("a round");
    assert!(text.starts_with(b" !\"#$%&'()*+") && text.ends_with(b"bcdef\r\n"));
    // Who does not speak TLS is told of, and harms nobody.
    let mut plain = tcp(&lines[0]);
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("room");
    assert!(!all(&plain).is_empty(), "an answer that says so");
    let note = chargen.error_line(PATIENCE).expect("a note");
    assert!(note.contains("a TLS handshake with 127.0.0.1:"), "{note}");
}
