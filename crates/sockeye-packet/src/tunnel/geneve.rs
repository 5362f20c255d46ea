//! Geneve: frames and packets inside of UDP, with options.
//!
//! # References
//! RFC 8926 section 3.

use crate::bytes::{be8, be16, be32, range};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::view::view;

/// The header without options, in bytes.
pub const GENEVE_HEADER_LEN: usize = 8;
/// The port that IANA has assigned.
pub const GENEVE_PORT: u16 = 6081;

/// The part of an option before its data, in bytes.
const OPTION_HEADER_LEN: usize = 4;

/// A view of a Geneve header, its options, and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geneve<T> {
    buffer: T,
}

view!(Geneve);

impl<T: AsRef<[u8]>> Geneve<T> {
    /// A whole header with its options, which are not looked into.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::Version`] for another version than 0.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A header whose first 8 bytes are sound; options that are cut off are reported beside the view.
    ///
    /// # Errors
    /// As [`Geneve::new`], for fewer than 8 bytes or another version.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        if data.len() < GENEVE_HEADER_LEN {
            return Err(PacketError::truncated(
                Layer::Geneve,
                0,
                GENEVE_HEADER_LEN,
                data.len(),
            ));
        }
        let version = usize::from(be8(data, 0) >> 6);
        if version != 0 {
            return Err(PacketError::new(Layer::Geneve, Fault::Version, 0, 0, version));
        }
        let required = Geneve { buffer: data }.header_len();
        Ok((data.len() < required).then(|| PacketError::truncated(Layer::Geneve, 0, required, data.len())))
    }

    /// Length of the header with its options, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        GENEVE_HEADER_LEN + 4 * usize::from(be8(self.bytes(), 0) & 0x3f)
    }

    /// Whether it is a message of the tunnel's own control.
    #[inline]
    pub fn is_control(&self) -> bool {
        be8(self.bytes(), 1) & 0x80 != 0
    }

    /// Whether there are options that the end of the tunnel must know.
    #[inline]
    pub fn has_critical_options(&self) -> bool {
        be8(self.bytes(), 1) & 0x40 != 0
    }

    /// The EtherType of what it carries; 0x6558 is an Ethernet frame.
    #[inline]
    pub fn protocol(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// The number of the network, 24 bits.
    #[inline]
    pub fn vni(&self) -> u32 {
        be32(self.bytes(), 4) >> 8
    }

    /// The options, one by one.
    #[inline]
    pub fn options(&self) -> GeneveOptions<'_> {
        GeneveOptions {
            data: range(self.bytes(), GENEVE_HEADER_LEN, self.header_len()),
            at: 0,
        }
    }

    /// What stands behind the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(self.header_len()..).unwrap_or(&[])
    }
}

impl<'a> Geneve<&'a [u8]> {
    /// Like [`Geneve::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(self.header_len()..).unwrap_or(&[])
    }
}

/// An option of a Geneve header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneveOption<'a> {
    /// Who has defined it (IANA "Geneve Option Class").
    pub class: u16,
    /// Its number there, without the bit for "critical".
    pub kind: u8,
    /// Whether the end of the tunnel must drop the packet if it does not know the option.
    pub is_critical: bool,
    /// Its data, a multiple of 4 bytes.
    pub data: &'a [u8],
}

/// The options of a [`Geneve`] header. The first fault ends the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneveOptions<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Iterator for GeneveOptions<'a> {
    type Item = Result<GeneveOption<'a>, PacketError>;

    /// Offsets of errors count from the first option.
    fn next(&mut self) -> Option<Self::Item> {
        let (at, data) = (self.at, self.data);
        let rest = data.get(at..).filter(|rest| !rest.is_empty())?;
        let required = OPTION_HEADER_LEN + 4 * usize::from(be8(rest, 3) & 0x1f);
        if rest.len() < required {
            self.at = data.len();
            return Some(Err(PacketError::new(
                Layer::Geneve,
                Fault::OptionLength,
                at,
                required,
                rest.len(),
            )));
        }
        self.at += required;
        Some(Ok(GeneveOption {
            class: be16(rest, 0),
            kind: be8(rest, 2) & 0x7f,
            is_critical: be8(rest, 2) & 0x80 != 0,
            data: range(rest, OPTION_HEADER_LEN, required),
        }))
    }
}

impl core::iter::FusedIterator for GeneveOptions<'_> {}
