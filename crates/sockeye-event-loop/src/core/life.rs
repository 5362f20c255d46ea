//! The life of a connection: opening, deadlines, closing in order, finishing.

use std::net::Shutdown;
use std::rc::Rc;

use super::link::state;
use super::table::{Entry, Socket};
use super::{Calling, Core, Inner, Pending, duty};
use crate::backend::{Backend, SocketRef, StreamIo};
use crate::driver::NO_CONN;
use crate::driver::StreamEvent;
use crate::host::Due;
use crate::id::{TimerId, Token};
use crate::options::{Deadlines, StreamOption, StreamOptions};
use crate::outcome::{CloseReason, Deadline};
use crate::pair::Wire;
use crate::time::Time;
use crate::trace;

impl<B: Backend> Core<B> {
    /// The connection stands: its service hears of it.
    pub(super) fn open(&mut self, token: Token) {
        let turn = self.inner.shared.turn;
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        link.last_read = turn;
        link.last_write = turn;
        let made = link.is(state::OPENING);
        link.clear(state::OPENING);
        let service = link.service;
        let Some(driver) = self.drivers.get_mut(usize::from(service)) else {
            return;
        };
        self.inner.shared.current = token;
        self.out.begin(!link.is(state::TIGHT));
        let conn = driver.open(&mut self.inner, &mut self.out, token);
        if let Some(link) = self.inner.table.link_mut(token) {
            link.conn = conn;
        }
        self.leave(token);
        self.inner.arm_deadline(token);
        if made {
            self.inner.read_all_on(token);
        }
        // It comes after the others were told.
        if self.inner.shared.has(duty::DRAIN) && !self.inner.is_carrying(service) {
            self.inner.drain_stream(token);
        }
    }

    /// The socket is closed: the last callback, then the place is free.
    pub(super) fn conclude(&mut self, token: Token) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        let (service, conn) = (link.service, link.conn);
        let (reason, relayed) = link
            .extra
            .as_mut()
            .map_or((None, None), |extra| (extra.reason.take(), extra.relayed.take()));
        let reason = reason.unwrap_or(CloseReason::Closed);
        trace::closed(token, &reason);
        if let CloseReason::TimedOut(_) = reason {
            self.inner.shared.stats.timed_out += 1;
        }
        if conn != NO_CONN
            && let Some(driver) = self.drivers.get_mut(usize::from(service))
        {
            self.inner.shared.calling = Calling::Close(token);
            if let Some(relayed) = relayed {
                driver.event(
                    &mut self.inner,
                    &mut self.out,
                    token,
                    conn,
                    StreamEvent::Relayed(relayed),
                );
            }
            driver.close(&mut self.inner, token, conn, reason);
            self.inner.shared.calling = Calling::Nobody;
        }
        self.inner.vacate(token);
    }
}

impl<B: Backend> Inner<B> {
    pub(super) fn options_of(&self, token: Token) -> Option<Rc<StreamOptions>> {
        let link = self.table.link(token)?;
        self.shared
            .services
            .get(usize::from(link.service))
            .map(|service| Rc::clone(&service.options))
    }

    /// Takes a stream into the table and the poller, with its service's options. `None`: no room for it.
    pub(super) fn admit(&mut self, stream: B::Stream, service: u16) -> Option<Token> {
        self.admit_wire(Wire::World(stream), service)
    }

    pub(super) fn admit_wire(&mut self, mut stream: Wire<B::Stream>, service: u16) -> Option<Token> {
        let settings = self.shared.services.get(usize::from(service))?;
        // An option that cannot be set does not cost the connection: it works without.
        if settings.options.nodelay {
            let _ = stream.set_option(&StreamOption::NoDelay(true));
        }
        for option in &settings.options.socket {
            let _ = stream.set_option(option);
        }
        let tight = settings.options.watermarks.is_tight();
        let token = self.table.insert(Socket::Stream(stream), service)?;
        let (link, stream) = self.table.stream(token)?;
        if tight {
            link.set(state::TIGHT);
        }
        match stream {
            Wire::Pair(end) => {
                end.register(token);
                self.shared.open_ends += 1;
            }
            Wire::World(stream) => {
                if self.backend.register(SocketRef::Stream(stream), token).is_err() {
                    // The peer must not take a FIN for the whole answer.
                    stream.abort();
                    self.table.remove(token);
                    return None;
                }
            }
        }
        self.shared.open_streams += 1;
        Some(token)
    }

    /// Frees a place, and lets listeners that waited for one go on.
    pub(super) fn vacate(&mut self, token: Token) {
        let Some(link) = self.table.link(token) else {
            return;
        };
        let (listener, service, apart) = (link.listener, link.service, link.is(state::APART));
        if let Some(entry) = self.table.get_mut(token) {
            // Closed already, unless a panic cut a switch short.
            let socket = std::mem::replace(&mut entry.socket, Socket::Vacant);
            self.closed(socket, service);
        }
        self.uncount_memory(token);
        self.table.remove(token);
        self.shared.open_streams -= 1;
        self.shared.open_apart -= usize::from(apart);
        self.shared.stats.closed += 1;
        if let Some(Entry {
            socket: Socket::Listener(listener),
            ..
        }) = self.table.entries.get_mut(listener as usize)
        {
            listener.open = listener.open.saturating_sub(1);
        }
        if !self.shared.waiting_listeners.is_empty() {
            self.wake_listeners();
        }
    }

