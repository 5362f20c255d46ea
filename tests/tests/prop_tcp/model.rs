//! What two ends of a TCP connection may see on Linux: a state machine of both ends and of what is under way.
//!
//! Nobody sees when a segment arrives, so the model is the set of all states the connection can be in. An outcome is
//! right if a state allows it; the states that do not allow it are dropped. No state left: the outcome is wrong.
//!
//! The rules are those of `net/ipv4/tcp.c` and `tcp_input.c`:
//!
//! - A read returns what has arrived. Only where nothing has: 0 after the FIN, else the pending error, which this clears,
//!   else 0 where reading is shut or the connection is reset, else EAGAIN (`tcp_recvmsg_locked`).
//! - `SHUT_RD` is local: bytes still arrive and are read, between them a read returns 0. Only where writing is shut too,
//!   a byte that arrives before the peer's FIN resets both ends (`tcp_rcv_state_process`; RFC 1122, section 4.2.2.13).
//! - A close resets where something that has arrived is unread, else it sends a FIN (`__tcp_close`; RFC 2525, section
//!   2.17). An abort resets, but for an end that is only waiting for the last acknowledgements (`tcp_disconnect`).
//! - A reset drops what the sender has not sent, nothing that has arrived. Its error is ECONNRESET, or EPIPE where the FIN
//!   has come and writing is open (`tcp_reset`). An end that both FINs have ended hears no reset.

use std::collections::BTreeSet;
use std::net::Shutdown;

/// Bytes under way below which a write may not be refused.
const ROOM: u64 = 4096;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// So many bytes, 0 for the end.
    Bytes(u64),
    Blocked,
    Reset,
    BrokenPipe,
}

/// What was done to an end, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Write {
        len: u64,
        outcome: Outcome,
    },
    Read {
        len: u64,
        takes: bool,
        outcome: Outcome,
    },
    /// `false`: ENOTCONN.
    Shutdown {
        how: Shutdown,
        done: bool,
    },
    /// The descriptor is dropped.
    Close,
    Abort,
    /// The poller says that it is readable.
    Readable,
    /// FIONREAD.
    Unread(u64),
}

/// The error that the next call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Reset,
    BrokenPipe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
struct End {
    gone: bool,
    read_shut: bool,
    write_shut: bool,
    /// The peer's FIN has arrived, and with it every byte.
    fin_seen: bool,
    /// TCP_CLOSE: reset, or ended on both sides.
    closed: bool,
    pending: Option<Pending>,
}

impl End {
    /// A byte that arrives now resets the connection.
    fn is_deaf(&self) -> bool {
        !self.closed && !self.fin_seen && self.read_shut && self.write_shut
    }

    /// Nothing that arrives now can be read.
    fn takes_nothing(&self) -> bool {
        self.closed || self.is_deaf()
    }

    fn close_with(&mut self, pending: Option<Pending>) {
        self.closed = true;
        self.pending = pending.filter(|_| !self.gone);
    }
}

/// One direction: bytes are counted from the first; `taken <= low <= arrived <= high <= written`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Flow {
    written: u64,
    taken: u64,
    /// What is known of how many bytes have arrived, and can be read.
    low: u64,
    high: u64,
    /// A FIN is under way, or has arrived.
    fin: bool,
    /// The FIN was sent after the other one had arrived, so it acknowledges that.
    fin_acknowledges: bool,
    /// A reset is under way, or has arrived: of the bytes before it some may be lost.
    reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
struct State {
    ends: [End; 2],
    /// From the end of that number.
    flows: [Flow; 2],
}

/// The states that a connection may be in.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    states: BTreeSet<State>,
}

impl Model {
    /// A connection on which nothing has happened yet.
    pub(crate) fn new() -> Self {
        Self {
            states: BTreeSet::from([State::default()]),
        }
    }

    /// Takes notice of what was seen.
    ///
    /// # Errors
    /// When no order of arrivals leads to it.
    pub(crate) fn observe(&mut self, end: usize, event: Event) -> Result<(), String> {
        let possible = self.with_arrivals();
        let after: BTreeSet<State> = possible
            .iter()
            .flat_map(|state| state.after(end, event))
            .collect();
        if after.is_empty() {
            return Err(format!(
                "end {end}: {event:?} cannot be; possible were {possible:#?}"
            ));
        }
        self.states = after;
        Ok(())
    }

