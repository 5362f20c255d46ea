//! Cutting a packet into fragments, each written into a caller's buffer.
//!
//! # References
//! RFC 791 section 3.2, RFC 8200 section 4.5, RFC 6864 (identification).

use crate::bytes::{be8, low8, low16, put, put_slice, put16, put32, range};
use crate::emit::room;
use crate::error::{Fault, Layer, PacketError};
use crate::ipv4::{IPV4_HEADER_LEN, Ipv4, Ipv4OptionWriter};
use crate::ipv6::{IPV6_HEADER_LEN, Ipv6};
use crate::protocol;

/// The fragments of an IPv4 packet, one after the other.
///
/// ```
/// use sockeye_packet::{Ipv4, Ipv4Builder, Ipv4Fragments};
/// let mut packet = [0; 1020];
/// let len = Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
///     .protocol(253).dont_fragment(false).write(&mut packet, &[7; 1000])?;
/// let mut fragments = Ipv4Fragments::new(Ipv4::new(&packet[..len])?, 576)?;
/// let (mut out, mut lengths) = ([0; 576], Vec::new());
/// while let Some(len) = fragments.write_next(&mut out)? {
///     lengths.push(len);
/// }
/// assert_eq!(lengths, [572, 468]);
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ipv4Fragments<'a> {
    packet: Ipv4<&'a [u8]>,
    /// The options that go into every fragment.
    copied: Ipv4OptionWriter,
    mtu: usize,
    at: usize,
    done: bool,
}

impl<'a> Ipv4Fragments<'a> {
    /// Fragments of at most `mtu` bytes each, header included; a packet that fits comes out as it is.
    ///
    /// A packet that is a fragment itself is cut further.
    ///
    /// # Errors
    /// [`Fault::DontFragment`], [`Fault::TooLarge`] for an MTU that leaves no room for eight bytes of payload, a fault of the options.
    pub fn new(packet: Ipv4<&'a [u8]>, mtu: usize) -> Result<Self, PacketError> {
        let total = packet.header_len() + packet.body().len();
        if total > mtu {
            if packet.dont_fragment() {
                return Err(PacketError::new(
                    Layer::Fragment,
                    Fault::DontFragment,
                    6,
                    total,
                    mtu,
                ));
            }
            if packet.header_len() + 8 > mtu {
                let required = packet.header_len() + 8;
                return Err(PacketError::new(
                    Layer::Fragment,
                    Fault::TooLarge,
                    0,
                    mtu,
                    required,
                ));
            }
        }
        let copied = packet
            .options()
            .copied()
            .map_err(|error| error.shifted(IPV4_HEADER_LEN))?;
        Ok(Self {
            packet,
            copied,
            mtu,
            at: 0,
            done: false,
        })
    }

    /// Writes the next fragment to the start of `out` and says how long it is; `None` after the last.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`]; the same fragment comes again with a larger buffer.
    pub fn write_next(&mut self, out: &mut [u8]) -> Result<Option<usize>, PacketError> {
        if self.done {
            return Ok(None);
        }
        let payload = self.packet.body();
        let options = if self.at == 0 {
            self.packet.options().bytes()
        } else {
            self.copied.as_bytes()
        };
        let header_len = IPV4_HEADER_LEN + options.len();
        let left = payload.len() - self.at;
        let last = header_len + left <= self.mtu;
        let take = if last { left } else { (self.mtu - header_len) & !7 };
        let total = header_len + take;
        let out = room(out, total, Layer::Fragment)?;
        put_slice(out, 0, range(self.packet.bytes(), 0, IPV4_HEADER_LEN));
        put_slice(out, IPV4_HEADER_LEN, options);
        put_slice(out, header_len, range(payload, self.at, self.at + take));
        put(out, 0, [0x40 | low8(header_len / 4)]);
        let mut header = Ipv4::unchecked(out);
        header.set_total_len(low16(total));
        let offset = self.packet.fragment_offset() + self.at;
        header.set_fragment(low16(offset), !last || self.packet.more_fragments());
        header.fill_checksum();
        self.at += take;
        self.done = last;
        Ok(Some(total))
    }
}

