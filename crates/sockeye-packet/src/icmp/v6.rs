//! ICMP for IPv6.
//!
//! # References
//! RFC 4443, RFC 4861 (neighbour discovery), RFC 2710 and RFC 3810 (MLD), RFC 4884 (extensions), RFC 8335 (extended echo).

use core::net::{IpAddr, Ipv6Addr};

use super::{ICMP_HEADER_LEN, IcmpExtensions, MldRecords, NeighbourOptions, Quoted};
use crate::bytes::{array, be8, be16, be32, put, put16};
use crate::checksum::{Checksum, ChecksumStatus, Pseudo, update_checksum};
use crate::error::{Layer, PacketError};
use crate::protocol;
use crate::readdress::readdressed;
use crate::udp::wire_len;
use crate::view::view;

/// The message types by name (IANA "ICMPv6 Parameters").
pub mod icmpv6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Multicast listener query.
    pub const MLD_QUERY: u8 = 130;
    /// Multicast listener report, version 1.
    pub const MLD_REPORT: u8 = 131;
    /// Multicast listener done.
    pub const MLD_DONE: u8 = 132;
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;
    /// Multicast listener report, version 2.
    pub const MLD_REPORT_V2: u8 = 143;
    /// Extended echo request.
    pub const EXTENDED_ECHO_REQUEST: u8 = 160;
    /// Extended echo reply.
    pub const EXTENDED_ECHO_REPLY: u8 = 161;

    /// Code of [`UNREACHABLE`]: no route.
    pub const CODE_NO_ROUTE: u8 = 0;
    /// Code of [`UNREACHABLE`]: forbidden by a filter.
    pub const CODE_FILTERED: u8 = 1;
    /// Code of [`UNREACHABLE`]: the address.
    pub const CODE_ADDRESS: u8 = 3;
    /// Code of [`UNREACHABLE`]: the port.
    pub const CODE_PORT: u8 = 4;
}

/// A view of an ICMPv6 message, from exactly the upper-layer payload of the IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv6<T> {
    buffer: T,
}

view!(Icmpv6);

/// A message by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmpv6Message<'a> {
    /// Destination unreachable.
    Unreachable {
        /// Why; see the constants in [`icmpv6`].
        code: u8,
    },
    /// Packet too big.
    TooBig {
        /// MTU of the next hop, in bytes.
        mtu: u32,
    },
    /// Time exceeded.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// Parameter problem.
    ParameterProblem {
        /// 0 bad field, 1 unknown next header, 2 unknown option.
        code: u8,
        /// The byte of the quoted packet at fault.
        pointer: u32,
    },
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
    /// Multicast listener query of either version.
    MldQuery {
        /// Maximum response code as stored: milliseconds below 32,768, then a float (RFC 3810 section 5.1.3).
        response_code: u16,
        /// The group asked for; `::` for all.
        group: Ipv6Addr,
        /// The sources of a version 2 query; `None` for version 1.
        sources: Option<&'a [[u8; 16]]>,
    },
    /// Multicast listener report of version 1.
    MldReport {
        /// The group.
        group: Ipv6Addr,
    },
    /// Multicast listener done.
    MldDone {
        /// The group.
        group: Ipv6Addr,
    },
    /// Multicast listener report of version 2.
    MldReportV2 {
        /// What it says of each group.
        records: MldRecords<'a>,
    },
    /// Router solicitation.
    RouterSolicitation {
        /// Its options.
        options: NeighbourOptions<'a>,
    },
    /// Router advertisement.
    RouterAdvertisement {
        /// Hop limit for hosts; 0 for "not said".
        hop_limit: u8,
        /// Managed, other, home agent, preference (two bits), proxy.
        flags: u8,
        /// How long it is a default router, in seconds.
        lifetime_s: u16,
        /// How long a neighbour counts as reachable, in milliseconds.
        reachable_ms: u32,
        /// Between solicitations, in milliseconds.
        retransmit_ms: u32,
        /// Its options.
        options: NeighbourOptions<'a>,
    },
    /// Neighbour solicitation.
    NeighbourSolicitation {
        /// Whom it looks for.
        target: Ipv6Addr,
        /// Its options.
        options: NeighbourOptions<'a>,
    },
    /// Neighbour advertisement.
    NeighbourAdvertisement {
        /// Whether the sender is a router.
        router: bool,
        /// Whether it answers a solicitation.
        solicited: bool,
        /// Whether it replaces what is known.
        overrides: bool,
        /// Whose link-layer address it tells.
        target: Ipv6Addr,
        /// Its options.
        options: NeighbourOptions<'a>,
    },
    /// Redirect.
    Redirect {
        /// The better first hop.
        target: Ipv6Addr,
        /// For packets to this address.
        destination: Ipv6Addr,
        /// Its options.
        options: NeighbourOptions<'a>,
    },
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

