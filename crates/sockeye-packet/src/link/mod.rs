//! What a link carries below IP: frames, tags, and address resolution.

mod arp;
mod ethernet;
mod mac;
#[cfg(test)]
mod prop;
mod vlan;

pub use arp::{ARP_HEADER_LEN, Arp, ArpBuilder};
pub use ethernet::{ETHERNET_HEADER_LEN, ETHERNET_MIN_LEN, Ethernet, EthernetBuilder};
pub use mac::{MacAddr, MacAddrError};
pub use vlan::{VLAN_TAG_LEN, Vlan, VlanBuilder};
