//! IPv4 headers: the view, its setters, and the options behind it.
//!
//! # References
//! RFC 791, RFC 2474 (DSCP), RFC 3168 (ECN), RFC 6864 (identification).

mod build;
mod options;

use core::net::Ipv4Addr;

pub use build::{Ipv4Builder, Ipv4Carrying};
pub use options::{Ipv4Option, Ipv4OptionWriter, Ipv4Options, TimestampOption};

use crate::bytes::{array, be8, be16, behind, put, put16, range, range_mut};
use crate::checksum::{Pseudo, checksum, update_checksum, update_checksum_bytes};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::view::view;

/// The fixed part of the header, in bytes.
pub const IPV4_HEADER_LEN: usize = 20;

const TOS: usize = 1;
const TOTAL_LEN: usize = 2;
const ID: usize = 4;
const FRAGMENT: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// A view of an IPv4 packet: header, options and payload.
///
/// ```
/// use sockeye_packet::Ipv4;
/// let bytes = [0x45, 0, 0, 24, 0, 1, 0, 0, 64, 112, 0x78, 0x7d, 10, 0, 0, 1, 224, 0, 0, 18, 1, 2, 3, 4];
/// let packet = Ipv4::new(&bytes)?;
/// assert_eq!((packet.protocol(), packet.ttl(), packet.payload()), (112, 64, &[1, 2, 3, 4][..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<T> {
    buffer: T,
}

view!(Ipv4);

impl<T: AsRef<[u8]>> Ipv4<T> {
    /// A packet that is whole and whose lengths agree; bytes behind the total length are allowed (link padding).
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer bytes than header or total length, [`Fault::Version`], [`Fault::HeaderLength`] for
    /// an IHL under 5, [`Fault::LengthField`] for a total length under the header's.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A packet whose fixed header is sound; what is cut off or lies about its length is reported beside the view.
    ///
    /// The payload then ends where the bytes end.
    ///
    /// # Errors
    /// As [`Ipv4::new`], for what leaves no header at all: fewer than 20 bytes, another version, an IHL under 5.
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
        let Some(header) = data.first_chunk::<IPV4_HEADER_LEN>() else {
            return Err(PacketError::truncated(
                Layer::Ipv4,
                0,
                IPV4_HEADER_LEN,
                data.len(),
            ));
        };
        let [first, _, total_high, total_low, ..] = *header;
        let header_len = usize::from(first & 0xf) * 4;
        let total_len = usize::from(u16::from_be_bytes([total_high, total_low]));
        // Version 4 and an IHL of 5 to 15 in one comparison; a total length below the header's wraps to a huge one.
        if let Some(rest) = data.get(header_len..)
            && matches!(first, 0x45..=0x4f)
            && total_len.wrapping_sub(header_len) <= rest.len()
        {
            return Ok(None);
        }
        Self::refuse(first, total_len, data.len())
    }

    /// Cold, but not `inline(never)`: the caller must see that this is no `Ok(None)`, or it tests all again in the getters.
    #[cold]
    fn refuse(first: u8, total_len: usize, actual: usize) -> Result<Option<PacketError>, PacketError> {
        if !matches!(first, 0x45..=0x4f) {
            return Err(Self::no_header(first));
        }
        let header_len = usize::from(first & 0xf) * 4;
        Ok(Some(Self::lying(header_len, total_len, actual)))
    }

    #[cold]
    fn no_header(first: u8) -> PacketError {
        if first >> 4 != 4 {
            return PacketError::new(Layer::Ipv4, Fault::Version, 0, 4, usize::from(first >> 4));
        }
        PacketError::new(
            Layer::Ipv4,
            Fault::HeaderLength,
            0,
            IPV4_HEADER_LEN,
            usize::from(first & 0xf) * 4,
        )
    }

    #[cold]
    fn lying(header_len: usize, total_len: usize, actual: usize) -> PacketError {
        if header_len > actual {
            return PacketError::truncated(Layer::Ipv4Options, IPV4_HEADER_LEN, header_len, actual);
        }
        if total_len < header_len {
            return PacketError::new(Layer::Ipv4, Fault::LengthField, TOTAL_LEN, header_len, total_len);
        }
        PacketError::truncated(Layer::Ipv4, 0, total_len, actual)
    }

    /// Length of the header with its options, in bytes: the IHL times 4.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(be8(self.bytes(), 0) & 0xf) * 4
    }

    /// The six bits of the differentiated services code point.
    #[inline]
    pub fn dscp(&self) -> u8 {
        be8(self.bytes(), TOS) >> 2
    }

    /// The two ECN bits.
    #[inline]
    pub fn ecn(&self) -> u8 {
        be8(self.bytes(), TOS) & 3
    }

    /// Length of the whole packet as the header says it, in bytes.
    #[inline]
    pub fn total_len(&self) -> u16 {
        be16(self.bytes(), TOTAL_LEN)
    }

    /// The identification that ties fragments together.
    #[inline]
    pub fn id(&self) -> u16 {
        be16(self.bytes(), ID)
    }

    /// Whether routers must not fragment it.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        be16(self.bytes(), FRAGMENT) & DONT_FRAGMENT != 0
    }

    /// Whether more fragments follow.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        be16(self.bytes(), FRAGMENT) & MORE_FRAGMENTS != 0
    }

    /// Place of the payload in the datagram, in bytes (a multiple of 8).
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(be16(self.bytes(), FRAGMENT) & FRAGMENT_OFFSET) * 8
    }

    /// Whether it is a fragment: not at offset 0, or not the last.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        be16(self.bytes(), FRAGMENT) & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0
    }

    /// Time to live, in hops.
    #[inline]
    pub fn ttl(&self) -> u8 {
        be8(self.bytes(), TTL)
    }

    /// Protocol number of the payload.
    #[inline]
    pub fn protocol(&self) -> u8 {
        be8(self.bytes(), PROTOCOL)
    }

    /// The header checksum as stored.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.bytes(), CHECKSUM)
    }

    /// Whether the header checksum matches; never true for a header that is cut off.
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        let header = self.header();
        header.len() == self.header_len() && checksum(header) == 0
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(array::<4>(self.bytes(), SOURCE))
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(array::<4>(self.bytes(), DESTINATION))
    }

    /// The addresses for the transport's checksum.
    #[inline]
    pub fn pseudo(&self) -> Pseudo {
        Pseudo::V4 {
            source: self.source(),
            destination: self.destination(),
        }
    }

    /// The header with its options.
    #[inline]
    pub fn header(&self) -> &[u8] {
        range(self.bytes(), 0, self.header_len())
    }

    /// The options, decoded one by one.
    #[inline]
    pub fn options(&self) -> Ipv4Options<'_> {
        Ipv4Options::new(range(self.bytes(), IPV4_HEADER_LEN, self.header_len()))
    }

    /// Where the payload ends in the bytes.
    #[inline]
    fn end(&self) -> usize {
        let total_len = usize::from(self.total_len());
        // A length under the header's only gets here through `lax`: 0 is what segmentation offload leaves there.
        if total_len < self.header_len() {
            self.bytes().len()
        } else {
            total_len
        }
    }

    /// What the packet carries: from the end of the header to the total length, or to where the bytes end.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        behind(self.bytes(), self.header_len(), usize::from(self.total_len()))
    }
}

