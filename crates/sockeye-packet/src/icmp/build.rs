//! Writing ICMP messages into a caller's buffer.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{ICMP_HEADER_LEN, Icmpv4, Icmpv6, MplsLabel, icmpv4, icmpv6};
use crate::bytes::{low8, low16, put, put_slice, put16, put32, range_mut};
use crate::checksum::{Pseudo, checksum};
use crate::emit::{Emit, room};
use crate::error::{Fault, Layer, PacketError};
use crate::protocol;

/// Quotes with extensions behind them are padded to at least this (RFC 4884 section 3).
const PADDED_QUOTE: usize = 128;

/// What both families have in common: type, code, four bytes, payload, extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message<'a, P> {
    message_type: u8,
    code: u8,
    rest: [u8; 4],
    payload: P,
    extensions: &'a [u8],
}

impl<P: Emit> Message<'_, P> {
    /// Length of the quote with its padding; `unit` is what the length field counts in.
    fn quote_len(&self, unit: usize) -> usize {
        let len = self.payload.emitted_len();
        if self.extensions.is_empty() {
            len
        } else {
            len.next_multiple_of(unit).max(PADDED_QUOTE)
        }
    }

    fn len(&self, unit: usize) -> usize {
        ICMP_HEADER_LEN + self.quote_len(unit) + self.extensions.len()
    }

    /// Writes all but the checksum; `length_at` is where the length of the quote goes.
    fn emit<'o>(
        &self,
        out: &'o mut [u8],
        layer: Layer,
        unit: usize,
        length_at: usize,
    ) -> Result<&'o mut [u8], PacketError> {
        let out = room(out, self.len(unit), layer)?;
        let quote = self.quote_len(unit);
        put(out, 0, [self.message_type, self.code, 0, 0]);
        put(out, 4, self.rest);
        if !self.extensions.is_empty() {
            if quote / unit > 255 {
                return Err(PacketError::new(
                    layer,
                    Fault::TooLarge,
                    length_at,
                    255 * unit,
                    quote,
                ));
            }
            put(out, length_at, [low8(quote / unit)]);
        }
        let body = range_mut(out, ICMP_HEADER_LEN, ICMP_HEADER_LEN + quote);
        let written = self
            .payload
            .emit(body, Pseudo::None)
            .map_err(|error| error.shifted(ICMP_HEADER_LEN))?;
        range_mut(body, written, quote).fill(0);
        put_slice(out, ICMP_HEADER_LEN + quote, self.extensions);
        Ok(out)
    }
}

/// An ICMP message for IPv4 to be written.
///
/// ```
/// use sockeye_packet::{Icmpv4, Icmpv4Builder};
/// let mut buffer = [0; 64];
/// let len = Icmpv4Builder::echo_request(0x1234, 1, b"ping").write(&mut buffer)?;
/// let view = Icmpv4::new(&buffer[..len])?;
/// assert!(view.checksum_ok());
/// assert_eq!((view.id(), view.sequence(), view.payload()), (0x1234, 1, &b"ping"[..]));
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Icmpv4Builder<'a, P>(Message<'a, P>);

/// The four bytes of identifier and sequence number.
const fn echo(id: u16, sequence: u16) -> [u8; 4] {
    ((id as u32) << 16 | sequence as u32).to_be_bytes()
}

impl<'a, P: Emit> Icmpv4Builder<'a, P> {
    /// Any message: type, code, the four bytes behind the checksum, and the rest.
    pub const fn new(message_type: u8, code: u8, rest: [u8; 4], payload: P) -> Self {
        Self(Message {
            message_type,
            code,
            rest,
            payload,
            extensions: &[],
        })
    }

    /// An echo request.
    pub const fn echo_request(id: u16, sequence: u16, data: P) -> Self {
        Self::new(icmpv4::ECHO_REQUEST, 0, echo(id, sequence), data)
    }

    /// An echo reply.
    pub const fn echo_reply(id: u16, sequence: u16, data: P) -> Self {
        Self::new(icmpv4::ECHO_REPLY, 0, echo(id, sequence), data)
    }

    /// Destination unreachable; `next_hop_mtu` counts with code 4 and is 0 otherwise.
    pub const fn unreachable(code: u8, next_hop_mtu: u16, quote: P) -> Self {
        Self::new(
            icmpv4::UNREACHABLE,
            code,
            (next_hop_mtu as u32).to_be_bytes(),
            quote,
        )
    }

