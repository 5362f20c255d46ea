//! Many datagrams a system call between Unix sockets.

use std::io;
use std::os::fd::AsFd;

use sockeye_endpoint::UnixName;

use crate::sys::unix::batch as sys;

/// Slots for datagrams, filled by one system call and read until the next one.
///
/// Descriptors that come with a datagram are closed by the kernel, and [`UnixDatagramIn::fds_lost`] says so: who wants them
/// receives one message a call ([`recv_unix_msg`](super::recv_unix_msg)).
#[derive(Debug)]
pub struct UnixRecvBatch {
    vector: sys::RecvVector,
}

/// A received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixDatagramIn<'a> {
    /// What came, up to the length of a slot.
    pub payload: &'a [u8],
    /// Who sent it; unnamed where the sender is not bound.
    pub source: UnixName,
    /// Whether it was longer than the slot.
    pub truncated: bool,
    /// Whether something came beside it, and was closed.
    pub fds_lost: bool,
}

impl UnixRecvBatch {
    /// Storage for `slots` datagrams, 1024 at most, of up to `slot_len` bytes each.
    #[must_use]
    pub fn new(slots: usize, slot_len: usize) -> Self {
        Self {
            vector: sys::RecvVector::new(slots, slot_len),
        }
    }

    /// Receives what is queued, as many datagrams as there are slots; returns how many. What was here before is gone.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing is queued.
    #[doc(alias = "recvmmsg")]
    pub fn recv(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.vector.receive(socket.as_fd())
    }

    /// Datagrams it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.vector.capacity()
    }

    /// Datagrams that the last receive brought.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vector.filled()
    }

    /// Whether the last receive brought nothing, or none was made yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The datagram in `slot`, or `None` if the last receive did not reach it.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<UnixDatagramIn<'_>> {
        let slot = self.vector.slot(slot)?;
        Some(UnixDatagramIn {
            payload: slot.payload,
            source: slot.source,
            truncated: slot.truncated,
            fds_lost: slot.fds_lost,
        })
    }

    /// The datagrams of the last receive.
    pub fn iter(&self) -> impl Iterator<Item = UnixDatagramIn<'_>> {
        (0..self.len()).filter_map(|slot| self.get(slot))
    }
}

/// Storage for sending many datagrams a system call, allocated once.
#[derive(Debug)]
pub struct UnixSendBatch {
    vector: sys::SendVector,
}

impl UnixSendBatch {
    /// For up to `messages` datagrams a call, 1024 at most.
    #[must_use]
    pub fn new(messages: usize) -> Self {
        Self {
            vector: sys::SendVector::new(messages),
        }
    }

    /// Sends payloads in order, each to the name beside it or to the connected peer; returns how many went. The rest is for
    /// a later call.
    ///
    /// # Errors
    ///
    /// Why the first could not be sent; what stops a later one is the error of the next call.
    #[doc(alias = "sendmmsg")]
    pub fn send(&mut self, socket: impl AsFd, messages: &[(&[u8], Option<UnixName>)]) -> io::Result<usize> {
        if messages.is_empty() {
            return Ok(0);
        }
        self.vector.send(socket.as_fd(), messages)
    }
}
