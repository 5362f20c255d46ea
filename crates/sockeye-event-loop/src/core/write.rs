//! Writes: gathered, direct or queued, under watermarks. All answers are true when they are given.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Inner;
use super::link::state;
use super::table::Socket;
use crate::backend::{Backend, StreamIo};
use crate::fault::Fault;
use crate::gather::ROOM;
use crate::id::Token;
use crate::options::Watermarks;
use crate::outcome::{CloseReason, Sent};
use crate::pair::Wire;
use crate::queue::Flush;

/// What is to be sent, for what has to be queued.
enum Payload<'a> {
    Copied(&'a [u8]),
    Shared(&'a Arc<[u8]>),
}

impl Payload<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl<B: Backend> Inner<B> {
    pub(super) fn write(&mut self, token: Token, data: &[u8]) -> Sent {
        // The plain case: nothing waits, and the watermarks allow for what is gathered without asking them.
        if data.len() <= ROOM
            && let Some((link, stream)) = self.table.stream(token)
            && link.state & state::SLOW == 0
        {
            if let Wire::Pair(end) = stream {
                end.lend(&mut self.shared.spare_end);
            }
            let outcome = stream.write(data);
            if !matches!(outcome, Ok(taken) if taken == data.len()) {
                return self.after_write(token, outcome, &Payload::Copied(data));
            }
            link.last_write = self.shared.turn;
            self.shared.stats.writes += 1;
            self.shared.stats.bytes_out += data.len() as u64;
            return Sent::Sent;
        }
        self.write_now(token, &Payload::Copied(data))
    }

    pub(super) fn write_shared(&mut self, token: Token, data: &Arc<[u8]>) -> Sent {
        self.write_now(token, &Payload::Shared(data))
    }

    /// Writes what a callback of `token` gathered.
    #[inline]
    pub(super) fn write_gathered(&mut self, token: Token, data: &[u8]) {
        // A place is given away only after `on_close`: while a callback runs its place is its own.
        let Some(entry) = self.table.entries.get_mut(token.index() as usize) else {
            return;
        };
        let Socket::Stream(Wire::World(stream)) = &mut entry.socket else {
            return self.write_to_end(token, data);
        };
        match stream.write(data) {
            Ok(taken) if taken == data.len() => {
                entry.link.last_write = self.shared.turn;
                self.shared.stats.writes += 1;
                self.shared.stats.bytes_out += taken as u64;
            }
            outcome => self.queue_gathered(token, outcome, data),
        }
    }

    /// The same, of an end of a pair.
    #[cold]
    fn write_to_end(&mut self, token: Token, data: &[u8]) {
        if let Some((_, stream)) = self.table.stream(token) {
            if let Wire::Pair(end) = stream {
                end.lend(&mut self.shared.spare_end);
            }
            let outcome = stream.write(data);
            self.queue_gathered(token, outcome, data);
        }
    }

    #[cold]
    fn queue_gathered(&mut self, token: Token, outcome: io::Result<usize>, data: &[u8]) {
        // Each of these writes was answered `Sent` when it was gathered; what is queued now follows in order.
        let _ = self.after_write(token, outcome, &Payload::Copied(data));
    }

    fn write_now(&mut self, token: Token, data: &Payload<'_>) -> Sent {
        let marks = self.watermarks_of(token);
        let high = self.shared.memory.high_mark(&marks);
        let Some((link, stream)) = self.table.stream(token) else {
            return Sent::Gone;
        };
        if link.is(state::NO_WRITE) {
            return Sent::Gone;
        }
        if data.bytes().len() > marks.max_write {
            return Sent::TooLarge;
        }
        if link.queued() >= high {
            link.set(state::NOTIFY);
            self.shared.stats.full += 1;
            return Sent::Full;
        }
        if link.is(state::NO_DIRECT_WRITE) {
            self.enqueue(token, data, 0);
            return Sent::Queued;
        }
        if let Wire::Pair(end) = stream {
            end.lend(&mut self.shared.spare_end);
        }
        let outcome = stream.write(data.bytes());
        self.after_write(token, outcome, data)
    }

    /// A write went to the kernel: counts it, queues what was not taken.
    fn after_write(&mut self, token: Token, outcome: io::Result<usize>, data: &Payload<'_>) -> Sent {
        let turn = self.shared.turn;
        let Some(link) = self.table.link_mut(token) else {
            return Sent::Gone;
        };
        let taken = match outcome {
            Ok(taken) => {
                link.last_write = turn;
                self.shared.stats.writes += 1;
                self.shared.stats.bytes_out += taken as u64;
                taken
            }
            Err(error) => match Fault::of(&error) {
                Fault::Blocked => 0,
                Fault::Repeat => return self.write_again(token, data),
                Fault::Later => {
                    self.hold(token);
                    0
                }
                Fault::Over => {
                    self.broken(token, error);
                    return Sent::Gone;
                }
            },
        };
        if taken == data.bytes().len() {
            return Sent::Sent;
        }
        if let Some(link) = self.table.link_mut(token) {
            link.set(state::WRITE_WAIT);
        }
        self.enqueue(token, data, taken);
        Sent::Queued
    }

    /// A signal came in between: the write is made again from the queue, which knows how often.
    #[cold]
    fn write_again(&mut self, token: Token, data: &Payload<'_>) -> Sent {
        self.enqueue(token, data, 0);
        self.flush(token);
        match self.table.link(token) {
            Some(link) if link.is(state::QUEUED) => Sent::Queued,
            Some(link) if !link.is(state::BROKEN | state::DEAD) => Sent::Sent,
            _ => Sent::Gone,
        }
    }

    /// Queues `data[from..]`.
    fn enqueue(&mut self, token: Token, data: &Payload<'_>, from: usize) {
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        let began = !link.is(state::QUEUED);
        let queue = &mut link.extra().queue;
        match data {
            Payload::Copied(bytes) => queue.push(&bytes[from..]),
            Payload::Shared(bytes) => queue.push_shared(Arc::clone(bytes), from),
        }
        if queue.is_empty() {
            return;
        }
        self.queued(token, began);
    }

    /// A part of a file, behind everything that waits.
    pub(super) fn write_file(&mut self, token: Token, file: &Arc<File>, offset: u64, len: u64) -> Sent {
        let marks = self.watermarks_of(token);
        let high = self.shared.memory.high_mark(&marks);
        let Some((link, _)) = self.table.stream(token) else {
            return Sent::Gone;
        };
        if link.is(state::NO_WRITE) {
            return Sent::Gone;
        }
        if link.queued() >= high {
            link.set(state::NOTIFY);
            self.shared.stats.full += 1;
            return Sent::Full;
        }
        let began = !link.is(state::QUEUED);
        link.extra().queue.push_file(Arc::clone(file), offset, len);
        if len > 0 {
            self.queued(token, began);
            self.flush(token);
        }
        match self.table.link(token) {
            Some(link) if link.is(state::QUEUED) => Sent::Queued,
            Some(link) if !link.is(state::BROKEN | state::DEAD) => Sent::Sent,
            _ => Sent::Gone,
        }
    }

    /// The queue holds something; if it did not before, a stall counts from now.
    fn queued(&mut self, token: Token, began: bool) {
        let turn = self.shared.turn;
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        link.set(state::QUEUED);
        if began {
            link.last_write = turn;
            self.arm_deadline(token);
        }
        self.count_memory(token);
    }

    /// Writes what waits, and says what follows from it: room, FIN, the end.
    pub(super) fn flush(&mut self, token: Token) {
        let marks = self.watermarks_of(token);
        let turn = self.shared.turn;
        let Some((link, stream)) = self.table.stream(token) else {
            return;
        };
        if link.is(state::QUEUED)
            && !link.is(state::WRITE_WAIT | state::CONNECTING)
            && let Some(extra) = &mut link.extra
        {
            let (sent, outcome) = extra.queue.flush(stream);
            if sent > 0 {
                link.last_write = turn;
                self.shared.stats.writes += 1;
                self.shared.stats.bytes_out += sent;
            }
            match outcome {
                Flush::Empty => link.clear(state::QUEUED),
                Flush::Blocked => link.set(state::WRITE_WAIT),
                Flush::Later => {
                    link.set(state::WRITE_WAIT);
                    self.hold(token);
                }
                Flush::Failed(error) => return self.broken(token, error),
                Flush::Cut(error) => return self.cut(token, error),
            }
            self.count_memory(token);
        }
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        if link.queued() <= marks.low {
            if link.is(state::CONGESTED) {
                link.clear(state::CONGESTED);
                // The peer was not asked for anything while we did not listen.
                link.last_read = turn;
                self.read_on(token);
                self.rearm_deadline(token);
            }
            let Some(link) = self.table.link(token) else {
                return;
            };
            if link.is(state::NOTIFY) {
                self.owe_writable(token);
            }
        }
        let Some(link) = self.table.link(token) else {
            return;
        };
        if link.is(state::FIN_WANTED) && !link.is(state::QUEUED | state::CONNECTING) {
            self.send_fin(token);
        }
    }

    /// What was promised cannot be sent: a reset, so that the peer does not take what it has for the whole.
    #[cold]
    fn cut(&mut self, token: Token, error: io::Error) {
        if let Some((_, stream)) = self.table.stream(token) {
            stream.abort();
        }
        self.finish(token, CloseReason::Error(error));
    }

    /// Writing failed. What had arrived before is read to its end; then the connection is finished.
    pub(super) fn broken(&mut self, token: Token, error: io::Error) {
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        let extra = link.extra();
        extra.queue = crate::queue::Queue::default();
        if extra.reason.is_none() {
            extra.reason = Some(CloseReason::Error(error));
        }
        link.set(state::BROKEN | state::READABLE | state::END_SEEN);
        link.clear(state::CONGESTED | state::QUEUED | state::WRITE_WAIT | state::NOTIFY);
        self.shared.list(link, token);
        self.count_memory(token);
    }

    pub(super) fn watermarks_of(&self, token: Token) -> Watermarks {
        let Some(link) = self.table.link(token) else {
            return Watermarks::default();
        };
        if let Some(extra) = &link.extra
            && let Some(marks) = extra.watermarks
        {
            return marks;
        }
        self.shared
            .services
            .get(usize::from(link.service))
            .map_or_else(Watermarks::default, |s| s.options.watermarks)
    }
}
