//! Records of the DNS: what answers are made of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use super::name::Name;

/// The type of a record, by its number in IANA's registry.
///
/// The text is the registry's name where it has one here, else `TYPE` and the number (RFC 3597 section 5).
///
/// ```
/// use sockeye_resolver::dns::RecordType;
///
/// assert_eq!("aaaa".parse(), Ok(RecordType::AAAA));
/// assert_eq!(RecordType(65_400).to_string(), "TYPE65400");
/// assert_eq!("TYPE28".parse(), Ok(RecordType::AAAA));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordType(pub u16);

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        impl RecordType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The types that have a name here.
            const NAMED: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

types! {
    /// An IPv4 address (RFC 1035).
    A = 1,
    /// A name server of a zone (RFC 1035).
    NS = 2,
    /// The name that an alias stands for (RFC 1035).
    CNAME = 5,
    /// The beginning of a zone (RFC 1035).
    SOA = 6,
    /// A pointer to a name, for addresses (RFC 1035).
    PTR = 12,
    /// A host's hardware and system (RFC 1035).
    HINFO = 13,
    /// A mail server (RFC 1035).
    MX = 15,
    /// Text (RFC 1035).
    TXT = 16,
    /// An IPv6 address (RFC 3596).
    AAAA = 28,
    /// Where a service runs (RFC 2782).
    SRV = 33,
    /// Rules to rewrite names (RFC 3403).
    NAPTR = 35,
    /// An alias of a whole subtree (RFC 6672).
    DNAME = 39,
    /// The pseudo record of EDNS (RFC 6891). Never asked for.
    OPT = 41,
    /// The digest of a child's key (RFC 4034).
    DS = 43,
    /// A host's key for SSH (RFC 4255).
    SSHFP = 44,
    /// A signature (RFC 4034).
    RRSIG = 46,
    /// The next name of a zone (RFC 4034).
    NSEC = 47,
    /// A zone's key (RFC 4034).
    DNSKEY = 48,
    /// A certificate or key for TLS (RFC 6698).
    TLSA = 52,
    /// How to reach a service (RFC 9460).
    SVCB = 64,
    /// How to reach a web service (RFC 9460).
    HTTPS = 65,
    /// Every type the server likes to give (RFC 8482).
    ANY = 255,
    /// Who may sign certificates (RFC 8659).
    CAA = 257,
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMED.iter().find(|(number, _)| number == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a record type: give a name such as AAAA, or TYPE and a number up to 65535")]
pub struct RecordTypeError;

impl FromStr for RecordType {
    type Err = RecordTypeError;

    fn from_str(text: &str) -> Result<Self, RecordTypeError> {
        if let Some(&(number, _)) = Self::NAMED
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(text))
        {
            return Ok(number);
        }
        let (prefix, digits) = text.split_at_checked(4).ok_or(RecordTypeError)?;
        if !prefix.eq_ignore_ascii_case("TYPE") || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RecordTypeError);
        }
        digits.parse().map(Self).map_err(|_| RecordTypeError)
    }
}

/// One record. The class is always IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose record it is.
    pub name: Name,
    /// What it says.
    pub data: RecordData,
    /// For how many seconds it may be kept.
    pub ttl: u32,
}

impl Record {
    /// A record.
    #[must_use]
    pub fn new(name: Name, ttl: u32, data: RecordData) -> Self {
        Self { name, data, ttl }
    }

    /// Its type.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        self.data.record_type()
    }
}

/// What a record says. Types without a variant of their own are [`Other`](Self::Other), as are records of a known type
/// that a server gave in a form that is not that type's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name that this one is an alias of.
    Cname(Name),
    /// A pointer to a name.
    Ptr(Name),
    /// A name server of the zone.
    Ns(Name),
    /// The alias of a whole subtree.
    Dname(Name),
    /// A mail server.
    Mx {
        /// Lower goes first.
        preference: u16,
        /// The server.
        exchange: Name,
    },
    /// Texts of up to 255 bytes each.
    Txt(Vec<Box<[u8]>>),
    /// Where a service runs.
    Srv {
        /// Lower goes first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host; the root says that there is no such service.
        target: Name,
    },
    /// The beginning of a zone.
    Soa(Box<Soa>),
    /// How to reach a service.
    Svcb(Box<Binding>),
    /// How to reach a web service.
    Https(Box<Binding>),
    /// Who may sign certificates.
    Caa {
        /// Bit 7: whoever does not know the tag must not sign.
        flags: u8,
        /// What it is about: `issue`, `issuewild`, `iodef`.
        tag: Box<[u8]>,
        /// The value.
        value: Box<[u8]>,
    },
    /// Any other type.
    Other {
        /// The type.
        record_type: RecordType,
        /// The bytes as they came.
        data: Box<[u8]>,
    },
}

/// The beginning of a zone (RFC 1035 section 3.3.13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    /// The primary name server.
    pub primary: Name,
    /// The mailbox of who is responsible, its `@` written as a dot.
    pub mailbox: Name,
    /// The zone's version.
    pub serial: u32,
    /// After how many seconds secondaries ask.
    pub refresh: u32,
    /// After how many seconds they ask again when nobody answers.
    pub retry: u32,
    /// After how many seconds without an answer they give up.
    pub expire: u32,
    /// For how many seconds "no such name" may be kept (RFC 2308).
    pub minimum: u32,
}

