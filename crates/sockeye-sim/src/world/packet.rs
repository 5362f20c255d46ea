//! Raw IP and ICMP: what packet sockets send and hear, and what a kernel answers by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sockeye_packet::{Icmpv4Builder, Icmpv6Builder, Ipv4, Pseudo};

use super::knobs::Call;
use super::message::{MessageKind, Sending};
use super::{NONE, World, canonical};
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

pub(crate) const ICMP: u8 = 1;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// The identifier and sequence number of an echo.
const ECHO_FIELDS: std::ops::Range<usize> = 4..8;

impl World {
    /// sendmsg(2) of one packet.
    pub(crate) fn send_packet(&mut self, index: u32, sending: &Sending<'_>) -> Result<(), i32> {
        let host = self.messages[index as usize].host;
        self.count_call(host, Call::Send)?;
        let slot = &mut self.messages[index as usize];
        if slot.error != 0 {
            return Err(std::mem::take(&mut slot.error));
        }
        if slot.tx_bytes >= slot.tx_limit {
            slot.no_space = true;
            return Err(errno::EAGAIN);
        }
        let to = canonical(sending.to.or(slot.peer).ok_or(errno::EDESTADDRREQ)?);
        if to.is_ipv6() != slot.is_v6() {
            if self.mutated(Mutant::FamiliesMix) {
                return Ok(());
            }
            let slot = &self.messages[index as usize];
            return Err(if slot.is_v6() {
                errno::EINVAL
            } else {
                errno::EAFNOSUPPORT
            });
        }
        let (kind, bound) = (slot.kind, canonical(slot.local));
        if let MessageKind::Header(_) = kind {
            return self.send_whole(index, sending, to);
        }
        let path = self.route(host, to.ip())?;
        let own = match sending.source {
            Some(source) if !source.is_unspecified() => source,
            _ if !bound.ip().is_unspecified() => bound.ip(),
            _ => self.source_for(host, to.ip()).ok_or(errno::ENETUNREACH)?,
        };
        let header = if to.is_ipv4() { 20 } else { 40 };
        let size = sending.payload.len() + header;
        if size > 65_535 {
            return Err(errno::EMSGSIZE);
        }
        let protocol = match kind {
            MessageKind::Ip(protocol) => protocol,
            _ if to.is_ipv4() => ICMP,
            _ => ICMPV6,
        };
        if kind == MessageKind::Ping && !is_echo_request(protocol, sending.payload) {
            return Err(errno::EINVAL);
        }
        self.step(Step::Send, index, sending.payload.len() as u64);
        let flight = self.new_flight(host, sending.payload);
        let slot = self.flight_mut(flight);
        slot.protocol = protocol;
        slot.source = SocketAddr::new(own, 0);
        slot.destination = SocketAddr::new(to.ip(), 0);
        slot.hop_limit = sending.hop_limit.unwrap_or(64);
        slot.class = sending.class;
        if kind == MessageKind::Ping {
            slot.payload[4..6].copy_from_slice(&bound.port().to_be_bytes());
        }
        if kind == MessageKind::Ping || protocol == ICMPV6 {
            fix_checksum(protocol, &mut slot.payload, Pseudo::between(own, to.ip()));
        }
        self.charge(index, path, size);
        self.launch(path, flight, size, false);
        Ok(())
    }

    /// A packet whose IPv4 header the program wrote itself: lengths and checksum are the kernel's.
    pub(crate) fn send_whole(
        &mut self,
        index: u32,
        sending: &Sending<'_>,
        to: SocketAddr,
    ) -> Result<(), i32> {
        let host = self.messages[index as usize].host;
        let view = Ipv4::lax(sending.payload).map_err(|_| errno::EINVAL)?.view;
        let header = usize::from(sending.payload[0] & 0xf) * 4;
        if header < 20 || header > sending.payload.len() {
            return Err(errno::EINVAL);
        }
        let path = self.route(host, to.ip())?;
        let mtu = if path == NONE {
            1500
        } else {
            self.routes.paths[path as usize].mtu
        };
        if sending.payload.len() > mtu {
            return Err(errno::EMSGSIZE);
        }
        let source = match view.source() {
            unset if unset.is_unspecified() => self.source_for(host, to.ip()).ok_or(errno::ENETUNREACH)?,
            set => IpAddr::V4(set),
        };
        let (protocol, hop_limit) = (view.protocol(), view.ttl());
        self.step(Step::Send, index, sending.payload.len() as u64);
        let flight = self.new_flight(host, &sending.payload[header..]);
        let slot = self.flight_mut(flight);
        slot.protocol = protocol;
        slot.source = SocketAddr::new(source, 0);
        slot.destination = SocketAddr::new(to.ip(), 0);
        slot.hop_limit = hop_limit;
        slot.class = sending.payload[1];
        self.launch_whole(path, flight, sending.payload.len())
    }

    /// Sends a packet that a program built, uncut.
    pub(crate) fn launch_whole(&mut self, path: u32, flight: u32, size: usize) -> Result<(), i32> {
        if self.flight(flight).protocol == UDP && !self.unwrap_udp(flight) {
            self.free_flight(flight);
            return Ok(());
        }
        self.launch(path, flight, size, true);
        Ok(())
    }

