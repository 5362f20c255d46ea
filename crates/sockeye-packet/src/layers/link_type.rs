//! What the frames of a capture or an interface begin with.

/// The kind of link that a frame comes from, as captures number it.
///
/// # References
/// The LINKTYPE_ values of tcpdump.org, draft-ietf-opsawg-pcaplinktype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "LINKTYPE")]
#[doc(alias = "DLT")]
pub enum LinkType {
    /// The loopback of BSD: an address family in the capturing machine's byte order (0).
    Null,
    /// Ethernet (1).
    Ethernet,
    /// PPP (9).
    Ppp,
    /// IP packets without a header before them (101; 12 and 14 on some systems).
    Raw,
    /// PPP in frames like those of HDLC (50).
    PppHdlc,
    /// PPPoE without Ethernet before it (51).
    Pppoe,
    /// Cisco HDLC (104).
    CiscoHdlc,
    /// 802.11 without a header of the receiver (105).
    Wifi,
    /// The loopback of OpenBSD: an address family in network order (108).
    Loop,
    /// Linux cooked (113).
    Cooked,
    /// 802.11 behind radiotap (127).
    Radiotap,
    /// MPLS without a header before it (219).
    Mpls,
    /// IPv4 packets (228).
    Ipv4,
    /// IPv6 packets (229).
    Ipv6,
    /// Linux cooked, version 2 (276).
    Cooked2,
}

impl LinkType {
    /// By the number in a capture file; `None` for those that are not decoded here.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            9 => Self::Ppp,
            12 | 14 | 101 => Self::Raw,
            50 => Self::PppHdlc,
            51 => Self::Pppoe,
            104 => Self::CiscoHdlc,
            105 => Self::Wifi,
            108 => Self::Loop,
            113 => Self::Cooked,
            127 => Self::Radiotap,
            219 => Self::Mpls,
            228 => Self::Ipv4,
            229 => Self::Ipv6,
            276 => Self::Cooked2,
            _ => return None,
        })
    }

    /// The number in a capture file.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Ppp => 9,
            Self::Raw => 101,
            Self::PppHdlc => 50,
            Self::Pppoe => 51,
            Self::CiscoHdlc => 104,
            Self::Wifi => 105,
            Self::Loop => 108,
            Self::Cooked => 113,
            Self::Radiotap => 127,
            Self::Mpls => 219,
            Self::Ipv4 => 228,
            Self::Ipv6 => 229,
            Self::Cooked2 => 276,
        }
    }

    /// Every kind that is decoded.
    pub const ALL: [Self; 15] = [
        Self::Null,
        Self::Ethernet,
        Self::Ppp,
        Self::Raw,
        Self::PppHdlc,
        Self::Pppoe,
        Self::CiscoHdlc,
        Self::Wifi,
        Self::Loop,
        Self::Cooked,
        Self::Radiotap,
        Self::Mpls,
        Self::Ipv4,
        Self::Ipv6,
        Self::Cooked2,
    ];
}
