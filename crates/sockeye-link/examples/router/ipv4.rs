//! IPv4: ARP, what is for the router itself, forwarding, and ICMP errors (RFC 1812).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sockeye_packet::{
    Arp, ArpBuilder, EthernetBuilder, Icmpv4, Icmpv4Builder, Ipv4, Ipv4Builder, Ipv4Fragments, protocol,
};

use crate::router::Router;

const NET_UNREACHABLE: u8 = 0;
const HOST_UNREACHABLE: u8 = 1;
const PORT_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// Bytes of the packet that an error quotes: with both headers 576 in all (RFC 1812 section 4.3.2.3).
const QUOTE: usize = 548;

impl Router {
    pub(crate) fn on_arp(&mut self, from: usize, packet: &[u8], now: Duration) {
        let Ok(arp) = Arp::new(packet) else {
            self.counters.malformed += 1;
            return;
        };
        let (Some((mac, sender)), Some((_, target))) = (arp.sender(), arp.target()) else {
            return;
        };
        let own = &self.interfaces[from];
        if arp.is_request()
            && own.has(target.into())
            && let Some(answer) = ArpBuilder::answer(&arp, own.mac)
        {
            let mut frame = [0; 64];
            let built = EthernetBuilder::new(own.mac, mac, &answer)
                .padded()
                .write(&mut frame);
            if let Ok(len) = built {
                self.out.push((from, frame[..len].to_vec()));
            }
        }
        if !sender.is_unspecified() {
            self.learn(from, sender.into(), mac, now);
        }
    }

    pub(crate) fn on_ipv4(&mut self, from: usize, packet: &mut [u8], unicast: bool, now: Duration) {
        self.counters.received += 1;
        let Some(len) = sound_len(packet) else {
            self.counters.malformed += 1;
            return;
        };
        // Short frames are padded.
        let packet = &mut packet[..len];
        let Ok(ip) = Ipv4::new(&*packet) else { return };
        let (source, destination) = (ip.source(), ip.destination());
        if !unicast || !may_cross(source) || !may_cross(destination) {
            return;
        }
        if self.is_own(destination.into()) {
            let is_outer = self.nat.as_ref().is_some_and(|(outer, _)| *outer == from);
            let translated = is_outer
                && self.outer_address() == Some(destination)
                && self.nat.as_mut().is_some_and(|(_, nat)| nat.inwards(packet, now));
            if !translated {
                self.counters.local += 1;
                return self.for_us_v4(from, packet, now);
            }
        }
        self.forward_v4(from, packet, now);
    }

    fn forward_v4(&mut self, from: usize, packet: &mut [u8], now: Duration) {
        let Ok(ip) = Ipv4::new(&*packet) else { return };
        let destination = ip.destination();
        if ip.ttl() <= 1 {
            self.counters.hops_exceeded += 1;
            return self.tell_v4(from, packet, now, |quote| Icmpv4Builder::time_exceeded(0, quote));
        }
        let Some(route) = self.route(destination.into()) else {
            self.counters.no_route += 1;
            return self.tell_v4(from, packet, now, |quote| {
                Icmpv4Builder::unreachable(NET_UNREACHABLE, 0, quote)
            });
        };
        let mtu = self.interfaces[route.interface].mtu;
        if packet.len() > mtu && ip.dont_fragment() {
            self.counters.too_big += 1;
            let told = u16::try_from(mtu).unwrap_or(u16::MAX);
            return self.tell_v4(from, packet, now, |quote| {
                Icmpv4Builder::unreachable(FRAGMENTATION_NEEDED, told, quote)
            });
        }
        if let Some((outer, nat)) = &mut self.nat
            && *outer == route.interface
            && *outer != from
            && !nat.outwards(packet, now)
        {
            self.counters.not_translated += 1;
            return;
        }
        if let Ok(mut ip) = Ipv4::new(&mut *packet) {
            ip.decrement_ttl();
        }
        self.counters.forwarded += 1;
        let next_hop = route.gateway.unwrap_or(IpAddr::V4(destination));
        if packet.len() <= mtu {
            return self.send(route.interface, next_hop, packet, now);
        }
        self.counters.fragmented += 1;
        let Ok(ip) = Ipv4::new(&*packet) else { return };
        let Ok(mut fragments) = Ipv4Fragments::new(ip, mtu) else {
            return;
        };
        let mut buffer = vec![0; mtu];
        while let Ok(Some(len)) = fragments.write_next(&mut buffer) {
            self.send(route.interface, next_hop, &buffer[..len], now);
        }
    }

