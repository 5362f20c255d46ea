//! Loss, duplicates and reordering of numbered messages.

/// Numbers behind the highest one that are remembered one by one.
const WINDOW: u64 = 65_536;
const WORDS: usize = (WINDOW / 64) as usize;

/// What a receiver has seen of the messages that a sender numbers from 0 on.
///
/// Memory is bounded: a message that is more than 65,536 behind the highest one is [`stale`](Self::stale); whether it was
/// there before cannot be told any more.
///
/// ```
/// use sockeye_measure::sequence::Sequence;
///
/// let mut sequence = Sequence::new();
/// for number in [0, 2, 1, 2, 5] {
///     sequence.received(number);
/// }
/// assert_eq!(sequence.received_distinct(), 4);
/// assert_eq!((sequence.lost(), sequence.reordered(), sequence.duplicates()), (2, 1, 1));
/// assert_eq!(sequence.lost_of(10), 6, "3 and 4, and the end from 6 on");
/// ```
#[derive(Debug, Clone)]
pub struct Sequence {
    /// The number after the highest one that was seen.
    next: u64,
    distinct: u64,
    duplicates: u64,
    reordered: u64,
    stale: u64,
    /// A bit for each number of the window, at its number modulo the window.
    seen: Vec<u64>,
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

impl Sequence {
    /// Nothing received yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next: 0,
            distinct: 0,
            duplicates: 0,
            reordered: 0,
            stale: 0,
            seen: vec![0; WORDS],
        }
    }

    /// Takes a message in the order of arrival. `true` if it is new.
    pub fn received(&mut self, number: u64) -> bool {
        // No sender comes to the last number there is.
        if number == u64::MAX {
            self.stale += 1;
            return false;
        }
        if number >= self.next {
            self.forget_up_to(number);
            self.next = number + 1;
            self.mark(number);
            self.distinct += 1;
            return true;
        }
        if self.next - number > WINDOW {
            self.stale += 1;
            return false;
        }
        if self.is_seen(number) {
            self.duplicates += 1;
            return false;
        }
        self.mark(number);
        self.distinct += 1;
        self.reordered += 1;
        true
    }

    /// The window moves: its places for the numbers from `next` to `number` are free again.
    fn forget_up_to(&mut self, number: u64) {
        if number - self.next >= WINDOW {
            self.seen.fill(0);
            return;
        }
        // Each number is forgotten once: the work grows with the numbers, not with the window.
        for gone in self.next..=number {
            let (word, bit) = place(gone);
            if let Some(word) = self.seen.get_mut(word) {
                *word &= !bit;
            }
        }
    }

    fn mark(&mut self, number: u64) {
        let (word, bit) = place(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
    }

    fn is_seen(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Different messages that have arrived, apart from stale ones.
    #[must_use]
    pub const fn received_distinct(&self) -> u64 {
        self.distinct
    }

    /// Messages below the highest one that have not arrived, so far. It falls when one comes late.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.next - self.distinct
    }

    /// The same where it is known how many were sent: the end of the sequence is lost too if it has not arrived.
    #[must_use]
    pub const fn lost_of(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.distinct)
    }

    /// Messages that have arrived after one with a higher number (RFC 4737, section 3.3).
    #[must_use]
    pub const fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Messages that had arrived before.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Messages too far behind to tell whether they were there before. They count as lost.
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }
}

/// Where the bit of a number is.
const fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_is_lost_until_it_is_filled() {
        let mut sequence = Sequence::new();
        sequence.received(0);
        sequence.received(3);
        assert_eq!(sequence.lost(), 2);
        assert!(sequence.received(1));
        assert_eq!((sequence.lost(), sequence.reordered()), (1, 1));
        assert!(!sequence.received(1));
        assert_eq!((sequence.lost(), sequence.duplicates()), (1, 1));
    }

    #[test]
    fn a_jump_beyond_the_window_forgets_it() {
        let mut sequence = Sequence::new();
        sequence.received(5);
        sequence.received(5 + WINDOW);
        // The same place of the window, and another number.
        assert!(sequence.received(5 + WINDOW - 1));
        assert!(!sequence.received(5), "too far behind");
        assert_eq!((sequence.stale(), sequence.duplicates()), (1, 0));
        assert_eq!(sequence.received_distinct(), 3);
        assert!(sequence.received(u64::MAX - 1) && !sequence.received(u64::MAX));
        assert!(!sequence.received(0));
    }

    #[test]
    fn a_number_whose_place_was_used_before_is_new() {
        let mut sequence = Sequence::new();
        for number in 0..3 * WINDOW {
            assert!(sequence.received(number));
        }
        assert_eq!((sequence.lost(), sequence.duplicates()), (0, 0));
    }

    proptest! {
        /// Against sets, which remember everything.
        #[test]
        fn prop_counts_are_those_of_a_set(numbers in prop::collection::vec(0..300_u64, 0..600)) {
            let mut sequence = Sequence::new();
            let mut seen = HashSet::new();
            let (mut highest, mut duplicates, mut reordered) = (None, 0, 0);
            for number in numbers {
                let is_new = seen.insert(number);
                if !is_new {
                    duplicates += 1;
                } else if highest.is_some_and(|highest| number < highest) {
                    reordered += 1;
                }
                highest = highest.max(Some(number));
                prop_assert_eq!(sequence.received(number), is_new);
                prop_assert_eq!(sequence.received_distinct(), seen.len() as u64);
                prop_assert_eq!(sequence.lost(), highest.map_or(0, |highest| highest + 1) - seen.len() as u64);
                prop_assert_eq!(sequence.duplicates(), duplicates);
                prop_assert_eq!(sequence.reordered(), reordered);
            }
        }

        /// Any numbers, however far apart: nothing overflows, and each arrival is counted once.
        #[test]
        fn prop_each_arrival_is_counted_once(numbers in prop::collection::vec(any::<u64>(), 0..100)) {
            let mut sequence = Sequence::new();
            for number in &numbers {
                sequence.received(*number);
            }
            let counted = sequence.received_distinct() + sequence.duplicates() + sequence.stale();
            prop_assert_eq!(counted, numbers.len() as u64);
        }
    }
}
