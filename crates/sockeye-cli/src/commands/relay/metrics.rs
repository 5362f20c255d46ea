//! What a relay tells at `--metrics`: the crate's counters, and what the records of sessions add up to.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sockeye::relay::{
    BackendCounters, BackendStats, Condition, ListenerCounters, ListenerStats, PoolCounters, PoolStats,
    RelayStats, SessionEnd, SessionRecord,
};

use crate::metrics::histogram::{Buckets, Histogram, LATENCY, SESSION};
use crate::metrics::{Exposition, In, ROWS, Snapshot, float};

/// What is counted beside the relay's own counters, once a session.
///
/// The lock is for the snapshot's sake, which another thread could make; as it is made on the loop, nobody ever waits for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    counted: Arc<Mutex<Counted>>,
    #[cfg(feature = "tls")]
    pub(super) handshakes: sockeye::tls::TlsCounters,
}

#[derive(Debug, Default)]
struct Counted {
    /// How listeners are called.
    names: BTreeMap<String, String>,
    listeners: BTreeMap<Arc<str>, Sessions>,
    /// From the arrival of a session until its backend was reached, by pool.
    connects: BTreeMap<Arc<str>, Histogram>,
    reloaded: u64,
    not_reloaded: u64,
}

#[derive(Debug)]
struct Sessions {
    lasted: Histogram,
    ends: BTreeMap<&'static str, u64>,
}

impl Accounts {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn session(&self, record: &SessionRecord) {
        let counted = &mut *self.counted();
        let sessions = counted
            .listeners
            .entry(Arc::clone(&record.listener))
            .or_insert_with(|| Sessions {
                lasted: Histogram::new(&SESSION),
                ends: BTreeMap::new(),
            });
        sessions.lasted.record(record.lasted);
        *sessions.ends.entry(record.end.name()).or_default() += 1;
        // One that never had a backend has waited until its end.
        if record.waited < record.lasted || record.end == SessionEnd::Done {
            let connects = counted.connects.entry(Arc::clone(&record.pool));
            connects
                .or_insert_with(|| Histogram::new(&LATENCY))
                .record(record.waited);
        }
    }

    pub(super) fn call(&self, names: &BTreeMap<String, String>) {
        self.counted().names.clone_from(names);
    }

    pub(super) fn reloaded(&self, is_done: bool) {
        let counted = &mut *self.counted();
        if is_done {
            counted.reloaded += 1;
        } else {
            counted.not_reloaded += 1;
        }
    }

    /// Everything now. Of listeners and pools that are gone nothing is kept.
    pub(super) fn snapshot(&self, mut stats: RelayStats) -> RelaySnapshot {
        let counted = &mut *self.counted();
        let names = stats.listeners.iter().map(|listener| listener.name.as_str());
        keep(&mut counted.listeners, names);
        keep(
            &mut counted.connects,
            stats.pools.iter().map(|pool| pool.name.as_str()),
        );
        let called = |label: &str| counted.names.get(label).map_or(label, String::as_str).to_owned();
        for listener in &mut stats.listeners {
            listener.name = called(&listener.name);
        }
        let sessions = counted.listeners.iter();
        RelaySnapshot {
            stats,
            lasted: sessions
                .clone()
                .map(|(name, sessions)| (called(name), sessions.lasted.read()))
                .collect(),
            ends: sessions
                .flat_map(|(name, sessions)| {
                    let name = called(name);
                    sessions
                        .ends
                        .iter()
                        .map(move |(end, count)| ((name.clone(), *end), *count))
                })
                .collect(),
            connects: counted
                .connects
                .iter()
                .map(|(name, connects)| (name.to_string(), connects.read()))
                .collect(),
            reloads: [("done", counted.reloaded), ("failed", counted.not_reloaded)],
            handshakes: self.handshakes(),
        }
    }

    #[cfg(feature = "tls")]
    fn handshakes(&self) -> Handshakes {
        let stats = self.handshakes.read();
        [
            ("completed", stats.completed),
            (
                "failed",
                stats.failed.saturating_sub(stats.timed_out + stats.given_up),
            ),
            ("timed-out", stats.timed_out),
            ("given-up", stats.given_up),
        ]
    }

    #[cfg(not(feature = "tls"))]
    fn handshakes(&self) -> Handshakes {
        ["completed", "failed", "timed-out", "given-up"].map(|result| (result, 0))
    }
}

/// Keeps what is of these names. There may be thousands, and the loop waits: each is looked at once.
fn keep<'a, T>(of: &mut BTreeMap<Arc<str>, T>, names: impl Iterator<Item = &'a str>) {
    let names: HashSet<&str> = names.collect();
    of.retain(|name, _| names.contains(&**name));
}

