//! GRE: any EtherType inside of IP, with a checksum, a key and a sequence number on wish.
//!
//! # References
//! RFC 2784, RFC 2890 (key, sequence number), RFC 2637 section 4.1 (version 1, of PPTP).

use crate::bytes::{be16, be32, put16, put32, range_mut};
use crate::checksum::{ChecksumStatus, Pseudo, checksum};
use crate::emit::{Emit, room};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::protocol;
use crate::view::view;

/// The header without optional fields, in bytes.
pub const GRE_HEADER_LEN: usize = 4;

const WITH_CHECKSUM: u16 = 0x8000;
const WITH_ROUTING: u16 = 0x4000;
const WITH_KEY: u16 = 0x2000;
const WITH_SEQUENCE: u16 = 0x1000;
/// Bits 4 and 5 of RFC 1701; whoever does not know it must drop a packet with one of them (RFC 2784 section 2.1).
const RESERVED: u16 = 0x0c00;
const WITH_ACKNOWLEDGMENT: u16 = 0x0080;
const VERSION: u16 = 0x0007;

/// A view of a GRE header and what it carries.
///
/// ```
/// use sockeye_packet::Gre;
/// let gre = Gre::new(&[0x20, 0, 8, 0, 0, 0, 0, 7, 0x45])?;
/// assert_eq!((gre.protocol(), gre.key(), gre.payload()), (0x0800, Some(7), &[0x45][..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gre<T> {
    buffer: T,
}

view!(Gre);

impl<T: AsRef<[u8]>> Gre<T> {
    /// A whole header of version 0 or 1.
    ///
    /// # Errors
    /// [`Fault::Truncated`], [`Fault::Version`], [`Fault::Value`] for the source routes of RFC 1701 and reserved bits.
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A header whose first 4 bytes are sound; what is cut off, and reserved bits, are reported beside the view.
    ///
    /// # Errors
    /// As [`Gre::new`], for what leaves no payload to be found: fewer than 4 bytes, another version, source routes.
    #[inline]
    pub fn lax(buffer: T) -> Result<Lax<Self>, PacketError> {
        let stopped = Self::check(buffer.as_ref())?;
        Ok(Lax {
            view: Self { buffer },
            stopped,
        })
    }

    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        if data.len() < GRE_HEADER_LEN {
            return Err(PacketError::truncated(Layer::Gre, 0, GRE_HEADER_LEN, data.len()));
        }
        let flags = be16(data, 0);
        let version = usize::from(flags & VERSION);
        if version > 1 {
            return Err(PacketError::new(Layer::Gre, Fault::Version, 0, 1, version));
        }
        let forbidden =
            |bits: u16| PacketError::new(Layer::Gre, Fault::Value, 0, 0, usize::from(flags & bits));
        if flags & WITH_ROUTING != 0 {
            return Err(forbidden(WITH_ROUTING));
        }
        let required = Gre { buffer: data }.header_len();
        if data.len() < required {
            return Ok(Some(PacketError::truncated(Layer::Gre, 0, required, data.len())));
        }
        Ok((flags & RESERVED != 0).then(|| forbidden(RESERVED)))
    }

    #[inline]
    fn has(&self, flag: u16) -> bool {
        be16(self.bytes(), 0) & flag != 0
    }

    /// Where the optional field behind `before` stands; `None` if it is not there.
    fn field(&self, flag: u16, before: u16) -> Option<u32> {
        let at = GRE_HEADER_LEN + 4 * count(be16(self.bytes(), 0) & before);
        (self.has(flag) && at + 4 <= self.bytes().len()).then(|| be32(self.bytes(), at))
    }

    /// 0, or 1 for the GRE of PPTP.
    #[inline]
    pub fn version(&self) -> u8 {
        let [_, low] = (be16(self.bytes(), 0) & VERSION).to_be_bytes();
        low
    }

    /// The EtherType of what it carries; 0 for keepalives of some routers.
    #[inline]
    pub fn protocol(&self) -> u16 {
        be16(self.bytes(), 2)
    }

    /// Length of the header with its optional fields, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        let flags = be16(self.bytes(), 0);
        let mut fields = count(flags & (WITH_CHECKSUM | WITH_KEY | WITH_SEQUENCE));
        if flags & VERSION == 1 {
            fields += count(flags & WITH_ACKNOWLEDGMENT);
        }
        GRE_HEADER_LEN + 4 * fields
    }

    /// The key that tells flows apart, if it is there. In version 1 it is a length and the number of a call.
    pub fn key(&self) -> Option<u32> {
        self.field(WITH_KEY, WITH_CHECKSUM)
    }

    /// The sequence number, if it is there.
    pub fn sequence(&self) -> Option<u32> {
        self.field(WITH_SEQUENCE, WITH_CHECKSUM | WITH_KEY)
    }

    /// The acknowledgment number of version 1, if it is there.
    pub fn acknowledgment(&self) -> Option<u32> {
        if self.version() != 1 {
            return None;
        }
        self.field(WITH_ACKNOWLEDGMENT, WITH_CHECKSUM | WITH_KEY | WITH_SEQUENCE)
    }

    /// Whether the checksum over header and payload matches.
    pub fn checksum_status(&self) -> ChecksumStatus {
        if !self.has(WITH_CHECKSUM) {
            return ChecksumStatus::Absent;
        }
        if self.bytes().len() < self.header_len() {
            return ChecksumStatus::Unknown;
        }
        ChecksumStatus::of(checksum(self.bytes()))
    }

    /// What stands behind the header.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(self.header_len()..).unwrap_or(&[])
    }
}