    /// The router answers pings, and has no ports.
    fn for_us_v4(&mut self, from: usize, packet: &mut [u8], now: Duration) {
        let Ok(mut ip) = Ipv4::new(&mut *packet) else {
            return;
        };
        let (source, destination) = (ip.source(), ip.destination());
        match ip.protocol() {
            protocol::ICMPV4 if !ip.is_fragment() => {
                let Ok(mut icmp) = Icmpv4::new(ip.payload_mut()) else {
                    return;
                };
                if icmp.message_type() != 8 || !icmp.checksum_ok() {
                    return;
                }
                icmp.set_message_type(0);
                ip.set_source(destination);
                ip.set_destination(source);
                ip.set_ttl(64);
                if let Some(route) = self.route(source.into()) {
                    let next_hop = route.gateway.unwrap_or(IpAddr::V4(source));
                    self.send(route.interface, next_hop, packet, now);
                }
            }
            protocol::UDP | protocol::TCP => self.tell_v4(from, packet, now, |quote| {
                Icmpv4Builder::unreachable(PORT_UNREACHABLE, 0, quote)
            }),
            _ => {}
        }
    }

    /// The neighbour of a packet that has waited does not answer.
    pub(crate) fn host_unreachable_v4(&mut self, packet: &[u8], now: Duration) {
        let Ok(ip) = Ipv4::new(packet) else { return };
        if let Some(route) = self.route(ip.source().into()) {
            self.tell_v4(route.interface, packet, now, |quote| {
                Icmpv4Builder::unreachable(HOST_UNREACHABLE, 0, quote)
            });
        }
    }

    /// Sends an ICMP error about a packet to its source, unless there must be none (RFC 1812 section 4.3.2.7).
    fn tell_v4<'p>(
        &mut self,
        from: usize,
        packet: &'p [u8],
        now: Duration,
        error: impl FnOnce(&'p [u8]) -> Icmpv4Builder<'static, &'p [u8]>,
    ) {
        let Ok(ip) = Ipv4::new(packet) else { return };
        let about_error =
            ip.protocol() == protocol::ICMPV4 && Icmpv4::new(ip.body()).map_or(true, |icmp| icmp.is_error());
        if about_error || ip.fragment_offset() > 0 {
            return;
        }
        let to = ip.source();
        let (Some(IpAddr::V4(own)), Some(route)) = (
            self.interfaces[from].address_like(to.into()),
            self.route(to.into()),
        ) else {
            return;
        };
        if self.is_own(to.into()) || !self.may_tell(now) {
            return;
        }
        let quote = &packet[..packet.len().min(QUOTE)];
        let mut buffer = [0; 640];
        // 0xc0: internetwork control (RFC 1812 section 4.3.2.5).
        let header = Ipv4Builder::new(own, to).ttl(64).dscp(48);
        if let Ok(len) = header.write(&mut buffer, &error(quote)) {
            let next_hop = route.gateway.unwrap_or(IpAddr::V4(to));
            self.send(route.interface, next_hop, &buffer[..len], now);
        }
    }
}

/// The length of a packet whose header is right.
fn sound_len(packet: &[u8]) -> Option<usize> {
    let ip = Ipv4::new(packet).ok().filter(Ipv4::checksum_ok)?;
    Some(usize::from(ip.total_len()))
}

/// Whether a router forwards packets with this address (RFC 1812 section 5.3.7).
fn may_cross(address: Ipv4Addr) -> bool {
    !(address.is_multicast()
        || address.is_broadcast()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified())
}
