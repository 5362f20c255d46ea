//! PPP, PPPoE, and Cisco's HDLC: serial lines, and what runs over them.
//!
//! # References
//! RFC 1661 and RFC 1662 (PPP), RFC 2516 (PPPoE), RFC 1547 section 4.3.1 (Cisco HDLC).

use crate::bytes::{be8, be16, behind};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::ethertype;
use crate::view::view;

/// The header of PPPoE, in bytes.
pub const PPPOE_HEADER_LEN: usize = 6;
/// The header of Cisco HDLC, in bytes.
pub const HDLC_HEADER_LEN: usize = 4;

/// The address of PPP in frames like those of HDLC: everybody.
const ADDRESS: u8 = 0xff;
/// And its control field: a plain datagram.
const CONTROL: u8 = 0x03;
/// Version 1 and type 1 of PPPoE, in one byte.
const PPPOE_VERSION: u8 = 0x11;

/// A view of a PPP frame: the protocol and what it carries.
///
/// Address and control (RFC 1662) may stand before it, and the protocol may be compressed to one byte (RFC 1661 section 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ppp<T> {
    buffer: T,
}

view!(Ppp);

impl<T: AsRef<[u8]>> Ppp<T> {
    /// A frame with a whole header.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        let view = Self { buffer };
        let (required, actual) = (view.header_len(), view.bytes().len());
        if actual < required {
            return Err(PacketError::truncated(Layer::Ppp, 0, required, actual));
        }
        Ok(view)
    }

    /// As [`Ppp::new`]: there is nothing behind the header that could lie.
    ///
    /// # Errors
    /// [`Fault::Truncated`].
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        Self::new(buffer).map(|view| Lax { view, stopped: None })
    }

    /// Where the protocol stands.
    #[inline]
    fn at(&self) -> usize {
        match self.bytes() {
            // Cut off behind the address: 0xff is not the number of a protocol.
            [ADDRESS] | [ADDRESS, CONTROL, ..] => 2,
            _ => 0,
        }
    }

    /// Whether the protocol is one byte: only the last byte of a number is odd.
    #[inline]
    fn is_compressed(&self) -> bool {
        be8(self.bytes(), self.at()) & 1 != 0
    }

    /// Length of what stands before the payload, in bytes: 1 to 4.
    #[inline]
    pub fn header_len(&self) -> usize {
        self.at() + if self.is_compressed() { 1 } else { 2 }
    }

    /// The protocol (IANA "PPP Numbers"): 0x0021 is IPv4, 0x0057 IPv6, 0xc021 the line's own control.
    #[inline]
    pub fn protocol(&self) -> u16 {
        let (data, at) = (self.bytes(), self.at());
        if self.is_compressed() {
            u16::from(be8(data, at))
        } else {
            be16(data, at)
        }
    }

    /// The EtherType of what it carries, for IPv4, IPv6 and MPLS.
    #[inline]
    pub fn ethertype(&self) -> Option<u16> {
        match self.protocol() {
            0x0021 => Some(ethertype::IPV4),
            0x0057 => Some(ethertype::IPV6),
            0x0281 => Some(ethertype::MPLS),
            0x0283 => Some(ethertype::MPLS_UPSTREAM),
            _ => None,
        }
    }

    /// What stands behind the protocol.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(self.header_len()..).unwrap_or(&[])
    }
}

impl<'a> Ppp<&'a [u8]> {
    /// Like [`Ppp::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(self.header_len()..).unwrap_or(&[])
    }
}

/// A view of a PPPoE packet, of a session or of discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pppoe<T> {
    buffer: T,
}

view!(Pppoe);

impl<T: AsRef<[u8]>> Pppoe<T> {
    /// A packet that is whole; padding behind its length is allowed.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer bytes than header or length, [`Fault::Version`] for another version or type than 1.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A packet with a whole header; what is cut off is reported beside the view.
    ///
    /// # Errors
    /// As [`Pppoe::new`], for fewer than 6 bytes or another version.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        if data.len() < PPPOE_HEADER_LEN {
            return Err(PacketError::truncated(
                Layer::Pppoe,
                0,
                PPPOE_HEADER_LEN,
                data.len(),
            ));
        }
        let first = be8(data, 0);
        if first != PPPOE_VERSION {
            let (required, actual) = (usize::from(PPPOE_VERSION), usize::from(first));
            return Err(PacketError::new(
                Layer::Pppoe,
                Fault::Version,
                0,
                required,
                actual,
            ));
        }
        let required = PPPOE_HEADER_LEN + usize::from(be16(data, 4));
        Ok((data.len() < required).then(|| PacketError::truncated(Layer::Pppoe, 0, required, data.len())))
    }

    /// What kind it is: 0 in a session, else a step of discovery.
    #[inline]
    pub fn code(&self) -> u8 {
        be8(self.bytes(), 1)
    }

    /// The number of the session; 0 before there is one.
    #[inline]
    pub fn session(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// Length of the payload as the header says it, in bytes.
    #[inline]
    pub fn length(&self) -> u16 {
        be16(self.bytes(), 4)
    }

    /// A PPP frame in a session; tags in discovery.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        behind(
            self.bytes(),
            PPPOE_HEADER_LEN,
            PPPOE_HEADER_LEN + usize::from(self.length()),
        )
    }
}

impl<'a> Pppoe<&'a [u8]> {
    /// Like [`Pppoe::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        behind(
            self.buffer,
            PPPOE_HEADER_LEN,
            PPPOE_HEADER_LEN + usize::from(self.length()),
        )
    }
}

/// A view of a frame of Cisco's HDLC, which names its payload by an EtherType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hdlc<T> {
    buffer: T,
}

view!(Hdlc);

impl<T: AsRef<[u8]>> Hdlc<T> {
    /// A frame with a whole header.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 4 bytes.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        let len = buffer.as_ref().len();
        if len < HDLC_HEADER_LEN {
            return Err(PacketError::truncated(Layer::Hdlc, 0, HDLC_HEADER_LEN, len));
        }
        Ok(Self { buffer })
    }

    /// As [`Hdlc::new`]: there is nothing behind the header that could lie.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 4 bytes.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        Self::new(buffer).map(|view| Lax { view, stopped: None })
    }

    /// To whom: 0x0f one, 0x8f everybody.
    #[inline]
    pub fn address(&self) -> u8 {
        be8(self.bytes(), 0)
    }

    /// What it carries: an EtherType, or a number of Cisco's own such as 0x8035 for its keepalives.
    #[inline]
    pub fn protocol(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// What stands behind the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(HDLC_HEADER_LEN..).unwrap_or(&[])
    }
}

impl<'a> Hdlc<&'a [u8]> {
    /// Like [`Hdlc::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(HDLC_HEADER_LEN..).unwrap_or(&[])
    }
}
