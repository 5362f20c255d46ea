//! Port scans: which ports of which hosts are open.
//!
//! A [`Scanner`] does no I/O. Its caller sends what [`poll_transmit`](Scanner::poll_transmit) yields (a TCP connect, or a
//! UDP datagram with the [`payload`] of its port), says by [`handle_outcome`](Scanner::handle_outcome) what became of it,
//! and calls back at [`poll_timeout`](Scanner::poll_timeout). Hosts and ports are walked and never listed: memory grows
//! with the probes in flight and with the hosts that are scanned at once, of which there are at most 256.
//!
//! The ports of a host come in an order without pattern, which begins elsewhere for each host, and hosts take turns. How
//! many probes a host has in flight follows its answers: more while they come, half as many once they take repeated
//! probes. A host that holds back its ICMP errors is then asked slower and slower, down to a probe a second, and a port
//! more often.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye_endpoint::{AddressRange, Network, PortSet};

use crate::time::{Clock, ns};
use crate::wire;

mod event;
mod host;
mod options;
mod order;
mod payload;
mod room;
mod targets;

pub use event::{PortState, ProbeId, Reason, ScanCounts, ScanEvent, ScanOutcome, ScanTransmit, Verdict};
use host::{Again, Host};
pub use options::{ScanMethod, ScanOptions};
use order::{below, hash, shuffle};
pub use payload::payload;
use room::Room;
use targets::Targets;

/// Hosts that are scanned at once.
const MAX_HOSTS: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Probe {
    host: u32,
    port: u16,
    attempt: u32,
    sent_ns: u64,
    destination: SocketAddr,
    /// It was answered, and its caller is still busy with it.
    held: Option<Verdict>,
}

/// Scans ports; see the [module](self) for how to drive it.
///
/// ```
/// use std::time::Duration;
/// use sockeye_probe::{PortState, ScanMethod, ScanOptions, Scanner};
/// use sockeye_probe::scan::ScanOutcome;
///
/// let mut scanner = Scanner::new(&"22,80".parse()?, ScanOptions::new(ScanMethod::Tcp, 0x5eed));
/// scanner.add_network("192.0.2.0/30".parse()?);
/// assert_eq!(scanner.total(), 8);
/// let probe = scanner.poll_transmit(Duration::ZERO).expect("the first one is due at once");
/// // ... connect to `probe.destination` ...
/// let verdict = scanner.handle_outcome(Duration::from_millis(3), probe.probe, ScanOutcome::Refused);
/// assert_eq!(verdict.expect("in flight").state, PortState::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scanner {
    options: ScanOptions,
    targets: Targets,
    /// In the order in which they are asked.
    ports: Box<[u16]>,
    hosts: Vec<Option<Host>>,
    free_hosts: Vec<u32>,
    /// Hosts that have something to send, and may.
    ready: VecDeque<u32>,
    /// Hosts that have something to send, and when they may.
    resting: BinaryHeap<Reverse<(u64, u32)>>,
    probes: Vec<(u32, Option<Probe>)>,
    free_probes: Vec<u32>,
    /// When the attempts expire. Those that are over are passed over.
    deadlines: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Only for UDP, where nothing else tells whose an answer is.
    by_address: HashMap<(IpAddr, u32, u16), ProbeId>,
    in_flight: usize,
    room: Room,
    clock: Clock,
    /// No probe leaves before this.
    not_before_ns: u64,
    counts: ScanCounts,
    stopped: bool,
}

impl Scanner {
    /// A scanner of these ports, without hosts.
    #[must_use]
    pub fn new(ports: &PortSet, options: ScanOptions) -> Self {
        let mut ports: Box<[u16]> = ports.iter().collect();
        shuffle(&mut ports, options.secret);
        Self {
            room: Room::new(options.max_in_flight),
            options,
            targets: Targets::default(),
            ports,
            hosts: Vec::new(),
            free_hosts: Vec::new(),
            ready: VecDeque::new(),
            resting: BinaryHeap::new(),
            probes: Vec::new(),
            free_probes: Vec::new(),
            deadlines: BinaryHeap::new(),
            by_address: HashMap::new(),
            in_flight: 0,
            clock: Clock::default(),
            not_before_ns: 0,
            counts: ScanCounts::default(),
            stopped: false,
        }
    }

    /// Adds a host, which is scanned after those that were added before. Its port is not looked at; the scope of a
    /// link-local address is. One that is among them already is not added again.
    pub fn add_host(&mut self, address: SocketAddr) {
        self.targets.add_host(wire::portless(address));
    }

    /// Adds all addresses of a network, its first and its last one too. Those that were added before are scanned once.
    pub fn add_network(&mut self, network: Network) {
        self.add_range(network.into());
    }

