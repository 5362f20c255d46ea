//! What goes out: a payload, where to, and what the packet shall say beside it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Dscp, Ecn};

/// Which of the fields of [`Extras`] are set.
pub(crate) mod present {
    pub(crate) const SOURCE: u16 = 1;
    pub(crate) const INTERFACE: u16 = 1 << 1;
    pub(crate) const ECN: u16 = 1 << 2;
    pub(crate) const DSCP: u16 = 1 << 3;
    pub(crate) const HOP_LIMIT: u16 = 1 << 4;
    pub(crate) const SEGMENT: u16 = 1 << 5;
    pub(crate) const DEPARTURE: u16 = 1 << 6;
    pub(crate) const FLOW_LABEL: u16 = 1 << 7;
    pub(crate) const TIMESTAMP_ID: u16 = 1 << 8;
    /// What belongs to one message alone: no other may be coalesced with it.
    pub(crate) const ALONE: u16 = SEGMENT | DEPARTURE | TIMESTAMP_ID;
}

/// Everything optional about an outgoing message.
///
/// One word says what is set, so that the common message, which sets nothing, costs one comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extras {
    pub(crate) present: u16,
    pub(crate) segment_size: u16,
    pub(crate) ecn: u8,
    pub(crate) dscp: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: IpAddr,
    pub(crate) interface: u32,
    pub(crate) flow_label: u32,
    pub(crate) timestamp_id: u32,
    pub(crate) departure_ns: u64,
}

impl Extras {
    const NONE: Self = Self {
        present: 0,
        segment_size: 0,
        ecn: 0,
        dscp: 0,
        hop_limit: 0,
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        interface: 0,
        flow_label: 0,
        timestamp_id: 0,
        departure_ns: 0,
    };

    #[inline]
    pub(crate) fn has(&self, field: u16) -> bool {
        self.present & field != 0
    }

    /// Whether a message with `other` may leave as a segment of one with `self`.
    #[inline]
    pub(crate) fn may_join(&self, other: &Self) -> bool {
        if self.present | other.present == 0 {
            return true;
        }
        self.joins_slowly(other)
    }

    /// Fields that are not set hold the same constant on both sides.
    fn joins_slowly(&self, other: &Self) -> bool {
        self.present == other.present
            && !self.has(present::ALONE)
            && (self.ecn, self.dscp, self.hop_limit) == (other.ecn, other.dscp, other.hop_limit)
            && (self.source, self.interface) == (other.source, other.interface)
            && self.flow_label == other.flow_label
    }
}

/// A message to send: a payload, and whatever it shall say beside it.
///
/// Only what is set is told to the kernel; everything else follows the socket's own options. Cheap to build: nothing
/// is allocated and nothing is checked before it is sent.
///
/// ```
/// use sockeye_socket::{Dscp, Ecn, Outgoing};
///
/// let message = Outgoing::to("192.0.2.1:4433".parse()?, b"hello").ecn(Ecn::Ect0).dscp(Dscp::EF).hop_limit(8);
/// assert_eq!(message.payload(), b"hello");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Outgoing<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) extras: Extras,
}

impl<'a> Outgoing<'a> {
    /// `payload` to `destination`.
    #[inline]
    pub const fn to(destination: SocketAddr, payload: &'a [u8]) -> Self {
        Self {
            payload,
            destination: Some(destination),
            extras: Extras::NONE,
        }
    }

    /// `payload` to the peer the socket is connected to.
    #[inline]
    pub const fn connected(payload: &'a [u8]) -> Self {
        Self {
            payload,
            destination: None,
            extras: Extras::NONE,
        }
    }

    /// The same to port 0: raw sockets know no ports, and those of IPv6 refuse any other.
    #[inline]
    pub const fn without_port(mut self) -> Self {
        if let Some(destination) = &mut self.destination {
            destination.set_port(0);
        }
        self
    }

    /// Sends from this local address, whatever the socket is bound to. The port stays the socket's.
    #[doc(alias = "IP_PKTINFO")]
    #[doc(alias = "IPV6_PKTINFO")]
    #[inline]
    pub const fn source(mut self, address: IpAddr) -> Self {
        self.extras.present |= present::SOURCE;
        self.extras.source = address;
        self
    }

    /// Sends through the interface with this index.
    #[inline]
    pub const fn interface(mut self, index: u32) -> Self {
        self.extras.present |= present::INTERFACE;
        self.extras.interface = index;
        self
    }

    /// Sets the ECN bits; the DSCP stays the socket's unless [`Outgoing::dscp`] sets it too.
    #[inline]
    pub const fn ecn(mut self, ecn: Ecn) -> Self {
        self.extras.present |= present::ECN;
        self.extras.ecn = ecn.bits();
        self
    }

    /// Sets the DSCP; the ECN bits stay the socket's unless [`Outgoing::ecn`] sets them too.
    #[inline]
    pub const fn dscp(mut self, dscp: Dscp) -> Self {
        self.extras.present |= present::DSCP;
        self.extras.dscp = dscp.value();
        self
    }

