//! The relay's stream service: clients, backends and checks are its connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye_endpoint::Scheme;
use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, ListenerId, Relayed, Stream, StreamId, StreamService, Time, TimerId,
};

use crate::checks::{ANSWER, CHECK, Check, Checks};
use crate::lookups::Lookups;
use crate::proxy::{self, ParseOptions, Parsed};
use crate::record::Cause;
use crate::shared::{Opened, Shared};
use crate::stats::RelayStats;
use crate::streams::{Streams, listener_of, session_of};
use crate::tls::came_out_of_tls;
use crate::udp::Udp;

/// The service's timers.
const TICK: u64 = 1;
const NAMES: u64 = 2;
const LEAVE: u64 = 3;
const DRAIN: u64 = 4;
/// The timer of a connection whose PROXY header is awaited.
const HEADER: u64 = 5;

/// The state of a connection of the relay.
#[derive(Debug)]
pub struct End(Role);

/// What a connection of the relay is.
#[derive(Debug)]
enum Role {
    /// A client's, of this session.
    Front(usize),
    /// A backend's, of this session.
    Back(usize),
    /// A client's whose PROXY header is awaited, through this listener.
    Header { listener: usize, timer: TimerId },
    /// A check's.
    Check(Box<Check>),
    /// Of nothing any more.
    Nothing,
}

/// A backend that was taken out of the configuration: pool, key, and when its sessions end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    pub(crate) at: Time,
    pub(crate) pool: usize,
    pub(crate) key: usize,
    pub(crate) serial: u64,
}

/// A relay on its loop. [`Running`](crate::Running) reaches it between turns; a callback, or another thread by
/// [`Remote::with`](sockeye_event_loop::Remote::with), by its handle.
pub struct RelayService {
    pub(crate) shared: Rc<RefCell<Shared>>,
    pub(crate) udp: Rc<RefCell<Udp>>,
    pub(crate) streams: Streams,
    pub(crate) checks: Checks,
    pub(crate) lookups: Lookups,
    pub(crate) leaving: Vec<Leaving>,
    pub(crate) tick: Option<(Time, TimerId)>,
    pub(crate) names_timer: Option<TimerId>,
}

