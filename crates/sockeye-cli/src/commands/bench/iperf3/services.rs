//! What runs on the sockets of a server: connections of control and of data, and datagrams.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramService, Datagrams, ListenerId, Stream, StreamId,
    StreamOption, StreamService, TimerId, Watermarks,
};
use sockeye::measure::iperf3::{Cookie, ErrorCode, Greeting, Joined, Parameters, State};
use sockeye::tcp::CongestionControl;

use super::flow::{Place, SharedFlow, Slot, clock};
use super::hub::Hub;
use crate::output::warn;

/// The key of the timer of a connection that has to say who it is.
const WHO: u64 = 2;
/// The key of the timer of a connection that sends at a rate.
const FILL: u64 = 3;

/// Connections of clients.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) hub: Rc<RefCell<Hub>>,
    /// Connections that were accepted.
    pub(super) accepted: u64,
}

/// A connection.
#[derive(Debug)]
pub(super) enum Conn {
    /// It has not said its cookie yet, and is ended by a timer; which one it is of those that were accepted.
    New(TimerId, u64),
    /// The control connection of a test.
    Control(u64),
    /// A stream of one.
    Data(Slot),
    /// Nothing of it is of interest any more.
    Over,
}

impl Connections {
    /// A connection has said its cookie: it begins a test, or is a stream of one.
    fn greet(&self, stream: &mut Stream<'_>, cookie: Cookie, order: u64) -> Conn {
        let mut hub = self.hub.borrow_mut();
        let (id, peer) = (stream.id(), peer_of(stream));
        let Some(number) = hub.find(&cookie) else {
            let begun = hub.begin(&mut stream.context(), id, peer, cookie);
            return begun.map_or_else(
                || {
                    stream.close();
                    Conn::Over
                },
                Conn::Control,
            );
        };
        let place = (order, Place::Connection(id));
        let Some((slot, joined)) = hub.join(&mut stream.context(), number, place) else {
            hub.turned_away(peer, &"a connection of a test that waits for none");
            let _ = stream.write(&[State::AccessDenied.to_byte()]);
            stream.close();
            return Conn::Over;
        };
        if let Some(parameters) = hub.parameters_of(number)
            && let Err((code, error)) = prepare(stream, &parameters)
        {
            let what = code.words().unwrap_or("a stream could not be set up");
            let why = format!("{what}: {}", crate::exit::words(&error));
            let errno = error.raw_os_error().unwrap_or(0);
            hub.refuse(&mut stream.context(), number, code, errno, &why);
            return Conn::Over;
        }
        if joined == Joined::Last {
            let senders = hub.start(&mut stream.context(), number);
            for sender in senders {
                start(stream, &sender);
            }
        }
        Conn::Data(slot)
    }
}

/// Begins to send on a connection, which may be this one.
fn start(stream: &mut Stream<'_>, flow: &SharedFlow) {
    let Place::Connection(id) = flow.borrow().place else {
        return;
    };
    if id == stream.id() {
        stream.notify_writable();
    } else if let Some(mut other) = stream.other(id) {
        other.notify_writable();
    }
}

/// Gives a connection of data what its parameters ask for.
pub(super) fn prepare(
    stream: &mut Stream<'_>,
    parameters: &Parameters,
) -> Result<(), (ErrorCode, io::Error)> {
    // Blocks follow each other without a gap when the queue is empty, and not before, so that none waits behind others.
    stream.set_watermarks(Watermarks {
        low: 0,
        ..Watermarks::default()
    });
    let mut set = |option: StreamOption, code: i32| {
        stream
            .set_option(&option)
            .map_err(|error| (ErrorCode(code), error))
    };
    if let Ok(bytes @ 1..) = usize::try_from(parameters.window) {
        set(StreamOption::SendBuffer(bytes), 124)?;
        set(StreamOption::RecvBuffer(bytes), 124)?;
    }
    if let Ok(class @ 1..) = u8::try_from(parameters.tos) {
        set(StreamOption::TrafficClass(class), 125)?;
    }
    if !parameters.nodelay {
        set(StreamOption::NoDelay(false), 122)?;
    }
    if let Some(name) = &parameters.congestion
        && let Some(tcp) = stream.tcp()
    {
        let unknown = || io::Error::from(io::ErrorKind::NotFound);
        let name = CongestionControl::new(name).ok_or_else(|| (ErrorCode(134), unknown()))?;
        let set = tcp.set_congestion_control(name);
        set.map_err(|error| (ErrorCode(134), error))?;
    }
    Ok(())
}

