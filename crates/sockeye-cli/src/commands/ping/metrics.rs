//! What `ping` tells at `--metrics`: of each host, the engine's counts, its round trips, and whether it answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sockeye::probe::{PingCounts, PingEvent, PingOutcome, Pinger};

use crate::metrics::histogram::{Histogram, LATENCY};
use crate::metrics::{Exposition, In, ROWS, Snapshot};

/// The hosts, in the engine's order.
#[derive(Debug, Clone)]
pub(super) struct Watched(Arc<[Host]>);

#[derive(Debug)]
struct Host {
    name: String,
    address: String,
    rtt: Histogram,
    /// The last request that came to anything was answered.
    is_up: AtomicBool,
    /// When the last answer came, in milliseconds since 1970; 0: never.
    answered_ms: AtomicU64,
}

impl Watched {
    pub(super) fn new(names: &[String], pinger: &Pinger) -> Self {
        let hosts = names
            .iter()
            .zip(pinger.targets())
            .map(|(name, (_, address))| Host {
                name: name.clone(),
                address: address.to_string(),
                rtt: Histogram::new(&LATENCY),
                is_up: AtomicBool::new(false),
                answered_ms: AtomicU64::new(0),
            });
        Self(hosts.collect())
    }

    pub(super) fn outcome(&self, event: &PingEvent) {
        let Some(host) = self.0.get(event.target.index()) else {
            return;
        };
        match event.outcome {
            PingOutcome::Reply { rtt, .. } => {
                host.rtt.record(rtt);
                host.is_up.store(true, Ordering::Relaxed);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
                host.answered_ms.store(now_ms, Ordering::Relaxed);
            }
            PingOutcome::Lost | PingOutcome::Failed { .. } => host.is_up.store(false, Ordering::Relaxed),
            _ => {}
        }
    }

    pub(super) fn snapshot(&self, pinger: &Pinger) -> PingSnapshot {
        PingSnapshot {
            hosts: self.clone(),
            counts: pinger
                .targets()
                .map(|(target, _)| pinger.counts(target))
                .collect(),
            strangers: pinger.strangers(),
        }
    }
}

impl Host {
    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// `None`: it has never answered.
    fn answered_ms(&self) -> Option<u64> {
        Some(self.answered_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0)
    }
}

/// The engine's counts of all hosts at one moment. What is counted here is read when it is told: any thread may, and the loop
/// has nothing to copy.
#[derive(Debug)]
pub(super) struct PingSnapshot {
    hosts: Watched,
    counts: Vec<PingCounts>,
    strangers: u64,
}

type Of = (&'static str, &'static str, fn(&PingCounts) -> u32);

const COUNTERS: &[Of] = &[
    ("sockeye_ping_sent_requests", "Requests sent.", |of| of.sent),
    (
        "sockeye_ping_received_replies",
        "Requests answered in time.",
        |of| of.received,
    ),
    (
        "sockeye_ping_lost_requests",
        "Requests not answered in time.",
        |of| of.lost,
    ),
    (
        "sockeye_ping_failed_requests",
        "Requests to which an error came back, or that could not be sent.",
        |of| of.failed,
    ),
    (
        "sockeye_ping_late_replies",
        "Replies to requests that were counted lost or failed.",
        |of| of.late,
    ),
    (
        "sockeye_ping_duplicate_replies",
        "Further replies to requests that were answered.",
        |of| of.duplicates,
    ),
    (
        "sockeye_ping_corrupt_replies",
        "Replies whose payload had changed on the way.",
        |of| of.corrupt,
    ),
];

impl PingSnapshot {
    fn hosts(&self) -> impl Iterator<Item = ([(&'static str, &str); 2], &Host)> {
        self.hosts.0.iter().map(|host| {
            let labels = [("host", host.name.as_str()), ("address", host.address.as_str())];
            (labels, host)
        })
    }

    fn counts(&self) -> impl Iterator<Item = ([(&'static str, &str); 2], &PingCounts)> {
        self.hosts().map(|(labels, _)| labels).zip(&self.counts)
    }
}

impl Snapshot for PingSnapshot {
    fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result {
        to.gauges(
            ("sockeye_ping_up", In::Nothing),
            "1 if the last request that came to anything was answered.",
            self.hosts()
                .map(|(labels, host)| (labels, f64::from(u8::from(host.is_up())))),
        )?;
        to.gauges(
            ("sockeye_ping_last_reply_time", In::Seconds),
            "When the last reply came, since 1970; none of hosts that never answered.",
            self.hosts().filter_map(|(labels, host)| {
                let at = Duration::from_millis(host.answered_ms()?);
                Some((labels, at.as_secs_f64()))
            }),
        )?;
        to.gauges(
            ("sockeye_ping_pending_requests", In::Nothing),
            "Requests in flight.",
            self.counts()
                .map(|(labels, counts)| (labels, f64::from(counts.pending))),
        )?;
        for (name, help, read) in COUNTERS {
            let samples = self
                .counts()
                .map(|(labels, counts)| (labels, u64::from(read(counts))));
            to.counters((name, In::Nothing), help, samples)?;
        }
        to.histograms(
            "sockeye_ping_rtt",
            "Round-trip times.",
            self.hosts().map(|(labels, host)| (labels, host.rtt.read())),
        )?;
        to.counters(
            ("sockeye_ping_strangers", In::Nothing),
            "Packets that came and were no answer to any of these requests.",
            [([], self.strangers)],
        )
    }

    fn status(&self) -> Value {
        // Each is read once: it may go up or down meanwhile.
        let all = self.hosts.0.iter().zip(&self.counts);
        let (up, down): (Vec<_>, Vec<_>) = all
            .map(|(host, counts)| (host, counts, host.is_up()))
            .partition(|(_, _, is_up)| *is_up);
        let hosts_up = up.len();
        // Those that do not answer are what somebody looks for.
        let hosts = down.into_iter().chain(up).take(ROWS);
        let hosts: Vec<Value> = hosts
            .map(|(host, counts, is_up)| {
                json!({
                    "name": host.name,
                    "address": host.address,
                    "up": is_up,
                    "last_reply_unix_ms": host.answered_ms(),
                    "sent": counts.sent,
                    "received": counts.received,
                    "lost": counts.lost,
                    "failed": counts.failed,
                    "duplicates": counts.duplicates,
                    "rtt": host.rtt.read().status(),
                })
            })
            .collect();
        let sum = |of: fn(&PingCounts) -> u32| {
            self.counts
                .iter()
                .map(|counts| u64::from(of(counts)))
                .sum::<u64>()
        };
        let totals = json!({
            "sent": sum(|counts| counts.sent),
            "received": sum(|counts| counts.received),
            "lost": sum(|counts| counts.lost),
        });
        json!({ "totals": totals, "hosts_total": self.counts.len(), "hosts_up": hosts_up, "hosts": hosts })
    }
}
