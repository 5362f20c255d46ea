//! What `sockeye scan` prints.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sockeye::endpoint::{Transport, services};
use sockeye::probe::services::ScanReport;
use sockeye::probe::{Reason, ScanCounts, Scanner, Verdict};

use crate::output::{Output, text_of};
use crate::probing::{milliseconds, nanoseconds};

/// A port, until it is printed.
#[derive(Debug)]
pub(super) struct Found {
    verdict: Verdict,
    said: Vec<u8>,
}

impl Found {
    pub(super) fn new(report: &ScanReport<'_>) -> Self {
        Self {
            verdict: report.verdict,
            said: report.said.to_vec(),
        }
    }

    pub(super) const fn destination(&self) -> SocketAddr {
        self.verdict.destination
    }

    /// A port whose server has said nothing.
    pub(super) const fn silent(verdict: Verdict) -> Self {
        let said = Vec::new();
        Self { verdict, said }
    }
}

/// Says what was found, for people or for programs.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) transport: Transport,
    pub(super) banner: bool,
    /// Hosts times ports.
    pub(super) total: u128,
}

impl Report {
    pub(super) fn begin(
        &self,
        output: &mut Output,
        scanner: &Scanner,
        targets: &[String],
    ) -> anyhow::Result<()> {
        let hosts = u64::try_from(scanner.hosts()).unwrap_or(u64::MAX);
        let ports = u64::try_from(self.total).unwrap_or(u64::MAX) / hosts.max(1);
        let fields = json!({
            "targets": targets, "transport": self.transport.to_string(), "hosts": hosts, "ports_per_host": ports,
            "max_in_flight": scanner.options().max_in_flight,
        });
        output.event("begin", fields)?;
        Ok(())
    }

    pub(super) fn found(&self, output: &mut Output, found: &[Found]) -> anyhow::Result<()> {
        if !output.is_json() {
            return Ok(output.lines(found.iter().map(|found| self.line(found)))?);
        }
        for Found { verdict, said } in found {
            let destination = verdict.destination;
            let offender = match verdict.reason {
                Reason::Unreachable { offender, .. } => offender,
                _ => None,
            };
            let mut fields = json!({
                "address": destination.ip(), "port": destination.port(), "transport": self.transport.to_string(),
                "state": verdict.state.name(), "reason": verdict.reason.to_string(), "offender": offender,
                "service": self.service(destination.port()), "rtt_ns": verdict.rtt.map(nanoseconds),
                "attempts": verdict.attempts,
            });
            if self.banner
                && let Some(fields) = fields.as_object_mut()
            {
                let banner = (!said.is_empty()).then(|| String::from_utf8_lossy(said).into_owned());
                fields.insert("banner".to_owned(), json!(banner));
            }
            output.event("port", fields)?;
        }
        Ok(())
    }

    /// The names line up where addresses are short; what is long pushes the rest to the right.
    fn line(&self, Found { verdict, said }: &Found) -> String {
        let destination = verdict.destination;
        let port = format!("{}/{}", destination.port(), self.transport);
        let service = self.service(destination.port()).unwrap_or_else(|| "-".to_owned());
        let mut line = format!(
            "{:<15} {port:<9} {:<13} {service:<15} {}",
            destination.ip().to_string(),
            verdict.state,
            verdict.reason
        );
        if let Reason::Unreachable {
            offender: Some(offender),
            ..
        } = verdict.reason
        {
            line.push_str(&format!(" (from {offender})"));
        }
        if let Some(rtt) = verdict.rtt {
            line.push_str(&format!(" {}", milliseconds(rtt)));
        }
        if self.banner && !said.is_empty() {
            let text = text_of(said);
            line.push_str(&format!("  {}", text.trim_end_matches(['\r', '\n'])));
        }
        line
    }

    /// What the port usually stands for.
    fn service(&self, port: u16) -> Option<String> {
        let name = services::names(self.transport, port).next()?;
        Some(name.to_string())
    }

    pub(super) fn end(
        &self,
        output: &mut Output,
        counts: ScanCounts,
        interrupted: bool,
        took: Duration,
    ) -> anyhow::Result<()> {
        let ScanCounts {
            sent,
            open,
            closed,
            filtered,
            open_or_filtered,
            ..
        } = counts;
        let total = u64::try_from(self.total).unwrap_or(u64::MAX);
        let mut line = format!(
            "{} {} in {}: {open} open, {closed} closed, {filtered} filtered",
            counts.done(),
            if counts.done() == 1 { "port" } else { "ports" },
            milliseconds(took)
        );
        if open_or_filtered > 0 {
            line.push_str(&format!(", {open_or_filtered} open|filtered"));
        }
        if interrupted {
            line.push_str(&format!(
                "; stopped early, {} unknown",
                total.saturating_sub(counts.done())
            ));
        }
        output.line(line)?;
        let fields = json!({
            "interrupted": interrupted, "ports": total, "sent": sent, "open": open, "closed": closed,
            "filtered": filtered, "open_or_filtered": open_or_filtered, "elapsed_ns": nanoseconds(took),
        });
        output.event("end", fields)?;
        Ok(())
    }
}
