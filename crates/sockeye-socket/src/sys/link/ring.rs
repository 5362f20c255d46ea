//! The memory that a packet socket shares with the kernel, and who owns which part of it.
//!
//! A part belongs to the kernel or to this process, as its status word says. Who has it writes it, then hands it over by
//! a store with release order; who waits for it loads with acquire order. No reference to a part lives while the kernel
//! owns it.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// `block_status` in `struct tpacket_block_desc`.
const BLOCK_STATUS: usize = 8;
/// The kernel's: `TP_STATUS_KERNEL`, and `TP_STATUS_AVAILABLE` for a slot to send.
const IDLE: u32 = 0;
/// `TP_STATUS_USER`.
const USER: u32 = 1;
/// `TP_STATUS_SEND_REQUEST`.
const SEND_REQUEST: u32 = 1;
/// `TP_STATUS_WRONG_FORMAT`: the kernel refused the slot and gave it back.
const WRONG_FORMAT: u32 = 4;
/// `tp_len` in `struct tpacket2_hdr`.
const SLOT_LEN: usize = 4;
/// Where a frame to send begins in its slot: behind `struct tpacket2_hdr`.
pub(crate) const SLOT_HEADER: usize = 32;

/// The mapping of a ring.
struct Mapping {
    first: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its mapping, and no thread is special to one.
unsafe impl Send for Mapping {}
// SAFETY: shared access loads status words atomically, and reads parts that this process owns.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let anywhere = std::ptr::null_mut();
        let fd = super::raw(fd);
        // SAFETY: a new mapping where the kernel finds room: it takes the place of nothing.
        let start = unsafe { libc::mmap(anywhere, len, protection, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first, len })
    }

    /// The status word at `at`, `None` where there is no room for one.
    fn status(&self, at: usize) -> Option<&AtomicU32> {
        if at.checked_add(4).is_none_or(|end| end > self.len) || !at.is_multiple_of(4) {
            return None;
        }
        // SAFETY: four bytes at `at` are inside the mapping, by the check above.
        let word = unsafe { self.first.as_ptr().add(at) };
        // SAFETY: a mapping begins at a page, so a multiple of 4 is aligned; both sides access status words atomically
        // only (the slices below are made while this process owns the part, when the kernel leaves the word alone).
        Some(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    /// Where a part of `len` bytes begins, `None` where it is not inside.
    fn part(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return None;
        }
        // SAFETY: `at` is inside the mapping or at its end, by the check above.
        Some(unsafe { self.first.add(at) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.len) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} B)", self.len)
    }
}

/// Blocks that the kernel fills with received frames (`TPACKET_V3`), in turn.
#[derive(Debug)]
pub(crate) struct Blocks {
    mapping: Mapping,
    block_len: usize,
    count: usize,
    /// The block that is filled next, or has been.
    current: usize,
}

impl Blocks {
    /// Maps a receive ring that the socket already has: `count` blocks of `block_len` bytes.
    pub(crate) fn map(fd: BorrowedFd<'_>, block_len: usize, count: usize) -> io::Result<Self> {
        let len = block_len.checked_mul(count).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            mapping: Mapping::new(fd, len)?,
            block_len,
            count,
            current: 0,
        })
    }

    /// The current block once the kernel has handed it over. Until [`give_back`](Self::give_back) it is this process's.
    pub(crate) fn current(&self) -> Option<&[u8]> {
        let at = self.current * self.block_len;
        let status = self.mapping.status(at + BLOCK_STATUS)?;
        // Pairs with the kernel's write barrier before it sets the status: what it wrote into the block is visible here.
        if status.load(Ordering::Acquire) & USER == 0 {
            return None;
        }
        let start = self.mapping.part(at, self.block_len)?;
        // SAFETY: the part is inside the mapping, and the kernel does not write it before `give_back`, which borrows
        // `self` exclusively: this slice is gone by then. The bytes were zeroed by the kernel, or written by it.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), self.block_len) })
    }

    /// Gives the current block back to the kernel, if this process has it, and goes on to the next.
    pub(crate) fn give_back(&mut self) {
        let at = self.current * self.block_len;
        let Some(status) = self.mapping.status(at + BLOCK_STATUS) else {
            return;
        };
        if status.load(Ordering::Relaxed) & USER == 0 {
            return;
        }
        // All that was read from the block has been read before the kernel may write to it.
        status.store(IDLE, Ordering::Release);
        self.current = (self.current + 1) % self.count.max(1);
    }
}

/// Slots of frames that the kernel sends (`TPACKET_V2`), in turn.
#[derive(Debug)]
pub(crate) struct Slots {
    mapping: Mapping,
    block_len: usize,
    slot_len: usize,
    count: usize,
    current: usize,
}

impl Slots {
    /// Maps a send ring that the socket already has: `blocks` blocks of `block_len` bytes, each with whole slots of
    /// `slot_len` bytes.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        block_len: usize,
        blocks: usize,
        slot_len: usize,
    ) -> io::Result<Self> {
        let len = block_len.checked_mul(blocks).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            mapping: Mapping::new(fd, len)?,
            block_len,
            slot_len: slot_len.max(SLOT_HEADER),
            count: (block_len / slot_len.max(1)) * blocks,
            current: 0,
        })
    }

    /// Slots in all.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes a frame may have.
    pub(crate) fn room(&self) -> usize {
        self.slot_len - SLOT_HEADER
    }

    fn offset(&self, slot: usize) -> usize {
        let per_block = (self.block_len / self.slot_len).max(1);
        slot / per_block * self.block_len + slot % per_block * self.slot_len
    }

    /// How the slot stands: the kernel gives it back as idle, or as wrong.
    fn status(&self, slot: usize) -> Option<&AtomicU32> {
        self.mapping.status(self.offset(slot))
    }

    fn is_free(&self, slot: usize) -> bool {
        self.status(slot)
            .is_some_and(|status| matches!(status.load(Ordering::Acquire), IDLE | WRONG_FORMAT))
    }

    /// Frames that the kernel has not given back. As many loads as there are slots.
    pub(crate) fn pending(&self) -> usize {
        (0..self.count).filter(|slot| !self.is_free(*slot)).count()
    }

    /// Room for the next frame, where its slot is free.
    pub(crate) fn current(&mut self) -> Option<&mut [u8]> {
        if !self.is_free(self.current) {
            return None;
        }
        let (at, room) = (self.offset(self.current) + SLOT_HEADER, self.room());
        let start = self.mapping.part(at, room)?;
        // SAFETY: the part is inside the mapping and this process's: its status says so, which changes only by `submit`,
        // and that borrows `self` exclusively. `&mut self` makes this the only reference to it.
        Some(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), room) })
    }

    /// Hands the first `len` bytes of the current slot to the kernel, which sends them at the next flush. `false` where
    /// the slot is not free.
    pub(crate) fn submit(&mut self, len: usize) -> bool {
        if !self.is_free(self.current) {
            return false;
        }
        let at = self.offset(self.current);
        let Ok(len) = u32::try_from(len.min(self.room())) else {
            return false;
        };
        // The length is read by the kernel after the status, and by nobody else before: atomics as for the status.
        let (Some(length), Some(status)) = (self.mapping.status(at + SLOT_LEN), self.mapping.status(at))
        else {
            return false;
        };
        length.store(len, Ordering::Relaxed);
        status.store(SEND_REQUEST, Ordering::Release);
        self.current = (self.current + 1) % self.count.max(1);
        true
    }
}
