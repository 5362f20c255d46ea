//! Clients of streams: sessions of every length and manner, one after another on so many places.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use sockeye::tls::{ConnectorOptions, TlsConnector, rustls};
use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, Deadlines, EventLoop, ServiceHandle, Stream,
    StreamId, StreamOptions, StreamService, UnixName,
};

use crate::Error;
use crate::serving::Serving;

/// Sessions at the same time, of each kind.
const PLACES: usize = 12;
/// The longest session.
const MAX_LEN: u64 = 256 * 1024;
/// A connection on which nothing moves for this long stands still.
const STILL: Duration = Duration::from_secs(30);
/// After a connect that failed.
const PAUSE: Duration = Duration::from_millis(20);
/// The pattern repeats after so many bytes: a prime, so that no piece is like the next.
const PERIOD: u64 = 65_521;

/// What the sessions go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tcp,
    Unix,
    Tls,
    Relay,
    RelayTls,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Tcp, Self::Unix, Self::Tls, Self::Relay, Self::RelayTls];

    /// Whether a process that is killed now and then is at the other end.
    pub(crate) fn has_backend(self) -> bool {
        self == Self::Relay
    }

    /// Whether a Unix socket is on the way: it has no reset, so that the server's look like ends in order, unless bytes were
    /// left unread. They are counted with what broke, and compared with what the servers have reset.
    fn has_no_reset(self) -> bool {
        matches!(self, Self::Unix | Self::RelayTls)
    }
}

/// What came of the sessions of a kind.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    /// Everything came back.
    pub(crate) whole: u64,
    /// The client reset it or ended it early.
    pub(crate) given_up: u64,
    /// An error ended it.
    pub(crate) broken: u64,
    /// No connection.
    pub(crate) refused: u64,
    /// Bytes that came back and were right.
    pub(crate) bytes: u64,
}

/// What came of everything.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    kinds: BTreeMap<Kind, Count>,
    /// Backends that were killed.
    pub(crate) kills: u64,
    /// Datagrams whose answer was right, and those that were sent again.
    pub(crate) answered: u64,
    pub(crate) again: u64,
    /// No new sessions.
    pub(crate) stopping: bool,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
}

impl Totals {
    pub(crate) fn of(&self, kind: Kind) -> Count {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// A line for each kind.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:9} {:>9} {:>9} {:>8} {:>8} {:>9}",
            "kind", "whole", "given up", "broken", "refused", "MiB"
        );
        for (kind, count) in &self.kinds {
            let Count {
                whole,
                given_up,
                broken,
                refused,
                bytes,
            } = count;
            let name = format!("{kind:?}");
            text += &format!(
                "\n{name:9} {whole:9} {given_up:9} {broken:8} {refused:8} {:9}",
                bytes >> 20
            );
        }
        text + &format!(
            "\n{} datagrams answered, {} sent again; {} backends killed",
            self.answered, self.again, self.kills
        )
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Count) -> u64| self.kinds.values().map(of).sum::<u64>();
        write!(
            f,
            "{:7} sessions whole, {:5} given up, {:5} broken, {:5} MiB, {:7} datagrams, {:3} kills",
            sum(|count| count.whole),
            sum(|count| count.given_up),
            sum(|count| count.broken),
            sum(|count| count.bytes) >> 20,
            self.answered,
            self.kills
        )
    }
}

/// How a session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Sends all, ends its half, reads to the end.
    Whole,
    /// The same, and pauses while it reads.
    Slow,
    /// Resets the connection after so many bytes.
    Reset,
    /// Closes it after so many bytes, while more come.
    Leave,
}

/// One session.
pub(crate) struct Session {
    manner: Manner,
    start: u64,
    len: u64,
    piece: u64,
    until: u64,
    sent: u64,
    got: u64,
    ended: bool,
    left: bool,
    /// Backends that had been killed when it was begun.
    kills: u64,
}

/// Where to.
enum Way {
    Ip(SocketAddr),
    Unix(UnixName),
    Tls(SocketAddr, TlsConnector),
}

struct Client {
    kind: Kind,
    way: Way,
    handle: Rc<Cell<Option<ServiceHandle<Self>>>>,
    pattern: Rc<[u8]>,
    totals: Rc<RefCell<Totals>>,
}

impl Client {
    fn next(&mut self, context: &mut Context<'_>) {
        if self.totals.borrow().stopping {
            return;
        }
        let outcome = match &self.way {
            Way::Ip(at) => {
                let kills = self.totals.borrow().kills;
                context.connect(ConnectRequest::new(*at).deadline(STILL).tag(kills));
                Ok(())
            }
            Way::Unix(name) => {
                context.connect(ConnectRequest::to_unix(*name).deadline(STILL));
                Ok(())
            }
            Way::Tls(at, connector) => self.next_tls(context, *at, connector),
        };
        if let Err(error) = outcome {
            self.wrong(format!("no connect: {error}"));
        }
    }

