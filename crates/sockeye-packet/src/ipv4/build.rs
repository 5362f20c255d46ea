//! Writing IPv4 packets into a caller's buffer.

use core::net::Ipv4Addr;

use super::{
    CHECKSUM, DESTINATION, DONT_FRAGMENT, FRAGMENT, ID, IPV4_HEADER_LEN, MORE_FRAGMENTS, PROTOCOL, SOURCE,
    TOS, TOTAL_LEN, TTL,
};
use crate::bytes::{low8, low16, put, put_slice, put16, range_mut};
use crate::checksum::{Pseudo, checksum};
use crate::emit::{Emit, room};
use crate::error::{Fault, Layer, PacketError};
use crate::ethertype;
use crate::protocol;

/// An IPv4 packet to be written: a header, and whatever can be emitted above it.
///
/// ```
/// use sockeye_packet::{Ipv4, Ipv4Builder, UdpBuilder};
/// let mut buffer = [0; 64];
/// let packet = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).ttl(3);
/// let len = packet.write(&mut buffer, &UdpBuilder::new(4000, 53, b"hello"))?;
/// let view = Ipv4::new(&buffer[..len])?;
/// assert!(view.checksum_ok());
/// assert_eq!((view.ttl(), view.protocol(), view.payload().len()), (3, 17, 13));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ipv4Builder<'a> {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: Option<u8>,
    ttl: u8,
    tos: u8,
    id: u16,
    dont_fragment: bool,
    more_fragments: bool,
    fragment_offset: u16,
    options: &'a [u8],
}

impl<'a> Ipv4Builder<'a> {
    /// A packet between two addresses: time to live 64, "do not fragment", no options.
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self {
            source,
            destination,
            protocol: None,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            options: &[],
        }
    }

    /// The protocol number, where the payload does not know it itself (plain bytes).
    pub const fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Time to live, in hops.
    pub const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// The code point, six bits.
    pub const fn dscp(mut self, dscp: u8) -> Self {
        self.tos = (dscp << 2) | (self.tos & 3);
        self
    }

    /// The ECN field, two bits.
    pub const fn ecn(mut self, ecn: u8) -> Self {
        self.tos = (self.tos & !3) | (ecn & 3);
        self
    }

    /// The identification.
    pub const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Whether routers must not fragment it.
    pub const fn dont_fragment(mut self, on: bool) -> Self {
        self.dont_fragment = on;
        self
    }

    /// Makes it a fragment: `offset` in bytes, a multiple of 8.
    pub const fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.fragment_offset = offset;
        self.more_fragments = more;
        self.dont_fragment = false;
        self
    }

    /// Options as encoded, a multiple of four bytes: [`super::Ipv4OptionWriter::as_bytes`].
    pub const fn options(mut self, options: &'a [u8]) -> Self {
        self.options = options;
        self
    }

    /// Length of the header with its options, in bytes.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        IPV4_HEADER_LEN + self.options.len()
    }

    /// The packet with its payload: to be carried by a frame, a tag or a tunnel.
    pub const fn carrying<P: Emit>(self, payload: P) -> Ipv4Carrying<'a, P> {
        Ipv4Carrying {
            header: self,
            payload,
        }
    }

    /// Writes the packet to the start of `out` and says how long it is.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`], [`Fault::TooLarge`] beyond 65,535 bytes or 40 bytes of options, [`Fault::OptionLength`]
    /// for options that are no multiple of four, [`Fault::Value`] for a fragment offset that is no multiple of eight.
    pub fn write<P: Emit + ?Sized>(&self, out: &mut [u8], payload: &P) -> Result<usize, PacketError> {
        let header_len = self.header_len();
        let total = header_len + payload.emitted_len();
        if !self.options.len().is_multiple_of(4) {
            return Err(PacketError::new(
                Layer::Ipv4Options,
                Fault::OptionLength,
                IPV4_HEADER_LEN,
                self.options.len().next_multiple_of(4),
                self.options.len(),
            ));
        }
        if header_len > 60 {
            return Err(PacketError::new(
                Layer::Ipv4Options,
                Fault::TooLarge,
                IPV4_HEADER_LEN,
                60,
                header_len,
            ));
        }
        if total > usize::from(u16::MAX) {
            return Err(PacketError::new(
                Layer::Ipv4,
                Fault::TooLarge,
                0,
                usize::from(u16::MAX),
                total,
            ));
        }
        if !self.fragment_offset.is_multiple_of(8) {
            let offset = usize::from(self.fragment_offset);
            return Err(PacketError::new(
                Layer::Ipv4,
                Fault::Value,
                FRAGMENT,
                offset & !7,
                offset,
            ));
        }
        let out = room(out, total, Layer::Ipv4)?;
        let mut flags = self.fragment_offset >> 3;
        if self.dont_fragment {
            flags |= DONT_FRAGMENT;
        }
        if self.more_fragments {
            flags |= MORE_FRAGMENTS;
        }
        put(out, 0, [0x40 | low8(header_len / 4)]);
        put(out, TOS, [self.tos]);
        put16(out, TOTAL_LEN, low16(total));
        put16(out, ID, self.id);
        put16(out, FRAGMENT, flags);
        put(out, TTL, [self.ttl]);
        put(
            out,
            PROTOCOL,
            [self.protocol.or(payload.protocol()).unwrap_or(protocol::NO_NEXT)],
        );
        put16(out, CHECKSUM, 0);
        put(out, SOURCE, self.source.octets());
        put(out, DESTINATION, self.destination.octets());
        put_slice(out, IPV4_HEADER_LEN, self.options);
        let sum = checksum(out.get(..header_len).unwrap_or(&[]));
        put16(out, CHECKSUM, sum);
        let under = Pseudo::V4 {
            source: self.source,
            destination: self.destination,
        };
        payload
            .emit(range_mut(out, header_len, total), under)
            .map_err(|error| error.shifted(header_len))?;
        Ok(total)
    }
}

/// An IPv4 packet with its payload, from [`Ipv4Builder::carrying`].
///
/// ```
/// use sockeye_packet::{EthernetBuilder, Ipv4Builder, MacAddr, UdpBuilder};
/// let packet = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
///     .carrying(UdpBuilder::new(4000, 53, b"hello"));
/// let mut buffer = [0; 64];
/// let len = EthernetBuilder::new(MacAddr::ZERO, MacAddr::BROADCAST, packet).write(&mut buffer)?;
/// assert_eq!((len, &buffer[12..15]), (14 + 20 + 13, &[8, 0, 0x45][..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ipv4Carrying<'a, P> {
    header: Ipv4Builder<'a>,
    payload: P,
}

impl<P: Emit> Emit for Ipv4Carrying<'_, P> {
    fn emitted_len(&self) -> usize {
        self.header.header_len() + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::IPV4)
    }

    fn ethertype(&self) -> Option<u16> {
        Some(ethertype::IPV4)
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        self.header.write(out, &self.payload)
    }
}
