//! Round-trip times as bars: how many fell between 1, 2, 5, 10, 20, 50 ... microseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// Hosts that have a histogram each; more of them share one.
const MAX_HOSTS: usize = 64;
/// Longer times count as this: it bounds the bars too, of which there are three a decade.
const LONGEST: Duration = Duration::from_secs(3600);
/// Columns of the longest bar.
const BAR: usize = 40;

/// The round-trip times of all hosts: of each how many fell into the bar that begins there, in nanoseconds.
#[derive(Debug)]
pub(super) struct Histograms(Vec<BTreeMap<u64, u64>>);

/// How many times are from `from_ns` on and below `to_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    from_ns: u64,
    to_ns: u64,
    count: u64,
}

impl Histograms {
    /// Empty ones.
    pub(super) fn new(hosts: usize) -> Self {
        let count = if hosts <= MAX_HOSTS { hosts } else { 1 };
        Self(vec![BTreeMap::new(); count])
    }

    /// Whether the hosts have one histogram together.
    pub(super) fn is_shared(&self, hosts: usize) -> bool {
        hosts > self.0.len()
    }

    pub(super) fn record(&mut self, host: usize, rtt: Duration) {
        let place = host.min(self.0.len().saturating_sub(1));
        if let Some(histogram) = self.0.get_mut(place) {
            let rtt_ns = u64::try_from(rtt.min(LONGEST).as_nanos()).unwrap_or_default();
            *histogram.entry(bounds(rtt_ns).0).or_default() += 1;
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
        let mut buckets: Vec<Bucket> = Vec::new();
        for (&from_ns, &count) in self.0.get(host).into_iter().flatten() {
            // Bars between that nothing fell into are shown empty.
            while let Some(last) = buckets.last().filter(|last| last.to_ns < from_ns) {
                buckets.push(Bucket::of(last.to_ns, 0));
            }
            buckets.push(Bucket::of(from_ns, count));
        }
        buckets
    }
}

impl Bucket {
    /// The one that a time is in.
    fn of(value_ns: u64, count: u64) -> Self {
        let (from_ns, to_ns) = bounds(value_ns);
        Self {
            from_ns,
            to_ns,
            count,
        }
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
        let mut histograms = Histograms::new(1);
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
    fn a_time_is_in_the_bar_of_its_bounds_to_the_nanosecond() {
        for (ns, from_ns, to_ns) in [
            (0, 0, 1_000_u64),
            (999, 0, 1_000),
            (1_000, 1_000, 2_000),
            (999_999, 500_000, 1_000_000),
            (1_000_000, 1_000_000, 2_000_000),
            (1_999_999_999, 1_000_000_000, 2_000_000_000),
            (2_000_000_000, 2_000_000_000, 5_000_000_000),
        ] {
            let mut histograms = Histograms::new(1);
            histograms.record(0, Duration::from_nanos(ns));
            let bar = json!([{ "from_ns": from_ns, "to_ns": to_ns, "count": 1 }]);
            assert_eq!(histograms.json(0), bar, "{ns} ns");
        }
    }

    #[test]
    fn many_hosts_share_one_and_a_year_is_an_hour() {
        let mut histograms = Histograms::new(1000);
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