/// The fragments of an IPv6 packet, one after the other.
#[derive(Clone, Debug)]
pub struct Ipv6Fragments<'a> {
    packet: Ipv6<&'a [u8]>,
    id: u32,
    mtu: usize,
    /// Bytes that every fragment begins with: the header, hop-by-hop options, what a routing header needs.
    fixed: usize,
    /// Where in them the next header is named.
    next_at: usize,
    at: usize,
    done: bool,
}

impl<'a> Ipv6Fragments<'a> {
    /// Fragments of at most `mtu` bytes each; a packet that fits comes out as it is.
    ///
    /// `id` should not be guessable (RFC 7739) and not return soon for the same addresses.
    ///
    /// # Errors
    /// [`Fault::ExtensionOrder`] for a packet with a fragment header, [`Fault::TooLarge`] for an MTU that leaves no room,
    /// faults of the chain of extension headers.
    pub fn new(packet: Ipv6<&'a [u8]>, id: u32, mtu: usize) -> Result<Self, PacketError> {
        let (mut fixed, mut next_at) = (IPV6_HEADER_LEN, 6);
        for header in packet.extensions() {
            let header = header.map_err(|error| error.shifted(IPV6_HEADER_LEN))?;
            match header.protocol {
                protocol::FRAGMENT => {
                    let at = IPV6_HEADER_LEN + header.offset;
                    return Err(PacketError::new(Layer::Fragment, Fault::ExtensionOrder, at, 0, 1));
                }
                // RFC 8200 section 4.5: up to the routing header if there is one, else to the hop-by-hop options.
                protocol::HOP_BY_HOP | protocol::ROUTING => {
                    next_at = IPV6_HEADER_LEN + header.offset;
                    fixed = next_at + header.len;
                }
                _ => {}
            }
        }
        let total = IPV6_HEADER_LEN + packet.body().len();
        if total > mtu && fixed + 16 > mtu {
            return Err(PacketError::new(
                Layer::Fragment,
                Fault::TooLarge,
                0,
                mtu,
                fixed + 16,
            ));
        }
        if total > mtu && total - fixed > usize::from(u16::MAX) {
            return Err(PacketError::new(
                Layer::Fragment,
                Fault::TooLarge,
                0,
                usize::from(u16::MAX),
                total - fixed,
            ));
        }
        Ok(Self {
            packet,
            id,
            mtu,
            fixed,
            next_at,
            at: 0,
            done: false,
        })
    }

    /// Writes the next fragment to the start of `out` and says how long it is; `None` after the last.
    ///
    /// # Errors
    /// [`Fault::BufferTooSmall`]; the same fragment comes again with a larger buffer.
    pub fn write_next(&mut self, out: &mut [u8]) -> Result<Option<usize>, PacketError> {
        if self.done {
            return Ok(None);
        }
        let bytes = range(self.packet.bytes(), 0, IPV6_HEADER_LEN + self.packet.body().len());
        if bytes.len() <= self.mtu {
            put_slice(room(out, bytes.len(), Layer::Fragment)?, 0, bytes);
            self.done = true;
            return Ok(Some(bytes.len()));
        }
        let start = self.fixed + self.at;
        let left = bytes.len() - start;
        let header_len = self.fixed + 8;
        let last = header_len + left <= self.mtu;
        let take = if last { left } else { (self.mtu - header_len) & !7 };
        let total = header_len + take;
        let out = room(out, total, Layer::Fragment)?;
        put_slice(out, 0, range(bytes, 0, self.fixed));
        put16(out, 4, low16(total - IPV6_HEADER_LEN));
        put(out, self.next_at, [protocol::FRAGMENT]);
        put(out, self.fixed, [be8(bytes, self.next_at), 0]);
        put16(out, self.fixed + 2, low16(self.at) | u16::from(!last));
        put32(out, self.fixed + 4, self.id);
        put_slice(out, header_len, range(bytes, start, start + take));
        self.at += take;
        self.done = last;
        Ok(Some(total))
    }
}
