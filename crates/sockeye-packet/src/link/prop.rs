//! Frames against other programs' idea of them: etherparse, smoltcp and pnet as oracles.
//!
//! Where they disagree, this says who is right:
//!
//! | input | sockeye | etherparse 0.20 | smoltcp 0.12 | decided by |
//! |---|---|---|---|---|
//! | a length (at most 1500) in place of the EtherType | payload of that length | rest of the slice | rest of the slice | IEEE 802.3 3.2.6 |
//! | a field from 1501 to 1535 | error | accepted | accepted | IEEE 802.3 3.2.6: neither |

use std::vec;
use std::vec::Vec;

use etherparse::{ArpPacketSlice, Ethernet2Slice, SingleVlanSlice};
use pnet_packet::Packet as _;
use proptest::prelude::*;
use smoltcp::wire;

use crate::{
    Arp, ArpBuilder, Cooked, Cooked2, Emit as _, Ethernet, EthernetBuilder, Fault, MacAddr, Mpls, MplsLabel,
    PacketType, Pseudo, Vlan, VlanBuilder, ethertype,
};

/// Frames whose type field is often one of those that matter.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just(0x0800_u16),
        Just(0x0806),
        0_u16..60,
        1490_u16..1550,
        any::<u16>()
    ];
    (prop::collection::vec(any::<u8>(), 0..120), field).prop_map(|(mut data, field)| {
        if let Some(place) = data.get_mut(12..14) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        data
    })
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

