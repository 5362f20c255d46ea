//! What an address is for: reachability, multicast scope, embedded IPv4 addresses.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::special::{Special, special};

/// Whether packets to an address can be expected to get there from anywhere, and if not, why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reachability {
    /// Unicast address space that is allocated for global use.
    Global,
    /// The special-purpose registry does not call this block globally reachable ("N/A" is not "yes").
    Special(&'static Special),
    /// A group, not a host; see [`multicast_scope`].
    Multicast,
    /// `fec0::/10`, deprecated by RFC 3879.
    SiteLocal,
    /// `::/96`, deprecated by RFC 4291 section 2.5.5.1.
    Ipv4Compatible,
    /// IPv6 address space outside 2000::/3, which IANA has not allocated to anybody.
    Unallocated,
    /// A translated address (RFC 6052) whose IPv4 address is not globally reachable.
    Embedded(Ipv4Addr),
}

impl Reachability {
    /// Whether it is [`Reachability::Global`].
    #[must_use]
    pub const fn is_global(self) -> bool {
        matches!(self, Self::Global)
    }
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.pad("globally reachable"),
            Self::Special(block) => {
                write!(
                    f,
                    "{}/{} is {} ({})",
                    block.address, block.prefix_len, block.name, block.rfc
                )
            }
            Self::Multicast => f.pad("a multicast group"),
            Self::SiteLocal => f.pad("fec0::/10 is site-local, deprecated (RFC 3879)"),
            Self::Ipv4Compatible => f.pad("::/96 is IPv4-compatible, deprecated (RFC 4291)"),
            Self::Unallocated => f.pad("outside 2000::/3, not allocated"),
            Self::Embedded(ip) => write!(f, "it embeds {ip}, which is not globally reachable"),
        }
    }
}

/// Whether the address is reachable from anywhere, by the registries, and why not.
///
/// Where the registry says "N/A" (6to4, Teredo, deprecated blocks) the answer is no. The address is taken as it is:
/// `::ffff:8.8.8.8` never appears in a packet, so it is not reachable; its [`canonical`](crate::Endpoint::canonical)
/// form is. [`PublicOnly`](crate::PublicOnly) unwraps by itself.
#[must_use]
pub fn reachability(ip: IpAddr) -> Reachability {
    if let Some(block) = special(ip) {
        if block.globally_reachable != Some(true) {
            return Reachability::Special(block);
        }
        // Of the registered blocks only the well-known NAT64 prefix embeds an address and is called reachable.
        return match embedded_ipv4(ip) {
            Some(Embedded::Nat64(inner)) if !is_globally_reachable(IpAddr::V4(inner)) => {
                Reachability::Embedded(inner)
            }
            _ => Reachability::Global,
        };
    }
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_multicast() => return Reachability::Multicast,
        IpAddr::V4(_) => return Reachability::Global,
        IpAddr::V6(ip) => ip,
    };
    let first = ip.segments()[0];
    match first {
        0x2000..=0x3fff => Reachability::Global,
        0xff00.. => Reachability::Multicast,
        0xfec0..=0xfeff => Reachability::SiteLocal,
        _ if ip.to_bits() >> 32 == 0 => Reachability::Ipv4Compatible,
        _ => Reachability::Unallocated,
    }
}

/// Whether [`reachability`] says that the address is reachable from anywhere.
///
/// ```
/// use sockeye_endpoint::is_globally_reachable;
///
/// assert!(is_globally_reachable("2001:1::3".parse().unwrap()));
/// assert!(!is_globally_reachable("64:ff9b::10.0.0.1".parse().unwrap()));
/// assert!(!is_globally_reachable("224.0.0.1".parse().unwrap()));
/// ```
#[must_use]
pub fn is_globally_reachable(ip: IpAddr) -> bool {
    reachability(ip).is_global()
}

/// How far a multicast group reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MulticastScope {
    /// Scope 0 or 15 of IPv6: reserved.
    Reserved,
    /// One interface: loopback of multicast.
    InterfaceLocal,
    /// One link; in IPv4 `224.0.0.0/24`.
    LinkLocal,
    /// A network that is bounded by its technology (RFC 7346).
    RealmLocal,
    /// The smallest that is configured by hand.
    AdminLocal,
    /// One site; in IPv4 `239.255.0.0/16`.
    SiteLocal,
    /// One organisation; in IPv4 `239.192.0.0/14`, and the rest of `239.0.0.0/8`.
    OrganizationLocal,
    /// Anywhere.
    Global,
    /// A scope value of IPv6 that nobody has assigned.
    Unassigned(u8),
}

