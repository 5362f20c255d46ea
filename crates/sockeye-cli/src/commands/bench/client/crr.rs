//! Connect, request, response, close: each turn of a flow is a connection of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{Stream, Time};
use sockeye::measure::run::Parameters;
use sockeye::socket::os::monotonic_ns;

use super::super::flows::latency::RoundTrips;
use super::super::flows::pace::Pace;
use super::super::flows::{Flow, length_of};

/// The turns of all flows.
#[derive(Debug)]
pub(super) struct Turns {
    parameters: Parameters,
    request: Vec<u8>,
    flows: HashMap<u32, Next>,
}

/// Where a flow is.
#[derive(Debug, Clone, Copy)]
struct Next {
    /// When its first turn began.
    begun: u64,
    pace: Option<Pace>,
    /// When the present turn was due, and began.
    due: u64,
    sent: u64,
    turns: u64,
    most: Option<u64>,
}

/// The connection of one turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) number: u32,
    flow: Rc<Flow>,
    due: u64,
    sent: u64,
    missing: usize,
    pub(super) has_joined: bool,
}

impl Turns {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self {
            request: vec![b's'; length_of(parameters, 1)],
            parameters: parameters.clone(),
            flows: HashMap::new(),
        }
    }

    /// A connection is about to be made: its time begins.
    pub(super) fn begins(&mut self, number: u32) {
        let now = monotonic_ns();
        let length = u64::from(self.parameters.length.max(1));
        let next = self.flows.entry(number).or_insert_with(|| Next {
            begun: now,
            pace: Pace::of(&self.parameters, number, Time::ZERO),
            due: now,
            sent: now,
            turns: 0,
            most: self.parameters.bytes_of(number).map(|bytes| bytes / length),
        });
        next.sent = now;
        next.due = next
            .pace
            .map_or(now, |pace| next.begun + pace.due(next.turns).as_nanos())
            .min(now);
        next.turns += 1;
    }

    /// It stands: the request leaves.
    pub(super) fn opened(
        &mut self,
        stream: &mut Stream<'_>,
        number: u32,
        flows: &[Rc<Flow>],
    ) -> Option<Turn> {
        let next = self.flows.get(&number)?;
        let flow = flows.get(usize::try_from(number).ok()?)?;
        let _ = stream.write(&self.request);
        flow.sent(self.request.len(), 1);
        Some(Turn {
            number,
            flow: Rc::clone(flow),
            due: next.due,
            sent: next.sent,
            missing: self.request.len(),
            has_joined: false,
        })
    }

    /// Whether it has had as many as were asked for.
    pub(super) fn is_done(&self, number: u32) -> bool {
        self.flows
            .get(&number)
            .is_some_and(|next| next.most.is_some_and(|most| next.turns >= most))
    }

    /// How long it is until the next one is due.
    pub(super) fn wait(&self, number: u32) -> Option<Duration> {
        let next = self.flows.get(&number)?;
        let now = Time::from_nanos(monotonic_ns().saturating_sub(next.begun));
        next.pace?.wait(next.turns, now)
    }
}

impl Turn {
    /// Bytes of the answer have come. The server closes after it, so that its side is the one that keeps the port for a while.
    pub(super) fn take(&mut self, stream: &mut Stream<'_>, bytes: usize, round_trips: &RefCell<RoundTrips>) {
        let now = stream.now();
        let bytes = bytes.min(self.missing);
        self.missing -= bytes;
        let is_whole = self.missing == 0 && bytes > 0;
        self.flow.received(bytes, u64::from(is_whole), now);
        if is_whole {
            round_trips.borrow_mut().answered(self.due, self.sent);
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        self.missing == 0
    }
}
