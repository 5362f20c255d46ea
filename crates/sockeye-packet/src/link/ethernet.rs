//! Ethernet frames: Ethernet II, and 802.3 with a length in place of the EtherType.
//!
//! # References
//! IEEE 802.3 clause 3, RFC 894, RFC 1042, RFC 2464.

use crate::bytes::{array, be16, behind, low16, put, put16, range_mut};
use crate::checksum::Pseudo;
use crate::emit::{Emit, room};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::ethertype;
use crate::link::mac::MacAddr;
use crate::view::view;

/// Both addresses and the EtherType, in bytes.
pub const ETHERNET_HEADER_LEN: usize = 14;
/// The shortest frame that may be sent, in bytes, without its frame check sequence.
pub const ETHERNET_MIN_LEN: usize = 60;

const SOURCE: usize = 6;
const TYPE: usize = 12;

/// A view of an Ethernet frame: addresses, type or length, payload. The frame check sequence is not part of it.
///
/// ```
/// use sockeye_packet::{Ethernet, ethertype};
/// let mut frame = [0; 60];
/// frame[..14].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6]);
/// let view = Ethernet::new(&frame[..])?;
/// assert!(view.destination().is_broadcast());
/// assert_eq!((view.ethertype(), view.payload().len()), (Some(ethertype::ARP), 46));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet<T> {
    buffer: T,
}

view!(Ethernet);

impl<T: AsRef<[u8]>> Ethernet<T> {
    /// A frame with a whole header; of an 802.3 frame also the payload is whole. Padding behind that is allowed.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer bytes than header or length, [`Fault::Value`] for a field between 1501 and 1535, which
    /// is neither a length nor an EtherType.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A frame with a whole header; what is cut off or lies about its length is reported beside the view.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 14 bytes.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    #[inline]
    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        let Some(header) = data.first_chunk::<ETHERNET_HEADER_LEN>() else {
            return Err(PacketError::truncated(
                Layer::Ethernet,
                0,
                ETHERNET_HEADER_LEN,
                data.len(),
            ));
        };
        Ok(check_type(Layer::Ethernet, be16(header, TYPE), TYPE, data.len()))
    }

    /// To whom it is sent.
    #[inline]
    pub fn destination(&self) -> MacAddr {
        MacAddr(array(self.bytes(), 0))
    }

    /// Who sent it.
    #[inline]
    pub fn source(&self) -> MacAddr {
        MacAddr(array(self.bytes(), SOURCE))
    }

    /// The field behind the addresses as it is: an EtherType from 0x0600 on, else a length in bytes.
    #[inline]
    pub fn type_or_length(&self) -> u16 {
        be16(self.bytes(), TYPE)
    }

    /// What the frame carries; `None` for an 802.3 frame, which says so in its [`crate::Llc`] header.
    #[inline]
    pub fn ethertype(&self) -> Option<u16> {
        Some(self.type_or_length()).filter(|field| ethertype::is_ethertype(*field))
    }

    /// What stands behind the header: to the end of the bytes, padding included; of an 802.3 frame as long as it says.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        carried(self.bytes(), ETHERNET_HEADER_LEN, self.type_or_length())
    }
}

/// What is wrong with a field that is an EtherType or a length and stands at `at` of `available` bytes.
#[inline]
pub(super) fn check_type(layer: Layer, field: u16, at: usize, available: usize) -> Option<PacketError> {
    if ethertype::is_ethertype(field) {
        return None;
    }
    if field > ethertype::MAX_LENGTH {
        let (required, actual) = (usize::from(ethertype::MAX_LENGTH), usize::from(field));
        return Some(PacketError::new(layer, Fault::Value, at, required, actual));
    }
    let required = at + 2 + usize::from(field);
    (required > available).then(|| PacketError::truncated(layer, 0, required, available))
}

/// The bytes from `start` on; as many as `field` says if it is a length.
#[inline]
pub(super) fn carried(data: &[u8], start: usize, field: u16) -> &[u8] {
    if field > ethertype::MAX_LENGTH {
        return data.get(start..).unwrap_or(&[]);
    }
    behind(data, start, start + usize::from(field))
}

impl<'a> Ethernet<&'a [u8]> {
    /// Like [`Ethernet::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        carried(self.buffer, ETHERNET_HEADER_LEN, self.type_or_length())
    }
}

