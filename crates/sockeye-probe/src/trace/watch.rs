//! A trace that goes on: round after round, and what each hop did.
//!
//! A [`Watch`] sends one probe to each hop in a round, spread over the interval, and keeps counts a hop and an address. Like
//! the other engines it does no I/O and reads no clock.
//!
//! A probe is lost when its timeout has passed, not before: what is in flight counts neither way, so the last rounds show
//! no loss that is none. As rounds overlap, a long timeout costs nothing but memory, and a silent hop holds up no round but the
//! first, which finds out how far the hops go.
//!
//! Loss at a router is not loss on the way: many answer only so many probes a second (Linux by default one each second to a
//! host, RFC 1812 section 4.3.2.8) and forward everything. Only loss that the hops behind it share, the target above all, is
//! loss of packets.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::hop::Hop;
use super::probe::{Finder, Found, Match};
use super::{AnswerKind, Flow, TraceEnd, TraceMethod, TraceOptionsError, TraceTransmit};
use crate::extensions::Extensions;
use crate::input::{Cause, Input};
use crate::time::{Clock, ns};

mod figures;
mod options;

pub use options::{WatchEvent, WatchOptions};

/// Probes that are remembered, those in flight among them; older ones are strangers.
const WINDOW: usize = 4096;
/// As many hops share the interval of a round before it is known how many there are.
const ASSUMED_HOPS: u16 = 10;
/// So many probes to the end of the route lost in a row, and it may be elsewhere.
const MAX_UNHEARD: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Answered,
    Lost,
    Late,
    /// Taken back: beyond the end, before a reset, or not to be told from others.
    Forgotten,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    sent_ns: u64,
    /// Its number at its hop, from 1.
    nth: u32,
    hop: u8,
    state: State,
}

/// What the present round does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Probe(u8),
    /// In the first round: whether it goes on depends on what is in flight.
    Wait,
    Over,
}

/// Watches the route to one target; see the comments of the file for what its figures mean.
///
/// ```
/// use std::time::Duration;
/// use sockeye_probe::{TraceMethod, Watch, WatchOptions};
///
/// let mut watch = Watch::new("192.0.2.1:0".parse()?, WatchOptions::new(TraceMethod::Icmp, 0x5eed))?;
/// let mut message = Vec::new();
/// let probe = watch.poll_transmit(Duration::ZERO, &mut message).expect("the first is due at once");
/// assert_eq!(probe.hop_limit, 1);
/// // ... nobody answers; the second hop is next, a tenth of the interval later ...
/// assert_eq!(watch.poll_timeout(), Some(Duration::from_millis(100)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watch {
    options: WatchOptions,
    finder: Finder,
    clock: Clock,
    /// By hop limit, from `first_hop` on.
    hops: Vec<Hop>,
    window: VecDeque<Probe>,
    /// How many probes came before the window. A probe's number on the wire is its place among all, modulo `numbers`.
    base: u64,
    /// The first place that may wait, for what is before it has its fate.
    oldest: u64,
    numbers: u16,
    limit: usize,
    pending: usize,
    /// The hop at which the way ends, as far as is known, and how.
    end: Option<(u8, Option<Cause>)>,
    /// Probes to the end that were lost since something was heard from there.
    unheard: u8,
    /// The last hop that has answered.
    farthest: Option<u8>,
    /// Rounds begun.
    round: u32,
    round_ns: u64,
    /// The next hop of the present round.
    cursor: u16,
    /// No probe leaves before this.
    due_ns: u64,
    paused: bool,
    stopped: bool,
    done: bool,
    serial: bool,
    strangers: u64,
    duplicates: u64,
}