/// Sends on a connection, now and when it is time again.
pub(super) fn fill(stream: &mut Stream<'_>, flow: &SharedFlow) {
    let after = flow.borrow_mut().fill(stream);
    if let Some(after) = after {
        stream.set_timer(after, FILL);
    }
}

fn peer_of(stream: &Stream<'_>) -> SocketAddr {
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    stream.peer_addr().unwrap_or(nobody)
}

/// A peer that has vanished without a word is found by asking: after 30 s of silence, and then three times.
const KEEPALIVE: StreamOption = StreamOption::KeepAlive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(10),
    count: 3,
};

impl StreamService for Connections {
    type Conn = Conn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Conn {
        // Without it, such a peer is found by the deadlines of its test alone.
        let _ = stream.set_option(&KEEPALIVE);
        let step = self.hub.borrow().limits().timeouts.step;
        self.accepted += 1;
        Conn::New(stream.set_timer(step, WHO), self.accepted)
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, data: &mut [u8]) -> usize {
        match conn {
            Conn::Data(slot) => {
                if let Some(flow) = slot.get() {
                    flow.borrow_mut().received(data.len());
                }
            }
            Conn::Control(number) => {
                let number = *number;
                let mut hub = self.hub.borrow_mut();
                if !hub.control(&mut stream.context(), number, data) {
                    *conn = Conn::Over;
                }
            }
            Conn::New(timer, order) => match Cookie::parse(data) {
                Ok(None) => return 0,
                Ok(Some(cookie)) => {
                    stream.cancel_timer(*timer);
                    *conn = self.greet(stream, cookie, *order);
                    let rest = data.get_mut(Cookie::LEN..).unwrap_or_default();
                    if !rest.is_empty() {
                        self.on_data(stream, conn, rest);
                    }
                }
                Err(error) => {
                    self.hub.borrow().turned_away(peer_of(stream), &error);
                    *conn = Conn::Over;
                    stream.abort();
                }
            },
            Conn::Over => {}
        }
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        if let Conn::Data(slot) = conn
            && let Some(flow) = slot.get()
        {
            fill(stream, flow);
        }
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, key: u64) {
        match (conn, key) {
            (Conn::Data(slot), FILL) => {
                if let Some(flow) = slot.get() {
                    fill(stream, flow);
                }
            }
            (Conn::Control(number), _) => self.hub.borrow_mut().timer(&mut stream.context(), *number, key),
            (conn @ Conn::New(..), WHO) => {
                let step = self.hub.borrow().limits().timeouts.step;
                let why = format!(
                    "it did not say within {} s which test it belongs to",
                    step.as_secs_f64()
                );
                self.hub.borrow().turned_away(peer_of(stream), &why);
                *conn = Conn::Over;
                stream.abort();
            }
            _ => {}
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        match conn {
            Conn::Control(number) => {
                let number = *number;
                *conn = Conn::Over;
                self.hub.borrow_mut().control_ended(&mut stream.context(), number);
            }
            Conn::New(..) => {
                self.hub
                    .borrow()
                    .turned_away(peer_of(stream), &"it ended before it had said a cookie");
            }
            Conn::Data(_) | Conn::Over => {}
        }
        stream.close();
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, conn: Conn, _: CloseReason) {
        if let Conn::Control(number) = conn {
            self.hub.borrow_mut().control_ended(context, number);
        }
    }

    fn on_listener_lost(&mut self, context: &mut Context<'_>, _: ListenerId, error: io::Error) {
        warn(format_args!(
            "sockeye: bench server: its listening socket failed: {error}"
        ));
        context.stop();
    }
}

/// Sources of datagrams.
#[derive(Debug)]
pub(super) struct Sources {
    hub: Rc<RefCell<Hub>>,
    /// The last source: its datagrams come in runs.
    last: Option<(SocketAddr, SharedFlow)>,
    senders: Senders,
    /// Greetings that found a test.
    greeted: u64,
}

impl Sources {
    pub(super) fn new(hub: &Rc<RefCell<Hub>>) -> Self {
        Self {
            hub: Rc::clone(hub),
            last: None,
            senders: Senders::default(),
            greeted: 0,
        }
    }

