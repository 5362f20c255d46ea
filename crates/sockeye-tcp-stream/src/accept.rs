//! [`AcceptOutcome`]: what an accept that failed means for the loop around it.

use std::io;
use std::net::SocketAddr;

use sockeye_socket::AcceptFault;

use crate::TcpStream;

/// The outcome of one accept.
#[derive(Debug)]
#[must_use]
pub enum AcceptOutcome {
    /// A connection, and the address of its peer. The peer may have gone again already: its first read says so.
    Accepted(TcpStream, SocketAddr),
    /// Nobody waits. An edge-triggered poller reports the next one.
    Empty,
    /// This connection was lost before it could be accepted, or a signal came between: accept again at once.
    Retry(io::Error),
    /// Descriptors or memory have run out, and whoever waits goes on waiting: accept again after a while. No event will
    /// come for those who wait already, neither when a descriptor is free again nor later.
    BackOff(io::Error),
    /// The listener will never accept again.
    Fatal(io::Error),
}

impl AcceptOutcome {
    /// Classifies the error of an `accept(2)`.
    #[cold]
    pub fn of(error: io::Error) -> Self {
        match AcceptFault::of(&error) {
            AcceptFault::WouldBlock => Self::Empty,
            AcceptFault::BackOff => Self::BackOff(error),
            AcceptFault::Fatal => Self::Fatal(error),
            _ => Self::Retry(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_socket::errno;

    use super::*;

    #[test]
    fn every_error_of_accept_means_one_thing_to_do() {
        let of = |errno| match AcceptOutcome::of(io::Error::from_raw_os_error(errno)) {
            AcceptOutcome::Accepted(..) => "accepted",
            AcceptOutcome::Empty => "empty",
            AcceptOutcome::Retry(_) => "retry",
            AcceptOutcome::BackOff(_) => "back off",
            AcceptOutcome::Fatal(_) => "fatal",
        };
        assert_eq!(of(errno::EAGAIN), "empty");
        let of_the_connection = [
            errno::ECONNABORTED,
            errno::EINTR,
            errno::EPROTO,
            errno::ENETDOWN,
            errno::ENETUNREACH,
            errno::EHOSTDOWN,
            errno::EHOSTUNREACH,
            errno::ENONET,
            errno::ETIMEDOUT,
            errno::EPERM,
        ];
        for errno in of_the_connection {
            assert_eq!(of(errno), "retry", "{errno}");
        }
        for errno in [errno::EMFILE, errno::ENFILE, errno::ENOBUFS, errno::ENOMEM] {
            assert_eq!(of(errno), "back off", "{errno}");
        }
        for errno in [errno::EBADF, errno::EINVAL, errno::ENOTSOCK] {
            assert_eq!(of(errno), "fatal", "{errno}");
        }
    }
}