impl RelayService {
    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.shared.borrow().stats()
    }

    /// Takes nobody any more, lets sessions go on until they end, and resets those that have not by then. A flow of datagrams
    /// ends once it has been silent for a second: at once, if it has been already. Not to be undone.
    pub fn drain(&mut self, context: &mut Context<'_>, within: Duration) {
        let shared = &mut *self.shared.borrow_mut();
        shared.draining = true;
        for (_, listener) in &mut shared.listeners {
            listener.leaving = true;
            if let Opened::Streams(id) = listener.socket {
                context.close_listener(id);
                listener.socket = Opened::Closed;
            }
        }
        let udp = &mut *self.udp.borrow_mut();
        udp.drain(shared, context);
        udp.close_unused(shared, context);
        context.set_timer(within, DRAIN);
    }

    /// Whether a drain is over: no session and no flow is left.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.shared.borrow().draining && self.streams.is_empty() && self.udp.borrow().is_empty()
    }

    /// What a connection is that has just been opened.
    fn role(&mut self, stream: &mut Stream<'_>) -> Role {
        let tag = stream.tag();
        if tag & CHECK != 0 {
            let serial = tag & !CHECK;
            let check = self
                .checks
                .connected(&mut self.shared.borrow_mut(), stream, serial);
            if check.is_none() {
                self.after_check(&mut stream.context(), serial);
            }
            return check.map_or(Role::Nothing, Role::Check);
        }
        let shared = &mut *self.shared.borrow_mut();
        let Some(key) = session_of(tag) else {
            let listener = listener_of(shared, stream);
            if let Some(role) = listener.and_then(|key| awaits_header(shared, stream, key)) {
                return role;
            }
            return self
                .streams
                .accepted(shared, stream)
                .map_or(Role::Nothing, Role::Front);
        };
        if self.streams.connected(shared, stream, key) {
            Role::Back(key)
        } else {
            Role::Nothing
        }
    }

    /// Reads a PROXY header: then the connection is a client's as any other, whose address is what the header says. Gives the
    /// bytes that are done with; `None` while it is not whole.
    fn header(
        &mut self,
        stream: &mut Stream<'_>,
        listener: usize,
        timer: TimerId,
        data: &[u8],
    ) -> Option<(usize, Role)> {
        let shared = &mut *self.shared.borrow_mut();
        match proxy::parse(data, &ParseOptions::default()) {
            Parsed::Incomplete { needed } => {
                stream.want(needed);
                None
            }
            Parsed::Invalid(invalid) => {
                no_header(shared, stream, listener, Cause::HeaderInvalid(invalid));
                Some((data.len(), Role::Nothing))
            }
            Parsed::Header { consumed, header } => {
                stream.cancel_timer(timer);
                if let Some(addresses) = header.addresses {
                    stream.answer_as(addresses.identity());
                }
                let config = shared.listeners.get(listener).map(|listener| &listener.config);
                if let Some(config) = config.filter(|config| config.at.scheme() == Scheme::Tls) {
                    // What follows is TLS. What is in it comes back as another connection, which answers as this one.
                    let service = shared.tls.server(config.tls.as_deref());
                    if service.is_none_or(|service| stream.switch_to(service).is_err()) {
                        stream.abort();
                    }
                    return Some((consumed, Role::Nothing));
                }
                let Some(key) = self.streams.accepted(shared, stream) else {
                    return Some((consumed, Role::Nothing));
                };
                // What came with it may be all that is needed to choose the pool.
                let rest = data.get(consumed..).unwrap_or_default();
                if !rest.is_empty() {
                    self.streams.greeted(shared, stream, key, rest);
                }
                Some((consumed, Role::Front(key)))
            }
        }
    }

    /// Looks names up, and comes back for the answers.
    pub(crate) fn drive_names(&mut self, cx: &mut Context<'_>) {
        let shared = &mut *self.shared.borrow_mut();
        let (wait, changed) = self.lookups.drive(shared, cx.now());
        if let Some(timer) = self.names_timer.take() {
            cx.cancel_timer(timer);
        }
        self.names_timer = wait.map(|wait| cx.set_timer(wait, NAMES));
        if changed {
            let pools: Vec<usize> = shared.pools.iter().map(|(key, _)| key).collect();
            for pool in pools {
                self.streams.serve_waiting(shared, cx, pool);
            }
        }
    }

    /// Backends that leave the configuration get time to end their sessions.
    pub(crate) fn set_leaving(&mut self, cx: &mut Context<'_>, leaving: Leaving, within: Duration) {
        self.leaving.push(leaving);
        cx.set_timer(within, LEAVE);
    }

    fn end_leaving(&mut self, cx: &mut Context<'_>) {
        let now = cx.now();
        let (due, later): (Vec<Leaving>, Vec<Leaving>) =
            self.leaving.iter().partition(|leaving| leaving.at <= now);
        self.leaving = later;
        let shared = &mut *self.shared.borrow_mut();
        // The place may have been given to another backend since.
        let is_same = |leaving: &&Leaving| {
            let backend = shared
                .pools
                .get(leaving.pool)
                .and_then(|pool| pool.backend(leaving.key));
            backend.is_some_and(|backend| backend.serial == leaving.serial)
        };
        let due: Vec<(usize, Option<usize>)> = due
            .iter()
            .filter(is_same)
            .map(|leaving| (leaving.pool, Some(leaving.key)))
            .collect();
        self.streams
            .end_those(shared, cx, |pool, key| due.contains(&(pool, key)));
        self.udp
            .borrow_mut()
            .end_those(shared, cx, |pool, key| due.contains(&(pool, key)));
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        self.tick = None;
        let now = cx.now();
        let shared = &mut *self.shared.borrow_mut();
        let pools: Vec<usize> = shared.pools.iter().map(|(key, _)| key).collect();
        for key in pools {
            if let Some(pool) = shared.pools.get_mut(key) {
                pool.advance(now);
            }
            shared.tell_changes(key);
            self.streams.serve_waiting(shared, cx, key);
        }
    }

    /// Sees to it that backends that change by themselves do.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let next = self
            .shared
            .borrow()
            .pools
            .iter()
            .filter_map(|(_, pool)| pool.next_due())
            .min();
        let Some(next) = next else { return };
        if self.tick.is_some_and(|(at, _)| at <= next) {
            return;
        }
        if let Some((_, timer)) = self.tick.take() {
            cx.cancel_timer(timer);
        }
        let now = cx.now();
        self.tick = Some((next, cx.set_timer(next.since(now), TICK)));
    }

    /// After a check was told: who waits may have a backend now.
    fn after_check(&mut self, cx: &mut Context<'_>, serial: u64) {
        let shared = &mut *self.shared.borrow_mut();
        if let Some(&(pool, _)) = shared.by_serial.get(&serial) {
            self.streams.serve_waiting(shared, cx, pool);
        }
    }
}

/// What a connection is that has to say first whom it is for. `None`: it has not to.
fn awaits_header(shared: &mut Shared, stream: &mut Stream<'_>, listener: usize) -> Option<Role> {
    // What came out of TLS had its header in front of that.
    if came_out_of_tls(stream) {
        return None;
    }
    let rules = shared.listeners.get(listener)?.config.proxy.as_ref()?;
    let trusted = match stream.peer_addr() {
        Some(peer) => rules.trusted.contains(peer.ip().to_canonical()),
        // A Unix socket has its permissions.
        None => true,
    };
    if !trusted {
        no_header(shared, stream, listener, Cause::HeaderNotTrusted);
        return Some(Role::Nothing);
    }
    let timer = stream.set_timer(rules.deadline, HEADER);
    Some(Role::Header { listener, timer })
}

