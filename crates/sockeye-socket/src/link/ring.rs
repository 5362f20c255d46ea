//! Rings that a packet socket shares with the kernel: received frames in blocks, frames to send in slots.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Block;
use crate::sys::link::ring as sys;
use crate::{Socket, options};

/// `TPACKET_V2` and `TPACKET_V3`.
const VERSION_2: i32 = 1;
const VERSION_3: i32 = 2;

/// How large a ring is. The kernel allocates it whole when it is made, and locks it in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RingLayout {
    block_len: u32,
    blocks: u32,
    frame_len: u32,
    retire_ms: u32,
}

impl Default for RingLayout {
    /// 16 blocks of 256 KiB, which are handed over after 10 milliseconds at the latest.
    fn default() -> Self {
        Self {
            block_len: 256 << 10,
            blocks: 16,
            frame_len: 2048,
            retire_ms: 10,
        }
    }
}

impl RingLayout {
    /// The largest ring, 1 GiB: the kernel would try to allocate a larger one, and other programs would pay for it.
    pub const MAX_LEN: u64 = 1 << 30;

    /// A ring of the usual size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of a block, a multiple of the page size (4096 on most machines). No received frame is longer than its block.
    pub const fn block_len(mut self, bytes: u32) -> Self {
        self.block_len = bytes;
        self
    }

    /// Blocks of the ring.
    pub const fn blocks(mut self, count: u32) -> Self {
        self.blocks = count;
        self
    }

    /// Bytes of a slot of a send ring, its header of 32 bytes included: a multiple of 16, at most a block. A receive ring
    /// packs frames of any length.
    pub const fn slot_len(mut self, bytes: u32) -> Self {
        self.frame_len = bytes;
        self
    }

    /// How long the kernel waits for a block to fill up once a frame is in it: it then hands over what is there.
    /// At least a millisecond.
    pub fn retire_after(mut self, time: Duration) -> Self {
        self.retire_ms = u32::try_from(time.as_millis())
            .unwrap_or(u32::MAX)
            .clamp(1, i32::MAX.cast_unsigned());
        self
    }

    /// Bytes in all.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.block_len as u64 * self.blocks as u64
    }

    /// Whether it has no room at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it exceeds [`MAX_LEN`](Self::MAX_LEN).
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        self.len() > Self::MAX_LEN
    }

    /// `struct tpacket_req3`; its first four words are `struct tpacket_req`.
    fn request(&self, retire_ms: u32) -> io::Result<[u8; 28]> {
        if self.is_too_large() {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        let (Some(per_block), false) = (self.block_len.checked_div(self.frame_len), self.is_empty()) else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        };
        let frames = per_block.checked_mul(self.blocks);
        let frames = frames.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let words = [
            self.block_len,
            self.blocks,
            self.frame_len,
            frames,
            retire_ms,
            0,
            0,
        ];
        let mut bytes = [0; 28];
        for (room, word) in bytes.chunks_exact_mut(4).zip(words) {
            room.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(bytes)
    }
}

/// A receive ring (`TPACKET_V3`): the kernel writes frames into blocks, and hands over a block at a time. No system call
/// is made for a frame, and none is copied again.
///
/// The socket becomes readable when a block has been handed over. A block that is not given back stays this process's,
/// and once all are the kernel drops what comes.
#[derive(Debug)]
pub struct ReceiveBlocks {
    blocks: sys::Blocks,
    // The mapping goes first: a ring in use cannot be taken off its socket.
    socket: Socket,
}

impl ReceiveBlocks {
    /// Puts a receive ring on a packet socket. What the socket has queued is lost: bind it to its protocol afterwards.
    ///
    /// # Errors
    /// ENOMEM for a ring above [`RingLayout::MAX_LEN`] or one that the kernel has no memory for; EINVAL for sizes that do
    /// not fit each other; ENOPROTOOPT where the socket is of another kind.
    #[doc(alias = "PACKET_RX_RING")]
    pub fn new(socket: Socket, layout: RingLayout) -> Result<Self, (io::Error, Socket)> {
        match Self::map(&socket, layout) {
            Ok(blocks) => Ok(Self { blocks, socket }),
            Err(error) => Err((error, socket)),
        }
    }

    fn map(socket: &Socket, layout: RingLayout) -> io::Result<sys::Blocks> {
        let request = layout.request(layout.retire_ms)?;
        socket.set(options::PACKET_VERSION, VERSION_3)?;
        socket.set_bytes(options::PACKET_RX_RING, &request)?;
        sys::Blocks::map(socket.as_fd(), layout.block_len as usize, layout.blocks as usize)
    }

