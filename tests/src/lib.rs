//! What the workspace's tests share, and nothing of the crates under test.
//!
//! It depends on none of them, so that it builds while they do not, and cannot hide their faults.
//!
//! | module | what for |
//! |---|---|
//! | [`skip`] | a test says what it needs; where that is missing it is skipped aloud and counted |
//! | [`wait`] | conditions and descriptors, always with a deadline |
//! | [`program`] | real programs as peers: found, started, read line by line, ended by their pid |
//! | [`netns`] | network namespaces and veth pairs that vanish with the value that made them |

#![expect(
    clippy::expect_used,
    reason = "a helper that cannot do its work fails the test that called it"
)]

pub mod netns;
pub mod program;
pub mod skip;
pub mod wait;