impl Watch {
    /// A watch of the route to `destination`. Its port is the UDP or TCP port, the first of many where each probe is a flow
    /// of its own.
    ///
    /// # Errors
    /// [`TraceOptionsError`] where the options make no sense together.
    pub fn new(destination: SocketAddr, options: WatchOptions) -> Result<Self, TraceOptionsError> {
        let mut trace = options.trace.clone();
        trace.probes_per_hop = 1;
        trace.in_flight = trace.in_flight.max(1);
        trace.payload_len = trace.payload_len.max(super::probe::MIN_PAYLOAD_LEN);
        trace.check(destination)?;
        let hops = trace.probes();
        let first_port = match (trace.method, trace.flow) {
            (TraceMethod::Udp, Flow::Classic) => destination.port(),
            (TraceMethod::Tcp { source }, Flow::Classic) => source.port(),
            _ => 1,
        };
        // The ports from the first to the last; half of the numbers may be in flight, the others are still known as late.
        let numbers = (u16::MAX - first_port).saturating_add(1);
        if numbers < hops.saturating_mul(2) {
            return Err(TraceOptionsError::Ports {
                first: first_port,
                probes: hops.saturating_mul(2),
            });
        }
        Ok(Self {
            finder: Finder::new(destination, &trace, numbers),
            clock: Clock::default(),
            hops: vec![Hop::default(); usize::from(hops)],
            window: VecDeque::new(),
            base: 0,
            oldest: 0,
            numbers,
            limit: WINDOW.min(usize::from(numbers / 2)),
            pending: 0,
            end: None,
            unheard: 0,
            farthest: None,
            round: 0,
            round_ns: 0,
            // Past every hop: the first round has not begun.
            cursor: u16::MAX,
            due_ns: 0,
            paused: false,
            stopped: false,
            done: false,
            serial: false,
            strangers: 0,
            duplicates: 0,
            options: WatchOptions { trace, ..options },
        })
    }

    /// The next probe that may leave, written to `message` as [`Tracer::poll_transmit`](super::Tracer::poll_transmit) does.
    pub fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<TraceTransmit> {
        let now_ns = self.clock.advance(now);
        if self.done || self.stopped || now_ns < self.send_ns()? {
            return None;
        }
        if self.paused {
            // The rounds that fall into a pause are left out, and nobody has to be woken when it ends.
            self.due_ns = now_ns.saturating_add(ns(self.options.interval).max(1));
            return None;
        }
        if self.next() == Next::Over {
            self.begin_round(now_ns);
        }
        let Next::Probe(hop) = self.next() else {
            return None;
        };
        if self.window.len() >= self.limit {
            self.window.pop_front();
            self.base += 1;
            self.oldest = self.oldest.max(self.base);
        }
        let place = self.base + self.window.len() as u64;
        let number = u16::try_from(place % u64::from(self.numbers)).unwrap_or(0);
        let nth = self.hop_mut(hop)?.sending();
        self.window.push_back(Probe {
            sent_ns: now_ns,
            nth,
            hop,
            state: State::Waiting,
        });
        self.pending += 1;
        self.cursor += 1;
        self.due_ns = now_ns.saturating_add(self.gap_ns());
        let destination = self.finder.write(number, message);
        Some(TraceTransmit {
            probe: number,
            destination,
            hop_limit: hop,
        })
    }

