//! The hosts to scan: addresses and networks, walked and never listed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sockeye_endpoint::Network;

/// What a [`Scanner`](super::Scanner) scans.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    ranges: Vec<Range>,
    /// Where the walk is.
    at: usize,
    within: u128,
}

#[derive(Clone, Copy, Debug)]
enum Range {
    Host(SocketAddr),
    Network(Network),
}

impl Range {
    fn len(self) -> u128 {
        match self {
            Self::Host(_) => 1,
            Self::Network(network) => {
                let (first, last) = (bits(network.address()), bits(network.last()));
                (last - first).saturating_add(1)
            }
        }
    }

    fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Host(one), Self::Host(other)) => one == other,
            (Self::Host(host), Self::Network(network)) => {
                host == SocketAddr::new(network.address(), 0) && self.len() == other.len()
            }
            // The zone of a link-local address is one more part of it.
            (Self::Network(network), Self::Host(host)) => {
                network.contains(host.ip()) && host == SocketAddr::new(host.ip(), 0)
            }
            (Self::Network(one), Self::Network(other)) => one.contains_network(&other),
        }
    }

    fn host(self, index: u128) -> SocketAddr {
        match self {
            Self::Host(address) => address,
            Self::Network(network) => {
                let bits = bits(network.address()) + index;
                let ip = match network.address() {
                    // The sum stays within the network.
                    IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
                    IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
                };
                SocketAddr::new(ip, 0)
            }
        }
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Targets {
    pub(super) fn add_host(&mut self, address: SocketAddr) {
        self.add(Range::Host(address));
    }

    pub(super) fn add_network(&mut self, network: Network) {
        self.add(Range::Network(network));
    }

    /// Each address once: two answers from one address could not be told apart. Of two networks that overlap one is
    /// within the other.
    fn add(&mut self, range: Range) {
        if self.ranges.iter().any(|before| before.covers(range)) {
            return;
        }
        // Those that were begun stay.
        let mut index = 0;
        let begun = self.at + usize::from(self.within > 0);
        self.ranges.retain(|before| {
            index += 1;
            index <= begun || !range.covers(*before)
        });
        self.ranges.push(range);
    }

    /// All hosts, those that were walked over too.
    pub(super) fn len(&self) -> u128 {
        let sum = |sum: u128, range: &Range| sum.saturating_add(range.len());
        self.ranges.iter().fold(0, sum)
    }

    pub(super) fn has_family(&self, v6: bool) -> bool {
        self.ranges.iter().any(|range| range.host(0).is_ipv6() == v6)
    }

    pub(super) const fn has_more(&self) -> bool {
        self.at < self.ranges.len()
    }

    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let range = self.ranges.get(self.at)?;
        let host = range.host(self.within);
        self.within += 1;
        if self.within >= range.len() {
            self.at += 1;
            self.within = 0;
        }
        Some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_hosts_are_walked_in_order() {
        let mut targets = Targets::default();
        targets.add_network("192.0.2.252/30".parse().unwrap());
        targets.add_host("[2001:db8::1]:0".parse().unwrap());
        targets.add_network("2001:db8::8/127".parse().unwrap());
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
            targets.add_network(network.parse().unwrap());
            assert_eq!(targets.len(), hosts, "{network}");
        }
        targets.add_host(host("192.0.2.7:0"));
        let walked: Vec<_> = std::iter::from_fn(|| targets.next()).collect();
        assert_eq!(walked.len(), 11);
    }

    #[test]
    fn the_whole_of_ipv6_is_a_number() {
        let mut targets = Targets::default();
        targets.add_network("::/0".parse().unwrap());
        assert_eq!(targets.len(), u128::MAX);
        assert_eq!(targets.next().unwrap().ip(), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    }
}
