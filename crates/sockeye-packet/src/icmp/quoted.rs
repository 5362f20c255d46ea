//! The datagram quoted in an ICMP error: as much of it as the router sent back.
//!
//! # References
//! RFC 792 (header and eight bytes), RFC 1812 section 4.3.2.3 (up to 576 bytes), RFC 4443 section 2.4 (up to the minimum MTU).

use core::net::IpAddr;

use crate::bytes::{be16, be32};
use crate::checksum::Pseudo;
use crate::error::{Lax, PacketError};
use crate::ipv4::Ipv4;
use crate::ipv6::{ExtensionHeaders, Ipv6};
use crate::protocol;

/// What a quote says of the packet that caused an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// Who sent it: the receiver of the error.
    pub source: IpAddr,
    /// Where it was going.
    pub destination: IpAddr,
    /// Its upper-layer protocol, behind extension headers.
    pub protocol: u8,
    /// Time to live or hop limit as it was when the error arose.
    pub ttl: u8,
    /// DSCP and ECN as they arrived there.
    pub traffic_class: u8,
    /// Bytes before the upper layer: the IHL times 4, or 40 and the extension headers.
    pub header_len: usize,
    /// Length of the whole packet as its header says, in bytes; on some systems changed by the router.
    pub total_len: usize,
    /// The identification of an IPv4 packet, or of an IPv6 fragment.
    pub id: Option<u32>,
    /// Place in the datagram, in bytes; not 0 means there is no transport header.
    pub fragment_offset: u16,
    /// What is quoted of the upper layer: at least 8 bytes by the book, fewer in the wild.
    pub payload: &'a [u8],
    /// Where the quote is cut off, if it is.
    pub stopped: Option<PacketError>,
}

/// The first eight bytes of a quoted transport header, as far as they are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotedTransport {
    /// UDP or UDP-Lite.
    Udp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
        /// The length field (coverage for UDP-Lite) as stored: not to be trusted, it may be under 8.
        length: u16,
        /// The checksum as sent.
        checksum: u16,
    },
    /// TCP.
    Tcp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
        /// The sequence number.
        sequence: u32,
    },
    /// An ICMP echo of either family.
    Echo {
        /// The message type.
        message_type: u8,
        /// The identifier.
        id: u16,
        /// The sequence number.
        sequence: u16,
        /// The checksum as sent.
        checksum: u16,
    },
}

impl<'a> Quoted<'a> {
    /// The quote of an ICMPv4 error.
    ///
    /// # Errors
    /// If not even a fixed IPv4 header is there, or its version or IHL is wrong.
    pub fn v4(quote: &'a [u8]) -> Result<Self, PacketError> {
        let Lax { view, stopped } = Ipv4::lax(quote)?;
        Ok(Self {
            source: IpAddr::V4(view.source()),
            destination: IpAddr::V4(view.destination()),
            protocol: view.protocol(),
            ttl: view.ttl(),
            traffic_class: (view.dscp() << 2) | view.ecn(),
            header_len: view.header_len(),
            total_len: usize::from(view.total_len()),
            id: Some(u32::from(view.id())),
            fragment_offset: u16::try_from(view.fragment_offset()).unwrap_or(u16::MAX),
            payload: view.body(),
            stopped,
        })
    }

    /// The quote of an ICMPv6 error; extension headers are walked as far as they are there.
    ///
    /// # Errors
    /// If not even a fixed IPv6 header is there, or its version is wrong.
    pub fn v6(quote: &'a [u8]) -> Result<Self, PacketError> {
        let Lax { view, stopped } = Ipv6::lax(quote)?;
        let mut walk = ExtensionHeaders::new(view.next_header(), view.body());
        let broken = walk.by_ref().find_map(Result::err);
        let upper = walk.here();
        Ok(Self {
            source: IpAddr::V6(view.source()),
            destination: IpAddr::V6(view.destination()),
            protocol: upper.protocol,
            ttl: view.hop_limit(),
            traffic_class: view.traffic_class(),
            header_len: 40 + upper.offset,
            total_len: 40 + usize::from(view.payload_len()),
            id: upper.fragment.map(|fragment| fragment.id),
            fragment_offset: upper.fragment.map_or(0, |fragment| fragment.offset),
            payload: upper.payload,
            stopped: stopped.or(broken.map(|error| error.shifted(40))),
        })
    }

    /// The transport header; `None` for a later fragment, an unknown protocol, or fewer than eight bytes.
    #[must_use]
    pub fn transport(&self) -> Option<QuotedTransport> {
        let data: &[u8; 8] = self.payload.first_chunk()?;
        if self.fragment_offset != 0 {
            return None;
        }
        let (source_port, destination_port) = (be16(data, 0), be16(data, 2));
        match self.protocol {
            protocol::UDP | protocol::UDP_LITE => Some(QuotedTransport::Udp {
                source_port,
                destination_port,
                length: be16(data, 4),
                checksum: be16(data, 6),
            }),
            protocol::TCP => Some(QuotedTransport::Tcp {
                source_port,
                destination_port,
                sequence: be32(data, 4),
            }),
            protocol::ICMPV4 | protocol::ICMPV6 => {
                let [message_type, ..] = *data;
                let echo = match self.protocol {
                    protocol::ICMPV4 => matches!(message_type, 0 | 8 | 13 | 14),
                    _ => matches!(message_type, 128 | 129),
                };
                echo.then(|| QuotedTransport::Echo {
                    message_type,
                    id: be16(data, 4),
                    sequence: be16(data, 6),
                    checksum: be16(data, 2),
                })
            }
            _ => None,
        }
    }

    /// Source and destination port, where the protocol has ports and at least four bytes are quoted.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let has_ports = matches!(
            self.protocol,
            protocol::UDP | protocol::UDP_LITE | protocol::TCP | 33 | 132
        );
        if !has_ports || self.fragment_offset != 0 || self.payload.len() < 4 {
            return None;
        }
        Some((be16(self.payload, 0), be16(self.payload, 2)))
    }

    /// The addresses for the transport's checksum.
    #[must_use]
    pub const fn pseudo(&self) -> Pseudo {
        Pseudo::between(self.source, self.destination)
    }
}
