//! Fragments of any packet come together again as what they were.

use std::time::Duration;

use sockeye_packet::{Ipv4, Ipv4Fragments, Reassembler, Reassembly, ReassemblyLimits};

pub(crate) fn run(data: &[u8]) {
    let Some((&mtu, data)) = data.split_first() else {
        return;
    };
    let mut packet = data.to_vec();
    let Ok(mut view) = Ipv4::new(packet.as_mut_slice()) else {
        return;
    };
    view.set_fragment(0, false);
    view.set_dont_fragment(false);
    view.fill_checksum();
    let len = usize::from(view.total_len());
    let view = Ipv4::new(&packet[..len]).unwrap();
    let Ok(mut fragments) = Ipv4Fragments::new(view, usize::from(mtu)) else {
        return;
    };
    let mut reassembler = Reassembler::new(ReassemblyLimits {
        fragments: 10_000,
        ..ReassemblyLimits::default()
    });
    let mut out = [0; 65_536];
    while let Some(len) = fragments.write_next(&mut out).unwrap() {
        let piece = Ipv4::new(&out[..len]).unwrap();
        match reassembler.push_v4(&piece, Duration::ZERO).unwrap() {
            Reassembly::Complete(whole) => assert_eq!(whole, packet.get(..whole.len()).unwrap()),
            Reassembly::Whole | Reassembly::Pending => {}
        }
    }
    assert!(reassembler.is_empty());
}
