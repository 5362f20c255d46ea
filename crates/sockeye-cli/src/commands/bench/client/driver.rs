//! A run as its client drives it: join, measure, finish, report.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use hdrhistogram::Histogram;
use sockeye::event_loop::{Context, Stream, StreamId};
use sockeye::measure::run::datagram::{Header, halves};
use sockeye::measure::run::{MAX_REQUEST, Message, Mode, Parameters, Report, RunId};
use sockeye::socket::os::monotonic_ns;

use super::super::flows::control::send;
use super::super::flows::cpu::CpuClock;
use super::super::flows::datagram::{DatagramFlow, Table};
use super::super::flows::latency::{ClockOffset, Delays, RoundTrips};
use super::super::flows::stream::block_of;
use super::super::flows::{Flow, Place, Role, Stage, Stillness, arrivals_of, role_of_client};
use super::crr::Turn;
use super::figures::Interval;
use super::intervals::Intervals;
use super::plan::Plan;
use super::service::Connects;
use crate::exit::{Exit, Failure};
use crate::probing::Inbox;

/// Timers of the control connection.
pub(super) const WATCH: u64 = 1;
pub(super) const IDLE: u64 = 2;
pub(super) const BEGIN: u64 = 3;
pub(super) const INTERVAL: u64 = 4;
pub(super) const END: u64 = 5;
pub(super) const DRAIN: u64 = 6;
pub(super) const JOIN: u64 = 7;

/// Exchanges by which the clocks are compared.
const PINGS: u32 = 16;
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Looks without anything new that end a run.
const MAX_STILL: u32 = 30;
/// Between two looks whether there was a round trip before the load, and how many there are.
const IDLE_EVERY: Duration = Duration::from_millis(100);
const MAX_IDLE_LOOKS: u32 = 30;
/// Between two questions of a datagram flow whether it may join, and how many there are.
const JOIN_EVERY: Duration = Duration::from_millis(200);
const MAX_JOINS: u32 = 25;
/// For what the server has sent to come.
const DRAIN_STREAMS: Duration = Duration::from_secs(10);
const DRAIN_DATAGRAMS: Duration = Duration::from_millis(500);

/// What happens in a run, for who prints it.
#[derive(Debug)]
pub(super) enum Event {
    /// Everything stands, and the load begins. How round trips were before it, if they were measured.
    Started(Option<Histogram<u64>>),
    /// All flows within one interval.
    Intervals(Vec<Interval>),
    /// The server's figures have come.
    Over(Box<Report>),
    Failed(anyhow::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Connecting,
    Comparing,
    Joining,
    Idle,
    Running,
    Finishing,
    Over,
}

/// The run.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) parameters: Parameters,
    idle: Duration,
    connects: Connects,
    phase: Phase,
    control: Option<StreamId>,
    pub(super) run: Option<RunId>,
    /// By number, the probe first.
    pub(super) flows: Vec<Rc<Flow>>,
    /// Of rr and crr.
    pub(super) round_trips: Rc<RefCell<RoundTrips>>,
    /// Of the probe: before the load, then during it.
    pub(super) probe: Rc<RefCell<RoundTrips>>,
    pub(super) delays: Option<Rc<RefCell<Delays>>>,
    pub(super) clock: Option<ClockOffset>,
    pings: u32,
    idle_looks: u32,
    joins: u32,
    cpu: CpuClock,
    /// Of this process, from the start to the end of what counts.
    pub(super) cpu_used: (Duration, Duration),
    intervals: Intervals,
    /// What the server has sent, by flow, once it says so.
    sent: Option<Vec<u64>>,
    retransmits: HashMap<u32, u64>,
    /// What its flows send.
    pub(super) block: Arc<[u8]>,
    has_started: bool,
    is_drained: bool,
    pub(super) is_interrupted: bool,
    stillness: Stillness,
    inbox: Inbox<Event>,
    table: Table,
}

