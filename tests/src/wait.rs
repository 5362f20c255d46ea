//! Waiting, always with a deadline.
//!
//! A test that waits for a condition names it, so that a timeout reads as a sentence.

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// How long a test waits for something that ought to come at once. Long, because a loaded machine is slow
/// and a green test never waits this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within `limit`, naming `what`.
#[track_caller]
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    value(what, limit, || condition().then_some(()));
}

/// Waits until `attempt` yields a value.
///
/// # Panics
/// When it does not within `limit`, naming `what`.
#[track_caller]
pub fn value<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(PAUSE);
    }
}

/// What [`ready`] waits for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Data, end of file, or an error to be read.
    Readable,
    /// Room to send, or an error.
    Writable,
    /// Something in the socket's error queue.
    Error,
}

/// Waits until the descriptor is ready; `false` when `limit` passed first.
///
/// # References
/// poll(2).
#[doc(alias = "poll")]
pub fn ready(descriptor: &impl AsFd, readiness: Readiness, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    let wanted = match readiness {
        Readiness::Readable => libc::POLLIN,
        Readiness::Writable => libc::POLLOUT,
        // Always reported, never asked for.
        Readiness::Error => 0,
    };
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut entry = libc::pollfd {
            fd: descriptor.as_fd().as_raw_fd(),
            events: wanted,
            revents: 0,
        };
        // One more millisecond than is left: rounding down would spin through the last one.
        let timeout_ms = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        // SAFETY: one pollfd, alive and exclusively borrowed for the call, and its length is one.
        #[expect(unsafe_code, reason = "std has no poll for one descriptor")]
        let count = unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
        if count > 0 {
            return true;
        }
        // Zero is the timeout; -1 is a signal, after which the time that is left counts.
        if Instant::now() >= end {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_value_that_comes_is_returned() {
        let mut looks = 0;
        let found = value("the third look", PATIENCE, || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "a miracle: not within 5ms")]
    fn a_condition_that_never_holds_fails_by_name() {
        until("a miracle", Duration::from_millis(5), || false);
    }

    #[test]
    fn a_descriptor_is_readable_once_something_came() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(!ready(&socket, Readiness::Readable, Duration::from_millis(5)));
        assert!(ready(&socket, Readiness::Writable, PATIENCE));
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert!(ready(&socket, Readiness::Readable, PATIENCE));
    }
}
