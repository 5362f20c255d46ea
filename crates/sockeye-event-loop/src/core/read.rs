//! From readiness to `on_data`. The fast path is one read, one callback, one write.

use std::io;

use super::link::{Link, state};
use super::table::Socket;
use super::{Core, NOBODY, Pending};
use crate::backend::{Backend, ConnectProgress, Readiness, Ready, StreamIo};
use crate::driver::StreamEvent;
use crate::fault::{Fault, repeated};
use crate::id::Token;
use crate::outcome::CloseReason;
use crate::pair::Wire;
use crate::tail::Tail;

/// Flags that leave the fast path.
const EXCEPTIONAL: Readiness = Readiness::READ_CLOSED
    .with(Readiness::WRITE_CLOSED)
    .with(Readiness::ERROR)
    .with(Readiness::URGENT);
/// From here on memory is not given back at once when what was kept is consumed.
const LONG_TAIL: usize = 1024 * 1024;
/// A kept tail up to this length is put in front of the next read; what comes behind a longer one is read into it.
pub(super) const SHORT_TAIL: usize = 4096;

/// What one step of reading led to.
enum Step {
    Again,
    Done,
}

impl<B: Backend> Core<B> {
    /// An event of any socket.
    #[inline(always)]
    pub(super) fn dispatch(&mut self, ready: Ready) {
        let Ready { token, flags } = ready;
        let Some(entry) = self.inner.table.get_mut(token) else {
            return self.special(token);
        };
        // An end of a pair gets here when it is not in its plain state: see `pair`.
        let Socket::Stream(Wire::World(stream)) = &mut entry.socket else {
            return self.other_event(token, flags);
        };
        if flags.any(EXCEPTIONAL) || entry.link.state & state::SLOW != 0 {
            return self.stream_event(token, flags);
        }
        if !flags.any(Readiness::READABLE) {
            return;
        }
        let size = self.read_size;
        let window = &mut self.buffer[..size];
        match stream.read(window) {
            Ok(len) if len > 0 && len < size => {
                let link = &mut entry.link;
                link.last_read = self.inner.shared.turn;
                self.inner.shared.stats.reads += 1;
                self.inner.shared.stats.bytes_in += len as u64;
                let conn = link.conn;
                let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
                    return;
                };
                self.inner.shared.current = token;
                self.out.begin(true);
                let data = &mut window[..len];
                let consumed = driver.data_complete(&mut self.inner, &mut self.out, token, conn, data);
                self.leave(token);
                if consumed < len {
                    self.keep_tail(token, consumed, len);
                }
                self.run_pending();
            }
            outcome => self.slow_read(token, outcome),
        }
    }

    /// The first read of an event was not the plain case: full buffer, end, error, nothing.
    #[cold]
    fn slow_read(&mut self, token: Token, outcome: io::Result<usize>) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        link.set(state::READABLE);
        if let Step::Again = self.take_read(token, outcome, 0) {
            self.pump(token);
        }
        self.run_pending();
    }

    /// An event of a connection that is not in its plain state, or that is no plain event.
    #[cold]
    pub(super) fn stream_event(&mut self, token: Token, flags: Readiness) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        if link.is(state::CONNECTING) {
            self.connect_event(token, flags);
            return self.run_pending();
        }
        if flags.any(Readiness::READABLE.with(EXCEPTIONAL)) {
            link.set(state::READABLE);
        }
        if flags.any(EXCEPTIONAL) {
            link.set(state::END_SEEN);
        }
        let unread = link.is(state::EOF | state::NO_READ | state::JOINED);
        if flags.any(Readiness::ERROR) && unread && self.error_unread(token) {
            return self.run_pending();
        }
        if flags.any(
            Readiness::WRITABLE
                .with(Readiness::WRITE_CLOSED)
                .with(Readiness::ERROR),
        ) {
            if let Some(link) = self.inner.table.link_mut(token) {
                link.clear(state::WRITE_WAIT);
            }
            self.inner.flush(token);
        }
        if self
            .inner
            .table
            .link(token)
            .is_some_and(|link| link.is(state::JOINED))
        {
            self.relay_event(token);
        } else {
            self.pump(token);
        }
        self.run_pending();
    }

    /// An error of a connection that no read would find: after the peer's end, reads give the end for ever; paused,
    /// congested or joined, there may be none for long. The socket is asked for it. `true` if that was the end.
    #[cold]
    fn error_unread(&mut self, token: Token) -> bool {
        let Some((link, stream)) = self.inner.table.stream(token) else {
            return true;
        };
        let ConnectProgress::Failed(error) = stream.connect_progress() else {
            return false;
        };
        if link.is(state::PAUSED | state::JOINED) {
            // What had arrived and was not read goes with it: nobody is there whom an answer would reach.
            self.inner.finish(token, CloseReason::Error(error));
            return true;
        }
        self.inner.broken(token, error);
        false
    }

    /// Goes on with a connection that has something to offer or to read, within its budget.
    pub(super) fn pump(&mut self, token: Token) {
        let mut budget = self.inner.options.stream_budget;
        loop {
            let Some((link, stream)) = self.inner.table.stream(token) else {
                return;
            };
            if link.is(state::JOINED | state::CONNECTING) {
                return;
            }
            if link.is(state::CLOSING) {
                return self.inner.drain_closing(token);
            }
            if link.is(state::NO_READ) {
                return;
            }
            if link.is(state::REDELIVER) {
                self.redeliver(token);
                continue;
            }
            if link.is(state::INCOMPLETE) && (link.is(state::EOF) || !link.is(state::READABLE)) {
                link.clear(state::INCOMPLETE);
                self.call(token, StreamEvent::ReadComplete);
                continue;
            }
            if link.is(state::EOF) {
                self.tell_eof(token);
                return self.tell_drain(token);
            }
            if !link.is(state::READABLE) {
                self.inner.free_empty_tail(token);
                self.inner.finish_if_broken(token);
                return self.tell_drain(token);
            }
            if budget == 0 {
                return self.inner.relist(token);
            }
            if link.is(state::QUEUED) && self.inner.shared.memory.is_short() {
                // It does not read what it is sent.
                return link.set(state::CONGESTED);
            }
            let tail = link.extra.as_ref().map_or(0, |extra| extra.tail.len());
            let read_buffer = self.read_size;
            if tail > SHORT_TAIL {
                match self.read_behind(token, read_buffer, &mut budget) {
                    Step::Again => continue,
                    Step::Done => return,
                }
            }
            let size = read_buffer.min(budget);
            let outcome = repeated(|| stream.read(&mut self.buffer[tail..tail + size]));
            if let Ok(len) = outcome {
                budget -= len;
                link.has_read(len, size);
            }
            if let Step::Done = self.take_read(token, outcome, tail) {
                return;
            }
        }
    }

    /// Reads behind a long tail, right where it is kept, and offers it once it is as long as the service waits for.
    fn read_behind(&mut self, token: Token, read_buffer: usize, budget: &mut usize) -> Step {
        let turn = self.inner.shared.turn;
        let Some((link, stream)) = self.inner.table.stream(token) else {
            return Step::Done;
        };
        let Some(extra) = &mut link.extra else {
            return Step::Done;
        };
        let tail = &mut extra.tail;
        // No more ahead than there is already: who promises much has to send it.
        let most = tail.wanted.saturating_sub(tail.len()).max(read_buffer);
        let size = tail.len().max(SHORT_TAIL).min(most).min(*budget);
        let outcome = repeated(|| stream.read(tail.room(size)));
        let len = match outcome {
            Ok(len) if len > 0 => len,
            outcome => return self.take_read(token, outcome, 0),
        };
        tail.filled(len);
        let enough = tail.len() >= tail.wanted;
        *budget -= len;
        link.last_read = turn;
        link.has_read(len, size);
        self.inner.shared.stats.reads += 1;
        self.inner.shared.stats.bytes_in += len as u64;
        self.inner.count_memory(token);
        if enough {
            self.offer_tail(token);
        }
        Step::Again
    }

    /// What a read gave: behind `tail` bytes that were kept.
    fn take_read(&mut self, token: Token, outcome: io::Result<usize>, tail: usize) -> Step {
        let turn = self.inner.shared.turn;
        let Some(link) = self.inner.table.link_mut(token) else {
            return Step::Done;
        };
        match outcome {
            Ok(0) => {
                link.set(state::EOF);
                link.clear(state::READABLE);
                if link.is(state::TAIL) {
                    link.set(state::REDELIVER);
                }
                Step::Again
            }
            Ok(len) => {
                link.last_read = turn;
                self.inner.shared.stats.reads += 1;
                self.inner.shared.stats.bytes_in += len as u64;
                if tail > 0
                    && let Some(extra) = &mut link.extra
                {
                    if tail + len < extra.tail.wanted {
                        extra.tail.keep(&self.buffer[tail..tail + len]);
                        self.inner.count_memory(token);
                        return Step::Again;
                    }
                    self.buffer[..tail].copy_from_slice(extra.tail.data());
                    extra.tail.consume(tail);
                    link.clear(state::TAIL | state::REDELIVER);
                }
                let complete = link.completes();
                self.deliver(token, tail + len, complete);
                Step::Again
            }
            Err(error) => match Fault::of(&error) {
                Fault::Blocked => {
                    link.clear(state::READABLE | state::END_SEEN);
                    Step::Again
                }
                Fault::Repeat => Step::Again,
                Fault::Later => {
                    self.inner.hold(token);
                    Step::Done
                }
                Fault::Over => {
                    self.inner.finish(token, CloseReason::Error(error));
                    Step::Done
                }
            },
        }
    }

    /// Offers `buffer[..len]`, writes what that gathered, and keeps what is left.
    fn deliver(&mut self, token: Token, len: usize, complete: bool) {
        let Some(link) = self.inner.table.link(token) else {
            return;
        };
        let conn = link.conn;
        let plain = !link.is(state::NO_DIRECT_WRITE | state::TIGHT);
        let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
            return;
        };
        self.inner.shared.current = token;
        self.out.begin(plain);
        let data = &mut self.buffer[..len];
        let consumed = if complete {
            driver.data_complete(&mut self.inner, &mut self.out, token, conn, data)
        } else {
            driver.data(&mut self.inner, &mut self.out, token, conn, data)
        };
        self.leave(token);
        if consumed < len {
            self.keep_tail(token, consumed, len);
        }
    }

    /// Offers the kept tail again: after a resume, when there is room to write, at the end of the stream.
    fn redeliver(&mut self, token: Token) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        link.clear(state::REDELIVER);
        let ended = link.is(state::EOF);
        let Some(extra) = &link.extra else { return };
        let len = extra.tail.len();
        if len > 0 && (ended || len >= extra.tail.wanted) {
            link.set(state::INCOMPLETE);
            self.offer_tail(token);
        }
    }

    /// Offers the kept tail where it lies.
    fn offer_tail(&mut self, token: Token) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        link.clear(state::TAIL | state::REDELIVER);
        let complete = link.completes();
        let conn = link.conn;
        let plain = !link.is(state::NO_DIRECT_WRITE | state::TIGHT);
        let Some(extra) = &mut link.extra else { return };
        let mut tail = std::mem::take(&mut extra.tail);
        let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
            return;
        };
        self.inner.shared.current = token;
        self.out.begin(plain);
        let data = tail.data();
        let consumed = if complete {
            driver.data_complete(&mut self.inner, &mut self.out, token, conn, data)
        } else {
            driver.data(&mut self.inner, &mut self.out, token, conn, data)
        };
        self.leave(token);
        tail.consume(consumed);
        self.keep(token, tail);
    }

    /// Keeps `buffer[from..to]` for the next `on_data`.
    #[cold]
    pub(super) fn keep_tail(&mut self, token: Token, from: usize, to: usize) {
        let Some((link, _)) = self.inner.table.stream(token) else {
            return;
        };
        if link.is(state::JOINED) {
            // Joined by this very callback: what it left goes to the other side.
            return self.inner.relay_bytes(token, &self.buffer[from..to]);
        }
        let mut tail = std::mem::take(&mut link.extra().tail);
        if self.out.wanted() > LONG_TAIL && tail.held() < LONG_TAIL {
            // The beginning of a long frame: the memory of the last one will do.
            if let Some(room) = self.inner.take_spare() {
                tail.move_into(room);
            }
        }
        tail.keep(&self.buffer[from..to]);
        self.keep(token, tail);
    }

    /// Keeps what a callback has left.
    fn keep(&mut self, token: Token, mut tail: Tail) {
        let marks = self.inner.watermarks_of(token);
        let wanted = self.out.wanted().min(marks.max_tail);
        let Some((link, _)) = self.inner.table.stream(token) else {
            return;
        };
        if link.is(state::CLOSING | state::DEAD) {
            return self.inner.count_memory(token);
        }
        if link.is(state::JOINED) {
            self.inner.relay_bytes(token, tail.data());
            return self.inner.count_memory(token);
        }
        if tail.len() > 0 {
            // What could not be answered for want of room stops reading until there is some. Output alone does not:
            // two sides that both wait for the other one to read would wait for ever. Nor does a part of a frame, or
            // what a service leaves that has paused: it says itself when it goes on.
            let for_room = tail.len() >= wanted && !link.is(state::PAUSED);
            if for_room && link.queued() >= self.inner.shared.memory.high_mark(&marks) {
                link.set(state::CONGESTED);
            }
            // While nothing is read the tail cannot grow: it may be all that there was.
            let read = if link.is(state::NO_READ) {
                self.read_size
            } else {
                0
            };
            if tail.len() > marks.max_tail.saturating_add(read) {
                return self.inner.finish(token, CloseReason::TailTooLong);
            }
            link.set(state::TAIL);
        }
        tail.wanted = wanted;
        link.extra().tail = tail;
        self.inner.count_memory(token);
    }

    /// Tells the end of the stream, once everything before it was offered and the queue can take an answer.
    fn tell_eof(&mut self, token: Token) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        // After a reset there is no orderly end to tell.
        if link.is(state::EOF_TOLD | state::BROKEN) {
            return self.inner.finish_if_over(token);
        }
        link.set(state::EOF_TOLD);
        link.clear(state::TAIL);
        let tail = link.extra.as_mut().map(|extra| std::mem::take(&mut extra.tail));
        self.inner.count_memory(token);
        self.call(token, StreamEvent::Eof);
        if let Some(tail) = tail
            && tail.len() > 0
            && let Some(link) = self.inner.table.link_mut(token)
            && link.is(state::OPENING)
        {
            // Given away just now: what this service did not want, the next one may.
            link.set(state::TAIL);
            link.extra().tail = tail;
            self.inner.count_memory(token);
        }
        self.inner.finish_if_over(token);
    }

    /// Tells a draining loop's connection, once everything that had arrived was offered.
    fn tell_drain(&mut self, token: Token) {
        let Some(link) = self.inner.table.link_mut(token) else {
            return;
        };
        if link.is(state::DRAINING) {
            link.clear(state::DRAINING);
            self.call(token, StreamEvent::Drain);
        }
    }

    /// Calls a connection's service, if the connection is open to it.
    pub(super) fn call(&mut self, token: Token, event: StreamEvent) {
        let Some(link) = self.inner.table.link(token) else {
            return;
        };
        let (service, conn) = (link.service, link.conn);
        if link.is(state::DEAD | state::CLOSING | state::CONNECTING | state::JOINED) {
            return;
        }
        self.call_anyway(token, service, conn, event);
    }

    /// Calls a joined connection's service, which hears little.
    pub(super) fn call_joined(&mut self, token: Token, event: StreamEvent) {
        if let Some(link) = self.inner.table.link(token)
            && link.is(state::JOINED)
            && !link.is(state::DEAD | state::CLOSING | state::OPENING)
        {
            self.call_anyway(token, link.service, link.conn, event);
        }
    }

    fn call_anyway(&mut self, token: Token, service: u16, conn: u32, event: StreamEvent) {
        let Some(link) = self.inner.table.link(token) else {
            return;
        };
        let Some(driver) = self.drivers.get_mut(usize::from(service)) else {
            return;
        };
        let plain = !link.is(state::NO_DIRECT_WRITE | state::TIGHT);
        self.inner.shared.current = token;
        self.out.begin(plain);
        driver.event(&mut self.inner, &mut self.out, token, conn, event);
        self.leave(token);
    }

    /// A callback has returned: what it gathered is written.
    #[inline(always)]
    pub(super) fn leave(&mut self, token: Token) {
        self.inner.shared.current = NOBODY;
        if !self.out.bytes().is_empty() {
            self.inner.write_gathered(token, self.out.bytes());
            self.out.clear();
        }
    }
}