    /// The connection is over: its socket is closed now, `on_close` follows. The first reason stays.
    pub(super) fn finish(&mut self, token: Token, reason: CloseReason) {
        let Some(entry) = self.table.get_mut(token) else {
            return;
        };
        let Entry { link, socket } = entry;
        if link.is(state::DEAD) {
            return;
        }
        if let Socket::Stream(stream) = socket {
            if link.is(state::EXPOSED)
                && let Wire::World(stream) = stream
            {
                // A duplicate of the descriptor would go on delivering events.
                let _ = self.backend.deregister(SocketRef::Stream(stream));
            }
            // What was promised is not sent any more: a reset, so that the peer does not take what it has for the whole. After
            // most errors the peer is gone; after some the socket itself would still end in order.
            let first = link.extra.as_ref().and_then(|extra| extra.reason.as_ref());
            if link.is(state::BROKEN)
                || matches!(
                    first.unwrap_or(&reason),
                    CloseReason::Error(_)
                        | CloseReason::TimedOut(Deadline::WriteStall | Deadline::Close)
                        | CloseReason::Panicked
                )
            {
                stream.abort();
            }
        }
        let (was, service) = (std::mem::replace(socket, Socket::Vacant), link.service);
        link.set(state::DEAD);
        link.clear(state::QUEUED | state::WRITE_WAIT | state::NOTIFY);
        let timer = std::mem::replace(&mut link.timer, TimerId::NONE);
        // Whoever this one was joined with must not take what it has for the whole.
        let in_order = matches!(reason, CloseReason::Closed | CloseReason::LoopEnded);
        let mut relay = None;
        if !matches!(reason, CloseReason::Closed) || link.extra.is_some() {
            let extra = link.extra();
            extra.queue = crate::queue::Queue::default();
            extra.tail.free();
            relay = extra.relay.take();
            if extra.reason.is_none() {
                extra.reason = Some(reason);
            }
        }
        if timer != TimerId::NONE {
            self.shared.timers.cancel(timer);
        }
        self.shared.pending.push_back(Pending::Finish(token));
        self.count_memory(token);
        self.closed(was, service);
        if let Some(relay) = relay {
            self.partner_gone(token, relay, in_order);
        }
    }

    /// As [`finish`](Self::finish), of a token that may be of something else.
    pub(super) fn finish_stream(&mut self, token: Token, reason: CloseReason) {
        if self.table.stream(token).is_some() {
            self.finish(token, reason);
        }
    }

    /// A socket is closed: if it was an end of a pair, the other one hears of it, and its carrier.
    fn closed(&mut self, socket: Socket<B>, service: u16) {
        let first = match &socket {
            Socket::Stream(Wire::Pair(end)) => end.is_first(),
            _ => return,
        };
        drop(socket);
        self.shared.open_ends -= 1;
        if first {
            self.carries_one_less(service);
        }
    }

    /// Finishes a connection that has nothing left to do.
    pub(super) fn finish_if_over(&mut self, token: Token) {
        let Some(link) = self.table.link(token) else {
            return;
        };
        let sent = link.is(state::FIN_SENT) || link.is(state::CLOSING) && !link.is(state::QUEUED);
        if link.is(state::BROKEN) || sent && link.is(state::EOF) {
            self.finish(token, CloseReason::Closed);
        }
    }

    /// Sends FIN now: the queue is empty.
    pub(super) fn send_fin(&mut self, token: Token) {
        let Some((link, stream)) = self.table.stream(token) else {
            return;
        };
        link.clear(state::FIN_WANTED);
        match stream.shutdown(Shutdown::Write) {
            Ok(()) => {
                link.set(state::FIN_SENT);
                self.finish_if_over(token);
            }
            Err(error) => self.finish(token, CloseReason::Error(error)),
        }
    }

    pub(super) fn shutdown_write_now(&mut self, token: Token) {
        let Some((link, _)) = self.table.stream(token) else {
            return;
        };
        if link.is(state::NO_WRITE) {
            return;
        }
        link.set(state::FIN_WANTED);
        self.flush(token);
    }

