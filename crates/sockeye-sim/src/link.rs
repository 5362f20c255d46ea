//! Links: what a packet meets on its way.

use std::time::Duration;

use crate::random::Random;

/// A link between two nodes, by the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LinkId(pub(crate) u32);

/// How a link treats packets, in both directions alike. The default is ideal: nothing is late, lost or cut.
///
/// Streams see loss as the delay of a retransmission and reordering not at all, as TCP hides them;
/// datagrams and packets see everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkOptions {
    /// Time from one end to the other.
    pub latency: Duration,
    /// Up to this much more, evenly distributed.
    pub jitter: Duration,
    /// Packets lost, in millionths.
    pub loss_ppm: u32,
    /// Datagrams that arrive twice, in millionths.
    pub duplicate_ppm: u32,
    /// Datagrams that are held back long enough for others to overtake them, in millionths.
    pub reorder_ppm: u32,
    /// Bits a second; `None` is without bound.
    pub bandwidth: Option<u64>,
    /// The most that may wait for the bandwidth, as time on the link; beyond it packets are dropped.
    pub queue: Duration,
    /// The longest IP packet, in bytes with its header.
    pub mtu: usize,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss_ppm: 0,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            bandwidth: None,
            queue: Duration::from_millis(500),
            mtu: 1500,
        }
    }
}

impl LinkOptions {
    /// An ideal link with that latency.
    #[must_use]
    pub fn latency(latency: Duration) -> Self {
        Self {
            latency,
            ..Self::default()
        }
    }

    pub(crate) fn is_ideal(&self) -> bool {
        self.latency.is_zero() && self.jitter.is_zero() && self.loss_ppm == 0 && self.bandwidth.is_none()
    }
}

/// Saturating nanoseconds, for times that a user gave.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) down: bool,
    free_at: u64,
    loss: Random,
    jitter: Random,
    duplicate: Random,
    reorder: Random,
}

impl Lane {
    fn new(seed: u64, index: u64) -> Self {
        let stream = |kind| Random::stream(seed, kind, index);
        Self {
            down: false,
            free_at: 0,
            loss: stream(1),
            jitter: stream(2),
            duplicate: stream(3),
            reorder: stream(4),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [u16; 2],
    pub(crate) options: LinkOptions,
    latency_ns: u64,
    jitter_ns: u64,
    queue_ns: u64,
    /// Nanoseconds a byte takes, in 1/1024; 0 where the bandwidth has no bound.
    byte_time: u64,
    pub(crate) lanes: [Lane; 2],
}

/// What became of a packet on one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passage {
    Arrives(u64),
    Lost,
}

impl Link {
    pub(crate) fn new(seed: u64, index: u32, ends: [u16; 2], options: LinkOptions) -> Self {
        let lane = |side: u64| Lane::new(seed, u64::from(index) * 2 + side);
        let mut link = Self {
            ends,
            options,
            latency_ns: 0,
            jitter_ns: 0,
            queue_ns: 0,
            byte_time: 0,
            lanes: [lane(0), lane(1)],
        };
        link.set(options);
        link
    }

    pub(crate) fn set(&mut self, options: LinkOptions) {
        self.options = options;
        self.latency_ns = nanos(options.latency);
        self.jitter_ns = nanos(options.jitter);
        self.queue_ns = nanos(options.queue);
        self.byte_time = options
            .bandwidth
            .map_or(0, |bits| (8 * 1_000_000_000 * 1024 / bits.max(1)).max(1));
    }

    pub(crate) fn is_ideal(&self, side: usize) -> bool {
        self.options.is_ideal() && !self.lanes[side].down
    }

    pub(crate) fn one_way_ns(&self) -> u64 {
        self.latency_ns + self.jitter_ns / 2
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.byte_time != 0
    }

    /// When the lane has sent what waits on it.
    pub(crate) fn free_at(&self, side: usize) -> u64 {
        self.lanes[side].free_at
    }

    /// Sends `size` bytes in `packets` packets at `now`. Losing one of them loses all.
    #[inline]
    pub(crate) fn pass(&mut self, side: usize, size: usize, packets: u32, now: u64) -> Passage {
        let lane = &mut self.lanes[side];
        if lane.down {
            return Passage::Lost;
        }
        let mut at = now;
        if self.byte_time != 0 {
            let start = now.max(lane.free_at);
            if start - now > self.queue_ns {
                return Passage::Lost;
            }
            lane.free_at = start + ((size as u64 * self.byte_time) >> 10);
            at = lane.free_at;
        }
        if self.options.loss_ppm != 0 && (0..packets).any(|_| lane.loss.chance(self.options.loss_ppm)) {
            return Passage::Lost;
        }
        at += self.latency_ns;
        if self.jitter_ns != 0 {
            at += lane.jitter.below(self.jitter_ns + 1);
        }
        Passage::Arrives(at)
    }

    /// How much longer a datagram is held back, if it is.
    pub(crate) fn hold_back(&mut self, side: usize) -> u64 {
        let lane = &mut self.lanes[side];
        if lane.reorder.chance(self.options.reorder_ppm) {
            let scale = (self.latency_ns + self.jitter_ns).max(100_000);
            return lane.reorder.between(scale / 2, scale * 4);
        }
        0
    }

    pub(crate) fn duplicates(&mut self, side: usize) -> bool {
        self.lanes[side].duplicate.chance(self.options.duplicate_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(options: LinkOptions) -> Link {
        Link::new(1, 0, [0, 1], options)
    }

    #[test]
    fn an_ideal_link_takes_no_time_and_draws_nothing() {
        let mut ideal = link(LinkOptions::default());
        assert!(ideal.is_ideal(0));
        assert_eq!(ideal.pass(0, 1500, 1, 7), Passage::Arrives(7));
    }

    #[test]
    fn bandwidth_serialises_and_the_queue_has_a_bound() {
        // 12 Mbit/s: 1500 bytes take a millisecond.
        let mut slow = link(LinkOptions {
            bandwidth: Some(12_000_000),
            queue: Duration::from_micros(1500),
            ..LinkOptions::default()
        });
        let arrivals: Vec<Passage> = (0..4).map(|_| slow.pass(0, 1500, 1, 0)).collect();
        let near = |passage: Passage, ms: u64| matches!(passage, Passage::Arrives(at) if at.abs_diff(ms * 1_000_000) < 2_000);
        assert!(near(arrivals[0], 1) && near(arrivals[1], 2), "{arrivals:?}");
        assert_eq!(arrivals[2], Passage::Lost);
        assert_eq!(
            slow.pass(1, 1500, 1, 0),
            arrivals[0],
            "the directions do not share it"
        );
    }

    #[test]
    fn a_down_lane_loses_everything_in_its_direction_only() {
        let mut link = link(LinkOptions::default());
        link.lanes[1].down = true;
        assert_eq!(link.pass(1, 1, 1, 0), Passage::Lost);
        assert_eq!(link.pass(0, 1, 1, 0), Passage::Arrives(0));
    }

    #[test]
    fn loss_of_one_fragment_loses_the_whole() {
        let lost = |packets| {
            let mut link = link(LinkOptions {
                loss_ppm: 100_000,
                ..LinkOptions::default()
            });
            (0..2000)
                .filter(|_| link.pass(0, 100, packets, 0) == Passage::Lost)
                .count()
        };
        assert!((150..250).contains(&lost(1)), "{}", lost(1));
        assert!((750..950).contains(&lost(5)), "{}: 1 - 0.9^5 of 2000", lost(5));
    }
}
