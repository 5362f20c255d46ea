//! What an error of a stream's read or write says: about this call, about the memory of the system, or about the
//! connection.

use std::io;

use sockeye_socket::errno::{ENOBUFS, ENOMEM};

/// What to do after a read or write that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Not now: the next event says when.
    Blocked,
    /// A signal came in between: the same call again.
    Repeat,
    /// The system had no memory for it. No event follows: again after a pause.
    Later,
    /// The connection is over.
    Over,
}

/// Interruptions in a row that are repeated at once; after that the call is made again later.
pub(crate) const REPEATS: u32 = 16;

impl Fault {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Blocked,
            io::ErrorKind::Interrupted => Self::Repeat,
            io::ErrorKind::OutOfMemory => Self::Later,
            _ if matches!(error.raw_os_error(), Some(ENOBUFS | ENOMEM)) => Self::Later,
            _ => Self::Over,
        }
    }
}

/// Makes a call again while signals interrupt it, up to [`REPEATS`] times.
pub(crate) fn repeated<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..REPEATS {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
    // Interrupted each time: as a call that the system could not serve now.
    Err(io::Error::from_raw_os_error(ENOBUFS))
}
