//! Waiting for descriptors of any kind, in order.

use std::fs::{File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// A descriptor, what to wait for on it, and what [`poll`] found.
///
/// # References
/// poll(2).
#[doc(alias = "pollfd")]
#[repr(transparent)]
pub struct PollFd<'fd> {
    pub(crate) raw: libc::pollfd,
    fd: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> PollFd<'fd> {
    /// Waits for something to read, for room to write, for both, or with neither for errors and hang-ups only.
    #[must_use]
    pub fn new(fd: BorrowedFd<'fd>, readable: bool, writable: bool) -> Self {
        let events = if readable { libc::POLLIN } else { 0 } | if writable { libc::POLLOUT } else { 0 };
        Self {
            raw: libc::pollfd {
                fd: fd.as_raw_fd(),
                events,
                revents: 0,
            },
            fd: PhantomData,
        }
    }

    /// Whether a read would not block: there is data, an end, or an error to be read. Regular files, folders and
    /// `/dev/null` always are.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.raw.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }

    /// Whether a write would not block: of a pipe that is at least a page, of a terminal at least a byte. Or it would fail.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.raw.revents & (libc::POLLOUT | libc::POLLERR | libc::POLLNVAL) != 0
    }
}

impl std::fmt::Debug for PollFd<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollFd")
            .field("fd", &self.raw.fd)
            .field("events", &self.raw.events)
            .field("revents", &self.raw.revents)
            .finish()
    }
}

/// Waits until one of the descriptors is ready, at most `timeout` (`None`: for as long as it takes; rounded up to
/// milliseconds), and says how many are. Unlike epoll(7) it takes regular files, which are always ready. The cost grows
/// with the number of descriptors: for a few, such as those of a loop and of the standard streams.
///
/// # Errors
/// `Interrupted` by a signal; `InvalidInput` for more descriptors than the process may have.
///
/// # References
/// poll(2).
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let timeout_ms = match timeout {
        None => -1,
        Some(timeout) => i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX),
    };
    crate::sys::stream::poll_all(fds, timeout_ms)
}

/// Opens what a descriptor refers to once more, for writing without blocking: a pipe or a terminal that was handed down.
/// To switch the descriptor itself would switch it for everybody who has it, the shell among them.
///
/// # Errors
/// What `open(2)` says of `/proc/self/fd`: `NotFound` without `/proc`, `ENXIO` for a socket,
/// `PermissionDenied` for the terminal of somebody else.
///
/// # References
/// proc_pid_fd(5), open(2).
pub fn reopen_nonblocking(fd: impl AsFd) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write as _};

    use super::*;

    #[test]
    fn each_descriptor_has_its_own_answer() {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::open("/dev/null").unwrap();
        let mut fds = [
            PollFd::new(reader.as_fd(), true, false),
            PollFd::new(writer.as_fd(), false, true),
            PollFd::new(file.as_fd(), true, false),
        ];
        assert_eq!(poll(&mut fds, None).unwrap(), 2);
        assert_eq!(fds.each_ref().map(PollFd::is_readable), [false, false, true]);
        assert!(fds[1].is_writable());
        assert_eq!(poll(&mut fds[..1], Some(Duration::from_nanos(1))).unwrap(), 0);
        (&writer).write_all(b"x").unwrap();
        assert_eq!(poll(&mut fds[..1], None).unwrap(), 1);
        assert!(fds[0].is_readable());
    }

    #[test]
    fn a_pipe_opened_once_more_does_not_block_and_the_first_still_does() {
        let (_reader, writer) = io::pipe().unwrap();
        let mut again = reopen_nonblocking(&writer).unwrap();
        // More than any pipe holds.
        let full = again.write_all(&vec![0; 4 << 20]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", writer.as_raw_fd())).unwrap();
        let flags = flags
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap()
            .trim();
        assert_eq!(
            i32::from_str_radix(flags, 8).unwrap() & libc::O_NONBLOCK,
            0,
            "{flags}"
        );
    }

    #[test]
    fn a_pipe_without_a_reader_is_broken_and_a_socket_cannot_be_opened() {
        let (reader, writer) = io::pipe().unwrap();
        let mut again = reopen_nonblocking(&writer).unwrap();
        drop(reader);
        // A process that a test beside this one starts has the reader too, for a moment.
        let broken = (0..500).any(|_| {
            let broken = again
                .write(b"x")
                .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
            if !broken {
                std::thread::sleep(Duration::from_millis(10));
            }
            broken
        });
        assert!(broken);
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(
            reopen_nonblocking(socket).unwrap_err().raw_os_error(),
            Some(libc::ENXIO)
        );
    }
}
