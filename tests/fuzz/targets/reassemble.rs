//! A stream of hostile fragments: caps hold, nothing panics, whatever completes is a sound packet.

use std::time::Duration;

use sockeye_packet::{Ipv4, Ipv4Builder, Reassembler, Reassembly, ReassemblyLimits};

pub(crate) fn run(data: &[u8]) {
    let limits = ReassemblyLimits {
        datagrams: 3,
        datagram_bytes: 300,
        fragments: 6,
        total_bytes: 500,
        timeout: Duration::from_secs(30),
    };
    let mut reassembler = Reassembler::new(limits);
    let mut out = [0; 300];
    for (at, step) in data.chunks_exact(4).enumerate() {
        let [id, offset, len, flags] = [step[0] & 3, step[1] & 31, step[2], step[3]];
        let packet = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
            .protocol(253)
            .id(u16::from(id))
            .fragment(u16::from(offset) * 8, flags & 1 != 0);
        let payload = [flags; 255];
        let len = packet.write(&mut out, &payload[..usize::from(len)]).unwrap();
        let now = Duration::from_millis(at as u64 * u64::from(flags));
        if let Ok(Reassembly::Complete(whole)) = reassembler.push_v4(&Ipv4::new(&out[..len]).unwrap(), now) {
            let whole = Ipv4::new(whole).unwrap();
            assert!(whole.checksum_ok() && !whole.is_fragment());
        }
        assert!(reassembler.len() <= 3 && reassembler.held_bytes() <= 500);
    }
}
