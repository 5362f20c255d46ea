//! Rings on an interface: memory that is shared with the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use sockeye_socket::link::{ReceiveBlocks, ReceivedBlock, RingLayout, SendSlot, SendSlots};
use sockeye_socket::{Socket, os};

use crate::socket::take_statistics;
use crate::{FrameMode, LinkStatistics};

/// A packet socket whose frames come in blocks of a ring: no system call and no copy for a frame.
///
/// ```no_run
/// use std::time::Duration;
/// use sockeye_link::{LinkOptions, RingLayout};
///
/// let mut ring = LinkOptions::new().open_receive_ring("eth0", RingLayout::new())?;
/// loop {
///     while let Some(block) = ring.next_block() {
///         for frame in block.block().frames() {
///             println!("{:?} {} bytes", frame.meta.timestamp, frame.len);
///         }
///         // Dropped, the block is the kernel's again.
///     }
///     ring.wait_readable(Duration::MAX)?;
/// }
/// # #[expect(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ReceiveRing {
    blocks: ReceiveBlocks,
    interface: u32,
    mode: FrameMode,
}

impl ReceiveRing {
    pub(crate) fn new(
        socket: Socket,
        interface: u32,
        mode: FrameMode,
        layout: RingLayout,
    ) -> io::Result<Self> {
        let blocks = ReceiveBlocks::new(socket, layout).map_err(|(error, _)| error)?;
        Ok(Self {
            blocks,
            interface,
            mode,
        })
    }

    /// The next block that the kernel has handed over; it goes back when it is dropped. `None` where there is none yet.
    pub fn next_block(&mut self) -> Option<ReceivedBlock<'_>> {
        self.blocks.next_block()
    }

    /// The index of the interface, 0 for all of them.
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Whether frames have link headers.
    #[must_use]
    pub fn mode(&self) -> FrameMode {
        self.mode
    }

    /// Whether the interface exists no more; see [`LinkSocket::is_gone`](crate::LinkSocket::is_gone).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.interface != 0 && os::interface_name(self.interface).is_err()
    }

    /// Reads what the kernel has counted since this was last asked: reading sets the counters to zero.
    ///
    /// # Errors
    /// What `getsockopt` returns.
    #[doc(alias = "PACKET_STATISTICS")]
    pub fn take_statistics(&self) -> io::Result<LinkStatistics> {
        take_statistics(self.blocks.socket())
    }

    /// The pending error, which reading it clears: `NetworkDown` when the interface has gone down or vanished. Until it is
    /// read the ring stays readable without a block.
    ///
    /// # Errors
    /// What `getsockopt` itself returns.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.blocks.socket().take_error()
    }

    /// Waits until a block has been handed over or an error is pending (`true`), or `timeout` has passed (`false`). For
    /// programs without a loop.
    ///
    /// # Errors
    /// The errno of `poll(2)`; `Interrupted` is not among them.
    pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
        self.blocks.socket().wait_readable(timeout)
    }

    /// The socket under it, for every other option.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.blocks.socket()
    }
}

/// A packet socket that sends frames out of the slots of a ring: one system call for all that wait.
///
/// ```no_run
/// use sockeye_link::{LinkOptions, RingLayout};
///
/// let mut ring = LinkOptions::new().open_send_ring("eth0", RingLayout::new())?;
/// let frame = [0xff; 60];
/// while ring.push(&frame) {}
/// ring.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SendRing {
    slots: SendSlots,
}

impl SendRing {
    pub(crate) fn new(socket: Socket, layout: RingLayout) -> io::Result<Self> {
        let slots = SendSlots::new(socket, layout).map_err(|(error, _)| error)?;
        Ok(Self { slots })
    }

    /// Room for one frame, `None` where none is free: flush, then wait for the socket to be writable.
    pub fn slot(&mut self) -> Option<SendSlot<'_>> {
        self.slots.slot()
    }

    /// Copies a frame into the next slot; `false` where none is free, or the frame is longer than
    /// [`max_frame_len`](Self::max_frame_len).
    pub fn push(&mut self, frame: &[u8]) -> bool {
        self.slots.push(frame)
    }

    /// Hands what waits in the slots to the interface; returns how many bytes went.
    ///
    /// # Errors
    /// `WouldBlock` where the interface takes no more now, `NetworkDown`, ENXIO. A frame that the kernel refuses (longer than
    /// the MTU) is passed over.
    pub fn flush(&self) -> io::Result<usize> {
        self.slots.flush()
    }

    /// Frames that have been written and are not sent yet. It looks at every slot.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.slots.pending()
    }

    /// Slots in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Bytes that a frame may have.
    #[must_use]
    pub fn max_frame_len(&self) -> usize {
        self.slots.max_frame_len()
    }

    /// The socket under it, for every other option.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.slots.socket()
    }
}

impl AsFd for ReceiveRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.blocks.as_fd()
    }
}

impl AsRawFd for ReceiveRing {
    fn as_raw_fd(&self) -> RawFd {
        self.blocks.socket().as_raw_fd()
    }
}

impl AsFd for SendRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.slots.as_fd()
    }
}

impl AsRawFd for SendRing {
    fn as_raw_fd(&self) -> RawFd {
        self.slots.socket().as_raw_fd()
    }
}