    /// Time exceeded: code 0 in transit, 1 in reassembly.
    pub const fn time_exceeded(code: u8, quote: P) -> Self {
        Self::new(icmpv4::TIME_EXCEEDED, code, [0; 4], quote)
    }

    /// Parameter problem at byte `pointer` of the quote.
    pub const fn parameter_problem(code: u8, pointer: u8, quote: P) -> Self {
        Self::new(icmpv4::PARAMETER_PROBLEM, code, [pointer, 0, 0, 0], quote)
    }

    /// Redirect to `gateway`.
    pub const fn redirect(code: u8, gateway: Ipv4Addr, quote: P) -> Self {
        Self::new(icmpv4::REDIRECT, code, gateway.octets(), quote)
    }

    /// Puts an extension structure ([`ExtensionWriter::finish`]) behind the quote of an error, which is padded to 128 bytes.
    pub fn extensions(mut self, extensions: &'a [u8]) -> Self {
        self.0.extensions = extensions;
        self
    }

    /// Length of the message, in bytes.
    #[must_use]
    pub fn message_len(&self) -> usize {
        self.0.len(4)
    }

    /// Writes the message to the start of `out`, checksum included, and says how long it is.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`], [`Fault::TooLarge`] for a quote too long to have extensions behind it.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, PacketError> {
        let out = self.0.emit(out, Layer::Icmpv4, 4, 5)?;
        Icmpv4::unchecked(&mut *out).fill_checksum();
        Ok(out.len())
    }
}

impl Icmpv4Builder<'static, [u8; 12]> {
    /// A timestamp request or reply; milliseconds since midnight UT.
    pub fn timestamp(reply: bool, id: u16, sequence: u16, times: [u32; 3]) -> Self {
        let mut data = [0; 12];
        let [originate, receive, transmit] = times;
        put32(&mut data, 0, originate);
        put32(&mut data, 4, receive);
        put32(&mut data, 8, transmit);
        let message_type = if reply {
            icmpv4::TIMESTAMP_REPLY
        } else {
            icmpv4::TIMESTAMP
        };
        Self::new(message_type, 0, echo(id, sequence), data)
    }
}

impl<P: Emit> Emit for Icmpv4Builder<'_, P> {
    fn emitted_len(&self) -> usize {
        self.0.len(4)
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::ICMPV4)
    }

    fn emit(&self, out: &mut [u8], _under: Pseudo) -> Result<usize, PacketError> {
        self.write(out)
    }
}

/// An ICMP message for IPv6 to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Icmpv6Builder<'a, P>(Message<'a, P>);

impl<'a, P: Emit> Icmpv6Builder<'a, P> {
    /// Any message: type, code, the four bytes behind the checksum, and the rest.
    pub const fn new(message_type: u8, code: u8, rest: [u8; 4], payload: P) -> Self {
        Self(Message {
            message_type,
            code,
            rest,
            payload,
            extensions: &[],
        })
    }

    /// An echo request.
    pub const fn echo_request(id: u16, sequence: u16, data: P) -> Self {
        Self::new(icmpv6::ECHO_REQUEST, 0, echo(id, sequence), data)
    }

    /// An echo reply.
    pub const fn echo_reply(id: u16, sequence: u16, data: P) -> Self {
        Self::new(icmpv6::ECHO_REPLY, 0, echo(id, sequence), data)
    }

    /// Destination unreachable.
    pub const fn unreachable(code: u8, quote: P) -> Self {
        Self::new(icmpv6::UNREACHABLE, code, [0; 4], quote)
    }

    /// Packet too big for the next hop's `mtu`.
    pub const fn too_big(mtu: u32, quote: P) -> Self {
        Self::new(icmpv6::TOO_BIG, 0, mtu.to_be_bytes(), quote)
    }

    /// Time exceeded: code 0 in transit, 1 in reassembly.
    pub const fn time_exceeded(code: u8, quote: P) -> Self {
        Self::new(icmpv6::TIME_EXCEEDED, code, [0; 4], quote)
    }

    /// Parameter problem at byte `pointer` of the quote.
    pub const fn parameter_problem(code: u8, pointer: u32, quote: P) -> Self {
        Self::new(icmpv6::PARAMETER_PROBLEM, code, pointer.to_be_bytes(), quote)
    }

