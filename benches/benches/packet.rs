//! Packets: six fields of a header pair, checksums, builders, each beside its peers.
//!
//! Fields: source, destination, protocol, both ports, length of the payload, every check of the peer's included.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{Ipv4Slice, TcpSlice, UdpSlice};
use pnet_packet::Packet as _;
use smoltcp::wire;
use sockeye::packet::{Ipv4, Ipv4Builder, Packet, Tcp, TcpBuilder, TcpFlags, Udp, UdpBuilder, checksum};

/// Source, destination, protocol, ports, length of the payload.
type Fields = (Ipv4Addr, Ipv4Addr, u8, u16, u16, usize);

mod ours {
    use super::*;

    pub(crate) fn udp(bytes: &[u8]) -> Option<Fields> {
        let ip = Ipv4::new(bytes).ok()?;
        let udp = Udp::new(ip.payload()).ok()?;
        let ports = (udp.source_port(), udp.destination_port());
        Some((
            ip.source(),
            ip.destination(),
            ip.protocol(),
            ports.0,
            ports.1,
            udp.payload().len(),
        ))
    }

    pub(crate) fn tcp(bytes: &[u8]) -> Option<Fields> {
        let ip = Ipv4::new(bytes).ok()?;
        let tcp = Tcp::new(ip.payload()).ok()?;
        let ports = (tcp.source_port(), tcp.destination_port());
        Some((
            ip.source(),
            ip.destination(),
            ip.protocol(),
            ports.0,
            ports.1,
            tcp.payload().len(),
        ))
    }

    /// The whole packet in one call, extension headers and options walked.
    pub(crate) fn whole(bytes: &[u8]) -> Option<(u8, usize)> {
        let packet = Packet::new(bytes).ok()?;
        Some((packet.protocol, packet.offset))
    }
}

mod etherparse_slices {
    use super::*;

    pub(crate) fn udp(bytes: &[u8]) -> Option<Fields> {
        let ip = Ipv4Slice::from_slice(bytes).ok()?;
        let udp = UdpSlice::from_slice(ip.payload().payload).ok()?;
        let (header, ports) = (ip.header(), (udp.source_port(), udp.destination_port()));
        let addresses = (header.source_addr(), header.destination_addr());
        Some((
            addresses.0,
            addresses.1,
            header.protocol().0,
            ports.0,
            ports.1,
            udp.payload().len(),
        ))
    }

    pub(crate) fn tcp(bytes: &[u8]) -> Option<Fields> {
        let ip = Ipv4Slice::from_slice(bytes).ok()?;
        let tcp = TcpSlice::from_slice(ip.payload().payload).ok()?;
        let (header, ports) = (ip.header(), (tcp.source_port(), tcp.destination_port()));
        let addresses = (header.source_addr(), header.destination_addr());
        Some((
            addresses.0,
            addresses.1,
            header.protocol().0,
            ports.0,
            ports.1,
            tcp.payload().len(),
        ))
    }

    pub(crate) fn whole(bytes: &[u8]) -> Option<bool> {
        Some(etherparse::SlicedPacket::from_ip(bytes).ok()?.transport.is_some())
    }
}

mod smoltcp_views {
    use super::*;

    pub(crate) fn udp(bytes: &[u8]) -> Option<Fields> {
        let ip = wire::Ipv4Packet::new_checked(bytes).ok()?;
        let udp = wire::UdpPacket::new_checked(ip.payload()).ok()?;
        let ports = (udp.src_port(), udp.dst_port());
        Some((
            ip.src_addr(),
            ip.dst_addr(),
            ip.next_header().into(),
            ports.0,
            ports.1,
            udp.payload().len(),
        ))
    }

    pub(crate) fn tcp(bytes: &[u8]) -> Option<Fields> {
        let ip = wire::Ipv4Packet::new_checked(bytes).ok()?;
        let tcp = wire::TcpPacket::new_checked(ip.payload()).ok()?;
        let ports = (tcp.src_port(), tcp.dst_port());
        Some((
            ip.src_addr(),
            ip.dst_addr(),
            ip.next_header().into(),
            ports.0,
            ports.1,
            tcp.payload().len(),
        ))
    }

    pub(crate) fn checksum_ok(bytes: &[u8]) -> bool {
        wire::Icmpv4Packet::new_unchecked(bytes).verify_checksum()
    }
}

mod pnet {
    use super::*;

    pub(crate) fn udp(bytes: &[u8]) -> Option<Fields> {
        let ip = pnet_packet::ipv4::Ipv4Packet::new(bytes)?;
        let udp = pnet_packet::udp::UdpPacket::new(ip.payload())?;
        let ports = (udp.get_source(), udp.get_destination());
        let protocol = ip.get_next_level_protocol().0;
        Some((
            ip.get_source(),
            ip.get_destination(),
            protocol,
            ports.0,
            ports.1,
            udp.payload().len(),
        ))
    }

