//! Two ends inside one loop: what is written to one is read from the other, as with `socketpair(2)` and no kernel.
//!
//! An end is a socket like any other to the loop core: it reads, writes, blocks, ends and is reset by the rules that
//! [`StreamIo`] states. So everything the core does for a connection it does for an end. What a poller does for
//! sockets, the pair does itself: it puts the events of its ends into a list that the loop takes them from.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use sockeye_socket::errno::{ECONNRESET, EPIPE};

use crate::backend::{ConnectProgress, Readiness, Ready, StreamIo, Token};
use crate::options::StreamOption;
use crate::tail::Tail;

/// The events of all ends of a loop, in the order in which they came about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Rc<RefCell<VecDeque<Ready>>>);

impl Events {
    pub(crate) fn pop(&self) -> Option<Ready> {
        self.0.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn push(&self, token: Token, flags: Readiness) {
        self.0.borrow_mut().push_back(Ready { token, flags });
    }
}

/// The bytes in one direction.
#[derive(Debug, Default)]
struct Way {
    bytes: Tail,
    /// No more will come: the writer has shut down or is gone.
    ended: bool,
    /// A write found no room: the writer waits for an event.
    blocked: bool,
}

/// What both ends share. `ways[n]` is what end n reads.
struct Both {
    events: Events,
    capacity: usize,
    tokens: [Token; 2],
    ways: [Way; 2],
    /// The end is closed.
    gone: [bool; 2],
    /// The end was reset by the other one; the pending error is told once, as the kernel does.
    reset: [bool; 2],
    error: [bool; 2],
}

/// One of the two ends.
pub(crate) struct PairEnd {
    both: Rc<RefCell<Both>>,
    side: usize,
    local: Option<SocketAddr>,
    aborts: bool,
}

impl PairEnd {
    /// Two ends, each direction of which holds up to `capacity` bytes.
    pub(crate) fn pair(events: &Events, capacity: usize) -> [Self; 2] {
        let both = Rc::new(RefCell::new(Both {
            events: events.clone(),
            capacity: capacity.max(1),
            tokens: [Token::from_u64(u64::MAX); 2],
            ways: Default::default(),
            gone: [false; 2],
            reset: [false; 2],
            error: [false; 2],
        }));
        [0, 1].map(|side| Self {
            both: Rc::clone(&both),
            side,
            local: None,
            aborts: false,
        })
    }

    /// From now on its events are delivered under this token.
    pub(crate) fn register(&self, token: Token) {
        let mut both = self.both.borrow_mut();
        both.tokens[self.side] = token;
    }

    /// The address it answers with.
    pub(crate) fn set_local(&mut self, local: Option<SocketAddr>) {
        self.local = local;
    }

    pub(crate) fn is_first(&self) -> bool {
        self.side == 0
    }

    fn other(&self) -> usize {
        1 - self.side
    }
}

impl Both {
    fn tell(&self, side: usize, flags: Readiness) {
        if !self.gone[side] {
            self.events.push(self.tokens[side], flags);
        }
    }

    /// Whether end `side` may write: an error if it may not any more.
    fn may_write(&mut self, side: usize) -> io::Result<()> {
        if std::mem::take(&mut self.error[side]) {
            return Err(io::Error::from_raw_os_error(ECONNRESET));
        }
        let other = 1 - side;
        if self.gone[other] || self.reset[side] || self.ways[other].ended {
            return Err(io::Error::from_raw_os_error(EPIPE));
        }
        Ok(())
    }

