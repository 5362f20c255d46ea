//! Two connections joined: what one sends the other gets, with backpressure both ways.
//!
//! Where both have descriptors the bytes go from one to the other through a pipe and never into this
//! process; else through a buffer. Each direction ends on its own: FIN is passed on as FIN.

use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;

use sockeye_socket::os::Pipe;

use super::Inner;
use super::link::{Entry, Socket, state};
use crate::backend::{Backend, StreamIo, Token};
use crate::service::CloseReason;

/// What one of the two keeps: the way of its bytes to the other.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) partner: Token,
    pipe: Option<Pipe>,
    /// Its end has been passed on.
    done: bool,
}

/// How one direction stands.
#[derive(PartialEq, Eq)]
enum Way {
    /// Nothing more can be done now.
    Waits,
    /// There is more, but the budget is used up.
    More,
    /// The end was passed on.
    Done,
}

/// Bytes one splice asks for.
const STEP: usize = 256 * 1024;

impl<B: Backend> Inner<B> {
    pub(super) fn join_now(&mut self, a: Token, b: Token) -> bool {
        let joinable = |inner: &Self, token| {
            matches!(inner.table.get(token), Some(Entry { link, socket: Socket::Stream(_) })
                if !link.is(state::NO_WRITE | state::CONNECTING) && !link.is(state::EOF_TOLD))
        };
        if a == b || !joinable(self, a) || !joinable(self, b) {
            return false;
        }
        let spliced = self.has_descriptor(a) && self.has_descriptor(b);
        for (token, partner) in [(a, b), (b, a)] {
            // Without a pipe (descriptors used up) the bytes go through the buffer.
            let pipe = if spliced { Pipe::new().ok() } else { None };
            let Some((link, _)) = self.table.stream(token) else {
                return false;
            };
            link.clear(state::PAUSED | state::CONGESTED | state::REDELIVER | state::NOTIFY | state::DRAINING);
            link.set(state::JOINED | state::READABLE);
            link.extra().relay = Some(Relay {
                partner,
                pipe,
                done: false,
            });
            let tail = std::mem::take(&mut link.extra().tail);
            link.clear(state::TAIL);
            self.relay_bytes(token, &tail);
            self.relist(token);
        }
        true
    }

    fn has_descriptor(&self, token: Token) -> bool {
        matches!(self.table.get(token), Some(Entry { socket: Socket::Stream(s), .. }) if s.descriptor().is_some())
    }

    /// Bytes of a joined connection that were read before it was joined.
    pub(super) fn relay_bytes(&mut self, from: Token, data: &[u8]) {
        let relay = self
            .table
            .link(from)
            .and_then(|link| link.extra.as_ref())
            .and_then(|extra| extra.relay.as_ref());
        let Some(partner) = relay.map(|relay| relay.partner) else {
            return;
        };
        if data.is_empty() {
            return;
        }
        if let Some((link, _)) = self.table.stream(partner) {
            link.extra().queue.push(data);
            link.set(state::QUEUED);
            self.relist(partner);
        }
    }

    /// Something happened on a joined connection: moves what can be moved, both ways.
    pub(super) fn relay_event(&mut self, token: Token) {
        let relay = self
            .table
            .link(token)
            .and_then(|link| link.extra.as_ref())
            .and_then(|extra| extra.relay.as_ref());
        let Some(partner) = relay.map(|relay| relay.partner) else {
            return;
        };
        let mut done = 0;
        for (from, to) in [(token, partner), (partner, token)] {
            match self.relay_way(from, to) {
                Ok(Way::Waits) => {}
                Ok(Way::More) => self.relist(from),
                Ok(Way::Done) => done += 1,
                // The other one is told by `finish`, and gets what was on its way before.
                Err((broken, error)) => return self.finish(broken, CloseReason::Error(error)),
            }
        }
        if done == 2 {
            for token in [token, partner] {
                if let Some(extra) = self.table.link_mut(token).and_then(|link| link.extra.as_mut()) {
                    extra.relay = None;
                }
                self.finish(token, CloseReason::Closed);
            }
        }
    }

    /// One direction, within the budget of a turn. An error says whose it is.
    fn relay_way(&mut self, from: Token, to: Token) -> Result<Way, (Token, io::Error)> {
        self.flush(to);
        let Some(link) = self.table.link(to) else {
            return Ok(Way::Waits);
        };
        if link.is(state::QUEUED) {
            return Ok(Way::Waits);
        }
        let Some(relay) = self
            .table
            .link_mut(from)
            .and_then(|link| link.extra.as_mut())
            .and_then(|e| e.relay.as_mut())
        else {
            return Ok(Way::Waits);
        };
        if relay.done {
            return Ok(Way::Done);
        }
        let way = match relay.pipe.take() {
            Some(mut pipe) => {
                let way = self.splice_way(from, to, &mut pipe);
                if let Some(extra) = self.table.link_mut(from).and_then(|link| link.extra.as_mut())
                    && let Some(relay) = &mut extra.relay
                {
                    relay.pipe = Some(pipe);
                }
                way?
            }
            None => self.copy_way(from, to)?,
        };
        if way == Way::Done {
            self.end_way(from, to)?;
        }
        Ok(way)
    }

    /// Passes the end of `from` on to `to`.
    fn end_way(&mut self, from: Token, to: Token) -> Result<(), (Token, io::Error)> {
        if let Some(relay) = self
            .table
            .link_mut(from)
            .and_then(|link| link.extra.as_mut())
            .and_then(|e| e.relay.as_mut())
        {
            relay.done = true;
        }
        let Some((link, stream)) = self.table.stream(to) else {
            return Ok(());
        };
        link.set(state::FIN_SENT);
        stream.shutdown(Shutdown::Write).map_err(|error| (to, error))
    }

