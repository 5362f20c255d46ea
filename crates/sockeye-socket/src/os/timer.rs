//! [`TimerFd`]: a timer that a poller can wait for, to the nanosecond.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::sys::process as sys;

/// A timer on the monotonic clock as a descriptor that becomes readable when it fires.
///
/// Pollers round their timeouts up to whole milliseconds; this one does not. It is nonblocking and close-on-exec, and
/// goes into an mio registry through `SourceFd(&timer.as_raw_fd())`.
///
/// ```
/// use sockeye_socket::os::{TimerFd, monotonic_ns};
///
/// # fn main() -> std::io::Result<()> {
/// let timer = TimerFd::new()?;
/// assert_eq!(timer.take()?, 0);
/// timer.arm_at_ns(monotonic_ns())?;
/// assert_eq!(timer.take()?, 1);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// [timerfd_create(2)](https://man7.org/linux/man-pages/man2/timerfd_create.2.html)
#[derive(Debug)]
pub struct TimerFd {
    fd: OwnedFd,
}

impl TimerFd {
    /// A disarmed timer.
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE at a limit of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: sys::timer_create()?,
        })
    }

    /// Fires once, `delay_ns` nanoseconds from now; 0 counts as 1. Replaces what was armed.
    ///
    /// # Errors
    ///
    /// None that a valid timer gives.
    #[inline]
    pub fn arm_after_ns(&self, delay_ns: u64) -> io::Result<()> {
        sys::timer_set(self.as_fd(), false, delay_ns.max(1), 0)
    }

    /// Fires once, when [`monotonic_ns`](super::monotonic_ns) reaches `deadline_ns`; at once where it has. Replaces
    /// what was armed.
    ///
    /// # Errors
    ///
    /// None that a valid timer gives.
    #[inline]
    pub fn arm_at_ns(&self, deadline_ns: u64) -> io::Result<()> {
        sys::timer_set(self.as_fd(), true, deadline_ns.max(1), 0)
    }

    /// Fires every `period_ns` nanoseconds from now on; 0 counts as 1. Replaces what was armed.
    ///
    /// # Errors
    ///
    /// None that a valid timer gives.
    pub fn arm_every_ns(&self, period_ns: u64) -> io::Result<()> {
        sys::timer_set(self.as_fd(), false, period_ns.max(1), period_ns.max(1))
    }

    /// Fires no more, and what has fired and was not taken is forgotten.
    ///
    /// # Errors
    ///
    /// None that a valid timer gives.
    #[inline]
    pub fn disarm(&self) -> io::Result<()> {
        sys::timer_set(self.as_fd(), false, 0, 0)
    }

    /// Nanoseconds until it fires; `None` where it is disarmed or has fired once for all.
    ///
    /// # Errors
    ///
    /// None that a valid timer gives.
    pub fn remaining_ns(&self) -> io::Result<Option<u64>> {
        Ok(Some(sys::timer_remaining_ns(self.as_fd())?).filter(|&ns| ns > 0))
    }

    /// How often it has fired since this was asked last, 0 where it has not; the descriptor is no longer readable.
    ///
    /// # Errors
    ///
    /// None that a valid timer gives.
    #[inline]
    pub fn take(&self) -> io::Result<u64> {
        match sys::timer_read(self.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            answer => answer,
        }
    }
}

impl AsFd for TimerFd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for TimerFd {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::monotonic_ns;
    use super::*;
    use crate::sys::stream::poll_once;

    fn fires_within(timer: &TimerFd, timeout_ms: i32) -> bool {
        poll_once(timer.as_fd(), libc::POLLIN, timeout_ms).unwrap() != 0
    }

    #[test]
    fn a_timer_fires_at_its_deadline_and_not_before() {
        let timer = TimerFd::new().unwrap();
        for delay_ns in [1_u64, 250_000, 3_000_000] {
            let start = monotonic_ns();
            timer.arm_at_ns(start + delay_ns).unwrap();
            assert!(fires_within(&timer, 5000));
            assert!(monotonic_ns() - start >= delay_ns);
            assert_eq!((timer.take().unwrap(), timer.take().unwrap()), (1, 0));
            assert_eq!(timer.remaining_ns().unwrap(), None);
        }
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once_and_a_disarmed_timer_never() {
        let timer = TimerFd::new().unwrap();
        timer.arm_at_ns(0).unwrap();
        assert!(fires_within(&timer, 5000));
        timer.disarm().unwrap();
        assert!(!fires_within(&timer, 0));
        timer.arm_after_ns(3_600_000_000_000).unwrap();
        assert!(timer.remaining_ns().unwrap().unwrap() > 3_599_000_000_000);
        assert!(!fires_within(&timer, 0));
    }

    #[test]
    fn a_period_counts_what_was_missed() {
        let timer = TimerFd::new().unwrap();
        timer.arm_every_ns(1_000_000).unwrap();
        let deadline = monotonic_ns() + 5_000_000_000;
        let mut fired = 0;
        while fired < 5 && monotonic_ns() < deadline {
            assert!(fires_within(&timer, 5000));
            fired += timer.take().unwrap();
        }
        assert!(fired >= 5);
    }

    #[test]
    fn a_deadline_beyond_the_clock_is_far_away_not_now() {
        let timer = TimerFd::new().unwrap();
        timer.arm_at_ns(u64::MAX).unwrap();
        assert!(!fires_within(&timer, 0));
    }
}
