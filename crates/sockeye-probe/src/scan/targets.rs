//! The hosts to scan: addresses and networks, walked and never listed.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use sockeye_endpoint::{AddressRange, NetSet, Network};

use crate::wire;

/// What a [`Scanner`](super::Scanner) scans: each address once, as two answers from one could not be told apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    /// No two of them overlap.
    ranges: Vec<Range>,
    /// All addresses of the ranges.
    seen: NetSet,
    /// Those of one interface, which is one more part of a link-local address.
    seen_scoped: HashSet<(IpAddr, u32)>,
    hosts: u128,
    /// Where the walk is.
    at: usize,
    within: u128,
}

#[derive(Clone, Copy, Debug)]
enum Range {
    Host(SocketAddr),
    Addresses(AddressRange),
}

impl Range {
    const fn first(&self) -> IpAddr {
        match self {
            Self::Host(address) => address.ip(),
            Self::Addresses(range) => range.first(),
        }
    }

    fn get(&self, index: u128) -> Option<SocketAddr> {
        match self {
            Self::Host(address) => (index == 0).then_some(*address),
            Self::Addresses(range) => range.get(index).map(|ip| SocketAddr::new(ip, 0)),
        }
    }
}

impl Targets {
    pub(super) fn add_host(&mut self, address: SocketAddr) {
        let (ip, scope) = wire::key(address);
        let is_new = if scope == 0 {
            let is_new = !self.seen.contains(ip);
            self.seen.insert(Network::from(ip));
            is_new
        } else {
            self.seen_scoped.insert((ip, scope))
        };
        if is_new {
            self.hosts = self.hosts.saturating_add(1);
            self.ranges.push(Range::Host(address));
        }
    }

    /// Adds what of the range is not among them yet.
    pub(super) fn add_range(&mut self, range: AddressRange) {
        for missing in self.seen.missing(range) {
            self.hosts = self.hosts.saturating_add(missing.count());
            self.ranges.push(Range::Addresses(missing));
        }
        self.seen.insert_range(range);
    }

    /// All hosts, those that were walked over too.
    pub(super) const fn len(&self) -> u128 {
        self.hosts
    }

    pub(super) fn has_family(&self, v6: bool) -> bool {
        self.ranges.iter().any(|range| range.first().is_ipv6() == v6)
    }

    pub(super) const fn has_more(&self) -> bool {
        self.at < self.ranges.len()
    }

    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let range = self.ranges.get(self.at)?;
        let host = range.get(self.within)?;
        self.within += 1;
        if range.get(self.within).is_none() {
            self.at += 1;
            self.within = 0;
        }
        Some(host)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    impl Targets {
        fn add_network(&mut self, text: &str) {
            self.add_range(text.parse::<Network>().unwrap().into());
        }
    }

    #[test]
    fn networks_and_hosts_are_walked_in_order() {
        let mut targets = Targets::default();
        targets.add_network("192.0.2.252/30");
        targets.add_host("[2001:db8::1]:0".parse().unwrap());
        targets.add_network("2001:db8::8/127");
        assert_eq!(targets.len(), 7);
        let walked: Vec<String> = std::iter::from_fn(|| targets.next())
            .map(|host| host.ip().to_string())
            .collect();
        assert_eq!(
            walked,
            [
                "192.0.2.252",
                "192.0.2.253",
                "192.0.2.254",
                "192.0.2.255",
                "2001:db8::1",
                "2001:db8::8",
                "2001:db8::9"
            ]
        );
        assert_eq!(targets.len(), 7);
    }

    #[test]
    fn an_address_is_walked_once() {
        let mut targets = Targets::default();
        let host = |text: &str| text.parse::<SocketAddr>().unwrap();
        for text in [
            "192.0.2.1:0",
            "192.0.2.1:0",
            "198.51.100.1:0",
            "[fe80::1%2]:0",
            "[fe80::1%3]:0",
        ] {
            targets.add_host(host(text));
        }
        assert_eq!(targets.len(), 4);
        for (network, hosts) in [
            ("192.0.2.0/30", 7),
            ("192.0.2.0/29", 11),
            ("192.0.2.4/32", 11),
            ("198.51.100.1/32", 11),
        ] {
            targets.add_network(network);
            assert_eq!(targets.len(), hosts, "{network}");
        }
        targets.add_host(host("192.0.2.7:0"));
        let walked: Vec<_> = std::iter::from_fn(|| targets.next()).collect();
        assert_eq!(walked.len(), 11);
    }

    #[test]
    fn a_network_around_hosts_that_were_walked_is_what_is_left_of_it() {
        let mut targets = Targets::default();
        for text in ["192.0.2.1:0", "192.0.2.6:0", "[fe80::1%2]:0"] {
            targets.add_host(text.parse().unwrap());
        }
        let mut walked: Vec<_> = std::iter::from_fn(|| targets.next()).collect();
        targets.add_network("192.0.2.0/30");
        walked.extend(targets.next());
        targets.add_network("192.0.2.0/29");
        targets.add_network("fe80::/127");
        walked.extend(std::iter::from_fn(|| targets.next()));
        let apart: std::collections::BTreeSet<_> = walked.iter().collect();
        assert_eq!(
            (walked.len(), apart.len(), targets.len()),
            (11, 11, 11),
            "{walked:?}"
        );
    }

    /// Each by itself and networks around some of them: with a look at all others each time this takes minutes.
    #[test]
    fn a_hundred_thousand_hosts_are_added_one_by_one() {
        let mut targets = Targets::default();
        let host = |number: u32| Ipv4Addr::from_bits(0x0a00_0000 + number * 37);
        for number in (0..100_000).chain(0..100_000) {
            targets.add_host(SocketAddr::new(host(number).into(), 0));
        }
        assert_eq!(targets.len(), 100_000);
        for number in 0..100_000 {
            let network = Network::of(host(number).into(), 31).unwrap();
            targets.add_range(network.into());
        }
        assert_eq!(targets.len(), 200_000);
        assert_eq!(std::iter::from_fn(|| targets.next()).count(), 200_000);
    }

    #[test]
    fn the_whole_of_ipv6_is_a_number() {
        let mut targets = Targets::default();
        targets.add_network("::/0");
        assert_eq!(targets.len(), u128::MAX);
        assert_eq!(targets.next().unwrap().ip(), IpAddr::from([0; 16]));
    }
}
