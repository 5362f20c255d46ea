//! One turn of the loop, and what happens when a callback panics in it.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::link::state;
use super::pair::{EVENTS, PAIR_EVENTS};
use super::table::{Entry, Socket};
use super::{Calling, Core, NOBODY, Pending, Wait, duty};
use crate::backend::{Backend, Readiness};
use crate::context::Context;
use crate::driver::{ServiceEvent, SocketEvent, StreamEvent};
use crate::host::{Due, Host};
use crate::id::{ListenerId, Token};
use crate::options::PanicPolicy;
use crate::outcome::CloseReason;
use crate::remote::Command;
use crate::time::Time;
use crate::trace;

/// What is left of a turn's budgets. They are kept here so that a panic does not renew them.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// The turn that the last three are for: most turns need none of them.
    turn: u64,
    listed: usize,
    timers: usize,
    commands: usize,
    pending: usize,
}

impl<B: Backend> Core<B> {
    /// Turns until it is over. It has a turn of its own, compiled for this loop: a call and a frame for each turn, a timeout
    /// and an end that may be any, are 40 of the 240 instructions of an echo at one busy connection.
    #[inline(never)]
    pub(crate) fn run(&mut self, events: &mut B::Events) -> io::Result<()> {
        self.have_scratch();
        while !self.is_over() {
            self.turn_as::<true>(events, None)?;
        }
        Ok(())
    }

    /// One turn: waits until something is ready, at most `timeout`, and handles it.
    #[inline(never)]
    pub(crate) fn turn(&mut self, events: &mut B::Events, timeout: Option<Duration>) -> io::Result<()> {
        self.have_scratch();
        self.turn_as::<false>(events, timeout)
    }

    /// A turn, `IN_RUN` or alone: each has its own closure, as one that both shared would not be compiled into either.
    #[inline(always)]
    fn turn_as<const IN_RUN: bool>(
        &mut self,
        events: &mut B::Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let wait = self.arm(timeout)?;
        if wait == Wait::Spin {
            self.spin(events)?;
        } else {
            self.inner.backend.poll(events, wait == Wait::Block)?;
        }
        let shared = &mut self.inner.shared;
        shared.turn += 1;
        shared.now_is_fresh = false;
        self.budgets.listed = shared.ready.len();
        let mut iter = B::iter(events);
        match catch_unwind(AssertUnwindSafe(|| self.work(&mut iter))) {
            Ok(()) => Ok(()),
            Err(panic) => self.after_panic(panic, iter),
        }
    }

    /// A callback panicked: the rest of the turn goes on.
    #[cold]
    fn after_panic(&mut self, first: Box<dyn Any + Send>, mut iter: B::EventIter<'_>) -> io::Result<()> {
        self.recover();
        while catch_unwind(AssertUnwindSafe(|| self.work_on(&mut iter))).is_err() {
            self.recover();
        }
        match self.inner.options.panic_policy {
            PanicPolicy::Propagate => resume_unwind(first),
            PanicPolicy::CloseConnection => Ok(()),
        }
    }

    /// Asks for events without waiting until there are some, or it has been long enough.
    #[cold]
    fn spin(&mut self, events: &mut B::Events) -> io::Result<()> {
        let until = self.inner.backend.now() + self.inner.options.spin;
        loop {
            self.inner.backend.poll(events, false)?;
            if B::iter(events).next().is_some() {
                return Ok(());
            }
            if self.inner.backend.now() >= until {
                return self.inner.backend.poll(events, true);
            }
        }
    }

