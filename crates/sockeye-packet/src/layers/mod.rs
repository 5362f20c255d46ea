//! A whole frame: one header after the other, through tags and tunnels down to the innermost packet.

mod link_type;
#[cfg(test)]
mod tests;

pub use link_type::LinkType;

use crate::bytes::be8;
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::ethertype;
use crate::link::{
    Arp, COOKED_HEADER_LEN, COOKED2_HEADER_LEN, Cooked, Cooked2, ETHERNET_HEADER_LEN, Ethernet,
    HDLC_HEADER_LEN, Hdlc, LOOPBACK_HEADER_LEN, Llc, Loopback, Mpls, PPPOE_HEADER_LEN, Ppp, Pppoe, Radiotap,
    VLAN_TAG_LEN, Vlan, Wifi,
};
use crate::packet::{Packet, Transport};
use crate::protocol;
use crate::tunnel::{GENEVE_PORT, Geneve, Gre, VXLAN_HEADER_LEN, VXLAN_PORT, Vxlan};
use crate::udp::UDP_HEADER_LEN;

/// So many headers inside of headers are followed. Real frames have less than half of them.
pub const MAX_LAYERS: usize = 16;

/// A header that [`Layers`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Where it begins, in bytes from the start of the frame.
    pub offset: usize,
    /// The header.
    pub header: Header<'a>,
    /// What is wrong with it, with its place in the frame.
    pub fault: Option<PacketError>,
}

