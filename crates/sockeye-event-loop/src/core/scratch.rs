//! The memory that a loop needs only while it takes a turn.

use crate::backend::Backend;
use crate::gather::{Gather, ROOM};

use super::Core;
use super::read::SHORT_TAIL;

/// The buffers of a loop's turn: what is read into, and what callbacks write into. A loop makes its own when it first needs
/// them; those that take turns in one thread can share one set, by
/// [`EventLoop::exchange_scratch`](crate::EventLoop::exchange_scratch) before and after each turn.
#[derive(Debug, Default)]
pub struct Scratch {
    buffer: Vec<u8>,
    inbound: Vec<u8>,
    out: Gather,
}

impl<B: Backend> Core<B> {
    /// Sees to it that there are buffers.
    #[inline]
    pub(crate) fn have_scratch(&mut self) {
        if self.buffer.len() < self.read_size + SHORT_TAIL {
            self.make_scratch();
        }
    }

    #[cold]
    fn make_scratch(&mut self) {
        self.buffer = vec![0; self.read_size + SHORT_TAIL];
        // An end of a pair takes buffers of exactly this size in exchange.
        self.inbound.reserve_exact(ROOM);
        self.out.have_room();
    }

    pub(crate) fn exchange_scratch(&mut self, scratch: &mut Scratch) {
        std::mem::swap(&mut self.buffer, &mut scratch.buffer);
        std::mem::swap(&mut self.inbound, &mut scratch.inbound);
        std::mem::swap(&mut self.out, &mut scratch.out);
    }
}