    /// A UDP datagram that a program built: its header becomes the flight's ends.
    fn unwrap_udp(&mut self, flight: u32) -> bool {
        let slot = self.flight_mut(flight);
        if slot.payload.len() < 8 {
            return false;
        }
        let port = |at: usize| u16::from_be_bytes([slot.payload[at], slot.payload[at + 1]]);
        let (source, destination) = (port(0), port(2));
        slot.source.set_port(source);
        slot.destination.set_port(destination);
        slot.payload.drain(..8);
        true
    }

    /// Every raw socket that fits gets a copy.
    pub(crate) fn copies_for_raw_sockets(&mut self, host: u16, flight: u32) {
        if self.mutated(Mutant::OwnPacketsUnheard)
            && self.flight(flight).payload.first() == Some(&ECHO_REQUEST_V4)
        {
            return;
        }
        // Most simulations have none.
        for index in 0..self.messages.len() {
            let socket = &self.messages[index];
            let wanted = match socket.kind {
                MessageKind::Ip(protocol) | MessageKind::Header(protocol) => protocol,
                MessageKind::Udp | MessageKind::Ping | MessageKind::Link(_) => continue,
            };
            let arrived = self.flight(flight);
            let fits = socket.in_use
                && socket.host == host
                && wanted == arrived.protocol
                && socket.is_v6() == arrived.destination.is_ipv6()
                && (socket.local.ip().is_unspecified() || socket.local.ip() == arrived.destination.ip())
                && socket.peer.is_none_or(|peer| peer.ip() == arrived.source.ip());
            if fits {
                let copy = self.copy_flight(flight);
                self.flight_mut(copy).arrived_ns = self.now;
                self.queue_message(u32::try_from(index).unwrap_or(NONE), copy);
            }
        }
    }

    /// ICMP for the kernel itself: echoes are answered, answers and errors reach the sockets they are for.
    pub(crate) fn icmp_arrives(&mut self, host: u16, flight: u32) {
        if self.flight(flight).about.is_some() {
            self.icmp_error_arrives(host, flight);
            return;
        }
        match self.flight(flight).payload.first().copied() {
            Some(ECHO_REQUEST_V4) if self.flight(flight).protocol == ICMP => self.answer_echo(host, flight),
            Some(ECHO_REQUEST_V6) if self.flight(flight).protocol == ICMPV6 => self.answer_echo(host, flight),
            Some(ECHO_REPLY_V4) if self.flight(flight).protocol == ICMP => {
                self.echo_reply_arrives(host, flight)
            }
            Some(ECHO_REPLY_V6) if self.flight(flight).protocol == ICMPV6 => {
                self.echo_reply_arrives(host, flight)
            }
            _ => self.free_flight(flight),
        }
    }

    fn answer_echo(&mut self, host: u16, flight: u32) {
        let request = self.flight(flight);
        if request.payload.len() < 8 || self.mutated(Mutant::EchoUnanswered) {
            self.free_flight(flight);
            return;
        }
        let (source, destination) = (request.source, request.destination);
        let slot = self.flight_mut(flight);
        let protocol = slot.protocol;
        slot.payload[0] = if protocol == ICMP {
            ECHO_REPLY_V4
        } else {
            ECHO_REPLY_V6
        };
        (slot.source, slot.destination) = (destination, source);
        slot.hop_limit = 64;
        fix_checksum(
            protocol,
            &mut slot.payload,
            Pseudo::between(destination.ip(), source.ip()),
        );
        let size = slot.payload.len() + if protocol == ICMP { 20 } else { 40 };
        let path = self.route(host, source.ip()).unwrap_or(NONE);
        self.launch(path, flight, size, false);
    }

    fn echo_reply_arrives(&mut self, host: u16, flight: u32) {
        let slot = self.flight(flight);
        let Some(fields) = slot.payload.get(ECHO_FIELDS) else {
            self.free_flight(flight);
            return;
        };
        let identifier = u16::from_be_bytes([fields[0], fields[1]]);
        let v6 = slot.destination.is_ipv6();
        let candidates = self.hosts[usize::from(host)].ports.messages.get(&identifier);
        let found = candidates.and_then(|candidates| {
            candidates.iter().copied().find(|&index| {
                let socket = &self.messages[index as usize];
                socket.in_use && socket.kind == MessageKind::Ping && socket.is_v6() == v6
            })
        });
        match found {
            Some(index) => self.queue_message(index, flight),
            None => self.free_flight(flight),
        }
    }
}

fn is_echo_request(protocol: u8, message: &[u8]) -> bool {
    let request = if protocol == ICMP {
        ECHO_REQUEST_V4
    } else {
        ECHO_REQUEST_V6
    };
    message.len() >= 8 && message[0] == request && message[1] == 0
}

/// Writes the checksum of an ICMP message.
fn fix_checksum(protocol: u8, message: &mut [u8], under: Pseudo) {
    let Some((header, data)) = message.split_at_checked(8) else {
        return;
    };
    let (kind, code) = (header[0], header[1]);
    let rest = [header[4], header[5], header[6], header[7]];
    let mut out = vec![0; message.len()];
    let written = if protocol == ICMP {
        Icmpv4Builder::new(kind, code, rest, data).write(&mut out)
    } else {
        Icmpv6Builder::new(kind, code, rest, data).write(&mut out, under)
    };
    if written.is_ok() {
        message.copy_from_slice(&out);
    }
}

/// The unspecified address of a family.
pub(crate) fn unspecified(v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}
