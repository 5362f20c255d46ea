//! What captures have in place of a link's header: Linux cooked (SLL, SLL2), and the loopback of BSD.
//!
//! # References
//! The link types LINUX_SLL, LINUX_SLL2, NULL and LOOP of tcpdump.org; packet(7).

use crate::bytes::{array, be8, be16, be32, range};
use crate::error::{Lax, Layer, PacketError};
use crate::ethertype;
use crate::link::mac::MacAddr;
use crate::view::view;

/// The header of a cooked capture, in bytes.
pub const COOKED_HEADER_LEN: usize = 16;
/// The header of a cooked capture, version 2, in bytes.
pub const COOKED2_HEADER_LEN: usize = 20;
/// The address family before a packet of a BSD loopback, in bytes.
pub const LOOPBACK_HEADER_LEN: usize = 4;

/// The most bytes of a link address that a cooked header holds.
const ADDRESS_LEN: usize = 8;
/// `ARPHRD_NETLINK`: the protocol is a family of netlink.
const NETLINK: u16 = 824;
/// `ARPHRD_IEEE80211`, `_PRISM`, `_RADIOTAP`, `_FRAD`: the protocol field says nothing.
const WITHOUT_PROTOCOL: [u16; 4] = [801, 802, 803, 770];
/// `LINUX_SLL_P_802_2`: an LLC header follows.
const LLC: u16 = 4;

/// Which way a packet went past the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PacketType {
    /// To this machine.
    Host,
    /// To everybody.
    Broadcast,
    /// To a group.
    Multicast,
    /// Between others.
    OtherHost,
    /// From this machine.
    Outgoing,
    /// Another number.
    Other(u16),
}

impl PacketType {
    /// By the number in the header, as in packet(7).
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Host,
            1 => Self::Broadcast,
            2 => Self::Multicast,
            3 => Self::OtherHost,
            4 => Self::Outgoing,
            other => Self::Other(other),
        }
    }
}

/// The EtherType in a protocol field behind a device of type `hardware`.
fn meaning(hardware: u16, protocol: u16) -> Option<u16> {
    if hardware == NETLINK || WITHOUT_PROTOCOL.contains(&hardware) {
        return None;
    }
    Some(protocol).filter(|protocol| ethertype::is_ethertype(*protocol))
}

macro_rules! cooked_view {
    ($name:ident, $len:expr, $address_at:expr) => {
        view!($name);

        impl<T: AsRef<[u8]>> $name<T> {
            /// A frame with a whole header.
            ///
            /// # Errors
            /// [`crate::Fault::Truncated`].
            #[inline]
            pub fn new(buffer: T) -> Result<Self, PacketError> {
                let len = buffer.as_ref().len();
                if len < $len {
                    return Err(PacketError::truncated(Layer::Cooked, 0, $len, len));
                }
                Ok(Self { buffer })
            }

            /// As `new`: there is nothing behind the header that could lie.
            ///
            /// # Errors
            /// [`crate::Fault::Truncated`].
            #[inline]
            pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
                Self::new(buffer).map(|view| Lax {
                    view,
                    stopped: None,
                })
            }

            /// The sender's link address: as many bytes as it has, at most 8.
            #[inline]
            pub fn address(&self) -> &[u8] {
                let len = self.address_len().min(ADDRESS_LEN);
                range(self.bytes(), $address_at, $address_at + len)
            }

            /// The sender's link address, if it has six bytes as on Ethernet.
            #[inline]
            pub fn source(&self) -> Option<MacAddr> {
                self.address().try_into().ok().map(MacAddr)
            }

            /// The EtherType of what follows, where the protocol field holds one for this kind of device.
            #[inline]
            pub fn ethertype(&self) -> Option<u16> {
                meaning(self.hardware_type(), self.protocol())
            }

            /// Whether an [`crate::Llc`] header follows.
            #[inline]
            pub fn is_llc(&self) -> bool {
                self.protocol() == LLC && self.hardware_type() != NETLINK
            }

            /// What stands behind the header.
            #[inline]
            pub fn payload(&self) -> &[u8] {
                self.bytes().get($len..).unwrap_or(&[])
            }
        }

        impl<'a> $name<&'a [u8]> {
            /// Like the payload, with the lifetime of the bytes and not of the view.
            #[inline]
            #[must_use]
            pub fn body(&self) -> &'a [u8] {
                self.buffer.get($len..).unwrap_or(&[])
            }
        }
    };
}

