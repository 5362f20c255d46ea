//! How many probes this host has room for: descriptors, ports, memory.

/// The pause after there was no room for a probe; it doubles while nothing else has come of any.
const PAUSE_NS: u64 = 10_000_000;
/// So many times in a row: then there will be no room. That is after five seconds.
const MAX_FAILED: u32 = 10;

/// The limit of probes in flight: what was in flight when there was no room for more, and one more for each time that as
/// many were sent with success.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    most: usize,
    limit: usize,
    /// Probes that there was room for since the limit last changed.
    credit: usize,
    /// Probes in a row that found no room, with nothing else in flight.
    failed: u32,
}

impl Room {
    /// Room for `most` probes, as far as is known.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            limit: most,
            credit: 0,
            failed: 0,
        }
    }

    /// Whether another probe may leave while so many are in flight.
    pub(super) const fn is_left(&self, in_flight: usize) -> bool {
        in_flight < self.limit
    }

    /// There was room for a probe.
    pub(super) fn had(&mut self) {
        self.failed = 0;
        self.credit += 1;
        if self.credit >= self.limit {
            self.credit = 0;
            self.limit = (self.limit + 1).min(self.most);
        }
    }

    /// There was none for a probe, beside those in flight. Returns how many nanoseconds to wait with the next one.
    ///
    /// All probes of a burst may say so: the last one tells how many found room.
    pub(super) fn lacked(&mut self, in_flight: usize) -> u64 {
        self.limit = in_flight.clamp(1, self.limit);
        self.credit = 0;
        if in_flight > 0 {
            return PAUSE_NS;
        }
        let pause_ns = PAUSE_NS << self.failed.min(MAX_FAILED);
        self.failed += 1;
        pause_ns
    }

    /// Whether there was none for any probe, again and again, for five seconds.
    pub(super) const fn is_used_up(&self) -> bool {
        self.failed >= MAX_FAILED
    }
}
