//! The seam between the builders: a layer writes itself into the room the layer below gives it.

use crate::bytes::put_slice;
use crate::checksum::Pseudo;
use crate::error::{Fault, Layer, PacketError};

/// Something that can be written as the payload of a header: plain bytes, or the builder of the layer above.
pub trait Emit {
    /// Bytes it takes with everything above it.
    fn emitted_len(&self) -> usize;

    /// The protocol number the layer below announces; `None` for plain bytes.
    fn protocol(&self) -> Option<u8> {
        None
    }

    /// The EtherType a frame announces; `None` for plain bytes.
    fn ethertype(&self) -> Option<u16> {
        None
    }

    /// Writes itself to the start of `out`, checksums included, and says how many bytes it took.
    ///
    /// `under` holds the addresses the checksum covers; with [`Pseudo::None`] those that need them are left 0.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`], and what the layer itself cannot encode.
    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError>;
}

/// The first `len` bytes of a caller's buffer.
pub(crate) fn room(out: &mut [u8], len: usize, layer: Layer) -> Result<&mut [u8], PacketError> {
    let actual = out.len();
    out.get_mut(..len)
        .ok_or(PacketError::new(layer, Fault::BufferTooSmall, 0, len, actual))
}

impl Emit for [u8] {
    fn emitted_len(&self) -> usize {
        self.len()
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        put_slice(room(out, self.len(), Layer::Payload)?, 0, self);
        Ok(self.len())
    }
}

impl<const N: usize> Emit for [u8; N] {
    fn emitted_len(&self) -> usize {
        N
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        self.as_slice().emit(out, under)
    }
}

impl<E: Emit + ?Sized> Emit for &E {
    fn emitted_len(&self) -> usize {
        (**self).emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        (**self).protocol()
    }

    fn ethertype(&self) -> Option<u16> {
        (**self).ethertype()
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        (**self).emit(out, under)
    }
}
