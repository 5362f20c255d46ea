//! What a relay has done so far, as plain numbers to be read as a snapshot.

use std::collections::BTreeMap;
use std::ops::AddAssign;

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

    /// The same with each name once: a listener, pool or backend that has only sessions left may be called as one that came
    /// after it. Numbers are added up; the condition is that of the one that stays.
    #[must_use]
    pub fn by_name(mut self) -> Self {
        self.listeners = merged(self.listeners);
        self.pools = merged(self.pools);
        for pool in &mut self.pools {
            pool.backends = merged(std::mem::take(&mut pool.backends));
        }
        self
    }
}

/// What may be there twice.
trait Named {
    fn name(&self) -> &str;
    fn merge(&mut self, other: Self);
}

fn merged<T: Named>(all: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(all.len());
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for one in all {
        let same = places.get(one.name()).copied();
        match same.and_then(|place| kept.get_mut(place)) {
            Some(first) => first.merge(one),
            None => {
                places.insert(one.name().to_owned(), kept.len());
                kept.push(one);
            }
        }
    }
    kept
}

impl Named for ListenerStats {
    fn name(&self) -> &str {
        &self.name
    }

    fn merge(&mut self, other: Self) {
        self.open += other.open;
        self.counters += other.counters;
    }
}

impl Named for PoolStats {
    fn name(&self) -> &str {
        &self.name
    }

    fn merge(&mut self, other: Self) {
        self.waiting += other.waiting;
        self.counters += other.counters;
        self.backends.extend(other.backends);
    }
}

impl Named for BackendStats {
    fn name(&self) -> &str {
        &self.name
    }

    fn merge(&mut self, other: Self) {
        if self.leaving && !other.leaving {
            self.condition = other.condition;
            self.addresses = other.addresses;
            self.share_sixteenths = other.share_sixteenths;
            self.leaving = false;
        }
        self.open += other.open;
        self.counters += other.counters;
    }
}

/// One listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// How much of its share of the sessions it gets, in sixteenths: 0 while it is down, fewer than 16 while it starts slowly.
    pub share_sixteenths: u32,
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

impl AddAssign for ListenerCounters {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.too_many_of_source += other.too_many_of_source;
        self.not_admitted += other.not_admitted;
        self.no_header += other.no_header;
        self.unserved += other.unserved;
        self.ended += other.ended;
        self.timed_out += other.timed_out;
        self.given_up += other.given_up;
        self.no_socket += other.no_socket;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.datagrams_in += other.datagrams_in;
        self.datagrams_out += other.datagrams_out;
        self.datagrams_dropped += other.datagrams_dropped;
    }
}

impl AddAssign for PoolCounters {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.retries += other.retries;
        self.connects_failed += other.connects_failed;
        self.all_down += other.all_down;
        self.all_full += other.all_full;
        self.queued += other.queued;
        self.queue_timeouts += other.queue_timeouts;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

impl AddAssign for BackendCounters {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.connects_failed += other.connects_failed;
        self.failed += other.failed;
        self.downs += other.downs;
        self.checks_passed += other.checks_passed;
        self.checks_failed += other.checks_failed;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(leaving: bool, condition: Condition, sessions: u64) -> BackendStats {
        BackendStats {
            name: "b".to_owned(),
            condition,
            leaving,
            open: 1,
            share_sixteenths: if leaving { 0 } else { 16 },
            addresses: 1,
            counters: BackendCounters {
                sessions,
                ..BackendCounters::default()
            },
        }
    }

    #[test]
    fn those_of_one_name_are_one_and_the_one_that_stays_says_how_it_is() {
        let backends = vec![
            backend(true, Condition::Down, 3),
            backend(false, Condition::Up, 4),
        ];
        let pool = |backends| PoolStats {
            name: "p".to_owned(),
            waiting: 1,
            counters: PoolCounters::default(),
            backends,
        };
        let stats = RelayStats {
            listeners: Vec::new(),
            pools: vec![pool(backends), pool(vec![backend(true, Condition::Down, 5)])],
        };
        let stats = stats.by_name();
        assert_eq!((stats.pools.len(), stats.pools[0].waiting), (1, 2));
        let [one] = &*stats.pools[0].backends else {
            panic!("{stats:?}")
        };
        assert_eq!((one.condition, one.leaving, one.open), (Condition::Up, false, 3));
        assert_eq!((one.counters.sessions, one.share_sixteenths), (12, 16));
    }
}
