//! Connections whose read or write failed for want of memory. The kernel gives no event when there is some again, so
//! they are tried again by a timer, later and later while the failures go on.

use std::time::Duration;

use super::Inner;
use super::link::state;
use crate::backend::Backend;
use crate::host::Due;
use crate::id::Token;
use crate::time::Time;

/// The pause doubles so many times.
const DOUBLINGS: u32 = 6;

/// Those that wait, and since when there are any.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: Vec<Token>,
    /// Pauses in a row.
    row: u32,
    released: Time,
}

impl Held {
    /// The next pause: twice the last one, if what was released then fails again.
    fn next_pause(&mut self, first: Duration, now: Time) -> Duration {
        let last = first * 2_u32.pow(self.row);
        self.row = if self.released != Time::default() && now.since(self.released) <= last {
            (self.row + 1).min(DOUBLINGS)
        } else {
            0
        };
        first * 2_u32.pow(self.row)
    }
}

impl<B: Backend> Inner<B> {
    /// Tries the connection's reads and writes again after a pause.
    #[cold]
    pub(super) fn hold(&mut self, token: Token) {
        self.shared.stats.put_off += 1;
        let Some(link) = self.table.link_mut(token) else {
            return;
        };
        if link.is(state::HELD) {
            return;
        }
        link.set(state::HELD);
        self.shared.held.waiting.push(token);
        if self.shared.held.waiting.len() == 1 {
            let now = self.now();
            let pause = self.shared.held.next_pause(self.options.retry_back_off, now);
            self.shared.timers.set(now + pause, Due::Held);
        }
    }

    /// The pause is over.
    pub(super) fn release_held(&mut self) {
        self.shared.held.released = self.now();
        for token in std::mem::take(&mut self.shared.held.waiting) {
            if let Some(link) = self.table.link_mut(token) {
                link.clear(state::HELD | state::WRITE_WAIT);
                self.shared.list(link, token);
            }
        }
    }
}
