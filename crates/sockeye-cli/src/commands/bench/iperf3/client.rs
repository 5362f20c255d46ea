//! What runs on a client's connections and sockets: one test.
//!
//! Streams are made one after another, as the server counts them in the order in which they come.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;
use sockeye::endpoint::Transport;
use sockeye::event_loop::{
    CloseReason, ConnectFailure, ConnectOptions, ConnectRequest, Context, Datagram, DatagramId,
    DatagramService, Datagrams, Stream, StreamId, StreamOption, StreamService, TimerId,
};
use sockeye::measure::iperf3::{
    ClientEvent, ClientTest, ControlError, Cookie, Greeting, Parameters, Results, Timeouts,
};

use super::super::client::figures::Interval;
use super::flow::{Place, SharedFlow, clock};
use super::run::{Run, Side};
use super::services::{Senders, fill, prepare};
use super::told::Told;
use crate::probing::Inbox;
use crate::talk::errors::{connect_error, of_address};

/// The tag of the control connection's connect.
pub(super) const CONTROL: u64 = 0;
/// The tag of a data connection's.
const DATA: u64 = 1;
/// The key of the control connection's timer that looks at the deadlines.
const DUE: u64 = 0;
/// The key of the one that ends intervals.
const TICK: u64 = 1;
/// For each stream.
const CONNECT: Duration = Duration::from_secs(10);

/// One test.
#[derive(Debug)]
pub(super) struct Session {
    cookie: Cookie,
    /// The server, as it was given.
    target: String,
    interval: Duration,
    run: Run,
    engine: Option<ClientTest>,
    control: Option<(StreamId, SocketAddr)>,
    /// The socket whose greeting was not answered yet.
    greeting: Option<DatagramId>,
    /// The others.
    flows: HashMap<DatagramId, SharedFlow>,
    senders: Senders,
    due: Option<TimerId>,
    tick: Option<TimerId>,
    next_tick: Duration,
    ours: Results,
    theirs: Results,
    is_interrupted: bool,
    inbox: Inbox<Told>,
}

impl Session {
    pub(super) fn new(
        cookie: Cookie,
        target: String,
        parameters: Parameters,
        interval: Duration,
        inbox: Inbox<Told>,
    ) -> Self {
        Self {
            cookie,
            target,
            interval,
            run: Run::new(Side::Client, parameters),
            engine: None,
            control: None,
            greeting: None,
            flows: HashMap::new(),
            senders: Senders::default(),
            due: None,
            tick: None,
            next_tick: Duration::ZERO,
            ours: Results::default(),
            theirs: Results::default(),
            is_interrupted: false,
            inbox,
        }
    }

