//! Connects: several addresses, one after another and side by side, until one stands.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_socket::OpError;

use super::attempts::Attempts;
use super::link::state;
use super::table::{Entry, Socket};
use super::{Core, Inner, Pending};
use crate::backend::{Backend, ConnectProgress, Readiness, StreamIo};
use crate::connect::{ConnectId, ConnectRequest};
use crate::host::Due;
use crate::id::Token;
use crate::outcome::{ConnectFailure, ConnectFault, PeerName};
use crate::trace;

/// The first pause after a Unix listener's backlog was full; each next one is twice as long, so many times.
const FULL_PAUSE: Duration = Duration::from_millis(1);
const FULL_DOUBLINGS: u32 = 6;

impl<B: Backend> Core<B> {
    /// An event of a connect that is not decided.
    pub(super) fn connect_event(&mut self, token: Token, flags: Readiness) {
        let Some((link, stream)) = self.inner.table.stream(token) else {
            return;
        };
        let Some(id) = link.extra.as_ref().and_then(|extra| extra.connect) else {
            return;
        };
        match stream.connect_progress() {
            ConnectProgress::Pending => {}
            ConnectProgress::Connected => {
                link.clear(state::CONNECTING);
                if flags.any(Readiness::READABLE) {
                    link.set(state::READABLE);
                }
                if flags.any(Readiness::READ_CLOSED.with(Readiness::ERROR)) {
                    link.set(state::READABLE | state::END_SEEN);
                }
                link.extra().connect = None;
                self.inner.connect_won(id, token);
                self.open(token);
                self.pump(token);
            }
            ConnectProgress::Failed(error) => {
                let address = link.peer;
                self.inner.drop_attempt(token);
                let Some(attempts) = self.inner.shared.connects.entry(id) else {
                    return;
                };
                attempts.running.retain(|&running| running != token);
                let failed = address.map(|address| (PeerName::Ip(address), error));
                attempts.failed.extend(failed);
                self.inner.attempt_failed(id, token);
            }
        }
    }
}

impl<B: Backend> Inner<B> {
    pub(super) fn connect_now(&mut self, service: u16, request: ConnectRequest) -> ConnectId {
        let now = self.now();
        let own = self
            .shared
            .services
            .get(usize::from(service))
            .and_then(|s| s.options.deadlines.connect);
        let passes = |address: &SocketAddr| request.filter.as_ref().is_none_or(|filter| filter(address.ip()));
        let addresses = request.addresses.iter().copied().filter(passes).map(PeerName::Ip);
        let attempts = Attempts {
            service,
            tag: request.tag,
            waiting: addresses.chain(request.unix.map(PeerName::Unix)).collect(),
            options: request.options,
            attempt_delay: request.attempt_delay,
            running: Vec::new(),
            failed: Vec::new(),
            deadline: request.deadline.or(own).map(|after| now + after),
            timer: None,
            next_attempt: None,
            full: 0,
            #[cfg(feature = "resolver")]
            race: None,
        };
        let nowhere = attempts.waiting.is_empty();
        let id = self.shared.connects.insert(attempts);
        #[cfg(feature = "resolver")]
        if let Some(target) = &request.target {
            self.start_race(id, target, request.filter.clone());
            return id;
        }
        if nowhere {
            self.connect_failed(id, Some(ConnectFault::NoAddress));
        } else if self.connections() >= self.options.max_connections {
            self.connect_failed(id, Some(ConnectFault::TooManyConnections));
        } else {
            self.next_attempt(id);
        }
        id
    }

    pub(super) fn cancel_connect_now(&mut self, id: ConnectId) -> bool {
        let known = self.shared.connects.entry(id).is_some();
        self.connect_failed(id, Some(ConnectFault::Cancelled));
        known
    }

    fn attempt_failed(&mut self, id: ConnectId, token: Token) {
        #[cfg(feature = "resolver")]
        if self.race_lost(id, token) {
            return;
        }
        // Without a race nobody asks which one it was.
        let _ = token;
        self.next_attempt(id);
    }

    /// Starts the next address, or gives up when none is left and none runs.
    fn next_attempt(&mut self, id: ConnectId) {
        let now = self.now();
        while let Some(attempts) = self.shared.connects.entry(id) {
            let Some(address) = attempts.waiting.pop_front() else {
                attempts.next_attempt = None;
                if attempts.running.is_empty() {
                    return self.connect_failed(id, None);
                }
                break;
            };
            let (service, tag, options) = (attempts.service, attempts.tag, attempts.options.clone());
            let started = self.start_attempt(id, service, tag, &address, &options);
            let Some(attempts) = self.shared.connects.entry(id) else {
                return;
            };
            match started {
                Ok(token) => {
                    attempts.running.push(token);
                    let more = !attempts.waiting.is_empty();
                    attempts.next_attempt = more.then_some(now + attempts.attempt_delay);
                    break;
                }
                // No event says when there is room again.
                Err(error)
                    if matches!(address, PeerName::Unix(_)) && error.kind() == io::ErrorKind::WouldBlock =>
                {
                    attempts.waiting.push_front(address);
                    attempts.next_attempt = Some(now + FULL_PAUSE * 2_u32.pow(attempts.full));
                    attempts.full = (attempts.full + 1).min(FULL_DOUBLINGS);
                    break;
                }
                Err(error) => attempts.failed.push((address, error)),
            }
        }
        self.arm_connect(id);
    }

