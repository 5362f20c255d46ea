//! Round-trip times in constant memory: extremes, mean and deviation exact, percentiles as good as the room allows.

use std::time::Duration;

/// Samples that are kept one by one; as much room as the buckets take.
const EXACT: usize = 120;
/// Buckets an octave, as a power of two: a percentile from buckets is off by at most 1/16.
const SUB_BITS: u32 = 3;
const BUCKETS: usize = 30 << SUB_BITS;
/// Samples are kept in units of 32 ns, so that 32 bits reach to 137 s.
const UNIT_BITS: u32 = 5;

/// Statistics of round-trip times, under 600 bytes however many there are.
///
/// Percentiles are exact (to 32 ns) up to 120 samples and within 6.25 % beyond, where the samples move into buckets
/// whose width grows with the time.
///
/// ```
/// use std::time::Duration;
/// use sockeye_probe::RttStats;
///
/// let mut rtt = RttStats::new();
/// for ms in [4, 2, 9] {
///     rtt.record(Duration::from_millis(ms));
/// }
/// assert_eq!(rtt.min(), Some(Duration::from_millis(2)));
/// assert_eq!(rtt.mean(), Some(Duration::from_millis(5)));
/// assert_eq!(rtt.percentile(50.0), Some(Duration::from_millis(4)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct RttStats {
    count: u64,
    min_ns: u64,
    max_ns: u64,
    last_ns: u64,
    mean_ns: f64,
    /// Sum of squared distances from the mean (Welford), which does not cancel as a sum of squares would.
    spread: f64,
    samples: Samples,
}

#[derive(Clone, Debug)]
enum Samples {
    Exact(Vec<u32>),
    Buckets(Box<[u16; BUCKETS]>),
}

impl Default for Samples {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl RttStats {
    /// No samples yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a round-trip time.
    pub fn record(&mut self, rtt: Duration) {
        let rtt_ns = crate::time::ns(rtt);
        self.min_ns = if self.count == 0 {
            rtt_ns
        } else {
            self.min_ns.min(rtt_ns)
        };
        self.max_ns = self.max_ns.max(rtt_ns);
        self.last_ns = rtt_ns;
        self.count += 1;
        let sample = to_f64(rtt_ns);
        let distance = sample - self.mean_ns;
        self.mean_ns += distance / to_f64(self.count);
        self.spread += distance * (sample - self.mean_ns);
        self.samples.push(rtt_ns);
    }

    /// How many were taken.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The shortest.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.min_ns))
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max_ns))
    }

    /// The one taken last.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.last_ns))
    }

    /// The arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| from_f64(self.mean_ns))
    }

    /// The standard deviation of the samples, which ping calls mdev.
    #[must_use]
    pub fn deviation(&self) -> Option<Duration> {
        (self.count > 0).then(|| from_f64((self.spread / to_f64(self.count)).max(0.0).sqrt()))
    }

    /// The time that `percent` of the samples do not exceed, by nearest rank: 50 is the median. Values outside
    /// 0 to 100 count as the nearer end.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let share = (percent / 100.0).clamp(0.0, 1.0);
        let rtt_ns = self.samples.at(share);
        Some(Duration::from_nanos(rtt_ns.clamp(self.min_ns, self.max_ns)))
    }
}

impl Samples {
    fn push(&mut self, rtt_ns: u64) {
        let value = u32::try_from(rtt_ns >> UNIT_BITS).unwrap_or(u32::MAX);
        match self {
            Self::Exact(values) if values.len() < EXACT => {
                if values.len() == values.capacity() {
                    values.reserve_exact((values.len() + 8).min(EXACT - values.len()));
                }
                values.push(value);
            }
            Self::Exact(values) => {
                let mut buckets = Box::new([0; BUCKETS]);
                for &value in values.iter() {
                    count(&mut buckets, value);
                }
                count(&mut buckets, value);
                *self = Self::Buckets(buckets);
            }
            Self::Buckets(buckets) => count(buckets, value),
        }
    }

    /// The sample at that share of the sorted samples, in nanoseconds.
    fn at(&self, share: f64) -> u64 {
        match self {
            Self::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                let rank = rank(share, sorted.len() as u64);
                let value = usize::try_from(rank).ok().and_then(|rank| sorted.get(rank));
                u64::from(value.copied().unwrap_or(0)) << UNIT_BITS
            }
            Self::Buckets(buckets) => {
                let mut left = rank(share, buckets.iter().map(|&count| u64::from(count)).sum());
                for (index, &count) in buckets.iter().enumerate() {
                    if left < u64::from(count) {
                        return middle(index) << UNIT_BITS;
                    }
                    left -= u64::from(count);
                }
                0
            }
        }
    }
}

