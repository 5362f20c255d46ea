//! ICMP for IPv4.
//!
//! # References
//! RFC 792, RFC 950 (masks), RFC 1191 (next-hop MTU), RFC 1256 (router discovery), RFC 4884 (extensions), RFC 8335 (extended echo).

use core::net::Ipv4Addr;

use super::{ICMP_HEADER_LEN, IcmpExtensions, Quoted};
use crate::bytes::{array, be8, be16, be32, put, put16};
use crate::checksum::{checksum, update_checksum};
use crate::error::{Layer, PacketError};
use crate::view::view;

/// The message types by name (IANA "ICMP Parameters").
pub mod icmpv4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench, deprecated.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 9;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 10;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Timestamp request.
    pub const TIMESTAMP: u8 = 13;
    /// Timestamp reply.
    pub const TIMESTAMP_REPLY: u8 = 14;
    /// Address mask request, deprecated.
    pub const MASK_REQUEST: u8 = 17;
    /// Address mask reply, deprecated.
    pub const MASK_REPLY: u8 = 18;
    /// Extended echo request.
    pub const EXTENDED_ECHO_REQUEST: u8 = 42;
    /// Extended echo reply.
    pub const EXTENDED_ECHO_REPLY: u8 = 43;

    /// Code of [`UNREACHABLE`]: the network.
    pub const CODE_NET: u8 = 0;
    /// Code of [`UNREACHABLE`]: the host.
    pub const CODE_HOST: u8 = 1;
    /// Code of [`UNREACHABLE`]: the protocol.
    pub const CODE_PROTOCOL: u8 = 2;
    /// Code of [`UNREACHABLE`]: the port.
    pub const CODE_PORT: u8 = 3;
    /// Code of [`UNREACHABLE`]: fragmentation needed; the next-hop MTU is given.
    pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;
    /// Code of [`UNREACHABLE`]: forbidden by a filter.
    pub const CODE_FILTERED: u8 = 13;
}

/// A view of an ICMP message, from exactly the payload of the IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv4<T> {
    buffer: T,
}

view!(Icmpv4);

/// A message by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmpv4Message<'a> {
    /// Echo request.
    EchoRequest {
        /// Identifies the sender.
        id: u16,
        /// Counts the requests.
        sequence: u16,
        /// Comes back unchanged.
        data: &'a [u8],
    },
    /// Echo reply.
    EchoReply {
        /// As in the request.
        id: u16,
        /// As in the request.
        sequence: u16,
        /// As in the request.
        data: &'a [u8],
    },
    /// Destination unreachable.
    Unreachable {
        /// Why; see the constants in [`icmpv4`].
        code: u8,
        /// MTU of the next hop with code 4, in bytes; 0 from routers before RFC 1191.
        next_hop_mtu: u16,
    },
    /// Source quench.
    SourceQuench,
    /// Redirect.
    Redirect {
        /// 0 network, 1 host, 2 and 3 the same for a type of service.
        code: u8,
        /// The better first hop.
        gateway: Ipv4Addr,
    },
    /// Time exceeded.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// Parameter problem.
    ParameterProblem {
        /// 0 the pointer shows it, 1 an option is missing, 2 bad length.
        code: u8,
        /// The byte of the quoted packet at fault.
        pointer: u8,
    },
    /// Timestamp request or reply; milliseconds since midnight UT.
    Timestamp {
        /// Whether it is the reply.
        reply: bool,
        /// Identifies the sender.
        id: u16,
        /// Counts the requests.
        sequence: u16,
        /// When the request left.
        originate: u32,
        /// When it arrived.
        receive: u32,
        /// When the reply left.
        transmit: u32,
    },
    /// Address mask request or reply.
    Mask {
        /// Whether it is the reply.
        reply: bool,
        /// Identifies the sender.
        id: u16,
        /// Counts the requests.
        sequence: u16,
        /// The mask.
        mask: Ipv4Addr,
    },
    /// Router advertisement.
    RouterAdvertisement {
        /// How long it counts, in seconds.
        lifetime_s: u16,
        /// Pairs of address and preference, eight bytes each.
        entries: &'a [[u8; 8]],
    },
    /// Router solicitation.
    RouterSolicitation,
    /// Extended echo request; the interface asked for is in the extensions.
    ExtendedEchoRequest {
        /// Identifies the sender.
        id: u16,
        /// Counts the requests.
        sequence: u8,
        /// Whether the interface is one of the node's own.
        local: bool,
    },
    /// Extended echo reply.
    ExtendedEchoReply {
        /// 0 no error, 1 malformed, 2 no such interface, 3 no such entry, 4 several match.
        code: u8,
        /// As in the request.
        id: u16,
        /// As in the request.
        sequence: u8,
        /// State in the upper three bits, then active, IPv4, IPv6.
        flags: u8,
    },
    /// Any other.
    Other {
        /// Its type.
        message_type: u8,
        /// Its code.
        code: u8,
    },
}