impl<'a> Ipv4<&'a [u8]> {
    /// Like [`Ipv4::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        behind(self.buffer, self.header_len(), usize::from(self.total_len()))
    }
}

/// Setters. Each keeps the header checksum right by RFC 1624, so a wrong one stays wrong by as much.
impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4<T> {
    /// Replaces the 16-bit word at `at`.
    fn set_word(&mut self, at: usize, new: u16) {
        let old = be16(self.bytes(), at);
        let sum = update_checksum(self.checksum(), old, new);
        let data = self.buffer.as_mut();
        put16(data, at, new);
        put16(data, CHECKSUM, sum);
    }

    fn set_address(&mut self, at: usize, address: Ipv4Addr) {
        let sum = update_checksum_bytes(self.checksum(), &array::<4>(self.bytes(), at), &address.octets());
        let data = self.buffer.as_mut();
        put(data, at, address.octets());
        put16(data, CHECKSUM, sum);
    }

    /// Sets the code point; only the low six bits count.
    pub fn set_dscp(&mut self, dscp: u8) {
        let [first, old] = array::<2>(self.bytes(), 0);
        self.set_word(0, u16::from_be_bytes([first, (dscp << 2) | (old & 3)]));
    }

    /// Sets the ECN bits; only the low two count.
    pub fn set_ecn(&mut self, ecn: u8) {
        let [first, old] = array::<2>(self.bytes(), 0);
        self.set_word(0, u16::from_be_bytes([first, (old & !3) | (ecn & 3)]));
    }

    /// Sets the total length.
    pub fn set_total_len(&mut self, total_len: u16) {
        self.set_word(TOTAL_LEN, total_len);
    }

    /// Sets the identification.
    pub fn set_id(&mut self, id: u16) {
        self.set_word(ID, id);
    }

    /// Sets or clears "do not fragment".
    pub fn set_dont_fragment(&mut self, on: bool) {
        let word = be16(self.bytes(), FRAGMENT) & !DONT_FRAGMENT;
        self.set_word(FRAGMENT, if on { word | DONT_FRAGMENT } else { word });
    }

    /// Sets the place in the datagram; `offset` in bytes, its low three bits are ignored.
    pub fn set_fragment(&mut self, offset: u16, more: bool) {
        let word = (be16(self.bytes(), FRAGMENT) & DONT_FRAGMENT) | (offset >> 3);
        self.set_word(FRAGMENT, if more { word | MORE_FRAGMENTS } else { word });
    }

    /// Sets the time to live.
    pub fn set_ttl(&mut self, ttl: u8) {
        let protocol = self.protocol();
        self.set_word(TTL, u16::from_be_bytes([ttl, protocol]));
    }

    /// Takes one from the time to live, as a router does; `false` if nothing was left to take.
    pub fn decrement_ttl(&mut self) -> bool {
        match self.ttl().checked_sub(1) {
            Some(ttl) => {
                self.set_ttl(ttl);
                true
            }
            None => false,
        }
    }

    /// Sets the protocol number.
    pub fn set_protocol(&mut self, protocol: u8) {
        let ttl = self.ttl();
        self.set_word(TTL, u16::from_be_bytes([ttl, protocol]));
    }

    /// Sets the source. A transport checksum covers it too: see `readdress` of [`crate::Udp`] and [`crate::Tcp`].
    pub fn set_source(&mut self, source: Ipv4Addr) {
        self.set_address(SOURCE, source);
    }

    /// Sets the destination. A transport checksum covers it too: see `readdress` of [`crate::Udp`] and [`crate::Tcp`].
    pub fn set_destination(&mut self, destination: Ipv4Addr) {
        self.set_address(DESTINATION, destination);
    }

    /// Computes the header checksum afresh.
    pub fn fill_checksum(&mut self) {
        let header_len = self.header_len();
        let data = self.buffer.as_mut();
        put16(data, CHECKSUM, 0);
        let sum = checksum(range(data, 0, header_len));
        put16(data, CHECKSUM, sum);
    }

    /// The payload, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.header_len(), self.end());
        range_mut(self.buffer.as_mut(), start, end)
    }
}
