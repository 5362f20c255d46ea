//! Numbers that strangers cannot tell before.

use std::hash::{BuildHasher, RandomState};

/// A source of numbers for [`Engine::new`](super::Engine::new): a counter under a keyed hash whose key comes from the system.
///
/// The hash is SipHash, which is made to be unpredictable to whoever does not know its 128-bit key, even with outputs at
/// hand. The standard library takes the key from the kernel's generator once a thread, and each source has a key of its
/// own. What is drawn lives for seconds (ids, the case of letters) or as long as the process (cookies), and is worth
/// no more than one answer to one question: an attacker who is not on the path sees none of these numbers, and one who is
/// on the path does not need to guess them.
///
/// That is not enough for keys: there use the kernel's generator itself. Nor for two processes that go on after fork(2)
/// with one and the same source: they draw the same numbers.
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
