//! TCP options, typed, one by one, and a writer for them.
//!
//! # References
//! RFC 9293 section 3.2 (MSS), RFC 7323 (window scale, timestamps), RFC 2018 (SACK), RFC 7413 (fast open), RFC 8684
//! (MPTCP), RFC 2385 (MD5), RFC 5925 (authentication), RFC 5482 (user timeout).

use crate::bytes::{be8, be16, be32, low8, put, put_slice};
use crate::error::{Fault, Layer, PacketError};

const MAX_OPTIONS_LEN: usize = 40;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const MD5: u8 = 19;
const USER_TIMEOUT: u8 = 28;
const AUTHENTICATION: u8 = 29;
const MPTCP: u8 = 30;
const FAST_OPEN: u8 = 34;

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcpOption<'a> {
    /// End of the list (0).
    End,
    /// Filler (1).
    Nop,
    /// Maximum segment size (2), in bytes.
    Mss(
        /// That size.
        u16,
    ),
    /// Window scale (3): the shift, at most 14 by RFC 7323.
    WindowScale(
        /// That shift as stored.
        u8,
    ),
    /// Selective acknowledgment permitted (4).
    SackPermitted,
    /// Selective acknowledgment (5): blocks of eight bytes.
    Sack(
        /// The blocks; see [`TcpOption::sack_blocks`].
        &'a [u8],
    ),
    /// Timestamps (8).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The echo of the receiver's.
        echo: u32,
    },
    /// MD5 signature (19).
    Md5(
        /// Its 16 bytes.
        &'a [u8],
    ),
    /// User timeout (28).
    UserTimeout {
        /// Whether the value counts minutes and not seconds.
        minutes: bool,
        /// The value, 15 bits.
        value: u16,
    },
    /// TCP authentication (29).
    Authentication {
        /// Which key made it.
        key: u8,
        /// Which key the sender is ready to receive.
        next_key: u8,
        /// The code.
        mac: &'a [u8],
    },
    /// Multipath TCP (30).
    Mptcp {
        /// The upper four bits of the first byte: 0 capable, 1 join, 2 data sequence, ...
        subtype: u8,
        /// What follows kind and length, the byte with the subtype first.
        data: &'a [u8],
    },
    /// Fast open (34): empty asks for a cookie.
    FastOpen(
        /// The cookie, empty or 4 to 16 bytes.
        &'a [u8],
    ),
    /// Any other.
    Other {
        /// Its number.
        kind: u8,
        /// What follows kind and length.
        data: &'a [u8],
    },
}

impl<'a> TcpOption<'a> {
    /// The number.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::End => END,
            Self::Nop => NOP,
            Self::Mss(_) => MSS,
            Self::WindowScale(_) => WINDOW_SCALE,
            Self::SackPermitted => SACK_PERMITTED,
            Self::Sack(_) => SACK,
            Self::Timestamps { .. } => TIMESTAMPS,
            Self::Md5(_) => MD5,
            Self::UserTimeout { .. } => USER_TIMEOUT,
            Self::Authentication { .. } => AUTHENTICATION,
            Self::Mptcp { .. } => MPTCP,
            Self::FastOpen(_) => FAST_OPEN,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// The blocks of a selective acknowledgment: first byte, and the one behind the last; nothing for other options.
    pub fn sack_blocks(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let data: &'a [u8] = match self {
            Self::Sack(data) => data,
            _ => &[],
        };
        data.as_chunks::<8>()
            .0
            .iter()
            .map(|block| (be32(block, 0), be32(block, 4)))
    }
}

/// Walks over the options of a header; ends after the end-of-list option or after the first error.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> TcpOptions<'a> {
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
}

