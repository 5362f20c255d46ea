//! The calls a stream lives on. Nothing is looked up, copied or retried here: one call, one syscall.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::address::{ADDRESS_LEN, RawAddress};
use super::headers::{MOST, empty_header};
use super::{check, check_len, raw};
use crate::os::PollFd;

/// Bytes of an address, as the kernel counts them.
#[expect(clippy::cast_possible_truncation, reason = "28")]
const ADDRESS_SOCKLEN: libc::socklen_t = ADDRESS_LEN as libc::socklen_t;

#[inline]
pub(crate) fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
    check_len(unsafe { libc::recv(raw(fd), buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

#[inline]
pub(crate) fn recv_uninit(
    fd: BorrowedFd<'_>,
    buffer: &mut [MaybeUninit<u8>],
    flags: i32,
) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer` and reads none.
    check_len(unsafe { libc::recv(raw(fd), buffer.as_mut_ptr().cast(), buffer.len(), flags) })
}

/// Sends without raising `SIGPIPE`.
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, buffer: &[u8], flags: i32) -> io::Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads `buffer.len()` bytes of `buffer`.
    check_len(unsafe { libc::send(raw(fd), buffer.as_ptr().cast(), buffer.len(), flags) })
}

#[inline]
pub(crate) fn recv_vectored(fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let count = count(buffers.len());
    // SAFETY: `IoSliceMut` has the layout of `iovec`, and each of the first `count` borrows its bytes exclusively.
    check_len(unsafe { libc::readv(raw(fd), buffers.as_mut_ptr().cast(), count) })
}

/// Sends several slices without raising `SIGPIPE`, which `writev` cannot promise.
#[inline]
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>], flags: i32) -> io::Result<usize> {
    let mut header = empty_header();
    header.msg_iov = buffers.as_ptr().cast_mut().cast();
    header.msg_iovlen = buffers.len().min(MOST);
    // SAFETY: the header points at `msg_iovlen` slices, laid out as `iovec`, that live until the call returns and that
    // sendmsg only reads; it names no address and no control data.
    check_len(unsafe { libc::sendmsg(raw(fd), &raw const header, flags | libc::MSG_NOSIGNAL) })
}

/// Accepts one connection, nonblocking and close-on-exec, with the address of its peer.
#[inline]
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut address = RawAddress::EMPTY;
    let mut len = ADDRESS_SOCKLEN;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes at most `len` bytes into `address`, which has that many.
    let answer = unsafe { libc::accept4(raw(fd), address.as_mut_ptr().cast(), &raw mut len, flags) };
    let accepted = check(answer)?;
    // SAFETY: accept4 has just made this descriptor; nobody else owns it.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
    match address.decode(len) {
        Some(peer) => Ok((accepted, peer)),
        None => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
    }
}

/// Connects to `peer` with `buffer` in the SYN, where the kernel holds a cookie.
pub(crate) fn send_fast_open(fd: BorrowedFd<'_>, buffer: &[u8], peer: &SocketAddr) -> io::Result<usize> {
    let mut address = RawAddress::EMPTY;
    let len = address.set(peer);
    let (data, size) = (buffer.as_ptr().cast(), buffer.len());
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads `size` bytes of `buffer` and `len` bytes of `address`, which `set` says it has.
    check_len(unsafe { libc::sendto(raw(fd), data, size, flags, address.as_ptr().cast(), len) })
}

/// Connects to nobody: the peer is forgotten, a stream reset.
pub(crate) fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    let nobody = RawAddress::EMPTY;
    // SAFETY: the kernel reads `ADDRESS_LEN` bytes of `nobody`, whose family 0 is AF_UNSPEC.
    let answer = unsafe { libc::connect(raw(fd), nobody.as_ptr().cast(), ADDRESS_SOCKLEN) };
    check(answer)?;
    Ok(())
}

/// Whether the next byte to read is the one the urgent mark points at.
pub(crate) fn at_mark(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(int_of(fd, SIOCATMARK)? != 0)
}

/// One `ioctl` that answers with a count of bytes (`SIOCINQ`, `SIOCOUTQ`, `SIOCOUTQNSD`).
pub(crate) fn count_of(fd: BorrowedFd<'_>, request: Queue) -> io::Result<usize> {
    let request = match request {
        Queue::Unread => libc::FIONREAD,
        Queue::Unacked => libc::TIOCOUTQ,
        Queue::Unsent => SIOCOUTQNSD,
    };
    Ok(usize::try_from(int_of(fd, request)?).unwrap_or(0))
}

/// The int that a request answers with. A protocol that does not know it hands it on to the devices, which take whatever
/// is there for a `struct ifreq`: so there is room for one.
fn int_of(fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<libc::c_int> {
    let mut answer = [0; size_of::<libc::ifreq>() / size_of::<libc::c_int>()];
    // SAFETY: the kernel reads and writes an int, or an ifreq at most, and `answer` is as large as that.
    check(unsafe { libc::ioctl(raw(fd), request, answer.as_mut_ptr()) })?;
    let [int, ..] = answer;
    Ok(int)
}

/// Which of a stream's queues [`count_of`] measures.
#[derive(Clone, Copy)]
pub(crate) enum Queue {
    Unread,
    Unacked,
    Unsent,
}

/// asm-generic/sockios.h; not in libc.
const SIOCATMARK: libc::Ioctl = 0x8905;

/// linux/sockios.h; not in libc.
const SIOCOUTQNSD: libc::Ioctl = 0x894B;

/// Waits until `fd` has one of `events` or `timeout_ms` has passed (-1: for ever); `true` where it has.
pub(crate) fn poll_once(fd: BorrowedFd<'_>, events: i16, timeout_ms: i32) -> io::Result<i16> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one entry is passed, and it is one.
    check(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) })?;
    Ok(entry.revents)
}

/// Waits until one of `fds` is ready or `timeout_ms` has passed (-1: for ever); says how many are.
pub(crate) fn poll_all(fds: &mut [PollFd<'_>], timeout_ms: i32) -> io::Result<usize> {
    let count = fds.len() as libc::nfds_t;
    // SAFETY: `PollFd` is transparent over `pollfd`, and the slice has as many of them as are passed.
    let ready = check(unsafe { libc::poll(fds.as_mut_ptr().cast(), count, timeout_ms) })?;
    Ok(usize::try_from(ready).unwrap_or(0))
}

fn count(slices: usize) -> libc::c_int {
    #[expect(clippy::cast_possible_truncation, reason = "at most MOST")]
    let count = slices.min(MOST) as libc::c_int;
    count
}
