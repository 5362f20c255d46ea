//! A service made of closures that writes down everything it is told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, ListenerId, Message, Relayed, ServiceHandle,
    Stream, StreamId, StreamOptions, StreamService,
};

use crate::world::World;

/// What a connection was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Open,
    Data(usize),
    ReadComplete,
    Writable,
    Eof,
    RelayEof,
    Timer(u64),
    Message(u64),
    Drain,
    Close(String),
    /// Bytes received for and sent from the other one of a joined pair.
    Relayed(u64, u64),
    /// The state of the connection was dropped.
    Dropped,
    /// No connection: a connect that failed.
    ConnectFailed(String),
    ServiceTimer(u64),
    /// No connection: a listener that was lost.
    ListenerLost(std::io::ErrorKind),
}

/// Everything a probe was told, in order, and what it received.
#[derive(Debug, Default)]
pub struct Diary {
    pub told: Vec<(u64, Told)>,
    pub received: BTreeMap<u64, Vec<u8>>,
    /// Connections in the order in which they were opened.
    pub opened: Vec<StreamId>,
    /// Why connections and connects ended, in words.
    pub reasons: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Log(pub Rc<RefCell<Diary>>);

impl Log {
    fn note(&self, id: u64, told: Told) {
        self.0.borrow_mut().told.push((id, told));
    }

    /// What everybody was told, in order.
    pub fn all(&self) -> Vec<Told> {
        self.0
            .borrow()
            .told
            .iter()
            .map(|(_, told)| told.clone())
            .collect()
    }

    /// What the n-th connection was told, in order.
    pub fn of(&self, nth: usize) -> Vec<Told> {
        let diary = self.0.borrow();
        let Some(id) = diary.opened.get(nth).map(|id| id.to_u64()) else {
            return Vec::new();
        };
        diary
            .told
            .iter()
            .filter(|(of, _)| *of == id)
            .map(|(_, told)| told.clone())
            .collect()
    }

    pub fn count(&self, what: &Told) -> usize {
        self.0
            .borrow()
            .told
            .iter()
            .filter(|(_, told)| told == what)
            .count()
    }

    pub fn has(&self, what: &Told) -> bool {
        self.count(what) > 0
    }

    pub fn opened(&self) -> usize {
        self.0.borrow().opened.len()
    }

    pub fn id(&self, nth: usize) -> StreamId {
        self.0.borrow().opened[nth]
    }

    /// Why connections ended, in order.
    pub fn closes(&self) -> Vec<String> {
        let close = |told| {
            if let Told::Close(reason) = told {
                Some(reason)
            } else {
                None
            }
        };
        self.all().into_iter().filter_map(close).collect()
    }

    /// What the n-th connection received.
    pub fn received(&self, nth: usize) -> Vec<u8> {
        let diary = self.0.borrow();
        let Some(id) = diary.opened.get(nth) else {
            return Vec::new();
        };
        diary.received.get(&id.to_u64()).cloned().unwrap_or_default()
    }