/// The kinds of headers. An IP packet counts as one, with its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Header<'a> {
    /// Ethernet.
    Ethernet(Ethernet<&'a [u8]>),
    /// LLC, and SNAP.
    Llc(Llc<&'a [u8]>),
    /// A VLAN tag, and the EtherType that announced it.
    Vlan(u16, Vlan<&'a [u8]>),
    /// ARP, and RARP.
    Arp(Arp<&'a [u8]>),
    /// MPLS.
    Mpls(Mpls<&'a [u8]>),
    /// PPPoE.
    Pppoe(Pppoe<&'a [u8]>),
    /// PPP.
    Ppp(Ppp<&'a [u8]>),
    /// Cisco HDLC.
    Hdlc(Hdlc<&'a [u8]>),
    /// Linux cooked.
    Cooked(Cooked<&'a [u8]>),
    /// Linux cooked, version 2.
    Cooked2(Cooked2<&'a [u8]>),
    /// The address family of a BSD loopback.
    Loopback(Loopback<&'a [u8]>),
    /// Radiotap.
    Radiotap(Radiotap<&'a [u8]>),
    /// 802.11.
    Wifi(Wifi<&'a [u8]>),
    /// An IP packet.
    Packet(Packet<'a>),
    /// GRE.
    Gre(Gre<&'a [u8]>),
    /// VXLAN.
    Vxlan(Vxlan<&'a [u8]>),
    /// Geneve.
    Geneve(Geneve<&'a [u8]>),
    /// Something that is not decoded.
    Other(Carried, &'a [u8]),
    /// A header that is not there in full, or lies: the fault says which, and why. Nothing can be found behind it.
    Unsound(&'a [u8]),
}

/// How the header before names what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carried {
    /// By an EtherType.
    EtherType(u16),
    /// By a number of PPP.
    Ppp(u16),
    /// By a service access point of LLC.
    Sap(u8),
    /// By a number that depends on the kind of device, in a cooked header.
    Device(u16),
    /// By an address family, on a loopback.
    Family(u32),
    /// Not at all.
    Unnamed,
}

/// What the next header is.
#[derive(Clone, Copy, Debug)]
enum Next {
    Link(LinkType),
    EtherType(u16),
    Llc,
    Ppp,
    Wifi { is_padded: bool },
    Packet,
    Gre,
    Vxlan,
    Geneve,
    Other(Carried),
}

/// The headers of a frame, from the outside to the inside. Lax: what is sound is found, the rest is a fault.
///
/// Tunnels in UDP are known by their ports (VXLAN 4789, Geneve 6081). Fragments of IP packets are not looked into. There are
/// at most [`MAX_LAYERS`] headers, and one [`Fault::TooDeep`] behind them.
///
/// ```
/// use sockeye_packet::{EthernetBuilder, Header, Ipv4Builder, Layers, LinkType, MacAddr, UdpBuilder, VlanBuilder};
/// let packet = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
///     .carrying(UdpBuilder::new(4000, 53, b"hello"));
/// let mut buffer = [0; 64];
/// let len = EthernetBuilder::new(MacAddr::ZERO, MacAddr::BROADCAST, VlanBuilder::new(5, packet)).write(&mut buffer)?;
///
/// let mut layers = Layers::new(LinkType::Ethernet, &buffer[..len]).map(|found| (found.offset, found.header));
/// assert!(matches!(layers.next(), Some((0, Header::Ethernet(_)))));
/// assert!(matches!(layers.next(), Some((14, Header::Vlan(0x8100, tag))) if tag.id() == 5));
/// assert!(matches!(layers.next(), Some((18, Header::Packet(packet))) if packet.protocol == 17));
/// assert_eq!(layers.next(), None);
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    next: Option<(Next, &'a [u8])>,
    offset: usize,
    count: usize,
}

/// A header, its fault, how many bytes lie between its start and its payload, and what that is.
type Step<'a> = Result<(Header<'a>, Option<PacketError>, Option<Onwards<'a>>), PacketError>;

#[derive(Clone, Copy, Debug)]
struct Onwards<'a> {
    next: Next,
    skipped: usize,
    data: &'a [u8],
}

const fn onwards(next: Next, skipped: usize, data: &[u8]) -> Option<Onwards<'_>> {
    Some(Onwards { next, skipped, data })
}

impl<'a> Layers<'a> {
    /// The headers of `frame`, which comes from a link of this kind.
    #[must_use]
    pub const fn new(link: LinkType, frame: &'a [u8]) -> Self {
        Self {
            next: Some((Next::Link(link), frame)),
            offset: 0,
            count: 0,
        }
    }

    /// The headers of what an EtherType names, without a frame around it.
    #[must_use]
    pub const fn of_ethertype(ethertype: u16, data: &'a [u8]) -> Self {
        Self {
            next: Some((Next::EtherType(ethertype), data)),
            offset: 0,
            count: 0,
        }
    }
}

impl<'a> Iterator for Layers<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let (next, data) = self.next.take()?;
        let offset = self.offset;
        if self.count == MAX_LAYERS {
            let fault = PacketError::new(Layer::Nesting, Fault::TooDeep, offset, MAX_LAYERS, MAX_LAYERS + 1);
            return Some(Found {
                offset,
                header: Header::Unsound(data),
                fault: Some(fault),
            });
        }
        self.count += 1;
        let (header, fault) = match step(next, data) {
            Ok((header, fault, onwards)) => {
                // Behind a header that goes on after the last byte there is nothing.
                if let Some(onwards) = onwards.filter(|onwards| onwards.skipped <= data.len()) {
                    self.offset += onwards.skipped;
                    self.next = Some((onwards.next, onwards.data));
                }
                (header, fault)
            }
            Err(fault) => (Header::Unsound(data), Some(fault)),
        };
        let fault = fault.map(|fault| fault.shifted(offset));
        Some(Found {
            offset,
            header,
            fault,
        })
    }
}

impl core::iter::FusedIterator for Layers<'_> {}

fn step(next: Next, data: &[u8]) -> Step<'_> {
    match next {
        Next::Link(link) => link_header(link, data),
        Next::EtherType(kind) => by_ethertype(kind, data),
        Next::Llc => llc(data),
        Next::Ppp => ppp(data),
        Next::Wifi { is_padded } => wifi(data, is_padded),
        Next::Packet => packet(data),
        Next::Gre => gre(data),
        Next::Vxlan => vxlan(data),
        Next::Geneve => geneve(data),
        Next::Other(carried) => Ok((Header::Other(carried, data), None, None)),
    }
}

fn link_header(link: LinkType, data: &[u8]) -> Step<'_> {
    match link {
        LinkType::Ethernet => ethernet(data),
        LinkType::Ppp | LinkType::PppHdlc => ppp(data),
        LinkType::Raw | LinkType::Ipv4 | LinkType::Ipv6 => packet(data),
        LinkType::Pppoe => pppoe(data),
        LinkType::CiscoHdlc => hdlc(data),
        LinkType::Wifi => wifi(data, false),
        LinkType::Null | LinkType::Loop => loopback(data),
        LinkType::Cooked => cooked(data),
        LinkType::Cooked2 => cooked2(data),
        LinkType::Radiotap => radiotap(data),
        LinkType::Mpls => mpls(data),
    }
}

fn by_ethertype(kind: u16, data: &[u8]) -> Step<'_> {
    match kind {
        ethertype::IPV4 | ethertype::IPV6 => packet(data),
        ethertype::ARP | ethertype::RARP => {
            let Lax { view, stopped } = Arp::lax(data)?;
            Ok((Header::Arp(view), stopped, None))
        }
        ethertype::MPLS | ethertype::MPLS_UPSTREAM => mpls(data),
        ethertype::PPPOE_DISCOVERY | ethertype::PPPOE_SESSION => pppoe(data),
        ethertype::PPP => ppp(data),
        ethertype::ETHERNET => ethernet(data),
        tag if ethertype::is_vlan(tag) => vlan(tag, data),
        other => Ok((Header::Other(Carried::EtherType(other), data), None, None)),
    }
}

/// What stands behind an EtherType or a length.
fn behind_type(field: u16, data: &[u8]) -> Next {
    if ethertype::is_ethertype(field) {
        return Next::EtherType(field);
    }
    // Novell's frames have neither LLC nor anything else that names their payload.
    if field > ethertype::MAX_LENGTH || data.starts_with(&[0xff, 0xff]) {
        Next::Other(Carried::Unnamed)
    } else {
        Next::Llc
    }
}

fn ethernet(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Ethernet::lax(data)?;
    let next = behind_type(view.type_or_length(), view.body());
    Ok((
        Header::Ethernet(view),
        stopped,
        onwards(next, ETHERNET_HEADER_LEN, view.body()),
    ))
}

fn vlan(tag: u16, data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Vlan::lax(data)?;
    let next = behind_type(view.type_or_length(), view.body());
    Ok((
        Header::Vlan(tag, view),
        stopped,
        onwards(next, VLAN_TAG_LEN, view.body()),
    ))
}

fn llc(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Llc::lax(data)?;
    let next = match (view.ethertype(), view.is_snap()) {
        (Some(kind), _) => Some(Next::EtherType(kind)),
        // Another organisation's own, or cut off.
        (None, true) => None,
        (None, false) => Some(Next::Other(Carried::Sap(view.destination_sap()))),
    };
    let onwards = next.and_then(|next| onwards(next, view.header_len(), view.body()));
    Ok((Header::Llc(view), stopped, onwards.filter(|_| stopped.is_none())))
}

fn mpls(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Mpls::lax(data)?;
    let body = view.body();
    let next = match be8(body, 0) >> 4 {
        4 | 6 => Next::Packet,
        _ => Next::Other(Carried::Unnamed),
    };
    let onwards = onwards(next, view.header_len(), body).filter(|_| stopped.is_none() && !body.is_empty());
    Ok((Header::Mpls(view), stopped, onwards))
}

fn pppoe(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Pppoe::lax(data)?;
    let next = onwards(Next::Ppp, PPPOE_HEADER_LEN, view.body()).filter(|_| view.code() == 0);
    Ok((Header::Pppoe(view), stopped, next))
}

fn ppp(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Ppp::lax(data)?;
    let next = match view.ethertype() {
        Some(kind) => Next::EtherType(kind),
        None => Next::Other(Carried::Ppp(view.protocol())),
    };
    Ok((
        Header::Ppp(view),
        stopped,
        onwards(next, view.header_len(), view.body()),
    ))
}

fn hdlc(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Hdlc::lax(data)?;
    let next = match view.protocol() {
        // Cisco's keepalives have the number that is RARP elsewhere.
        kind @ ethertype::RARP => Next::Other(Carried::EtherType(kind)),
        kind => Next::EtherType(kind),
    };
    Ok((
        Header::Hdlc(view),
        stopped,
        onwards(next, HDLC_HEADER_LEN, view.body()),
    ))
}

fn behind_cooked(ethertype: Option<u16>, is_llc: bool, protocol: u16) -> Next {
    match ethertype {
        Some(kind) => Next::EtherType(kind),
        None if is_llc => Next::Llc,
        None => Next::Other(Carried::Device(protocol)),
    }
}

fn cooked(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Cooked::lax(data)?;
    let next = behind_cooked(view.ethertype(), view.is_llc(), view.protocol());
    Ok((
        Header::Cooked(view),
        stopped,
        onwards(next, COOKED_HEADER_LEN, view.body()),
    ))
}

fn cooked2(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Cooked2::lax(data)?;
    let next = behind_cooked(view.ethertype(), view.is_llc(), view.protocol());
    Ok((
        Header::Cooked2(view),
        stopped,
        onwards(next, COOKED2_HEADER_LEN, view.body()),
    ))
}

fn loopback(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Loopback::lax(data)?;
    let body = view.body();
    // The number of IPv6 is another one on each system: the version of the packet says the same everywhere.
    let next = match (view.ethertype(), be8(body, 0) >> 4) {
        (Some(_), _) | (None, 4 | 6) => Next::Packet,
        _ => Next::Other(Carried::Family(view.family())),
    };
    Ok((
        Header::Loopback(view),
        stopped,
        onwards(next, LOOPBACK_HEADER_LEN, body),
    ))
}

fn radiotap(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Radiotap::lax(data)?;
    let next = Next::Wifi {
        is_padded: view.has_padding(),
    };
    let is_whole = view.header_len() <= data.len();
    let onwards = onwards(next, view.header_len(), view.body()).filter(|_| is_whole);
    Ok((Header::Radiotap(view), stopped, onwards))
}

fn wifi(data: &[u8], is_padded: bool) -> Step<'_> {
    let Lax { view, stopped } = Wifi::lax(data)?;
    let view = view.padded(is_padded);
    let at = view.payload_offset();
    let carries = view.is_llc() && stopped.is_none() && at <= data.len();
    let next = onwards(Next::Llc, at, view.body()).filter(|_| carries);
    Ok((Header::Wifi(view), stopped, next))
}

fn packet(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Packet::lax(data)?;
    Ok((Header::Packet(view), stopped, inside(&view)))
}

/// The tunnel in a packet.
fn inside<'a>(packet: &Packet<'a>) -> Option<Onwards<'a>> {
    if packet.fragment.is_some() {
        return None;
    }
    match packet.transport {
        Transport::Other(data) => {
            let next = match packet.protocol {
                protocol::IPV4 | protocol::IPV6 => Next::Packet,
                protocol::GRE => Next::Gre,
                protocol::MPLS_IN_IP => Next::EtherType(ethertype::MPLS),
                _ => return None,
            };
            onwards(next, packet.offset, data)
        }
        Transport::Udp(udp) => {
            let next = match udp.destination_port() {
                VXLAN_PORT => Next::Vxlan,
                GENEVE_PORT => Next::Geneve,
                _ => return None,
            };
            onwards(next, packet.offset + UDP_HEADER_LEN, udp.body())
        }
        _ => None,
    }
}

fn gre(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Gre::lax(data)?;
    let is_whole = view.header_len() <= data.len();
    let next = onwards(Next::EtherType(view.protocol()), view.header_len(), view.body());
    Ok((Header::Gre(view), stopped, next.filter(|_| is_whole)))
}

fn vxlan(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Vxlan::lax(data)?;
    let next = onwards(
        Next::EtherType(ethertype::ETHERNET),
        VXLAN_HEADER_LEN,
        view.body(),
    );
    Ok((Header::Vxlan(view), stopped, next))
}

fn geneve(data: &[u8]) -> Step<'_> {
    let Lax { view, stopped } = Geneve::lax(data)?;
    let next = onwards(Next::EtherType(view.protocol()), view.header_len(), view.body());
    Ok((Header::Geneve(view), stopped, next.filter(|_| stopped.is_none())))
}
