//! Many datagrams a call between Unix sockets. No control buffer: descriptors that come with one are closed by the
//! kernel and never reach this process.

use std::io;
use std::os::fd::BorrowedFd;

use sockeye_endpoint::UnixName;

use super::{NAME_SOCKLEN, RawName};
use crate::sys::headers::{MOST, empty_headers, empty_iovecs};
use crate::sys::storage::Storage;
use crate::sys::{Interruptions, check, raw};

/// Slots of one size for received datagrams.
#[derive(Debug)]
pub(crate) struct RecvVector {
    arena: Storage<u8>,
    slot_len: usize,
    names: Storage<RawName>,
    headers: Storage<libc::mmsghdr>,
    // The headers point into it; nothing here reads it again.
    _iovs: Storage<libc::iovec>,
    filled: usize,
}

/// What stands in a slot.
pub(crate) struct Slot<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) source: UnixName,
    pub(crate) truncated: bool,
    pub(crate) fds_lost: bool,
}

impl RecvVector {
    pub(crate) fn new(slots: usize, slot_len: usize) -> Self {
        let slots = slots.min(MOST);
        let arena = Storage::zeroed(slots.saturating_mul(slot_len));
        let names = Storage::new(RawName::EMPTY, slots);
        let mut iovs = empty_iovecs(slots);
        let mut headers = empty_headers(slots);
        for (slot, header) in headers.iter_mut().enumerate() {
            iovs[slot] = libc::iovec {
                iov_base: arena.ptr_at(slot * slot_len).cast(),
                iov_len: slot_len,
            };
            header.msg_hdr.msg_name = names.ptr_at(slot).cast();
            header.msg_hdr.msg_iov = iovs.ptr_at(slot);
            header.msg_hdr.msg_iovlen = 1;
        }
        Self {
            arena,
            slot_len,
            names,
            headers,
            _iovs: iovs,
            filled: 0,
        }
    }

    /// Receives what is queued; the earlier ones are gone, also after an error.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.filled = 0;
        let slots = self.headers.len();
        let mut interruptions = Interruptions::default();
        loop {
            for header in self.headers.iter_mut() {
                header.msg_hdr.msg_namelen = NAME_SOCKLEN;
                header.msg_hdr.msg_flags = 0;
            }
            let (first, flags) = (self.headers.as_ptr(), libc::MSG_WAITFORONE);
            let count = libc::c_uint::try_from(slots).unwrap_or(0);
            // SAFETY: the `slots` headers lead to that many names and I/O vectors, and these into the arena, all owned by
            // `self`, alive, writable and of the lengths given; there is no control buffer.
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

    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    pub(crate) fn slot(&self, slot: usize) -> Option<Slot<'_>> {
        let header = self.headers.get(..self.filled)?.get(slot)?;
        let start = slot * self.slot_len;
        let len = (header.msg_len as usize).min(self.slot_len);
        let flags = header.msg_hdr.msg_flags;
        Some(Slot {
            payload: self.arena.get(start..start + len)?,
            source: self
                .names
                .get(slot)?
                .decode(header.msg_hdr.msg_namelen)
                .unwrap_or(UnixName::UNNAMED),
            truncated: flags & libc::MSG_TRUNC != 0,
            fds_lost: flags & libc::MSG_CTRUNC != 0,
        })
    }
}

/// Headers for datagrams to send.
#[derive(Debug)]
pub(crate) struct SendVector {
    names: Storage<RawName>,
    iovs: Storage<libc::iovec>,
    headers: Storage<libc::mmsghdr>,
}

impl SendVector {
    pub(crate) fn new(messages: usize) -> Self {
        let messages = messages.min(MOST);
        let names = Storage::new(RawName::EMPTY, messages);
        let iovs = empty_iovecs(messages);
        let mut headers = empty_headers(messages);
        for (index, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_iov = iovs.ptr_at(index);
            header.msg_hdr.msg_iovlen = 1;
        }
        Self { names, iovs, headers }
    }

    /// Sends as many of `messages` as there is room for here and there, in order, and returns how many.
    pub(crate) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: &[(&[u8], Option<UnixName>)],
    ) -> io::Result<usize> {
        let count = messages.len().min(self.headers.len());
        for (index, (payload, to)) in messages.iter().take(count).enumerate() {
            self.iovs[index] = libc::iovec {
                iov_base: payload.as_ptr().cast_mut().cast(),
                iov_len: payload.len(),
            };
            let (name, len) = match to {
                Some(to) => {
                    let len = self.names[index].set(to);
                    (self.names.ptr_at(index).cast(), len)
                }
                None => (std::ptr::null_mut(), 0),
            };
            let header = &mut self.headers[index].msg_hdr;
            (header.msg_name, header.msg_namelen) = (name, len);
        }
        let (first, flags) = (self.headers.as_ptr(), libc::MSG_NOSIGNAL);
        let vector_len = libc::c_uint::try_from(count).unwrap_or(0);
        // SAFETY: the first `count` headers lead to names and I/O vectors that `self` owns, and these to the payloads, which
        // are borrowed until the call returns; sendmmsg reads them all and writes the headers only.
        let sent = check(unsafe { libc::sendmmsg(raw(fd), first, vector_len, flags as _) })?;
        Ok(sent.unsigned_abs() as usize)
    }
}
