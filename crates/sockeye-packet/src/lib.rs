//! Packets and frames of a link: views, builders, checksums, fragments. No I/O, `no_std`.
//!
//! A view ([`Ipv4`], [`Ipv6`], [`Icmpv4`], [`Icmpv6`], [`Udp`], [`UdpLite`], [`Tcp`]) lies over bytes that somebody else owns.
//! Its constructor checks the lengths once; getters cannot fail after that. `new` is strict; `lax` gives what is
//! sound of a packet that is cut off or lies, and says where it stopped. Every fault is a [`PacketError`]: layer, offset,
//! what was required, what was there. No input makes this crate panic, loop or allocate.
//!
//! ```
//! use sockeye_packet::{Ipv4, Ipv4Builder, Udp, UdpBuilder};
//!
//! let mut buffer = [0; 128];
//! let len = Ipv4Builder::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
//!     .write(&mut buffer, &UdpBuilder::new(5353, 53, b"question"))?;
//!
//! let ip = Ipv4::new(&buffer[..len])?;
//! let udp = Udp::new(ip.payload())?;
//! assert_eq!(udp.checksum_status(ip.pseudo()).ok(), Some(true));
//! assert_eq!((udp.destination_port(), udp.payload()), (53, &b"question"[..]));
//! # Ok::<(), sockeye_packet::PacketError>(())
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `ipv4`, `ipv6` | the network headers, their options and extension headers, [`Ipv4Builder`], [`Ipv6Builder`] |
//! | `icmp` | [`Icmpv4`], [`Icmpv6`], [`Quoted`] datagrams, [`IcmpExtensions`], neighbour discovery, MLD |
//! | `udp`, `udp_lite`, `tcp` | the transports |
//! | `link` | what a link carries below IP: [`Ethernet`], [`Vlan`], [`Arp`], [`Mpls`], [`Pppoe`], [`Cooked`], [`Wifi`] and their like |
//! | `tunnel` | packets in packets: [`Gre`], [`Vxlan`], [`Geneve`] |
//! | `layers` | a whole frame, one header after the other: [`Layers`], [`LinkType`] |
//! | `checksum` | [`checksum()`], [`Checksum`] in pieces, [`update_checksum`] in place |
//! | `packet` | a whole [`Packet`] in one call |
//! | `fragment` | [`Ipv4Fragments`], [`Ipv6Fragments`] into a caller's buffer |
//! | `reassemble` | [`Reassembler`]: caps, the caller's clock, overlaps refused (feature `alloc`) |
//! | `emit` | the seam between builders: [`Emit`] |
//! | `error` | [`PacketError`], [`Layer`], [`Fault`], [`Lax`] |
//! | [`protocol`], [`ethertype`] | protocol numbers and EtherTypes by name |
//!
//! Features: `std` (default) implies `alloc` and lets `thiserror` use `std`; `alloc` adds the [`Reassembler`], all else does without.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod bytes;
mod checksum;
mod emit;
mod error;
pub mod ethertype;
mod fragment;
mod icmp;
mod ipv4;
mod ipv6;
mod layers;
mod link;
mod packet;
pub mod protocol;
mod readdress;
#[cfg(feature = "alloc")]
mod reassemble;
mod tcp;
mod tunnel;
mod udp;
mod udp_lite;
mod view;

pub use checksum::{Checksum, ChecksumStatus, Pseudo, checksum, update_checksum, update_checksum_bytes};
pub use emit::Emit;
pub use error::{Fault, Lax, Layer, PacketError};
pub use fragment::{Ipv4Fragments, Ipv6Fragments};
pub use icmp::{
    ExtensionObject, ExtensionWriter, ICMP_HEADER_LEN, IcmpExtensions, Icmpv4, Icmpv4Builder, Icmpv4Message,
    Icmpv6, Icmpv6Builder, Icmpv6Message, InterfaceInfo, InterfaceRole, MldRecord, MldRecords, MplsLabel,
    MulticastReport, NeighbourOption, NeighbourOptions, Quoted, QuotedTransport, icmpv4, icmpv6,
};
pub use ipv4::{
    IPV4_HEADER_LEN, Ipv4, Ipv4Builder, Ipv4Carrying, Ipv4Option, Ipv4OptionWriter, Ipv4Options,
    TimestampOption,
};
pub use ipv6::{
    DestinationOptionsBuilder, Extension, ExtensionHeader, ExtensionHeaders, FragmentBuilder, FragmentHeader,
    HopByHopBuilder, IPV6_HEADER_LEN, Ipv6, Ipv6Builder, Ipv6Carrying, Ipv6Option, Ipv6Options,
    MAX_EXTENSION_HEADERS, RoutingBuilder, RoutingHeader, UnknownAction, UpperLayer,
};
pub use layers::{Carried, Found, Header, Layers, LinkType, MAX_LAYERS};
pub use link::{
    ARP_HEADER_LEN, Arp, ArpBuilder, COOKED_HEADER_LEN, COOKED2_HEADER_LEN, Cooked, Cooked2,
    ETHERNET_HEADER_LEN, ETHERNET_MIN_LEN, Ethernet, EthernetBuilder, HDLC_HEADER_LEN, Hdlc,
    LOOPBACK_HEADER_LEN, Llc, Loopback, MPLS_LABEL_LEN, MacAddr, MacAddrError, Mpls, PPPOE_HEADER_LEN,
    PacketType, Ppp, Pppoe, Radiotap, VLAN_TAG_LEN, Vlan, VlanBuilder, Wifi, WifiKind,
};
pub use packet::{Network, Packet, Transport};
#[cfg(feature = "alloc")]
pub use reassemble::{Expired, Reassembler, Reassembly, ReassemblyLimits};
pub use tcp::{TCP_HEADER_LEN, Tcp, TcpBuilder, TcpFlags, TcpOption, TcpOptionWriter, TcpOptions};
pub use tunnel::{
    GENEVE_HEADER_LEN, GENEVE_PORT, GRE_HEADER_LEN, Geneve, GeneveOption, GeneveOptions, Gre, GreBuilder,
    VXLAN_HEADER_LEN, VXLAN_PORT, Vxlan, VxlanBuilder,
};
pub use udp::{UDP_HEADER_LEN, Udp, UdpBuilder};
pub use udp_lite::{UdpLite, UdpLiteBuilder};
