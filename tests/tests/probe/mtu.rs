//! `sockeye mtu` finds the narrow link, whether or not anybody speaks of it.

use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

use crate::path::{HOPS, Path, SERVER};

/// The server as a target of UDP probes; nobody listens there.
const UDP: [&str; 2] = ["udp://10.0.2.2:9", "udp://[fd00:2::2]:9"];

#[test]
fn the_mtu_of_a_narrowed_link_as_its_router_reports_it() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    path.narrow(1400);
    for family in [0, 1] {
        for target in [SERVER[family], UDP[family]] {
            let told = path.run(&["mtu", target]);
            let end = told.end();
            assert_eq!(
                (&end["mtu"], &end["limit"]),
                (&1400.into(), &"router".into()),
                "{target}: {end}"
            );
            assert_eq!(end["router"], HOPS[family][0]);
            assert_eq!(told.status, Some(0));
        }
    }
}

#[test]
fn the_links_own_mtu_where_nothing_is_narrower() {
    if !require(&[Need::Namespaces]) {
        return;
    }
    let path = Path::new();
    for target in [SERVER[0], SERVER[1], UDP[0], UDP[1]] {
        let told = path.run(&["mtu", target]);
        let end = told.end();
        assert_eq!(
            (&end["mtu"], &end["limit"]),
            (&1500.into(), &"local".into()),
            "{target}: {end}"
        );
    }
}

#[test]
fn the_mtu_also_where_routers_may_not_say_it() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    path.narrow(1387);
    Path::filter(
        &path.first,
        &[
            ("output", "icmp type destination-unreachable drop"),
            ("output", "icmpv6 type packet-too-big drop"),
        ],
    );
    for target in [SERVER[0], SERVER[1], UDP[0], UDP[1]] {
        let told = path.run(&["mtu", "-W", "0.3", "-i", "0.05", target]);
        let end = told.end();
        assert_eq!(
            (&end["mtu"], &end["limit"]),
            (&1387.into(), &"silence".into()),
            "{target}: {end}"
        );
        assert_eq!(told.status, Some(0));
    }
}

#[test]
fn the_mtu_where_all_icmp_is_dropped_and_a_port_echoes() {
    if !require(&[Need::Namespaces, Need::program("nft")]) {
        return;
    }
    let path = Path::new();
    path.narrow(1450);
    for router in [&path.first, &path.second] {
        Path::filter(
            router,
            &[
                ("output", "icmp type != 255 drop"),
                ("forward", "ip protocol icmp drop"),
                ("output", "icmpv6 type packet-too-big drop"),
                (
                    "forward",
                    "icmpv6 type { echo-request, echo-reply, destination-unreachable } drop",
                ),
            ],
        );
    }
    let mut serve = path.server.command(&program::sockeye().to_string_lossy());
    serve.args([
        "serve",
        "echo",
        "--listen",
        "udp://10.0.2.2:7007",
        "--listen",
        "udp://[fd00:2::2]:7007",
    ]);
    let server = Running::start(&mut serve);
    server.line(PATIENCE);
    server.line(PATIENCE);
    let silent = path.run(&["mtu", "-W", "0.3", "-i", "0.05", SERVER[0]]);
    assert_eq!(silent.end()["outcome"], "no_answer");
    assert_eq!(silent.status, Some(1));
    for target in ["udp://10.0.2.2:7007", "udp://[fd00:2::2]:7007"] {
        let told = path.run(&["mtu", "-W", "0.3", "-i", "0.05", target]);
        let end = told.end();
        assert_eq!(
            (&end["mtu"], &end["limit"]),
            (&1450.into(), &"silence".into()),
            "{target}: {end}"
        );
    }
}
