//! One target: which requests are out, what became of the last ones, and the statistics.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::stats::{RttStats, loss};

/// What became of a request. Everything but `Waiting` is for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waiting,
    Answered,
    /// Lost or failed: the first reply after it is late.
    Lost,
    /// Lost, and its late reply came.
    Late,
}

/// A request: when it left and its fate, in eight bytes (62 bits of nanoseconds are 146 years).
#[derive(Clone, Copy, Debug)]
pub(super) struct Request(u64);

impl Request {
    const fn new(sent_ns: u64) -> Self {
        Self(sent_ns << 2)
    }

    pub(super) const fn sent_ns(self) -> u64 {
        self.0 >> 2
    }

    pub(super) const fn fate(self) -> Fate {
        match self.0 & 3 {
            0 => Fate::Waiting,
            1 => Fate::Answered,
            2 => Fate::Lost,
            _ => Fate::Late,
        }
    }

    const fn set(&mut self, fate: Fate) {
        self.0 = self.0 & !3 | fate as u64;
    }
}

/// How a target stands. Each request that was sent is exactly one of received, lost, failed and pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PingCounts {
    /// Requests sent.
    pub sent: u32,
    /// Requests answered in time.
    pub received: u32,
    /// Requests not answered in time.
    pub lost: u32,
    /// Requests to which an error came back, or that this host could not send.
    pub failed: u32,
    /// Requests still in flight.
    pub pending: u32,
    /// Replies to requests that were counted lost or failed already.
    pub late: u32,
    /// Further replies to requests that were answered already.
    pub duplicates: u32,
    /// Replies whose payload had changed on the way.
    pub corrupt: u32,
}

impl PingCounts {
    /// The share of the requests that came to nothing, from 0 to 1, those in flight left out. `None` before the
    /// first has come to anything.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        loss(self.received, self.lost, self.failed)
    }
}

#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// When the next request may leave, whether or not it is scheduled.
    pub(super) due_ns: u64,
    /// Whether an entry of the schedule stands for it.
    pub(super) scheduled: bool,
    /// Whether it has been told that nothing more will come.
    pub(super) finished: bool,
    pub(super) counts: PingCounts,
    pub(super) rtt: RttStats,
    /// The last requests, oldest first. The newest has the sequence number `counts.sent`.
    requests: VecDeque<Request>,
}

impl Target {
    pub(super) fn new(address: SocketAddr, due_ns: u64) -> Self {
        Self {
            address,
            due_ns,
            scheduled: true,
            finished: false,
            counts: PingCounts::default(),
            rtt: RttStats::new(),
            requests: VecDeque::new(),
        }
    }

    /// Whether another request fits: fewer than `in_flight` are out, and the oldest of `window` may be forgotten.
    pub(super) fn has_room(&self, in_flight: usize, window: usize) -> bool {
        (self.counts.pending as usize) < in_flight
            && (self.requests.len() < window
                || self
                    .requests
                    .front()
                    .is_none_or(|oldest| oldest.fate() != Fate::Waiting))
    }

    /// Adds a request and says its sequence number, which begins at 1.
    pub(super) fn send(&mut self, now_ns: u64, window: usize) -> u32 {
        if self.requests.len() >= window {
            self.requests.pop_front();
        } else if self.requests.len() == self.requests.capacity() {
            self.requests
                .reserve_exact((self.requests.len().max(4)).min(window - self.requests.len()));
        }
        self.requests.push_back(Request::new(now_ns));
        self.counts.sent += 1;
        self.counts.pending += 1;
        self.counts.sent
    }

    /// The sequence number whose low half was on the wire: the newest such that was sent.
    pub(super) fn sequence(&self, wire: u16) -> Option<u32> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low half is what the wire has"
        )]
        let behind = (self.counts.sent as u16).wrapping_sub(wire);
        self.counts
            .sent
            .checked_sub(u32::from(behind))
            .filter(|&sequence| sequence > 0)
    }

    /// The request of that number, unless it is forgotten.
    pub(super) fn request(&self, sequence: u32) -> Option<Request> {
        self.requests.get(self.index(sequence)?).copied()
    }

    /// Settles a request that waits; `false` if its fate is known or forgotten.
    pub(super) fn settle(&mut self, sequence: u32, fate: Fate) -> bool {
        let Some(index) = self.index(sequence) else {
            return false;
        };
        let Some(request) = self.requests.get_mut(index) else {
            return false;
        };
        if request.fate() != Fate::Waiting {
            return false;
        }
        request.set(fate);
        self.counts.pending -= 1;
        true
    }

    /// Notes that the late reply of a lost request came; `false` if it had come before.
    pub(super) fn settle_late(&mut self, sequence: u32) -> bool {
        let Some(index) = self.index(sequence) else {
            return false;
        };
        match self.requests.get_mut(index) {
            Some(request) if request.fate() == Fate::Lost => {
                request.set(Fate::Late);
                true
            }
            _ => false,
        }
    }

    fn index(&self, sequence: u32) -> Option<usize> {
        let behind = self.counts.sent.checked_sub(sequence)? as usize;
        self.requests.len().checked_sub(behind + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::low16;

    fn target() -> Target {
        Target::new("192.0.2.1:0".parse().unwrap(), 0)
    }

    #[test]
    fn sequence_numbers_go_on_past_16_bits() {
        let mut target = target();
        for _ in 0..70_000 {
            let sequence = target.send(0, 16);
            target.settle(sequence, Fate::Answered);
        }
        assert_eq!(target.sequence(low16(70_000)), Some(70_000));
        assert_eq!(target.sequence(low16(69_999)), Some(69_999));
        assert_eq!(target.sequence(u16::MAX), Some(65_535));
        assert_eq!(target.sequence(low16(70_001)), Some(70_001 - 65_536));
    }

    #[test]
    fn a_number_that_was_never_sent_is_none() {
        let mut target = target();
        target.send(0, 16);
        assert_eq!(target.sequence(1), Some(1));
        assert_eq!(target.sequence(0), None);
        assert_eq!(target.sequence(2), None);
        assert!(target.request(2).is_none());
    }

    #[test]
    fn what_waits_is_not_forgotten() {
        let mut target = target();
        for _ in 0..16 {
            target.send(0, 16);
        }
        assert!(!target.has_room(100, 16));
        target.settle(2, Fate::Answered);
        assert!(!target.has_room(100, 16), "the oldest waits");
        target.settle(1, Fate::Lost);
        assert!(target.has_room(100, 16));
        target.send(0, 16);
        assert!(target.request(1).is_none());
        assert_eq!(target.request(2).map(Request::fate), Some(Fate::Answered));
    }

    #[test]
    fn a_fate_is_for_good() {
        let mut target = target();
        target.send(0, 16);
        assert!(target.settle(1, Fate::Lost));
        assert!(!target.settle(1, Fate::Answered));
        assert!(target.settle_late(1));
        assert!(!target.settle_late(1));
        assert_eq!(target.counts.pending, 0);
    }
}
