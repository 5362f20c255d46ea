//! Properties of the packet crate, with etherparse and smoltcp as oracles: same fields, same checksums, same verdicts.
//!
//! Where the three disagree, this table says who is right. Each line has a test of its own at the end of the file.
//!
//! | input | sockeye | etherparse 0.20 | smoltcp 0.12 | decided by |
//! |---|---|---|---|---|
//! | version nibble that is not 4 or 6 | error | error | accepted | RFC 791 3.1, RFC 8200 3 |
//! | IPv4 IHL under 5 | error | error | accepted | RFC 791 3.1: "minimum value for a correct header is 5" |
//! | IPv6 payload length 0, no jumbo option | empty payload | rest of the slice | empty payload | RFC 8200 3: length of the payload |
//! | IPv6 payload length 0 with a jumbo option | that length | rest of the slice | empty payload | RFC 2675 2 |
//! | behind an IPv6 fragment that is not the first | payload | walked as headers | payload (its own layer) | RFC 8200 4.5: part of the original packet |
//! | mobility, HIP, Shim6 headers | walked | payload | payload | RFC 7045 2: extension headers |
//! | more than 16 extension headers | error | accepted | not walked | RFC 8504 5.3 allows a limit |
//! | UDP length 0 in 65,535 bytes or fewer | error | rest of the slice | error | RFC 768 ("minimum value is eight"), RFC 2675 4 |
//! | four SACK blocks | four | four | three | RFC 2018 3 |
//! | TCP option of unknown kind | kept, walk goes on | error | kept | RFC 9293 3.1, MUST-6 |
//! | TCP option 8 of a length other than 10 | error | error | unknown option | RFC 7323 3.2 |
//! | sum of 256 KiB of 0xff | right | right | overflows | RFC 1071 |
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, IpNumber, Ipv4HeaderSlice, Ipv6ExtensionsSlice, Ipv6HeaderSlice,
    TcpOptionElement, TcpSlice, UdpSlice,
};
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire;
use sockeye::packet::{
    Checksum, ChecksumStatus, DestinationOptionsBuilder, Emit, ExtensionHeaders, Fault, HopByHopBuilder,
    Icmpv4, Icmpv4Builder, Icmpv6, Icmpv6Builder, Ipv4, Ipv4Builder, Ipv4Fragments, Ipv6, Ipv6Builder,
    Ipv6Fragments, NeighbourOption, NeighbourOptions, Packet, Pseudo, Quoted, Reassembler, Reassembly,
    ReassemblyLimits, Tcp, TcpBuilder, TcpFlags, TcpOption, TcpOptions, Transport, Udp, UdpBuilder, UdpLite,
    checksum, protocol,
};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Bytes that often begin like a packet of `version` and whose lengths often agree.
fn header_like(version: u8) -> impl Strategy<Value = Vec<u8>> {
    (
        prop::collection::vec(any::<u8>(), 0..200),
        any::<[bool; 4]>(),
        5_u8..8,
    )
        .prop_map(move |(mut data, [keep, fit, plain, known], ihl)| {
            let len = u16::try_from(data.len()).unwrap();
            if let (true, Some(first)) = (keep, data.first_mut()) {
                *first = if version == 4 {
                    0x40 | ihl
                } else {
                    0x60 | (*first & 0xf)
                };
            }
            if fit && data.len() >= 40 {
                let (at, value) = if version == 4 { (2, len) } else { (4, len - 40) };
                data[at..at + 2].copy_from_slice(&value.to_be_bytes());
            }
            if plain && data.len() >= 40 && version == 4 {
                data[6..8].copy_from_slice(&[0x40, 0]);
            }
            if known && data.len() >= 40 {
                let chain = [0, 43, 44, 51, 60, 6, 17, 58];
                if version == 6 {
                    data[6] = chain[usize::from(data[6]) % chain.len()];
                    let mut at = 40;
                    while at + 8 <= data.len() {
                        data[at] = chain[usize::from(data[at]) % chain.len()];
                        data[at + 1] %= 3;
                        at += 8;
                    }
                } else {
                    data[9] = [1, 6, 17, 136][usize::from(data[9]) % 4];
                }
            }
            data
        })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        header_like(4),
        header_like(6)
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(any::<u8>(), 1000..3000)
    ]
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<[u8; 4]>().prop_map(Ipv4Addr::from)
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(Ipv6Addr::from)
}

