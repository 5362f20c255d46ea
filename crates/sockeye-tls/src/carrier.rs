//! A connection that carries TLS, and the pair that it carries: what servers and clients have in common.
//!
//! The service owns the connection and the first end of a pair; whoever is inside has the second end. A [`Session`] is what
//! links the two. The pair is made when the handshake is complete, so that the service inside opens with all of it known.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustls::Error;
use slab::Slab;
use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, Message, PairOptions, Stream, StreamId, StreamService,
    StreamServiceId, Time, TimerId, Watermarks,
};

use crate::engine::{Engine, Outgoing, Plain, Step, record_len};
use crate::error::TlsError;
use crate::info::{RefreshKeys, TlsInfo};
use crate::stats::{Count, TlsCounters};

/// Plaintext is encrypted while less than this waits to be sent.
const HIGH: usize = 64 * 1024;
/// After so long without output records begin small again, as the congestion window does (RFC 5681, section 4.1).
const IDLE: Duration = Duration::from_secs(1);
/// A piece of plaintext up to this length is one small record in any case.
const SHORT: usize = 1_024;
/// The key of the timer for the handshake.
const HANDSHAKE: u64 = 0x0074_6c73;

/// Bounds on handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// How long one may take.
    pub deadline: Duration,
    /// How many may be under way. When another one begins beyond that, the oldest is given up: peers that stop in the middle
    /// keep nobody out, as a handshake that goes on is complete long before it is the oldest.
    pub under_way: usize,
}

impl Default for HandshakeLimits {
    /// Ten seconds, and 1,024 under way.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            under_way: 1_024,
        }
    }
}

