//! What is due when.

use std::collections::BTreeSet;
use std::time::Duration;

/// What a time is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A server takes too long.
    Flight(u32),
    /// The deadline of a lookup.
    Lookup(u32),
    /// A lookup has waited long enough to be given what is stale.
    Stale(u32),
    /// A socket without questions.
    Socket(u32),
    /// A connection without questions.
    Connection(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Duration, Due)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Duration, due: Due) {
        self.0.insert((at, due));
    }

    pub(crate) fn clear(&mut self, at: Duration, due: Due) {
        self.0.remove(&(at, due));
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The next that is due by `now`.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Due> {
        let (at, due) = *self.0.first()?;
        if at > now {
            return None;
        }
        self.0.pop_first();
        Some(due)
    }
}
