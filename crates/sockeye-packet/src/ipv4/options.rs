//! IPv4 options, typed, one by one, and a writer for them.
//!
//! # References
//! RFC 791 section 3.1, RFC 2113 (router alert), RFC 1393 (traceroute), RFC 4782 (quick-start), IANA "IP Option Numbers".

use core::net::Ipv4Addr;

use crate::bytes::{array, be8, be16, be32, low8, put, put_slice};
use crate::error::{Fault, Layer, PacketError};

/// Options take at most this much.
const MAX_OPTIONS_LEN: usize = 40;

const END: u8 = 0;
const NOP: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const TRACEROUTE: u8 = 82;
const SECURITY: u8 = 130;
const LOOSE_ROUTE: u8 = 131;
const STREAM_ID: u8 = 136;
const STRICT_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ipv4Option<'a> {
    /// End of the list (0).
    End,
    /// Filler (1).
    Nop,
    /// Record route (7): slots of four bytes, the next free one at `pointer` (counted from 4).
    RecordRoute {
        /// Where the next address goes, counted from the option's first byte as 1.
        pointer: u8,
        /// The slots, four bytes each.
        route: &'a [u8],
    },
    /// Loose (131) or strict (137) source route.
    SourceRoute {
        /// Whether no other router may be visited.
        strict: bool,
        /// Where the next address stands, counted from the option's first byte as 1.
        pointer: u8,
        /// The addresses, four bytes each.
        route: &'a [u8],
    },
    /// Internet timestamp (68).
    Timestamp(TimestampOption<'a>),
    /// Router alert (148): routers look at the packet; value 0 in all uses so far.
    RouterAlert {
        /// The value, 0 for "examine packet".
        value: u16,
    },
    /// Stream identifier (136), obsolete.
    StreamId {
        /// The SATNET stream.
        id: u16,
    },
    /// Traceroute (82), obsolete.
    Traceroute {
        /// Identifies the trace.
        id: u16,
        /// Hops outbound.
        outbound: u16,
        /// Hops on return.
        inbound: u16,
        /// Who asked.
        originator: Ipv4Addr,
    },
    /// Security (130), RFC 1108.
    Security {
        /// Level, authorities and the rest.
        data: &'a [u8],
    },
    /// Any other.
    Other {
        /// Copied flag, class and number.
        kind: u8,
        /// What follows kind and length.
        data: &'a [u8],
    },
}

/// The body of a timestamp option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOption<'a> {
    /// Where the next slot is, counted from the option's first byte as 1.
    pub pointer: u8,
    /// How many hosts found no room.
    pub overflow: u8,
    /// 0 timestamps only, 1 with addresses, 3 addresses given beforehand.
    pub flag: u8,
    /// The slots: four bytes each, eight with addresses.
    pub data: &'a [u8],
}

impl Ipv4Option<'_> {
    /// Copied flag, class and number as one byte.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::End => END,
            Self::Nop => NOP,
            Self::RecordRoute { .. } => RECORD_ROUTE,
            Self::SourceRoute { strict: false, .. } => LOOSE_ROUTE,
            Self::SourceRoute { strict: true, .. } => STRICT_ROUTE,
            Self::Timestamp(_) => TIMESTAMP,
            Self::RouterAlert { .. } => ROUTER_ALERT,
            Self::StreamId { .. } => STREAM_ID,
            Self::Traceroute { .. } => TRACEROUTE,
            Self::Security { .. } => SECURITY,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// Whether every fragment carries it, and not the first alone.
    #[must_use]
    pub const fn is_copied(&self) -> bool {
        self.kind() & 0x80 != 0
    }
}

