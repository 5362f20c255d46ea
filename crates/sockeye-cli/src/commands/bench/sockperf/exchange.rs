//! Messages and their answers, whatever carries them: when one is due, how long it took, which are lost.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;
use sockeye::measure::sockperf::Header;

/// Longer round trips count as this long.
const LONGEST_NS: u64 = 60_000_000_000;
/// Three digits of each round trip are kept.
const DIGITS: u8 = 3;
/// Messages under way that are remembered; the answer to an older one is late, and the message lost.
const UNDER_WAY: usize = 65_536;
/// Messages that one turn sends to catch up.
const BURST: u64 = 256;
/// A message without an answer for so long is lost: a ping-pong goes on with the next one, and an end waits no longer.
pub(super) const LOST_AFTER: Duration = Duration::from_millis(500);

/// A message under way.
#[derive(Debug, Clone, Copy)]
struct Message {
    number: u64,
    /// When it was to be sent, and when it was.
    due: Duration,
    sent: Duration,
}

/// One run.
#[derive(Debug)]
pub(super) struct Exchange {
    message: Vec<u8>,
    /// Messages a second, sent on schedule; `None`: one after another.
    rate: Option<u64>,
    began: Duration,
    counts_from: Duration,
    until: Duration,
    next: u64,
    under_way: VecDeque<Message>,
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// From the moment that a message was sent.
    pub(super) round_trips: Histogram<u64>,
    /// From the moment that it was due: with the time that it had to wait because others were late.
    pub(super) from_due: Histogram<u64>,
}

impl Exchange {
    /// A run of messages of `len` bytes.
    ///
    /// # Errors
    /// None in practice: the bounds are constants.
    pub(super) fn new(len: usize, rate: Option<u64>) -> anyhow::Result<Self> {
        Ok(Self {
            message: vec![0; len],
            rate,
            began: Duration::ZERO,
            counts_from: Duration::ZERO,
            until: Duration::ZERO,
            next: 1,
            under_way: VecDeque::new(),
            sent: 0,
            answered: 0,
            round_trips: Histogram::new_with_max(LONGEST_NS, DIGITS)?,
            from_due: Histogram::new_with_max(LONGEST_NS, DIGITS)?,
        })
    }

    /// Begins; the first `omit` does not count.
    pub(super) fn begin(&mut self, now: Duration, omit: Duration, time: Duration) {
        self.began = now;
        self.counts_from = now + omit;
        self.until = now + omit + time;
    }

    /// The next message, if one is due.
    pub(super) fn next(&mut self, now: Duration) -> Option<&[u8]> {
        let due = self.due()?;
        if due > now || now >= self.until {
            return None;
        }
        let number = self.next;
        self.next += 1;
        if self.under_way.len() == UNDER_WAY {
            self.under_way.pop_front();
        }
        self.under_way.push_back(Message {
            number,
            due: if self.rate.is_some() { due } else { now },
            sent: now,
        });
        self.sent += u64::from(now >= self.counts_from);
        let header = Header::request(number, true, false, self.message.len());
        header.write(&mut self.message);
        Some(&self.message)
    }

    /// When the next message is due: one after another when the last one was answered, or is lost.
    fn due(&self) -> Option<Duration> {
        match self.rate {
            Some(rate) => {
                let ns = u128::from(self.next - 1) * 1_000_000_000 / u128::from(rate.max(1));
                Some(self.began + Duration::from_nanos(u64::try_from(ns).ok()?))
            }
            None => Some(
                self.under_way
                    .back()
                    .map_or(self.began, |last| last.sent + LOST_AFTER),
            ),
        }
    }

    /// Until there is something to send, or it is over; `None` once it is over.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        if self.is_over(now) {
            return None;
        }
        let until = match self.due() {
            Some(due) if due < self.until => due,
            _ if now < self.until => self.until,
            // What is under way may still be answered.
            _ => self.until + LOST_AFTER,
        };
        Some(until.saturating_sub(now))
    }

    /// Whether the time is over and nothing is awaited any more.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.until && (self.under_way.is_empty() || now >= self.until + LOST_AFTER)
    }

    /// Messages that one turn sends at most.
    pub(super) const fn burst() -> u64 {
        BURST
    }

    /// Takes a message. `false` of one that answers nothing that is under way.
    pub(super) fn answer(&mut self, header: &Header, now: Duration) -> bool {
        if header.is_client {
            return false;
        }
        let Ok(at) = self
            .under_way
            .binary_search_by_key(&header.number, |message| message.number)
        else {
            return false;
        };
        let Some(message) = self.under_way.remove(at) else {
            return false;
        };
        if message.sent >= self.counts_from {
            self.answered += 1;
            let ns =
                |from: Duration| u64::try_from(now.saturating_sub(from).as_nanos()).unwrap_or(LONGEST_NS);
            self.round_trips.saturating_record(ns(message.sent));
            self.from_due.saturating_record(ns(message.due));
        }
        true
    }

    /// Whether messages leave on schedule.
    pub(super) const fn is_scheduled(&self) -> bool {
        self.rate.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answer(number: u64) -> Header {
        Header::request(number, true, false, 14).answer()
    }

    #[test]
    fn a_ping_pong_has_one_message_under_way() {
        let mut run = Exchange::new(14, None).unwrap();
        run.begin(SECOND, Duration::ZERO, SECOND);
        assert!(run.next(SECOND).is_some());
        assert!(run.next(SECOND).is_none());
        let later = SECOND + Duration::from_millis(1);
        assert!(!run.answer(&answer(2), later), "nobody sent that");
        assert!(
            !run.answer(&Header::request(1, true, false, 14), later),
            "our own message is no answer"
        );
        assert!(run.answer(&answer(1), later));
        assert!(!run.answer(&answer(1), later), "twice");
        assert!(run.next(later).is_some());
        // Lost, and given up.
        assert!(run.next(later + LOST_AFTER).is_some());
        assert_eq!((run.sent, run.answered), (3, 1));
        assert!(run.is_over(2 * SECOND + LOST_AFTER));
        assert_eq!(run.wait(3 * SECOND), None);
    }

    #[test]
    fn a_schedule_does_not_wait_for_answers_and_says_what_came_late() {
        let mut run = Exchange::new(20, Some(10)).unwrap();
        run.begin(Duration::ZERO, Duration::ZERO, SECOND);
        // The sender was kept from running for half a second.
        let now = SECOND / 2;
        let mut sent = 0;
        while let Some(message) = run.next(now) {
            assert_eq!(message.len(), 20);
            sent += 1;
        }
        assert_eq!(sent, 6);
        assert!(run.answer(&answer(1), now + Duration::from_millis(1)));
        assert!(run.round_trips.max() < 2_000_000, "{}", run.round_trips.max());
        assert!(run.from_due.max() >= 500_000_000, "the first one was due at 0");
        assert_eq!(run.wait(now), Some(SECOND / 10));
    }
}
