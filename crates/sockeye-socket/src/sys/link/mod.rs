//! Packet sockets: link-layer addresses in the kernel's layout, and the calls that take or return one.

use std::io;
use std::os::fd::BorrowedFd;

use super::{Interruptions, abi, check, check_len, cmsg, control, raw};
use crate::link::{FrameMeta, LinkAddress, PacketType};

pub(crate) mod batch;
pub(crate) mod ring;

/// `sizeof(struct sockaddr_ll)`.
pub(crate) const ADDRESS_LEN: usize = 20;
/// The same as the kernel counts it.
pub(crate) const ADDRESS_SOCKLEN: libc::socklen_t = 20;

/// Room for everything that comes beside a frame: `PACKET_AUXDATA`, `SO_TIMESTAMPNS`, `SO_RXQ_OVFL`.
pub(crate) const CONTROL_LEN: usize = cmsg::space(AUXDATA_LEN) + cmsg::space(16) + cmsg::space(4);
const AUXDATA_LEN: usize = 20;

/// A `sockaddr_ll` in the kernel's layout.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
pub(crate) struct RawLinkAddress([u8; ADDRESS_LEN]);

impl RawLinkAddress {
    pub(crate) const EMPTY: Self = Self([0; ADDRESS_LEN]);

    pub(crate) fn of(address: &LinkAddress) -> Self {
        let mut bytes = [0; ADDRESS_LEN];
        #[expect(clippy::cast_possible_truncation, reason = "AF_PACKET is 17")]
        let family = libc::AF_PACKET as u16;
        bytes[..2].copy_from_slice(&family.to_ne_bytes());
        bytes[2..4].copy_from_slice(&address.protocol.to_be_bytes());
        bytes[4..8].copy_from_slice(&address.interface.to_ne_bytes());
        bytes[8..10].copy_from_slice(&address.hardware_type.to_ne_bytes());
        bytes[10] = address.packet_type.number();
        let hardware = address.hardware();
        bytes[11] = u8::try_from(hardware.len()).unwrap_or(0);
        for (room, byte) in bytes[12..].iter_mut().zip(hardware) {
            *room = *byte;
        }
        Self(bytes)
    }

    pub(crate) fn decode(&self) -> LinkAddress {
        decode(&self.0)
    }
}

/// The address in the bytes of a `sockaddr_ll`; what is missing at their end counts as 0.
pub(crate) fn decode(bytes: &[u8]) -> LinkAddress {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut hardware = [0; 8];
    for (at, room) in hardware.iter_mut().enumerate() {
        *room = byte(12 + at);
    }
    // The kernel counts the whole address, of which only eight bytes have room.
    let len = usize::from(byte(11)).min(hardware.len());
    let interface = u32::from_ne_bytes([byte(4), byte(5), byte(6), byte(7)]);
    let protocol = u16::from_be_bytes([byte(2), byte(3)]);
    let mut address = LinkAddress::new(interface, protocol).with_hardware(hardware.get(..len).unwrap_or(&[]));
    address.hardware_type = u16::from_ne_bytes([byte(8), byte(9)]);
    address.packet_type = PacketType::of(byte(10));
    address
}

/// Receives the frames of one interface (0: of all) and one protocol from now on.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &LinkAddress) -> io::Result<()> {
    let address = RawLinkAddress::of(address);
    // SAFETY: the kernel reads ADDRESS_SOCKLEN bytes of `address`, which has as many.
    check(unsafe { libc::bind(raw(fd), address.0.as_ptr().cast(), ADDRESS_SOCKLEN) })?;
    Ok(())
}

/// What the socket is bound to.
pub(crate) fn local(fd: BorrowedFd<'_>) -> io::Result<LinkAddress> {
    let mut address = RawLinkAddress::EMPTY;
    let mut len = ADDRESS_SOCKLEN;
    // SAFETY: the kernel writes at most `len` bytes into `address`, which has that many.
    check(unsafe { libc::getsockname(raw(fd), address.0.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(address.decode())
}

/// Sends `frame` through the interface of `to`, or through the one the socket is bound to.
pub(crate) fn send(fd: BorrowedFd<'_>, frame: &[u8], to: Option<&LinkAddress>) -> io::Result<usize> {
    let address = to.map(RawLinkAddress::of);
    let (name, len) = match &address {
        Some(address) => (address.0.as_ptr(), ADDRESS_SOCKLEN),
        None => (std::ptr::null(), 0),
    };
    // SAFETY: the kernel reads `frame` and `len` bytes of `address`; both live until the call returns.
    check_len(unsafe {
        libc::sendto(
            raw(fd),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_NOSIGNAL,
            name.cast(),
            len,
        )
    })
}

/// Hands the frames that wait in a send ring to the interface.
pub(crate) fn flush(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: a message of no bytes: the kernel reads nothing.
    check_len(unsafe { libc::send(raw(fd), std::ptr::null(), 0, flags) })
}

/// Control bytes, aligned as the kernel wants its headers.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control(pub(crate) [u8; CONTROL_LEN]);

/// Receives one frame: its true length, and what came beside it.
pub(crate) fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, FrameMeta)> {
    let mut control = Control([0; CONTROL_LEN]);
    let mut name = RawLinkAddress::EMPTY;
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut header = super::headers::empty_header();
    let mut interruptions = Interruptions::default();
    loop {
        header.msg_name = name.0.as_mut_ptr().cast();
        header.msg_namelen = ADDRESS_SOCKLEN;
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_LEN as _;
        // SAFETY: the header points at one slice of `buffer`, borrowed exclusively, at `name` and `control`, with
        // their lengths.
        match check_len(unsafe { libc::recvmsg(raw(fd), &raw mut header, libc::MSG_TRUNC) }) {
            Ok(len) => {
                #[expect(clippy::unnecessary_cast, reason = "socklen_t with some C libraries")]
                let control_len = (header.msg_controllen as usize).min(CONTROL_LEN);
                let control = control.0.get(..control_len).unwrap_or(&[]);
                return Ok((len, meta(name.decode(), control)));
            }
            Err(error) if interruptions.allow(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// What the address and the control messages of a frame say.
pub(crate) fn meta(source: LinkAddress, bytes: &[u8]) -> FrameMeta {
    let mut meta = FrameMeta::new(source);
    for message in cmsg::messages(bytes) {
        match (message.level, message.kind) {
            (abi::SOL_PACKET, abi::PACKET_AUXDATA) => {
                let half = |at: usize| {
                    let bytes = message.data.get(at..at + 2)?;
                    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
                };
                if let (Some(status), Some(tag), Some(protocol)) = (message.u32_at(0), half(16), half(18)) {
                    meta.read_status(status, tag, protocol);
                }
            }
            (libc::SOL_SOCKET, abi::SO_TIMESTAMPNS_NEW) => meta.timestamp = control::timestamp(&message, 0),
            _ => {}
        }
    }
    meta
}
