//! What a link carries below IP: frames, tags, labels, address resolution, and the headers of captures.

mod arp;
mod cooked;
mod ethernet;
mod llc;
mod mac;
mod mpls;
mod ppp;
#[cfg(test)]
mod prop;
mod radiotap;
mod vlan;
mod wifi;

pub use arp::{ARP_HEADER_LEN, Arp, ArpBuilder};
pub use cooked::{
    COOKED_HEADER_LEN, COOKED2_HEADER_LEN, Cooked, Cooked2, LOOPBACK_HEADER_LEN, Loopback, PacketType,
};
pub use ethernet::{ETHERNET_HEADER_LEN, ETHERNET_MIN_LEN, Ethernet, EthernetBuilder};
pub use llc::Llc;
pub use mac::{MacAddr, MacAddrError};
pub use mpls::{MPLS_LABEL_LEN, Mpls};
pub use ppp::{HDLC_HEADER_LEN, Hdlc, PPPOE_HEADER_LEN, Ppp, Pppoe};
pub use radiotap::Radiotap;
pub use vlan::{VLAN_TAG_LEN, Vlan, VlanBuilder};
pub use wifi::{Wifi, WifiKind};