/// Touches everything there is to read: nothing may panic, and every walk must end within its input.
fn read_everything(data: &[u8]) {
    let bound = data.len() + 2;
    for (protocol, view) in [(4_u8, data), (6, data)] {
        if let Ok(packet) = Packet::lax(view) {
            let packet = packet.view;
            let _ = (
                packet.source(),
                packet.destination(),
                packet.transport_checksum(),
                packet.pseudo(),
            );
        }
        assert!(ExtensionHeaders::new(protocol, view).count() <= 17);
    }
    for first in [0, 43, 44, 51, 60, 135, 139, 140] {
        assert!(ExtensionHeaders::new(first, data).count() <= 17);
        let _ = ExtensionHeaders::new(first, data).final_destination();
    }
    if let Ok(packet) = Ipv4::lax(data) {
        assert!(packet.view.options().count() <= bound);
        packet
            .view
            .options()
            .flatten()
            .for_each(|option| assert!(option.route().count() <= bound));
        let _ = (
            packet.view.checksum_ok(),
            packet.view.header(),
            packet.view.payload(),
        );
    }
    if let Ok(packet) = Ipv6::lax(data) {
        let _ = (
            packet.view.jumbo_len(),
            packet.view.upper_layer(),
            packet.view.payload(),
        );
    }
    assert!(TcpOptions::new(data).count() <= bound);
    assert!(NeighbourOptions::new(data).count() <= bound);
    if let Ok(message) = Icmpv4::new(data) {
        let _ = (
            message.message(),
            message
                .quoted()
                .map(|quoted| quoted.map(|quoted| quoted.transport())),
        );
        message
            .extensions()
            .map(|extensions| extensions.map(|found| assert!(found.count() <= bound)));
    }
    if let Ok(message) = Icmpv6::new(data) {
        let _ = (
            message.message(),
            message
                .quoted()
                .map(|quoted| quoted.map(|quoted| quoted.transport())),
        );
        message
            .extensions()
            .map(|extensions| extensions.map(|found| assert!(found.count() <= bound)));
        if let sockeye::packet::Icmpv6Message::MldReportV2 { records } = message.message() {
            assert!(records.count() <= bound);
        }
    }
    let _ = (
        Quoted::v4(data),
        Quoted::v6(data),
        Udp::lax(data),
        Tcp::lax(data),
        UdpLite::new(data),
    );
}

