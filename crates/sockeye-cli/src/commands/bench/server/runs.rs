//! The runs that a server has, and what their clients ask of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye::event_loop::{Context, DatagramId, Stream, StreamId, StreamOption, Time};
use sockeye::measure::run::datagram::{Header, Kind, halves};
use sockeye::measure::run::{
    CpuTime, FlowReport, Limits, MAX_REPLY, Message, Mode, Parameters, Report, RunId, Transport,
};
use sockeye::socket::os::monotonic_ns;

use super::super::flows::control::send;
use super::super::flows::cpu::{CpuClock, Pinned};
use super::super::flows::datagram::{DatagramFlow, Table, Who};
use super::super::flows::latency::Delays;
use super::super::flows::stream::{StreamFlow, block_of, memory_of};
use super::super::flows::{Flow, Place, Role, Stage, Stillness, arrivals_of, nanoseconds, role_of_client};
use super::log::{Event, Log, Run as Over};

/// Timers of a control connection.
pub(super) const WATCH: u64 = 1;
pub(super) const BEGIN: u64 = 2;
pub(super) const INTERVAL: u64 = 3;
pub(super) const END: u64 = 4;
pub(super) const DRAIN: u64 = 5;

/// Bytes that the messages of all runs may take.
const MAX_MEMORY: u64 = 1 << 30;
/// How often it is looked whether a run goes on.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Looks without a byte, a join or a message that end a run.
const MAX_STILL: u32 = 60;
/// How long bytes that were sent may take to come, once their client says that it is done.
const DRAIN_STREAMS: Duration = Duration::from_secs(10);
const DRAIN_DATAGRAMS: Duration = Duration::from_millis(500);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining,
    Running,
    /// The client has sent all.
    Finishing,
    Over,
}

/// One run.
#[derive(Debug)]
struct Run {
    id: RunId,
    peer: String,
    parameters: Parameters,
    phase: Phase,
    /// By number, the probe first.
    flows: Vec<Rc<Flow>>,
    /// Of its datagrams in the table.
    keys: Vec<u64>,
    delays: Option<Rc<RefCell<Delays>>>,
    cpu: CpuClock,
    shared: bool,
    begun: Time,
    interval: u32,
    /// What the client has sent, by flow, once it says so.
    finished: Option<Vec<u64>>,
    has_told_sent: bool,
    stillness: Stillness,
    /// What its flows send.
    block: Arc<[u8]>,
    _pinned: Option<Pinned>,
}

/// All runs of a server.
#[derive(Debug)]
pub(super) struct Runs {
    /// By their control connections.
    runs: HashMap<StreamId, Run>,
    by_id: HashMap<RunId, StreamId>,
    limits: Limits,
    max_runs: usize,
    pub(super) table: Table,
    pub(super) has_udp: bool,
    pub(super) has_raw: bool,
    pub(super) log: Log,
}

impl Runs {
    pub(super) fn new(max_runs: usize, limits: Limits, table: Table, log: Log) -> Self {
        Self {
            runs: HashMap::new(),
            by_id: HashMap::new(),
            limits,
            max_runs,
            table,
            has_udp: false,
            has_raw: false,
            log,
        }
    }

