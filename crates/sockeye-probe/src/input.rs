//! What goes into the engines: messages as sockets deliver them, and why a probe came to nothing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Something that a socket received, borrowed from its buffer. Whatever does not belong to an engine's own probes
/// is counted as a stranger's and changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// When the kernel received it, on the caller's clock, where that is known; else the engine takes `now`.
    pub received_at: Option<Duration>,
    /// TTL or hop limit on arrival, where it is known.
    pub hop_limit: Option<u8>,
    /// What it is.
    pub message: Message<'a>,
}

impl<'a> Input<'a> {
    /// A message of which nothing else is known.
    #[must_use]
    pub const fn new(message: Message<'a>) -> Self {
        Self {
            received_at: None,
            hop_limit: None,
            message,
        }
    }
}

/// A message, by the socket that delivered it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Message<'a> {
    /// A whole ICMP or ICMPv6 message from its type byte on: what raw and ping sockets deliver after the IP header.
    /// The family of `from` says which of the two.
    Icmp {
        /// The sender of the message; its port is not looked at.
        from: SocketAddr,
        /// From the type byte on.
        message: &'a [u8],
    },
    /// A UDP payload.
    Udp {
        /// The sender.
        from: SocketAddr,
        /// After the UDP header.
        payload: &'a [u8],
    },
    /// A TCP segment from its header on, as a raw socket delivers it.
    Tcp {
        /// The sender; the port is read from the segment.
        from: SocketAddr,
        /// From the source port on.
        segment: &'a [u8],
    },
    /// An entry of a socket's error queue: the kernel has matched it to the socket already.
    Error {
        /// Who reported it; `None` where this host did.
        offender: Option<IpAddr>,
        /// Where the probe was going, with the port for UDP.
        destination: SocketAddr,
        /// What it says.
        cause: Cause,
        /// What the error quotes of the probe as it was sent, maybe nothing: the ICMP message of a ping or raw
        /// socket, the payload of a UDP socket.
        quoted: &'a [u8],
    },
}

/// Why a probe came to nothing, in the words that ICMP and ICMPv6 share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The hop limit ran out on the way: a router that a trace has found.
    HopLimitExceeded,
    /// Fragments did not come together in time.
    ReassemblyTimedOut,
    /// No route to the network.
    NetworkUnreachable,
    /// The last router could not reach the host.
    HostUnreachable,
    /// The host does not speak the protocol.
    ProtocolUnreachable,
    /// Nobody listens at the port.
    PortUnreachable,
    /// Too big for the next link.
    TooBig {
        /// The MTU of that link in bytes, IP header included; old routers do not say.
        mtu: Option<u32>,
    },
    /// A filter refused it.
    Prohibited,
    /// A `prohibit` route of this host leads there, or a broadcast address is meant: it was not sent.
    ProhibitRoute,
    /// A `blackhole` route of this host leads there: it was not sent.
    BlackholeRoute,
    /// This host could not send it, for a reason of its own.
    NotSent,
    /// Any other error message.
    Other {
        /// The ICMP type.
        kind: u8,
        /// The ICMP code.
        code: u8,
    },
}

impl Cause {
    /// What an ICMPv4 error says by its type and code, and the 32 bits after the checksum.
    /// `None` for messages that are not errors.
    ///
    /// # References
    /// RFC 792, RFC 1122 section 3.2.2.1, RFC 1191 section 4, RFC 1812 section 5.2.7.
    #[must_use]
    pub const fn from_icmpv4(kind: u8, code: u8, rest: u32) -> Option<Self> {
        Some(match (kind, code) {
            (3, 0 | 5 | 6 | 11) => Self::NetworkUnreachable,
            (3, 1 | 7 | 8 | 12) => Self::HostUnreachable,
            (3, 2) => Self::ProtocolUnreachable,
            (3, 3) => Self::PortUnreachable,
            (3, 4) => Self::TooBig {
                mtu: nonzero(rest & 0xffff),
            },
            (3, 9 | 10 | 13) => Self::Prohibited,
            (11, 0) => Self::HopLimitExceeded,
            (11, 1) => Self::ReassemblyTimedOut,
            // Source quench (4) and redirect (5) are advice: what they quote was forwarded.
            (3 | 11 | 12, _) => Self::Other { kind, code },
            _ => return None,
        })
    }

