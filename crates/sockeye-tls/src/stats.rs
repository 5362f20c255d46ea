//! What became of handshakes: counters that any thread can read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what became of the connections of one or several TLS services; a clone counts into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct TlsCounters(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    begun: AtomicU64,
    completed: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    given_up: AtomicU64,
    plain_http: AtomicU64,
    truncated: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStats {
    /// Handshakes begun.
    pub begun: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of the completed, those that resumed a session.
    pub resumed: u64,
    /// Handshakes that ended by an error: no agreement, a certificate, something that is no TLS, an end in the middle.
    pub failed: u64,
    /// Of the failed, those that were not complete in time.
    pub timed_out: u64,
    /// Of the failed, those given up as the oldest of too many.
    pub given_up: u64,
    /// Of the failed, peers that spoke plain HTTP.
    pub plain_http: u64,
    /// Connections that stood and ended without `close_notify`.
    pub truncated: u64,
}

/// Which counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Count {
    Begun,
    Completed,
    Resumed,
    Failed,
    TimedOut,
    GivenUp,
    PlainHttp,
    Truncated,
}

impl TlsCounters {
    /// The numbers now.
    #[must_use]
    pub fn read(&self) -> TlsStats {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let all = &*self.0;
        TlsStats {
            begun: value(&all.begun),
            completed: value(&all.completed),
            resumed: value(&all.resumed),
            failed: value(&all.failed),
            timed_out: value(&all.timed_out),
            given_up: value(&all.given_up),
            plain_http: value(&all.plain_http),
            truncated: value(&all.truncated),
        }
    }

    pub(crate) fn add(&self, which: Count) {
        let all = &*self.0;
        let counter = match which {
            Count::Begun => &all.begun,
            Count::Completed => &all.completed,
            Count::Resumed => &all.resumed,
            Count::Failed => &all.failed,
            Count::TimedOut => &all.timed_out,
            Count::GivenUp => &all.given_up,
            Count::PlainHttp => &all.plain_http,
            Count::Truncated => &all.truncated,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