    /// Takes something that a socket received, and says what it was. `None` where it is no answer to a probe that is known.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Option<WatchEvent> {
        let now_ns = self.clock.advance(now);
        let received_ns = input.received_at.map_or(now_ns, |moment| self.clock.at(moment));
        let Found {
            from,
            kind,
            which,
            extensions,
        } = self.finder.find(input.message);
        let place = match which {
            Match::Probe(number) => self.place(number),
            Match::Unsure if self.pending == 1 => self.newest_waiting(),
            // Late or twice: nothing is in flight that it may belong to.
            Match::Unsure if self.serial => return None,
            Match::Unsure => {
                self.one_at_a_time(now_ns);
                return None;
            }
            Match::None => None,
        };
        let Some(place) = place else {
            self.strangers += 1;
            return None;
        };
        self.answered(place, received_ns, from, kind, extensions)
    }

    /// Takes the news that a probe could not be sent.
    pub fn handle_send_error(&mut self, now: Duration, probe: u16, cause: Cause) -> Option<WatchEvent> {
        let now_ns = self.clock.advance(now);
        let place = self.place(probe)?;
        let kind = AnswerKind::Failed(cause);
        self.answered(place, now_ns, None, kind, Extensions::default())
    }

    /// Probes that are lost by now, and the end. Call until `None`.
    pub fn poll_event(&mut self, now: Duration) -> Option<WatchEvent> {
        let now_ns = self.clock.advance(now);
        let timeout_ns = ns(self.options.trace.timeout);
        self.skip_settled();
        if let Some(probe) = self.at_mut(self.oldest)
            && probe.sent_ns.saturating_add(timeout_ns) <= now_ns
        {
            probe.state = State::Lost;
            let Probe { hop, nth, .. } = *probe;
            self.oldest += 1;
            self.pending -= 1;
            self.hop_mut(hop)?.is_lost(nth);
            self.not_heard(hop);
            return Some(WatchEvent::Lost { hop });
        }
        if self.done || !(self.stopped || self.is_over()) {
            return None;
        }
        self.done = true;
        let end = if self.stopped {
            TraceEnd::Stopped
        } else {
            self.end()
        };
        Some(WatchEvent::Done(end))
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) again, on the caller's
    /// clock; a past moment means now. `None`: the watch is over.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        if self.done {
            return None;
        }
        self.skip_settled();
        if self.stopped || self.is_over() {
            return Some(self.clock.deadline(0));
        }
        let timeout_ns = ns(self.options.trace.timeout);
        let lost_ns = self
            .at(self.oldest)
            .map(|probe| probe.sent_ns.saturating_add(timeout_ns));
        let next_ns = [self.send_ns(), lost_ns].into_iter().flatten().min();
        Some(self.clock.deadline(next_ns.unwrap_or(0)))
    }

    /// Ends the watch where it stands. What is in flight stays pending.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Sends nothing until it is called with `false`; answers still count. The first round after it begins within an interval.
    pub const fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether it sends nothing.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Begins anew: with all figures, with a round, and with how long the route is. What is in flight counts for nothing.
    pub fn reset(&mut self) {
        self.forget(|_| true);
        // What comes for the others is no figure of now either.
        for probe in &mut self.window {
            probe.state = State::Forgotten;
        }
        (self.strangers, self.duplicates) = (0, 0);
        self.hops.fill(Hop::default());
        (self.end, self.unheard, self.farthest) = (None, 0, None);
        (self.round, self.cursor) = (0, u16::MAX);
    }

    /// Sets the identifier; see [`TraceOptions::identifier`](super::TraceOptions::identifier).
    pub const fn set_identifier(&mut self, identifier: Option<u16>) {
        self.finder.set_identifier(identifier);
    }

    /// The newest probe in flight to an address, for whoever only knows where it went.
    #[cfg(feature = "services")]
    pub(crate) fn newest(&self, destination: SocketAddr) -> Option<u16> {
        // Where the port tells the probes apart, it tells which one it was.
        match self.finder.queued(destination, &[]) {
            Match::Probe(number) => Some(number),
            _ => u16::try_from(self.newest_waiting()? % u64::from(self.numbers)).ok(),
        }
    }

    fn begin_round(&mut self, now_ns: u64) {
        let interval_ns = ns(self.options.interval);
        let due_ns = self.round_ns.saturating_add(interval_ns);
        // From when it was due, so that late wake-ups do not add up; rounds that were missed are not made up for.
        let missed = self.round == 0 || now_ns.saturating_sub(due_ns) > interval_ns;
        self.round_ns = if missed { now_ns } else { due_ns };
        self.round = self.round.saturating_add(1);
        self.cursor = u16::from(self.options.trace.first_hop);
    }

    fn next(&self) -> Next {
        let last = self.end.map_or(self.options.trace.max_hops, |(hop, _)| hop);
        let Some(hop) = u8::try_from(self.cursor).ok().filter(|&hop| hop <= last) else {
            return Next::Over;
        };
        let before = self.options.trace.first_hop.saturating_sub(1);
        let known = self.farthest.unwrap_or(before);
        if self.end.is_some() || hop <= known.saturating_add(self.options.max_silent.max(1)) {
            return Next::Probe(hop);
        }
        // Only the first round waits: in the others what is in flight says soon enough that it goes on. Only those that may wait
        // are looked at.
        let settled = usize::try_from(self.oldest - self.base).unwrap_or(usize::MAX);
        let beyond = |probe: &Probe| probe.state == State::Waiting && probe.hop > known;
        if self.round <= 1 && self.pending > 0 && self.window.iter().skip(settled).any(beyond) {
            Next::Wait
        } else {
            Next::Over
        }
    }

    /// When the next probe may leave; `None` where that depends on what is in flight, or there is none.
    fn send_ns(&self) -> Option<u64> {
        let full = self.window.len() >= self.limit
            && self
                .window
                .front()
                .is_some_and(|probe| probe.state == State::Waiting);
        if full || (self.serial && self.pending > 0) {
            return None;
        }
        match self.next() {
            Next::Probe(_) => Some(self.due_ns),
            Next::Wait => None,
            Next::Over if self.options.rounds.is_some_and(|rounds| self.round >= rounds) => None,
            Next::Over if self.round == 0 => Some(self.due_ns),
            Next::Over => Some(
                self.due_ns
                    .max(self.round_ns.saturating_add(ns(self.options.interval))),
            ),
        }
    }

    /// The time between two probes of a round.
    fn gap_ns(&self) -> u64 {
        let first = self.options.trace.first_hop;
        let count = match (self.end, self.farthest) {
            (Some((last, _)), _) => u16::from(last.saturating_sub(first)) + 1,
            (None, Some(last)) => {
                u16::from(last.saturating_sub(first)) + 1 + u16::from(self.options.max_silent)
            }
            (None, None) => ASSUMED_HOPS,
        };
        ns(self.options.interval) / u64::from(count.max(1))
    }

    fn is_over(&self) -> bool {
        self.pending == 0
            && self.options.rounds.is_some_and(|rounds| self.round >= rounds)
            && self.next() == Next::Over
    }

    fn answered(
        &mut self,
        place: u64,
        received_ns: u64,
        from: Option<IpAddr>,
        kind: AnswerKind,
        extensions: Extensions,
    ) -> Option<WatchEvent> {
        let probe = self.at_mut(place)?;
        let Probe {
            sent_ns,
            nth,
            hop,
            state,
        } = *probe;
        match state {
            State::Waiting => probe.state = State::Answered,
            State::Lost => {
                probe.state = State::Late;
                let hop_stats = self.hop_mut(hop)?;
                hop_stats.late = hop_stats.late.saturating_add(1);
                return Some(WatchEvent::Late { hop });
            }
            State::Answered | State::Late => {
                self.duplicates += 1;
                return None;
            }
            State::Forgotten => return None,
        }
        self.pending -= 1;
        let rtt = Duration::from_nanos(received_ns.saturating_sub(sent_ns));
        match from {
            Some(from) => self.hop_mut(hop)?.answered(nth, from, kind, rtt, extensions),
            None => self.hop_mut(hop)?.has_failed(nth),
        }
        if from.is_some() {
            self.farthest = self.farthest.max(Some(hop));
        }
        self.learn(hop, kind);
        Some(match (from, kind) {
            (Some(from), _) => WatchEvent::Answer { hop, from, rtt, kind },
            (None, AnswerKind::Failed(cause)) => WatchEvent::Failed { hop, cause },
            (None, _) => WatchEvent::Lost { hop },
        })
    }

    /// What an answer says about the length of the route, which may change at any time.
    fn learn(&mut self, hop: u8, kind: AnswerKind) {
        let known = self.end;
        match (kind, self.end) {
            // It goes on here, whatever was known: the route has become longer, or what refused does not any more.
            (AnswerKind::Router, Some((end, _))) if end == hop => self.end = None,
            (AnswerKind::Router, _) => {}
            // Nearer than was known: what answered beyond was the target too.
            (AnswerKind::Reached, Some((end, None))) if hop >= end => {}
            (AnswerKind::Reached, _) => {
                self.end = Some((hop, None));
                self.farthest = self.farthest.min(Some(hop));
                self.forget(|probe| probe.hop > hop);
                let kept = usize::from(hop - self.options.trace.first_hop) + 1;
                for beyond in self.hops.iter_mut().skip(kept) {
                    *beyond = Hop::default();
                }
            }
            // A refusal on the way to a target that was reached is one lost probe, not the end of the route.
            (AnswerKind::Failed(_), Some((_, None))) => {}
            (AnswerKind::Failed(_), Some((end, Some(_)))) if hop > end => {}
            (AnswerKind::Failed(cause), _) => self.end = Some((hop, Some(cause))),
        }
        if self.end != known || known.is_some_and(|(end, _)| hop >= end) {
            self.unheard = 0;
        }
    }

    /// A probe was lost. Silence at the end alone says nothing of how long the route is now: a silent router may be there, and
    /// the target behind it.
    fn not_heard(&mut self, hop: u8) {
        if self.end.is_some_and(|(end, _)| end == hop) {
            self.unheard += 1;
            if self.unheard >= MAX_UNHEARD {
                (self.end, self.unheard) = (None, 0);
            }
        }
    }

    /// From here on one probe is in flight at a time, and the first leaves when no answer to the others may come any more.
    fn one_at_a_time(&mut self, now_ns: u64) {
        self.serial = true;
        self.forget(|_| true);
        self.due_ns = now_ns.saturating_add(ns(self.options.trace.timeout));
    }

    /// Takes back probes in flight: they count for nothing.
    fn forget(&mut self, which: impl Fn(&Probe) -> bool) {
        let first = self.options.trace.first_hop;
        for probe in &mut self.window {
            if probe.state == State::Waiting && which(probe) {
                probe.state = State::Forgotten;
                self.pending -= 1;
                if let Some(hop) = self.hops.get_mut(usize::from(probe.hop.saturating_sub(first))) {
                    hop.forgotten();
                }
            }
        }
    }

    fn skip_settled(&mut self) {
        while self
            .at(self.oldest)
            .is_some_and(|probe| probe.state != State::Waiting)
        {
            self.oldest += 1;
        }
    }

    /// The place of the newest probe with that number on the wire.
    fn place(&self, number: u16) -> Option<u64> {
        let newest = (self.base + self.window.len() as u64).checked_sub(1)?;
        let numbers = u64::from(self.numbers);
        let behind = (newest % numbers + numbers - u64::from(number)) % numbers;
        newest.checked_sub(behind).filter(|&place| place >= self.base)
    }

    fn newest_waiting(&self) -> Option<u64> {
        let index = self
            .window
            .iter()
            .rposition(|probe| probe.state == State::Waiting)?;
        Some(self.base + index as u64)
    }

    fn at(&self, place: u64) -> Option<&Probe> {
        let index = place.checked_sub(self.base)?;
        self.window.get(usize::try_from(index).ok()?)
    }

    fn at_mut(&mut self, place: u64) -> Option<&mut Probe> {
        let index = place.checked_sub(self.base)?;
        self.window.get_mut(usize::try_from(index).ok()?)
    }

    fn hop_mut(&mut self, hop: u8) -> Option<&mut Hop> {
        let index = hop.checked_sub(self.options.trace.first_hop)?;
        self.hops.get_mut(usize::from(index))
    }
}