    /// A client asks for a run.
    ///
    /// # Errors
    /// Why it does not get it.
    pub(super) fn open(&mut self, stream: &mut Stream<'_>, parameters: Parameters) -> Result<(), String> {
        parameters
            .check(&self.limits)
            .map_err(|error| error.to_string())?;
        if self.runs.len() >= self.max_runs {
            return Err(format!(
                "there are {} runs, which is as many as this server takes",
                self.max_runs
            ));
        }
        let taken = self.runs.values().map(|run| memory_of(&run.parameters));
        if taken.sum::<u64>().saturating_add(memory_of(&parameters)) > MAX_MEMORY {
            return Err(
                "there is no memory for so many messages of that length: fewer flows, or a smaller length"
                    .to_owned(),
            );
        }
        match parameters.transport {
            Transport::Udp if !self.has_udp => {
                return Err("this server does not listen on UDP: --listen udp://ADDRESS".to_owned());
            }
            Transport::Raw if !self.has_raw => {
                return Err("this server has no raw socket: --listen raw://ADDRESS".to_owned());
            }
            _ => {}
        }
        let pinned = match parameters.cpu {
            None => None,
            Some(_) if !self.runs.is_empty() => {
                return Err(
                    "other runs are under way: this server cannot stay on one CPU for one of them".to_owned(),
                );
            }
            Some(cpu) => Some(Pinned::to(cpu).map_err(|error| error.to_string())?),
        };
        let delays = match parameters.mode {
            Mode::Oneway => Some(Delays::new().map_err(|error| error.to_string())?),
            _ => None,
        };
        let delays = delays.map(|delays| Rc::new(RefCell::new(delays)));
        let mut id = [0; 16];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| format!("no random numbers: {error}"))?;
        let id = RunId::from_bytes(id);
        let flows = (0..=parameters.flows()).map(|number| {
            let role = role_of_client(&parameters, number).opposite();
            Flow::new(number, role, arrivals_of(&parameters, role, delays.as_ref()))
        });
        let run = Run {
            id,
            peer: super::log::peer_of(stream),
            phase: Phase::Joining,
            flows: flows.collect(),
            keys: Vec::new(),
            delays,
            cpu: CpuClock::start(),
            shared: !self.runs.is_empty(),
            begun: Time::ZERO,
            interval: 0,
            finished: None,
            has_told_sent: false,
            stillness: Stillness::default(),
            block: block_of(&parameters),
            _pinned: pinned,
            parameters,
        };
        for other in self.runs.values_mut() {
            other.shared = true;
        }
        self.by_id.insert(id, stream.id());
        self.runs.insert(stream.id(), run);
        let _ = send(stream, &Message::Ready { run: id }, MAX_REPLY);
        stream.set_timer(WATCH_EVERY, WATCH);
        Ok(())
    }

    /// A connection says that it is a flow.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn join(
        &mut self,
        stream: &mut Stream<'_>,
        id: RunId,
        number: u32,
    ) -> Result<StreamFlow, String> {
        let control = self.by_id.get(&id).ok_or("there is no such run")?;
        let run = self.runs.get_mut(control).ok_or("there is no such run")?;
        let flow = run.joinable(number)?;
        let is_crr = run.parameters.mode == Mode::Crr;
        if run.parameters.transport.is_datagrams() || (flow.stage.get() != Stage::Absent && !is_crr) {
            return Err(format!("flow {number} has joined already"));
        }
        if let Some(window) = run
            .parameters
            .window
            .and_then(|window| usize::try_from(window).ok())
        {
            // What the system does not grant is seen in the figures.
            let _ = stream.set_option(&StreamOption::SendBuffer(window));
            let _ = stream.set_option(&StreamOption::RecvBuffer(window));
        }
        let flow = Rc::clone(flow);
        if flow.stage.get() == Stage::Absent {
            flow.stage.set(Stage::Joined);
        }
        flow.place.set(Place::Stream(stream.id()));
        let joined =
            StreamFlow::new(flow, &run.parameters, None, &run.block).map_err(|error| error.to_string())?;
        let _ = send(stream, &Message::Joined, MAX_REPLY);
        Ok(joined)
    }

    /// A datagram says that its source is a flow. The answer is as long as the question at most, and goes to who knows the
    /// run only.
    pub(super) fn join_by_datagram(
        &mut self,
        socket: DatagramId,
        header: Header,
        who: Who,
    ) -> Option<Header> {
        let id = header.run();
        let run = self.runs.get_mut(self.by_id.get(&id)?)?;
        let flow = Rc::clone(run.joinable(header.flow).ok()?);
        if !run.parameters.transport.is_datagrams() {
            return None;
        }
        let (key, number) = halves(id);
        if flow.stage.get() == Stage::Absent {
            flow.stage.set(Stage::Joined);
            let joined = DatagramFlow::new(Rc::clone(&flow), key, who.peer, who.local, &run.parameters, None);
            let key = self.table.borrow_mut().add(joined);
            run.keys.push(key);
            flow.place.set(Place::Datagrams(socket, key));
        }
        // Also to a repeated question, whose answer was lost.
        Some(Header {
            kind: Kind::Joined,
            flow: header.flow,
            key,
            number,
            sent_ns: 0,
        })
    }

    /// A message on a control connection.
    ///
    /// # Errors
    /// Why it makes no sense there.
    pub(super) fn take(&mut self, stream: &mut Stream<'_>, message: Message) -> Result<(), String> {
        let run = self.runs.get_mut(&stream.id()).ok_or("the run is over")?;
        run.stillness.broken();
        match (message, run.phase) {
            (Message::Ping { sent_ns }, _) => {
                let at_ns = monotonic_ns();
                let _ = send(stream, &Message::Pong { sent_ns, at_ns }, MAX_REPLY);
                Ok(())
            }
            (Message::Start { offset_ns }, Phase::Joining) => run.start(stream, offset_ns),
            (Message::Finish { messages }, Phase::Running) => {
                run.finish(stream, messages);
                self.look(&mut stream.context(), None);
                Ok(())
            }
            _ => Err("a message that has no place there".to_owned()),
        }
    }

    /// A timer of a control connection.
    pub(super) fn timer(&mut self, stream: &mut Stream<'_>, key: u64) {
        let id = stream.id();
        let Some(run) = self.runs.get_mut(&id) else {
            return;
        };
        match key {
            WATCH => {
                if run.stillness.look(&run.flows) >= MAX_STILL {
                    let reason = format!("nothing has happened for {MAX_STILL} seconds");
                    let _ = send(
                        stream,
                        &Message::Refused {
                            reason: reason.clone(),
                        },
                        MAX_REPLY,
                    );
                    self.forget(&mut stream.context(), id, Some(reason));
                    stream.close();
                    return;
                }
                stream.set_timer(WATCH_EVERY, WATCH);
            }
            BEGIN => run.begin(stream),
            INTERVAL => run.tell_interval(stream),
            END => run.stop_sending(&mut stream.context()),
            DRAIN => run.report(stream),
            _ => {}
        }
        self.look(&mut stream.context(), Some(id));
    }

    /// Looks at the runs whose flows have news, or at one.
    pub(super) fn look(&mut self, context: &mut Context<'_>, only: Option<StreamId>) {
        let ids: Vec<StreamId> = match only {
            Some(id) => vec![id],
            None => self.runs.keys().copied().collect(),
        };
        for id in ids {
            if let Some(run) = self.runs.get_mut(&id)
                && let Some(mut stream) = context.stream(id)
            {
                run.look(&mut stream);
            }
            if self.runs.get(&id).is_some_and(|run| run.phase == Phase::Over) {
                self.forget(context, id, None);
            }
        }
    }

    /// The run of a flow, to look at.
    pub(super) fn run_of(&self, id: RunId) -> Option<StreamId> {
        self.by_id.get(&id).copied()
    }

    /// Frees all that a run has: its control connection is gone, or it is over.
    pub(super) fn forget(&mut self, context: &mut Context<'_>, id: StreamId, failure: Option<String>) {
        let Some(run) = self.runs.remove(&id) else {
            return;
        };
        self.by_id.remove(&run.id);
        for key in &run.keys {
            self.table.borrow_mut().remove(*key);
        }
        for flow in &run.flows {
            flow.stage.set(Stage::Stopping);
            if let Place::Stream(flow) = flow.place.get()
                && let Some(mut stream) = context.stream(flow)
            {
                match failure {
                    None if run.phase == Phase::Over => stream.close(),
                    _ => stream.abort(),
                }
            }
        }
        let failure = failure.or_else(|| (run.phase != Phase::Over).then(|| "the client is gone".to_owned()));
        self.log.put(Event::Run(Box::new(Over {
            peer: run.peer.clone(),
            mode: run.parameters.mode.name(),
            transport: run.parameters.transport.name(),
            up: run.parameters.up,
            down: run.parameters.down,
            sent_bytes: run.flows.iter().map(|flow| flow.all().sent_bytes).sum(),
            received_bytes: run.flows.iter().map(|flow| flow.all().received_bytes).sum(),
            failure,
            outcome: None,
        })));
    }

    /// A connection of a flow has ended, other than in order.
    pub(super) fn flow_broke(&mut self, context: &mut Context<'_>, id: RunId, number: u32, reason: &str) {
        let Some(control) = self.run_of(id) else {
            return;
        };
        let Some(run) = self.runs.get_mut(&control) else {
            return;
        };
        // The client takes its connections down once it is done.
        if run.phase == Phase::Over || run.parameters.mode == Mode::Crr || run.flow_is_over(number) {
            return;
        }
        let reason = format!("flow {number}: {reason}");
        if let Some(mut stream) = context.stream(control) {
            let _ = send(
                &mut stream,
                &Message::Refused {
                    reason: reason.clone(),
                },
                MAX_REPLY,
            );
            stream.close();
        }
        self.forget(context, control, Some(reason));
    }
}

