//! Packets that lie, and packets from the books: expected bytes and verdicts are written out here, not computed.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use sockeye::packet::{
    ChecksumStatus, ExtensionHeaders, ExtensionObject, Fault, Icmpv4, Icmpv6, Icmpv6Message, InterfaceRole,
    Ipv4, Ipv4Builder, Ipv4Options, Ipv6, Layer, MulticastReport, NeighbourOption, NeighbourOptions, Packet,
    Quoted, Reassembler, Reassembly, ReassemblyLimits, Tcp, TcpOptions, Transport, Udp, UdpLite,
};

/// A datagram from 192.0.2.1:40000 to port 53, its sums computed by a program that shares nothing with ours.
const UDP_PACKET: [u8; 33] = [
    0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17, 0xb6, 0xc8, 192, 0, 2, 1, 192, 0, 2, 2, // IP
    0x9c, 0x40, 0, 53, 0, 13, 0x9b, 0x88, b'h', b'e', b'l', b'l', b'o', // UDP
];

fn fault<T: std::fmt::Debug>(
    result: Result<T, sockeye::packet::PacketError>,
) -> (Layer, Fault, usize, usize, usize) {
    let error = result.unwrap_err();
    (
        error.layer,
        error.fault,
        error.offset,
        error.required,
        error.actual,
    )
}

#[test]
fn a_packet_with_known_sums_is_read_and_found_right() {
    let packet = Packet::new(&UDP_PACKET).unwrap();
    assert!(Ipv4::new(&UDP_PACKET).unwrap().checksum_ok());
    let Transport::Udp(udp) = packet.transport else {
        panic!("{packet:?}")
    };
    assert_eq!(
        (udp.source_port(), udp.destination_port(), udp.payload()),
        (40_000, 53, &b"hello"[..])
    );
    assert_eq!(packet.transport_checksum(), ChecksumStatus::Valid);
    for at in 0..UDP_PACKET.len() {
        let mut flipped = UDP_PACKET;
        flipped[at] ^= 0x10;
        let sound = Packet::new(&flipped).is_ok_and(|packet| {
            packet.transport_checksum() == ChecksumStatus::Valid && Ipv4::new(&flipped).unwrap().checksum_ok()
        });
        assert!(!sound, "a flipped bit at {at} goes unnoticed");
    }
}

#[test]
fn every_cut_is_an_error_and_in_lax_mode_the_part_that_is_sound() {
    for len in 0..UDP_PACKET.len() {
        let cut = &UDP_PACKET[..len];
        let error = Packet::new(cut).unwrap_err();
        assert_eq!(error.fault, Fault::Truncated, "{len}");
        match Packet::lax(cut) {
            Err(error) => assert!(len < 20 && error.actual == len),
            Ok(lax) => {
                assert_eq!((error.required, error.actual), (33, len));
                assert_eq!(lax.stopped, Some(error));
                assert_eq!(matches!(lax.view.transport, Transport::Udp(_)), len >= 28);
                assert_eq!(lax.view.transport_checksum(), ChecksumStatus::Unknown);
            }
        }
    }
}

#[test]
fn headers_that_lie_say_where() {
    let mut packet = UDP_PACKET;
    packet[0] = 0x44;
    assert_eq!(
        fault(Ipv4::new(&packet)),
        (Layer::Ipv4, Fault::HeaderLength, 0, 20, 16)
    );
    assert!(Ipv4::lax(&packet).is_err());
    packet[0] = 0x4f;
    assert_eq!(
        fault(Ipv4::new(&packet)),
        (Layer::Ipv4Options, Fault::Truncated, 20, 60, 33)
    );
    packet[0] = 0x65;
    assert_eq!(fault(Ipv4::new(&packet)), (Layer::Ipv4, Fault::Version, 0, 4, 6));
    packet = UDP_PACKET;
    packet[3] = 19;
    assert_eq!(
        fault(Ipv4::new(&packet)),
        (Layer::Ipv4, Fault::LengthField, 2, 20, 19)
    );
    assert_eq!(
        Ipv4::lax(&packet).unwrap().view.payload().len(),
        13,
        "all that is there"
    );
    assert_eq!(
        fault(Udp::new(&UDP_PACKET[20..27])),
        (Layer::Udp, Fault::Truncated, 0, 8, 7)
    );
    assert_eq!(
        fault(Udp::new(&[0, 1, 0, 2, 0, 7, 0, 0])),
        (Layer::Udp, Fault::LengthField, 4, 8, 7)
    );
    assert_eq!(
        fault(UdpLite::new(&[0, 1, 0, 2, 0, 7, 0, 0])),
        (Layer::UdpLite, Fault::Value, 4, 8, 7)
    );
    let mut segment = [0; 24];
    segment[12] = 0x40;
    assert_eq!(
        fault(Tcp::new(&segment)),
        (Layer::Tcp, Fault::HeaderLength, 12, 20, 16)
    );
    segment[12] = 0x70;
    assert_eq!(
        fault(Tcp::new(&segment)),
        (Layer::TcpOptions, Fault::Truncated, 20, 28, 24)
    );
}