/// A TCP option in smoltcp's words; `None` where it has no word for it.
fn in_smoltcp<'a>(option: &TcpOption<'a>) -> Option<wire::TcpOption<'a>> {
    Some(match option {
        TcpOption::End => wire::TcpOption::EndOfList,
        TcpOption::Nop => wire::TcpOption::NoOperation,
        TcpOption::Mss(size) => wire::TcpOption::MaxSegmentSize(*size),
        TcpOption::WindowScale(shift) => wire::TcpOption::WindowScale(*shift),
        TcpOption::SackPermitted => wire::TcpOption::SackPermitted,
        TcpOption::Timestamps { value, echo } => wire::TcpOption::TimeStamp {
            tsval: *value,
            tsecr: *echo,
        },
        TcpOption::Sack(_) => {
            let mut blocks = option.sack_blocks();
            wire::TcpOption::SackRange([blocks.next(), blocks.next(), blocks.next()])
        }
        _ => return None,
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_loop(data in any_bytes()) {
        read_everything(&data);
    }

    #[test]
    fn ipv4_has_the_fields_and_the_verdict_of_etherparse(data in header_like(4)) {
        let ours = Ipv4::new(data.as_slice());
        let theirs = Ipv4HeaderSlice::from_slice(&data);
        // Their header slice leaves the total length to the caller.
        let fits = theirs.as_ref().is_ok_and(|header| {
            let total = usize::from(header.total_len());
            total >= header.slice().len() && total <= data.len()
        });
        prop_assert_eq!(ours.is_ok(), fits, "{:?} {:?}", ours, theirs);
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours.header(), theirs.slice());
            prop_assert_eq!(ours.dscp(), theirs.dcp().value());
            prop_assert_eq!(ours.ecn(), theirs.ecn().value());
            prop_assert_eq!(ours.id(), theirs.identification());
            prop_assert_eq!(ours.dont_fragment(), theirs.dont_fragment());
            prop_assert_eq!(ours.more_fragments(), theirs.more_fragments());
            prop_assert_eq!(ours.fragment_offset(), usize::from(theirs.fragments_offset().byte_offset()));
            prop_assert_eq!(ours.ttl(), theirs.ttl());
            prop_assert_eq!(ours.protocol(), theirs.protocol().0);
            prop_assert_eq!(ours.checksum(), theirs.header_checksum());
            prop_assert_eq!(ours.checksum_ok(), theirs.to_header().calc_header_checksum() == ours.checksum());
            prop_assert_eq!(ours.source(), theirs.source_addr());
            prop_assert_eq!(ours.destination(), theirs.destination_addr());
            prop_assert_eq!(ours.options().bytes(), theirs.options());
        }
    }

    #[test]
    fn ipv4_has_the_fields_and_the_verdict_of_smoltcp(data in header_like(4)) {
        let theirs = wire::Ipv4Packet::new_checked(data.as_slice());
        match Ipv4::new(data.as_slice()) {
            Ok(ours) => {
                let theirs = theirs.expect("smoltcp refuses what we accept");
                prop_assert_eq!(usize::from(theirs.header_len()), ours.header_len());
                prop_assert_eq!(theirs.src_addr(), ours.source());
                prop_assert_eq!(theirs.dst_addr(), ours.destination());
                prop_assert_eq!(theirs.hop_limit(), ours.ttl());
                prop_assert_eq!(u8::from(theirs.next_header()), ours.protocol());
                prop_assert_eq!(usize::from(theirs.frag_offset()), ours.fragment_offset());
                prop_assert_eq!(theirs.payload(), ours.payload());
                prop_assert_eq!(theirs.verify_checksum(), ours.checksum_ok());
            }
            Err(error) => {
                let known = matches!(error.fault, Fault::Version | Fault::HeaderLength);
                prop_assert!(theirs.is_err() || known, "{}", error);
            }
        }
    }

    #[test]
    fn ipv6_has_the_fields_and_the_verdict_of_both(data in header_like(6)) {
        let ours = Ipv6::new(data.as_slice());
        let theirs = wire::Ipv6Packet::new_checked(data.as_slice());
        let header = Ipv6HeaderSlice::from_slice(&data);
        match ours {
            Ok(ours) => {
                let (theirs, header) = (theirs.unwrap(), header.unwrap());
                prop_assert_eq!(ours.traffic_class(), header.traffic_class());
                prop_assert_eq!(ours.flow_label(), header.flow_label().value());
                prop_assert_eq!(ours.payload_len(), header.payload_length());
                prop_assert_eq!(ours.next_header(), header.next_header().0);
                prop_assert_eq!(ours.hop_limit(), header.hop_limit());
                prop_assert_eq!(ours.source(), header.source_addr());
                prop_assert_eq!(ours.destination(), theirs.dst_addr());
                if ours.jumbo_len().is_none() {
                    prop_assert_eq!(ours.payload(), theirs.payload());
                }
            }
            Err(error) => {
                // A jumbogram that is cut off: they see an empty payload.
                let jumbo = data.len() >= 40 && data[4..6] == [0, 0];
                let known = matches!(error.fault, Fault::Version) || jumbo;
                prop_assert!(theirs.is_err() || known, "{}", error);
            }
        }
    }

    #[test]
    fn extension_headers_lead_where_etherparse_goes(data in header_like(6), first in prop::sample::select(vec![0_u8, 43, 44, 51, 60])) {
        let ours: Result<Vec<_>, _> = ExtensionHeaders::new(first, &data).collect();
        let later = ours.as_ref().is_ok_and(|headers| {
            headers.last().is_some_and(|header| matches!(header.extension,
                sockeye::packet::Extension::Fragment(fragment) if fragment.offset != 0))
        });
        let known = |headers: &[sockeye::packet::ExtensionHeader<'_>]| {
            headers.iter().all(|header| !matches!(header.protocol, 135 | 139 | 140))
        };
        match (ours, Ipv6ExtensionsSlice::from_slice(IpNumber(first), &data)) {
            (Ok(headers), Ok((_, protocol, rest))) if !later && known(&headers) => {
                let upper = ExtensionHeaders::new(first, &data).upper_layer().unwrap();
                prop_assert_eq!(upper.protocol, protocol.0);
                prop_assert_eq!(upper.payload, rest);
            }
            (Err(error), Ok((_, protocol, _))) => {
                // A longer chain than we walk, or a header they do not know.
                let more = protocol::is_extension(protocol.0);
                prop_assert!(error.fault == Fault::ChainTooLong || more, "{}", error);
            }
            (Ok(headers), Err(error)) => prop_assert!(later || !known(&headers), "{:?}", error),
            _ => {}
        }
    }

    #[test]
    fn udp_has_the_fields_and_the_verdict_of_both(mut data in prop::collection::vec(any::<u8>(), 0..80), fit in any::<bool>(), source in v4(), destination in v4()) {
        if fit && data.len() >= 6 {
            let len = u16::try_from(data.len()).unwrap();
            let len = len - u16::from(data[4] % 3);
            data[4..6].copy_from_slice(&len.to_be_bytes());
        }
        let ours = Udp::new(data.as_slice());
        let theirs = UdpSlice::from_slice(&data);
        let zero = data.len() >= 8 && data[4..6] == [0, 0];
        prop_assert_eq!(ours.is_ok(), theirs.is_ok() && !zero);
        prop_assert_eq!(ours.is_ok(), wire::UdpPacket::new_checked(data.as_slice()).is_ok());
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours.source_port(), theirs.source_port());
            prop_assert_eq!(ours.destination_port(), theirs.destination_port());
            prop_assert_eq!(ours.length(), theirs.length());
            prop_assert_eq!(ours.checksum(), theirs.checksum());
            prop_assert_eq!(ours.payload(), theirs.payload());
            let valid = wire::UdpPacket::new_checked(data.as_slice()).unwrap()
                .verify_checksum(&source.into(), &destination.into());
            // smoltcp calls a checksum of 0 right; we say that there is none.
            let status = ours.checksum_status(Pseudo::V4 { source, destination });
            prop_assert_eq!(status != ChecksumStatus::Invalid, valid);
        }
    }

    #[test]
    fn tcp_has_the_fields_and_the_verdict_of_both(mut data in prop::collection::vec(any::<u8>(), 0..90), words in 4_u8..12, source in v6(), destination in v6()) {
        if data.len() > 12 {
            data[12] = (words << 4) | (data[12] & 0xf);
        }
        let ours = Tcp::new(data.as_slice());
        let theirs = TcpSlice::from_slice(&data);
        let smol = wire::TcpPacket::new_checked(data.as_slice());
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        prop_assert_eq!(ours.is_ok(), smol.is_ok());
        if let (Ok(ours), Ok(theirs), Ok(smol)) = (ours, theirs, smol) {
            prop_assert_eq!(ours.source_port(), theirs.source_port());
            prop_assert_eq!(ours.destination_port(), theirs.destination_port());
            prop_assert_eq!(ours.sequence(), theirs.sequence_number());
            prop_assert_eq!(ours.acknowledgment(), theirs.acknowledgment_number());
            prop_assert_eq!(ours.window(), theirs.window_size());
            prop_assert_eq!(ours.urgent(), theirs.urgent_pointer());
            prop_assert_eq!(ours.payload(), theirs.payload());
            prop_assert_eq!(ours.options().bytes(), theirs.options());
            let flags = [theirs.fin(), theirs.syn(), theirs.rst(), theirs.psh(), theirs.ack(), theirs.urg(), theirs.ece(), theirs.cwr(), theirs.ns()];
            let bits = flags.iter().enumerate().fold(0, |bits, (bit, set)| bits | (u16::from(*set) << bit));
            prop_assert_eq!(ours.flags().bits(), bits);
            let valid = smol.verify_checksum(&source.into(), &destination.into());
            prop_assert_eq!(ours.checksum_status(Pseudo::V6 { source, destination }) == ChecksumStatus::Valid, valid);
if ours.checksum() != 0xffff {
                let theirs = theirs.calc_checksum_ipv6(source.octets(), destination.octets()).unwrap();
                prop_assert_eq!(theirs == ours.checksum(), valid);
            }
        }
    }

    #[test]
    fn tcp_options_read_like_smoltcp_reads_them(mut data in prop::collection::vec(any::<u8>(), 0..40), kinds in prop::collection::vec((0_u8..10, 0_u8..12), 0..6)) {
        // Bytes that look like options: kind and length where the last one ended.
        let mut at = 0;
        for (kind, len) in kinds {
            if at + 2 > data.len() { break; }
            data[at] = kind;
            if kind > 1 {
                data[at + 1] = match kind { 2 => 4, 3 => 3, 4 => 2, 5 => 10 + 8 * (len % 4), 8 => 10, _ => len };
            }
            at += if kind > 1 { usize::from(data[at + 1]).max(1) } else { 1 };
        }
        let mut rest = data.as_slice();
        for ours in TcpOptions::new(&data) {
            let theirs = wire::TcpOption::parse(rest);
            match ours {
                Ok(ours) => {
                    let (next, theirs) = theirs.unwrap();
                    if let Some(ours) = in_smoltcp(&ours) {
                        prop_assert_eq!(ours, theirs);
                    }
                    rest = next;
                }
                Err(error) => {
                    // They take bad lengths of options they decode no further (and of timestamps) for unknown options.
                    let lenient = matches!(theirs, Ok((_, wire::TcpOption::Unknown { .. })));
                    prop_assert!(theirs.is_err() || lenient, "{} {:?}", error, theirs);
                }
            }
        }
    }

    #[test]
    fn icmp_has_the_fields_and_checksums_of_both(data in prop::collection::vec(any::<u8>(), 8..120), kind in prop::sample::select(vec![0_u8, 3, 8, 11, 12]), source in v6(), destination in v6()) {
        let mut data = data;
        data[0] = kind;
        let ours = Icmpv4::new(data.as_slice()).unwrap();
        let theirs = Icmpv4Slice::from_slice(&data).unwrap();
        let smol = wire::Icmpv4Packet::new_checked(data.as_slice()).unwrap();
        prop_assert_eq!(ours.message_type(), theirs.type_u8());
        prop_assert_eq!(ours.code(), theirs.code_u8());
        prop_assert_eq!(ours.checksum(), smol.checksum());
        prop_assert_eq!(ours.checksum_ok(), smol.verify_checksum());
        if kind == 0 || kind == 8 {
            prop_assert_eq!(ours.id(), smol.echo_ident());
            prop_assert_eq!(ours.sequence(), smol.echo_seq_no());
            prop_assert_eq!(ours.payload(), smol.data());
        }
        data[0] = 128 | (kind & 1);
        let pseudo = Pseudo::V6 { source, destination };
        let ours = Icmpv6::new(data.as_slice()).unwrap();
        let theirs = Icmpv6Slice::from_slice(&data).unwrap();
        prop_assert_eq!(ours.message_type(), theirs.type_u8());
        prop_assert_eq!(ours.checksum_status(pseudo) == ChecksumStatus::Valid, theirs.is_checksum_valid(source.octets(), destination.octets()));
        Icmpv6::new(data.as_mut_slice()).unwrap().fill_checksum(pseudo);
        let smol = wire::Icmpv6Packet::new_checked(data.as_slice()).unwrap();
        prop_assert!(smol.verify_checksum(&source, &destination));
    }

    #[test]
    fn neighbour_options_read_like_smoltcp_reads_them(data in prop::collection::vec(any::<u8>(), 8..80), kind in 1_u8..6, units in 0_u8..6) {
        let mut data = data;
        data[0] = kind;
        data[1] = units;
        let ours = NeighbourOptions::new(&data).next().unwrap();
        let theirs = wire::NdiscOption::new_checked(data.as_slice());
        match ours {
            Ok(NeighbourOption::Mtu(mtu)) => prop_assert_eq!(mtu, theirs.unwrap().mtu()),
            Ok(NeighbourOption::Prefix { prefix_len, valid_s, preferred_s, prefix, .. }) => {
                let theirs = theirs.unwrap();
                prop_assert_eq!(prefix_len, theirs.prefix_len());
                prop_assert_eq!(u64::from(valid_s), theirs.valid_lifetime().secs());
                prop_assert_eq!(u64::from(preferred_s), theirs.preferred_lifetime().secs());
                prop_assert_eq!(prefix, theirs.prefix());
            }
            Ok(_) => prop_assert!(theirs.is_ok() || units < 6),
            Err(_) if units == 0 || usize::from(units) * 8 > data.len() => prop_assert!(theirs.is_err()),
            Err(_) => {}
        }
    }

    #[test]
    fn checksums_are_those_of_etherparse(data in prop::collection::vec(any::<u8>(), 0..5000), cut in any::<prop::sample::Index>()) {
        let theirs = etherparse::checksum::Sum16BitWords::new().add_slice(&data).ones_complement().to_be();
        prop_assert_eq!(checksum(&data), theirs);
        let cut = if data.is_empty() { 0 } else { cut.index(data.len()) };
        let mut sum = Checksum::new();
        sum.add(&data[..cut]);
        sum.add(&data[cut..]);
        prop_assert_eq!(sum.finish(), theirs);
    }

    #[test]
    fn setters_leave_the_checksums_right(payload in payload(), values in any::<[u16; 6]>(), long in any::<u32>(), addresses in (v4(), v4(), v4(), v4())) {
        let (source, destination, new_source, new_destination) = addresses;
        let mut buffer = vec![0; 4000];
        let mut len = Ipv4Builder::new(source, destination).write(&mut buffer, &TcpBuilder::new(1, 2, payload.as_slice()).sequence(9)).unwrap();
        {
            let mut packet = Ipv4::new(&mut buffer[..len]).unwrap();
            packet.set_source(new_source);
            packet.set_destination(new_destination);
            packet.set_ttl(values[0].to_be_bytes()[0]);
            packet.decrement_ttl();
            packet.set_dscp(values[0].to_be_bytes()[1]);
            packet.set_ecn(3);
            packet.set_id(values[1]);
            packet.set_fragment(0, false);
            packet.set_dont_fragment(values[1] & 1 == 0);
            prop_assert!(packet.checksum_ok());
            let pseudo = packet.pseudo();
            let mut segment = Tcp::new(packet.payload_mut()).unwrap();
            segment.readdress(source.into(), new_source.into());
            segment.readdress(destination.into(), new_destination.into());
            segment.set_source_port(values[2]);
            segment.set_destination_port(values[3]);
            segment.set_sequence(long);
            segment.set_acknowledgment(!long);
            segment.set_flags(TcpFlags::from_bits(values[4]));
            segment.set_window(values[5]);
            segment.set_urgent(values[0]);
            prop_assert_eq!(segment.checksum_status(pseudo), ChecksumStatus::Valid);
        }
        len = Ipv4Builder::new(source, destination).write(&mut buffer, &UdpBuilder::new(1, 2, payload.as_slice())).unwrap();
        let mut packet = Ipv4::new(&mut buffer[..len]).unwrap();
        packet.set_source(new_source);
        let pseudo = packet.pseudo();
        let mut datagram = Udp::new(packet.payload_mut()).unwrap();
        datagram.readdress(source.into(), new_source.into());
        datagram.set_source_port(values[2]);
        datagram.set_destination_port(values[3]);
        prop_assert_eq!(datagram.checksum_status(pseudo), ChecksumStatus::Valid);
    }

    #[test]
    fn what_the_builders_write_the_oracles_read(payload in payload(), source in v6(), destination in v6(), ports in any::<[u16; 2]>(), options in prop::collection::vec(any::<u8>(), 0..30)) {
        let mut buffer = vec![0; 4000];
        // Unknown options of one run; the padding is the builder's.
        let options: Vec<u8> = if options.is_empty() { options } else { [&[0x1e, u8::try_from(options.len()).unwrap()], options.as_slice()].concat() };
        let upper = UdpBuilder::new(ports[0], ports[1], payload.as_slice());
        let chain = HopByHopBuilder::new(&options, DestinationOptionsBuilder::new(&options, upper));
        let len = Ipv6Builder::new(source, destination).write(&mut buffer, &chain).unwrap();
        prop_assert_eq!(len, 40 + chain.emitted_len());
        let read = etherparse::SlicedPacket::from_ip(&buffer[..len]).unwrap();
        let Some(etherparse::TransportSlice::Udp(udp)) = read.transport else { panic!("{read:?}") };
        prop_assert_eq!((udp.source_port(), udp.destination_port(), udp.payload()), (ports[0], ports[1], payload.as_slice()));
        prop_assert!(udp.to_header().calc_checksum_ipv6_raw(source.octets(), destination.octets(), udp.payload()).unwrap() == udp.checksum());
        let packet = Packet::new(&buffer[..len]).unwrap();
        prop_assert_eq!(packet.transport_checksum(), ChecksumStatus::Valid);

        let mut buffer = vec![0; 4000];
        let len = Icmpv6Builder::echo_request(ports[0], ports[1], payload.as_slice()).write(&mut buffer, Pseudo::V6 { source, destination }).unwrap();
        let read = wire::Icmpv6Repr::parse(&source, &destination, &wire::Icmpv6Packet::new_checked(&buffer[..len]).unwrap(), &ChecksumCapabilities::default()).unwrap();
        prop_assert_eq!(read, wire::Icmpv6Repr::EchoRequest { ident: ports[0], seq_no: ports[1], data: &payload });
    }

    #[test]
    fn fragments_come_together_in_any_order(payload in prop::collection::vec(any::<u8>(), 1..5000), mtu in 100_usize..1500, order in any::<u64>(), id in any::<u16>()) {
        let (mut packet, mut out) = (vec![0; 6000], vec![0; 1500]);
        let len = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).id(id).dont_fragment(false)
            .options(&[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0]).protocol(253).write(&mut packet, payload.as_slice()).unwrap();
        let mut pieces = Vec::new();
        let mut fragments = Ipv4Fragments::new(Ipv4::new(&packet[..len]).unwrap(), mtu).unwrap();
        while let Some(len) = fragments.write_next(&mut out).unwrap() {
            prop_assert!(len <= mtu && Ipv4::new(&out[..len]).unwrap().checksum_ok());
            pieces.push(out[..len].to_vec());
        }
        check_order(&mut pieces, order, &packet[..len], |reassembler, piece| {
            reassembler.push_v4(&Ipv4::new(piece).unwrap(), Duration::ZERO).map(owned)
        })?;

        let chain = HopByHopBuilder::new(&[5, 2, 0, 0], UdpBuilder::new(1, 2, payload.as_slice()));
        let len = Ipv6Builder::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).write(&mut packet, &chain).unwrap();
        let mut pieces = Vec::new();
        let mut fragments = Ipv6Fragments::new(Ipv6::new(&packet[..len]).unwrap(), id.into(), mtu).unwrap();
        while let Some(len) = fragments.write_next(&mut out).unwrap() {
            prop_assert!(len <= mtu);
            pieces.push(out[..len].to_vec());
        }
        check_order(&mut pieces, order, &packet[..len], |reassembler, piece| {
            reassembler.push_v6(&Ipv6::new(piece).unwrap(), Duration::ZERO).map(owned)
        })?;
    }

    #[test]
    fn the_reassembler_keeps_its_caps_whatever_comes(pieces in prop::collection::vec((0_u16..4, 0_u16..40, any::<bool>(), 0_usize..10, 0_u64..90), 0..200)) {
        let limits = ReassemblyLimits { datagrams: 3, datagram_bytes: 256, fragments: 5, total_bytes: 400, timeout: Duration::from_secs(30) };
        let mut reassembler = Reassembler::new(limits);
        let mut buffer = [0; 200];
        let mut now = Duration::ZERO;
        for (id, offset, more, units, wait) in pieces {
            now += Duration::from_millis(wait * 10);
            let len = Ipv4Builder::new([1, 1, 1, 1].into(), [2, 2, 2, 2].into()).id(id).fragment(offset * 8, more)
                .protocol(253).write(&mut buffer, &vec![7; units * 8][..]).unwrap();
            let _ = reassembler.push_v4(&Ipv4::new(&buffer[..len]).unwrap(), now);
            prop_assert!(reassembler.len() <= 3 && reassembler.held_bytes() <= 400);
        }
        reassembler.expire(now + Duration::from_secs(31), |_| {});
        prop_assert!(reassembler.is_empty() && reassembler.held_bytes() == 0);
    }
}

