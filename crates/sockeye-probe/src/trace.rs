//! Traceroute: which routers a packet passes on its way, by letting it die at each.
//!
//! A [`Tracer`] sends probes with growing hop limits; the router at which one runs out says so, and by that its
//! address. It does no I/O: its caller sends what [`poll_transmit`](Tracer::poll_transmit) yields, hands in what
//! sockets receive, and calls back at [`poll_timeout`](Tracer::poll_timeout).
//!
//! How an answer finds its probe, when a router may quote as little as eight bytes after the IP header:
//!
//! | method | classic | Paris | in both, where enough is quoted |
//! |---|---|---|---|
//! | ICMP | sequence number | sequence number, checksum held constant | the tag in the payload |
//! | UDP | destination port | the payload; where it is not quoted, one probe at a time | the tag in the payload |
//! | TCP | sequence number, source port | sequence number | |

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::extensions::Extensions;
use crate::input::{Cause, Input};
use crate::time::{Clock, ns};

mod hop;
mod options;
mod probe;
mod watch;

pub use hop::{Hop, Path};
pub use options::{Flow, TraceMethod, TraceOptions, TraceOptionsError};
use probe::{Finder, Found, Match};
pub use watch::{Watch, WatchEvent, WatchOptions};

/// A probe to send; the message itself is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceTransmit {
    /// Which probe, for [`Tracer::handle_send_error`].
    pub probe: u16,
    /// Where to; the port counts for UDP.
    pub destination: SocketAddr,
    /// The TTL or hop limit to send it with.
    pub hop_limit: u8,
}

/// What a probe brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The hop limit the probe had.
    pub hop: u8,
    /// Which of the probes with that hop limit, from 0.
    pub attempt: u8,
    /// Who answered; `None` where this host could not send.
    pub from: Option<IpAddr>,
    /// From the probe to the answer.
    pub rtt: Duration,
    /// TTL or hop limit of the answer on arrival, where it is known: a path back of another length shows.
    pub hop_limit: Option<u8>,
    /// What the answer says.
    pub kind: AnswerKind,
    /// MPLS labels and interfaces that the router told of.
    pub extensions: Extensions,
}

/// What an answer says about the place it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerKind {
    /// A router on the way, where the hop limit ran out.
    Router,
    /// The target itself.
    Reached,
    /// The probe went no further, and this is why.
    Failed(Cause),
}

/// Something happened to a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent {
    /// A probe was answered.
    Answer(Answer),
    /// A probe was not answered within the timeout.
    Lost {
        /// Its hop limit.
        hop: u8,
        /// Which of the probes with that hop limit, from 0.
        attempt: u8,
    },
    /// An answer to a probe that was told lost; it changes nothing.
    Late(Answer),
    /// All probes to this hop have been answered or are lost: told for each hop, in order.
    Hop(u8),
    /// The trace is over. Told once, last.
    Done(TraceEnd),
}

/// How a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEnd {
    /// The target answered.
    Reached {
        /// How many hops away it is.
        hop: u8,
    },
    /// Something on the way refused to forward the probes.
    Failed {
        /// At this hop.
        hop: u8,
        /// Why.
        cause: Cause,
    },
    /// The last hop asked for was not the target.
    MaxHops,
    /// [`Tracer::stop`] was called.
    Stopped,
}

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeState {
    /// Not sent yet.
    Unsent,
    /// In flight.
    Waiting,
    /// Answered.
    Answered(Box<Answer>),
    /// Not answered in time.
    Lost,
}

#[derive(Clone, Debug)]
struct Probe {
    sent_ns: u64,
    state: ProbeState,
    /// A late answer has come: another one is a duplicate.
    late: bool,
    /// It was sent when no other was in flight.
    alone: bool,
}

/// Traces the route to one target; see the [module](self) for how to drive it.
#[derive(Debug)]
pub struct Tracer {
    options: TraceOptions,
    finder: Finder,
    clock: Clock,
    probes: Vec<Probe>,
    /// The next probe to send, unless it was sent already.
    cursor: u16,
    pending: u16,
    /// Deadlines of the probes in flight, in order because the timeout is the same for all.
    deadlines: VecDeque<(u64, u16)>,
    gap_until_ns: u64,
    /// The hop at which the trace ends, as far as is known, and how.
    end: Option<(u8, Option<Cause>)>,
    /// The hop that is told next.
    telling: u16,
    done: bool,
    stopped: bool,
    /// One probe at a time, because a router quotes too little to tell them apart.
    serial: bool,
    strangers: u64,
    duplicates: u64,
}

