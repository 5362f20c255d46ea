//! The EtherTypes that this crate knows by name (IEEE registration authority; IANA "IEEE 802 Numbers").

/// The smallest EtherType: what is below is the length of an 802.3 frame, or not allowed.
pub const MIN: u16 = 0x0600;
/// The longest payload that the length field of an 802.3 frame can state, in bytes.
pub const MAX_LENGTH: u16 = 1500;

/// IPv4.
pub const IPV4: u16 = 0x0800;
/// ARP.
pub const ARP: u16 = 0x0806;
/// A whole Ethernet frame, in GRE and Geneve (transparent Ethernet bridging).
pub const ETHERNET: u16 = 0x6558;
/// RARP.
pub const RARP: u16 = 0x8035;
/// The tag of 802.1Q.
pub const VLAN: u16 = 0x8100;
/// IPv6.
pub const IPV6: u16 = 0x86dd;
/// PPP, in GRE (RFC 2637 and others).
pub const PPP: u16 = 0x880b;
/// MPLS (RFC 3032; RFC 5332 for what was multicast once).
pub const MPLS: u16 = 0x8847;
/// MPLS with a label that the upstream router has assigned (RFC 5332).
pub const MPLS_UPSTREAM: u16 = 0x8848;
/// Discovery of PPPoE.
pub const PPPOE_DISCOVERY: u16 = 0x8863;
/// Sessions of PPPoE.
pub const PPPOE_SESSION: u16 = 0x8864;
/// The service tag of 802.1ad, the outer one of QinQ.
pub const SERVICE_VLAN: u16 = 0x88a8;
/// LLDP.
pub const LLDP: u16 = 0x88cc;
/// The number of outer tags before 802.1ad.
pub const OLD_SERVICE_VLAN: u16 = 0x9100;

/// Whether a VLAN tag follows: 802.1Q, 802.1ad, or the number before the latter.
#[must_use]
pub const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, VLAN | SERVICE_VLAN | OLD_SERVICE_VLAN)
}

/// Whether the field holds an EtherType and not a length.
#[must_use]
pub const fn is_ethertype(field: u16) -> bool {
    field >= MIN
}
