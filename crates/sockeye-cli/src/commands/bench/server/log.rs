//! What a server prints, whatever protocol it serves: what becomes of each run, and of those that were none.

use serde_json::{Map, Value, json};
use sockeye::event_loop::{Peer, Stream};
use sockeye::measure::run::Parameters;

use super::super::client::figures::{FlowTotal, Interval, Outcome, Protocol};
use super::super::client::print;
use crate::output::Output;
use crate::probing::Inbox;

/// Something to print.
#[derive(Debug)]
pub(crate) enum Event {
    /// Data flows from now on: of iperf3.
    Begin {
        peer: String,
        parameters: Box<Parameters>,
    },
    /// All flows of a run within one interval: of iperf3, whose clients may not show what the server sees.
    Interval {
        peer: String,
        rows: Vec<Interval>,
        is_omitted: bool,
    },
    /// A run is over.
    Run(Box<Run>),
    /// A connection that did not become one.
    Refused { peer: String, reason: String },
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) peer: String,
    pub(crate) mode: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) up: u32,
    pub(crate) down: u32,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) failure: Option<String>,
    /// What both sides have counted, where the server gets to know it: of iperf3.
    pub(crate) outcome: Option<Outcome>,
}

/// Where events wait until they are printed.
pub(crate) type Log = Inbox<Event>;

/// Who is at the other side, for a log.
pub(super) fn peer_of(stream: &Stream<'_>) -> String {
    match stream.peer() {
        Some(Peer::Ip(address)) => address.to_string(),
        Some(Peer::Unix { credentials, .. }) => match credentials.and_then(|credentials| credentials.pid) {
            Some(pid) => format!("process {pid}"),
            None => "a process".to_owned(),
        },
        _ => "a peer".to_owned(),
    }
}

impl Event {
    /// # Errors
    /// When stdout cannot be written.
    pub(crate) fn print(&self, output: &mut Output) -> std::io::Result<()> {
        match self {
            Self::Begin { peer, parameters } => {
                output.line(print::start_line(parameters, peer))?;
                output.event(
                    "begin",
                    with(peer, print::start_json(Protocol::Iperf3, parameters)),
                )
            }
            Self::Interval {
                peer,
                rows,
                is_omitted,
            } => {
                for row in rows {
                    let mut fields = print::interval_json(row);
                    fields["omitted"] = (*is_omitted).into();
                    output.event("interval", with(peer, fields))?;
                }
                let lines = print::interval_lines(rows);
                let omitted = if *is_omitted { OMITTED } else { "" };
                output.lines(lines.iter().map(|line| format!("{peer}: {line}{omitted}")))
            }
            Self::Run(run) => run.print(output),
            Self::Refused { peer, reason } => {
                output.line(format_args!("{peer}: refused: {reason}"))?;
                output.event("refused", json!({ "peer": peer, "reason": reason }))
            }
        }
    }
}

/// Behind the line of an interval that does not count.
pub(crate) const OMITTED: &str = "  (omitted)";

/// The fields of an event behind whose it is.
fn with(peer: &str, fields: Value) -> Value {
    let mut all = Map::new();
    all.insert("peer".to_owned(), peer.into());
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    Value::Object(all)
}

impl Run {
    fn print(&self, output: &mut Output) -> std::io::Result<()> {
        let Self {
            peer,
            mode,
            transport,
            up,
            down,
            sent_bytes,
            received_bytes,
            failure,
            outcome,
        } = self;
        let end = failure
            .as_ref()
            .map_or_else(String::new, |why| format!(": {why}"));
        output.line(format_args!(
            "{peer}: {mode} over {transport}, {up} up, {down} down, {received_bytes} bytes received, \
             {sent_bytes} sent{end}"
        ))?;
        let mut fields = json!({
            "peer": peer, "mode": mode, "transport": transport, "up": up, "down": down,
            "received_bytes": received_bytes, "sent_bytes": sent_bytes, "failure": failure,
        });
        if let Some(outcome) = outcome {
            let lines = print::outcome_lines(outcome);
            output.lines(lines.iter().map(|line| format!("{peer}: {line}")))?;
            let flows = outcome
                .flows
                .iter()
                .map(|flow: &FlowTotal| print::flow_json(flow));
            fields["flows"] = flows.collect();
        }
        output.event("run", fields)
    }
}