impl Tracer {
    /// A trace to `destination`. Its port is the first UDP port (33434 by tradition) or the TCP port.
    ///
    /// # Errors
    /// [`TraceOptionsError`] where the options make no sense together.
    pub fn new(destination: SocketAddr, options: TraceOptions) -> Result<Self, TraceOptionsError> {
        options.check(destination)?;
        let options = TraceOptions {
            payload_len: options.payload_len.max(probe::MIN_PAYLOAD_LEN),
            ..options
        };
        let probe = Probe {
            sent_ns: 0,
            state: ProbeState::Unsent,
            late: false,
            alone: false,
        };
        Ok(Self {
            finder: Finder::new(destination, &options, options.probes()),
            clock: Clock::default(),
            probes: vec![probe; usize::from(options.probes())],
            cursor: 0,
            pending: 0,
            deadlines: VecDeque::new(),
            gap_until_ns: 0,
            end: None,
            telling: u16::from(options.first_hop),
            done: false,
            stopped: false,
            serial: false,
            strangers: 0,
            duplicates: 0,
            options,
        })
    }

    /// The next probe that may leave, written to `message` in place of what was there: an ICMP message, a UDP payload or
    /// a TCP segment. Checksums are there but for ICMPv6, which the kernel fills in.
    pub fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<TraceTransmit> {
        let now_ns = self.clock.advance(now);
        if now_ns < self.gap_until_ns || self.pending >= self.in_flight() {
            return None;
        }
        let number = self.next_unsent()?;
        let serial = self.serial;
        let probe = self.probes.get_mut(usize::from(number))?;
        probe.alone = serial;
        probe.sent_ns = now_ns;
        probe.state = ProbeState::Waiting;
        self.cursor = number + 1;
        self.pending += 1;
        self.deadlines
            .push_back((now_ns.saturating_add(ns(self.options.timeout)), number));
        self.gap_until_ns = now_ns.saturating_add(ns(self.options.gap));
        let destination = self.finder.write(number, message);
        Some(TraceTransmit {
            probe: number,
            destination,
            hop_limit: self.hop(number),
        })
    }

