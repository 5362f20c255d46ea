//! Writing IPv6 packets and extension headers into a caller's buffer.

use core::net::Ipv6Addr;

use super::{DESTINATION, HOP_LIMIT, IPV6_HEADER_LEN, NEXT_HEADER, PAYLOAD_LEN, SOURCE};
use crate::bytes::{low8, low16, put, put_slice, put16, put32, range_mut};
use crate::checksum::Pseudo;
use crate::emit::{Emit, room};
use crate::error::{Fault, Layer, PacketError};
use crate::ethertype;
use crate::protocol;

/// An IPv6 packet to be written: a header, and whatever can be emitted above it.
///
/// ```
/// use std::net::Ipv6Addr;
/// use sockeye_packet::{HopByHopBuilder, Ipv6, Ipv6Builder, UdpBuilder};
/// let mut buffer = [0; 128];
/// // Router alert for MLD (RFC 2711), padded to eight bytes by the builder.
/// let payload = HopByHopBuilder::new(&[5, 2, 0, 0], UdpBuilder::new(4000, 53, b"hello"));
/// let len = Ipv6Builder::new(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).write(&mut buffer, &payload)?;
/// let view = Ipv6::new(&buffer[..len])?;
/// let upper = view.upper_layer()?;
/// assert_eq!((upper.protocol, upper.offset, upper.payload.len()), (17, 8, 13));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ipv6Builder {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: Option<u8>,
    hop_limit: u8,
    traffic_class: u8,
    flow_label: u32,
}

impl Ipv6Builder {
    /// A packet between two addresses: hop limit 64, flow label 0.
    pub const fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            source,
            destination,
            next_header: None,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
        }
    }

    /// The next header, where the payload does not know it itself (plain bytes).
    pub const fn next_header(mut self, next_header: u8) -> Self {
        self.next_header = Some(next_header);
        self
    }

    /// The hop limit.
    pub const fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// DSCP and ECN as one byte.
    pub const fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = class;
        self
    }

    /// The flow label; only the low 20 bits count.
    pub const fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label & 0x000f_ffff;
        self
    }

    /// The packet with its payload: to be carried by a frame, a tag or a tunnel.
    pub const fn carrying<P: Emit>(self, payload: P) -> Ipv6Carrying<P> {
        Ipv6Carrying {
            header: self,
            payload,
        }
    }

    /// Writes the packet to the start of `out` and says how long it is.
    ///
    /// Checksums above cover the destination given here; with a routing header build the packet as the last node gets it.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`], [`Fault::TooLarge`] for a payload beyond 65,535 bytes.
    pub fn write<P: Emit + ?Sized>(&self, out: &mut [u8], payload: &P) -> Result<usize, PacketError> {
        let payload_len = payload.emitted_len();
        if payload_len > usize::from(u16::MAX) {
            return Err(PacketError::new(
                Layer::Ipv6,
                Fault::TooLarge,
                0,
                usize::from(u16::MAX),
                payload_len,
            ));
        }
        let total = IPV6_HEADER_LEN + payload_len;
        let out = room(out, total, Layer::Ipv6)?;
        put32(
            out,
            0,
            0x6000_0000 | (u32::from(self.traffic_class) << 20) | self.flow_label,
        );
        put16(out, PAYLOAD_LEN, low16(payload_len));
        put(
            out,
            NEXT_HEADER,
            [self
                .next_header
                .or(payload.protocol())
                .unwrap_or(protocol::NO_NEXT)],
        );
        put(out, HOP_LIMIT, [self.hop_limit]);
        put(out, SOURCE, self.source.octets());
        put(out, DESTINATION, self.destination.octets());
        let under = Pseudo::V6 {
            source: self.source,
            destination: self.destination,
        };
        payload
            .emit(range_mut(out, IPV6_HEADER_LEN, total), under)
            .map_err(|error| error.shifted(IPV6_HEADER_LEN))?;
        Ok(total)
    }
}

/// An IPv6 packet with its payload, from [`Ipv6Builder::carrying`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ipv6Carrying<P> {
    header: Ipv6Builder,
    payload: P,
}

impl<P: Emit> Emit for Ipv6Carrying<P> {
    fn emitted_len(&self) -> usize {
        IPV6_HEADER_LEN + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::IPV6)
    }

    fn ethertype(&self) -> Option<u16> {
        Some(ethertype::IPV6)
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        self.header.write(out, &self.payload)
    }
}

/// Length of an options header around `options`, and of the padding in it.
const fn padded(options: usize) -> (usize, usize) {
    let len = (2 + options).next_multiple_of(8);
    (len, len - 2 - options)
}

/// Writes an options header: next header, length, options, padding.
fn emit_options(out: &mut [u8], next: u8, options: &[u8]) -> Result<usize, PacketError> {
    let (len, padding) = padded(options.len());
    if len > 2048 {
        return Err(PacketError::new(
            Layer::Ipv6Extension,
            Fault::TooLarge,
            0,
            2048,
            len,
        ));
    }
    put(out, 0, [next, low8(len / 8 - 1)]);
    put_slice(out, 2, options);
    let pad = range_mut(out, 2 + options.len(), len);
    pad.fill(0);
    if padding > 1 {
        put(pad, 0, [1, low8(padding - 2)]);
    }
    Ok(len)
}

