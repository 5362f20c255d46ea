//! What makes a probe ours: a tag in its payload that nobody can guess who has not seen the probe.

/// The caller's random number for one engine.
///
/// Identifiers are 16 bits and two programs may use the same one; a tag of 64 bits tells their replies apart.
/// It is a mixing function, not a cipher: it keeps out strangers and forgers who are not on the path.
#[derive(Clone, Copy)]
pub(crate) struct Secret(u64);

/// Bytes in a tag.
pub(crate) const TAG_LEN: usize = 8;

impl Secret {
    pub(crate) const fn new(random: u64) -> Self {
        Self(random)
    }

    /// The tag of one probe.
    pub(crate) const fn tag(self, target: u32, probe: u32) -> [u8; TAG_LEN] {
        mix(mix(self.0) ^ ((target as u64) << 32 | probe as u64)).to_be_bytes()
    }

    /// A number for anything else that should not be guessed, such as the first sequence number.
    pub(crate) const fn word(self, purpose: u32) -> u32 {
        (mix(self.0 ^ mix(purpose as u64 + 1)) >> 32) as u32
    }
}

// A secret that is printed is none.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The finalizer of splitmix64: every input bit flips every output bit with probability one half.
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_nothing() {
        let secret = Secret::new(7);
        assert_ne!(secret.tag(0, 1), secret.tag(1, 0));
        assert_ne!(secret.tag(0, 1), secret.tag(0, 2));
        assert_ne!(secret.tag(0, 1), Secret::new(8).tag(0, 1));
    }

    #[test]
    fn it_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new(0xdead_beef)), "Secret(..)");
    }
}