    /// The next block that the kernel has handed over. It goes back when the guard is dropped, and the next call returns
    /// the one behind it. A guard that is leaked gives nothing back: the next call returns the same block.
    ///
    /// `None` where there is none yet: wait for the socket to be readable.
    pub fn next_block(&mut self) -> Option<ReceivedBlock<'_>> {
        self.blocks.current()?;
        Some(ReceivedBlock {
            blocks: &mut self.blocks,
        })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl AsFd for ReceiveBlocks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A block that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct ReceivedBlock<'r> {
    blocks: &'r mut sys::Blocks,
}

impl ReceivedBlock<'_> {
    /// Its frames.
    #[must_use]
    pub fn block(&self) -> Block<'_> {
        Block::new(self.blocks.current().unwrap_or(&[]))
    }
}

impl Drop for ReceivedBlock<'_> {
    fn drop(&mut self) {
        self.blocks.give_back();
    }
}

/// A send ring (`TPACKET_V2`): frames are written into slots, and one system call sends all that wait.
#[derive(Debug)]
pub struct SendSlots {
    slots: sys::Slots,
    // The mapping goes first, as above.
    socket: Socket,
}

impl SendSlots {
    /// Puts a send ring on a packet socket, which must be bound to an interface.
    ///
    /// # Errors
    /// As [`ReceiveBlocks::new`].
    #[doc(alias = "PACKET_TX_RING")]
    pub fn new(socket: Socket, layout: RingLayout) -> Result<Self, (io::Error, Socket)> {
        match Self::map(&socket, layout) {
            Ok(slots) => Ok(Self { slots, socket }),
            Err(error) => Err((error, socket)),
        }
    }

    fn map(socket: &Socket, layout: RingLayout) -> io::Result<sys::Slots> {
        let request = layout.request(0)?;
        socket.set(options::PACKET_VERSION, VERSION_2)?;
        // Without this one wrong frame would stop those behind it for good.
        socket.set(options::PACKET_LOSS, true)?;
        socket.set_bytes(options::PACKET_TX_RING, &request[..16])?;
        let (block_len, slot_len) = (layout.block_len as usize, layout.frame_len as usize);
        sys::Slots::map(socket.as_fd(), block_len, layout.blocks as usize, slot_len)
    }

    /// Room for one frame, `None` where the kernel has not sent the one that was in it: flush, then wait for the socket
    /// to be writable.
    pub fn slot(&mut self) -> Option<SendSlot<'_>> {
        self.slots.current()?;
        Some(SendSlot {
            slots: &mut self.slots,
        })
    }

    /// Copies a frame into the next slot; `false` where none is free, or the frame is longer than a slot.
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let Some(mut slot) = self.slot() else { return false };
        let Some(room) = slot.bytes().get_mut(..frame.len()) else {
            return false;
        };
        room.copy_from_slice(frame);
        slot.submit(frame.len())
    }

    /// Hands what waits in the slots to the interface; returns how many bytes went.
    ///
    /// # Errors
    /// `WouldBlock` where the interface takes no more now; ENXIO, `NetworkDown` as
    /// [`send_frame`](super::send_frame). A frame that the kernel refuses (longer than the MTU) is passed over.
    pub fn flush(&self) -> io::Result<usize> {
        self.socket.flush_ring()
    }

    /// Frames that have been written and are not sent yet. It looks at every slot.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.slots.pending()
    }

    /// Slots in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.count()
    }

    /// Bytes that a frame may have.
    #[must_use]
    pub fn max_frame_len(&self) -> usize {
        self.slots.room()
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl AsFd for SendSlots {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for a frame. Dropped without [`submit`](Self::submit), it stays free.
#[derive(Debug)]
pub struct SendSlot<'r> {
    slots: &'r mut sys::Slots,
}

impl SendSlot<'_> {
    /// The bytes to write the frame into; what is in them is left over from an earlier one.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.slots.current().unwrap_or_default()
    }

    /// The first `len` bytes are a frame, which goes with the next flush.
    pub fn submit(self, len: usize) -> bool {
        self.slots.submit(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_makes_no_sense_never_reaches_the_kernel() {
        let errno = |layout: RingLayout| layout.request(1).unwrap_err().raw_os_error();
        assert_eq!(
            errno(RingLayout::new().block_len(1 << 30).blocks(1 << 20)),
            Some(libc::ENOMEM)
        );
        assert_eq!(
            errno(RingLayout::new().block_len(u32::MAX).blocks(u32::MAX)),
            Some(libc::ENOMEM)
        );
        assert_eq!(errno(RingLayout::new().blocks(0)), Some(libc::EINVAL));
        assert_eq!(errno(RingLayout::new().slot_len(0)), Some(libc::EINVAL));
        assert!(RingLayout::new().request(1).is_ok());
    }
}
