//! IPv6 headers: the view, its setters, and the chain of extension headers.
//!
//! # References
//! RFC 8200, RFC 2675 (jumbograms), RFC 6437 (flow labels).

mod build;
mod extensions;
mod options;

use core::net::Ipv6Addr;

pub use build::{
    DestinationOptionsBuilder, FragmentBuilder, HopByHopBuilder, Ipv6Builder, Ipv6Carrying, RoutingBuilder,
};
pub use extensions::{
    Extension, ExtensionHeader, ExtensionHeaders, FragmentHeader, MAX_EXTENSION_HEADERS, RoutingHeader,
    UpperLayer,
};
pub use options::{Ipv6Option, Ipv6Options, UnknownAction};

use crate::bytes::{array, be8, be16, be32, put, put16, range, range_mut};
use crate::checksum::Pseudo;
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::protocol;
use crate::view::view;

/// The header without extensions, in bytes.
pub const IPV6_HEADER_LEN: usize = 40;

const PAYLOAD_LEN: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

/// A view of an IPv6 packet: header and payload, extension headers included in the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<T> {
    buffer: T,
}

view!(Ipv6);

impl<T: AsRef<[u8]>> Ipv6<T> {
    /// A packet that is whole; bytes behind the payload length are allowed (link padding).
    ///
    /// A payload length of 0 with a jumbo payload option in a hop-by-hop header is a jumbogram, and that option's length counts.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer bytes than header or payload length, [`Fault::Version`], [`Fault::Value`] for a jumbo
    /// length that RFC 2675 forbids (65,535 or less).
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A packet whose header is sound; what is cut off is reported beside the view, the payload ends where the bytes end.
    ///
    /// # Errors
    /// As [`Ipv6::new`], for what leaves no header at all: fewer than 40 bytes, another version.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    #[inline]
    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        let Some(header) = data.first_chunk::<IPV6_HEADER_LEN>() else {
            return Err(PacketError::truncated(
                Layer::Ipv6,
                0,
                IPV6_HEADER_LEN,
                data.len(),
            ));
        };
        let version = be8(header, 0) >> 4;
        if version != 6 {
            return Err(PacketError::new(
                Layer::Ipv6,
                Fault::Version,
                0,
                6,
                usize::from(version),
            ));
        }
        let payload_len = usize::from(be16(header, PAYLOAD_LEN));
        let required = if payload_len == 0 && be8(header, NEXT_HEADER) == protocol::HOP_BY_HOP {
            match jumbo(data) {
                Ok(jumbo) => IPV6_HEADER_LEN.saturating_add(jumbo.unwrap_or(0) as usize),
                Err(error) => return Ok(Some(error)),
            }
        } else {
            IPV6_HEADER_LEN + payload_len
        };
        if required > data.len() {
            return Ok(Some(PacketError::truncated(Layer::Ipv6, 0, required, data.len())));
        }
        Ok(None)
    }

    /// DSCP and ECN as one byte.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        let [high, low] = array::<2>(self.bytes(), 0);
        (high << 4) | (low >> 4)
    }

    /// The six bits of the differentiated services code point.
    #[inline]
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// The two ECN bits.
    #[inline]
    pub fn ecn(&self) -> u8 {
        self.traffic_class() & 3
    }

    /// The flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        be32(self.bytes(), 0) & 0x000f_ffff
    }

    /// Length of what follows the header as the header says it, in bytes; 0 in a jumbogram.
    #[inline]
    pub fn payload_len(&self) -> u16 {
        be16(self.bytes(), PAYLOAD_LEN)
    }

    /// The real payload length of a jumbogram, in bytes; `None` for any other packet.
    ///
    /// # References
    /// RFC 2675 section 2.
    pub fn jumbo_len(&self) -> Option<u32> {
        if self.payload_len() != 0 || self.next_header() != protocol::HOP_BY_HOP {
            return None;
        }
        jumbo(self.bytes()).ok().flatten()
    }

    /// What follows directly: an extension header, or the protocol of the payload.
    #[inline]
    pub fn next_header(&self) -> u8 {
        be8(self.bytes(), NEXT_HEADER)
    }

    /// Hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        be8(self.bytes(), HOP_LIMIT)
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16>(self.bytes(), SOURCE))
    }

    /// Destination address of the header; a routing header may name further ones.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(array::<16>(self.bytes(), DESTINATION))
    }

    /// The addresses for the transport's checksum: the last address of a routing header with segments left, if there is one.
    pub fn pseudo(&self) -> Pseudo {
        let destination = match self.next_header() {
            next if protocol::is_extension(next) => self.extensions().final_destination(),
            _ => None,
        };
        Pseudo::V6 {
            source: self.source(),
            destination: destination.unwrap_or(self.destination()),
        }
    }

    #[inline]
    fn end(&self) -> usize {
        match self.payload_len() {
            0 => match self.jumbo_len() {
                Some(jumbo) => IPV6_HEADER_LEN.saturating_add(jumbo as usize),
                // Hop-by-hop options behind a payload length of 0 without a jumbo option: a super-packet the kernel
                // has not finished. Strict parsing sees 0 bytes there.
                None => IPV6_HEADER_LEN,
            },
            len => IPV6_HEADER_LEN + usize::from(len),
        }
    }

    /// All that follows the header, extension headers first, to the payload length or to where the bytes end.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        range(self.bytes(), IPV6_HEADER_LEN, self.end())
    }

    /// The extension headers, one by one.
    #[inline]
    pub fn extensions(&self) -> ExtensionHeaders<'_> {
        ExtensionHeaders::new(self.next_header(), self.payload())
    }

    /// What the extension headers lead to; offsets count from the start of the payload.
    ///
    /// # Errors
    /// The fault that ends the chain; see [`ExtensionHeaders`].
    #[inline]
    pub fn upper_layer(&self) -> Result<UpperLayer<'_>, PacketError> {
        self.extensions().upper_layer()
    }
}