#[test]
fn option_lengths_that_lie_end_the_walk_at_their_place() {
    for (bytes, offset, required, actual) in [
        (&[1, 7, 0, 0][..], 2, 2, 0),
        (&[1, 7, 1, 0], 2, 2, 1),
        (&[7, 9, 4, 0], 0, 9, 4),
        (&[148, 3, 0, 0], 1, 4, 3),
    ] {
        let error = Ipv4Options::new(bytes).find_map(Result::err).unwrap();
        assert_eq!(
            (error.layer, error.offset, error.required, error.actual),
            (Layer::Ipv4Options, offset, required, actual)
        );
    }
    for (bytes, offset) in [
        (&[1, 1, 2, 0][..], 3),
        (&[3, 4, 0, 0], 1),
        (&[5, 9, 0, 0, 0, 0, 0, 0, 0], 1),
    ] {
        let error = TcpOptions::new(bytes).find_map(Result::err).unwrap();
        assert_eq!(
            (error.layer, error.fault, error.offset),
            (Layer::TcpOptions, Fault::OptionLength, offset)
        );
    }
    let error = NeighbourOptions::new(&[1, 1, 2, 0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0])
        .find_map(Result::err)
        .unwrap();
    assert_eq!(
        (error.layer, error.offset, error.required),
        (Layer::NeighbourOption, 9, 8)
    );
}

#[test]
fn hop_by_hop_stands_first_or_is_an_error() {
    let chain = [0, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0];
    let error = ExtensionHeaders::new(60, &chain).upper_layer().unwrap_err();
    assert_eq!(
        (error.layer, error.fault, error.offset),
        (Layer::Ipv6Extension, Fault::ExtensionOrder, 8)
    );
    assert_eq!(
        ExtensionHeaders::new(0, &chain[8..])
            .upper_layer()
            .unwrap()
            .protocol,
        59
    );
    let mut packet = [0; 48];
    packet[0] = 0x60;
    packet[5] = 9;
    assert_eq!(
        fault(Ipv6::new(&packet)),
        (Layer::Ipv6, Fault::Truncated, 0, 49, 48)
    );
}

/// A time exceeded message: `quote` of 28 bytes and more, padded to 128, then `extensions`.
fn time_exceeded(length: u8, extensions: &[u8]) -> Vec<u8> {
    let mut message = vec![11, 0, 0, 0, 0, length, 0, 0];
    message.extend_from_slice(&UDP_PACKET);
    message.resize(8 + 128, 0);
    message.extend_from_slice(extensions);
    message
}

/// The label stack object of RFC 4950 section 3 around label 16001, with a right checksum.
const MPLS: [u8; 12] = [0x20, 0, 0xc6, 0x0d, 0, 8, 1, 1, 0x03, 0xe8, 0x15, 0x01];

