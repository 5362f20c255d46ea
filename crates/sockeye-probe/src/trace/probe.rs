//! How probes are written, and how what comes back finds its probe.

use std::net::{IpAddr, SocketAddr};

use sockeye_packet::{
    Emit, Pseudo, Tcp, TcpBuilder, TcpFlags, TcpOption, TcpOptionWriter, checksum, protocol,
};

use super::{AnswerKind, Flow, TraceMethod, TraceOptions};
use crate::extensions::Extensions;
use crate::input::{Cause, Message};
use crate::token::{Secret, TAG_LEN};
use crate::wire::{self, Decoded, Echo, IcmpError};

/// Tag, and two bytes: what holds the checksum still (ICMP), or the number of the probe (UDP).
pub(super) const MIN_PAYLOAD_LEN: usize = TAG_LEN + 2;

/// Which probe something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// This one.
    Probe(u16),
    /// One of ours, but too little is quoted to say which.
    Unsure,
    /// None.
    None,
}

/// What a received message says about the probes.
#[derive(Debug)]
pub(super) struct Found {
    /// Who sent it.
    pub(super) from: Option<IpAddr>,
    pub(super) kind: AnswerKind,
    pub(super) which: Match,
    pub(super) extensions: Extensions,
}

/// Writes probes and recognises them.
#[derive(Debug)]
pub(super) struct Finder {
    destination: SocketAddr,
    method: TraceMethod,
    flow: Flow,
    secret: Secret,
    identifier: Option<u16>,
    /// Bytes after the ICMP or UDP header.
    payload_len: usize,
    /// Probes are numbered from 0 to one less than this.
    total: u16,
    /// What follows the tag and the two bytes.
    pattern: Box<[u8]>,
}

impl Finder {
    pub(super) fn new(destination: SocketAddr, options: &TraceOptions, total: u16) -> Self {
        Self {
            destination,
            method: options.method,
            flow: options.flow,
            secret: Secret::new(options.secret),
            identifier: options.identifier,
            payload_len: options.payload_len,
            total,
            pattern: wire::pattern(options.payload_len.saturating_sub(MIN_PAYLOAD_LEN)),
        }
    }

    pub(super) const fn destination(&self) -> SocketAddr {
        self.destination
    }

    pub(super) const fn set_identifier(&mut self, identifier: Option<u16>) {
        self.identifier = identifier;
    }

    /// Which probe a message is about, and what it says.
    pub(super) fn find(&self, message: Message<'_>) -> Found {
        let v6 = self.destination.is_ipv6();
        let reached = |from: IpAddr, which| Found {
            from: Some(from),
            kind: AnswerKind::Reached,
            which,
            extensions: Extensions::default(),
        };
        let mut found = match message {
            Message::Icmp { from, message } => match wire::decode(v6, message) {
                Some(Decoded::EchoReply(echo)) => reached(from.ip(), self.echo_reply(from.ip(), echo)),
                Some(Decoded::Error(error)) => Found {
                    from: Some(from.ip()),
                    kind: kind(error.cause),
                    which: self.quoted(&error),
                    extensions: Extensions::of_message(&error),
                },
                None => reached(from.ip(), Match::None),
            },
            Message::Udp { from, payload } => reached(from.ip(), self.udp(from, payload)),
            Message::Tcp { from, segment } => reached(from.ip(), self.tcp(from.ip(), segment)),
            Message::Error {
                offender,
                destination,
                cause,
                quoted,
            } => Found {
                from: offender,
                kind: kind(cause),
                which: self.queued(destination, quoted),
                extensions: Extensions::of_queued(v6, self.method, self.payload_len, quoted),
            },
        };
        if found.from == Some(self.destination.ip()) {
            found.kind = AnswerKind::Reached;
        }
        found
    }

