//! A path in virtual time: what is sent goes from router to router, and what comes back comes back late, twice or never.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use sockeye_packet::{
    ExtensionWriter, Icmpv4Builder, Icmpv6Builder, Ipv4Builder, Ipv6Builder, MplsLabel, Pseudo, TcpBuilder,
    TcpFlags, UdpBuilder, protocol,
};

use crate::input::{Input, Message};

/// What a router does beside forwarding.
#[derive(Clone, Debug)]
pub(super) struct Router {
    /// From here to the next hop, one way.
    pub(super) delay_us: u64,
    /// Never sends an error.
    pub(super) silent: bool,
    /// Sends this many errors and then no more.
    pub(super) errors: u32,
    /// Bytes it quotes behind the IP header.
    pub(super) quote: usize,
    /// The largest packet the link behind it carries.
    pub(super) mtu: u32,
    /// Says the MTU when a packet is too big.
    pub(super) figure: bool,
    /// Tells of an MPLS label.
    pub(super) label: bool,
}

impl Router {
    pub(super) const GOOD: Self = Self {
        delay_us: 500,
        silent: false,
        errors: u32::MAX,
        quote: 128,
        mtu: 1500,
        figure: true,
        label: false,
    };
}

/// What may happen to anything on the whole way there and back.
#[derive(Clone, Debug, Default)]
pub(super) struct Weather {
    /// Share lost, out of 256.
    pub(super) loss: u8,
    /// Share delivered twice, out of 256.
    pub(super) duplication: u8,
    /// Up to this much is added to each way: reorders.
    pub(super) jitter_us: u64,
    /// Share followed by a forgery, out of 256: the same with bytes changed, cut off, or from elsewhere.
    pub(super) forgery: u8,
    pub(super) seed: u64,
}

impl Weather {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        (0u8..160, 0u8..128, 0u64..30_000, 0u8..128, any::<u64>()).prop_map(
            |(loss, duplication, jitter_us, forgery, seed)| Self {
                loss,
                duplication,
                jitter_us,
                forgery,
                seed,
            },
        )
    }
}

/// How a probe is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// An ICMP socket that delivers everything, as a raw one.
    RawIcmp,
    /// An ICMP socket with an error queue.
    PingSocket,
    /// A UDP socket with an error queue.
    Udp,
    /// Raw TCP, with a raw ICMP socket beside it.
    Tcp,
}

/// Something on its way to the prober.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Delivery {
    at_ns: u64,
    order: u64,
    /// Which of the probes it honestly answers, counted from 0 in the order of sending.
    pub(super) answers: Option<u64>,
    from: SocketAddr,
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Icmp,
    Udp,
    Tcp,
    /// Destination, ICMP type and code and rest; the bytes are the quote.
    Error(SocketAddr, u8, u8, u32),
}

impl Delivery {
    pub(super) fn input(&self) -> Input<'_> {
        let bytes = &self.bytes[..];
        Input::new(match self.kind {
            Kind::Icmp => Message::Icmp {
                from: self.from,
                message: bytes,
            },
            Kind::Udp => Message::Udp {
                from: self.from,
                payload: bytes,
            },
            Kind::Tcp => Message::Tcp {
                from: self.from,
                segment: bytes,
            },
            Kind::Error(destination, kind, code, rest) => Message::Error {
                offender: Some(self.from.ip()),
                destination,
                cause: if destination.is_ipv6() {
                    crate::Cause::from_icmpv6(kind, code, rest)
                } else {
                    crate::Cause::from_icmpv4(kind, code, rest)
                }
                .unwrap_or(crate::Cause::Other { kind, code }),
                quoted: bytes,
            },
        })
    }
}

