//! What a relay has done so far, as plain numbers to be read as a snapshot.

use crate::health::Condition;

/// A whole relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStats {
    /// Its listeners, those that only have sessions left among them.
    pub listeners: Vec<ListenerStats>,
    /// Its pools, likewise.
    pub pools: Vec<PoolStats>,
}

impl RelayStats {
    /// The listener of this name (or address).
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&ListenerStats> {
        self.listeners.iter().find(|listener| listener.name == name)
    }

    /// The pool of this name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&PoolStats> {
        self.pools.iter().find(|pool| pool.name == name)
    }
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Its name, or else its address.
    pub name: String,
    /// Sessions, or flows, that are open now.
    pub open: usize,
    /// What it has counted.
    pub counters: ListenerCounters,
}

/// What a listener counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerCounters {
    /// Sessions that came: connections, or flows of datagrams.
    pub sessions: u64,
    /// Of these, turned away because their source had as many as it may.
    pub too_many_of_source: u64,
    /// Of these, turned away by the program.
    pub not_admitted: u64,
    /// Connections that were reset for want of a PROXY header: from somebody who is not trusted, late, or ill-formed. They
    /// were no sessions.
    pub no_header: u64,
    /// Of the sessions, those that ended without ever having had a backend.
    pub unserved: u64,
    /// Sessions that are over.
    pub ended: u64,
    /// Of these, by a deadline: idle, half-closed or stalled. Of flows, all that were not ended by anything else.
    pub timed_out: u64,
    /// Flows that were given up for newer ones.
    pub given_up: u64,
    /// Flows that there was no socket for.
    pub no_socket: u64,
    /// Bytes from clients, of sessions that are over.
    pub bytes_in: u64,
    /// Bytes to clients, of sessions that are over.
    pub bytes_out: u64,
    /// Datagrams from clients.
    pub datagrams_in: u64,
    /// Datagrams to clients.
    pub datagrams_out: u64,
    /// Datagrams of either way that were dropped: no backend, no room.
    pub datagrams_dropped: u64,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Its name.
    pub name: String,
    /// Sessions that wait for a backend now.
    pub waiting: usize,
    /// What it has counted.
    pub counters: PoolCounters,
    /// Its backends, those that only have sessions left among them.
    pub backends: Vec<BackendStats>,
}

impl PoolStats {
    /// The backend of this name (or address).
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&BackendStats> {
        self.backends.iter().find(|backend| backend.name == name)
    }
}

/// What a pool counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolCounters {
    /// Sessions that got a backend.
    pub sessions: u64,
    /// Tries of another backend after one that failed.
    pub retries: u64,
    /// Sessions that ended because no connect succeeded.
    pub connects_failed: u64,
    /// Sessions that ended because no backend was up.
    pub all_down: u64,
    /// Sessions that ended because all backends, and the queue, were full.
    pub all_full: u64,
    /// Sessions that waited.
    pub queued: u64,
    /// Of these, that waited for too long.
    pub queue_timeouts: u64,
    /// Bytes from clients, of sessions that are over.
    pub bytes_in: u64,
    /// Bytes to clients, of sessions that are over.
    pub bytes_out: u64,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendStats {
    /// Its name, or else its address.
    pub name: String,
    /// Whether it gets sessions.
    pub condition: Condition,
    /// It was taken out of the configuration, and has sessions left.
    pub leaving: bool,
    /// Sessions that it has now, connects under way among them.
    pub open: u32,
    /// Addresses that it has now: none of a name that was not found yet.
    pub addresses: usize,
    /// What it has counted.
    pub counters: BackendCounters,
}

/// What a backend counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendCounters {
    /// Connects that succeeded, and flows.
    pub sessions: u64,
    /// Connects that failed.
    pub connects_failed: u64,
    /// Sessions that it ended without a byte: by a reset, or a refusal of datagrams.
    pub failed: u64,
    /// Times that it went down.
    pub downs: u64,
    /// Checks that passed.
    pub checks_passed: u64,
    /// Checks that failed.
    pub checks_failed: u64,
    /// Bytes to it, of sessions that are over.
    pub bytes_in: u64,
    /// Bytes from it, of sessions that are over.
    pub bytes_out: u64,
}
