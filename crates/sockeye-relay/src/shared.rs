//! What streams and datagrams of a relay share: its listeners, pools and sources, and the accounts of each visit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use slab::Slab;
use sockeye_event_loop::{ConnectFailure, DatagramId, ListenerId, Time};

use crate::config::ListenerConfig;
use crate::health::Evidence;
use crate::pool::Pool;
use crate::record::{Arrival, Cause, Hooks, SessionEnd, SessionRecord, TurnedAway};
use crate::sources::{Source, Sources, hash_of};
use crate::stats::{ListenerCounters, ListenerStats, RelayStats};
use crate::tls::Tls;

/// A listener's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Streams(ListenerId),
    Datagrams(DatagramId),
    /// It takes nobody any more.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) label: Arc<str>,
    pub(crate) config: ListenerConfig,
    pub(crate) socket: Opened,
    pub(crate) open: usize,
    pub(crate) counters: ListenerCounters,
    /// Not in the configuration any more, or the relay drains.
    pub(crate) leaving: bool,
}

/// A session or a flow, as far as the two are the same.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) listener: usize,
    pub(crate) client: Option<SocketAddr>,
    source: Option<Source>,
    pub(crate) hash: u64,
    pub(crate) pool: usize,
    /// The backend that it has now.
    pub(crate) backend: Option<usize>,
    /// The one that it has, or tried last.
    label: Option<Arc<str>>,
    pub(crate) attempts: u32,
    began: Time,
    /// Since when it has a backend that answers.
    served: Option<Time>,
    pub(crate) from_client: u64,
    pub(crate) from_backend: u64,
    /// Why it is over.
    pub(crate) end: Option<SessionEnd>,
    /// What became of its last connect, if that failed.
    pub(crate) failure: Option<Arc<ConnectFailure>>,
}

impl Visit {
    /// Why it ends; the first reason holds.
    pub(crate) fn ends(&mut self, end: SessionEnd) {
        self.end.get_or_insert(end);
    }

    pub(crate) fn is_served(&self) -> bool {
        self.served.is_some()
    }

    /// What it says of its backend.
    fn evidence(&self) -> Option<Evidence> {
        self.served?;
        match self.end {
            Some(SessionEnd::BackendReset) if self.from_backend == 0 => Some(Evidence::Failed),
            None | Some(SessionEnd::Done) => Some(Evidence::Worked),
            Some(_) => (self.from_backend > 0).then_some(Evidence::Worked),
        }
    }
}

/// Maps are ordered, so that a simulated run does the same each time.
pub(crate) struct Shared {
    pub(crate) listeners: Slab<Listener>,
    pub(crate) pools: Slab<Pool>,
    /// Pools of the configuration, by their names.
    pub(crate) by_name: BTreeMap<Arc<str>, usize>,
    /// Backends of the configuration, by what is never the same again: pool and key.
    pub(crate) by_serial: BTreeMap<u64, (usize, usize)>,
    pub(crate) serials: u64,
    pub(crate) sources: Sources,
    pub(crate) hooks: Box<dyn Hooks>,
    pub(crate) draining: bool,
    pub(crate) tls: Tls,
}

impl Shared {
    pub(crate) fn new(hooks: Box<dyn Hooks>) -> Self {
        Self {
            listeners: Slab::new(),
            pools: Slab::new(),
            by_name: BTreeMap::new(),
            by_serial: BTreeMap::new(),
            serials: 0,
            sources: Sources::default(),
            hooks,
            draining: false,
            tls: Tls::default(),
        }
    }

    /// Somebody comes in by a listener. A visit that has ended already was turned away.
    pub(crate) fn arrive(
        &mut self,
        key: usize,
        client: Option<SocketAddr>,
        else_by: u64,
        now: Time,
    ) -> Option<Visit> {
        let listener = self.listeners.get_mut(key)?;
        // One that leaves may be for a pool that has gone before it.
        let pool = self.by_name.get(listener.config.to.as_str()).copied()?;
        listener.open += 1;
        listener.counters.sessions += 1;
        let ip = client.map(|client| client.ip());
        let mut visit = Visit {
            listener: key,
            client,
            source: None,
            hash: hash_of(ip, else_by),
            pool,
            backend: None,
            label: None,
            attempts: 0,
            began: now,
            served: None,
            from_client: 0,
            from_backend: 0,
            end: None,
            failure: None,
        };
        let arrival = Arrival {
            listener: &listener.label,
            client,
        };
        if listener.leaving {
            visit.ends(SessionEnd::Drained);
        } else if !self.hooks.admit(arrival) {
            listener.counters.not_admitted += 1;
            visit.ends(SessionEnd::NotAdmitted);
        } else {
            match self.sources.open(ip) {
                Ok(source) => visit.source = source,
                Err(_) => {
                    listener.counters.too_many_of_source += 1;
                    visit.ends(SessionEnd::TooManyOfSource);
                }
            }
        }
        Some(visit)
    }

    /// Tells the program of a connection that is to be no session.
    pub(crate) fn turned_away(&mut self, listener: usize, client: Option<SocketAddr>, cause: &Cause) {
        if let Some(listener) = self.listeners.get(listener) {
            let listener = &listener.label;
            self.hooks.on_turned_away(&TurnedAway {
                listener,
                client,
                cause,
            });
        }
    }

    /// Which listener has that socket.
    pub(crate) fn listener_at(&self, id: ListenerId) -> Option<usize> {
        // There are few listeners.
        let mut listeners = self.listeners.iter();
        listeners
            .find(|(_, listener)| listener.socket == Opened::Streams(id))
            .map(|(key, _)| key)
    }

