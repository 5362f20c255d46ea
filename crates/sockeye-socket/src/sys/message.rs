//! One message: `sendmsg` and `recvmsg`, and the error queue behind the latter.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::address::{ADDRESS_SOCKLEN, RawAddress};
use super::cmsg::{ControlWriter, RECV_CONTROL_LEN, SEND_CONTROL_LEN};
use super::control::{self, SocketClass};
use super::headers::empty_header;
use super::{Interruptions, check_len, option, raw};
use crate::message::{Incoming, Meta, Outgoing, present};

/// Where a sender is not an IP address, which no IP socket reports.
pub(crate) const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Whether a received message stays in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peek {
    No,
    Yes,
}

impl Peek {
    #[inline]
    fn flag(self) -> i32 {
        match self {
            Self::No => 0,
            Self::Yes => libc::MSG_PEEK,
        }
    }
}

/// What `recvmsg` reported beside the payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// True length of the message.
    pub(crate) len: usize,
    pub(crate) flags: i32,
    pub(crate) source: Option<SocketAddr>,
}

/// Sends one message; the error is the errno.
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, message: &Outgoing<'_>) -> Result<usize, i32> {
    let mut name = RawAddress::EMPTY;
    let name_len = message
        .destination
        .map_or(0, |destination| name.set(&destination));
    if message.extras.present == 0 {
        return send_plain(fd, message.payload, &name, name_len);
    }
    send_with_control(fd, message, &mut name, name_len)
}

/// Without control messages `sendto` does less work than `sendmsg`.
#[inline]
fn send_plain(fd: BorrowedFd<'_>, payload: &[u8], name: &RawAddress, name_len: u32) -> Result<usize, i32> {
    // Unlike sendmsg, sendto takes an address of length 0 for a wrong one.
    let name = if name_len == 0 {
        std::ptr::null()
    } else {
        name.as_ptr()
    };
    let mut interruptions = Interruptions::default();
    loop {
        // SAFETY: the kernel reads `payload` and the first `name_len` bytes behind `name`, which has as many.
        let sent = unsafe {
            libc::sendto(
                raw(fd),
                payload.as_ptr().cast(),
                payload.len(),
                libc::MSG_NOSIGNAL,
                name.cast(),
                name_len,
            )
        };
        if let Some(result) = settled(sent, &mut interruptions) {
            return result;
        }
    }
}

fn send_with_control(
    fd: BorrowedFd<'_>,
    message: &Outgoing<'_>,
    name: &mut RawAddress,
    name_len: u32,
) -> Result<usize, i32> {
    let mut buffer = ControlBuffer([0; SEND_CONTROL_LEN]);
    let mut writer = ControlWriter::new(&mut buffer.0);
    control::write(&mut writer, fd, message, &mut SocketClass::default());
    if message.extras.has(present::SEGMENT) {
        control::write_segment(&mut writer, message.extras.segment_size);
    }
    let control_len = writer.len();

    let mut iov = libc::iovec {
        iov_base: message.payload.as_ptr().cast_mut().cast(),
        iov_len: message.payload.len(),
    };
    let mut header = empty_header();
    header.msg_name = name.as_mut_ptr();
    header.msg_namelen = name_len;
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = buffer.0.as_mut_ptr().cast();
    header.msg_controllen = control_len as _;
    let mut interruptions = Interruptions::default();
    loop {
        // SAFETY: the header leads to `name`, `iov`, `buffer` and the payload, all alive and of the lengths given,
        // and sendmsg only reads them.
        let sent = unsafe { libc::sendmsg(raw(fd), &raw const header, libc::MSG_NOSIGNAL) };
        if let Some(result) = settled(sent, &mut interruptions) {
            return result;
        }
    }
}