/// Decodes one option; the error is the length it should have had.
fn decode(kind: u8, option: &[u8]) -> Result<TcpOption<'_>, usize> {
    let data = option.get(2..).unwrap_or(&[]);
    let exactly = |len: usize| if option.len() == len { Ok(()) } else { Err(len) };
    Ok(match kind {
        MSS => {
            exactly(4)?;
            TcpOption::Mss(be16(data, 0))
        }
        WINDOW_SCALE => {
            exactly(3)?;
            TcpOption::WindowScale(be8(data, 0))
        }
        SACK_PERMITTED => {
            exactly(2)?;
            TcpOption::SackPermitted
        }
        SACK => {
            // One to four blocks: more do not fit 40 bytes.
            if data.is_empty() || data.len() % 8 != 0 {
                return Err(2 + data.len().max(1).next_multiple_of(8));
            }
            TcpOption::Sack(data)
        }
        TIMESTAMPS => {
            exactly(10)?;
            TcpOption::Timestamps {
                value: be32(data, 0),
                echo: be32(data, 4),
            }
        }
        MD5 => {
            exactly(18)?;
            TcpOption::Md5(data)
        }
        USER_TIMEOUT => {
            exactly(4)?;
            let word = be16(data, 0);
            TcpOption::UserTimeout {
                minutes: word & 0x8000 != 0,
                value: word & 0x7fff,
            }
        }
        AUTHENTICATION => {
            if data.len() < 2 {
                return Err(4);
            }
            TcpOption::Authentication {
                key: be8(data, 0),
                next_key: be8(data, 1),
                mac: data.get(2..).unwrap_or(&[]),
            }
        }
        MPTCP => {
            if data.is_empty() {
                return Err(3);
            }
            TcpOption::Mptcp {
                subtype: be8(data, 0) >> 4,
                data,
            }
        }
        FAST_OPEN => {
            // RFC 7413 section 4.1.1: absent, or an even number of bytes from 4 to 16.
            if !(data.is_empty() || ((4..=16).contains(&data.len()) && data.len() % 2 == 0)) {
                return Err(2 + (data.len() + data.len() % 2).clamp(4, 16));
            }
            TcpOption::FastOpen(data)
        }
        kind => TcpOption::Other { kind, data },
    })
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = Result<TcpOption<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.data.get(at..)?;
        let kind = *rest.first()?;
        if kind == END {
            self.at = usize::MAX;
            return Some(Ok(TcpOption::End));
        }
        if kind == NOP {
            self.at = at + 1;
            return Some(Ok(TcpOption::Nop));
        }
        self.at = usize::MAX;
        let Some(&len) = rest.get(1) else {
            return Some(Err(PacketError::truncated(Layer::TcpOptions, at, 2, rest.len())));
        };
        let len = usize::from(len);
        if len < 2 {
            return Some(Err(PacketError::new(
                Layer::TcpOptions,
                Fault::OptionLength,
                at + 1,
                2,
                len,
            )));
        }
        let Some(option) = rest.get(..len) else {
            return Some(Err(PacketError::truncated(
                Layer::TcpOptions,
                at,
                len,
                rest.len(),
            )));
        };
        match decode(kind, option) {
            Ok(option) => {
                self.at = at + len;
                Some(Ok(option))
            }
            Err(required) => Some(Err(PacketError::new(
                Layer::TcpOptions,
                Fault::OptionLength,
                at + 1,
                required,
                len,
            ))),
        }
    }
}

impl core::iter::FusedIterator for TcpOptions<'_> {}

/// Options being written: at most 40 bytes, held inside, padded to four when used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptionWriter {
    bytes: [u8; MAX_OPTIONS_LEN],
    len: usize,
}

impl Default for TcpOptionWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl TcpOptionWriter {
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
    pub fn push(&mut self, option: TcpOption<'_>) -> Result<(), PacketError> {
        let mut head = [option.kind(), 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (head_len, data): (usize, &[u8]) = match option {
            TcpOption::End | TcpOption::Nop => (1, &[]),
            TcpOption::Mss(size) => {
                put(&mut head, 2, size.to_be_bytes());
                (4, &[])
            }
            TcpOption::WindowScale(shift) => {
                put(&mut head, 2, [shift]);
                (3, &[])
            }
            TcpOption::SackPermitted => (2, &[]),
            TcpOption::Timestamps { value, echo } => {
                put(&mut head, 2, value.to_be_bytes());
                put(&mut head, 6, echo.to_be_bytes());
                (10, &[])
            }
            TcpOption::UserTimeout { minutes, value } => {
                put(
                    &mut head,
                    2,
                    ((u16::from(minutes) << 15) | (value & 0x7fff)).to_be_bytes(),
                );
                (4, &[])
            }
            TcpOption::Authentication { key, next_key, mac } => {
                put(&mut head, 2, [key, next_key]);
                (4, mac)
            }
            TcpOption::Sack(data)
            | TcpOption::Md5(data)
            | TcpOption::FastOpen(data)
            | TcpOption::Mptcp { data, .. }
            | TcpOption::Other { data, .. } => (2, data),
        };
        let len = head_len + data.len();
        let end = self.len + len;
        if end > MAX_OPTIONS_LEN {
            return Err(PacketError::new(
                Layer::TcpOptions,
                Fault::TooLarge,
                self.len,
                MAX_OPTIONS_LEN,
                end,
            ));
        }
        if head_len > 1 {
            put(&mut head, 1, [low8(len)]);
        }
        put_slice(&mut self.bytes, self.len, head.get(..head_len).unwrap_or(&[]));
        put_slice(&mut self.bytes, self.len + head_len, data);
        self.len = end;
        Ok(())
    }

    /// The encoding, padded with end-of-list to a multiple of four.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.next_multiple_of(4)).unwrap_or(&[])
    }
}