#[test]
fn extensions_are_found_by_length_by_custom_and_not_where_they_lie() {
    for length in [32, 0] {
        let message = time_exceeded(length, &MPLS);
        let message = Icmpv4::new(message.as_slice()).unwrap();
        let extensions = message.extensions().unwrap().unwrap();
        assert!(extensions.checksum_ok(), "length {length}");
        let object = extensions.map(Result::unwrap).next().unwrap();
        let labels: Vec<_> = object
            .labels()
            .map(|label| (label.label, label.ttl, label.bottom))
            .collect();
        assert_eq!(labels, [(16_001, 1, true)]);
        let quoted = message.quoted().unwrap().unwrap();
        assert_eq!(
            (quoted.ports(), quoted.payload),
            (Some((40_000, 53)), &UDP_PACKET[20..])
        );
    }
    // Without a length, a structure whose checksum is wrong is taken for what is left of the quote.
    let mut wrong = time_exceeded(0, &MPLS);
    *wrong.last_mut().unwrap() ^= 1;
    assert!(Icmpv4::new(wrong.as_slice()).unwrap().extensions().is_none());
    // A length beyond the message.
    let lying = time_exceeded(200, &MPLS);
    let error = Icmpv4::new(lying.as_slice())
        .unwrap()
        .extensions()
        .unwrap()
        .unwrap_err();
    assert_eq!(
        (error.layer, error.offset, error.required, error.actual),
        (Layer::IcmpExtensions, 8, 800, 140)
    );
    // An object of length 0.
    let zero = time_exceeded(32, &[0x20, 0, 0, 0, 0, 0, 1, 1]);
    let zero = Icmpv4::new(zero.as_slice()).unwrap();
    let error = zero.extensions().unwrap().unwrap().next().unwrap().unwrap_err();
    assert_eq!(
        (error.fault, error.offset, error.required),
        (Fault::LengthField, 140, 4)
    );
}

#[test]
fn an_interface_tells_its_parts() {
    // RFC 5837 section 4.1: role "outgoing", with index, IPv4 address, name and MTU.
    let object = [
        0x20, 0, 0, 0, 0, 28, 2, 0x8f, 0, 0, 0, 3, 0, 1, 0, 0, 192, 0, 2, 9, 8, b'e', b't', b'h', b'0', 0, 0,
        0, 0, 0, 5, 220,
    ];
    let message = time_exceeded(32, &object);
    let message = Icmpv4::new(message.as_slice()).unwrap();
    let object = message.extensions().unwrap().unwrap().next().unwrap().unwrap();
    let ExtensionObject::Interface(info) = object else {
        panic!("{object:?}")
    };
    assert_eq!(
        (info.role, info.index, info.mtu),
        (InterfaceRole::Outgoing, Some(3), Some(1500))
    );
    assert_eq!(
        (info.address, info.name),
        (Some("192.0.2.9".parse().unwrap()), Some(&b"eth0"[..]))
    );
}

#[test]
fn quotes_of_any_length_give_what_they_hold() {
    for len in 0..=UDP_PACKET.len() {
        match Quoted::v4(&UDP_PACKET[..len]) {
            Err(error) => assert!(len < 20, "{error}"),
            Ok(quoted) => {
                assert_eq!(quoted.ports().is_some(), len >= 24);
                assert_eq!(quoted.transport().is_some(), len >= 28);
                assert_eq!(quoted.stopped.is_some(), len < 33);
            }
        }
    }
    // An IHL of 6: the ports stand four bytes later.
    let mut long = UDP_PACKET.to_vec();
    long[0] = 0x46;
    long.splice(20..20, [148, 4, 0, 0]);
    assert_eq!(Quoted::v4(&long[..28]).unwrap().ports(), Some((40_000, 53)));
    // A quoted UDP length under 8 is data, not something to subtract from.
    let mut short = UDP_PACKET;
    short[25] = 3;
    assert!(Quoted::v4(&short).unwrap().transport().is_some());
}

#[test]
fn a_multicast_report_is_read_record_by_record() {
    let mut report = vec![143, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 1];
    let group: std::net::Ipv6Addr = "ff02::fb".parse().unwrap();
    report.extend_from_slice(&group.octets());
    report.extend_from_slice(&[7; 16]);
    report.extend_from_slice(&[6, 0, 0, 200]);
    report.extend_from_slice(&group.octets());
    let message = Icmpv6::new(report.as_slice()).unwrap();
    let Icmpv6Message::MldReportV2 { mut records } = message.message() else {
        panic!()
    };
    let first = records.next().unwrap().unwrap();
    assert_eq!(
        (first.report, first.group, first.sources),
        (MulticastReport::ToExclude, group, &[[7; 16]][..])
    );
    let error = records.next().unwrap().unwrap_err();
    assert_eq!(
        (error.layer, error.required, error.actual),
        (Layer::Mld, 3220, 20)
    );
    assert!(records.next().is_none());
}

