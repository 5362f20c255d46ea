//! TCP headers: the view, its setters, flags and options.
//!
//! # References
//! RFC 9293, RFC 3168 and RFC 9768 (ECN flags).

mod build;
mod options;

use core::fmt;
use core::net::IpAddr;

pub use build::TcpBuilder;
pub use options::{TcpOption, TcpOptionWriter, TcpOptions};

use crate::bytes::{array, be8, be16, be32, put16, put32, range, range_mut};
use crate::checksum::{Checksum, ChecksumStatus, Pseudo, update_checksum, update_checksum_bytes};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::protocol;
use crate::readdress::readdressed;
use crate::udp::wire_len;
use crate::view::view;

/// The fixed part of the header, in bytes.
pub const TCP_HEADER_LEN: usize = 20;

const SEQUENCE: usize = 4;
const ACKNOWLEDGMENT: usize = 8;
const OFFSET_FLAGS: usize = 12;
const WINDOW: usize = 14;
const CHECKSUM: usize = 16;
const URGENT: usize = 18;

/// The nine flags of a segment as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(u16);

impl TcpFlags {
    /// The sender has finished.
    pub const FIN: Self = Self(0x001);
    /// Opens a connection.
    pub const SYN: Self = Self(0x002);
    /// Ends it at once.
    pub const RST: Self = Self(0x004);
    /// Hand over without delay.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment number counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// ECN echo.
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN, once the nonce sum.
    pub const AE: Self = Self(0x100);

    /// No flag.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// From the low nine bits, FIN the lowest.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x1ff)
    }

    /// As the low nine bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::ops::BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// The names of the set flags, in upper case with commas between: `SYN,ACK`.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"];
        let mut first = true;
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                if !first {
                    f.write_str(",")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

/// A view of a TCP segment: header, options and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<T> {
    buffer: T,
}

view!(Tcp);

impl<T: AsRef<[u8]>> Tcp<T> {
    /// A segment whose header is whole. Its length is that of the bytes: give exactly the payload of the IP packet.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer bytes than the header, [`Fault::HeaderLength`] for a data offset under 5.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A segment whose fixed header is whole; options that are cut off are reported beside the view.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 20 bytes, [`Fault::HeaderLength`] for a data offset under 5.
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
        let Some(header) = data.first_chunk::<TCP_HEADER_LEN>() else {
            return Err(PacketError::truncated(Layer::Tcp, 0, TCP_HEADER_LEN, data.len()));
        };
        let header_len = usize::from(be8(header, OFFSET_FLAGS) >> 4) * 4;
        if header_len < TCP_HEADER_LEN {
            return Err(PacketError::new(
                Layer::Tcp,
                Fault::HeaderLength,
                OFFSET_FLAGS,
                TCP_HEADER_LEN,
                header_len,
            ));
        }
        if header_len > data.len() {
            return Ok(Some(PacketError::truncated(
                Layer::TcpOptions,
                TCP_HEADER_LEN,
                header_len,
                data.len(),
            )));
        }
        Ok(None)
    }

    /// Source port.
    #[inline]
    pub fn source_port(&self) -> u16 {
        be16(self.bytes(), 0)
    }

    /// Destination port.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// Sequence number of the first byte.
    #[inline]
    pub fn sequence(&self) -> u32 {
        be32(self.bytes(), SEQUENCE)
    }

    /// The next byte the sender expects; counts only with [`TcpFlags::ACK`].
    #[inline]
    pub fn acknowledgment(&self) -> u32 {
        be32(self.bytes(), ACKNOWLEDGMENT)
    }

    /// Length of the header with its options, in bytes: the data offset times 4.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(be8(self.bytes(), OFFSET_FLAGS) >> 4) * 4
    }

    /// The flags.
    #[inline]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags::from_bits(be16(self.bytes(), OFFSET_FLAGS))
    }

    /// The window as stored, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        be16(self.bytes(), WINDOW)
    }

    /// The checksum as stored.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.bytes(), CHECKSUM)
    }

    /// The urgent pointer; counts only with [`TcpFlags::URG`].
    #[inline]
    pub fn urgent(&self) -> u16 {
        be16(self.bytes(), URGENT)
    }

    /// The options, decoded one by one.
    #[inline]
    pub fn options(&self) -> TcpOptions<'_> {
        TcpOptions::new(range(self.bytes(), TCP_HEADER_LEN, self.header_len()))
    }

    /// What the segment carries.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(self.header_len()..).unwrap_or(&[])
    }

    /// Whether the checksum matches between the addresses in `under`, over all the bytes.
    pub fn checksum_status(&self, under: Pseudo) -> ChecksumStatus {
        if under == Pseudo::None {
            return ChecksumStatus::Unknown;
        }
        let data = self.bytes();
        let mut sum = Checksum::pseudo(under, protocol::TCP, wire_len(data.len()));
        sum.add(data);
        ChecksumStatus::of(sum.finish())
    }
}

