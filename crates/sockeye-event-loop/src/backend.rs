//! The seam between the loop and the world: what a backend has to supply.
//!
//! The loop core (readiness, buffers, accept, connect, timers, fairness, close) is written once,
//! against these traits. [`Mio`](crate::Mio) supplies the kernel, `sockeye-sim` a simulated network.
//! The contract, beyond the signatures:
//!
//! - Readiness is edge-triggered. An event may be spurious; a change from not ready to ready is never
//!   lost. A socket that is ready when it is registered gives an event at once.
//! - Everything is nonblocking: what cannot be done now is [`io::ErrorKind::WouldBlock`].
//! - Errors are the kernel's: `io::Error::raw_os_error` is set wherever Linux would set it.
//! - Dropping a socket closes it as `close(2)` does: with unread data or after `abort` by a reset,
//!   else by FIN.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use sockeye_endpoint::{Transport, UnixName};
use sockeye_socket::unix::Credentials;
use sockeye_socket::{Op, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendReport};

pub use crate::frames::pack as pack_frame;
pub use crate::id::Token;
#[cfg(feature = "resolver")]
use crate::names::HostNames;
use crate::options::{
    ConnectOptions, DatagramOptions, FrameOptions, ListenOptions, PacketOptions, StreamOption,
    UnixDatagramOptions, UnixListenOptions,
};
use crate::time::Time;
pub use crate::unix_peers::UnixPeers;

/// A set of readiness flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Readiness(pub(crate) u32);

impl Readiness {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A read, accept or receive may give something.
    pub const READABLE: Self = Self(1);
    /// A write or send may be taken.
    pub const WRITABLE: Self = Self(2);
    /// The peer has shut down its side: read on to the end.
    pub const READ_CLOSED: Self = Self(4);
    /// Writing is over (reset, or shut down on both sides).
    pub const WRITE_CLOSED: Self = Self(8);
    /// An error is pending, or the error queue holds something.
    pub const ERROR: Self = Self(16);
    /// Urgent data has arrived: reads stop at its mark, so a short read does not say that there is no more.
    pub const URGENT: Self = Self(32);

    /// Both sets together.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any flag of `other` is set.
    #[must_use]
    #[inline]
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One event of a poll.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Whose event it is.
    pub token: Token,
    /// What became ready.
    pub flags: Readiness,
}

/// Wakes a loop that waits in another thread.
pub trait Wake: Send + Sync + Debug {
    /// Makes the current or next [`Backend::poll`] return with an event of [`Token::WAKE`].
    fn wake(&self);
}

/// How a connect in progress stands.
#[derive(Debug)]
pub enum ConnectProgress {
    /// Not decided yet: wait for the next event.
    Pending,
    /// The connection stands.
    Connected,
    /// It failed, and this is why. The kernel tells it once.
    Failed(io::Error),
}

/// Why a piece of a file was not sent.
#[derive(Debug)]
pub enum SendFileError {
    /// The stream refused it: as a write does.
    Stream(io::Error),
    /// The file cannot be read: what was promised to the peer will never come.
    File(io::Error),
    /// The file is a pipe that has nothing now. No event follows: again after a pause.
    NotYet,
}

