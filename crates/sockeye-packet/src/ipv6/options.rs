//! Options inside hop-by-hop and destination options headers.
//!
//! # References
//! RFC 8200 section 4.2, RFC 2711 (router alert), RFC 2675 (jumbo payload), RFC 6275 (home address), RFC 2473 (tunnel limit).

use core::net::Ipv6Addr;

use crate::bytes::{array, be8, be16, be32};
use crate::error::{Fault, Layer, PacketError};

const PAD1: u8 = 0;
const PADN: u8 = 1;
const TUNNEL_LIMIT: u8 = 4;
const ROUTER_ALERT: u8 = 5;
const JUMBO: u8 = 0xc2;
const HOME_ADDRESS: u8 = 0xc9;

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ipv6Option<'a> {
    /// One byte of padding.
    Pad1,
    /// Padding of two bytes and more; the length counts the bytes behind kind and length.
    PadN {
        /// Bytes behind kind and length.
        len: u8,
    },
    /// Router alert: 0 MLD, 1 RSVP, 2 active networks.
    RouterAlert {
        /// What the packet holds.
        value: u16,
    },
    /// Jumbo payload: the length of everything behind the IPv6 header, in bytes.
    Jumbo {
        /// That length.
        len: u32,
    },
    /// How many more encapsulations are allowed.
    TunnelLimit {
        /// That number.
        limit: u8,
    },
    /// Home address of a mobile node.
    HomeAddress(
        /// That address.
        Ipv6Addr,
    ),
    /// Any other.
    Other {
        /// Its number with the action bits.
        kind: u8,
        /// What follows kind and length.
        data: &'a [u8],
    },
}

/// What a node that does not know an option has to do: the upper two bits of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownAction {
    /// Go on with the next option.
    Skip,
    /// Drop the packet silently.
    Discard,
    /// Drop it and send a parameter problem, code 2.
    DiscardAndReport,
    /// Drop it, and report unless the destination was a multicast group.
    DiscardAndReportUnicast,
}

impl Ipv6Option<'_> {
    /// The number with the action bits.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Pad1 => PAD1,
            Self::PadN { .. } => PADN,
            Self::RouterAlert { .. } => ROUTER_ALERT,
            Self::Jumbo { .. } => JUMBO,
            Self::TunnelLimit { .. } => TUNNEL_LIMIT,
            Self::HomeAddress(_) => HOME_ADDRESS,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// What to do with it if it is not known.
    #[must_use]
    pub const fn unknown_action(&self) -> UnknownAction {
        match self.kind() >> 6 {
            0 => UnknownAction::Skip,
            1 => UnknownAction::Discard,
            2 => UnknownAction::DiscardAndReport,
            _ => UnknownAction::DiscardAndReportUnicast,
        }
    }
}

/// Walks over the options of a header; ends after the first error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Options<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Ipv6Options<'a> {
    /// Over the bytes behind next header and length.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.data
    }

    fn step(&mut self) -> Option<Result<Ipv6Option<'a>, PacketError>> {
        let at = self.at;
        let rest = self.data.get(at..)?;
        let kind = *rest.first()?;
        if kind == PAD1 {
            self.at = at + 1;
            return Some(Ok(Ipv6Option::Pad1));
        }
        self.at = usize::MAX;
        let Some(&len) = rest.get(1) else {
            return Some(Err(PacketError::truncated(Layer::Ipv6Option, at, 2, rest.len())));
        };
        let end = 2 + usize::from(len);
        let Some(data) = rest.get(2..end) else {
            return Some(Err(PacketError::truncated(
                Layer::Ipv6Option,
                at,
                end,
                rest.len(),
            )));
        };
        let required = match kind {
            ROUTER_ALERT => 2,
            JUMBO => 4,
            TUNNEL_LIMIT => 1,
            HOME_ADDRESS => 16,
            _ => data.len(),
        };
        if required != data.len() {
            return Some(Err(PacketError::new(
                Layer::Ipv6Option,
                Fault::OptionLength,
                at + 1,
                required,
                data.len(),
            )));
        }
        self.at = at + end;
        Some(Ok(match kind {
            PADN => Ipv6Option::PadN { len },
            ROUTER_ALERT => Ipv6Option::RouterAlert { value: be16(data, 0) },
            JUMBO => Ipv6Option::Jumbo { len: be32(data, 0) },
            TUNNEL_LIMIT => Ipv6Option::TunnelLimit { limit: be8(data, 0) },
            HOME_ADDRESS => Ipv6Option::HomeAddress(Ipv6Addr::from(array::<16>(data, 0))),
            kind => Ipv6Option::Other { kind, data },
        }))
    }
}

impl<'a> Iterator for Ipv6Options<'a> {
    type Item = Result<Ipv6Option<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step()
    }
}

impl core::iter::FusedIterator for Ipv6Options<'_> {}
