//! Flows of datagrams and of IP packets, and the service that has their sockets.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{
    Datagram, DatagramService, Datagrams, Packet, PacketService, Packets, Sent, Time, TimerId,
};
use sockeye::measure::run::Parameters;
use sockeye::measure::run::datagram::{Header, Kind};
use sockeye::socket::Outgoing;
use sockeye::socket::os::monotonic_ns;

use super::latency::RoundTrips;
use super::pace::Pace;
use super::{Flow, Role, Stage, length_of, nanoseconds};

/// Datagrams that one flow sends before others get their turn.
const BURST: usize = 64;
/// Requests on schedule that may be without an answer.
const MAX_UNANSWERED: usize = 4096;
/// A request without an answer for so long is lost, and the next one is sent.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// Between two round trips beside a load.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// One flow.
#[derive(Debug)]
pub(crate) struct DatagramFlow {
    pub(crate) flow: Rc<Flow>,
    /// Half of the run id, which is in each datagram.
    run_key: u64,
    peer: SocketAddr,
    /// The own address that the peer has joined at.
    local: Option<IpAddr>,
    parameters: Parameters,
    payload: Vec<u8>,
    next: u64,
    /// Messages that are left to send, if they are given.
    left: Option<u64>,
    pace: Option<Pace>,
    begun: Option<Time>,
    /// Times at which requests without an answer were due and sent, from the number `first` on; `None` once answered.
    under_way: VecDeque<Option<(u64, u64)>>,
    first: u64,
    /// The timer of its key that is set, and when it is due.
    timer: Option<(TimerId, Time)>,
    /// When the last request was sent.
    last_ns: u64,
    round_trips: Option<Rc<RefCell<RoundTrips>>>,
}

impl DatagramFlow {
    pub(crate) fn new(
        flow: Rc<Flow>,
        run_key: u64,
        peer: SocketAddr,
        local: Option<IpAddr>,
        parameters: &Parameters,
        round_trips: Option<&Rc<RefCell<RoundTrips>>>,
    ) -> Self {
        let length = length_of(parameters, flow.number);
        Self {
            run_key,
            peer,
            local,
            payload: vec![b's'; length],
            next: 0,
            left: parameters
                .bytes_of(flow.number)
                .map(|bytes| bytes / length.max(1) as u64),
            pace: None,
            begun: None,
            under_way: VecDeque::new(),
            first: 0,
            timer: None,
            last_ns: 0,
            round_trips: round_trips.cloned(),
            parameters: parameters.clone(),
            flow,
        }
    }

    /// Sends what is due. The timer of the key wakes it again.
    fn go_on(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        match self.flow.role {
            Role::Send => self.send(socket, key),
            Role::Ask => self.ask(socket, key),
            Role::Receive | Role::Answer => {}
        }
    }

    fn wait(&mut self, wait: Duration, socket: &mut Datagrams<'_>, key: u64) {
        let due = socket.now() + wait;
        match self.timer {
            Some((_, at)) if at <= due => return,
            Some((timer, _)) => drop(socket.cancel_timer(timer)),
            None => {}
        }
        self.timer = Some((socket.set_timer(wait, key), due));
    }

    fn put(&mut self, kind: Kind, number: u64, socket: &mut Datagrams<'_>) -> Sent {
        let header = Header {
            kind,
            flow: self.flow.number,
            key: self.run_key,
            number,
            sent_ns: monotonic_ns(),
        };
        header.write(&mut self.payload);
        let mut message = Outgoing::to(self.peer, &self.payload);
        if let Some(local) = self.local {
            message = message.source(local);
        }
        let sent = socket.send(&message);
        if sent.is_taken() {
            self.flow.sent(self.payload.len(), 1);
        }
        sent
    }

