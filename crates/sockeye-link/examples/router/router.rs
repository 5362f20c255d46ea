//! The router without its sockets: a frame in, frames out. Each family has its own file; this one has what they share.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sockeye_endpoint::{NetMap, Network};
use sockeye_packet::{ArpBuilder, EthernetBuilder, Icmpv6Builder, Ipv6Builder, MacAddr, ethertype};

use crate::interface::Interface;
use crate::nat::Nat;
use crate::neighbours::{Answer, Due, Neighbours};

/// ICMP errors a second (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f).
const ERRORS_A_SECOND: u32 = 100;

/// What happened to packets.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) received: u64,
    pub(crate) forwarded: u64,
    pub(crate) local: u64,
    pub(crate) malformed: u64,
    pub(crate) no_route: u64,
    pub(crate) hops_exceeded: u64,
    pub(crate) too_big: u64,
    pub(crate) fragmented: u64,
    pub(crate) not_translated: u64,
    pub(crate) no_neighbour: u64,
    pub(crate) errors_held_back: u64,
    /// Frames that the kernel had no room for.
    pub(crate) overflowed: u64,
}

/// Where a network is: through which interface, and by which router.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) interface: usize,
    pub(crate) gateway: Option<IpAddr>,
}

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) interfaces: Vec<Interface>,
    routes: NetMap<Route>,
    neighbours: Neighbours,
    /// Which interface is the outer one, and its table.
    pub(crate) nat: Option<(usize, Nat)>,
    pub(crate) counters: Counters,
    /// Frames to send, each through the interface in front of it.
    pub(crate) out: Vec<(usize, Vec<u8>)>,
    errors_left: u32,
    errors_since: Duration,
}

impl Router {
    pub(crate) fn new(interfaces: Vec<Interface>) -> Self {
        let mut routes = NetMap::new();
        for (index, interface) in interfaces.iter().enumerate() {
            for (_, network) in &interface.addresses {
                let on_link = Route {
                    interface: index,
                    gateway: None,
                };
                routes.insert(*network, on_link);
            }
        }
        Self {
            interfaces,
            routes,
            neighbours: Neighbours::default(),
            nat: None,
            counters: Counters::default(),
            out: Vec::new(),
            errors_left: ERRORS_A_SECOND,
            errors_since: Duration::ZERO,
        }
    }

    /// Adds a route by a gateway, which must be on a link of the router.
    pub(crate) fn add_route(&mut self, network: Network, gateway: IpAddr) -> bool {
        let Some(route) = self.route(gateway).filter(|route| route.gateway.is_none()) else {
            return false;
        };
        let gateway = Some(gateway);
        self.routes.insert(network, Route { gateway, ..route });
        true
    }

