//! What came in: a payload, who sent it, and what the kernel was asked to tell about it.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use super::{Dscp, Ecn, Outgoing};

/// A received message.
///
/// With GRO the payload may be several datagrams of one sender, each [`Incoming::segment_size`] bytes and the last
/// perhaps shorter: [`Incoming::segments`] gives them one by one and works for a single datagram too.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Incoming<'a> {
    /// The bytes, as far as they fitted into the buffer.
    pub payload: &'a [u8],
    /// Who sent it. `0.0.0.0:0` only if the socket is not an IP socket; port 0 on raw sockets.
    pub source: SocketAddr,
    /// Bytes in each datagram but the last, where the kernel put several together (`UDP_GRO`).
    pub segment_size: Option<usize>,
    /// Its true length in bytes, also where the buffer was shorter.
    pub len: usize,
    /// Whether the buffer was shorter than the message: the rest is lost.
    pub truncated: bool,
    /// Whether metadata was lost because the control buffer was too small. This crate's buffers hold all that its own
    /// options ask for; an option set behind its back can still exceed them.
    pub control_truncated: bool,
    /// What the socket was asked to tell; absent values are `None`.
    pub meta: Meta,
}

impl<'a> Incoming<'a> {
    /// A whole message without metadata.
    #[inline]
    pub const fn new(payload: &'a [u8], source: SocketAddr) -> Self {
        Self {
            payload,
            source,
            segment_size: None,
            len: payload.len(),
            truncated: false,
            control_truncated: false,
            meta: Meta::NONE,
        }
    }

    /// Whether the datagram is empty, which is a message like any other.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The datagrams in the payload: one, or as many as the kernel put together. An empty datagram is one.
    #[inline]
    pub fn segments(&self) -> Segments<'a> {
        Segments::new(self.payload, self.segment_size)
    }

    /// A reply that leaves from the address that was asked, if the socket was told to report it
    /// ([`Metadata::DESTINATION`](crate::Metadata::DESTINATION)).
    ///
    /// A reply to a group or a broadcast leaves from the interface's own address over IPv4 and from the address the
    /// kernel picks over IPv6: neither may be a source. The interface is repeated only for link-local addresses,
    /// where the address means nothing without it; elsewhere routing decides.
    pub fn reply<'b>(&self, payload: &'b [u8]) -> Outgoing<'b> {
        let mut reply = Outgoing::to(self.source, payload);
        if let Some(local) = self.meta.local {
            reply = reply.source(local);
        }
        if let (Some(index), IpAddr::V6(peer)) = (self.meta.interface, self.source.ip())
            && peer.is_unicast_link_local()
        {
            reply = reply.interface(index);
        }
        reply
    }
}

/// What the kernel told about a message, as far as it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// Destination address in the IP header: unicast, group or broadcast.
    pub destination: Option<IpAddr>,
    /// The own address a reply may leave from.
    pub local: Option<IpAddr>,
    /// Index of the interface it came in by.
    pub interface: Option<u32>,
    /// ECN bits.
    pub ecn: Option<Ecn>,
    /// DSCP.
    pub dscp: Option<Dscp>,
    /// TTL or hop limit on arrival.
    pub hop_limit: Option<u8>,
    /// When the kernel received it.
    pub timestamp: Option<SystemTime>,
    /// Datagrams this socket has dropped since it was made, for want of buffer space.
    pub drops: Option<u32>,
    /// Where it was sent to before a firewall rule redirected it.
    pub original_destination: Option<SocketAddr>,
}

impl Meta {
    /// Nothing known.
    pub const NONE: Self = Self {
        destination: None,
        local: None,
        interface: None,
        ecn: None,
        dscp: None,
        hop_limit: None,
        timestamp: None,
        drops: None,
        original_destination: None,
    };
}

impl Default for Meta {
    fn default() -> Self {
        Self::NONE
    }
}

/// The datagrams of one [`Incoming`].
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    rest: Option<&'a [u8]>,
    size: usize,
}

impl<'a> Segments<'a> {
    /// Cuts `payload` into datagrams of `segment_size` bytes; `None` or 0 leaves it whole.
    #[inline]
    pub fn new(payload: &'a [u8], segment_size: Option<usize>) -> Self {
        let size = match segment_size {
            Some(size) if size != 0 => size,
            _ => usize::MAX,
        };
        Self {
            rest: Some(payload),
            size,
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        match rest.split_at_checked(self.size) {
            Some((segment, after)) if !after.is_empty() => {
                self.rest = Some(after);
                Some(segment)
            }
            _ => {
                self.rest = None;
                Some(rest)
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rest.map_or(0, |rest| rest.len().div_ceil(self.size).max(1));
        (left, Some(left))
    }
}

impl ExactSizeIterator for Segments<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(payload: usize, segment: Option<usize>) -> Vec<usize> {
        let payload = vec![7; payload];
        let segments = Segments::new(&payload, segment);
        let announced = segments.len();
        let lengths: Vec<_> = segments.map(<[u8]>::len).collect();
        assert_eq!(announced, lengths.len());
        lengths
    }

    #[test]
    fn segments_are_whole_but_the_last() {
        assert_eq!(lengths(250, Some(100)), [100, 100, 50]);
        assert_eq!(lengths(200, Some(100)), [100, 100]);
        assert_eq!(lengths(99, Some(100)), [99]);
        assert_eq!(lengths(99, None), [99]);
        assert_eq!(lengths(99, Some(0)), [99]);
    }

    #[test]
    fn an_empty_datagram_is_one_datagram() {
        assert_eq!(lengths(0, None), [0]);
        assert_eq!(lengths(0, Some(100)), [0]);
    }

    #[test]
    fn a_reply_leaves_from_the_address_that_was_asked() {
        let mut incoming = Incoming::new(b"?", "127.0.0.1:9".parse().unwrap());
        assert_eq!(incoming.reply(b"!").source_address(), None);
        incoming.meta.local = Some("127.0.0.9".parse().unwrap());
        let reply = incoming.reply(b"!");
        assert_eq!(reply.source_address(), incoming.meta.local);
        assert_eq!(reply.destination(), Some(incoming.source));
    }
}