/// A registered socket of any type, for [`Backend::register`].
#[derive(Debug)]
pub enum SocketRef<'a, B: Backend> {
    /// A listener.
    Listener(&'a mut B::Listener),
    /// A stream.
    Stream(&'a mut B::Stream),
    /// A datagram socket.
    Datagram(&'a mut B::Datagram),
    /// A raw IP or ICMP socket.
    Packet(&'a mut B::Packet),
}

/// The world that a loop runs in: sockets, poller, clock, chance.
pub trait Backend: Sized + 'static {
    /// A listening stream socket.
    type Listener: ListenerIo<Stream = Self::Stream>;
    /// A connected or connecting stream socket.
    type Stream: StreamIo;
    /// A datagram socket.
    type Datagram: MessageIo;
    /// A raw IP or ICMP socket.
    type Packet: MessageIo;
    /// Storage for the events of one poll, owned by the loop.
    type Events: Debug;
    /// Walks over the events of one poll.
    type EventIter<'a>: Iterator<Item = Ready>;

    /// Storage for up to `capacity` events a poll.
    fn events(&self, capacity: usize) -> Self::Events;

    /// The events of the last poll.
    fn iter(events: &Self::Events) -> Self::EventIter<'_>;

    /// The clock. Never goes back.
    fn now(&self) -> Time;

    /// A random number: for jitter, identifiers, cookies. Not for keys.
    fn random(&mut self) -> u64;

    /// Gathers what is ready; with `block` waits for the first event, the alarm or a wake-up.
    /// Interruptions by signals are retried inside.
    ///
    /// # Errors
    /// Whatever the poller reports; the loop cannot go on then.
    fn poll(&mut self, events: &mut Self::Events, block: bool) -> io::Result<()>;

    /// Sets the one alarm, or clears it. It is an event of [`Token::ALARM`] at `at` or, if that is
    /// past, at once.
    ///
    /// # Errors
    /// Whatever the timer reports.
    fn set_alarm(&mut self, at: Option<Time>) -> io::Result<()>;

    /// A handle that wakes this backend's [`poll`](Self::poll) from anywhere.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Begins to deliver the socket's events under `token`: both directions, edge-triggered, for its life. Of datagram and
    /// packet sockets [`watch_writable`](Self::watch_writable) says when they have to be told that they are writable.
    ///
    /// # Errors
    /// `ENOSPC` and `ENOMEM` where the kernel's limits are reached.
    fn register(&mut self, socket: SocketRef<'_, Self>, token: Token) -> io::Result<()>;

    /// Messages of a datagram or packet socket begin or cease to wait for room. A backend may leave writable events out before
    /// and after; once this is called with `true`, one comes as soon as there is room.
    ///
    /// # Errors
    /// Whatever the poller reports.
    fn watch_writable(&mut self, socket: SocketRef<'_, Self>, token: Token, on: bool) -> io::Result<()> {
        let _ = (socket, token, on);
        Ok(())
    }

    /// Ends it. Dropping a socket does so too, unless its descriptor was duplicated.
    ///
    /// # Errors
    /// Whatever the poller reports.
    fn deregister(&mut self, socket: SocketRef<'_, Self>) -> io::Result<()>;

    /// Opens a listener.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    fn listen(&mut self, at: SocketAddr, options: &ListenOptions) -> Result<Self::Listener, OpError>;

    /// Starts a connect. It is decided at the first writable event: ask [`StreamIo::connect_progress`].
    ///
    /// # Errors
    /// The operation that failed at once, on which address, and why.
    fn connect(&mut self, to: SocketAddr, options: &ConnectOptions) -> Result<Self::Stream, OpError>;

    /// Opens a listener of streams at the name of a Unix socket.
    ///
    /// # Errors
    /// The operation that failed, at which name, and why; `Unsupported` where the backend has no Unix sockets.
    fn listen_unix(&mut self, at: &UnixName, options: &UnixListenOptions) -> Result<Self::Listener, OpError> {
        let _ = options;
        Err(without_unix(Op::Open).with_local_name(*at))
    }

    /// Takes over a socket that listens already: of TCP, or a Unix socket of streams.
    ///
    /// # Errors
    /// `InvalidInput` for any other; `Unsupported` where the backend has no sockets of others.
    fn adopt_listener(&mut self, socket: OwnedFd) -> Result<Self::Listener, OpError> {
        drop(socket);
        Err(OpError::new(
            Op::Adopt,
            Transport::Tcp,
            io::ErrorKind::Unsupported.into(),
        ))
    }

    /// Takes over a UDP socket that is bound already. Of the options those hold that are not of its address.
    ///
    /// # Errors
    /// `InvalidInput` for any other; `Unsupported` where the backend has no sockets of others.
    fn adopt_datagram(
        &mut self,
        socket: OwnedFd,
        options: &DatagramOptions,
    ) -> Result<Self::Datagram, OpError> {
        let _ = options;
        drop(socket);
        Err(OpError::new(
            Op::Adopt,
            Transport::Udp,
            io::ErrorKind::Unsupported.into(),
        ))
    }

    /// Connects to a Unix socket. It is decided as a connect by IP is, at the first writable event.
    ///
    /// # Errors
    /// The operation that failed at once, and why: `WouldBlock` while the backlog of the listener is full, of which no event
    /// tells the end; `Unsupported` where the backend has no Unix sockets.
    fn connect_unix(&mut self, to: &UnixName, options: &ConnectOptions) -> Result<Self::Stream, OpError> {
        let _ = options;
        Err(without_unix(Op::Open).with_peer_name(*to))
    }

    /// Opens a datagram socket.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    fn bind(&mut self, at: SocketAddr, options: &DatagramOptions) -> Result<Self::Datagram, OpError>;

    /// Opens a Unix socket of datagrams.
    ///
    /// # Errors
    /// The operation that failed, at which name, and why; `Unsupported` where the backend has no such sockets.
    fn bind_unix(&mut self, at: &UnixName, options: &UnixDatagramOptions) -> Result<Self::Datagram, OpError> {
        let _ = options;
        Err(without_unix(Op::Open).with_local_name(*at))
    }

    /// Opens a raw IP or ICMP socket.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why; `PermissionDenied` names the capability.
    fn open_packet(&mut self, options: &PacketOptions) -> Result<Self::Packet, OpError>;

    /// Opens a packet socket, for frames of a link. What it receives goes into the batch as [`pack_frame`] makes it.
    ///
    /// # Errors
    /// Why there is none; `Unsupported` where the backend has no links with frames.
    fn open_link(&mut self, options: &FrameOptions) -> io::Result<Self::Packet> {
        let _ = options;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How long to ask again and again before a poll waits: see [`LoopOptions::spin`](crate::LoopOptions). `false` where
    /// time does not pass by itself.
    fn spins(&mut self, how_long: std::time::Duration) -> bool {
        let _ = how_long;
        false
    }

    /// Whether this is the machine itself, whose files say who answers for names. `false` in a simulation.
    fn has_system(&self) -> bool {
        true
    }

    /// What this host knows of names: the machine's files, or what a simulated host was given.
    #[cfg(feature = "resolver")]
    fn names(&mut self) -> HostNames {
        if self.has_system() {
            HostNames::Machine
        } else {
            HostNames::Given(Box::default())
        }
    }

    /// The address that packets to `destination` would leave from; `None` without a route. By it the addresses of a name are
    /// put into their order (RFC 6724).
    fn source_of(&mut self, destination: SocketAddr) -> Option<IpAddr> {
        let _ = destination;
        None
    }

    /// The next signal that came in, where the backend delivers signals.
    fn take_signal(&mut self) -> Option<i32> {
        None
    }

    /// Takes a TCP socket that was opened elsewhere, where the backend can.
    #[cfg(feature = "tcp")]
    fn adopt(&mut self, stream: sockeye_tcp_stream::TcpStream) -> Option<Self::Stream> {
        let _ = stream;
        None
    }

    /// Takes a Unix socket of streams that was opened elsewhere, where the backend can.
    #[cfg(feature = "unix")]
    fn adopt_unix(&mut self, stream: sockeye_unix::UnixStream) -> Option<Self::Stream> {
        let _ = stream;
        None
    }
}

/// A listening socket of a backend.
pub trait ListenerIo: Debug {
    /// What it accepts.
    type Stream;

    /// Takes one connection from the backlog, with its peer's address, where that is one of IP.
    ///
    /// # Errors
    /// `WouldBlock` when the backlog is empty; else what `accept4(2)` says.
    fn accept(&mut self) -> io::Result<(Self::Stream, Option<SocketAddr>)>;

    /// Where it listens: port 0 has become the real one.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `Unsupported` of a Unix socket.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The name it listens at.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `Unsupported` where it is no Unix socket.
    fn local_unix(&self) -> io::Result<UnixName> {
        Err(no_unix_name())
    }
}

/// The answer of a backend without Unix sockets.
#[cold]
pub(crate) fn without_unix(op: Op) -> OpError {
    let why = "no Unix sockets in this build or this backend (the kernel's take the feature `unix` of sockeye-event-loop)";
    OpError::unix(op, io::Error::new(io::ErrorKind::Unsupported, why))
}

#[cold]
pub(crate) fn no_unix_name() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "only a Unix socket has such a name")
}

/// A stream socket of a backend.
pub trait StreamIo: Debug {
    /// Reads up to `buf.len()` bytes; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now; `ConnectionReset` and its like end the stream.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes a prefix of `buf` and says how long it was. Never raises SIGPIPE.
    ///
    /// # Errors
    /// `WouldBlock` when the send buffer is full; `BrokenPipe`, `ConnectionReset` end the stream.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize>;

    /// Writes a prefix of the buffers one after another and says how long it was.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// How the connect stands; consumes the pending error, so the loop asks once an event.
    fn connect_progress(&mut self) -> ConnectProgress;

    /// Shuts down one direction or both.
    ///
    /// # Errors
    /// `NotConnected` when the peer has reset the connection.
    fn shutdown(&mut self, how: Shutdown) -> io::Result<()>;

    /// Makes the drop that follows a reset (RST) instead of a FIN. A Unix socket has none: its peer sees one only if it is
    /// dropped with bytes unread.
    fn abort(&mut self);

    /// This side's address.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `Unsupported` of a Unix socket.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// This side's name.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `Unsupported` where it is no Unix socket.
    fn local_unix(&self) -> io::Result<UnixName> {
        Err(no_unix_name())
    }

    /// Who is at the other side of a Unix socket; `None` of any other.
    fn unix_peer(&self) -> Option<(UnixName, Option<Credentials>)> {
        None
    }

    /// The other side's address.
    ///
    /// # Errors
    /// `NotConnected` before the connection stands and after a reset.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Sets one option.
    ///
    /// # Errors
    /// What `setsockopt(2)` says; `Unsupported` where the backend has no such option.
    fn set_option(&mut self, option: &StreamOption) -> io::Result<()>;

    /// Sends up to `len` bytes of `file` from `offset`; 0 is the end of the file.
    ///
    /// # Errors
    /// Whose fault it was: the stream's, as in [`write`](Self::write), or the file's.
    fn send_file(&mut self, file: &File, offset: u64, len: usize) -> Result<usize, SendFileError> {
        let mut chunk = [0; 16 * 1024];
        let want = len.min(chunk.len());
        let (room, _) = chunk.split_at_mut(want);
        let got = file.read_at(room, offset).map_err(SendFileError::File)?;
        let (data, _) = chunk.split_at(got);
        if data.is_empty() {
            return Ok(0);
        }
        self.write(data).map_err(SendFileError::Stream)
    }

    /// The descriptor, where there is one: two streams that have one are relayed by splice.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The TCP socket, where it is one of the kernel's.
    #[cfg(feature = "tcp")]
    fn tcp(&self) -> Option<&sockeye_tcp_stream::TcpStream> {
        None
    }

    /// The Unix socket, where it is one of the kernel's.
    #[cfg(feature = "unix")]
    fn unix(&self) -> Option<&sockeye_unix::UnixStream> {
        None
    }

    /// Gives the TCP socket away, where it is one of the kernel's.
    ///
    /// # Errors
    /// The stream itself, where it is not.
    #[cfg(feature = "tcp")]
    fn into_tcp(self) -> Result<sockeye_tcp_stream::TcpStream, Self>
    where
        Self: Sized,
    {
        Err(self)
    }
}

/// A datagram or packet socket of a backend.
pub trait MessageIo: Debug {
    /// Receives up to a batch of messages. What was in the batch before is gone.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now; other errors concern the socket and are told once.
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize>;

    /// Sends the messages that `message` gives for `range`, in order, none skipped; `storage` is the loop's
    /// scratch space. What was not sent, and why, the answer says.
    fn send_batch<'a, F>(&mut self, storage: &mut SendBatch, range: Range<usize>, message: F) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>;

    /// Takes one entry from the error queue.
    ///
    /// # Errors
    /// What `recvmsg(2)` says, but for an empty queue, which is `None`.
    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>>;

    /// This side's address (port 0 for raw sockets).
    ///
    /// # Errors
    /// What `getsockname(2)` says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Its name.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `Unsupported` where it is no Unix socket.
    fn local_unix(&self) -> io::Result<UnixName> {
        Err(no_unix_name())
    }

    /// The name of a peer of a Unix socket that an address stands for.
    fn unix_name(&self, address: SocketAddr) -> Option<UnixName> {
        let _ = address;
        None
    }

    /// An address that stands for a name, on a Unix socket.
    fn unix_addr(&mut self, name: &UnixName) -> Option<SocketAddr> {
        let _ = name;
        None
    }

    /// The UDP socket, where it is one of the kernel's.
    #[cfg(feature = "udp")]
    fn udp(&self) -> Option<&sockeye_udp_datagram::UdpSocket> {
        None
    }
}
