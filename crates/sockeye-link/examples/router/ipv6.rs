//! IPv6: neighbour discovery, what is for the router itself, forwarding, and ICMP errors (RFC 8200, RFC 4443, RFC 4861).

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use sockeye_packet::{
    Icmpv6, Icmpv6Builder, Icmpv6Message, Ipv6, Ipv6Builder, MacAddr, NeighbourOption, ethertype, protocol,
};

use crate::router::Router;

const NO_ROUTE: u8 = 0;
const ADDRESS_UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 4;
/// Bytes of the packet that an error quotes: with both headers 1280 in all.
const QUOTE: usize = 1232;

impl Router {
    pub(crate) fn on_ipv6(&mut self, from: usize, packet: &mut [u8], unicast: bool, now: Duration) {
        self.counters.received += 1;
        let Ok(ip) = Ipv6::new(&*packet) else {
            self.counters.malformed += 1;
            return;
        };
        let len = 40 + usize::from(ip.payload_len());
        let (source, destination) = (ip.source(), ip.destination());
        let packet = &mut packet[..len];
        let is_neighbours = Ipv6::new(&*packet).is_ok_and(|ip| {
            ip.hop_limit() == 255
                && ip.next_header() == protocol::ICMPV6
                && Icmpv6::new(ip.body()).is_ok_and(|icmp| matches!(icmp.message_type(), 135 | 136))
        });
        if is_neighbours {
            return self.on_neighbour(from, packet, now);
        }
        if !unicast || !may_cross(source) || !may_cross(destination) {
            return;
        }
        if self.is_own(destination.into()) {
            self.counters.local += 1;
            return self.for_us_v6(from, packet, now);
        }
        self.forward_v6(from, packet, now);
    }

