//! [`ConnectError`]: why there is no connection.

use std::fmt;
use std::io;

use sockeye_endpoint::Endpoint;
use sockeye_socket::{Op, OpError, errno};

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectCause {
    /// The host answered that nothing listens there (ECONNREFUSED).
    Refused,
    /// The connection came about and was reset before it could be used (ECONNRESET).
    Reset,
    /// The kernel has sent its SYNs and heard nothing (ETIMEDOUT).
    TimedOut,
    /// The caller's deadline has passed first.
    Deadline,
    /// No route leads to that network (ENETUNREACH).
    NoRoute,
    /// The route leads to no such host, or is an unreachable one (EHOSTUNREACH).
    HostUnreachable,
    /// A prohibiting route or a firewall forbids it (EACCES, EPERM on connecting).
    Prohibited,
    /// A blackhole route, or an address that cannot be connected to (EINVAL on connecting).
    Blackholed,
    /// No ephemeral port is free towards this peer, or the source is not this host's (EADDRNOTAVAIL).
    NoLocalAddress,
    /// The source is taken (EADDRINUSE).
    LocalAddressInUse,
    /// The kernel chose the peer's own port as the source, and the socket connected to itself.
    Itself,
    /// Descriptors or memory have run out (EMFILE, ENFILE, ENOBUFS, ENOMEM): try again later.
    Exhausted,
    /// Anything else; the error says what.
    Other,
}

impl ConnectCause {
    fn of(op: Op, error: &io::Error) -> Self {
        match (error.raw_os_error().unwrap_or(0), op) {
            (errno::ECONNREFUSED, _) => Self::Refused,
            (errno::ECONNRESET | errno::ECONNABORTED | errno::EPIPE, _) => Self::Reset,
            (errno::ETIMEDOUT, _) => Self::TimedOut,
            (errno::ENETUNREACH | errno::ENETDOWN, _) => Self::NoRoute,
            (errno::EHOSTUNREACH | errno::EHOSTDOWN, _) => Self::HostUnreachable,
            (errno::EACCES | errno::EPERM, Op::Connect) => Self::Prohibited,
            (errno::EINVAL, Op::Connect) => Self::Blackholed,
            (errno::EADDRNOTAVAIL, _) => Self::NoLocalAddress,
            (errno::EADDRINUSE, _) => Self::LocalAddressInUse,
            (errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM, _) => Self::Exhausted,
            _ => Self::Other,
        }
    }
}

/// A connection that was not made: the cause, and the [`OpError`] with both ends and the errno.
///
/// The `OpError` is its [`source`](std::error::Error::source), whose source is the [`io::Error`]. Into an [`io::Error`] it goes
/// as its `OpError` does, with kind and text.
pub struct ConnectError {
    cause: ConnectCause,
    error: OpError,
}

impl ConnectError {
    #[cold]
    pub(crate) fn new(error: OpError) -> Self {
        Self {
            cause: ConnectCause::of(error.op(), error.io_error()),
            error,
        }
    }

    #[cold]
    pub(crate) fn deadline(error: OpError) -> Self {
        Self {
            cause: ConnectCause::Deadline,
            error,
        }
    }

    #[cold]
    pub(crate) fn itself(error: OpError) -> Self {
        Self {
            cause: ConnectCause::Itself,
            error,
        }
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> ConnectCause {
        self.cause
    }

    /// The peer that was wanted.
    #[must_use]
    pub fn peer(&self) -> Option<Endpoint> {
        self.error.peer()
    }

    /// The kind of the error beneath.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }

    /// The errno, where the kernel gave one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }

    /// The operation, both ends and the cause.
    #[must_use]
    pub fn op_error(&self) -> &OpError {
        &self.error
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cause, self.error.peer()) {
            (ConnectCause::Itself, Some(peer)) => {
                write!(
                    f,
                    "connect {peer}: the socket connected to itself (nothing listens there)"
                )
            }
            (ConnectCause::Deadline, Some(peer)) => {
                write!(f, "connect {peer}: no answer before the deadline")
            }
            _ => fmt::Display::fmt(&self.error, f),
        }
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectError")
            .field("cause", &self.cause)
            .field("error", &self.error)
            .finish()
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        error.error.into()
    }
}

impl From<ConnectError> for OpError {
    fn from(error: ConnectError) -> Self {
        error.error
    }
}
