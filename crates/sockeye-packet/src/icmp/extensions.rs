//! The extension structure behind the quote of an ICMP error.
//!
//! # References
//! RFC 4884 (structure), RFC 4950 (MPLS labels), RFC 5837 (interfaces), RFC 8335 (interface identification).

use core::net::IpAddr;

use crate::bytes::{array, be8, be16, be32, range};
use crate::checksum::checksum;
use crate::error::{Fault, Layer, PacketError};

/// Before RFC 4884 routers quoted this much and put the extensions behind it without saying so.
const CLASSIC_QUOTE: usize = 128;
const ICMP_HEADER: usize = 8;

/// An extension structure: a version, a checksum, and objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpExtensions<'a> {
    /// From the version on.
    data: &'a [u8],
    /// Where it begins in the message.
    offset: usize,
    /// The next object.
    at: usize,
}

impl<'a> IcmpExtensions<'a> {
    /// Finds the structure in an error message whose length field says `quote_len` bytes of quote.
    pub(crate) fn behind_quote(message: &'a [u8], quote_len: usize) -> Option<Result<Self, PacketError>> {
        let available = message.len().saturating_sub(ICMP_HEADER);
        if quote_len == 0 {
            // RFC 4884 section 5.5: assume 128, and believe it only if version and checksum agree.
            let found = Self::at(message, ICMP_HEADER + CLASSIC_QUOTE).ok()?;
            return (found.stored_checksum() != 0 && found.checksum_ok()).then_some(Ok(found));
        }
        if quote_len > available {
            return Some(Err(PacketError::truncated(
                Layer::IcmpExtensions,
                ICMP_HEADER,
                quote_len,
                available,
            )));
        }
        if quote_len == available {
            return None;
        }
        Some(Self::at(message, ICMP_HEADER + quote_len))
    }

    /// The structure that begins `offset` bytes into an ICMP message and goes to its end.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 4 bytes, [`Fault::Version`] for another version than 2.
    pub fn at(message: &'a [u8], offset: usize) -> Result<Self, PacketError> {
        let data = message.get(offset..).unwrap_or(&[]);
        if data.len() < 4 {
            return Err(PacketError::truncated(
                Layer::IcmpExtensions,
                offset,
                4,
                data.len(),
            ));
        }
        let version = usize::from(be8(data, 0) >> 4);
        if version != 2 {
            return Err(PacketError::new(
                Layer::IcmpExtensions,
                Fault::Version,
                offset,
                2,
                version,
            ));
        }
        Ok(Self { data, offset, at: 4 })
    }

    /// Where the structure begins in the message, in bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The checksum as stored; 0 stands for "none".
    #[must_use]
    pub fn stored_checksum(&self) -> u16 {
        be16(self.data, 2)
    }

    /// Whether the checksum over the structure matches, or none was sent.
    #[must_use]
    pub fn checksum_ok(&self) -> bool {
        self.stored_checksum() == 0 || checksum(self.data) == 0
    }
}

/// One object of the structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtensionObject<'a> {
    /// The label stack the packet arrived with (class 1), four bytes a label.
    Mpls(&'a [[u8; 4]]),
    /// An interface the packet touched (class 2).
    Interface(InterfaceInfo<'a>),
    /// Which interface an extended echo asks for (class 3).
    InterfaceId {
        /// 1 by name, 2 by index, 3 by address.
        by: u8,
        /// The name, index, or address family and address.
        data: &'a [u8],
    },
    /// Any other.
    Other {
        /// Its class.
        class: u8,
        /// Its type within the class.
        class_type: u8,
        /// What follows the object's header.
        data: &'a [u8],
    },
}

impl<'a> ExtensionObject<'a> {
    /// The labels of an MPLS object; nothing for others.
    pub fn labels(&self) -> impl Iterator<Item = MplsLabel> + use<'a> {
        let stack: &'a [[u8; 4]] = match self {
            Self::Mpls(stack) => stack,
            _ => &[],
        };
        stack
            .iter()
            .map(|entry| MplsLabel::from_word(u32::from_be_bytes(*entry)))
    }
}

/// An entry of an MPLS label stack (RFC 3032).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MplsLabel {
    /// The label, 20 bits.
    pub label: u32,
    /// The traffic class, three bits.
    pub traffic_class: u8,
    /// Whether it is the last of the stack.
    pub bottom: bool,
    /// Time to live.
    pub ttl: u8,
}