/// The result of a send, or `None` where a signal interrupted it before anything was done.
#[inline]
fn settled(sent: libc::ssize_t, interruptions: &mut Interruptions) -> Option<Result<usize, i32>> {
    match check_len(sent) {
        Ok(sent) => Some(Ok(sent)),
        Err(error) if interruptions.allow(&error) => None,
        Err(error) => Some(Err(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

/// Receives one datagram without metadata.
#[inline]
pub(crate) fn receive_from(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    peek: Peek,
) -> io::Result<(usize, SocketAddr)> {
    let mut name = RawAddress::EMPTY;
    let mut interruptions = Interruptions::default();
    loop {
        let mut name_len = ADDRESS_SOCKLEN;
        // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer` and `name_len` into `name`.
        let received = unsafe {
            libc::recvfrom(
                raw(fd),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                peek.flag(),
                name.as_mut_ptr().cast(),
                &raw mut name_len,
            )
        };
        match check_len(received) {
            Ok(len) => return Ok((len, name.decode(name_len).unwrap_or(NO_ADDRESS))),
            Err(error) if interruptions.allow(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives one message with metadata.
#[inline]
pub(crate) fn receive<'b>(fd: BorrowedFd<'_>, buffer: &'b mut [u8], peek: Peek) -> io::Result<Incoming<'b>> {
    let mut meta = Meta::NONE;
    let (received, segment_size) = receive_raw(fd, buffer, peek.flag() | libc::MSG_TRUNC, |control| {
        control::read(control, &mut meta)
    })?;
    let payload = buffer.get(..received.len).unwrap_or(buffer);
    Ok(incoming(payload, received, segment_size, meta))
}

/// Puts together what a receive call reported.
#[inline]
pub(crate) fn incoming(
    payload: &[u8],
    received: Received,
    segment_size: Option<usize>,
    meta: Meta,
) -> Incoming<'_> {
    let mut incoming = Incoming::new(payload, received.source.unwrap_or(NO_ADDRESS));
    incoming.len = received.len;
    incoming.segment_size = segment_size;
    incoming.truncated = received.flags & libc::MSG_TRUNC != 0;
    incoming.control_truncated = received.flags & libc::MSG_CTRUNC != 0;
    incoming.meta = meta;
    incoming
}

/// `recvmsg` with a control buffer on the stack, of which `read_control` sees what the kernel wrote.
#[inline]
pub(crate) fn receive_raw<R>(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: i32,
    read_control: impl FnOnce(&[u8]) -> R,
) -> io::Result<(Received, R)> {
    let mut name = RawAddress::EMPTY;
    let mut control = MaybeUninit::<ControlBuffer<RECV_CONTROL_LEN>>::uninit();
    let mut iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut header = empty_header();
    header.msg_name = name.as_mut_ptr();
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    let mut interruptions = Interruptions::default();
    let len = loop {
        // The kernel overwrites both lengths; after an interruption they must be restored too.
        header.msg_namelen = ADDRESS_SOCKLEN;
        header.msg_controllen = RECV_CONTROL_LEN as _;
        // SAFETY: the header leads to `name`, `iov`, `control` and `buffer`, all alive, writable and of the lengths given.
        match check_len(unsafe { libc::recvmsg(raw(fd), &raw mut header, flags) }) {
            Ok(len) => break len,
            Err(error) if interruptions.allow(&error) => {}
            Err(error) => return Err(error),
        }
    };
    let control_len = control_len(&header).min(RECV_CONTROL_LEN);
    // SAFETY: the kernel wrote the first `control_len` bytes, and `control` has at least as many.
    let control = unsafe { std::slice::from_raw_parts(control.as_ptr().cast::<u8>(), control_len) };
    let received = Received {
        len,
        flags: header.msg_flags,
        source: name.decode(header.msg_namelen),
    };
    Ok((received, read_control(control)))
}

/// The path MTU of a connected socket, in bytes.
pub(crate) fn path_mtu(fd: BorrowedFd<'_>) -> Option<u32> {
    let v6 = option::get::<i32>(fd, libc::SOL_SOCKET, libc::SO_DOMAIN).ok()? == libc::AF_INET6;
    let mtu = if v6 {
        // A v6 socket connected to a mapped address keeps the path on its IPv4 side.
        option::get::<i32>(fd, libc::SOL_IPV6, libc::IPV6_MTU)
            .or_else(|_| option::get::<i32>(fd, libc::SOL_IP, libc::IP_MTU))
    } else {
        option::get::<i32>(fd, libc::SOL_IP, libc::IP_MTU)
    };
    mtu.ok().and_then(|mtu| u32::try_from(mtu).ok())
}

/// Control messages begin where a header may: at the alignment of a pointer.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct ControlBuffer<const N: usize>(pub(crate) [u8; N]);

/// Bytes of control messages that a header says it has.
#[inline]
#[allow(clippy::unnecessary_cast, reason = "a socklen_t in musl")]
pub(crate) fn control_len(header: &libc::msghdr) -> usize {
    header.msg_controllen as usize
}