macro_rules! options_builder {
    ($(#[$doc:meta])* $name:ident, $protocol:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[must_use]
        pub struct $name<'a, P> {
            options: &'a [u8],
            next_header: Option<u8>,
            payload: P,
        }

        impl<'a, P: Emit> $name<'a, P> {
            /// Around `options` as encoded (padding is added) and before `payload`.
            pub const fn new(options: &'a [u8], payload: P) -> Self {
                Self { options, next_header: None, payload }
            }

            /// The next header, where the payload does not know it itself (plain bytes).
            pub fn next_header(mut self, next_header: u8) -> Self {
                self.next_header = Some(next_header);
                self
            }
        }

        impl<P: Emit> Emit for $name<'_, P> {
            fn emitted_len(&self) -> usize {
                padded(self.options.len()).0 + self.payload.emitted_len()
            }

            fn protocol(&self) -> Option<u8> {
                Some($protocol)
            }

            fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
                let total = self.emitted_len();
                let out = room(out, total, Layer::Ipv6Extension)?;
                let next = self.next_header.or(self.payload.protocol()).unwrap_or(protocol::NO_NEXT);
                let len = emit_options(out, next, self.options)?;
                self.payload.emit(range_mut(out, len, total), under).map_err(|error| error.shifted(len))?;
                Ok(total)
            }
        }
    };
}

options_builder!(
    /// A hop-by-hop options header to be written; it must be the first.
    HopByHopBuilder,
    protocol::HOP_BY_HOP
);
options_builder!(
    /// A destination options header to be written.
    DestinationOptionsBuilder,
    protocol::DESTINATION_OPTIONS
);

/// A fragment header to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct FragmentBuilder<P> {
    offset: u16,
    more: bool,
    id: u32,
    next_header: Option<u8>,
    payload: P,
}

impl<P: Emit> FragmentBuilder<P> {
    /// `payload` at `offset` bytes (a multiple of 8) of the datagram `id`.
    pub const fn new(id: u32, offset: u16, more: bool, payload: P) -> Self {
        Self {
            offset,
            more,
            id,
            next_header: None,
            payload,
        }
    }

    /// The next header, where the payload does not know it itself (plain bytes).
    pub fn next_header(mut self, next_header: u8) -> Self {
        self.next_header = Some(next_header);
        self
    }
}

impl<P: Emit> Emit for FragmentBuilder<P> {
    fn emitted_len(&self) -> usize {
        8 + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::FRAGMENT)
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        if !self.offset.is_multiple_of(8) {
            let offset = usize::from(self.offset);
            return Err(PacketError::new(
                Layer::Ipv6Extension,
                Fault::Value,
                2,
                offset & !7,
                offset,
            ));
        }
        let total = self.emitted_len();
        let out = room(out, total, Layer::Ipv6Extension)?;
        put(
            out,
            0,
            [
                self.next_header
                    .or(self.payload.protocol())
                    .unwrap_or(protocol::NO_NEXT),
                0,
            ],
        );
        put16(out, 2, self.offset | u16::from(self.more));
        put32(out, 4, self.id);
        self.payload
            .emit(range_mut(out, 8, total), under)
            .map_err(|error| error.shifted(8))?;
        Ok(total)
    }
}

/// A routing header to be written, from its type-specific bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RoutingBuilder<'a, P> {
    routing_type: u8,
    segments_left: u8,
    data: &'a [u8],
    next_header: Option<u8>,
    payload: P,
}

impl<'a, P: Emit> RoutingBuilder<'a, P> {
    /// `data` is what stands behind "segments left": its length plus 4 must be a multiple of 8.
    pub const fn new(routing_type: u8, segments_left: u8, data: &'a [u8], payload: P) -> Self {
        Self {
            routing_type,
            segments_left,
            data,
            next_header: None,
            payload,
        }
    }

    /// The next header, where the payload does not know it itself (plain bytes).
    pub fn next_header(mut self, next_header: u8) -> Self {
        self.next_header = Some(next_header);
        self
    }
}

impl<P: Emit> Emit for RoutingBuilder<'_, P> {
    fn emitted_len(&self) -> usize {
        4 + self.data.len() + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::ROUTING)
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        let len = 4 + self.data.len();
        if !len.is_multiple_of(8) || len > 2048 {
            let required = len.next_multiple_of(8).min(2048);
            return Err(PacketError::new(
                Layer::Ipv6Extension,
                Fault::HeaderLength,
                0,
                required,
                len,
            ));
        }
        let total = self.emitted_len();
        let out = room(out, total, Layer::Ipv6Extension)?;
        let next = self
            .next_header
            .or(self.payload.protocol())
            .unwrap_or(protocol::NO_NEXT);
        put(
            out,
            0,
            [next, low8(len / 8 - 1), self.routing_type, self.segments_left],
        );
        put_slice(out, 4, self.data);
        self.payload
            .emit(range_mut(out, len, total), under)
            .map_err(|error| error.shifted(len))?;
        Ok(total)
    }
}
