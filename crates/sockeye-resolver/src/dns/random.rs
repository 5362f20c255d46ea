//! Numbers that strangers cannot tell before.

use std::hash::{BuildHasher, RandomState};

/// A source of numbers for [`Engine::new`](super::Engine::new): a counter under a keyed hash (SipHash) whose key comes from
/// the system. Who has seen some of its numbers cannot tell the next; it is not for keys of long life.
pub fn os_random() -> impl FnMut() -> u64 + Send + 'static {
    let key = RandomState::new();
    let mut counter = 0_u64;
    move || {
        counter = counter.wrapping_add(1);
        key.hash_one(counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_differ_and_none_repeats() {
        let (mut one, mut two) = (os_random(), os_random());
        let mut seen: Vec<u64> = (0..1_000).flat_map(|_| [one(), two()]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2_000);
    }
}
