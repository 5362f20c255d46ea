//! Until when everything that arrived has been handed to the engine.

use std::time::Duration;

use sockeye_event_loop::Context;

use super::connects::since_origin;

/// Between two looks whether what is overdue has been answered.
const HEARING: Duration = Duration::from_millis(1);

/// The times of the last turns of the loop.
///
/// What had arrived by the time of a turn is among the events of the next one at the latest, and all of those have been
/// handed in when the turn after that begins. So an attempt whose answer waits in the kernel does not expire, however long
/// this host was busy.
///
/// That holds where a turn takes all that has arrived: connects, if the loop's
/// [`events_per_turn`](sockeye_event_loop::LoopOptions::events_per_turn) are no fewer than the probes that may be in flight;
/// datagrams, if no more come between two turns than 256 errors and [`datagram_batches`] times 64 answers a socket. What is
/// beyond that waits for a later turn, and its attempt may expire.
///
/// [`datagram_batches`]: sockeye_event_loop::LoopOptions::datagram_batches
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    /// The number of this turn; the loop may read its clock more than once in it.
    number: Option<u64>,
    now: Duration,
    last: Duration,
    heard: Duration,
    /// Probes that were sent in this turn.
    sent: usize,
}

impl Turns {
    /// Before the first one.
    pub(super) const NEW: Self = Self {
        number: None,
        now: Duration::ZERO,
        last: Duration::ZERO,
        heard: Duration::ZERO,
        sent: 0,
    };

    /// Takes the number and the time of this turn, as often as is convenient, and returns the time.
    pub(super) fn see(&mut self, context: &mut Context<'_>) -> Duration {
        let now = since_origin(context.now());
        self.see_turn(context.stats().turns, now);
        now
    }

    fn see_turn(&mut self, number: u64, now: Duration) {
        if self.number != Some(number) {
            *self = Self {
                number: Some(number),
                now,
                last: self.now,
                heard: self.last,
                sent: 0,
            };
        }
    }

    /// Everything that had arrived by then was handed in.
    pub(super) const fn heard(&self) -> Duration {
        self.heard
    }

    /// When to look again for what is due at `deadline`, in a turn that may send `most` probes.
    ///
    /// What is due already and was not done waits until it is known that no answer has arrived, which takes two more
    /// turns.
    pub(super) fn look(&self, deadline: Duration, most: usize) -> Duration {
        if deadline > self.now {
            deadline
        } else if self.has_room(most) {
            self.now + HEARING
        } else {
            self.now
        }
    }

    /// Whether another probe may be sent in this turn. A turn that sends without end hears nothing.
    pub(super) const fn has_room(&self, most: usize) -> bool {
        self.sent < most
    }

    /// A probe was sent.
    pub(super) const fn sent(&mut self) {
        self.sent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_turn_is_heard_two_turns_later() {
        let mut turns = Turns::NEW;
        for (number, turn, heard) in [
            (0, 5, 0),
            (0, 5, 0),
            (1, 9, 0),
            (2, 12, 5),
            // Its timers, and what they do.
            (2, 13, 5),
            (2, 14, 5),
            (2, 15, 5),
            (5, 20, 9),
            // A turn may take no time.
            (6, 20, 12),
            (7, 20, 20),
        ] {
            turns.see_turn(number, turn * MS);
            assert_eq!(turns.heard(), heard * MS, "{number} {turn}");
        }
    }

    #[test]
    fn a_turn_sends_so_much_and_looks_again() {
        let mut turns = Turns::NEW;
        turns.see_turn(1, 20 * MS);
        // Nothing is sent by looking.
        assert!(turns.has_room(1) && turns.has_room(1));
        turns.sent();
        assert!(!turns.has_room(1));
        assert_eq!(turns.look(25 * MS, 1), 25 * MS);
        assert_eq!(turns.look(15 * MS, 1), 20 * MS, "there is more to send");
        assert_eq!(turns.look(15 * MS, 2), 21 * MS);
        turns.see_turn(1, 21 * MS);
        assert!(!turns.has_room(1));
        turns.see_turn(2, 21 * MS);
        assert!(turns.has_room(1));
    }
}