    fn send(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        if self.flow.is_done.get() {
            return;
        }
        if self.flow.stage.get() == Stage::Stopping || self.left == Some(0) {
            return self.flow.done();
        }
        if !self.flow.may_send() {
            return;
        }
        let now = socket.exact_now();
        if self.begun.is_none() {
            self.begun = Some(now);
            self.pace = Pace::of(&self.parameters, self.flow.number, now);
        }
        let kind = if self.parameters.is_down(self.flow.number) {
            Kind::Down
        } else {
            Kind::Up
        };
        for _ in 0..BURST {
            if self.left == Some(0) {
                return self.flow.done();
            }
            if let Some(wait) = self.pace.and_then(|pace| pace.wait(self.next, now)) {
                return self.wait(wait, socket, key);
            }
            match self.put(kind, self.next, socket) {
                Sent::Full => break,
                Sent::TooLarge | Sent::Gone => return,
                Sent::Sent | Sent::Queued => {}
            }
            self.next += 1;
            self.left = self.left.map(|left| left - 1);
        }
        // After the others had their turn; on_writable may come before.
        self.wait(Duration::ZERO, socket, key);
    }

    fn ask(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        let now = socket.exact_now();
        self.forget(now);
        if self.flow.is_done.get() || self.flow.stage.get() < Stage::Going {
            return;
        }
        if self.flow.stage.get() == Stage::Stopping || self.left == Some(0) {
            if self.under_way.is_empty() {
                return self.flow.done();
            }
            return self.wait(LOST_AFTER / 8, socket, key);
        }
        if self.begun.is_none() {
            self.begun = Some(now);
            self.pace = Pace::of(&self.parameters, self.flow.number, now);
        }
        for _ in 0..BURST {
            if self.left == Some(0) || (self.pace.is_some() && self.under_way.len() >= MAX_UNANSWERED) {
                break;
            }
            let mut due = now.as_nanos();
            if let Some(pace) = self.pace {
                if let Some(wait) = pace.wait(self.next, now) {
                    return self.wait(wait, socket, key);
                }
                due = pace.due(self.next).as_nanos();
            } else if !self.under_way.is_empty() {
                break;
            } else if self.flow.number == 0 {
                let next = Time::from_nanos(self.last_ns) + PROBE_EVERY;
                if next > now {
                    return self.wait(next.since(now), socket, key);
                }
            }
            let sent_ns = monotonic_ns();
            if !self.put(Kind::Request, self.next, socket).is_taken() {
                break;
            }
            self.under_way.push_back(Some((due.min(sent_ns), sent_ns)));
            self.last_ns = sent_ns;
            self.next += 1;
            self.left = self.left.map(|left| left - 1);
        }
        self.wait(LOST_AFTER / 8, socket, key);
    }

    /// Requests that were sent too long ago are lost.
    fn forget(&mut self, now: Time) {
        let before = now.as_nanos().saturating_sub(nanoseconds(LOST_AFTER));
        while let Some(oldest) = self.under_way.front() {
            match oldest {
                Some((_, sent)) if *sent > before => break,
                Some(_) => {
                    if let Some(round_trips) = &self.round_trips {
                        round_trips.borrow_mut().lost();
                    }
                }
                None => {}
            }
            self.under_way.pop_front();
            self.first += 1;
        }
    }

    fn answered(&mut self, number: u64) -> bool {
        let at = number
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok());
        let slot = at.and_then(|at| self.under_way.get_mut(at));
        let Some((due, sent)) = slot.and_then(Option::take) else {
            return false;
        };
        if let Some(round_trips) = &self.round_trips {
            round_trips.borrow_mut().answered(due, sent);
        }
        while let Some(None) = self.under_way.front() {
            self.under_way.pop_front();
            self.first += 1;
        }
        true
    }

    /// A datagram of the run has come from the peer.
    fn take(&mut self, socket: &mut Datagrams<'_>, header: Header, len: usize, key: u64) {
        let now = socket.now();
        match (header.kind, self.flow.role) {
            (Kind::Up | Kind::Down, Role::Receive) => {
                let is_new =
                    self.flow.arrivals.borrow_mut().as_mut().is_none_or(|arrivals| {
                        arrivals.received(header.number, header.sent_ns, monotonic_ns())
                    });
                if is_new {
                    self.flow.received(len, 1, now);
                }
            }
            (Kind::Request, Role::Answer) if self.flow.stage.get() >= Stage::Joined => {
                self.flow.received(len, 1, now);
                // As long as the request, whatever was agreed on.
                if len == self.payload.len() {
                    let _ = self.put(Kind::Response, header.number, socket);
                }
            }
            (Kind::Response, Role::Ask) if self.answered(header.number) => {
                self.flow.received(len, 1, now);
                if self.pace.is_none() {
                    self.ask(socket, key);
                }
            }
            _ => {}
        }
    }
}

