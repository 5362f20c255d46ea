//! One message of a Unix socket with what goes beside it: descriptors and credentials.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use sockeye_endpoint::UnixName;

use super::{NAME_SOCKLEN, RawName, not_unix};
use crate::sys::headers::empty_header;
use crate::sys::{check_len, cmsg, raw};

/// `SCM_MAX_FD`.
pub(crate) const MAX_FDS: usize = 253;

/// `SCM_PIDFD` (Linux 6.5); not in every libc.
const SCM_PIDFD: i32 = 4;

const FD_LEN: usize = size_of::<RawFd>();
const CREDENTIALS_LEN: usize = 12;
const SEND_LEN: usize = cmsg::space(MAX_FDS * FD_LEN) + cmsg::space(CREDENTIALS_LEN);
/// A security label (`SO_PASSSEC`) beside them must not cost the descriptors.
const RECV_LEN: usize = SEND_LEN + cmsg::space(FD_LEN) + cmsg::space(256);

/// Control bytes, aligned as the kernel wants its headers.
#[repr(C, align(8))]
struct Control<const LEN: usize>([u8; LEN]);

/// What came in one message.
#[derive(Debug)]
pub(crate) struct Received {
    /// The true length of a datagram, the bytes received of a stream.
    pub(crate) len: usize,
    pub(crate) source: UnixName,
    pub(crate) fds: Vec<OwnedFd>,
    /// Some were dropped for want of room, in the control buffer or in the table of descriptors.
    pub(crate) fds_lost: bool,
    pub(crate) credentials: Option<[u32; 3]>,
    pub(crate) pidfd: Option<OwnedFd>,
}

/// Sends `data` with at most [`MAX_FDS`] descriptors.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    data: &[u8],
    to: Option<&UnixName>,
    fds: &[BorrowedFd<'_>],
    ucred: Option<[u32; 3]>,
) -> io::Result<usize> {
    let mut control = Control([0; SEND_LEN]);
    let mut writer = cmsg::ControlWriter::new(&mut control.0);
    if !fds.is_empty() {
        let mut numbers = [0; MAX_FDS * FD_LEN];
        for (room, fd) in numbers.chunks_exact_mut(FD_LEN).zip(fds) {
            room.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
        }
        let used = fds.len().min(MAX_FDS) * FD_LEN;
        let (numbers, _) = numbers.split_at(used);
        writer.push_bytes(libc::SOL_SOCKET, libc::SCM_RIGHTS, numbers);
    }
    if let Some(numbers) = ucred {
        let mut bytes = [0; CREDENTIALS_LEN];
        for (room, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            room.copy_from_slice(&number.to_ne_bytes());
        }
        writer.push(libc::SOL_SOCKET, libc::SCM_CREDENTIALS, bytes);
    }
    let control_len = writer.len();
    let mut name = RawName::EMPTY;
    let name_len = to.map_or(0, |to| name.set(to));

    let mut slice = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let mut header = empty_header();
    if name_len > 0 {
        header.msg_name = name.as_mut_ptr();
        header.msg_namelen = name_len;
    }
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    if control_len > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control_len as _;
    }
    // SAFETY: the header points at one slice of `data`, `name_len` bytes of `name` and `control_len` bytes of `control`;
    // sendmsg reads them and writes none, and all live until it returns. The descriptors are borrowed for as long.
    check_len(unsafe { libc::sendmsg(raw(socket), &raw const header, libc::MSG_NOSIGNAL) })
}

/// Receives one message with its descriptors, close-on-exec. `datagram` reports the true length of what was cut.
pub(crate) fn recv(socket: BorrowedFd<'_>, data: &mut [u8], datagram: bool) -> io::Result<Received> {
    let mut control = Control([0; RECV_LEN]);
    let mut name = RawName::EMPTY;
    let mut slice = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    let mut header = empty_header();
    header.msg_name = name.as_mut_ptr();
    header.msg_namelen = NAME_SOCKLEN;
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = RECV_LEN as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if datagram { libc::MSG_TRUNC } else { 0 };
    // SAFETY: the header points at one slice of `data`, borrowed exclusively, at `name` and `control`, with their lengths.
    let len = check_len(unsafe { libc::recvmsg(raw(socket), &raw mut header, flags) })?;

    #[expect(clippy::unnecessary_cast, reason = "socklen_t with some C libraries")]
    let control_len = (header.msg_controllen as usize).min(RECV_LEN);
    let mut received = Received {
        len,
        source: UnixName::UNNAMED,
        fds: Vec::new(),
        fds_lost: header.msg_flags & libc::MSG_CTRUNC != 0,
        credentials: None,
        pidfd: None,
    };
    // Before anything can fail: what the kernel has installed has an owner from here on.
    for message in cmsg::messages(control.0.get(..control_len).unwrap_or(&control.0)) {
        if message.level != libc::SOL_SOCKET {
            continue;
        }
        match message.kind {
            libc::SCM_RIGHTS => received
                .fds
                .extend(message.data.chunks_exact(FD_LEN).filter_map(own)),
            SCM_PIDFD => received.pidfd = message.data.get(..FD_LEN).and_then(own),
            libc::SCM_CREDENTIALS => received.credentials = credentials(message.data),
            _ => {}
        }
    }
    received.source = name.decode(header.msg_namelen).ok_or_else(not_unix)?;
    Ok(received)
}

/// The descriptor whose number a control message holds; `None` for the negative number of a failure.
fn own(bytes: &[u8]) -> Option<OwnedFd> {
    let number = RawFd::from_ne_bytes(bytes.try_into().ok()?);
    if number < 0 {
        return None;
    }
    // SAFETY: `recv` alone calls this, once for each descriptor that the kernel has just installed for its message;
    // nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A `struct ucred`: process, user and group.
pub(crate) fn credentials(bytes: &[u8]) -> Option<[u32; 3]> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    Some([word(0)?, word(4)?, word(8)?])
}
