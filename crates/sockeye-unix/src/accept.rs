//! [`AcceptOutcome`]: what an accept that failed means for the loop around it.

use std::io;

use sockeye_socket::AcceptFault;
use sockeye_socket::unix::UnixName;

use crate::UnixStream;

/// The outcome of one accept.
#[derive(Debug)]
#[must_use]
pub enum AcceptOutcome<S = UnixStream> {
    /// A connection, and the name of its peer, which mostly has none.
    Accepted(S, UnixName),
    /// Nobody waits. An edge-triggered poller reports the next one.
    Empty,
    /// A signal came between: accept again at once.
    Retry(io::Error),
    /// Descriptors or memory have run out, and whoever waits goes on waiting: accept again after a while. No event will
    /// come for those who wait already.
    BackOff(io::Error),
    /// The listener will never accept again.
    Fatal(io::Error),
}

impl<S> AcceptOutcome<S> {
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