/// A view of a frame of a Linux cooked capture (SLL), as it comes from devices without a header and from "any".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "LINUX_SLL")]
pub struct Cooked<T> {
    buffer: T,
}

cooked_view!(Cooked, COOKED_HEADER_LEN, 6);

impl<T: AsRef<[u8]>> Cooked<T> {
    /// Which way the packet went.
    #[inline]
    pub fn packet_type(&self) -> PacketType {
        PacketType::from_number(be16(self.bytes(), 0))
    }

    /// The kind of device (`ARPHRD_`).
    #[inline]
    pub fn hardware_type(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// Length of the link address as the header says it, in bytes; can be more than the 8 that fit.
    #[inline]
    pub fn address_len(&self) -> usize {
        usize::from(be16(self.bytes(), 4))
    }

    /// The protocol field as it is; see `ethertype`.
    #[inline]
    pub fn protocol(&self) -> u16 {
        be16(self.bytes(), 14)
    }
}

/// A view of a frame of a Linux cooked capture, version 2 (SLL2), which names the interface too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "LINUX_SLL2")]
pub struct Cooked2<T> {
    buffer: T,
}

cooked_view!(Cooked2, COOKED2_HEADER_LEN, 12);

impl<T: AsRef<[u8]>> Cooked2<T> {
    /// The protocol field as it is; see `ethertype`.
    #[inline]
    pub fn protocol(&self) -> u16 {
        be16(self.bytes(), 0)
    }

    /// The number of the interface.
    #[inline]
    pub fn interface(&self) -> u32 {
        be32(self.bytes(), 4)
    }

    /// The kind of device (`ARPHRD_`).
    #[inline]
    pub fn hardware_type(&self) -> u16 {
        be16(self.bytes(), 8)
    }

    /// Which way the packet went.
    #[inline]
    pub fn packet_type(&self) -> PacketType {
        PacketType::from_number(u16::from(be8(self.bytes(), 10)))
    }

    /// Length of the link address as the header says it, in bytes; can be more than the 8 that fit.
    #[inline]
    pub fn address_len(&self) -> usize {
        usize::from(be8(self.bytes(), 11))
    }
}

/// A view of a packet behind an address family, as BSD's loopback has it (NULL and LOOP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback<T> {
    buffer: T,
}

view!(Loopback);

impl<T: AsRef<[u8]>> Loopback<T> {
    /// A frame with a whole header.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`] for fewer than 4 bytes.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        let len = buffer.as_ref().len();
        if len < LOOPBACK_HEADER_LEN {
            return Err(PacketError::truncated(
                Layer::Loopback,
                0,
                LOOPBACK_HEADER_LEN,
                len,
            ));
        }
        Ok(Self { buffer })
    }

    /// As [`Loopback::new`]: there is nothing behind the header that could lie.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`] for fewer than 4 bytes.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        Self::new(buffer).map(|view| Lax { view, stopped: None })
    }

    /// The address family. It stands in the byte order of whoever captured; no family needs the upper half.
    #[inline]
    pub fn family(&self) -> u32 {
        let bytes = array(self.bytes(), 0);
        match u32::from_be_bytes(bytes) {
            family @ ..=0xffff => family,
            _ => u32::from_le_bytes(bytes),
        }
    }

    /// The EtherType of what follows. IPv4 is 2 everywhere; the number of IPv6 depends on the system.
    #[inline]
    pub fn ethertype(&self) -> Option<u16> {
        match self.family() {
            2 => Some(ethertype::IPV4),
            10 | 24 | 28 | 30 => Some(ethertype::IPV6),
            _ => None,
        }
    }

    /// What stands behind the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(LOOPBACK_HEADER_LEN..).unwrap_or(&[])
    }
}

impl<'a> Loopback<&'a [u8]> {
    /// Like [`Loopback::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(LOOPBACK_HEADER_LEN..).unwrap_or(&[])
    }
}
