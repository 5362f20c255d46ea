//! Sets of addresses as networks.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::network::Network;
use crate::ranges::RangeSet;
use crate::{AddressRange, ParseError};

/// A set of addresses, kept as ranges and shown as the fewest networks that cover it.
///
/// The two families are apart: a mapped address is in no IPv4 network. Ask with the canonical form of an address.
///
/// ```
/// use sockeye_endpoint::NetSet;
///
/// let private: NetSet = "10.0.0.0/8,fc00::/7".parse()?;
/// let rest = private.subtract(&"10.128.0.0/9".parse()?);
/// assert_eq!(rest.to_string(), "10.0.0.0/9,fc00::/7");
/// assert!(!rest.contains("10.200.0.1".parse().unwrap()));
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct NetSet {
    v4: RangeSet<u32>,
    v6: RangeSet<u128>,
}

impl NetSet {
    /// No address.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every address of both families.
    #[must_use]
    pub fn all() -> Self {
        Self::new().complement()
    }

    /// Adds a network.
    pub fn insert(&mut self, network: Network) {
        match bounds(network) {
            Bounds::V4(first, last) => self.v4.insert(first, last),
            Bounds::V6(first, last) => self.v6.insert(first, last),
        }
    }

    /// Adds a range of addresses.
    pub fn insert_range(&mut self, range: AddressRange) {
        match (range.first(), range.last()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.v4.insert(first.to_bits(), last.to_bits()),
            (IpAddr::V6(first), IpAddr::V6(last)) => self.v6.insert(first.to_bits(), last.to_bits()),
            // A range is of one family.
            _ => {}
        }
    }

    /// What of a range is not in the set, ascending: the gaps between what is. It takes as long as there are networks of
    /// the set within the range, however many there are beside it.
    pub fn missing(&self, range: AddressRange) -> impl Iterator<Item = AddressRange> {
        let (v4, v6) = match (range.first(), range.last()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                (Some(self.v4.gaps(first.to_bits(), last.to_bits())), None)
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                (None, Some(self.v6.gaps(first.to_bits(), last.to_bits())))
            }
            _ => (None, None),
        };
        let v4 = v4.into_iter().flatten().filter_map(|(first, last)| {
            AddressRange::new(
                Ipv4Addr::from_bits(first).into(),
                Ipv4Addr::from_bits(last).into(),
            )
        });
        let v6 = v6.into_iter().flatten().filter_map(|(first, last)| {
            AddressRange::new(
                Ipv6Addr::from_bits(first).into(),
                Ipv6Addr::from_bits(last).into(),
            )
        });
        v4.chain(v6)
    }

    /// Whether the address is in the set.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.contains(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.contains(ip.to_bits()),
        }
    }

    /// Whether every address of the network is in the set.
    #[must_use]
    pub fn contains_network(&self, network: Network) -> bool {
        match bounds(network) {
            Bounds::V4(first, last) => self.v4.contains_range(first, last),
            Bounds::V6(first, last) => self.v6.contains_range(first, last),
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            v4: self.v4.union(&other.v4),
            v6: self.v6.union(&other.v6),
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            v4: self.v4.intersection(&other.v4),
            v6: self.v6.intersection(&other.v6),
        }
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        Self {
            v4: self.v4.difference(&other.v4),
            v6: self.v6.difference(&other.v6),
        }
    }

    /// What is not in this one, of both families.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self {
            v4: self.v4.complement(),
            v6: self.v6.complement(),
        }
    }

    /// Whether there is no address in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The fewest networks that cover the set: IPv4 first, ascending.
    pub fn networks(&self) -> impl Iterator<Item = Network> {
        let v4 = self
            .v4
            .ranges()
            .flat_map(|(first, last)| cover(u128::from(*first), u128::from(*last), 32));
        let v6 = self
            .v6
            .ranges()
            .flat_map(|(first, last)| cover(*first, *last, 128));
        v4.chain(v6)
    }
}

/// The first and the last address of a network.
enum Bounds {
    V4(u32, u32),
    V6(u128, u128),
}

fn bounds(network: Network) -> Bounds {
    match network.ipnet() {
        ipnet::IpNet::V4(net) => Bounds::V4(net.network().to_bits(), net.broadcast().to_bits()),
        ipnet::IpNet::V6(net) => Bounds::V6(net.network().to_bits(), net.broadcast().to_bits()),
    }
}