    /// Puts what fits of the buffers into the way of end `to`.
    fn put(&mut self, to: usize, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let way = &mut self.ways[to];
        let was_empty = way.bytes.len() == 0;
        let mut room = self.capacity - way.bytes.len();
        let mut taken = 0;
        for buf in bufs {
            let (piece, _) = buf.split_at(buf.len().min(room));
            way.bytes.keep(piece);
            taken += piece.len();
            room -= piece.len();
            if piece.len() < buf.len() {
                way.blocked = true;
                break;
            }
        }
        if taken == 0 && way.blocked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if was_empty && taken > 0 {
            self.tell(to, Readiness::READABLE);
        }
        Ok(taken)
    }
}

impl StreamIo for PairEnd {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut both = self.both.borrow_mut();
        let way = &mut both.ways[self.side];
        let len = way.bytes.len().min(buf.len());
        if len > 0 {
            let (room, _) = buf.split_at_mut(len);
            let (data, _) = way.bytes.data().split_at(len);
            room.copy_from_slice(data);
            way.bytes.consume(len);
            if std::mem::take(&mut way.blocked) {
                both.tell(1 - self.side, Readiness::WRITABLE);
            }
            return Ok(len);
        }
        let ended = way.ended;
        if std::mem::take(&mut both.error[self.side]) {
            return Err(io::Error::from_raw_os_error(ECONNRESET));
        }
        if ended || both.reset[self.side] || buf.is_empty() {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut both = self.both.borrow_mut();
        both.may_write(self.side)?;
        both.put(1 - self.side, bufs)
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        if std::mem::take(&mut self.both.borrow_mut().error[self.side]) {
            return ConnectProgress::Failed(io::Error::from_raw_os_error(ECONNRESET));
        }
        ConnectProgress::Connected
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        let other = self.other();
        let mut both = self.both.borrow_mut();
        if both.reset[self.side] {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if how != Shutdown::Read {
            both.ways[other].ended = true;
            both.tell(other, Readiness::READABLE.with(Readiness::READ_CLOSED));
        }
        if how != Shutdown::Write {
            both.ways[self.side].ended = true;
        }
        Ok(())
    }

    fn abort(&mut self) {
        self.aborts = true;
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_option(&mut self, _: &StreamOption) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for PairEnd {
    /// As `close(2)`: a reset after `abort` or with unread bytes, else an end in order.
    fn drop(&mut self) {
        let other = self.other();
        let mut both = self.both.borrow_mut();
        both.gone[self.side] = true;
        let unread = both.ways[self.side].bytes.len() > 0;
        both.ways[self.side].bytes.free();
        if both.gone[other] {
            return;
        }
        if self.aborts || unread {
            both.reset[other] = true;
            both.error[other] = true;
            let all = [
                Readiness::READABLE,
                Readiness::READ_CLOSED,
                Readiness::WRITE_CLOSED,
                Readiness::ERROR,
            ];
            both.tell(other, all.into_iter().fold(Readiness::NONE, Readiness::with));
        } else {
            both.ways[other].ended = true;
            both.tell(other, Readiness::READABLE.with(Readiness::READ_CLOSED));
        }
    }
}

impl fmt::Debug for PairEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = self.both.borrow();
        f.debug_struct("PairEnd")
            .field("side", &self.side)
            .field("unread", &both.ways[self.side].bytes.len())
            .finish_non_exhaustive()
    }
}

/// A stream of the loop: one of the world's, or one end of a pair.
#[derive(Debug)]
pub(crate) enum Wire<S> {
    World(S),
    Pair(PairEnd),
}

macro_rules! on_either {
    ($wire:expr, $io:ident => $call:expr) => {
        match $wire {
            Wire::World($io) => $call,
            Wire::Pair($io) => $call,
        }
    };
}

impl<S: StreamIo> StreamIo for Wire<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        on_either!(self, io => io.read(buf))
    }

    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        on_either!(self, io => io.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        on_either!(self, io => io.write_vectored(bufs))
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        on_either!(self, io => io.connect_progress())
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        on_either!(self, io => io.shutdown(how))
    }

    fn abort(&mut self) {
        on_either!(self, io => io.abort());
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        on_either!(self, io => io.local_addr())
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        on_either!(self, io => io.peer_addr())
    }

    fn set_option(&mut self, option: &StreamOption) -> io::Result<()> {
        on_either!(self, io => io.set_option(option))
    }

    fn send_file(
        &mut self,
        file: &std::fs::File,
        offset: u64,
        len: usize,
    ) -> Result<usize, crate::backend::SendFileError> {
        on_either!(self, io => io.send_file(file, offset, len))
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        on_either!(self, io => io.descriptor())
    }

    #[cfg(feature = "tcp")]
    fn tcp(&self) -> Option<&sockeye_tcp_stream::TcpStream> {
        on_either!(self, io => io.tcp())
    }

    #[cfg(feature = "tcp")]
    fn into_tcp(self) -> Result<sockeye_tcp_stream::TcpStream, Self> {
        match self {
            Self::World(io) => io.into_tcp().map_err(Self::World),
            Self::Pair(_) => Err(self),
        }
    }
}
