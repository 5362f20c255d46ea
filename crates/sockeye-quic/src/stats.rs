//! What became of connections: counters that any thread can read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what became of the connections of one or several QUIC services; a clone counts into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct QuicCounters(Arc<[AtomicU64; COUNTS]>);

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuicStats {
    /// Handshakes begun.
    pub begun: u64,
    /// Of these, completed.
    pub completed: u64,
    /// Of the begun, those that came to nothing.
    pub failed: u64,
    /// Of the failed, those that were not complete in time.
    pub timed_out: u64,
    /// Of the failed, those given up as the oldest of too many.
    pub given_up: u64,
    /// Clients that were refused, for want of a place or by the closure that admits.
    pub refused: u64,
    /// Clients that were asked to show that they receive what is sent to their address.
    pub retried: u64,
    /// Completed connections that ended by an error.
    pub lost: u64,
    /// Streams opened, by either side.
    pub streams: u64,
    /// Unreliable datagrams received.
    pub datagrams_in: u64,
    /// Unreliable datagrams that were taken for sending.
    pub datagrams_out: u64,
    /// UDP datagrams received.
    pub udp_in: u64,
    /// UDP datagrams sent.
    pub udp_out: u64,
    /// Batches of UDP datagrams sent: `udp_out` by this is how far they were coalesced.
    pub batches_out: u64,
}

/// Which counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Count {
    Begun,
    Completed,
    Failed,
    TimedOut,
    GivenUp,
    Refused,
    Retried,
    Lost,
    Streams,
    DatagramsIn,
    DatagramsOut,
    UdpIn,
    UdpOut,
    BatchesOut,
}

const COUNTS: usize = Count::BatchesOut as usize + 1;

impl QuicCounters {
    /// The numbers now.
    #[must_use]
    pub fn read(&self) -> QuicStats {
        let of = |which: Count| self.0[which as usize].load(Ordering::Relaxed);
        QuicStats {
            begun: of(Count::Begun),
            completed: of(Count::Completed),
            failed: of(Count::Failed),
            timed_out: of(Count::TimedOut),
            given_up: of(Count::GivenUp),
            refused: of(Count::Refused),
            retried: of(Count::Retried),
            lost: of(Count::Lost),
            streams: of(Count::Streams),
            datagrams_in: of(Count::DatagramsIn),
            datagrams_out: of(Count::DatagramsOut),
            udp_in: of(Count::UdpIn),
            udp_out: of(Count::UdpOut),
            batches_out: of(Count::BatchesOut),
        }
    }

    pub(crate) fn add(&self, which: Count) {
        self.add_many(which, 1);
    }

    pub(crate) fn add_many(&self, which: Count, many: u64) {
        self.0[which as usize].fetch_add(many, Ordering::Relaxed);
    }
}