impl MplsLabel {
    /// From the 32 bits of an entry.
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        let [_, _, third, ttl] = word.to_be_bytes();
        Self {
            label: word >> 12,
            traffic_class: (third >> 1) & 7,
            bottom: third & 1 != 0,
            ttl,
        }
    }

    /// As the 32 bits of an entry.
    #[must_use]
    pub const fn to_word(self) -> u32 {
        (self.label << 12)
            | ((self.traffic_class as u32 & 7) << 9)
            | ((self.bottom as u32) << 8)
            | self.ttl as u32
    }
}

/// What an interface was to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterfaceRole {
    /// It arrived there.
    Incoming,
    /// The link-layer part it arrived on, below a bundle.
    SubInterface,
    /// It would have left there.
    Outgoing,
    /// The next hop it would have been sent to.
    NextHop,
}

/// An interface as a router tells of it (RFC 5837); each part may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceInfo<'a> {
    /// Its role.
    pub role: InterfaceRole,
    /// Its SNMP index.
    pub index: Option<u32>,
    /// An address of it.
    pub address: Option<IpAddr>,
    /// Its name: at most 63 bytes of UTF-8, without padding.
    pub name: Option<&'a [u8]>,
    /// Its MTU, in bytes.
    pub mtu: Option<u32>,
}

/// Takes `len` bytes off the front of `rest`.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

impl<'a> InterfaceInfo<'a> {
    /// From type and content of an object of class 2; `None` where a part does not fit.
    fn parse(class_type: u8, data: &'a [u8]) -> Option<Self> {
        let role = match class_type >> 6 {
            0 => InterfaceRole::Incoming,
            1 => InterfaceRole::SubInterface,
            2 => InterfaceRole::Outgoing,
            _ => InterfaceRole::NextHop,
        };
        let mut info = Self {
            role,
            index: None,
            address: None,
            name: None,
            mtu: None,
        };
        let mut rest = data;
        if class_type & 8 != 0 {
            info.index = Some(be32(take(&mut rest, 4)?, 0));
        }
        if class_type & 4 != 0 {
            info.address = Some(match be16(take(&mut rest, 4)?, 0) {
                1 => IpAddr::from(array::<4>(take(&mut rest, 4)?, 0)),
                2 => IpAddr::from(array::<16>(take(&mut rest, 16)?, 0)),
                _ => return None,
            });
        }
        if class_type & 2 != 0 {
            // The first byte counts itself and the padding to a multiple of four.
            let len = usize::from(*rest.first()?);
            let field = take(&mut rest, len)?;
            let name = field.get(1..)?;
            let end = name
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            info.name = name.get(..end);
        }
        if class_type & 1 != 0 {
            info.mtu = Some(be32(take(&mut rest, 4)?, 0));
        }
        Some(info)
    }
}

impl<'a> Iterator for IcmpExtensions<'a> {
    type Item = Result<ExtensionObject<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.data.get(at..).filter(|rest| !rest.is_empty())?;
        self.at = usize::MAX;
        let len = usize::from(be16(rest, 0));
        let offset = self.offset + at;
        if rest.len() < 4 {
            return Some(Err(PacketError::truncated(
                Layer::IcmpExtensions,
                offset,
                4,
                rest.len(),
            )));
        }
        if len < 4 {
            return Some(Err(PacketError::new(
                Layer::IcmpExtensions,
                Fault::LengthField,
                offset,
                4,
                len,
            )));
        }
        if len > rest.len() {
            return Some(Err(PacketError::truncated(
                Layer::IcmpExtensions,
                offset,
                len,
                rest.len(),
            )));
        }
        self.at = at + len;
        let (class, class_type, data) = (be8(rest, 2), be8(rest, 3), range(rest, 4, len));
        Some(Ok(match class {
            1 => ExtensionObject::Mpls(data.as_chunks::<4>().0),
            2 => match InterfaceInfo::parse(class_type, data) {
                Some(info) => ExtensionObject::Interface(info),
                None => ExtensionObject::Other {
                    class,
                    class_type,
                    data,
                },
            },
            3 => ExtensionObject::InterfaceId { by: class_type, data },
            class => ExtensionObject::Other {
                class,
                class_type,
                data,
            },
        }))
    }
}

impl core::iter::FusedIterator for IcmpExtensions<'_> {}
