//! What runs at an endpoint: the traits that a user implements, and the values their callbacks see.
//!
//! A service never names the backend, a thread, the wall clock or a random source: what it needs of them it
//! asks its [`Stream`], [`Datagrams`], [`Packets`] or [`Context`]. So the same service runs on the kernel and
//! in the simulated network. Callbacks must not block: everything else on the loop waits for them.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use sockeye_socket::{QueueEntry, SendError};

use crate::context::Context;
use crate::datagrams::{Datagram, Datagrams};
use crate::id::{DatagramId, ListenerId, StreamId};
use crate::stream::Stream;

/// A value sent to a connection or a service by another connection or another thread.
pub type Message = Box<dyn Any + Send>;

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[must_use = "`Full`, `TooLarge` and `Gone` took nothing"]
pub enum Sent {
    /// Taken; nothing waits in the queue before it.
    Sent,
    /// Taken whole; some of it waits in the connection's queue.
    Queued,
    /// Nothing taken: the queue is at its high watermark. `on_writable` follows once it is below the low one.
    Full,
    /// Nothing taken: longer than `Watermarks::max_write`, it never will be.
    TooLarge,
    /// Nothing taken: the connection is closed, closing, or was never there.
    Gone,
}

impl Sent {
    /// Whether the bytes were taken.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Sent | Self::Queued)
    }
}

/// Which deadline ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// No byte in either direction.
    Idle,
    /// No byte received.
    Read,
    /// Output queued, and the kernel took none of it.
    WriteStall,
    /// An orderly close was not finished in time.
    Close,
}

/// Why a connection is gone.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// In order: both directions ended, all output taken by the kernel.
    Closed,
    /// This side aborted it.
    Aborted,
    /// The socket reported an error: reset, timed out in the kernel, unreachable.
    Error(io::Error),
    /// A deadline of the loop passed.
    TimedOut(Deadline),
    /// `on_data` left more unconsumed than `Watermarks::max_tail`.
    TailTooLong,
    /// The loop's memory budget was used up, and this was among those that had stood still the longest: reset.
    MemoryBudget,
    /// The connection that this one was joined with did not end in order, so this one was reset: what arrived here may
    /// be a part only.
    PartnerReset,
    /// A callback for it panicked.
    Panicked,
    /// It was taken off the loop and lives on elsewhere.
    Detached,
    /// It was given to another service of the loop and lives on there.
    Switched,
    /// The loop ended.
    LoopEnded,
}

impl CloseReason {
    /// A short name without details, the same for the same kind of end.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Error(_) => "error",
            Self::TimedOut(Deadline::Idle) => "idle deadline",
            Self::TimedOut(Deadline::Read) => "read deadline",
            Self::TimedOut(Deadline::WriteStall) => "write-stall deadline",
            Self::TimedOut(Deadline::Close) => "close deadline",
            Self::TailTooLong => "tail too long",
            Self::MemoryBudget => "memory budget",
            Self::PartnerReset => "partner reset",
            Self::Panicked => "panicked",
            Self::Detached => "detached",
            Self::Switched => "switched",
            Self::LoopEnded => "loop ended",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "{error}"),
            other => f.write_str(other.name()),
        }
    }
}

/// Why there is no pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The handle is of another loop, or its service is not one for streams.
    #[error("the handle names no stream service of this loop")]
    NoSuchService,
    /// The table of sockets has no place left.
    #[error("the loop has no place for another socket")]
    Full,
}

/// Why a connection was not given to another service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// The handle is of another loop, or its service is not one for streams.
    #[error("the handle names no stream service of this loop")]
    NoSuchService,
    /// The connection is closed, closing, joined, or has been given away already.
    #[error("the connection is over, joined, or given away already")]
    Gone,
}

/// What went through a connection while it was joined with another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Relayed {
    /// Bytes that came from this connection's peer, for the other one.
    pub received: u64,
    /// Bytes that came from the other one, for this connection's peer.
    pub sent: u64,
}

/// A connect that came to nothing.
#[derive(Debug)]
pub struct ConnectFailure {
    /// The number that was given with the request.
    pub tag: u64,
    /// Every address that was tried, and how it failed, in order.
    pub attempts: Vec<(SocketAddr, io::Error)>,
    /// What ended it.
    pub cause: ConnectFault,
}

/// What ended a connect.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectFault {
    /// Every address failed; the last error.
    Failed(io::Error),
    /// Its deadline passed.
    TimedOut,
    /// There was no address to try, or the filter let none through.
    NoAddress,
    /// The name could not be looked up.
    Unresolved(io::Error),
    /// It was cancelled.
    Cancelled,
    /// The loop has as many connections as it may have.
    TooManyConnections,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            ConnectFault::Failed(error) => match self.attempts.last() {
                Some((address, _)) => write!(f, "connect {address}: {error}"),
                None => write!(f, "connect: {error}"),
            },
            ConnectFault::TimedOut => f.write_str("connect: the deadline passed"),
            ConnectFault::NoAddress => f.write_str("connect: no address to try"),
            ConnectFault::Unresolved(error) => write!(f, "connect: {error}"),
            ConnectFault::Cancelled => f.write_str("connect: cancelled"),
            ConnectFault::TooManyConnections => {
                f.write_str("connect: the loop has no room for another connection")
            }
        }
    }
}

impl std::error::Error for ConnectFailure {}

