//! VXLAN: Ethernet frames inside of UDP.
//!
//! # References
//! RFC 7348 section 5.

use crate::bytes::{be8, be32, put, put32, range_mut};
use crate::checksum::Pseudo;
use crate::emit::{Emit, room};
use crate::error::{Fault, Lax, Layer, PacketError};
use crate::view::view;

/// The header, in bytes.
pub const VXLAN_HEADER_LEN: usize = 8;
/// The port that IANA has assigned. Linux used 8472 before.
pub const VXLAN_PORT: u16 = 4789;

/// The number of the network is there.
const VALID: u8 = 0x08;
const MAX_VNI: u32 = 0x00ff_ffff;

/// A view of a VXLAN header and the Ethernet frame that it carries.
///
/// ```
/// use sockeye_packet::Vxlan;
/// let vxlan = Vxlan::new(&[8, 0, 0, 0, 0, 1, 0, 0, 0xff])?;
/// assert_eq!((vxlan.vni(), vxlan.payload()), (256, &[0xff][..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan<T> {
    buffer: T,
}

view!(Vxlan);

impl<T: AsRef<[u8]>> Vxlan<T> {
    /// A whole header that says that its network number is valid.
    ///
    /// # Errors
    /// [`Fault::Truncated`] for fewer than 8 bytes, [`Fault::Value`] without the flag "I".
    #[inline]
    pub fn new(buffer: T) -> Result<Self, PacketError> {
        match Self::check(buffer.as_ref())? {
            None => Ok(Self { buffer }),
            Some(error) => Err(error),
        }
    }

    /// A whole header; a missing flag is reported beside the view.
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

    fn check(data: &[u8]) -> Result<Option<PacketError>, PacketError> {
        if data.len() < VXLAN_HEADER_LEN {
            return Err(PacketError::truncated(
                Layer::Vxlan,
                0,
                VXLAN_HEADER_LEN,
                data.len(),
            ));
        }
        let flags = be8(data, 0);
        let (required, actual) = (usize::from(VALID), usize::from(flags));
        Ok((flags & VALID == 0).then(|| PacketError::new(Layer::Vxlan, Fault::Value, 0, required, actual)))
    }

    /// The flags; 8 is "the network number is valid".
    #[inline]
    pub fn flags(&self) -> u8 {
        be8(self.bytes(), 0)
    }

    /// The number of the network, 24 bits.
    #[inline]
    pub fn vni(&self) -> u32 {
        be32(self.bytes(), 4) >> 8
    }

    /// The Ethernet frame.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.bytes().get(VXLAN_HEADER_LEN..).unwrap_or(&[])
    }
}

impl<'a> Vxlan<&'a [u8]> {
    /// Like [`Vxlan::payload`], with the lifetime of the bytes and not of the view.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.buffer.get(VXLAN_HEADER_LEN..).unwrap_or(&[])
    }
}

/// A VXLAN header to be written, as the payload of a [`crate::UdpBuilder`]; its own payload is an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct VxlanBuilder<P> {
    vni: u32,
    payload: P,
}

impl<P: Emit> VxlanBuilder<P> {
    /// The frame `payload` in the network `vni`, 24 bits.
    pub const fn new(vni: u32, payload: P) -> Self {
        Self { vni, payload }
    }
}

impl<P: Emit> Emit for VxlanBuilder<P> {
    fn emitted_len(&self) -> usize {
        VXLAN_HEADER_LEN + self.payload.emitted_len()
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        if self.vni > MAX_VNI {
            let (required, actual) = (MAX_VNI as usize, self.vni as usize);
            return Err(PacketError::new(Layer::Vxlan, Fault::Value, 4, required, actual));
        }
        let total = self.emitted_len();
        let out = room(out, total, Layer::Vxlan)?;
        put(out, 0, [VALID, 0, 0, 0]);
        put32(out, 4, self.vni << 8);
        self.payload
            .emit(range_mut(out, VXLAN_HEADER_LEN, total), Pseudo::None)
            .map_err(|error| error.shifted(VXLAN_HEADER_LEN))?;
        Ok(total)
    }
}
