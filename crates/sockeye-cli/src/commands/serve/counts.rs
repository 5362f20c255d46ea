//! What is counted of each address. Every loop has numbers of its own, which it alone writes: a count is a load and a store.
//! They are added up when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sockeye::endpoint::Address;
use sockeye::event_loop::{Stats, WithheldCounts};

/// A number that one thread writes.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        // Not `fetch_add`: nobody else writes, and a locked instruction costs what a small message does.
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(more), Ordering::Relaxed);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[cfg(feature = "metrics")]
    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One address on one loop.
#[derive(Debug, Default)]
pub(super) struct AtAddress {
    pub(super) opened: Count,
    pub(super) closed: Count,
    pub(super) received_bytes: Count,
    pub(super) sent_bytes: Count,
    pub(super) received_datagrams: Count,
    pub(super) sent_datagrams: Count,
}

/// Datagrams of one loop that were not answered, by why.
#[derive(Debug, Default)]
pub(super) struct Withheld([Count; 6]);

impl Withheld {
    pub(super) fn set(&self, counts: &WithheldCounts, short: u64) {
        let values = [
            counts.no_source,
            counts.own,
            counts.answering_port,
            counts.source_rate,
            counts.total_rate,
            short,
        ];
        for (count, value) in self.0.iter().zip(values) {
            count.set(value);
        }
    }
}

/// Those of all loops.
#[derive(Debug, Default)]
pub(super) struct Counts {
    parts: Mutex<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    addresses: Vec<(Address, Arc<AtAddress>)>,
    withheld: Vec<Arc<Withheld>>,
    /// The other loops' own counters, as of a second ago at most.
    loops: Vec<Arc<Mutex<Stats>>>,
}

impl Counts {
    fn parts(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For one more socket at an address.
    pub(super) fn at(&self, address: Address) -> Arc<AtAddress> {
        let counts = Arc::default();
        self.parts().addresses.push((address, Arc::clone(&counts)));
        counts
    }

    /// For one more loop.
    pub(super) fn withheld(&self) -> Arc<Withheld> {
        let withheld = Arc::default();
        self.parts().withheld.push(Arc::clone(&withheld));
        withheld
    }

    /// For one more loop's own counters.
    pub(super) fn of_loop(&self) -> Arc<Mutex<Stats>> {
        let stats = Arc::default();
        self.parts().loops.push(Arc::clone(&stats));
        stats
    }
}

#[cfg(feature = "metrics")]
pub(super) use told::snapshot;

#[cfg(feature = "metrics")]
mod told {
    use std::collections::BTreeMap;
    use std::fmt;

    use serde_json::{Value, json};
    use sockeye::event_loop::Stats;

    use super::{AtAddress, Counts, PoisonError};
    use crate::metrics::{Exposition, In, Snapshot, float};

    /// What is counted at one address, in the order of `NAMES`.
    type Row = [u64; 6];

    type Family = (&'static str, In, &'static str);

    const NAMES: [Family; 6] = [
        ("sockeye_serve_connections", In::Nothing, "Connections accepted."),
        (
            "sockeye_serve_closed_connections",
            In::Nothing,
            "Connections that are gone.",
        ),
        (
            "sockeye_serve_received",
            In::Bytes,
            "Bytes received, of connections and datagrams.",
        ),
        (
            "sockeye_serve_sent",
            In::Bytes,
            "Bytes given to the system or its queue, of connections and datagrams.",
        ),
        (
            "sockeye_serve_received_datagrams",
            In::Nothing,
            "Datagrams received.",
        ),
        ("sockeye_serve_sent_datagrams", In::Nothing, "Datagrams sent."),
    ];

    const REASONS: [&str; 6] = [
        "no-source",
        "own",
        "answering-port",
        "source-rate",
        "total-rate",
        "short",
    ];

    /// All loops at one moment.
    #[derive(Debug)]
    pub(in super::super) struct ServeSnapshot {
        service: &'static str,
        addresses: BTreeMap<String, Row>,
        withheld: [u64; 6],
    }

