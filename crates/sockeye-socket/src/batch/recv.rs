//! Receiving many messages at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use crate::message::{Incoming, Meta};
use crate::sys::batch::RecvVector;
use crate::sys::{control, message};

/// Slots for received messages, filled by one system call and read until the next one.
///
/// With GRO on the socket, one slot can hold up to 128 datagrams of one sender: give it 65,535 bytes then, or what
/// does not fit is lost and [`Incoming::truncated`] says so. Pages of a slot that no datagram reaches cost nothing.
///
/// ```
/// use std::net::UdpSocket;
/// use sockeye_socket::RecvBatch;
///
/// let receiver = UdpSocket::bind("127.0.0.1:0")?;
/// let sender = UdpSocket::bind("127.0.0.1:0")?;
/// for text in ["one", "two"] {
///     sender.send_to(text.as_bytes(), receiver.local_addr()?)?;
/// }
/// let mut batch = RecvBatch::new(64, 2048);
/// batch.recv(&receiver)?;
/// let payloads: Vec<_> = batch.iter().map(|incoming| incoming.payload).collect();
/// assert_eq!(payloads, [b"one", b"two"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct RecvBatch {
    vector: RecvVector,
    /// Messages begin with an IPv4 header that is not part of the payload.
    skips_headers: bool,
}

impl RecvBatch {
    /// Storage for `slots` messages of up to `slot_len` bytes each.
    #[must_use]
    pub fn new(slots: usize, slot_len: usize) -> Self {
        Self {
            vector: RecvVector::new(slots, slot_len),
            skips_headers: false,
        }
    }

    /// Messages it can hold.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.vector.capacity()
    }

    /// Bytes a slot can hold.
    #[inline]
    #[must_use]
    pub fn slot_len(&self) -> usize {
        self.vector.slot_len()
    }

    /// Messages that the last receive brought.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.vector.filled()
    }

    /// Whether the last receive brought nothing, or none was made yet.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Receives what is queued, as many messages as there are slots; returns how many. What was here before is gone.
    ///
    /// On a blocking socket it waits for the first message only.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is queued. An error an earlier send left on the socket is returned once; messages
    /// received before it came up are returned first.
    ///
    /// # References
    /// [recvmmsg(2)](https://man7.org/linux/man-pages/man2/recvmmsg.2.html), whose timeout is not used: it is checked
    /// only when a message arrives.
    #[doc(alias = "recvmmsg")]
    #[inline]
    pub fn recv(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.skips_headers = false;
        self.vector.receive(socket.as_fd(), usize::MAX)
    }

    /// As [`RecvBatch::recv`], with at most `limit` messages.
    ///
    /// # Errors
    /// As [`RecvBatch::recv`].
    #[inline]
    pub fn recv_up_to(&mut self, socket: impl AsFd, limit: usize) -> io::Result<usize> {
        self.skips_headers = false;
        self.vector.receive(socket.as_fd(), limit)
    }

    /// The message in `slot`, or `None` if the last receive did not reach it.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<Incoming<'_>> {
        let received = self.vector.received(slot)?;
        let mut meta = Meta::NONE;
        let segment_size = control::read(self.vector.control(slot), &mut meta);
        let mut incoming = message::incoming(self.vector.payload(slot), received, segment_size, meta);
        if self.skips_headers {
            let header_len = ipv4_header_len(incoming.payload);
            incoming.payload = incoming.payload.get(header_len..).unwrap_or(&[]);
            incoming.len = incoming.len.saturating_sub(header_len);
        }
        Some(incoming)
    }

    /// From here on the payloads of the last receive begin behind the IPv4 header that a raw IPv4 socket puts in
    /// front of them. The next receive puts them back.
    #[inline]
    pub fn skip_ipv4_headers(&mut self) {
        self.skips_headers = true;
    }

    /// The messages of the last receive, in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Incoming<'_>> + '_ {
        (0..self.len()).map(|slot| self.get(slot).unwrap_or(Incoming::new(&[], message::NO_ADDRESS)))
    }

    /// The payload in `slot`, as far as it fitted; empty past the last message.
    ///
    /// A part of it can be remembered as slot, offset and length, and be sent from here later: nothing moves until
    /// the next receive.
    #[inline]
    #[must_use]
    pub fn payload(&self, slot: usize) -> &[u8] {
        let payload = self.vector.payload(slot);
        if !self.skips_headers {
            return payload;
        }
        payload.get(ipv4_header_len(payload)..).unwrap_or(&[])
    }

    /// As [`RecvBatch::payload`], to be changed in place.
    #[inline]
    #[must_use]
    pub fn payload_mut(&mut self, slot: usize) -> &mut [u8] {
        let payload = self.vector.payload_mut(slot);
        if !self.skips_headers {
            return payload;
        }
        let header_len = ipv4_header_len(payload);
        payload.get_mut(header_len..).unwrap_or_default()
    }

    /// The storage of all slots, one after another, each [`slot_len`](Self::slot_len) bytes: the payload in `slot`
    /// begins at `slot * slot_len`.
    #[inline]
    #[must_use]
    pub fn storage(&self) -> &[u8] {
        self.vector.storage()
    }

    /// Forgets all messages, so that others can be [pushed](Self::push).
    pub fn clear(&mut self) {
        self.skips_headers = false;
        self.vector.clear();
    }

    /// Adds a message that does not come from a socket (from a simulated network, a capture, a test), behind those
    /// that are here. What exceeds the slot is cut off and reported as truncated. `false`, and nothing happens, when
    /// all slots are in use.
    ///
    /// It is read like one the kernel delivered. What the kernel would not report is not kept either: an interface
    /// without a destination, half a traffic class, an own address for a reply to an IPv6 group.
    pub fn push(
        &mut self,
        payload: &[u8],
        source: SocketAddr,
        segment_size: Option<usize>,
        meta: Meta,
    ) -> bool {
        let mut message = Incoming::new(payload, source);
        message.segment_size = segment_size;
        message.meta = meta;
        self.vector.push(&message)
    }
}

/// Length of the IPv4 header in front of a packet: the kernel has checked it, this only reads it.
#[inline]
fn ipv4_header_len(packet: &[u8]) -> usize {
    usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_begin_behind_the_header_until_the_batch_is_used_again() {
        let mut packet = [0; 26];
        // IHL 6: a header with options.
        packet[0] = 0x46;
        packet[24..].copy_from_slice(b"hi");
        let source = "192.0.2.1:0".parse().unwrap();
        let mut batch = RecvBatch::new(2, 64);
        batch.push(&packet, source, None, Meta::NONE);
        batch.push(&[0x45; 10], source, None, Meta::NONE);
        assert_eq!(batch.payload(0), packet);
        batch.skip_ipv4_headers();
        assert_eq!(batch.payload(0), b"hi");
        assert_eq!(batch.payload_mut(0), b"hi");
        let incoming = batch.get(0).unwrap();
        assert_eq!((incoming.payload, incoming.len), (&b"hi"[..], 2));
        assert!(batch.payload(1).is_empty(), "shorter than its header says");
        batch.clear();
        batch.push(&packet, source, None, Meta::NONE);
        assert_eq!(batch.payload(0), packet);
    }
}
