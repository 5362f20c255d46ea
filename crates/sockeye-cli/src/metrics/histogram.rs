//! Durations in buckets: cheap to count, to be scraped and to be asked for a percentile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of buckets, in nanoseconds, from the smallest; one bucket more has all that is above.
#[derive(Debug)]
pub(crate) struct Bounds(&'static [u64]);

/// How long something took that a network did: 50 µs to 10 s.
pub(crate) const LATENCY: Bounds = Bounds(&[
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
]);

/// How long a session lasted: 1 ms to a day.
pub(crate) const SESSION: Bounds = Bounds(&[
    1_000_000,
    10_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    900_000_000_000,
    3_600_000_000_000,
    86_400_000_000_000,
]);

/// Counts durations. One thread counts, any thread reads.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            bounds: bounds.0,
            counts: (0..=bounds.0.len()).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < ns);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Buckets {
        Buckets {
            bounds: self.bounds,
            counts: self
                .counts
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .collect(),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
        }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buckets {
    bounds: &'static [u64],
    counts: Vec<u64>,
    sum_ns: u64,
}

impl Buckets {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        seconds(self.sum_ns)
    }

    /// Each bucket's upper bound in seconds, and what is in it and in no smaller one. The last has no bound, which is
    /// written as the largest number.
    pub(super) fn each(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().map(|bound| seconds(*bound));
        bounds
            .chain([f64::MAX])
            .zip(self.counts.iter().copied())
            .collect()
    }

    /// A percentile in nanoseconds, as Prometheus' `histogram_quantile` has it: straight within a bucket, and the largest
    /// bound for all that is above it. `None` of nothing.
    pub(crate) fn percentile_ns(&self, percent: u64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = u128::from(count) * u128::from(percent.min(100));
        let (mut below, mut lower) = (0_u128, 0);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let here = u128::from(*count) * 100;
            if here > 0 && below + here >= rank {
                let width = u128::from(*bound - lower);
                let into = width * (rank - below) / here;
                return Some(lower + u64::try_from(into).unwrap_or(0));
            }
            (below, lower) = (below + here, *bound);
        }
        Some(lower)
    }

    /// What the status says of it.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::json!({
            "count": self.count(),
            "p50_ns": self.percentile_ns(50),
            "p99_ns": self.percentile_ns(99),
        })
    }
}

/// Nanoseconds as seconds: exact for whole microseconds of a bound, and near enough for a sum.
#[expect(clippy::cast_precision_loss, reason = "a sum of many is no better known")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_at_a_bound_is_within_it_and_one_above_all_is_counted() {
        let histogram = Histogram::new(&LATENCY);
        for ns in [50_000, 50_001, 10_000_000_000, 10_000_000_001, u64::MAX] {
            histogram.record(Duration::from_nanos(ns));
        }
        let buckets = histogram.read();
        assert_eq!(buckets.count(), 5);
        let each = buckets.each();
        assert_eq!((each[0], each[1]), ((0.000_05, 1), (0.000_1, 1)));
        assert_eq!((each[15], each[16]), ((10.0, 1), (f64::MAX, 2)));
    }

    #[test]
    fn percentiles_are_within_their_bucket() {
        let histogram = Histogram::new(&LATENCY);
        assert_eq!(histogram.read().percentile_ns(50), None);
        for _ in 0..98 {
            histogram.record(Duration::from_micros(800));
        }
        histogram.record(Duration::from_secs(60));
        histogram.record(Duration::from_secs(60));
        let buckets = histogram.read();
        let half = buckets.percentile_ns(50).unwrap();
        assert!((500_000..=1_000_000).contains(&half), "{half}");
        assert_eq!(buckets.percentile_ns(99), Some(10_000_000_000));
    }
}
