//! Numbers that say what a frame carries, in host order.
//!
//! # References
//! The [IEEE 802 numbers](https://www.iana.org/assignments/ieee-802-numbers) of IANA; `linux/if_ether.h`

/// Every protocol, on received frames (`ETH_P_ALL`).
pub const ALL: u16 = 0x0003;
/// IPv4.
pub const IPV4: u16 = 0x0800;
/// ARP (RFC 826).
pub const ARP: u16 = 0x0806;
/// A VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;
/// IPv6.
pub const IPV6: u16 = 0x86dd;
/// A service VLAN tag (IEEE 802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;
/// LLDP.
pub const LLDP: u16 = 0x88cc;
