//! How much may be sent by now, at a rate.

use std::time::Duration;

/// Keeps a sender at a rate on the average: what could not be sent in time is caught up with, as iperf3 has it.
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    bits_per_s: u64,
    began: Duration,
    sent_bytes: u64,
}

impl Pacer {
    /// A sender at `bits_per_s` from `now` on; 0 has no limit.
    #[must_use]
    pub const fn new(bits_per_s: u64, now: Duration) -> Self {
        Self {
            bits_per_s,
            began: now,
            sent_bytes: 0,
        }
    }

    /// Whether there is a limit.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.bits_per_s > 0
    }

    /// The rate; 0 is none.
    #[must_use]
    pub const fn bits_per_s(&self) -> u64 {
        self.bits_per_s
    }

    /// So much was sent.
    pub const fn sent(&mut self, bytes: u64) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
    }

    /// Whether something may be sent: what was sent so far was due.
    #[must_use]
    pub fn may_send(&self, now: Duration) -> bool {
        self.bits_per_s == 0 || self.next() <= now
    }

    /// When something may be sent again.
    #[must_use]
    pub fn next(&self) -> Duration {
        if self.bits_per_s == 0 {
            return self.began;
        }
        let bit_ns = u128::from(self.sent_bytes) * 8 * 1_000_000_000;
        let ns = u64::try_from(bit_ns / u128::from(self.bits_per_s)).unwrap_or(u64::MAX);
        self.began.saturating_add(Duration::from_nanos(ns))
    }
}