    pub(crate) fn tcp(bytes: &[u8]) -> Option<Fields> {
        let ip = pnet_packet::ipv4::Ipv4Packet::new(bytes)?;
        let tcp = pnet_packet::tcp::TcpPacket::new(ip.payload())?;
        let ports = (tcp.get_source(), tcp.get_destination());
        let protocol = ip.get_next_level_protocol().0;
        Some((
            ip.get_source(),
            ip.get_destination(),
            protocol,
            ports.0,
            ports.1,
            tcp.payload().len(),
        ))
    }
}

const HEADER: Ipv4Builder<'_> = Ipv4Builder::new(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));

fn udp_packet() -> Vec<u8> {
    let mut packet = vec![0; 92];
    assert_eq!(
        HEADER.write(&mut packet, &UdpBuilder::new(40_000, 53, &[7; 64])),
        Ok(92)
    );
    packet
}

fn tcp_packet() -> Vec<u8> {
    let mut packet = vec![0; 116];
    let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let segment = TcpBuilder::new(40_000, 80, &[7; 64])
        .flags(TcpFlags::ACK)
        .options(&options);
    assert_eq!(HEADER.write(&mut packet, &segment), Ok(116));
    packet
}

fn contender<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) {
    assert!(read(bytes).is_some(), "{name} reads it");
    group.bench_function(name, |b| b.iter(|| read(black_box(bytes))));
}

fn fields(criterion: &mut Criterion) {
    let packet = udp_packet();
    let mut group = criterion.benchmark_group("packet/fields");
    contender(&mut group, "ipv4-udp/sockeye", &packet, ours::udp);
    contender(&mut group, "ipv4-udp/etherparse", &packet, etherparse_slices::udp);
    contender(&mut group, "ipv4-udp/smoltcp", &packet, smoltcp_views::udp);
    contender(&mut group, "ipv4-udp/pnet", &packet, pnet::udp);
    group.finish();

    let packet = tcp_packet();
    let mut group = criterion.benchmark_group("packet/fields");
    contender(&mut group, "ipv4-tcp/sockeye", &packet, ours::tcp);
    contender(&mut group, "ipv4-tcp/etherparse", &packet, etherparse_slices::tcp);
    contender(&mut group, "ipv4-tcp/smoltcp", &packet, smoltcp_views::tcp);
    contender(&mut group, "ipv4-tcp/pnet", &packet, pnet::tcp);
    group.finish();

    let mut group = criterion.benchmark_group("packet/walk");
    contender(&mut group, "ipv4-tcp/sockeye", &packet, ours::whole);
    contender(
        &mut group,
        "ipv4-tcp/etherparse",
        &packet,
        etherparse_slices::whole,
    );
    group.finish();
}

fn checksums(criterion: &mut Criterion) {
    for len in [20_usize, 64, 1500, 9000, 65_536] {
        let mut group = criterion.benchmark_group("packet/checksum");
        group.throughput(Throughput::Bytes(u64::try_from(len).unwrap_or(u64::MAX)));
        let data: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0].wrapping_mul(31)).collect();
        group.bench_function(format!("{len} B/sockeye"), |b| {
            b.iter(|| checksum(black_box(&data)))
        });
        group.bench_function(format!("{len} B/etherparse"), |b| {
            b.iter(|| {
                etherparse::checksum::Sum16BitWords::new()
                    .add_slice(black_box(&data))
                    .ones_complement()
            });
        });
        group.bench_function(format!("{len} B/smoltcp"), |b| {
            b.iter(|| smoltcp_views::checksum_ok(black_box(&data)))
        });
        group.bench_function(format!("{len} B/pnet"), |b| {
            b.iter(|| pnet_packet::util::checksum(black_box(&data), 1000))
        });
        group.finish();
    }
}

fn builders(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet/build");
    let mut buffer = [0; 92];
    let payload = [7; 64];
    group.bench_function("ipv4-udp/sockeye", |b| {
        b.iter(|| {
            HEADER.write(
                black_box(&mut buffer),
                &UdpBuilder::new(40_000, 53, black_box(&payload)),
            )
        });
    });
    let addresses = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    group.bench_function("ipv4-udp/etherparse", |b| {
        b.iter(|| {
            let mut out = black_box(&mut buffer).as_mut_slice();
            etherparse::PacketBuilder::ipv4(addresses.0.octets(), addresses.1.octets(), 64)
                .udp(40_000, 53)
                .write(&mut out, black_box(&payload))
                .is_ok()
        });
    });
    group.finish();
}

criterion_group!(packet, fields, checksums, builders);
criterion_main!(packet);