    /// TTL (v4) or hop limit (v6) of this message. The kernel refuses 0 over IPv4.
    #[doc(alias = "IP_TTL")]
    #[doc(alias = "IPV6_HOPLIMIT")]
    #[inline]
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.extras.present |= present::HOP_LIMIT;
        self.extras.hop_limit = hops;
        self
    }

    /// Lets the kernel cut the payload into datagrams of `bytes` each, the last of which may be shorter.
    ///
    /// At most [`Capabilities::max_segments`](crate::Capabilities::max_segments) of them and 65,507 bytes together;
    /// more is [`Fault::Invalid`](crate::Fault::Invalid) or [`Fault::TooBig`](crate::Fault::TooBig).
    #[doc(alias = "UDP_SEGMENT")]
    #[inline]
    pub const fn segment_size(mut self, bytes: u16) -> Self {
        self.extras.present |= present::SEGMENT;
        self.extras.segment_size = bytes;
        self
    }

    /// Not before this time, in nanoseconds of the clock the socket was told about (see [`set_departure_clock`](crate::set_departure_clock)).
    #[doc(alias = "SCM_TXTIME")]
    #[inline]
    pub const fn departure_ns(mut self, time_ns: u64) -> Self {
        self.extras.present |= present::DEPARTURE;
        self.extras.departure_ns = time_ns;
        self
    }

    /// IPv6 flow label, the lower 20 bits of `label`; nothing over IPv4.
    #[doc(alias = "IPV6_FLOWINFO")]
    #[inline]
    pub const fn flow_label(mut self, label: u32) -> Self {
        self.extras.present |= present::FLOW_LABEL;
        self.extras.flow_label = label & 0x000f_ffff;
        self
    }

    /// Asks for a timestamp when it leaves; it comes back on the error queue under this number.
    ///
    /// The socket must have been prepared by [`enable_tx_timestamps`](crate::enable_tx_timestamps); needs Linux 6.13,
    /// see [`Capabilities::tx_timestamp_id`](crate::Capabilities::tx_timestamp_id).
    #[doc(alias = "SCM_TS_OPT_ID")]
    #[inline]
    pub const fn timestamp_id(mut self, id: u32) -> Self {
        self.extras.present |= present::TIMESTAMP_ID;
        self.extras.timestamp_id = id;
        self
    }
}

/// Reading back, for those who carry messages without a kernel.
impl<'a> Outgoing<'a> {
    /// The same message with another payload.
    #[inline]
    pub const fn with_payload<'b>(&self, payload: &'b [u8]) -> Outgoing<'b> {
        Outgoing {
            payload,
            destination: self.destination,
            extras: self.extras,
        }
    }

    /// The bytes to send.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Where to; `None` for the connected peer.
    #[inline]
    pub const fn destination(&self) -> Option<SocketAddr> {
        self.destination
    }

    /// The address it shall leave from.
    pub fn source_address(&self) -> Option<IpAddr> {
        self.extras.has(present::SOURCE).then_some(self.extras.source)
    }

    /// The ECN bits it asks for.
    pub fn ecn_bits(&self) -> Option<Ecn> {
        self.extras
            .has(present::ECN)
            .then(|| Ecn::from_class(self.extras.ecn))
    }

    /// The DSCP it asks for.
    pub fn codepoint(&self) -> Option<Dscp> {
        self.extras
            .has(present::DSCP)
            .then(|| Dscp::from_class(self.extras.dscp << 2))
    }

    /// The TTL or hop limit it asks for.
    pub fn hops(&self) -> Option<u8> {
        self.extras
            .has(present::HOP_LIMIT)
            .then_some(self.extras.hop_limit)
    }

    /// Bytes in each datagram but the last, where the payload is several.
    pub fn segment_bytes(&self) -> Option<u16> {
        self.extras
            .has(present::SEGMENT)
            .then_some(self.extras.segment_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Outgoing<'static> {
        Outgoing::connected(b"x")
    }

    #[test]
    fn only_equal_extras_join() {
        let plain = message().extras;
        assert!(plain.may_join(&message().extras));
        let ef = message().dscp(Dscp::EF).extras;
        assert!(ef.may_join(&message().dscp(Dscp::EF).extras));
        assert!(!ef.may_join(&plain));
        assert!(!plain.may_join(&ef));
        assert!(!ef.may_join(&message().dscp(Dscp::CS6).extras));
        let from = |text: &str| message().source(text.parse().unwrap()).extras;
        assert!(!from("127.0.0.1").may_join(&from("127.0.0.2")));
        assert!(from("::1").may_join(&from("::1")));
    }

    #[test]
    fn what_belongs_to_one_message_is_never_joined() {
        for alone in [
            message().segment_size(9),
            message().departure_ns(9),
            message().timestamp_id(9),
        ] {
            assert!(!alone.extras.may_join(&alone.extras));
        }
    }

    #[test]
    fn what_was_set_reads_back_and_the_rest_is_none() {
        let set = message()
            .ecn(Ecn::Ce)
            .dscp(Dscp::EF)
            .hop_limit(3)
            .segment_size(100);
        assert_eq!(set.ecn_bits(), Some(Ecn::Ce));
        assert_eq!(set.codepoint(), Some(Dscp::EF));
        assert_eq!(set.hops(), Some(3));
        assert_eq!(set.segment_bytes(), Some(100));
        assert_eq!(set.source_address(), None);
        assert_eq!(set.destination(), None);
    }
}
