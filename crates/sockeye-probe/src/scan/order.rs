//! The order of the ports: spread, and repeatable from a secret.

use std::net::IpAddr;

/// A number of an address, to begin its ports elsewhere.
pub(super) fn hash(ip: IpAddr) -> u64 {
    let bits = match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the halves are mixed")]
    let mut mixed = (bits >> 64) as u64 ^ (bits as u64).rotate_left(32);
    random(&mut mixed)
}

/// `SplitMix64` (Steele, Lea and Flood 2014): a spread order needs no better randomness.
pub(super) const fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number below `bound`, which is not 0.
pub(super) fn below(state: &mut u64, bound: usize) -> usize {
    let wide = u128::from(random(state)) * bound as u128;
    usize::try_from(wide >> 64).unwrap_or(0)
}

/// Fisher and Yates.
pub(super) fn shuffle(ports: &mut [u16], secret: u64) {
    let mut state = secret;
    for last in (1..ports.len()).rev() {
        ports.swap(last, below(&mut state, last + 1));
    }
}
