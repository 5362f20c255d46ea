//! What the program says about arguments that make no sense, and how it ends then.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn sockeye(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sockeye"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn fails(arguments: &[&str], status: i32, said: &[&str]) {
    let output = sockeye(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?}: stdout is for data");
    assert!(!stderr.contains("panicked"), "{stderr}");
    for words in said {
        assert!(stderr.contains(words), "{arguments:?}: no {words:?} in: {stderr}");
    }
}

#[test]
fn help_names_the_exit_statuses() {
    let output = sockeye(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [
        "serve",
        "connect",
        "bench",
        "3 name resolution",
        "130 interrupted",
    ] {
        assert!(help.contains(words), "no {words:?} in: {help}");
    }
}

#[test]
fn an_unknown_transport_lists_the_known_ones() {
    fails(
        &["serve", "echo", "--listen", "sctp://127.0.0.1:7"],
        2,
        &["sctp://127.0.0.1:7", "unknown scheme", "tcp, udp"],
    );
}

#[test]
fn a_parse_error_names_the_part_and_the_reason() {
    fails(
        &["serve", "echo", "--listen", "tcp://127.0.0.01:7"],
        2,
        &["leading zero", "\"01:7\""],
    );
    fails(
        &["serve", "echo", "--listen", "tcp://::1:80"],
        2,
        &["stands in brackets here: [::1]"],
    );
    fails(
        &["connect", "tcp://127.0.0.1"],
        2,
        &["no port: write tcp://127.0.0.1:PORT"],
    );
}

#[test]
fn what_a_command_cannot_do_is_a_usage_error() {
    fails(&[], 2, &["Usage"]);
    fails(&["serve", "echo"], 2, &["--listen"]);
    fails(
        &["serve", "fly", "--listen", "tcp://127.0.0.1:0"],
        2,
        &["fly", "echo"],
    );
    fails(
        &["serve", "echo", "--listen", "ip+253://127.0.0.1"],
        2,
        &["ip+253://127.0.0.1", "tcp://, udp://, unix:, tls:// and quic://"],
    );
    fails(
        &["serve", "echo", "--shards", "0", "--listen", "tcp://127.0.0.1:0"],
        2,
        &["--shards"],
    );
    fails(
        &["connect", "udplite://127.0.0.1:7"],
        2,
        &["udplite://127.0.0.1:7", "tcp"],
    );
    let quic = "quic://127.0.0.1:443";
    fails(&["listen", quic], 2, &[quic, "tcp://, udp://, tls:// and unix:"]);
    fails(&["connect", quic, "-z"], 2, &[quic, "connect without -z"]);
    fails(
        &["serve", "echo", "--listen", quic],
        2,
        &["quic://", "--cert FILE --key FILE"],
    );
    let tls = ["serve", "echo", "--listen", "tls://127.0.0.1:443"];
    fails(&tls, 2, &["tls://", "--cert FILE --key FILE"]);
    fails(&["serve", "echo", "--listen", "unix:"], 2, &["unix:", "empty"]);
    fails(
        &["serve", "echo", "--listen", "unix:@x", "--unix-mode", "999"],
        2,
        &["999", "octal"],
    );
    fails(
        &["serve", "echo", "--listen", "unix:/no/such/folder.sock"],
        5,
        &["unix:/no/such/folder.sock", "folder"],
    );
    fails(
        &["connect", "unix:/no/such.sock"],
        5,
        &["unix:/no/such.sock", "no such socket"],
    );
    fails(&["bench", "sctp"], 2, &["sctp", "tcp", "udp", "raw"]);
}

#[test]
fn a_port_in_use_names_the_endpoint_and_the_operation() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", taken.local_addr().unwrap());
    fails(
        &["serve", "echo", "--listen", &endpoint],
        5,
        &[&endpoint, "bind", "in use"],
    );
}

#[test]
fn a_refused_connection_is_an_io_error_that_names_the_endpoint() {
    // Bound and closed again: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(
        &["connect", &format!("tcp://{address}")],
        5,
        &[&address.to_string(), "refused"],
    );
}

#[test]
fn a_name_without_an_address_is_a_resolution_error() {
    // RFC 2606 and 6761: `.invalid` never resolves.
    fails(
        &["connect", "tcp://no-such-host.invalid:80"],
        3,
        &["no-such-host.invalid"],
    );
}

#[test]
fn each_help_has_an_example() {
    for command in [
        "serve", "connect", "ping", "trace", "mtu", "explain", "resolve", "dump", "bench",
    ] {
        let output = sockeye(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let example = format!("  sockeye {command}");
        assert!(
            help.contains("Examples:") && help.contains(&example),
            "{command}: {help}"
        );
    }
}

#[test]
fn an_endpoint_given_twice_is_a_usage_error_whatever_the_shards() {
    let listen = ["--listen", "tcp://127.0.0.1:7007"];
    for shards in ["1", "2"] {
        let arguments = [&["serve", "echo", "--shards", shards], &listen[..], &listen[..]].concat();
        fails(&arguments, 2, &["tcp://127.0.0.1:7007", "given twice"]);
    }
}

#[test]
fn to_listen_takes_an_address_and_no_name() {
    fails(
        &["serve", "echo", "--listen", "tcp://localhost:0"],
        2,
        &["tcp://localhost:0", "not on a name: write 127.0.0.1:0"],
    );
}

#[test]
fn whoever_asks_for_events_gets_one_for_a_wrong_command_line_too() {
    let output = sockeye(&["bench", "sctp", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.starts_with(r#"{"schema":1,"event":"error","exit":2,"#),
        "{line}"
    );
    assert!(
        line.contains("sctp") && line.contains("tcp, udp, unix, raw"),
        "{line}"
    );
}

#[test]
fn a_refused_connection_says_what_it_means() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = format!("sockeye: connect tcp://{address}: Connection refused (nothing listens there)\n");
    fails(&["connect", &format!("tcp://{address}")], 5, &[&said]);
}

#[test]
fn a_capture_that_is_none_or_ends_early_is_named() {
    fails(
        &["dump", "--read", "/dev/null"],
        5,
        &["/dev/null is no capture", "first four bytes"],
    );
    fails(
        &["dump", "--read", "/no/such/file"],
        5,
        &["/no/such/file", "No such file"],
    );
}
