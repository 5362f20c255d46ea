//! Ping: echo requests to many targets at once, and what came of each.
//!
//! A [`Pinger`] does no I/O. Its caller sends what [`poll_transmit`](Pinger::poll_transmit) yields, hands in what
//! sockets receive, and calls back at [`poll_timeout`](Pinger::poll_timeout). Sending, matching a reply and noticing
//! a loss cost O(log n) in the number of targets, and a target takes less than a KiB whatever it has answered.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::input::{Cause, Input, Message};
use crate::stats::RttStats;
use crate::time::{Clock, ns};
use crate::token::{Secret, TAG_LEN};
use crate::wire::{self, Decoded, Echo};

mod event;
mod options;
mod target;

pub use event::{AddError, PingEvent, PingOutcome, PingTransmit, TargetId};
pub use options::{Pace, PingOptions};
pub use target::PingCounts;
use target::{Fate, Target};

/// Answered requests are remembered this long, in requests, so that duplicates and late replies are known as such.
const REMEMBERED: usize = 16;
/// Requests to one target that may be in flight.
const MAX_IN_FLIGHT: usize = 1024;

/// Pings any number of targets; see the [module](self) for how to drive it.
///
/// ```
/// use std::time::Duration;
/// use sockeye_probe::{PingOptions, Pinger};
///
/// let mut pinger = Pinger::new(PingOptions { count: Some(1), ..PingOptions::new(0x5eed) });
/// let target = pinger.add("192.0.2.1:0".parse()?)?;
/// let mut message = Vec::new();
/// let request = pinger.poll_transmit(Duration::ZERO, &mut message).expect("the first one is due at once");
/// assert_eq!((request.target, request.sequence), (target, 1));
/// assert_eq!(message.len(), 8 + 56);
/// assert_eq!(pinger.poll_timeout(), Some(Duration::from_secs(1)), "when it will be lost");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pinger {
    options: PingOptions,
    secret: Secret,
    /// What follows the tag in every payload.
    pattern: Box<[u8]>,
    in_flight: usize,
    window: usize,
    clock: Clock,
    targets: Vec<Target>,
    by_address: HashMap<(IpAddr, u32), TargetId>,
    /// When each target's next request is due; one entry a target at most.
    schedule: BinaryHeap<Reverse<(u64, TargetId)>>,
    /// When the requests in flight will be lost: in order, because the timeout is the same for all.
    deadlines: VecDeque<(u64, TargetId, u32)>,
    /// Targets that have ended and were not told yet.
    finished: VecDeque<TargetId>,
    /// No request leaves before this.
    gap_until_ns: u64,
    stopped: bool,
    unfinished: usize,
    strangers: u64,
}

impl Pinger {
    /// A pinger without targets.
    #[must_use]
    pub fn new(options: PingOptions) -> Self {
        let payload_len = options.payload_len.min(PingOptions::MAX_PAYLOAD_LEN);
        let (in_flight, window) = match options.pace {
            Pace::Adaptive { .. } => (1, REMEMBERED),
            Pace::Every(interval) => {
                // One more than overlap, for a caller who asks for the next before he asks what was lost.
                let overlapping = ns(options.timeout) / ns(interval).max(1) + 2;
                let in_flight = usize::try_from(overlapping).map_or(MAX_IN_FLIGHT, |n| n.min(MAX_IN_FLIGHT));
                (in_flight, in_flight.max(REMEMBERED).next_multiple_of(REMEMBERED))
            }
        };
        Self {
            secret: Secret::new(options.secret),
            pattern: wire::pattern(payload_len.saturating_sub(TAG_LEN)),
            options: PingOptions {
                payload_len,
                ..options
            },
            in_flight,
            window,
            clock: Clock::default(),
            targets: Vec::new(),
            by_address: HashMap::new(),
            schedule: BinaryHeap::new(),
            deadlines: VecDeque::new(),
            finished: VecDeque::new(),
            gap_until_ns: 0,
            stopped: false,
            unfinished: 0,
            strangers: 0,
        }
    }

