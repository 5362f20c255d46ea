//! Bytes that move between descriptors without passing through the program.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_len, raw};

/// The most bytes one call moves (`MAX_RW_COUNT`). More is EINVAL where the offset would overflow.
const MOVE_MAX: usize = 0x7fff_f000;

/// Moves up to `len` bytes of `file` from `offset` on into `out`, and advances `offset` by what was moved.
pub(crate) fn sendfile(
    out: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    offset: &mut u64,
    len: usize,
) -> io::Result<usize> {
    let overflow = |_| io::Error::from_raw_os_error(libc::EOVERFLOW);
    let mut position = libc::off64_t::try_from(*offset).map_err(overflow)?;
    let len = len.min(MOVE_MAX);
    let moved = without_sigpipe(|| {
        // SAFETY: the kernel reads and writes one offset, and `position` is one.
        check_len(unsafe { libc::sendfile64(raw(out), raw(file), &raw mut position, len) })
    })?;
    *offset += moved as u64;
    Ok(moved)
}

/// Moves up to `len` bytes from one descriptor to another, one of which is a pipe.
pub(crate) fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize, more: bool) -> io::Result<usize> {
    without_sigpipe(|| splice_once(from, to, len, more))
}

/// The same into a pipe that has a reader for certain: no `SIGPIPE` can come of it, and none is guarded against.
pub(crate) fn splice_into_pipe(from: BorrowedFd<'_>, pipe: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    splice_once(from, pipe, len, false)
}

fn splice_once(from: BorrowedFd<'_>, to: BorrowedFd<'_>, len: usize, more: bool) -> io::Result<usize> {
    let more = if more { libc::SPLICE_F_MORE } else { 0 };
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | more;
    let here = std::ptr::null_mut();
    // SAFETY: null offsets mean the descriptors' own positions; nothing else is passed by address.
    check_len(unsafe { libc::splice(raw(from), here, raw(to), here, len.min(MOVE_MAX), flags) })
}

/// Runs a call that has no flag against `SIGPIPE` with the signal blocked in this thread, and takes away the one it has
/// raised. A signal that was blocked before stays the caller's. Where the program ignores the signal, as Rust's do unless
/// they change it, there is nothing to block.
fn without_sigpipe(call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    if is_sigpipe_ignored() {
        return call();
    }
    let mut sigpipe = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the call initialises the set it is given.
    unsafe { libc::sigemptyset(sigpipe.as_mut_ptr()) };
    // SAFETY: the set has been initialised, and SIGPIPE is a signal.
    unsafe { libc::sigaddset(sigpipe.as_mut_ptr(), libc::SIGPIPE) };
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: reads the one set, writes the other.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, sigpipe.as_ptr(), before.as_mut_ptr()) };

    let answer = call();

    // SAFETY: the set has been initialised by pthread_sigmask.
    let was_blocked = unsafe { libc::sigismember(before.as_ptr(), libc::SIGPIPE) } == 1;
    if !was_blocked && matches!(&answer, Err(error) if error.raw_os_error() == Some(libc::EPIPE)) {
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: reads a set and a time; a null siginfo is allowed.
        unsafe { libc::sigtimedwait(sigpipe.as_ptr(), std::ptr::null_mut(), &raw const at_once) };
    }
    // SAFETY: reads the set that pthread_sigmask has written; a null old set is allowed.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    answer
}

/// Asked each time: one cheap call, and right whoever changes it.
fn is_sigpipe_ignored() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action changes nothing; the call writes one sigaction.
    let answer = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed before, and a sigaction may be all zero bits.
    let action = unsafe { action.assume_init() };
    answer == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// A pipe, nonblocking and close-on-exec: the end to read from, the end to write to.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two descriptors into an array of two.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    let [read, write] = ends;
    // SAFETY: pipe2 has just made this descriptor; nobody else owns it.
    let read = unsafe { OwnedFd::from_raw_fd(read) };
    // SAFETY: likewise.
    let write = unsafe { OwnedFd::from_raw_fd(write) };
    Ok((read, write))
}

/// The bytes a pipe holds before it is full.
pub(crate) fn pipe_capacity(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: the command takes no argument.
    let bytes = check(unsafe { libc::fcntl(raw(pipe), libc::F_GETPIPE_SZ) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Asks for a capacity and returns the one the kernel has rounded it up to.
pub(crate) fn set_pipe_capacity(pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let bytes = libc::c_int::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the command takes an int.
    let bytes = check(unsafe { libc::fcntl(raw(pipe), libc::F_SETPIPE_SZ, bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