/// What a server or a client does in its own way.
pub(crate) trait Side: Sized + 'static {
    /// What it keeps of a connection.
    type Kept;

    /// The handle of the service that this is in.
    fn own(context: &Context<'_>) -> Option<StreamServiceId>;

    /// A connection has come. Without an engine, [`hello`](Self::hello) is asked for one when there are bytes.
    fn open(&mut self, stream: &mut Stream<'_>) -> Result<(Option<Box<Engine>>, Self::Kept), TlsError>;

    /// Looks at the first bytes, all of them again each time; gives an engine when it can. What it adds to `out` is sent even
    /// when it fails.
    fn hello(
        &mut self,
        kept: &mut Self::Kept,
        data: &[u8],
        out: &mut Outgoing,
    ) -> Result<Option<Box<Engine>>, TlsError>;

    /// When the handshake has to be complete, if that is known besides the limits.
    fn deadline(&self, _: &Self::Kept) -> Option<Time> {
        None
    }

    /// The name of the server, if one was asked for.
    fn server_name(&self, kept: &Self::Kept) -> Option<String>;

    /// Who is inside, and the number it is told as its tag.
    fn inner(&mut self, kept: &Self::Kept, info: &TlsInfo) -> Option<(StreamServiceId, Option<u64>)>;

    /// The handshake came to nothing.
    fn failed(&mut self, context: &mut Context<'_>, kept: &Self::Kept, id: StreamId, error: &TlsError);

    /// A connect came to nothing.
    fn connect_failed(&mut self, context: &mut Context<'_>, failure: ConnectFailure);
}

/// A connection under TLS and what is in it.
struct Session<K> {
    /// On the heap: it is 2 KiB, and taken out while it works.
    engine: Option<Box<Engine>>,
    kept: K,
    carrier: StreamId,
    /// The ends of the pair, once the handshake is complete: our own, and that of the service inside.
    end: Option<StreamId>,
    inner: Option<StreamId>,
    /// Until the handshake is complete.
    timer: Option<TimerId>,
    /// Plaintext that came before there was an end for it: early data, and what followed the last message of the handshake at
    /// once.
    before: Vec<u8>,
    /// So many bytes of it, the first, are early data.
    early_bytes: usize,
    /// How many of its two streams are there.
    streams: u8,
    /// The peer's end has been passed on.
    ended: bool,
    /// This side has sent `close_notify`.
    closed: bool,
    last_sent: Time,
    /// Whoever is inside, or wanted to be, has been told of an error.
    told: bool,
}

/// Which stream of which session a connection is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    session: usize,
    is_end: bool,
}

/// The service.
pub(crate) struct Carrier<S: Side> {
    pub(crate) side: S,
    pub(crate) limits: HandshakeLimits,
    pub(crate) counters: TlsCounters,
    own: Option<StreamServiceId>,
    sessions: Slab<Session<S::Kept>>,
    /// Ends that are made and not opened yet.
    made: HashMap<StreamId, usize>,
    /// Handshakes, the oldest first; some are over.
    order: VecDeque<(usize, StreamId)>,
    under_way: usize,
    out: Outgoing,
}

impl<S: Side> Carrier<S> {
    pub(crate) fn new(side: S) -> Self {
        Self {
            side,
            limits: HandshakeLimits::default(),
            counters: TlsCounters::default(),
            own: None,
            sessions: Slab::new(),
            made: HashMap::new(),
            order: VecDeque::new(),
            under_way: 0,
            out: Outgoing::default(),
        }
    }

    fn begin(&mut self, stream: &mut Stream<'_>) -> Place {
        let nowhere = Place {
            session: usize::MAX,
            is_end: false,
        };
        if self.own.is_none() {
            self.own = S::own(&stream.context());
        }
        self.counters.add(Count::Begun);
        // What is encrypted has to be taken: the marks of whoever is inside are those that count.
        stream.set_watermarks(Watermarks::default());
        let Ok((engine, kept)) = self.side.open(stream) else {
            self.counters.add(Count::Failed);
            stream.abort();
            return nowhere;
        };
        let now = stream.now();
        let left = self.side.deadline(&kept).map(|by| by.since(now));
        let within = left.map_or(self.limits.deadline, |left| left.min(self.limits.deadline));
        let session = self.sessions.insert(Session {
            engine,
            kept,
            carrier: stream.id(),
            end: None,
            inner: None,
            timer: Some(stream.set_timer(within, HANDSHAKE)),
            before: Vec::new(),
            early_bytes: 0,
            streams: 1,
            ended: false,
            closed: false,
            last_sent: Time::default(),
            told: false,
        });
        self.under_way += 1;
        self.order.push_back((session, stream.id()));
        self.give_up_oldest(stream);
        // A client speaks first.
        self.advance(stream, session, &mut []);
        Place {
            session,
            is_end: false,
        }
    }

    /// Sees to it that no more handshakes are under way than may be.
    fn give_up_oldest(&mut self, stream: &mut Stream<'_>) {
        while self.under_way > self.limits.under_way.max(1) {
            let Some((session, id)) = self.order.pop_front() else {
                return;
            };
            let under_way = self.handshake(session).is_some_and(|known| known.carrier == id);
            if under_way && let Some(mut oldest) = stream.other(id) {
                self.fail(&mut oldest, session, TlsError::TooManyHandshakes);
                oldest.abort();
            }
        }
        // Those that are over lie in front of the oldest that is not, or between; they never are more than as many again.
        if self.order.len() > 2 * self.under_way + 64 {
            let sessions = &self.sessions;
            self.order.retain(|(session, id)| {
                sessions
                    .get(*session)
                    .is_some_and(|known| known.timer.is_some() && known.carrier == *id)
            });
        }
    }

    /// The session, while its handshake is under way.
    fn handshake(&self, session: usize) -> Option<&Session<S::Kept>> {
        self.sessions
            .get(session)
            .filter(|session| session.timer.is_some())
    }

    /// The handshake is over, one way or the other.
    fn leave_handshake(&mut self, stream: &mut Stream<'_>, session: usize) {
        if let Some(timer) = self
            .sessions
            .get_mut(session)
            .and_then(|session| session.timer.take())
        {
            stream.cancel_timer(timer);
            self.under_way -= 1;
        }
    }

    /// The connection has come to nothing by an error of TLS. Who is inside, or wanted to be, is told.
    fn fail(&mut self, stream: &mut Stream<'_>, session: usize, error: TlsError) {
        let in_handshake = self.handshake(session).is_some();
        self.leave_handshake(stream, session);
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        let which = match error {
            TlsError::PlainHttp => Some(Count::PlainHttp),
            TlsError::HandshakeTimedOut => Some(Count::TimedOut),
            TlsError::TooManyHandshakes => Some(Count::GivenUp),
            TlsError::Truncated if !in_handshake => Some(Count::Truncated),
            _ => None,
        };
        if let Some(which) = which {
            self.counters.add(which);
        }
        if std::mem::replace(&mut known.told, true) {
            return;
        }
        if let Some(mut end) = known.end.and_then(|end| stream.other(end)) {
            end.shutdown_write_with(error.into());
        } else if in_handshake {
            self.counters.add(Count::Failed);
            let id = stream.id();
            self.side.failed(&mut stream.context(), &known.kept, id, &error);
        }
    }

    /// Sends what was encrypted. A record that was lost would make those behind it worthless: where there is no room for it,
    /// as when the loop's memory is used up, the connection ends.
    fn send(&mut self, stream: &mut Stream<'_>) {
        if !self.out.is_empty() && !stream.write(self.out.bytes()).is_taken() {
            stream.abort();
        }
        self.out.clear();
    }

    /// Goes on with what has arrived; says how many bytes are done with.
    fn advance(&mut self, stream: &mut Stream<'_>, session: usize, data: &mut [u8]) -> usize {
        let mut done = 0;
        let outcome = self.work(stream, session, data, &mut done);
        self.send(stream);
        let Err(error) = outcome else { return done };
        self.fail(stream, session, error);
        // The alert is sent, and an end; what the peer still sends is of no use.
        stream.close();
        data.len()
    }

    fn work(
        &mut self,
        stream: &mut Stream<'_>,
        session: usize,
        data: &mut [u8],
        done: &mut usize,
    ) -> Result<(), TlsError> {
        let Some(known) = self.sessions.get_mut(session) else {
            *done = data.len();
            return Ok(());
        };
        if known.engine.is_none() {
            known.engine = self.side.hello(&mut known.kept, data, &mut self.out)?;
        }
        let Some(mut engine) = known.engine.take() else {
            want_record(stream, data);
            return Ok(());
        };
        let (used, outcome) =
            engine.behind_held(data, |engine, data| self.records(engine, stream, session, data));
        *done = used;
        let stalled = outcome?;
        let rest = &data[used..];
        let Some(known) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        if !stalled && known.end.is_some() && engine.has_to_hold(rest) {
            engine.hold(rest);
            *done = data.len();
        } else if !stalled {
            want_record(stream, rest);
        }
        let closed = engine.peer_closed();
        known.engine = Some(engine);
        if closed {
            // Whatever follows is none of it.
            *done = data.len();
            self.end_of_peer(stream, session);
        }
        Ok(())
    }

    /// Works through records. Says how many bytes are done with, and whether it stopped for want of room inside. After an
    /// error the engine is of no use.
    fn records(
        &mut self,
        engine: &mut Engine,
        stream: &mut Stream<'_>,
        session: usize,
        data: &mut [u8],
    ) -> (usize, Result<bool, TlsError>) {
        let mut done = 0;
        // What is decrypted has to be taken: there has to be room first.
        let mut needs_room = true;
        loop {
            let Some(known) = self.sessions.get_mut(session) else {
                return (data.len(), Ok(false));
            };
            let mut end = None;
            if let Some(id) = known.end {
                let Some(mut there) = stream.other(id) else {
                    // Nobody is inside any more.
                    return (data.len(), Ok(false));
                };
                if needs_room && there.queued() > 0 {
                    there.notify_writable();
                    stream.pause();
                    return (done, Ok(true));
                }
                end = Some(there);
            }
            let mut taker = Taker {
                end,
                before: &mut known.before,
                early_bytes: &mut known.early_bytes,
                took: false,
            };
            let (used, step) = engine.step(&mut data[done..], &mut self.out, &mut taker);
            let taker_took = taker.took;
            needs_room = taker_took;
            done += used;
            let again = match step {
                Ok(step) => matches!(step, Step::Again),
                Err(error) => {
                    engine.alert(&mut data[done..], &mut self.out);
                    return (done, Err(error.into()));
                }
            };
            if known.timer.is_some() && !engine.state().is_handshaking() {
                if let Err(error) = self.establish(engine, stream, session) {
                    return (done, Err(error));
                }
            } else if !again || taker_took && done == data.len() && !engine.state().wants_write() {
                // rustls stops behind each record: with nothing behind it there is nothing to go on with.
                return (done, Ok(false));
            }
        }
    }

    /// The handshake is complete: makes the pair.
    fn establish(
        &mut self,
        engine: &Engine,
        stream: &mut Stream<'_>,
        session: usize,
    ) -> Result<(), TlsError> {
        let Some(known) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        let state = engine.state();
        let (Some(version), Some(cipher_suite)) = (state.protocol_version(), state.negotiated_cipher_suite())
        else {
            return Err(Error::HandshakeNotComplete.into());
        };
        let info = TlsInfo {
            version,
            cipher_suite,
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            server_name: self.side.server_name(&known.kept),
            peer_certificates: state.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
            handshake: state.handshake_kind(),
            early_bytes: known.early_bytes,
            carrier: stream.id(),
        };
        let resumed = state.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let (inner, tag) = self.side.inner(&known.kept, &info).ok_or(TlsError::Refused)?;
        let like = PairOptions {
            second_like: Some(stream.id()),
            second_tag: tag,
            ..PairOptions::default()
        };
        let own = self.own.ok_or(TlsError::Refused)?;
        let (end, second) = stream
            .context()
            .pair(own, inner, &like)
            .map_err(|error| Error::General(error.to_string()))?;
        known.end = Some(end);
        known.inner = Some(second);
        known.streams += 1;
        let before = std::mem::take(&mut known.before);
        self.made.insert(end, session);
        self.leave_handshake(stream, session);
        self.counters.add(Count::Completed);
        if resumed {
            self.counters.add(Count::Resumed);
        }
        if let Some(mut end) = stream.other(end) {
            end.set_watermarks(Watermarks::default());
        }
        if let Some(mut second) = stream.other(second) {
            second.attach(Rc::new(info));
        }
        if !before.is_empty()
            && let Some(mut end) = stream.other(end)
            && !end.write(&before).is_taken()
        {
            let why = "more early data than a connection holds".to_owned();
            return Err(Error::General(why).into());
        }
        Ok(())
    }

    /// The peer has sent `close_notify`: an end in order, after what was read.
    fn end_of_peer(&mut self, stream: &mut Stream<'_>, session: usize) {
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        if std::mem::replace(&mut known.ended, true) {
            return;
        }
        if let Some(mut end) = known.end.and_then(|end| stream.other(end)) {
            end.shutdown_write();
        }
    }

    /// Encrypts what the service inside has written.
    fn seal(&mut self, end: &mut Stream<'_>, session: usize, data: &[u8]) -> usize {
        let now = if data.len() > SHORT {
            end.now()
        } else {
            Time::default()
        };
        let Some(known) = self.sessions.get_mut(session) else {
            return data.len();
        };
        let (Some(engine), Some(mut carrier)) = (&mut known.engine, end.other(known.carrier)) else {
            return data.len();
        };
        if carrier.queued() >= HIGH {
            carrier.notify_writable();
            end.pause();
            return 0;
        }
        if data.len() > SHORT {
            if now.since(known.last_sent) > IDLE {
                engine.was_idle();
            }
            known.last_sent = now;
        }
        let sealed = engine.seal(data, &mut self.out);
        self.send(&mut carrier);
        if let Err(error) = sealed {
            self.fail(&mut carrier, session, error.into());
            carrier.abort();
        }
        data.len()
    }

    /// The service inside has ended its side.
    fn end_of_inner(&mut self, end: &mut Stream<'_>, session: usize) {
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        let (Some(engine), Some(mut carrier)) = (&mut known.engine, end.other(known.carrier)) else {
            return;
        };
        if !std::mem::replace(&mut known.closed, true) {
            // It cannot fail but when the connection is over anyway.
            let _ = engine.close(&mut self.out);
            self.send(&mut carrier);
            carrier.shutdown_write();
        }
    }

    /// One of the two streams is gone.
    fn leave(&mut self, context: &mut Context<'_>, place: Place, id: StreamId, reason: &CloseReason) {
        let Some(known) = self.sessions.get_mut(place.session) else {
            return;
        };
        known.streams -= 1;
        let (carrier, end) = (known.carrier, known.end);
        if place.is_end {
            self.made.remove(&id);
            if let Some(mut carrier) = context.stream(carrier) {
                match reason {
                    CloseReason::Closed => carrier.close(),
                    // Half of something must not look like the whole.
                    _ => carrier.abort(),
                }
            }
        } else {
            if known.timer.take().is_some() {
                self.under_way -= 1;
                if !std::mem::replace(&mut known.told, true) {
                    self.counters.add(Count::Failed);
                    let error = match reason {
                        CloseReason::Closed => TlsError::Truncated,
                        other => TlsError::Protocol(Error::General(other.to_string())),
                    };
                    self.side.failed(context, &known.kept, id, &error);
                }
            }
            // What it was told before says more.
            let end = end.filter(|_| !known.told);
            if let Some(mut end) = end.and_then(|end| context.stream(end)) {
                match reason {
                    CloseReason::Closed if known.ended => end.close(),
                    // What it has not read it reads first.
                    CloseReason::Closed => end.shutdown_write_with(TlsError::Truncated.into()),
                    CloseReason::Error(error) => end.abort_with(copy_of(error)),
                    CloseReason::TimedOut(_) => end.abort_with(io::ErrorKind::TimedOut.into()),
                    _ => end.abort(),
                }
            }
        }
        if known.streams == 0 {
            self.sessions.remove(place.session);
        }
    }
}

/// What takes the plaintext.
struct Taker<'a, 's> {
    end: Option<Stream<'s>>,
    before: &'a mut Vec<u8>,
    early_bytes: &'a mut usize,
    took: bool,
}

impl Plain for Taker<'_, '_> {
    fn plain(&mut self, bytes: &[u8]) {
        self.took = true;
        match &mut self.end {
            Some(end) => {
                let _ = end.write(bytes);
            }
            None => self.before.extend_from_slice(bytes),
        }
    }

    fn early(&mut self, bytes: &[u8]) {
        *self.early_bytes += bytes.len();
        self.before.extend_from_slice(bytes);
    }
}

/// Lets the loop wait for a whole record.
fn want_record(stream: &mut Stream<'_>, rest: &[u8]) {
    if let Some(len) = record_len(rest).filter(|len| *len > rest.len()) {
        stream.want(len);
    }
}

/// The same error again: the kernel's by its number.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}

impl<S: Side> StreamService for Carrier<S> {
    type Conn = Place;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Place {
        match self.made.remove(&stream.id()) {
            Some(session) => Place {
                session,
                is_end: true,
            },
            None => self.begin(stream),
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, place: &mut Place, data: &mut [u8]) -> usize {
        if place.is_end {
            self.seal(stream, place.session, data)
        } else {
            self.advance(stream, place.session, data)
        }
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, place: &mut Place) {
        let Some(known) = self.sessions.get(place.session) else {
            return;
        };
        let (carrier, end) = (known.carrier, known.end);
        if place.is_end {
            if let Some(mut carrier) = stream.other(carrier) {
                carrier.resume();
            }
        } else if let Some(mut end) = end.and_then(|end| stream.other(end)) {
            end.resume();
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, place: &mut Place) {
        if place.is_end {
            return self.end_of_inner(stream, place.session);
        }
        let Some(known) = self.sessions.get(place.session) else {
            return stream.close();
        };
        if known.ended {
            // `close_notify` came before; this side may still have something to say.
            return;
        }
        let inner = known.inner.and_then(|inner| stream.other(inner));
        if inner.is_some_and(|inner| inner.is_closing()) {
            // Who is inside has closed and reads no more: many peers then end without a word, and nothing is cut by it.
            self.end_of_peer(stream, place.session);
            return stream.close();
        }
        self.fail(stream, place.session, TlsError::Truncated);
        stream.close();
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, place: &mut Place, key: u64) {
        if key == HANDSHAKE && self.handshake(place.session).is_some() {
            self.fail(stream, place.session, TlsError::HandshakeTimedOut);
            stream.abort();
        }
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, place: &mut Place, message: Message) {
        let known = self.sessions.get_mut(place.session);
        let Some(engine) = known.and_then(|known| known.engine.as_mut()) else {
            return;
        };
        if message.is::<RefreshKeys>() && !place.is_end {
            // A connection that cannot (TLS 1.2, or over already) goes on with the keys it has.
            let _ = engine.refresh_keys(&mut self.out);
            self.send(stream);
        }
    }

    fn on_drain(&mut self, stream: &mut Stream<'_>, place: &mut Place) {
        // The service inside is asked to end; a handshake is not waited for.
        if place.is_end {
            return;
        }
        if self.handshake(place.session).is_some() {
            stream.abort();
        } else {
            stream.close();
        }
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        self.side.connect_failed(context, failure);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, place: Place, reason: CloseReason) {
        self.leave(context, place, id, &reason);
    }
}
