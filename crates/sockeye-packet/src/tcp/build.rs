//! Writing TCP segments into a caller's buffer.

use super::{
    ACKNOWLEDGMENT, CHECKSUM, OFFSET_FLAGS, SEQUENCE, TCP_HEADER_LEN, Tcp, TcpFlags, URGENT, WINDOW,
};
use crate::bytes::{low16, put_slice, put16, put32, range_mut};
use crate::checksum::Pseudo;
use crate::emit::{Emit, room};
use crate::error::{Fault, Layer, PacketError};
use crate::protocol;

/// A TCP segment to be written.
///
/// ```
/// use sockeye_packet::{Ipv4Builder, TcpBuilder, TcpFlags, TcpOption, TcpOptionWriter};
/// let mut options = TcpOptionWriter::new();
/// options.push(TcpOption::Mss(1460))?;
/// let syn = TcpBuilder::new(40_000, 80, b"").sequence(7).flags(TcpFlags::SYN).options(options.as_bytes());
/// let mut buffer = [0; 64];
/// let len = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).write(&mut buffer, &syn)?;
/// assert_eq!(len, 44);
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TcpBuilder<'a, P> {
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    acknowledgment: u32,
    flags: TcpFlags,
    window: u16,
    urgent: u16,
    options: &'a [u8],
    payload: P,
}

impl<'a, P: Emit> TcpBuilder<'a, P> {
    /// From port to port: no flags, window 65,535, no options.
    pub const fn new(source_port: u16, destination_port: u16, payload: P) -> Self {
        Self {
            source_port,
            destination_port,
            sequence: 0,
            acknowledgment: 0,
            flags: TcpFlags::empty(),
            window: u16::MAX,
            urgent: 0,
            options: &[],
            payload,
        }
    }

    /// Sequence number of the first byte.
    pub fn sequence(mut self, sequence: u32) -> Self {
        self.sequence = sequence;
        self
    }

    /// The next byte expected.
    pub fn acknowledgment(mut self, acknowledgment: u32) -> Self {
        self.acknowledgment = acknowledgment;
        self
    }

    /// The flags.
    pub fn flags(mut self, flags: TcpFlags) -> Self {
        self.flags = flags;
        self
    }

    /// The window, not scaled.
    pub fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// The urgent pointer.
    pub fn urgent(mut self, urgent: u16) -> Self {
        self.urgent = urgent;
        self
    }

    /// Options as encoded, a multiple of four bytes: [`super::TcpOptionWriter::as_bytes`].
    pub fn options(mut self, options: &'a [u8]) -> Self {
        self.options = options;
        self
    }
}

impl<P: Emit> Emit for TcpBuilder<'_, P> {
    fn emitted_len(&self) -> usize {
        TCP_HEADER_LEN + self.options.len() + self.payload.emitted_len()
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::TCP)
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        let header_len = TCP_HEADER_LEN + self.options.len();
        if !header_len.is_multiple_of(4) || header_len > 60 {
            let required = header_len.next_multiple_of(4).min(60);
            return Err(PacketError::new(
                Layer::TcpOptions,
                Fault::OptionLength,
                20,
                required,
                header_len,
            ));
        }
        let total = self.emitted_len();
        let out = room(out, total, Layer::Tcp)?;
        put16(out, 0, self.source_port);
        put16(out, 2, self.destination_port);
        put32(out, SEQUENCE, self.sequence);
        put32(out, ACKNOWLEDGMENT, self.acknowledgment);
        put16(
            out,
            OFFSET_FLAGS,
            (low16(header_len / 4) << 12) | self.flags.bits(),
        );
        put16(out, WINDOW, self.window);
        put16(out, CHECKSUM, 0);
        put16(out, URGENT, self.urgent);
        put_slice(out, TCP_HEADER_LEN, self.options);
        self.payload
            .emit(range_mut(out, header_len, total), Pseudo::None)
            .map_err(|error| error.shifted(header_len))?;
        if under != Pseudo::None {
            Tcp::unchecked(out).fill_checksum(under);
        }
        Ok(total)
    }
}
