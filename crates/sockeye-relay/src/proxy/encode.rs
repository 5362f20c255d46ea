//! From addresses to the bytes of a header.

use ppp::{v1, v2};
use sockeye_event_loop::UnixName;

use super::header::{Addresses, Transport, one_family};
use super::parse::checksum;
use super::tlv::{CRC32C, Tlv};

/// Why there is no such header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The addresses and TLVs have more than 65,535 bytes.
    #[error("a PROXY header of more than 65,535 bytes")]
    TooLong,
}

/// A header of version 1. `UNKNOWN` where there are no addresses, or none of TCP: the line has no words for them.
#[must_use]
pub fn encode_v1(addresses: Option<&Addresses>) -> Vec<u8> {
    let line = match addresses {
        Some(Addresses::Ip {
            source,
            destination,
            transport: Transport::Stream,
        }) => v1::Addresses::from(one_family(*source, *destination)),
        _ => v1::Addresses::Unknown,
    };
    line.to_string().into_bytes()
}

/// A header of version 2: the command PROXY with these addresses, or LOCAL without.
///
/// `checksum` adds the CRC-32C of the header; a [`Tlv::Crc32c`] among the TLVs is left out, since its value depends on
/// all others.
///
/// # Errors
/// [`EncodeError::TooLong`].
pub fn encode_v2(
    addresses: Option<&Addresses>,
    tlvs: &[Tlv<'_>],
    checksum_it: bool,
) -> Result<Vec<u8>, EncodeError> {
    let mut builder = match addresses {
        None => v2::Builder::new(v2::Version::Two | v2::Command::Local, 0),
        Some(addresses) => {
            let (transport, addresses) = in_codec(addresses);
            v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, transport, addresses)
        }
    };
    if checksum_it {
        builder = builder
            .write_tlv(CRC32C, &[0; 4])
            .map_err(|_| EncodeError::TooLong)?;
    }
    for tlv in tlvs.iter().filter(|tlv| tlv.kind() != CRC32C) {
        builder = builder
            .write_tlv(tlv.kind(), tlv.value())
            .map_err(|_| EncodeError::TooLong)?;
    }
    let mut header = builder.build().map_err(|_| EncodeError::TooLong)?;
    if checksum_it {
        // It is the first TLV.
        let others: usize = tlvs
            .iter()
            .filter(|tlv| tlv.kind() != CRC32C)
            .map(|tlv| 3 + tlv.value().len())
            .sum();
        let at = header.len() - others - 4;
        let sum = checksum(&header, at);
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(header)
}

fn in_codec(addresses: &Addresses) -> (v2::Protocol, v2::Addresses) {
    let protocol = |transport: &Transport| match transport {
        Transport::Stream => v2::Protocol::Stream,
        Transport::Datagram => v2::Protocol::Datagram,
    };
    match addresses {
        Addresses::Ip {
            source,
            destination,
            transport,
        } => (protocol(transport), one_family(*source, *destination).into()),
        Addresses::Unix {
            source,
            destination,
            transport,
        } => {
            let unix = v2::Unix::new(field(source), field(destination));
            (protocol(transport), v2::Addresses::Unix(unix))
        }
    }
}

/// A name in its field: a path, or a zero and an abstract name, padded with zeros.
fn field(name: &UnixName) -> [u8; 108] {
    let mut field = [0; 108];
    let (start, bytes) = match (name.as_path_bytes(), name.as_abstract_name()) {
        (Some(path), _) => (0, path),
        (None, Some(name)) => (1, name),
        (None, None) => (0, &[][..]),
    };
    for (to, from) in field.iter_mut().skip(start).zip(bytes) {
        *to = *from;
    }
    field
}
