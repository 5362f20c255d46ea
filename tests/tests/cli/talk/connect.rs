//! `sockeye connect` with all that a peer can do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use sockeye::endpoint::UnixName;
use sockeye::unix::UnixSeqpacketListener;
use sockeye_tests::pattern;
use sockeye_tests::ports::free_port;
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::talking::{Talking, sockeye_with};
use sockeye_tests::wait::{self, PATIENCE};

fn zero(words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program::sockeye());
    let output = program::output(command.args(["connect", "-z"]).args(words), PATIENCE);
    (output.status.code(), output.text())
}

#[test]
fn zero_says_open_closed_or_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let open = listener.local_addr().expect("its address").port();
    let closed = free_port();
    assert_eq!(
        zero(&[&format!("tcp://127.0.0.1:{open}")]),
        (Some(0), format!("tcp://127.0.0.1:{open} open\n"))
    );
    assert_eq!(
        zero(&[&format!("tcp://127.0.0.1:{closed}")]),
        (Some(1), format!("tcp://127.0.0.1:{closed} closed\n"))
    );
    let (status, text) = zero(&[
        "tcp://127.0.0.1:1",
        "--ports",
        &format!("{open},{closed}"),
        "--json",
    ]);
    assert_eq!(status, Some(0));
    let mut states: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["event"], "port");
            let text = |key: &str| event[key].as_str().expect("a text").to_owned();
            (text("address"), text("state"))
        })
        .collect();
    states.sort();
    let mut expected = [
        (format!("tcp://127.0.0.1:{open}"), "open".to_owned()),
        (format!("tcp://127.0.0.1:{closed}"), "closed".to_owned()),
    ];
    expected.sort();
    assert_eq!(states, expected);
}

#[test]
fn zero_over_udp_is_open_closed_or_either() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let silent_at = silent.local_addr().expect("its address");
    let closed = {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.local_addr().expect("its address")
    };
    assert_eq!(
        zero(&[&format!("udp://{silent_at}"), "-w", "0.2"]),
        (Some(1), format!("udp://{silent_at} open|silent\n"))
    );
    assert_eq!(
        zero(&[&format!("udp://{closed}")]),
        (Some(1), format!("udp://{closed} closed\n"))
    );
    let answering = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = answering.local_addr().expect("its address");
    answering.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let answer = std::thread::spawn(move || {
        let (_, peer) = answering.recv_from(&mut [0]).expect("a datagram");
        answering.send_to(b"x", peer).expect("an answer");
    });
    let open = zero(&[&format!("udp://{at}"), "-w", "20"]);
    answer.join().expect("no panic");
    assert_eq!(open, (Some(0), format!("udp://{at} open\n")));
}

#[test]
fn zero_tells_faults_of_this_side_from_what_a_port_is() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    let fails = |words: &[&str], exit: i32, said: &str| {
        let mut command = Command::new(program::sockeye());
        let output = program::output(command.args(["connect", "-z"]).args(words), PATIENCE);
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {}", output.text());
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
        output.text()
    };
    for scheme in ["tcp", "udp"] {
        let address = format!("{scheme}://{at}");
        // An address for documentation, which no host has (RFC 5737).
        let no_source = [&address, "--source", "203.0.113.9"];
        assert_eq!(fails(&no_source, 5, "no interface of this machine has"), "");
        let no_interface = [&address, "--interface", "nosuch0"];
        assert_eq!(fails(&no_interface, 5, "there is no such interface"), "");
    }
    // Who asked for events gets one of the error, and none of a port.
    let address = format!("tcp://{at}");
    let words = [&address, "--ports", "1-200", "--interface", "nosuch0", "--json"];
    let text = fails(&words, 5, "there is no such interface");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"event\":\"error\""), "{text}");
}

#[test]
fn zero_says_that_a_unix_socket_is_forbidden() {
    let setpriv = Need::Program {
        name: "setpriv",
        package: "util-linux",
    };
    if !require(&[setpriv]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).expect("a socket");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("ours");
    // Root is one of those who have to be permitted, once it has no capabilities.
    let mut command = if Need::NetRaw.is_met() {
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]);
        command.arg(program::sockeye());
        command
    } else {
        Command::new(program::sockeye())
    };
    let address = format!("unix:{}", path.display());
    let output = program::output(command.args(["connect", "-z", &address]), PATIENCE);
    assert_eq!(output.status.code(), Some(4), "{}", output.text());
    assert!(output.stderr.contains("Permission denied"), "{}", output.stderr);
    assert_eq!(output.text(), "");
}

#[test]
fn the_source_is_as_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let source = format!("127.0.0.9:{}", free_port());
    let words = [
        "connect",
        &format!("tcp://{address}"),
        "--source",
        &source,
        "--interface",
        "lo",
    ];
    let mut here = Talking::start(&mut sockeye_with(&words));
    let (_, peer) = listener.accept().expect("it connects");
    assert_eq!(peer.to_string(), source);
    here.end_input();
    assert_eq!(here.finish().0.code(), Some(0));
}

#[test]
fn a_peer_that_ends_first_still_has_the_rest_of_stdin() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let mut here = Talking::start(&mut sockeye_with(&["connect", &format!("tcp://{address}")]));
    let (mut peer, _) = listener.accept().expect("it connects");
    peer.write_all(b"bye").expect("it reads");
    peer.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(here.has(3), b"bye");
    here.write(b"the rest");
    here.end_input();
    let mut came = Vec::new();
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    peer.read_to_end(&mut came).expect("the rest");
    assert_eq!(came, b"the rest");
    assert_eq!(here.finish().0.code(), Some(0));
}

