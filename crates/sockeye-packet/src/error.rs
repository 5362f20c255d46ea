//! What is wrong with a packet: which layer, where, and by how much.

use thiserror::Error;

/// The part of a packet an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// The IPv4 header.
    Ipv4,
    /// The options behind the fixed IPv4 header.
    Ipv4Options,
    /// The IPv6 header.
    Ipv6,
    /// One of the IPv6 extension headers.
    Ipv6Extension,
    /// An option inside a hop-by-hop or destination options header.
    Ipv6Option,
    /// An ICMP message for IPv4.
    Icmpv4,
    /// An ICMP message for IPv6.
    Icmpv6,
    /// An option of a neighbour discovery message.
    NeighbourOption,
    /// A multicast listener report or query.
    Mld,
    /// The RFC 4884 extension structure behind an ICMP error.
    IcmpExtensions,
    /// The datagram quoted in an ICMP error.
    Quoted,
    /// The UDP header.
    Udp,
    /// The UDP-Lite header.
    UdpLite,
    /// The TCP header.
    Tcp,
    /// The options behind the fixed TCP header.
    TcpOptions,
    /// Fragments and their reassembly.
    Fragment,
    /// An Ethernet header, or the length in one of 802.3.
    Ethernet,
    /// A VLAN tag.
    Vlan,
    /// An ARP packet.
    Arp,
    /// The LLC header of 802.2, or SNAP behind it.
    Llc,
    /// The labels of MPLS.
    Mpls,
    /// The header of PPPoE.
    Pppoe,
    /// The header of PPP.
    Ppp,
    /// The header of Cisco HDLC.
    Hdlc,
    /// The header of a Linux cooked capture, version 1 or 2.
    Cooked,
    /// The address family before a packet of a BSD loopback.
    Loopback,
    /// The radiotap header before an 802.11 frame.
    Radiotap,
    /// An 802.11 frame.
    Wifi,
    /// The header of GRE.
    Gre,
    /// The header of VXLAN.
    Vxlan,
    /// The header of Geneve, or its options.
    Geneve,
    /// Headers inside of headers.
    Nesting,
    /// What the topmost header carries.
    Payload,
}

impl Layer {
    /// The layer's name in lower case, as programs print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv4Options => "ipv4-options",
            Self::Ipv6 => "ipv6",
            Self::Ipv6Extension => "ipv6-extension",
            Self::Ipv6Option => "ipv6-option",
            Self::Icmpv4 => "icmpv4",
            Self::Icmpv6 => "icmpv6",
            Self::NeighbourOption => "neighbour-option",
            Self::Mld => "mld",
            Self::IcmpExtensions => "icmp-extensions",
            Self::Quoted => "quoted",
            Self::Udp => "udp",
            Self::UdpLite => "udplite",
            Self::Tcp => "tcp",
            Self::TcpOptions => "tcp-options",
            Self::Fragment => "fragment",
            Self::Ethernet => "ethernet",
            Self::Vlan => "vlan",
            Self::Arp => "arp",
            Self::Llc => "llc",
            Self::Mpls => "mpls",
            Self::Pppoe => "pppoe",
            Self::Ppp => "ppp",
            Self::Hdlc => "hdlc",
            Self::Cooked => "cooked",
            Self::Loopback => "loopback",
            Self::Radiotap => "radiotap",
            Self::Wifi => "wifi",
            Self::Gre => "gre",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Nesting => "nesting",
            Self::Payload => "payload",
        }
    }
}

impl core::fmt::Display for Layer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// What kind of fault it is; says how to read `required` and `actual` of [`PacketError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end early: `required` bytes from the start of the layer, `actual` are there.
    #[error("truncated")]
    Truncated,
    /// The version nibble: `required` is the version of the layer, `actual` the one found.
    #[error("wrong version")]
    Version,
    /// A header length field under its minimum, both in bytes.
    #[error("header length too small")]
    HeaderLength,
    /// A length field smaller than what it must cover, both in bytes.
    #[error("length field too small")]
    LengthField,
    /// An option's length: at least `required` (or exactly, where the option is of fixed size), `actual` found.
    #[error("bad option length")]
    OptionLength,
    /// More extension headers than the limit `required`.
    #[error("extension header chain too long")]
    ChainTooLong,
    /// More headers inside of headers than the limit `required`.
    #[error("nested too deep")]
    TooDeep,
    /// An extension header in a place where its RFC forbids it.
    #[error("extension header out of order")]
    ExtensionOrder,
    /// A field holds a value its RFC forbids: `required` is the bound, `actual` the value.
    #[error("forbidden value")]
    Value,
    /// A checksum: `required` is the right one, `actual` the one found.
    #[error("wrong checksum")]
    Checksum,
    /// The caller's buffer is too small for what is built.
    #[error("buffer too small")]
    BufferTooSmall,
    /// What is built does not fit the length field: at most `required` bytes, `actual` wanted.
    #[error("too large")]
    TooLarge,
    /// A fragment overlaps another (RFC 5722: the whole datagram is dropped).
    #[error("overlapping fragment")]
    Overlap,
    /// A limit of the reassembler: at most `required`, `actual` wanted.
    #[error("reassembly limit")]
    Limit,
    /// The "do not fragment" bit is set: `required` is the size, `actual` the MTU.
    #[error("must not be fragmented")]
    DontFragment,
}

/// A fault in a packet, with its place.
///
/// `offset` counts from the first byte of the slice that was given to the function that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{layer} at byte {offset}: {fault} (required {required}, actual {actual})")]
#[non_exhaustive]
pub struct PacketError {
    /// The layer that is at fault.
    pub layer: Layer,
    /// What is wrong with it.
    pub fault: Fault,
    /// Where, in bytes from the start of the slice that was parsed.
    pub offset: usize,
    /// What would have been right; see [`Fault`] for the unit.
    pub required: usize,
    /// What was found.
    pub actual: usize,
}

impl PacketError {
    #[cold]
    pub(crate) const fn new(
        layer: Layer,
        fault: Fault,
        offset: usize,
        required: usize,
        actual: usize,
    ) -> Self {
        Self {
            layer,
            fault,
            offset,
            required,
            actual,
        }
    }

    /// `required` bytes of `layer` at `offset`, `actual` are there.
    #[cold]
    pub(crate) const fn truncated(layer: Layer, offset: usize, required: usize, actual: usize) -> Self {
        Self::new(layer, Fault::Truncated, offset, required, actual)
    }

    /// The same error seen from a slice that begins `base` bytes earlier.
    #[must_use]
    pub const fn shifted(mut self, base: usize) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }
}

/// The result of lax parsing: what is sound, and where it stopped being so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lax<V> {
    /// The view; its getters are confined to the bytes that are there.
    pub view: V,
    /// The first fault that a strict constructor would have returned.
    pub stopped: Option<PacketError>,
}
