//! How much round-trip times differ from one to the next.

use std::time::Duration;

use crate::stats::{from_f64, to_f64};
use crate::time::ns;

/// The differences between neighbouring round-trip times, in constant memory.
///
/// Two figures are called jitter: the mean of the differences, and the smoothed one of RTP, which forgets what is long ago.
///
/// ```
/// use std::time::Duration;
/// use sockeye_probe::Jitter;
///
/// let mut jitter = Jitter::new();
/// for ms in [10, 14, 12] {
///     jitter.record(Duration::from_millis(ms));
/// }
/// assert_eq!(jitter.last(), Some(Duration::from_millis(2)));
/// assert_eq!(jitter.mean(), Some(Duration::from_millis(3)));
/// assert_eq!(jitter.max(), Some(Duration::from_millis(4)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    previous_ns: Option<u64>,
    count: u64,
    last_ns: u64,
    max_ns: u64,
    mean_ns: f64,
    smoothed_ns: f64,
}

impl Jitter {
    /// No samples yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next round-trip time.
    pub fn record(&mut self, rtt: Duration) {
        let rtt_ns = ns(rtt);
        if let Some(previous_ns) = self.previous_ns.replace(rtt_ns) {
            let difference_ns = rtt_ns.abs_diff(previous_ns);
            self.count += 1;
            self.last_ns = difference_ns;
            self.max_ns = self.max_ns.max(difference_ns);
            self.mean_ns += (to_f64(difference_ns) - self.mean_ns) / to_f64(self.count);
            self.smoothed_ns += (to_f64(difference_ns) - self.smoothed_ns) / 16.0;
        }
    }

    /// Between the last two; `None` before there were two.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.last_ns))
    }

    /// The mean of all differences, without their signs.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| from_f64(self.mean_ns))
    }

    /// The largest difference.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max_ns))
    }

    /// The interarrival jitter of RTP: each difference moves it by a sixteenth of what it is off. It begins at zero, as the
    /// RFC has it, so the first figures are low.
    ///
    /// # References
    /// RFC 3550 section 6.4.1 and appendix A.8.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        (self.count > 0).then(|| from_f64(self.smoothed_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_has_no_jitter() {
        let mut jitter = Jitter::new();
        jitter.record(Duration::from_millis(5));
        assert_eq!(
            (jitter.last(), jitter.mean(), jitter.max(), jitter.smoothed()),
            (None, None, None, None)
        );
    }

    #[test]
    fn the_smoothed_figure_is_that_of_the_rfc() {
        // J += (|D| - J) / 16 with D = 16 ms, then 0 ms.
        let mut jitter = Jitter::new();
        for ms in [1, 17, 17] {
            jitter.record(Duration::from_millis(ms));
        }
        assert_eq!(jitter.smoothed(), Some(Duration::from_nanos(937_500)));
        assert_eq!(jitter.mean(), Some(Duration::from_millis(8)));
        assert_eq!(jitter.last(), Some(Duration::ZERO));
    }
}
