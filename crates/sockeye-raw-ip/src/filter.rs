//! Which ICMP types are not to be received.

/// A set of ICMP message types that the kernel drops before they reach the socket.
///
/// ICMPv4 filters know types below 32 only; the others always pass.
///
/// ```
/// use sockeye_raw_ip::IcmpFilter;
/// let replies = IcmpFilter::drop_all().pass(0).pass(3).pass(11);
/// assert!(replies.passes(3) && !replies.passes(8));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct IcmpFilter {
    /// A bit for each type that is dropped.
    dropped: [u32; 8],
}

impl IcmpFilter {
    /// Everything is received.
    pub const fn pass_all() -> Self {
        Self { dropped: [0; 8] }
    }

    /// Nothing is received.
    pub const fn drop_all() -> Self {
        Self {
            dropped: [u32::MAX; 8],
        }
    }

    /// Receives this type.
    pub const fn pass(mut self, message_type: u8) -> Self {
        self.dropped[(message_type >> 5) as usize] &= !(1 << (message_type & 31));
        self
    }

    /// Drops this type.
    pub const fn drop(mut self, message_type: u8) -> Self {
        self.dropped[(message_type >> 5) as usize] |= 1 << (message_type & 31);
        self
    }

    /// Whether this type is received.
    #[must_use]
    pub const fn passes(&self, message_type: u8) -> bool {
        self.dropped[(message_type >> 5) as usize] & (1 << (message_type & 31)) == 0
    }

    /// The kernel's `struct icmp_filter`.
    pub(crate) const fn v4(&self) -> u32 {
        self.dropped[0]
    }

    /// The kernel's `struct icmp6_filter`.
    pub(crate) fn v6(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, word) in bytes.chunks_exact_mut(4).zip(&self.dropped) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

impl std::fmt::Debug for IcmpFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IcmpFilter(passes ")?;
        f.debug_set()
            .entries((0..=u8::MAX).filter(|message_type| self.passes(*message_type)))
            .finish()?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_types() {
        let filter = IcmpFilter::pass_all().drop(8).drop(128);
        assert_eq!(filter.v4(), 1 << 8);
        assert_eq!(filter.v6()[16..20], 1_u32.to_ne_bytes());
        assert!(!filter.passes(8) && !filter.passes(128) && filter.passes(129));
        assert_eq!(
            format!("{:?}", IcmpFilter::drop_all().pass(3)),
            "IcmpFilter(passes {3})"
        );
    }
}
