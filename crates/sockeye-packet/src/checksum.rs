//! The Internet checksum: over any length, in pieces, over a pseudo-header, and changed in place.
//!
//! The sum is taken over whole 64-bit words in the machine's own byte order (RFC 1071 section 2 (B): the order does not
//! matter until the end). Each lane adds the word as it is, wrapping, and its upper half apart; the lower halves
//! follow by subtraction. Three vector operations for 16 bytes, no carries to chase, and no overflow below 2^35 bytes.
//!
//! # References
//! RFC 1071 (computation), RFC 1624 (incremental update), RFC 768 and RFC 8200 section 8.1 (pseudo-headers).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::low16;

/// Below this the set-up of the wide loop costs more than it saves.
const SHORT: usize = 128;
/// Sum of `data` as 32-bit pieces in native order, folded under 2^33. An odd last byte counts as if followed by zero.
#[inline]
fn sum_words(data: &[u8]) -> u64 {
    if data.len() < SHORT {
        sum_short(data, 0)
    } else {
        sum_long(data)
    }
}

/// Adds a 64-bit word with end-around carry.
#[inline(always)]
const fn add_carry(sum: u64, word: u64) -> u64 {
    let (sum, carry) = sum.overflowing_add(word);
    sum + carry as u64
}

/// Folds a ones' complement sum of 64 bits to at most 33.
#[inline(always)]
const fn fold_64(sum: u64) -> u64 {
    (sum >> 32) + (sum & 0xffff_ffff)
}

#[inline(always)]
fn sum_short(data: &[u8], start: u64) -> u64 {
    let mut sum = start;
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        sum = add_carry(sum, u64::from_ne_bytes(*word));
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        sum = add_carry(sum, u64::from(u32::from_ne_bytes(*half)));
    }
    let (pairs, last) = rest.as_chunks::<2>();
    for pair in pairs {
        sum = add_carry(sum, u64::from(u16::from_ne_bytes(*pair)));
    }
    if let [byte] = last {
        sum = add_carry(sum, u64::from(u16::from_ne_bytes([*byte, 0])));
    }
    fold_64(sum)
}

#[inline(never)]
fn sum_long(data: &[u8]) -> u64 {
    // One plain reduction of two sums: the shape that compilers turn into vector lanes by themselves.
    let (words, rest) = data.as_chunks::<8>();
    let (mut whole, mut upper) = (0_u64, 0_u64);
    for word in words {
        let word = u64::from_ne_bytes(*word);
        whole = whole.wrapping_add(word);
        upper = upper.wrapping_add(word >> 32);
    }
    // The lower halves: exact, because fewer than 2^32 of them were added.
    let lower = whole.wrapping_sub(upper << 32);
    sum_short(rest, add_carry(fold_64(upper), lower))
}

/// Folds a sum to 16 bits, still in native order and not complemented.
#[inline]
const fn fold_16(sum: u64) -> u16 {
    let mut sum = (sum >> 32) + (sum & 0xffff_ffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    #[expect(clippy::cast_possible_truncation, reason = "three folds leave 16 bits")]
    {
        sum as u16
    }
}

/// The Internet checksum of `data`: the complement of the sum, as the number to store big-endian.
///
/// Over bytes that already contain a right checksum it is 0.
///
/// ```
/// // RFC 1071 section 3: the sum is ddf2, the checksum its complement.
/// assert_eq!(sockeye_packet::checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
/// ```
#[inline]
#[must_use]
pub fn checksum(data: &[u8]) -> u16 {
    !u16::from_be(fold_16(sum_words(data)))
}

/// A checksum in the making: pseudo-header, headers and payload pieces of any length, odd ones too.
///
/// ```
/// use sockeye_packet::{Checksum, checksum};
/// let mut sum = Checksum::new();
/// sum.add(&[1, 2, 3]);
/// sum.add(&[4, 5]);
/// assert_eq!(sum.finish(), checksum(&[1, 2, 3, 4, 5]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    /// Native order; each addition leaves it folded below 2^34.
    sum: u64,
    /// An odd number of bytes has been added so far.
    odd: bool,
}

impl Checksum {
    /// The empty sum.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// The sum of a pseudo-header: addresses, `length` of the upper-layer packet in bytes, and `protocol`.
    ///
    /// # References
    /// RFC 9293 section 3.1 (IPv4), RFC 8200 section 8.1 (IPv6).
    #[inline]
    #[must_use]
    pub fn pseudo(addresses: Pseudo, protocol: u8, length: u32) -> Self {
        let mut sum = Self::new();
        match addresses {
            Pseudo::None => return sum,
            Pseudo::V4 { source, destination } => {
                sum.sum = u64::from(u32::from_ne_bytes(source.octets()))
                    + u64::from(u32::from_ne_bytes(destination.octets()));
            }
            Pseudo::V6 { source, destination } => {
                sum.sum = sum_words(&source.octets()) + sum_words(&destination.octets());
            }
        }
        sum.sum += u64::from(length.to_be()) + u64::from(u32::from(protocol).to_be());
        sum.sum = fold_64(sum.sum);
        sum
    }

