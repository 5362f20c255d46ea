//! [`ZeroCopy`]: sending without a copy into the kernel, and knowing when the kernel is done.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use sockeye_socket::{QueueEntry, ZeroCopyBuffer, ZeroCopyDone, options, recv_error};

use crate::TcpStream;

/// Sends of one stream whose bytes the kernel reads from where they are (`MSG_ZEROCOPY`).
///
/// Pinning pages costs more than copying them below some 10 KB. The kernel copies after all where it has to: on the
/// loopback always, and where the device cannot gather; [`Done::copied`] says so, and copying by `write` is then cheaper.
///
/// The kernel reads a buffer after the call has returned, until a completion says that it is done. A [`ZeroCopyBuffer`]
/// bears that: it, the stream, its clones and this value may be dropped in any order. This value counts what is under
/// way. Completions come on the stream's error queue, where the poller reports them as an error that is none: call
/// [`reap`](Self::reap) then, before taking anything for a failure.
///
/// ```
/// use std::time::Duration;
/// use sockeye_tcp_stream::{TcpListener, TcpStream, ZeroCopy, ZeroCopyBuffer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
/// # let stream = TcpStream::start_connect(listener.local_addr()?)?.wait(Duration::from_secs(5))?;
/// let mut sends = ZeroCopy::new(&stream, 16)?;
/// let page = ZeroCopyBuffer::with(32_768, |bytes| bytes.fill(b'x'))?;
/// let sent = sends.send(&stream, &page, 0..page.len())?;
/// assert!(sent > 0 && sends.pending() == 1);
/// # Ok(())
/// # }
/// ```
///
/// # References
///
/// [MSG_ZEROCOPY](https://docs.kernel.org/networking/msg_zerocopy.html)
#[derive(Debug)]
pub struct ZeroCopy {
    /// Which socket it counts for (`SO_COOKIE`).
    cookie: u64,
    window: Window,
    max_pending: usize,
}

/// What [`ZeroCopy::reap`] has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Sends that are over; the kernel no longer reads their bytes.
    pub sends: usize,
    /// Those of them that the kernel has copied all the same.
    pub copied: usize,
}

