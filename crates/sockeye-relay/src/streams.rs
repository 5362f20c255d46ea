//! Sessions of streams: a client's connection, the connect to a backend, and the two joined.

use std::sync::Arc;

use slab::Slab;
use sockeye_endpoint::Scheme;
use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectFault, ConnectRequest, Context, Deadline, Deadlines, Relayed, Stream,
    StreamId, TimerId,
};

use crate::greeting::{self, ServerName};
use crate::mux::HelloReader;
use crate::pool::{Nobody, Place};
use crate::quic::socket_of;
use crate::record::SessionEnd;
use crate::shared::{Shared, Visit};
use crate::tls::{self, Connecting};

/// The timer of a connection that waits in a queue.
pub(crate) const QUEUE: u64 = 1;
/// The timer of a client that has to say something first.
pub(crate) const GREETING: u64 = 2;
/// First bytes beyond which no name is looked for.
const GREETING_MAX: usize = 64 * 1024;

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    visit: Visit,
    front: Option<StreamId>,
    back: Option<StreamId>,
    phase: Phase,
    /// Backends that could not be reached.
    tried: Vec<usize>,
    half_closed: bool,
    /// The client has ended its side, and it was the first to.
    client_ended: bool,
}

/// How far a session is.
#[derive(Debug)]
enum Phase {
    /// The client has to say which name it wants.
    Greeting(Box<HelloReader>),
    Waiting {
        ticket: u64,
        timer: Option<TimerId>,
    },
    Connecting(Connecting),
    Joined,
    /// Only ends are awaited.
    Over,
}

/// All sessions of a relay.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    sessions: Slab<Session>,
}

/// The tag of a session's connect, which is never 0.
const fn tag_of(key: usize) -> u64 {
    key as u64 + 1
}

/// The session of a tag.
pub(crate) fn session_of(tag: u64) -> Option<usize> {
    usize::try_from(tag.checked_sub(1)?).ok()
}

impl Streams {
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A client has come. `None`: it was turned away before there was a session.
    pub(crate) fn accepted(&mut self, shared: &mut Shared, stream: &mut Stream<'_>) -> Option<usize> {
        let listener = listener_of(shared, stream);
        let (client, id, now) = (stream.peer_addr(), stream.id(), stream.now());
        let visit = listener.and_then(|key| shared.arrive(key, client, id.to_u64(), now));
        let Some(visit) = visit else {
            // Its listener was closed while it waited to be accepted.
            stream.abort();
            return None;
        };
        let config = shared
            .listeners
            .get(visit.listener)
            .map(|listener| &listener.config);
        let greeting = config
            .filter(|config| !config.server_names.is_empty())
            .map(|config| config.timeouts.greeting);
        let turned_away = visit.end;
        let key = self.sessions.insert(Session {
            visit,
            front: Some(id),
            back: None,
            phase: Phase::Greeting(Box::default()),
            tried: Vec::new(),
            half_closed: false,
            client_ended: false,
        });
        if let Some(end) = turned_away {
            self.end(shared, &mut stream.context(), key, end);
        } else if let Some(within) = greeting {
            stream.set_timer(within, GREETING);
        } else {
            // What arrives meanwhile waits in the kernel.
            stream.pause();
            self.assign(shared, &mut stream.context(), key);
        }
        Some(key)
    }

