//! [`LinkError`]: why there is no socket or ring, and what can be done about it.

use std::fmt;
use std::io;

use sockeye_socket::{Op, errno};

/// Why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkCause {
    /// The process has no CAP_NET_RAW.
    NotPermitted,
    /// There is no interface of that name, or it is gone by now.
    NoSuchInterface,
    /// The ring is above [`RingLayout::MAX_LEN`](crate::RingLayout::MAX_LEN), or the kernel has no memory for it.
    RingTooLarge,
    /// The sizes of the ring do not fit each other, or the kernel's page size.
    RingMisfit,
    /// The kernel has no packet sockets, or not this option of theirs.
    Unsupported,
    /// Descriptors or memory have run out: try again later.
    Exhausted,
    /// Anything else; the error says what.
    Other,
}

/// A socket or a ring that was not opened: what was tried, on which interface, and why it failed.
///
/// It prints as one line, with advice where the cause has a usual remedy. Into an [`io::Error`] it goes with its kind and
/// its text; [`raw_os_error`](Self::raw_os_error) keeps the errno.
#[derive(Debug)]
pub struct LinkError {
    // One pointer: a `Result` that holds it stays small.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    op: Op,
    interface: String,
    cause: LinkCause,
    source: io::Error,
}

impl LinkError {
    #[cold]
    pub(crate) fn new(op: Op, interface: &str, source: io::Error) -> Self {
        let cause = match source.raw_os_error().unwrap_or(0) {
            errno::EPERM | errno::EACCES => LinkCause::NotPermitted,
            errno::ENODEV | errno::ENXIO => LinkCause::NoSuchInterface,
            errno::EAFNOSUPPORT | errno::EPROTONOSUPPORT | errno::ENOPROTOOPT | errno::EOPNOTSUPP => {
                LinkCause::Unsupported
            }
            errno::EMFILE | errno::ENFILE | errno::ENOBUFS | errno::ENOMEM => LinkCause::Exhausted,
            _ => LinkCause::Other,
        };
        Self::because(cause, op, interface, source)
    }

    /// A failure while a ring was made, where memory and sizes are the ring's.
    #[cold]
    pub(crate) fn ring(op: Op, interface: &str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(errno::ENOMEM) => Self::because(LinkCause::RingTooLarge, op, interface, source),
            Some(errno::EINVAL) => Self::because(LinkCause::RingMisfit, op, interface, source),
            _ => Self::new(op, interface, source),
        }
    }

    fn because(cause: LinkCause, op: Op, interface: &str, source: io::Error) -> Self {
        Self {
            inner: Box::new(Inner {
                op,
                interface: interface.to_owned(),
                cause,
                source,
            }),
        }
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> LinkCause {
        self.inner.cause
    }

    /// What was tried.
    #[must_use]
    pub fn op(&self) -> Op {
        self.inner.op
    }

    /// The interface, `any` for all of them.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.inner.interface
    }

    /// The kind of the error beneath.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.inner.source.kind()
    }

    /// The errno, where the kernel gave one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.inner.source.raw_os_error()
    }

    /// What usually helps, as a clause without a full stop.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self.cause() {
            LinkCause::NotPermitted => Some("needs CAP_NET_RAW: setcap cap_net_raw+ep PROGRAM"),
            LinkCause::NoSuchInterface => Some("no such interface: ip link shows those there are"),
            LinkCause::RingTooLarge => Some("the ring is too large: fewer or smaller blocks"),
            LinkCause::RingMisfit => Some(
                "a block is a multiple of the page size, a slot a multiple of 16 bytes and at most a block",
            ),
            LinkCause::Unsupported => Some("this kernel has no packet sockets, or not this option of theirs"),
            LinkCause::Exhausted => Some("out of descriptors or memory: ulimit -n, free"),
            LinkCause::Other => None,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            op,
            interface,
            source,
            ..
        } = &*self.inner;
        let text = source.to_string();
        // Without the number that the standard library appends: `raw_os_error` has it for a program.
        let words = text.split_once(" (os error").map_or(&*text, |(words, _)| words);
        write!(f, "{op} link {interface}: {words}")?;
        match self.advice() {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.inner.source)
    }
}

impl From<LinkError> for io::Error {
    fn from(error: LinkError) -> Self {
        Self::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do() {
        let error = LinkError::new(Op::Open, "eth0", io::Error::from_raw_os_error(errno::EPERM));
        assert_eq!(error.cause(), LinkCause::NotPermitted);
        assert_eq!(
            error.to_string(),
            "open link eth0: Operation not permitted (needs CAP_NET_RAW: setcap cap_net_raw+ep PROGRAM)"
        );
        assert_eq!(error.raw_os_error(), Some(errno::EPERM));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);
        let memory = || io::Error::from_raw_os_error(errno::ENOMEM);
        let op = Op::Set("PACKET_RX_RING");
        assert_eq!(
            LinkError::ring(op, "eth0", memory()).cause(),
            LinkCause::RingTooLarge
        );
        assert_eq!(LinkError::new(op, "eth0", memory()).cause(), LinkCause::Exhausted);
    }
}
