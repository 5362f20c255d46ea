//! What a [`Watch`] says when it is asked.

use std::net::SocketAddr;

use super::Watch;
use crate::trace::{Hop, TraceEnd, TraceMethod};

impl Watch {
    /// Whether the end was told.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Where the route goes.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.finder.destination()
    }

    /// What the probes are.
    #[must_use]
    pub const fn method(&self) -> TraceMethod {
        self.options.trace.method
    }

    /// Rounds begun since the beginning or the last reset.
    #[must_use]
    pub const fn rounds(&self) -> u32 {
        self.round
    }

    /// How the route ends, as far as is known: `MaxHops` while neither the target nor a refusal was seen, and again once
    /// five probes there were lost in a row. So a target that dies was not reached in the end.
    #[must_use]
    pub fn end(&self) -> TraceEnd {
        match self.end {
            Some((hop, None)) => TraceEnd::Reached { hop },
            Some((hop, Some(cause))) => TraceEnd::Failed { hop, cause },
            None => TraceEnd::MaxHops,
        }
    }

    /// The hops with their hop limits: up to the end of the route; where that is not known up to the last that has answered
    /// and one silent one behind it.
    pub fn hops(&self) -> impl Iterator<Item = (u8, &Hop)> {
        let first = self.options.trace.first_hop;
        let last = match (self.end, self.farthest) {
            (Some((hop, _)), farthest) => hop.max(farthest.unwrap_or(hop)),
            (None, Some(farthest)) => farthest.saturating_add(1),
            (None, None) => first,
        };
        (first..=last)
            .zip(&self.hops)
            .filter(|(_, hop)| hop.sent > 0 || hop.late > 0)
    }

    /// Inputs that belonged to no probe: other programs' answers, forgeries, wreckage, answers that came far too late.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Answers to probes that had been answered before.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Whether probes go out one at a time because a router quotes too little to tell them apart. A silent hop then holds up
    /// its round; another method or [`Flow::Classic`](crate::trace::Flow::Classic) does not need that.
    #[must_use]
    pub const fn is_serial(&self) -> bool {
        self.serial
    }
}
