//! From bytes to a header: how much of them it is, or where it is wrong.

use std::net::SocketAddr;

use ppp::{v1, v2};
use sockeye_event_loop::UnixName;

use super::header::{Addresses, Header, Transport, Version};
use super::tlv::{self, TlvError};

/// The longest header of version 1 with its line end (section 2.1).
const V1_MAX: usize = 107;
/// The shortest: `PROXY UNKNOWN` and a line end.
const V1_MIN: usize = 15;
const V1_START: &[u8] = b"PROXY ";
/// Signature, version and command, family and transport, length (section 2.2).
const V2_HEAD: usize = 16;
const V2_START: &[u8] = v2::PROTOCOL_PREFIX;
/// Where they are in it.
const COMMAND: usize = 12;
const FAMILY: usize = 13;
const LENGTH: usize = 14;
/// Version 2, command LOCAL.
const LOCAL: u8 = 0x20;

/// Bounds on a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseOptions {
    /// The longest header of version 2 in bytes, its first 16 included. One of version 1 has 107 at most in any case.
    pub max_len: usize,
}

impl Default for ParseOptions {
    /// 4 KiB.
    fn default() -> Self {
        Self { max_len: 4096 }
    }
}

/// What a prefix of bytes is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment on the stack; a box would be an allocation a connection"
)]
pub enum Parsed {
    /// The beginning of a header.
    Incomplete {
        /// Bytes, counted from the first one, before which there cannot be a whole header.
        needed: usize,
    },
    /// A header.
    Header {
        /// Bytes of it; those behind are the connection's.
        consumed: usize,
        /// What it says.
        header: Header,
    },
    /// No header, whatever follows.
    Invalid(Invalid),
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("PROXY header, byte {at}: {why}")]
pub struct Invalid {
    /// The first byte that is wrong, or of the field that is; from 0.
    pub at: usize,
    /// What is wrong with it.
    pub why: HeaderFault,
}

/// What is wrong with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// It begins as neither version does.
    #[error("not a PROXY header")]
    NoHeader,
    /// Longer than it may be.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// A line of version 1 does not end with CR LF.
    #[error("the line does not end with CR LF")]
    LineEnd,
    /// Version 1: neither TCP4, TCP6 nor UNKNOWN.
    #[error("not TCP4, TCP6 or UNKNOWN")]
    Protocol,
    /// Version 1: not an address of that family.
    #[error("not an address")]
    Address,
    /// Version 1: not a port, or one with a sign or leading zeros.
    #[error("not a port")]
    Port,
    /// Version 1: something behind the last port, or not text.
    #[error("more than two addresses and two ports")]
    Excess,
    /// The signature of version 2 with another version.
    #[error("not version 2")]
    Version,
    /// Version 2: neither LOCAL nor PROXY.
    #[error("not LOCAL or PROXY")]
    Command,
    /// Version 2: a family and transport that is none.
    #[error("no such address family and transport")]
    Family,
    /// Version 2: its length has no room for the addresses of its family.
    #[error("too short for its addresses")]
    Length,
    /// Version 2: a TLV is malformed.
    #[error("a TLV {0}")]
    Tlv(TlvError),
    /// Version 2: the checksum is wrong.
    #[error("the checksum is wrong")]
    Checksum,
}

/// Reads a header of either version from the beginning of `bytes`.
///
/// The answer does not depend on how bytes arrive: once it is not `Incomplete` it stays the same with more of them. A call
/// costs at most as much as the header is long; one that asks for [`needed`](Parsed::Incomplete) bytes before it calls
/// again costs no more in all.
///
/// # References
/// Sections 2.1 and 2.2 of the specification.
#[must_use]
pub fn parse(bytes: &[u8], options: &ParseOptions) -> Parsed {
    let (one, two) = (common(bytes, V1_START), common(bytes, V2_START));
    if one == V1_START.len() {
        parse_v1(bytes)
    } else if two == V2_START.len() {
        parse_v2(bytes, options.max_len)
    } else if one.max(two) == bytes.len() {
        Parsed::Incomplete { needed: V1_MIN }
    } else {
        invalid(one.max(two), HeaderFault::NoHeader)
    }
}

/// Bytes that both begin with.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter()
        .zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

fn invalid(at: usize, why: HeaderFault) -> Parsed {
    Parsed::Invalid(Invalid { at, why })
}

