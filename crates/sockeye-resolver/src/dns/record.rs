//! Records of the DNS: what answers are made of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use super::name::Name;

#[cfg(test)]
mod tests;
mod text;

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
    /// Does something with each name in it.
    pub(crate) fn for_each_name(&mut self, mut action: impl FnMut(&mut Name)) {
        match self {
            Self::Cname(name) | Self::Ptr(name) | Self::Ns(name) | Self::Dname(name) => action(name),
            Self::Mx { exchange: name, .. } | Self::Srv { target: name, .. } => action(name),
            Self::Soa(soa) => {
                action(&mut soa.primary);
                action(&mut soa.mailbox);
            }
            Self::Svcb(binding) | Self::Https(binding) => action(&mut binding.target),
            Self::A(_) | Self::Aaaa(_) | Self::Txt(_) | Self::Caa { .. } | Self::Other { .. } => {}
        }
    }

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