impl<T: AsRef<[u8]>> Icmpv6<T> {
    /// A message with its eight bytes of header, and with all fields of its type.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`].
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        let data = buffer.as_ref();
        let required = required(data);
        if data.len() < required {
            return Err(PacketError::truncated(Layer::Icmpv6, 0, required, data.len()));
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

    /// Whether the checksum matches between the addresses in `under`, over all the bytes.
    #[inline]
    pub fn checksum_status(&self, under: Pseudo) -> ChecksumStatus {
        if under == Pseudo::None {
            return ChecksumStatus::Unknown;
        }
        let data = self.bytes();
        let mut sum = Checksum::pseudo(under, protocol::ICMPV6, wire_len(data.len()));
        sum.add(data);
        ChecksumStatus::of(sum.finish())
    }

    /// The identifier of echo messages.
    #[inline]
    pub fn id(&self) -> u16 {
        be16(self.bytes(), 4)
    }

    /// The sequence number of echo messages.
    #[inline]
    pub fn sequence(&self) -> u16 {
        be16(self.bytes(), 6)
    }

    /// What follows the eight bytes of header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(ICMP_HEADER_LEN..).unwrap_or(&[])
    }

    /// Whether it reports an error and quotes a packet.
    #[inline]
    pub fn is_error(&self) -> bool {
        self.message_type() < 128
    }

