//! Why a message was not sent, told so that a caller knows what to do next.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use crate::sys;

/// What kept a message from being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The send buffer is full: wait until the socket is writable.
    WouldBlock,
    /// Larger than the path, the protocol or the socket's don't-fragment mode allows.
    TooBig {
        /// The path MTU in bytes, IP header included, where the socket is connected and the kernel knows it.
        mtu: Option<u32>,
    },
    /// No route, no such host on the link, or the network is down.
    Unreachable,
    /// A firewall or a `prohibit` route refused it, or broadcast was not enabled: lost, like on the way.
    Filtered,
    /// An earlier datagram came back: nobody listens at that port. This one was not sent either; send it again.
    Refused,
    /// The kernel has no memory or queue for it now: back off. Writability does not announce the end of it.
    Congested,
    /// An argument the kernel does not accept: port 0, TTL 0, a source that is not local, too many segments.
    Invalid,
    /// Anything else: see [`SendError::errno`].
    Other,
}

/// A message was not sent: why, and the operating system's number for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SendError {
    fault: Fault,
    errno: i32,
}

impl SendError {
    /// The fault that `errno` stands for on a datagram socket.
    #[must_use]
    pub const fn from_errno(errno: i32) -> Self {
        // EAGAIN and EWOULDBLOCK are one number on Linux.
        let fault = match errno {
            libc::EAGAIN => Fault::WouldBlock,
            libc::EMSGSIZE => Fault::TooBig { mtu: None },
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::ENODEV => {
                Fault::Unreachable
            }
            libc::EPERM | libc::EACCES => Fault::Filtered,
            libc::ECONNREFUSED | libc::ENOPROTOOPT => Fault::Refused,
            libc::ENOBUFS | libc::ENOMEM => Fault::Congested,
            libc::EINVAL | libc::EADDRNOTAVAIL | libc::EDESTADDRREQ | libc::EAFNOSUPPORT | libc::ENXIO => {
                Fault::Invalid
            }
            _ => Fault::Other,
        };
        Self { fault, errno }
    }

    /// As [`SendError::from_errno`], with the path MTU where the socket can tell it.
    #[cold]
    pub(crate) fn of_socket(fd: BorrowedFd<'_>, errno: i32) -> Self {
        let mut error = Self::from_errno(errno);
        if let Fault::TooBig { mtu } = &mut error.fault {
            *mtu = sys::message::path_mtu(fd);
        }
        error
    }

    /// What kind it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The `errno` value.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.errno
    }

    /// Whether it is [`Fault::WouldBlock`].
    #[must_use]
    pub const fn would_block(&self) -> bool {
        matches!(self.fault, Fault::WouldBlock)
    }

    /// Whether this datagram itself is at fault or met it, so that sending it again at once would fail again.
    ///
    /// `false` for a full buffer, for congestion, and for the news that an earlier datagram was refused: the datagram
    /// at hand is as good as before.
    #[must_use]
    pub const fn concerns_this_datagram(&self) -> bool {
        !matches!(self.fault, Fault::WouldBlock | Fault::Refused | Fault::Congested)
    }
}

/// Errors that the kernel keeps on a socket for the next call as well as returns for the call at hand.
pub(crate) const fn may_be_stale(errno: i32) -> bool {
    matches!(
        errno,
        libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EMSGSIZE
            | libc::EACCES
            | libc::EPROTO
            | libc::EOPNOTSUPP
    )
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::WouldBlock => "the send buffer is full",
            Fault::TooBig { mtu: Some(mtu) } => {
                return write!(f, "the datagram does not fit the path MTU of {mtu} bytes");
            }
            Fault::TooBig { mtu: None } => "the datagram is too big",
            Fault::Unreachable => "the destination cannot be reached",
            Fault::Filtered => "a filter refused the datagram",
            Fault::Refused => "an earlier datagram was refused by its destination",
            Fault::Congested => "the system has no buffer for the datagram now",
            Fault::Invalid => "the system does not accept the datagram's destination, source or options",
            Fault::Other => return fmt::Display::fmt(&io::Error::from_raw_os_error(self.errno), f),
        };
        write!(f, "{what} (os error {})", self.errno)
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("fault", &self.fault)
            .field("errno", &self.errno)
            .finish()
    }
}

impl std::error::Error for SendError {}

impl From<SendError> for io::Error {
    /// Keeps the number, and with it the [`io::ErrorKind`].
    fn from(error: SendError) -> Self {
        Self::from_raw_os_error(error.errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_has_its_fault() {
        for (errno, fault, own) in [
            (libc::EAGAIN, Fault::WouldBlock, false),
            (libc::EMSGSIZE, Fault::TooBig { mtu: None }, true),
            (libc::EHOSTUNREACH, Fault::Unreachable, true),
            (libc::ENETUNREACH, Fault::Unreachable, true),
            (libc::EPERM, Fault::Filtered, true),
            (libc::ECONNREFUSED, Fault::Refused, false),
            (libc::ENOBUFS, Fault::Congested, false),
            (libc::EINVAL, Fault::Invalid, true),
            (libc::EBADF, Fault::Other, true),
        ] {
            let error = SendError::from_errno(errno);
            assert_eq!(error.fault(), fault);
            assert_eq!(error.concerns_this_datagram(), own, "{error}");
            assert_eq!(io::Error::from(error).raw_os_error(), Some(errno));
        }
    }

    #[test]
    fn enobufs_is_congestion_and_not_readiness() {
        let error = SendError::from_errno(libc::ENOBUFS);
        assert!(!error.would_block());
        assert_ne!(io::Error::from(error).kind(), io::ErrorKind::WouldBlock);
    }
}