    /// Takes something that a socket received, and says what it was for the trace. `None` where it is no answer to
    /// one of its probes, or one that came before.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Option<TraceEvent> {
        let now_ns = self.clock.advance(now);
        let received_ns = input.received_at.map_or(now_ns, |moment| self.clock.at(moment));
        let Found {
            from,
            kind,
            which,
            extensions,
        } = self.finder.find(input.message);
        let number = match which {
            Match::Probe(number) => number,
            Match::Unsure if self.pending == 1 => self.only_waiting()?,
            Match::Unsure => {
                self.serial = true;
                return None;
            }
            Match::None => {
                self.strangers += 1;
                return None;
            }
        };
        self.answered(number, received_ns, from, kind, input.hop_limit, extensions)
    }

    /// Takes the news that a probe could not be sent.
    pub fn handle_send_error(&mut self, now: Duration, probe: u16, cause: Cause) -> Option<TraceEvent> {
        let now_ns = self.clock.advance(now);
        self.answered(
            probe,
            now_ns,
            None,
            AnswerKind::Failed(cause),
            None,
            Extensions::default(),
        )
    }

    /// What happened by the mere passing of time, hops that are complete, and the end. Call until `None`.
    pub fn poll_event(&mut self, now: Duration) -> Option<TraceEvent> {
        let now_ns = self.clock.advance(now);
        while let Some(&(deadline_ns, number)) = self.deadlines.front() {
            if deadline_ns > now_ns {
                break;
            }
            self.deadlines.pop_front();
            if let Some(event) = self.expire(number, deadline_ns) {
                return Some(event);
            }
        }
        self.tell_hop().or_else(|| self.tell_end())
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) again, on the caller's
    /// clock; a past moment means now. `None`: the trace is over.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        if self.done {
            return None;
        }
        if self.stopped || self.is_complete() {
            return Some(self.clock.deadline(0));
        }
        while let Some(&(_, number)) = self.deadlines.front() {
            if self.state(number) == Some(&ProbeState::Waiting) && self.wanted(number) {
                break;
            }
            self.deadlines.pop_front();
        }
        let lost_ns = self.deadlines.front().map(|&(deadline_ns, _)| deadline_ns);
        let may_send = self.pending < self.in_flight() && self.next_unsent().is_some();
        let send_ns = may_send.then_some(self.gap_until_ns);
        let next_ns = [send_ns, lost_ns].into_iter().flatten().min().unwrap_or(0);
        Some(self.clock.deadline(next_ns))
    }

    /// Ends the trace where it stands.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether the end was told.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Where the trace goes.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.finder.destination()
    }

    /// What the probes are.
    #[must_use]
    pub const fn method(&self) -> TraceMethod {
        self.options.method
    }

    /// Sets the identifier; see [`TraceOptions::identifier`].
    pub const fn set_identifier(&mut self, identifier: Option<u16>) {
        self.finder.set_identifier(identifier);
    }

    /// The newest probe in flight to an address, for whoever only knows where it went.
    #[cfg(feature = "services")]
    pub(crate) fn newest(&self, destination: SocketAddr) -> Option<u16> {
        let index = self
            .probes
            .iter()
            .rposition(|probe| probe.state == ProbeState::Waiting)?;
        let newest = u16::try_from(index).ok()?;
        // Where the port tells the probes apart, it tells which one it was.
        match self.finder.queued(destination, &[]) {
            Match::Probe(number) => Some(number),
            _ => Some(newest),
        }
    }

    /// What became of the probes to a hop, in the order in which they were sent; empty for a hop beyond the options.
    pub fn probes(&self, hop: u8) -> impl Iterator<Item = &ProbeState> {
        let each = usize::from(self.options.probes_per_hop);
        let first = hop
            .checked_sub(self.options.first_hop)
            .map_or(usize::MAX, |index| usize::from(index) * each);
        self.probes
            .iter()
            .skip(first)
            .take(each)
            .map(|probe| &probe.state)
    }

    /// Inputs that belonged to no probe: other programs' answers, forgeries, wreckage.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Answers to probes that had been answered before.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Whether probes go out one at a time because a router quotes too little to tell them apart.
    #[must_use]
    pub const fn is_serial(&self) -> bool {
        self.serial
    }

    const fn in_flight(&self) -> u16 {
        if self.serial { 1 } else { self.options.in_flight }
    }

    fn hop(&self, number: u16) -> u8 {
        let index = number / u16::from(self.options.probes_per_hop).max(1);
        self.options
            .first_hop
            .saturating_add(u8::try_from(index).unwrap_or(u8::MAX))
    }

    fn attempt(&self, number: u16) -> u8 {
        u8::try_from(number % u16::from(self.options.probes_per_hop).max(1)).unwrap_or(u8::MAX)
    }

    fn state(&self, number: u16) -> Option<&ProbeState> {
        self.probes.get(usize::from(number)).map(|probe| &probe.state)
    }

    /// Whether a probe's fate still matters: it does not go beyond the end.
    fn wanted(&self, number: u16) -> bool {
        self.end.is_none_or(|(last, _)| self.hop(number) <= last)
    }

    fn next_unsent(&self) -> Option<u16> {
        if self.stopped || self.done {
            return None;
        }
        let end = u16::try_from(self.probes.len()).unwrap_or(u16::MAX);
        (self.cursor..end)
            .find(|&number| self.state(number) == Some(&ProbeState::Unsent))
            .filter(|&number| self.wanted(number))
    }

    fn only_waiting(&self) -> Option<u16> {
        let index = self
            .probes
            .iter()
            .position(|probe| probe.state == ProbeState::Waiting)?;
        u16::try_from(index).ok()
    }

    fn answered(
        &mut self,
        number: u16,
        received_ns: u64,
        from: Option<IpAddr>,
        kind: AnswerKind,
        hop_limit: Option<u8>,
        extensions: Extensions,
    ) -> Option<TraceEvent> {
        let (hop, attempt) = (self.hop(number), self.attempt(number));
        if !self.wanted(number) || self.done {
            return None;
        }
        let probe = self.probes.get_mut(usize::from(number))?;
        let rtt = Duration::from_nanos(received_ns.saturating_sub(probe.sent_ns));
        let answer = Answer {
            hop,
            attempt,
            from,
            rtt,
            hop_limit,
            kind,
            extensions,
        };
        match probe.state {
            ProbeState::Waiting => {}
            ProbeState::Lost if !probe.late => {
                probe.late = true;
                return Some(TraceEvent::Late(answer));
            }
            ProbeState::Lost | ProbeState::Answered(_) => {
                self.duplicates += 1;
                return None;
            }
            ProbeState::Unsent => {
                self.strangers += 1;
                return None;
            }
        }
        probe.state = ProbeState::Answered(Box::new(answer.clone()));
        self.pending -= 1;
        match kind {
            AnswerKind::Router => {}
            AnswerKind::Reached => self.ends(hop, None),
            AnswerKind::Failed(cause) => self.ends(hop, Some(cause)),
        }
        Some(TraceEvent::Answer(answer))
    }

    /// The trace goes no further than this hop. Reaching the target says more than failing beside it.
    fn ends(&mut self, hop: u8, cause: Option<Cause>) {
        let better = match self.end {
            None => true,
            Some((last, known)) => hop < last || (hop == last && known.is_some() && cause.is_none()),
        };
        if better {
            self.end = Some((hop, cause));
            // What is in flight beyond the end is nobody's concern any more.
            let beyond = (0u16..)
                .zip(&self.probes)
                .filter(|&(number, probe)| probe.state == ProbeState::Waiting && self.hop(number) > hop);
            let beyond: Vec<u16> = beyond.map(|(number, _)| number).collect();
            for number in beyond {
                if let Some(probe) = self.probes.get_mut(usize::from(number)) {
                    probe.state = ProbeState::Unsent;
                    self.pending -= 1;
                }
            }
        }
    }

    fn expire(&mut self, number: u16, deadline_ns: u64) -> Option<TraceEvent> {
        let (hop, attempt, serial) = (self.hop(number), self.attempt(number), self.serial);
        let timeout_ns = ns(self.options.timeout);
        let probe = self.probes.get_mut(usize::from(number))?;
        // A probe that was sent again has a later deadline of its own.
        if probe.state != ProbeState::Waiting || probe.sent_ns.saturating_add(timeout_ns) != deadline_ns {
            return None;
        }
        self.pending -= 1;
        if serial && !probe.alone {
            // It was in flight beside others, and maybe answered by a quote that could have been anyone's.
            probe.state = ProbeState::Unsent;
            self.cursor = self.cursor.min(number);
            return None;
        }
        probe.state = ProbeState::Lost;
        Some(TraceEvent::Lost { hop, attempt })
    }

    fn last_hop(&self) -> u16 {
        u16::from(self.end.map_or(self.options.max_hops, |(last, _)| last))
    }

    /// Whether the hop that is told next has all its answers and losses, or is beyond the end.
    fn is_complete(&self) -> bool {
        u8::try_from(self.telling)
            .ok()
            .filter(|&hop| u16::from(hop) <= self.last_hop())
            .is_none_or(|hop| self.is_settled(hop))
    }

    fn is_settled(&self, hop: u8) -> bool {
        self.probes(hop)
            .all(|state| matches!(state, ProbeState::Answered(_) | ProbeState::Lost))
    }

    fn tell_hop(&mut self) -> Option<TraceEvent> {
        let hop = u8::try_from(self.telling).ok()?;
        if self.done || self.stopped || self.telling > self.last_hop() || !self.is_settled(hop) {
            return None;
        }
        self.telling += 1;
        Some(TraceEvent::Hop(hop))
    }

    fn tell_end(&mut self) -> Option<TraceEvent> {
        if self.done || (!self.stopped && self.telling <= self.last_hop()) {
            return None;
        }
        self.done = true;
        Some(TraceEvent::Done(match self.end {
            _ if self.stopped => TraceEnd::Stopped,
            Some((hop, None)) => TraceEnd::Reached { hop },
            Some((hop, Some(cause))) => TraceEnd::Failed { hop, cause },
            None => TraceEnd::MaxHops,
        }))
    }
}