/// How to reach a service (RFC 9460).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Lower goes first; 0 says that this is an alias.
    pub priority: u16,
    /// The host; the root stands for the record's own name.
    pub target: Name,
    /// The parameters by their keys, in ascending order, in their wire format.
    pub parameters: Vec<(u16, Box<[u8]>)>,
}

impl RecordData {
    /// The type of such a record.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Cname(_) => RecordType::CNAME,
            Self::Ptr(_) => RecordType::PTR,
            Self::Ns(_) => RecordType::NS,
            Self::Dname(_) => RecordType::DNAME,
            Self::Mx { .. } => RecordType::MX,
            Self::Txt(_) => RecordType::TXT,
            Self::Srv { .. } => RecordType::SRV,
            Self::Soa(_) => RecordType::SOA,
            Self::Svcb(_) => RecordType::SVCB,
            Self::Https(_) => RecordType::HTTPS,
            Self::Caa { .. } => RecordType::CAA,
            Self::Other { record_type, .. } => *record_type,
        }
    }

    /// The address, of an address record.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::A(ip) => Some((*ip).into()),
            Self::Aaaa(ip) => Some((*ip).into()),
            _ => None,
        }
    }

    /// Appends the wire format, names uncompressed.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let word = |out: &mut Vec<u8>, number: u16| out.extend_from_slice(&number.to_be_bytes());
        match self {
            Self::A(ip) => out.extend_from_slice(&ip.octets()),
            Self::Aaaa(ip) => out.extend_from_slice(&ip.octets()),
            Self::Cname(name) | Self::Ptr(name) | Self::Ns(name) | Self::Dname(name) => {
                out.extend_from_slice(name.as_wire());
            }
            Self::Mx { preference, exchange } => {
                word(out, *preference);
                out.extend_from_slice(exchange.as_wire());
            }
            Self::Txt(texts) => texts.iter().for_each(|text| write_text(out, text)),
            Self::Srv {
                priority,
                weight,
                port,
                target,
            } => {
                [*priority, *weight, *port]
                    .iter()
                    .for_each(|number| word(out, *number));
                out.extend_from_slice(target.as_wire());
            }
            Self::Soa(soa) => {
                out.extend_from_slice(soa.primary.as_wire());
                out.extend_from_slice(soa.mailbox.as_wire());
                for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
            }
            Self::Svcb(binding) | Self::Https(binding) => {
                word(out, binding.priority);
                out.extend_from_slice(binding.target.as_wire());
                for (key, value) in &binding.parameters {
                    word(out, *key);
                    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
                    word(out, u16::try_from(value.len()).unwrap_or(u16::MAX));
                    out.extend_from_slice(value);
                }
            }
            Self::Caa { flags, tag, value } => {
                out.push(*flags);
                write_text(out, tag);
                out.extend_from_slice(value);
            }
            Self::Other { data, .. } => out.extend_from_slice(data),
        }
    }
}

/// A length of one byte and as many bytes; what does not fit is cut.
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..usize::from(u8::MAX)).unwrap_or(text);
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text);
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_and_numbered() {
        for (number, name) in RecordType::NAMED {
            assert_eq!(number.to_string(), *name);
            assert_eq!(name.to_lowercase().parse(), Ok(*number));
            assert_eq!(format!("type{}", number.0).parse(), Ok(*number));
        }
        for text in [
            "",
            "TYPE",
            "TYPE65536",
            "TYPE-1",
            "TYPE+1",
            "NOPE",
            "TYPE 1",
            "ü",
            "typü1",
        ] {
            assert_eq!(text.parse::<RecordType>(), Err(RecordTypeError), "{text}");
        }
    }

    #[test]
    fn what_a_stranger_wrote_prints_as_ascii() {
        let records = [
            RecordData::Txt(vec![b"\x1b[2J\"\\"[..].into(), Box::new([])]),
            RecordData::Caa {
                flags: 128,
                tag: b"is\x07sue"[..].into(),
                value: b"\xff"[..].into(),
            },
            RecordData::Other {
                record_type: RecordType(65_400),
                data: Box::new([0x1b]),
            },
            RecordData::Https(Box::new(Binding {
                priority: 1,
                target: Name::root(),
                parameters: vec![
                    (1, b"\x02h2\x02\x1b["[..].into()),
                    (3, Box::new([1])),
                    (9, b"\x1b"[..].into()),
                ],
            })),
        ];
        for data in records {
            let text = data.to_string();
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        }
    }

    #[test]
    fn bindings_print_as_in_zone_files() {
        let binding = Binding {
            priority: 1,
            target: "svc.example.test".parse().unwrap(),
            parameters: vec![
                (1, b"\x02h2\x02h3"[..].into()),
                (2, Box::new([])),
                (3, Box::new([0x20, 0xfb])),
                (4, Box::new([192, 0, 2, 1, 192, 0, 2, 2])),
                (6, Ipv6Addr::LOCALHOST.octets().into()),
                (7, b"/q{?dns}"[..].into()),
                (65_000, b"x"[..].into()),
            ],
        };
        assert_eq!(
            binding.to_string(),
            "1 svc.example.test. alpn=h2,h3 no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=::1 \
             dohpath=\"/q{?dns}\" key65000=\"x\""
        );
    }

    #[test]
    fn records_print_as_lines_of_a_zone() {
        let record = Record::new(
            "example.test".parse().unwrap(),
            300,
            RecordData::Mx {
                preference: 10,
                exchange: "mx.example.test".parse().unwrap(),
            },
        );
        assert_eq!(record.to_string(), "example.test. 300 IN MX 10 mx.example.test.");
    }
}