impl<'a> Tcp<&'a [u8]> {
    /// Like [`Tcp::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(self.header_len()..).unwrap_or(&[])
    }
}

/// Setters. Each keeps the checksum right by RFC 1624, so a wrong one stays wrong by as much.
impl<T: AsRef<[u8]> + AsMut<[u8]>> Tcp<T> {
    fn set_word(&mut self, at: usize, new: u16) {
        let old = be16(self.bytes(), at);
        let sum = update_checksum(self.checksum(), old, new);
        let data = self.buffer.as_mut();
        put16(data, at, new);
        put16(data, CHECKSUM, sum);
    }

    fn set_long(&mut self, at: usize, new: u32) {
        let sum = update_checksum_bytes(self.checksum(), &array::<4>(self.bytes(), at), &new.to_be_bytes());
        let data = self.buffer.as_mut();
        put32(data, at, new);
        put16(data, CHECKSUM, sum);
    }

    /// Sets the source port.
    pub fn set_source_port(&mut self, port: u16) {
        self.set_word(0, port);
    }

    /// Sets the destination port.
    pub fn set_destination_port(&mut self, port: u16) {
        self.set_word(2, port);
    }

    /// Sets the sequence number.
    pub fn set_sequence(&mut self, sequence: u32) {
        self.set_long(SEQUENCE, sequence);
    }

    /// Sets the acknowledgment number.
    pub fn set_acknowledgment(&mut self, acknowledgment: u32) {
        self.set_long(ACKNOWLEDGMENT, acknowledgment);
    }

    /// Sets the flags.
    pub fn set_flags(&mut self, flags: TcpFlags) {
        let word = (be16(self.bytes(), OFFSET_FLAGS) & !0x1ff) | flags.bits();
        self.set_word(OFFSET_FLAGS, word);
    }

    /// Sets the window.
    pub fn set_window(&mut self, window: u16) {
        self.set_word(WINDOW, window);
    }

    /// Sets the urgent pointer.
    pub fn set_urgent(&mut self, urgent: u16) {
        self.set_word(URGENT, urgent);
    }

    /// Follows a change of one address of the IP header from `old` to `new` (of one family).
    pub fn readdress(&mut self, old: IpAddr, new: IpAddr) {
        let sum = readdressed(self.checksum(), old, new);
        put16(self.buffer.as_mut(), CHECKSUM, sum);
    }

    /// Computes the checksum afresh over all the bytes.
    pub fn fill_checksum(&mut self, under: Pseudo) {
        let data = self.buffer.as_mut();
        put16(data, CHECKSUM, 0);
        let mut sum = Checksum::pseudo(under, protocol::TCP, wire_len(data.len()));
        sum.add(data);
        put16(data, CHECKSUM, sum.finish());
    }

    /// The payload, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let start = self.header_len();
        range_mut(self.buffer.as_mut(), start, usize::MAX)
    }
}