impl Run {
    fn joinable(&self, number: u32) -> Result<&Rc<Flow>, String> {
        let is_probe = number == 0;
        let flow = usize::try_from(number).ok().and_then(|at| self.flows.get(at));
        let flow = flow.filter(|_| !is_probe || self.parameters.probe);
        let flow = flow.ok_or_else(|| format!("there is no flow {number}"))?;
        let is_late =
            self.phase == Phase::Over || (self.phase != Phase::Joining && self.parameters.mode != Mode::Crr);
        if is_late && flow.stage.get() == Stage::Absent {
            return Err("the run has begun".to_owned());
        }
        Ok(flow)
    }

    fn flow_is_over(&self, number: u32) -> bool {
        let flow = usize::try_from(number).ok().and_then(|at| self.flows.get(at));
        flow.is_none_or(|flow| match flow.role {
            Role::Send => flow.is_done.get(),
            Role::Receive | Role::Ask | Role::Answer => flow.has_ended.get(),
        })
    }

    /// The flows that count.
    fn counted(&self) -> impl Iterator<Item = &Rc<Flow>> {
        self.flows.iter().skip(1)
    }

    fn start(&mut self, stream: &mut Stream<'_>, offset_ns: i64) -> Result<(), String> {
        let is_crr = self.parameters.mode == Mode::Crr;
        if !is_crr && self.counted().any(|flow| flow.stage.get() == Stage::Absent) {
            return Err("a flow has not joined yet".to_owned());
        }
        if let Some(delays) = &self.delays {
            // To the sender's times, which are the client's.
            delays.borrow_mut().offset_ns = offset_ns;
        }
        self.phase = Phase::Running;
        self.cpu = CpuClock::start();
        if self.parameters.omit_ns == 0 {
            self.begin(stream);
        } else {
            stream.set_timer(Duration::from_nanos(self.parameters.omit_ns), BEGIN);
        }
        let _ = send(stream, &Message::Started, MAX_REPLY);
        let mut context = stream.context();
        for flow in self.counted() {
            flow.go_to(Stage::Going, &mut context);
        }
        Ok(())
    }

