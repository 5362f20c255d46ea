//! An ordinary user, without any capability.

use std::process::Command;

use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};

use crate::path::{HOPS, Path, SERVER, Told};

const SETPRIV: Need = Need::Program {
    name: "setpriv",
    package: "util-linux",
};

/// `sockeye` on the client with no capability in any set and none to be had. Where this process may become somebody
/// else, as somebody else; in a user namespace of our own there is nobody else to become.
fn unprivileged(path: &Path, words: &[&str]) -> Command {
    let mut command = path.client.command("setpriv");
    if Need::NetAdmin.is_met() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    } else {
        command.args(["--securebits=+noroot,+noroot_locked"]);
    }
    command.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]);
    command.arg(program::sockeye()).args(words);
    command
}

/// Lets the group of [`unprivileged`] have ping sockets.
fn allow_ping_sockets(path: &Path) {
    let group = if Need::NetAdmin.is_met() {
        "65534 65534"
    } else {
        "0 0"
    };
    path.client.sysctl("net/ipv4/ping_group_range", group);
}

#[test]
fn ping_and_icmp_work_over_ping_sockets_without_any_capability() {
    if !require(&[Need::Namespaces, SETPRIV]) {
        return;
    }
    let path = Path::new();
    allow_ping_sockets(&path);
    for (family, address) in SERVER.into_iter().enumerate() {
        let told = Told::of(&mut unprivileged(
            &path,
            &["ping", "-c", "3", "-i", "0.01", address],
        ));
        assert_eq!(told.events[0]["mode"], "ping-socket", "{}", told.stderr);
        assert_eq!(told.result()["received"], 3, "{}", told.result());
        assert_eq!(told.status, Some(0));

        let told = Told::of(&mut unprivileged(&path, &["ping", "-c", "1", "-t", "1", address]));
        let failed = told
            .events
            .iter()
            .find(|event| event["event"] == "failed")
            .expect("a failure");
        assert_eq!(failed["offender"], HOPS[family][0], "from the error queue");

        let told = Told::of(&mut unprivileged(&path, &["trace", "-I", address]));
        assert_eq!(told.events[0]["mode"], "ping-socket");
        let hops = told.end()["hops"].as_array().expect("hops");
        let found: Vec<_> = hops
            .iter()
            .map(|hop| hop["probes"][0]["from"].as_str().unwrap_or("*"))
            .collect();
        assert_eq!(found, HOPS[family]);
    }
    path.narrow(1400);
    for address in SERVER {
        let told = Told::of(&mut unprivileged(&path, &["mtu", address]));
        assert_eq!(told.events[0]["mode"], "ping-socket");
        assert_eq!(told.end()["mtu"], 1400, "{}", told.end());
    }
}

#[test]
fn udp_traces_and_path_mtu_need_nothing_at_all() {
    if !require(&[Need::Namespaces, SETPRIV]) {
        return;
    }
    let path = Path::new();
    path.narrow(1400);
    for (family, address) in SERVER.into_iter().enumerate() {
        for flow in [None, Some("--classic")] {
            let mut words = vec!["trace", address];
            words.extend(flow);
            let told = Told::of(&mut unprivileged(&path, &words));
            assert_eq!(told.events[0]["mode"], "udp", "{}", told.stderr);
            let hops = told.end()["hops"].as_array().expect("hops");
            let found: Vec<_> = hops
                .iter()
                .map(|hop| hop["probes"][0]["from"].as_str().unwrap_or("*"))
                .collect();
            assert_eq!(found, HOPS[family]);
        }
    }
    let told = Told::of(&mut unprivileged(&path, &["mtu", "udp://10.0.2.2:9"]));
    assert_eq!(told.end()["mtu"], 1400, "{}", told.end());
}

#[test]
fn without_capability_and_without_ping_group_the_message_says_what_would_help() {
    if !require(&[Need::Namespaces, SETPRIV]) {
        return;
    }
    let path = Path::new();
    for words in [
        ["ping", "-c1", SERVER[0]],
        ["trace", "-I", SERVER[0]],
        ["trace", "-T", SERVER[0]],
        ["mtu", "-c1", SERVER[0]],
    ] {
        let told = Told::of(&mut unprivileged(&path, &words));
        assert_eq!(told.status, Some(4), "{words:?}: {}", told.stderr);
        assert!(told.stderr.contains("CAP_NET_RAW"), "{words:?}: {}", told.stderr);
        assert_eq!(told.events.last().expect("an event")["event"], "error");
    }
}
