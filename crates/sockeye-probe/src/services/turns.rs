//! Until when everything that arrived has been handed to the engine.

use std::time::Duration;

/// Between two looks whether what is overdue has been answered.
const HEARING: Duration = Duration::from_millis(1);

/// The times of the last turns of the loop.
///
/// What had arrived by the time of a turn is among the events of the next one at the latest, and all of those have been
/// handed in when the turn after that begins. So an attempt whose answer waits in the kernel does not expire, however long
/// this host was busy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    now: Duration,
    last: Duration,
    heard: Duration,
    /// Probes that were sent in this turn.
    sent: usize,
}

impl Turns {
    /// Before the first one.
    pub(super) const NEW: Self = Self {
        now: Duration::ZERO,
        last: Duration::ZERO,
        heard: Duration::ZERO,
        sent: 0,
    };

    /// Takes the time of this turn, as often as is convenient.
    pub(super) fn see(&mut self, turn: Duration) {
        if turn > self.now {
            *self = Self {
                now: turn,
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
    /// What is due already and was not done waits until it is known that no answer has arrived, which takes two more turns
    /// with times of their own.
    pub(super) fn look(&self, deadline: Duration, most: usize) -> Duration {
        if deadline > self.now {
            deadline
        } else if self.sent >= most {
            self.now
        } else {
            self.now + HEARING
        }
    }

    /// Whether another probe may be sent in this turn; counts it if so. A turn that sends without end hears nothing.
    pub(super) const fn may_send(&mut self, most: usize) -> bool {
        if self.sent >= most {
            return false;
        }
        self.sent += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_heard_two_turns_later() {
        let ms = Duration::from_millis;
        let mut turns = Turns::NEW;
        for (turn, heard) in [(5, 0), (5, 0), (9, 0), (12, 5), (12, 5), (20, 9)] {
            turns.see(ms(turn));
            assert_eq!(turns.heard(), ms(heard));
        }
        assert!(turns.may_send(1) && !turns.may_send(1));
        assert_eq!(turns.look(ms(25), 1), ms(25));
        assert_eq!(turns.look(ms(15), 1), ms(20), "there is more to send");
        assert_eq!(turns.look(ms(15), 2), ms(21));
        turns.see(ms(21));
        assert!(turns.may_send(1));
    }
}