    /// Where the server is, once the control connection is established.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.control.map(|(_, peer)| peer)
    }

    fn break_off(&self, error: impl Into<anyhow::Error>) {
        self.inbox.put(Told::Broken(error.into()));
    }

    fn control_opened(&mut self, context: &mut Context<'_>, id: StreamId, peer: SocketAddr) {
        let now = clock(context.now());
        self.control = Some((id, peer));
        let parameters = self.run.parameters.clone();
        self.engine = Some(ClientTest::new(
            &self.cookie,
            parameters,
            Timeouts::default(),
            now,
        ));
        self.settle(context);
    }

    fn control(&mut self, context: &mut Context<'_>, mut data: &[u8]) {
        let now = clock(context.now());
        while !data.is_empty() {
            let Some(engine) = &mut self.engine else {
                return;
            };
            match engine.on_bytes(data, now) {
                Ok((taken, event)) => {
                    data = data.get(taken..).unwrap_or_default();
                    if let Some(event) = event {
                        self.obey(context, event);
                    }
                }
                Err(error) => return self.break_off(error),
            }
        }
        self.settle(context);
    }

    fn control_ended(&mut self, reason: &dyn std::fmt::Display) {
        if let Some(engine) = &mut self.engine
            && let Err(error @ ControlError::Closed { .. }) = engine.on_eof()
        {
            self.break_off(anyhow!("{error}: {reason}"));
        }
    }

    fn timer(&mut self, context: &mut Context<'_>, key: u64) {
        if key == TICK {
            self.tick = None;
            return self.tick(context);
        }
        self.due = None;
        let now = clock(context.now());
        let Some(engine) = &mut self.engine else {
            return;
        };
        match engine.on_time(now) {
            Ok(Some(event)) => self.obey(context, event),
            Ok(None) => {}
            Err(error) => return self.break_off(error),
        }
        self.settle(context);
    }

    fn obey(&mut self, context: &mut Context<'_>, event: ClientEvent) {
        let now = clock(context.now());
        match event {
            ClientEvent::CreateStreams => self.next_stream(context),
            ClientEvent::Begin => self.begin(context),
            ClientEvent::OmitOver => {
                let intervals = self.run.omit_over(context, now);
                self.tell(intervals, true);
                self.next_tick = now + self.interval;
                self.set_tick(context);
                // Those that had sent the whole amount already begin anew.
                self.start(context);
            }
            ClientEvent::TimeOver => self.end(context),
            ClientEvent::ResultsWanted => {
                self.ours = self.run.results(context, now);
                if let Some(engine) = &mut self.engine {
                    engine.answer(&self.ours);
                }
            }
            ClientEvent::Results(theirs) => self.theirs = *theirs,
            ClientEvent::Done => {
                let target = self.target.clone();
                let mut outcome = self.run.outcome(target, &self.ours, &self.theirs, now);
                outcome.is_interrupted = self.is_interrupted;
                self.inbox.put(Told::Ended(Box::new(outcome)));
            }
            // Events that later versions may have.
            _ => {}
        }
    }

    /// Makes the next stream, if one is missing.
    fn next_stream(&mut self, context: &mut Context<'_>) {
        let made = self.run.flows.len();
        let Some(server) = self
            .server()
            .filter(|_| made < self.run.parameters.streams() as usize)
        else {
            return;
        };
        if self.run.parameters.udp {
            return self.inbox.put(Told::NeedsSocket(server));
        }
        let mut options = ConnectOptions::default();
        if let Ok(bytes @ 1..) = usize::try_from(self.run.parameters.window) {
            // They decide the window scale.
            options.socket = vec![StreamOption::SendBuffer(bytes), StreamOption::RecvBuffer(bytes)];
        }
        context.connect(
            ConnectRequest::new(server)
                .tag(DATA)
                .deadline(CONNECT)
                .options(options),
        );
    }

    /// A data connection is established: it says to which test it belongs.
    fn joined(&mut self, stream: &mut Stream<'_>) -> SharedFlow {
        if let Err((_, error)) = prepare(stream, &self.run.parameters) {
            self.break_off(anyhow::Error::from(error).context("set up a data connection"));
        }
        let _ = stream.write(self.cookie.as_bytes());
        let flow = self.run.add(Place::Connection(stream.id()));
        self.next_stream(&mut stream.context());
        flow
    }

    /// The server has answered a greeting.
    fn answered(&mut self, context: &mut Context<'_>, socket: DatagramId, peer: SocketAddr) {
        self.greeting = None;
        let flow = self.run.add(Place::Datagrams {
            socket,
            peer,
            local: None,
        });
        self.flows.insert(socket, SharedFlow::clone(&flow));
        self.senders.add(flow);
        self.next_stream(context);
    }

    fn begin(&mut self, context: &mut Context<'_>) {
        let now = clock(context.exact_now());
        let expected = self.run.parameters.streams() as usize;
        if let (Some(socket), Some(peer)) = (self.greeting, self.server()) {
            // The answer is late, or was lost: the server has all streams, or it would not begin.
            self.answered(context, socket, peer);
        }
        if self.run.flows.len() < expected {
            return self.break_off(anyhow!("the server began the test before all streams were there"));
        }
        self.run.begin(now);
        self.inbox.put(Told::Began);
        self.next_tick = now + self.interval;
        self.set_tick(context);
        self.start(context);
    }

    /// Has all streams send that can. The key of a socket's timer is the place of its stream, counted from 1.
    fn start(&self, context: &mut Context<'_>) {
        for (flow, key) in self.run.flows.iter().zip(1..) {
            let flow = flow.borrow();
            match flow.place {
                Place::Connection(id) if flow.sends => {
                    if let Some(mut stream) = context.stream(id) {
                        stream.notify_writable();
                    }
                }
                Place::Datagrams { socket, .. } if flow.sends => {
                    context.datagrams(socket).set_timer(Duration::ZERO, key);
                }
                _ => {}
            }
        }
    }

    fn tick(&mut self, context: &mut Context<'_>) {
        if !self.run.is_running() {
            return;
        }
        let now = clock(context.now());
        let intervals = self.run.sample(context, now);
        self.tell(intervals, self.run.is_omitting());
        self.next_tick = (self.next_tick + self.interval).max(now);
        self.set_tick(context);
    }

    /// Enough was moved, perhaps.
    fn look(&mut self, context: &mut Context<'_>) {
        if self.run.is_running() && self.run.has_enough(context) {
            self.end(context);
            self.settle(context);
        }
    }

    fn end(&mut self, context: &mut Context<'_>) {
        // A small amount goes through in one turn.
        let now = clock(context.exact_now());
        let is_omitted = self.run.is_omitting();
        let intervals = self.run.rest(context, now);
        self.run.end(now);
        self.tell(intervals, is_omitted);
        if let Some(engine) = &mut self.engine {
            engine.end(now);
        }
    }

    /// A signal: the test ends now, with what there is. `false` where there is nothing that counts.
    pub(super) fn interrupt(&mut self, context: &mut Context<'_>) -> bool {
        if self.is_interrupted || !self.run.is_running() || self.run.is_omitting() {
            return false;
        }
        self.is_interrupted = true;
        self.end(context);
        self.settle(context);
        true
    }

    /// Gives the test up.
    pub(super) fn terminate(&mut self, context: &mut Context<'_>) {
        if let Some(engine) = &mut self.engine {
            engine.terminate();
        }
        self.settle(context);
    }

    /// What was omitted does not count, and is not told.
    fn tell(&self, rows: Vec<Interval>, is_omitted: bool) {
        if !is_omitted && !rows.is_empty() {
            self.inbox.put(Told::Intervals(rows));
        }
    }

    fn set_tick(&mut self, context: &mut Context<'_>) {
        cancel(&mut self.tick, context);
        let now = clock(context.now());
        if let Some(mut control) = self.control.and_then(|(id, _)| context.stream(id)) {
            self.tick = Some(control.set_timer(self.next_tick.saturating_sub(now), TICK));
        }
    }

    /// Sends what the engine has to say, and sets the timer for what it waits for.
    fn settle(&mut self, context: &mut Context<'_>) {
        cancel(&mut self.due, context);
        let (Some(engine), Some((control, _))) = (&mut self.engine, self.control) else {
            return;
        };
        let output = engine.take_output();
        if !output.is_empty() {
            let _ = context.write(control, &output);
        }
        let now = clock(context.now());
        if let (Some(at), Some(mut control)) = (engine.due(), context.stream(control)) {
            self.due = Some(control.set_timer(at.saturating_sub(now), DUE));
        }
    }
}