/// Walks over the options of a header; ends after the end-of-list option or after the first error.
#[derive(Clone, Debug)]
pub struct Ipv4Options<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Ipv4Options<'a> {
    /// Over the bytes between the fixed header and the payload.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.data
    }

    /// The options that every fragment carries.
    pub(crate) fn copied(mut self) -> Result<Ipv4OptionWriter, PacketError> {
        let mut copied = Ipv4OptionWriter::new();
        while let Some(next) = self.next_raw() {
            let (raw, option) = next?;
            if option.is_copied() {
                copied.push_raw(raw)?;
            }
        }
        Ok(copied)
    }

    /// The next option with its whole encoding; errors end the walk.
    pub(crate) fn next_raw(&mut self) -> Option<Result<(&'a [u8], Ipv4Option<'a>), PacketError>> {
        let at = self.at;
        let rest = self.data.get(at..)?;
        let kind = *rest.first()?;
        if kind == END || kind == NOP {
            self.at = if kind == END { usize::MAX } else { at + 1 };
            let option = if kind == END {
                Ipv4Option::End
            } else {
                Ipv4Option::Nop
            };
            return Some(Ok((rest.get(..1)?, option)));
        }
        self.at = usize::MAX;
        let Some(&len) = rest.get(1) else {
            return Some(Err(PacketError::truncated(Layer::Ipv4Options, at, 2, rest.len())));
        };
        let len = usize::from(len);
        if len < 2 {
            return Some(Err(PacketError::new(
                Layer::Ipv4Options,
                Fault::OptionLength,
                at + 1,
                2,
                len,
            )));
        }
        let Some(option) = rest.get(..len) else {
            return Some(Err(PacketError::truncated(
                Layer::Ipv4Options,
                at,
                len,
                rest.len(),
            )));
        };
        let decoded = decode(kind, option).map_err(|required| {
            PacketError::new(Layer::Ipv4Options, Fault::OptionLength, at + 1, required, len)
        });
        if decoded.is_ok() {
            self.at = at + len;
        }
        Some(decoded.map(|decoded| (option, decoded)))
    }
}

/// Decodes one option; the error is the length it should have had.
fn decode(kind: u8, option: &[u8]) -> Result<Ipv4Option<'_>, usize> {
    let need = |len: usize| if option.len() < len { Err(len) } else { Ok(()) };
    let exactly = |len: usize| if option.len() == len { Ok(()) } else { Err(len) };
    Ok(match kind {
        RECORD_ROUTE | LOOSE_ROUTE | STRICT_ROUTE => {
            need(3)?;
            let (pointer, route) = (be8(option, 2), option.get(3..).unwrap_or(&[]));
            match kind {
                RECORD_ROUTE => Ipv4Option::RecordRoute { pointer, route },
                _ => Ipv4Option::SourceRoute {
                    strict: kind == STRICT_ROUTE,
                    pointer,
                    route,
                },
            }
        }
        TIMESTAMP => {
            need(4)?;
            let flags = be8(option, 3);
            Ipv4Option::Timestamp(TimestampOption {
                pointer: be8(option, 2),
                overflow: flags >> 4,
                flag: flags & 0xf,
                data: option.get(4..).unwrap_or(&[]),
            })
        }
        ROUTER_ALERT => {
            exactly(4)?;
            Ipv4Option::RouterAlert {
                value: be16(option, 2),
            }
        }
        STREAM_ID => {
            exactly(4)?;
            Ipv4Option::StreamId { id: be16(option, 2) }
        }
        TRACEROUTE => {
            exactly(12)?;
            Ipv4Option::Traceroute {
                id: be16(option, 2),
                outbound: be16(option, 4),
                inbound: be16(option, 6),
                originator: Ipv4Addr::from(array::<4>(option, 8)),
            }
        }
        SECURITY => Ipv4Option::Security {
            data: option.get(2..).unwrap_or(&[]),
        },
        kind => Ipv4Option::Other {
            kind,
            data: option.get(2..).unwrap_or(&[]),
        },
    })
}

impl<'a> Iterator for Ipv4Options<'a> {
    type Item = Result<Ipv4Option<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_raw().map(|result| result.map(|(_, option)| option))
    }
}

impl core::iter::FusedIterator for Ipv4Options<'_> {}

impl<'a> TimestampOption<'a> {
    /// The slots: the address where there is one, and milliseconds since midnight UT.
    pub fn entries(&self) -> impl Iterator<Item = (Option<Ipv4Addr>, u32)> + use<'a> {
        let with_address = self.flag != 0;
        let size = if with_address { 8 } else { 4 };
        self.data.chunks_exact(size).map(move |slot| {
            if with_address {
                (Some(Ipv4Addr::from(array::<4>(slot, 0))), be32(slot, 4))
            } else {
                (None, be32(slot, 0))
            }
        })
    }
}

