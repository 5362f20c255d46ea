//! The engines of the probes without I/O: a ping request and its answer, the probes of a trace and their answers, the verdicts of
//! a scan.
//!
//! Beside a ping stand what builds the request and reads the answer and does nothing else: bytes by hand, etherparse and pnet. The
//! engine besides remembers the request, tells it from a stranger's, and has the figures and deadlines of its target.
//! `cargo xtask bench probe`

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Slice, Icmpv4Type};
use pnet_packet::Packet as _;
use pnet_packet::icmp::IcmpTypes;
use pnet_packet::icmp::echo_reply::EchoReplyPacket;
use pnet_packet::icmp::echo_request::MutableEchoRequestPacket;
use sockeye::probe::{
    Cause, Input, Message, PingOptions, PingOutcome, Pinger, ScanMethod, ScanOptions, ScanOutcome, Scanner,
    TraceMethod, TraceOptions, Tracer,
};

const SECOND: Duration = Duration::from_secs(1);
const RTT: Duration = Duration::from_millis(5);
const PAYLOAD: [u8; 56] = [7; 56];
const IDENTIFIER: u16 = 7;

fn host() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 0))
}

/// A request written, turned into its answer and taken as such.
fn ping_ours() -> impl FnMut() {
    let mut pinger = Pinger::new(PingOptions {
        identifier: Some(IDENTIFIER),
        ..PingOptions::new(99)
    });
    pinger.add(host()).unwrap();
    let (mut now, mut message) = (Duration::ZERO, Vec::new());
    move || {
        now += SECOND;
        pinger.poll_transmit(now, &mut message).unwrap();
        black_box(&mut message)[0] = 0;
        let input = Input::new(Message::Icmp {
            from: host(),
            message: &message,
        });
        let event = pinger.handle_input(now + RTT, input).unwrap();
        assert!(matches!(event.outcome, PingOutcome::Reply { .. }));
    }
}

/// The Internet checksum (RFC 1071), as one writes it.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// The bytes alone: eight of a header, the payload, a checksum; and read again.
fn ping_by_hand() -> impl FnMut() {
    let (mut sequence, mut message) = (0_u16, [0; 64]);
    move || {
        sequence = sequence.wrapping_add(1);
        message[..4].copy_from_slice(&[8, 0, 0, 0]);
        message[4..6].copy_from_slice(&IDENTIFIER.to_be_bytes());
        message[6..8].copy_from_slice(&sequence.to_be_bytes());
        message[8..].copy_from_slice(&PAYLOAD);
        let checksum = sum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let message = black_box(&mut message);
        message[0] = 0;
        let answer = (message[4..6] == IDENTIFIER.to_be_bytes()).then(|| [message[6], message[7]]);
        assert_eq!(answer, Some(sequence.to_be_bytes()));
        assert_eq!(message[8..], PAYLOAD);
    }
}

fn ping_etherparse() -> impl FnMut() {
    let (mut seq, mut message) = (0_u16, Vec::new());
    move || {
        seq = seq.wrapping_add(1);
        let echo = IcmpEchoHeader { id: IDENTIFIER, seq };
        message.clear();
        let header = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(echo), &PAYLOAD);
        header.write(&mut message).unwrap();
        message.extend_from_slice(&PAYLOAD);
        black_box(&mut message)[0] = 0;
        let answer = Icmpv4Slice::from_slice(&message).unwrap();
        assert_eq!(answer.icmp_type(), Icmpv4Type::EchoReply(echo));
        assert_eq!(answer.payload(), PAYLOAD);
    }
}

fn ping_pnet() -> impl FnMut() {
    let (mut sequence, mut message) = (0_u16, [0; 64]);
    move || {
        sequence = sequence.wrapping_add(1);
        let mut request = MutableEchoRequestPacket::new(&mut message).unwrap();
        request.set_icmp_type(IcmpTypes::EchoRequest);
        request.set_identifier(IDENTIFIER);
        request.set_sequence_number(sequence);
        request.set_payload(&PAYLOAD);
        request.set_checksum(0);
        let checksum = pnet_packet::util::checksum(request.packet(), 1);
        request.set_checksum(checksum);
        black_box(&mut message)[0] = 0;
        let answer = EchoReplyPacket::new(&message).unwrap();
        assert_eq!(
            (answer.get_identifier(), answer.get_sequence_number()),
            (IDENTIFIER, sequence)
        );
        assert_eq!(answer.payload(), PAYLOAD);
    }
}

fn ping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("probe/ping");
    group.throughput(Throughput::Elements(1));
    group.bench_function("request and answer/sockeye", |b| b.iter(ping_ours()));
    group.bench_function("request and answer/by hand", |b| b.iter(ping_by_hand()));
    group.bench_function("request and answer/etherparse", |b| b.iter(ping_etherparse()));
    group.bench_function("request and answer/pnet", |b| b.iter(ping_pnet()));
    group.finish();
}

/// A whole trace, each probe answered by a router; how many there were.
fn trace_whole() -> u64 {
    let to = SocketAddr::from(([192, 0, 2, 1], 33_434));
    let mut tracer = Tracer::new(to, TraceOptions::new(TraceMethod::Udp, 99)).unwrap();
    let (mut now, mut message, mut answers) = (Duration::ZERO, Vec::new(), 0);
    while let Some(probe) = tracer.poll_transmit(now, &mut message) {
        now += RTT;
        let input = Input::new(Message::Error {
            offender: Some([192, 0, 2, 254].into()),
            destination: probe.destination,
            cause: Cause::HopLimitExceeded,
            quoted: black_box(&message),
        });
        answers += u64::from(tracer.handle_input(now, input).is_some());
        while tracer.poll_event(now).is_some() {}
    }
    answers
}

fn trace(criterion: &mut Criterion) {
    // Three probes to each of thirty hops.
    assert_eq!(trace_whole(), 90);
    let mut group = criterion.benchmark_group("probe/trace");
    group.throughput(Throughput::Elements(90));
    group.bench_function("probe and answer/sockeye", |b| b.iter(trace_whole));
    group.finish();
}

/// Ports of one host.
const PORTS: u64 = 1_000;

/// A whole scan, every port refused; how many verdicts there were.
fn scan_whole() -> u64 {
    let mut scanner = Scanner::new(&"1-1000".parse().unwrap(), ScanOptions::new(ScanMethod::Tcp, 99));
    scanner.add_host(host());
    let (mut now, mut verdicts) = (Duration::ZERO, 0);
    while let Some(probe) = scanner.poll_transmit(now) {
        now += RTT;
        let verdict = scanner.handle_outcome(now, black_box(probe.probe), ScanOutcome::Refused);
        verdicts += u64::from(verdict.is_some());
    }
    verdicts
}

fn scan(criterion: &mut Criterion) {
    assert_eq!(scan_whole(), PORTS);
    let mut group = criterion.benchmark_group("probe/scan");
    group.throughput(Throughput::Elements(PORTS));
    group.bench_function("verdict/sockeye", |b| b.iter(scan_whole));
    group.finish();
}

criterion_group!(benches, ping, trace, scan);
criterion_main!(benches);