    /// Sets the alarm for the next thing to do, and says how to wait for it.
    #[inline]
    fn arm(&mut self, timeout: Option<Duration>) -> io::Result<Wait> {
        let shared = &mut self.inner.shared;
        // Whoever timer is due next has an alarm at or before it: a turn without one need not look at the clock.
        // An alarm that is earlier than needed costs an empty turn; setting it anew costs a call each time.
        let next = shared.timers.next_or_max();
        if next < shared.alarm {
            self.inner.backend.set_alarm(Some(next))?;
            shared.alarm = next;
        }
        if shared.ready.len() | shared.pending.len() != 0 {
            return Ok(Wait::No);
        }
        let wait = if shared.has(duty::NOW | duty::PAIRS | duty::SPIN) {
            shared.wait()
        } else {
            Wait::Block
        };
        match timeout {
            Some(timeout) if wait != Wait::No => self.arm_limit(timeout, wait),
            _ => Ok(wait),
        }
    }

    #[cold]
    fn arm_limit(&mut self, timeout: Duration, wait: Wait) -> io::Result<Wait> {
        if timeout.is_zero() {
            return Ok(Wait::No);
        }
        let limit = self.inner.backend.now() + timeout;
        if limit < self.inner.shared.alarm {
            self.inner.backend.set_alarm(Some(limit))?;
            self.inner.shared.alarm = limit;
        }
        Ok(wait)
    }

    #[cold]
    fn work_on(&mut self, iter: &mut B::EventIter<'_>) {
        // The panic may have cut a batch short.
        self.finish_batch();
        self.work(iter);
    }

    /// Everything of a turn. Called again after a panic, it goes on where it was.
    #[inline(always)]
    fn work(&mut self, iter: &mut B::EventIter<'_>) {
        for ready in iter {
            self.inner.shared.stats.events += 1;
            self.dispatch(ready);
            // What a carrier has opened is used while it is in the cache, and its buffer serves the next one.
            if self.inner.shared.has(duty::PAIRS) {
                self.run_pairs(PAIR_EVENTS);
            }
        }
        if self.budgets.listed > 0 || self.inner.shared.has(duty::NOW | duty::PAIRS) {
            self.left_over();
        }
        self.run_pending();
    }

    fn renew_budgets(&mut self) {
        let turn = self.inner.shared.turn;
        if self.budgets.turn != turn {
            let work = self.inner.options.work_budget;
            self.budgets = Budgets {
                turn,
                listed: self.budgets.listed,
                timers: work,
                commands: work,
                pending: work,
            };
        }
    }

    /// What is not an event of a socket.
    #[cold]
    fn left_over(&mut self) {
        self.renew_budgets();
        self.run_listed();
        self.run_timers();
        self.run_commands();
        if self.inner.shared.has(duty::PAIRS) {
            self.run_pending();
            self.run_pairs(EVENTS);
        }
        if self.inner.shared.has(duty::TURN_ENDS) {
            self.run_pending();
            self.run_turn_ends();
        }
    }

    /// Puts the loop in order after a callback panicked: what it was doing is undone, its connection closed.
    #[cold]
    fn recover(&mut self) {
        self.out.clear();
        let shared = &mut self.inner.shared;
        shared.stats.panics += 1;
        let token = std::mem::replace(&mut shared.current, NOBODY);
        let calling = std::mem::replace(&mut shared.calling, Calling::Nobody);
        let socket = shared.outbox.socket;
        trace::panicked(token);
        match calling {
            Calling::Nobody => {
                // The panic may have come out of an accept: the listener has had its only event.
                let listener = self.inner.table.link(token).map(|link| link.listener);
                self.inner.finish(token, CloseReason::Panicked);
                self.inner
                    .relist_index(listener.unwrap_or(super::link::NO_LISTENER));
            }
            Calling::Close(token) => self.inner.vacate(token),
            Calling::Service => {}
        }
        if let Some(token) = socket {
            if self.open_batch.is_none() {
                // Outside of a batch what it recorded is undone; it must not leave by another socket.
                self.inner.forget_outbox(token);
            }
            self.inner.relist(token);
        }
    }