    /// First bytes of a client whose pool depends on them. All of them are left for the backend.
    pub(crate) fn greeted(&mut self, shared: &mut Shared, stream: &mut Stream<'_>, key: usize, first: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Phase::Greeting(reader) = &mut session.phase else {
            return;
        };
        let name = match greeting::server_name(reader, first) {
            ServerName::More if first.len() < GREETING_MAX => return,
            ServerName::More => None,
            ServerName::Known(name) => name,
        };
        self.route(shared, name.as_deref().unwrap_or_default(), key);
        stream.pause();
        self.assign(shared, &mut stream.context(), key);
    }

    fn route(&mut self, shared: &Shared, name: &str, key: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(listener) = shared.listeners.get(session.visit.listener) else {
            return;
        };
        let mut routes = listener.config.server_names.iter();
        let route = routes.find(|route| route.covers(name));
        if let Some(pool) = route.and_then(|route| shared.by_name.get(route.to.as_str())) {
            session.visit.pool = *pool;
        }
    }

    /// Looks for a backend, or for a place in the queue.
    fn assign(&mut self, shared: &mut Shared, cx: &mut Context<'_>, key: usize) {
        let now = cx.now();
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let visit = &mut session.visit;
        let Some(pool) = shared.pools.get_mut(visit.pool) else {
            return self.end(shared, cx, key, SessionEnd::AllDown);
        };
        let picked = pool.pick(now, visit.hash, &session.tried);
        let queues = match picked {
            Ok(backend) => {
                shared.tries(visit, backend);
                shared.tell_changes(visit.pool);
                return self.connect(shared, cx, key, backend);
            }
            Err(Nobody::Full) => true,
            Err(Nobody::Down) => pool.config.queue.when_down,
            Err(Nobody::Tried) => false,
        };
        if queues && let Some(ticket) = pool.wait(key) {
            let within = pool.queue_deadline();
            let timer = session
                .front
                .and_then(|front| cx.stream(front).map(|mut front| front.set_timer(within, QUEUE)));
            session.phase = Phase::Waiting { ticket, timer };
            // Who failed before may be up by then.
            session.tried.clear();
            return;
        }
        let end = match picked {
            // What was tried last says more than that nobody is left.
            _ if !session.tried.is_empty() => SessionEnd::ConnectFailed,
            Err(Nobody::Full) => SessionEnd::AllFull,
            _ => SessionEnd::AllDown,
        };
        self.end(shared, cx, key, end);
    }

    fn connect(&mut self, shared: &mut Shared, cx: &mut Context<'_>, key: usize, backend: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(pool) = shared.pools.get(session.visit.pool) else {
            return;
        };
        let Some(backend) = pool.backend(backend) else {
            return;
        };
        let request = match &backend.place {
            Place::Unix(name) => ConnectRequest::to_unix(*name),
            Place::Ip(addresses) => ConnectRequest::any_of(addresses.iter().copied()),
        };
        let request = request.tag(tag_of(key)).deadline(pool.config.connect.deadline);
        let under_tls = backend.config.at.scheme() == Scheme::Tls;
        let (front, client) = (session.front, session.visit.client);
        let header = |cx: &mut Context<'_>, version| {
            let asked = front.and_then(|front| cx.stream(front)?.local_addr().ok());
            greeting::proxy_header(version, client, asked)
        };
        match shared
            .tls
            .connect(cx, &backend.config, under_tls, request, header)
        {
            Some(id) => session.phase = Phase::Connecting(id),
            // The configuration was checked: there is no such backend.
            None => self.end(shared, cx, key, SessionEnd::ConnectFailed),
        }
    }

    /// A backend was reached: the two are joined. `false`: the client is gone.
    pub(crate) fn connected(&mut self, shared: &mut Shared, stream: &mut Stream<'_>, key: usize) -> bool {
        let (id, now) = (stream.id(), stream.now());
        let Some(session) = self.sessions.get_mut(key) else {
            stream.abort();
            return false;
        };
        session.back = Some(id);
        let connecting = matches!(session.phase, Phase::Connecting(_));
        let front = session.front.filter(|_| connecting);
        session.phase = Phase::Joined;
        shared.serves(&mut session.visit, now);
        greet(shared, &session.visit, stream, front);
        let timeouts = shared
            .listeners
            .get(session.visit.listener)
            .map(|listener| listener.config.timeouts);
        let deadlines = Deadlines {
            idle: timeouts.map(|timeouts| timeouts.idle),
            write_stall: timeouts.map(|timeouts| timeouts.stalled),
            ..Deadlines::default()
        };
        let joined = front.is_some_and(|front| {
            stream.set_deadlines(deadlines);
            if let Some(mut front) = stream.other(front) {
                front.set_deadlines(deadlines);
            }
            stream.join(front)
        });
        if !joined {
            session.visit.ends(SessionEnd::ClientReset);
            session.phase = Phase::Over;
            stream.abort();
        }
        true
    }

    /// A connect failed: another backend, if there may be one.
    pub(crate) fn connect_failed(
        &mut self,
        shared: &mut Shared,
        cx: &mut Context<'_>,
        failure: ConnectFailure,
    ) {
        let Some(key) = session_of(failure.tag) else {
            return;
        };
        let now = cx.now();
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let tried = session.visit.backend;
        let is_ours = is_local(&failure);
        let cancelled = matches!(failure.cause, ConnectFault::Cancelled);
        session.phase = Phase::Over;
        shared.not_reached(&mut session.visit, !is_ours && !cancelled, now);
        session.visit.failure = Some(Arc::new(failure));
        session.tried.extend(tried);
        let (pool, attempts) = (session.visit.pool, session.visit.attempts);
        let retries = shared
            .pools
            .get(pool)
            .map_or(0, |pool| pool.config.connect.retries);
        if session.front.is_none() {
            self.conclude(shared, cx, key);
        } else if cancelled {
            self.end(shared, cx, key, SessionEnd::LoopEnded);
        } else if is_ours {
            self.end(shared, cx, key, SessionEnd::NoRoom);
        } else if attempts <= retries {
            self.assign(shared, cx, key);
        } else {
            self.end(shared, cx, key, SessionEnd::ConnectFailed);
        }
        self.serve_waiting(shared, cx, pool);
    }

    /// A timer of a client's connection fired.
    pub(crate) fn timer(&mut self, shared: &mut Shared, cx: &mut Context<'_>, key: usize, timer: u64) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        match (timer, &session.phase) {
            (QUEUE, Phase::Waiting { .. }) => self.end(shared, cx, key, SessionEnd::QueueTimeout),
            (GREETING, Phase::Greeting(_)) => self.end(shared, cx, key, SessionEnd::NoGreeting),
            _ => {}
        }
    }

    /// One side of a joined session has ended, and the other was told.
    pub(crate) fn half_closed(
        &mut self,
        shared: &Shared,
        stream: &mut Stream<'_>,
        key: usize,
        is_front: bool,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.client_ended |= is_front && !session.half_closed;
        session.half_closed = true;
        let Some(listener) = shared.listeners.get(session.visit.listener) else {
            return;
        };
        let timeouts = listener.config.timeouts;
        let deadlines = Deadlines {
            idle: Some(timeouts.half_closed.min(timeouts.idle)),
            write_stall: Some(timeouts.stalled),
            ..Deadlines::default()
        };
        for id in [session.front, session.back].into_iter().flatten() {
            if id == stream.id() {
                stream.set_deadlines(deadlines);
            } else if let Some(mut other) = stream.other(id) {
                other.set_deadlines(deadlines);
            }
        }
    }

    pub(crate) fn relayed(&mut self, key: usize, is_front: bool, relayed: Relayed) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let visit = &mut session.visit;
        (visit.from_client, visit.from_backend) = if is_front {
            (relayed.received, relayed.sent)
        } else {
            (relayed.sent, relayed.received)
        };
    }

    /// One of the two connections is gone.
    pub(crate) fn closed(
        &mut self,
        shared: &mut Shared,
        cx: &mut Context<'_>,
        key: usize,
        is_front: bool,
        reason: &CloseReason,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if is_front {
            session.front = None;
        } else {
            session.back = None;
        }
        let served = session.visit.is_served();
        let end = match reason {
            // The other one says more.
            CloseReason::PartnerReset => None,
            CloseReason::Closed if served => None,
            CloseReason::Closed => Some(SessionEnd::ClientReset),
            CloseReason::TimedOut(Deadline::Idle) if session.half_closed => Some(SessionEnd::HalfClosed),
            CloseReason::TimedOut(Deadline::WriteStall | Deadline::Close) => Some(SessionEnd::Stalled),
            CloseReason::TimedOut(_) => Some(SessionEnd::Idle),
            CloseReason::MemoryBudget => Some(SessionEnd::NoRoom),
            // What the relay aborts has its reason already: at the end of its time a drain of the loop aborts too.
            CloseReason::LoopEnded | CloseReason::Aborted => Some(SessionEnd::LoopEnded),
            // Many servers answer the end of a client by an end without `close_notify`. The client hears of it as of any cut;
            // of the backend it says nothing.
            reason if !is_front && session.client_ended && tls::is_cut(reason) => None,
            _ if is_front => Some(SessionEnd::ClientReset),
            _ => Some(SessionEnd::BackendReset),
        };
        if let Some(end) = end {
            session.visit.ends(end);
        }
        match session.phase {
            // `on_connect_error` follows.
            Phase::Connecting(ref begun) if is_front && begun.cancel(cx, &shared.tls) => return,
            Phase::Waiting { ticket, .. } => {
                if let Some(pool) = shared.pools.get_mut(session.visit.pool) {
                    pool.stop_waiting(ticket);
                }
                session.phase = Phase::Over;
            }
            _ => {}
        }
        self.conclude(shared, cx, key);
    }

    /// Ends a session by the relay's own will: both sides see a reset.
    fn end(&mut self, shared: &mut Shared, cx: &mut Context<'_>, key: usize, end: SessionEnd) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.visit.ends(end);
        if let Phase::Waiting { ticket, timer } = session.phase {
            if let Some(pool) = shared.pools.get_mut(session.visit.pool) {
                pool.stop_waiting(ticket);
            }
            timer.map(|timer| cx.cancel_timer(timer));
            session.phase = Phase::Over;
        }
        for id in [session.front, session.back].into_iter().flatten() {
            if let Some(mut stream) = cx.stream(id) {
                // Of two that are joined the second is reset with the first.
                stream.abort();
            }
        }
    }

    /// Forgets a session of which nothing is left.
    fn conclude(&mut self, shared: &mut Shared, cx: &mut Context<'_>, key: usize) {
        let over = self.sessions.get(key).is_some_and(|session| {
            session.front.is_none()
                && session.back.is_none()
                && !matches!(session.phase, Phase::Connecting(_))
        });
        if !over {
            return;
        }
        let session = self.sessions.remove(key);
        let pool = session.visit.pool;
        let now = cx.now();
        shared.leave(session.visit, now);
        self.serve_waiting(shared, cx, pool);
    }

    /// Gives backends that have room to those that wait.
    pub(crate) fn serve_waiting(&mut self, shared: &mut Shared, cx: &mut Context<'_>, key: usize) {
        while let Some(pool) = shared.pools.get_mut(key).filter(|pool| pool.has_waiting()) {
            pool.advance(cx.now());
            if !pool.has_room() {
                return;
            }
            let Some(waiting) = pool.next_waiting() else {
                return;
            };
            if let Some(session) = self.sessions.get_mut(waiting) {
                if let Phase::Waiting {
                    timer: Some(timer), ..
                } = session.phase
                {
                    cx.cancel_timer(timer);
                }
                session.phase = Phase::Over;
                self.assign(shared, cx, waiting);
            }
        }
    }

    /// Ends sessions whose time is up.
    pub(crate) fn end_those(
        &mut self,
        shared: &mut Shared,
        cx: &mut Context<'_>,
        which: impl Fn(usize, Option<usize>) -> bool,
    ) {
        let over = |(_, session): &(usize, &Session)| which(session.visit.pool, session.visit.backend);
        let keys: Vec<usize> = self.sessions.iter().filter(over).map(|(key, _)| key).collect();
        for key in keys {
            self.end(shared, cx, key, SessionEnd::Drained);
        }
    }
}