    /// Counting begins.
    fn begin(&mut self, stream: &mut Stream<'_>) {
        let now = stream.now();
        self.begun = now;
        self.cpu = CpuClock::start();
        let mut context = stream.context();
        for flow in self.counted() {
            flow.begin(now, self.parameters.omit_ns > 0);
            flow.omit_tcp(&mut context);
        }
        if self.parameters.mode == Mode::Stream || self.parameters.mode == Mode::Oneway {
            stream.set_timer(Duration::from_nanos(self.parameters.interval_ns), INTERVAL);
        }
        if self.parameters.time_ns > 0 && self.parameters.down > 0 {
            stream.set_timer(Duration::from_nanos(self.parameters.time_ns), END);
        }
    }

    fn stop_sending(&self, context: &mut Context<'_>) {
        for flow in self.counted().filter(|flow| flow.role == Role::Send) {
            flow.go_to(Stage::Stopping, context);
        }
    }

    fn reports(&self, stream: &mut Stream<'_>, is_last: bool) -> Vec<FlowReport> {
        let mut context = stream.context();
        let mut all = Vec::new();
        for flow in self.counted() {
            let tcp = flow.tcp(&mut context);
            let counts = if is_last { flow.counted() } else { flow.interval() };
            let mut report = flow.report(counts, tcp);
            let sent = self
                .finished
                .as_ref()
                .and_then(|sent| sent.get(usize::try_from(flow.number).ok()?.checked_sub(1)?));
            if let (true, Some(sent)) = (is_last, sent) {
                report.datagrams = flow.datagrams_of(*sent);
            }
            all.push(report);
        }
        all
    }