fn parse_v1(bytes: &[u8]) -> Parsed {
    let line = bytes.get(..V1_MAX).unwrap_or(bytes);
    let Some(end) = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if line.len() == V1_MAX {
            invalid(V1_MAX, HeaderFault::TooLong(V1_MAX))
        } else {
            Parsed::Incomplete {
                needed: V1_MIN.max(line.len() + 1),
            }
        };
    };
    if line[end] == b'\n' {
        return invalid(end, HeaderFault::LineEnd);
    }
    match bytes.get(end + 1) {
        _ if end + 2 > V1_MAX => invalid(V1_MAX, HeaderFault::TooLong(V1_MAX)),
        None => Parsed::Incomplete { needed: end + 2 },
        Some(b'\n') => parse_line(&line[..end + 2]),
        Some(_) => invalid(end + 1, HeaderFault::LineEnd),
    }
}

/// A whole line of version 1.
fn parse_line(line: &[u8]) -> Parsed {
    let header = |addresses| Parsed::Header {
        consumed: line.len(),
        header: Header {
            version: Version::V1,
            addresses,
            tlvs: Box::default(),
        },
    };
    // What follows UNKNOWN means nothing.
    let rest = line.strip_prefix(b"PROXY UNKNOWN");
    if rest.is_some_and(|rest| matches!(rest, [b' ' | b'\r', ..])) {
        return header(None);
    }
    let (source, destination): (SocketAddr, SocketAddr) = match v1::Header::try_from(line) {
        // Rust's integers may have a sign; a port may not.
        Ok(_) if line.contains(&b'+') => {
            let at = line.iter().position(|&byte| byte == b'+').unwrap_or_default();
            return invalid(at, HeaderFault::Port);
        }
        Ok(parsed) => match parsed.addresses {
            v1::Addresses::Tcp4(four) => (
                (four.source_address, four.source_port).into(),
                (four.destination_address, four.destination_port).into(),
            ),
            v1::Addresses::Tcp6(six) => (
                (six.source_address, six.source_port).into(),
                (six.destination_address, six.destination_port).into(),
            ),
            v1::Addresses::Unknown => return header(None),
        },
        Err(v1::BinaryParseError::InvalidUtf8(error)) => {
            return invalid(error.valid_up_to(), HeaderFault::Excess);
        }
        Err(v1::BinaryParseError::Parse(error)) => {
            let (field, why) = fault_of_line(&error);
            return invalid(start_of(line, field), why);
        }
    };
    header(Some(Addresses::Ip {
        source,
        destination,
        transport: Transport::Stream,
    }))
}

/// Which field of a line is wrong, counted from 0, and how.
fn fault_of_line(error: &v1::ParseError) -> (usize, HeaderFault) {
    use v1::ParseError as E;
    match error {
        E::MissingPrefix | E::InvalidPrefix => (0, HeaderFault::NoHeader),
        E::MissingProtocol | E::InvalidProtocol | E::Partial => (1, HeaderFault::Protocol),
        E::MissingSourceAddress | E::InvalidSourceAddress(_) => (2, HeaderFault::Address),
        E::MissingDestinationAddress | E::InvalidDestinationAddress(_) => (3, HeaderFault::Address),
        E::MissingSourcePort | E::InvalidSourcePort(_) => (4, HeaderFault::Port),
        E::MissingDestinationPort | E::InvalidDestinationPort(_) => (5, HeaderFault::Port),
        E::MissingNewLine | E::InvalidSuffix | E::HeaderTooLong => (6, HeaderFault::Excess),
    }
}

/// Where the n-th field of a line begins: at its end if there are fewer.
fn start_of(line: &[u8], field: usize) -> usize {
    let spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    let starts = std::iter::once(0).chain(spaces.map(|(at, _)| at + 1));
    let end = line.len() - 2;
    starts.take_while(|start| *start <= end).nth(field).unwrap_or(end)
}

