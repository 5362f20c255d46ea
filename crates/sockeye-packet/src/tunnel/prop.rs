//! The headers of tunnels against pnet's idea of them, and read back as they were written.

use std::vec;
use std::vec::Vec;

use pnet_packet::Packet as _;
use proptest::prelude::*;

use crate::{
    ChecksumStatus, Emit as _, EthernetBuilder, Fault, Geneve, Gre, GreBuilder, MacAddr, Pseudo, Vxlan,
    VxlanBuilder, ethertype,
};

proptest! {
    #[test]
    fn gre_as_pnet_reads_it(mut data in prop::collection::vec(any::<u8>(), 0..40), plain in any::<bool>()) {
        if let (Some(place), true) = (data.get_mut(..2), plain) {
            // Only the flags of RFC 2784 and RFC 2890, and version 0: pnet panics at source routes.
            place.copy_from_slice(&[place[0] & 0xb0, place[1] & 0x78]);
        }
        let ours = Gre::lax(&data[..]);
        let sound = data.len() >= 4 && data[1] & 7 <= 1 && data[0] & 0x40 == 0;
        prop_assert_eq!(ours.is_ok(), sound);
        let Ok(ours) = ours else { return Ok(()) };
        let view = ours.view;
        prop_assert_eq!(Gre::new(&data[..]).err(), ours.stopped);
        prop_assert_eq!(view.protocol(), u16::from_be_bytes([data[2], data[3]]));
        if plain && ours.stopped.is_none() {
            let pnet = pnet_packet::gre::GrePacket::new(&data).unwrap();
            prop_assert_eq!(view.protocol(), pnet.get_protocol_type());
            prop_assert_eq!(view.key(), pnet.get_key_raw().first_chunk().map(|key| u32::from_be_bytes(*key)));
            prop_assert_eq!(view.sequence(), pnet.get_sequence_raw().first_chunk().map(|number| u32::from_be_bytes(*number)));
            prop_assert_eq!(view.payload(), pnet.payload());
            prop_assert_eq!(view.checksum_status() == ChecksumStatus::Absent, pnet.get_checksum_present() == 0);
        }
    }

    #[test]
    fn gre_that_is_written_is_read_the_same(
        payload in prop::collection::vec(any::<u8>(), 0..100), kind in any::<u16>(), sum in any::<bool>(),
        key in any::<Option<u32>>(), sequence in any::<Option<u32>>(), flip in any::<prop::sample::Index>(),
    ) {
        let mut builder = GreBuilder::new(&payload[..]).ethertype(kind);
        if sum { builder = builder.checksum() }
        if let Some(key) = key { builder = builder.key(key) }
        if let Some(sequence) = sequence { builder = builder.sequence(sequence) }
        let mut buffer = vec![0xee; 150];
        let len = builder.emit(&mut buffer, Pseudo::None).unwrap();
        let gre = Gre::new(&buffer[..len]).unwrap();
        prop_assert_eq!((gre.protocol(), gre.key(), gre.sequence()), (kind, key, sequence));
        prop_assert_eq!((gre.payload(), gre.version(), gre.acknowledgment()), (&payload[..], 0, None));
        prop_assert_eq!(gre.checksum_status().ok(), sum.then_some(true));
        if sum {
            let at = 4 + flip.index(len - 4);
            let mut wrong = buffer[..len].to_vec();
            wrong[at] ^= 0x10;
            prop_assert_eq!(Gre::new(&wrong[..]).unwrap().checksum_status(), ChecksumStatus::Invalid);
        }
        for cut in 0..gre.header_len() {
            prop_assert_eq!(Gre::new(&buffer[..cut]).unwrap_err().fault, Fault::Truncated);
        }
    }

    #[test]
    fn vxlan_as_pnet_reads_it(data in prop::collection::vec(any::<u8>(), 0..30)) {
        prop_assert_eq!(Vxlan::lax(&data[..]).is_ok(), data.len() >= 8);
        let Ok(ours) = Vxlan::lax(&data[..]) else { return Ok(()) };
        let pnet = pnet_packet::vxlan::VxlanPacket::new(&data).unwrap();
        prop_assert_eq!((ours.view.vni(), ours.view.flags()), (pnet.get_vni(), pnet.get_flags()));
        prop_assert_eq!(ours.view.payload(), pnet.payload());
        prop_assert_eq!(ours.stopped.is_none(), data[0] & 8 != 0);
    }

    #[test]
    fn options_of_geneve_end_with_their_length(data in prop::collection::vec(any::<u8>(), 8..300)) {
        let mut data = data;
        data[0] &= 0x3f;
        let Ok(ours) = Geneve::lax(&data[..]) else { panic!("whole") };
        let options: Vec<_> = ours.view.options().collect();
        let taken: usize = options.iter().flatten().map(|option| 4 + option.data.len()).sum();
        let there = ours.view.header_len().min(data.len()) - 8;
        prop_assert!(taken <= there);
        prop_assert_eq!(taken == there, options.iter().all(Result::is_ok));
        prop_assert_eq!(ours.view.payload().len(), data.len().saturating_sub(ours.view.header_len()));
    }
}

#[test]
fn the_header_of_rfc_8926_is_read() {
    // Version 0, 2 words of options, critical ones; Ethernet in network 0x123456; one option of class 0x0102.
    let bytes = [
        0x02, 0x40, 0x65, 0x58, 0x12, 0x34, 0x56, 0, 1, 2, 0x83, 1, 9, 8, 7, 6, 0xff,
    ];
    let view = Geneve::new(&bytes[..]).unwrap();
    assert_eq!((view.vni(), view.protocol()), (0x12_3456, ethertype::ETHERNET));
    assert!(view.has_critical_options() && !view.is_control());
    let option = view.options().next().unwrap().unwrap();
    assert_eq!((option.class, option.kind, option.is_critical), (0x0102, 3, true));
    assert_eq!((option.data, view.payload()), (&[9, 8, 7, 6][..], &[0xff][..]));
    assert_eq!(Geneve::new(&bytes[..15]).unwrap_err().required, 16);
    assert_eq!(Geneve::new(&[0x40; 8][..]).unwrap_err().fault, Fault::Version);
}

#[test]
fn vxlan_says_what_it_cannot_write() {
    let frame = EthernetBuilder::new(MacAddr::ZERO, MacAddr::BROADCAST, &[1, 2, 3]).ethertype(0x0800);
    let mut buffer = [0; 40];
    assert_eq!(
        VxlanBuilder::new(0xff_ffff, frame).emit(&mut buffer, Pseudo::None),
        Ok(25)
    );
    assert_eq!(buffer[..8], [8, 0, 0, 0, 0xff, 0xff, 0xff, 0]);
    let error = VxlanBuilder::new(0x100_0000, frame)
        .emit(&mut buffer, Pseudo::None)
        .unwrap_err();
    assert_eq!((error.fault, error.required), (Fault::Value, 0xff_ffff));
    let short = VxlanBuilder::new(1, frame)
        .emit(&mut buffer[..20], Pseudo::None)
        .unwrap_err();
    assert_eq!(short.fault, Fault::BufferTooSmall);
}
