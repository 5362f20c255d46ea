//! Radiotap: what a receiver knew of an 802.11 frame, before the frame itself.
//!
//! # References
//! radiotap.org, "Defined fields".

use crate::bytes::{array, be8};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::view::view;

/// Version, padding, length, and the first word of what is present.
const MIN_LEN: usize = 8;
/// Another word of what is present follows.
const MORE: u32 = 1 << 31;
/// The frame ends with its check sequence.
const WITH_FCS: u8 = 0x10;
/// Between an 802.11 header and its payload stands padding up to a multiple of four bytes.
const PADDED: u8 = 0x20;

/// Alignment and size of the fields 0 to 5, which come in this order: time, flags, rate, channel, hopping, signal.
const FIELDS: [(usize, usize); 6] = [(8, 8), (1, 1), (1, 1), (2, 4), (2, 2), (1, 1)];

/// A view of a radiotap header and the 802.11 frame behind it. Its numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Radiotap<T> {
    buffer: T,
}

view!(Radiotap);

impl<T: AsRef<[u8]>> Radiotap<T> {
    /// A whole header.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::Version`] for another version than 0, [`Fault::HeaderLength`] for a length under 8 or
    /// under what the words of present fields take.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A header whose first 8 bytes are sound; what is cut off behind them is reported beside the view.
    ///
    /// # Errors
    /// As [`Radiotap::new`], for what leaves no header at all.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        if data.len() < MIN_LEN {
            return Err(PacketError::truncated(Layer::Radiotap, 0, MIN_LEN, data.len()));
        }
        let version = usize::from(be8(data, 0));
        if version != 0 {
            return Err(PacketError::new(Layer::Radiotap, Fault::Version, 0, 0, version));
        }
        let len = Radiotap { buffer: data }.header_len();
        if len < MIN_LEN {
            return Err(PacketError::new(
                Layer::Radiotap,
                Fault::HeaderLength,
                2,
                MIN_LEN,
                len,
            ));
        }
        if len > data.len() {
            return Ok(Some(PacketError::truncated(Layer::Radiotap, 0, len, data.len())));
        }
        let needed = fields_at(data);
        Ok((needed > len).then(|| PacketError::new(Layer::Radiotap, Fault::HeaderLength, 2, needed, len)))
    }

    /// Length of the header, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(u16::from_le_bytes(array(self.bytes(), 2)))
    }

    /// Which fields are there, one bit each: the first word.
    #[inline]
    pub fn present(&self) -> u32 {
        u32::from_le_bytes(array(self.bytes(), 4))
    }

    /// `N` bytes of the field of this number, if it is there and lies within the header.
    fn field<const N: usize>(&self, number: usize) -> Option<[u8; N]> {
        let data = self.bytes();
        let present = self.present();
        let mut at = fields_at(data);
        for (index, (align, size)) in FIELDS.iter().enumerate() {
            if present & (1 << index) == 0 {
                continue;
            }
            at = at.next_multiple_of(*align);
            if index == number {
                let is_there = at + size <= self.header_len().min(data.len());
                return is_there.then(|| array(data, at));
            }
            at += size;
        }
        None
    }

    /// The flags of the frame, if known.
    fn flags(&self) -> u8 {
        self.field(1).map_or(0, |[flags]| flags)
    }

    /// Whether the 802.11 frame ends with its check sequence of four bytes.
    pub fn has_fcs(&self) -> bool {
        self.flags() & WITH_FCS != 0
    }

    /// Whether the 802.11 header is filled up to a multiple of four bytes before its payload.
    pub fn has_padding(&self) -> bool {
        self.flags() & PADDED != 0
    }

    /// The centre of the channel, in MHz.
    pub fn channel_mhz(&self) -> Option<u16> {
        self.field(3).map(u16::from_le_bytes)
    }

    /// The strength of the signal, in dBm.
    pub fn signal_dbm(&self) -> Option<i8> {
        self.field(5).map(i8::from_le_bytes)
    }

    /// The 802.11 frame, without its check sequence.
    pub fn payload(&self) -> &[u8] {
        frame(self.bytes(), self.header_len(), self.has_fcs())
    }
}

/// Where the fields begin: behind all words of what is present.
fn fields_at(data: &[u8]) -> usize {
    let mut at = 4;
    // Bounded by the bytes: where there are none, zeros are read.
    while u32::from_le_bytes(array(data, at)) & MORE != 0 {
        at += 4;
    }
    at + 4
}

fn frame(data: &[u8], start: usize, has_fcs: bool) -> &[u8] {
    let rest = data.get(start..).unwrap_or(&[]);
    let end = if has_fcs {
        rest.len().saturating_sub(4)
    } else {
        rest.len()
    };
    rest.get(..end).unwrap_or(&[])
}

impl<'a> Radiotap<&'a [u8]> {
    /// Like [`Radiotap::payload`], with the lifetime of the bytes and not of the view.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        frame(self.buffer, self.header_len(), self.has_fcs())
    }
}
