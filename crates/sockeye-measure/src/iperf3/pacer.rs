//! How much may be sent by now, at a rate.

use std::time::Duration;

use crate::schedule::Schedule;

/// Keeps a sender at a rate on the average: what could not be sent in time is caught up with, as iperf3 has it.
#[derive(Debug, Clone, Copy)]
pub struct Pacer {
    /// Of bits; none has no limit.
    schedule: Option<Schedule>,
    began: Duration,
    sent_bytes: u64,
}

impl Pacer {
    /// A sender at `bits_per_s` from `now` on; 0 has no limit.
    #[must_use]
    pub const fn new(bits_per_s: u64, now: Duration) -> Self {
        Self {
            schedule: Schedule::new(bits_per_s),
            began: now,
            sent_bytes: 0,
        }
    }

    /// Whether there is a limit.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.schedule.is_some()
    }

    /// The rate; 0 is none.
    #[must_use]
    pub fn bits_per_s(&self) -> u64 {
        self.schedule.map_or(0, |schedule| schedule.per_second())
    }

    /// So much was sent.
    pub const fn sent(&mut self, bytes: u64) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
    }

    /// Whether something may be sent: what was sent so far was due.
    #[must_use]
    pub fn may_send(&self, now: Duration) -> bool {
        self.next() <= now || self.schedule.is_none()
    }

    /// When something may be sent again.
    #[must_use]
    pub fn next(&self) -> Duration {
        let due = |schedule: Schedule| schedule.due(self.sent_bytes.saturating_mul(8));
        self.began
            .saturating_add(self.schedule.map_or(Duration::ZERO, due))
    }
}