/// Whom a datagram came from, and to which of our addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub(crate) peer: SocketAddr,
    pub(crate) local: Option<IpAddr>,
}

/// What a service does with datagrams that belong to no flow yet: joins, and answers to them.
pub(crate) trait Joining: 'static {
    /// Looks at one. `None`: nothing is to be sent back.
    fn join(&mut self, socket: &mut Datagrams<'_>, header: Header, who: Who) -> Option<Header>;
    /// A flow has news.
    fn look(&mut self, socket: &mut Datagrams<'_>);
    /// A socket is of no use any more.
    fn lost(&mut self, socket: &mut Datagrams<'_>, error: std::io::Error);
}

/// The flows of one service, by half of their run's id and their number.
pub(crate) type Table = Rc<RefCell<Flows>>;

/// All flows of one side.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    by_name: HashMap<(u64, u32), u64>,
    by_key: HashMap<u64, DatagramFlow>,
    last_key: u64,
}

impl Flows {
    /// Adds a flow, and says the key of its timers.
    pub(crate) fn add(&mut self, flow: DatagramFlow) -> u64 {
        self.last_key += 1;
        self.by_name
            .insert((flow.run_key, flow.flow.number), self.last_key);
        self.by_key.insert(self.last_key, flow);
        self.last_key
    }

    pub(crate) fn remove(&mut self, key: u64) {
        if let Some(flow) = self.by_key.remove(&key) {
            self.by_name.remove(&(flow.run_key, flow.flow.number));
        }
    }

    /// The flow that a datagram of that source says it is of.
    fn of(&mut self, header: &Header, source: SocketAddr) -> Option<(u64, &mut DatagramFlow)> {
        let key = *self.by_name.get(&(header.key, header.flow))?;
        let flow = self.by_key.get_mut(&key)?;
        (flow.peer == source).then_some((key, flow))
    }
}

/// The service of the sockets of one side.
#[derive(Debug)]
pub(crate) struct Sorter<J> {
    pub(crate) flows: Table,
    pub(crate) joining: J,
}

impl<J: Joining> Sorter<J> {
    fn take(&mut self, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        let (data, source) = (&*datagram.data, datagram.source);
        let Some(header) = Header::parse(data) else {
            return;
        };
        if matches!(header.kind, Kind::Join | Kind::Joined) {
            let who = Who {
                peer: source,
                local: datagram.meta.local,
            };
            if let Some(answer) = self.joining.join(socket, header, who) {
                let _ = socket.send(&datagram.reply(&answer.to_bytes()));
            }
            return;
        }
        let mut flows = self.flows.borrow_mut();
        if let Some((key, flow)) = flows.of(&header, source) {
            flow.take(socket, header, data.len(), key);
            if flow.flow.news.get() {
                drop(flows);
                self.joining.look(socket);
            }
        }
    }

    fn timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        let mut flows = self.flows.borrow_mut();
        if let Some(flow) = flows.by_key.get_mut(&key) {
            // Or it was woken, and the timer is yet to come.
            let now = socket.now();
            flow.timer = flow.timer.filter(|(_, at)| *at > now);
            flow.go_on(socket, key);
            if flow.flow.news.get() {
                drop(flows);
                self.joining.look(socket);
            }
        }
    }
}

impl<J: Joining> DatagramService for Sorter<J> {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.take(socket, &datagram);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        self.timer(socket, key);
    }

    fn on_recv_error(&mut self, socket: &mut Datagrams<'_>, error: std::io::Error) {
        self.joining.lost(socket, error);
    }
}

impl<J: Joining> PacketService for Sorter<J> {
    fn on_packet(&mut self, socket: &mut Packets<'_>, packet: Packet<'_>) {
        self.take(socket, &packet);
    }

    fn on_timer(&mut self, socket: &mut Packets<'_>, key: u64) {
        self.timer(socket, key);
    }

    fn on_recv_error(&mut self, socket: &mut Packets<'_>, error: std::io::Error) {
        self.joining.lost(socket, error);
    }
}
