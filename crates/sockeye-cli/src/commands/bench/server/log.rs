//! What a server prints: what became of each run, and of those that were none.

use serde_json::json;
use sockeye::event_loop::{Peer, Stream};

use crate::output::Output;
use crate::probing::Inbox;

/// Something to print.
#[derive(Debug)]
pub(super) enum Event {
    /// A run is over.
    Run {
        peer: String,
        mode: &'static str,
        transport: &'static str,
        up: u32,
        down: u32,
        sent_bytes: u64,
        received_bytes: u64,
        failure: Option<String>,
    },
    /// A connection that did not become one.
    Refused { peer: String, reason: String },
}

/// Where events wait until they are printed.
pub(super) type Log = Inbox<Event>;

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
    pub(super) fn print(self, output: &mut Output) -> anyhow::Result<()> {
        match self {
            Self::Run {
                peer,
                mode,
                transport,
                up,
                down,
                sent_bytes,
                received_bytes,
                failure,
            } => {
                let end = failure
                    .as_ref()
                    .map_or_else(String::new, |why| format!(": {why}"));
                output.line(format_args!(
                    "{peer}: {mode} over {transport}, {up} up, {down} down, {received_bytes} bytes received, \
                     {sent_bytes} sent{end}"
                ))?;
                output.event(
                    "run",
                    json!({
                        "peer": peer, "mode": mode, "transport": transport, "up": up, "down": down,
                        "received_bytes": received_bytes, "sent_bytes": sent_bytes, "failure": failure,
                    }),
                )?;
            }
            Self::Refused { peer, reason } => {
                output.line(format_args!("{peer}: refused: {reason}"))?;
                output.event("refused", json!({ "peer": peer, "reason": reason }))?;
            }
        }
        Ok(())
    }
}
