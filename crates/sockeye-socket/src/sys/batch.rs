//! Many messages a call: the header, address, control and I/O vectors of `recvmmsg` and `sendmmsg`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::address::{ADDRESS_SOCKLEN, RawAddress};
use super::cmsg::{ControlWriter, RECV_CONTROL_LEN, SEND_CONTROL_LEN};
use super::control::{self, SocketClass};
use super::headers::{MOST, empty_headers, empty_iovecs};
use super::message::{ControlBuffer, Received, control_len};
use super::storage::Storage;
use super::{Interruptions, check, raw};
use crate::message::{Incoming, Outgoing, present};

/// Slots of one size for received messages.
#[derive(Debug)]
pub(crate) struct RecvVector {
    arena: Storage<u8>,
    slot_len: usize,
    /// From one slot to the next.
    stride: usize,
    addresses: Storage<RawAddress>,
    controls: Storage<ControlBuffer<RECV_CONTROL_LEN>>,
    headers: Storage<libc::mmsghdr>,
    // The headers point into it; nothing here reads it again.
    _iovs: Storage<libc::iovec>,
    /// Headers that the kernel may have written to since they were last restored.
    dirty: usize,
    filled: usize,
}

/// The distance of slots: whole cache lines, and three more where the slots would otherwise lie whole pages apart. The
/// beginnings of those would all fall into the same few lines of a cache that picks them by the low bits of an address.
const fn stride_of(slot_len: usize) -> usize {
    const LINE: usize = 64;
    const PAGE: usize = 4096;
    let lines = slot_len.saturating_add(LINE - 1) / LINE * LINE;
    if lines >= PAGE && lines.is_multiple_of(PAGE) {
        lines + 3 * LINE
    } else {
        lines
    }
}

