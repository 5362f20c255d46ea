//! The chain of IPv6 extension headers.
//!
//! # References
//! RFC 8200 section 4, RFC 4302 (authentication), RFC 6275 (mobility), RFC 7045 (which headers are known).

use core::net::Ipv6Addr;

use super::options::Ipv6Options;
use crate::bytes::{array, be8, be16, be32, range};
use crate::error::{Fault, Layer, PacketError};
use crate::protocol;

/// More headers than this in one chain are an error: no honest packet has as many, and each costs time (RFC 8504 section 5.3).
pub const MAX_EXTENSION_HEADERS: usize = 16;

/// One extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension<'a> {
    /// Hop-by-hop options (0).
    HopByHop(Ipv6Options<'a>),
    /// Destination options (60).
    DestinationOptions(Ipv6Options<'a>),
    /// Routing (43).
    Routing(RoutingHeader<'a>),
    /// Fragment (44).
    Fragment(FragmentHeader),
    /// Authentication (51).
    Authentication {
        /// Security parameters index.
        spi: u32,
        /// Sequence number.
        sequence: u32,
        /// Integrity check value.
        icv: &'a [u8],
    },
    /// Mobility, HIP, Shim6: of the common shape, not decoded further.
    Other {
        /// Its protocol number.
        protocol: u8,
        /// What follows the length byte.
        data: &'a [u8],
    },
}

/// A header of the chain with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionHeader<'a> {
    /// Its protocol number.
    pub protocol: u8,
    /// The protocol number of what follows.
    pub next_header: u8,
    /// Where it begins, in bytes from the start of the chain.
    pub offset: usize,
    /// Its length, in bytes.
    pub len: usize,
    /// Its content.
    pub extension: Extension<'a>,
}

/// A fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentHeader {
    /// Place in the fragmentable part, in bytes (a multiple of 8).
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// Ties the fragments together.
    pub id: u32,
}

impl FragmentHeader {
    /// Whether the packet is no fragment at all although it has the header (RFC 6946).
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// A routing header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingHeader<'a> {
    /// 0 source route (deprecated by RFC 5095), 2 mobility, 3 RPL, 4 segment routing (RFC 8754).
    pub routing_type: u8,
    /// Nodes still to be visited.
    pub segments_left: u8,
    /// What follows, by type.
    pub data: &'a [u8],
}

impl<'a> RoutingHeader<'a> {
    /// The addresses of types 0, 2 and 4, as stored (type 4 stores the last hop first); nothing for others.
    pub fn addresses(&self) -> impl DoubleEndedIterator<Item = Ipv6Addr> + use<'a> {
        let data = match self.routing_type {
            0 | 2 => self.data.get(4..).unwrap_or(&[]),
            // Last entry is an index: type-length-values may follow the list (RFC 8754 section 2).
            4 => range(self.data, 4, 4 + 16 * (usize::from(be8(self.data, 0)) + 1)),
            _ => &[],
        };
        data.as_chunks::<16>()
            .0
            .iter()
            .map(|octets| Ipv6Addr::from(*octets))
    }

    /// The final destination, which checksums cover, while there are segments left.
    #[must_use]
    pub fn final_destination(&self) -> Option<Ipv6Addr> {
        if self.segments_left == 0 {
            return None;
        }
        match self.routing_type {
            4 => self.addresses().next(),
            _ => self.addresses().next_back(),
        }
    }
}

/// What stands behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer<'a> {
    /// Protocol of the payload: TCP, UDP, ICMPv6, also ESP and "no next header".
    pub protocol: u8,
    /// Where it begins, in bytes from the start of the chain.
    pub offset: usize,
    /// What is carried; a piece of it if `fragment` is not atomic.
    pub payload: &'a [u8],
    /// The fragment header, if there was one.
    pub fragment: Option<FragmentHeader>,
}

impl UpperLayer<'_> {
    /// Whether the payload begins somewhere inside the upper-layer packet: it has no transport header then.
    #[must_use]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }
}

/// Walks over the extension headers; ends at the upper layer, behind a fragment that is not the first, or at the first fault.
///
/// Faults are [`Fault::Truncated`], [`Fault::ExtensionOrder`] (hop-by-hop anywhere but first), [`Fault::HeaderLength`]
/// (authentication under 12 bytes) and [`Fault::ChainTooLong`] beyond [`MAX_EXTENSION_HEADERS`].
#[derive(Clone, Copy, Debug)]
pub struct ExtensionHeaders<'a> {
    data: &'a [u8],
    next: u8,
    at: usize,
    count: usize,
    fragment: Option<FragmentHeader>,
    done: bool,
}

