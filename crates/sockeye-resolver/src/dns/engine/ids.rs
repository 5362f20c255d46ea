//! The ids of messages.

use std::collections::HashMap;

use crate::dns::keyed::Keyed;

/// How many questions a socket or connection has at most: with half of the ids free, one is found soon.
pub(super) const MAX_IDS: usize = 1 << 15;

/// An id by chance that is not among `used`, which are fewer than there are.
pub(super) fn free_id(used: &HashMap<u16, u32, Keyed>, mut random: impl FnMut() -> u64) -> u16 {
    let mut id = 0;
    for _ in 0..64 {
        id = u16::try_from(random() & 0xffff).unwrap_or_default();
        if !used.contains_key(&id) {
            return id;
        }
    }
    // One chance in 2^64, or randomness that repeats itself: that must not hang.
    while used.contains_key(&id) {
        id = id.wrapping_add(1);
    }
    id
}
