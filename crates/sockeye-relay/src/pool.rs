//! A pool at work: which of its backends gets a session, who waits, and what sessions and checks say of them. Pure; the time
//! is the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use sockeye_endpoint::{Address, Target, UnixName};
use sockeye_event_loop::Time;

use crate::balance::Balancer;
use crate::config::{BackendConfig, PoolConfig};
use crate::health::{Condition, Evidence, Health};
use crate::stats::{BackendCounters, BackendStats, PoolCounters, PoolStats};

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Unix(UnixName),
    /// In the order of preference; none of a name that is not known yet.
    Ip(Vec<SocketAddr>),
}

/// One backend, and what is known of it.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) label: Arc<str>,
    pub(crate) config: BackendConfig,
    /// Never the same again.
    pub(crate) serial: u64,
    pub(crate) place: Place,
    pub(crate) counters: BackendCounters,
    health: Health,
    sessions: u32,
    leaving: bool,
    counted_up: bool,
    /// When it changes by itself.
    due: Option<Time>,
}

/// Why there is nobody for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// No backend is up.
    Down,
    /// All that are up have as many sessions as they may.
    Full,
    /// All that are up were tried.
    Tried,
}

/// A backend went down or came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) backend: Arc<str>,
    pub(crate) condition: Condition,
}

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: Arc<str>,
    pub(crate) config: PoolConfig,
    pub(crate) counters: PoolCounters,
    backends: Slab<Backend>,
    balance: Balancer,
    /// Sessions that wait, in the order in which they came.
    waiting: BTreeMap<u64, usize>,
    tickets: u64,
    due: BTreeSet<(Time, usize)>,
    up: usize,
    changes: Vec<Change>,
}

impl Pool {
    pub(crate) fn new(config: PoolConfig, serials: &mut u64) -> Self {
        let mut pool = Self {
            name: config.name.as_str().into(),
            balance: Balancer::new(config.balance),
            counters: PoolCounters::default(),
            backends: Slab::new(),
            waiting: BTreeMap::new(),
            tickets: 0,
            due: BTreeSet::new(),
            up: 0,
            changes: Vec::new(),
            config: PoolConfig {
                backends: Vec::new(),
                ..config.clone()
            },
        };
        pool.reload(config, serials);
        pool
    }

