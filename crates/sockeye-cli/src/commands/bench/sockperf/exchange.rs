//! Messages and their answers, whatever carries them: when one is due, how long it took, which are lost.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;
use sockeye::measure::sockperf::Header;

use super::super::client::figures::{Direction, FlowTotal, Interval, Latency, Outcome, Protocol};
use super::super::flows::latency::histogram;
use super::super::flows::nanoseconds;

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
    /// Where the last interval has ended, and what was answered then.
    last: (Duration, u64),
    next: u64,
    under_way: VecDeque<Message>,
    sent: u64,
    pub(super) answered: u64,
    /// From the moment that a message was sent.
    round_trips: Histogram<u64>,
    /// From the moment that it was due: with the time that it had to wait because others were late.
    from_due: Histogram<u64>,
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
            last: (Duration::ZERO, 0),
            next: 1,
            under_way: VecDeque::new(),
            sent: 0,
            answered: 0,
            round_trips: histogram()?,
            from_due: histogram()?,
        })
    }

    /// Begins; the first `omit` does not count.
    pub(super) fn begin(&mut self, now: Duration, omit: Duration, time: Duration) {
        self.began = now;
        self.counts_from = now + omit;
        self.until = now + omit + time;
        self.last = (self.counts_from, 0);
    }

    /// Ends an interval: what was answered in it. `None` where it would be empty of time, or nothing counts yet.
    pub(super) fn interval(&mut self, now: Duration) -> Option<Interval> {
        let until = now.min(self.until);
        let (from, before) = self.last;
        if until <= from {
            return None;
        }
        self.last = (until, self.answered);
        let messages = self.answered - before;
        Some(Interval {
            from: from.saturating_sub(self.counts_from),
            to: until.saturating_sub(self.counts_from),
            flow: 1,
            direction: Direction::Up,
            bytes: self.bytes(messages),
            messages,
            tcp: None,
            datagrams: None,
        })
    }

    fn bytes(&self, messages: u64) -> u64 {
        messages.saturating_mul(self.message.len() as u64)
    }

    /// What came of it so far.
    pub(super) fn outcome(&self, target: String, transport: &'static str, now: Duration) -> Outcome {
        let flow = FlowTotal {
            flow: 1,
            direction: Direction::Up,
            sent_bytes: self.bytes(self.sent),
            sent_messages: self.sent,
            received_bytes: self.bytes(self.answered),
            received_messages: self.answered,
            elapsed: now.min(self.until).saturating_sub(self.counts_from),
            retransmits: None,
            datagrams: None,
        };
        let latency = |name, histogram: &Histogram<u64>| Latency {
            name,
            histogram: histogram.clone(),
        };
        let latencies = if self.is_scheduled() {
            vec![
                latency("rtt", &self.from_due),
                latency("rtt_uncorrected", &self.round_trips),
            ]
        } else {
            vec![latency("rtt", &self.round_trips)]
        };
        Outcome {
            protocol: Protocol::Sockperf,
            flows: vec![flow],
            latencies,
            unanswered: self.sent.saturating_sub(self.answered),
            is_interrupted: !self.is_over(now),
            ..Outcome::empty(target, "rr", transport)
        }
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
            let ns = |from: Duration| nanoseconds(now.saturating_sub(from));
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
    fn intervals_add_up_to_the_outcome() {
        let mut run = Exchange::new(20, None).unwrap();
        run.begin(SECOND, SECOND, 2 * SECOND);
        assert!(run.interval(SECOND).is_none(), "that is omitted");
        let mut answered = 0;
        for half in 4..8 {
            let now = SECOND * half / 2;
            assert!(run.next(now).is_some());
            assert!(run.answer(&answer(u64::from(half) - 3), now + SECOND / 100));
            if half % 2 == 1 {
                let interval = run.interval(now + SECOND / 2).unwrap();
                assert_eq!((interval.messages, interval.bytes), (2, 40));
                assert_eq!(interval.to - interval.from, SECOND);
                answered += interval.messages;
            }
        }
        let end = run.outcome("x".to_owned(), "udp", 5 * SECOND);
        let flow = &end.flows[0];
        assert_eq!((flow.received_messages, flow.elapsed), (answered, 2 * SECOND));
        assert_eq!((end.unanswered, end.is_interrupted), (0, false));
        assert_eq!(end.latency("rtt").unwrap().len(), answered);
        assert!(end.latency("rtt_uncorrected").is_none());
        assert!(run.interval(5 * SECOND).is_none(), "it is over");
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