impl<T: AsRef<[u8]>> Icmpv4<T> {
    /// A message with its eight bytes of header, and with all fields of its type.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`].
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        let data = buffer.as_ref();
        let required = required(be8(data, 0), be8(data, 4));
        if data.len() < required {
            return Err(PacketError::truncated(Layer::Icmpv4, 0, required, data.len()));
        }
        Ok(Self { buffer })
    }

    /// The message type.
    #[inline]
    pub fn message_type(&self) -> u8 {
        be8(self.bytes(), 0)
    }

    /// The code.
    #[inline]
    pub fn code(&self) -> u8 {
        be8(self.bytes(), 1)
    }

    /// The checksum as stored.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// Whether the checksum over all the bytes matches.
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        checksum(self.bytes()) == 0
    }

    /// The identifier of echo, timestamp and mask messages.
    #[inline]
    pub fn id(&self) -> u16 {
        be16(self.bytes(), 4)
    }

    /// The sequence number of echo, timestamp and mask messages.
    #[inline]
    pub fn sequence(&self) -> u16 {
        be16(self.bytes(), 6)
    }

    /// What follows the eight bytes of header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(ICMP_HEADER_LEN..).unwrap_or(&[])
    }

    /// Whether it reports an error and quotes a datagram.
    #[inline]
    pub fn is_error(&self) -> bool {
        matches!(self.message_type(), 3 | 4 | 5 | 11 | 12)
    }

    /// The datagram quoted in an error; `None` for other messages.
    ///
    /// # Errors
    /// As [`Quoted::v4`]; offsets count from the start of the message.
    pub fn quoted(&self) -> Option<Result<Quoted<'_>, PacketError>> {
        if !self.is_error() {
            return None;
        }
        let quote = self.payload();
        let quote = match self.extensions() {
            Some(Ok(extensions)) => quote
                .get(..extensions.offset() - ICMP_HEADER_LEN)
                .unwrap_or(quote),
            _ => quote,
        };
        Some(Quoted::v4(quote).map_err(|error| error.shifted(ICMP_HEADER_LEN)))
    }

    /// The extension structure of an error (RFC 4884), where there is one.
    ///
    /// A length field of 0 makes it look behind 128 bytes, where older routers put it, and believe it only with a right checksum.
    ///
    /// # Errors
    /// A length field that lies, or a structure whose objects do not fit; offsets count from the start of the message.
    pub fn extensions(&self) -> Option<Result<IcmpExtensions<'_>, PacketError>> {
        match self.message_type() {
            icmpv4::UNREACHABLE | icmpv4::TIME_EXCEEDED | icmpv4::PARAMETER_PROBLEM => {
                IcmpExtensions::behind_quote(self.bytes(), usize::from(be8(self.bytes(), 5)) * 4)
            }
            icmpv4::EXTENDED_ECHO_REQUEST => Some(IcmpExtensions::at(self.bytes(), ICMP_HEADER_LEN)),
            _ => None,
        }
    }

    /// The message with its fields.
    pub fn message(&self) -> Icmpv4Message<'_> {
        let data = self.bytes();
        let (code, id, sequence) = (self.code(), self.id(), self.sequence());
        match self.message_type() {
            icmpv4::ECHO_REQUEST => Icmpv4Message::EchoRequest {
                id,
                sequence,
                data: self.payload(),
            },
            icmpv4::ECHO_REPLY => Icmpv4Message::EchoReply {
                id,
                sequence,
                data: self.payload(),
            },
            icmpv4::UNREACHABLE => Icmpv4Message::Unreachable {
                code,
                next_hop_mtu: sequence,
            },
            icmpv4::SOURCE_QUENCH => Icmpv4Message::SourceQuench,
            icmpv4::REDIRECT => Icmpv4Message::Redirect {
                code,
                gateway: Ipv4Addr::from(array::<4>(data, 4)),
            },
            icmpv4::TIME_EXCEEDED => Icmpv4Message::TimeExceeded { code },
            icmpv4::PARAMETER_PROBLEM => Icmpv4Message::ParameterProblem {
                code,
                pointer: be8(data, 4),
            },
            kind @ (icmpv4::TIMESTAMP | icmpv4::TIMESTAMP_REPLY) => Icmpv4Message::Timestamp {
                reply: kind == icmpv4::TIMESTAMP_REPLY,
                id,
                sequence,
                originate: be32(data, 8),
                receive: be32(data, 12),
                transmit: be32(data, 16),
            },
            kind @ (icmpv4::MASK_REQUEST | icmpv4::MASK_REPLY) => Icmpv4Message::Mask {
                reply: kind == icmpv4::MASK_REPLY,
                id,
                sequence,
                mask: Ipv4Addr::from(array::<4>(data, 8)),
            },
            icmpv4::ROUTER_ADVERTISEMENT => {
                let entries = self.payload().as_chunks::<8>().0;
                let count = usize::from(be8(data, 4)).min(entries.len());
                Icmpv4Message::RouterAdvertisement {
                    lifetime_s: sequence,
                    entries: entries.get(..count).unwrap_or(&[]),
                }
            }
            icmpv4::ROUTER_SOLICITATION => Icmpv4Message::RouterSolicitation,
            icmpv4::EXTENDED_ECHO_REQUEST => Icmpv4Message::ExtendedEchoRequest {
                id,
                sequence: be8(data, 6),
                local: be8(data, 7) & 1 != 0,
            },
            icmpv4::EXTENDED_ECHO_REPLY => Icmpv4Message::ExtendedEchoReply {
                code,
                id,
                sequence: be8(data, 6),
                flags: be8(data, 7),
            },
            message_type => Icmpv4Message::Other { message_type, code },
        }
    }
}