proptest! {
    #[test]
    fn ethernet_as_etherparse_smoltcp_and_pnet_read_it(data in frames()) {
        let ours = Ethernet::lax(&data[..]);
        let theirs = Ethernet2Slice::from_slice_without_fcs(&data);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return Ok(()) };
        let (view, stopped) = (ours.view, ours.stopped);
        prop_assert_eq!(Ethernet::new(&data[..]).err(), stopped);
        prop_assert_eq!(view.destination().octets(), theirs.destination());
        prop_assert_eq!(view.source().octets(), theirs.source());
        prop_assert_eq!(view.type_or_length(), theirs.ether_type().0);
        let smol = wire::EthernetFrame::new_checked(&data[..]).unwrap();
        prop_assert_eq!(view.source().octets(), smol.src_addr().0);
        prop_assert_eq!(view.source().is_local(), smol.src_addr().is_local());
        prop_assert_eq!(view.source().is_multicast(), smol.src_addr().is_multicast());
        prop_assert_eq!(view.type_or_length(), u16::from(smol.ethertype()));
        let pnet = pnet_packet::ethernet::EthernetPacket::new(&data).unwrap();
        prop_assert_eq!(view.destination().octets(), pnet.get_destination().octets());
        match view.type_or_length() {
            len @ ..=1500 => {
                let whole = usize::from(len) <= data.len() - 14;
                prop_assert_eq!(stopped.is_none(), whole);
                prop_assert_eq!(view.payload(), &theirs.payload_slice()[..usize::from(len).min(data.len() - 14)]);
                prop_assert_eq!(view.ethertype(), None);
            }
            1501..=1535 => prop_assert_eq!(stopped.map(|error| error.fault), Some(Fault::Value)),
            kind => {
                prop_assert_eq!((view.ethertype(), stopped), (Some(kind), None));
                prop_assert_eq!(view.payload(), theirs.payload_slice());
                prop_assert_eq!(view.payload(), pnet.payload());
                prop_assert_eq!(view.body(), smol.payload());
            }
        }
    }

    #[test]
    fn tags_as_etherparse_and_pnet_read_them(data in prop::collection::vec(any::<u8>(), 0..40)) {
        let theirs = SingleVlanSlice::from_slice(&data);
        prop_assert_eq!(Vlan::lax(&data[..]).is_ok(), theirs.is_ok());
        let (Ok(ours), Ok(theirs)) = (Vlan::lax(&data[..]), theirs) else { return Ok(()) };
        let tag = ours.view;
        prop_assert_eq!(tag.id(), theirs.vlan_identifier().value());
        prop_assert_eq!(tag.priority(), theirs.priority_code_point().value());
        prop_assert_eq!(tag.drop_eligible(), theirs.drop_eligible_indicator());
        prop_assert_eq!(tag.type_or_length(), theirs.ether_type().0);
        let pnet = pnet_packet::vlan::VlanPacket::new(&data).unwrap();
        prop_assert_eq!(tag.id(), pnet.get_vlan_identifier());
        if tag.ethertype().is_some() {
            prop_assert_eq!(tag.payload(), theirs.payload_slice());
            prop_assert_eq!(tag.payload(), pnet.payload());
        }
    }

    #[test]
    fn arp_as_etherparse_and_smoltcp_read_it(
        mut data in prop::collection::vec(any::<u8>(), 0..80), lens in prop_oneof![Just([6_u8, 4]), any::<[u8; 2]>()],
        known in any::<bool>(),
    ) {
        if let Some(place) = data.get_mut(4..6) {
            place.copy_from_slice(&lens);
        }
        if let (Some(place), true) = (data.get_mut(..4), known) {
            place.copy_from_slice(&[0, 1, 8, 0]);
        }
        let theirs = ArpPacketSlice::from_slice(&data);
        prop_assert_eq!(Arp::new(&data[..]).is_ok(), theirs.is_ok());
        prop_assert_eq!(wire::ArpPacket::new_checked(&data[..]).is_ok(), theirs.is_ok());
        prop_assert_eq!(Arp::lax(&data[..]).is_ok(), data.len() >= 8);
        let (Ok(ours), Ok(theirs)) = (Arp::new(&data[..]), theirs) else { return Ok(()) };
        prop_assert_eq!(ours.hardware_type(), theirs.hw_addr_type().0);
        prop_assert_eq!(ours.protocol_type(), theirs.proto_addr_type().0);
        prop_assert_eq!(ours.operation(), theirs.operation().0);
        prop_assert_eq!(ours.sender_hardware(), theirs.sender_hw_addr());
        prop_assert_eq!(ours.sender_protocol(), theirs.sender_protocol_addr());
        prop_assert_eq!(ours.target_hardware(), theirs.target_hw_addr());
        prop_assert_eq!(ours.target_protocol(), theirs.target_protocol_addr());
        prop_assert_eq!(ours.sender().is_some(), known && lens == [6, 4]);
    }

    #[test]
    fn what_is_written_is_read_the_same(
        [source, destination] in [mac(), mac()], ids in prop::collection::vec((0_u16..4096, 0_u8..8, any::<bool>()), 0..3),
        payload in prop::collection::vec(any::<u8>(), 0..1600), kind in 0x0600_u16.., padded in any::<bool>(),
    ) {
        let mut buffer = vec![0xee; 2000];
        let builder = EthernetBuilder::new(source, destination, &payload[..]);
        let tag = |(id, priority, drop): (u16, u8, bool)| {
            VlanBuilder::new(id, &payload[..]).priority(priority).drop_eligible(drop).ethertype(kind)
        };
        let len = match ids[..] {
            [] if padded => builder.ethertype(kind).padded().write(&mut buffer).unwrap(),
            [] => builder.ethertype(kind).write(&mut buffer).unwrap(),
            [one] => EthernetBuilder::new(source, destination, tag(one)).write(&mut buffer).unwrap(),
            [one, two, ..] => {
                let outer = VlanBuilder::new(two.0, tag(one)).service();
                EthernetBuilder::new(source, destination, outer).write(&mut buffer).unwrap()
            }
        };
        prop_assert!(buffer[len..].iter().all(|byte| *byte == 0xee), "nothing behind the frame was touched");
        let frame = Ethernet::new(&buffer[..len]).unwrap();
        prop_assert_eq!((frame.source(), frame.destination()), (source, destination));
        let (mut field, mut rest) = (frame.type_or_length(), frame.body());
        for (id, priority, drop) in ids.iter().rev() {
            prop_assert!(ethertype::is_vlan(field));
            let tag = Vlan::new(rest).unwrap();
            prop_assert_eq!(tag.id(), *id);
            if field == ethertype::VLAN {
                prop_assert_eq!((tag.priority(), tag.drop_eligible()), (*priority, *drop));
            }
            (field, rest) = (tag.type_or_length(), tag.body());
        }
        prop_assert_eq!((field, &rest[..payload.len()]), (kind, &payload[..]));
        prop_assert!(rest[payload.len()..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn arp_that_is_written_is_read_the_same(
        [sender, target] in [mac(), mac()], [from, to] in any::<[[u8; 4]; 2]>(), operation in any::<u16>(),
    ) {
        let mut buffer = [0; 28];
        let builder = ArpBuilder::new(operation, (sender, from.into()), (target, to.into()));
        prop_assert_eq!(builder.emit(&mut buffer, Pseudo::None), Ok(28));
        let view = Arp::new(&buffer[..]).unwrap();
        prop_assert_eq!((view.sender(), view.target()), (Some((sender, from.into())), Some((target, to.into()))));
        let repr = wire::ArpRepr::parse(&wire::ArpPacket::new_checked(&buffer[..]).unwrap()).unwrap();
        let wire::ArpRepr::EthernetIpv4 { source_hardware_addr, target_protocol_addr, .. } = repr else {
            panic!("{repr:?}")
        };
        prop_assert_eq!((source_hardware_addr.0, target_protocol_addr), (sender.octets(), to.into()));
    }
}

proptest! {
    #[test]
    fn cooked_headers_as_etherparse_and_pnet_read_them(data in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(Cooked::new(&data[..]).is_ok(), data.len() >= 16);
        prop_assert_eq!(Cooked2::new(&data[..]).is_ok(), data.len() >= 20);
        if let Ok(view) = Cooked::new(&data[..]) {
            let pnet = pnet_packet::sll::SLLPacket::new(&data).unwrap();
            prop_assert_eq!(view.hardware_type(), pnet.get_link_layer_address_type());
            prop_assert_eq!(view.protocol(), pnet.get_protocol().0);
            prop_assert_eq!(view.payload(), pnet.payload());
            prop_assert_eq!(view.address(), &pnet.get_link_layer_address()[..view.address_len().min(8)]);
        }
        // etherparse refuses kinds of devices that it does not know.
        let mut known = data.clone();
        if known.len() >= 16 {
            known[..6].copy_from_slice(&[0, data[1] % 5, 0, 1, 0, data[5] % 9]);
            known[14] |= 6;
            let theirs = etherparse::LinuxSllSlice::from_slice(&known).unwrap();
            let ours = Cooked::new(&known[..]).unwrap();
            prop_assert_eq!(ours.address(), theirs.sender_address());
            prop_assert_eq!(ours.payload(), theirs.payload_slice());
            prop_assert_eq!(ours.ethertype(), Some(u16::from_be_bytes([known[14], known[15]])));
        }
        if let Ok(view) = Cooked2::new(&data[..]) {
            let pnet = pnet_packet::sll2::SLL2Packet::new(&data).unwrap();
            prop_assert_eq!(view.protocol(), pnet.get_protocol_type().0);
            prop_assert_eq!(view.interface(), pnet.get_interface_index());
            prop_assert_eq!(view.hardware_type(), pnet.get_arphrd_type());
            prop_assert_eq!(view.packet_type(), PacketType::from_number(u16::from(pnet.get_packet_type())));
            prop_assert_eq!(view.payload(), pnet.payload());
        }
    }

    #[test]
    fn stacks_of_labels_end_at_their_bottom(
        labels in prop::collection::vec((0_u32..1 << 20, 0_u8..8, any::<u8>()), 1..10), payload in any::<[u8; 3]>(),
    ) {
        let mut data = Vec::new();
        for (index, (label, traffic_class, ttl)) in labels.iter().copied().enumerate() {
            let bottom = index + 1 == labels.len();
            data.extend(MplsLabel { label, traffic_class, bottom, ttl }.to_word().to_be_bytes());
        }
        let len = data.len();
        data.extend(payload);
        let view = Mpls::new(&data[..]).unwrap();
        let found: Vec<_> = view.labels().map(|label| (label.label, label.traffic_class, label.ttl)).collect();
        prop_assert_eq!((&found, view.header_len(), view.payload()), (&labels, len, &payload[..]));
        for cut in 0..len {
            let error = Mpls::new(&data[..cut]).unwrap_err();
            prop_assert_eq!((error.required, error.actual), (cut / 4 * 4 + 4, cut));
            prop_assert_eq!(Mpls::lax(&data[..cut]).is_ok(), cut >= 4);
        }
    }
}

#[test]
fn what_cannot_be_written_says_why() {
    let mut buffer = [0; 2000];
    let long = [0; 1501];
    let error = EthernetBuilder::new(MacAddr::ZERO, MacAddr::ZERO, &long)
        .write(&mut buffer)
        .unwrap_err();
    assert_eq!(
        (error.fault, error.required, error.actual),
        (Fault::TooLarge, 1500, 1501)
    );
    let short = EthernetBuilder::new(MacAddr::ZERO, MacAddr::ZERO, &[1, 2, 3]);
    assert_eq!(short.write(&mut buffer), Ok(17));
    assert_eq!(
        buffer[12..17],
        [0, 3, 1, 2, 3],
        "without an EtherType a length is written"
    );
    assert_eq!(
        short.write(&mut buffer[..16]).unwrap_err().fault,
        Fault::BufferTooSmall
    );
    let tag = VlanBuilder::new(4096, &[]).ethertype(ethertype::IPV4);
    assert_eq!(
        tag.emit(&mut buffer, Pseudo::None).unwrap_err().fault,
        Fault::Value
    );
    let priority = VlanBuilder::new(1, &[]).ethertype(ethertype::IPV4).priority(8);
    assert_eq!(
        priority.emit(&mut buffer, Pseudo::None).unwrap_err().fault,
        Fault::Value
    );
}