    fn tell_interval(&mut self, stream: &mut Stream<'_>) {
        if self.phase != Phase::Running {
            return;
        }
        let flows = self.reports(stream, false);
        let index = self.interval;
        self.interval = index.saturating_add(1);
        // Whoever does not read gets fewer of them.
        let _ = send(stream, &Message::Interval { index, flows }, MAX_REPLY);
        let every = Duration::from_nanos(self.parameters.interval_ns);
        let next = self.begun + every.saturating_mul(self.interval.saturating_add(1));
        let now = stream.now();
        stream.set_timer(next.since(now), INTERVAL);
    }

    fn finish(&mut self, stream: &mut Stream<'_>, messages: Vec<u64>) {
        let every = Duration::from_nanos(self.parameters.interval_ns);
        let passed = stream
            .now()
            .since(self.begun + every.saturating_mul(self.interval));
        let has_intervals = matches!(self.parameters.mode, Mode::Stream | Mode::Oneway);
        if has_intervals && (self.parameters.bytes.is_some() || passed >= every / 2) {
            // The client has ended its last interval, and waits for what this side has to say of it.
            self.tell_interval(stream);
        }
        self.phase = Phase::Finishing;
        self.finished = Some(messages);
        // A client may be done before this side's time is over, where it was interrupted.
        self.stop_sending(&mut stream.context());
        let drain = if self.parameters.transport.is_datagrams() {
            DRAIN_DATAGRAMS
        } else {
            DRAIN_STREAMS
        };
        stream.set_timer(drain, DRAIN);
    }

    /// Something may have happened to its flows.
    fn look(&mut self, stream: &mut Stream<'_>) {
        for flow in &self.flows {
            if flow.news.replace(false) && flow.is_done.get() {
                // While its connection is still there.
                let _ = flow.tcp(&mut stream.context());
            }
        }
        let mut senders = self.flows.iter().filter(|flow| flow.role == Role::Send);
        let all_is_sent = senders.all(|flow| flow.is_done.get());
        if self.parameters.down > 0 && !self.has_told_sent && self.phase != Phase::Joining && all_is_sent {
            self.has_told_sent = true;
            let sent = self.counted().map(|flow| match flow.role {
                Role::Send => flow.all().sent_messages,
                _ => 0,
            });
            let messages = sent.collect();
            let _ = send(stream, &Message::Sent { messages }, MAX_REPLY);
        }
        if self.phase == Phase::Finishing && self.has_everything() {
            self.report(stream);
        }
    }

    /// Whether all that was sent to here has come.
    fn has_everything(&self) -> bool {
        let sent = self.finished.as_deref().unwrap_or_default();
        let is_datagrams = self.parameters.transport.is_datagrams();
        self.counted().enumerate().all(|(index, flow)| match flow.role {
            Role::Receive if is_datagrams => flow.has_all_of(sent.get(index).copied().unwrap_or(0)),
            Role::Receive => flow.has_ended.get(),
            Role::Send => flow.is_done.get(),
            Role::Ask | Role::Answer => true,
        })
    }

    fn report(&mut self, stream: &mut Stream<'_>) {
        if self.phase != Phase::Finishing {
            return;
        }
        self.phase = Phase::Over;
        let (user, system) = self.cpu.used();
        let delays = self.delays.as_ref().map(|delays| delays.borrow());
        let report = Report {
            flows: self.reports(stream, true),
            cpu: CpuTime {
                user_ns: nanoseconds(user),
                system_ns: nanoseconds(system),
            },
            shared: self.shared,
            delays: delays.as_ref().map(|delays| delays.pairs()).unwrap_or_default(),
            below_zero: delays.as_ref().map_or(0, |delays| delays.below_zero),
        };
        drop(delays);
        let _ = send(stream, &Message::Report(report), MAX_REPLY);
        stream.close();
    }
}