impl Driver {
    /// # Errors
    /// None in practice: histograms have constant bounds.
    pub(super) fn new(
        plan: &Plan,
        connects: Connects,
        inbox: Inbox<Event>,
        table: Table,
    ) -> anyhow::Result<Self> {
        let parameters = plan.parameters.clone();
        let delays = (parameters.mode == Mode::Oneway).then(Delays::new).transpose()?;
        let delays = delays.map(|delays| Rc::new(RefCell::new(delays)));
        let flows = (0..=parameters.flows()).map(|number| {
            let role = role_of_client(&parameters, number);
            Flow::new(number, role, arrivals_of(&parameters, role, delays.as_ref()))
        });
        Ok(Self {
            idle: plan.idle,
            connects,
            phase: Phase::Connecting,
            control: None,
            run: None,
            flows: flows.collect(),
            round_trips: Rc::new(RefCell::new(RoundTrips::new()?)),
            probe: Rc::new(RefCell::new(RoundTrips::new()?)),
            delays,
            clock: None,
            pings: 0,
            idle_looks: 0,
            joins: 0,
            cpu: CpuClock::start(),
            cpu_used: Default::default(),
            intervals: Intervals::new(&parameters),
            sent: None,
            retransmits: HashMap::new(),
            block: block_of(&parameters),
            has_started: false,
            is_drained: false,
            is_interrupted: false,
            stillness: Stillness::default(),
            inbox,
            table,
            parameters,
        })
    }

    pub(super) fn connects(&mut self) -> &mut Connects {
        &mut self.connects
    }

    /// The connection of a turn of crr stands.
    pub(super) fn open_turn(&mut self, stream: &mut Stream<'_>, number: u32) -> Option<Turn> {
        self.connects.turns.as_mut()?.opened(stream, number, &self.flows)
    }

    pub(super) fn control_id(&self) -> Option<StreamId> {
        self.control
    }

