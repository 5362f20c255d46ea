//! The last outcomes of each host.

use std::collections::HashMap;

use sockeye::probe::{History, PingEvent, PingOutcome, Recent, TargetId};

use crate::sparks::sparks;

/// The last outcomes of each host, as far as they are wanted.
#[derive(Debug, Default)]
pub(super) struct Histories(HashMap<usize, History>);

impl Histories {
    /// Takes in what became of a request.
    pub(super) fn take(&mut self, event: &PingEvent) {
        let recent = match event.outcome {
            PingOutcome::Reply { rtt, .. } => Recent::Answered(rtt),
            PingOutcome::Lost | PingOutcome::Failed { .. } => Recent::Lost,
            _ => return,
        };
        let history = self.0.entry(event.target.index()).or_default();
        history.set(event.sequence, recent);
    }

    /// The sparks of a host.
    pub(super) fn sparks(&self, target: TargetId, width: usize) -> String {
        self.0
            .get(&target.index())
            .map_or_else(String::new, |history| sparks(history, width))
    }
}
