//! Options of neighbour discovery messages.
//!
//! # References
//! RFC 4861 section 4.6, RFC 4191 (routes), RFC 8106 (DNS), RFC 3971 (nonce), RFC 8781 (NAT64 prefix).

use core::net::Ipv6Addr;

use crate::bytes::{array, be8, be16, be32, range};
use crate::error::{Fault, Layer, PacketError};

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeighbourOption<'a> {
    /// The sender's link-layer address (1), with what pads it to eight bytes.
    SourceLinkAddress(&'a [u8]),
    /// The target's link-layer address (2), with what pads it to eight bytes.
    TargetLinkAddress(&'a [u8]),
    /// A prefix of the link (3).
    Prefix {
        /// Leading bits that count.
        prefix_len: u8,
        /// Whether it can be used to tell what is on the link.
        on_link: bool,
        /// Whether addresses can be made of it.
        autonomous: bool,
        /// How long it is valid, in seconds; all ones for ever.
        valid_s: u32,
        /// How long addresses made of it are preferred, in seconds; all ones for ever.
        preferred_s: u32,
        /// The prefix.
        prefix: Ipv6Addr,
    },
    /// The packet that caused a redirect (4), as much as fits.
    Redirected(&'a [u8]),
    /// The MTU of the link (5), in bytes.
    Mtu(u32),
    /// A nonce (14).
    Nonce(&'a [u8]),
    /// A route (24).
    Route {
        /// Leading bits that count.
        prefix_len: u8,
        /// Two bits: 1 high, 0 medium, 3 low.
        preference: u8,
        /// How long it counts, in seconds.
        lifetime_s: u32,
        /// The prefix: 0, 8 or 16 bytes of it.
        prefix: &'a [u8],
    },
    /// Name servers (25).
    NameServers {
        /// How long they count, in seconds.
        lifetime_s: u32,
        /// Their addresses.
        servers: &'a [[u8; 16]],
    },
    /// Domains to search (31), as DNS names.
    SearchList {
        /// How long they count, in seconds.
        lifetime_s: u32,
        /// The encoded names, padded with zeros.
        names: &'a [u8],
    },
    /// A NAT64 prefix (38).
    Nat64Prefix {
        /// Lifetime in units of 8 s (13 bits) and prefix length code (3 bits), as stored.
        lifetime_and_code: u16,
        /// The upper 96 bits of the prefix.
        prefix: [u8; 12],
    },
    /// Any other.
    Other {
        /// Its type.
        kind: u8,
        /// What follows type and length.
        data: &'a [u8],
    },
}

/// Walks over the options of a message; ends after the first error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourOptions<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> NeighbourOptions<'a> {
    /// Over the bytes behind the fixed part of the message.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }
}

/// Decodes one option; the error is the length it should have had.
fn decode(kind: u8, option: &[u8]) -> Result<NeighbourOption<'_>, usize> {
    let need = |len: usize| if option.len() < len { Err(len) } else { Ok(()) };
    let exactly = |len: usize| if option.len() == len { Ok(()) } else { Err(len) };
    let data = option.get(2..).unwrap_or(&[]);
    Ok(match kind {
        1 => NeighbourOption::SourceLinkAddress(data),
        2 => NeighbourOption::TargetLinkAddress(data),
        3 => {
            exactly(32)?;
            let flags = be8(option, 3);
            NeighbourOption::Prefix {
                prefix_len: be8(option, 2),
                on_link: flags & 0x80 != 0,
                autonomous: flags & 0x40 != 0,
                valid_s: be32(option, 4),
                preferred_s: be32(option, 8),
                prefix: Ipv6Addr::from(array::<16>(option, 16)),
            }
        }
        4 => NeighbourOption::Redirected(option.get(8..).unwrap_or(&[])),
        5 => {
            exactly(8)?;
            NeighbourOption::Mtu(be32(option, 4))
        }
        14 => NeighbourOption::Nonce(data),
        24 => {
            if option.len() > 24 {
                return Err(24);
            }
            NeighbourOption::Route {
                prefix_len: be8(option, 2),
                preference: (be8(option, 3) >> 3) & 3,
                lifetime_s: be32(option, 4),
                prefix: option.get(8..).unwrap_or(&[]),
            }
        }
        25 => {
            need(24)?;
            if option.len() % 16 != 8 {
                return Err(option.len() + 8);
            }
            NeighbourOption::NameServers {
                lifetime_s: be32(option, 4),
                servers: range(option, 8, usize::MAX).as_chunks::<16>().0,
            }
        }
        31 => {
            need(16)?;
            NeighbourOption::SearchList {
                lifetime_s: be32(option, 4),
                names: option.get(8..).unwrap_or(&[]),
            }
        }
        38 => {
            exactly(16)?;
            NeighbourOption::Nat64Prefix {
                lifetime_and_code: be16(option, 2),
                prefix: array(option, 4),
            }
        }
        kind => NeighbourOption::Other { kind, data },
    })
}

impl<'a> Iterator for NeighbourOptions<'a> {
    type Item = Result<NeighbourOption<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.data.get(at..)?;
        let kind = *rest.first()?;
        self.at = usize::MAX;
        let Some(&units) = rest.get(1) else {
            return Some(Err(PacketError::truncated(
                Layer::NeighbourOption,
                at,
                8,
                rest.len(),
            )));
        };
        let len = usize::from(units) * 8;
        if len == 0 {
            // RFC 4861 section 4.6: the whole packet must be dropped.
            return Some(Err(PacketError::new(
                Layer::NeighbourOption,
                Fault::OptionLength,
                at + 1,
                8,
                0,
            )));
        }
        let Some(option) = rest.get(..len) else {
            return Some(Err(PacketError::truncated(
                Layer::NeighbourOption,
                at,
                len,
                rest.len(),
            )));
        };
        match decode(kind, option) {
            Ok(option) => {
                self.at = at + len;
                Some(Ok(option))
            }
            Err(required) => Some(Err(PacketError::new(
                Layer::NeighbourOption,
                Fault::OptionLength,
                at + 1,
                required,
                len,
            ))),
        }
    }
}

impl core::iter::FusedIterator for NeighbourOptions<'_> {}
