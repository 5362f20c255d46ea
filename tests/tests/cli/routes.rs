//! Routes that refuse are named, in the same words by every command.

use std::process::Command;

use sockeye_tests::netns::{self, Namespace};
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

const COMMANDS: [&[&str]; 5] = [
    &["ping", "-c", "1"],
    &["mtu"],
    &["trace", "-U"],
    &["trace", "-I"],
    &["trace", "-T"],
];

fn sockeye(words: &[&str]) -> program::Output {
    program::output(Command::new(program::sockeye()).args(words), PATIENCE)
}

fn add_routes(namespace: &Namespace) {
    namespace.ip("link add d0 type veth peer name d1");
    namespace.ip("link set d0 up");
    namespace.ip("link set d1 up");
    for (kind, network) in [("prohibit", "1"), ("blackhole", "2"), ("unreachable", "3")] {
        namespace.ip(&format!("route add {kind} 198.51.100.{network}/32"));
        namespace.ip(&format!("-6 route add {kind} 2001:db8:{network}::/48"));
    }
}

#[test]
fn a_route_that_refuses_is_named_by_every_command() {
    let name = "routes::a_route_that_refuses_is_named_by_every_command";
    if !require(&[Need::Namespaces]) || !netns::enter(name, add_routes) {
        return;
    }
    for (network, cause) in [
        ("1", "prohibited by a route of this host"),
        ("2", "discarded by a blackhole route of this host"),
        ("3", "host unreachable"),
    ] {
        for address in [format!("198.51.100.{network}"), format!("2001:db8:{network}::1")] {
            for words in COMMANDS {
                let output = sockeye(&[words, &[&address]].concat());
                let said = output.text() + &output.stderr;
                assert!(said.contains(cause), "{words:?} {address}: {said}");
                assert!(
                    matches!(output.status.code(), Some(1 | 5)),
                    "{words:?} {address}: {}",
                    output.status
                );
            }
            let bracketed = if address.contains(':') {
                format!("[{address}]")
            } else {
                address.clone()
            };
            let output = sockeye(&["connect", &format!("tcp://{bracketed}:80")]);
            assert_eq!(output.status.code(), Some(5), "{}", output.stderr);
            let line = format!("sockeye: connect tcp://{bracketed}:80: {cause} (ip route get {address})\n");
            assert_eq!(output.stderr, line);
        }
    }
}

#[test]
fn a_link_local_address_without_its_interface_is_told_which_there_are() {
    let name = "routes::a_link_local_address_without_its_interface_is_told_which_there_are";
    if !require(&[Need::Namespaces]) || !netns::enter(name, add_routes) {
        return;
    }
    let serve: &[&str] = &["serve", "echo", "--listen"];
    let mut all: Vec<(&[&str], &str)> = COMMANDS.map(|words| (words, "fe80::1")).to_vec();
    all.extend([
        (&["connect"][..], "tcp://[fe80::1]:80"),
        (serve, "tcp://[fe80::1]:80"),
    ]);
    for (words, address) in all {
        let output = sockeye(&[words, &[address]].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", output.stderr);
        assert!(
            output.stderr.contains("such as fe80::1%d1"),
            "{words:?}: {}",
            output.stderr
        );
        assert!(
            output.stderr.contains("(interfaces: d1, d0, lo)"),
            "{words:?}: {}",
            output.stderr
        );
    }
    let output = sockeye(&["ping", "-c", "1", "fe80::1%nosuch0"]);
    assert!(
        output.stderr.contains("(interfaces: d1, d0, lo)"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_firewall_is_no_route_and_no_missing_privilege() {
    let name = "routes::a_firewall_is_no_route_and_no_missing_privilege";
    let filter = |namespace: &Namespace| {
        for rule in [
            "add table ip t",
            "add chain ip t output { type filter hook output priority 0; }",
            "add rule ip t output ip daddr 127.0.0.2 drop",
        ] {
            namespace.run("nft", &[rule]);
        }
    };
    if !require(&[Need::Namespaces, Need::program("nft")]) || !netns::enter(name, filter) {
        return;
    }
    let connect = sockeye(&["connect", "tcp://127.0.0.2:80", "--timeout", "1"]);
    assert_eq!(connect.status.code(), Some(5), "{}", connect.stderr);
    assert!(!connect.stderr.contains("CAP_"), "{}", connect.stderr);
    let ping = sockeye(&["ping", "-c", "1", "127.0.0.2"]);
    assert_eq!(ping.status.code(), Some(1));
    assert!(ping.text().contains("prohibited by a filter"), "{}", ping.text());
}