/// What came out of the reassembler, kept.
fn owned(result: Reassembly<'_>) -> Option<Vec<u8>> {
    match result {
        Reassembly::Complete(whole) => Some(whole.to_vec()),
        Reassembly::Pending => None,
        Reassembly::Whole => Some(Vec::new()),
    }
}

/// Feeds the pieces in a shuffled order, each twice but the last, and expects the packet at the end.
fn check_order(
    pieces: &mut [Vec<u8>],
    order: u64,
    packet: &[u8],
    mut push: impl FnMut(&mut Reassembler, &[u8]) -> Result<Option<Vec<u8>>, sockeye::packet::PacketError>,
) -> Result<(), TestCaseError> {
    if pieces.len() == 1 {
        prop_assert_eq!(pieces[0].as_slice(), packet);
        return Ok(());
    }
    let mut state = order | 1;
    for at in (1..pieces.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        pieces.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
    }
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let (last, first) = pieces.split_last().unwrap();
    for piece in first {
        prop_assert_eq!(push(&mut reassembler, piece).unwrap(), None);
        prop_assert_eq!(push(&mut reassembler, piece).unwrap(), None);
    }
    let whole = push(&mut reassembler, last).unwrap();
    prop_assert_eq!(whole.as_deref(), Some(packet));
    prop_assert!(reassembler.is_empty());
    Ok(())
}

