//! What became of things: writes, connections, connects, datagrams. Plain data, told to services.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use sockeye_endpoint::UnixName;
use sockeye_socket::SendError;
use sockeye_socket::unix::Credentials;

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

/// Who is at the other side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Peer {
    /// Another host, or this one, by IP.
    Ip(SocketAddr),
    /// Another process of this host.
    Unix {
        /// Its socket's name: unnamed, if it connected to here and did not bind.
        name: UnixName,
        /// The process, user and group that connected or listened, as the kernel noted them then.
        credentials: Option<Credentials>,
    },
    /// The other end of a pair, in this loop.
    Pair,
}

/// Where a connect goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PeerName {
    /// An address and a TCP port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(UnixName),
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(name) => write!(f, "unix:{name}"),
        }
    }
}

/// What a connection answers about its two ends, in the place of what its socket knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// For [`Stream::peer`](crate::Stream::peer), and for `peer_addr` if it is one of IP.
    pub peer: Peer,
    /// For `local_addr` or `local_unix`, whichever it is. `None`: there is neither.
    pub local: Option<PeerName>,
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
    pub attempts: Vec<(PeerName, io::Error)>,
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
