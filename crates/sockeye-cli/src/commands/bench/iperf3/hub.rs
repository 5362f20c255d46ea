//! The tests of a server, of which many run at once: who they are, whose turn it is, what becomes of them.
//!
//! A connection names its test by the cookie. A datagram has none: it belongs to a test by its source, and a source that is
//! new to the test of its host that has its turn. So of one host one test at a time makes its streams over UDP; the others
//! wait in CREATE_STREAMS.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye::event_loop::{Context, StreamId, TimerId};
use sockeye::measure::iperf3::{
    ControlError, Cookie, ErrorCode, Joined, Parameters, Phase, Results, ServerEvent, ServerTest, State,
    Timeouts,
};

use super::super::client::figures::{Interval, Outcome};
use super::super::client::print;
use super::super::server::log::{self, Event, Log, OMITTED};
use super::flow::{Place, SharedFlow, Slot, clock};
use super::parameters_of;
use super::run::{Run, Side};

/// The key of the timer of a control connection that looks at its test's deadlines.
pub(super) const DUE: u64 = 0;
/// The key of the one that ends intervals.
pub(super) const TICK: u64 = 1;
/// The key of the one that looks whether everything has come that the client has sent.
pub(super) const LATE: u64 = 2;
/// The pause between two such looks, and how long nothing comes any more where something is missing.
const LOOK: Duration = Duration::from_millis(5);
const STILL: Duration = Duration::from_secs(1);
/// Bytes of output that are kept for a client that wants it.
const TEXT: usize = 1 << 20;

/// What holds for all tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) interval: Duration,
    /// A test in which nothing moves for so long is ended.
    pub(super) idle: Duration,
    pub(super) timeouts: Timeouts,
    /// Connections and sources of all tests together.
    pub(super) max_connections: usize,
}