    /// Adds a target, whose first request is due at once. The port is not looked at; the scope of a link-local
    /// address is.
    ///
    /// # Errors
    /// [`AddError::Duplicate`] for a second time, [`AddError::NotUnicast`] for groups, broadcast and the unspecified
    /// address.
    pub fn add(&mut self, address: SocketAddr) -> Result<TargetId, AddError> {
        let ip = address.ip();
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if broadcast || ip.is_multicast() || ip.is_unspecified() {
            return Err(AddError::NotUnicast(ip));
        }
        let id = u32::try_from(self.targets.len()).map_err(|_| AddError::Full)?;
        let id = TargetId(id);
        match self.by_address.entry(wire::key(address)) {
            Entry::Occupied(_) => return Err(AddError::Duplicate(ip)),
            Entry::Vacant(place) => place.insert(id),
        };
        let due_ns = self.clock.passed_ns();
        self.targets.push(Target::new(wire::portless(address), due_ns));
        self.schedule.push(Reverse((due_ns, id)));
        self.unfinished += 1;
        Ok(id)
    }

    /// The next request that is due, written to `message` from the ICMP type on, in place of what was there.
    ///
    /// The checksum is there for IPv4; over IPv6 the kernel fills it in.
    pub fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<PingTransmit> {
        let now_ns = self.clock.advance(now);
        if now_ns < self.gap_until_ns {
            return None;
        }
        loop {
            let &Reverse((due_ns, id)) = self.schedule.peek()?;
            if due_ns > now_ns {
                return None;
            }
            self.schedule.pop();
            let window = self.window;
            let had_all = self.stopped || self.had_all(id);
            let target = self.targets.get_mut(id.index())?;
            target.scheduled = false;
            if had_all {
                // Answered while the next was scheduled: nobody else says that it has finished.
                self.finish(id);
                continue;
            }
            let sequence = target.send(now_ns, window);
            let destination = target.address;
            target.due_ns = match self.options.pace {
                // From when it was due, not from now: a late wake-up does not add up.
                Pace::Every(interval) => due_ns.saturating_add(ns(interval)).max(now_ns),
                Pace::Adaptive { at_least } => now_ns.saturating_add(ns(at_least)),
            };
            self.gap_until_ns = now_ns.saturating_add(ns(self.options.gap));
            self.deadlines
                .push_back((now_ns.saturating_add(ns(self.options.timeout)), id, sequence));
            self.reschedule(id);
            self.write(id, destination, sequence, message);
            return Some(PingTransmit {
                target: id,
                sequence,
                destination,
                hop_limit: self.options.hop_limit,
            });
        }
    }

