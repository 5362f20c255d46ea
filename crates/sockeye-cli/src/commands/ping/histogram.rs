//! Round-trip times as bars: how many fell between 1, 2, 5, 10, 20, 50 ... microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Hosts that have a histogram each; more of them share one.
const MAX_HOSTS: usize = 64;
/// Two digits are more than a bar shows.
const DIGITS: u8 = 2;
/// Longer times count as this.
const LONGEST: Duration = Duration::from_secs(3600);
/// Columns of the longest bar.
const BAR: usize = 40;

/// The round-trip times of all hosts.
#[derive(Debug)]
pub(super) struct Histograms(Vec<Histogram<u64>>);

/// How many times are from `from_ns` on and below `to_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    from_ns: u64,
    to_ns: u64,
    count: u64,
}

impl Histograms {
    /// Empty ones.
    ///
    /// # Errors
    /// None in practice: the bounds are sound.
    pub(super) fn new(hosts: usize) -> anyhow::Result<Self> {
        let count = if hosts <= MAX_HOSTS { hosts } else { 1 };
        let longest_ns = u64::try_from(LONGEST.as_nanos())?;
        let one = Histogram::new_with_bounds(1, longest_ns, DIGITS)?;
        Ok(Self(vec![one; count]))
    }

    /// Whether the hosts have one histogram together.
    pub(super) fn is_shared(&self, hosts: usize) -> bool {
        hosts > self.0.len()
    }

    pub(super) fn record(&mut self, host: usize, rtt: Duration) {
        let place = host.min(self.0.len().saturating_sub(1));
        if let Some(histogram) = self.0.get_mut(place) {
            histogram.saturating_record(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// A line a bucket, from the first that has something to the last.
    pub(super) fn lines(&self, host: usize) -> Vec<String> {
        let buckets = self.buckets(host);
        let most = buckets
            .iter()
            .map(|bucket| bucket.count)
            .max()
            .unwrap_or(0)
            .max(1);
        let line = |bucket: &Bucket| {
            let filled = u128::from(bucket.count) * BAR as u128;
            let bar = usize::try_from(filled.div_ceil(u128::from(most))).unwrap_or(BAR);
            format!(
                "  {:>6} - {:<6} |{:<BAR$}| {}",
                short(bucket.from_ns),
                short(bucket.to_ns),
                "#".repeat(bar),
                bucket.count
            )
        };
        buckets.iter().map(line).collect()
    }

    pub(super) fn json(&self, host: usize) -> Value {
        let bucket = |bucket: &Bucket| json!({ "from_ns": bucket.from_ns, "to_ns": bucket.to_ns, "count": bucket.count });
        self.buckets(host).iter().map(bucket).collect()
    }

    fn buckets(&self, host: usize) -> Vec<Bucket> {
        let Some(histogram) = self.0.get(host) else {
            return Vec::new();
        };
        let mut buckets: Vec<Bucket> = Vec::new();
        for value in histogram.iter_recorded() {
            let (from_ns, to_ns) = bounds(value.value_iterated_to());
            let count = value.count_at_value();
            // Values come in order; buckets between that nothing fell into are shown empty.
            while let Some(last) = buckets.last().copied().filter(|last| last.to_ns < to_ns) {
                let (from_ns, to_ns) = bounds(last.to_ns);
                buckets.push(Bucket {
                    from_ns,
                    to_ns,
                    count: 0,
                });
            }
            match buckets.last_mut() {
                Some(last) => last.count += count,
                None => buckets.push(Bucket {
                    from_ns,
                    to_ns,
                    count,
                }),
            }
        }
        buckets
    }
}

/// The bucket of a time: 1, 2 or 5 times a power of ten, and the next such. The first is from 0 to a microsecond.
fn bounds(value_ns: u64) -> (u64, u64) {
    let (mut from_ns, mut to_ns) = (0, 1_000);
    let mut steps = [2, 5, 10].into_iter().cycle();
    let mut decade_ns: u64 = 1_000;
    while value_ns >= to_ns {
        from_ns = to_ns;
        let step = steps.next().unwrap_or(10);
        to_ns = decade_ns.saturating_mul(step);
        if step == 10 {
            decade_ns = to_ns;
        }
    }
    (from_ns, to_ns)
}

fn short(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{} us", ns / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_with_the_time() {
        let us = 1_000;
        for (value, from, to) in [
            (0, 0, us),
            (us, us, 2 * us),
            (4_999, 2 * us, 5 * us),
            (5 * us, 5 * us, 10 * us),
            (10 * us, 10 * us, 20 * us),
            (999_999, 500 * us, 1_000 * us),
            (3_600_000_000_000, 2_000_000_000_000, 5_000_000_000_000),
        ] {
            assert_eq!(bounds(value), (from, to), "{value}");
        }
    }

    #[test]
    fn every_time_is_in_a_bar() {
        let mut histograms = Histograms::new(1).unwrap();
        for us in [30, 35, 45, 300, 60_000] {
            histograms.record(0, Duration::from_micros(us));
        }
        let lines = histograms.lines(0);
        assert_eq!(lines.len(), 11, "{lines:#?}");
        assert_eq!(
            lines[0],
            "   20 us - 50 us  |########################################| 3"
        );
        assert!(lines[1].ends_with("| 0"));
        assert!(
            lines[10].contains("50 ms - 100 ms |##############"),
            "{}",
            lines[10]
        );
    }

    #[test]
    fn many_hosts_share_one_and_a_year_is_an_hour() {
        let mut histograms = Histograms::new(1000).unwrap();
        assert!(histograms.is_shared(1000));
        histograms.record(999, Duration::from_secs(31_536_000));
        histograms.record(3, Duration::ZERO);
        assert_eq!(
            histograms
                .json(0)
                .as_array()
                .unwrap()
                .iter()
                .filter(|bucket| bucket["count"] == 1)
                .count(),
            2
        );
    }
}
