//! Many frames a system call.

use std::io;
use std::os::fd::AsFd;

use super::{IncomingFrame, LinkAddress};
use crate::sys::link::batch as sys;

/// Slots for received frames, filled by one system call and read until the next one.
///
/// ```no_run
/// use sockeye_socket::link::FrameRecvBatch;
/// use sockeye_socket::{Domain, Protocol, Socket, Type};
///
/// let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0x0300)))?;
/// let mut batch = FrameRecvBatch::new(64, 2048);
/// batch.recv(&socket)?;
/// for frame in batch.iter() {
///     println!("{} bytes through interface {}", frame.len, frame.meta.source.interface);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FrameRecvBatch {
    vector: sys::RecvVector,
}

impl FrameRecvBatch {
    /// Storage for `slots` frames, 1024 at most, of up to `slot_len` bytes each. What exceeds a slot is lost, and the
    /// frame's [`len`](IncomingFrame::len) says how long it was. With segmentation offload a frame of this host can have
    /// 64 KiB.
    #[must_use]
    pub fn new(slots: usize, slot_len: usize) -> Self {
        Self {
            vector: sys::RecvVector::new(slots, slot_len),
        }
    }

    /// Receives what is queued, as many frames as there are slots; returns how many. What was here before is gone.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is queued; `NetworkDown` once when the interface goes down or vanishes.
    #[doc(alias = "recvmmsg")]
    pub fn recv(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.vector.receive(socket.as_fd(), usize::MAX)
    }

    /// As [`recv`](Self::recv), with at most `limit` frames.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_up_to(&mut self, socket: impl AsFd, limit: usize) -> io::Result<usize> {
        self.vector.receive(socket.as_fd(), limit)
    }

    /// Frames it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.vector.capacity()
    }

    /// Bytes a slot can hold.
    #[must_use]
    pub fn slot_len(&self) -> usize {
        self.vector.slot_len()
    }

    /// Frames that the last receive brought.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vector.filled()
    }

    /// Whether the last receive brought nothing, or none was made yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.vector.clear();
    }

    /// The frame in `slot`, or `None` if the last receive did not reach it.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<IncomingFrame<'_>> {
        let (bytes, len, meta) = self.vector.slot(slot)?;
        Some(IncomingFrame { bytes, len, meta })
    }

    /// The frames of the last receive, in order.
    pub fn iter(&self) -> impl Iterator<Item = IncomingFrame<'_>> {
        (0..self.len()).filter_map(|slot| self.get(slot))
    }
}

/// Storage for sending many frames a system call, allocated once.
#[derive(Debug)]
pub struct FrameSendBatch {
    vector: sys::SendVector,
}

impl FrameSendBatch {
    /// For up to `frames` frames a call, 1024 at most.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        Self {
            vector: sys::SendVector::new(frames),
        }
    }

    /// Sends frames in order, each through the interface of the address beside it or the one the socket is bound to;
    /// returns how many went. The rest, and what exceeds the storage, is for a later call.
    ///
    /// # Errors
    /// Why the first could not be sent, as [`send_frame`](super::send_frame); what stops a later one is the error of the
    /// next call.
    #[doc(alias = "sendmmsg")]
    pub fn send<'m>(
        &mut self,
        socket: impl AsFd,
        frames: impl IntoIterator<Item = (&'m [u8], Option<LinkAddress>)>,
    ) -> io::Result<usize> {
        self.vector.send(socket.as_fd(), frames.into_iter())
    }
}