impl<'a> ExtensionHeaders<'a> {
    /// Over the payload of an IPv6 header that announces `next_header`.
    #[inline]
    #[must_use]
    pub const fn new(next_header: u8, payload: &'a [u8]) -> Self {
        Self {
            data: payload,
            next: next_header,
            at: 0,
            count: 0,
            fragment: None,
            done: false,
        }
    }

    /// Walks to the end and says what is there.
    ///
    /// # Errors
    /// The fault that ended the walk; offsets count from the start of the chain.
    #[inline]
    pub fn upper_layer(mut self) -> Result<UpperLayer<'a>, PacketError> {
        for header in self.by_ref() {
            header?;
        }
        Ok(self.here())
    }

    /// What stands at the place the walk has come to.
    #[inline]
    #[must_use]
    pub fn here(&self) -> UpperLayer<'a> {
        UpperLayer {
            protocol: self.next,
            offset: self.at,
            payload: self.data.get(self.at..).unwrap_or(&[]),
            fragment: self.fragment,
        }
    }

    /// The last address of a routing header with segments left.
    #[must_use]
    pub fn final_destination(self) -> Option<Ipv6Addr> {
        self.map_while(Result::ok)
            .find_map(|header| match header.extension {
                Extension::Routing(routing) => routing.final_destination(),
                _ => None,
            })
    }

    fn step(&mut self) -> Result<ExtensionHeader<'a>, PacketError> {
        let (offset, kind) = (self.at, self.next);
        let fail =
            |fault, required, actual| PacketError::new(Layer::Ipv6Extension, fault, offset, required, actual);
        if kind == protocol::HOP_BY_HOP && offset != 0 {
            return Err(fail(Fault::ExtensionOrder, 0, offset));
        }
        if self.count == MAX_EXTENSION_HEADERS {
            return Err(fail(Fault::ChainTooLong, MAX_EXTENSION_HEADERS, self.count + 1));
        }
        let rest = self.data.get(offset..).unwrap_or(&[]);
        if rest.len() < 8 {
            return Err(fail(Fault::Truncated, 8, rest.len()));
        }
        let units = usize::from(be8(rest, 1));
        let len = match kind {
            protocol::FRAGMENT => 8,
            // In units of four bytes, less two (RFC 4302 section 2.2); the fixed fields take 12.
            protocol::AUTHENTICATION if units < 1 => {
                return Err(fail(Fault::HeaderLength, 12, (units + 2) * 4));
            }
            protocol::AUTHENTICATION => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        let Some(header) = rest.get(..len) else {
            return Err(fail(Fault::Truncated, len, rest.len()));
        };
        let extension = decode(kind, header);
        self.count += 1;
        self.at += len;
        self.next = be8(header, 0);
        if let Extension::Fragment(fragment) = extension {
            self.fragment = Some(fragment);
            // Behind it stands a piece out of the middle: nothing there can be read as a header.
            self.done = fragment.offset != 0;
        }
        Ok(ExtensionHeader {
            protocol: kind,
            next_header: self.next,
            offset,
            len,
            extension,
        })
    }
}

fn decode(kind: u8, header: &[u8]) -> Extension<'_> {
    let body = header.get(2..).unwrap_or(&[]);
    match kind {
        protocol::HOP_BY_HOP => Extension::HopByHop(Ipv6Options::new(body)),
        protocol::DESTINATION_OPTIONS => Extension::DestinationOptions(Ipv6Options::new(body)),
        protocol::ROUTING => Extension::Routing(RoutingHeader {
            routing_type: be8(header, 2),
            segments_left: be8(header, 3),
            data: header.get(4..).unwrap_or(&[]),
        }),
        protocol::FRAGMENT => {
            let word = be16(header, 2);
            Extension::Fragment(FragmentHeader {
                offset: word & 0xfff8,
                more: word & 1 != 0,
                id: u32::from_be_bytes(array(header, 4)),
            })
        }
        protocol::AUTHENTICATION => Extension::Authentication {
            spi: be32(header, 4),
            sequence: be32(header, 8),
            icv: header.get(12..).unwrap_or(&[]),
        },
        protocol => Extension::Other { protocol, data: body },
    }
}

impl<'a> Iterator for ExtensionHeaders<'a> {
    type Item = Result<ExtensionHeader<'a>, PacketError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done || !protocol::is_extension(self.next) {
            return None;
        }
        let result = self.step();
        self.done |= result.is_err();
        Some(result)
    }
}

impl core::iter::FusedIterator for ExtensionHeaders<'_> {}