    /// An event of a socket that is no stream.
    #[cold]
    pub(super) fn other_event(&mut self, token: Token, flags: Readiness) {
        match self.inner.table.get(token) {
            Some(Entry {
                socket: Socket::Listener(_),
                ..
            }) => self.accept_event(token),
            Some(Entry {
                socket: Socket::Stream(_),
                ..
            }) => return self.stream_event(token, flags),
            Some(Entry {
                socket: Socket::Message(_),
                ..
            }) => self.message_event(token, flags),
            _ => {}
        }
        self.run_pending();
    }

    /// An event of nobody in the table: the backend's own, or of a socket that is gone.
    #[cold]
    pub(super) fn special(&mut self, token: Token) {
        if token == Token::ALARM {
            self.inner.shared.alarm = Time::MAX;
            self.inner.shared.duties |= duty::TIMERS;
        } else if token == Token::WAKE {
            self.inner.shared.duties |= duty::COMMANDS;
        } else if token.index() >= Token::FIRST_SPECIAL_INDEX {
            while let Some(signal) = self.inner.backend.take_signal() {
                self.signal(signal);
            }
        }
    }

    fn signal(&mut self, signal: i32) {
        if let Some(mut handler) = self.on_signal.take() {
            self.inner.shared.calling = Calling::Service;
            let context = &mut Context::new(&mut self.inner, u16::MAX);
            let outcome = catch_unwind(AssertUnwindSafe(|| handler(context, signal)));
            // The next signal finds its handler, whatever became of this one.
            self.on_signal = Some(handler);
            if let Err(panic) = outcome {
                resume_unwind(panic);
            }
            self.inner.shared.calling = Calling::Nobody;
            self.run_pending();
        }
    }

    /// Sockets that had work left from the turn before.
    fn run_listed(&mut self) {
        while self.budgets.listed > 0 {
            self.budgets.listed -= 1;
            let Some(token) = self.inner.shared.ready.pop_front() else {
                return;
            };
            self.go_on(token);
            self.run_pending();
        }
    }

    fn go_on(&mut self, token: Token) {
        let Some(Entry { link, socket }) = self.inner.table.get_mut(token) else {
            return;
        };
        link.clear(state::LISTED);
        match socket {
            Socket::Stream(_) if link.is(state::JOINED) => self.relay_event(token),
            Socket::Stream(_) => {
                if link.is(state::QUEUED) && !link.is(state::WRITE_WAIT) {
                    self.inner.flush(token);
                }
                self.pump(token);
            }
            Socket::Listener(_) => self.accept_event(token),
            Socket::Message(_) => {
                let any = Readiness::READABLE
                    .with(Readiness::WRITABLE)
                    .with(Readiness::ERROR);
                self.message_event(token, any);
            }
            Socket::Vacant => {}
        }
    }

    fn run_timers(&mut self) {
        if !self.inner.shared.has(duty::TIMERS) {
            return;
        }
        self.inner.read_clock();
        let now = self.inner.shared.now;
        while self.budgets.timers > 0 {
            let Some((_, due)) = self.inner.shared.timers.pop(now) else {
                self.inner.shared.duties &= !duty::TIMERS;
                return;
            };
            self.budgets.timers -= 1;
            self.fire(due);
            self.run_pending();
        }
    }

    fn fire(&mut self, due: Due) {
        match due {
            Due::Deadline { token, set_in, which } => return self.inner.deadline_fired(token, set_in, which),
            Due::Sample => return self.inner.sampled(),
            Due::Connect(id) => return self.inner.connect_timer(id),
            Due::Accept => {
                self.inner.shared.accept_timer = false;
                return self.inner.wake_listeners();
            }
            Due::Held => return self.inner.release_held(),
            Due::Relieve => return self.inner.relieve_again(),
            Due::Spare => return self.inner.drop_spare(),
            Due::Stream { token, key, owner } => {
                if self.inner.owner_of(token) == owner {
                    self.call(token, StreamEvent::Timer(key));
                }
            }
            Due::Socket { token, key } => self.tell_socket(token, SocketEvent::Timer(key)),
            Due::Service { service, key } => self.call_service(service, ServiceEvent::Timer(key)),
        }
        self.inner.shared.stats.timers += 1;
    }

