//! Two connections joined: what one sends the other gets, with backpressure both ways.
//!
//! Each direction picks its way by itself. While reads are small, bytes go through the loop's buffer: two calls a
//! piece. Once they are not, and both have descriptors, they are spliced through a pipe and never enter this process.
//! Pipes belong to the loop: a direction has one only while bytes are in it, so that an idle pair holds two
//! descriptors. Without one to be had the bytes are copied.
//!
//! Each direction ends on its own: FIN is passed on as FIN. A reset, or any other end that is not in order, resets the
//! other side.
//!
//! Urgent data stays in its place as ordinary bytes. `splice(2)` stops at its mark and gives 0, which is not the end:
//! the next piece is read and copied, across the mark.

use std::io;
use std::net::Shutdown;

use sockeye_socket::os::Pipe;

use super::link::state;
use super::pipes::Relay;
use super::table::{Entry, Socket};
use super::{Core, Inner, Pending};
use crate::backend::{Backend, StreamIo};
use crate::fault::{Fault, repeated};
use crate::id::Token;
use crate::outcome::{CloseReason, Relayed};
use crate::pair::Wire;

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

/// An error, and whose it is.
type Broken = (Token, io::Error);

/// A piece from this size on speaks for splicing, a smaller one for copying. Measured: at 4 KiB both cost the same, at 16 KiB a
/// splice saves a sixth of the CPU time.
const LARGE: usize = 16 * 1024;
/// From this weight on bytes are spliced.
const SPLICED: u8 = 2;
/// No weight grows beyond this: so many small pieces lead back to copying.
const HEAVIEST: u8 = 5;
impl<B: Backend> Core<B> {
    /// Something happened on a joined connection: moves what can be moved, both ways.
    pub(super) fn relay_event(&mut self, token: Token) {
        let Some(partner) = self.inner.relay(token).map(|relay| relay.partner) else {
            return;
        };
        let mut done = 0;
        for (from, to) in [(token, partner), (partner, token)] {
            let outcome = match self.inner.quiet_way(from, to) {
                Some(way) => Ok(way),
                None => self.relay_way(from, to),
            };
            match outcome {
                Ok(Way::Waits) => {}
                Ok(Way::More) => self.inner.relist(from),
                Ok(Way::Done) => done += 1,
                Err((broken, error)) => {
                    if broken == to {
                        // What it had sent before is still to be had.
                        let _ = self.relay_way(to, from);
                    }
                    return self.inner.finish(broken, CloseReason::Error(error));
                }
            }
        }
        if done == 2 {
            for token in [token, partner] {
                self.inner.finish(token, CloseReason::Closed);
            }
        }
    }

    /// One direction, within the budget of a turn.
    fn relay_way(&mut self, from: Token, to: Token) -> Result<Way, Broken> {
        let mut budget = self.inner.options.stream_budget;
        loop {
            let Some((link, _)) = self.inner.table.stream(to) else {
                return Ok(Way::Waits);
            };
            if link.is(state::QUEUED) {
                self.inner.flush(to);
            }
            let Some((link, _)) = self.inner.table.stream(to) else {
                return Ok(Way::Waits);
            };
            if link.is(state::QUEUED | state::WRITE_WAIT) {
                return Ok(Way::Waits);
            }
            let Some(relay) = self.inner.relay(from) else {
                return Ok(Way::Waits);
            };
            if relay.done {
                return Ok(Way::Done);
            }
            if let Some(pipe) = relay.pipe.take() {
                self.inner.empty_pipe(from, to, pipe)?;
                continue;
            }
            let spliced = relay.weight >= SPLICED;
            let Some((link, _)) = self.inner.table.stream(from) else {
                return Ok(Way::Waits);
            };
            if link.is(state::EOF) {
                self.inner.end_way(from, to)?;
                return Ok(Way::Done);
            }
            if !link.is(state::READABLE) || link.is(state::HELD) {
                return Ok(Way::Waits);
            }
            if budget == 0 {
                return Ok(Way::More);
            }
            let moved = if spliced {
                self.splice_piece(from)?
            } else {
                self.copy_piece(from, to, budget)?
            };
            budget = budget.saturating_sub(moved);
            if let Some(way) = self.inner.quiet_way(from, to) {
                return Ok(way);
            }
        }
    }