/// Which of `count` sorted samples stands at that share: the nearest rank, from 0.
fn rank(share: f64, count: u64) -> u64 {
    let rank = (share * to_f64(count)).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the count, which came from an integer"
    )]
    let rank = rank as u64;
    rank.clamp(1, count.max(1)) - 1
}

fn count(buckets: &mut [u16; BUCKETS], value: u32) {
    let Some(bucket) = buckets.get_mut(bucket_of(value)) else {
        return;
    };
    *bucket += 1;
    if *bucket == u16::MAX {
        // The shape is what percentiles need. Rounding up keeps what was seen once.
        for bucket in buckets.iter_mut() {
            *bucket = bucket.div_ceil(2);
        }
    }
}

const fn bucket_of(value: u32) -> usize {
    if value < 1 << SUB_BITS {
        return value as usize;
    }
    let octave = value.ilog2() - SUB_BITS;
    (((octave + 1) << SUB_BITS) + ((value >> octave) & ((1 << SUB_BITS) - 1))) as usize
}

/// The value in the middle of a bucket.
const fn middle(bucket: usize) -> u64 {
    if bucket < 1 << SUB_BITS {
        return bucket as u64;
    }
    let octave = (bucket >> SUB_BITS) - 1;
    let low = ((1 << SUB_BITS) + (bucket & ((1 << SUB_BITS) - 1))) as u64;
    (low << octave) + ((1 << octave) >> 1)
}

/// The share of what has an outcome that came to nothing, from 0 to 1; `None` while nothing has one.
pub(crate) fn loss(received: u32, lost: u32, failed: u32) -> Option<f64> {
    let nothing = f64::from(lost) + f64::from(failed);
    let decided = nothing + f64::from(received);
    (decided > 0.0).then(|| nothing / decided)
}

#[expect(clippy::cast_precision_loss, reason = "52 bits of nanoseconds are 52 days")]
pub(crate) const fn to_f64(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a mean of times that were u64; `as` saturates"
)]
pub(crate) fn from_f64(value_ns: f64) -> Duration {
    Duration::from_nanos(value_ns.round() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn nothing_is_known_of_no_samples() {
        let rtt = RttStats::new();
        assert_eq!(
            (rtt.min(), rtt.mean(), rtt.deviation(), rtt.percentile(50.0)),
            (None, None, None, None)
        );
    }

    #[test]
    fn the_figures_of_a_textbook() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, deviation 2.
        let mut rtt = RttStats::new();
        for value in [2, 4, 4, 4, 5, 5, 7, 9] {
            rtt.record(ms(value));
        }
        assert_eq!(rtt.mean(), Some(ms(5)));
        assert_eq!(rtt.deviation(), Some(ms(2)));
        assert_eq!((rtt.min(), rtt.max()), (Some(ms(2)), Some(ms(9))));
        assert_eq!(rtt.percentile(50.0), Some(ms(4)));
        assert_eq!(rtt.percentile(100.0), Some(ms(9)));
        assert_eq!(rtt.percentile(0.0), Some(ms(2)));
    }

    #[test]
    fn every_bucket_holds_its_middle() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(u32::try_from(middle(bucket)).unwrap()), bucket);
        }
        assert_eq!(bucket_of(u32::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_million_samples_keep_their_shape() {
        let mut rtt = RttStats::new();
        for index in 0..1_000_000u64 {
            rtt.record(Duration::from_micros(if index % 100 == 0 { 50_000 } else { 100 }));
        }
        let median_us = rtt.percentile(50.0).unwrap().as_micros();
        assert!((94..=106).contains(&median_us), "{median_us}");
        let tail_us = rtt.percentile(99.5).unwrap().as_micros();
        assert!((46_875..=50_000).contains(&tail_us), "{tail_us}");
    }

    #[test]
    fn it_stays_under_600_bytes() {
        let heap = BUCKETS * size_of::<u16>();
        assert_eq!(heap, EXACT * size_of::<u32>());
        assert!(size_of::<RttStats>() + heap < 600);
    }

    proptest! {
        #[test]
        fn prop_percentiles_agree_with_a_sorted_list(
            samples in proptest::collection::vec(0u64..60_000_000_000, 1..400),
            percent in 0.0f64..=100.0,
        ) {
            let mut rtt = RttStats::new();
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            for &sample in &samples {
                rtt.record(Duration::from_nanos(sample));
            }
            let below = |count: &usize| (*count as f64) < percent / 100.0 * samples.len() as f64;
            let rank = (0..samples.len()).find(|count| !below(&(count + 1))).unwrap_or(samples.len() - 1);
            let (found, exact) = (rtt.percentile(percent).unwrap().as_nanos() as f64, sorted[rank] as f64);
            let allowed = if samples.len() <= EXACT { 32.0 } else { exact / 16.0 + 32.0 };
            prop_assert!((found - exact).abs() <= allowed, "{} for {}", found, exact);
        }
    }
}
