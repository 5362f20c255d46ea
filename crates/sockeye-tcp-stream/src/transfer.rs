//! Files and other streams into a stream, moved by the kernel.

use std::io;
use std::os::fd::AsFd;

use sockeye_socket::os::{self, Pipe};

use crate::TcpStream;

impl TcpStream {
    /// Sends up to `len` bytes of `file` from `*offset` on, and advances `*offset` by what went, which is returned: 0 at
    /// the end of the file. Nothing passes through this program, and no `SIGPIPE` is raised.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room, else as a write.
    ///
    /// # References
    ///
    /// [sendfile(2)](https://man7.org/linux/man-pages/man2/sendfile.2.html)
    #[doc(alias = "sendfile")]
    pub fn send_file(&self, file: impl AsFd, offset: &mut u64, len: usize) -> io::Result<usize> {
        os::sendfile(self, file, offset, len)
    }

    /// Moves up to `len` bytes that have come into `pipe`; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing has come, or, while the pipe is not empty, perhaps because it has no room.
    #[doc(alias = "splice")]
    pub fn splice_into(&self, pipe: &mut Pipe, len: usize) -> io::Result<usize> {
        pipe.fill_from(self, len)
    }

    /// Sends what is in `pipe`; `more` holds back a last part of a segment for what follows.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room, the rest stays in the pipe; else as a write, without `SIGPIPE`.
    #[doc(alias = "splice")]
    pub fn splice_from(&self, pipe: &mut Pipe, more: bool) -> io::Result<usize> {
        pipe.drain_into(self, more)
    }
}
