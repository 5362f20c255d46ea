//! Descriptors as control messages of a Unix socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::stream::empty_header;
use super::{check_len, cmsg, raw};

/// `SCM_MAX_FD`.
pub(crate) const MAX_FDS: usize = 253;

const FD_LEN: usize = size_of::<RawFd>();
/// A control message for each descriptor: the kernel gathers them.
const SEND_LEN: usize = MAX_FDS * cmsg::space(FD_LEN);
const RECV_LEN: usize = cmsg::space(MAX_FDS * FD_LEN);

/// Control bytes, aligned as the kernel wants its headers.
#[repr(C, align(8))]
struct Control<const LEN: usize>([u8; LEN]);

/// What came in one message.
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) fds: Vec<OwnedFd>,
    /// Some were dropped for want of room, in the control buffer or in the table of descriptors.
    pub(crate) truncated: bool,
}

/// Sends `data` with at most [`MAX_FDS`] descriptors.
pub(crate) fn send(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut control = Control([0; SEND_LEN]);
    let mut writer = cmsg::ControlWriter::new(&mut control.0);
    for fd in fds.iter().take(MAX_FDS) {
        writer.push(libc::SOL_SOCKET, libc::SCM_RIGHTS, fd.as_raw_fd().to_ne_bytes());
    }
    let control_len = writer.len();

    let mut slice = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let mut header = empty_header();
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control_len as _;
    // SAFETY: the header points at one slice of `data` and `control_len` bytes of `control`; sendmsg reads both and
    // writes neither, and both live until it returns. The descriptors are borrowed for as long.
    check_len(unsafe { libc::sendmsg(raw(socket), &raw const header, libc::MSG_NOSIGNAL) })
}

/// Receives one message with its descriptors, close-on-exec.
pub(crate) fn recv(socket: BorrowedFd<'_>, data: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; RECV_LEN]);
    let mut slice = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    let mut header = empty_header();
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = RECV_LEN as _;
    // SAFETY: the header points at one slice of `data`, borrowed exclusively, and at `control`, with their lengths.
    let len = check_len(unsafe { libc::recvmsg(raw(socket), &raw mut header, libc::MSG_CMSG_CLOEXEC) })?;

    #[expect(clippy::unnecessary_cast, reason = "socklen_t with some C libraries")]
    let control_len = (header.msg_controllen as usize).min(RECV_LEN);
    let mut fds = Vec::new();
    for message in cmsg::messages(control.0.get(..control_len).unwrap_or(&control.0)) {
        if (message.level, message.kind) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            continue;
        }
        for bytes in message.data.chunks_exact(FD_LEN) {
            let Ok(bytes) = bytes.try_into() else { continue };
            // SAFETY: the kernel has just installed this descriptor for this message; nobody else owns it.
            fds.push(unsafe { OwnedFd::from_raw_fd(RawFd::from_ne_bytes(bytes)) });
        }
    }
    Ok(Received {
        len,
        fds,
        truncated: header.msg_flags & libc::MSG_CTRUNC != 0,
    })
}