    fn call_service(&mut self, service: u16, event: ServiceEvent) {
        if let Some(driver) = self.drivers.get_mut(usize::from(service)) {
            self.inner.shared.calling = Calling::Service;
            driver.service_event(&mut self.inner, service, event);
            self.inner.shared.calling = Calling::Nobody;
        }
    }

    fn run_commands(&mut self) {
        if !self.inner.shared.has(duty::COMMANDS) {
            return;
        }
        let remote = std::sync::Arc::clone(&self.remote);
        while self.budgets.commands > 0 {
            // The duty stays until the queue is empty: a panic in a command must not strand those behind it.
            let Some(command) = remote.pop() else {
                self.inner.shared.duties &= !duty::COMMANDS;
                return;
            };
            self.budgets.commands -= 1;
            self.inner.shared.stats.remote_commands += 1;
            self.obey(command);
            self.run_pending();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Send(id, data) => {
                // Whoever needs to know asks by a message, and answers from the loop.
                let _ = self.inner.write(id.0, &data);
            }
            Command::Message(id, message) => {
                self.inner
                    .shared
                    .pending
                    .push_back(Pending::Message(id.0, message));
            }
            Command::Close(id) => self.inner.close(id.0),
            Command::With(service, action) => self.with(service, action),
            #[cfg(feature = "resolver")]
            Command::Resolved(id) => {
                self.inner.drive_race(id);
            }
            Command::Post(action) => {
                self.inner.shared.calling = Calling::Service;
                action(&mut Context::new(&mut self.inner, u16::MAX));
                self.inner.shared.calling = Calling::Nobody;
            }
            Command::Stop => self.inner.shared.duties |= duty::STOP,
            Command::Drain(within) => self.drain(within),
            #[cfg(feature = "tcp")]
            Command::Adopt(service, stream, peer) => self.adopt(service, stream, peer),
        }
    }

    fn with(&mut self, service: u16, action: crate::remote::Action) {
        if let Some(driver) = self.drivers.get_mut(usize::from(service)) {
            let state: &mut dyn Any = driver.service();
            self.inner.shared.calling = Calling::Service;
            action(state, &mut Context::new(&mut self.inner, service));
            self.inner.shared.calling = Calling::Nobody;
        }
    }

    /// Callbacks and work that waited until the present callback had returned.
    #[inline]
    pub(super) fn run_pending(&mut self) {
        if !self.inner.shared.pending.is_empty() {
            self.run_all_pending();
        }
    }

    #[cold]
    fn run_all_pending(&mut self) {
        self.renew_budgets();
        while self.budgets.pending > 0 {
            let Some(pending) = self.inner.shared.pending.pop_front() else {
                return;
            };
            self.budgets.pending -= 1;
            match pending {
                Pending::Finish(token) => self.conclude(token),
                Pending::Writable(token) => self.tell_writable(token),
                Pending::Message(token, message) => self.pass_message(token, message),
                Pending::ConnectFailed(service, failure) => {
                    self.call_service(service, ServiceEvent::ConnectFailed(failure));
                }
                Pending::Opened(token) => self.open(token),
                Pending::Switch(token, to) => self.switch(token, to),
                Pending::Relieve => self.inner.relieve(),
                Pending::RelayEof(token) => self.call_joined(token, StreamEvent::RelayEof),
                Pending::SocketOpened(token) => self.tell_socket(token, SocketEvent::Open),
                Pending::SocketDrained(token) => self.tell_socket(token, SocketEvent::Drain),
                #[cfg(feature = "resolver")]
                Pending::Answered(service, event) => {
                    self.call_service(service, ServiceEvent::Answered(event));
                }
                Pending::SocketClosed(token, reason) => self.socket_closed(token, reason),
                Pending::SendFailed(token, failure) => {
                    self.tell_socket(token, SocketEvent::SendError(failure));
                }
                Pending::ListenerLost(service, token, error) => {
                    self.call_service(service, ServiceEvent::ListenerLost(ListenerId(token), error));
                }
            }
        }
    }