    /// Writes a probe in place of what is in `message` and says where it goes.
    pub(super) fn write(&self, number: u16, message: &mut Vec<u8>) -> SocketAddr {
        match self.method {
            TraceMethod::Icmp => {
                let sequence = self.first_sequence().wrapping_add(number);
                let tag = self.tag(number);
                let still = match self.flow {
                    Flow::Classic => [0; 2],
                    Flow::Paris => stillness(sequence, tag),
                };
                let identifier = self.identifier.unwrap_or(0);
                wire::echo_request(
                    message,
                    self.destination.is_ipv6(),
                    identifier,
                    sequence,
                    |payload| {
                        payload.extend_from_slice(&tag);
                        payload.extend_from_slice(&still);
                        payload.extend_from_slice(&self.pattern);
                    },
                );
                wire::portless(self.destination)
            }
            TraceMethod::Udp => {
                message.clear();
                message.extend_from_slice(&self.tag(number));
                message.extend_from_slice(&number.to_be_bytes());
                message.extend_from_slice(&self.pattern);
                let mut destination = self.destination;
                destination.set_port(self.varied(destination.port(), number));
                destination
            }
            TraceMethod::Tcp { source } => {
                self.write_syn(source, number, message);
                wire::portless(self.destination)
            }
        }
    }

    fn write_syn(&self, source: SocketAddr, number: u16, message: &mut Vec<u8>) {
        let mut options = TcpOptionWriter::new();
        // Some middleboxes drop a SYN that offers nothing.
        let _ = options.push(TcpOption::Mss(if source.is_ipv6() { 1440 } else { 1460 }));
        let port = self.varied(source.port(), number);
        let syn = TcpBuilder::new(port, self.destination.port(), [])
            .sequence(self.tcp_sequence(number))
            .flags(TcpFlags::SYN)
            .options(options.as_bytes());
        message.clear();
        message.resize(syn.emitted_len(), 0);
        // The buffer has the length that was asked for, and options come in words of four bytes.
        let _ = syn.emit(message, Pseudo::between(source.ip(), self.destination.ip()));
    }

    /// An echo reply, from whomever: the tag decides. One without a tag has to come from the target.
    fn echo_reply(&self, from: IpAddr, echo: Echo<'_>) -> Match {
        if !matches!(self.method, TraceMethod::Icmp) {
            return Match::None;
        }
        if echo.payload.len() < TAG_LEN && from != self.destination.ip() {
            return Match::None;
        }
        self.echo(echo)
    }

    /// The quote in an ICMP error.
    fn quoted(&self, error: &IcmpError<'_>) -> Match {
        if error.destination != self.destination.ip() {
            return Match::None;
        }
        match self.method {
            TraceMethod::Icmp if wire::is_icmp(error.protocol, error.destination) => {
                self.quoted_echo(error.transport)
            }
            TraceMethod::Udp if error.protocol == protocol::UDP => {
                // Ports, length, checksum: only the destination port is ours to know.
                let Some(&[_, _, high, low, ..]) = error.transport.first_chunk::<8>() else {
                    return Match::None;
                };
                self.datagram(
                    u16::from_be_bytes([high, low]),
                    error.transport.get(8..).unwrap_or(&[]),
                )
            }
            TraceMethod::Tcp { source } if error.protocol == protocol::TCP => {
                let Some(&[a, b, c, d, e, f, g, h]) = error.transport.first_chunk::<8>() else {
                    return Match::None;
                };
                let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                self.segment(source, ports, u32::from_be_bytes([e, f, g, h]))
            }
            _ => Match::None,
        }
    }

    /// An entry of the error queue: the kernel has matched protocol and socket.
    pub(super) fn queued(&self, destination: SocketAddr, quoted: &[u8]) -> Match {
        if destination.ip() != self.destination.ip() {
            return Match::None;
        }
        match self.method {
            TraceMethod::Icmp => self.quoted_echo(quoted),
            TraceMethod::Udp => self.datagram(destination.port(), quoted),
            TraceMethod::Tcp { .. } => Match::None,
        }
    }

    /// A datagram from the target: somebody listens there after all.
    fn udp(&self, from: SocketAddr, payload: &[u8]) -> Match {
        if !matches!(self.method, TraceMethod::Udp) || from.ip() != self.destination.ip() {
            return Match::None;
        }
        // Whatever runs there may echo the probe, or say anything else.
        match self.datagram(from.port(), payload) {
            Match::None => self.datagram(from.port(), &[]),
            found => found,
        }
    }

