//! What a [`Watch`](super::Watch) knows of one hop: counts, times, and who answers there.

use std::net::IpAddr;
use std::time::Duration;

use super::AnswerKind;
use crate::extensions::Extensions;
use crate::history::{History, Recent};
use crate::jitter::Jitter;
use crate::stats::{RttStats, loss};

/// Addresses that are kept apart at one hop; answers from more of them are only counted.
const MAX_PATHS: usize = 16;

/// One hop. Each probe that was sent is exactly one of received, lost, failed and pending.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Hop {
    /// Probes sent.
    pub sent: u32,
    /// Probes answered in time, by whomever.
    pub received: u32,
    /// Probes not answered within the timeout.
    pub lost: u32,
    /// Probes that this host could not send.
    pub failed: u32,
    /// Probes in flight: neither answered nor lost.
    pub pending: u32,
    /// Answers to probes that were counted lost already; they stay so.
    pub late: u32,
    /// The round trips to all addresses of this hop.
    pub rtt: RttStats,
    /// Their differences, in the order of the answers.
    pub jitter: Jitter,
    /// The last outcomes in the order of sending.
    pub history: History,
    /// Answers from addresses for which there was no room.
    pub unlisted: u32,
    paths: Vec<Path>,
    /// Probes begun, those counted whose fate nobody will know.
    begun: u32,
}

/// One address that answers at a hop.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Path {
    /// Who answers.
    pub address: IpAddr,
    /// How often it has.
    pub received: u32,
    /// What its last answer said.
    pub kind: AnswerKind,
    /// Its round trips.
    pub rtt: RttStats,
    /// Labels and interfaces that its last answer told of.
    pub extensions: Extensions,
}

impl Hop {
    /// The share of the probes that came to nothing, from 0 to 1, those in flight left out. `None` before the first has come
    /// to anything.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        loss(self.received, self.lost, self.failed)
    }

    /// Who answers here, at most 16, in the order of their first answers.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// A probe leaves; its number at this hop, from 1.
    pub(crate) fn sending(&mut self) -> u32 {
        self.sent = self.sent.saturating_add(1);
        self.pending += 1;
        self.begun = self.begun.saturating_add(1);
        self.history.set(self.begun, Recent::Waiting);
        self.begun
    }

    /// A probe is taken back: nobody will know what became of it.
    pub(super) const fn forgotten(&mut self) {
        self.sent = self.sent.saturating_sub(1);
        self.pending = self.pending.saturating_sub(1);
    }

    pub(super) fn is_lost(&mut self, number: u32) {
        self.pending = self.pending.saturating_sub(1);
        self.lost = self.lost.saturating_add(1);
        self.history.set(number, Recent::Lost);
    }

    pub(super) fn has_failed(&mut self, number: u32) {
        self.pending = self.pending.saturating_sub(1);
        self.failed = self.failed.saturating_add(1);
        self.history.set(number, Recent::Lost);
    }

    pub(crate) fn answered(
        &mut self,
        number: u32,
        from: IpAddr,
        kind: AnswerKind,
        rtt: Duration,
        extensions: Extensions,
    ) {
        self.pending = self.pending.saturating_sub(1);
        self.received = self.received.saturating_add(1);
        self.rtt.record(rtt);
        self.jitter.record(rtt);
        self.history.set(number, Recent::Answered(rtt));
        let place = self.paths.iter().position(|path| path.address == from);
        let place = place.unwrap_or_else(|| {
            if self.paths.len() < MAX_PATHS {
                self.paths.push(Path {
                    address: from,
                    received: 0,
                    kind,
                    rtt: RttStats::new(),
                    extensions: Extensions::default(),
                });
            } else {
                self.unlisted = self.unlisted.saturating_add(1);
            }
            self.paths.len() - 1
        });
        if let Some(path) = self.paths.get_mut(place)
            && path.address == from
        {
            path.received = path.received.saturating_add(1);
            path.kind = kind;
            path.rtt.record(rtt);
            path.extensions = extensions;
        }
    }
}