    /// The longest prefix that has the address.
    pub(crate) fn route(&self, to: IpAddr) -> Option<Route> {
        self.routes.lookup(to).map(|(_, route)| *route)
    }

    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.has(address))
    }

    /// A frame that came by an interface; its payload may be changed.
    pub(crate) fn on_frame(&mut self, from: usize, frame: &mut [u8], now: Duration) {
        let Some((header, packet)) = frame.split_at_mut_checked(14) else {
            return;
        };
        let to = MacAddr([header[0], header[1], header[2], header[3], header[4], header[5]]);
        if to != self.interfaces[from].mac && !to.is_multicast() {
            return;
        }
        let unicast = !to.is_multicast();
        match u16::from_be_bytes([header[12], header[13]]) {
            ethertype::ARP => self.on_arp(from, packet, now),
            ethertype::IPV4 => self.on_ipv4(from, packet, unicast, now),
            ethertype::IPV6 => self.on_ipv6(from, packet, unicast, now),
            _ => {}
        }
    }

    /// Sends a packet to a neighbour, as soon as its link address is known.
    pub(crate) fn send(&mut self, interface: usize, next_hop: IpAddr, packet: &[u8], now: Duration) {
        match self.neighbours.find((interface, next_hop), packet, now) {
            Answer::Send(mac) => self.emit(interface, mac, next_hop, packet),
            Answer::Wait { ask: true } => self.ask(interface, next_hop),
            Answer::Wait { ask: false } => {}
            Answer::Drop => self.counters.no_neighbour += 1,
        }
    }

    fn emit(&mut self, interface: usize, to: MacAddr, next_hop: IpAddr, packet: &[u8]) {
        let kind = if next_hop.is_ipv4() {
            ethertype::IPV4
        } else {
            ethertype::IPV6
        };
        self.emit_as(interface, to, kind, packet);
    }

    pub(crate) fn emit_as(&mut self, interface: usize, to: MacAddr, kind: u16, packet: &[u8]) {
        let mut frame = vec![0; packet.len() + 14];
        let from = self.interfaces[interface].mac;
        if EthernetBuilder::new(from, to, packet)
            .ethertype(kind)
            .write(&mut frame)
            .is_ok()
        {
            self.out.push((interface, frame));
        }
    }

    /// Asks who has an address.
    fn ask(&mut self, interface: usize, wanted: IpAddr) {
        let own = &self.interfaces[interface];
        let (mac, from) = (own.mac, own.address_like(wanted));
        let mut packet = [0; 128];
        match (wanted, from) {
            (IpAddr::V4(wanted), Some(IpAddr::V4(from))) => {
                let question = ArpBuilder::request(mac, from, wanted);
                let mut frame = [0; 64];
                let built = EthernetBuilder::new(mac, MacAddr::BROADCAST, &question)
                    .padded()
                    .write(&mut frame);
                if let Ok(len) = built {
                    self.out.push((interface, frame[..len].to_vec()));
                }
            }
            (IpAddr::V6(wanted), Some(IpAddr::V6(from))) => {
                let octets = wanted.octets();
                // The solicited-node group (RFC 4291 section 2.7.1).
                let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
                group[13..].copy_from_slice(&octets[13..]);
                let question = Icmpv6Builder::neighbour_solicitation(wanted, mac.octets());
                let ip = Ipv6Builder::new(from, group.into()).hop_limit(255);
                if let Ok(len) = ip.write(&mut packet, &question) {
                    let to = MacAddr::of_ipv6_group(group.into());
                    self.emit_as(interface, to, ethertype::IPV6, &packet[..len]);
                }
            }
            _ => {}
        }
    }

    /// A neighbour has said who it is: what has waited for it goes.
    pub(crate) fn learn(&mut self, interface: usize, address: IpAddr, mac: MacAddr, now: Duration) {
        for packet in self.neighbours.learn((interface, address), mac, now) {
            self.emit(interface, mac, address, &packet);
        }
    }

    /// Whether one more ICMP error may be sent in this second.
    pub(crate) fn may_tell(&mut self, now: Duration) -> bool {
        if now >= self.errors_since + Duration::from_secs(1) {
            self.errors_since = now;
            self.errors_left = ERRORS_A_SECOND;
        }
        if self.errors_left == 0 {
            self.counters.errors_held_back += 1;
            return false;
        }
        self.errors_left -= 1;
        true
    }

    /// What time brings; to be called every second or so.
    pub(crate) fn tick(&mut self, now: Duration) {
        for due in self.neighbours.due(now) {
            match due {
                Due::Ask((interface, wanted)) => self.ask(interface, wanted),
                Due::Unreachable(packets) => {
                    for packet in packets {
                        self.counters.no_neighbour += 1;
                        match packet.first().map(|first| first >> 4) {
                            Some(4) => self.host_unreachable_v4(&packet, now),
                            _ => self.host_unreachable_v6(&packet, now),
                        }
                    }
                }
            }
        }
        if let Some((_, nat)) = &mut self.nat {
            nat.expire(now);
        }
    }

    /// The outer address, where packets from this interface to that one are translated.
    pub(crate) fn outer_address(&self) -> Option<Ipv4Addr> {
        self.nat.as_ref().map(|(_, nat)| nat.outer)
    }
}
