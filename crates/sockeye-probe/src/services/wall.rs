//! The kernel's receive times, which are on the wall clock, in the loop's time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an estimate holds: the wall clock may be set at any time.
const VALID: Duration = Duration::from_secs(10);

/// By how much the wall clock is ahead of the loop's, as far as received messages tell.
///
/// A message is looked at some time after the kernel has received it, so each says a bit less than the truth: the
/// largest of the last ten seconds is nearest. Neither clock has to be asked for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    /// Nanoseconds, and when it was found.
    ahead: Option<(i128, Duration)>,
}

impl WallClock {
    /// Nothing known yet.
    pub(super) const NEW: Self = Self { ahead: None };

    /// When the kernel received a message, in the loop's time; at most `now`.
    pub(super) fn received_at(&mut self, stamp: SystemTime, now: Duration) -> Option<Duration> {
        let wall_ns = i128::try_from(stamp.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
        let ahead_ns = wall_ns - i128::try_from(now.as_nanos()).ok()?;
        let best_ns = match self.ahead {
            Some((best_ns, found)) if best_ns >= ahead_ns && now.saturating_sub(found) < VALID => best_ns,
            _ => {
                self.ahead = Some((ahead_ns, now));
                ahead_ns
            }
        };
        u64::try_from(wall_ns - best_ns).ok().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000;

    fn wall(us: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(START + us)
    }

    fn at(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn a_message_that_waited_is_dated_back() {
        let mut clock = WallClock::NEW;
        // Looked at at once: nothing better is known.
        assert_eq!(clock.received_at(wall(100), at(100)), Some(at(100)));
        assert_eq!(clock.received_at(wall(110), at(150)), Some(at(110)));
        assert_eq!(clock.received_at(wall(120), at(151)), Some(at(120)));
    }

    #[test]
    fn a_wall_clock_that_is_set_misleads_for_ten_seconds_at_most() {
        let mut clock = WallClock::NEW;
        clock.received_at(wall(0), at(0));
        // Set forward: never later than now.
        assert_eq!(clock.received_at(wall(5_000_100), at(100)), Some(at(100)));
        // Set back by 3 ms: too early for a while, and then right.
        assert_eq!(clock.received_at(wall(5_007_000), at(10_000)), Some(at(7_000)));
        assert_eq!(
            clock.received_at(wall(15_997_100), at(11_000_100)),
            Some(at(11_000_100))
        );
    }
}