impl RecvVector {
    pub(crate) fn new(slots: usize, slot_len: usize) -> Self {
        let stride = stride_of(slot_len);
        let arena = Storage::zeroed(slots.saturating_mul(stride));
        let addresses = Storage::new(RawAddress::EMPTY, slots);
        let controls = Storage::new(ControlBuffer([0; RECV_CONTROL_LEN]), slots);
        let mut iovs = empty_iovecs(slots);
        let mut headers = empty_headers(slots);
        for (slot, header) in headers.iter_mut().enumerate() {
            iovs[slot] = libc::iovec {
                iov_base: arena.ptr_at(slot * stride).cast(),
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
            stride,
            addresses,
            controls,
            headers,
            _iovs: iovs,
            dirty: slots,
            filled: 0,
        }
    }

    /// Receives up to `limit` messages; the earlier ones are gone, also after an error.
    #[inline]
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
        self.filled = 0;
        let limit = limit.min(self.headers.len());
        let mut interruptions = Interruptions::default();
        loop {
            // recvmmsg shortens these lengths and never restores them: a reused header would have room for less
            // and less, and in the end for no control message at all.
            for header in self.headers.iter_mut().take(self.dirty) {
                header.msg_hdr.msg_namelen = ADDRESS_SOCKLEN;
                header.msg_hdr.msg_controllen = RECV_CONTROL_LEN as _;
                header.msg_hdr.msg_flags = 0;
            }
            // One more than were received may have been begun.
            self.dirty = limit;
            // SAFETY: the first `limit` headers lead to that many addresses, control buffers and I/O vectors, and
            // these into the arena, all owned by `self`, alive, writable and of the lengths given.
            let received = unsafe {
                libc::recvmmsg(
                    raw(fd),
                    self.headers.as_ptr(),
                    vector_len(limit),
                    (libc::MSG_WAITFORONE | libc::MSG_TRUNC) as _,
                    std::ptr::null_mut(),
                )
            };
            match check(received) {
                Ok(received) => {
                    self.filled = (received.unsigned_abs() as usize).min(limit);
                    self.dirty = (self.filled + 1).min(limit);
                    return Ok(self.filled);
                }
                Err(error) if interruptions.allow(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Forgets what was received.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Puts a message into the next free slot as the kernel would; `false` when there is none.
    pub(crate) fn push(&mut self, message: &Incoming<'_>) -> bool {
        let slot = self.filled;
        if slot >= self.headers.len() {
            return false;
        }
        let start = slot * self.stride;
        let room = self
            .arena
            .get_mut(start..start + self.slot_len)
            .unwrap_or(&mut []);
        for (to, from) in room.iter_mut().zip(message.payload) {
            *to = *from;
        }
        let truncated = message.truncated || message.payload.len() > self.slot_len;
        let header = &mut self.headers[slot];
        header.msg_len = u32::try_from(message.len).unwrap_or(u32::MAX);
        header.msg_hdr.msg_flags = if truncated { libc::MSG_TRUNC } else { 0 };
        header.msg_hdr.msg_namelen = self.addresses[slot].set(&message.source);
        let mut writer = ControlWriter::new(&mut self.controls[slot].0);
        control::write_received(&mut writer, &message.meta, message.segment_size);
        header.msg_hdr.msg_controllen = writer.len() as _;
        self.filled += 1;
        self.dirty = self.dirty.max(self.filled);
        true
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    #[inline]
    pub(crate) fn slot_len(&self) -> usize {
        self.slot_len
    }

    #[inline]
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// What was received into `slot`, if it was filled.
    #[inline]
    pub(crate) fn received(&self, slot: usize) -> Option<Received> {
        let header = self.headers.get(..self.filled)?.get(slot)?;
        Some(Received {
            len: header.msg_len as usize,
            flags: header.msg_hdr.msg_flags,
            source: self.source(slot),
        })
    }

    #[inline]
    fn source(&self, slot: usize) -> Option<SocketAddr> {
        self.addresses
            .get(slot)?
            .decode(self.headers.get(slot)?.msg_hdr.msg_namelen)
    }

    /// The control messages received into `slot`.
    #[inline]
    pub(crate) fn control(&self, slot: usize) -> &[u8] {
        let Some(header) = self.headers[..self.filled].get(slot) else {
            return &[];
        };
        let len = control_len(&header.msg_hdr);
        self.controls
            .get(slot)
            .and_then(|control| control.0.get(..len))
            .unwrap_or(&[])
    }

    #[inline]
    fn payload_range(&self, slot: usize) -> std::ops::Range<usize> {
        let Some(header) = self.headers[..self.filled].get(slot) else {
            return 0..0;
        };
        let start = slot * self.stride;
        start..start + (header.msg_len as usize).min(self.slot_len)
    }

    #[inline]
    pub(crate) fn payload(&self, slot: usize) -> &[u8] {
        self.arena.get(self.payload_range(slot)).unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn payload_mut(&mut self, slot: usize) -> &mut [u8] {
        let range = self.payload_range(slot);
        self.arena.get_mut(range).unwrap_or(&mut [])
    }

    /// All slots, one after another, with what lies between them.
    #[inline]
    pub(crate) fn storage(&self) -> &[u8] {
        &self.arena
    }
}

/// Messages to send, each made of one datagram or of several of one size.
#[derive(Debug)]
pub(crate) struct SendVector {
    headers: Storage<libc::mmsghdr>,
    iovs: Storage<libc::iovec>,
    addresses: Storage<RawAddress>,
    controls: Storage<ControlBuffer<SEND_CONTROL_LEN>>,
    /// Datagrams in each message.
    counts: Storage<u16>,
    /// Short payloads, copied side by side.
    copies: Storage<u8>,
    /// Bytes of them in this call.
    copied: usize,
    messages: usize,
}

/// Payloads up to this length are copied.
const COPIED_LEN: usize = 256;

/// What one message may hold of coalesced datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coalesce {
    /// Datagrams a message; 1 leaves each alone.
    pub(crate) segments: usize,
    /// Largest datagram to coalesce, in bytes.
    pub(crate) ceiling: usize,
}

/// What became of datagrams given to [`SendVector::send`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Datagrams sent, from the first on.
    pub(crate) sent: usize,
    /// Messages they left in.
    pub(crate) messages: usize,
    /// Why the one after them was not, where that is known.
    pub(crate) failure: Option<Failure>,
}

/// A message the kernel did not take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) errno: i32,
    /// Datagrams in it.
    pub(crate) datagrams: usize,
}

/// Payload bytes that a UDP datagram over IPv4 can have, and with it a message of several.
const MAX_MESSAGE_LEN: usize = 65_507;

/// The message being put together.
struct Run<'m> {
    head: Outgoing<'m>,
    first_iov: usize,
    /// I/O vectors: fewer than datagrams where payloads lie side by side.
    iovs: usize,
    count: usize,
    bytes: usize,
    /// Whether another datagram may join.
    open: bool,
}

impl<'m> Run<'m> {
    #[inline]
    fn new(head: Outgoing<'m>, first_iov: usize, coalesce: Coalesce) -> Self {
        let len = head.payload.len();
        let open = coalesce.segments > 1 && len != 0 && len <= coalesce.ceiling;
        Self {
            head,
            first_iov,
            iovs: 1,
            count: 1,
            bytes: len,
            open,
        }
    }

    /// Takes `next` in if it may leave as a segment of this message.
    #[inline]
    fn try_join(&mut self, next: &Outgoing<'_>, coalesce: Coalesce) -> bool {
        let (size, len) = (self.head.payload.len(), next.payload.len());
        let joins = self.open
            && len != 0
            && len <= size
            && self.count < coalesce.segments
            && self.bytes + len <= MAX_MESSAGE_LEN
            && self.head.destination == next.destination
            && self.head.extras.may_join(&next.extras);
        if joins {
            self.count += 1;
            self.bytes += len;
            // The last segment alone may be shorter.
            self.open = len == size;
        }
        joins
    }
}

impl SendVector {
    pub(crate) fn new(messages: usize, datagrams: usize) -> Self {
        let addresses = Storage::new(RawAddress::EMPTY, messages);
        let controls = Storage::new(ControlBuffer([0; SEND_CONTROL_LEN]), messages);
        let iovs = empty_iovecs(datagrams.max(messages));
        let mut headers = empty_headers(messages);
        for (index, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_name = addresses.ptr_at(index).cast();
            header.msg_hdr.msg_control = controls.ptr_at(index).cast();
        }
        Self {
            headers,
            iovs,
            addresses,
            controls,
            counts: Storage::new(0, messages),
            copies: Storage::zeroed(datagrams.saturating_mul(COPIED_LEN)),
            copied: 0,
            messages: 0,
        }
    }

    /// Sends datagrams `0..count` of `make` as far as there is room for them in one go.
    ///
    /// The headers lead to the payloads only within this call, which `'m` outlives.
    #[inline]
    pub(crate) fn send<'m>(
        &mut self,
        fd: BorrowedFd<'_>,
        coalesce: Coalesce,
        count: usize,
        make: impl FnMut(usize) -> Outgoing<'m>,
    ) -> Progress {
        let mut progress = Progress {
            sent: 0,
            messages: 0,
            failure: None,
        };
        self.fill(fd, coalesce, count, make);
        let mut first = 0;
        let mut interruptions = Interruptions::default();
        while first < self.messages {
            let count = vector_len(self.messages - first);
            let sent = if count == 1 {
                // One alone: the call for many costs more.
                let header = self.headers.ptr_at(first).cast::<libc::msghdr>();
                // SAFETY: an `mmsghdr` begins with its `msghdr`. That of `first` was just written by `fill` and leads to an
                // address, a control buffer and I/O vectors of `self` and to payloads of lifetime `'m`, which outlives this
                // call; all are only read.
                let sent = unsafe { libc::sendmsg(raw(fd), header, libc::MSG_NOSIGNAL) };
                if sent < 0 { -1 } else { 1 }
            } else {
                // SAFETY: the headers from `first` to `messages` were just written by `fill` and lead to addresses, control
                // buffers and I/O vectors of `self` and to payloads of lifetime `'m`, which outlives this call; all are
                // only read.
                unsafe {
                    libc::sendmmsg(
                        raw(fd),
                        self.headers.ptr_at(first),
                        count,
                        libc::MSG_NOSIGNAL as _,
                    )
                }
            };
            match check(sent) {
                Ok(sent) => {
                    let next = first + sent.unsigned_abs() as usize;
                    progress.sent += self.counts[first..next]
                        .iter()
                        .map(|count| usize::from(*count))
                        .sum::<usize>();
                    first = next;
                    progress.messages = next;
                }
                Err(error) if interruptions.allow(&error) => {}
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    progress.failure = Some(Failure {
                        errno,
                        datagrams: usize::from(self.counts[first]),
                    });
                    break;
                }
            }
        }
        progress
    }