/// The table of disagreements at the head of the file, line by line.
mod disagreements {
    use super::*;

    #[test]
    fn version_and_ihl_are_checked_by_us_and_etherparse_only() {
        let mut data = [0_u8; 24];
        data[3] = 24;
        for first in [0x35, 0x44] {
            data[0] = first;
            assert!(Ipv4::new(&data).is_err());
            assert!(Ipv4HeaderSlice::from_slice(&data).is_err());
            assert!(wire::Ipv4Packet::new_checked(&data).is_ok());
        }
    }

    #[test]
    fn ipv6_payload_length_zero_is_an_empty_payload() {
        let mut data = [0_u8; 48];
        data[0] = 0x60;
        data[6] = 17;
        assert!(Ipv6::new(&data).unwrap().payload().is_empty());
        assert_eq!(
            etherparse::Ipv6Slice::from_slice(&data)
                .unwrap()
                .payload()
                .payload
                .len(),
            8
        );
        assert!(wire::Ipv6Packet::new_checked(&data).unwrap().payload().is_empty());
    }

    #[test]
    fn a_jumbogram_is_as_long_as_its_option_says() {
        let mut data = vec![0_u8; 40 + 70_000 + 5];
        data[0] = 0x60;
        data[40..48].copy_from_slice(&[17, 0, 0xc2, 4, 0, 1, 0x11, 0x70]);
        let packet = Ipv6::new(&data).unwrap();
        assert_eq!(
            (packet.jumbo_len(), packet.payload().len()),
            (Some(70_000), 70_000)
        );
        assert_eq!(
            etherparse::Ipv6Slice::from_slice(&data)
                .unwrap()
                .payload()
                .payload
                .len(),
            69_997
        );
        assert!(wire::Ipv6Packet::new_checked(&data).unwrap().payload().is_empty());
        // RFC 2675 section 4: UDP length 0 in it means the rest.
        assert_eq!(
            Udp::new(packet.upper_layer().unwrap().payload)
                .unwrap()
                .payload()
                .len(),
            69_984
        );
        // RFC 2675 section 3: a length that would have fitted the header is an error.
        data[44..48].copy_from_slice(&65_535_u32.to_be_bytes());
        assert_eq!(Ipv6::new(&data).unwrap_err().fault, Fault::Value);
    }