    fn next_tls(
        &self,
        context: &mut Context<'_>,
        at: SocketAddr,
        connector: &TlsConnector,
    ) -> Result<(), Error> {
        let handle = self.handle.get().ok_or("no handle yet")?;
        let request = ConnectRequest::new(at).deadline(STILL);
        connector
            .connect(context, handle, ServerName::try_from("localhost")?, request)
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn wrong(&self, what: String) {
        self.totals
            .borrow_mut()
            .wrong
            .push(format!("{:?}: {what}", self.kind));
    }

    fn count(&self, add: impl FnOnce(&mut Count)) {
        add(self.totals.borrow_mut().kinds.entry(self.kind).or_default());
    }

    /// So many bytes of the pattern from there on, as far as it lies in one piece.
    fn bytes(&self, session: &Session, from: u64, len: u64) -> &[u8] {
        let start = usize::try_from((session.start + from) % PERIOD).unwrap_or_default();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let end = self.pattern.len().min(start.saturating_add(len));
        &self.pattern[start..end]
    }

    fn fill(&self, stream: &mut Stream<'_>, session: &mut Session) {
        while session.sent < session.len && !session.left {
            let len = session.piece.min(session.len - session.sent);
            let piece = self.bytes(session, session.sent, len);
            if !stream.write(piece).is_taken() {
                return;
            }
            session.sent += piece.len() as u64;
            if session.sent == session.len {
                stream.shutdown_write();
            }
        }
    }

    fn check(&self, session: &mut Session, mut data: &[u8]) {
        while !data.is_empty() {
            let expected = self.bytes(session, session.got, data.len() as u64);
            let (head, rest) = data.split_at(expected.len());
            if head != expected {
                self.wrong(format!("other bytes after {} of {}", session.got, session.len));
                return;
            }
            session.got += head.len() as u64;
            data = rest;
        }
        if session.got > session.len {
            self.wrong(format!("{} bytes came back of {}", session.got, session.len));
        }
    }
}

impl StreamService for Client {
    type Conn = Session;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Session {
        let kills = stream.tag();
        let mut draw = |below: u64| stream.random() % below;
        let manner = match draw(10) {
            0 => Manner::Reset,
            1 => Manner::Leave,
            2 | 3 => Manner::Slow,
            _ => Manner::Whole,
        };
        let most = if draw(4) == 0 { MAX_LEN } else { 8 * 1024 };
        let len = draw(most) + 1;
        let mut session = Session {
            manner,
            start: draw(PERIOD),
            len,
            piece: draw(32 * 1024) + 1,
            until: draw(len),
            sent: 0,
            got: 0,
            ended: false,
            left: false,
            kills,
        };
        self.fill(stream, &mut session);
        session
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, session: &mut Session, data: &mut [u8]) -> usize {
        self.check(session, data);
        match session.manner {
            Manner::Slow => {
                stream.pause();
                let pause = Duration::from_millis(stream.random() % 10);
                stream.set_timer(pause, 0);
            }
            Manner::Reset if session.got > session.until => {
                session.left = true;
                stream.abort();
            }
            Manner::Leave if session.got > session.until => {
                session.left = true;
                stream.close();
            }
            _ => {}
        }
        data.len()
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, _: &mut Session, _: u64) {
        stream.resume();
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, session: &mut Session) {
        self.fill(stream, session);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, session: &mut Session) {
        session.ended = true;
        stream.close();
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let _ = failure;
        self.count(|count| count.refused += 1);
        context.set_timer(PAUSE, 0);
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, _: u64) {
        self.next(context);
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, session: Session, reason: CloseReason) {
        let is_whole = session.ended && session.got == session.len;
        let may_end = self.kind.has_no_reset()
            || self.kind.has_backend() && session.kills != self.totals.borrow().kills;
        self.count(|count| {
            count.bytes += session.got;
            match &reason {
                _ if session.left => count.given_up += 1,
                _ if is_whole => count.whole += 1,
                _ => count.broken += 1,
            }
        });
        match &reason {
            CloseReason::TimedOut(deadline) if !session.left => {
                self.wrong(format!(
                    "{} of {} bytes, then nothing: {deadline:?}",
                    session.got, session.len
                ));
            }
            // A process that is killed with nothing unread ends its connections in order, too.
            CloseReason::Closed if !session.left && !is_whole && !may_end => {
                self.wrong(format!(
                    "an early end after {} of {} bytes",
                    session.got, session.len
                ));
            }
            _ => {}
        }
        self.next(context);
    }
}

/// Starts the sessions of every kind.
pub(crate) fn start(
    events: &mut EventLoop,
    serving: &Serving,
    totals: &Rc<RefCell<Totals>>,
) -> Result<(), Error> {
    let period = usize::try_from(PERIOD)?;
    // Twice: a piece that begins near the end of the period has to lie in one.
    let mut pattern = sockeye_tests::pattern(period);
    pattern.extend_from_within(..);
    let pattern: Rc<[u8]> = pattern.into();
    for kind in Kind::ALL {
        let connector = |events: &mut EventLoop| {
            TlsConnector::new(events, serving.trust.clone(), ConnectorOptions::default())
        };
        let way = match kind {
            Kind::Tcp => Way::Ip(serving.tcp),
            Kind::Unix => Way::Unix(serving.unix),
            Kind::Tls => Way::Tls(serving.tls, connector(events)),
            Kind::Relay => Way::Ip(serving.relay),
            Kind::RelayTls => Way::Tls(serving.relay_tls, connector(events)),
        };
        let handle = Rc::new(Cell::new(None));
        let client = Client {
            kind,
            way,
            handle: Rc::clone(&handle),
            pattern: Rc::clone(&pattern),
            totals: Rc::clone(totals),
        };
        let options = StreamOptions {
            deadlines: Deadlines {
                idle: Some(STILL),
                ..Deadlines::default()
            },
            ..StreamOptions::default()
        };
        let service = events.add_stream_service(client, options);
        handle.set(Some(service));
        let begun = events.with(service, |client, context| {
            for _ in 0..PLACES {
                client.next(context);
            }
        });
        begun.ok_or("the service is not on the loop")?;
    }
    Ok(())
}
