//! Which peers may come.

use std::net::IpAddr;

use sockeye::endpoint::NetSet;
use sockeye::event_loop::Peer;

/// The networks of `--allow`; everybody without it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allow(pub(crate) Option<NetSet>);

impl Allow {
    /// Whether this address may come. An IPv4 address that an IPv6 socket shows as mapped is the IPv4 address.
    pub(crate) fn admits_ip(&self, ip: IpAddr) -> bool {
        self.0
            .as_ref()
            .is_none_or(|networks| networks.contains(ip.to_canonical()) || networks.contains(ip))
    }

    /// Whether this peer may come; of Unix sockets the file system decides.
    pub(crate) fn admits(&self, peer: Option<Peer>) -> bool {
        match peer {
            Some(Peer::Ip(address)) => self.admits_ip(address.ip()),
            Some(Peer::Unix { .. }) => true,
            _ => self.0.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_its_own_and_an_unknown_peer_is_nobody() {
        let allow = Allow(Some("192.0.2.0/24,2001:db8::/32".parse().unwrap()));
        for (ip, admitted) in [
            ("192.0.2.7", true),
            ("::ffff:192.0.2.7", true),
            ("2001:db8::1", true),
            ("198.51.100.1", false),
            ("::1", false),
        ] {
            assert_eq!(allow.admits_ip(ip.parse().unwrap()), admitted, "{ip}");
        }
        assert!(!allow.admits(None));
        assert!(Allow::default().admits(None));
    }
}