/// The addresses of a recorded or source route.
pub(crate) fn route(data: &[u8]) -> impl Iterator<Item = Ipv4Addr> + '_ {
    data.as_chunks::<4>()
        .0
        .iter()
        .map(|octets| Ipv4Addr::from(*octets))
}

impl<'a> Ipv4Option<'a> {
    /// The addresses of a recorded or source route, empty slots as `0.0.0.0`; nothing for other options.
    pub fn route(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        route(match self {
            Self::RecordRoute { route, .. } | Self::SourceRoute { route, .. } => route,
            _ => &[],
        })
    }
}

/// Options being written: at most 40 bytes, held inside, padded to four when used.
///
/// ```
/// use sockeye_packet::{Ipv4Option, Ipv4OptionWriter, Ipv4Options};
/// let mut options = Ipv4OptionWriter::new();
/// options.push(Ipv4Option::RouterAlert { value: 0 })?;
/// assert_eq!(options.as_bytes(), [148, 4, 0, 0]);
/// # Ok::<(), sockeye_packet::PacketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4OptionWriter {
    bytes: [u8; MAX_OPTIONS_LEN],
    len: usize,
}

impl Default for Ipv4OptionWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl Ipv4OptionWriter {
    /// No options.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; MAX_OPTIONS_LEN],
            len: 0,
        }
    }

    /// Appends an option.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] beyond 40 bytes; the options stay as they were.
    pub fn push(&mut self, option: Ipv4Option<'_>) -> Result<(), PacketError> {
        let mut head = [option.kind(), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (head_len, data): (usize, &[u8]) = match option {
            Ipv4Option::End | Ipv4Option::Nop => (1, &[]),
            Ipv4Option::RecordRoute { pointer, route } | Ipv4Option::SourceRoute { pointer, route, .. } => {
                put(&mut head, 2, [pointer]);
                (3, route)
            }
            Ipv4Option::Timestamp(option) => {
                put(
                    &mut head,
                    2,
                    [option.pointer, (option.overflow << 4) | (option.flag & 0xf)],
                );
                (4, option.data)
            }
            Ipv4Option::RouterAlert { value } | Ipv4Option::StreamId { id: value } => {
                put(&mut head, 2, value.to_be_bytes());
                (4, &[])
            }
            Ipv4Option::Traceroute {
                id,
                outbound,
                inbound,
                originator,
            } => {
                put(&mut head, 2, id.to_be_bytes());
                put(&mut head, 4, outbound.to_be_bytes());
                put(&mut head, 6, inbound.to_be_bytes());
                put(&mut head, 8, originator.octets());
                (12, &[])
            }
            Ipv4Option::Security { data } | Ipv4Option::Other { data, .. } => (2, data),
        };
        let len = head_len + data.len();
        if self.len + len > MAX_OPTIONS_LEN {
            return Err(self.too_large(len));
        }
        if head_len > 1 {
            put(&mut head, 1, [low8(len)]);
        }
        self.push_raw(head.get(..head_len).unwrap_or(&[]))?;
        self.push_raw(data)
    }

    const fn too_large(&self, more: usize) -> PacketError {
        PacketError::new(
            Layer::Ipv4Options,
            Fault::TooLarge,
            self.len,
            MAX_OPTIONS_LEN,
            self.len + more,
        )
    }

    /// Appends bytes as they are.
    fn push_raw(&mut self, raw: &[u8]) -> Result<(), PacketError> {
        let end = self.len + raw.len();
        if end > MAX_OPTIONS_LEN {
            return Err(self.too_large(raw.len()));
        }
        put_slice(&mut self.bytes, self.len, raw);
        self.len = end;
        Ok(())
    }

    /// The encoding, padded with end-of-list to a multiple of four.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.next_multiple_of(4)).unwrap_or(&[])
    }
}
