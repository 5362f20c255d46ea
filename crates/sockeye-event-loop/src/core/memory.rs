//! The budget for all that a loop queues and keeps: output that waits, and input that was not consumed.
//!
//! What each connection keeps is bounded by its watermarks; all of them together by the budget. As it fills:
//!
//! | used | what follows |
//! |---|---|
//! | a half | who has output waiting gets a mark that shrinks to nothing, and is not read from |
//! | three quarters | those that stood still for a second are reset, the longest first, until it is five eighths |
//! | seven eighths | accepting waits |
//! | all | those that stood still the longest are reset, however short that is |
//!
//! A connection stands still when it has output waiting of which the kernel takes nothing, or keeps input behind which
//! none follows. Those that read what they are sent have neither, and notice nothing.

use std::time::Duration;

use super::Inner;
use super::Pending;
use super::link::{Link, state};
use super::table::{Entry, Socket};
use crate::backend::{Backend, StreamIo};
use crate::host::Due;
use crate::id::Token;
use crate::options::Watermarks;
use crate::outcome::CloseReason;
use crate::time::Time;

/// Standing still for less is nobody's fault.
const PATIENCE: Duration = Duration::from_secs(1);
/// While the budget is nearly used up, it is looked again so often who stands still.
const AGAIN: Duration = Duration::from_millis(100);
/// Room that is left to everybody, however little there is.
const LEAST: usize = 4 * 1024;

/// What is used of the budget.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) used: usize,
    pub(crate) peak: usize,
    budget: usize,
    /// Memory of a long frame that has been consumed, for the next one: fresh pages would cost more than the bytes in them.
    spare: Vec<u8>,
    /// It is given back unless it was used within a while.
    spare_timer: bool,
    /// `relieve` is on its way: it waits until the present callback has returned.
    pending: bool,
    /// It follows by a timer too.
    timer: bool,
}

impl Memory {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            used: 0,
            peak: 0,
            budget: budget.max(8),
            spare: Vec::new(),
            spare_timer: false,
            pending: false,
            timer: false,
        }
    }

    fn is_above(&self, eighths: usize) -> bool {
        self.used > self.budget / 8 * eighths
    }

    /// Whether those that have output waiting are not read from.
    pub(super) fn is_short(&self) -> bool {
        self.is_above(4)
    }

    /// Whether accepting waits.
    pub(super) fn is_full(&self) -> bool {
        self.is_above(7)
    }

    /// The high mark of a connection that has output waiting: all of it up to half of the budget, then less and less.
    pub(super) fn high_mark(&self, marks: &Watermarks) -> usize {
        if !self.is_short() {
            return marks.high;
        }
        let half = self.budget / 2;
        let left = self.budget.saturating_sub(self.used).min(half);
        let share = u128::try_from(marks.high).unwrap_or(0) * left as u128 / half as u128;
        usize::try_from(share)
            .unwrap_or(marks.high)
            .max(LEAST)
            .min(marks.high)
    }
}

impl<B: Backend> Inner<B> {
    /// Counts what the connection keeps now.
    pub(super) fn count_memory(&mut self, token: Token) {
        let Some(extra) = self.table.link_mut(token).and_then(|link| link.extra.as_mut()) else {
            return;
        };
        let keeps = extra.queue.held() + extra.tail.held();
        let counted = std::mem::replace(&mut extra.counted, keeps);
        let memory = &mut self.shared.memory;
        memory.used = memory.used - counted + keeps;
        if keeps > counted {
            memory.peak = memory.peak.max(memory.used);
            // While the timer runs, nobody has stood still for long enough: only the last resort is left.
            let needed = if memory.timer {
                memory.is_above(8)
            } else {
                memory.is_above(6)
            };
            if needed && !memory.pending {
                memory.pending = true;
                self.shared.pending.push_back(Pending::Relieve);
            }
        }
    }

