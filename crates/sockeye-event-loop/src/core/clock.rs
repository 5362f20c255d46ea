//! When something last happened on a connection, without asking the clock each time.
//!
//! A read of the clock each turn costs a loop with one busy connection more than all its own bookkeeping. So
//! activity is stamped with the number of the turn, and the time of a turn is looked up only when a deadline
//! fires: from samples taken whenever the clock is read, and by a timer of the loop's own, sixteen times in the
//! shortest deadline. The time found is never before the real one and at most one sample after it. The older
//! samples are, the further they are apart, in proportion to their age: so a deadline is never early, and late
//! by about a sixteenth, however much shorter another one on the loop is.

use std::collections::VecDeque;
use std::time::Duration;

use super::Inner;
use crate::backend::Backend;
use crate::host::Due;
use crate::time::Time;

/// Samples kept: with a millisecond between the youngest, those of an hour are a sixteenth of their age apart.
const SAMPLES: usize = 256;
/// Samples in one deadline.
const FRACTION: u32 = 16;
/// No more often than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// Which turn was when.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    taken: VecDeque<(u64, Time)>,
    /// Between samples; `None` until a deadline asks for them.
    every: Option<Duration>,
    running: bool,
}

impl Samples {
    fn take(&mut self, turn: u64, now: Time) {
        // Without deadlines nobody asks.
        let Some(every) = self.every else { return };
        match self.taken.back_mut() {
            // Activity later in the same turn is still at or before this.
            Some(last) if last.0 == turn => last.1 = now,
            // A loop that reads its clock each turn has no use for them all.
            Some(last) if now.since(last.1) < every / 2 => {}
            _ => {
                if self.taken.len() == SAMPLES {
                    self.thin(now);
                }
                self.taken.push_back((turn, now));
            }
        }
    }

    /// Drops the sample whose neighbours are closest together for their age.
    fn thin(&mut self, now: Time) {
        let gap_and_age = |at: usize| {
            let before = self.taken.get(at - 1).map_or(now, |&(_, time)| time);
            let after = self.taken.get(at + 1).map_or(now, |&(_, time)| time);
            (
                after.since(before).as_nanos(),
                now.since(before).as_nanos().max(1),
            )
        };
        let closest = (1..self.taken.len() - 1).min_by(|&a, &b| {
            let ((gap_a, age_a), (gap_b, age_b)) = (gap_and_age(a), gap_and_age(b));
            (gap_a * age_b).cmp(&(gap_b * age_a))
        });
        self.taken.remove(closest.unwrap_or(0));
    }

    /// A moment at or after what happened in `turn`.
    fn time_of(&self, turn: u64, now: Time) -> Time {
        let place = self.taken.partition_point(|&(sampled, _)| sampled < turn);
        self.taken.get(place).map_or(now, |&(_, time)| time)
    }
}

impl<B: Backend> Inner<B> {
    /// The time of this turn, read when it is first asked for.
    #[inline]
    pub(crate) fn now(&mut self) -> Time {
        if !self.shared.now_is_fresh {
            self.read_clock();
        }
        self.shared.now
    }

    #[cold]
    pub(super) fn read_clock(&mut self) {
        self.shared.now = self.backend.now();
        self.shared.now_is_fresh = true;
        self.shared.samples.take(self.shared.turn, self.shared.now);
    }

    /// A moment at or after what happened in `turn`.
    pub(super) fn time_of(&mut self, turn: u64) -> Time {
        let now = self.now();
        self.shared.samples.time_of(turn, now)
    }

    /// A deadline of that length is to be held: samples have to be close enough.
    pub(super) fn sample_for(&mut self, deadline: Duration) {
        let wanted = (deadline / FRACTION).max(SHORTEST);
        let samples = &mut self.shared.samples;
        if samples.every.is_none_or(|every| wanted < every) {
            samples.every = Some(wanted);
        }
        if !samples.running {
            samples.running = true;
            self.next_sample();
        }
    }

    /// The sampling timer fired.
    pub(super) fn sampled(&mut self) {
        self.now();
        // With no other timer left there is no deadline either.
        self.shared.samples.running = self.shared.timers.len() > 0;
        if self.shared.samples.running {
            self.next_sample();
        }
    }

    fn next_sample(&mut self) {
        if let Some(every) = self.shared.samples.every {
            let at = self.now() + every;
            self.shared.timers.set(at, Due::Sample);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_never_too_early_and_late_in_proportion() {
        const MS: u64 = 1_000_000;
        let mut samples = Samples {
            every: Some(Duration::from_millis(1)),
            ..Samples::default()
        };
        // A turn each tenth of a millisecond, for a hundred seconds.
        let at = |turn: u64| Time::from_nanos(turn * MS / 10);
        for turn in 0..=1_000_000 {
            samples.take(turn, at(turn));
        }
        let now = at(1_000_000);
        assert_eq!(samples.taken.len(), SAMPLES);
        for turn in (0..=1_000_000).step_by(997) {
            let late = samples.time_of(turn, now).since(at(turn));
            assert!(samples.time_of(turn, now) >= at(turn));
            let age = now.since(at(turn));
            assert!(
                late <= age / 8 + Duration::from_millis(1),
                "{late:?} late after {age:?}"
            );
        }
    }
}
