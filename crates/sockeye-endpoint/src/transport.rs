//! What carries the data: TCP, UDP, UDP-Lite, or IP itself.

use core::fmt;
use core::str::FromStr;

use crate::parse;
use crate::{ParseError, ParseErrorKind};

/// The transport of an endpoint.
///
/// [`Transport::Ip`] is IP without a transport protocol in between: a raw socket of that protocol number.
/// `Ip(6)` is therefore not [`Transport::Tcp`], and the two never compare equal. Multipath TCP shares TCP's ports
/// and is an option of a TCP socket, not a transport.
///
/// ```
/// use sockeye_endpoint::Transport;
///
/// assert_eq!("udplite".parse(), Ok(Transport::UdpLite));
/// assert_eq!("ip+1".parse(), Ok(Transport::ICMP));
/// assert_eq!(Transport::Ip(89).to_string(), "ip+89");
/// assert_eq!(Transport::Tcp.protocol(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Transmission Control Protocol (RFC 9293).
    Tcp,
    /// User Datagram Protocol (RFC 768).
    Udp,
    /// UDP-Lite (RFC 3828). It shares UDP's service names.
    UdpLite,
    /// An IP protocol number without ports.
    Ip(u8),
}

impl Transport {
    /// ICMP for IPv4 (RFC 792), IP protocol 1.
    pub const ICMP: Self = Self::Ip(1);
    /// ICMP for IPv6 (RFC 4443), IP protocol 58.
    pub const ICMPV6: Self = Self::Ip(58);

    /// The IP protocol number, as it stands in an IP header and as `socket(2)` takes it.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::UdpLite => 136,
            Self::Ip(protocol) => protocol,
        }
    }

    /// Whether endpoints of this transport have a port.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        !matches!(self, Self::Ip(_))
    }

    /// Parses `tcp`, `udp`, `udplite`, `icmp`, `icmpv6` or `ip+N`, in any case.
    ///
    /// # Errors
    ///
    /// [`ParseErrorKind::UnknownTransport`], or what is wrong with the number after `ip+`.
    pub const fn parse(text: &str) -> Result<Self, ParseError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(ParseError::new(ParseErrorKind::Empty, 0));
        }
        parse::transport(bytes, 0, bytes.len())
    }
}

impl FromStr for Transport {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Tcp => f.pad("tcp"),
            Self::Udp => f.pad("udp"),
            Self::UdpLite => f.pad("udplite"),
            Self::ICMP => f.pad("icmp"),
            Self::ICMPV6 => f.pad("icmpv6"),
            Self::Ip(protocol) => write!(f, "ip+{protocol}"),
        }
    }
}