    /// Whether the end becomes readable for certain, if it is not yet.
    pub(crate) fn becomes_readable(&self, end: usize) -> bool {
        self.with_arrivals().iter().all(|state| {
            let (at, flow) = (&state.ends[end], &state.flows[1 - end]);
            at.read_shut || at.closed || flow.fin || flow.reset || flow.taken < flow.written
        })
    }

    /// Whether bytes that the end can read come for certain.
    pub(crate) fn bytes_come(&self, end: usize) -> bool {
        self.with_arrivals().iter().all(|state| {
            let (at, flow) = (&state.ends[end], &state.flows[1 - end]);
            flow.taken < flow.low || (flow.taken < flow.written && !at.takes_nothing() && !flow.reset)
        })
    }

    /// The states, and those that they become when things arrive.
    fn with_arrivals(&self) -> BTreeSet<State> {
        let mut all = self.states.clone();
        let mut fresh: Vec<State> = all.iter().copied().collect();
        while let Some(state) = fresh.pop() {
            for next in (0..2).flat_map(|end| state.arrivals(end)) {
                if all.insert(next) {
                    fresh.push(next);
                }
            }
        }
        all
    }
}

impl State {
    /// What can arrive at `end` next, but for bytes, which the bounds of the flow stand for.
    fn arrivals(self, end: usize) -> impl Iterator<Item = Self> {
        [
            self.fin_arrives(end),
            self.last_acknowledgement_arrives(end),
            self.reset_arrives(end),
            self.byte_arrives_at_deaf(end),
        ]
        .into_iter()
        .flatten()
    }

    fn fin_arrives(mut self, end: usize) -> Option<Self> {
        let (at, flow) = (&mut self.ends[end], &mut self.flows[1 - end]);
        if !flow.fin || at.fin_seen || at.closed || flow.high < flow.written {
            return None;
        }
        flow.low = flow.written;
        at.fin_seen = true;
        at.closed |= at.write_shut && flow.fin_acknowledges;
        Some(self)
    }

    fn last_acknowledgement_arrives(mut self, end: usize) -> Option<Self> {
        let both = self.ends[end].write_shut && self.ends[end].fin_seen && self.ends[1 - end].fin_seen;
        if !both || self.ends[end].closed {
            return None;
        }
        self.ends[end].closed = true;
        Some(self)
    }

    fn reset_arrives(mut self, end: usize) -> Option<Self> {
        let at = &mut self.ends[end];
        if !self.flows[1 - end].reset || at.closed {
            return None;
        }
        let is_close_wait = at.fin_seen && !at.write_shut;
        at.close_with(Some(if is_close_wait {
            Pending::BrokenPipe
        } else {
            Pending::Reset
        }));
        Some(self)
    }

    fn byte_arrives_at_deaf(mut self, end: usize) -> Option<Self> {
        let flow = &mut self.flows[1 - end];
        if !self.ends[end].is_deaf() || flow.low == flow.written {
            return None;
        }
        flow.high = flow.high.min(flow.written - 1);
        self.ends[end].close_with(Some(Pending::Reset));
        self.flows[end].reset = true;
        Some(self)
    }

    /// The states after `event`; none where it cannot be.
    fn after(self, end: usize, event: Event) -> Vec<Self> {
        match event {
            Event::Write { len, outcome } => self.write(end, len, outcome).into_iter().collect(),
            Event::Read { len, takes, outcome } => self.read(end, len, takes, outcome).into_iter().collect(),
            Event::Shutdown { how, done } => self.shutdown(end, how, done).into_iter().collect(),
            Event::Close => self.close(end),
            Event::Abort => self.abort(end),
            Event::Readable => self.readable(end),
            Event::Unread(bytes) => self.arrived(end, bytes).into_iter().collect(),
        }
    }

    fn write(mut self, end: usize, len: u64, outcome: Outcome) -> Option<Self> {
        let other_takes = !self.ends[1 - end].takes_nothing();
        let (at, flow) = (&mut self.ends[end], &mut self.flows[end]);
        let is_open = !at.write_shut && !at.closed;
        let is_possible = match outcome {
            Outcome::Bytes(bytes) => {
                flow.written += bytes;
                if other_takes {
                    flow.high = flow.written;
                }
                is_open && (1..=len).contains(&bytes)
            }
            Outcome::Blocked => is_open && flow.written - flow.taken >= ROOM,
            Outcome::Reset => at.pending.take() == Some(Pending::Reset),
            Outcome::BrokenPipe => !is_open && at.pending.take() != Some(Pending::Reset),
        };
        is_possible.then_some(self)
    }