#[test]
fn router_advertisement_options_are_typed() {
    let options = [
        5, 1, 0, 0, 0, 0, 5, 220, 1, 1, 2, 0, 0, 0, 0, 9, 200, 1, 1, 2, 3, 4, 5, 6,
    ];
    let read: Vec<_> = NeighbourOptions::new(&options).map(Result::unwrap).collect();
    assert_eq!(read[0], NeighbourOption::Mtu(1500));
    assert_eq!(read[1], NeighbourOption::SourceLinkAddress(&[2, 0, 0, 0, 0, 9]));
    assert_eq!(
        read[2],
        NeighbourOption::Other {
            kind: 200,
            data: &[1, 2, 3, 4, 5, 6]
        }
    );
}

/// A fragment of a datagram of protocol 253.
fn fragment(id: u16, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20 + payload.len()];
    let header = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        .protocol(253)
        .id(id);
    header.fragment(offset, more).write(&mut packet, payload).unwrap();
    packet
}

#[test]
fn an_overlap_drops_the_datagram_and_all_that_still_comes_of_it() {
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let mut push = |packet: Vec<u8>, seconds| {
        let result = reassembler.push_v4(
            &Ipv4::new(packet.as_slice()).unwrap(),
            Duration::from_secs(seconds),
        );
        result
            .map(|result| matches!(result, Reassembly::Complete(_)))
            .map_err(|error| error.fault)
    };
    assert_eq!(push(fragment(1, 0, true, &[1; 16]), 0), Ok(false));
    assert_eq!(push(fragment(1, 8, true, &[2; 16]), 0), Err(Fault::Overlap));
    // RFC 5722 section 4: "including those not yet received".
    assert_eq!(push(fragment(1, 16, false, &[3; 8]), 1), Err(Fault::Overlap));
    assert_eq!(push(fragment(1, 0, true, &[1; 16]), 59), Err(Fault::Overlap));
    // Another datagram is not concerned, and the number is free again after the time is over.
    assert_eq!(push(fragment(2, 8, false, &[3; 3]), 59), Ok(false));
    assert_eq!(push(fragment(2, 0, true, &[3; 8]), 59), Ok(true));
    assert_eq!(push(fragment(1, 16, false, &[3; 8]), 61), Ok(false));
    assert_eq!(push(fragment(1, 0, true, &[1; 16]), 61), Ok(true));
    // The same bytes again are a repetition, other bytes at the same place an overlap.
    assert_eq!(push(fragment(3, 0, true, &[1; 8]), 62), Ok(false));
    assert_eq!(push(fragment(3, 0, true, &[1; 8]), 62), Ok(false));
    assert_eq!(push(fragment(3, 0, true, &[9; 8]), 62), Err(Fault::Overlap));
    // Lengths no multiple of eight, and the "ping of death".
    assert_eq!(push(fragment(4, 0, true, &[1; 9]), 62), Err(Fault::LengthField));
    assert_eq!(
        push(fragment(5, 65_528, false, &[1; 100]), 62),
        Err(Fault::TooLarge)
    );
}

#[test]
fn what_expires_says_whether_its_first_fragment_had_come() {
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    for packet in [fragment(1, 0, true, &[1; 8]), fragment(2, 8, true, &[1; 8])] {
        reassembler
            .push_v4(&Ipv4::new(packet.as_slice()).unwrap(), Duration::ZERO)
            .unwrap();
    }
    assert_eq!(reassembler.next_deadline(), Some(Duration::from_secs(60)));
    let mut first = Vec::new();
    reassembler.expire(Duration::from_secs(60), |expired| {
        first.push(expired.first_header.map(<[u8]>::len))
    });
    first.sort();
    assert_eq!(first, [None, Some(20)]);
    assert!(reassembler.is_empty());
}
