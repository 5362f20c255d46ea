//! Frames of 802.11: addresses, and what data frames carry.
//!
//! # References
//! IEEE 802.11 clause 9.2 and 9.3.

use crate::bytes::{array, be8};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::link::mac::MacAddr;

/// Frame control, duration, and the first address: what every frame has.
const MIN_LEN: usize = 10;
/// A management frame, and a data frame with three addresses.
const THREE_ADDRESSES: usize = 24;

const TO_DS: u8 = 0x01;
const FROM_DS: u8 = 0x02;
const MORE_FRAGMENTS: u8 = 0x04;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;

/// Subtypes of data frames: without data, with quality of service.
const NULL: u8 = 4;
const QOS: u8 = 8;
/// In the control field of quality of service: several frames in one.
const AGGREGATE: u8 = 0x80;

/// The three kinds of 802.11 frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WifiKind {
    /// Beacons, association, authentication.
    Management,
    /// Acknowledgments and the like.
    Control,
    /// Data.
    Data,
    /// An extension.
    Extension,
}

/// A view of an 802.11 frame without its check sequence.
///
/// The frame of a [`crate::Radiotap`] header with padding is to be made with [`Wifi::padded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "Ieee80211")]
pub struct Wifi<T> {
    buffer: T,
    is_padded: bool,
}

impl<T: AsRef<[u8]>> Wifi<T> {
    /// A frame with a whole header.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::Version`] for another version than 0.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        let Lax { view, stopped } = Self::lax(buffer)?;
        match stopped {
            None => Ok(view),
            Some(error) => Err(error),
        }
    }

    /// A frame with its first 10 bytes; what is cut off of its header is reported beside the view.
    ///
    /// # Errors
    /// As [`Wifi::new`], for fewer than 10 bytes or another version.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let (len, first) = (buffer.as_ref().len(), be8(buffer.as_ref(), 0));
        if len < MIN_LEN {
            return Err(PacketError::truncated(Layer::Wifi, 0, MIN_LEN, len));
        }
        if first & 3 != 0 {
            let version = usize::from(first & 3);
            return Err(PacketError::new(Layer::Wifi, Fault::Version, 0, 0, version));
        }
        let view = Self {
            buffer,
            is_padded: false,
        };
        let required = view.header_len();
        let stopped = (len < required).then(|| PacketError::truncated(Layer::Wifi, 0, required, len));
        Ok(Lax { view, stopped })
    }

    /// The same frame with its header filled up to a multiple of four bytes.
    #[must_use]
    pub fn padded(self, is_padded: bool) -> Self {
        Self { is_padded, ..self }
    }

    /// All the bytes the view was made of.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.as_ref()
    }

    /// Gives back what the view was made of.
    #[inline]
    pub fn into_inner(self) -> T {
        self.buffer
    }

    /// What kind of frame it is.
    #[inline]
    pub fn kind(&self) -> WifiKind {
        match (be8(self.bytes(), 0) >> 2) & 3 {
            0 => WifiKind::Management,
            1 => WifiKind::Control,
            2 => WifiKind::Data,
            _ => WifiKind::Extension,
        }
    }

    /// The subtype within its kind, 4 bits.
    #[inline]
    pub fn subtype(&self) -> u8 {
        be8(self.bytes(), 0) >> 4
    }

    #[inline]
    fn flags(&self) -> u8 {
        be8(self.bytes(), 1)
    }

    /// Whether the payload is encrypted.
    #[inline]
    pub fn is_protected(&self) -> bool {
        self.flags() & PROTECTED != 0
    }

    /// Whether it is a piece of a larger frame.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        let sequence = u16::from_le_bytes(array(self.bytes(), 22));
        self.flags() & MORE_FRAGMENTS != 0 || sequence & 0xf != 0
    }

    /// To the access point, from it: both between access points.
    #[inline]
    fn direction(&self) -> (bool, bool) {
        (self.flags() & TO_DS != 0, self.flags() & FROM_DS != 0)
    }

    fn has_qos(&self) -> bool {
        self.kind() == WifiKind::Data && self.subtype() & QOS != 0
    }

    /// Length of the header without padding, in bytes.
    pub fn header_len(&self) -> usize {
        let extended = usize::from(self.flags() & ORDER != 0) * 4;
        match self.kind() {
            WifiKind::Management => THREE_ADDRESSES + extended,
            // Request to send, polls and block acknowledgments name the sender too.
            WifiKind::Control if matches!(self.subtype(), 8..=11 | 14 | 15) => MIN_LEN + 6,
            WifiKind::Control | WifiKind::Extension => MIN_LEN,
            WifiKind::Data => {
                let fourth = if self.direction() == (true, true) { 6 } else { 0 };
                let qos = if self.has_qos() { 2 + extended } else { 0 };
                THREE_ADDRESSES + fourth + qos
            }
        }
    }

    fn address(&self, at: usize) -> Option<MacAddr> {
        let is_there = at + 6 <= self.bytes().len().min(self.header_len());
        is_there.then(|| MacAddr(array(self.bytes(), at)))
    }

    /// Who receives it over the air.
    #[inline]
    pub fn receiver(&self) -> MacAddr {
        MacAddr(array(self.bytes(), 4))
    }

    /// Who sends it over the air, if it says so.
    pub fn transmitter(&self) -> Option<MacAddr> {
        self.address(10)
    }

    /// For whom it is.
    pub fn destination(&self) -> MacAddr {
        match (self.kind(), self.direction()) {
            (WifiKind::Data, (true, _)) => self.address(16).unwrap_or(MacAddr::ZERO),
            _ => self.receiver(),
        }
    }

    /// From whom it comes, if it says so.
    pub fn source(&self) -> Option<MacAddr> {
        match (self.kind(), self.direction()) {
            (WifiKind::Data, (false, true)) => self.address(16),
            (WifiKind::Data, (true, true)) => self.address(24),
            _ => self.address(10),
        }
    }

    /// Whether an [`crate::Llc`] header stands in the payload: a data frame that carries something, is not encrypted, and is
    /// neither a piece of a frame nor several in one.
    pub fn is_llc(&self) -> bool {
        let qos_at = if self.direction() == (true, true) { 30 } else { 24 };
        self.kind() == WifiKind::Data
            && self.subtype() & NULL == 0
            && !self.is_protected()
            && !self.is_fragment()
            && !(self.has_qos() && be8(self.bytes(), qos_at) & AGGREGATE != 0)
    }

    /// Where the payload begins, in bytes; can lie behind the end of the bytes.
    #[inline]
    pub(crate) fn payload_offset(&self) -> usize {
        let len = self.header_len();
        if self.is_padded {
            len.next_multiple_of(4)
        } else {
            len
        }
    }

    /// What stands behind the header.
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(self.payload_offset()..).unwrap_or(&[])
    }
}

impl<'a> Wifi<&'a [u8]> {
    /// Like [`Wifi::payload`], with the lifetime of the bytes and not of the view.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(self.payload_offset()..).unwrap_or(&[])
    }
}