    /// Which listener has that socket of datagrams.
    pub(crate) fn listener_on(&self, id: DatagramId) -> Option<usize> {
        let mut listeners = self.listeners.iter();
        listeners
            .find(|(_, listener)| listener.socket == Opened::Datagrams(id))
            .map(|(key, _)| key)
    }

    /// The visit has a backend that is to be tried.
    pub(crate) fn tries(&mut self, visit: &mut Visit, backend: usize) {
        visit.backend = Some(backend);
        visit.attempts += 1;
        if let Some(pool) = self.pools.get_mut(visit.pool) {
            visit.label = pool.backend(backend).map(|backend| Arc::clone(&backend.label));
            if visit.attempts > 1 {
                pool.counters.retries += 1;
            }
        }
    }

    /// The backend was reached.
    pub(crate) fn serves(&mut self, visit: &mut Visit, now: Time) {
        visit.served = Some(now);
        visit.failure = None;
        let Some(pool) = self.pools.get_mut(visit.pool) else {
            return;
        };
        pool.counters.sessions += 1;
        let Some(key) = visit.backend else { return };
        if let Some(backend) = pool.backend_mut(key) {
            backend.counters.sessions += 1;
        }
        pool.session(key, Evidence::Connected, now);
    }

    /// The backend was not reached.
    pub(crate) fn not_reached(&mut self, visit: &mut Visit, is_its_fault: bool, now: Time) {
        let Some(key) = visit.backend.take() else { return };
        if let Some(pool) = self.pools.get_mut(visit.pool) {
            if is_its_fault {
                if let Some(backend) = pool.backend_mut(key) {
                    backend.counters.connects_failed += 1;
                }
                pool.session(key, Evidence::NotConnected, now);
            }
            pool.release(key);
        }
        self.tell_changes(visit.pool);
    }

    /// The visit is over: everything is counted, given back and told.
    pub(crate) fn leave(&mut self, mut visit: Visit, now: Time) {
        let evidence = visit.evidence();
        let end = *visit.end.get_or_insert(SessionEnd::Done);
        self.sources.close(visit.source.take());
        let mut pool_name: Arc<str> = Arc::from("");
        if let Some(pool) = self.pools.get_mut(visit.pool) {
            pool_name = Arc::clone(&pool.name);
            let counters = &mut pool.counters;
            counters.bytes_in += visit.from_client;
            counters.bytes_out += visit.from_backend;
            match end {
                SessionEnd::AllDown => counters.all_down += 1,
                SessionEnd::AllFull => counters.all_full += 1,
                SessionEnd::ConnectFailed => counters.connects_failed += 1,
                SessionEnd::QueueTimeout => counters.queue_timeouts += 1,
                _ => {}
            }
            if let Some(key) = visit.backend {
                if let Some(backend) = pool.backend_mut(key) {
                    backend.counters.bytes_in += visit.from_client;
                    backend.counters.bytes_out += visit.from_backend;
                    backend.counters.failed += u64::from(evidence == Some(Evidence::Failed));
                }
                if let Some(evidence) = evidence {
                    pool.session(key, evidence, now);
                }
                pool.release(key);
            }
        }
        self.tell_changes(visit.pool);
        let Some(listener) = self.listeners.get_mut(visit.listener) else {
            return;
        };
        listener.open = listener.open.saturating_sub(1);
        let counters = &mut listener.counters;
        counters.ended += 1;
        counters.unserved += u64::from(visit.served.is_none());
        counters.bytes_in += visit.from_client;
        counters.bytes_out += visit.from_backend;
        match end {
            SessionEnd::Idle | SessionEnd::HalfClosed | SessionEnd::Stalled => counters.timed_out += 1,
            SessionEnd::GivenUp => counters.given_up += 1,
            _ => {}
        }
        let record = SessionRecord {
            listener: Arc::clone(&listener.label),
            client: visit.client,
            pool: pool_name,
            backend: visit.label,
            attempts: visit.attempts,
            from_client: visit.from_client,
            from_backend: visit.from_backend,
            waited: visit.served.unwrap_or(now).since(visit.began),
            lasted: now.since(visit.began),
            end,
            failure: visit.failure,
        };
        self.hooks.on_session(&record);
        self.tidy(visit.listener, visit.pool);
    }

    /// Forgets a listener and a pool that are not in the configuration any more and have nothing left.
    pub(crate) fn tidy(&mut self, listener: usize, pool: usize) {
        let is_over =
            |listener: &Listener| listener.leaving && listener.open == 0 && listener.socket == Opened::Closed;
        if !self.draining && self.listeners.get(listener).is_some_and(is_over) {
            self.listeners.remove(listener);
        }
        if let Some(old) = self.pools.get(pool)
            && old.is_empty()
            && self.by_name.get(&old.name) != Some(&pool)
            && !self
                .listeners
                .iter()
                .any(|(_, listener)| listener.open > 0 && *listener.config.to == *old.name)
        {
            self.pools.remove(pool);
        }
    }

    /// Tells the program which backends went down or came back.
    pub(crate) fn tell_changes(&mut self, pool: usize) {
        let Some(pool) = self.pools.get_mut(pool) else {
            return;
        };
        for change in pool.take_changes() {
            self.hooks
                .on_backend(&pool.name, &change.backend, change.condition);
        }
    }

    pub(crate) fn stats(&self) -> RelayStats {
        let listeners = self.listeners.iter().map(|(_, listener)| ListenerStats {
            name: listener.label.to_string(),
            open: listener.open,
            counters: listener.counters,
        });
        RelayStats {
            listeners: listeners.collect(),
            pools: self.pools.iter().map(|(_, pool)| pool.stats()).collect(),
        }
    }
}
