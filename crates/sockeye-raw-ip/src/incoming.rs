//! What came in, with the IP header beside the payload and not in it.

use std::ops::Deref;

use sockeye_packet::Ipv4;
use sockeye_socket::{Incoming, RecvBatch};

/// A received packet: the message behind the IP header, and the header where the kernel hands it out.
///
/// Dereferences to [`Incoming`]: `packet.payload`, `packet.source`, `packet.meta`. Its lengths count from the end of
/// the IP header.
#[derive(Clone, Copy, Debug)]
pub struct IncomingPacket<'a> {
    /// The IPv4 header with its options: on raw IPv4 sockets always, elsewhere never.
    ///
    /// A view of header and payload together, as they arrived.
    pub header: Option<Ipv4<&'a [u8]>>,
    /// The message; its payload begins after the IP header.
    pub message: Incoming<'a>,
}

impl<'a> IncomingPacket<'a> {
    /// Takes the header off `message`, if the socket it came from has one in front.
    #[inline]
    pub(crate) fn new(mut message: Incoming<'a>, has_header: bool) -> Self {
        if !has_header {
            return Self {
                header: None,
                message,
            };
        }
        let bytes = message.payload;
        let header_len = header_len(bytes);
        message.payload = bytes.get(header_len..).unwrap_or(&[]);
        message.len = message.len.saturating_sub(header_len);
        let header = Ipv4::lax(bytes)
            .ok()
            .map(|lax| lax.view)
            .filter(|_| header_len <= bytes.len());
        Self { header, message }
    }
}

impl<'a> Deref for IncomingPacket<'a> {
    type Target = Incoming<'a>;

    #[inline]
    fn deref(&self) -> &Incoming<'a> {
        &self.message
    }
}

/// Length of the IPv4 header in front of a packet: the kernel has checked it, this only reads it.
#[inline]
fn header_len(packet: &[u8]) -> usize {
    usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4
}

/// Moves the payload of a packet to the front of the buffer and says how long it is.
#[inline]
pub(crate) fn strip_in_place(buffer: &mut [u8], len: usize) -> usize {
    let len = len.min(buffer.len());
    let header_len = header_len(buffer).min(len);
    buffer.copy_within(header_len..len, 0);
    len - header_len
}

/// The packets of the last receive into `batch`.
pub(crate) fn packets(
    batch: &RecvBatch,
    has_header: bool,
) -> impl ExactSizeIterator<Item = IncomingPacket<'_>> + '_ {
    batch
        .iter()
        .map(move |message| IncomingPacket::new(message, has_header))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &[u8]) -> Incoming<'_> {
        Incoming::new(payload, "192.0.2.1:0".parse().unwrap())
    }

    #[test]
    fn the_payload_begins_after_a_header_with_options() {
        let mut bytes = [0; 26];
        bytes[0] = 0x46;
        bytes[3] = 26;
        bytes[24..].copy_from_slice(b"ab");
        let packet = IncomingPacket::new(message(&bytes), true);
        assert_eq!((packet.payload, packet.len), (&b"ab"[..], 2));
        assert_eq!(packet.header.unwrap().header_len(), 24);
        let mut buffer = bytes;
        assert_eq!(strip_in_place(&mut buffer, 26), 2);
        assert_eq!(&buffer[..2], b"ab");
    }

    #[test]
    fn a_buffer_too_small_for_the_header_leaves_an_empty_payload() {
        let bytes = [0x46; 10];
        let packet = IncomingPacket::new(message(&bytes), true);
        assert!(packet.payload.is_empty() && packet.header.is_none());
        assert_eq!(strip_in_place(&mut [0x46; 10], 10), 0);
        assert_eq!(strip_in_place(&mut [], 0), 0);
    }

    #[test]
    fn without_a_header_all_is_payload() {
        let packet = IncomingPacket::new(message(b"\x45abc"), false);
        assert!(packet.payload == b"\x45abc" && packet.header.is_none());
    }
}
