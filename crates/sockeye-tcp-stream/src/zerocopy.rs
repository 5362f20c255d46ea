//! [`ZeroCopy`]: sending without a copy into the kernel, with buffers that are kept until it is done with them.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use sockeye_socket::{QueueEntry, options, recv_error};

use crate::TcpStream;

/// Sends of one stream whose bytes the kernel reads from where they are (`MSG_ZEROCOPY`).
///
/// Pinning pages costs more than copying them below some 10 KB. The kernel copies after all where it has to: on the
/// loopback always, and where the device cannot gather; [`Done::copied`] says so, and copying by `write` is then cheaper.
///
/// Buffers are shared, not lent: the kernel reads them after the call has returned, until a completion says that it is
/// done. Completions come on the stream's error queue: the poller reports an error where there is none. Call
/// [`reap`](Self::reap) then, before taking anything for a failure.
///
/// # References
///
/// [MSG_ZEROCOPY](https://docs.kernel.org/networking/msg_zerocopy.html)
#[derive(Debug)]
pub struct ZeroCopy {
    /// Number of the next send; the kernel counts them so, and wraps.
    next: u32,
    pending: VecDeque<Pending>,
    max_pending: usize,
}

#[derive(Debug)]
struct Pending {
    id: u32,
    buffer: Arc<[u8]>,
    done: bool,
}

/// What [`ZeroCopy::reap`] has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Sends that are over; their buffers are no longer shared.
    pub sends: usize,
    /// Those of them that the kernel has copied all the same.
    pub copied: usize,
}

impl ZeroCopy {
    /// Sends on `stream`, of which `max_pending` at most may await their completion. A stream has one value of this
    /// type, for as long as it lives: the kernel's count begins with the first send.
    ///
    /// # Errors
    ///
    /// ENOPROTOOPT, EOPNOTSUPP where the kernel or the kind of socket cannot (an MPTCP socket cannot).
    #[doc(alias = "SO_ZEROCOPY")]
    pub fn new(stream: &TcpStream, max_pending: usize) -> io::Result<Self> {
        stream.socket.set(options::SO_ZEROCOPY, true)?;
        Ok(Self {
            next: 0,
            pending: VecDeque::new(),
            max_pending,
        })
    }

    /// Sends `range` of `buffer` and returns how much of it went, as a write does; a send of nothing is none.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the stream has no room, or `max_pending` sends are under way; `InvalidInput` for a range outside
    /// the buffer; ENOBUFS where the kernel allows no more pinned memory: reap, or write.
    #[doc(alias = "MSG_ZEROCOPY")]
    pub fn send(&mut self, stream: &TcpStream, buffer: &Arc<[u8]>, range: Range<usize>) -> io::Result<usize> {
        let bytes = buffer.get(range).ok_or(io::ErrorKind::InvalidInput)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.pending.len() >= self.max_pending {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = stream.socket.send_zerocopy(bytes)?;
        self.pending.push_back(Pending {
            id: self.next,
            buffer: Arc::clone(buffer),
            done: false,
        });
        self.next = self.next.wrapping_add(1);
        Ok(sent)
    }

    /// Takes the completions that have come, and lets go of their buffers.
    ///
    /// # Errors
    ///
    /// Those of `recvmsg(2)`.
    pub fn reap(&mut self, stream: &TcpStream) -> io::Result<Done> {
        let mut done = Done::default();
        while let Some(entry) = recv_error(stream)? {
            let QueueEntry::ZeroCopy(range) = entry else {
                continue;
            };
            let finished = self.complete(range.first, range.last);
            done.sends += finished;
            if range.copied {
                done.copied += finished;
            }
        }
        Ok(done)
    }

    /// Marks sends `first` to `last`, both included and wrapping, and drops from the front what is over.
    fn complete(&mut self, first: u32, last: u32) -> usize {
        let span = last.wrapping_sub(first);
        let mut finished = 0;
        for pending in &mut self.pending {
            if !pending.done && pending.id.wrapping_sub(first) <= span {
                pending.done = true;
                finished += 1;
            }
        }
        // Completions may come out of order; an empty buffer in the middle costs nothing until the front is done.
        while self.pending.front().is_some_and(|pending| pending.done) {
            self.pending.pop_front();
        }
        for pending in self.pending.iter_mut().filter(|pending| pending.done) {
            pending.buffer = Arc::from([]);
        }
        finished
    }

    /// Sends that the kernel is not done with.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.iter().filter(|pending| !pending.done).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ids(ids: impl IntoIterator<Item = u32>) -> ZeroCopy {
        let buffer: Arc<[u8]> = Arc::from([1, 2, 3]);
        let pending = ids.into_iter().map(|id| Pending {
            id,
            buffer: Arc::clone(&buffer),
            done: false,
        });
        ZeroCopy {
            next: 0,
            pending: pending.collect(),
            max_pending: 16,
        }
    }

    #[test]
    fn completions_may_come_out_of_order_and_twice() {
        let mut sends = with_ids(0..5);
        assert_eq!(sends.complete(1, 2), 2);
        assert_eq!((sends.pending(), sends.pending.len()), (3, 5));
        assert_eq!(sends.complete(1, 2), 0);
        assert_eq!(sends.complete(0, 0), 1);
        assert_eq!((sends.pending(), sends.pending.len()), (2, 2));
        assert_eq!(sends.complete(3, 9), 2);
        assert!(sends.pending.is_empty());
    }

    #[test]
    fn the_count_wraps() {
        let mut sends = with_ids([u32::MAX - 1, u32::MAX, 0, 1]);
        assert_eq!(sends.complete(u32::MAX, 0), 2);
        assert_eq!(sends.pending(), 2);
        assert_eq!(sends.complete(u32::MAX - 1, 1), 2);
    }
}
