//! The addresses of Ethernet and 802.11.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// A 48-bit address of a link (EUI-48).
///
/// ```
/// use sockeye_packet::MacAddr;
/// let address: MacAddr = "02:00:5e:10:00:01".parse()?;
/// assert!(address.is_local() && !address.is_multicast());
/// assert_eq!(address.to_string(), "02:00:5e:10:00:01");
/// # Ok::<(), sockeye_packet::MacAddrError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address: as the target of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// The six bytes, in the order in which they are sent.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether it addresses a group (broadcast is one): the lowest bit of the first byte.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether it is the address of everybody.
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether it is assigned locally and not by a manufacturer: the second bit of the first byte.
    #[must_use]
    pub const fn is_local(self) -> bool {
        let [first, ..] = self.0;
        first & 2 != 0
    }

    /// The address to which IPv4 multicast is sent (RFC 1112 section 6.4): the low 23 bits of the group.
    #[must_use]
    pub const fn of_ipv4_group(group: core::net::Ipv4Addr) -> Self {
        let [_, b, c, d] = group.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// The address to which IPv6 multicast is sent (RFC 2464 section 7): the low 32 bits of the group.
    #[must_use]
    pub const fn of_ipv6_group(group: core::net::Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl From<MacAddr> for [u8; 6] {
    fn from(address: MacAddr) -> Self {
        address.0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is not an address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "not a link address at byte {at}: six pairs of hexadecimal digits with colons between them are expected"
)]
pub struct MacAddrError {
    /// The first byte of the text that is wrong, or its length if it ends early.
    pub at: usize,
}

impl FromStr for MacAddr {
    type Err = MacAddrError;

    /// Six pairs of hexadecimal digits with colons between them; nothing else.
    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let text = text.as_bytes();
        let mut octets = [0; 6];
        for (index, octet) in octets.iter_mut().enumerate() {
            let at = index * 3;
            for at in [at, at + 1] {
                let digit = text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
                let digit = digit.and_then(|digit| u8::try_from(digit).ok());
                *octet = (*octet << 4) | digit.ok_or(MacAddrError { at })?;
            }
            let colon = text.get(at + 2);
            let right = if index < 5 { Some(&b':') } else { None };
            if colon != right {
                return Err(MacAddrError { at: at + 2 });
            }
        }
        Ok(Self(octets))
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    #[test]
    fn text_is_read_strictly_and_errors_say_where() {
        for (text, at) in [
            ("", 0),
            ("02:00:5e:10:00", 14),
            ("02:00:5e:10:00:0", 16),
            ("02:00:5e:10:00:01:", 17),
            ("2:00:5e:10:00:01", 1),
            ("02-00-5e-10-00-01", 2),
            ("02:00:5g:10:00:01", 7),
            ("02:00:5e:10:00:+1", 15),
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(MacAddrError { at }), "{text:?}");
        }
        let address: MacAddr = "Fe:00:5E:10:00:01".parse().unwrap();
        assert_eq!(address.to_string(), "fe:00:5e:10:00:01");
    }

    #[test]
    fn kinds_of_addresses() {
        assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast());
        assert!(!MacAddr([0, 1, 2, 3, 4, 5]).is_local());
        // The examples of RFC 1112 and RFC 2464: 224.129.1.2 and ff02::1:ff00:1234.
        let group = MacAddr::of_ipv4_group([224, 129, 1, 2].into());
        assert_eq!(group.to_string(), "01:00:5e:01:01:02");
        let group = MacAddr::of_ipv6_group("ff02::1:ff00:1234".parse().unwrap());
        assert_eq!(group.to_string(), "33:33:ff:00:12:34");
    }
}
