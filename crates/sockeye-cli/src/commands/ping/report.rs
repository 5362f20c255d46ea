//! What `ping` says: lines for people, events for programs, and the summary.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sockeye::event_loop::EventLoop;
use sockeye::probe::services::Mode;
use sockeye::probe::{PingCounts, PingEvent, PingOutcome, Pinger, RttStats, TargetId};

use super::histogram::Histograms;
use super::histories::Histories;
use crate::exit::Exit;
use crate::output::Output;
use crate::probing::{milliseconds, nanoseconds, rtt_json};
use crate::reverse::ReverseNames;

/// Sparks of a host at the end.
const SPARKS: usize = 80;

/// Says what happened, for people or for programs.
pub(super) struct Report {
    /// As the user named them, by target.
    pub(super) names: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) len: u16,
    pub(super) reverse: ReverseNames,
    /// Hosts are printed, and nothing else.
    pub(super) list: bool,
    pub(super) sparks: bool,
    pub(super) histories: Histories,
    pub(super) histograms: Option<Histograms>,
}

impl Report {
    /// Keeps what is printed at the end.
    pub(super) fn collect(&mut self, event: &PingEvent, sparks: bool) {
        if sparks {
            self.histories.take(event);
        }
        if let (Some(histograms), PingOutcome::Reply { rtt, .. }) = (&mut self.histograms, event.outcome) {
            histograms.record(event.target.index(), rtt);
        }
    }

    /// A host has had its requests: prints it, if it is one of those asked for.
    pub(super) fn listed(
        &self,
        output: &mut Output,
        alive: bool,
        pinger: &Pinger,
        target: TargetId,
    ) -> anyhow::Result<()> {
        let (name, address) = self.host(target);
        let rtt = pinger.rtt(target).and_then(RttStats::last).map(nanoseconds);
        let answered = pinger.counts(target).received > 0;
        let event = if answered { "alive" } else { "unreachable" };
        if answered == alive {
            output.event(
                event,
                json!({ "target": name, "address": address, "rtt_ns": rtt }),
            )?;
            output.line(name)?;
        }
        Ok(())
    }

    fn host(&self, target: TargetId) -> (&str, String) {
        let name = self.names.get(target.index()).map_or("", String::as_str);
        let address = self
            .addresses
            .get(target.index())
            .map_or_else(String::new, IpAddr::to_string);
        (name, address)
    }

    /// Asks for the names of who takes part in an event; those that are known by now are shown.
    pub(super) fn find_names(&mut self, events: &mut EventLoop, event: &PingEvent) {
        self.reverse.take(events);
        if let Some(address) = self.addresses.get(event.target.index()) {
            self.reverse.ask(events, *address);
        }
        if let PingOutcome::Failed {
            offender: Some(offender),
            ..
        } = event.outcome
        {
            self.reverse.ask(events, offender);
        }
    }

    pub(super) fn begin(&self, output: &mut Output, mode: Mode) -> anyhow::Result<()> {
        let hosts: Vec<Value> = self
            .names
            .iter()
            .zip(&self.addresses)
            .map(|(name, address)| json!({ "target": name, "address": address }))
            .collect();
        let fields = json!({ "mode": mode.name(), "payload_bytes": self.len, "targets": hosts });
        output.event("begin", fields)?;
        if self.list {
            return Ok(());
        }
        match (self.names.as_slice(), self.addresses.as_slice()) {
            ([name], [address]) => {
                output.line(format_args!(
                    "ping {name} ({address}): {} bytes, {mode}",
                    self.len
                ))?;
            }
            (names, _) => output.line(format_args!(
                "ping {} hosts: {} bytes, {mode}",
                names.len(),
                self.len
            ))?,
        }
        Ok(())
    }

    pub(super) fn outcome(&self, output: &mut Output, event: PingEvent) -> anyhow::Result<()> {
        let (name, address) = self.host(event.target);
        let ip = self.addresses.get(event.target.index()).copied();
        let reverse = ip.and_then(|ip| self.reverse.name(ip));
        let shown = ip.map_or_else(String::new, |ip| self.reverse.shown(ip));
        let sequence = event.sequence;
        let fields = |extra: Value| {
            let mut fields =
                json!({ "target": name, "address": address, "name": reverse, "sequence": sequence });
            if let (Value::Object(fields), Value::Object(extra)) = (&mut fields, extra) {
                fields.extend(extra);
            }
            fields
        };
        let (event_name, extra, line) = match event.outcome {
            PingOutcome::Reply { rtt, len, hop_limit } => {
                let ttl = hop_limit.map_or_else(String::new, |hops| format!(" ttl={hops}"));
                (
                    "reply",
                    json!({ "rtt_ns": nanoseconds(rtt), "bytes": len, "hop_limit": hop_limit }),
                    format!(
                        "{len} bytes from {shown}: seq={sequence}{ttl} time={}",
                        milliseconds(rtt)
                    ),
                )
            }
            PingOutcome::Duplicate { rtt } => (
                "duplicate",
                json!({ "rtt_ns": nanoseconds(rtt) }),
                format!(
                    "from {shown}: seq={sequence} time={} (duplicate)",
                    milliseconds(rtt)
                ),
            ),
            PingOutcome::Late { rtt } => (
                "late",
                json!({ "rtt_ns": rtt.map(nanoseconds) }),
                format!(
                    "from {shown}: seq={sequence} time={} (late, counted as lost)",
                    rtt.map_or_else(|| "unknown".to_owned(), milliseconds)
                ),
            ),
            PingOutcome::Corrupt { at } => (
                "corrupt",
                json!({ "at": at }),
                format!("from {shown}: seq={sequence} payload changed at byte {at}"),
            ),
            PingOutcome::Failed { offender, cause } => {
                let who =
                    offender.map_or_else(|| "this host".to_owned(), |offender| self.reverse.shown(offender));
                (
                    "failed",
                    json!({ "offender": offender, "cause": cause.to_string() }),
                    format!("from {who}: seq={sequence} to {address}: {cause}"),
                )
            }
            PingOutcome::Lost => (
                "lost",
                json!({}),
                format!("no reply from {shown}: seq={sequence}"),
            ),
            _ => return Ok(()),
        };
        output.event(event_name, fields(extra))?;
        output.line(line)?;
        Ok(())
    }

