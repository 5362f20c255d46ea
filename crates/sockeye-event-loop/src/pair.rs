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

use sockeye_endpoint::UnixName;
use sockeye_socket::unix::Credentials;

use crate::backend::{ConnectProgress, Readiness, Ready, StreamIo};
use crate::gather::ROOM;
use crate::id::Token;
use crate::options::StreamOption;

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

    pub(crate) fn push(&self, token: Token, flags: Readiness) {
        self.0.borrow_mut().push_back(Ready { token, flags });
    }
}

/// Flags of a way. While there are none, what is written fits or does not, and that is all.
mod flag {
    /// No more will be written: the writer has shut down or is gone.
    pub(super) const ENDED: u8 = 1;
    /// Nobody reads any more.
    pub(super) const UNREAD: u8 = 2;
    /// A write found no room: the writer waits for an event.
    pub(super) const BLOCKED: u8 = 4;
    /// The reader was reset by the other end.
    pub(super) const RESET: u8 = 8;
    /// The reader has not been told of it yet: an error is told once, as the kernel does.
    pub(super) const ERROR: u8 = 16;
    /// The end is none in order: who has read everything is told the fault.
    pub(super) const FAULT: u8 = 32;
}

/// The bytes in one direction: `bytes[start..]`, up to the pair's capacity.
#[derive(Debug, Default)]
struct Way {
    bytes: Vec<u8>,
    start: usize,
    flags: u8,
    /// Who reads them.
    reader: Token,
}

impl Way {
    fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// What both ends share. `ways[n]` is what end n reads.
struct Both {
    events: Events,
    capacity: usize,
    ways: [Way; 2],
    /// What an end that is reset is told in place of ECONNRESET, or one whose peer shuts down in place of an end.
    faults: [Option<io::Error>; 2],
}

/// One of the two ends.
pub(crate) struct PairEnd {
    both: Rc<RefCell<Both>>,
    side: usize,
    aborts: bool,
}

impl PairEnd {
    /// Two ends, each direction of which holds up to `capacity` bytes.
    pub(crate) fn pair(events: &Events, capacity: usize) -> [Self; 2] {
        let both = Rc::new(RefCell::new(Both {
            events: events.clone(),
            capacity: capacity.max(1),
            ways: Default::default(),
            faults: [None, None],
        }));
        [0, 1].map(|side| Self {
            both: Rc::clone(&both),
            side,
            aborts: false,
        })
    }

    /// From now on its events are delivered under this token.
    pub(crate) fn register(&self, token: Token) {
        self.both.borrow_mut().ways[self.side].reader = token;
    }

    /// What the other end hears when this one is reset, in place of ECONNRESET, or shut down, in place of an end.
    pub(crate) fn set_fault(&self, error: io::Error) {
        self.both.borrow_mut().faults[1 - self.side] = Some(error);
    }

    pub(crate) fn is_first(&self) -> bool {
        self.side == 0
    }

    /// The plain case of a write: nothing is there, and nothing has ended. The bytes go over in exchange for the `spare`
    /// buffer; who is to be told that there is something to read is the answer. `None`, and nothing is done, if it is not
    /// plain.
    #[inline]
    pub(crate) fn push(&self, bytes: &mut Vec<u8>, spare: &mut Vec<u8>) -> Option<Token> {
        let both = &mut *self.both.borrow_mut();
        let way = &mut both.ways[(self.side & 1) ^ 1];
        if way.flags != 0 || !way.bytes.is_empty() || bytes.len() > both.capacity {
            return None;
        }
        std::mem::swap(&mut way.bytes, bytes);
        std::mem::swap(bytes, spare);
        if bytes.capacity() != ROOM {
            *bytes = Vec::with_capacity(ROOM);
        }
        Some(way.reader)
    }

    /// The plain case of a read: everything that is there, in exchange for an empty buffer, which becomes the `spare` one:
    /// an end without bytes keeps none, as most are idle. `false` if it is not plain.
    #[inline]
    pub(crate) fn take(&self, empty: &mut Vec<u8>, spare: &mut Vec<u8>, most: usize) -> bool {
        let both = &mut *self.both.borrow_mut();
        let way = &mut both.ways[self.side & 1];
        let len = way.bytes.len();
        if way.start != 0 || len == 0 || len > most || way.has(flag::BLOCKED) {
            return false;
        }
        std::mem::swap(&mut way.bytes, empty);
        std::mem::swap(&mut way.bytes, spare);
        true
    }

    /// Gives the spare buffer to the bytes that are about to be written, if they have none.
    #[inline]
    pub(crate) fn lend(&self, spare: &mut Vec<u8>) {
        let both = &mut *self.both.borrow_mut();
        let way = &mut both.ways[(self.side & 1) ^ 1];
        if way.bytes.capacity() == 0 {
            std::mem::swap(&mut way.bytes, spare);
        }
    }

    /// Takes the buffer of an end that has no bytes for the spare one. As most ends are idle, none keeps a buffer.
    #[inline]
    pub(crate) fn give_back(&self, spare: &mut Vec<u8>) {
        let both = &mut *self.both.borrow_mut();
        let way = &mut both.ways[self.side & 1];
        if way.bytes.is_empty() {
            let own = std::mem::take(&mut way.bytes);
            if spare.capacity() == 0 {
                *spare = own;
            }
        }
    }

