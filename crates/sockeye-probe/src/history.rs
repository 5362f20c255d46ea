//! The last outcomes in the order of sending, in constant memory: what a line of sparks is drawn from.

use std::collections::VecDeque;
use std::time::Duration;

/// Neither answered nor lost.
const WAITING: u32 = u32::MAX;
const LOST: u32 = u32::MAX - 1;

/// What became of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recent {
    /// Nothing yet.
    Waiting,
    /// Lost or failed.
    Lost,
    /// Answered, after this long.
    Answered(Duration),
}

/// What became of the last probes, at most [`History::LEN`], 4 bytes each.
///
/// Probes are numbered in the order of sending, so that one that is lost late still stands at its place. Times are kept in
/// microseconds and up to 71 minutes.
///
/// ```
/// use std::time::Duration;
/// use sockeye_probe::{History, Recent};
///
/// let mut history = History::new();
/// history.set(2, Recent::Answered(Duration::from_millis(3)));
/// history.set(1, Recent::Lost);
/// let recent: Vec<Recent> = history.iter().collect();
/// assert_eq!(recent, [Recent::Lost, Recent::Answered(Duration::from_millis(3))]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The number of the last entry.
    newest: u32,
    recent: VecDeque<u32>,
}

impl History {
    /// How many outcomes are kept.
    pub const LEN: usize = 128;

    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes what became of the probe of that number, counted from 1. Numbers below it that were not heard of wait. What is
    /// older than all that is kept changes nothing.
    pub fn set(&mut self, number: u32, outcome: Recent) {
        if number > self.newest {
            let fresh = usize::try_from(number - self.newest).unwrap_or(usize::MAX);
            for _ in 0..fresh.min(Self::LEN) {
                if self.recent.len() == Self::LEN {
                    self.recent.pop_front();
                }
                self.recent.push_back(WAITING);
            }
            self.newest = number;
        }
        let value = match outcome {
            Recent::Waiting => WAITING,
            Recent::Lost => LOST,
            Recent::Answered(rtt) => {
                u32::try_from(rtt.as_micros()).map_or(LOST - 1, |rtt_us| rtt_us.min(LOST - 1))
            }
        };
        let behind = usize::try_from(self.newest - number).unwrap_or(usize::MAX);
        let place = self
            .recent
            .len()
            .checked_sub(1)
            .and_then(|last| last.checked_sub(behind));
        if let Some(entry) = place.and_then(|place| self.recent.get_mut(place)) {
            *entry = value;
        }
    }

    /// The outcomes, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Recent> + ExactSizeIterator {
        self.recent.iter().map(|&value| match value {
            WAITING => Recent::Waiting,
            LOST => Recent::Lost,
            rtt_us => Recent::Answered(Duration::from_micros(u64::from(rtt_us))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let mut history = History::new();
        for number in 1..=1000 {
            history.set(number, Recent::Answered(Duration::from_micros(u64::from(number))));
        }
        assert_eq!(history.iter().len(), History::LEN);
        assert_eq!(
            history.iter().next(),
            Some(Recent::Answered(Duration::from_micros(873)))
        );
        history.set(1, Recent::Lost);
        assert!(history.iter().all(|recent| recent != Recent::Lost), "forgotten");
    }

    #[test]
    fn a_jump_forgets_all_and_costs_no_more() {
        let mut history = History::new();
        history.set(1, Recent::Lost);
        history.set(u32::MAX, Recent::Lost);
        assert_eq!(history.iter().next_back(), Some(Recent::Lost));
        assert_eq!(
            history.iter().filter(|&recent| recent == Recent::Waiting).count(),
            127
        );
    }
}