#[test]
fn without_the_half_close_the_peer_hears_no_end_until_linger_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let address = format!("tcp://{address}");
    let mut here = Talking::start(&mut sockeye_with(&["connect", &address, "--no-half-close"]));
    let (mut peer, _) = listener.accept().expect("it connects");
    here.write(b"x");
    here.end_input();
    peer.read_exact(&mut [0]).expect("its byte");
    // It would have come with the byte, were it sent at the end of stdin.
    peer.set_nonblocking(true).expect("a mode");
    let error = peer.read(&mut [0]).expect_err("no end");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(peer);
    assert_eq!(here.finish().0.code(), Some(0));
    let mut here = Talking::start(&mut sockeye_with(&["connect", &address, "--linger", "0.1"]));
    let (_peer, _) = listener.accept().expect("it connects");
    here.end_input();
    assert_eq!(here.finish().0.code(), Some(0), "the peer never ends");
}

#[test]
fn without_the_half_close_too_a_peer_that_ends_first_still_has_the_rest_of_stdin() {
    let rest = pattern(1_000_000);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("its address"));
    let mut here = Talking::start(&mut sockeye_with(&["connect", &address, "--no-half-close"]));
    let (mut peer, _) = listener.accept().expect("it connects");
    peer.write_all(b"bye").expect("it reads");
    peer.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(here.has(3), b"bye");
    here.write(&rest);
    here.end_input();
    let mut came = Vec::new();
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    peer.read_to_end(&mut came).expect("the rest");
    assert!(came == rest, "{} bytes came", came.len());
    assert_eq!(here.finish().0.code(), Some(0));

    let name: UnixName = format!("@sockeye-ends-first-{}", std::process::id())
        .parse()
        .expect("a name");
    let listener = UnixSeqpacketListener::options().bind_seqpacket(&name);
    let listener = listener.expect("a listener");
    let address = format!("unix:{name}");
    let words = ["connect", &address, "--seqpacket", "--no-half-close"];
    let mut here = Talking::start(&mut sockeye_with(&words));
    let peer = wait::value("a connection", PATIENCE, || listener.accept().ok());
    let (peer, _) = peer;
    peer.send(b"bye").expect("it reads");
    peer.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(here.has(3), b"bye");
    here.write(&rest);
    here.end_input();
    let (mut came, mut room) = (Vec::new(), vec![0; 64 * 1024]);
    wait::until("the rest and its end", PATIENCE, || {
        match peer.recv_message(&mut room) {
            Ok(Some(len)) => {
                came.extend_from_slice(&room[..len]);
                false
            }
            Ok(None) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    });
    assert!(came == rest, "{} bytes came", came.len());
    assert_eq!(here.finish().0.code(), Some(0));
}

#[test]
fn silence_ends_it_with_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let here = Talking::start(&mut sockeye_with(&[
        "connect",
        &format!("tcp://{address}"),
        "-w",
        "0.2",
    ]));
    let (_peer, _) = listener.accept().expect("it connects");
    let (status, _, said) = here.finish();
    assert_eq!(status.code(), Some(0), "{said:?}");
}

#[test]
fn lines_become_datagrams_with_cr_lf() {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a port");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let address = format!("udp://{}", peer.local_addr().expect("its address"));
    let mut here = Talking::start(&mut sockeye_with(&["connect", &address, "--line", "--crlf"]));
    here.write(b"one\ntwo\n\nthree");
    here.end_input();
    for expected in [&b"one\r\n"[..], b"two\r\n", b"\r\n", b"three"] {
        let mut room = [0; 64];
        let len = peer.recv(&mut room).expect("a datagram");
        assert_eq!(&room[..len], expected);
    }
    assert_eq!(here.finish().0.code(), Some(0));
}

#[test]
fn a_hex_dump_shows_hostile_bytes_and_the_tee_has_them() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("its address"));
    let folder = tempfile::tempdir().expect("a folder");
    let tee = folder.path().join("tee");
    let mut command = sockeye_with(&["connect", &address, "-x", "--tee"]);
    let mut here = Talking::start(command.arg(&tee));
    let (mut peer, _) = listener.accept().expect("it connects");
    let hostile: Vec<u8> = (0..=255).chain(*b"\x1b]0;owned\x07\xe2\x80\xae").collect();
    here.write(b"\x1b[31mhi\n");
    peer.read_exact(&mut [0; 8]).expect("what was sent");
    peer.write_all(&hostile).expect("it reads");
    drop(peer);
    here.end_input();
    let (status, came, said) = here.finish();
    assert_eq!(status.code(), Some(0), "{said:?}");
    let text = String::from_utf8(came).expect("a dump is ASCII");
    assert!(
        text.chars().all(|letter| matches!(letter, ' '..='~' | '\n')),
        "{text}"
    );
    assert!(text.contains("> 00000000  1b 5b 33 31 6d 68 69 0a"), "{text}");
    assert!(text.contains("|.[31mhi.|"), "{text}");
    assert!(text.contains("< 00000100  1b 5d 30 3b"), "{text}");
    assert_eq!(std::fs::read(tee).expect("the file"), hostile);
}