impl<B: Backend> super::Inner<B> {
    /// Comes back to this socket later in the turn's list, after the others.
    pub(super) fn relist(&mut self, token: Token) {
        if let Some(link) = self.table.link_mut(token) {
            self.shared.list(link, token);
        }
    }

    /// A connection that is being closed: what still arrives is read and dropped, up to the peer's end.
    pub(super) fn drain_closing(&mut self, token: Token) {
        let mut scratch = [0; 4096];
        for _ in 0..256 {
            let Some((link, stream)) = self.table.stream(token) else {
                return;
            };
            if link.is(state::EOF) {
                return self.finish_if_over(token);
            }
            match repeated(|| stream.read(&mut scratch)) {
                Ok(0) => link.set(state::EOF),
                Ok(_) => {}
                Err(error) if Fault::of(&error) == Fault::Blocked => {
                    return link.clear(state::READABLE);
                }
                Err(error) if Fault::of(&error) == Fault::Later => return self.hold(token),
                Err(error) => {
                    // With everything sent and taken, a reset instead of the peer's FIN ends it just as well.
                    let over = link.is(state::FIN_SENT) && error.kind() != io::ErrorKind::TimedOut;
                    let reason = if over {
                        CloseReason::Closed
                    } else {
                        CloseReason::Error(error)
                    };
                    return self.finish(token, reason);
                }
            }
        }
        self.relist(token);
    }

