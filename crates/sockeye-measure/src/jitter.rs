//! Interarrival jitter (RFC 3550, section 6.4.1).

use std::time::Duration;

/// The mean deviation of the difference in spacing between a sender's and a receiver's messages.
///
/// The two clocks need not agree: a constant difference between them cancels out.
///
/// ```
/// use sockeye_measure::jitter::Jitter;
///
/// let mut jitter = Jitter::new();
/// jitter.received(1_000, 51_000);
/// jitter.received(2_000, 52_000);
/// assert_eq!(jitter.value().as_nanos(), 0, "as far apart at the receiver as at the sender");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Jitter {
    /// Receive time less send time of the last message, modulo 2^64.
    last_transit: Option<u64>,
    /// Sixteen times the estimate, so that integers keep its fraction (RFC 3550, appendix A.8).
    scaled_ns: u64,
}

impl Jitter {
    /// Nothing received yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last_transit: None,
            scaled_ns: 0,
        }
    }

    /// Takes the next message in the order of arrival: when it was sent, in nanoseconds of the sender's clock, and when it
    /// was received, in nanoseconds of the receiver's.
    pub fn received(&mut self, sent_ns: u64, received_ns: u64) {
        let transit = received_ns.wrapping_sub(sent_ns);
        let Some(last) = self.last_transit.replace(transit) else {
            return;
        };
        // Transits are far apart where the clocks are, but their difference is small: it wraps to what it should be.
        let change = transit.wrapping_sub(last).cast_signed().unsigned_abs();
        // J := J + (|D| - J) / 16. A clock that jumps by years must not overflow.
        let change = change.min(u64::MAX / 32);
        self.scaled_ns = self.scaled_ns - ((self.scaled_ns + 8) >> 4) + change;
    }

    /// The estimate begins anew from 0; the next message is compared with the last one all the same.
    pub const fn reset(&mut self) {
        self.scaled_ns = 0;
    }

    /// The estimate.
    #[must_use]
    pub const fn value(&self) -> Duration {
        Duration::from_nanos(self.scaled_ns >> 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_spacing_has_none_whatever_the_clocks_say() {
        let mut jitter = Jitter::new();
        for number in 0..100 {
            // The receiver's clock is behind the sender's.
            jitter.received(u64::MAX / 2 + number * 1000, number * 1000 + 3);
        }
        assert_eq!(jitter.value(), Duration::ZERO);
    }

    /// The gain is 1/16: one step of 1600 ns gives 100 ns.
    #[test]
    fn one_change_counts_a_sixteenth() {
        let mut jitter = Jitter::new();
        jitter.received(0, 0);
        jitter.received(1000, 2600);
        assert_eq!(jitter.value(), Duration::from_nanos(100));
        jitter.received(2000, 3600);
        // 100 * 15/16 = 93.75; the rounding of appendix A.8 keeps within one.
        assert!(
            jitter.value().as_nanos().abs_diff(94) <= 1,
            "{:?}",
            jitter.value()
        );
    }

    #[test]
    fn an_alternating_delay_tends_to_its_size() {
        let mut jitter = Jitter::new();
        for number in 0..1000_u64 {
            jitter.received(number * 1000, number * 1000 + (number % 2) * 500);
        }
        assert!(
            jitter.value().as_nanos().abs_diff(500) <= 1,
            "{:?}",
            jitter.value()
        );
    }

    #[test]
    fn no_clock_makes_it_overflow() {
        let mut jitter = Jitter::new();
        for number in 0..200_u64 {
            jitter.received(if number % 2 == 0 { 0 } else { 1 << 63 }, 0);
        }
        assert!(jitter.value() > Duration::ZERO);
    }
}