    fn pass_message(&mut self, token: Token, message: crate::outcome::Message) {
        match self.inner.table.get(token) {
            Some(Entry {
                socket: Socket::Message(_),
                ..
            }) => {
                self.tell_socket(token, SocketEvent::Message(message));
            }
            _ => self.call(token, StreamEvent::Message(message)),
        }
    }

    fn tell_writable(&mut self, token: Token) {
        let low = self.inner.watermarks_of(token).low;
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        // Something else may have filled the queue since: then the next flush owes it again.
        if link.is(state::NOTIFY) && link.queued() <= low {
            link.clear(state::NOTIFY);
            self.call(token, StreamEvent::Writable);
        }
    }

    /// Ends what runs in order: no new connections, every connection told, the rest reset after `within`.
    pub(crate) fn drain(&mut self, within: Duration) {
        self.inner.shared.duties |= duty::DRAIN;
        let deadline = self.inner.now() + within;
        for token in self.inner.table.tokens() {
            self.inner.close_listener_now(token);
            if self.inner.message_socket(token).is_some() {
                self.inner.shared.pending.push_back(Pending::SocketDrained(token));
            }
        }
        for id in self.inner.shared.connects.ids() {
            self.inner.cancel_connect_now(id);
        }
        for token in self.inner.streams() {
            // What is carried before what carries.
            if let Some(link) = self.inner.table.link(token)
                && !self.inner.is_carrying(link.service)
            {
                self.inner.drain_stream(token);
            }
        }
        self.drain_by = Some(deadline);
        self.inner.shared.timers.set(deadline, Due::Accept);
    }

    /// Whether `run` is to end: a stop, which is heeded once, or the end of a drain.
    #[inline]
    pub(crate) fn is_over(&mut self) -> bool {
        self.inner.shared.has(duty::STOP | duty::DRAIN) && self.ends()
    }

    #[cold]
    fn ends(&mut self) -> bool {
        let stop = self.inner.shared.has(duty::STOP);
        self.inner.shared.duties &= !duty::STOP;
        stop || self.is_drained()
    }

    /// Whether a drain is over: nothing is open any more, or its deadline has passed and what was open is reset.
    pub(crate) fn is_drained(&mut self) -> bool {
        if !self.inner.shared.has(duty::DRAIN) {
            return false;
        }
        let late = self.drain_by.is_some_and(|at| at <= self.inner.now());
        if late {
            for token in self.inner.streams() {
                self.inner.abort_now(token);
                self.inner.finish(token, CloseReason::LoopEnded);
            }
            self.finish_all_pending();
        }
        // Those who carry something without streams are told before it is over.
        let shared = &self.inner.shared;
        let rest = shared.open_streams + shared.pending.len() + shared.holding;
        late || rest == 0
    }

    /// The loop ends: every connection hears of it, then everything is closed.
    pub(crate) fn end(&mut self) {
        for token in self.inner.table.tokens() {
            self.inner.finish_stream(token, CloseReason::LoopEnded);
            self.inner.end_socket(token, CloseReason::LoopEnded);
        }
        self.finish_all_pending();
    }

    /// Runs what waits, panics or not, until nothing does. Callbacks at the end of a loop can cause only so much.
    fn finish_all_pending(&mut self) {
        self.have_scratch();
        for _ in 0..1_000_000 {
            if self.inner.shared.pending.is_empty() {
                return;
            }
            self.inner.shared.turn += 1;
            if catch_unwind(AssertUnwindSafe(|| self.run_pending())).is_err() {
                self.recover();
            }
        }
    }
}