    /// The counts now, and the counters of all loops, of which `main` are those of the first.
    pub(in super::super) fn snapshot(
        counts: &Counts,
        service: &'static str,
        main: Stats,
    ) -> (Stats, ServeSnapshot) {
        let parts = counts.parts();
        let mut addresses = BTreeMap::new();
        for (address, at) in &parts.addresses {
            let row: &mut Row = addresses.entry(address.to_string()).or_default();
            for (sum, count) in row.iter_mut().zip(row_of(at)) {
                *sum += count;
            }
        }
        let mut withheld = [0; 6];
        for part in &parts.withheld {
            for (sum, count) in withheld.iter_mut().zip(&part.0) {
                *sum += count.read();
            }
        }
        let mut stats = main;
        // The first loop was asked; what it has published is older.
        for other in parts.loops.iter().skip(1) {
            stats += *other.lock().unwrap_or_else(PoisonError::into_inner);
        }
        let snapshot = ServeSnapshot {
            service,
            addresses,
            withheld,
        };
        (stats, snapshot)
    }

    fn row_of(at: &AtAddress) -> Row {
        // What is gone first: a connection that opens meanwhile is not counted as less than none.
        let closed = at.closed.read();
        [
            at.opened.read(),
            closed,
            at.received_bytes.read(),
            at.sent_bytes.read(),
            at.received_datagrams.read(),
            at.sent_datagrams.read(),
        ]
    }

    impl Snapshot for ServeSnapshot {
        fn encode(&self, to: &mut Exposition<'_>) -> fmt::Result {
            let all = || {
                self.addresses
                    .iter()
                    .map(|(name, row)| ([("address", name.as_str())], row))
            };
            to.info("sockeye_serve", "What is served.", &[("service", self.service)])?;
            to.gauges(
                ("sockeye_serve_open_connections", In::Nothing),
                "Connections that are open.",
                all().map(|(labels, [opened, closed, ..])| (labels, float(opened.saturating_sub(*closed)))),
            )?;
            for (place, (name, unit, help)) in NAMES.into_iter().enumerate() {
                to.counters(
                    (name, unit),
                    help,
                    all().map(|(labels, row)| (labels, row[place])),
                )?;
            }
            let reasons = REASONS.into_iter().zip(self.withheld);
            to.counters(
                ("sockeye_serve_withheld_datagrams", In::Nothing),
                "Datagrams that got no answer, because they can have claimed any sender, by why.",
                reasons.map(|(reason, count)| ([("reason", reason)], count)),
            )
        }

        fn status(&self) -> Value {
            let [opened, closed, received, sent, datagrams_in, datagrams_out]: Row =
                std::array::from_fn(|at| self.addresses.values().map(|row| row[at]).sum());
            let totals = json!({
                "open": opened.saturating_sub(closed),
                "connections": opened,
                "received_bytes": received,
                "sent_bytes": sent,
                "received_datagrams": datagrams_in,
                "sent_datagrams": datagrams_out,
            });
            let addresses = self.addresses.iter().map(|(name, row)| {
                let [opened, closed, received, sent, datagrams_in, datagrams_out] = row;
                json!({
                    "name": name,
                    "open": opened.saturating_sub(*closed),
                    "connections": opened,
                    "received_bytes": received,
                    "sent_bytes": sent,
                    "received_datagrams": datagrams_in,
                    "sent_datagrams": datagrams_out,
                })
            });
            let addresses: Vec<Value> = addresses.take(crate::metrics::ROWS).collect();
            let reasons = REASONS.into_iter().zip(self.withheld);
            let withheld: Value = reasons
                .map(|(reason, count)| (reason.to_owned(), json!(count)))
                .collect();
            json!({
                "service": self.service,
                "totals": totals,
                "addresses_total": self.addresses.len(),
                "addresses": addresses,
                "withheld": withheld,
            })
        }
    }
}
