//! LLC headers of 802.2, and SNAP behind them: what an 802.3 or 802.11 frame carries.
//!
//! # References
//! IEEE 802.2 (ISO 8802-2), IEEE 802 clause 10.3 (SNAP), RFC 1042.

use crate::bytes::{array, be8, be16};
use crate::error::{Lax, Layer, PacketError};
use crate::view::view;

/// Two service access points and one byte of control.
const MIN_LEN: usize = 3;
/// Organisation and protocol behind an LLC header of three bytes.
const SNAP_LEN: usize = 8;
/// The service access point of SNAP.
const SNAP: u8 = 0xaa;
/// Unnumbered information: a plain datagram.
const UNNUMBERED: u8 = 3;

/// A view of an LLC header, of SNAP behind it where there is one, and of what they carry.
///
/// ```
/// use sockeye_packet::Llc;
/// let llc = Llc::new(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45])?;
/// assert_eq!((llc.ethertype(), llc.payload()), (Some(0x0800), &[0x45][..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "Snap")]
pub struct Llc<T> {
    buffer: T,
}

view!(Llc);

impl<T: AsRef<[u8]>> Llc<T> {
    /// A whole header, SNAP included.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`].
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A header of three bytes; what is cut off behind them is reported beside the view.
    ///
    /// # Errors
    /// [`crate::Fault::Truncated`] for fewer than 3 bytes.
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
            return Err(PacketError::truncated(Layer::Llc, 0, MIN_LEN, data.len()));
        }
        let required = Llc { buffer: data }.header_len();
        Ok((data.len() < required).then(|| PacketError::truncated(Layer::Llc, 0, required, data.len())))
    }

    /// The service access point of the receiver; its lowest bit means a group.
    #[inline]
    pub fn destination_sap(&self) -> u8 {
        be8(self.bytes(), 0)
    }

    /// The service access point of the sender; its lowest bit means a response.
    #[inline]
    pub fn source_sap(&self) -> u8 {
        be8(self.bytes(), 1)
    }

    /// The first byte of the control field; 3 is a plain datagram.
    #[inline]
    pub fn control(&self) -> u8 {
        be8(self.bytes(), 2)
    }

    /// Whether SNAP follows: an organisation and a protocol of it.
    #[inline]
    pub fn is_snap(&self) -> bool {
        array::<3>(self.bytes(), 0) == [SNAP, SNAP, UNNUMBERED]
    }

    /// Length of the header, with SNAP, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        if self.is_snap() {
            SNAP_LEN
        } else if self.control() & UNNUMBERED == UNNUMBERED {
            MIN_LEN
        } else {
            // Numbered frames have a second byte of control.
            MIN_LEN + 1
        }
    }

    /// The organisation and its number of the protocol, if SNAP is there and whole.
    #[inline]
    pub fn snap(&self) -> Option<([u8; 3], u16)> {
        let data = self.bytes();
        (self.is_snap() && data.len() >= SNAP_LEN).then(|| (array(data, 3), be16(data, 6)))
    }

    /// What the frame carries, if SNAP says so by an EtherType: under the organisation 00-00-00 (RFC 1042) or
    /// 00-00-f8 (802.1H).
    #[inline]
    pub fn ethertype(&self) -> Option<u16> {
        match self.snap()? {
            ([0, 0, 0 | 0xf8], kind) => Some(kind),
            _ => None,
        }
    }

    /// What stands behind the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(self.header_len()..).unwrap_or(&[])
    }
}

impl<'a> Llc<&'a [u8]> {
    /// Like [`Llc::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(self.header_len()..).unwrap_or(&[])
    }
}
