//! Frames of every link type down to their innermost packet. The bytes are written out, or come from the builders.

use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::{
    Emit, EthernetBuilder, GreBuilder, Ipv4Builder, Ipv6Builder, MacAddr, MplsLabel, Pseudo, UdpBuilder,
    VlanBuilder, VxlanBuilder,
};

fn written(builder: &impl Emit) -> Vec<u8> {
    let mut buffer = vec![0; 4000];
    let len = builder.emit(&mut buffer, Pseudo::None).unwrap();
    buffer.truncate(len);
    buffer
}

fn udp4() -> impl Emit + Copy {
    Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).carrying(UdpBuilder::new(4000, 53, b"hello"))
}

fn udp6() -> impl Emit + Copy {
    Ipv6Builder::new("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap())
        .carrying(UdpBuilder::new(4000, 53, b"hello"))
}

/// `header`, and behind it an IP packet.
fn before(header: &[u8], packet: &impl Emit) -> Vec<u8> {
    [header, &written(packet)].concat()
}

fn word(header: &Header<'_>) -> &'static str {
    match header {
        Header::Ethernet(_) => "ethernet",
        Header::Llc(_) => "llc",
        Header::Vlan(..) => "vlan",
        Header::Arp(_) => "arp",
        Header::Mpls(_) => "mpls",
        Header::Pppoe(_) => "pppoe",
        Header::Ppp(_) => "ppp",
        Header::Hdlc(_) => "hdlc",
        Header::Cooked(_) => "cooked",
        Header::Cooked2(_) => "cooked2",
        Header::Loopback(_) => "loopback",
        Header::Radiotap(_) => "radiotap",
        Header::Wifi(_) => "wifi",
        Header::Packet(packet) if matches!(packet.transport, Transport::Udp(_)) => "udp",
        Header::Packet(_) => "ip",
        Header::Gre(_) => "gre",
        Header::Vxlan(_) => "vxlan",
        Header::Geneve(_) => "geneve",
        Header::Other(..) => "other",
        Header::Unsound(_) => "unsound",
    }
}

/// The headers and their places, as words.
fn walk(link: LinkType, frame: &[u8]) -> String {
    let mut words = Vec::new();
    for Found {
        offset,
        header,
        fault,
    } in Layers::new(link, frame)
    {
        let fault = fault.map_or("", |_| "!");
        words.push(std::format!("{}@{offset}{fault}", word(&header)));
    }
    words.join(" ")
}

#[test]
fn every_link_type_leads_to_the_packet() {
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let wifi = |control: [u8; 2], more: usize| [&control[..], &vec![0; 22 + more], &snap].concat();
    let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, 0x10];
    let padded = [0, 0, 9, 0, 2, 0, 0, 0, 0x20];
    let with_fcs = |header: &[u8]| [&before(header, &udp4())[..], &[1, 2, 3, 4]].concat();
    let bottom = MplsLabel {
        label: 16,
        traffic_class: 0,
        bottom: true,
        ttl: 64,
    }
    .to_word()
    .to_be_bytes();
    let top = MplsLabel {
        label: 17,
        traffic_class: 0,
        bottom: false,
        ttl: 64,
    }
    .to_word()
    .to_be_bytes();
    let mut length = before(&snap, &udp4());
    let len = u8::try_from(length.len()).unwrap();
    length.splice(0..0, [&[0; 12][..], &[0, len]].concat());
    let ppp_len = u8::try_from(written(&udp4()).len() + 2).unwrap();
    for (link, frame, expected) in [
        (
            LinkType::Ethernet,
            before(&[[0; 12].as_slice(), &[8, 0]].concat(), &udp4()),
            "ethernet@0 udp@14",
        ),
        (LinkType::Ethernet, length, "ethernet@0 llc@14 udp@22"),
        (LinkType::Raw, written(&udp6()), "udp@0"),
        (LinkType::Null, before(&[2, 0, 0, 0], &udp4()), "loopback@0 udp@4"),
        (
            LinkType::Loop,
            before(&[0, 0, 0, 30], &udp6()),
            "loopback@0 udp@4",
        ),
        (LinkType::Ppp, before(&[0xff, 3, 0, 0x21], &udp4()), "ppp@0 udp@4"),
        (LinkType::Ppp, before(&[0x57], &udp6()), "ppp@0 udp@1"),
        (
            LinkType::PppHdlc,
            before(&[0xff, 3, 0x21], &udp4()),
            "ppp@0 udp@3",
        ),
        (
            LinkType::Pppoe,
            before(&[0x11, 0, 0, 7, 0, ppp_len, 0, 0x21], &udp4()),
            "pppoe@0 ppp@6 udp@8",
        ),
        (
            LinkType::CiscoHdlc,
            before(&[0x0f, 0, 0x86, 0xdd], &udp6()),
            "hdlc@0 udp@4",
        ),
        (
            LinkType::Cooked,
            before(&[&[0; 14][..], &[8, 0]].concat(), &udp4()),
            "cooked@0 udp@16",
        ),
        (
            LinkType::Cooked,
            before(&[&[0; 14][..], &[0, 4], &snap].concat(), &udp4()),
            "cooked@0 llc@16 udp@24",
        ),
        (
            LinkType::Cooked2,
            before(&[&[0x86, 0xdd][..], &[0; 18]].concat(), &udp6()),
            "cooked2@0 udp@20",
        ),
        (
            LinkType::Wifi,
            before(&wifi([0x08, 0x01], 0), &udp4()),
            "wifi@0 llc@24 udp@32",
        ),
        (
            LinkType::Wifi,
            before(&wifi([0x88, 0x03], 8), &udp4()),
            "wifi@0 llc@32 udp@40",
        ),
        (LinkType::Wifi, before(&wifi([0x08, 0x41], 0), &udp4()), "wifi@0"),
        (LinkType::Wifi, before(&wifi([0x48, 0x01], 0), &udp4()), "wifi@0"),
        (
            LinkType::Radiotap,
            with_fcs(&[&radiotap[..], &wifi([8, 2], 0)].concat()),
            "radiotap@0 wifi@9 llc@33 udp@41",
        ),
        (
            LinkType::Radiotap,
            before(&[&padded[..], &wifi([0x88, 2], 4)].concat(), &udp4()),
            "radiotap@0 wifi@9 llc@37 udp@45",
        ),
        (
            LinkType::Mpls,
            before(&[top, bottom].concat(), &udp6()),
            "mpls@0 udp@8",
        ),
        (LinkType::Ipv4, written(&udp4()), "udp@0"),
        (LinkType::Ipv6, written(&udp6()), "udp@0"),
    ] {
        assert_eq!(walk(link, &frame), expected, "{link:?}");
        // Cut anywhere: fewer headers, the same places, and a fault at the last one.
        for len in 0..frame.len() {
            let cut = walk(link, &frame[..len]);
            for (cut, whole) in cut.split(' ').zip(expected.split(' ')) {
                let (cut, is_sound) = cut.strip_suffix('!').map_or((cut, true), |cut| (cut, false));
                assert!(!is_sound || cut == whole, "{link:?} {len}: {cut} for {whole}");
                assert_eq!(cut.split('@').nth(1), whole.split('@').nth(1), "{link:?} {len}");
            }
        }
    }
}

#[test]
fn every_number_of_a_link_type_leads_back_to_it() {
    for link in LinkType::ALL {
        assert_eq!(LinkType::from_number(link.number()), Some(link));
    }
    let known = (0..400).filter_map(LinkType::from_number).count();
    assert_eq!(known, LinkType::ALL.len() + 2, "raw packets have three numbers");
}

#[test]
fn tunnels_are_followed_to_the_innermost_packet() {
    let [near, far] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Into::into);
    let outer = Ipv4Builder::new(near, far);
    let frame = EthernetBuilder::new(MacAddr::ZERO, MacAddr::BROADCAST, VlanBuilder::new(9, udp6()));
    let geneve = [&[0, 0, 0x65, 0x58, 0, 0, 5, 0][..], &written(&frame)].concat();
    for (packet, expected) in [
        (written(&outer.carrying(udp4())), "ip@0 udp@20"),
        (written(&outer.carrying(udp6())), "ip@0 udp@20"),
        (
            written(&outer.carrying(GreBuilder::new(udp6()).key(1).checksum())),
            "ip@0 gre@20 udp@32",
        ),
        (
            written(&outer.carrying(GreBuilder::new(frame))),
            "ip@0 gre@20 ethernet@24 vlan@38 udp@42",
        ),
        (
            written(&outer.carrying(UdpBuilder::new(1, VXLAN_PORT, VxlanBuilder::new(5, frame)))),
            "udp@0 vxlan@28 ethernet@36 vlan@50 udp@54",
        ),
        (
            written(&outer.carrying(UdpBuilder::new(1, GENEVE_PORT, &geneve[..]))),
            "udp@0 geneve@28 ethernet@36 vlan@50 udp@54",
        ),
    ] {
        assert_eq!(walk(LinkType::Raw, &packet), expected);
    }
}