    /// Fills a pipe. 0 if there is nothing now. A piece is not cut to the budget: what is left of that is often little,
    /// and a small piece costs as much as a full pipe.
    fn splice_piece(&mut self, from: Token) -> Result<usize, Broken> {
        let Some(mut pipe) = self.inner.pipes.take() else {
            if let Some(relay) = self.inner.relay(from) {
                relay.weight = 0;
            }
            return Ok(0);
        };
        let Some((link, source)) = self.inner.table.stream(from) else {
            return Ok(0);
        };
        let Some(descriptor) = source.descriptor() else {
            return Ok(0);
        };
        let outcome = repeated(|| pipe.fill_from(descriptor, usize::MAX));
        match outcome {
            Ok(0) => {
                // The end, or an urgent mark: a read tells, and goes on behind it.
                self.inner.pipes.give_back(pipe);
                if let Some(relay) = self.inner.relay(from) {
                    relay.weight = 0;
                }
                Ok(0)
            }
            Ok(moved) => {
                self.inner.count_in(from, moved);
                if let Some(relay) = self.inner.relay(from) {
                    relay.pipe = Some(pipe);
                    relay.weigh(moved);
                }
                Ok(moved)
            }
            Err(error) => {
                let fault = Fault::of(&error);
                if fault == Fault::Blocked {
                    link.clear(state::READABLE);
                }
                self.inner.pipes.give_back(pipe);
                self.inner.read_failed(from, error)
            }
        }
    }

    /// Reads a piece into the loop's buffer and writes it. 0 if there is nothing now, or that was the end.
    fn copy_piece(&mut self, from: Token, to: Token, budget: usize) -> Result<usize, Broken> {
        let size = self.read_size.min(budget);
        let Some((link, source)) = self.inner.table.stream(from) else {
            return Ok(0);
        };
        let chunk = &mut self.buffer[..size];
        let outcome = match source {
            Wire::World(stream) => repeated(|| stream.read(chunk)),
            Wire::Pair(end) => {
                let outcome = end.get(chunk);
                end.give_back(&mut self.inner.shared.spare_end);
                outcome
            }
        };
        let len = match outcome {
            Ok(0) => {
                link.set(state::EOF);
                return Ok(0);
            }
            Ok(len) => len,
            Err(error) => {
                if Fault::of(&error) == Fault::Blocked {
                    link.clear(state::READABLE | state::END_SEEN);
                }
                return self.inner.read_failed(from, error);
            }
        };
        link.has_read(len, size);
        self.inner.count_in(from, len);
        if self.inner.are_spliceable(from, to)
            && let Some(relay) = self.inner.relay(from)
        {
            relay.weigh(len);
        }
        let data = &self.buffer[..len];
        let Some((link, target)) = self.inner.table.stream(to) else {
            return Ok(len);
        };
        if let Wire::Pair(end) = target {
            end.lend(&mut self.inner.shared.spare_end);
        }
        let taken = match repeated(|| target.write(data)) {
            Ok(taken) => taken,
            Err(error) => match Fault::of(&error) {
                Fault::Blocked | Fault::Repeat => 0,
                Fault::Later => {
                    link.set(state::WRITE_WAIT);
                    self.inner.hold(to);
                    0
                }
                Fault::Over => return Err((to, error)),
            },
        };
        self.inner.count_out(to, taken);
        if taken < len {
            self.inner.relay_rest(to, &data[taken..]);
        }
        Ok(len)
    }
}

impl Relay {
    fn weigh(&mut self, piece: usize) {
        self.weight = if piece >= LARGE {
            (self.weight + 1).min(HEAVIEST)
        } else {
            self.weight.saturating_sub(1)
        };
    }
}

