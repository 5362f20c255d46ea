//! The example `router` between namespaces: the kernel's own network code at both ends.

use std::net::{Ipv4Addr, Ipv6Addr};

use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{Need, require};
use sockeye_tests::wait::PATIENCE;

/// Two hosts and the router between them.
struct Path {
    left: Namespace,
    right: Namespace,
    router: Running,
    /// It lives as long as the router.
    _between: Namespace,
    _world: World,
}

const LEFT: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
);
const RIGHT: (&str, &str) = ("198.51.100.1", "2001:db8:2::1");

impl Path {
    /// The hosts have routes by the router; `nat` hides the left one, whose network the right one then has no route to.
    fn new(nat: bool) -> Self {
        let world = World::new();
        let (left, between, right) = (world.namespace(), world.namespace(), world.namespace());
        let (v4, v6) = (format!("{}/24", LEFT.0), format!("{}/64", LEFT.1));
        left.veth("l0", &[&v4, &v6], &between, "r0", &[]);
        right.veth(
            "s0",
            &["198.51.100.1/24", "2001:db8:2::1/64"],
            &between,
            "r1",
            &[],
        );
        // The kernel between them forwards nothing and answers nobody.
        between.sysctl("net/ipv4/ip_forward", "0");
        for link in ["r0", "r1"] {
            between.sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1");
        }
        // Of the errors that an end sends in a burst it holds back all but the first.
        right.sysctl("net/ipv4/icmp_ratelimit", "0");
        right.sysctl("net/ipv6/icmp/ratelimit", "0");
        left.ip("route add default via 192.0.2.254");
        left.ip("-6 route add default via 2001:db8:1::fe");
        if !nat {
            right.ip("route add default via 198.51.100.254");
        }
        right.ip("-6 route add default via 2001:db8:2::fe");
        // A veth pair hands over what a real interface would cut into segments.
        left.ip("link set l0 gso_max_segs 1");
        right.ip("link set s0 gso_max_segs 1");
        let router = program::build("sockeye-link", &["--example", "router"], "router");
        let mut command = between.command(&router.to_string_lossy());
        command.args([
            "r0,192.0.2.254/24,2001:db8:1::fe/64",
            "r1,198.51.100.254/24,2001:db8:2::fe/64,mtu=1400",
        ]);
        if nat {
            command.args(["--nat", "r1"]);
        }
        let router = Running::start(&mut command);
        assert_eq!(router.line(PATIENCE), "ready");
        Self {
            left,
            right,
            router,
            _between: between,
            _world: world,
        }
    }

    /// What the program prints, whatever its status.
    fn tried(&self, program: &str, words: &str) -> String {
        let words: Vec<_> = words.split_whitespace().collect();
        let output = program::output(self.left.command(program).args(words), PATIENCE);
        format!("{}{}", output.text(), output.stderr)
    }

    fn ping(&self, words: &str) {
        self.left
            .run("ping", &words.split_whitespace().collect::<Vec<_>>());
    }

    fn trace(&self, words: &[&str]) -> Vec<String> {
        let path = program::sockeye().to_string_lossy();
        let mut command = self.left.command(&path);
        let output = program::output(command.args(["trace", "--json"]).args(words), PATIENCE);
        assert!(output.status.success(), "{}", output.stderr);
        output.text().lines().map(str::to_owned).collect()
    }

    fn iperf3(&self, words: &str) {
        let mut server = Running::start(self.right.command("iperf3").args(["-s", "-1", "--forceflush"]));
        server.line_with(PATIENCE, |line| line.contains("Server listening"));
        let words: Vec<_> = words.split_whitespace().collect();
        let output = program::output(self.left.command("iperf3").args(words), PATIENCE);
        assert!(output.status.success(), "{}{}", output.text(), output.stderr);
        server.wait(PATIENCE);
    }

    /// Ends the router, and returns its counters.
    fn counters(mut self) -> String {
        drop(self.router.stdin());
        let line = self
            .router
            .line_with(PATIENCE, |line| line.starts_with("Counters"));
        assert!(self.router.wait(PATIENCE).success());
        line
    }
}

fn needs() -> [Need; 4] {
    [
        Need::Namespaces,
        Need::program("ping"),
        Need::program("iperf3"),
        Need::program("traceroute"),
    ]
}

