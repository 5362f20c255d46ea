//! How a [`Watch`](super::Watch) watches, and what it tells.

use std::net::IpAddr;
use std::time::Duration;

use crate::input::Cause;
use crate::trace::{AnswerKind, TraceEnd, TraceMethod, TraceOptions};

/// How to watch a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// What the probes are. Each round has one probe to a hop: `probes_per_hop`, `in_flight` and `gap` are not looked at.
    pub trace: TraceOptions,
    /// From one round to the next. The probes of a round are spread over it, as bursts run into the limits of routers.
    pub interval: Duration,
    /// How many rounds; `None` goes on until [`Watch::stop`](super::Watch::stop).
    pub rounds: Option<u32>,
    /// While the target has not answered, a round ends behind so many silent hops.
    pub max_silent: u8,
}

impl WatchOptions {
    /// A round a second without end, answers within three seconds, twelve silent hops.
    #[must_use]
    pub const fn new(method: TraceMethod, secret: u64) -> Self {
        let mut trace = TraceOptions::new(method, secret);
        trace.probes_per_hop = 1;
        trace.timeout = Duration::from_secs(3);
        Self {
            trace,
            interval: Duration::from_secs(1),
            rounds: None,
            max_silent: 12,
        }
    }
}

/// Something happened to a watch; the figures are in [`Watch::hops`](super::Watch::hops).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchEvent {
    /// A probe was answered.
    Answer {
        /// The hop limit it had.
        hop: u8,
        /// Who answered.
        from: IpAddr,
        /// From the probe to the answer.
        rtt: Duration,
        /// What the answer says.
        kind: AnswerKind,
    },
    /// This host could not send a probe.
    Failed {
        /// The hop limit it had.
        hop: u8,
        /// Why.
        cause: Cause,
    },
    /// A probe was not answered in time.
    Lost {
        /// The hop limit it had.
        hop: u8,
    },
    /// An answer to a probe that was told lost, and stays so.
    Late {
        /// The hop limit it had.
        hop: u8,
    },
    /// The last round is over and nothing is in flight, or the watch was stopped. Told once, last.
    Done(TraceEnd),
}
