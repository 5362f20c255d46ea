//! The wide checksum against the plain loop, and in two pieces.

use sockeye_packet::{Checksum, checksum};

pub(crate) fn run(data: &[u8]) {
    let sum: u64 = data
        .chunks(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded >> 16) + (folded & 0xffff);
    }
    assert_eq!(checksum(data), !(folded as u16));
    let cut = data
        .first()
        .map_or(0, |first| usize::from(*first).min(data.len()));
    let mut pieces = Checksum::new();
    pieces.add(&data[..cut]);
    pieces.add(&data[cut..]);
    assert_eq!(pieces.finish(), checksum(data));
}