    /// Adds the next bytes of the packet.
    #[inline]
    pub fn add(&mut self, data: &[u8]) {
        let mut sum = sum_words(data);
        if self.odd {
            // The piece began at an odd place: its bytes stand swapped in their words (RFC 1071 section 2 (B)).
            sum = u64::from(fold_16(sum).swap_bytes());
        }
        self.sum = fold_64(self.sum + sum);
        self.odd ^= data.len() % 2 == 1;
    }

    /// Adds a 16-bit number at an even place.
    #[inline]
    pub fn add_u16(&mut self, value: u16) {
        self.add(&value.to_be_bytes());
    }

    /// Adds a 32-bit number at an even place.
    #[inline]
    pub fn add_u32(&mut self, value: u32) {
        self.add(&value.to_be_bytes());
    }

    /// The checksum: the complement of the sum, as the number to store big-endian.
    #[inline]
    #[must_use]
    pub const fn finish(self) -> u16 {
        !u16::from_be(fold_16(self.sum))
    }
}

/// The addresses that a transport checksum covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pseudo {
    /// None: the checksum covers the packet alone (ICMPv4), or is left to the kernel (ICMPv6 and UDP builders store 0).
    #[default]
    None,
    /// Between two IPv4 addresses.
    V4 {
        /// The sender.
        source: Ipv4Addr,
        /// The final destination.
        destination: Ipv4Addr,
    },
    /// Between two IPv6 addresses.
    V6 {
        /// The sender.
        source: Ipv6Addr,
        /// The final destination, also where a routing header names another first.
        destination: Ipv6Addr,
    },
}

impl Pseudo {
    /// The pseudo-header between two addresses; [`Pseudo::None`] if their families differ.
    #[must_use]
    pub const fn between(source: IpAddr, destination: IpAddr) -> Self {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4 { source, destination },
            (IpAddr::V6(source), IpAddr::V6(destination)) => Self::V6 { source, destination },
            _ => Self::None,
        }
    }
}

/// How a transport checksum stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumStatus {
    /// It matches.
    Valid,
    /// It does not. Packets captured on the sending host are often so: the hardware would have finished them.
    Invalid,
    /// UDP sent without one (the field is 0). Over IPv6 only tunnels may do that (RFC 6935).
    Absent,
    /// The packet is not there in full, so nobody can say.
    Unknown,
}

impl ChecksumStatus {
    pub(crate) const fn of(computed: u16) -> Self {
        if computed == 0 { Self::Valid } else { Self::Invalid }
    }

    /// `Some(true)` if it matches, `Some(false)` if not, `None` if there is none or it cannot be known.
    #[must_use]
    pub const fn ok(self) -> Option<bool> {
        match self {
            Self::Valid => Some(true),
            Self::Invalid => Some(false),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// The checksum after a 16-bit word under it changed from `old` to `new`.
///
/// # References
/// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
///
/// ```
/// // The example of RFC 1624 section 4.
/// assert_eq!(sockeye_packet::update_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);
/// ```
#[inline]
#[must_use]
pub const fn update_checksum(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = (!checksum) as u32 + (!old) as u32 + new as u32;
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !low16(sum as usize)
}

/// The checksum after `old` became `new`: pieces of the same even length at an even place, such as addresses.
#[must_use]
pub fn update_checksum_bytes(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let mut checksum = checksum;
    let (old_words, _) = old.as_chunks::<2>();
    let (new_words, _) = new.as_chunks::<2>();
    for (old, new) in old_words.iter().zip(new_words) {
        checksum = update_checksum(checksum, u16::from_be_bytes(*old), u16::from_be_bytes(*new));
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plain loop of RFC 1071, with an accumulator that never overflows here.
    fn reference(data: &[u8]) -> u16 {
        let mut sum = 0_u64;
        for pair in data.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !u16::try_from(sum).unwrap()
    }

    fn noise(len: usize) -> std::vec::Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect()
    }

    #[test]
    fn every_length_and_alignment_matches_the_plain_loop() {
        let data = noise(700);
        for start in 0..9 {
            for end in start..data.len() {
                assert_eq!(
                    checksum(&data[start..end]),
                    reference(&data[start..end]),
                    "{start}..{end}"
                );
            }
        }
    }

    #[test]
    fn all_ones_beyond_256_kib_do_not_overflow() {
        for len in [65_535, 262_144, 262_146, 1 << 20, (1 << 24) + 1] {
            let data = std::vec![0xff; len];
            assert_eq!(checksum(&data), reference(&data), "{len}");
        }
    }

    #[test]
    fn pieces_of_odd_length_sum_like_the_whole() {
        let data = noise(513);
        for cut in 0..data.len() {
            let mut sum = Checksum::new();
            sum.add(&data[..cut]);
            sum.add(&data[cut..cut + (data.len() - cut) / 3]);
            sum.add(&data[cut + (data.len() - cut) / 3..]);
            assert_eq!(sum.finish(), reference(&data), "{cut}");
        }
    }

    #[test]
    fn rfc_1624_update_equals_a_fresh_sum() {
        let mut data = noise(40);
        for at in (0..40).step_by(2) {
            let before = checksum(&data);
            let old = u16::from_be_bytes([data[at], data[at + 1]]);
            let new = old.wrapping_mul(31).wrapping_add(7);
            data[at..at + 2].copy_from_slice(&new.to_be_bytes());
            assert_eq!(update_checksum(before, old, new), checksum(&data));
        }
    }
}
