//! What users of nc, ncat, mtr, traceroute and nmap write first: it works, or the error says what to write.

use sockeye_tests::ports::free_port;
use sockeye_tests::program::{self, Running};
use sockeye_tests::talking::{Talking, exchange, sockeye_with};
use sockeye_tests::wait::PATIENCE;

/// The port behind the last colon.
fn port_of(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

#[test]
fn an_address_needs_no_scheme_anywhere() {
    for at in ["127.0.0.1:0", "[::1]:0", ":0", "0"] {
        let (mut here, address) = Talking::listen(&[at]);
        let host = if at.starts_with('[') { "[::1]" } else { "127.0.0.1" };
        let to = format!("{host}:{}", port_of(&address));
        let mut there = Talking::start(&mut sockeye_with(&["connect", &to]));
        exchange(&mut here, &mut there, b"hello");
        let server = Running::start(&mut sockeye_with(&["serve", "echo", "--listen", at]));
        let said = server.line(PATIENCE);
        assert!(said.contains("tcp://"), "{at}: {said}");
        let relay = Running::start(&mut sockeye_with(&["relay", "--listen", at, "--to", &to]));
        let said = relay.line(PATIENCE);
        assert!(said.contains("tcp://"), "{at}: {said}");
    }
}

#[test]
fn letters_of_nc_mean_here_what_they_mean_there() {
    let (mut here, address) = Talking::listen(&["-u", "-l", "-p", "0"]);
    assert!(address.starts_with("udp://"), "{address}");
    let to = format!("127.0.0.1:{}", port_of(&address));
    let mut there = Talking::start(&mut sockeye_with(&["connect", "-u", &to]));
    exchange(&mut there, &mut here, b"hello");
    // mtr's and traceroute's.
    let output = program::output(&mut sockeye_with(&["trace", "-m", "0", "127.0.0.1"]), PATIENCE);
    assert!(output.stderr.contains("for '--ttl <HOPS>'"), "{}", output.stderr);
}

#[test]
fn a_hyphen_is_all_ports() {
    let output = program::output(
        &mut sockeye_with(&["scan", "-p-", "127.0.0.0/31", "-6"]),
        PATIENCE,
    );
    // What is wrong here is not the ports.
    assert!(output.stderr.contains("of the other family"), "{}", output.stderr);
}

#[test]
fn errors_say_what_to_write() {
    let taken = free_port().to_string();
    for (words, said) in [
        (
            &["connect", "127.0.0.1", "22"][..],
            "tip: did you mean 127.0.0.1:22?",
        ),
        (&["connect", "-u", "::1", "53"], "tip: did you mean [::1]:53?"),
        (&["connect", "localhost"], "no port: write localhost:PORT"),
        (&["connect", &taken], "a port alone: write HOST:"),
        (&["connect", "-l", "22"], "tip: 'sockeye listen ADDRESS'"),
        (
            &["connect", "-u", "tls://127.0.0.1:1"],
            "-u is for addresses of UDP",
        ),
        (&["listen", "-e", "cat"], "tip: --exec COMMAND"),
        (&["listen", "localhost:5555"], "write 127.0.0.1:5555"),
        (&["listen", "127.0.0.1"], "no port: write 127.0.0.1:PORT"),
        (&["listen"], "<ADDRESS>"),
        (
            &["serve", "echo", "--listen", "foo"],
            "neither an address nor a port: write 127.0.0.1:PORT",
        ),
        (
            &["serve", "echo", "--listen", "echo:echo"],
            "not on a name: write 127.0.0.1:7,",
        ),
        (
            &["relay", "--listen", "0", "--to", "90"],
            "a port alone: write HOST:90",
        ),
        (&["trace", "-r", "127.0.0.1"], "tip: --report COUNT"),
        (
            &["scan", "-sS", "127.0.0.1"],
            "TCP connects, which need no privileges",
        ),
        (&["scan", "-Pn", "127.0.0.1"], "tip: every host is scanned"),
        (&["ping", "127.0.0.1:80"], "this transport has no ports: \":80\""),
    ] {
        let output = program::output(&mut sockeye_with(words), PATIENCE);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
        assert!(!output.stderr.contains("at byte"), "{words:?}: {}", output.stderr);
    }
}
