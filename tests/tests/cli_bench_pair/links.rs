//! Links that lose and that queue, in network namespaces: the figures are what the link has done.

use std::process::Command;

use sockeye_tests::netns::enter;
use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};

use super::ground::{Server, client, number};

/// A command of the namespace's own.
#[track_caller]
fn system(words: &str) -> String {
    let mut words = words.split_whitespace();
    let name = words.next().expect("a program");
    let path = program::find(name).expect("a program");
    let output = program::output(Command::new(path).args(words), super::ground::LIMIT);
    assert!(output.status.success(), "{name}: {}", output.stderr);
    output.text()
}

/// Every fifth datagram of data goes: no more and no less is told as lost.
#[test]
fn what_a_filter_drops_is_what_is_lost() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    if !enter("links::what_a_filter_drops_is_what_is_lost", |_| {}) {
        return;
    }
    // Each datagram by itself, also where several were sent at once.
    system("ip link set lo gso_max_segs 1");
    system("nft add table ip t");
    system("nft add chain ip t in { type filter hook input priority 0 ; }");
    // 1000 bytes, the header of UDP and that of IPv4: joins are shorter.
    system("nft add rule ip t in meta l4proto udp ip length 1028 numgen inc mod 5 == 0 counter drop");
    let server = Server::local();
    for direction in ["up", "down"] {
        let mut words = vec![
            server.target("udp://"),
            "-l",
            "1000",
            "-k",
            "500",
            "-b",
            "8M",
            "--idle",
            "0",
        ];
        if direction == "down" {
            words.push("-R");
        }
        let end = client(&words);
        let lost = number(&end, &format!("/{direction}/datagrams/lost"));
        assert_eq!(number(&end, &format!("/{direction}/sent_messages")), 500);
        assert_eq!(
            number(&end, &format!("/{direction}/received_messages")),
            400,
            "{end}"
        );
        assert_eq!(lost, 100, "{end}");
        let percent = end[direction]["loss_percent"].as_f64().expect("a percentage");
        assert!((percent - 20.0).abs() < 1e-9, "{percent}");
    }
    let rules = system("nft list ruleset");
    assert!(rules.contains("packets 200"), "{rules}");
}

/// A queue of 100 kB at 20 Mbit/s holds 40 ms: who waits behind it waits that long, on however fast a machine.
#[test]
fn a_queue_on_the_way_is_seen_while_it_is_loaded() {
    if !require(&[Need::Namespaces, Need::program("tc")]) {
        return;
    }
    if !enter("links::a_queue_on_the_way_is_seen_while_it_is_loaded", |_| {}) {
        return;
    }
    system("ip link set lo mtu 1500");
    system("tc qdisc add dev lo root tbf rate 20mbit burst 10000 limit 100000");
    let server = Server::local();
    let end = client(&[server.target("tcp://"), "-n", "4M", "--idle", "0.3"]);
    assert_eq!(number(&end, "/up/received_bytes"), 4 << 20);
    // 4 MiB at 20 Mbit/s, less what the bucket has at the start.
    assert!(number(&end, "/up/elapsed_ns") > 1_600_000_000, "{end}");
    // A sender that has filled the queue once halves its window at most: half of 40 ms is there most of the time.
    let loaded = number(&end, "/latency_ns/loaded/p90");
    assert!(loaded > 20_000_000, "{end}");
    // And the quickest before the load had nothing to wait behind.
    assert!(number(&end, "/latency_ns/idle/min") < loaded, "{end}");
    let [idle, loaded] = ["idle", "loaded"].map(|name| end["round_trips_per_minute"][name].as_f64());
    assert!(
        idle.is_some() && loaded.is_some_and(|loaded| loaded < 6000.0),
        "{end}"
    );
}