    /// The summary; 1 where a host has not answered at all.
    pub(super) fn end(
        &self,
        output: &mut Output,
        pinger: &Pinger,
        interrupted: bool,
    ) -> anyhow::Result<Exit> {
        let mut results = Vec::new();
        let mut lines = Vec::new();
        let mut silent = 0;
        let shared = self
            .histograms
            .as_ref()
            .is_some_and(|histograms| histograms.is_shared(self.names.len()));
        for (target, _) in pinger.targets() {
            let (name, address) = self.host(target);
            let counts = pinger.counts(target);
            let rtt = pinger.rtt(target).cloned().unwrap_or_default();
            silent += usize::from(counts.received == 0);
            let mut result = counts_json(counts);
            if let Value::Object(fields) = &mut result {
                fields.insert("target".to_owned(), json!(name));
                fields.insert("address".to_owned(), json!(address));
                fields.insert("rtt_ns".to_owned(), rtt_json(&rtt));
                if let Some(histograms) = self.histograms.as_ref().filter(|_| !shared) {
                    fields.insert("histogram".to_owned(), histograms.json(target.index()));
                }
            }
            results.push(result);
            if !self.list {
                lines.extend(summary(name, counts, &rtt));
            }
            if self.sparks {
                lines.push(format!("  {}", self.histories.sparks(target, SPARKS)));
            }
            if let Some(histograms) = self.histograms.as_ref().filter(|_| !shared) {
                lines.extend(histograms.lines(target.index()));
            }
        }
        if let Some(histograms) = self.histograms.as_ref().filter(|_| shared) {
            lines.push("all hosts:".to_owned());
            lines.extend(histograms.lines(0));
        }
        let mut fields =
            json!({ "interrupted": interrupted, "strangers": pinger.strangers(), "results": results });
        if let (Value::Object(fields), Some(histograms)) =
            (&mut fields, self.histograms.as_ref().filter(|_| shared))
        {
            fields.insert("histogram".to_owned(), histograms.json(0));
        }
        // One write: a thousand hosts are a thousand lines and more.
        output.lines(lines)?;
        output.event("end", fields)?;
        Ok(if silent == 0 {
            Exit::Success
        } else {
            Exit::Negative
        })
    }
}

fn counts_json(counts: PingCounts) -> Value {
    json!({
        "sent": counts.sent, "received": counts.received, "lost": counts.lost, "failed": counts.failed,
        "pending": counts.pending, "late": counts.late, "duplicates": counts.duplicates, "corrupt": counts.corrupt,
        "loss": counts.loss(),
    })
}

fn summary(name: &str, counts: PingCounts, rtt: &RttStats) -> Vec<String> {
    let PingCounts {
        sent,
        received,
        failed,
        late,
        duplicates,
        corrupt,
        pending,
        ..
    } = counts;
    let loss = counts.loss().map_or_else(
        || "no result yet".to_owned(),
        |loss| format!("{:.1}% loss", loss * 100.0),
    );
    let mut line = format!("{name}: {sent} sent, {received} received, {loss}");
    let more = [
        (failed, "failed"),
        (late, "late"),
        (duplicates, "duplicates"),
        (corrupt, "corrupt"),
        (pending, "in flight"),
    ];
    for (count, what) in more {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    let mut lines = vec![line];
    if let (Some(min), Some(mean), Some(max), Some(deviation), Some(median), Some(p99)) = (
        rtt.min(),
        rtt.mean(),
        rtt.max(),
        rtt.deviation(),
        rtt.percentile(50.0),
        rtt.percentile(99.0),
    ) {
        let ms = |duration: Duration| format!("{:.3}", duration.as_secs_f64() * 1e3);
        lines.push(format!(
            "  rtt min/avg/max/mdev {}/{}/{}/{} ms, p50 {} ms, p99 {} ms",
            ms(min),
            ms(mean),
            ms(max),
            ms(deviation),
            ms(median),
            ms(p99)
        ));
    }
    lines
}