    /// Adds a range of addresses. Those that were added before are scanned once.
    pub fn add_range(&mut self, range: AddressRange) {
        self.targets.add_range(range);
    }

    /// The next probe that is due.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<ScanTransmit> {
        let now_ns = self.clock.advance(now);
        if self.stopped || !self.room.is_left(self.in_flight) || now_ns < self.not_before_ns {
            return None;
        }
        self.wake(now_ns);
        self.admit();
        loop {
            let index = self.ready.pop_front()?;
            let host = self.hosts.get_mut(index as usize)?.as_mut()?;
            host.queued = false;
            if host.not_before_ns > now_ns {
                host.queued = true;
                self.resting.push(Reverse((host.not_before_ns, index)));
                continue;
            }
            let Some(next) = next_port(host, &self.ports) else {
                continue;
            };
            host.sent(now_ns);
            let attempt = next.attempts + 1;
            let mut destination = host.address;
            destination.set_port(next.port);
            let deadline_ns = now_ns.saturating_add(host.timeout_ns(attempt, &self.options));
            self.queue(index);
            self.not_before_ns = now_ns.saturating_add(ns(self.options.gap));
            self.counts.sent += 1;
            let probe = self.insert(Probe {
                host: index,
                port: next.port,
                attempt,
                sent_ns: now_ns,
                destination,
                held: None,
            });
            self.forget_deadlines();
            self.deadlines
                .push(Reverse((deadline_ns, probe.slot, probe.generation)));
            if self.options.method == ScanMethod::Udp {
                self.by_address.insert(key(destination), probe);
            }
            return Some(ScanTransmit {
                probe,
                destination,
                attempt,
            });
        }
    }

    /// Takes what became of a probe. `None` if it is over, or will be sent again.
    pub fn handle_outcome(&mut self, now: Duration, probe: ProbeId, outcome: ScanOutcome) -> Option<Verdict> {
        let now_ns = self.clock.advance(now);
        if outcome.meaning(self.options.method).is_some() {
            let verdict = self.decide(now_ns, probe, outcome)?;
            self.take(probe);
            return Some(verdict);
        }
        self.waiting(probe)?;
        let unsent = self.take(probe)?;
        if outcome == ScanOutcome::NoRoom {
            // Later again, and fewer at once from now on.
            let pause_ns = self.room.lacked(self.in_flight);
            self.not_before_ns = now_ns.saturating_add(pause_ns);
        }
        if let Some(host) = self.host(unsent.host) {
            host.left();
        }
        self.again(&unsent, unsent.attempt - 1);
        None
    }

    /// As [`handle_outcome`](Self::handle_outcome) of [`ScanOutcome::Answered`], for a caller who goes on with the socket:
    /// the probe counts as in flight, without a timeout, until [`release`](Self::release). `false` if it is over.
    pub fn hold(&mut self, now: Duration, probe: ProbeId) -> bool {
        let now_ns = self.clock.advance(now);
        let verdict = self.decide(now_ns, probe, ScanOutcome::Answered);
        let place = self.probes.get_mut(probe.slot());
        if let Some((_, Some(probe))) = place
            && verdict.is_some()
        {
            probe.held = verdict;
        }
        verdict.is_some()
    }

    /// The verdict of a probe that was held; its socket is closed.
    pub fn release(&mut self, probe: ProbeId) -> Option<Verdict> {
        self.get(probe)?.held?;
        self.take(probe)?.held
    }

    /// The verdicts of all probes that are held: for a caller who does not wait for more.
    pub fn release_all(&mut self) -> Vec<Verdict> {
        let held = |(_, probe): &(u32, Option<Probe>)| probe.as_ref()?.held;
        let held: Vec<Verdict> = self.probes.iter().filter_map(held).collect();
        for verdict in &held {
            self.take(verdict.probe);
        }
        held
    }

    /// The probe in flight to an address, for a datagram or an error that came from there. Only for UDP.
    #[must_use]
    pub fn find(&self, destination: SocketAddr) -> Option<ProbeId> {
        self.by_address.get(&key(destination)).copied()
    }

    /// What happened by the passing of time. Call until `None`.
    ///
    /// `heard` is the time until which everything that arrived has been handed in: `now`, unless there may be answers that
    /// the caller has not looked at. An attempt does not expire before it.
    pub fn poll_event(&mut self, now: Duration, heard: Duration) -> Option<ScanEvent> {
        self.clock.advance(now);
        let heard_ns = self.clock.at(heard);
        while let Some(&Reverse((deadline_ns, slot, generation))) = self.deadlines.peek() {
            let probe = ProbeId { slot, generation };
            let over = self.waiting(probe).is_none();
            if !over && deadline_ns > heard_ns {
                return None;
            }
            self.deadlines.pop();
            if over {
                continue;
            }
            let silent = self.take(probe)?;
            self.room.had();
            let host = self.hosts.get(silent.host as usize).and_then(Option::as_ref);
            let attempts = host.map_or(0, |host| host.attempts(&self.options));
            let is_last = silent.attempt >= attempts || self.stopped;
            let method = self.options.method;
            if let Some(host) = self.host(silent.host) {
                host.expired(is_last, method);
            }
            if !is_last {
                self.again(&silent, silent.attempt);
                return Some(ScanEvent::Expired(probe));
            }
            self.settled(silent.host);
            let state = match method {
                ScanMethod::Tcp => PortState::Filtered,
                ScanMethod::Udp => PortState::OpenOrFiltered,
            };
            let verdict = self.judge(probe, &silent, state, Reason::Timeout, None);
            return Some(ScanEvent::Verdict(verdict));
        }
        None
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) again, on the caller's
    /// clock; a past moment means now. `None`: nothing will happen any more but by outcomes.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        while let Some(&Reverse((_, slot, generation))) = self.deadlines.peek() {
            if self.waiting(ProbeId { slot, generation }).is_some() {
                break;
            }
            self.deadlines.pop();
        }
        let expires_ns = self.deadlines.peek().map(|&Reverse((at_ns, ..))| at_ns);
        let may_send = !self.stopped && self.room.is_left(self.in_flight);
        let ready = !self.ready.is_empty() || (self.has_place() && self.targets.has_more());
        let send_ns = if !may_send {
            None
        } else if ready {
            Some(self.not_before_ns)
        } else {
            let rested = self.resting.peek().map(|&Reverse((at_ns, _))| at_ns);
            rested.map(|at_ns| at_ns.max(self.not_before_ns))
        };
        let next_ns = [expires_ns, send_ns].into_iter().flatten().min()?;
        Some(self.clock.deadline(next_ns))
    }

    /// Sends nothing more; what is in flight may still be answered, and is not repeated.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether every port has its state.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let waiting = || self.hosts.len() > self.free_hosts.len() || self.targets.has_more();
        self.in_flight == 0 && (self.stopped || self.ports.is_empty() || !waiting())
    }

    /// Whether this host has had no room for any probe, again and again, for five seconds: no descriptors, no ports.
    #[must_use]
    pub const fn is_starved(&self) -> bool {
        self.room.is_used_up()
    }

    /// Hosts times ports.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.targets.len().saturating_mul(self.ports.len() as u128)
    }

    /// All hosts.
    #[must_use]
    pub fn hosts(&self) -> u128 {
        self.targets.len()
    }

    /// Whether there are hosts of IPv6, or of IPv4, among them.
    #[must_use]
    pub fn has_family(&self, v6: bool) -> bool {
        self.targets.has_family(v6)
    }

    /// How many ports have which state by now.
    #[must_use]
    pub const fn counts(&self) -> ScanCounts {
        self.counts
    }

    /// How it scans.
    #[must_use]
    pub const fn options(&self) -> &ScanOptions {
        &self.options
    }

    /// Probes in flight.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes what an outcome says of the port; the probe keeps its place. `None` if it is over or held, or if nothing is
    /// said.
    fn decide(&mut self, now_ns: u64, id: ProbeId, outcome: ScanOutcome) -> Option<Verdict> {
        let method = self.options.method;
        let (state, reason) = outcome.meaning(method)?;
        let probe = self.waiting(id)?;
        let rtt = Duration::from_nanos(now_ns.saturating_sub(probe.sent_ns));
        self.room.had();
        if let Some(host) = self.host(probe.host) {
            if outcome.is_of_this_host() {
                host.left();
            } else {
                host.answered(probe.attempt, rtt, method);
            }
        }
        self.settled(probe.host);
        Some(self.judge(id, &probe, state, reason, Some(rtt)))
    }

    fn judge(
        &mut self,
        id: ProbeId,
        probe: &Probe,
        state: PortState,
        reason: Reason,
        rtt: Option<Duration>,
    ) -> Verdict {
        self.counts.add(state);
        Verdict {
            probe: id,
            destination: probe.destination,
            state,
            reason,
            rtt,
            attempts: probe.attempt,
        }
    }

    /// Back to its host, in front of what is new there.
    fn again(&mut self, probe: &Probe, attempts: u32) {
        if let Some(host) = self.host(probe.host) {
            host.ask_again(Again {
                port: probe.port,
                attempts,
            });
        }
        self.queue(probe.host);
    }

    /// Once most deadlines are those of attempts that are over, they go: a long timeout would keep one for each answer.
    fn forget_deadlines(&mut self) {
        if self.deadlines.len() <= 2 * self.in_flight + MAX_HOSTS {
            return;
        }
        let probes = &self.probes;
        self.deadlines.retain(|&Reverse((_, slot, generation))| {
            let place = probes.get(slot as usize);
            place.is_some_and(|(now, probe)| {
                *now == generation && probe.as_ref().is_some_and(|probe| probe.held.is_none())
            })
        });
    }

    fn host(&mut self, index: u32) -> Option<&mut Host> {
        self.hosts.get_mut(index as usize)?.as_mut()
    }

    /// A host has one probe less in flight: it may send again, or is done.
    fn settled(&mut self, index: u32) {
        let ports = self.ports.len();
        let Some(host) = self.host(index) else { return };
        if host.in_flight == 0 && host.again.is_empty() && host.begun as usize >= ports {
            if !host.queued {
                self.remove_host(index);
            }
        } else {
            self.queue(index);
        }
    }

    fn remove_host(&mut self, index: u32) {
        if let Some(place) = self.hosts.get_mut(index as usize)
            && place.take().is_some()
        {
            self.free_hosts.push(index);
        }
    }

    /// Lets a host take its turn, if it has something to send and room for it.
    fn queue(&mut self, index: u32) {
        let ports = self.ports.len();
        let Some(host) = self.host(index) else { return };
        let wants = !host.again.is_empty() || (host.begun as usize) < ports;
        if wants && !host.queued && host.has_room() {
            host.queued = true;
            self.ready.push_back(index);
        }
    }

    /// Hosts whose pause is over.
    fn wake(&mut self, now_ns: u64) {
        while let Some(&Reverse((at_ns, index))) = self.resting.peek() {
            if at_ns > now_ns {
                break;
            }
            self.resting.pop();
            self.ready.push_back(index);
        }
    }

    const fn has_place(&self) -> bool {
        self.hosts.len() < MAX_HOSTS || !self.free_hosts.is_empty()
    }

    /// Begins as many hosts as may be scanned at once.
    fn admit(&mut self) {
        while self.has_place() && !self.ports.is_empty() {
            let Some(address) = self.targets.next() else {
                return;
            };
            let mut state = self.options.secret ^ hash(address.ip());
            let offset = below(&mut state, self.ports.len());
            let host = Host::new(address, u32::try_from(offset).unwrap_or(0), &self.options);
            let index = if let Some(index) = self.free_hosts.pop() {
                if let Some(place) = self.hosts.get_mut(index as usize) {
                    *place = Some(host);
                }
                index
            } else {
                self.hosts.push(Some(host));
                u32::try_from(self.hosts.len() - 1).unwrap_or(0)
            };
            self.queue(index);
        }
    }

    fn insert(&mut self, probe: Probe) -> ProbeId {
        self.in_flight += 1;
        if let Some(slot) = self.free_probes.pop()
            && let Some(place) = self.probes.get_mut(slot as usize)
        {
            place.1 = Some(probe);
            let generation = place.0;
            return ProbeId { slot, generation };
        }
        let slot = u32::try_from(self.probes.len()).unwrap_or(u32::MAX);
        self.probes.push((0, Some(probe)));
        ProbeId { slot, generation: 0 }
    }

    fn get(&self, probe: ProbeId) -> Option<&Probe> {
        let (generation, place) = self.probes.get(probe.slot())?;
        place.as_ref().filter(|_| *generation == probe.generation)
    }

    /// A probe that waits for its outcome.
    fn waiting(&self, probe: ProbeId) -> Option<Probe> {
        self.get(probe).filter(|probe| probe.held.is_none()).copied()
    }

    fn take(&mut self, probe: ProbeId) -> Option<Probe> {
        let (generation, place) = self.probes.get_mut(probe.slot())?;
        if *generation != probe.generation {
            return None;
        }
        let taken = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free_probes.push(probe.slot);
        self.in_flight -= 1;
        if self.options.method == ScanMethod::Udp {
            self.by_address.remove(&key(taken.destination));
        }
        Some(taken)
    }
}

/// What a host asks next: first what it has to ask again.
fn next_port(host: &mut Host, ports: &[u16]) -> Option<Again> {
    if let Some(again) = host.again.pop_front() {
        return Some(again);
    }
    if host.begun as usize >= ports.len() {
        return None;
    }
    let at = (host.begun as usize + host.offset as usize) % ports.len();
    host.begun += 1;
    let port = *ports.get(at)?;
    Some(Again { port, attempts: 0 })
}

fn key(address: SocketAddr) -> (IpAddr, u32, u16) {
    let (ip, scope) = wire::key(address);
    (ip, scope, address.port())
}

#[cfg(test)]
mod tests;