    /// Takes over a new configuration. Backends that stay keep what is known of them; says which go.
    pub(crate) fn reload(&mut self, config: PoolConfig, serials: &mut u64) -> Vec<usize> {
        let mut old: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (key, backend) in &self.backends {
            if !backend.leaving {
                old.insert(Arc::clone(&backend.label), key);
            }
        }
        if config.balance != self.config.balance {
            self.balance = Balancer::new(config.balance);
        }
        for backend in &config.backends {
            let label: Arc<str> = backend.label().into();
            let kept = old.get(&label).copied().filter(|key| {
                self.backends
                    .get(*key)
                    .is_some_and(|kept| kept.config.at == backend.at)
            });
            if let Some(key) = kept {
                old.remove(&label);
                if let Some(kept) = self.backends.get_mut(key) {
                    kept.config = backend.clone();
                    kept.health.reload(&config.health);
                }
                continue;
            }
            *serials += 1;
            self.backends.insert(Backend {
                label,
                place: place_of(&backend.at),
                config: backend.clone(),
                serial: *serials,
                counters: BackendCounters::default(),
                health: Health::new(),
                sessions: 0,
                leaving: false,
                counted_up: false,
                due: None,
            });
        }
        self.config = config;
        let gone: Vec<usize> = old.into_values().collect();
        for key in &gone {
            self.leave(*key);
        }
        let keys: Vec<usize> = self.backends.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.refresh(key);
        }
        let table = self.backends.iter().filter(|(_, backend)| !backend.leaving);
        self.balance
            .set_table(table.map(|(key, backend)| (key, &*backend.label, backend.config.weight)));
        gone
    }

    fn leave(&mut self, key: usize) {
        if let Some(backend) = self.backends.get_mut(key) {
            backend.leaving = true;
            if backend.sessions == 0 {
                self.forget(key);
            }
        }
    }

    /// A backend that leaves has no sessions left.
    fn forget(&mut self, key: usize) {
        self.refresh(key);
        if let Some(backend) = self.backends.try_remove(key)
            && let Some(due) = backend.due
        {
            self.due.remove(&(due, key));
        }
    }

    /// Every backend is to go: the pool is not in the configuration any more.
    pub(crate) fn leave_all(&mut self) -> Vec<usize> {
        let keys: Vec<usize> = self.backends.iter().map(|(key, _)| key).collect();
        for key in &keys {
            self.leave(*key);
        }
        keys
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.backends.is_empty() && self.waiting.is_empty()
    }

    pub(crate) fn backend(&self, key: usize) -> Option<&Backend> {
        self.backends.get(key)
    }

    pub(crate) fn backend_mut(&mut self, key: usize) -> Option<&mut Backend> {
        self.backends.get_mut(key)
    }

    pub(crate) fn backends(&self) -> impl Iterator<Item = (usize, &Backend)> {
        self.backends.iter().filter(|(_, backend)| !backend.leaving)
    }

    /// Takes a backend for a session of that source, of those that it has not tried: it has a session more from now on.
    pub(crate) fn pick(&mut self, now: Time, source: u64, tried: &[usize]) -> Result<usize, Nobody> {
        self.advance(now);
        let Some(key) = self.balance.next(source, tried) else {
            return Err(match (self.up, tried) {
                (0, _) => Nobody::Down,
                (_, []) => Nobody::Full,
                (_, _) => Nobody::Tried,
            });
        };
        self.balance.picked(key);
        if let Some(backend) = self.backends.get_mut(key) {
            backend.sessions += 1;
        }
        self.refresh(key);
        Ok(key)
    }

    /// A session is over, or a connect came to nothing: the backend has one less.
    pub(crate) fn release(&mut self, key: usize) {
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        backend.sessions = backend.sessions.saturating_sub(1);
        if backend.leaving && backend.sessions == 0 {
            return self.forget(key);
        }
        self.refresh(key);
    }

    /// A session said something of the backend.
    pub(crate) fn session(&mut self, key: usize, evidence: Evidence, now: Time) {
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        let changed = backend.health.session(evidence, &self.config.health, now);
        self.changed(key, changed);
    }

    /// A check passed or failed.
    pub(crate) fn checked(&mut self, key: usize, passed: bool, now: Time) {
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        let count = if passed {
            &mut backend.counters.checks_passed
        } else {
            &mut backend.counters.checks_failed
        };
        *count += 1;
        let changed = backend.health.checked(passed, &self.config.health, now);
        self.changed(key, changed);
    }

    /// The addresses of a name.
    pub(crate) fn set_addresses(&mut self, target: &Target, addresses: &[SocketAddr]) {
        let of_name = |backend: &Backend| matches!(&backend.config.at, Address::Ip { endpoint, .. } if endpoint == target);
        let named = self.backends.iter().filter(|(_, backend)| of_name(backend));
        let keys: Vec<usize> = named.map(|(key, _)| key).collect();
        for key in keys {
            if let Some(backend) = self.backends.get_mut(key) {
                backend.place = Place::Ip(addresses.to_vec());
            }
            self.refresh(key);
        }
    }

    /// Backends whose time has come change by themselves.
    pub(crate) fn advance(&mut self, now: Time) {
        while let Some(&(due, key)) = self.due.first() {
            if due > now {
                return;
            }
            self.due.pop_first();
            let Some(backend) = self.backends.get_mut(key) else {
                continue;
            };
            backend.due = None;
            let changed = backend.health.advance(&self.config.health, now);
            self.changed(key, changed);
        }
    }

    /// When [`advance`](Self::advance) has something to do, if ever.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Backends that went down or came back since it was asked last.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A session waits: its ticket. `None` if there is no room.
    pub(crate) fn wait(&mut self, session: usize) -> Option<u64> {
        if self.waiting.len() >= self.config.queue.max {
            return None;
        }
        self.tickets += 1;
        self.counters.queued += 1;
        self.waiting.insert(self.tickets, session);
        Some(self.tickets)
    }

    pub(crate) fn stop_waiting(&mut self, ticket: u64) {
        self.waiting.remove(&ticket);
    }

    /// Who has waited the longest, and waits no more.
    pub(crate) fn next_waiting(&mut self) -> Option<usize> {
        self.waiting.pop_first().map(|(_, session)| session)
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether somebody would be picked, whoever asks.
    pub(crate) fn has_room(&self) -> bool {
        self.balance.next(0, &[]).is_some()
    }

    pub(crate) fn queue_deadline(&self) -> Duration {
        self.config.queue.deadline
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let backends = self.backends.iter().map(|(_, backend)| BackendStats {
            name: backend.label.to_string(),
            condition: backend.health.condition(),
            leaving: backend.leaving,
            open: backend.sessions,
            share_sixteenths: backend.health.share(),
            addresses: match &backend.place {
                Place::Unix(_) => 1,
                Place::Ip(addresses) => addresses.len(),
            },
            counters: backend.counters,
        });
        PoolStats {
            name: self.name.to_string(),
            waiting: self.waiting.len(),
            counters: self.counters,
            backends: backends.collect(),
        }
    }

    fn changed(&mut self, key: usize, changed: bool) {
        self.refresh(key);
        let Some(backend) = self.backends.get_mut(key).filter(|_| changed) else {
            return;
        };
        let condition = backend.health.condition();
        if condition == Condition::Down {
            backend.counters.downs += 1;
        }
        self.changes.push(Change {
            backend: Arc::clone(&backend.label),
            condition,
        });
    }

    /// Tells the balance, and the table of what is due, how a backend is now.
    fn refresh(&mut self, key: usize) {
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        let reachable = match &backend.place {
            Place::Unix(_) => true,
            Place::Ip(addresses) => !addresses.is_empty(),
        };
        let share = backend.config.weight * backend.health.share();
        let up = reachable && !backend.leaving && share > 0;
        let has_room = backend
            .config
            .max_sessions
            .is_none_or(|most| backend.sessions < most);
        if up != backend.counted_up {
            backend.counted_up = up;
            self.up = if up { self.up + 1 } else { self.up - 1 };
        }
        let due = backend
            .health
            .next(&self.config.health)
            .filter(|_| !backend.leaving);
        if due != backend.due {
            if let Some(old) = backend.due {
                self.due.remove(&(old, key));
            }
            backend.due = due;
            self.due.extend(due.map(|due| (due, key)));
        }
        let weight = if up && has_room { share } else { 0 };
        self.balance.set(key, weight, backend.sessions);
    }
}