    /// What is no datagram of a running stream.
    #[cold]
    fn other(&mut self, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        let mut hub = self.hub.borrow_mut();
        if let Some(slot) = hub.source(datagram.source) {
            if let Some(flow) = slot.get().filter(|flow| flow.borrow().is_active) {
                let now = clock(socket.exact_now());
                flow.borrow_mut().received_datagram(datagram.data, now);
                self.last = Some((datagram.source, SharedFlow::clone(flow)));
            } else if let Some(greeting) = Greeting::parse(datagram.data) {
                // It did not hear the answer.
                let _ = socket.send(&datagram.reply(&greeting.answer()));
            }
            return;
        }
        let Some(greeting) = Greeting::parse(datagram.data) else {
            return;
        };
        // Whoever has no test here gets no answer: the source may be forged.
        let Some(number) = hub.turn(datagram.source.ip()) else {
            return;
        };
        let place = Place::Datagrams {
            socket: socket.id(),
            peer: datagram.source,
            local: datagram.meta.local,
        };
        self.greeted += 1;
        let place = (self.greeted, place);
        let Some((_, joined)) = hub.join(&mut socket.context(), number, place) else {
            return;
        };
        let _ = socket.send(&datagram.reply(&greeting.answer()));
        if joined == Joined::Last {
            for flow in hub.start(&mut socket.context(), number) {
                if let Place::Datagrams { socket: id, .. } = flow.borrow().place {
                    let key = self.senders.add(SharedFlow::clone(&flow));
                    socket.other(id).set_timer(Duration::ZERO, key);
                }
            }
        }
    }
}

impl DatagramService for Sources {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let last = self
            .last
            .as_ref()
            .filter(|(source, _)| *source == datagram.source);
        match last.map(|(_, flow)| flow.borrow_mut()) {
            Some(mut flow) if flow.is_active => {
                flow.received_datagram(datagram.data, clock(socket.exact_now()));
                return;
            }
            _ => {}
        }
        self.other(socket, &datagram);
    }

    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        self.senders.writable(socket);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        self.senders.timer(socket, key);
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: DatagramId, reason: CloseReason) {
        if !matches!(reason, CloseReason::LoopEnded) {
            warn(format_args!(
                "sockeye: bench server: its socket of datagrams failed: {reason}"
            ));
            context.stop();
        }
    }
}

/// Streams that send datagrams, each by a timer of its socket.
#[derive(Debug, Default)]
pub(super) struct Senders {
    flows: HashMap<u64, SharedFlow>,
    next: u64,
    /// Those that found a socket full, until it has room.
    waiting: Vec<(DatagramId, u64)>,
}

impl Senders {
    /// Adds a stream: it sends once its socket's timer of this key fires.
    pub(super) fn add(&mut self, flow: SharedFlow) -> u64 {
        self.next += 1;
        self.flows.insert(self.next, flow);
        self.next
    }

    pub(super) fn timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        let Some(flow) = self.flows.get(&key) else {
            return;
        };
        let after = flow.borrow_mut().fill_datagrams(socket);
        match after {
            Some(after) => {
                socket.set_timer(after, key);
            }
            None if flow.borrow().is_active => self.waiting.push((socket.id(), key)),
            None => {
                self.flows.remove(&key);
            }
        }
    }

    pub(super) fn writable(&mut self, socket: &mut Datagrams<'_>) {
        let id = socket.id();
        let (now, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(of, _)| *of == id);
        self.waiting = later;
        let now: Vec<(DatagramId, u64)> = now;
        for (_, key) in now {
            self.timer(socket, key);
        }
    }
}