/// One test.
#[derive(Debug)]
struct Test {
    /// The other side's control connection.
    peer: SocketAddr,
    cookie: Cookie,
    control: StreamId,
    engine: ServerTest,
    run: Option<Run>,
    /// Streams that have joined before all were there, with what says their order.
    joined: Vec<(u64, Place, Slot)>,
    /// Connections and sources that are its own, or will be.
    places: usize,
    due: Option<TimerId>,
    tick: Option<TimerId>,
    next_tick: Duration,
    /// The client's results, which are answered once everything has come, and when they are answered at the latest.
    theirs: Option<(Results, Duration)>,
    late: Option<TimerId>,
    /// What was told of it, where the client wants to know.
    text: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Hub {
    limits: Limits,
    tests: HashMap<u64, Test>,
    cookies: HashMap<Cookie, u64>,
    /// Tests over UDP that make their streams or wait to, by host: the first one has its turn.
    turns: HashMap<IpAddr, VecDeque<u64>>,
    sources: HashMap<SocketAddr, Slot>,
    places: usize,
    count: u64,
    log: Log,
}

impl Hub {
    pub(super) fn new(limits: Limits, log: Log) -> Self {
        Self {
            limits,
            tests: HashMap::new(),
            cookies: HashMap::new(),
            turns: HashMap::new(),
            sources: HashMap::new(),
            places: 0,
            count: 0,
            log,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The test that a connection names.
    pub(super) fn find(&self, cookie: &Cookie) -> Option<u64> {
        self.cookies.get(cookie).copied()
    }

    /// The stream of a source of datagrams.
    pub(super) fn source(&self, source: SocketAddr) -> Option<Slot> {
        self.sources.get(&source).cloned()
    }

    /// Somebody was sent away before there was a test.
    pub(super) fn turned_away(&self, peer: SocketAddr, why: &dyn std::fmt::Display) {
        self.log.put(Event::Refused {
            peer: canonical(peer).to_string(),
            reason: why.to_string(),
        });
    }

    /// Begins a test: `None`, and the client is told, where there is no room for another one.
    pub(super) fn begin(
        &mut self,
        context: &mut Context<'_>,
        control: StreamId,
        peer: SocketAddr,
        cookie: Cookie,
    ) -> Option<u64> {
        if self.places + 2 > self.limits.max_connections {
            self.turned_away(peer, &"as many connections as --max-connections allows");
            let _ = context.write(control, &[State::AccessDenied.to_byte()]);
            return None;
        }
        self.count += 1;
        self.places += 1;
        let number = self.count;
        let test = Test {
            peer: canonical(peer),
            cookie,
            control,
            engine: ServerTest::new(self.limits.timeouts, clock(context.now())),
            run: None,
            joined: Vec::new(),
            places: 1,
            due: None,
            tick: None,
            next_tick: Duration::ZERO,
            theirs: None,
            late: None,
            text: String::new(),
        };
        self.tests.insert(number, test);
        self.cookies.insert(cookie, number);
        self.settle(context, number);
        Some(number)
    }

    /// Takes bytes of a control connection. `false` once the test is over.
    pub(super) fn control(&mut self, context: &mut Context<'_>, number: u64, mut data: &[u8]) -> bool {
        let now = clock(context.now());
        while !data.is_empty() {
            let Some(test) = self.tests.get_mut(&number) else {
                return false;
            };
            match test.engine.on_bytes(data, now) {
                Ok((taken, event)) => {
                    data = data.get(taken..).unwrap_or_default();
                    if let Some(event) = event {
                        self.obey(context, number, event);
                    }
                }
                Err(error) => {
                    self.fail(context, number, &error);
                    return false;
                }
            }
        }
        self.settle(context, number);
        self.tests.contains_key(&number)
    }

    /// The control connection has ended.
    pub(super) fn control_ended(&mut self, context: &mut Context<'_>, number: u64) {
        let Some(test) = self.tests.get_mut(&number) else {
            return;
        };
        let during = test.engine.phase();
        match test.engine.on_eof() {
            // Both sides have all results.
            Err(error) if during != Phase::Goodbye => self.fail(context, number, &error),
            _ => self.remove(context, number),
        }
    }

    /// A timer of a control connection has fired.
    pub(super) fn timer(&mut self, context: &mut Context<'_>, number: u64, key: u64) {
        if key == TICK {
            return self.tick(context, number);
        }
        if key == LATE {
            self.answer(context, number);
            return self.settle(context, number);
        }
        let Some(test) = self.tests.get_mut(&number) else {
            return;
        };
        test.due = None;
        let outcome = test.engine.on_time(clock(context.now()));
        match outcome {
            Ok(Some(event)) => self.obey(context, number, event),
            Ok(None) => {}
            Err(error) => return self.fail(context, number, &error),
        }
        self.settle(context, number);
    }

    fn obey(&mut self, context: &mut Context<'_>, number: u64, event: ServerEvent) {
        let now = clock(context.exact_now());
        let Some(test) = self.tests.get_mut(&number) else {
            return;
        };
        match event {
            ServerEvent::Parameters => self.parameters(context, number),
            ServerEvent::OmitOver => {
                if let Some(run) = &mut test.run {
                    let intervals = run.omit_over(context, now);
                    test.next_tick = now + self.limits.interval;
                    tell(test, &self.log, intervals, true);
                    set_tick(test, context, now);
                }
            }
            ServerEvent::End => {
                if let Some(run) = &mut test.run {
                    let is_omitted = run.is_omitting();
                    let intervals = run.rest(context, now);
                    run.end(now);
                    end_sending(run, context);
                    tell(test, &self.log, intervals, is_omitted);
                }
                cancel(&mut test.tick, context);
            }
            ServerEvent::Results(theirs) => self.results(context, number, theirs),
            ServerEvent::Done => self.remove(context, number),
            // Events that later versions may have.
            _ => {}
        }
    }

    fn parameters(&mut self, context: &mut Context<'_>, number: u64) {
        let Some(test) = self.tests.get_mut(&number) else {
            return;
        };
        let parameters = test.engine.parameters().clone();
        let streams = parameters.streams() as usize;
        if self.places + streams > self.limits.max_connections {
            let why = "more streams than --max-connections leaves room for";
            test.engine.refuse(ErrorCode::STREAMS, 0);
            return self.give_up(context, number, why);
        }
        self.places += streams;
        test.places += streams;
        let is_udp = parameters.udp;
        test.run = Some(Run::new(Side::Server, parameters));
        if !is_udp {
            return test.engine.accept(clock(context.now()));
        }
        let ip = test.peer.ip();
        let turns = self.turns.entry(ip).or_default();
        turns.push_back(number);
        if turns.len() == 1 {
            test.engine.accept(clock(context.now()));
        }
    }

    /// How a test is made, once that is known.
    pub(super) fn parameters_of(&self, number: u64) -> Option<Parameters> {
        let run = self.tests.get(&number)?.run.as_ref()?;
        Some(run.parameters.clone())
    }

    /// Whose turn it is to make streams over UDP.
    pub(super) fn turn(&self, host: IpAddr) -> Option<u64> {
        let turns = self.turns.get(&host.to_canonical())?;
        turns.front().copied()
    }

    /// A test has made its streams, or is over: the next one of its host has its turn.
    fn pass_turn(&mut self, context: &mut Context<'_>, host: IpAddr, number: u64) {
        let Some(turns) = self.turns.get_mut(&host) else {
            return;
        };
        let had_turn = turns.front() == Some(&number);
        turns.retain(|&other| other != number);
        let next = turns.front().copied();
        if turns.is_empty() {
            self.turns.remove(&host);
        }
        if let Some(next) = next.filter(|_| had_turn) {
            if let Some(test) = self.tests.get_mut(&next) {
                test.engine.accept(clock(context.now()));
            }
            self.settle(context, next);
        }
    }

    /// Adds a stream to a test, of which `order` says the place among the others: `None` where it waits for none.
    pub(super) fn join(
        &mut self,
        context: &mut Context<'_>,
        number: u64,
        (order, place): (u64, Place),
    ) -> Option<(Slot, Joined)> {
        let test = self.tests.get_mut(&number)?;
        let is_udp = matches!(place, Place::Datagrams { .. });
        test.run.as_ref().filter(|run| run.parameters.udp == is_udp)?;
        let joined = test.engine.join(clock(context.now()))?;
        let slot = Slot::default();
        test.joined.push((order, place, Slot::clone(&slot)));
        if let Place::Datagrams { peer, .. } = place {
            self.sources.insert(peer, Slot::clone(&slot));
        }
        Some((slot, joined))
    }

    /// The last stream has joined: data flows. What sends.
    pub(super) fn start(&mut self, context: &mut Context<'_>, number: u64) -> Vec<SharedFlow> {
        let now = clock(context.exact_now());
        let Some(test) = self.tests.get_mut(&number) else {
            return Vec::new();
        };
        let Some(run) = &mut test.run else {
            return Vec::new();
        };
        test.joined.sort_by_key(|(order, ..)| *order);
        for (_, place, slot) in test.joined.drain(..) {
            // Nobody else fills it.
            let _ = slot.set(run.add(place));
        }
        run.begin(now);
        let senders = run.flows.iter().filter(|flow| flow.borrow().sends);
        let senders = senders.cloned().collect();
        self.log.put(Event::Begin {
            peer: test.peer.to_string(),
            parameters: Box::new(parameters_of(&run.parameters, self.limits.interval)),
        });
        test.next_tick = now + self.limits.interval;
        set_tick(test, context, now);
        let host = test.peer.ip();
        self.settle(context, number);
        self.pass_turn(context, host, number);
        senders
    }

    fn tick(&mut self, context: &mut Context<'_>, number: u64) {
        let now = clock(context.now());
        let Some(test) = self.tests.get_mut(&number) else {
            return;
        };
        test.tick = None;
        let Some(run) = test.run.as_mut().filter(|run| run.is_running()) else {
            return;
        };
        let is_omitted = run.is_omitting();
        let still_for = run.still_for(context, now);
        let intervals = run.sample(context, now);
        tell(test, &self.log, intervals, is_omitted);
        if still_for >= self.limits.idle {
            test.engine.terminate();
            let why = format!("nothing has moved for {} s (--idle-timeout)", still_for.as_secs());
            return self.give_up(context, number, &why);
        }
        // A loop that was kept from running has no intervals to make up for.
        test.next_tick = (test.next_tick + self.limits.interval).max(now);
        set_tick(test, context, now);
    }

    /// The client says what it has sent: a part of it may still be on its way.
    fn results(&mut self, context: &mut Context<'_>, number: u64, theirs: Results) {
        let at_the_latest = clock(context.now()) + self.limits.timeouts.step / 2;
        if let Some(test) = self.tests.get_mut(&number) {
            test.theirs = Some((theirs, at_the_latest));
        }
        self.answer(context, number);
    }

    /// Answers the client's results, or looks again soon.
    fn answer(&mut self, context: &mut Context<'_>, number: u64) {
        let now = clock(context.exact_now());
        let Some(test) = self.tests.get_mut(&number) else {
            return;
        };
        let (Some(run), Some((theirs, at_the_latest))) = (&mut test.run, test.theirs.take()) else {
            return;
        };
        test.late = None;
        if run.is_short_of(&theirs, context, now)
            && run.still_for(context, now) < STILL
            && now < at_the_latest
        {
            test.theirs = Some((theirs, at_the_latest));
            if let Some(mut control) = context.stream(test.control) {
                test.late = Some(control.set_timer(LOOK, LATE));
            }
            return;
        }
        let mut ours = run.results(context, now);
        let outcome = run.outcome(test.peer.to_string(), &ours, &theirs, now);
        if run.parameters.get_server_output {
            let mut text = std::mem::take(&mut test.text);
            for line in print::outcome_lines(&outcome) {
                text.push_str(&line);
                text.push('\n');
            }
            ours.server_output_text = Some(text);
        }
        let moved = run.moved_bytes(context);
        test.engine.answer(&ours);
        self.log.put(over(test, moved, None, Some(outcome)));
    }

    /// Sends what the engine has to say, and sets the timer for what it waits for.
    fn settle(&mut self, context: &mut Context<'_>, number: u64) {
        let Some(test) = self.tests.get_mut(&number) else {
            return;
        };
        let output = test.engine.take_output();
        if !output.is_empty() {
            let _ = context.write(test.control, &output);
        }
        cancel(&mut test.due, context);
        let now = clock(context.now());
        if let (Some(at), Some(mut control)) = (test.engine.due(), context.stream(test.control)) {
            test.due = Some(control.set_timer(at.saturating_sub(now), DUE));
        }
    }

    /// A test ends by an error: the client is told where it can be, and so is whoever runs the server.
    pub(super) fn fail(&mut self, context: &mut Context<'_>, number: u64, error: &ControlError) {
        if let (Some(code), Some(test)) = (error.code(), self.tests.get_mut(&number)) {
            test.engine.refuse(code, 0);
        }
        self.give_up(context, number, &error.to_string());
    }

    /// A test ends by an error of this side.
    pub(super) fn refuse(
        &mut self,
        context: &mut Context<'_>,
        number: u64,
        code: ErrorCode,
        errno: i32,
        why: &str,
    ) {
        if let Some(test) = self.tests.get_mut(&number) {
            test.engine.refuse(code, errno);
        }
        self.give_up(context, number, why);
    }

    fn give_up(&mut self, context: &mut Context<'_>, number: u64, why: &str) {
        let now = clock(context.now());
        if let Some(test) = self.tests.get_mut(&number) {
            if let Some(run) = test.run.as_mut().filter(|run| run.is_running()) {
                let is_omitted = run.is_omitting();
                let intervals = run.rest(context, now);
                tell(test, &self.log, intervals, is_omitted);
            }
            let moved = test.run.as_ref().map(|run| run.moved_bytes(context));
            self.log.put(match moved {
                Some(moved) => over(test, moved, Some(why.to_owned()), None),
                None => Event::Refused {
                    peer: test.peer.to_string(),
                    reason: why.to_owned(),
                },
            });
        }
        self.remove(context, number);
    }

    /// Forgets a test and frees what is its own. What its engine has said last still leaves.
    fn remove(&mut self, context: &mut Context<'_>, number: u64) {
        let Some(mut test) = self.tests.remove(&number) else {
            return;
        };
        self.cookies.remove(&test.cookie);
        self.places -= test.places;
        cancel(&mut test.due, context);
        cancel(&mut test.tick, context);
        cancel(&mut test.late, context);
        let mut places: Vec<Place> = test.joined.iter().map(|&(_, place, _)| place).collect();
        for flow in test.run.iter().flat_map(|run| &run.flows) {
            let mut flow = flow.borrow_mut();
            flow.is_active = false;
            places.push(flow.place);
        }
        for place in places {
            match place {
                Place::Connection(id) => {
                    if let Some(mut stream) = context.stream(id) {
                        stream.abort();
                    }
                }
                Place::Datagrams { peer, .. } => {
                    self.sources.remove(&peer);
                }
            }
        }
        let output = test.engine.take_output();
        if let Some(mut control) = context.stream(test.control) {
            if !output.is_empty() {
                let _ = control.write(&output);
            }
            control.close();
        }
        self.pass_turn(context, test.peer.ip(), number);
    }

    /// Ends all tests: the clients are told.
    pub(super) fn terminate(&mut self, context: &mut Context<'_>) {
        let numbers: Vec<u64> = self.tests.keys().copied().collect();
        for number in numbers {
            if let Some(test) = self.tests.get_mut(&number) {
                test.engine.terminate();
            }
            self.give_up(context, number, "the server was ended");
        }
    }
}

/// What sends says that nothing more comes. iperf3 reads on at the end of a test, whole blocks on blocking sockets: of the part
/// of a block it would wait for the rest for ever, and never get to the results.
fn end_sending(run: &Run, context: &mut Context<'_>) {
    for flow in &run.flows {
        let flow = flow.borrow();
        if let Place::Connection(id) = flow.place
            && flow.sends
            && let Some(mut stream) = context.stream(id)
        {
            stream.shutdown_write();
        }
    }
}

/// A test is over, which had so many bytes received and sent.
fn over(
    test: &Test,
    (received_bytes, sent_bytes): (u64, u64),
    failure: Option<String>,
    outcome: Option<Outcome>,
) -> Event {
    let parameters = parameters_of(test.engine.parameters(), Duration::ZERO);
    Event::Run(Box::new(log::Run {
        peer: test.peer.to_string(),
        mode: parameters.mode.name(),
        transport: parameters.transport.name(),
        up: parameters.up,
        down: parameters.down,
        sent_bytes,
        received_bytes,
        failure,
        outcome,
    }))
}

/// Tells intervals, and keeps them for a client that wants to know.
fn tell(test: &mut Test, log: &Log, rows: Vec<Interval>, is_omitted: bool) {
    if rows.is_empty() {
        return;
    }
    let wants_text = test
        .run
        .as_ref()
        .is_some_and(|run| run.parameters.get_server_output);
    if wants_text && test.text.len() < TEXT {
        for line in print::interval_lines(&rows) {
            test.text.push_str(&line);
            test.text.push_str(if is_omitted { OMITTED } else { "" });
            test.text.push('\n');
        }
    }
    log.put(Event::Interval {
        peer: test.peer.to_string(),
        rows,
        is_omitted,
    });
}

fn set_tick(test: &mut Test, context: &mut Context<'_>, now: Duration) {
    cancel(&mut test.tick, context);
    if let Some(mut control) = context.stream(test.control) {
        test.tick = Some(control.set_timer(test.next_tick.saturating_sub(now), TICK));
    }
}

fn cancel(timer: &mut Option<TimerId>, context: &mut Context<'_>) {
    if let Some(timer) = timer.take() {
        context.cancel_timer(timer);
    }
}

/// An IPv4 address that a socket of both families shows in IPv6 form, as itself.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