    fn put(&self, buf: &[u8]) -> io::Result<usize> {
        let both = &mut *self.both.borrow_mut();
        both.may_write(self.side)?;
        let way = &mut both.ways[1 - self.side];
        let was_empty = way.len() == 0;
        if way.start > 0 && way.bytes.len() + buf.len() > both.capacity {
            way.bytes.drain(..way.start);
            way.start = 0;
        }
        if way.bytes.capacity() < ROOM {
            way.bytes.reserve_exact(ROOM);
        }
        let room = buf.len().min(both.capacity - way.bytes.len());
        let (piece, rest) = buf.split_at(room);
        way.bytes.extend_from_slice(piece);
        if !rest.is_empty() {
            way.flags |= flag::BLOCKED;
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        if was_empty && room > 0 {
            both.tell(1 - self.side, Readiness::READABLE);
        }
        Ok(room)
    }

    /// Reads as [`StreamIo::read`] does, but keeps the buffer of an end that has no bytes by that: see
    /// [`give_back`](Self::give_back).
    pub(crate) fn get(&self, buf: &mut [u8]) -> io::Result<usize> {
        let both = &mut *self.both.borrow_mut();
        let way = &mut both.ways[self.side];
        let len = way.len().min(buf.len());
        if len > 0 {
            buf[..len].copy_from_slice(&way.bytes[way.start..way.start + len]);
            way.start += len;
            if way.start == way.bytes.len() {
                way.bytes.clear();
                way.start = 0;
            }
            if way.has(flag::BLOCKED) {
                way.flags &= !flag::BLOCKED;
                both.tell(1 - self.side, Readiness::WRITABLE);
            }
            return Ok(len);
        }
        if way.has(flag::ERROR | flag::FAULT) {
            way.flags &= !(flag::ERROR | flag::FAULT);
            return Err(both.fault(self.side));
        }
        if way.has(flag::ENDED | flag::RESET) || buf.is_empty() {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Both {
    fn tell(&self, side: usize, flags: Readiness) {
        if !self.ways[side].has(flag::UNREAD) {
            self.events.push(self.ways[side].reader, flags);
        }
    }

    /// Why end `side` was reset.
    fn fault(&mut self, side: usize) -> io::Error {
        let fault = self.faults[side].take();
        fault.unwrap_or_else(|| io::Error::from_raw_os_error(ECONNRESET))
    }

    /// Whether end `side` may write: an error if it may not any more.
    fn may_write(&mut self, side: usize) -> io::Result<()> {
        let own = &mut self.ways[side];
        if own.has(flag::ERROR) {
            own.flags &= !flag::ERROR;
            return Err(self.fault(side));
        }
        if own.has(flag::RESET) || self.ways[1 - side].has(flag::UNREAD | flag::ENDED) {
            return Err(io::Error::from_raw_os_error(EPIPE));
        }
        Ok(())
    }
}

impl StreamIo for PairEnd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let outcome = self.get(buf);
        self.give_back(&mut Vec::new());
        outcome
    }

    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.put(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match self.put(buf) {
                Ok(len) => {
                    taken += len;
                    if len < buf.len() {
                        break;
                    }
                }
                Err(_) if taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        let both = &mut *self.both.borrow_mut();
        let own = &mut both.ways[self.side];
        if own.has(flag::ERROR) {
            own.flags &= !flag::ERROR;
            return ConnectProgress::Failed(both.fault(self.side));
        }
        ConnectProgress::Connected
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        let both = &mut *self.both.borrow_mut();
        if both.ways[self.side].has(flag::RESET) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let other = 1 - self.side;
        if how != Shutdown::Read {
            both.ways[other].flags |= flag::ENDED;
            if both.faults[other].is_some() {
                both.ways[other].flags |= flag::FAULT;
            }
            both.tell(other, Readiness::READABLE.with(Readiness::READ_CLOSED));
        }
        if how != Shutdown::Write {
            both.ways[self.side].flags |= flag::ENDED;
        }
        Ok(())
    }

    fn abort(&mut self) {
        self.aborts = true;
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
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
        let both = &mut *self.both.borrow_mut();
        let (own, other) = (self.side, 1 - self.side);
        let unread = both.ways[own].len() > 0;
        let way = &mut both.ways[own];
        way.flags |= flag::UNREAD;
        way.start = 0;
        way.bytes = Vec::new();
        if both.ways[other].has(flag::UNREAD) {
            return;
        }
        if self.aborts || unread {
            both.ways[other].flags |= flag::RESET | flag::ERROR;
            let all = [
                Readiness::READABLE,
                Readiness::READ_CLOSED,
                Readiness::WRITE_CLOSED,
                Readiness::ERROR,
            ];
            both.tell(other, all.into_iter().fold(Readiness::NONE, Readiness::with));
        } else {
            both.ways[other].flags |= flag::ENDED;
            both.tell(other, Readiness::READABLE.with(Readiness::READ_CLOSED));
        }
    }
}

impl fmt::Debug for PairEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = self.both.borrow();
        f.debug_struct("PairEnd")
            .field("side", &self.side)
            .field("unread", &both.ways[self.side].len())
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

    fn local_unix(&self) -> io::Result<UnixName> {
        on_either!(self, io => io.local_unix())
    }

    fn unix_peer(&self) -> Option<(UnixName, Option<Credentials>)> {
        on_either!(self, io => io.unix_peer())
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

    #[cfg(feature = "unix")]
    fn unix(&self) -> Option<&sockeye_unix::UnixStream> {
        on_either!(self, io => io.unix())
    }

    #[cfg(feature = "tcp")]
    fn into_tcp(self) -> Result<sockeye_tcp_stream::TcpStream, Self> {
        match self {
            Self::World(io) => io.into_tcp().map_err(Self::World),
            Self::Pair(_) => Err(self),
        }
    }
}