    /// Writes headers for datagrams from 0 on, as many as there is room for.
    #[inline]
    fn fill<'m>(
        &mut self,
        fd: BorrowedFd<'_>,
        coalesce: Coalesce,
        count: usize,
        mut make: impl FnMut(usize) -> Outgoing<'m>,
    ) {
        self.messages = 0;
        let count = count.min(self.iovs.len());
        if count == 0 {
            return;
        }
        let mut class = SocketClass::default();
        let head = make(0);
        self.copied = 0;
        let payload = self.gathered(head.payload, coalesce);
        self.set_iov(0, payload);
        let mut run = Run::new(head, 0, coalesce);
        let mut taken = 1;
        while taken < count {
            let next = make(taken);
            let end = run.first_iov + run.iovs;
            if run.try_join(&next, coalesce) {
                let payload = self.gathered(next.payload, coalesce);
                if !self.extend_iov(end - 1, payload) {
                    self.set_iov(end, payload);
                    run.iovs += 1;
                }
            } else {
                self.close(fd, &run, &mut class);
                if self.messages == self.headers.len() {
                    return;
                }
                let payload = self.gathered(next.payload, coalesce);
                run = Run::new(next, end, coalesce);
                self.set_iov(end, payload);
            }
            taken += 1;
        }
        self.close(fd, &run, &mut class);
    }

    /// Where the kernel is to read a payload: short ones that may leave together are copied side by side, as an I/O vector
    /// for each costs the kernel more than the bytes.
    #[inline]
    fn gathered(&mut self, payload: &[u8], coalesce: Coalesce) -> libc::iovec {
        let (mut base, len) = (payload.as_ptr(), payload.len());
        if coalesce.segments > 1
            && len <= COPIED_LEN
            && let Some(room) = self.copies.get_mut(self.copied..self.copied + len)
        {
            room.copy_from_slice(payload);
            base = self.copies.ptr_at(self.copied).cast_const();
            self.copied += len;
        }
        libc::iovec {
            iov_base: base.cast_mut().cast(),
            iov_len: len,
        }
    }

    #[inline]
    fn set_iov(&mut self, index: usize, payload: libc::iovec) {
        self.iovs[index] = payload;
    }

    /// Adds a payload that begins where the last one ends; `false` if it begins elsewhere.
    #[inline]
    fn extend_iov(&mut self, index: usize, payload: libc::iovec) -> bool {
        let last = &mut self.iovs[index];
        let follows = last.iov_base.wrapping_byte_add(last.iov_len) == payload.iov_base;
        if follows {
            last.iov_len += payload.iov_len;
        }
        follows
    }

    /// Writes the header of a finished message.
    #[inline]
    fn close(&mut self, fd: BorrowedFd<'_>, run: &Run<'_>, class: &mut SocketClass) {
        let index = self.messages;
        let name_len = match &run.head.destination {
            Some(destination) => self.addresses[index].set(destination),
            None => 0,
        };
        let extras = &run.head.extras;
        let mut writer = ControlWriter::new(&mut self.controls[index].0);
        if extras.present & !present::SEGMENT != 0 {
            control::write(&mut writer, fd, &run.head, class);
        }
        if run.count > 1 {
            // A run of several fits MAX_MESSAGE_LEN, and so does its first datagram.
            control::write_segment(
                &mut writer,
                u16::try_from(run.head.payload.len()).unwrap_or(u16::MAX),
            );
        } else if extras.has(present::SEGMENT) {
            control::write_segment(&mut writer, extras.segment_size);
        }
        let written = writer.len();

        let iov = self.iovs.ptr_at(run.first_iov);
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = name_len;
        header.msg_iov = iov;
        header.msg_iovlen = run.iovs as _;
        header.msg_controllen = written as _;
        self.counts[index] = u16::try_from(run.count).unwrap_or(u16::MAX);
        self.messages += 1;
    }
}

/// Messages a call; the kernel takes so many at most and says how many it took.
fn vector_len(messages: usize) -> libc::c_uint {
    libc::c_uint::try_from(messages.min(MOST)).unwrap_or(0)
}
