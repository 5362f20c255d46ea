//! Datagrams and packets on their way, and who gets them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sockeye_socket::{Cause, QueuedError};

use super::knobs::Call;
use super::message::{MessageKind, Sending};
use super::open::score;
use super::packet::{ICMP, ICMPV6, UDP};
use super::route::Transit;
use super::{Event, NONE, World, canonical};
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// What an ICMP error is about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) protocol: u8,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) mtu: Option<u32>,
    /// The beginning of the payload behind the transport's header.
    pub(crate) payload: Vec<u8>,
}

/// A datagram or packet on its way, or waiting to be received.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) protocol: u8,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) hop_limit: u8,
    pub(crate) class: u8,
    /// Behind the UDP header, or behind the IP header for everything else.
    pub(crate) payload: Vec<u8>,
    /// The host it is for; until it has been sent, the one it comes from.
    pub(crate) to: u16,
    /// What it is about, if it is an ICMP error.
    pub(crate) about: Option<About>,
    pub(crate) arrived_ns: u64,
}

const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// The longest UDP payload over IPv4, and over IPv6.
const MOST_V4: usize = 65_507;
const MOST_V6: usize = 65_527;
/// What fits the loopback's MTU of 65,536 bytes over IPv6, whole.
const LOOPBACK_V6: usize = 65_536 - 40 - 8;

impl World {
    pub(crate) fn flight_mut(&mut self, flight: u32) -> &mut Flight {
        &mut self.flights[flight as usize]
    }

    pub(crate) fn flight(&self, flight: u32) -> &Flight {
        &self.flights[flight as usize]
    }

    /// A flight with the memory of an earlier one.
    pub(crate) fn new_flight(&mut self, host: u16, payload: &[u8]) -> u32 {
        let index = self.free_flights.pop().unwrap_or_else(|| {
            self.flights.push(Flight {
                protocol: 0,
                source: UNKNOWN,
                destination: UNKNOWN,
                hop_limit: 0,
                class: 0,
                payload: Vec::new(),
                to: 0,
                about: None,
                arrived_ns: 0,
            });
            u32::try_from(self.flights.len() - 1).unwrap_or(NONE)
        });
        let flight = &mut self.flights[index as usize];
        flight.payload.clear();
        flight.payload.extend_from_slice(payload);
        flight.about = None;
        flight.to = host;
        index
    }

    pub(crate) fn free_flight(&mut self, flight: u32) {
        self.free_flights.push(flight);
    }