fn no_header(shared: &mut Shared, stream: &mut Stream<'_>, listener: usize, cause: Cause) {
    if let Some(known) = shared.listeners.get_mut(listener) {
        known.counters.no_header += 1;
        shared.turned_away(listener, stream.peer_addr(), &cause);
    }
    stream.abort();
}

impl StreamService for RelayService {
    type Conn = End;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> End {
        let role = self.role(stream);
        self.arm(&mut stream.context());
        End(role)
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, end: &mut End, data: &mut [u8]) -> usize {
        match &mut end.0 {
            Role::Front(key) => {
                self.streams
                    .greeted(&mut self.shared.borrow_mut(), stream, *key, data);
                0
            }
            Role::Header { listener, timer } => {
                let (listener, timer) = (*listener, *timer);
                let Some((used, role)) = self.header(stream, listener, timer, data) else {
                    return 0;
                };
                end.0 = role;
                used
            }
            Role::Check(check) => {
                self.checks
                    .heard(&mut self.shared.borrow_mut(), stream, check, data);
                let serial = check.serial();
                self.after_check(&mut stream.context(), serial);
                self.arm(&mut stream.context());
                data.len()
            }
            Role::Back(_) | Role::Nothing => data.len(),
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, end: &mut End) {
        match &mut end.0 {
            Role::Check(check) => self.checks.judge(&mut self.shared.borrow_mut(), stream, check),
            Role::Header { listener, .. } => {
                no_header(&mut self.shared.borrow_mut(), stream, *listener, Cause::HeaderCut)
            }
            _ => stream.close(),
        }
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, end: &mut End, timer: u64) {
        match &mut end.0 {
            Role::Front(key) => {
                self.streams
                    .timer(&mut self.shared.borrow_mut(), &mut stream.context(), *key, timer);
            }
            Role::Header { listener, .. } => no_header(
                &mut self.shared.borrow_mut(),
                stream,
                *listener,
                Cause::HeaderTimedOut,
            ),
            Role::Check(check) if timer == ANSWER => {
                self.checks.judge(&mut self.shared.borrow_mut(), stream, check);
                self.arm(&mut stream.context());
            }
            _ => {}
        }
    }

    fn on_relay_eof(&mut self, stream: &mut Stream<'_>, end: &mut End) {
        let (key, is_front) = match &end.0 {
            Role::Front(key) => (*key, true),
            Role::Back(key) => (*key, false),
            _ => return,
        };
        self.streams
            .half_closed(&self.shared.borrow(), stream, key, is_front);
    }

    fn on_relayed(&mut self, end: &mut End, relayed: Relayed) {
        match &mut end.0 {
            Role::Front(key) => self.streams.relayed(*key, true, relayed),
            Role::Back(key) => self.streams.relayed(*key, false, relayed),
            _ => {}
        }
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: StreamId, end: End, reason: CloseReason) {
        {
            let shared = &mut *self.shared.borrow_mut();
            match &end.0 {
                Role::Front(key) => self.streams.closed(shared, cx, *key, true, &reason),
                Role::Back(key) => self.streams.closed(shared, cx, *key, false, &reason),
                Role::Check(check) => self.checks.closed(shared, cx, check),
                Role::Header { timer, .. } => {
                    cx.cancel_timer(*timer);
                    return;
                }
                Role::Nothing => return,
            }
        }
        self.arm(cx);
    }

    fn on_connect_error(&mut self, cx: &mut Context<'_>, failure: ConnectFailure) {
        if failure.tag & CHECK != 0 {
            let serial = failure.tag & !CHECK;
            self.checks.tell(&mut self.shared.borrow_mut(), cx, serial, false);
        } else {
            self.streams
                .connect_failed(&mut self.shared.borrow_mut(), cx, failure);
        }
        self.arm(cx);
    }

    fn on_listener_lost(&mut self, _: &mut Context<'_>, id: ListenerId, error: std::io::Error) {
        let shared = &mut *self.shared.borrow_mut();
        for (_, listener) in &mut shared.listeners {
            if listener.socket == Opened::Streams(id) {
                listener.socket = Opened::Closed;
                shared.hooks.on_listener_lost(&listener.label, &error);
            }
        }
    }

    fn on_service_timer(&mut self, cx: &mut Context<'_>, timer: u64) {
        match timer {
            TICK => self.advance(cx),
            NAMES => {
                self.names_timer = None;
                self.drive_names(cx);
            }
            LEAVE => self.end_leaving(cx),
            DRAIN => {
                let shared = &mut *self.shared.borrow_mut();
                self.streams.end_those(shared, cx, |_, _| true);
                self.udp.borrow_mut().end_those(shared, cx, |_, _| true);
            }
            check => self.checks.begin(&self.shared.borrow(), cx, check & !CHECK),
        }
        self.arm(cx);
    }
}

impl std::fmt::Debug for RelayService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayService").finish_non_exhaustive()
    }
}