/// Bytes a message of a type has at least; `count` is its byte 4.
fn required(message_type: u8, count: u8) -> usize {
    match message_type {
        icmpv4::TIMESTAMP | icmpv4::TIMESTAMP_REPLY => 20,
        icmpv4::MASK_REQUEST | icmpv4::MASK_REPLY => 12,
        icmpv4::ROUTER_ADVERTISEMENT => ICMP_HEADER_LEN + usize::from(count) * 8,
        _ => ICMP_HEADER_LEN,
    }
}

/// Setters. Each keeps the checksum right by RFC 1624.
impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv4<T> {
    fn set_word(&mut self, at: usize, new: u16) {
        let sum = update_checksum(self.checksum(), be16(self.bytes(), at), new);
        let data = self.buffer.as_mut();
        put16(data, at, new);
        put16(data, 2, sum);
    }

    /// Sets the message type: makes an echo reply of a request in place.
    pub fn set_message_type(&mut self, message_type: u8) {
        let code = self.code();
        self.set_word(0, u16::from_be_bytes([message_type, code]));
    }

    /// Sets the identifier.
    pub fn set_id(&mut self, id: u16) {
        self.set_word(4, id);
    }

    /// Sets the sequence number.
    pub fn set_sequence(&mut self, sequence: u16) {
        self.set_word(6, sequence);
    }

    /// Computes the checksum afresh over all the bytes.
    pub fn fill_checksum(&mut self) {
        let data = self.buffer.as_mut();
        put(data, 2, [0, 0]);
        let sum = checksum(data);
        put16(data, 2, sum);
    }
}