    /// Somebody asks for an address of the router, or says that he has one.
    fn on_neighbour(&mut self, from: usize, packet: &[u8], now: Duration) {
        let Ok(ip) = Ipv6::new(packet) else { return };
        let Ok(icmp) = Icmpv6::new(ip.body()) else { return };
        if icmp.checksum_status(ip.pseudo()).ok() != Some(true) {
            self.counters.malformed += 1;
            return;
        }
        let link = |wanted: NeighbourOption<'_>| match wanted {
            NeighbourOption::SourceLinkAddress(data) | NeighbourOption::TargetLinkAddress(data) => {
                data.first_chunk().map(|bytes| MacAddr(*bytes))
            }
            _ => None,
        };
        match icmp.message() {
            Icmpv6Message::NeighbourSolicitation { target, options } => {
                let mac = options.map_while(Result::ok).find_map(link);
                if let (Some(mac), false) = (mac, ip.source().is_unspecified()) {
                    self.learn(from, ip.source().into(), mac, now);
                }
                if self.interfaces[from].has(target.into()) {
                    self.advertise(from, target, ip.source(), mac);
                }
            }
            Icmpv6Message::NeighbourAdvertisement { target, options, .. } => {
                if let Some(mac) = options.map_while(Result::ok).find_map(link) {
                    self.learn(from, target.into(), mac, now);
                }
            }
            _ => {}
        }
    }

    fn advertise(&mut self, from: usize, target: Ipv6Addr, to: Ipv6Addr, mac: Option<MacAddr>) {
        // Whoever has no address yet is answered by all (RFC 4861 section 7.2.4).
        let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let (to, mac, solicited) = match mac {
            Some(mac) if !to.is_unspecified() => (to, mac, true),
            _ => (all, MacAddr::of_ipv6_group(all), false),
        };
        let own = self.interfaces[from].mac.octets();
        let answer = Icmpv6Builder::neighbour_advertisement(target, own, [true, solicited, true]);
        let mut buffer = [0; 128];
        if let Ok(len) = Ipv6Builder::new(target, to)
            .hop_limit(255)
            .write(&mut buffer, &answer)
        {
            self.emit_as(from, mac, ethertype::IPV6, &buffer[..len]);
        }
    }

    fn forward_v6(&mut self, from: usize, packet: &mut [u8], now: Duration) {
        let Ok(mut ip) = Ipv6::new(&mut *packet) else {
            return;
        };
        let destination = ip.destination();
        if ip.hop_limit() <= 1 {
            self.counters.hops_exceeded += 1;
            return self.tell_v6(from, packet, now, |quote| Icmpv6Builder::time_exceeded(0, quote));
        }
        let Some(route) = self.route(destination.into()) else {
            self.counters.no_route += 1;
            return self.tell_v6(from, packet, now, |quote| {
                Icmpv6Builder::unreachable(NO_ROUTE, quote)
            });
        };
        let mtu = self.interfaces[route.interface].mtu;
        ip.decrement_hop_limit();
        if packet.len() > mtu {
            self.counters.too_big += 1;
            let told = u32::try_from(mtu).unwrap_or(u32::MAX);
            return self.tell_v6(from, packet, now, |quote| Icmpv6Builder::too_big(told, quote));
        }
        self.counters.forwarded += 1;
        let next_hop = route.gateway.unwrap_or(IpAddr::V6(destination));
        self.send(route.interface, next_hop, packet, now);
    }

    /// The router answers pings, and has no ports.
    fn for_us_v6(&mut self, from: usize, packet: &mut [u8], now: Duration) {
        let Ok(mut ip) = Ipv6::new(&mut *packet) else {
            return;
        };
        let (source, destination) = (ip.source(), ip.destination());
        match ip.next_header() {
            protocol::ICMPV6 => {
                // Both addresses change places, which changes no checksum.
                let Ok(mut icmp) = Icmpv6::new(ip.payload_mut()) else {
                    return;
                };
                if icmp.message_type() != 128 {
                    return;
                }
                icmp.set_message_type(129);
                ip.set_source(destination);
                ip.set_destination(source);
                ip.set_hop_limit(64);
                if let Some(route) = self.route(source.into()) {
                    let next_hop = route.gateway.unwrap_or(IpAddr::V6(source));
                    self.send(route.interface, next_hop, packet, now);
                }
            }
            protocol::UDP | protocol::TCP => self.tell_v6(from, packet, now, |quote| {
                Icmpv6Builder::unreachable(PORT_UNREACHABLE, quote)
            }),
            _ => {}
        }
    }

    /// The neighbour of a packet that has waited does not answer.
    pub(crate) fn host_unreachable_v6(&mut self, packet: &[u8], now: Duration) {
        let Ok(ip) = Ipv6::new(packet) else { return };
        if let Some(route) = self.route(ip.source().into()) {
            self.tell_v6(route.interface, packet, now, |quote| {
                Icmpv6Builder::unreachable(ADDRESS_UNREACHABLE, quote)
            });
        }
    }

    /// Sends an ICMP error about a packet to its source, unless there must be none (RFC 4443 section 2.4 e).
    fn tell_v6<'p>(
        &mut self,
        from: usize,
        packet: &'p [u8],
        now: Duration,
        error: impl FnOnce(&'p [u8]) -> Icmpv6Builder<'static, &'p [u8]>,
    ) {
        let Ok(ip) = Ipv6::new(packet) else { return };
        let about_error = ip.next_header() == protocol::ICMPV6
            && Icmpv6::new(ip.body()).map_or(true, |icmp| icmp.is_error());
        let to = ip.source();
        let own = self.interfaces[from].address_like(to.into());
        let (false, Some(IpAddr::V6(own)), Some(route)) = (about_error, own, self.route(to.into())) else {
            return;
        };
        if self.is_own(to.into()) || !self.may_tell(now) {
            return;
        }
        let quote = &packet[..packet.len().min(QUOTE)];
        let mut buffer = [0; 1280];
        if let Ok(len) = Ipv6Builder::new(own, to)
            .hop_limit(64)
            .write(&mut buffer, &error(quote))
        {
            let next_hop = route.gateway.unwrap_or(IpAddr::V6(to));
            self.send(route.interface, next_hop, &buffer[..len], now);
        }
    }
}

/// Whether a router forwards packets with this address.
fn may_cross(address: Ipv6Addr) -> bool {
    !(address.is_multicast()
        || address.is_loopback()
        || address.is_unicast_link_local()
        || address.is_unspecified())
}
