//! UDP headers.
//!
//! # References
//! RFC 768, RFC 2675 section 4 (jumbograms), RFC 6935 (no checksum over IPv6).

use core::net::IpAddr;

use crate::bytes::{be16, behind, low16, put, put16, range, range_mut};
use crate::checksum::{Checksum, ChecksumStatus, Pseudo, update_checksum};
use crate::emit::{Emit, room};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::protocol;
use crate::readdress::readdressed;
use crate::view::view;

/// The header, in bytes.
pub const UDP_HEADER_LEN: usize = 8;

pub(crate) const CHECKSUM: usize = 6;

/// A view of a UDP datagram: header and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<T> {
    buffer: T,
}

view!(Udp);

impl<T: AsRef<[u8]>> Udp<T> {
    /// A datagram that is whole; bytes behind its length are allowed.
    ///
    /// A length of 0 is accepted only where RFC 2675 means it: in more than 65,535 bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer bytes than header or length, [`Fault::LengthField`] for a length under 8.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A datagram with a whole header; what is cut off or lies is reported beside the view, the payload ends with the bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 8 bytes.
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
        let Some(header) = data.first_chunk::<UDP_HEADER_LEN>() else {
            return Err(PacketError::truncated(Layer::Udp, 0, UDP_HEADER_LEN, data.len()));
        };
        let len = usize::from(be16(header, 4));
        // A length under 8 wraps to a huge one: one comparison for both ends.
        if let Some(rest) = data.get(UDP_HEADER_LEN..)
            && len.wrapping_sub(UDP_HEADER_LEN) <= rest.len()
        {
            return Ok(None);
        }
        Ok(Self::lying(len, data.len()))
    }

    /// Cold, but not `inline(never)`: the caller must see when this is no `None`. The size comes first, as it is rarer than 0.
    #[cold]
    fn lying(len: usize, actual: usize) -> Option<PacketError> {
        if actual > usize::from(u16::MAX) && len == 0 {
            return None;
        }
        if len >= UDP_HEADER_LEN {
            return Some(PacketError::truncated(Layer::Udp, 0, len, actual));
        }
        Some(PacketError::new(
            Layer::Udp,
            Fault::LengthField,
            4,
            UDP_HEADER_LEN,
            len,
        ))
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

    /// Length of header and payload as the header says it, in bytes.
    #[inline]
    pub fn length(&self) -> u16 {
        be16(self.bytes(), 4)
    }

    /// The checksum as stored; 0 stands for "none".
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.bytes(), CHECKSUM)
    }

    #[inline]
    fn end(&self) -> usize {
        let len = usize::from(self.length());
        // Under 8 only through `lax`, or 0 in a jumbogram: all that is there.
        if len < UDP_HEADER_LEN {
            self.bytes().len()
        } else {
            len
        }
    }

    /// What the datagram carries.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        behind(self.bytes(), UDP_HEADER_LEN, usize::from(self.length()))
    }

    /// Whether the checksum matches between the addresses in `under`.
    pub fn checksum_status(&self, under: Pseudo) -> ChecksumStatus {
        let (data, end) = (self.bytes(), self.end());
        if self.checksum() == 0 {
            return ChecksumStatus::Absent;
        }
        if end > data.len() || under == Pseudo::None {
            return ChecksumStatus::Unknown;
        }
        let mut sum = Checksum::pseudo(under, protocol::UDP, wire_len(end));
        sum.add(range(data, 0, end));
        ChecksumStatus::of(sum.finish())
    }
}

/// A length for the pseudo-header.
pub(crate) fn wire_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl<'a> Udp<&'a [u8]> {
    /// Like [`Udp::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        behind(self.buffer, UDP_HEADER_LEN, usize::from(self.length()))
    }
}

/// A UDP checksum is never stored as 0: that would mean "none".
pub(crate) const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// Setters. Each keeps the checksum right by RFC 1624; where there is none, there stays none.
impl<T: AsRef<[u8]> + AsMut<[u8]>> Udp<T> {
    fn set_port(&mut self, at: usize, port: u16) {
        let old = be16(self.bytes(), at);
        let sum = self.checksum();
        let data = self.buffer.as_mut();
        put16(data, at, port);
        if sum != 0 {
            put16(data, CHECKSUM, nonzero(update_checksum(sum, old, port)));
        }
    }

    /// Sets the source port.
    pub fn set_source_port(&mut self, port: u16) {
        self.set_port(0, port);
    }

    /// Sets the destination port.
    pub fn set_destination_port(&mut self, port: u16) {
        self.set_port(2, port);
    }

    /// Follows a change of one address of the IP header from `old` to `new` (of one family).
    pub fn readdress(&mut self, old: IpAddr, new: IpAddr) {
        let sum = self.checksum();
        if sum != 0 {
            put16(
                self.buffer.as_mut(),
                CHECKSUM,
                nonzero(readdressed(sum, old, new)),
            );
        }
    }

    /// Computes the checksum afresh over the length the header says.
    pub fn fill_checksum(&mut self, under: Pseudo) {
        let end = self.end();
        let data = self.buffer.as_mut();
        put16(data, CHECKSUM, 0);
        let mut sum = Checksum::pseudo(under, protocol::UDP, wire_len(end));
        sum.add(range(data, 0, end));
        put16(data, CHECKSUM, nonzero(sum.finish()));
    }

    /// The payload, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = self.end();
        range_mut(self.buffer.as_mut(), UDP_HEADER_LEN, end)
    }
}

/// A UDP datagram to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UdpBuilder<P> {
    source_port: u16,
    destination_port: u16,
    checksum: bool,
    payload: P,
}

impl<P: Emit> UdpBuilder<P> {
    /// From port to port.
    pub const fn new(source_port: u16, destination_port: u16, payload: P) -> Self {
        Self {
            source_port,
            destination_port,
            checksum: true,
            payload,
        }
    }

    /// Leaves the checksum out (IPv4, or tunnels over IPv6).
    pub fn without_checksum(mut self) -> Self {
        self.checksum = false;
        self
    }
}

impl<P: Emit> Emit for UdpBuilder<P> {
    fn emitted_len(&self) -> usize {
        UDP_HEADER_LEN + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::UDP)
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        let total = self.emitted_len();
        if total > usize::from(u16::MAX) {
            return Err(PacketError::new(
                Layer::Udp,
                Fault::TooLarge,
                0,
                usize::from(u16::MAX),
                total,
            ));
        }
        let out = room(out, total, Layer::Udp)?;
        put16(out, 0, self.source_port);
        put16(out, 2, self.destination_port);
        put16(out, 4, low16(total));
        put(out, CHECKSUM, [0, 0]);
        self.payload
            .emit(range_mut(out, UDP_HEADER_LEN, total), Pseudo::None)
            .map_err(|error| error.shifted(UDP_HEADER_LEN))?;
        if self.checksum && under != Pseudo::None {
            Udp::unchecked(out).fill_checksum(under);
        }
        Ok(total)
    }
}