    /// A segment from the target: SYN and ACK, or a reset.
    fn tcp(&self, from: IpAddr, segment: &[u8]) -> Match {
        let TraceMethod::Tcp { source } = self.method else {
            return Match::None;
        };
        let Ok(tcp) = Tcp::new(segment) else {
            return Match::None;
        };
        let answers = tcp.flags().contains(TcpFlags::ACK)
            && (tcp.flags().contains(TcpFlags::SYN) || tcp.flags().contains(TcpFlags::RST));
        if !answers || from != self.destination.ip() {
            return Match::None;
        }
        let ports = (tcp.destination_port(), tcp.source_port());
        self.segment(source, ports, tcp.acknowledgment().wrapping_sub(1))
    }

    fn quoted_echo(&self, quoted: &[u8]) -> Match {
        wire::quoted_echo(self.destination.is_ipv6(), quoted).map_or(Match::None, |echo| self.echo(echo))
    }

    fn echo(&self, echo: Echo<'_>) -> Match {
        if self.identifier.is_some_and(|own| own != echo.identifier) {
            return Match::None;
        }
        self.checked(echo.sequence.wrapping_sub(self.first_sequence()), echo.payload)
    }

    fn datagram(&self, port: u16, payload: &[u8]) -> Match {
        if matches!(self.flow, Flow::Classic) {
            return self.checked(port.wrapping_sub(self.destination.port()), payload);
        }
        if port != self.destination.port() {
            return Match::None;
        }
        match payload.get(TAG_LEN..MIN_PAYLOAD_LEN) {
            Some(&[high, low]) => self.checked(u16::from_be_bytes([high, low]), payload),
            _ => Match::Unsure,
        }
    }

    fn segment(&self, source: SocketAddr, ports: (u16, u16), sequence: u32) -> Match {
        let number = sequence.wrapping_sub(self.tcp_sequence(0));
        match u16::try_from(number) {
            Ok(number)
                if number < self.total
                    && ports == (self.varied(source.port(), number), self.destination.port()) =>
            {
                Match::Probe(number)
            }
            _ => Match::None,
        }
    }

    /// The probe of that number, if there is one and as much of its tag as is there is right.
    fn checked(&self, number: u16, payload: &[u8]) -> Match {
        let tag = self.tag(number);
        let shown = payload.len().min(TAG_LEN);
        if number < self.total && payload[..shown] == tag[..shown] {
            Match::Probe(number)
        } else {
            Match::None
        }
    }

    /// A port that differs from probe to probe, or does not.
    const fn varied(&self, first: u16, number: u16) -> u16 {
        match self.flow {
            Flow::Classic => first.wrapping_add(number),
            Flow::Paris => first,
        }
    }

    const fn tag(&self, number: u16) -> [u8; TAG_LEN] {
        self.secret.tag(0, number as u32)
    }

    const fn first_sequence(&self) -> u16 {
        wire::low16(self.secret.word(0))
    }

    const fn tcp_sequence(&self, number: u16) -> u32 {
        self.secret.word(1).wrapping_add(number as u32)
    }
}

const fn kind(cause: Cause) -> AnswerKind {
    match cause {
        Cause::HopLimitExceeded => AnswerKind::Router,
        other => AnswerKind::Failed(other),
    }
}

/// The two bytes that make the sum over sequence number and tag, and with it the checksum, the same for all probes.
///
/// Routers that spread flows take the first four bytes of ICMP, the checksum among them, for ports.
fn stillness(sequence: u16, tag: [u8; TAG_LEN]) -> [u8; 2] {
    let mut varied = [0; TAG_LEN + 2];
    let (head, tail) = varied.split_at_mut(2);
    head.copy_from_slice(&sequence.to_be_bytes());
    tail.copy_from_slice(&tag);
    checksum(&varied).to_be_bytes()
}
