//! What makes no sense is said before anything starts; what fails says what to do.

use std::process::Command;

use sockeye::endpoint::UnixName;
use sockeye::socket::OpError;
use sockeye::tcp::ConnectOptions as TcpConnect;
use sockeye::unix::{UnixDatagram, UnixStream};
use sockeye_tests::ports::free_port;
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::talking::{Talking, sockeye_with};
use sockeye_tests::wait::PATIENCE;

#[track_caller]
fn refused(words: &[&str], status: i32, said: &str) {
    let mut command = Command::new(program::sockeye());
    let output = program::output(command.args(words), PATIENCE);
    assert_eq!(output.status.code(), Some(status), "{words:?}: {}", output.stderr);
    assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
    // Who asked for events gets one of the error.
    assert_eq!(output.stdout.is_empty(), !words.contains(&"--json"), "{words:?}");
}

#[test]
fn options_that_do_not_go_together() {
    let tcp = "tcp://127.0.0.1:0";
    for (words, said) in [
        (
            &["listen", "tcp://0.0.0.0:0", "--exec", "date"][..],
            "--allow NETS",
        ),
        (&["listen", "tcp://[::]:0", "--exec", "date"], "--allow NETS"),
        (
            &["listen", "tcp://[::ffff:0.0.0.0]:0", "--exec", "date"],
            "--allow NETS",
        ),
        (
            &["listen", "udp://127.0.0.1:0", "--exec", "date"],
            "connections of streams",
        ),
        (&["listen", "udp://127.0.0.1:0", tcp], "one address only"),
        (&["listen", tcp, "--exec", "date", "--line"], "--line"),
        (&["listen", tcp, "--json"], "--json is for --exec"),
        (&["listen", tcp, "--max-connections", "2"], "--exec"),
        (&["listen", tcp, "--tee", "-"], "stdout has the bytes already"),
        (&["listen", "tls://127.0.0.1:0"], "--cert FILE --key FILE"),
        (
            &["listen", "tls://127.0.0.1:0", "--cert", "-", "--key", "-"],
            "one stdin only",
        ),
        (
            &["listen", "tls://127.0.0.1:0", "--cert", "c", "--key", "-"],
            "stdin is what the peer is sent",
        ),
        (&["listen", "unix:@x", "--allow", "127.0.0.0/8"], "permissions"),
        (&["listen", tcp, "--allow", ""], "expected such as 127.0.0.1"),
        (&["listen", "quic://127.0.0.1:0"], "cannot be used here"),
        (
            &["connect", "tls://127.0.0.1:1", "--ca", "-"],
            "stdin is what the peer is sent",
        ),
        (&["connect", "tcp://127.0.0.1:1", "--insecure"], "are for tls://"),
        (&["connect", "tcp://127.0.0.1:1", "--datagram"], "are for unix:"),
        (&["connect", "tcp://127.0.0.1:1", "--json"], "--json is for -z"),
        (&["connect", "tcp://127.0.0.1:1", "-z", "--hex"], "--hex"),
        (&["connect", "tcp://127.0.0.1:1", "--ports", "1-2"], "--zero"),
        (&["connect", "unix:@x", "--source", "127.0.0.1"], "no --source"),
        (
            &["connect", "tcp://127.0.0.1:1", "--source", "::1"],
            "no address of that family",
        ),
    ] {
        refused(words, 2, said);
    }
    refused(&["connect", "tcp://127.0.0.1:1", "-6"], 3, "has no IPv6 address");
}

#[test]
fn a_port_in_use_names_its_holder() {
    for (address, kind) in [
        ("tcp://127.0.0.1:0", &[][..]),
        ("udp://127.0.0.1:0", &[]),
        ("unix:@sockeye-held", &[]),
        ("unix:@sockeye-held-datagram", &["--datagram"]),
        ("unix:@sockeye-held-seqpacket", &["--seqpacket"]),
    ] {
        let name = address.replace("held", &std::process::id().to_string());
        let (holder, address) = Talking::listen(&[&[name.as_str()], kind].concat());
        let said = format!("in use, by sockeye ({})", holder.pid());
        refused(&[&["listen", address.as_str()], kind].concat(), 5, &said);
    }
}

#[test]
fn the_error_of_an_operation_is_found_in_a_chain() {
    fn operation(error: &dyn std::error::Error) -> Option<&OpError> {
        error.source()?.downcast_ref()
    }
    let nowhere = UnixName::parse("/no/such/folder/socket").expect("a name");
    let bound = UnixDatagram::options().bind(&nowhere).expect_err("no folder");
    let connected = UnixStream::start_connect(&nowhere).expect_err("no socket");
    for error in [operation(&bound), operation(&connected)] {
        let error = error.expect("the operation");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        assert!([error.local_name(), error.peer_name()].contains(&Some(nowhere)));
    }
    // An address for documentation, which no host has (RFC 5737).
    let stranger = "192.0.2.1:0".parse().expect("an address");
    let to = "127.0.0.1:1".parse().expect("an address");
    let connected = TcpConnect::new().local(stranger).start(to);
    let error = connected.expect_err("nobody has that address");
    assert!(operation(&error).is_some_and(|error| error.advice().is_some()));
}