    /// Memory that nobody uses at the moment, if there is some.
    pub(super) fn take_spare(&mut self) -> Option<Vec<u8>> {
        let memory = &mut self.shared.memory;
        memory.used -= memory.spare.len();
        let spare = std::mem::take(&mut memory.spare);
        (!spare.is_empty()).then_some(spare)
    }

    /// Keeps memory for whoever needs some next, for a while.
    pub(super) fn keep_spare(&mut self, room: Vec<u8>) {
        let memory = &mut self.shared.memory;
        if room.len() <= memory.spare.len() || room.len() > memory.budget / 2 || memory.is_short() {
            return;
        }
        memory.used = memory.used - memory.spare.len() + room.len();
        memory.spare = room;
        if !memory.spare_timer {
            memory.spare_timer = true;
            let at = self.now() + PATIENCE;
            self.shared.timers.set(at, Due::Spare);
        }
    }

    /// The while is over.
    pub(super) fn drop_spare(&mut self) {
        self.shared.memory.spare_timer = false;
        drop(self.take_spare());
    }

    /// It is time to look again who stands still.
    pub(super) fn relieve_again(&mut self) {
        self.shared.memory.timer = false;
        self.relieve();
    }

    /// The place is given back, with whatever was still counted for it.
    pub(super) fn uncount_memory(&mut self, token: Token) {
        if let Some(extra) = self.table.link_mut(token).and_then(|link| link.extra.as_mut()) {
            self.shared.memory.used -= std::mem::take(&mut extra.counted);
        }
    }

    /// The same for what waits on a datagram or packet socket, which its own bound keeps small.
    pub(super) fn count_messages(&mut self, token: Token) {
        let keeps = self.message_socket(token).map_or(0, |socket| socket.held());
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        if keeps == 0 && link.extra.is_none() {
            return;
        }
        let counted = std::mem::replace(&mut link.extra().counted, keeps);
        let memory = &mut self.shared.memory;
        memory.used = memory.used - counted + keeps;
        memory.peak = memory.peak.max(memory.used);
    }

    /// The budget is nearly used up: those that stand still give theirs back, the longest first.
    #[cold]
    pub(super) fn relieve(&mut self) {
        self.shared.memory.pending = false;
        drop(self.take_spare());
        if self.shared.memory.is_above(6) {
            self.reset_those_that_stand_still();
        }
        if self.shared.memory.is_above(6) && !self.shared.memory.timer {
            self.shared.memory.timer = true;
            let at = self.now() + AGAIN;
            self.shared.timers.set(at, Due::Relieve);
        }
        if !self.shared.memory.is_full() && !self.shared.waiting_listeners.is_empty() {
            self.wake_listeners();
        }
    }

    fn reset_those_that_stand_still(&mut self) {
        self.sample_for(PATIENCE);
        let now = self.now();
        let mut still: Vec<(Time, Token)> = Vec::new();
        for token in self.streams() {
            if let Some(link) = self.table.link(token)
                && let Some(turn) = stands_still_since(link)
            {
                still.push((self.time_of(turn), token));
            }
        }
        still.sort_unstable();
        for (since, token) in still {
            let patience = if self.shared.memory.is_above(8) {
                Duration::ZERO
            } else {
                PATIENCE
            };
            if !self.shared.memory.is_above(5) || now.since(since) < patience {
                break;
            }
            if let Some(Entry {
                socket: Socket::Stream(stream),
                ..
            }) = self.table.get_mut(token)
            {
                stream.abort();
                self.shared.stats.memory_resets += 1;
                self.finish(token, CloseReason::MemoryBudget);
            }
        }
    }
}

/// The turn in which something last went the way that the connection keeps memory for.
fn stands_still_since(link: &Link) -> Option<u64> {
    let extra = link.extra.as_ref()?;
    if extra.counted == 0 || link.is(state::DEAD) {
        None
    } else if link.is(state::QUEUED) {
        Some(link.last_write)
    } else {
        Some(link.last_read)
    }
}