impl ZeroCopy {
    /// Sends on `stream`, of which `max_pending` at most may await their completion.
    ///
    /// The kernel numbers the sends of a connection from its first on, so a connection has one value of this type, as
    /// long as it lives, and nobody else may send on it by `MSG_ZEROCOPY`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where zero copy is on for this connection: somebody else counts its sends, or has. ENOPROTOOPT,
    /// EOPNOTSUPP where the kernel or the kind of socket cannot (an MPTCP socket cannot).
    #[doc(alias = "SO_ZEROCOPY")]
    pub fn new(stream: &TcpStream, max_pending: usize) -> io::Result<Self> {
        // Between the question and the switch no other thread asks about another descriptor of the same socket.
        static ASKING: Mutex<()> = Mutex::new(());
        let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
        if stream.socket.get(options::SO_ZEROCOPY)? {
            let message = "zero copy is on for this connection already: keep its one ZeroCopy beside it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        stream.socket.set(options::SO_ZEROCOPY, true)?;
        Ok(Self {
            cookie: stream.cookie()?,
            window: Window::default(),
            max_pending,
        })
    }

    /// Sends `range` of `buffer` and returns how much of it went, as a write does; a send of nothing is none.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the stream has no room, or `max_pending` sends are under way; `InvalidInput` for a range outside
    /// the buffer or another connection than that of [`new`](Self::new); ENOBUFS where the kernel allows no more pinned
    /// memory: reap, or write.
    #[doc(alias = "MSG_ZEROCOPY")]
    pub fn send(
        &mut self,
        stream: &TcpStream,
        buffer: &ZeroCopyBuffer,
        range: Range<usize>,
    ) -> io::Result<usize> {
        self.check(stream)?;
        if buffer
            .get(range.clone())
            .ok_or(io::ErrorKind::InvalidInput)?
            .is_empty()
        {
            return Ok(0);
        }
        if self.window.pending() >= self.max_pending {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = stream.socket.send_zerocopy(buffer, range)?;
        self.window.sent();
        Ok(sent)
    }

    /// Takes the completions that have come. What else is in the error queue is dropped; who waits for timestamps or
    /// errors there calls [`reap_with`](Self::reap_with).
    ///
    /// # Errors
    ///
    /// Those of `recvmsg(2)`; `InvalidInput` for another connection than that of [`new`](Self::new); `InvalidData` for
    /// the completion of a send that was not made here: then the counts here say nothing any more.
    pub fn reap(&mut self, stream: &TcpStream) -> io::Result<Done> {
        self.reap_with(stream, |_| {})
    }

    /// As [`reap`](Self::reap), and hands what is not a completion to `other`.
    ///
    /// # Errors
    ///
    /// As [`reap`](Self::reap).
    pub fn reap_with(&mut self, stream: &TcpStream, mut other: impl FnMut(QueueEntry)) -> io::Result<Done> {
        self.check(stream)?;
        let mut done = Done::default();
        while let Some(entry) = recv_error(stream)? {
            match entry {
                QueueEntry::ZeroCopy(range) => {
                    let finished = self.completed(&range)?;
                    done.sends += finished.sends;
                    done.copied += finished.copied;
                }
                entry => other(entry),
            }
        }
        Ok(done)
    }

    /// Counts a completion that somebody else has taken from the stream's error queue.
    ///
    /// # Errors
    ///
    /// `InvalidData` for the completion of a send that was not made here.
    pub fn completed(&mut self, range: &ZeroCopyDone) -> io::Result<Done> {
        let sends = self.window.complete(range.first, range.last).ok_or_else(|| {
            let message =
                "a completion of a send that this ZeroCopy has not made: somebody else sends by MSG_ZEROCOPY";
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        let copied = if range.copied { sends } else { 0 };
        Ok(Done { sends, copied })
    }

    /// Sends that the kernel is not done with.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.window.pending()
    }

    /// The numbers of sends are those of one socket.
    fn check(&self, stream: &TcpStream) -> io::Result<()> {
        if stream.cookie()? == self.cookie {
            return Ok(());
        }
        let message = "this ZeroCopy counts the sends of another connection";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

/// The sends from the oldest that is not over to the newest, by their numbers, which wrap.
#[derive(Debug, Default)]
struct Window {
    /// Number of the oldest.
    first: u32,
    /// Whether each is over.
    done: VecDeque<bool>,
    finished: usize,
}

impl Window {
    fn sent(&mut self) {
        self.done.push_back(false);
    }

    fn pending(&self) -> usize {
        self.done.len() - self.finished
    }

    /// Marks sends `first` to `last`, both included, and returns how many are over now that were not. What is over
    /// already may be told again; a number that has not been given out is `None`.
    fn complete(&mut self, first: u32, last: u32) -> Option<usize> {
        // Numbers are compared by their distance: half of all of them lie behind the window, half before it.
        let begin = i64::from(first.wrapping_sub(self.first).cast_signed());
        let end = begin + i64::from(last.wrapping_sub(first)) + 1;
        if usize::try_from(end).is_ok_and(|end| end > self.done.len()) {
            return None;
        }
        let begin = usize::try_from(begin).unwrap_or(0);
        let end = usize::try_from(end).unwrap_or(0);
        let mut finished = 0;
        for done in self.done.range_mut(begin.min(end)..end) {
            finished += usize::from(!std::mem::replace(done, true));
        }
        self.finished += finished;
        // Completions may come out of order: only the front leaves.
        while self.done.front() == Some(&true) {
            self.done.pop_front();
            self.finished -= 1;
            self.first = self.first.wrapping_add(1);
        }
        Some(finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(first: u32, len: usize) -> Window {
        let done = std::iter::repeat_n(false, len).collect();
        Window {
            first,
            done,
            finished: 0,
        }
    }

    #[test]
    fn completions_may_come_out_of_order_and_twice() {
        let mut sends = window(0, 5);
        assert_eq!(sends.complete(1, 2), Some(2));
        assert_eq!((sends.pending(), sends.done.len()), (3, 5));
        assert_eq!(sends.complete(1, 2), Some(0));
        assert_eq!(sends.complete(0, 0), Some(1));
        assert_eq!((sends.pending(), sends.done.len()), (2, 2));
        assert_eq!(sends.complete(0, 3), Some(1));
        assert_eq!(sends.complete(4, 4), Some(1));
        assert_eq!(sends.complete(4, 4), Some(0));
        assert_eq!((sends.pending(), sends.first), (0, 5));
    }

    #[test]
    fn the_count_wraps() {
        let mut sends = window(u32::MAX - 1, 4);
        assert_eq!(sends.complete(u32::MAX, 0), Some(2));
        assert_eq!(sends.pending(), 2);
        assert_eq!(sends.complete(u32::MAX - 1, 1), Some(2));
        assert_eq!((sends.pending(), sends.first), (0, 2));
        sends.sent();
        assert_eq!(sends.complete(2, 2), Some(1));
    }

    #[test]
    fn a_send_that_was_not_made_here_is_found() {
        for (first, last) in [(3, 9), (5, 5), (0, 5), (1, u32::MAX / 2), (0, u32::MAX)] {
            let mut sends = window(0, 5);
            assert_eq!(sends.complete(first, last), None, "{first} to {last}");
            assert_eq!(sends.pending(), 5, "{first} to {last}");
        }
        assert_eq!(window(7, 0).complete(7, 7), None);
        assert_eq!(window(7, 0).complete(3, 6), Some(0));
    }

    #[test]
    fn many_sends_cost_as_much_each_as_few() {
        let mut sends = window(0, 1_000_000);
        // All but the oldest, one by one: nothing may walk over the rest.
        for id in 1..1_000_000 {
            assert_eq!(sends.complete(id, id), Some(1));
        }
        assert_eq!((sends.pending(), sends.done.len()), (1, 1_000_000));
        assert_eq!(sends.complete(0, 0), Some(1));
        assert_eq!(sends.done.len(), 0);
    }
}