type Handshakes = [(&'static str, u64); 4];

/// A relay at one moment.
#[derive(Debug)]
pub(super) struct RelaySnapshot {
    stats: RelayStats,
    lasted: BTreeMap<String, Buckets>,
    ends: BTreeMap<(String, &'static str), u64>,
    connects: BTreeMap<String, Buckets>,
    reloads: [(&'static str, u64); 2],
    handshakes: Handshakes,
}

type Of<T> = (&'static str, In, &'static str, fn(&T) -> u64);

const OF_LISTENERS: &[Of<ListenerCounters>] = &[
    (
        "sockeye_relay_sessions",
        In::Nothing,
        "Sessions that came: connections, or flows of datagrams.",
        |of| of.sessions,
    ),
    (
        "sockeye_relay_unserved_sessions",
        In::Nothing,
        "Sessions that ended without a backend.",
        |of| of.unserved,
    ),
    (
        "sockeye_relay_refused_connections",
        In::Nothing,
        "Connections without a PROXY header that had to have one.",
        |of| of.no_header,
    ),
    (
        "sockeye_relay_received",
        In::Bytes,
        "Bytes from clients, of sessions that are over.",
        |of| of.bytes_in,
    ),
    (
        "sockeye_relay_sent",
        In::Bytes,
        "Bytes to clients, of sessions that are over.",
        |of| of.bytes_out,
    ),
    (
        "sockeye_relay_received_datagrams",
        In::Nothing,
        "Datagrams from clients.",
        |of| of.datagrams_in,
    ),
    (
        "sockeye_relay_sent_datagrams",
        In::Nothing,
        "Datagrams to clients.",
        |of| of.datagrams_out,
    ),
    (
        "sockeye_relay_dropped_datagrams",
        In::Nothing,
        "Datagrams of either way without a backend, or without room.",
        |of| of.datagrams_dropped,
    ),
];

const OF_POOLS: &[Of<PoolCounters>] = &[
    (
        "sockeye_relay_pool_sessions",
        In::Nothing,
        "Sessions that got a backend.",
        |of| of.sessions,
    ),
    (
        "sockeye_relay_pool_retries",
        In::Nothing,
        "Tries of another backend after one that failed.",
        |of| of.retries,
    ),
    (
        "sockeye_relay_pool_queued_sessions",
        In::Nothing,
        "Sessions that waited for a backend.",
        |of| of.queued,
    ),
    (
        "sockeye_relay_pool_received",
        In::Bytes,
        "Bytes from clients, of sessions that are over.",
        |of| of.bytes_in,
    ),
    (
        "sockeye_relay_pool_sent",
        In::Bytes,
        "Bytes to clients, of sessions that are over.",
        |of| of.bytes_out,
    ),
];

const OF_BACKENDS: &[Of<BackendCounters>] = &[
    (
        "sockeye_relay_backend_sessions",
        In::Nothing,
        "Connects that succeeded, and flows.",
        |of| of.sessions,
    ),
    (
        "sockeye_relay_backend_failed_connects",
        In::Nothing,
        "Connects that failed.",
        |of| of.connects_failed,
    ),
    (
        "sockeye_relay_backend_failed_sessions",
        In::Nothing,
        "Sessions that the backend ended without a byte.",
        |of| of.failed,
    ),
    (
        "sockeye_relay_backend_downs",
        In::Nothing,
        "Times that it went down.",
        |of| of.downs,
    ),
    (
        "sockeye_relay_backend_passed_checks",
        In::Nothing,
        "Checks that passed.",
        |of| of.checks_passed,
    ),
    (
        "sockeye_relay_backend_failed_checks",
        In::Nothing,
        "Checks that failed.",
        |of| of.checks_failed,
    ),
    (
        "sockeye_relay_backend_sent",
        In::Bytes,
        "Bytes to the backend, of sessions that are over.",
        |of| of.bytes_in,
    ),
    (
        "sockeye_relay_backend_received",
        In::Bytes,
        "Bytes from the backend, of sessions that are over.",
        |of| of.bytes_out,
    ),
];

type OfBackend = (&'static str, &'static str, fn(&BackendStats) -> f64);

const BACKENDS_NOW: &[OfBackend] = &[
    ("sockeye_relay_backend_up", "1 if it gets sessions.", |of| {
        f64::from(u8::from(of.condition == Condition::Up))
    }),
    (
        "sockeye_relay_backend_share",
        "The part of its weight that counts: below 1 while it starts slowly, 0 while it is down.",
        |of| f64::from(of.share_sixteenths) / 16.0,
    ),
    (
        "sockeye_relay_backend_open_sessions",
        "Sessions that it has now, connects under way among them.",
        |of| f64::from(of.open),
    ),
    (
        "sockeye_relay_backend_addresses",
        "Addresses that it has now; 0 of a name that was not found.",
        |of| float(of.addresses as u64),
    ),
];

impl Snapshot for RelaySnapshot {
    fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let stats = self.stats.clone().by_name();
        self.of_listeners(&stats, to)?;
        self.of_pools(&stats, to)?;
        of_backends(&stats, to)?;
        to.counters(
            ("sockeye_relay_reloads", In::Nothing),
            "Reloads of the configuration.",
            self.reloads.map(|(result, count)| ([("result", result)], count)),
        )?;
        to.counters(
            ("sockeye_relay_tls_handshakes", In::Nothing),
            "Handshakes of tls:// listeners and backends.",
            self.handshakes
                .map(|(result, count)| ([("result", result)], count)),
        )
    }

    fn status(&self) -> Value {
        let stats = self.stats.clone().by_name();
        let sum = |of: fn(&ListenerStats) -> u64| stats.listeners.iter().map(of).sum::<u64>();
        let totals = json!({
            "open": sum(|one| one.open as u64),
            "sessions": sum(|one| one.counters.sessions),
            "unserved": sum(|one| one.counters.unserved),
            "received_bytes": sum(|one| one.counters.bytes_in),
            "sent_bytes": sum(|one| one.counters.bytes_out),
        });
        let listeners: Vec<Value> = stats
            .listeners
            .iter()
            .take(ROWS)
            .map(|listener| {
                let of = &listener.counters;
                json!({
                    "name": listener.name,
                    "open": listener.open,
                    "sessions": of.sessions,
                    "ended": of.ended,
                    "unserved": of.unserved,
                    "timed_out": of.timed_out,
                    "received_bytes": of.bytes_in,
                    "sent_bytes": of.bytes_out,
                    "received_datagrams": of.datagrams_in,
                    "sent_datagrams": of.datagrams_out,
                    "dropped_datagrams": of.datagrams_dropped,
                    "lasted": self.lasted.get(&listener.name).map(Buckets::status),
                })
            })
            .collect();
        let pools: Vec<Value> = stats
            .pools
            .iter()
            .take(ROWS)
            .map(|pool| {
                let of = &pool.counters;
                json!({
                    "name": pool.name,
                    "waiting": pool.waiting,
                    "sessions": of.sessions,
                    "retries": of.retries,
                    "failed": of.connects_failed + of.all_down + of.all_full + of.queue_timeouts,
                    "received_bytes": of.bytes_in,
                    "sent_bytes": of.bytes_out,
                    "connect": self.connects.get(&pool.name).map(Buckets::status),
                })
            })
            .collect();
        let all = stats.pools.iter().flat_map(|pool| &pool.backends);
        let up = all.clone().filter(|backend| backend.condition == Condition::Up);
        let named = |pairs: &[(&'static str, u64)]| -> Value {
            pairs
                .iter()
                .map(|(name, count)| ((*name).to_owned(), json!(count)))
                .collect()
        };
        json!({
            "totals": totals,
            "listeners_total": stats.listeners.len(),
            "listeners": listeners,
            "pools_total": stats.pools.len(),
            "pools": pools,
            "backends_total": all.clone().count(),
            "backends_up": up.count(),
            "backends": backends(&stats),
            "reloads": named(&self.reloads),
            "handshakes": named(&self.handshakes),
        })
    }
}

/// As many as the page shows, those that are down first.
fn backends(stats: &RelayStats) -> Vec<Value> {
    let all = stats
        .pools
        .iter()
        .flat_map(|pool| pool.backends.iter().map(move |one| (pool, one)));
    let is_up = |(_, backend): &(&PoolStats, &BackendStats)| backend.condition == Condition::Up;
    let (up, down): (Vec<_>, Vec<_>) = all.partition(is_up);
    let row = |(pool, backend): (&PoolStats, &BackendStats)| {
        let of = &backend.counters;
        json!({
            "pool": pool.name,
            "name": backend.name,
            "up": backend.condition == Condition::Up,
            "leaving": backend.leaving,
            "share": f64::from(backend.share_sixteenths) / 16.0,
            "open": backend.open,
            "addresses": backend.addresses,
            "sessions": of.sessions,
            "failed_connects": of.connects_failed,
            "failed_sessions": of.failed,
            "failed_checks": of.checks_failed,
            "downs": of.downs,
            "sent_bytes": of.bytes_in,
            "received_bytes": of.bytes_out,
        })
    };
    down.into_iter().chain(up).take(ROWS).map(row).collect()
}

impl RelaySnapshot {
    fn of_listeners(&self, stats: &RelayStats, to: &mut Exposition<'_>) -> fmt::Result {
        to.gauges(
            ("sockeye_relay_open_sessions", In::Nothing),
            "Sessions, or flows, that are open.",
            stats
                .listeners
                .iter()
                .map(|one| ([("listener", one.name.as_str())], float(one.open as u64))),
        )?;
        for (name, unit, help, read) in OF_LISTENERS {
            let samples = stats.listeners.iter();
            let samples = samples.map(|one| ([("listener", one.name.as_str())], read(&one.counters)));
            to.counters((name, *unit), help, samples)?;
        }
        to.counters(
            ("sockeye_relay_ended_sessions", In::Nothing),
            "Sessions that are over, by why they ended.",
            self.ends
                .iter()
                .map(|((name, end), count)| ([("listener", name.as_str()), ("reason", *end)], *count)),
        )?;
        to.histograms(
            "sockeye_relay_session_duration",
            "How long sessions lasted.",
            self.lasted
                .iter()
                .map(|(name, lasted)| ([("listener", name.as_str())], lasted)),
        )
    }

    fn of_pools(&self, stats: &RelayStats, to: &mut Exposition<'_>) -> fmt::Result {
        to.gauges(
            ("sockeye_relay_pool_waiting_sessions", In::Nothing),
            "Sessions that wait for a backend.",
            stats
                .pools
                .iter()
                .map(|pool| ([("pool", pool.name.as_str())], float(pool.waiting as u64))),
        )?;
        for (name, unit, help, read) in OF_POOLS {
            let samples = stats.pools.iter();
            let samples = samples.map(|pool| ([("pool", pool.name.as_str())], read(&pool.counters)));
            to.counters((name, *unit), help, samples)?;
        }
        let failures = stats.pools.iter().flat_map(|pool| {
            let of = &pool.counters;
            let reasons = [
                ("connect-failed", of.connects_failed),
                ("all-down", of.all_down),
                ("all-full", of.all_full),
                ("queue-timeout", of.queue_timeouts),
            ];
            reasons.map(|(reason, count)| ([("pool", pool.name.as_str()), ("reason", reason)], count))
        });
        to.counters(
            ("sockeye_relay_pool_failures", In::Nothing),
            "Sessions that got no backend, by why.",
            failures,
        )?;
        to.histograms(
            "sockeye_relay_pool_connect",
            "From the arrival of a session until its backend was reached, of sessions that are over.",
            self.connects
                .iter()
                .map(|(name, connects)| ([("pool", name.as_str())], connects)),
        )
    }
}

fn of_backends(stats: &RelayStats, to: &mut Exposition<'_>) -> fmt::Result {
    let all = || {
        stats.pools.iter().flat_map(|pool| {
            pool.backends.iter().map(move |one| {
                (
                    [("pool", pool.name.as_str()), ("backend", one.name.as_str())],
                    one,
                )
            })
        })
    };
    for (name, help, read) in BACKENDS_NOW {
        let samples = all().map(|(labels, one)| (labels, read(one)));
        to.gauges((name, In::Nothing), help, samples)?;
    }
    for (name, unit, help, read) in OF_BACKENDS {
        let samples = all().map(|(labels, one)| (labels, read(&one.counters)));
        to.counters((name, *unit), help, samples)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as nobody has: a scrape looks each of them up once.
    const MANY: usize = 20_000;

    #[test]
    fn of_those_that_are_gone_nothing_is_kept() {
        let accounts = Accounts::default();
        let mut stats = RelayStats::default();
        for nth in 0..MANY {
            let counted = &mut *accounts.counted();
            let name: Arc<str> = nth.to_string().into();
            let sessions = Sessions {
                lasted: Histogram::new(&SESSION),
                ends: BTreeMap::from([("done", 1)]),
            };
            counted.listeners.insert(Arc::clone(&name), sessions);
            counted.connects.insert(name, Histogram::new(&LATENCY));
            // Half of them are there no more; and those that are may be called otherwise.
            if nth % 2 == 0 {
                let (mut listener, mut pool) = (ListenerStats::default(), PoolStats::default());
                listener.name = nth.to_string();
                pool.name = nth.to_string();
                stats.listeners.push(listener);
                stats.pools.push(pool);
            }
        }
        let called = |nth: usize| (nth.to_string(), format!("front {nth}"));
        accounts.call(&(0..MANY).map(called).collect());
        for _ in 0..2 {
            let snapshot = accounts.snapshot(stats.clone());
            assert_eq!(
                (snapshot.lasted.len(), snapshot.connects.len()),
                (MANY / 2, MANY / 2)
            );
            assert!(snapshot.ends.contains_key(&("front 2".to_owned(), "done")));
            assert!(!snapshot.lasted.contains_key("front 3") && !snapshot.connects.contains_key("3"));
            assert_eq!(snapshot.stats.listeners[1].name, "front 2");
        }
        let counted = accounts.counted();
        assert_eq!(
            (counted.listeners.len(), counted.connects.len()),
            (MANY / 2, MANY / 2)
        );
    }
}
