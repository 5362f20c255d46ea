//! When messages are due at a rate, whether or not answers come (open loop).
//!
//! A sender that waits for each answer sends less while the other side is slow, and so measures least when there is most
//! to see (coordinated omission). On a schedule every message has a time at which it is due; a latency counted from that
//! time has the wait in it that a user would have had.

use std::time::Duration;

const NS_PER_S: u128 = 1_000_000_000;

/// Due times at an even rate, without drift: the n-th is computed from n, not from the one before it.
///
/// ```
/// use std::time::Duration;
/// use sockeye_measure::schedule::Schedule;
///
/// let schedule = Schedule::new(3).unwrap();
/// assert_eq!(schedule.due(0), Duration::ZERO);
/// assert_eq!(schedule.due(3), Duration::from_secs(1));
/// assert_eq!(schedule.due_by(Duration::from_secs(1)), 4, "those at 0, 1/3, 2/3 and 1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    per_second: u64,
}

impl Schedule {
    /// So many messages (or bytes, or bits) a second. `None` for 0.
    #[must_use]
    pub const fn new(per_second: u64) -> Option<Self> {
        if per_second == 0 {
            return None;
        }
        Some(Self { per_second })
    }

    /// The rate.
    #[must_use]
    pub const fn per_second(&self) -> u64 {
        self.per_second
    }

    /// When the message of that number, from 0 on, is due after the start. Rounded up to a nanosecond, and at most what a
    /// `u64` of nanoseconds holds.
    #[must_use]
    pub fn due(&self, number: u64) -> Duration {
        let ns = (u128::from(number) * NS_PER_S).div_ceil(u128::from(self.per_second));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many messages are due at or before that time after the start.
    #[must_use]
    pub fn due_by(&self, after: Duration) -> u64 {
        // The n-th is due by t if and only if n <= t * rate: `due` rounds up and t is whole nanoseconds.
        let last = after.as_nanos().saturating_mul(u128::from(self.per_second)) / NS_PER_S;
        u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The part of the rate that one of `parts` senders takes, number `index` of them: the parts are even to one, and add up
    /// to the whole. `None` where nothing is left for it.
    #[must_use]
    pub const fn share(&self, index: u32, parts: u32) -> Option<Self> {
        if parts == 0 {
            return None;
        }
        let more = (index as u64) < self.per_second % parts as u64;
        Self::new(self.per_second / parts as u64 + more as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_does_not_drift() {
        let schedule = Schedule::new(7).unwrap();
        assert_eq!(schedule.due(7_000_000_000), Duration::from_secs(1_000_000_000));
        assert_eq!(schedule.due(1), Duration::from_nanos(142_857_143));
        assert_eq!(Schedule::new(0), None);
    }

    #[test]
    fn shares_add_up() {
        let schedule = Schedule::new(10).unwrap();
        let shares: Vec<_> = (0..4).map(|index| schedule.share(index, 4)).collect();
        let of = Schedule::new;
        assert_eq!(shares, [of(3), of(3), of(2), of(2)]);
        assert_eq!(Schedule::new(1).unwrap().share(1, 2), None);
    }

    proptest! {
        #[test]
        fn prop_due_and_due_by_agree(rate in 1..u64::MAX, number in any::<u64>()) {
            let schedule = Schedule::new(rate).unwrap();
            let due = schedule.due(number);
            // What saturates is due at the end of time.
            prop_assume!(due < Duration::from_nanos(u64::MAX));
            prop_assert!(schedule.due_by(due) > number);
            if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                prop_assert!(schedule.due_by(before) <= number);
            }
        }

        #[test]
        fn prop_due_times_never_fall(rate in 1..u64::MAX, number in 0..u64::MAX) {
            let schedule = Schedule::new(rate).unwrap();
            prop_assert!(schedule.due(number) <= schedule.due(number + 1));
        }
    }
}
