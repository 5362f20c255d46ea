//! Addresses that follow each other.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::network::Network;
use crate::{ParseError, ParseErrorKind, parse_ip};

/// The addresses of one family from a first to a last one, both among them: `192.0.2.1-192.0.2.9`.
///
/// ```
/// use sockeye_endpoint::{AddressRange, Network};
///
/// let range: AddressRange = "192.0.2.254-192.0.3.1".parse()?;
/// assert_eq!(range.count(), 4);
/// assert_eq!(range.get(2), Some([192, 0, 3, 0].into()));
///
/// let network: Network = "192.0.2.0/24".parse()?;
/// assert_eq!(AddressRange::from(network).to_string(), "192.0.2.0-192.0.2.255");
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The range between two addresses. `None` if they are of different families, or the last is before the first.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// The first address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// How many addresses there are, at least 1. All of IPv6 is one more than fits: that is [`u128::MAX`] too.
    #[must_use]
    pub const fn count(&self) -> u128 {
        (bits(self.last) - bits(self.first)).saturating_add(1)
    }

    /// Whether the address is in the range. An IPv4 address is in no IPv6 range, a mapped one in no IPv4 range.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&ip)
    }

    /// The address that so many others of the range are before. `None` behind the last.
    #[must_use]
    pub fn get(&self, index: u128) -> Option<IpAddr> {
        let number = bits(self.first).checked_add(index)?;
        (number <= bits(self.last)).then(|| self.address(number))
    }

    /// The addresses, ascending.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let range = *self;
        (bits(self.first)..=bits(self.last)).map(move |number| range.address(number))
    }

    /// The address of a number that is within the range.
    fn address(&self, number: u128) -> IpAddr {
        match self.first {
            IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
        }
    }
}

const fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits() as u128,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl From<IpAddr> for AddressRange {
    /// That address alone.
    fn from(ip: IpAddr) -> Self {
        Self { first: ip, last: ip }
    }
}

impl From<Network> for AddressRange {
    /// All addresses of the network, its first and its last one too: [`Network::hosts`] leaves those out where they are
    /// no host's.
    fn from(network: Network) -> Self {
        Self {
            first: network.address(),
            last: network.last(),
        }
    }
}

impl FromStr for AddressRange {
    type Err = ParseError;

    /// `FIRST-LAST`, both whole addresses, without brackets and zones.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let Some((first, last)) = text.split_once('-') else {
            let error = parse_ip(text).err();
            return Err(error.unwrap_or(ParseError::new(ParseErrorKind::MissingLast, text.len())));
        };
        let at = first.len() + 1;
        let first = parse_ip(first)?;
        let last = parse_ip(last).map_err(|error| ParseError::new(error.kind, at + error.at))?;
        let kind = if first.is_ipv4() == last.is_ipv4() {
            ParseErrorKind::ReversedRange
        } else {
            ParseErrorKind::MixedFamilies
        };
        Self::new(first, last).ok_or(ParseError::new(kind, at))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[track_caller]
    fn range(text: &str) -> AddressRange {
        let range: AddressRange = text.parse().unwrap();
        assert_eq!(range.to_string(), text);
        range
    }

    #[test]
    fn both_ends_are_in_a_range() {
        for (text, count) in [
            ("192.0.2.254-192.0.3.1", 4),
            ("192.0.2.9-192.0.2.9", 1),
            ("2001:db8::ffff-2001:db8::1:0", 2),
            ("0.0.0.0-255.255.255.255", 1 << 32),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX),
        ] {
            let range = range(text);
            assert_eq!(range.count(), count);
            assert_eq!(range.get(0), Some(range.first()));
            assert!(range.contains(range.first()) && range.contains(range.last()));
            assert_eq!(range.addresses().next(), Some(range.first()));
            if count < 10 {
                assert_eq!(range.get(count - 1), Some(range.last()));
                assert_eq!(range.get(count), None);
                let walked: Vec<IpAddr> = range.addresses().collect();
                assert_eq!(
                    walked,
                    (0..count)
                        .filter_map(|index| range.get(index))
                        .collect::<Vec<_>>()
                );
            }
        }
        let range = range("192.0.2.1-192.0.2.9");
        for outside in ["192.0.2.0", "192.0.2.10", "::", "::ffff:192.0.2.5"] {
            assert!(!range.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn an_error_says_where_in_the_whole_text() {
        use ParseErrorKind as Kind;
        for (text, kind, at) in [
            ("", Kind::Empty, 0),
            ("-", Kind::Empty, 0),
            ("192.0.2.1", Kind::MissingLast, 9),
            ("192.0.2.1-", Kind::Empty, 10),
            ("192.0.2.1-9", Kind::TooFewOctets, 11),
            ("192.0.2.1 - 192.0.2.9", Kind::Blank, 9),
            ("192.0.2.2-192.0.2.1", Kind::ReversedRange, 10),
            ("192.0.2.1-::1", Kind::MixedFamilies, 10),
            ("::1-192.0.2.1", Kind::MixedFamilies, 4),
        ] {
            assert_eq!(
                text.parse::<AddressRange>(),
                Err(ParseError::new(kind, at)),
                "{text}"
            );
        }
    }

    #[test]
    fn hosts_of_a_network_are_all_but_the_ends_of_those_that_have_them() {
        for (network, hosts) in [
            ("192.0.2.0/30", "192.0.2.1-192.0.2.2"),
            ("192.0.2.0/31", "192.0.2.0-192.0.2.1"),
            ("192.0.2.9/32", "192.0.2.9-192.0.2.9"),
            ("0.0.0.0/0", "0.0.0.1-255.255.255.254"),
            ("2001:db8::/126", "2001:db8::-2001:db8::3"),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.hosts().to_string(), hosts);
        }
    }
}
