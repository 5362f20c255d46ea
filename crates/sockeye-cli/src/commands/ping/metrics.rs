//! What `ping` tells at `--metrics`: of each host, the engine's counts, its round trips, and whether it answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sockeye::probe::{PingCounts, PingEvent, PingOutcome, Pinger};

use crate::metrics::histogram::{Buckets, Histogram, LATENCY};
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

/// The hosts for the two sides: who is asked, and who counts.
pub(super) fn watched(names: &[String], pinger: &Pinger) -> (Watched, Watched) {
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
    let watched = Watched(hosts.collect());
    (watched.clone(), watched)
}

impl Watched {
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
        let rows = pinger
            .targets()
            .zip(self.0.iter())
            .map(|((target, _), host)| Row {
                counts: pinger.counts(target),
                rtt: host.rtt.read(),
                is_up: host.is_up.load(Ordering::Relaxed),
                answered_ms: host.answered_ms.load(Ordering::Relaxed),
            });
        PingSnapshot {
            hosts: self.clone(),
            rows: rows.collect(),
            strangers: pinger.strangers(),
        }
    }
}

#[derive(Debug)]
struct Row {
    counts: PingCounts,
    rtt: Buckets,
    is_up: bool,
    answered_ms: u64,
}

/// All hosts at one moment.
#[derive(Debug)]
pub(super) struct PingSnapshot {
    hosts: Watched,
    rows: Vec<Row>,
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
    fn all(&self) -> impl Iterator<Item = ([(&'static str, &str); 2], &Row)> {
        self.hosts.0.iter().zip(&self.rows).map(|(host, row)| {
            let labels = [("host", host.name.as_str()), ("address", host.address.as_str())];
            (labels, row)
        })
    }
}

impl Snapshot for PingSnapshot {
    fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result {
        to.gauges(
            ("sockeye_ping_up", In::Nothing),
            "1 if the last request that came to anything was answered.",
            self.all()
                .map(|(labels, row)| (labels, f64::from(u8::from(row.is_up)))),
        )?;
        to.gauges(
            ("sockeye_ping_last_reply_time", In::Seconds),
            "When the last reply came, since 1970; none of hosts that never answered.",
            self.all()
                .filter(|(_, row)| row.answered_ms > 0)
                .map(|(labels, row)| (labels, Duration::from_millis(row.answered_ms).as_secs_f64())),
        )?;
        to.gauges(
            ("sockeye_ping_pending_requests", In::Nothing),
            "Requests in flight.",
            self.all()
                .map(|(labels, row)| (labels, f64::from(row.counts.pending))),
        )?;
        for (name, help, read) in COUNTERS {
            let samples = self
                .all()
                .map(|(labels, row)| (labels, u64::from(read(&row.counts))));
            to.counters((name, In::Nothing), help, samples)?;
        }
        to.histograms(
            "sockeye_ping_rtt",
            "Round-trip times.",
            self.all().map(|(labels, row)| (labels, &row.rtt)),
        )?;
        to.counters(
            ("sockeye_ping_strangers", In::Nothing),
            "Packets that came and were no answer to any of these requests.",
            [([], self.strangers)],
        )
    }

    fn status(&self) -> Value {
        let up = self.rows.iter().filter(|row| row.is_up).count();
        let (answering, silent): (Vec<_>, Vec<_>) = self.all().partition(|(_, row)| row.is_up);
        // Those that do not answer are what somebody looks for.
        let hosts = silent.into_iter().chain(answering).take(ROWS);
        let hosts: Vec<Value> = hosts
            .map(|([(_, name), (_, address)], row)| {
                json!({
                    "name": name,
                    "address": address,
                    "up": row.is_up,
                    "last_reply_unix_ms": (row.answered_ms > 0).then_some(row.answered_ms),
                    "sent": row.counts.sent,
                    "received": row.counts.received,
                    "lost": row.counts.lost,
                    "failed": row.counts.failed,
                    "duplicates": row.counts.duplicates,
                    "rtt": row.rtt.status(),
                })
            })
            .collect();
        json!({ "hosts_total": self.rows.len(), "hosts_up": up, "hosts": hosts })
    }
}
