//! Hosts in a row, in namespaces of their own: a client, routers, a server.
//!
//! Link `n`, from 1, is 10.0.n.0/24 and fd00:n::/64, its left end 1 and its right end 2: so hop `n` is 10.0.n.2.

use sockeye_tests::netns::{Namespace, World};

pub struct Chain {
    /// From the client to the server.
    pub hosts: Vec<Namespace>,
    _world: World,
}

impl Chain {
    /// A client and a server with so many routers between them.
    pub fn new(routers: usize) -> Self {
        let world = World::new();
        let hosts: Vec<Namespace> = (0..routers + 2).map(|_| world.namespace()).collect();
        let links = routers + 1;
        for host in &hosts {
            // Kernels send few errors to one host; here all of them matter.
            host.sysctl("net/ipv4/icmp_ratelimit", "0");
            host.sysctl("net/ipv6/icmp/ratelimit", "0");
            host.sysctl("net/ipv4/ip_forward", "1");
            host.sysctl("net/ipv6/conf/all/forwarding", "1");
        }
        for link in 1..=links {
            let ends = [1, 2].map(|end| [format!("10.0.{link}.{end}/24"), format!("fd00:{link}::{end}/64")]);
            let [left, right] = ends
                .each_ref()
                .map(|addresses| addresses.each_ref().map(String::as_str));
            hosts[link - 1].veth("right", &left, &hosts[link], "left", &right);
        }
        // Host `at` has the links `at` to its left and `at + 1` to its right.
        for (at, host) in hosts.iter().enumerate() {
            for link in (1..=links).filter(|&link| link != at && link != at + 1) {
                let (via, end) = if link > at { (at + 1, 2) } else { (at, 1) };
                host.ip(&format!("route add 10.0.{link}.0/24 via 10.0.{via}.{end}"));
                host.ip(&format!("-6 route add fd00:{link}::/64 via fd00:{via}::{end}"));
            }
        }
        Self { hosts, _world: world }
    }

    pub fn client(&self) -> &Namespace {
        &self.hosts[0]
    }

    /// The addresses that answer, in the order of the hops, the server's last.
    pub fn hops(&self, v6: bool) -> Vec<String> {
        let hop = |link| {
            if v6 {
                format!("fd00:{link}::2")
            } else {
                format!("10.0.{link}.2")
            }
        };
        (1..self.hosts.len()).map(hop).collect()
    }
}
