//! Bytes moved by the kernel, from file to socket and from socket to socket, without a copy in the program.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::transfer as sys;

/// Sends up to `len` bytes of `file` from `*offset` on into `out`, and advances `*offset` by what was sent, which is
/// returned: 0 at the end of the file.
///
/// `file` is something that can be mapped, a regular file above all; its own position is not used. The kernel moves at
/// most 2,147,479,552 bytes a call.
///
/// A peer that is gone is `BrokenPipe`, never `SIGPIPE`: the signal is blocked during the call, as there is no flag
/// against it.
///
/// # Errors
///
/// `WouldBlock` when `out` has no room, `BrokenPipe` and `ConnectionReset` as in a write, EOVERFLOW where `*offset` is
/// beyond 2^63.
///
/// # References
///
/// [sendfile(2)](https://man7.org/linux/man-pages/man2/sendfile.2.html)
#[inline]
pub fn sendfile(out: impl AsFd, file: impl AsFd, offset: &mut u64, len: usize) -> io::Result<usize> {
    sys::sendfile(out.as_fd(), file.as_fd(), offset, len)
}

/// Moves up to `len` bytes from one descriptor to another and returns how many; one of the two is a pipe. 0 is the end
/// of what is read from. `more` tells a socket that more follows at once, as `MSG_MORE` does.
///
/// # Errors
///
/// `WouldBlock` when there is nothing to read or no room to write; which of the two, only the pipe's owner knows, by
/// counting. `InvalidInput` where neither is a pipe.
///
/// # References
///
/// [splice(2)](https://man7.org/linux/man-pages/man2/splice.2.html)
#[inline]
pub fn splice(from: impl AsFd, to: impl AsFd, len: usize, more: bool) -> io::Result<usize> {
    sys::splice(from.as_fd(), to.as_fd(), len, more)
}

/// A pipe that knows how full it is, for splicing from one socket to another.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// # let (from, to) = (std::net::TcpStream::connect("127.0.0.1:1")?, std::net::TcpStream::connect("127.0.0.1:2")?);
/// let mut pipe = sockeye_socket::os::Pipe::new()?;
/// pipe.fill_from(&from, usize::MAX)?;
/// pipe.drain_into(&to, false)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
    filled: usize,
}

impl Pipe {
    /// An empty pipe, nonblocking and close-on-exec, of the kernel's usual capacity (64 KiB).
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE at a limit of descriptors.
    pub fn new() -> io::Result<Self> {
        let (read, write) = sys::pipe()?;
        let capacity = sys::pipe_capacity(write.as_fd())?;
        Ok(Self {
            read,
            write,
            capacity,
            filled: 0,
        })
    }

    /// The same with room for at least `bytes`; the kernel rounds up to a power of two of pages.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); `PermissionDenied` above `/proc/sys/fs/pipe-max-size` (1 MiB) without `CAP_SYS_RESOURCE`.
    pub fn with_capacity(bytes: usize) -> io::Result<Self> {
        let mut pipe = Self::new()?;
        pipe.capacity = sys::set_pipe_capacity(pipe.write.as_fd(), bytes)?;
        Ok(pipe)
    }

    /// Bytes it holds when it is full and every page of it is. Splicing small segments fills it earlier.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Moves up to `len` bytes out of `from` into the pipe; 0 is the end of `from`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when `from` has nothing, or the pipe no room: it is the latter only while the pipe
    /// [is not empty](Self::is_empty).
    pub fn fill_from(&mut self, from: impl AsFd, len: usize) -> io::Result<usize> {
        let moved = sys::splice_into_pipe(from.as_fd(), self.write.as_fd(), len.min(self.capacity))?;
        self.filled += moved;
        Ok(moved)
    }

    /// Moves what is in the pipe into `to`, as much as goes in at once.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when `to` has no room; the bytes stay in the pipe.
    pub fn drain_into(&mut self, to: impl AsFd, more: bool) -> io::Result<usize> {
        if self.filled == 0 {
            return Ok(0);
        }
        let moved = splice(&self.read, to, self.filled, more)?;
        self.filled -= moved.min(self.filled);
        Ok(moved)
    }

    /// Takes out what is in the pipe, and closes it. No descriptor is made for that.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when bytes were taken through [`read_end`](Self::read_end) that were not counted.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.filled];
        // Without its writer an empty pipe is an end, and nothing to wait for.
        drop(self.write);
        File::from(self.read).read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The end that is read from. Bytes taken here and not through [`drain_into`](Self::drain_into) are not counted.
    #[must_use]
    pub fn read_end(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// The end that is written to. Bytes put in here and not through [`fill_from`](Self::fill_from) are not counted.
    #[must_use]
    pub fn write_end(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn sendfile_starts_at_the_offset_and_ends_with_the_file() {
        // This very file is a regular file of known content.
        let text = include_bytes!("transfer.rs");
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/src/os/transfer.rs")).unwrap();
        let (out, mut into) = pair();
        let mut offset = 100;
        assert_eq!(sendfile(&out, &file, &mut offset, 50).unwrap(), 50);
        assert_eq!(offset, 150);
        while sendfile(&out, &file, &mut offset, usize::MAX >> 1).unwrap() > 0 {}
        drop(out);
        let mut received = Vec::new();
        into.read_to_end(&mut received).unwrap();
        assert_eq!(received, text[100..]);
        assert!(sendfile(&into, &file, &mut u64::MAX.clone(), 1).is_err());
    }

    #[test]
    fn what_is_in_a_pipe_can_be_taken_whole() {
        let (mut source, from) = pair();
        let mut pipe = Pipe::with_capacity(100_000).unwrap();
        source.write_all(&[7; 60_000]).unwrap();
        drop(source);
        while pipe.fill_from(&from, 100_000).unwrap() > 0 {}
        assert_eq!(pipe.into_bytes().unwrap(), vec![7; 60_000]);
        assert_eq!(Pipe::new().unwrap().into_bytes().unwrap(), b"");

        let mut taken = Pipe::new().unwrap();
        let (mut gives, from) = pair();
        gives.write_all(b"lost").unwrap();
        taken.fill_from(&from, 4).unwrap();
        let end = taken.read_end().try_clone_to_owned().unwrap();
        File::from(end).read_exact(&mut [0; 4]).unwrap();
        assert_eq!(
            taken.into_bytes().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_pipe_relays_and_counts() {
        let (mut source, from) = pair();
        let (to, mut sink) = pair();
        from.set_nonblocking(true).unwrap();
        let mut pipe = Pipe::with_capacity(100_000).unwrap();
        assert_eq!(pipe.capacity(), 131_072);
        assert_eq!(
            pipe.fill_from(&from, 10).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(pipe.drain_into(&to, false).unwrap(), 0);

        source.write_all(b"through the kernel").unwrap();
        assert_eq!(pipe.fill_from(&from, 7).unwrap(), 7);
        assert_eq!(pipe.len(), 7);
        assert_eq!(pipe.drain_into(&to, true).unwrap(), 7);
        drop(source);
        assert_eq!(pipe.fill_from(&from, 100).unwrap(), 11);
        assert_eq!(pipe.drain_into(&to, false).unwrap(), 11);
        assert!(pipe.is_empty());
        assert_eq!(pipe.fill_from(&from, 100).unwrap(), 0);
        drop(to);
        let mut received = Vec::new();
        sink.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"through the kernel");
    }
}