    fn splice_way(&mut self, from: Token, to: Token, pipe: &mut Pipe) -> Result<Way, (Token, io::Error)> {
        let mut budget = self.options.stream_budget;
        loop {
            if !pipe.is_empty() {
                let Some((link, target)) = self.table.stream(to) else {
                    return Ok(Way::Waits);
                };
                let Some(descriptor) = target.descriptor() else {
                    return Ok(Way::Waits);
                };
                match pipe.drain_into(descriptor, false) {
                    Ok(moved) => self.count_out(to, moved),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        link.set(state::WRITE_WAIT);
                        return Ok(Way::Waits);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err((to, error)),
                }
                continue;
            }
            if budget == 0 {
                return Ok(Way::More);
            }
            let Some((link, source)) = self.table.stream(from) else {
                return Ok(Way::Waits);
            };
            if link.is(state::EOF) {
                return Ok(Way::Done);
            }
            if !link.is(state::READABLE) {
                return Ok(Way::Waits);
            }
            let Some(descriptor) = source.descriptor() else {
                return Ok(Way::Waits);
            };
            match pipe.fill_from(descriptor, STEP.min(budget)) {
                Ok(0) => link.set(state::EOF),
                Ok(moved) => {
                    budget = budget.saturating_sub(moved);
                    self.count_in(from, moved);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => link.clear(state::READABLE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((from, error)),
            }
        }
    }

    fn copy_way(&mut self, from: Token, to: Token) -> Result<Way, (Token, io::Error)> {
        let mut budget = self.options.stream_budget;
        let mut chunk = [0; 16 * 1024];
        loop {
            if budget == 0 {
                return Ok(Way::More);
            }
            let Some((link, source)) = self.table.stream(from) else {
                return Ok(Way::Waits);
            };
            if link.is(state::EOF) {
                return Ok(Way::Done);
            }
            if !link.is(state::READABLE) {
                return Ok(Way::Waits);
            }
            let len = match source.read(&mut chunk) {
                Ok(0) => {
                    link.set(state::EOF);
                    continue;
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    link.clear(state::READABLE);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err((from, error)),
            };
            budget = budget.saturating_sub(len);
            self.count_in(from, len);
            let Some((link, target)) = self.table.stream(to) else {
                return Ok(Way::Waits);
            };
            let (data, _) = chunk.split_at(len);
            let taken = match target.write(data) {
                Ok(taken) => taken,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    0
                }
                Err(error) => return Err((to, error)),
            };
            let (_, rest) = data.split_at(taken);
            if !rest.is_empty() {
                link.set(state::QUEUED | state::WRITE_WAIT);
                link.extra().queue.push(rest);
            }
            self.count_out(to, taken);
            if !rest.is_empty() {
                self.arm_deadline(to);
                return Ok(Way::Waits);
            }
        }
    }

    fn count_in(&mut self, token: Token, len: usize) {
        let turn = self.shared.turn;
        self.shared.stats.reads += 1;
        self.shared.stats.bytes_in += len as u64;
        if let Some(link) = self.table.link_mut(token) {
            link.last_read = turn;
        }
    }

    fn count_out(&mut self, token: Token, len: usize) {
        let turn = self.shared.turn;
        self.shared.stats.writes += 1;
        self.shared.stats.bytes_out += len as u64;
        if let Some(link) = self.table.link_mut(token) {
            link.last_write = turn;
        }
    }

    /// The other one of a joined pair is gone: what it had sent still leaves, then this one is closed in order.
    pub(super) fn partner_gone(&mut self, gone: Relay) {
        let token = gone.partner;
        self.part(gone);
        if let Some((link, _)) = self.table.stream(token) {
            link.clear(state::JOINED);
            if let Some(extra) = &mut link.extra {
                extra.relay = None;
            }
            self.close_in_order(token);
        }
    }

    /// Closes a joined pair in order, from one of its sides.
    pub(super) fn close_joined(&mut self, token: Token) {
        let mut pair = [token, token];
        if let Some(relay) = self
            .table
            .link(token)
            .and_then(|link| link.extra.as_ref()?.relay.as_ref())
        {
            pair[1] = relay.partner;
        }
        for token in pair {
            let relay = self
                .table
                .link_mut(token)
                .and_then(|link| link.extra.as_mut()?.relay.take());
            if let Some(relay) = relay {
                self.part(relay);
            }
            if let Some(link) = self.table.link_mut(token) {
                link.clear(state::JOINED);
            }
        }
        for token in pair {
            self.close_in_order(token);
        }
    }

    /// What is still in a relay's pipe goes into the queue of whom it was for.
    fn part(&mut self, relay: Relay) {
        let Some(pipe) = relay.pipe.filter(|pipe| !pipe.is_empty()) else {
            return;
        };
        let mut left = vec![0; pipe.len()];
        let Ok(end) = pipe.read_end().try_clone_to_owned() else {
            return;
        };
        let len = File::from(end).read(&mut left).unwrap_or(0);
        left.truncate(len);
        if let Some((link, _)) = self.table.stream(relay.partner)
            && !link.is(state::FIN_SENT | state::BROKEN)
            && !left.is_empty()
        {
            link.extra().queue.push(&left);
            link.set(state::QUEUED);
        }
    }
}
