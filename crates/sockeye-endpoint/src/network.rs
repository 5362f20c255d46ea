//! Networks in CIDR notation, by strict rules.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use ipnet::IpNet;

use crate::parse::{self, peek};
use crate::{AddressRange, ParseError, ParseErrorKind};

/// A network: an address and the length of its prefix, with no bit set behind the prefix.
///
/// It is ipnet's [`IpNet`] behind a strict parser: `010.0.0.0/8`, `10.0.0.0/08`, `10.0.0.0/+8`, `10.0.0.1/8` and a bare
/// address are errors. An address together with the length of its network's prefix (`10.0.0.1/8`) is
/// [`Network::parse_interface`]'s to read.
///
/// ```
/// use sockeye_endpoint::{Network, ParseErrorKind};
///
/// let private: Network = "10.0.0.0/8".parse()?;
/// assert!(private.contains("10.1.2.3".parse().unwrap()));
/// assert_eq!("10.0.0.1/8".parse::<Network>().unwrap_err().kind, ParseErrorKind::HostBits);
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpNet);

impl Network {
    /// The network of that address: bits behind the prefix are cleared. `None` for a prefix longer than the address.
    #[must_use]
    pub fn of(ip: IpAddr, prefix_len: u8) -> Option<Self> {
        IpNet::new(ip, prefix_len).ok().map(|net| Self(net.trunc()))
    }

    /// Parses an interface's address and the length of its network's prefix: `10.0.0.1/8` gives `10.0.0.1` and
    /// `10.0.0.0/8`.
    ///
    /// # Errors
    ///
    /// What is wrong and at which byte.
    pub fn parse_interface(text: &str) -> Result<(IpAddr, Self), ParseError> {
        let (ip, prefix_len) = read(text.as_bytes())?;
        let network = Self::of(ip, prefix_len).ok_or(ParseError::new(ParseErrorKind::NumberTooBig, 0))?;
        Ok((ip, network))
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// The length of the prefix in bits.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// The last address: in IPv4 the broadcast address, where the network has one.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// Whether the address is in the network. An IPv4 address is in no IPv6 network, a mapped one in no IPv4 network.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }

    /// Whether the other network is this one or a part of it.
    #[must_use]
    pub fn contains_network(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// The addresses that are for hosts: in IPv4 all but the first and the last one, which are the network's own and that
    /// of all its hosts, unless it has one or two addresses (RFC 3021); in IPv6 all.
    #[must_use]
    pub fn hosts(&self) -> AddressRange {
        let all = AddressRange::from(*self);
        let ends = match self.0 {
            IpNet::V4(net) if net.prefix_len() < 31 => all.get(1).zip(all.get(all.count() - 2)),
            _ => None,
        };
        ends.and_then(|(first, last)| AddressRange::new(first, last))
            .unwrap_or(all)
    }

    /// ipnet's type.
    #[must_use]
    pub const fn ipnet(&self) -> IpNet {
        self.0
    }
}

/// `address/length` up to the end of the text; the address without brackets and zone.
fn read(text: &[u8]) -> Result<(IpAddr, u8), ParseError> {
    let (ip, at, width) = read_address(text)?;
    let prefix_len = match peek(text, at) {
        b'/' => {
            let (prefix_len, next) = parse::decimal(text, at + 1, width)?;
            if next != text.len() {
                return Err(parse::surprise(text, next));
            }
            u8::try_from(prefix_len).map_err(|_| ParseError::new(ParseErrorKind::NumberTooBig, at + 1))?
        }
        _ if at == text.len() => return Err(ParseError::new(ParseErrorKind::MissingPrefix, at)),
        b'%' => return Err(ParseError::new(ParseErrorKind::UnexpectedZone, at)),
        _ => return Err(parse::surprise(text, at)),
    };
    Ok((ip, prefix_len))
}

/// An address without brackets, the offset behind it, and its width in bits.
fn read_address(text: &[u8]) -> Result<(IpAddr, usize, u32), ParseError> {
    if text.is_empty() {
        return Err(ParseError::new(ParseErrorKind::Empty, 0));
    }
    if parse::looks_like_ipv6(text) {
        let (groups, at) = parse::ipv6(text, 0)?;
        return Ok((IpAddr::V6(Ipv6Addr::from_bits(groups)), at, 128));
    }
    let (quad, at) = parse::ipv4(text, 0)?;
    Ok((IpAddr::V4(Ipv4Addr::from_bits(quad)), at, 32))
}

impl FromStr for Network {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (ip, network) = Self::parse_interface(text)?;
        if network.address() != ip {
            let slash = text.find('/').unwrap_or_default();
            return Err(ParseError::new(ParseErrorKind::HostBits, slash));
        }
        Ok(network)
    }
}

impl From<IpNet> for Network {
    /// Bits behind the prefix are cleared.
    fn from(net: IpNet) -> Self {
        Self(net.trunc())
    }
}

impl From<Network> for IpNet {
    fn from(network: Network) -> Self {
        network.0
    }
}

impl From<IpAddr> for Network {
    /// The network of that address alone.
    fn from(ip: IpAddr) -> Self {
        Self(IpNet::from(ip))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