fn cancel(timer: &mut Option<TimerId>, context: &mut Context<'_>) {
    if let Some(timer) = timer.take() {
        context.cancel_timer(timer);
    }
}

/// The client's connections.
#[derive(Debug)]
pub(super) struct Connections(pub(super) Rc<RefCell<Session>>);

/// A connection.
#[derive(Debug)]
pub(super) enum Conn {
    Control,
    Data(SharedFlow),
}

impl Connections {
    fn look(&self, stream: &mut Stream<'_>) {
        self.0.borrow_mut().look(&mut stream.context());
    }

    fn send(&self, stream: &mut Stream<'_>, flow: &SharedFlow) {
        fill(stream, flow);
        if flow.borrow().has_enough() {
            self.look(stream);
        }
    }
}

impl StreamService for Connections {
    type Conn = Conn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Conn {
        let mut session = self.0.borrow_mut();
        if stream.tag() == DATA {
            return Conn::Data(session.joined(stream));
        }
        let id = stream.id();
        if let Some(peer) = stream.peer_addr() {
            session.control_opened(&mut stream.context(), id, peer);
        }
        Conn::Control
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, data: &mut [u8]) -> usize {
        match conn {
            Conn::Data(flow) => {
                if flow.borrow_mut().received(data.len()) {
                    self.look(stream);
                }
            }
            Conn::Control => self.0.borrow_mut().control(&mut stream.context(), data),
        }
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        if let Conn::Data(flow) = conn {
            self.send(stream, flow);
        }
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, key: u64) {
        match conn {
            Conn::Data(flow) => self.send(stream, flow),
            Conn::Control => self.0.borrow_mut().timer(&mut stream.context(), key),
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        if matches!(conn, Conn::Control) {
            self.0.borrow_mut().control_ended(&"the server has closed it");
        }
        stream.close();
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        let is_data = failure.tag == DATA;
        let error = connect_error(failure);
        let error = if is_data {
            error.context("connect a stream")
        } else {
            error
        };
        self.0.borrow().break_off(error);
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, conn: Conn, reason: CloseReason) {
        if matches!(conn, Conn::Control) {
            self.0.borrow_mut().control_ended(&reason);
        }
    }
}

/// The client's sockets of datagrams.
#[derive(Debug)]
pub(super) struct Sockets(pub(super) Rc<RefCell<Session>>);

impl DatagramService for Sockets {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let mut session = self.0.borrow_mut();
        session.greeting = Some(socket.id());
        if let Some(server) = session.server() {
            let _ = socket.send_to(Greeting::new().as_bytes(), server);
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let mut session = self.0.borrow_mut();
        let Some(flow) = session.flows.get(&socket.id()) else {
            if Greeting::is_answer(datagram.data) {
                let id = socket.id();
                session.answered(&mut socket.context(), id, datagram.source);
            }
            return;
        };
        let now = clock(socket.exact_now());
        let is_enough = flow.borrow_mut().received_datagram(datagram.data, now);
        if is_enough {
            session.look(&mut socket.context());
        }
    }

    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        self.0.borrow_mut().senders.writable(socket);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        let mut session = self.0.borrow_mut();
        session.senders.timer(socket, key);
        let flow = session.flows.get(&socket.id());
        let has_enough = flow.is_some_and(|flow| flow.borrow().has_enough());
        if has_enough {
            session.look(&mut socket.context());
        }
    }

    fn on_recv_error(&mut self, _: &mut Datagrams<'_>, error: io::Error) {
        let session = self.0.borrow();
        if let Some(server) = session.server() {
            let error = of_address(Transport::Udp, error, server);
            session.break_off(error.context(format!("udp://{server}")));
        }
    }
}
