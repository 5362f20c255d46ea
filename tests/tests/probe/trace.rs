//! `sockeye trace` finds what `traceroute` finds.

use sockeye_tests::program;
use sockeye_tests::skip::{Need, require};

use crate::path::{HOPS, LIMIT, Path, SERVER, Told};

/// The address at each hop, as traceroute prints them with `-n -q 1`.
fn traceroute(path: &Path, method: &str, address: &str) -> Vec<String> {
    let mut command = path.client.command("traceroute");
    command.args(["-n", "-q", "1", "-w", "5", method, address]);
    let output = program::output(&mut command, LIMIT);
    assert!(output.status.success(), "{}", output.stderr);
    let hop = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    output.text().lines().skip(1).filter_map(hop).collect()
}

/// The addresses at each hop of ours; each hop has to have one.
fn hops(told: &Told) -> Vec<String> {
    let of_hop = |hop: &serde_json::Value| {
        let probes = hop["probes"].as_array().expect("a hop has probes");
        let mut from: Vec<&str> = probes.iter().filter_map(|probe| probe["from"].as_str()).collect();
        assert_eq!(from.len(), probes.len(), "nothing is lost here: {hop}");
        from.dedup();
        assert_eq!(from.len(), 1, "one router a hop: {hop}");
        from[0].to_owned()
    };
    told.end()["hops"]
        .as_array()
        .expect("hops")
        .iter()
        .map(of_hop)
        .collect()
}

#[test]
fn the_same_hops_as_traceroute_by_icmp_udp_and_tcp_over_both_families() {
    if !require(&[Need::Namespaces, Need::program("traceroute")]) {
        return;
    }
    let path = Path::new();
    for (family, address) in SERVER.into_iter().enumerate() {
        for method in ["-I", "-U", "-T"] {
            let theirs = traceroute(&path, method, address);
            assert_eq!(theirs, HOPS[family], "traceroute {method} {address}");
            for flow in [None, Some("--classic")] {
                let mut words = vec!["trace", method, address];
                words.extend(flow);
                let told = path.run(&words);
                assert_eq!(hops(&told), theirs, "{words:?}");
                assert_eq!(told.end()["outcome"], "reached", "{words:?}");
                assert_eq!(told.status, Some(0), "{words:?}: {}", told.stderr);
            }
        }
    }
}

#[test]
fn a_router_that_never_answers_is_a_star_and_not_the_end() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    Path::filter(
        &path.first,
        &[
            ("output", "icmp type time-exceeded drop"),
            ("output", "icmpv6 type time-exceeded drop"),
        ],
    );
    for (family, address) in SERVER.into_iter().enumerate() {
        let told = path.run(&["trace", "-W", "0.5", address]);
        let hops = &told.end()["hops"];
        assert_eq!(hops[0]["probes"][0]["kind"], "lost");
        assert_eq!(hops[1]["probes"][0]["from"], HOPS[family][1]);
        assert_eq!(told.end()["hop"], 3);
        assert_eq!(told.status, Some(0));
    }
}

#[test]
fn a_filter_on_the_way_is_named_with_its_place() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    Path::filter(
        &path.second,
        &[(
            "forward",
            "ip protocol udp reject with icmp type admin-prohibited",
        )],
    );
    let told = path.run(&["trace", "-U", SERVER[0]]);
    let end = told.end();
    assert_eq!(end["outcome"], "failed", "{end}");
    assert_eq!(end["cause"], "prohibited by a filter");
    assert_eq!(
        end["hops"].as_array().expect("hops").last().expect("a hop")["probes"][0]["from"],
        HOPS[0][1]
    );
    assert_eq!(told.status, Some(1));
}

#[test]
fn a_listener_behind_a_filter_is_reached_by_tcp() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    Path::filter(&path.second, &[("forward", "ip protocol { udp, icmp } drop")]);
    let silent = path.run(&["trace", "-U", "-t", "4", "-W", "0.3", SERVER[0]]);
    assert_eq!(silent.end()["outcome"], "max_hops");
    assert_eq!(silent.status, Some(1));
    let reached = path.run(&["trace", "-T", "-p", "80", SERVER[0]]);
    assert_eq!(reached.end()["outcome"], "reached");
    assert_eq!(hops(&reached), HOPS[0]);
}