    /// Whether all has been measured.
    pub(super) fn is_finishing(&self) -> bool {
        self.phase >= Phase::Finishing
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn fail(&mut self, error: anyhow::Error) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.inbox.put(Event::Failed(error));
        }
    }

    /// The flows that count.
    fn counted(&self) -> impl Iterator<Item = &Rc<Flow>> {
        self.flows.iter().skip(1)
    }

    /// The flows that have a socket.
    fn carried(&self) -> impl Iterator<Item = &Rc<Flow>> {
        let probe = usize::from(!self.parameters.probe);
        self.flows.iter().skip(probe)
    }

    /// The control connection stands.
    pub(super) fn connected(&mut self, stream: &mut Stream<'_>) {
        self.control = Some(stream.id());
        self.connects.settle(stream.peer_addr());
        stream.set_timer(WATCH_EVERY, WATCH);
    }

    /// A message of the server.
    pub(super) fn take(&mut self, stream: &mut Stream<'_>, message: Message) {
        self.stillness.broken();
        match (message, self.phase) {
            (Message::Refused { reason }, _) => {
                self.fail(Failure::with(Exit::Io, format!("the server refuses: {reason}")));
            }
            (Message::Ready { run }, Phase::Connecting) => {
                self.run = Some(run);
                self.phase = Phase::Comparing;
                Self::ping(stream);
            }
            (Message::Pong { sent_ns, at_ns }, Phase::Comparing) => {
                let seen = ClockOffset::of(sent_ns, at_ns, monotonic_ns());
                self.clock = Some(seen.best(self.clock));
                self.pings += 1;
                if self.pings < PINGS {
                    Self::ping(stream);
                } else {
                    self.join(stream);
                }
            }
            (Message::Started, Phase::Running) if !self.has_started => {
                self.has_started = true;
                self.go(stream);
            }
            (Message::Interval { index, flows }, Phase::Running | Phase::Finishing) => {
                self.intervals.told(index, flows);
                self.print_intervals(false);
            }
            (Message::Sent { messages }, Phase::Running) => {
                self.sent = Some(messages);
                let drain = if self.parameters.transport.is_datagrams() {
                    DRAIN_DATAGRAMS
                } else {
                    DRAIN_STREAMS
                };
                stream.set_timer(drain, DRAIN);
                self.look(&mut stream.context());
            }
            // Of a run that was interrupted: nothing is waited for any more.
            (Message::Sent { messages }, Phase::Finishing) => self.sent = Some(messages),
            (Message::Report(report), Phase::Finishing) => {
                self.print_intervals(true);
                self.phase = Phase::Over;
                self.inbox.put(Event::Over(Box::new(report)));
                stream.close();
            }
            _ => self.fail(anyhow!("the server says what has no place there")),
        }
    }

    fn ping(stream: &mut Stream<'_>) {
        let sent_ns = monotonic_ns();
        let _ = send(stream, &Message::Ping { sent_ns }, MAX_REQUEST);
    }

    /// The flows join. Those of crr do so one request at a time.
    fn join(&mut self, stream: &mut Stream<'_>) {
        self.phase = Phase::Joining;
        if self.parameters.transport.is_datagrams() {
            if let Err(error) = self.open_datagrams(&mut stream.context()) {
                return self.fail(error);
            }
            self.ask_to_join(stream);
        } else if self.parameters.mode != Mode::Crr {
            let numbers: Vec<u32> = self.carried().map(|flow| flow.number).collect();
            for number in numbers {
                self.connects.flow(&mut stream.context(), number);
            }
        }
        self.look(&mut stream.context());
    }

    fn open_datagrams(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let run = self.run.ok_or_else(|| anyhow!("there is no run"))?;
        let (key, _) = halves(run);
        let flows: Vec<Rc<Flow>> = self.carried().cloned().collect();
        for flow in flows {
            let round_trips = if flow.number == 0 {
                &self.probe
            } else {
                &self.round_trips
            };
            let (socket, peer) = self.connects.datagrams(context, self.parameters.window)?;
            let joined = DatagramFlow::new(
                Rc::clone(&flow),
                key,
                peer,
                None,
                &self.parameters,
                Some(round_trips),
            );
            let key = self.table.borrow_mut().add(joined);
            flow.place.set(Place::Datagrams(socket, key));
        }
        Ok(())
    }

    fn ask_to_join(&mut self, stream: &mut Stream<'_>) {
        let Some(run) = self.run else {
            return;
        };
        self.joins += 1;
        let absent: Vec<Rc<Flow>> = self
            .carried()
            .filter(|flow| flow.stage.get() == Stage::Absent)
            .cloned()
            .collect();
        let Some(first) = absent.first() else {
            return;
        };
        if self.joins > MAX_JOINS {
            let transport = self.parameters.transport.name();
            return self.fail(anyhow!(
                "flow {}: the server does not answer over {transport} (a filter on the way?)",
                first.number
            ));
        }
        for flow in absent {
            if let Place::Datagrams(id, _) = flow.place.get() {
                let question = Header::join(run, flow.number).to_bytes();
                if let Some(peer) = self.connects.peer() {
                    let _ = stream.context().datagrams(id).send_to(&question, peer);
                }
            }
        }
        stream.set_timer(JOIN_EVERY, JOIN);
    }

    /// A flow may go, once all can.
    pub(super) fn joined(&mut self, number: u32) {
        let flow = usize::try_from(number).ok().and_then(|at| self.flows.get(at));
        if let Some(flow) = flow
            && flow.stage.get() == Stage::Absent
        {
            flow.stage.set(Stage::Joined);
            flow.news.set(true);
        }
    }

    /// A timer of the control connection.
    pub(super) fn timer(&mut self, stream: &mut Stream<'_>, key: u64) {
        match (key, self.phase) {
            (WATCH, _) => {
                if self.stillness.look(&self.flows) >= MAX_STILL {
                    let seconds = MAX_STILL;
                    return self.fail(anyhow!("nothing has come or gone for {seconds} seconds"));
                }
                stream.set_timer(WATCH_EVERY, WATCH);
            }
            (JOIN, Phase::Joining) => self.ask_to_join(stream),
            (IDLE, Phase::Idle) => {
                // On a busy machine not one answer may have come yet, and one says more than none.
                self.idle_looks += 1;
                if self.probe.borrow().corrected.is_empty() && self.idle_looks <= MAX_IDLE_LOOKS {
                    stream.set_timer(IDLE_EVERY, IDLE);
                } else {
                    self.start(stream);
                }
            }
            (BEGIN, Phase::Running) => self.begin(stream),
            (INTERVAL, Phase::Running) => {
                self.end_interval(&mut stream.context());
                self.next_interval(stream);
            }
            (END, Phase::Running) => self.stop_sending(&mut stream.context()),
            (DRAIN, Phase::Running) => {
                self.is_drained = true;
                self.look(&mut stream.context());
            }
            _ => {}
        }
    }

    /// All flows stand: round trips first, if they are wanted, then the load.
    fn all_joined(&mut self, stream: &mut Stream<'_>) {
        if self.idle.is_zero() {
            return self.start(stream);
        }
        self.phase = Phase::Idle;
        stream.set_timer(self.idle, IDLE);
        if let Some(probe) = self.flows.first() {
            probe.go_to(Stage::Going, &mut stream.context());
        }
    }

    fn start(&mut self, stream: &mut Stream<'_>) {
        let idle = self.parameters.probe.then(|| {
            let mut probe = self.probe.borrow_mut();
            let idle = probe.corrected.clone();
            probe.clear();
            idle
        });
        self.phase = Phase::Running;
        self.inbox.put(Event::Started(idle));
        let offset_ns = self.clock.map_or(0, |clock| clock.offset_ns);
        if let Some(delays) = &self.delays {
            // To the sender's times, which are the server's.
            delays.borrow_mut().offset_ns = offset_ns.saturating_neg();
        }
        if !send(stream, &Message::Start { offset_ns }, MAX_REQUEST) {
            self.fail(anyhow!("the server does not read"));
        }
    }

    /// The server counts: the load begins.
    fn go(&mut self, stream: &mut Stream<'_>) {
        if self.parameters.omit_ns > 0 {
            stream.set_timer(Duration::from_nanos(self.parameters.omit_ns), BEGIN);
        } else {
            self.begin(stream);
        }
        let is_crr = self.parameters.mode == Mode::Crr;
        let mut context = stream.context();
        for flow in self.counted() {
            flow.go_to(Stage::Going, &mut context);
        }
        if is_crr {
            let numbers: Vec<u32> = self.counted().map(|flow| flow.number).collect();
            for number in numbers {
                self.connects.flow(&mut context, number);
            }
        }
    }

    /// Counting begins.
    fn begin(&mut self, stream: &mut Stream<'_>) {
        let now = stream.now();
        self.cpu = CpuClock::start();
        self.round_trips.borrow_mut().clear();
        self.probe.borrow_mut().clear();
        self.intervals.begin(now);
        let mut context = stream.context();
        for flow in self.counted() {
            flow.begin(now, self.parameters.omit_ns > 0);
            flow.omit_tcp(&mut context);
        }
        if self.parameters.time_ns > 0 {
            stream.set_timer(Duration::from_nanos(self.parameters.time_ns), END);
        }
        self.next_interval(stream);
    }

    fn next_interval(&mut self, stream: &mut Stream<'_>) {
        let now = stream.now();
        stream.set_timer(self.intervals.next().since(now), INTERVAL);
    }

    fn end_interval(&mut self, context: &mut Context<'_>) {
        // A short run is over within one turn of the loop.
        let now = context.exact_now();
        let flows: Vec<_> = self.counted().cloned().collect();
        self.intervals.end(&flows, now, context);
        self.print_intervals(false);
    }

    fn print_intervals(&mut self, all: bool) {
        while let Some(rows) = self.intervals.take(all) {
            self.inbox.put(Event::Intervals(rows));
        }
    }

    /// The time is over: what is under way is waited for.
    fn stop_sending(&mut self, context: &mut Context<'_>) {
        if self.intervals.has_half(context.now()) {
            self.end_interval(context);
        }
        self.intervals.stop();
        self.cpu_used = self.cpu.used();
        for flow in self
            .flows
            .iter()
            .filter(|flow| matches!(flow.role, Role::Send | Role::Ask))
        {
            flow.go_to(Stage::Stopping, context);
        }
        self.look(context);
    }

    /// A signal: the run ends now, with what there is. `false` where there is nothing.
    pub(super) fn interrupt(&mut self, context: &mut Context<'_>) -> bool {
        if self.phase != Phase::Running || !self.has_started || self.is_interrupted {
            return false;
        }
        self.is_interrupted = true;
        self.stop_sending(context);
        true
    }

    /// Something may have happened to the flows.
    pub(super) fn look(&mut self, context: &mut Context<'_>) {
        for flow in &self.flows {
            flow.news.set(false);
        }
        let Some(mut stream) = self.control.and_then(|id| context.stream(id)) else {
            return;
        };
        match self.phase {
            Phase::Joining => {
                let is_crr = self.parameters.mode == Mode::Crr;
                if is_crr || self.carried().all(|flow| flow.stage.get() != Stage::Absent) {
                    self.all_joined(&mut stream);
                }
            }
            Phase::Running if self.has_everything() => self.finish(&mut stream),
            _ => {}
        }
    }

    /// Whether this side has sent all, and all that the server has sent has come.
    fn has_everything(&self) -> bool {
        let all_sent = self.counted().all(|flow| match flow.role {
            Role::Send | Role::Ask => flow.is_done.get(),
            Role::Receive | Role::Answer => true,
        });
        if !all_sent || self.parameters.down == 0 || self.is_interrupted {
            return all_sent;
        }
        let Some(sent) = &self.sent else {
            return false;
        };
        let is_datagrams = self.parameters.transport.is_datagrams();
        self.is_drained
            || self.counted().enumerate().all(|(index, flow)| match flow.role {
                Role::Receive if is_datagrams => flow.has_all_of(sent.get(index).copied().unwrap_or(0)),
                Role::Receive => flow.has_ended.get(),
                _ => true,
            })
    }

    fn finish(&mut self, stream: &mut Stream<'_>) {
        self.phase = Phase::Finishing;
        if !self.intervals.is_stopped() {
            // Bytes were given, and this is where the last interval ends.
            self.cpu_used = self.cpu.used();
            self.end_interval(&mut stream.context());
            self.intervals.stop();
        }
        if let Some(probe) = self.flows.first() {
            probe.go_to(Stage::Stopping, &mut stream.context());
        }
        let flows: Vec<_> = self.counted().cloned().collect();
        for flow in &flows {
            if let Some(tcp) = flow.tcp(&mut stream.context()) {
                self.retransmits.insert(flow.number, tcp.retransmits);
            }
        }
        let messages = flows.iter().map(|flow| match flow.role {
            Role::Send => flow.all().sent_messages,
            _ => 0,
        });
        let messages = messages.collect();
        if !send(stream, &Message::Finish { messages }, MAX_REQUEST) {
            self.fail(anyhow!("the server does not read"));
        }
    }

    /// What the server says it has sent on a flow.
    pub(super) fn sent_by_server(&self, flow: &Flow) -> Option<u64> {
        let index = usize::try_from(flow.number).ok()?.checked_sub(1)?;
        self.sent.as_ref()?.get(index).copied()
    }

    /// Segments that a flow of this side has sent again, where they can be counted.
    pub(super) fn retransmits(&self, number: u32) -> Option<u64> {
        self.retransmits.get(&number).copied()
    }
}