/// Setters.
impl<T: AsRef<[u8]> + AsMut<[u8]>> Ethernet<T> {
    /// Sets to whom it is sent.
    pub fn set_destination(&mut self, address: MacAddr) {
        put(self.buffer.as_mut(), 0, address.octets());
    }

    /// Sets who sends it.
    pub fn set_source(&mut self, address: MacAddr) {
        put(self.buffer.as_mut(), SOURCE, address.octets());
    }

    /// Sets the EtherType, or the length in bytes of an 802.3 frame.
    pub fn set_type_or_length(&mut self, field: u16) {
        put16(self.buffer.as_mut(), TYPE, field);
    }

    /// The bytes behind the header, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        range_mut(self.buffer.as_mut(), ETHERNET_HEADER_LEN, usize::MAX)
    }
}

/// An Ethernet frame to be written.
///
/// The EtherType is the payload's own, or the one that was set. Without either it is an 802.3 frame with a length.
///
/// ```
/// use sockeye_packet::{ArpBuilder, Ethernet, EthernetBuilder, MacAddr};
/// let me = MacAddr([2, 0, 0, 0, 0, 1]);
/// let question = ArpBuilder::request(me, [192, 0, 2, 1].into(), [192, 0, 2, 2].into());
/// let mut buffer = [0; 64];
/// let len = EthernetBuilder::new(me, MacAddr::BROADCAST, &question).padded().write(&mut buffer)?;
/// assert_eq!(len, 60);
/// assert_eq!(Ethernet::new(&buffer[..len])?.ethertype(), Some(0x0806));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct EthernetBuilder<P> {
    source: MacAddr,
    destination: MacAddr,
    ethertype: Option<u16>,
    padded: bool,
    payload: P,
}

impl<P: Emit> EthernetBuilder<P> {
    /// From one address to another.
    pub const fn new(source: MacAddr, destination: MacAddr, payload: P) -> Self {
        Self {
            source,
            destination,
            ethertype: None,
            padded: false,
            payload,
        }
    }

    /// The EtherType, where the payload does not know it itself (plain bytes).
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// Fills the frame with zeros up to the 60 bytes that Ethernet demands. The kernel's drivers do so by themselves.
    pub fn padded(mut self) -> Self {
        self.padded = true;
        self
    }

    /// Writes the frame to the start of `out` and says how long it is.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`], [`Fault::TooLarge`] for more than 1500 bytes without an EtherType, and what the payload
    /// cannot encode.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, PacketError> {
        self.emit(out, Pseudo::None)
    }
}

/// The field that says what `payload` is: an EtherType, or its length.
pub(super) fn type_or_length<P: Emit>(
    layer: Layer,
    given: Option<u16>,
    payload: &P,
) -> Result<u16, PacketError> {
    if let Some(ethertype) = given.or(payload.ethertype()) {
        return Ok(ethertype);
    }
    let (max, len) = (usize::from(ethertype::MAX_LENGTH), payload.emitted_len());
    if len > max {
        return Err(PacketError::new(layer, Fault::TooLarge, 0, max, len));
    }
    Ok(low16(len))
}

impl<P: Emit> Emit for EthernetBuilder<P> {
    fn emitted_len(&self) -> usize {
        let len = ETHERNET_HEADER_LEN + self.payload.emitted_len();
        if self.padded {
            len.max(ETHERNET_MIN_LEN)
        } else {
            len
        }
    }

    fn ethertype(&self) -> Option<u16> {
        Some(ethertype::ETHERNET)
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        let total = self.emitted_len();
        let field = type_or_length(Layer::Ethernet, self.ethertype, &self.payload)?;
        let out = room(out, total, Layer::Ethernet)?;
        put(out, 0, self.destination.octets());
        put(out, SOURCE, self.source.octets());
        put16(out, TYPE, field);
        let len = self
            .payload
            .emit(range_mut(out, ETHERNET_HEADER_LEN, total), Pseudo::None)
            .map_err(|error| error.shifted(ETHERNET_HEADER_LEN))?;
        range_mut(out, ETHERNET_HEADER_LEN + len, total).fill(0);
        Ok(total)
    }
}