    /// What an ICMPv6 error says by its type and code, and the 32 bits after the checksum.
    /// `None` for messages that are not errors.
    ///
    /// # References
    /// RFC 4443 section 3.
    #[must_use]
    pub const fn from_icmpv6(kind: u8, code: u8, rest: u32) -> Option<Self> {
        Some(match (kind, code) {
            (1, 0) => Self::NetworkUnreachable,
            (1, 3) => Self::HostUnreachable,
            (1, 4) => Self::PortUnreachable,
            (1, 1 | 5 | 6) => Self::Prohibited,
            (2, _) => Self::TooBig { mtu: nonzero(rest) },
            (3, 0) => Self::HopLimitExceeded,
            (3, 1) => Self::ReassemblyTimedOut,
            (4, 1) => Self::ProtocolUnreachable,
            (0..128, _) => Self::Other { kind, code },
            _ => return None,
        })
    }

    /// The mark that traceroute prints behind a time: `!H` and its like; empty where it prints none.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::HopLimitExceeded | Self::ReassemblyTimedOut | Self::PortUnreachable => "",
            Self::NetworkUnreachable => "!N",
            Self::HostUnreachable => "!H",
            Self::ProtocolUnreachable => "!P",
            Self::TooBig { .. } => "!F",
            Self::Prohibited | Self::ProhibitRoute | Self::BlackholeRoute => "!X",
            Self::NotSent | Self::Other { .. } => "!!",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::HopLimitExceeded => "hop limit exceeded",
            Self::ReassemblyTimedOut => "reassembly timed out",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::ProtocolUnreachable => "protocol unreachable",
            Self::PortUnreachable => "port unreachable",
            Self::TooBig { mtu: Some(mtu) } => return write!(f, "packet too big for an MTU of {mtu}"),
            Self::TooBig { mtu: None } => "packet too big",
            Self::Prohibited => "prohibited by a filter",
            Self::ProhibitRoute => "prohibited by a route of this host",
            Self::BlackholeRoute => "discarded by a blackhole route of this host",
            Self::NotSent => "not sent",
            Self::Other { kind, code } => return write!(f, "ICMP type {kind} code {code}"),
        })
    }
}

const fn nonzero(mtu: u32) -> Option<u32> {
    if mtu == 0 { None } else { Some(mtu) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_say_the_same_in_one_word() {
        let same = [
            ((3, 0), (1, 0), Cause::NetworkUnreachable),
            ((3, 1), (1, 3), Cause::HostUnreachable),
            ((3, 2), (4, 1), Cause::ProtocolUnreachable),
            ((3, 3), (1, 4), Cause::PortUnreachable),
            ((3, 13), (1, 1), Cause::Prohibited),
            ((3, 4), (2, 0), Cause::TooBig { mtu: Some(1400) }),
            ((11, 0), (3, 0), Cause::HopLimitExceeded),
            ((11, 1), (3, 1), Cause::ReassemblyTimedOut),
        ];
        for (v4, v6, cause) in same {
            assert_eq!(Cause::from_icmpv4(v4.0, v4.1, 1400), Some(cause));
            assert_eq!(Cause::from_icmpv6(v6.0, v6.1, 1400), Some(cause));
        }
    }

    #[test]
    fn echo_is_no_error() {
        assert_eq!(Cause::from_icmpv4(0, 0, 0), None);
        assert_eq!(Cause::from_icmpv4(8, 0, 0), None);
        assert_eq!(Cause::from_icmpv6(128, 0, 0), None);
        assert_eq!(Cause::from_icmpv6(129, 0, 0), None);
    }

    #[test]
    fn a_redirect_loses_no_probe() {
        assert_eq!(Cause::from_icmpv4(5, 1, 0), None);
        assert_eq!(Cause::from_icmpv4(4, 0, 0), None);
    }

    #[test]
    fn an_old_router_does_not_say_the_mtu() {
        assert_eq!(Cause::from_icmpv4(3, 4, 0), Some(Cause::TooBig { mtu: None }));
        // RFC 1191: only the low half is the MTU; RFC 4884 gave the other half a meaning of its own.
        assert_eq!(
            Cause::from_icmpv4(3, 4, 0x0011_0578),
            Some(Cause::TooBig { mtu: Some(1400) })
        );
    }
}
