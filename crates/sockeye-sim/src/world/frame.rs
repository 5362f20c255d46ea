//! Frames of the simulated links: Ethernet around the packets of IP, with addresses that are made up.
//!
//! There is no ARP and no neighbour discovery: a frame finds its way by the IP packet in it, whatever its Ethernet addresses are.
//! A socket sees the datagrams and packets that arrive at its host; segments of TCP are no packets in here, and not seen.

use std::net::{IpAddr, SocketAddr};

use sockeye_packet::{ETHERNET_HEADER_LEN, Ipv6, ethertype};
use sockeye_socket::link::{FrameMeta, LinkAddress, PacketType};

use super::knobs::Call;
use super::message::{MessageKind, Sending};
use super::{NONE, World};
use crate::errno;
use crate::trace::Step;

/// `ETH_P_ALL`.
pub(crate) const ALL: u16 = 3;
/// `ARPHRD_ETHER`.
const ETHER: u16 = 1;
/// The one interface of a host.
const INTERFACE: u32 = 1;

/// The address of a host's interface.
pub(crate) fn mac_of(host: u16) -> [u8; 6] {
    let [high, low] = host.to_be_bytes();
    [2, 0, 0, 0, high, low]
}

/// The address that frames come from: that of whatever is at the other end of the link.
const FROM: [u8; 6] = [2, 0xff, 0, 0, 0, 1];

impl World {
    /// Every packet socket that fits gets a copy of what has arrived.
    pub(crate) fn copies_for_links(&mut self, host: u16, flight: u32) {
        // Most simulations have none.
        for index in 0..self.messages.len() {
            let socket = &self.messages[index];
            let MessageKind::Link(wanted) = socket.kind else {
                continue;
            };
            let kind = kind_of(self.flight(flight).destination.ip());
            if socket.in_use && socket.host == host && (wanted == ALL || wanted == kind) {
                let copy = self.copy_flight(flight);
                self.flight_mut(copy).arrived_ns = self.now;
                self.queue_message(u32::try_from(index).unwrap_or(NONE), copy);
            }
        }
    }

    /// The frame around a packet that has arrived, and what is known of it.
    pub(crate) fn frame_of(&self, host: u16, flight: u32) -> (Vec<u8>, FrameMeta) {
        let kind = kind_of(self.flight(flight).destination.ip());
        let mut frame = Vec::new();
        frame.extend_from_slice(&mac_of(host));
        frame.extend_from_slice(&FROM);
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(&self.wire(flight));
        let mut source = LinkAddress::new(INTERFACE, kind).with_hardware(&FROM);
        source.hardware_type = ETHER;
        source.packet_type = PacketType::Host;
        (frame, FrameMeta::new(source))
    }

    /// sendmsg(2) of one frame. What is no packet of IP goes out, and nobody takes it.
    pub(crate) fn send_frame(&mut self, index: u32, frame: &[u8]) -> Result<(), i32> {
        let (header, packet) = frame.split_at_checked(ETHERNET_HEADER_LEN).ok_or(errno::EINVAL)?;
        let sending = Sending {
            payload: packet,
            to: None,
            source: None,
            hop_limit: None,
            class: 0,
        };
        match u16::from_be_bytes([header[12], header[13]]) {
            ethertype::IPV4 => {
                let destination = packet.get(16..20).and_then(|bytes| bytes.first_chunk::<4>());
                let destination = destination.ok_or(errno::EINVAL)?;
                self.count_link_call(index)?;
                self.send_whole(index, &sending, SocketAddr::new(IpAddr::from(*destination), 0))
            }
            ethertype::IPV6 => {
                self.count_link_call(index)?;
                self.send_whole_v6(index, packet)
            }
            _ => self.count_link_call(index),
        }
    }

    fn count_link_call(&mut self, index: u32) -> Result<(), i32> {
        let host = self.messages[index as usize].host;
        self.count_call(host, Call::Send)
    }

    /// A packet of IPv6, header included. Extension headers travel as its payload.
    fn send_whole_v6(&mut self, index: u32, packet: &[u8]) -> Result<(), i32> {
        let host = self.messages[index as usize].host;
        let ip = Ipv6::new(packet).map_err(|_| errno::EINVAL)?;
        let to = SocketAddr::new(ip.destination().into(), 0);
        let path = self.route(host, to.ip())?;
        self.step(Step::Send, index, packet.len() as u64);
        let flight = self.new_flight(host, ip.body());
        let slot = self.flight_mut(flight);
        slot.protocol = ip.next_header();
        slot.source = SocketAddr::new(ip.source().into(), 0);
        slot.destination = to;
        slot.hop_limit = ip.hop_limit();
        slot.class = ip.traffic_class();
        self.launch_whole(path, flight, packet.len())
    }
}

const fn kind_of(address: IpAddr) -> u16 {
    if address.is_ipv4() {
        ethertype::IPV4
    } else {
        ethertype::IPV6
    }
}