/// How many of these flags are set.
const fn count(flags: u16) -> usize {
    flags.count_ones() as usize
}

impl<'a> Gre<&'a [u8]> {
    /// Like [`Gre::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(self.header_len()..).unwrap_or(&[])
    }
}

/// A GRE header to be written, as the payload of an IP packet.
///
/// ```
/// use sockeye_packet::{GreBuilder, Ipv4Builder, UdpBuilder};
/// let [near, far, from, to] = [[192, 0, 2, 1], [192, 0, 2, 2], [10, 0, 0, 1], [10, 0, 1, 1]].map(Into::into);
/// let inner = Ipv4Builder::new(from, to).carrying(UdpBuilder::new(4000, 53, b"hello"));
/// let mut buffer = [0; 128];
/// let len = Ipv4Builder::new(near, far).write(&mut buffer, &GreBuilder::new(inner).key(7))?;
/// assert_eq!(buffer[20..28], [0x20, 0, 8, 0, 0, 0, 0, 7]);
/// assert_eq!((buffer[9], len), (47, 20 + 8 + 20 + 8 + 5));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct GreBuilder<P> {
    ethertype: Option<u16>,
    checksum: bool,
    key: Option<u32>,
    sequence: Option<u32>,
    payload: P,
}

impl<P: Emit> GreBuilder<P> {
    /// Before `payload`, without optional fields.
    pub const fn new(payload: P) -> Self {
        Self {
            ethertype: None,
            checksum: false,
            key: None,
            sequence: None,
            payload,
        }
    }

    /// The EtherType of the payload, where it does not know it itself (plain bytes); without it 0.
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// Adds a checksum over header and payload.
    pub fn checksum(mut self) -> Self {
        self.checksum = true;
        self
    }

    /// Adds a key.
    pub fn key(mut self, key: u32) -> Self {
        self.key = Some(key);
        self
    }

    /// Adds a sequence number.
    pub fn sequence(mut self, sequence: u32) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// The optional fields in their order: flag, value if it is there.
    fn fields(&self) -> [(u16, Option<u32>); 3] {
        [
            (WITH_CHECKSUM, self.checksum.then_some(0)),
            (WITH_KEY, self.key),
            (WITH_SEQUENCE, self.sequence),
        ]
    }

    fn header_len(&self) -> usize {
        let is_there = |(_, value): &(u16, Option<u32>)| value.is_some();
        GRE_HEADER_LEN + 4 * self.fields().into_iter().filter(is_there).count()
    }
}

impl<P: Emit> Emit for GreBuilder<P> {
    fn emitted_len(&self) -> usize {
        self.header_len() + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::GRE)
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        let (header_len, total) = (self.header_len(), self.emitted_len());
        let out = room(out, total, Layer::Gre)?;
        let (mut flags, mut at) = (0, GRE_HEADER_LEN);
        for (flag, value) in self.fields() {
            if let Some(value) = value {
                flags |= flag;
                put32(out, at, value);
                at += 4;
            }
        }
        put16(out, 0, flags);
        put16(out, 2, self.ethertype.or(self.payload.ethertype()).unwrap_or(0));
        self.payload
            .emit(range_mut(out, header_len, total), Pseudo::None)
            .map_err(|error| error.shifted(header_len))?;
        if self.checksum {
            let sum = checksum(out);
            put16(out, GRE_HEADER_LEN, sum);
        }
        Ok(total)
    }
}
