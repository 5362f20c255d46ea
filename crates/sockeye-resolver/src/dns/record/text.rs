//! Records as the text of zone files.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Binding, Record, RecordData};
use crate::dns::name::Name;

/// Text in quotation marks, every byte that is not a printable letter escaped.
fn quoted(f: &mut fmt::Formatter<'_>, text: &[u8]) -> fmt::Result {
    use fmt::Write as _;

    f.write_char('"')?;
    for &byte in text {
        match byte {
            b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
            b' '..=b'~' => f.write_char(char::from(byte))?,
            _ => write!(f, "\\{byte:03}")?,
        }
    }
    f.write_char('"')
}

fn hex(f: &mut fmt::Formatter<'_>, data: &[u8]) -> fmt::Result {
    data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Names printed as data of a record are complete, and say so by their dot.
struct Complete<'a>(&'a Name);

impl fmt::Display for Complete<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_root() {
            f.write_str(".")
        } else {
            write!(f, "{}.", self.0)
        }
    }
}

/// As in a zone file (RFC 1035 section 5, RFC 3597 section 5, RFC 9460 section 2.1); printable ASCII whatever the bytes.
impl fmt::Display for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(ip) => write!(f, "{ip}"),
            Self::Aaaa(ip) => write!(f, "{ip}"),
            Self::Cname(name) | Self::Ptr(name) | Self::Ns(name) | Self::Dname(name) => {
                write!(f, "{}", Complete(name))
            }
            Self::Mx { preference, exchange } => write!(f, "{preference} {}", Complete(exchange)),
            Self::Txt(texts) => {
                for (place, text) in texts.iter().enumerate() {
                    if place > 0 {
                        f.write_str(" ")?;
                    }
                    quoted(f, text)?;
                }
                Ok(())
            }
            Self::Srv {
                priority,
                weight,
                port,
                target,
            } => {
                write!(f, "{priority} {weight} {port} {}", Complete(target))
            }
            Self::Soa(soa) => write!(
                f,
                "{} {} {} {} {} {} {}",
                Complete(&soa.primary),
                Complete(&soa.mailbox),
                soa.serial,
                soa.refresh,
                soa.retry,
                soa.expire,
                soa.minimum
            ),
            Self::Svcb(binding) | Self::Https(binding) => fmt::Display::fmt(binding, f),
            Self::Caa { flags, tag, value } => {
                write!(f, "{flags} ")?;
                for &byte in tag {
                    if byte.is_ascii_graphic() {
                        write!(f, "{}", char::from(byte))?;
                    } else {
                        write!(f, "\\{byte:03}")?;
                    }
                }
                f.write_str(" ")?;
                quoted(f, value)
            }
            Self::Other { data, .. } => {
                write!(f, "\\# {}", data.len())?;
                if !data.is_empty() {
                    f.write_str(" ")?;
                }
                hex(f, data)
            }
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.priority, Complete(&self.target))?;
        for (key, value) in &self.parameters {
            f.write_str(" ")?;
            parameter(f, *key, value)?;
        }
        Ok(())
    }
}

/// One parameter of a binding; a value that is not in its key's form is printed as bytes.
fn parameter(f: &mut fmt::Formatter<'_>, key: u16, value: &[u8]) -> fmt::Result {
    let list =
        |f: &mut fmt::Formatter<'_>, name: &str, items: Vec<String>| write!(f, "{name}={}", items.join(","));
    match (key, value) {
        (1, _) if alpn(value).is_some() => {
            let protocols = alpn(value).unwrap_or_default();
            list(
                f,
                "alpn",
                protocols
                    .iter()
                    .map(|protocol| protocol.escape_ascii().to_string())
                    .collect(),
            )
        }
        (2, []) => f.write_str("no-default-alpn"),
        (3, [high, low]) => write!(f, "port={}", u16::from_be_bytes([*high, *low])),
        (4, _) if !value.is_empty() && value.len().is_multiple_of(4) => {
            let (addresses, _) = value.as_chunks::<4>();
            list(
                f,
                "ipv4hint",
                addresses
                    .iter()
                    .map(|ip| Ipv4Addr::from(*ip).to_string())
                    .collect(),
            )
        }
        (6, _) if !value.is_empty() && value.len().is_multiple_of(16) => {
            let (addresses, _) = value.as_chunks::<16>();
            list(
                f,
                "ipv6hint",
                addresses
                    .iter()
                    .map(|ip| Ipv6Addr::from(*ip).to_string())
                    .collect(),
            )
        }
        _ => {
            match key {
                0 => f.write_str("mandatory")?,
                5 => f.write_str("ech")?,
                7 => f.write_str("dohpath")?,
                _ => write!(f, "key{key}")?,
            }
            if value.is_empty() {
                return Ok(());
            }
            f.write_str("=")?;
            quoted(f, value)
        }
    }
}

/// The protocols of an `alpn` value: each a length of one byte and as many bytes.
fn alpn(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = value;
    let mut protocols = Vec::new();
    while let Some((&len, after)) = rest.split_first() {
        let (protocol, tail) = after.split_at_checked(usize::from(len))?;
        protocols.push(protocol);
        rest = tail;
    }
    (!protocols.is_empty()).then_some(protocols)
}

/// As a line of a zone file.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} IN {} {}",
            Complete(&self.name),
            self.ttl,
            self.record_type(),
            self.data
        )
    }
}
