//! Histograms of round trips and one-way delays, in nanoseconds.

use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use sockeye::socket::os::monotonic_ns;

use super::nanoseconds;

/// Longer ones count as this long.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Three digits of each are kept.
const DIGITS: u8 = 3;

/// An empty histogram of times in nanoseconds, up to an hour.
///
/// # Errors
/// None in practice: the bounds are constants.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_max(LONGEST_NS, DIGITS).context("make a histogram")
}

/// Round trips of all flows together.
#[derive(Debug)]
pub(crate) struct RoundTrips {
    /// From the time at which each was due.
    pub(crate) corrected: Histogram<u64>,
    /// From the time at which each was sent.
    pub(crate) uncorrected: Histogram<u64>,
    /// Requests without an answer.
    pub(crate) lost: u64,
    pub(crate) counts: bool,
}

impl RoundTrips {
    /// # Errors
    /// As [`histogram`].
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            corrected: histogram()?,
            uncorrected: histogram()?,
            lost: 0,
            counts: true,
        })
    }

    /// An answer has come, to what was due and sent at those times of the monotonic clock.
    pub(crate) fn answered(&mut self, due_ns: u64, sent_ns: u64) {
        if self.counts {
            let now = monotonic_ns();
            self.corrected.saturating_record(now.saturating_sub(due_ns));
            self.uncorrected.saturating_record(now.saturating_sub(sent_ns));
        }
    }

    pub(crate) fn lost(&mut self) {
        if self.counts {
            self.lost += 1;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.corrected.reset();
        self.uncorrected.reset();
        self.lost = 0;
    }
}

/// One-way delays. The sender's clock is another one: what is added to its times makes them times of ours.
#[derive(Debug)]
pub(crate) struct Delays {
    pub(crate) histogram: Histogram<u64>,
    /// Receiver's clock less sender's clock.
    pub(crate) offset_ns: i64,
    /// Delays that came out below zero, and count as zero.
    pub(crate) below_zero: u64,
}

impl Delays {
    /// # Errors
    /// As [`histogram`].
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            histogram: histogram()?,
            offset_ns: 0,
            below_zero: 0,
        })
    }

    pub(crate) fn record(&mut self, sent_ns: u64, received_ns: u64) {
        let sent = i128::from(sent_ns) + i128::from(self.offset_ns);
        let delay = i128::from(received_ns) - sent;
        self.below_zero += u64::from(delay < 0);
        self.histogram
            .saturating_record(u64::try_from(delay.max(0)).unwrap_or(LONGEST_NS));
    }

    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
        self.below_zero = 0;
    }

    /// Value and count of each, for the protocol.
    pub(crate) fn pairs(&self) -> Vec<(u64, u64)> {
        let recorded = self.histogram.iter_recorded();
        recorded
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect()
    }

    /// Takes what the other side has recorded.
    pub(crate) fn add(&mut self, pairs: &[(u64, u64)]) {
        for (value, count) in pairs {
            let value = (*value).min(LONGEST_NS);
            // Within the bounds; a count beyond what a u64 holds is not one of ours.
            let _ = self.histogram.record_n(value, *count);
        }
    }
}

/// How far apart the clocks of the two sides are, estimated as NTP does (RFC 5905, section 8): of several exchanges the one
/// with the shortest round trip says it best, and is wrong by at most half of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockOffset {
    /// The server's clock less the client's.
    pub(crate) offset_ns: i64,
    pub(crate) uncertainty: Duration,
}

impl ClockOffset {
    /// From one exchange.
    pub(crate) fn of(sent_ns: u64, at_ns: u64, received_ns: u64) -> Self {
        let rtt = received_ns.saturating_sub(sent_ns);
        let middle = i128::from(sent_ns) + i128::from(rtt / 2);
        let offset = i128::from(at_ns) - middle;
        Self {
            offset_ns: i64::try_from(offset).unwrap_or(i64::MAX),
            uncertainty: Duration::from_nanos(rtt.div_ceil(2)),
        }
    }

    pub(crate) fn best(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.uncertainty <= self.uncertainty => other,
            _ => self,
        }
    }
}

/// Percentiles that every latency is told by.
pub(crate) const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

/// Round trips a minute, by the median.
pub(crate) fn per_minute(histogram: &Histogram<u64>) -> f64 {
    let median = histogram.value_at_quantile(0.5).max(1);
    nanoseconds(Duration::from_secs(60)) as f64 / median as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_that_of_the_shortest_exchange() {
        // Sent at 100, the server's clock said 1150, back at 200: 1150 - 150.
        let first = ClockOffset::of(100, 1150, 200);
        assert_eq!((first.offset_ns, first.uncertainty.as_nanos()), (1000, 50));
        let second = ClockOffset::of(1000, 2015, 1020);
        assert_eq!(second.best(Some(first)), second);
        assert_eq!(first.best(Some(second)), second);
        let behind = ClockOffset::of(1_000_000, 5, 1_000_002);
        assert_eq!(behind.offset_ns, 5 - 1_000_001);
    }

    #[test]
    fn a_delay_below_zero_counts_as_zero_and_is_told() {
        let mut delays = Delays::new().unwrap();
        delays.offset_ns = 1000;
        delays.record(500, 1400);
        delays.record(500, 3500);
        assert_eq!(delays.below_zero, 1);
        let mut other = Delays::new().unwrap();
        other.add(&delays.pairs());
        assert_eq!(other.histogram, delays.histogram);
        assert_eq!(other.histogram.max() / 10, 200);
    }

    #[test]
    fn responsiveness_is_a_minute_by_the_median() {
        let mut histogram = histogram().unwrap();
        histogram.record(20_000_000).unwrap();
        assert!((per_minute(&histogram) - 3000.0).abs() < 5.0);
    }
}