impl fmt::Display for MulticastScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Reserved => "reserved",
            Self::InterfaceLocal => "interface-local",
            Self::LinkLocal => "link-local",
            Self::RealmLocal => "realm-local",
            Self::AdminLocal => "admin-local",
            Self::SiteLocal => "site-local",
            Self::OrganizationLocal => "organization-local",
            Self::Global => "global",
            Self::Unassigned(scope) => return write!(f, "unassigned-{scope}"),
        };
        f.pad(name)
    }
}

/// The scope of a multicast address, or `None` for any other.
///
/// # References
///
/// RFC 2365 and RFC 5771 for IPv4, RFC 4291 section 2.7 and RFC 7346 for IPv6.
#[must_use]
pub fn multicast_scope(ip: IpAddr) -> Option<MulticastScope> {
    if !ip.is_multicast() {
        return None;
    }
    Some(match ip {
        IpAddr::V4(ip) => match ip.octets() {
            [224, 0, 0, _] => MulticastScope::LinkLocal,
            [239, 255, ..] => MulticastScope::SiteLocal,
            [239, ..] => MulticastScope::OrganizationLocal,
            _ => MulticastScope::Global,
        },
        IpAddr::V6(ip) => match ip.octets()[1] & 0xf {
            0x0 | 0xf => MulticastScope::Reserved,
            0x1 => MulticastScope::InterfaceLocal,
            0x2 => MulticastScope::LinkLocal,
            0x3 => MulticastScope::RealmLocal,
            0x4 => MulticastScope::AdminLocal,
            0x5 => MulticastScope::SiteLocal,
            0x8 => MulticastScope::OrganizationLocal,
            0xe => MulticastScope::Global,
            scope => MulticastScope::Unassigned(scope),
        },
    })
}

/// An IPv4 address inside an IPv6 address, by how it got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Embedded {
    /// `::ffff:a.b.c.d`: an IPv4 address as an IPv6 socket shows it (RFC 4291 section 2.5.5.2).
    Mapped(Ipv4Addr),
    /// `::a.b.c.d`, deprecated (RFC 4291 section 2.5.5.1). `::` and `::1` are none.
    Compatible(Ipv4Addr),
    /// `2002:aabb:ccdd::/48`: the router of the site (RFC 3056).
    SixToFour(Ipv4Addr),
    /// `2001:0::/32` (RFC 4380 section 4).
    Teredo {
        /// The server that the client has registered with.
        server: Ipv4Addr,
        /// The address and the port (host byte order) of the client as the server saw them.
        client: Ipv4Addr,
        /// See `client`.
        port: u16,
    },
    /// `64:ff9b::a.b.c.d`, translated by NAT64 (RFC 6052).
    Nat64(Ipv4Addr),
}

impl Embedded {
    /// The address that packets are meant for in the end: for Teredo that of the client.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::Mapped(ip) | Self::Compatible(ip) | Self::SixToFour(ip) | Self::Nat64(ip) => ip,
            Self::Teredo { client, .. } => client,
        }
    }
}

/// The IPv4 address that an IPv6 address embeds in one of the registered ways. An IPv4 address embeds none.
#[must_use]
pub const fn embedded_ipv4(ip: IpAddr) -> Option<Embedded> {
    let IpAddr::V6(ip) = ip else { return None };
    let low = low_ipv4(ip);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] => Some(Embedded::Mapped(low)),
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, _, _] => Some(Embedded::Compatible(low)),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(Embedded::Nat64(low)),
        [0x2002, high, below, ..] => Some(Embedded::SixToFour(quad(high, below))),
        [0x2001, 0, high, below, _, port, _, _] => Some(Embedded::Teredo {
            server: quad(high, below),
            client: Ipv4Addr::from_bits(!low.to_bits()),
            port: !port,
        }),
        _ => None,
    }
}

/// The IPv4 address that a network's own NAT64 prefix embeds, by the positions of RFC 6052 section 2.2.
///
/// `None` where `ip` does not begin with the prefix, where the length is not 32, 40, 48, 56, 64 or 96 bits, and where
/// bits 64 to 71, which must be zero, are not.
#[must_use]
pub fn nat64_ipv4(ip: Ipv6Addr, prefix: Ipv6Addr, prefix_len: u8) -> Option<Ipv4Addr> {
    if !matches!(prefix_len, 32 | 40 | 48 | 56 | 64 | 96) {
        return None;
    }
    if (ip.to_bits() ^ prefix.to_bits()) >> (128 - u32::from(prefix_len)) != 0 {
        return None;
    }
    if prefix_len == 96 {
        return Some(low_ipv4(ip));
    }
    let octets = ip.octets();
    if octets[8] != 0 {
        return None;
    }
    // The address stands behind the prefix and steps over octet 8.
    let behind = octets
        .into_iter()
        .enumerate()
        .skip(usize::from(prefix_len / 8))
        .filter(|(at, _)| *at != 8);
    let mut quad = [0; 4];
    for (to, (_, from)) in quad.iter_mut().zip(behind) {
        *to = from;
    }
    Some(Ipv4Addr::from(quad))
}