impl<'a> Ipv6<&'a [u8]> {
    /// Like [`Ipv6::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        range(self.buffer, IPV6_HEADER_LEN, self.end())
    }
}

/// The length in the jumbo payload option of the hop-by-hop header behind the fixed one.
fn jumbo(data: &[u8]) -> Result<Option<u32>, PacketError> {
    let rest = data.get(IPV6_HEADER_LEN..).unwrap_or(&[]);
    let len = 8 + usize::from(be8(rest, 1)) * 8;
    if rest.len() < 2 || rest.len() < len {
        return Ok(None);
    }
    for option in Ipv6Options::new(range(rest, 2, len)) {
        match option {
            Ok(Ipv6Option::Jumbo { len }) if len > 0xffff => return Ok(Some(len)),
            Ok(Ipv6Option::Jumbo { len }) => {
                let offset = IPV6_HEADER_LEN + 4;
                return Err(PacketError::new(
                    Layer::Ipv6Option,
                    Fault::Value,
                    offset,
                    0x1_0000,
                    len as usize,
                ));
            }
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Setters. The header has no checksum; addresses count in the transport's, see `readdress` of [`crate::Udp`] and [`crate::Tcp`].
impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6<T> {
    /// Sets DSCP and ECN.
    pub fn set_traffic_class(&mut self, class: u8) {
        let [high, low] = array::<2>(self.bytes(), 0);
        put(
            self.buffer.as_mut(),
            0,
            [(high & 0xf0) | (class >> 4), (class << 4) | (low & 0xf)],
        );
    }

    /// Sets the ECN bits; only the low two count.
    pub fn set_ecn(&mut self, ecn: u8) {
        let class = (self.traffic_class() & !3) | (ecn & 3);
        self.set_traffic_class(class);
    }

    /// Sets the code point; only the low six bits count.
    pub fn set_dscp(&mut self, dscp: u8) {
        let class = (dscp << 2) | self.ecn();
        self.set_traffic_class(class);
    }

    /// Sets the flow label; only the low 20 bits count.
    pub fn set_flow_label(&mut self, label: u32) {
        let word = (be32(self.bytes(), 0) & !0x000f_ffff) | (label & 0x000f_ffff);
        put(self.buffer.as_mut(), 0, word.to_be_bytes());
    }

    /// Sets the payload length.
    pub fn set_payload_len(&mut self, len: u16) {
        put16(self.buffer.as_mut(), PAYLOAD_LEN, len);
    }

    /// Sets what follows directly.
    pub fn set_next_header(&mut self, next: u8) {
        put(self.buffer.as_mut(), NEXT_HEADER, [next]);
    }

    /// Sets the hop limit.
    pub fn set_hop_limit(&mut self, hops: u8) {
        put(self.buffer.as_mut(), HOP_LIMIT, [hops]);
    }

    /// Takes one from the hop limit, as a router does; `false` if nothing was left to take.
    pub fn decrement_hop_limit(&mut self) -> bool {
        match self.hop_limit().checked_sub(1) {
            Some(hops) => {
                self.set_hop_limit(hops);
                true
            }
            None => false,
        }
    }

    /// Sets the source.
    pub fn set_source(&mut self, source: Ipv6Addr) {
        put(self.buffer.as_mut(), SOURCE, source.octets());
    }

    /// Sets the destination.
    pub fn set_destination(&mut self, destination: Ipv6Addr) {
        put(self.buffer.as_mut(), DESTINATION, destination.octets());
    }

    /// The payload, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = self.end();
        range_mut(self.buffer.as_mut(), IPV6_HEADER_LEN, end)
    }
}
