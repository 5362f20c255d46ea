//! The zone of a scoped IPv6 address (RFC 4007): an interface by number or by name.

use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

use crate::parse;
use crate::{ParseError, ParseErrorKind};

/// The zone of an IPv6 address: what stands after `%`.
///
/// A name stays a name: only a socket can ask the system which interface it is. Digits alone are an index. Nothing is
/// percent-decoded: RFC 9844 withdrew `%25`, so `fe80::1%25` is the interface of index 25.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Zone {
    /// The index of an interface, `sin6_scope_id` (host byte order). Zero would mean "no zone".
    Index(NonZeroU32),
    /// The name of an interface.
    Name(ZoneName),
}

impl Zone {
    /// The zone of that interface index, or `None` for zero, which in `sin6_scope_id` means that there is none.
    #[must_use]
    pub const fn from_index(index: u32) -> Option<Self> {
        match NonZeroU32::new(index) {
            Some(index) => Some(Self::Index(index)),
            None => None,
        }
    }

    /// Parses what stands after `%`: `7` is an index, `eth0` a name.
    ///
    /// # Errors
    ///
    /// [`ParseErrorKind::EmptyZone`], [`ParseErrorKind::ZoneTooLong`], [`ParseErrorKind::LeadingZero`] (which `0` is
    /// too: it says that there is no zone), [`ParseErrorKind::NumberTooBig`] past `u32::MAX`, and
    /// [`ParseErrorKind::UnexpectedCharacter`] or [`ParseErrorKind::Blank`].
    pub const fn parse(text: &str) -> Result<Self, ParseError> {
        let bytes = text.as_bytes();
        parse::zone(bytes, 0, bytes.len())
    }
}

impl FromStr for Zone {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => fmt::Display::fmt(index, f),
            Self::Name(name) => fmt::Display::fmt(name, f),
        }
    }
}

/// The name of an interface: 1 to 15 printable ASCII characters without `/`, `:`, `%`, `[` and `]`, not all digits.
///
/// Fifteen bytes are what Linux allows (`IFNAMSIZ` less its NUL).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZoneName {
    /// Padded with zeros, so that comparing the bytes compares the names.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl ZoneName {
    /// The longest name in bytes.
    pub const MAX_LEN: usize = 15;

    /// The name in `text[from..to]`, which the caller has checked to be of permitted characters and length.
    pub(crate) const fn from_checked(text: &[u8], from: usize, to: usize) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        let mut len = 0u8;
        while from + (len as usize) < to && (len as usize) < Self::MAX_LEN {
            bytes[len as usize] = text[from + len as usize];
            len += 1;
        }
        Self { bytes, len }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so the empty fallback is never taken; it spares a panic path.
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl FromStr for ZoneName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match Zone::parse(text)? {
            Zone::Name(name) => Ok(name),
            Zone::Index(_) => Err(ParseError::new(ParseErrorKind::UnexpectedCharacter, 0)),
        }
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for ZoneName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}