const fn low_ipv4(ip: Ipv6Addr) -> Ipv4Addr {
    let [.., high, low] = ip.segments();
    quad(high, low)
}

const fn quad(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((high as u32) << 16 | low as u32)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_peers_call_global_and_is_not() {
        for text in [
            "224.0.0.1",
            "239.1.2.3",
            "ff02::1",
            "ff0e::1",
            "fec0::1",
            "::8.8.8.8",
            "64:ff9b::10.0.0.1",
            "3fff::1",
            "5f00::1",
            "100:0:0:1::1",
            "2001:10::1",
            "2002:808:808::1",
            "2001::1",
            "192.88.99.1",
            "192.88.99.2",
            "4000::1",
            "::ffff:8.8.8.8",
            "64:ff9b:1::8.8.8.8",
            "255.255.255.255",
            "0.1.2.3",
        ] {
            assert!(!is_globally_reachable(ip(text)), "{text}");
        }
    }

    #[test]
    fn what_peers_call_private_and_is_global() {
        for text in [
            "2001:1::3",
            "192.0.0.9",
            "2001:3::1",
            "2001:20::1",
            "2620:4f:8000::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_globally_reachable(ip(text)), "{text}");
        }
    }

    #[test]
    fn multicast_scopes() {
        for (text, scope) in [
            ("224.0.0.251", "link-local"),
            ("224.0.1.1", "global"),
            ("239.255.0.1", "site-local"),
            ("239.192.0.1", "organization-local"),
            ("ff01::1", "interface-local"),
            ("ff02::1", "link-local"),
            ("ff03::1", "realm-local"),
            ("ff35::1", "site-local"),
            ("ff0e::1", "global"),
            ("ff06::1", "unassigned-6"),
            ("ff0f::1", "reserved"),
        ] {
            assert_eq!(multicast_scope(ip(text)).unwrap().to_string(), scope, "{text}");
        }
        assert_eq!(multicast_scope(ip("223.255.255.255")), None);
    }

    #[test]
    fn embedded_addresses() {
        let inner = |text: &str| embedded_ipv4(ip(text)).map(|embedded| embedded.address().to_string());
        assert_eq!(inner("::ffff:10.1.2.3").unwrap(), "10.1.2.3");
        assert_eq!(inner("::10.1.2.3").unwrap(), "10.1.2.3");
        assert_eq!(inner("2002:a01:203::1").unwrap(), "10.1.2.3");
        assert_eq!(inner("64:ff9b::10.1.2.3").unwrap(), "10.1.2.3");
        assert_eq!(
            (inner("::"), inner("::1"), inner("2001:db8::1"), inner("10.1.2.3")),
            (None, None, None, None)
        );
    }

    #[test]
    fn the_example_of_rfc_4380_teredo() {
        // RFC 4380 section 4: the client's port and address are stored inverted.
        let embedded = embedded_ipv4(ip("2001:0:4136:e378:8000:63bf:3fff:fdd2"));
        let (server, client) = (Ipv4Addr::new(65, 54, 227, 120), Ipv4Addr::new(192, 0, 2, 45));
        assert_eq!(
            embedded,
            Some(Embedded::Teredo {
                server,
                client,
                port: 40_000
            })
        );
    }

    #[test]
    fn the_examples_of_rfc_6052_section_2_4() {
        let wanted = Some(Ipv4Addr::new(192, 0, 2, 33));
        for (prefix, len, text) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
        ] {
            assert_eq!(
                nat64_ipv4(text.parse().unwrap(), prefix.parse().unwrap(), len),
                wanted,
                "{text}"
            );
        }
        assert_eq!(
            nat64_ipv4("2001:db8::1".parse().unwrap(), "2001:db9::".parse().unwrap(), 32),
            None
        );
        assert_eq!(
            nat64_ipv4("2001:db8::1".parse().unwrap(), "2001:db8::".parse().unwrap(), 33),
            None
        );
    }
}
