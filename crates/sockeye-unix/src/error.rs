//! [`BindError`] and [`ConnectError`]: why there is no socket of that name, and why there is no connection.

use std::fmt;
use std::io;

use sockeye_socket::unix::UnixName;
use sockeye_socket::{Op, OpError, errno};

/// Why a socket could not be bound to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindCause {
    /// A live socket has the name; or something has it, and nothing was to be taken over (EADDRINUSE).
    InUse,
    /// The path is that of a directory, a file, a symbolic link or the like, which is left as it is.
    NotASocket,
    /// Another program is taking the same path over and has not finished.
    Locked,
    /// The folder or the file system does not allow it (EACCES, EPERM, EROFS).
    NotPermitted,
    /// The folder of the path does not exist, or is none (ENOENT, ENOTDIR, ELOOP).
    NoFolder,
    /// An abstract name has no permissions to set.
    NoMode,
    /// Descriptors, memory or room have run out (EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC).
    Exhausted,
    /// Anything else; the error says what.
    Other,
}

impl BindCause {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error().unwrap_or(0) {
            errno::EADDRINUSE => Self::InUse,
            errno::EACCES | errno::EPERM | errno::EROFS => Self::NotPermitted,
            errno::ENOENT | errno::ENOTDIR | errno::ELOOP => Self::NoFolder,
            errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM | errno::ENOSPC => Self::Exhausted,
            _ => Self::Other,
        }
    }
}

/// A socket that was not bound: the cause, and the [`OpError`] with the name and the errno.
///
/// The `OpError` is its [`source`](std::error::Error::source), whose source is the [`io::Error`]. Into an [`io::Error`] it goes
/// as its `OpError` does, with kind and text.
pub struct BindError {
    cause: BindCause,
    error: OpError,
}

impl BindError {
    #[cold]
    pub(crate) fn new(op: Op, name: &UnixName, error: io::Error) -> Self {
        Self {
            cause: BindCause::of(&error),
            error: OpError::unix(op, error).with_local_name(*name),
        }
    }

    /// With a cause that no errno tells.
    #[cold]
    pub(crate) fn because(cause: BindCause, name: &UnixName, kind: io::ErrorKind, why: String) -> Self {
        Self {
            cause,
            error: OpError::unix(Op::Bind, io::Error::new(kind, why)).with_local_name(*name),
        }
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> BindCause {
        self.cause
    }

    /// The name that was wanted.
    #[must_use]
    pub fn name(&self) -> Option<UnixName> {
        self.error.local_name()
    }

    pub(crate) fn into_cause(self) -> io::Error {
        self.error.into_cause()
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectCause {
    /// Nothing has that name (ENOENT, ENOTDIR, ELOOP).
    NoSuchSocket,
    /// Nobody listens there: its program is gone, or has not begun, or the path is none of a socket (ECONNREFUSED).
    Refused,
    /// This process may not connect there (EACCES, EPERM).
    NotPermitted,
    /// A socket of another type has that name (EPROTOTYPE).
    WrongType,
    /// The backlog of the listener stayed full until the caller's deadline.
    Deadline,
    /// The name for this end is taken (EADDRINUSE).
    LocalNameInUse,
    /// Descriptors or memory have run out (EMFILE, ENFILE, ENOBUFS, ENOMEM): try again later.
    Exhausted,
    /// Anything else; the error says what.
    Other,
}

impl ConnectCause {
    fn of(op: Op, error: &io::Error) -> Self {
        match (error.raw_os_error().unwrap_or(0), op) {
            (errno::ENOENT | errno::ENOTDIR | errno::ELOOP, Op::Connect) => Self::NoSuchSocket,
            (errno::ECONNREFUSED, _) => Self::Refused,
            (errno::EACCES | errno::EPERM, _) => Self::NotPermitted,
            (errno::EPROTOTYPE, _) => Self::WrongType,
            (errno::EADDRINUSE, _) => Self::LocalNameInUse,
            (errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM, _) => Self::Exhausted,
            _ => Self::Other,
        }
    }
}

/// A connection that was not made: the cause, and the [`OpError`] with both names and the errno.
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

    /// Why.
    #[must_use]
    pub fn cause(&self) -> ConnectCause {
        self.cause
    }

    /// The name of the peer that was wanted.
    #[must_use]
    pub fn peer(&self) -> Option<UnixName> {
        self.error.peer_name()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cause, self.error.peer_name()) {
            (ConnectCause::Deadline, Some(peer)) => {
                write!(
                    f,
                    "connect unix:{peer}: its backlog stayed full until the deadline"
                )
            }
            _ => fmt::Display::fmt(&self.error, f),
        }
    }
}

macro_rules! shared {
    ($($type:ident),+) => {$(
        impl $type {
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

            /// The operation, the names and the cause.
            #[must_use]
            pub fn op_error(&self) -> &OpError {
                &self.error
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    .field("cause", &self.cause)
                    .field("error", &self.error)
                    .finish()
            }
        }

        impl std::error::Error for $type {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.error)
            }
        }

        impl From<$type> for io::Error {
            fn from(error: $type) -> Self {
                error.error.into()
            }
        }

        impl From<$type> for OpError {
            fn from(error: $type) -> Self {
                error.error
            }
        }
    )+};
}

shared!(BindError, ConnectError);
