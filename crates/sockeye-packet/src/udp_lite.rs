//! UDP-Lite headers: the checksum covers only the first part.
//!
//! # References
//! RFC 3828.

use crate::bytes::{be16, low16, put16, range, range_mut};
use crate::checksum::{Checksum, ChecksumStatus, Pseudo};
use crate::emit::{Emit, room};
use crate::error::{Fault, Layer, PacketError};
use crate::protocol;
use crate::udp::{CHECKSUM, UDP_HEADER_LEN, nonzero, wire_len};
use crate::view::view;

/// A view of a UDP-Lite datagram; its length is that of the IP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpLite<T> {
    buffer: T,
}

view!(UdpLite);

impl<T: AsRef<[u8]>> UdpLite<T> {
    /// A datagram, from exactly the payload of the IP packet.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 8 bytes or than the checksum covers, [`Fault::Value`] for a coverage of 1 to 7.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        let data = buffer.as_ref();
        if data.len() < UDP_HEADER_LEN {
            return Err(PacketError::truncated(
                Layer::UdpLite,
                0,
                UDP_HEADER_LEN,
                data.len(),
            ));
        }
        let coverage = usize::from(be16(data, 4));
        if coverage != 0 && coverage < UDP_HEADER_LEN {
            return Err(PacketError::new(
                Layer::UdpLite,
                Fault::Value,
                4,
                UDP_HEADER_LEN,
                coverage,
            ));
        }
        if coverage > data.len() {
            return Err(PacketError::truncated(Layer::UdpLite, 4, coverage, data.len()));
        }
        Ok(Self { buffer })
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

    /// Bytes the checksum covers as stored; 0 stands for all.
    #[inline]
    pub fn coverage(&self) -> u16 {
        be16(self.bytes(), 4)
    }

    /// The checksum as stored.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.bytes(), CHECKSUM)
    }

    /// What the datagram carries.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(UDP_HEADER_LEN..).unwrap_or(&[])
    }

    /// Whether the checksum matches between the addresses in `under`; 0 is never right here.
    pub fn checksum_status(&self, under: Pseudo) -> ChecksumStatus {
        if under == Pseudo::None {
            return ChecksumStatus::Unknown;
        }
        if self.checksum() == 0 {
            return ChecksumStatus::Invalid;
        }
        ChecksumStatus::of(sum(self.bytes(), under))
    }
}

/// The sum over what the coverage field says.
fn sum(data: &[u8], under: Pseudo) -> u16 {
    let covered = match be16(data, 4) {
        0 => data.len(),
        coverage => usize::from(coverage),
    };
    let mut sum = Checksum::pseudo(under, protocol::UDP_LITE, wire_len(data.len()));
    sum.add(range(data, 0, covered));
    sum.finish()
}

/// A UDP-Lite datagram to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UdpLiteBuilder<P> {
    source_port: u16,
    destination_port: u16,
    coverage: u16,
    payload: P,
}

impl<P: Emit> UdpLiteBuilder<P> {
    /// From port to port, the checksum over everything.
    pub const fn new(source_port: u16, destination_port: u16, payload: P) -> Self {
        Self {
            source_port,
            destination_port,
            coverage: 0,
            payload,
        }
    }

    /// Covers only the first `coverage` bytes, 8 of them the header's; 0 stands for all.
    pub fn coverage(mut self, coverage: u16) -> Self {
        self.coverage = coverage;
        self
    }
}

impl<P: Emit> Emit for UdpLiteBuilder<P> {
    fn emitted_len(&self) -> usize {
        UDP_HEADER_LEN + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::UDP_LITE)
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        let total = self.emitted_len();
        let coverage = usize::from(self.coverage);
        if (coverage != 0 && coverage < UDP_HEADER_LEN) || coverage > total {
            return Err(PacketError::new(
                Layer::UdpLite,
                Fault::Value,
                4,
                UDP_HEADER_LEN,
                coverage,
            ));
        }
        let out = room(out, total, Layer::UdpLite)?;
        put16(out, 0, self.source_port);
        put16(out, 2, self.destination_port);
        put16(out, 4, low16(coverage));
        put16(out, CHECKSUM, 0);
        self.payload
            .emit(range_mut(out, UDP_HEADER_LEN, total), Pseudo::None)
            .map_err(|error| error.shifted(UDP_HEADER_LEN))?;
        if under != Pseudo::None {
            let sum = nonzero(sum(out, under));
            put16(out, CHECKSUM, sum);
        }
        Ok(total)
    }
}