    /// Puts an extension structure ([`ExtensionWriter::finish`]) behind the quote of an error, which is padded to 128 bytes.
    pub fn extensions(mut self, extensions: &'a [u8]) -> Self {
        self.0.extensions = extensions;
        self
    }

    /// Length of the message, in bytes.
    #[must_use]
    pub fn message_len(&self) -> usize {
        self.0.len(8)
    }

    /// Writes the message to the start of `out` and says how long it is. With [`Pseudo::None`] the checksum stays 0: the
    /// kernel computes it for ICMPv6 sockets.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`], [`Fault::TooLarge`] for a quote too long to have extensions behind it.
    pub fn write(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        let out = self.0.emit(out, Layer::Icmpv6, 8, 4)?;
        if under != Pseudo::None {
            Icmpv6::unchecked(&mut *out).fill_checksum(under);
        }
        Ok(out.len())
    }
}

/// The body of a solicitation or advertisement: target, and one link-layer address option.
fn neighbour(target: Ipv6Addr, kind: u8, link_address: [u8; 6]) -> [u8; 24] {
    let mut body = [0; 24];
    put(&mut body, 0, target.octets());
    put(&mut body, 16, [kind, 1]);
    put(&mut body, 18, link_address);
    body
}

impl Icmpv6Builder<'static, [u8; 24]> {
    /// A neighbour solicitation with the sender's Ethernet address. Send it with hop limit 255.
    pub fn neighbour_solicitation(target: Ipv6Addr, source_link: [u8; 6]) -> Self {
        Self::new(
            icmpv6::NEIGHBOUR_SOLICITATION,
            0,
            [0; 4],
            neighbour(target, 1, source_link),
        )
    }

    /// A neighbour advertisement with the target's Ethernet address; the flags are router, solicited, override. Send it with hop limit 255.
    pub fn neighbour_advertisement(target: Ipv6Addr, target_link: [u8; 6], flags: [bool; 3]) -> Self {
        let [router, solicited, overrides] = flags.map(u8::from);
        let flags = (router << 7) | (solicited << 6) | (overrides << 5);
        Self::new(
            icmpv6::NEIGHBOUR_ADVERTISEMENT,
            0,
            [flags, 0, 0, 0],
            neighbour(target, 2, target_link),
        )
    }
}

impl<P: Emit> Emit for Icmpv6Builder<'_, P> {
    fn emitted_len(&self) -> usize {
        self.0.len(8)
    }

    fn protocol(&self) -> Option<u8> {
        Some(protocol::ICMPV6)
    }

    fn emit(&self, out: &mut [u8], under: Pseudo) -> Result<usize, PacketError> {
        self.write(out, under)
    }
}

/// An extension structure (RFC 4884) being written into a caller's buffer.
#[derive(Debug)]
pub struct ExtensionWriter<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> ExtensionWriter<'b> {
    /// An empty structure.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`] for fewer than 4 bytes.
    pub fn new(buffer: &'b mut [u8]) -> Result<Self, PacketError> {
        put(room(buffer, 4, Layer::IcmpExtensions)?, 0, [0x20, 0, 0, 0]);
        Ok(Self { buffer, len: 4 })
    }

    /// Appends an object; `data` is padded to a multiple of four.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`].
    pub fn push(&mut self, class: u8, class_type: u8, data: &[u8]) -> Result<(), PacketError> {
        let len = 4 + data.len().next_multiple_of(4);
        let start = self.len;
        let out = room(&mut *self.buffer, start + len, Layer::IcmpExtensions)?;
        range_mut(out, start, start + len).fill(0);
        put16(out, start, low16(len));
        put(out, start + 2, [class, class_type]);
        put_slice(out, start + 4, data);
        self.len += len;
        Ok(())
    }

    /// Appends a stack of one label, as a router of one tunnel would.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`].
    pub fn push_label(&mut self, label: MplsLabel) -> Result<(), PacketError> {
        self.push(1, 1, &label.to_word().to_be_bytes())
    }

    /// The encoding with its checksum.
    #[must_use]
    pub fn finish(self) -> &'b [u8] {
        let bytes = range_mut(self.buffer, 0, self.len);
        put16(bytes, 2, 0);
        let sum = checksum(bytes);
        put16(bytes, 2, sum);
        bytes
    }
}
