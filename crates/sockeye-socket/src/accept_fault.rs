//! What an accept that failed means for the one who goes on accepting.

use std::io;

/// What to do after an accept that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcceptFault {
    /// No connection waits.
    WouldBlock,
    /// It concerned one connection, or a signal came: accept the next at once.
    Retry,
    /// Descriptors or memory are used up: accept again later, or when something was closed. An edge-triggered
    /// listener gives no further event for the connections that wait already.
    BackOff,
    /// The listener itself is of no use any more.
    Fatal,
}

impl AcceptFault {
    /// The meaning of an error of `accept4(2)`. Linux hands network errors of the new connection to the accept
    /// that would have returned it; they say nothing about the listener.
    ///
    /// # References
    /// [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html), "Error handling"
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::WouldBlock,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC) => Self::BackOff,
            Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EFAULT) => {
                Self::Fatal
            }
            Some(_) => Self::Retry,
            None if error.kind() == io::ErrorKind::WouldBlock => Self::WouldBlock,
            None if error.kind() == io::ErrorKind::OutOfMemory => Self::BackOff,
            None => Self::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_connection_do_not_stop_the_listener() {
        let of = |errno| AcceptFault::of(&io::Error::from_raw_os_error(errno));
        assert_eq!(of(libc::ECONNABORTED), AcceptFault::Retry);
        assert_eq!(of(libc::EHOSTUNREACH), AcceptFault::Retry);
        assert_eq!(of(libc::EPERM), AcceptFault::Retry);
        assert_eq!(of(libc::EINTR), AcceptFault::Retry);
        assert_eq!(of(libc::EMFILE), AcceptFault::BackOff);
        assert_eq!(of(libc::ENOBUFS), AcceptFault::BackOff);
        assert_eq!(of(libc::EAGAIN), AcceptFault::WouldBlock);
        assert_eq!(of(libc::EINVAL), AcceptFault::Fatal);
        assert_eq!(
            AcceptFault::of(&io::ErrorKind::WouldBlock.into()),
            AcceptFault::WouldBlock
        );
    }
}