#[test]
fn nesting_has_a_limit() {
    let mut packet = written(&udp4());
    for _ in 0..100 {
        packet = written(
            &Ipv4Builder::new([1, 1, 1, 1].into(), [2, 2, 2, 2].into())
                .protocol(4)
                .carrying(&packet[..]),
        );
    }
    let found: Vec<_> = Layers::new(LinkType::Raw, &packet).collect();
    assert_eq!(found.len(), MAX_LAYERS + 1);
    let last = found.last().unwrap();
    let fault = last.fault.unwrap();
    assert_eq!(
        (fault.fault, fault.layer, fault.offset),
        (Fault::TooDeep, Layer::Nesting, MAX_LAYERS * 20)
    );
    let tags = [&[0; 12][..], &[0x81, 0].repeat(2000)].concat();
    assert_eq!(Layers::new(LinkType::Ethernet, &tags).count(), MAX_LAYERS + 1);
}

#[test]
fn radiotap_fields_are_where_they_are_aligned_to() {
    // Two words of what is present; time, flags, rate, channel 2437 MHz, signal -42 dBm.
    let mut header = vec![0, 0, 30, 0, 0x2f, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x10, 2, 0x85, 0x09, 0, 0, 0xd6, 0]);
    header[2] = u8::try_from(header.len()).unwrap();
    let view = Radiotap::new(&header[..]).unwrap();
    assert_eq!(
        (view.channel_mhz(), view.signal_dbm(), view.has_fcs()),
        (Some(2437), Some(-42), true)
    );
    assert_eq!(view.payload(), &[]);
    header[7] = 0;
    header[4] = 0x08;
    assert_eq!(Radiotap::new(&header[..]).unwrap().channel_mhz(), Some(0));
    header[2] = 9;
    assert_eq!(
        Radiotap::new(&header[..]).unwrap().channel_mhz(),
        None,
        "it lies behind the header"
    );
    header[2] = 7;
    assert_eq!(Radiotap::new(&header[..]).unwrap_err().fault, Fault::HeaderLength);
    let all_present = [0, 0, 200, 0].into_iter().chain([0xff; 196]).collect::<Vec<u8>>();
    assert_eq!(
        Radiotap::new(&all_present[..]).unwrap_err().fault,
        Fault::HeaderLength
    );
}