/// Cuts a range into networks: each time the largest that begins at `first` and does not pass `last`.
fn cover(first: u128, last: u128, width: u32) -> impl Iterator<Item = Network> {
    let mut next = Some(first);
    core::iter::from_fn(move || {
        let start = next.filter(|start| *start <= last)?;
        let aligned = start.trailing_zeros().min(width);
        // `last - start + 1` does not fit when it is all of IPv6; one bit less than its width then.
        let fits = match (last - start).checked_add(1) {
            Some(count) => count.ilog2(),
            None => 128,
        };
        let host_bits = aligned.min(fits);
        next = 1u128
            .checked_shl(host_bits)
            .and_then(|size| start.checked_add(size));
        let prefix_len = u8::try_from(width - host_bits).ok()?;
        let ip = match u32::try_from(start) {
            Ok(quad) if width == 32 => IpAddr::V4(Ipv4Addr::from_bits(quad)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(start)),
        };
        Network::of(ip, prefix_len)
    })
}

impl FromIterator<Network> for NetSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let mut set = Self::new();
        set.extend(networks);
        set
    }
}

impl Extend<Network> for NetSet {
    fn extend<I: IntoIterator<Item = Network>>(&mut self, networks: I) {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match bounds(network) {
                Bounds::V4(first, last) => v4.push((first, last)),
                Bounds::V6(first, last) => v6.push((first, last)),
            }
        }
        self.v4.extend(v4);
        self.v6.extend(v6);
    }
}

impl FromStr for NetSet {
    type Err = ParseError;

    /// Networks with commas between them; the empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Ok(Self::new());
        }
        let mut networks = Vec::new();
        let mut at = 0;
        for word in text.split(',') {
            let network = word.parse::<Network>();
            networks.push(network.map_err(|error| ParseError::new(error.kind, at + error.at))?);
            at += word.len() + 1;
        }
        Ok(networks.into_iter().collect())
    }
}

impl fmt::Display for NetSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.networks().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NetSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::ParseErrorKind;

    #[test]
    fn everything_is_two_networks() {
        assert_eq!(NetSet::all().to_string(), "0.0.0.0/0,::/0");
        assert!(NetSet::all().complement().is_empty());
    }

    #[test]
    fn what_is_missing_of_a_range_is_the_gaps_in_it() {
        let mut set: NetSet = "192.0.2.4/31,192.0.2.16/28,2001:db8::1/128".parse().unwrap();
        let mut missing = |range: &str| {
            let range = range.parse().unwrap();
            let missing: Vec<_> = set.missing(range).map(|gap| gap.to_string()).collect();
            set.insert_range(range);
            assert_eq!(set.missing(range).count(), 0);
            missing.join(",")
        };
        assert_eq!(
            missing("192.0.2.1-192.0.2.20"),
            "192.0.2.1-192.0.2.3,192.0.2.6-192.0.2.15"
        );
        assert_eq!(
            missing("0.0.0.0-255.255.255.255"),
            "0.0.0.0-192.0.2.0,192.0.2.32-255.255.255.255"
        );
        assert_eq!(
            missing("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            "::-2001:db8::,2001:db8::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
    }

    #[test]
    fn a_hole_leaves_the_fewest_networks() {
        let hole = NetSet::all().subtract(&"128.0.0.0/1,8000::/1,10.0.0.0/8".parse().unwrap());
        let networks = hole.to_string();
        assert_eq!(
            networks,
            "0.0.0.0/5,8.0.0.0/7,11.0.0.0/8,12.0.0.0/6,16.0.0.0/4,32.0.0.0/3,64.0.0.0/2,::/1"
        );
        assert_eq!(networks.parse::<NetSet>().unwrap(), hole);
    }

    #[test]
    fn an_error_says_where_in_the_whole_text() {
        let error = "10.0.0.0/8,11.0.0.0/33".parse::<NetSet>().unwrap_err();
        assert_eq!(error, ParseError::new(ParseErrorKind::NumberTooBig, 20));
        assert_eq!(
            "10.0.0.0/8,".parse::<NetSet>().unwrap_err(),
            ParseError::new(ParseErrorKind::Empty, 11)
        );
    }
}