#[test]
fn who_does_not_answer_is_said_with_what_to_do() {
    let port = free_port();
    refused(
        &["connect", &format!("tcp://127.0.0.1:{port}")],
        5,
        "nothing listens there",
    );
    refused(
        &["connect", "unix:/no/such/socket", "--datagram"],
        5,
        "there is no such socket",
    );
    refused(
        &["connect", "unix:@sockeye-nobody", "--seqpacket"],
        5,
        "nobody listens there",
    );
    let plain = Talking::listen(&["tcp://127.0.0.1:0"]);
    plain.0.write(b"220 plain words\r\n");
    let address = plain.1.replace("tcp", "tls");
    refused(
        &["connect", &address, "--insecure"],
        5,
        "does the peer speak TLS?",
    );
}

#[test]
fn the_source_and_the_interface_are_named_by_their_errors() {
    // An address for documentation, which no host has (RFC 5737).
    for transport in ["tcp", "udp"] {
        let target = format!("{transport}://127.0.0.1:9");
        let source = "--source 192.0.2.1: no interface of this machine has the address 192.0.2.1";
        for more in [&[][..], &["-z"]] {
            let words = ["connect", &target, "--source", "192.0.2.1"];
            refused(&[&words[..], more].concat(), 5, source);
            let words = ["connect", &target, "--interface", "no-such"];
            refused(
                &[&words[..], more].concat(),
                5,
                "--interface no-such: there is no such interface (",
            );
        }
        let held = free_port_of(transport);
        let source = format!("127.0.0.1:{}", held.1);
        let said = format!("--source {source}: port {} is in use", held.1);
        refused(&["connect", &target, "--source", &source], 5, &said);
    }
}

/// A socket that has a port of the loopback, and the port.
fn free_port_of(transport: &str) -> (Box<dyn std::any::Any>, u16) {
    let local = |address: std::io::Result<std::net::SocketAddr>| address.expect("its address").port();
    if transport == "tcp" {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = local(socket.local_addr());
        (Box::new(socket), port)
    } else {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = local(socket.local_addr());
        (Box::new(socket), port)
    }
}

#[test]
fn a_low_source_port_says_what_allows_it() {
    let setpriv = Need::Program {
        name: "setpriv",
        package: "util-linux",
    };
    if !require(&[setpriv, Need::NetRaw]) {
        return;
    }
    for target in ["tcp://127.0.0.1:9", "udp://127.0.0.1:9"] {
        let mut command = crate::server::wrapped("setpriv", &["--inh-caps=-all", "--bounding-set=-all"]);
        command.args(["connect", target, "--source", "127.0.0.1:7"]);
        let output = program::output(&mut command, PATIENCE);
        assert_eq!(output.status.code(), Some(4), "{}", output.stderr);
        let said = "--source 127.0.0.1:7: port 7 is not for every process: leave the port out";
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let cert = write("cert.pem", made.cert.pem());
    let key = write("key.pem", made.signing_key.serialize_pem());
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let stranger = write("stranger.pem", stranger.cert.pem());
    let words = [
        "tls://127.0.0.1:0",
        "--cert",
        &cert,
        "--key",
        &key,
        "-k",
        "--allow",
        "127.0.0.1",
    ];
    let (mut here, address) = Talking::listen(&words);
    refused(
        &["connect", &address, "--ca", &stranger],
        5,
        "--ca FILE names the certificates to trust",
    );
    let other_name = ["connect", &address, "--ca", &cert, "--servername", "example.com"];
    refused(&other_name, 5, "--servername NAME says which name");
    // Whom the connection is for is known behind TLS too.
    let mut from = sockeye_with(&["connect", &address, "--ca", &cert, "--source", "127.0.0.9"]);
    let stranger = Talking::start(&mut from);
    here.says("refused 127.0.0.9");
    drop(stranger);
    let mut there = Talking::start(&mut sockeye_with(&["connect", &address, "--ca", &cert]));
    sockeye_tests::talking::exchange(&mut here, &mut there, b"hello");
}

#[test]
fn a_closed_udp_port_is_told() {
    let port = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.local_addr().expect("its address").port()
    };
    for host in ["127.0.0.1", "[::1]"] {
        let mut command = sockeye_with(&["connect", &format!("udp://{host}:{port}"), "--linger", "20"]);
        let output = program::output_with_input(&mut command, b"x", PATIENCE);
        assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
        assert!(output.stderr.contains("the port is closed"), "{}", output.stderr);
    }
}