impl<B: Backend> Inner<B> {
    /// How a direction stands in which nothing can be done: for most events the other one is of this kind.
    #[inline]
    fn quiet_way(&self, from: Token, to: Token) -> Option<Way> {
        let link = self.table.link(from)?;
        let relay = link.extra.as_ref()?.relay.as_ref()?;
        if relay.done {
            return Some(Way::Done);
        }
        let quiet = relay.pipe.is_none()
            && !link.is(state::READABLE | state::EOF)
            && !self.table.link(to)?.is(state::QUEUED);
        quiet.then_some(Way::Waits)
    }

    pub(super) fn join_now(&mut self, a: Token, b: Token) -> bool {
        let joinable = |inner: &Self, token| {
            matches!(inner.table.get(token), Some(Entry { link, socket: Socket::Stream(_) })
                if !link.is(state::NO_WRITE | state::CONNECTING) && !link.is(state::EOF_TOLD))
        };
        if a == b || !joinable(self, a) || !joinable(self, b) {
            return false;
        }
        for (token, partner) in [(a, b), (b, a)] {
            let Some((link, _)) = self.table.stream(token) else {
                return false;
            };
            link.clear(state::PAUSED | state::CONGESTED | state::REDELIVER | state::NOTIFY | state::DRAINING);
            link.set(state::JOINED | state::READABLE);
            let extra = link.extra();
            extra.relay = Some(Relay {
                partner,
                pipe: None,
                done: false,
                weight: 0,
                moved: 0,
            });
            let mut tail = std::mem::take(&mut extra.tail);
            link.clear(state::TAIL);
            self.relay_bytes(token, tail.data());
            self.count_memory(token);
            self.relist(token);
        }
        true
    }

    fn relay(&mut self, token: Token) -> Option<&mut Relay> {
        self.table.link_mut(token)?.extra.as_mut()?.relay.as_mut()
    }

    fn are_spliceable(&self, a: Token, b: Token) -> bool {
        [a, b].iter().all(|&token| {
            matches!(self.table.get(token), Some(Entry { socket: Socket::Stream(s), .. }) if s.descriptor().is_some())
        })
    }

    /// Bytes of a joined connection that were read before it was joined.
    pub(super) fn relay_bytes(&mut self, from: Token, data: &[u8]) {
        let Some(relay) = self.relay(from) else { return };
        let partner = relay.partner;
        if data.is_empty() {
            return;
        }
        relay.moved += data.len() as u64;
        if let Some((link, _)) = self.table.stream(partner) {
            link.extra().queue.push(data);
            link.set(state::QUEUED);
            self.count_memory(partner);
            self.relist(partner);
        }
    }

    /// What the kernel did not take waits.
    fn relay_rest(&mut self, to: Token, rest: &[u8]) {
        let Some((link, _)) = self.table.stream(to) else {
            return;
        };
        link.set(state::QUEUED | state::WRITE_WAIT);
        link.extra().queue.push(rest);
        self.count_memory(to);
        self.arm_deadline(to);
    }

    /// Writes what is in the pipe, and gives the pipe back once nothing is.
    fn empty_pipe(&mut self, from: Token, to: Token, mut pipe: Pipe) -> Result<(), Broken> {
        let Some((link, target)) = self.table.stream(to) else {
            return Ok(());
        };
        let Some(descriptor) = target.descriptor() else {
            return Ok(());
        };
        let mut outcome = Ok(());
        match repeated(|| pipe.drain_into(descriptor, false)) {
            Ok(moved) => self.count_out(to, moved),
            Err(error) => match Fault::of(&error) {
                Fault::Blocked | Fault::Repeat => {
                    link.set(state::WRITE_WAIT);
                    self.arm_deadline(to);
                }
                Fault::Later => {
                    link.set(state::WRITE_WAIT);
                    self.hold(to);
                }
                Fault::Over => outcome = Err((to, error)),
            },
        }
        if pipe.is_empty() {
            self.pipes.give_back(pipe);
        } else if let Some(relay) = self.relay(from) {
            relay.pipe = Some(pipe);
        }
        outcome
    }

