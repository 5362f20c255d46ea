//! What the loop knows of a socket, and the table of all of them.
//!
//! A link holds what every connection needs; what only some need (output that waits, a kept tail, deadlines
//! of its own) is in a box that most never get. That keeps an idle connection small.

use std::any::Any;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::connect::ConnectId;
use crate::driver::NO_CONN;
use crate::id::{TimerId, Token};
use crate::options::{Deadlines, Watermarks};
use crate::outcome::{CloseReason, Identity, Relayed};
use crate::queue::Queue;
use crate::tail::Tail;
use crate::time::Time;

/// Bits of a link's state.
pub(crate) mod state {
    /// There may be something to read: set by an event, cleared by `WouldBlock` or a short read.
    pub(crate) const READABLE: u32 = 1;
    /// The user paused reading.
    pub(crate) const PAUSED: u32 = 1 << 1;
    /// Data was left with the queue at the high watermark: reading stops until it has fallen to the low one.
    pub(crate) const CONGESTED: u32 = 1 << 2;
    /// The kernel took no more: wait for a writable event.
    pub(crate) const WRITE_WAIT: u32 = 1 << 3;
    /// The queue holds something.
    pub(crate) const QUEUED: u32 = 1 << 4;
    /// A tail is kept for the next `on_data`.
    pub(crate) const TAIL: u32 = 1 << 5;
    /// The tail is to be offered again before anything is read.
    pub(crate) const REDELIVER: u32 = 1 << 6;
    /// An event said that the peer ended, an error waits or urgent data came: a short read proves nothing any more.
    pub(crate) const END_SEEN: u32 = 1 << 7;
    /// A read returned 0.
    pub(crate) const EOF: u32 = 1 << 8;
    /// `on_eof` was called.
    pub(crate) const EOF_TOLD: u32 = 1 << 9;
    /// `close` was called: flush, FIN, read to the end without telling anybody.
    pub(crate) const CLOSING: u32 = 1 << 10;
    /// FIN is to be sent once the queue is empty.
    pub(crate) const FIN_WANTED: u32 = 1 << 11;
    /// FIN was sent.
    pub(crate) const FIN_SENT: u32 = 1 << 12;
    /// The connect is not decided.
    pub(crate) const CONNECTING: u32 = 1 << 13;
    /// Relayed to another connection.
    pub(crate) const JOINED: u32 = 1 << 14;
    /// In the list of those with work left from this turn.
    pub(crate) const LISTED: u32 = 1 << 15;
    /// Somebody waits for `on_writable`.
    pub(crate) const NOTIFY: u32 = 1 << 16;
    /// The socket is closed; `on_close` is still to come.
    pub(crate) const DEAD: u32 = 1 << 17;
    /// Writing failed; what had arrived before is still to be read.
    pub(crate) const BROKEN: u32 = 1 << 18;
    /// The loop drains: `on_drain` follows once everything that had arrived was offered.
    pub(crate) const DRAINING: u32 = 1 << 19;
    /// Data was offered of which `on_read_complete` has not been told yet.
    pub(crate) const INCOMPLETE: u32 = 1 << 20;
    /// The watermarks are below what is gathered without asking them: each write asks.
    pub(crate) const TIGHT: u32 = 1 << 21;
    /// A read or write failed for want of memory: tried again after a pause.
    pub(crate) const HELD: u32 = 1 << 22;

    /// It is on its way to a service that has not opened it: an end of a pair, given away by another service,
    /// adopted.
    pub(crate) const OPENING: u32 = 1 << 23;

    /// The user saw the descriptor and may have duplicated it: deregister before closing.
    pub(crate) const EXPOSED: u32 = 1 << 24;

    /// It does not count for the loop's limit.
    pub(crate) const APART: u32 = 1 << 25;

    /// Everything but that keeps a connection off the fast path.
    pub(crate) const SLOW: u32 = (1 << 24) - 1;
    /// Nothing more can be written.
    pub(crate) const NO_WRITE: u32 = CLOSING | FIN_WANTED | FIN_SENT | DEAD | BROKEN | JOINED;
    /// A write cannot go to the kernel at once.
    pub(crate) const NO_DIRECT_WRITE: u32 = NO_WRITE | CONNECTING | WRITE_WAIT | QUEUED;
    /// Nothing is offered to the service.
    pub(crate) const NO_READ: u32 = PAUSED | CONGESTED | OPENING;
}

pub(crate) const NO_LISTENER: u32 = u32::MAX;

/// What every socket has.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) generation: u32,
    pub(crate) state: u32,
    /// The key of the connection's state in its service's slab.
    pub(crate) conn: u32,
    /// The listener it came through, to give its place back.
    pub(crate) listener: u32,
    pub(crate) service: u16,
    pub(crate) timer: TimerId,
    /// The turns in which bytes last came and went: see `clock`.
    pub(crate) last_read: u64,
    pub(crate) last_write: u64,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What only some connections have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) queue: Queue,
    /// Bytes that `on_data` left.
    pub(crate) tail: Tail,
    pub(crate) deadlines: Option<Deadlines>,
    pub(crate) watermarks: Option<Watermarks>,
    pub(crate) tag: u64,
    /// What it answers of its two ends, if not what its socket knows.
    pub(crate) identity: Option<Box<Identity>>,
    /// The listener of the connection that it is like: it has no place there to give back, so it is not `Link::listener`.
    pub(crate) through: Token,
    /// What services have attached, one value of a type.
    pub(crate) attached: Vec<Rc<dyn Any>>,
    /// Counts the services it has had: what one of them had set is nothing to the next.
    pub(crate) owner: u32,
    pub(crate) connect: Option<ConnectId>,
    /// When the orderly close has to be over.
    pub(crate) close_by: Option<Time>,
    /// Why the connection ended, for `on_close`.
    pub(crate) reason: Option<CloseReason>,
    pub(crate) relay: Option<super::pipes::Relay>,
    /// What went through it while it was joined.
    pub(crate) relayed: Option<Relayed>,
    /// Memory that was counted for it.
    pub(crate) counted: usize,
}

impl Link {
    pub(crate) fn vacant() -> Self {
        Self {
            generation: 0,
            state: 0,
            conn: NO_CONN,
            listener: NO_LISTENER,
            service: u16::MAX,
            timer: TimerId::NONE,
            last_read: 0,
            last_write: 0,
            peer: None,
            extra: None,
        }
    }

    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// What it answers of its two ends, if not what its socket knows.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.extra.as_ref()?.identity.as_deref()
    }

    pub(crate) fn queued(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.queue.bytes())
    }

    /// A read that asked for `size` bytes gave `len`: fewer say that there is no more, unless an event said otherwise.
    /// (A read that the budget cut says nothing.)
    pub(crate) fn has_read(&mut self, len: usize, size: usize) {
        if len == size && len > 0 {
            self.set(state::READABLE);
        } else if !self.is(state::END_SEEN) {
            self.clear(state::READABLE);
        }
    }

    /// Whether what is offered now is all that had arrived; if not, `on_read_complete` is owed.
    pub(crate) fn completes(&mut self) -> bool {
        let complete = !self.is(state::READABLE);
        if complete {
            self.clear(state::INCOMPLETE);
        } else {
            self.set(state::INCOMPLETE);
        }
        complete
    }

    #[inline]
    pub(crate) fn is(&self, bits: u32) -> bool {
        self.state & bits != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, bits: u32) {
        self.state |= bits;
    }

    #[inline]
    pub(crate) fn clear(&mut self, bits: u32) {
        self.state &= !bits;
    }
}
