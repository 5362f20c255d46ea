//! Many frames a call: the header, address, control and I/O vectors of `recvmmsg` and `sendmmsg`.

use std::io;
use std::os::fd::BorrowedFd;

use super::{ADDRESS_SOCKLEN, CONTROL_LEN, Control, RawLinkAddress, meta};
use crate::link::{FrameMeta, LinkAddress};
use crate::sys::headers::{MOST, empty_headers, empty_iovecs};
use crate::sys::storage::Storage;
use crate::sys::{Interruptions, check, raw};

/// Slots of one size for received frames.
#[derive(Debug)]
pub(crate) struct RecvVector {
    arena: Storage<u8>,
    slot_len: usize,
    addresses: Storage<RawLinkAddress>,
    controls: Storage<Control>,
    headers: Storage<libc::mmsghdr>,
    // The headers point into it; nothing here reads it again.
    _iovs: Storage<libc::iovec>,
    filled: usize,
}

impl RecvVector {
    pub(crate) fn new(slots: usize, slot_len: usize) -> Self {
        let slots = slots.min(MOST);
        let arena = Storage::zeroed(slots.saturating_mul(slot_len));
        let addresses = Storage::new(RawLinkAddress::EMPTY, slots);
        let controls = Storage::new(Control([0; CONTROL_LEN]), slots);
        let mut iovs = empty_iovecs(slots);
        let mut headers = empty_headers(slots);
        for (slot, header) in headers.iter_mut().enumerate() {
            iovs[slot] = libc::iovec {
                iov_base: arena.ptr_at(slot * slot_len).cast(),
                iov_len: slot_len,
            };
            header.msg_hdr.msg_name = addresses.ptr_at(slot).cast();
            header.msg_hdr.msg_iov = iovs.ptr_at(slot);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = controls.ptr_at(slot).cast();
        }
        Self {
            arena,
            slot_len,
            addresses,
            controls,
            headers,
            _iovs: iovs,
            filled: 0,
        }
    }

    /// Receives what is queued; the earlier ones are gone, also after an error.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        self.filled = 0;
        let slots = self.headers.len().min(limit);
        let mut interruptions = Interruptions::default();
        loop {
            for header in self.headers.iter_mut().take(slots) {
                header.msg_hdr.msg_namelen = ADDRESS_SOCKLEN;
                header.msg_hdr.msg_controllen = CONTROL_LEN as _;
                header.msg_hdr.msg_flags = 0;
            }
            let first = self.headers.as_ptr();
            let flags = libc::MSG_WAITFORONE | libc::MSG_TRUNC;
            let count = libc::c_uint::try_from(slots).unwrap_or(0);
            // SAFETY: the first `slots` headers lead to that many addresses, control buffers and I/O vectors, and these
            // into the arena, all owned by `self`, alive, writable and of the lengths given.
            let received = unsafe { libc::recvmmsg(raw(fd), first, count, flags as _, std::ptr::null_mut()) };
            match check(received) {
                Ok(received) => {
                    self.filled = (received.unsigned_abs() as usize).min(slots);
                    return Ok(self.filled);
                }
                Err(error) if interruptions.allow(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    pub(crate) fn slot_len(&self) -> usize {
        self.slot_len
    }

    /// The frame in a slot as far as it fitted, its true length, and what came beside it.
    pub(crate) fn slot(&self, slot: usize) -> Option<(&[u8], usize, FrameMeta)> {
        let header = self.headers.get(..self.filled)?.get(slot)?;
        let start = slot * self.slot_len;
        let len = header.msg_len as usize;
        let bytes = self.arena.get(start..start + len.min(self.slot_len))?;
        #[expect(clippy::unnecessary_cast, reason = "socklen_t with some C libraries")]
        let control_len = (header.msg_hdr.msg_controllen as usize).min(CONTROL_LEN);
        let control = self.controls.get(slot)?.0.get(..control_len)?;
        Some((bytes, len, meta(self.addresses.get(slot)?.decode(), control)))
    }
}

/// Headers for frames to send.
#[derive(Debug)]
pub(crate) struct SendVector {
    addresses: Storage<RawLinkAddress>,
    iovs: Storage<libc::iovec>,
    headers: Storage<libc::mmsghdr>,
}

impl SendVector {
    pub(crate) fn new(frames: usize) -> Self {
        let frames = frames.min(MOST);
        let addresses = Storage::new(RawLinkAddress::EMPTY, frames);
        let iovs = empty_iovecs(frames);
        let mut headers = empty_headers(frames);
        for (index, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_iov = iovs.ptr_at(index);
            header.msg_hdr.msg_iovlen = 1;
        }
        Self {
            addresses,
            iovs,
            headers,
        }
    }

    /// Sends as many frames as there is room for here and there, in order, and returns how many.
    pub(crate) fn send<'m>(
        &mut self,
        fd: BorrowedFd<'_>,
        frames: impl Iterator<Item = (&'m [u8], Option<LinkAddress>)>,
    ) -> io::Result<usize> {
        let mut count = 0;
        for (index, (frame, to)) in frames.take(self.headers.len()).enumerate() {
            self.iovs[index] = libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            };
            let (name, len) = match &to {
                Some(to) => {
                    self.addresses[index] = RawLinkAddress::of(to);
                    (self.addresses.ptr_at(index).cast(), ADDRESS_SOCKLEN)
                }
                None => (std::ptr::null_mut(), 0),
            };
            let header = &mut self.headers[index].msg_hdr;
            (header.msg_name, header.msg_namelen) = (name, len);
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let first = self.headers.as_ptr();
        // SAFETY: the first `count` headers lead to addresses and I/O vectors that `self` owns, and these to the frames,
        // which are borrowed until the call returns; sendmmsg reads them all and writes the headers only.
        let sent = unsafe { libc::sendmmsg(raw(fd), first, count, libc::MSG_NOSIGNAL as _) };
        Ok(check(sent)?.unsigned_abs() as usize)
    }
}