/// Touches everything of a header.
fn touch(header: &Header<'_>) -> usize {
    match header {
        Header::Ethernet(view) => view.payload().len(),
        Header::Llc(view) => view.payload().len() + usize::from(view.snap().is_some()),
        Header::Vlan(_, view) => view.payload().len(),
        Header::Arp(view) => usize::from(view.sender().is_some()) + view.target_protocol().len(),
        Header::Mpls(view) => view.labels().count() + view.payload().len(),
        Header::Pppoe(view) => view.payload().len(),
        Header::Ppp(view) => view.payload().len(),
        Header::Hdlc(view) => view.payload().len(),
        Header::Cooked(view) => view.payload().len() + view.address().len(),
        Header::Cooked2(view) => view.payload().len() + view.address().len(),
        Header::Loopback(view) => view.payload().len(),
        Header::Radiotap(view) => view.payload().len() + usize::from(view.signal_dbm().is_some()),
        Header::Wifi(view) => {
            let addresses = [view.source(), view.transmitter(), Some(view.destination())];
            view.payload().len() + addresses.into_iter().flatten().count()
        }
        Header::Packet(packet) => usize::from(packet.transport_checksum().ok().is_some()),
        Header::Gre(view) => {
            let fields = [view.key(), view.sequence(), view.acknowledgment()];
            view.payload().len() + fields.into_iter().flatten().count()
        }
        Header::Vxlan(view) => view.payload().len(),
        Header::Geneve(view) => view.payload().len() + view.options().count(),
        Header::Other(_, data) | Header::Unsound(data) => data.len(),
    }
}

proptest! {
    #[test]
    fn prop_arbitrary_frames_never_panic_and_never_loop(
        mut data in prop::collection::vec(any::<u8>(), 0..300), link in 0..LinkType::ALL.len(),
        kinds in prop::collection::vec((0_usize..120, 0_usize..16), 0..12),
    ) {
        let bait = [
            0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x8864, 0x6558, 0x880b, 0x4500, 0x6000, 0x002f, 0x0029, 0x12b5,
            0x17c1, 0xaaaa, 0x0021,
        ];
        for (at, kind) in kinds {
            if let Some(place) = data.get_mut(at..at + 2) {
                place.copy_from_slice(&bait[kind].to_be_bytes());
            }
        }
        let mut last = 0;
        let mut count = 0;
        for Found { offset, header, .. } in Layers::new(LinkType::ALL[link], &data) {
            prop_assert!(offset >= last && offset <= data.len());
            last = offset;
            count += 1;
            touch(&header);
        }
        prop_assert!(count <= MAX_LAYERS + 1);
    }
}

#[test]
fn behind_a_header_that_is_cut_off_nothing_is_looked_for() {
    // Seven words of header are promised, 26 bytes are there; IP in IP would follow.
    let mut packet = [0; 26];
    (packet[0], packet[3], packet[9]) = (0x47, 53, 4);
    let found: Vec<_> = Layers::new(LinkType::Raw, &packet).collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].fault.is_some());
    assert!(matches!(found[0].header, Header::Packet(_)));
}
