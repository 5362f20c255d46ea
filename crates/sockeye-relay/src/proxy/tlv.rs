//! Type, length, value: what follows the addresses in a header of version 2.

/// Why a TLV is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlvError {
    /// Fewer than three bytes are left, or fewer than its length says.
    #[error("ends before its value does")]
    Truncated,
    /// A value of this type has another length.
    #[error("its value has a length that its type does not have")]
    Length,
    /// A value of this type is text.
    #[error("its value is not UTF-8")]
    Text,
}

/// PP2_TYPE_CRC32C.
pub(super) const CRC32C: u8 = 0x03;
/// The longest unique id (section 2.2.5).
const MAX_UNIQUE_ID: usize = 128;
/// Type and length.
const HEAD: usize = 3;

/// One value behind the addresses. The numbers are those of section 2.2 of the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Tlv<'a> {
    /// 0x01: the application protocol, as in TLS's ALPN.
    Alpn(&'a [u8]),
    /// 0x02: the host name that the client asked for.
    Authority(&'a str),
    /// 0x03: CRC-32C of the whole header, computed with zeros in its place.
    Crc32c(u32),
    /// 0x04: padding.
    NoOp(&'a [u8]),
    /// 0x05: the relay's name of the connection, at most 128 bytes.
    UniqueId(&'a [u8]),
    /// 0x20: the client's TLS.
    Ssl(Ssl<'a>),
    /// 0x30: the name of the network namespace.
    NetNs(&'a str),
    /// Any other: 0xe0 to 0xef are the applications' own, 0xf0 to 0xf7 for experiments, 0xf8 and above for the future.
    Other {
        /// Its type.
        kind: u8,
        /// Its value.
        value: &'a [u8],
    },
}

impl<'a> Tlv<'a> {
    pub(super) fn read(kind: u8, value: &'a [u8]) -> Result<Self, TlvError> {
        let text = || std::str::from_utf8(value).map_err(|_| TlvError::Text);
        Ok(match kind {
            0x01 => Self::Alpn(value),
            0x02 => Self::Authority(text()?),
            CRC32C => Self::Crc32c(u32::from_be_bytes(
                value.try_into().map_err(|_| TlvError::Length)?,
            )),
            0x04 => Self::NoOp(value),
            0x05 if value.len() > MAX_UNIQUE_ID => return Err(TlvError::Length),
            0x05 => Self::UniqueId(value),
            0x20 => Self::Ssl(Ssl::parse(value)?),
            0x30 => Self::NetNs(text()?),
            kind => Self::Other { kind, value },
        })
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Alpn(_) => 0x01,
            Self::Authority(_) => 0x02,
            Self::Crc32c(_) => CRC32C,
            Self::NoOp(_) => 0x04,
            Self::UniqueId(_) => 0x05,
            Self::Ssl(_) => 0x20,
            Self::NetNs(_) => 0x30,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// Its value as bytes. A checksum's is left to whoever computes it.
    pub(super) fn value(&self) -> &'a [u8] {
        match *self {
            Self::Alpn(value) | Self::NoOp(value) | Self::UniqueId(value) | Self::Other { value, .. } => {
                value
            }
            Self::Authority(text) | Self::NetNs(text) => text.as_bytes(),
            Self::Ssl(ssl) => ssl.bytes,
            Self::Crc32c(_) => &[0; 4],
        }
    }
}

/// What the relay knows of the client's TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ssl<'a> {
    bytes: &'a [u8],
}

/// A text about the client's TLS. The numbers are those of the sub-types.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum SslField {
    /// Its version, such as `TLSv1.3`.
    Version = 0x21,
    /// The common name of the client's certificate.
    CommonName = 0x22,
    /// The cipher suite.
    Cipher = 0x23,
    /// The algorithm that signed the certificate.
    SignatureAlgorithm = 0x24,
    /// The algorithm of the certificate's key.
    KeyAlgorithm = 0x25,
}

/// One byte of flags and four of the outcome of the verification stand before the fields.
const SSL_HEAD: usize = 5;

impl<'a> Ssl<'a> {
    /// Reads the value of a TLV of type 0x20.
    ///
    /// # Errors
    /// [`TlvError`]: it is shorter than five bytes, or a field ends behind its end.
    pub fn parse(value: &'a [u8]) -> Result<Self, TlvError> {
        let fields = value.get(SSL_HEAD..).ok_or(TlvError::Length)?;
        for field in walk(fields) {
            field?;
        }
        Ok(Self { bytes: value })
    }

    /// Writes such a value: the flags of [`client`](Self::client), what [`verify`](Self::verify) gives, and fields.
    ///
    /// # Errors
    /// [`TlvError::Length`]: a text does not fit.
    pub fn encode(client: u8, verify: u32, fields: &[(SslField, &str)]) -> Result<Vec<u8>, TlvError> {
        let mut value = vec![client];
        value.extend_from_slice(&verify.to_be_bytes());
        for (field, text) in fields {
            let len = u16::try_from(text.len()).map_err(|_| TlvError::Length)?;
            value.push(*field as u8);
            value.extend_from_slice(&len.to_be_bytes());
            value.extend_from_slice(text.as_bytes());
        }
        Ok(value)
    }

    /// Flags: 1 the client came over TLS, 2 it gave a certificate on this connection, 4 or in this session.
    #[must_use]
    pub fn client(&self) -> u8 {
        self.bytes.first().copied().unwrap_or_default()
    }

    /// Whether the client came over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.client() & 1 != 0
    }

    /// What the verification of the client's certificate gave: 0 if it gave one and that was valid.
    #[must_use]
    pub fn verify(&self) -> u32 {
        let bytes = self.bytes.get(1..SSL_HEAD).and_then(|four| four.try_into().ok());
        bytes.map_or(u32::MAX, u32::from_be_bytes)
    }

    /// A field, if it is there and UTF-8.
    #[must_use]
    pub fn field(&self, field: SslField) -> Option<&'a str> {
        let fields = walk(self.bytes.get(SSL_HEAD..)?);
        let (_, _, value) = fields
            .filter_map(Result::ok)
            .find(|(_, kind, _)| *kind == field as u8)?;
        std::str::from_utf8(value).ok()
    }
}

/// A type with its value, and where it begins; or where what is none begins.
type Found<'a> = Result<(usize, u8, &'a [u8]), TlvError>;

/// The TLVs in `bytes`, one after the other, to the first that is cut off.
pub(super) fn walk(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let found = rest.first_chunk::<HEAD>().and_then(|&[kind, high, low]| {
            let end = HEAD + usize::from(u16::from_be_bytes([high, low]));
            rest.get(HEAD..end).map(|value| (at, kind, value))
        });
        at = found.map_or(bytes.len(), |(at, _, value)| at + HEAD + value.len());
        Some(found.ok_or(TlvError::Truncated))
    })
}

/// Checks all of them, and says where the checksum's value is. An error says where the TLV begins that has it.
pub(super) fn check(bytes: &[u8]) -> Result<Option<(usize, u32)>, (usize, TlvError)> {
    let mut checksum = None;
    let mut next = 0;
    for found in walk(bytes) {
        let (at, kind, value) = found.map_err(|error| (next, error))?;
        next = at + HEAD + value.len();
        if let Tlv::Crc32c(sum) = Tlv::read(kind, value).map_err(|error| (at, error))? {
            if checksum.is_some() {
                // Each would have to be computed with zeros in its own place only: no sender means that.
                return Err((at, TlvError::Length));
            }
            checksum = Some((at + HEAD, sum));
        }
    }
    Ok(checksum)
}
