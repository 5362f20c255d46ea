//! What a filter says, as data.

use std::net::IpAddr;

use sockeye_packet::MacAddr;

/// A filter, parsed. `and` and `or` bind equally strong, from left to right, as in pcap-filter(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// One test, and where it stands in the text.
    Primitive(Primitive, usize),
    /// The opposite.
    Not(Box<Self>),
    /// The first, then each of the others with what ties it to all before it. Flat: text of any length is no deep tree.
    Chain(Box<Self>, Vec<(Tie, Self)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tie {
    And,
    Or,
}

/// Which end of a packet a test is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Direction {
    #[default]
    Either,
    Source,
    Destination,
    Both,
}

/// The protocols that have a word of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Ether,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Pim,
    Vrrp,
    Ah,
    Esp,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Primitive {
    /// A protocol alone: `tcp`.
    Is(Protocol),
    /// The protocol number of IP: `ip proto 89`; of both versions without a family.
    IpProtocol(Option<Protocol>, u8),
    /// `ether proto 0x88cc`.
    EtherType(u16),
    /// `host` and `net`: the address, and how many leading bits of it count. The protocol is IP, IPv6, ARP or RARP.
    Network(Option<Protocol>, Direction, IpAddr, u32),
    /// `ether host`.
    Ether(Direction, MacAddr),
    /// `ether broadcast`.
    EtherBroadcast,
    /// `ether multicast`, `ip multicast`, `ip6 multicast`.
    Multicast(Protocol),
    /// `port` and `portrange`, of TCP, UDP, SCTP, or all three.
    Ports(Option<Protocol>, Direction, u16, u16),
    /// `vlan`, of any number or of one; what stands behind it in the text looks behind the tag.
    Vlan(Option<u16>),
    /// `tcp[13] & 2 != 0` and the like.
    Relation(Arithmetic, Relation, Arithmetic),
}

/// How two numbers, both unsigned, must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A computation in postfix order: operands first. Never empty.
pub(super) type Arithmetic = Vec<Term>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Number(u32),
    /// Length of the packet on the wire.
    Len,
    /// So many bytes (1, 2, 4) of the protocol, from the index on that was computed before.
    Load(Protocol, u8),
    /// The two that were computed before.
    Binary(Operator),
    /// 0 minus the one before.
    Negate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

impl Operator {
    /// The bits of the instruction.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Add => 0x00,
            Self::Subtract => 0x10,
            Self::Multiply => 0x20,
            Self::Divide => 0x30,
            Self::Or => 0x40,
            Self::And => 0x50,
            Self::ShiftLeft => 0x60,
            Self::ShiftRight => 0x70,
            Self::Modulo => 0x90,
            Self::Xor => 0xa0,
        }
    }

    /// As the machine computes: wrapping, and `None` for a division by 0. Shifts beyond the width leave nothing.
    pub(super) fn apply(self, left: u32, right: u32) -> Option<u32> {
        Some(match self {
            Self::Add => left.wrapping_add(right),
            Self::Subtract => left.wrapping_sub(right),
            Self::Multiply => left.wrapping_mul(right),
            Self::Divide => left.checked_div(right)?,
            Self::Modulo => left.checked_rem(right)?,
            Self::Or => left | right,
            Self::And => left & right,
            Self::Xor => left ^ right,
            Self::ShiftLeft => left.checked_shl(right).unwrap_or(0),
            Self::ShiftRight => left.checked_shr(right).unwrap_or(0),
        })
    }
}