/// The place of a backend that needs no lookup; none yet of a name.
fn place_of(at: &Address<Target>) -> Place {
    match at {
        Address::Unix(name) => Place::Unix(*name),
        Address::Ip { endpoint, .. } => {
            let known = endpoint
                .endpoint()
                .and_then(|endpoint| endpoint.socket_addr().ok());
            Place::Ip(known.into_iter().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Balance, HealthRules, QueueRules};

    fn config(backends: &[&str]) -> PoolConfig {
        PoolConfig::new("pool", backends.iter().map(|at| at.parse().unwrap()))
    }

    fn pool(config: PoolConfig) -> Pool {
        Pool::new(config, &mut 0)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn down_full_and_tried_are_told_apart() {
        let mut config = config(&["tcp://192.0.2.1:80", "tcp://192.0.2.2:80"]);
        config
            .backends
            .iter_mut()
            .for_each(|backend| backend.max_sessions = Some(1));
        config.health.failures = 1;
        let mut pool = pool(config);
        let one = pool.pick(at(0), 0, &[]).unwrap();
        let two = pool.pick(at(0), 0, &[one]).unwrap();
        assert_eq!(pool.pick(at(0), 0, &[]), Err(Nobody::Full));
        pool.release(one);
        assert_eq!(pool.pick(at(0), 0, &[one]), Err(Nobody::Tried));
        pool.session(one, Evidence::Failed, at(0));
        pool.session(two, Evidence::Failed, at(0));
        assert_eq!(pool.pick(at(1), 0, &[]), Err(Nobody::Down));
        assert_eq!(pool.next_due(), Some(at(10)));
        assert_eq!(pool.pick(at(10), 0, &[]), Ok(one), "it is back by itself");
        let changes: Vec<_> = pool
            .take_changes()
            .into_iter()
            .map(|change| change.condition)
            .collect();
        assert_eq!(
            changes,
            [Condition::Down, Condition::Down, Condition::Up, Condition::Up]
        );
    }

    #[test]
    fn a_name_is_nobody_until_it_has_an_address() {
        let mut pool = pool(config(&["backend.example:80"]));
        assert_eq!(pool.pick(at(0), 0, &[]), Err(Nobody::Down));
        let addresses = ["192.0.2.1:80".parse().unwrap(), "192.0.2.2:80".parse().unwrap()];
        pool.set_addresses(&"other.example:80".parse().unwrap(), &addresses);
        assert_eq!(pool.pick(at(0), 0, &[]), Err(Nobody::Down));
        pool.set_addresses(&"backend.example:80".parse().unwrap(), &addresses);
        let key = pool.pick(at(0), 0, &[]).unwrap();
        assert_eq!(pool.backend(key).unwrap().place, Place::Ip(addresses.to_vec()));
    }

    #[test]
    fn a_reload_keeps_who_stays_and_lets_sessions_end_on_who_goes() {
        let mut serials = 0;
        let both = config(&["tcp://192.0.2.1:80", "tcp://192.0.2.2:80"]);
        let mut pool = Pool::new(both, &mut serials);
        let one = pool.pick(at(0), 0, &[]).unwrap();
        let two = pool.pick(at(0), 0, &[]).unwrap();
        assert_eq!(
            pool.reload(
                config(&["tcp://192.0.2.2:80", "tcp://192.0.2.3:80"]),
                &mut serials
            ),
            [one]
        );
        assert_eq!(pool.stats().backends.len(), 3);
        let mut next: Vec<usize> = (0..4).map(|_| pool.pick(at(0), 0, &[]).unwrap()).collect();
        assert!(!next.contains(&one) && next.contains(&two), "{next:?}");
        pool.release(one);
        assert_eq!(pool.stats().backends.len(), 2, "the last session has gone");
        next.push(two);
        next.into_iter().for_each(|key| pool.release(key));
        assert_eq!(pool.leave_all().len(), 2);
        assert!(pool.is_empty());
    }

    #[test]
    fn a_changed_address_under_the_same_name_is_another_backend() {
        let mut serials = 0;
        let named = |at: &str| {
            let mut config = config(&[at]);
            config.backends[0].name = Some("one".to_owned());
            config
        };
        let mut pool = Pool::new(named("tcp://192.0.2.1:80"), &mut serials);
        let old = pool.pick(at(0), 0, &[]).unwrap();
        assert_eq!(pool.reload(named("tcp://192.0.2.2:80"), &mut serials), [old]);
        let new = pool.pick(at(0), 0, &[]).unwrap();
        assert_ne!(
            pool.backend(new).unwrap().serial,
            pool.backend(old).unwrap().serial
        );
    }

    #[test]
    fn the_queue_is_first_in_first_out_and_bounded() {
        let mut config = config(&["tcp://192.0.2.1:80"]);
        config.queue = QueueRules {
            max: 2,
            ..QueueRules::default()
        };
        let mut pool = pool(config);
        let first = pool.wait(10).unwrap();
        assert!(pool.wait(11).is_some());
        assert_eq!(pool.wait(12), None);
        pool.stop_waiting(first);
        assert!(pool.wait(12).is_some());
        assert_eq!(
            [pool.next_waiting(), pool.next_waiting(), pool.next_waiting()],
            [Some(11), Some(12), None]
        );
    }

    #[test]
    fn who_is_back_gets_a_growing_share() {
        let mut config = config(&["tcp://192.0.2.1:80", "tcp://192.0.2.2:80"]);
        config.health = HealthRules {
            failures: 1,
            out: Duration::from_secs(1),
            slow_start: Duration::from_secs(16),
            ..HealthRules::default()
        };
        let mut pool = pool(config);
        pool.session(1, Evidence::Failed, at(0));
        let share = |pool: &mut Pool, now| (0..170).filter(|_| pool.pick(now, 0, &[]) == Ok(1)).count();
        assert_eq!(share(&mut pool, at(0)), 0);
        assert_eq!(share(&mut pool, at(1)), 10, "one sixteenth to sixteen");
        assert!((54..=58).contains(&share(&mut pool, at(8))), "eight sixteenths");
        assert!((84..=86).contains(&share(&mut pool, at(100))));
        assert_eq!(pool.next_due(), None);
    }

    /// Its cost is what is shown by `cargo xtask bench growth`; here, that nothing is wrong at that size.
    #[test]
    fn ten_thousand_backends() {
        for balance in [Balance::RoundRobin, Balance::LeastSessions, Balance::SourceHash] {
            let all: Vec<String> = (0..10_000)
                .map(|n| format!("tcp://10.1.{}.{}:80", n / 256, n % 256))
                .collect();
            let mut config = config(&all.iter().map(String::as_str).collect::<Vec<_>>());
            config.balance = balance;
            let mut pool = pool(config);
            for source in 0..30_000 {
                pool.pick(at(0), source, &[]).unwrap();
            }
            let open: Vec<u32> = pool.stats().backends.iter().map(|backend| backend.open).collect();
            let most = open.iter().max().unwrap();
            if balance == Balance::SourceHash {
                assert!(*most < 30, "{most}");
            } else {
                assert_eq!((open.iter().min(), *most), (Some(&3), 3), "{balance}");
            }
        }
    }
}