    pub(super) fn start_attempt(
        &mut self,
        id: ConnectId,
        service: u16,
        tag: u64,
        address: &PeerName,
        options: &crate::options::ConnectOptions,
    ) -> io::Result<Token> {
        let (stream, peer) = match address {
            PeerName::Ip(address) => (self.backend.connect(*address, options)?, Some(*address)),
            PeerName::Unix(name) => (self.backend.connect_unix(name, options)?, None),
        };
        let full = || io::Error::from(io::ErrorKind::OutOfMemory);
        let token = self.admit(stream, service).ok_or_else(full)?;
        if let Some(link) = self.table.link_mut(token) {
            link.set(state::CONNECTING);
            link.peer = peer;
            link.extra().connect = Some(id);
            link.extra().tag = tag;
        }
        Ok(token)
    }

    pub(super) fn arm_connect(&mut self, id: ConnectId) {
        let Some(attempts) = self.shared.connects.entry(id) else {
            return;
        };
        let at = [attempts.deadline, attempts.next_attempt]
            .into_iter()
            .flatten()
            .min();
        if let Some(old) = attempts.timer.take() {
            self.shared.timers.cancel(old);
        }
        attempts.timer = at.map(|at| self.shared.timers.set(at, Due::Connect(id)));
    }

    /// The timer of a connect fired: its deadline, or time for the next address.
    pub(super) fn connect_timer(&mut self, id: ConnectId) {
        let now = self.now();
        let Some(attempts) = self.shared.connects.entry(id) else {
            return;
        };
        attempts.timer = None;
        if attempts.deadline.is_some_and(|at| at <= now) {
            self.connect_failed(id, Some(ConnectFault::TimedOut));
        } else if attempts.next_attempt.is_some_and(|at| at <= now) {
            self.go_on_connecting(id);
        } else {
            self.arm_connect(id);
        }
    }

    fn go_on_connecting(&mut self, id: ConnectId) {
        #[cfg(feature = "resolver")]
        if self.drive_race(id) {
            return;
        }
        self.next_attempt(id);
    }

    /// One address answered: the others are dropped.
    fn connect_won(&mut self, id: ConnectId, winner: Token) {
        self.shared.stats.connected += 1;
        trace::connected(winner, self.table.link(winner).and_then(|link| link.peer));
        let Some(attempts) = self.shared.connects.remove(id) else {
            return;
        };
        #[cfg(feature = "resolver")]
        self.end_race(attempts.race);
        if let Some(timer) = attempts.timer {
            self.shared.timers.cancel(timer);
        }
        for token in attempts.running {
            if token != winner {
                self.drop_attempt(token);
            }
        }
    }

    /// The whole connect failed; without a fault given, by the last address's error.
    pub(super) fn connect_failed(&mut self, id: ConnectId, fault: Option<ConnectFault>) {
        let Some(mut attempts) = self.shared.connects.remove(id) else {
            return;
        };
        #[cfg(feature = "resolver")]
        self.end_race(attempts.race.take());
        self.shared.stats.connect_errors += 1;
        if let Some(timer) = attempts.timer {
            self.shared.timers.cancel(timer);
        }
        for token in std::mem::take(&mut attempts.running) {
            self.drop_attempt(token);
        }
        let last = |(_, error): &(PeerName, io::Error)| {
            // An error is not `Clone`: the same number, its own or that of the call that failed, or without one the same
            // kind.
            let errno = || OpError::of(error).and_then(OpError::raw_os_error);
            ConnectFault::Failed(match error.raw_os_error().or_else(errno) {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => io::Error::from(error.kind()),
            })
        };
        let cause = fault
            .or_else(|| attempts.failed.last().map(last))
            .unwrap_or(ConnectFault::NoAddress);
        let failure = ConnectFailure {
            tag: attempts.tag,
            attempts: attempts.failed,
            cause,
        };
        trace::connect_failed(&failure);
        self.shared
            .pending
            .push_back(Pending::ConnectFailed(attempts.service, failure));
    }

    /// Closes the socket of an attempt that nobody heard of.
    pub(super) fn drop_attempt(&mut self, token: Token) {
        if let Some(Entry {
            socket: Socket::Stream(_),
            ..
        }) = self.table.get(token)
        {
            self.table.remove(token);
            self.shared.open_streams -= 1;
            if !self.shared.waiting_listeners.is_empty() {
                self.wake_listeners();
            }
        }
    }
}