    /// Closes in order: queue, FIN, the peer's end or the close deadline.
    pub(super) fn close_in_order(&mut self, token: Token) {
        let now = self.now();
        let timeout = self
            .options_of(token)
            .map_or_else(Default::default, |options| options.close_timeout);
        let Some((link, _)) = self.table.stream(token) else {
            return;
        };
        if link.is(state::CLOSING | state::CONNECTING) {
            return;
        }
        if link.is(state::JOINED) {
            return self.close_joined(token);
        }
        link.clear(state::PAUSED | state::CONGESTED | state::TAIL | state::REDELIVER | state::NOTIFY);
        link.set(state::CLOSING);
        if link.is(state::EOF | state::BROKEN) && !link.is(state::QUEUED) {
            // The peer has ended and everything is sent: closing the descriptor sends the FIN.
            return self.finish(token, CloseReason::Closed);
        }
        if !link.is(state::FIN_SENT) {
            link.set(state::FIN_WANTED);
        }
        let extra = link.extra();
        extra.tail.free();
        extra.close_by = Some(now + timeout);
        self.arm_deadline(token);
        self.flush(token);
        if let Some((link, _)) = self.table.stream(token)
            && link.is(state::READABLE | state::EOF)
        {
            self.shared.list(link, token);
        }
    }

    pub(super) fn abort_now(&mut self, token: Token) {
        let Some((link, stream)) = self.table.stream(token) else {
            return;
        };
        if !link.is(state::CONNECTING) {
            stream.abort();
            self.finish(token, CloseReason::Aborted);
        }
    }

    /// Which deadline of a connection comes first, and when.
    fn first_deadline(&mut self, token: Token) -> Option<(Time, Deadline)> {
        let link = self.table.link(token)?;
        if link.is(state::DEAD | state::CONNECTING) {
            return None;
        }
        if link.is(state::CLOSING) {
            return link.extra.as_ref()?.close_by.map(|at| (at, Deadline::Close));
        }
        let deadlines = self.deadlines_of(token);
        // A paused or congested connection does not read: silence is not the peer's doing.
        let reading = !link.is(state::NO_READ | state::JOINED | state::EOF);
        // What waits in a pipe of a joined pair is not in the queue.
        let stalls = link.is(state::QUEUED) || link.is(state::JOINED) && link.is(state::WRITE_WAIT);
        let (read, written) = (link.last_read, link.last_write);
        let candidates = [
            (deadlines.idle, read.max(written), Deadline::Idle),
            (deadlines.read.filter(|_| reading), read, Deadline::Read),
            (
                deadlines.write_stall.filter(|_| stalls),
                written,
                Deadline::WriteStall,
            ),
        ];
        let mut first = None;
        for (after, turn, which) in candidates {
            if let Some(after) = after {
                self.sample_for(after);
                let at = self.time_of(turn) + after;
                if first.is_none_or(|(earliest, _)| at < earliest) {
                    first = Some((at, which));
                }
            }
        }
        first
    }

    pub(super) fn deadlines_of(&self, token: Token) -> Deadlines {
        let Some(link) = self.table.link(token) else {
            return Deadlines::default();
        };
        if let Some(extra) = &link.extra
            && let Some(deadlines) = extra.deadlines
        {
            return deadlines;
        }
        self.shared
            .services
            .get(usize::from(link.service))
            .map_or_else(Deadlines::default, |s| s.options.deadlines)
    }

    /// Sets the connection's one timer to its first deadline. Activity does not come here: the timer that
    /// fires looks whether there was any since it was set, and sets itself again.
    pub(super) fn arm_deadline(&mut self, token: Token) {
        let first = self.first_deadline(token);
        let set_in = self.shared.turn;
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        let old = std::mem::replace(&mut link.timer, TimerId::NONE);
        if let Some((at, which)) = first {
            let due = Due::Deadline { token, set_in, which };
            link.timer = self.shared.timers.set(at, due);
        }
        if old != TimerId::NONE {
            self.shared.timers.cancel(old);
        }
    }

    /// Reading goes on: a read deadline holds again, where no timer is set that would find out.
    pub(super) fn rearm_deadline(&mut self, token: Token) {
        if self.deadlines_of(token).read.is_some() {
            self.arm_deadline(token);
        }
    }

    /// The connection's timer, set in that turn for that deadline, fired.
    pub(super) fn deadline_fired(&mut self, token: Token, set_in: u64, set_for: Deadline) {
        let now = self.now();
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        link.timer = TimerId::NONE;
        let quiet = link.last_read.max(link.last_write) <= set_in;
        match self.first_deadline(token) {
            Some((at, which)) if at <= now => self.finish(token, CloseReason::TimedOut(which)),
            // Nothing happened since it was set, so it was right then: what is known of turns long ago is coarser.
            // It may be another one that is first now: a pause, the peer's end and an empty queue move no byte.
            Some((_, which)) if quiet && which == set_for => self.finish(token, CloseReason::TimedOut(which)),
            _ => self.arm_deadline(token),
        }
    }

    /// Every token of an open stream.
    pub(super) fn streams(&self) -> Vec<Token> {
        let is_stream = |token: &Token| {
            matches!(
                self.table.get(*token),
                Some(Entry {
                    socket: Socket::Stream(_),
                    ..
                })
            )
        };
        self.table.tokens().into_iter().filter(is_stream).collect()
    }
}
