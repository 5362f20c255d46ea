//! ICMP errors: who sends them, what they quote, and whom they reach.

use std::net::{IpAddr, SocketAddr};

use sockeye_packet::{Emit, Icmpv4Builder, Icmpv6Builder, Ipv4Builder, Ipv6Builder, Pseudo, UdpBuilder};
use sockeye_socket::{Cause, QueuedError, Quoted};

use super::delivery::About;
use super::message::MessageKind;
use super::packet::{ICMP, ICMPV6, UDP};
use super::{NONE, World};
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// What an error says, in both families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Report {
    Port,
    Protocol,
    HopLimit,
    TooBig(usize),
}

impl Report {
    /// Type and code.
    fn numbers(self, v4: bool) -> (u8, u8) {
        match (self, v4) {
            (Self::Port, true) => (3, 3),
            (Self::Protocol, true) => (3, 2),
            (Self::HopLimit, true) => (11, 0),
            (Self::TooBig(_), true) => (3, 4),
            (Self::Port, false) => (1, 4),
            (Self::Protocol, false) => (4, 1),
            (Self::HopLimit, false) => (3, 0),
            (Self::TooBig(_), false) => (2, 0),
        }
    }
}

/// What Linux makes of an error: the number, and whether a connected socket without an error queue hears of
/// it (`icmp_err_convert`).
fn meaning(v4: bool, kind: u8, code: u8) -> (i32, bool) {
    match (v4, kind, code) {
        (true, 3, 0) | (false, 1, 0) => (errno::ENETUNREACH, false),
        (true, 3, 2) => (errno::ENOPROTOOPT, true),
        (false, 4, 1) => (errno::EPROTO, true),
        (true, 3, 3) | (false, 1, 4) => (errno::ECONNREFUSED, true),
        (true, 3, 4) | (false, 2, _) => (errno::EMSGSIZE, true),
        (true, 3, 13) | (false, 1, 1) => (errno::EACCES, true),
        _ => (errno::EHOSTUNREACH, false),
    }
}

/// The most that an IPv4 error carries (RFC 1812, 4.3.2.3), and an IPv6 one (RFC 4443, 2.4).
const MOST_V4: usize = 576 - 20 - 8;
const MOST_V6: usize = 1280 - 40 - 8;

impl World {
    pub(crate) fn port_unreachable(&mut self, host: u16, flight: u32) {
        if self.mutated(Mutant::NoPortUnreachable) {
            self.free_flight(flight);
            return;
        }
        self.report(flight, host, self.now, Report::Port);
    }

    pub(crate) fn protocol_unreachable(&mut self, host: u16, flight: u32) {
        let protocol = self.flight(flight).protocol;
        let heard = self.messages.iter().any(|socket| {
            socket.in_use
                && socket.host == host
                && matches!(socket.kind, MessageKind::Ip(own) | MessageKind::Header(own) if own == protocol)
        });
        if heard {
            self.free_flight(flight)
        } else {
            self.report(flight, host, self.now, Report::Protocol)
        }
    }

    pub(crate) fn time_exceeded(&mut self, flight: u32, router: u16, at: u64) {
        self.report(flight, router, at, Report::HopLimit);
    }

    pub(crate) fn packet_too_big(&mut self, flight: u32, node: u16, at: u64, mtu: usize) {
        self.report(flight, node, at, Report::TooBig(mtu));
    }

    /// The node tells the sender of the flight. Nobody is told about an error, or about a broadcast.
    fn report(&mut self, flight: u32, node: u16, at: u64, report: Report) {
        let subject = self.flight(flight);
        let v4 = subject.source.is_ipv4();
        let is_error = subject.about.is_some();
        let to = subject.source.ip();
        let sender = self.host_of(node, to);
        let offender = if to.is_loopback() {
            Some(subject.destination.ip())
        } else {
            self.address_of(node, v4)
        };
        let (Some(sender), Some(offender), false) = (sender, offender, is_error) else {
            self.free_flight(flight);
            return;
        };
        let offender = if node == sender || self.is_local(node, subject.destination.ip()) {
            subject.destination.ip()
        } else {
            offender
        };
        let (kind, code) = report.numbers(v4);
        let mtu = match report {
            Report::TooBig(mtu) => u32::try_from(mtu).ok(),
            _ => None,
        };
        let (protocol, local, remote) = (subject.protocol, subject.source, subject.destination);
        let quote = self.wire(flight);
        let about = About {
            protocol,
            local,
            remote,
            kind,
            code,
            mtu,
            payload: std::mem::take(&mut self.flight_mut(flight).payload),
        };
        let message = error_message(offender, to, (kind, code), mtu, &quote);
        self.free_flight(flight);
        let error = self.new_flight(node, &message);
        let slot = self.flight_mut(error);
        slot.protocol = if v4 { ICMP } else { ICMPV6 };
        slot.source = SocketAddr::new(offender, 0);
        slot.destination = SocketAddr::new(to, 0);
        slot.hop_limit = 64;
        slot.class = 0xc0;
        slot.about = Some(about);
        let size = message.len() + if v4 { 20 } else { 40 };
        let path = self.path(node, sender).unwrap_or(NONE);
        self.launch_at(path, error, size, false, at);
    }