#[test]
fn packets_cross_and_errors_come_back() {
    if !require(&needs()) {
        return;
    }
    let path = Path::new(false);
    path.ping("-c3 -i0.05 -W20 198.51.100.1");
    path.ping("-6 -c3 -i0.05 -W20 2001:db8:2::1");
    // The router itself.
    path.ping("-c1 -W20 198.51.100.254");
    path.ping("-6 -c1 -W20 2001:db8:2::fe");
    // Cut into fragments on the way, and put together at the end.
    path.ping("-c2 -i0.05 -W20 -M dont -s 1472 198.51.100.1");
    let text = path.tried("ping", "-c1 -W20 203.0.113.9");
    assert!(text.contains("Net Unreachable"), "{text}");
    let text = path.tried("ping", "-6 -c1 -W20 2001:db8:9::1");
    assert!(text.contains("No route"), "{text}");
    let text = path.tried("ping", "-c1 -W20 198.51.100.99");
    assert!(text.contains("Host Unreachable"), "{text}");
    let text = path.tried("ping", "-c1 -W20 -t1 198.51.100.1");
    assert!(text.contains("Time to live exceeded"), "{text}");
    let counters = path.counters();
    assert!(counters.contains("malformed: 0"), "{counters}");
    assert!(counters.contains("no_route: 2"), "{counters}");
}

#[test]
fn a_trace_shows_the_router_as_a_hop() {
    if !require(&needs()) {
        return;
    }
    let path = Path::new(false);
    for (target, router) in [(RIGHT.0, "192.0.2.254"), (RIGHT.1, "2001:db8:1::fe")] {
        for method in ["-I", "-U", "-T"] {
            let lines = path.trace(&[method, "-n", target]);
            let at = |address: &str| {
                let address = format!("\"{address}\"");
                lines
                    .iter()
                    .position(|line| line.contains(&address) && line.contains("\"hop"))
            };
            let (hop, end) = (at(router), at(target));
            assert!(
                hop.is_some() && end.is_some() && hop < end,
                "{method} {target}: {lines:#?}"
            );
        }
        let text = path.tried("traceroute", &format!("-n -q1 -w5 {target}"));
        let hops: Vec<_> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!(hops, [router, target], "{text}");
    }
}

#[test]
fn the_path_mtu_is_found() {
    if !require(&needs()) {
        return;
    }
    let path = Path::new(false);
    let text = path.tried("ping", "-c1 -W20 -M do -s 1400 198.51.100.1");
    assert!(text.contains("mtu = 1400") || text.contains("mtu=1400"), "{text}");
    assert!(path.left.ip("route get 198.51.100.1").contains("mtu 1400"));
    let text = path.tried("ping", "-6 -c1 -W20 -M do -s 1400 2001:db8:2::1");
    assert!(text.contains("mtu = 1400") || text.contains("mtu=1400"), "{text}");
    assert!(path.left.ip("-6 route get 2001:db8:2::1").contains("mtu 1400"));
    // What fits goes.
    path.ping("-c1 -W20 -M do -s 1372 198.51.100.1");
    path.ping("-6 -c1 -W20 -M do -s 1352 2001:db8:2::1");
    let counters = path.counters();
    assert!(counters.contains("too_big: 2"), "{counters}");
}

#[test]
fn bulk_transfers_pass_both_ways() {
    if !require(&needs()) {
        return;
    }
    let path = Path::new(false);
    for words in [
        "-c 198.51.100.1 -n 4M",
        "-c 198.51.100.1 -n 4M -R",
        "-6 -c 2001:db8:2::1 -n 4M",
        "-c 198.51.100.1 -u -b 5M -l 1000 -n 500K",
    ] {
        path.iperf3(words);
    }
    let counters = path.counters();
    assert!(counters.contains("malformed: 0"), "{counters}");
}

#[test]
fn hosts_behind_one_address_reach_the_other_side() {
    if !require(&needs()) {
        return;
    }
    let path = Path::new(true);
    path.ping("-c3 -i0.05 -W20 198.51.100.1");
    // IPv6 is not translated.
    path.ping("-6 -c1 -W20 2001:db8:2::1");
    path.iperf3("-c 198.51.100.1 -n 4M");
    path.iperf3("-c 198.51.100.1 -n 2M -R");
    // The error of the last hop quotes the outer address, and is told of the inner one.
    let text = path.tried("traceroute", "-n -q1 -w5 198.51.100.1");
    let hops: Vec<_> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(hops, ["192.0.2.254", "198.51.100.1"], "{text}");
    // From outside nobody begins.
    let output = program::output(
        path.right.command("ping").args(["-c1", "-W1", "192.0.2.1"]),
        PATIENCE,
    );
    assert!(!output.status.success());
    let counters = path.counters();
    assert!(counters.contains("not_translated: 0"), "{counters}");
}