    fn read(self, end: usize, len: u64, takes: bool, outcome: Outcome) -> Option<Self> {
        let bytes = match outcome {
            Outcome::Bytes(bytes) => bytes,
            _ => 0,
        };
        if bytes > len {
            return None;
        }
        // A read that could have taken more has seen everything that had arrived.
        let mut after = if bytes < len {
            self.arrived(end, bytes)?
        } else {
            self.arrived_at_least(end, bytes)?
        };
        if bytes > 0 {
            after.flows[1 - end].taken += if takes { bytes } else { 0 };
            return Some(after);
        }
        let at = &mut after.ends[end];
        let has_ended = at.read_shut || at.closed;
        let expected = match (at.fin_seen, at.pending) {
            (true, _) => Outcome::Bytes(0),
            (false, Some(Pending::Reset)) => Outcome::Reset,
            (false, Some(Pending::BrokenPipe)) => Outcome::BrokenPipe,
            (false, None) if has_ended => Outcome::Bytes(0),
            (false, None) => Outcome::Blocked,
        };
        if !at.fin_seen {
            at.pending = None;
        }
        (outcome == expected).then_some(after)
    }

    /// Exactly `bytes` can be read.
    fn arrived(self, end: usize, bytes: u64) -> Option<Self> {
        let mut after = self.arrived_at_least(end, bytes)?;
        let flow = &mut after.flows[1 - end];
        let arrived = flow.taken + bytes;
        if after.ends[end].takes_nothing() {
            flow.high = arrived;
        }
        (flow.low == arrived).then_some(after)
    }

    fn arrived_at_least(mut self, end: usize, bytes: u64) -> Option<Self> {
        let flow = &mut self.flows[1 - end];
        flow.low = flow.low.max(flow.taken + bytes);
        (flow.low <= flow.high).then_some(self)
    }

    fn readable(self, end: usize) -> Vec<Self> {
        let at = &self.ends[end];
        let otherwise = (at.read_shut || at.closed || at.fin_seen).then_some(self);
        self.arrived_at_least(end, 1)
            .into_iter()
            .chain(otherwise)
            .collect()
    }

    fn shutdown(mut self, end: usize, how: Shutdown, done: bool) -> Option<Self> {
        let at = &mut self.ends[end];
        if done == at.closed {
            return None;
        }
        if done {
            at.read_shut |= how != Shutdown::Write;
            if how != Shutdown::Read {
                self.send_fin(end);
            }
        }
        Some(self)
    }

    fn send_fin(&mut self, end: usize) {
        let at = &mut self.ends[end];
        if !at.write_shut {
            at.write_shut = true;
            self.flows[end].fin = true;
            self.flows[end].fin_acknowledges = at.fin_seen;
        }
    }

    fn close(mut self, end: usize) -> Vec<Self> {
        if self.ends[end].closed {
            return vec![self.left(end)];
        }
        let resets = self
            .arrived_at_least(end, 1)
            .map(|state| state.leave_by_reset(end));
        self.ends[end].read_shut = true;
        self.send_fin(end);
        let ends = self.arrived(end, 0).map(|state| state.left(end));
        resets.into_iter().chain(ends).collect()
    }

    fn abort(self, end: usize) -> Vec<Self> {
        let at = &self.ends[end];
        if at.closed {
            return vec![self.left(end)];
        }
        if !at.write_shut || !at.fin_seen {
            return vec![self.leave_by_reset(end)];
        }
        // Both FINs are sent and the other one is here: a reset only where something is unread, or not sent.
        let is_unread = self.arrived_at_least(end, 1);
        let is_unsent = (!self.ends[1 - end].fin_seen).then_some(self);
        let resets = is_unread.or(is_unsent).map(|state| state.leave_by_reset(end));
        let vanishes = self.arrived(end, 0).map(|state| {
            let mut left = state.left(end);
            left.ends[end].close_with(None);
            left
        });
        resets.into_iter().chain(vanishes).collect()
    }

    fn leave_by_reset(mut self, end: usize) -> Self {
        self.flows[end].reset = true;
        self.ends[end].close_with(None);
        self.left(end)
    }

    fn left(mut self, end: usize) -> Self {
        self.ends[end].gone = true;
        self.ends[end].pending = None;
        self
    }
}