    /// An ICMP error has reached the host that sent what it is about.
    pub(crate) fn icmp_error_arrives(&mut self, host: u16, flight: u32) {
        let arrived = self.flight(flight);
        let Some(about) = arrived.about.clone() else {
            return;
        };
        let offender = arrived.source.ip();
        let v4 = arrived.source.is_ipv4();
        let (number, hard) = meaning(v4, about.kind, about.code);
        self.step(
            Step::Icmp,
            u32::from(host),
            u64::from(about.kind) << 8 | u64::from(about.code),
        );
        let cause = if v4 {
            Cause::Icmpv4 {
                kind: about.kind,
                code: about.code,
            }
        } else {
            Cause::Icmpv6 {
                kind: about.kind,
                code: about.code,
            }
        };
        let mut error = QueuedError::new(Some(about.remote), cause, number);
        error.offender = Some(offender);
        error.mtu = about.mtu;
        error.quoted = Quoted::new(&about.payload);
        let found = match about.protocol {
            UDP => self.socket_of(host, self.flight(flight)),
            ICMP | ICMPV6 => self.ping_socket_of(host, &about),
            _ => None,
        };
        if let Some(index) = found {
            self.queue_error(index, error, hard);
        }
        self.errors_for_raw_sockets(host, &about, error, hard);
        self.free_flight(flight);
    }

    fn ping_socket_of(&self, host: u16, about: &About) -> Option<u32> {
        let fields = about.payload.get(4..6)?;
        let identifier = u16::from_be_bytes([fields[0], fields[1]]);
        let candidates = self.hosts[usize::from(host)].ports.messages.get(&identifier)?;
        candidates.iter().copied().find(|&index| {
            let socket = &self.messages[index as usize];
            socket.in_use && socket.kind == MessageKind::Ping
        })
    }

    /// Raw sockets of the protocol hear of errors too.
    fn errors_for_raw_sockets(&mut self, host: u16, about: &About, error: QueuedError, hard: bool) {
        for index in 0..self.messages.len() {
            let socket = &self.messages[index];
            let fits = socket.in_use
                && socket.host == host
                && socket.is_v6() == about.local.is_ipv6()
                && matches!(socket.kind, MessageKind::Ip(own) | MessageKind::Header(own) if own == about.protocol);
            if fits {
                self.queue_error(u32::try_from(index).unwrap_or(NONE), error, hard);
            }
        }
    }

    /// A flight as it looks on the wire.
    pub(crate) fn wire(&self, flight: u32) -> Vec<u8> {
        let flight = self.flight(flight);
        let (source, destination) = (flight.source, flight.destination);
        let ip = Header {
            source: source.ip(),
            destination: destination.ip(),
            protocol: flight.protocol,
            hop_limit: flight.hop_limit,
            class: flight.class,
        };
        if flight.protocol == UDP {
            ip.packet(&UdpBuilder::new(
                source.port(),
                destination.port(),
                flight.payload.as_slice(),
            ))
        } else {
            ip.packet(flight.payload.as_slice())
        }
    }
}

/// The fields of an IP header of either family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) class: u8,
}

impl Header {
    /// A packet with that payload.
    pub(crate) fn packet<P: Emit + ?Sized>(self, payload: &P) -> Vec<u8> {
        let mut out = vec![0; payload.emitted_len() + 40];
        let written = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ipv4Builder::new(source, destination)
                .protocol(self.protocol)
                .ttl(self.hop_limit)
                .dscp(self.class >> 2)
                .ecn(self.class & 3)
                .write(&mut out, payload),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6Builder::new(source, destination)
                .next_header(self.protocol)
                .hop_limit(self.hop_limit)
                .traffic_class(self.class)
                .write(&mut out, payload),
            _ => Ok(0),
        };
        out.truncate(written.unwrap_or(0));
        out
    }
}

/// An ICMP error that quotes the beginning of a packet.
fn error_message(
    from: IpAddr,
    to: IpAddr,
    (kind, code): (u8, u8),
    mtu: Option<u32>,
    packet: &[u8],
) -> Vec<u8> {
    let v4 = from.is_ipv4();
    let quote = &packet[..packet.len().min(if v4 { MOST_V4 } else { MOST_V6 })];
    // RFC 792 and 1191: the MTU is the low half of the second word; RFC 4443: all of it.
    let rest = mtu.unwrap_or(0).to_be_bytes();
    let mut out = vec![0; quote.len() + 8];
    let written = if v4 {
        Icmpv4Builder::new(kind, code, rest, quote).write(&mut out)
    } else {
        Icmpv6Builder::new(kind, code, rest, quote).write(&mut out, Pseudo::between(from, to))
    };
    out.truncate(written.unwrap_or(0));
    out
}