fn parse_v2(bytes: &[u8], max_len: usize) -> Parsed {
    let Some(head) = bytes.first_chunk::<V2_HEAD>() else {
        return Parsed::Incomplete { needed: V2_HEAD };
    };
    let total = V2_HEAD + usize::from(u16::from_be_bytes([head[LENGTH], head[LENGTH + 1]]));
    if total > max_len {
        return invalid(LENGTH, HeaderFault::TooLong(max_len));
    }
    // A relay that speaks for itself may say anything about addresses.
    let local = head[COMMAND] == LOCAL;
    let known = matches!(head[FAMILY], 0x00 | 0x11 | 0x12 | 0x21 | 0x22 | 0x31 | 0x32);
    let whole = bytes.get(..total);
    let addresses = match v2::Header::try_from(whole.unwrap_or(bytes)) {
        Ok(header) if local => (None, header.address_family().byte_length()),
        Ok(_) if !known => return invalid(FAMILY, HeaderFault::Family),
        Ok(header) => (addresses_of(&header), header.address_family().byte_length()),
        Err(v2::ParseError::Partial(..)) if known || local => return Parsed::Incomplete { needed: total },
        Err(error) => match fault_of_head(&error) {
            (FAMILY | LENGTH, _) if local => (None, None),
            (at, why) => return invalid(at, why),
        },
    };
    let Some(whole) = whole else {
        return Parsed::Incomplete { needed: total };
    };
    let (addresses, addresses_len) = addresses;
    let start = V2_HEAD + addresses_len.unwrap_or(0);
    let tlvs = whole.get(start..).unwrap_or_default();
    match checked(whole, tlvs, start) {
        Ok(()) => {}
        // Without addresses nobody says that the rest consists of TLVs.
        Err(invalid) if addresses.is_none() && invalid.why != HeaderFault::Checksum => {
            return with_tlvs(total, None, &[]);
        }
        Err(invalid) => return Parsed::Invalid(invalid),
    }
    with_tlvs(total, addresses, tlvs)
}

fn with_tlvs(consumed: usize, addresses: Option<Addresses>, tlvs: &[u8]) -> Parsed {
    let header = Header {
        version: Version::V2,
        addresses,
        tlvs: tlvs.into(),
    };
    Parsed::Header { consumed, header }
}

/// Whether the TLVs are well-formed and the checksum, if there is one, is right.
fn checked(whole: &[u8], tlvs: &[u8], start: usize) -> Result<(), Invalid> {
    let found = tlv::check(tlvs).map_err(|(at, error)| Invalid {
        at: start + at,
        why: HeaderFault::Tlv(error),
    })?;
    match found {
        Some((at, sum)) if checksum(whole, start + at) != sum => Err(Invalid {
            at: start + at,
            why: HeaderFault::Checksum,
        }),
        _ => Ok(()),
    }
}

/// CRC-32C of a header with zeros in the four bytes from `at` on.
pub(super) fn checksum(header: &[u8], at: usize) -> u32 {
    let (before, rest) = header.split_at(at.min(header.len()));
    let after = rest.get(4..).unwrap_or_default();
    let sum = crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]);
    crc32c::crc32c_append(sum, after)
}

fn fault_of_head(error: &v2::ParseError) -> (usize, HeaderFault) {
    use v2::ParseError as E;
    match error {
        E::Incomplete(_) | E::Prefix => (0, HeaderFault::NoHeader),
        E::Version(_) => (COMMAND, HeaderFault::Version),
        E::Command(_) => (COMMAND, HeaderFault::Command),
        E::AddressFamily(_) | E::Protocol(_) | E::Partial(..) => (FAMILY, HeaderFault::Family),
        E::InvalidAddresses(..) | E::InvalidTLV(..) | E::Leftovers(_) => (LENGTH, HeaderFault::Length),
    }
}

fn addresses_of(header: &v2::Header<'_>) -> Option<Addresses> {
    let transport = match header.protocol {
        v2::Protocol::Datagram => Transport::Datagram,
        v2::Protocol::Stream | v2::Protocol::Unspecified => Transport::Stream,
    };
    match header.addresses {
        v2::Addresses::Unspecified => None,
        v2::Addresses::IPv4(four) => Some(Addresses::Ip {
            source: (four.source_address, four.source_port).into(),
            destination: (four.destination_address, four.destination_port).into(),
            transport,
        }),
        v2::Addresses::IPv6(six) => Some(Addresses::Ip {
            source: (six.source_address, six.source_port).into(),
            destination: (six.destination_address, six.destination_port).into(),
            transport,
        }),
        v2::Addresses::Unix(unix) => Some(Addresses::Unix {
            source: unix_name(&unix.source),
            destination: unix_name(&unix.destination),
            transport,
        }),
    }
}

/// A name in its field of 108 bytes: padded with zeros, which an abstract name cannot end with here.
fn unix_name(field: &[u8; 108]) -> UnixName {
    let end = field
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    UnixName::from_sun_path(&field[..end]).unwrap_or(UnixName::UNNAMED)
}
