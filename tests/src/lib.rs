//! What the workspace's tests share, and nothing of the crates under test.
//!
//! It depends on none of them, so that it builds while they do not, and cannot hide their faults.
//!
//! | module | what for |
//! |---|---|
//! | [`skip`] | a test says what it needs; where that is missing it is skipped aloud and counted |
//! | [`wait`] | conditions and descriptors, always with a deadline |
//! | [`program`] | real programs as peers: found, started, read line by line, ended by their pid |
//! | [`ports`] | ports for programs that have to be told one |
//! | [`browser`] | pages in a real browser |
//! | [`talking`] | programs that talk with each other through stdin and stdout |
//! | [`seccomp`] | a kernel that lacks socket options |
//! | [`netns`] | network namespaces and veth pairs that vanish with the value that made them |

#![expect(
    clippy::expect_used,
    reason = "a helper that cannot do its work fails the test that called it"
)]

pub mod browser;
pub mod netns;
pub mod ports;
pub mod program;
pub mod seccomp;
pub mod skip;
pub mod talking;
pub mod wait;

/// Bytes that differ enough for a lost, doubled or swapped piece to show. The same for the same length, and a
/// prefix of those of a greater one.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // xorshift64: any sequence without a short period would do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}