/// What runs on connections.
///
/// One value serves all connections of a service; what belongs to one of them is its `Conn`. For each
/// connection the order is `on_open`, then anything else, then `on_close` once and last. No callback is
/// called while another one runs.
pub trait StreamService: 'static {
    /// State of one connection.
    type Conn: 'static;

    /// A connection stands, accepted or connected.
    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn;

    /// Bytes have arrived. Says how many of them are done with; the rest is offered again, with what comes
    /// after it. `data` may be changed in place.
    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &mut [u8]) -> usize;

    /// Everything that had arrived has been offered: a good moment to send what was gathered.
    fn on_read_complete(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = (stream, conn);
    }

    /// After a [`Sent::Full`], or a [`Stream::notify_writable`]: the queue is at or below the low watermark.
    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = (stream, conn);
    }

    /// The peer has ended its side. All its bytes were offered before. Closes in order by default; a service
    /// that still has something to say overrides it.
    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = conn;
        stream.close();
    }

    /// A timer of the connection fired: `key` is the number it was set with.
    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, key: u64) {
        let _ = (stream, conn, key);
    }

    /// A message for the connection.
    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, message: Message) {
        let _ = (stream, conn, message);
    }

    /// The loop is to end. Everything that had arrived was offered before. Closes in order by default.
    fn on_drain(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn) {
        let _ = conn;
        stream.close();
    }

    /// A connect failed.
    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let _ = (context, failure);
    }

    /// A listener of this service is of no use any more: it was shut down, or its descriptor closed, by somebody else.
    /// Connections that it had accepted go on.
    fn on_listener_lost(&mut self, context: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        let _ = (context, listener, error);
    }

    /// A timer of the service, not of a connection, fired.
    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        let _ = (context, key);
    }

    /// The connection had been [joined](Stream::join) and is gone: what went through it. `on_close` follows, and says
    /// why.
    fn on_relayed(&mut self, conn: &mut Self::Conn, relayed: Relayed) {
        let _ = (conn, relayed);
    }

    /// The connection is gone, and this is its last callback.
    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: Self::Conn, reason: CloseReason) {
        let _ = (context, id, conn, reason);
    }
}

/// A datagram or packet that could not be sent.
#[derive(Clone, Copy, Debug)]
pub struct SendFailure {
    /// Where it was to go.
    pub destination: Option<SocketAddr>,
    /// Its length in bytes.
    pub len: usize,
    /// Why not.
    pub error: SendError,
}

/// What runs on datagram sockets. One value may serve several sockets.
pub trait DatagramService: 'static {
    /// The socket is on the loop.
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// A datagram has arrived.
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>);

    /// The datagrams of one batch have all been offered.
    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// After a [`Sent::Full`]: the loop's queue of the socket is empty again.
    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        let _ = socket;
    }

    /// Something came out of the error queue: an ICMP error, a send timestamp.
    fn on_error(&mut self, socket: &mut Datagrams<'_>, entry: QueueEntry) {
        let _ = (socket, entry);
    }

    /// A datagram was not sent. It concerns that datagram only.
    fn on_send_error(&mut self, socket: &mut Datagrams<'_>, failure: SendFailure) {
        let _ = (socket, failure);
    }

    /// A receive failed: a refusal of something that was sent before, or an error of the system. The socket goes on, after
    /// a pause if the error comes again and again.
    fn on_recv_error(&mut self, socket: &mut Datagrams<'_>, error: io::Error) {
        let _ = (socket, error);
    }

    /// A timer of the socket fired.
    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        let _ = (socket, key);
    }

    /// A message for the service.
    fn on_message(&mut self, socket: &mut Datagrams<'_>, message: Message) {
        let _ = (socket, message);
    }

    /// The socket is gone, and this is its last callback: closed by its service, of no use any more, or the loop ended.
    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        let _ = (context, id, reason);
    }
}

/// What runs on raw IP and ICMP sockets: the same shape as [`DatagramService`], without ports.
pub trait PacketService: 'static {
    /// The socket is on the loop.
    fn on_open(&mut self, socket: &mut Packets<'_>) {
        let _ = socket;
    }

    /// A packet has arrived. Its payload begins after the IP header.
    fn on_packet(&mut self, socket: &mut Packets<'_>, packet: Packet<'_>);

    /// The packets of one batch have all been offered.
    fn on_batch_complete(&mut self, socket: &mut Packets<'_>) {
        let _ = socket;
    }

    /// After a [`Sent::Full`]: the loop's queue of the socket is empty again.
    fn on_writable(&mut self, socket: &mut Packets<'_>) {
        let _ = socket;
    }

    /// Something came out of the error queue: an ICMP error, a send timestamp.
    fn on_error(&mut self, socket: &mut Packets<'_>, entry: QueueEntry) {
        let _ = (socket, entry);
    }

    /// A packet was not sent. It concerns that packet only.
    fn on_send_error(&mut self, socket: &mut Packets<'_>, failure: SendFailure) {
        let _ = (socket, failure);
    }

    /// A receive failed: a refusal of something that was sent before, or an error of the system. The socket goes on, after
    /// a pause if the error comes again and again.
    fn on_recv_error(&mut self, socket: &mut Packets<'_>, error: io::Error) {
        let _ = (socket, error);
    }

    /// A timer of the socket fired.
    fn on_timer(&mut self, socket: &mut Packets<'_>, key: u64) {
        let _ = (socket, key);
    }

    /// A message for the service.
    fn on_message(&mut self, socket: &mut Packets<'_>, message: Message) {
        let _ = (socket, message);
    }

    /// The socket is gone, and this is its last callback: closed by its service, of no use any more, or the loop ended.
    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        let _ = (context, id, reason);
    }
}

/// A handle for packet sockets: the operations are those of [`Datagrams`]; ports are 0 and ignored.
pub type Packets<'a> = Datagrams<'a>;

/// A received packet: as a [`Datagram`]; its `data` begins after the IP header.
pub type Packet<'a> = Datagram<'a>;