    /// The packet quoted in an error; `None` for other messages.
    ///
    /// # Errors
    /// As [`Quoted::v6`]; offsets count from the start of the message.
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
        Some(Quoted::v6(quote).map_err(|error| error.shifted(ICMP_HEADER_LEN)))
    }

    /// The extension structure of an error (RFC 4884), where there is one; see [`super::Icmpv4::extensions`].
    ///
    /// # Errors
    /// A length field that lies, or a structure whose objects do not fit; offsets count from the start of the message.
    pub fn extensions(&self) -> Option<Result<IcmpExtensions<'_>, PacketError>> {
        match self.message_type() {
            icmpv6::UNREACHABLE | icmpv6::TIME_EXCEEDED => {
                IcmpExtensions::behind_quote(self.bytes(), usize::from(be8(self.bytes(), 4)) * 8)
            }
            icmpv6::EXTENDED_ECHO_REQUEST => Some(IcmpExtensions::at(self.bytes(), ICMP_HEADER_LEN)),
            _ => None,
        }
    }

    fn address(&self, at: usize) -> Ipv6Addr {
        Ipv6Addr::from(array::<16>(self.bytes(), at))
    }

    fn neighbour_options(&self, at: usize) -> NeighbourOptions<'_> {
        NeighbourOptions::new(self.bytes().get(at..).unwrap_or(&[]))
    }

    fn mld_query(&self) -> Icmpv6Message<'_> {
        let data = self.bytes();
        let sources = data.get(28..).map(|sources| {
            let all = sources.as_chunks::<16>().0;
            all.get(..usize::from(be16(data, 26))).unwrap_or(all)
        });
        Icmpv6Message::MldQuery {
            response_code: be16(data, 4),
            group: self.address(8),
            sources,
        }
    }

    fn discovery(&self) -> Icmpv6Message<'_> {
        let data = self.bytes();
        match self.message_type() {
            icmpv6::ROUTER_SOLICITATION => Icmpv6Message::RouterSolicitation {
                options: self.neighbour_options(8),
            },
            icmpv6::ROUTER_ADVERTISEMENT => Icmpv6Message::RouterAdvertisement {
                hop_limit: be8(data, 4),
                flags: be8(data, 5),
                lifetime_s: be16(data, 6),
                reachable_ms: be32(data, 8),
                retransmit_ms: be32(data, 12),
                options: self.neighbour_options(16),
            },
            icmpv6::NEIGHBOUR_SOLICITATION => Icmpv6Message::NeighbourSolicitation {
                target: self.address(8),
                options: self.neighbour_options(24),
            },
            icmpv6::NEIGHBOUR_ADVERTISEMENT => {
                let flags = be8(data, 4);
                Icmpv6Message::NeighbourAdvertisement {
                    router: flags & 0x80 != 0,
                    solicited: flags & 0x40 != 0,
                    overrides: flags & 0x20 != 0,
                    target: self.address(8),
                    options: self.neighbour_options(24),
                }
            }
            _ => Icmpv6Message::Redirect {
                target: self.address(8),
                destination: self.address(24),
                options: self.neighbour_options(40),
            },
        }
    }

    /// The message with its fields.
    pub fn message(&self) -> Icmpv6Message<'_> {
        let data = self.bytes();
        let (code, id, sequence) = (self.code(), self.id(), self.sequence());
        match self.message_type() {
            icmpv6::UNREACHABLE => Icmpv6Message::Unreachable { code },
            icmpv6::TOO_BIG => Icmpv6Message::TooBig { mtu: be32(data, 4) },
            icmpv6::TIME_EXCEEDED => Icmpv6Message::TimeExceeded { code },
            icmpv6::PARAMETER_PROBLEM => Icmpv6Message::ParameterProblem {
                code,
                pointer: be32(data, 4),
            },
            icmpv6::ECHO_REQUEST => Icmpv6Message::EchoRequest {
                id,
                sequence,
                data: self.payload(),
            },
            icmpv6::ECHO_REPLY => Icmpv6Message::EchoReply {
                id,
                sequence,
                data: self.payload(),
            },
            icmpv6::MLD_QUERY => self.mld_query(),
            icmpv6::MLD_REPORT => Icmpv6Message::MldReport {
                group: self.address(8),
            },
            icmpv6::MLD_DONE => Icmpv6Message::MldDone {
                group: self.address(8),
            },
            icmpv6::MLD_REPORT_V2 => Icmpv6Message::MldReportV2 {
                records: MldRecords::new(sequence, self.payload()),
            },
            icmpv6::ROUTER_SOLICITATION..=icmpv6::REDIRECT => self.discovery(),
            icmpv6::EXTENDED_ECHO_REQUEST => Icmpv6Message::ExtendedEchoRequest {
                id,
                sequence: be8(data, 6),
                local: be8(data, 7) & 1 != 0,
            },
            icmpv6::EXTENDED_ECHO_REPLY => Icmpv6Message::ExtendedEchoReply {
                code,
                id,
                sequence: be8(data, 6),
                flags: be8(data, 7),
            },
            message_type => Icmpv6Message::Other { message_type, code },
        }
    }
}

/// Bytes a message has at least, by its type.
fn required(data: &[u8]) -> usize {
    match be8(data, 0) {
        icmpv6::MLD_QUERY if data.len() >= 28 => 28 + usize::from(be16(data, 26)) * 16,
        icmpv6::MLD_QUERY | icmpv6::MLD_REPORT | icmpv6::MLD_DONE => 24,
        icmpv6::ROUTER_ADVERTISEMENT => 16,
        icmpv6::NEIGHBOUR_SOLICITATION | icmpv6::NEIGHBOUR_ADVERTISEMENT => 24,
        icmpv6::REDIRECT => 40,
        _ => ICMP_HEADER_LEN,
    }
}

/// Setters. Each keeps the checksum right by RFC 1624.
impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv6<T> {
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

    /// Follows a change of one address of the IPv6 header from `old` to `new`.
    pub fn readdress(&mut self, old: Ipv6Addr, new: Ipv6Addr) {
        let sum = readdressed(self.checksum(), IpAddr::V6(old), IpAddr::V6(new));
        put16(self.buffer.as_mut(), 2, sum);
    }

    /// Computes the checksum afresh over all the bytes.
    pub fn fill_checksum(&mut self, under: Pseudo) {
        let data = self.buffer.as_mut();
        put(data, 2, [0, 0]);
        let mut sum = Checksum::pseudo(under, protocol::ICMPV6, wire_len(data.len()));
        sum.add(data);
        put16(data, 2, sum.finish());
    }
}
