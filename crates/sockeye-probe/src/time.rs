//! The engines' time: what passes on the caller's clock, and nothing of where that clock stands.

use std::time::Duration;

/// Time that has passed, in nanoseconds, gathered from a clock that may jump.
///
/// A step back of the caller's clock counts as no time at all, and later deadlines move with it: an engine
/// neither waits for the clock to catch up nor sees a negative round trip. A step forward is time that has passed,
/// because nobody can tell it from that (a machine that slept).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    caller_ns: u64,
    passed_ns: u64,
    begun: bool,
}

impl Clock {
    /// Takes the caller's time and says what has passed.
    pub(crate) fn advance(&mut self, now: Duration) -> u64 {
        let now_ns = ns(now);
        if self.begun {
            self.passed_ns = self
                .passed_ns
                .saturating_add(now_ns.saturating_sub(self.caller_ns));
        }
        self.begun = true;
        self.caller_ns = now_ns;
        self.passed_ns
    }

    /// What has passed by the last call of [`advance`](Self::advance).
    pub(crate) const fn passed_ns(&self) -> u64 {
        self.passed_ns
    }

    /// A moment of the past on the caller's clock (when the kernel received something), as time passed.
    /// Never in the future.
    pub(crate) fn at(&self, moment: Duration) -> u64 {
        self.passed_ns
            .saturating_sub(self.caller_ns.saturating_sub(ns(moment)))
    }

    /// When a deadline comes, on the caller's clock as it stands now.
    pub(crate) fn deadline(&self, passed_ns: u64) -> Duration {
        Duration::from_nanos(
            self.caller_ns
                .saturating_add(passed_ns.saturating_sub(self.passed_ns)),
        )
    }
}

/// Nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_step_back_takes_no_time_and_moves_the_deadlines() {
        let mut clock = Clock::default();
        assert_eq!(clock.advance(100 * SECOND), 0);
        let deadline_ns = clock.advance(101 * SECOND) + ns(SECOND);
        assert_eq!(clock.deadline(deadline_ns), 102 * SECOND);
        assert_eq!(clock.advance(10 * SECOND), ns(SECOND));
        assert_eq!(clock.deadline(deadline_ns), 11 * SECOND);
        assert_eq!(clock.advance(11 * SECOND), ns(2 * SECOND));
    }

    #[test]
    fn the_past_is_never_later_than_now() {
        let mut clock = Clock::default();
        clock.advance(SECOND);
        clock.advance(3 * SECOND);
        assert_eq!(clock.at(2 * SECOND), ns(SECOND));
        assert_eq!(clock.at(9 * SECOND), ns(2 * SECOND));
        assert_eq!(clock.at(Duration::ZERO), 0);
    }
}