    pub fn received_len(&self, nth: usize) -> usize {
        let diary = self.0.borrow();
        let Some(id) = diary.opened.get(nth) else { return 0 };
        diary.received.get(&id.to_u64()).map_or(0, Vec::len)
    }
}

type OnStream = Box<dyn FnMut(&mut Stream<'_>)>;

/// A service made of closures. What is not given does nothing; data that nobody handles is consumed.
#[derive(Default)]
pub struct Probe {
    pub log: Log,
    pub open: Option<OnStream>,
    /// Says how much it consumed; only that is written down as received.
    pub data: Option<Box<dyn FnMut(&mut Stream<'_>, &mut [u8]) -> usize>>,
    pub complete: Option<OnStream>,
    pub writable: Option<OnStream>,
    pub eof: Option<OnStream>,
    pub relay_eof: Option<OnStream>,
    pub timer: Option<Box<dyn FnMut(&mut Stream<'_>, u64)>>,
    pub message: Option<Box<dyn FnMut(&mut Stream<'_>, u64)>>,
    pub drain: Option<OnStream>,
    pub close: Option<Box<dyn FnMut(&mut Context<'_>, StreamId)>>,
    pub connect_error: Option<Box<dyn FnMut(&mut Context<'_>)>>,
    pub service_timer: Option<Box<dyn FnMut(&mut Context<'_>, u64)>>,
    /// Called when the state of a connection is dropped.
    pub dropped: Option<Rc<dyn Fn()>>,
}

/// The state of a probe's connection.
pub struct ProbeConn {
    log: Log,
    id: u64,
    dropped: Option<Rc<dyn Fn()>>,
}

impl Drop for ProbeConn {
    fn drop(&mut self) {
        self.log.note(self.id, Told::Dropped);
        if let Some(dropped) = &self.dropped {
            dropped();
        }
    }
}

macro_rules! setter {
    ($($name:ident($($argument:ty),*) $(-> $answer:ty)?;)+) => {
        impl Probe {
            $(pub fn $name(mut self, action: impl FnMut($($argument),*) $(-> $answer)? + 'static) -> Self {
                self.$name = Some(Box::new(action));
                self
            })+
        }
    };
}

setter! {
    open(&mut Stream<'_>);
    data(&mut Stream<'_>, &mut [u8]) -> usize;
    complete(&mut Stream<'_>);
    writable(&mut Stream<'_>);
    eof(&mut Stream<'_>);
    relay_eof(&mut Stream<'_>);
    timer(&mut Stream<'_>, u64);
    message(&mut Stream<'_>, u64);
    drain(&mut Stream<'_>);
    close(&mut Context<'_>, StreamId);
    connect_error(&mut Context<'_>);
    service_timer(&mut Context<'_>, u64);
}

impl Probe {
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes all of `data` in pieces of 60,000 bytes, as far as each callback can.
    pub fn pushing(self, data: Rc<Vec<u8>>) -> Self {
        let sent = Cell::new(0);
        let push = Rc::new(move |stream: &mut Stream<'_>| {
            while sent.get() < data.len() {
                let end = data.len().min(sent.get() + 60_000);
                if !stream.write(&data[sent.get()..end]).is_taken() {
                    return;
                }
                sent.set(end);
            }
        });
        let again = Rc::clone(&push);
        self.open(move |stream| push(stream))
            .writable(move |stream| again(stream))
    }

    pub fn dropped(mut self, action: impl Fn() + 'static) -> Self {
        self.dropped = Some(Rc::new(action));
        self
    }

    /// On the server's loop, with a listener.
    pub fn serve<W: World>(self, world: &mut W, options: StreamOptions) -> (Served, std::net::SocketAddr) {
        let log = self.log.clone();
        let handle = world.server().add_stream_service(self, options);
        let at = world.listen(handle);
        (Served { log, handle }, at)
    }

    /// On the client's loop, connecting to `to`.
    pub fn connect<W: World>(self, world: &mut W, to: std::net::SocketAddr) -> Served {
        let request = world.request(to);
        self.connect_with(world, request, StreamOptions::default())
    }

    pub fn connect_with<W: World>(
        self,
        world: &mut W,
        request: ConnectRequest,
        options: StreamOptions,
    ) -> Served {
        let log = self.log.clone();
        let handle = world.client().add_stream_service(self, options);
        world.client().connect(handle, request);
        Served { log, handle }
    }
}

/// A probe that is on a loop.
#[derive(Clone)]
pub struct Served {
    pub log: Log,
    pub handle: ServiceHandle<Probe>,
}

impl StreamService for Probe {
    type Conn = ProbeConn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> ProbeConn {
        let id = stream.id().to_u64();
        self.log.0.borrow_mut().opened.push(stream.id());
        self.log.note(id, Told::Open);
        let conn = ProbeConn {
            log: self.log.clone(),
            id,
            dropped: self.dropped.clone(),
        };
        if let Some(open) = &mut self.open {
            open(stream);
        }
        conn
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn, data: &mut [u8]) -> usize {
        self.log.note(conn.id, Told::Data(data.len()));
        let before = data.to_vec();
        let consumed = match &mut self.data {
            Some(action) => action(stream, data),
            None => data.len(),
        };
        let mut diary = self.log.0.borrow_mut();
        diary
            .received
            .entry(conn.id)
            .or_default()
            .extend_from_slice(&before[..consumed]);
        consumed
    }

    fn on_read_complete(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn) {
        self.log.note(conn.id, Told::ReadComplete);
        if let Some(action) = &mut self.complete {
            action(stream);
        }
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn) {
        self.log.note(conn.id, Told::Writable);
        if let Some(action) = &mut self.writable {
            action(stream);
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn) {
        self.log.note(conn.id, Told::Eof);
        match &mut self.eof {
            Some(action) => action(stream),
            None => stream.close(),
        }
    }

    fn on_relay_eof(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn) {
        self.log.note(conn.id, Told::RelayEof);
        if let Some(action) = &mut self.relay_eof {
            action(stream);
        }
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn, key: u64) {
        self.log.note(conn.id, Told::Timer(key));
        if let Some(action) = &mut self.timer {
            action(stream, key);
        }
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn, message: Message) {
        let number = *message.downcast::<u64>().unwrap();
        self.log.note(conn.id, Told::Message(number));
        if let Some(action) = &mut self.message {
            action(stream, number);
        }
    }

    fn on_drain(&mut self, stream: &mut Stream<'_>, conn: &mut ProbeConn) {
        self.log.note(conn.id, Told::Drain);
        match &mut self.drain {
            Some(action) => action(stream),
            None => stream.close(),
        }
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        self.log.0.borrow_mut().reasons.push(failure.to_string());
        self.log.note(u64::MAX, Told::ConnectFailed(failure.to_string()));
        if let Some(action) = &mut self.connect_error {
            action(context);
        }
    }

    fn on_listener_lost(&mut self, _: &mut Context<'_>, _: ListenerId, error: std::io::Error) {
        self.log.note(u64::MAX, Told::ListenerLost(error.kind()));
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        self.log.note(u64::MAX, Told::ServiceTimer(key));
        if let Some(action) = &mut self.service_timer {
            action(context, key);
        }
    }

    fn on_relayed(&mut self, conn: &mut ProbeConn, relayed: Relayed) {
        self.log
            .note(conn.id, Told::Relayed(relayed.received, relayed.sent));
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: ProbeConn, reason: CloseReason) {
        self.log.0.borrow_mut().reasons.push(reason.to_string());
        self.log.note(conn.id, Told::Close(reason.name().to_owned()));
        if let Some(action) = &mut self.close {
            action(context, id);
        }
    }
}
