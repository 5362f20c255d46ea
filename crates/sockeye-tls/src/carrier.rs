//! A connection that carries TLS, and the pair that it carries: what servers and clients have in common.
//!
//! The service owns the connection and the first end of a pair; whoever is inside has the second end. A [`Session`] is what
//! links the two. The pair is made when the handshake is complete, so that the service inside opens with all of it known.

mod ends;
mod handshake;
mod records;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use slab::Slab;
use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, Message, Stream, StreamId, StreamService, StreamServiceId, Time,
    TimerId,
};

use crate::engine::{Engine, Outgoing};
use crate::error::TlsError;
use crate::info::{RefreshKeys, TlsInfo};
use crate::stats::TlsCounters;

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
            sessions: Slab::new(),
            made: HashMap::new(),
            order: VecDeque::new(),
            under_way: 0,
            out: Outgoing::default(),
        }
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
