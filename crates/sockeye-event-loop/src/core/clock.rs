//! When something last happened on a connection, without asking the clock each time.
//!
//! A read of the clock each turn costs a loop with one busy connection more than all its own bookkeeping. So
//! activity is stamped with the number of the turn, and the time of a turn is looked up only when a deadline
//! fires: from samples taken whenever the clock is read, and by a timer of the loop's own, sixteen times in the
//! shortest deadline. The time found is never before the real one and at most one sample after it: a deadline is
//! never early, and late by a sixteenth at most.

use std::collections::VecDeque;
use std::time::Duration;

use super::Inner;
use crate::Time;
use crate::backend::Backend;
use crate::host::Due;

/// Samples kept: four times the shortest deadline.
const SAMPLES: usize = 64;
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
        match self.taken.back_mut() {
            // Activity later in the same turn is still at or before this.
            Some(last) if last.0 == turn => last.1 = now,
            _ => {
                if self.taken.len() == SAMPLES {
                    self.taken.pop_front();
                }
                self.taken.push_back((turn, now));
            }
        }
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
    fn a_time_is_never_too_early_and_at_most_a_sample_late() {
        let mut samples = Samples::default();
        for turn in (0..2000).step_by(10) {
            samples.take(turn, Time::from_nanos(turn * 100));
        }
        let now = Time::from_nanos(300_000);
        assert_eq!(samples.time_of(1985, now), Time::from_nanos(199_000));
        assert_eq!(samples.time_of(1990, now), Time::from_nanos(199_000));
        assert_eq!(samples.time_of(1991, now), now);
        // Before all that is kept: the oldest sample, which is later.
        assert_eq!(samples.time_of(3, now), Time::from_nanos(136_000));
        assert_eq!(samples.taken.len(), SAMPLES);
    }
}