    #[test]
    fn nothing_is_walked_behind_a_later_fragment() {
        // Fragment header at offset 8 that names destination options, then bytes that look like them.
        let data = [60, 0, 0, 8, 0, 0, 0, 1, 17, 0, 1, 4, 0, 0, 0, 0];
        let upper = ExtensionHeaders::new(44, &data).upper_layer().unwrap();
        assert_eq!(
            (upper.protocol, upper.payload.len(), upper.is_later_fragment()),
            (60, 8, true)
        );
        assert_eq!(
            Ipv6ExtensionsSlice::from_slice(IpNumber(44), &data).unwrap().1,
            IpNumber(17)
        );
    }

    #[test]
    fn mobility_is_an_extension_header() {
        let data = [59, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(
            ExtensionHeaders::new(135, &data).upper_layer().unwrap().protocol,
            59
        );
        assert_eq!(
            Ipv6ExtensionsSlice::from_slice(IpNumber(135), &data).unwrap().1,
            IpNumber(135)
        );
    }

    #[test]
    fn a_chain_of_more_than_sixteen_headers_is_an_error() {
        let mut data = [0_u8; 17 * 8];
        for header in data.chunks_mut(8) {
            header[0] = 60;
        }
        data[16 * 8] = 17;
        let error = ExtensionHeaders::new(60, &data).upper_layer().unwrap_err();
        assert_eq!(
            (error.fault, error.offset, error.required),
            (Fault::ChainTooLong, 128, 16)
        );
        assert!(Ipv6ExtensionsSlice::from_slice(IpNumber(60), &data).is_ok());
    }

    #[test]
    fn udp_length_zero_is_an_error_outside_jumbograms() {
        let data = [0, 1, 0, 2, 0, 0, 0, 0, 7];
        assert_eq!(Udp::new(&data).unwrap_err().fault, Fault::LengthField);
        assert_eq!(UdpSlice::from_slice(&data).unwrap().payload().len(), 1);
        assert!(wire::UdpPacket::new_checked(&data).is_err());
        assert_eq!(Udp::lax(&data).unwrap().view.payload().len(), 1);
    }

    #[test]
    fn four_sack_blocks_are_four() {
        let mut data = [1_u8; 34];
        data[..2].copy_from_slice(&[5, 34]);
        assert_eq!(
            TcpOptions::new(&data)
                .next()
                .unwrap()
                .unwrap()
                .sack_blocks()
                .count(),
            4
        );
        let Ok((_, wire::TcpOption::SackRange(theirs))) = wire::TcpOption::parse(&data) else {
            panic!()
        };
        assert_eq!(theirs.iter().flatten().count(), 3);
        let Some(Ok(TcpOptionElement::SelectiveAcknowledgement(_, rest))) =
            etherparse::TcpOptionsIterator::from_slice(&data).next()
        else {
            panic!()
        };
        assert_eq!(rest.iter().flatten().count(), 3);
    }

    #[test]
    fn unknown_tcp_options_are_stepped_over_and_timestamps_have_ten_bytes() {
        let data = [30, 4, 0, 0, 2, 4, 5, 180];
        let ours: Vec<_> = TcpOptions::new(&data).map(Result::unwrap).collect();
        assert_eq!(ours[1], TcpOption::Mss(1460));
        assert!(
            etherparse::TcpOptionsIterator::from_slice(&data)
                .next()
                .unwrap()
                .is_err()
        );
        let short = [8, 4, 0, 0];
        assert_eq!(TcpOptions::new(&short).next().unwrap().unwrap_err().required, 10);
        assert!(
            etherparse::TcpOptionsIterator::from_slice(&short)
                .next()
                .unwrap()
                .is_err()
        );
        assert!(matches!(
            wire::TcpOption::parse(&short),
            Ok((_, wire::TcpOption::Unknown { kind: 8, .. }))
        ));
    }

    #[test]
    fn four_mebibytes_of_ones_sum_to_ones() {
        let data = vec![0xff; 1 << 22];
        assert_eq!(checksum(&data), 0);
        assert_eq!(
            etherparse::checksum::Sum16BitWords::new()
                .add_slice(&data)
                .ones_complement(),
            0
        );
        let wide = std::panic::catch_unwind(|| {
            let mut packet = wire::Icmpv4Packet::new_unchecked(data.clone());
            packet.fill_checksum();
            checksum(packet.into_inner().as_slice()) == 0
        });
        assert!(
            !wide.unwrap_or(false),
            "smoltcp no longer overflows: strike the line from the table"
        );
    }

    #[test]
    fn icmp_of_the_other_family_is_not_icmp() {
        let mut buffer = [0; 64];
        let echo = Icmpv4Builder::echo_request(1, 2, b"x");
        let len = Ipv6Builder::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
            .write(&mut buffer, &echo)
            .unwrap();
        assert!(matches!(
            Packet::new(&buffer[..len]).unwrap().transport,
            Transport::Other(_)
        ));
    }
}