    /// Takes something that a socket received and says what it did to one of the requests.
    /// `None` where it belongs to none of them.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Option<PingEvent> {
        let now_ns = self.clock.advance(now);
        let event = match input.message {
            Message::Icmp { from, message } => match wire::decode(from.is_ipv6(), message) {
                Some(Decoded::EchoReply(echo)) => {
                    let received_ns = input.received_at.map_or(now_ns, |moment| self.clock.at(moment));
                    self.reply(received_ns, now_ns, from, input.hop_limit, echo)
                }
                Some(Decoded::Error(error)) if wire::is_icmp(error.protocol, error.destination) => {
                    let scope = wire::key(from).1;
                    let key = (error.destination, wire::scope_for(error.destination, scope));
                    self.error(now_ns, Some(from.ip()), key, error.cause, error.transport)
                }
                _ => None,
            },
            Message::Error {
                offender,
                destination,
                cause,
                quoted,
            } => self.error(now_ns, offender, wire::key(destination), cause, quoted),
            Message::Udp { .. } | Message::Tcp { .. } => None,
        };
        if event.is_none() {
            self.strangers += 1;
        }
        event
    }

    /// Takes the news that a request could not be sent.
    pub fn handle_send_error(
        &mut self,
        now: Duration,
        target: TargetId,
        sequence: u32,
        cause: Cause,
    ) -> Option<PingEvent> {
        let now_ns = self.clock.advance(now);
        self.fail(now_ns, target, sequence, None, cause)
    }

    /// Sets the identifier; see [`PingOptions::identifier`].
    pub const fn set_identifier(&mut self, identifier: Option<u16>) {
        self.options.identifier = identifier;
    }

    /// The newest request to an address, for whoever only knows where it went.
    #[cfg(feature = "services")]
    pub(crate) fn newest(&self, destination: SocketAddr) -> Option<(TargetId, u32)> {
        let id = *self.by_address.get(&wire::key(destination))?;
        Some((id, self.targets.get(id.index())?.counts.sent))
    }

    /// What happened by the mere passing of time: losses, and targets that have finished. Call until `None`.
    pub fn poll_event(&mut self, now: Duration) -> Option<PingEvent> {
        let now_ns = self.clock.advance(now);
        while let Some(&(deadline_ns, id, sequence)) = self.deadlines.front() {
            if deadline_ns > now_ns {
                break;
            }
            self.deadlines.pop_front();
            let Some(target) = self.targets.get_mut(id.index()) else {
                continue;
            };
            if target.settle(sequence, Fate::Lost) {
                target.counts.lost += 1;
                self.settled(now_ns, id);
                return Some(PingEvent {
                    target: id,
                    sequence,
                    outcome: PingOutcome::Lost,
                });
            }
        }
        let id = self.finished.pop_front()?;
        let sequence = self.targets.get(id.index())?.counts.sent;
        Some(PingEvent {
            target: id,
            sequence,
            outcome: PingOutcome::Finished,
        })
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) again, on the caller's
    /// clock; a past moment means now. `None`: nothing will happen any more but by input.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        if !self.finished.is_empty() {
            return Some(self.clock.deadline(0));
        }
        while let Some(&(_, id, sequence)) = self.deadlines.front() {
            let waits = self
                .targets
                .get(id.index())
                .and_then(|target| target.request(sequence));
            if waits.is_some_and(|request| request.fate() == Fate::Waiting) {
                break;
            }
            self.deadlines.pop_front();
        }
        let send_ns = self
            .schedule
            .peek()
            .map(|&Reverse((due_ns, _))| due_ns.max(self.gap_until_ns));
        let lost_ns = self.deadlines.front().map(|&(deadline_ns, ..)| deadline_ns);
        let next_ns = [send_ns, lost_ns].into_iter().flatten().min()?;
        Some(self.clock.deadline(next_ns))
    }

    /// Sends nothing more; what is in flight may still be answered. Targets with nothing in flight finish.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.schedule.clear();
        for index in 0..self.targets.len() {
            if let Some(target) = self.targets.get_mut(index) {
                target.scheduled = false;
            }
            if let Ok(index) = u32::try_from(index) {
                self.finish(TargetId(index));
            }
        }
    }

    /// Whether every target has finished.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    /// How many targets there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no target.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The targets, in the order in which they were added.
    pub fn targets(&self) -> impl Iterator<Item = (TargetId, IpAddr)> {
        (0..)
            .zip(&self.targets)
            .map(|(index, target)| (TargetId(index), target.address.ip()))
    }

    /// A target's address; its port is 0.
    #[must_use]
    pub fn address(&self, target: TargetId) -> Option<SocketAddr> {
        self.targets.get(target.index()).map(|target| target.address)
    }

    /// How a target stands.
    #[must_use]
    pub fn counts(&self, target: TargetId) -> PingCounts {
        self.targets
            .get(target.index())
            .map_or_else(PingCounts::default, |target| target.counts)
    }

    /// The round-trip times of a target's replies, without duplicates and late ones.
    #[must_use]
    pub fn rtt(&self, target: TargetId) -> Option<&RttStats> {
        self.targets.get(target.index()).map(|target| &target.rtt)
    }

    /// Inputs that belonged to no request: other programs' replies, forgeries, wreckage.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.strangers
    }

    fn write(&self, id: TargetId, destination: SocketAddr, sequence: u32, message: &mut Vec<u8>) {
        let tag = self.secret.tag(id.0, sequence);
        wire::echo_request(
            message,
            destination.is_ipv6(),
            self.options.identifier.unwrap_or(0),
            wire::low16(sequence),
            |payload| {
                payload.extend_from_slice(&tag[..TAG_LEN.min(self.options.payload_len)]);
                payload.extend_from_slice(&self.pattern);
            },
        );
    }

    fn reply(
        &mut self,
        received_ns: u64,
        now_ns: u64,
        from: SocketAddr,
        hop_limit: Option<u8>,
        echo: Echo<'_>,
    ) -> Option<PingEvent> {
        let id = *self.by_address.get(&wire::key(from))?;
        if self.options.identifier.is_some_and(|own| own != echo.identifier) {
            return None;
        }
        let target = self.targets.get_mut(id.index())?;
        let sequence = target.sequence(echo.sequence)?;
        let tag = self.secret.tag(id.0, sequence);
        let tag = &tag[..TAG_LEN.min(self.options.payload_len)];
        // A tag that is cut short still says whose it is; one that differs is a stranger's.
        let shown = tag.len().min(echo.payload.len());
        if echo.payload[..shown] != tag[..shown] || (shown == 0 && !tag.is_empty()) {
            return None;
        }
        let event = |outcome| {
            Some(PingEvent {
                target: id,
                sequence,
                outcome,
            })
        };
        if let Some(at) = wire::first_difference(echo.payload, tag, &self.pattern) {
            target.counts.corrupt += 1;
            return event(PingOutcome::Corrupt { at });
        }
        let Some(request) = target.request(sequence) else {
            target.counts.late += 1;
            return event(PingOutcome::Late { rtt: None });
        };
        let rtt = Duration::from_nanos(received_ns.saturating_sub(request.sent_ns()));
        match request.fate() {
            Fate::Waiting => {
                target.settle(sequence, Fate::Answered);
                target.counts.received += 1;
                target.rtt.record(rtt);
                self.settled(now_ns, id);
                event(PingOutcome::Reply {
                    rtt,
                    len: wire::ECHO_HEADER_LEN + echo.payload.len(),
                    hop_limit,
                })
            }
            Fate::Lost => {
                target.settle_late(sequence);
                target.counts.late += 1;
                event(PingOutcome::Late { rtt: Some(rtt) })
            }
            Fate::Answered | Fate::Late => {
                target.counts.duplicates += 1;
                event(PingOutcome::Duplicate { rtt })
            }
        }
    }

    fn error(
        &mut self,
        now_ns: u64,
        offender: Option<IpAddr>,
        destination: (IpAddr, u32),
        cause: Cause,
        quoted: &[u8],
    ) -> Option<PingEvent> {
        let id = *self.by_address.get(&destination)?;
        let echo = wire::quoted_echo(destination.0.is_ipv6(), quoted)?;
        if self.options.identifier.is_some_and(|own| own != echo.identifier) {
            return None;
        }
        let sequence = self.targets.get(id.index())?.sequence(echo.sequence)?;
        let tag = self.secret.tag(id.0, sequence);
        let shown = TAG_LEN.min(self.options.payload_len).min(echo.payload.len());
        if echo.payload[..shown] != tag[..shown] {
            return None;
        }
        self.fail(now_ns, id, sequence, offender, cause)
    }

    fn fail(
        &mut self,
        now_ns: u64,
        id: TargetId,
        sequence: u32,
        offender: Option<IpAddr>,
        cause: Cause,
    ) -> Option<PingEvent> {
        let target = self.targets.get_mut(id.index())?;
        if !target.settle(sequence, Fate::Lost) {
            return None;
        }
        target.counts.failed += 1;
        self.settled(now_ns, id);
        Some(PingEvent {
            target: id,
            sequence,
            outcome: PingOutcome::Failed { offender, cause },
        })
    }

    /// A request has its fate: room for the next one, or the end.
    fn settled(&mut self, now_ns: u64, id: TargetId) {
        if let Some(target) = self.targets.get_mut(id.index())
            && !target.scheduled
        {
            target.due_ns = target.due_ns.max(now_ns);
        }
        self.reschedule(id);
        self.finish(id);
    }

    /// Enters a target into the schedule, if another request is to come and fits.
    fn reschedule(&mut self, id: TargetId) {
        let wanted = !self.stopped && !self.had_all(id);
        let Some(target) = self.targets.get_mut(id.index()) else {
            return;
        };
        if wanted && !target.scheduled && target.has_room(self.in_flight, self.window) {
            target.scheduled = true;
            self.schedule.push(Reverse((target.due_ns, id)));
        }
    }

    /// Whether no further request goes to a target.
    fn had_all(&self, id: TargetId) -> bool {
        let counts = self.counts(id);
        self.options.count.is_some_and(|count| counts.sent >= count)
            || (self.options.until_answered && counts.received > 0)
    }

    /// Notes that a target has come to its end, once.
    fn finish(&mut self, id: TargetId) {
        let sent_all = self.stopped || self.had_all(id);
        let Some(target) = self.targets.get_mut(id.index()) else {
            return;
        };
        if sent_all && target.counts.pending == 0 && !target.finished {
            target.finished = true;
            self.finished.push_back(id);
            self.unfinished -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