/// The world: one path, virtual time, and everything in flight.
#[derive(Debug)]
pub(super) struct World {
    pub(super) routers: Vec<Router>,
    /// The target answers.
    pub(super) alive: bool,
    /// Somebody listens at the target's port, and sends back what comes.
    pub(super) echoes: bool,
    carrier: Carrier,
    weather: Weather,
    random: u64,
    pub(super) now_ns: u64,
    /// The prober's clock shows this much more than the time that has passed.
    pub(super) skew_ns: u64,
    /// Probes sent.
    pub(super) sent: u64,
    in_flight: BinaryHeap<Reverse<Delivery>>,
    order: u64,
}

impl World {
    pub(super) fn new(carrier: Carrier, routers: Vec<Router>, weather: Weather) -> Self {
        Self {
            routers,
            alive: true,
            echoes: false,
            carrier,
            random: weather.seed,
            weather,
            now_ns: 0,
            skew_ns: 1 << 40,
            sent: 0,
            in_flight: BinaryHeap::new(),
            order: 0,
        }
    }

    /// The prober's clock.
    pub(super) fn clock(&self) -> Duration {
        Duration::from_nanos(self.now_ns + self.skew_ns)
    }

    /// The address of the router at a hop, from 1.
    pub(super) fn router(v6: bool, hop: usize) -> SocketAddr {
        let last = u16::try_from(hop).unwrap();
        let ip = if v6 {
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last))
        } else {
            IpAddr::V4(Ipv4Addr::new(198, 51, 100, u8::try_from(last).unwrap()))
        };
        SocketAddr::new(ip, 0)
    }

    /// What has arrived by now, or the next thing to arrive and when.
    pub(super) fn next_arrival_ns(&self) -> Option<u64> {
        self.in_flight.peek().map(|Reverse(delivery)| delivery.at_ns)
    }

    pub(super) fn receive(&mut self) -> Option<Delivery> {
        if self.next_arrival_ns()? > self.now_ns {
            return None;
        }
        self.in_flight.pop().map(|Reverse(delivery)| delivery)
    }

    /// Sleeps until the prober's clock shows `until` or something arrives, at least one nanosecond.
    pub(super) fn sleep(&mut self, until: Option<Duration>) -> bool {
        let timeout_ns = until.map(|until| {
            let until_ns = u64::try_from(until.as_nanos()).unwrap();
            self.now_ns + until_ns.saturating_sub(self.now_ns + self.skew_ns).max(1)
        });
        let Some(next_ns) = [timeout_ns, self.next_arrival_ns()].into_iter().flatten().min() else {
            return false;
        };
        self.now_ns = self.now_ns.max(next_ns);
        true
    }

    /// Sends a probe: its message, where to, with which hop limit.
    pub(super) fn send(&mut self, destination: SocketAddr, hop_limit: u8, message: &[u8]) {
        let number = self.sent;
        self.sent += 1;
        if self.chance(self.weather.loss) {
            return;
        }
        let packet = packet(self.carrier, destination, hop_limit, message);
        let size = u32::try_from(packet.len()).unwrap();
        let mut delay_us = 100;
        for index in 0..self.routers.len() {
            let v6 = destination.is_ipv6();
            let router = self.routers[index].clone();
            let error = if usize::from(hop_limit) == index + 1 {
                Some(if v6 { (3, 0, 0) } else { (11, 0, 0) })
            } else if size > router.mtu {
                let mtu = if router.figure { router.mtu } else { 0 };
                Some(if v6 { (2, 0, mtu) } else { (3, 4, mtu) })
            } else {
                None
            };
            if let Some((kind, code, rest)) = error {
                if !router.silent && router.errors > 0 {
                    self.routers[index].errors -= 1;
                    let from = Self::router(v6, index + 1);
                    self.error(
                        number,
                        delay_us,
                        from,
                        destination,
                        (kind, code, rest),
                        &packet,
                        &router,
                    );
                }
                return;
            }
            delay_us += router.delay_us;
        }
        if self.alive {
            self.arrive(number, delay_us, destination, message, &packet);
        }
    }

    /// The target answers.
    fn arrive(&mut self, number: u64, delay_us: u64, target: SocketAddr, message: &[u8], packet: &[u8]) {
        match self.carrier {
            Carrier::RawIcmp | Carrier::PingSocket => {
                let mut reply = message.to_vec();
                reply[0] = if target.is_ipv6() { 129 } else { 0 };
                self.deliver(Some(number), delay_us, target, Kind::Icmp, reply);
            }
            Carrier::Udp if self.echoes => {
                self.deliver(Some(number), delay_us, target, Kind::Udp, message.to_vec());
            }
            Carrier::Udp => {
                let code = if target.is_ipv6() { (1, 4, 0) } else { (3, 3, 0) };
                let from = SocketAddr::new(target.ip(), 0);
                self.error(number, delay_us, from, target, code, packet, &Router::GOOD);
            }
            Carrier::Tcp => {
                let port = u16::from_be_bytes([message[0], message[1]]);
                let destination_port = u16::from_be_bytes([message[2], message[3]]);
                let sequence = u32::from_be_bytes([message[4], message[5], message[6], message[7]]);
                let mut segment = vec![0; 20];
                let reset = TcpBuilder::new(destination_port, port, [])
                    .acknowledgment(sequence.wrapping_add(1))
                    .flags(TcpFlags::RST.union(TcpFlags::ACK));
                sockeye_packet::Emit::emit(&reset, &mut segment, Pseudo::None).unwrap();
                self.deliver(Some(number), delay_us, target, Kind::Tcp, segment);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an error has many sides")]
    fn error(
        &mut self,
        number: u64,
        delay_us: u64,
        from: SocketAddr,
        destination: SocketAddr,
        (kind, code, rest): (u8, u8, u32),
        packet: &[u8],
        router: &Router,
    ) {
        let header = if destination.is_ipv6() { 40 } else { 20 };
        let quote = &packet[..packet.len().min(header + router.quote)];
        match self.carrier {
            Carrier::RawIcmp | Carrier::Tcp => {
                let message = icmp_error(destination.is_ipv6(), kind, code, rest, quote, router.label);
                self.deliver(Some(number), delay_us, from, Kind::Icmp, message);
            }
            Carrier::PingSocket => {
                let quoted = quote[header..].to_vec();
                self.deliver(
                    Some(number),
                    delay_us,
                    from,
                    Kind::Error(destination, kind, code, rest),
                    quoted,
                );
            }
            Carrier::Udp => {
                let quoted = quote.get(header + 8..).unwrap_or(&[]).to_vec();
                self.deliver(
                    Some(number),
                    delay_us,
                    from,
                    Kind::Error(destination, kind, code, rest),
                    quoted,
                );
            }
        }
    }

    fn deliver(&mut self, answers: Option<u64>, delay_us: u64, from: SocketAddr, kind: Kind, bytes: Vec<u8>) {
        if self.chance(self.weather.loss) {
            return;
        }
        let copies = if self.chance(self.weather.duplication) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let at_ns = self.now_ns + (2 * delay_us + self.below(self.weather.jitter_us + 1)) * 1000;
            self.order += 1;
            let honest = Delivery {
                at_ns,
                order: self.order,
                answers,
                from,
                kind: kind.clone(),
                bytes: bytes.clone(),
            };
            if self.chance(self.weather.forgery) {
                self.order += 1;
                let mut forged = Delivery {
                    order: self.order,
                    answers: None,
                    ..honest.clone()
                };
                self.forge(&mut forged);
                // Before the honest one or after it.
                forged.at_ns = self.now_ns + 1 + self.below(2 * (at_ns - self.now_ns));
                if (&forged.bytes, forged.from) != (&honest.bytes, honest.from) {
                    self.in_flight.push(Reverse(forged));
                }
            }
            self.in_flight.push(Reverse(honest));
        }
    }

    /// Changes what makes a message ours: the tag, the identifying numbers, the length or the sender.
    fn forge(&mut self, delivery: &mut Delivery) {
        let v6 = delivery.from.is_ipv6();
        // Where the probe's own payload begins: what comes before it can be guessed, the tag in it cannot.
        let payload = match delivery.kind {
            Kind::Icmp if matches!(delivery.bytes.first(), Some(0 | 129)) => 8,
            // TCP has no tag: its sequence number is what cannot be guessed.
            Kind::Icmp => 8 + if v6 { 40 } else { 20 } + if self.carrier == Carrier::Tcp { 4 } else { 8 },
            Kind::Error(..) if self.carrier == Carrier::PingSocket => 8,
            // The numbers in a TCP header are all there is.
            Kind::Tcp => 4,
            Kind::Error(..) | Kind::Udp => 0,
        };
        let kept = usize::try_from(self.below(8)).unwrap();
        match self.below(3) {
            0 if delivery.bytes.len() >= payload + 8 => {
                for byte in &mut delivery.bytes[payload..payload + 8] {
                    *byte = byte.wrapping_add(0x5b);
                }
            }
            1 => delivery.bytes.truncate(kept),
            _ => {
                for byte in &mut delivery.bytes {
                    *byte ^= 0xff;
                }
            }
        }
    }

    fn chance(&mut self, out_of_256: u8) -> bool {
        self.below(256) < u64::from(out_of_256)
    }

    fn below(&mut self, limit: u64) -> u64 {
        // xorshift*: the test's own stream, so that a case replays.
        let mut x = self.random | 1;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit.max(1)
    }
}

/// The IP packet that carries a probe.
fn packet(carrier: Carrier, destination: SocketAddr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 70_000];
    let icmp = matches!(carrier, Carrier::RawIcmp | Carrier::PingSocket);
    let udp = UdpBuilder::new(40_000, destination.port(), message);
    let len = match destination.ip() {
        IpAddr::V4(to) => {
            let number = if icmp { protocol::ICMPV4 } else { protocol::TCP };
            let ip = Ipv4Builder::new(Ipv4Addr::new(192, 0, 2, 200), to)
                .ttl(hop_limit)
                .protocol(number);
            if carrier == Carrier::Udp {
                ip.write(&mut packet, &udp)
            } else {
                ip.write(&mut packet, message)
            }
        }
        IpAddr::V6(to) => {
            let number = if icmp { protocol::ICMPV6 } else { protocol::TCP };
            let from = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 200);
            let ip = Ipv6Builder::new(from, to)
                .hop_limit(hop_limit)
                .next_header(number);
            if carrier == Carrier::Udp {
                ip.write(&mut packet, &udp)
            } else {
                ip.write(&mut packet, message)
            }
        }
    };
    packet.truncate(len.unwrap());
    packet
}

fn icmp_error(v6: bool, kind: u8, code: u8, rest: u32, quote: &[u8], label: bool) -> Vec<u8> {
    let mut room = [0; 64];
    let mut writer = ExtensionWriter::new(&mut room).unwrap();
    writer
        .push_label(MplsLabel {
            label: 299_776,
            traffic_class: 0,
            bottom: true,
            ttl: 1,
        })
        .unwrap();
    let extensions = writer.finish();
    let mut message = vec![0; 1500];
    let len = if v6 {
        let builder = Icmpv6Builder::new(kind, code, rest.to_be_bytes(), quote);
        let builder = if label && kind == 3 {
            builder.extensions(extensions)
        } else {
            builder
        };
        builder.write(&mut message, Pseudo::None)
    } else {
        let builder = Icmpv4Builder::new(kind, code, rest.to_be_bytes(), quote);
        let builder = if label && kind == 11 {
            builder.extensions(extensions)
        } else {
            builder
        };
        builder.write(&mut message)
    };
    message.truncate(len.unwrap());
    message
}