    fn read_failed(&mut self, from: Token, error: io::Error) -> Result<usize, Broken> {
        match Fault::of(&error) {
            Fault::Blocked | Fault::Repeat => Ok(0),
            Fault::Later => {
                self.hold(from);
                Ok(0)
            }
            Fault::Over => Err((from, error)),
        }
    }

    /// Passes the end of `from` on to `to`.
    fn end_way(&mut self, from: Token, to: Token) -> Result<(), Broken> {
        if let Some(relay) = self.relay(from) {
            relay.done = true;
        }
        let Some((link, stream)) = self.table.stream(to) else {
            return Ok(());
        };
        link.set(state::FIN_SENT);
        let outcome = stream.shutdown(Shutdown::Write);
        self.shared.pending.push_back(Pending::RelayEof(from));
        outcome.map_err(|error| (to, error))
    }

    fn count_in(&mut self, token: Token, len: usize) {
        let turn = self.shared.turn;
        self.shared.stats.reads += 1;
        self.shared.stats.bytes_in += len as u64;
        if let Some(link) = self.table.link_mut(token) {
            link.last_read = turn;
        }
        if let Some(relay) = self.relay(token) {
            relay.moved += len as u64;
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

    /// One of a joined pair is gone. After an end in order what it had sent still leaves, then the other is closed
    /// in order; after any other the other is reset.
    pub(super) fn partner_gone(&mut self, gone: Token, relay: Relay, in_order: bool) {
        let token = relay.partner;
        let from_gone = relay.moved;
        if in_order {
            self.part(relay);
        }
        let Some((link, stream)) = self.table.stream(token) else {
            return;
        };
        link.clear(state::JOINED);
        let back = link.extra().relay.take().map_or(0, |relay| relay.moved);
        link.extra().relayed = Some(Relayed {
            received: back,
            sent: from_gone,
        });
        if in_order {
            self.close_in_order(token);
        } else {
            stream.abort();
            self.finish(token, CloseReason::PartnerReset);
        }
        if let Some(link) = self.table.link_mut(gone) {
            link.extra().relayed = Some(Relayed {
                received: from_gone,
                sent: back,
            });
        }
    }

    /// Closes a joined pair in order, from one of its sides.
    pub(super) fn close_joined(&mut self, token: Token) {
        let partner = self.relay(token).map_or(token, |relay| relay.partner);
        let mut moved = [0; 2];
        for (token, moved) in [token, partner].into_iter().zip(&mut moved) {
            let relay = self
                .table
                .link_mut(token)
                .and_then(|link| link.extra.as_mut()?.relay.take());
            if let Some(relay) = relay {
                *moved = relay.moved;
                self.part(relay);
            }
        }
        for (token, [received, sent]) in [(token, moved), (partner, [moved[1], moved[0]])] {
            if let Some(link) = self.table.link_mut(token) {
                link.clear(state::JOINED);
                link.extra().relayed = Some(Relayed { received, sent });
            }
        }
        self.close_in_order(token);
        self.close_in_order(partner);
    }

    /// What is still in a relay's pipe goes into the queue of whom it was for.
    fn part(&mut self, relay: Relay) {
        let Some(pipe) = relay.pipe.filter(|pipe| !pipe.is_empty()) else {
            return;
        };
        // Nobody else reads from a pipe of the loop, so that what was counted is there.
        let left = pipe.into_bytes().unwrap_or_default();
        if let Some((link, _)) = self.table.stream(relay.partner)
            && !link.is(state::FIN_SENT | state::BROKEN)
            && !left.is_empty()
        {
            link.extra().queue.push(&left);
            link.set(state::QUEUED);
            self.count_memory(relay.partner);
        }
    }
}