    /// sendmsg(2) of one datagram.
    pub(crate) fn send_datagram(&mut self, index: u32, sending: &Sending<'_>) -> Result<(), i32> {
        let host = self.messages[index as usize].host;
        self.count_call(host, Call::Send)?;
        let to = self.checked_destination(index, sending).inspect_err(|number| {
            if *number == errno::EMSGSIZE {
                self.too_long_is_queued(index, sending);
            }
        })?;
        let slot = &mut self.messages[index as usize];
        if slot.error != 0 {
            return Err(std::mem::take(&mut slot.error));
        }
        if slot.tx_bytes >= slot.tx_limit {
            slot.no_space = true;
            return Err(errno::EAGAIN);
        }
        let bound = canonical(slot.local);
        let v4 = to.is_ipv4();
        let path = self.route(host, to.ip())?;
        let size = sending.payload.len() + 8 + if v4 { 20 } else { 40 };
        if self.messages[index as usize].uncut && size > self.first_mtu(path) {
            self.too_long_is_queued(index, sending);
            return Err(errno::EMSGSIZE);
        }
        let own = match sending.source {
            Some(source) if !self.is_local(host, source) => return Err(errno::EINVAL),
            Some(source) if !source.is_unspecified() => source,
            _ if !bound.ip().is_unspecified() => bound.ip(),
            _ => self.source_for(host, to.ip()).ok_or(errno::ENETUNREACH)?,
        };
        self.step(Step::Send, index, sending.payload.len() as u64);
        if self.mutated(Mutant::DatagramsVanish)
            || (sending.payload.is_empty() && self.mutated(Mutant::EmptyDatagramsVanish))
        {
            return Ok(());
        }
        let flight = self.new_flight(host, sending.payload);
        let wrong = self.mutated(Mutant::DatagramsWrongSource);
        let class = if self.mutated(Mutant::TrafficClassLost) {
            0
        } else {
            sending.class
        };
        let slot = &mut self.flights[flight as usize];
        slot.protocol = UDP;
        slot.source = SocketAddr::new(own, bound.port() ^ u16::from(wrong));
        slot.destination = to;
        slot.hop_limit = sending.hop_limit.unwrap_or(64);
        slot.class = class;
        self.charge(index, path, size);
        if to.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
            self.broadcast(host, flight, size);
        } else {
            self.launch(path, flight, size, false);
        }
        Ok(())
    }

    /// What the host's own link carries: the kernel cuts nothing there for a socket that looks for the path MTU itself, and says so.
    fn first_mtu(&self, path: u32) -> usize {
        if path == NONE || self.mutated(Mutant::ProbesAreCut) {
            return usize::MAX;
        }
        let hop = self.routes.paths[path as usize].hops.first();
        hop.map_or(usize::MAX, |hop| self.links[hop.link as usize].options.mtu)
    }

    /// The error queue hears of a datagram that is too long as well (ip_local_error). A payload of more than 16 bits is refused
    /// over IPv4 before anybody looks at the route.
    fn too_long_is_queued(&mut self, index: u32, sending: &Sending<'_>) {
        let slot = &mut self.messages[index as usize];
        let Some(to) = sending.to.or(slot.peer).map(canonical) else {
            return;
        };
        if !slot.error_queue || (to.is_ipv4() && sending.payload.len() > usize::from(u16::MAX)) {
            return;
        }
        // Over IPv4 the port is that of the socket's own peer, over IPv6 the one that was sent to.
        let port = if to.is_ipv4() {
            slot.peer.map_or(0, |peer| peer.port())
        } else {
            to.port()
        };
        let about = SocketAddr::new(to.ip(), port);
        let error = QueuedError::new(Some(about), Cause::Local, errno::EMSGSIZE);
        self.queue_local_error(index, error);
    }

    /// Where a datagram goes, if the kernel takes that destination and length.
    fn checked_destination(&self, index: u32, sending: &Sending<'_>) -> Result<SocketAddr, i32> {
        let slot = &self.messages[index as usize];
        let to = match sending.to.or(slot.peer) {
            Some(to) => to,
            None if self.mutated(Mutant::NoDestinationIsFine) => {
                return Ok(SocketAddr::from(([127, 0, 0, 1], 9)));
            }
            None => return Err(errno::EDESTADDRREQ),
        };
        if self.mutated(Mutant::FamiliesMix) {
            return Ok(canonical(to));
        }
        if to.is_ipv6() && !slot.is_v6() {
            return Err(errno::EAFNOSUPPORT);
        }
        let mut to = canonical(to);
        if slot.is_v6() && to.is_ipv4() && (slot.v6_only || !is_any_or_mapped(slot.local.ip())) {
            return Err(errno::ENETUNREACH);
        }
        if to.port() == 0 && !self.mutated(Mutant::PortZeroIsFine) {
            return Err(errno::EINVAL);
        }
        let most = if to.is_ipv4() { MOST_V4 } else { MOST_V6 };
        if sending.payload.len() > most && !self.mutated(Mutant::AnyDatagramLength) {
            return Err(errno::EMSGSIZE);
        }
        // The loopback's MTU is 65,536: over IPv4 no datagram is longer, over IPv6 the longest would have to be cut.
        if slot.uncut
            && to.is_ipv6()
            && sending.payload.len() > LOOPBACK_V6
            && !self.mutated(Mutant::ProbesAreCut)
        {
            return Err(errno::EMSGSIZE);
        }
        if to.is_ipv4() && sending.hop_limit == Some(0) && !self.mutated(Mutant::HopLimitZeroIsFine) {
            return Err(errno::EINVAL);
        }
        if let IpAddr::V4(v4) = to.ip()
            && self.is_broadcast(v4)
            && !slot.broadcast
            && !self.mutated(Mutant::BroadcastAllowed)
        {
            return Err(errno::EACCES);
        }
        if to.ip().is_unspecified() {
            to.set_ip(match to.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            });
        }
        Ok(to)
    }

    /// Counts the message against the send buffer for as long as its first link is busy with it.
    pub(crate) fn charge(&mut self, index: u32, path: u32, size: usize) {
        if path == NONE {
            return;
        }
        let Some(hop) = self.routes.paths[path as usize].hops.first().copied() else {
            return;
        };
        let link = &self.links[hop.link as usize];
        if !link.is_limited() {
            return;
        }
        let at = link.free_at(usize::from(hop.side)).max(self.now);
        let slot = &mut self.messages[index as usize];
        slot.tx_bytes += size;
        let generation = slot.generation;
        let len = u32::try_from(size).unwrap_or(u32::MAX);
        self.queue.push(
            at.max(self.now + 1),
            Event::Departed {
                socket: index,
                generation,
                len,
            },
        );
    }

    /// Sends a flight along a way. `whole` forbids to cut it at the first link.
    pub(crate) fn launch(&mut self, path: u32, flight: u32, size: usize, whole: bool) {
        self.launch_at(path, flight, size, whole, self.now);
    }

    /// As [`launch`](Self::launch), from `start` on.
    pub(crate) fn launch_at(&mut self, path: u32, flight: u32, size: usize, whole: bool, start: u64) {
        self.capture_flight(flight);
        if path == NONE {
            let source = self.flight(flight).source;
            self.step(Step::Loss, 0, u64::from(source.port()));
            self.free_flight(flight);
            return;
        }
        let hop_limit = self.flight(flight).hop_limit;
        let (transit, _, twice) = self.transit(path, size, hop_limit, whole, start);
        match transit {
            Transit::Arrives { at, hop_limit } => {
                let slot = &mut self.flights[flight as usize];
                slot.hop_limit = hop_limit;
                if path != super::route::LOOPBACK {
                    slot.to = self.routes.paths[path as usize].to;
                }
                if twice || self.mutated(Mutant::DatagramsTwice) {
                    let copy = self.copy_flight(flight);
                    self.arrive_at(at, copy);
                }
                self.arrive_at(at, flight);
            }
            Transit::Lost => {
                self.step(Step::Loss, u32::from(self.flight(flight).to), 1);
                self.free_flight(flight);
            }
            Transit::Expired { at, node } => self.time_exceeded(flight, node, at),
            Transit::TooBig { at, node, mtu } => self.packet_too_big(flight, node, at, mtu),
        }
    }

    fn arrive_at(&mut self, at: u64, flight: u32) {
        if at <= self.now {
            self.flight_arrives(flight)
        } else {
            self.queue.push(at, Event::Flight { flight })
        }
    }

    /// A flight like another one.
    pub(crate) fn copy_flight(&mut self, flight: u32) -> u32 {
        let payload = std::mem::take(&mut self.flights[flight as usize].payload);
        let to = self.flights[flight as usize].to;
        let copy = self.new_flight(to, &payload);
        let original = &mut self.flights[flight as usize];
        original.payload = payload;
        let (protocol, source, destination) = (original.protocol, original.source, original.destination);
        let (hop_limit, class, about) = (original.hop_limit, original.class, original.about.clone());
        let slot = &mut self.flights[copy as usize];
        (slot.protocol, slot.source, slot.destination) = (protocol, source, destination);
        (slot.hop_limit, slot.class, slot.about) = (hop_limit, class, about);
        copy
    }

    /// Gives a copy to every other host of the LAN.
    fn broadcast(&mut self, from: u16, flight: u32, size: usize) {
        for node in 0..self.routes.nodes.len() {
            let node = u16::try_from(node).unwrap_or(u16::MAX);
            if node != from
                && let Some(path) = self.path(from, node)
            {
                let copy = self.copy_flight(flight);
                self.launch(path, copy, size, true);
            }
        }
        self.free_flight(flight);
    }

    /// A flight has reached its host.
    pub(crate) fn flight_arrives(&mut self, flight: u32) {
        let now = self.now;
        let slot = &mut self.flights[flight as usize];
        slot.arrived_ns = now;
        let (host, protocol, bytes) = (slot.to, slot.protocol, slot.payload.len());
        if !self.hosts[usize::from(host)].is_up() {
            self.free_flight(flight);
            return;
        }
        self.step(Step::Arrive, u32::from(host), bytes as u64);
        self.copies_for_raw_sockets(host, flight);
        self.copies_for_links(host, flight);
        match protocol {
            UDP => self.datagram_arrives(host, flight),
            ICMP | ICMPV6 => self.icmp_arrives(host, flight),
            _ => {
                self.protocol_unreachable(host, flight);
            }
        }
    }

    fn datagram_arrives(&mut self, host: u16, flight: u32) {
        let (source, destination) = (self.flight(flight).source, self.flight(flight).destination);
        match self.find_datagram_socket(host, source, destination) {
            Some(index) => self.queue_message(index, flight),
            None if destination.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) => self.free_flight(flight),
            None => self.port_unreachable(host, flight),
        }
    }

    /// The socket that fits best: connected to the sender, bound to exactly this address, bound to all.
    fn find_datagram_socket(&self, host: u16, from: SocketAddr, to: SocketAddr) -> Option<u32> {
        let candidates = self.hosts[usize::from(host)].ports.messages.get(&to.port())?;
        let hears_all = self.mutated(Mutant::ConnectedHearsAll);
        let broadcast = to.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
        let mut best: Option<(u8, u32, u32)> = None;
        for &index in candidates {
            let socket = &self.messages[index as usize];
            let v6_only = (socket.v6_only && !self.mutated(Mutant::V6OnlyIsDual))
                || self.mutated(Mutant::DualStackIsV6Only);
            let fits = if broadcast && socket.local.ip().is_unspecified() {
                Some(1)
            } else {
                score(socket.local, v6_only, to)
            };
            let Some(fit) = fits.filter(|_| socket.in_use && socket.kind == MessageKind::Udp) else {
                continue;
            };
            let fit = match socket.peer {
                Some(peer) if peer == from || hears_all => fit + 4,
                Some(_) => continue,
                None => fit,
            };
            let rank = u32::from(from.port())
                .wrapping_mul(0x9e37_79b9)
                .wrapping_add(index)
                .wrapping_mul(0x85eb_ca6b);
            // With SO_REUSEPORT the hash decides; with SO_REUSEADDR alone the last one bound.
            let rank = if socket.reuse.1 { rank } else { index };
            if best.is_none_or(|(known, highest, _)| fit > known || (fit == known && rank > highest)) {
                best = Some((fit, rank, index));
            }
        }
        best.map(|(.., index)| index)
    }
}

fn is_any_or_mapped(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.is_unspecified() || v6.to_ipv4_mapped().is_some(),
    }
}