/// Which listener of the relay a connection came through.
pub(crate) fn listener_of(shared: &Shared, stream: &Stream<'_>) -> Option<usize> {
    match socket_of(stream) {
        Some(socket) => shared.listener_on(socket),
        None => shared.listener_at(stream.listener()?),
    }
}

/// Tells the backend who the client is, and whom it had asked, if it wants to know. Under TLS it was told before the handshake.
fn greet(shared: &Shared, visit: &Visit, stream: &mut Stream<'_>, front: Option<StreamId>) {
    let pool = shared.pools.get(visit.pool);
    let backend = pool.zip(visit.backend).and_then(|(pool, key)| pool.backend(key));
    let plain = backend.filter(|backend| backend.config.at.scheme() != Scheme::Tls);
    let Some(version) = plain.and_then(|backend| backend.config.proxy) else {
        return;
    };
    let asked = front.and_then(|front| stream.other(front)?.local_addr().ok());
    // Nothing was written before, and it is shorter than any queue.
    let _ = stream.write(&greeting::proxy_header(version, visit.client, asked));
}

/// Whether this host could not even try: no place, no descriptor, no port, no memory. That is not the backend's fault.
fn is_local(failure: &ConnectFailure) -> bool {
    use sockeye_event_loop::errno::{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    let ConnectFault::Failed(error) = &failure.cause else {
        return matches!(failure.cause, ConnectFault::TooManyConnections);
    };
    matches!(
        error.raw_os_error(),
        Some(EADDRNOTAVAIL | EMFILE | ENFILE | ENOBUFS | ENOMEM)
    )
}