    /// Marks that the tail is offered again and reading goes on, from the list of left-over work.
    pub(super) fn read_on(&mut self, token: Token) {
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        if link.is(state::TAIL) {
            link.set(state::REDELIVER);
        }
        if Self::has_reading(link) {
            self.shared.list(link, token);
        }
    }

    /// Everything that had arrived was read, and nothing of it is left: memory that a long frame needed is given back.
    fn free_empty_tail(&mut self, token: Token) {
        let Some(extra) = self.table.link_mut(token).and_then(|link| link.extra.as_mut()) else {
            return;
        };
        if extra.tail.len() == 0 && extra.tail.held() > SHORT_TAIL {
            let room = extra.tail.take_room();
            self.count_memory(token);
            self.keep_spare(room);
        }
    }

    /// Writing failed, and everything that had arrived was read.
    fn finish_if_broken(&mut self, token: Token) {
        if self.table.link(token).is_some_and(|link| link.is(state::BROKEN)) {
            self.finish(token, CloseReason::Closed);
        }
    }

    /// The socket at that place, whatever its generation, comes back to the list.
    pub(super) fn relist_index(&mut self, index: u32) {
        if let Some(entry) = self.table.entries.get_mut(index as usize) {
            let token = Token::new(index, entry.link.generation);
            self.shared.list(&mut entry.link, token);
        }
    }

    fn has_reading(link: &Link) -> bool {
        !link.is(state::NO_READ) && link.is(state::READABLE | state::REDELIVER | state::EOF | state::CLOSING)
    }

    /// `on_writable` follows.
    pub(super) fn owe_writable(&mut self, token: Token) {
        self.shared.pending.push_back(Pending::Writable(token));
    }
}
