//! What ports stand for: IANA's service names, per transport.
//!
//! The table is compiled in and dated ([`DATE`]): ports to 1023 and the best-known above them, or with the feature
//! `services-full` every row of the registry. Nothing is read from `/etc/services`; who wants that file reads it and
//! gives its text to [`EtcServices::parse`].
//!
//! A lookup always takes the transport: 512, 513 and 514 are three services on TCP and three others on UDP. UDP-Lite
//! shares UDP's names (RFC 3828); IP protocols without ports have none.
//!
//! ```
//! use sockeye_endpoint::{ServiceName, Transport, services};
//!
//! let name = ServiceName::of(Transport::Tcp, 514).unwrap();
//! assert_eq!(name.as_str(), "shell");
//! assert_eq!(ServiceName::of(Transport::Udp, 514).unwrap().as_str(), "syslog");
//! assert_eq!(ServiceName::parse("domain")?.port(Transport::Udp), Some(53));
//! let names: Vec<_> = services::names(Transport::Tcp, 80).collect();
//! assert_eq!((names[0].as_str(), names[1].as_str()), ("http", "www"));
//! # Ok::<(), sockeye_endpoint::ParseError>(())
//! ```

use core::fmt;
use core::str::FromStr;

use crate::transport::Transport;
use crate::{ParseError, ParseErrorKind};

#[cfg(not(feature = "services-full"))]
mod basic;
mod etc;
#[cfg(feature = "services-full")]
mod full;

#[cfg(not(feature = "services-full"))]
use basic as table;
#[cfg(feature = "services-full")]
use full as table;

pub use etc::{EtcService, EtcServices};

/// The newest registration in the table, as `YYYY-MM-DD`.
pub const DATE: &str = table::DATE;

/// The name of a service: at most 15 letters, digits and hyphens with a letter among them, in lower case.
///
/// A name compares without regard to case (RFC 6335, section 5.1), so it is kept in lower case. The old registrations
/// that have `_`, `.`, `+`, `*` or `/` inside can be said, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// The name padded with zeros, and its length in the last byte. As a big-endian number it orders like the name.
    key: [u8; 16],
}

impl ServiceName {
    /// The longest name in bytes.
    pub const MAX_LEN: usize = 15;

    /// Parses a name, whether it is in the table or not.
    ///
    /// # Errors
    ///
    /// [`ParseErrorKind::ServiceSyntax`] at the byte that does not fit, at 0 for a name of digits alone, and at byte 15
    /// for a longer one.
    pub const fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.as_bytes();
        Self::parse_bytes(text, 0, text.len())
    }

    pub(crate) const fn parse_bytes(text: &[u8], from: usize, to: usize) -> Result<Self, ParseError> {
        let len = to - from;
        if len == 0 || len > Self::MAX_LEN {
            let at = if len == 0 { from } else { from + Self::MAX_LEN };
            return Err(ParseError::new(ParseErrorKind::ServiceSyntax, at));
        }
        let (_, name) = text.split_at(from);
        let (name, _) = name.split_at(len);
        let mut key = [0; 16];
        let (to_fill, _) = key.split_at_mut(len);
        to_fill.copy_from_slice(name);
        // All sixteen at once, marks left out: most names have none.
        let (mut letters, mut digits, mut at) = (0u8, 0u8, 0);
        while at < 16 {
            let byte = key[at];
            let lower = byte | ((byte.wrapping_sub(b'A') < 26) as u8) << 5;
            key[at] = lower;
            letters += (lower.wrapping_sub(b'a') < 26) as u8;
            digits += (lower.wrapping_sub(b'0') < 10) as u8;
            at += 1;
        }
        if ((letters + digits) as usize) < len
            && let Some(at) = misplaced_mark(name)
        {
            return Err(ParseError::new(ParseErrorKind::ServiceSyntax, from + at));
        }
        if letters == 0 {
            return Err(ParseError::new(ParseErrorKind::ServiceSyntax, from));
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 15")]
        {
            key[15] = len as u8;
        }
        Ok(Self { key })
    }

    /// The first name that the table has for a port: the canonical one.
    #[must_use]
    pub fn of(transport: Transport, port: u16) -> Option<Self> {
        names(transport, port).next()
    }

    /// The port that the table has for this name on that transport, in host byte order.
    #[must_use]
    pub fn port(self, transport: Transport) -> Option<u16> {
        let columns = Columns::of(transport)?;
        let id = self.id()?;
        columns.port_of.get(id).copied().filter(|port| *port != 0)
    }

    /// Every port that the table has for this name, the one that [`port`](Self::port) names first. It walks the table.
    pub fn ports(self, transport: Transport) -> impl Iterator<Item = u16> {
        let first = self.port(transport);
        let id = self.id().and_then(|id| u16::try_from(id).ok());
        let columns = Columns::of(transport).filter(|_| first.is_some());
        let rows = columns.map_or([].iter().zip(&[]), |columns| {
            columns.names.iter().zip(columns.ports)
        });
        let others = rows.filter(move |(name, port)| Some(**name) == id && Some(**port) != first);
        first.into_iter().chain(others.map(|(_, port)| *port))
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = usize::from(self.key[15]).min(Self::MAX_LEN);
        // Only ASCII gets in, so the empty fallback is never taken; it spares a panic path.
        core::str::from_utf8(&self.key[..len]).unwrap_or_default()
    }

    /// The row of the table that is this name's.
    fn id(self) -> Option<usize> {
        // By the first eight bytes, which decide among all but a few names; those stand side by side.
        let wanted = self.head();
        let first = NAMES.partition_point(|name| name.head() < wanted);
        let names = NAMES.get(first..)?;
        let place = names
            .iter()
            .take_while(|name| name.head() == wanted)
            .position(|name| *name == self)?;
        Some(first + place)
    }

    /// The first eight bytes as a number that orders like them.
    fn head(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.key;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The first byte that cannot stand where it does. A hyphen stands alone between two others, the marks of old names
/// inside one, and `+`, as in `whois++`, at its end, too.
const fn misplaced_mark(name: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < name.len() {
        let inner = at > 0 && at + 1 < name.len();
        let stands = match name[at] {
            b'-' => inner && name[at - 1] != b'-',
            b'_' | b'.' | b'/' | b'*' => inner,
            b'+' => at > 0,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !stands {
            return Some(at);
        }
        at += 1;
    }
    None
}

impl FromStr for ServiceName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for ServiceName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// The names of a port, the canonical one first. [`names`] makes it.
#[derive(Clone, Debug)]
pub struct Names {
    ids: core::slice::Iter<'static, u16>,
}

impl Iterator for Names {
    type Item = ServiceName;

    fn next(&mut self) -> Option<ServiceName> {
        let id = *self.ids.next()?;
        NAMES.get(usize::from(id)).copied()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ids.size_hint()
    }
}

impl ExactSizeIterator for Names {}

/// The names that the table has for a port on a transport, the canonical one first.
#[must_use]
pub fn names(transport: Transport, port: u16) -> Names {
    let ids = match Columns::of(transport) {
        Some(columns) => columns.names_of(port),
        None => &[],
    };
    Names { ids: ids.iter() }
}

/// The port that the table has for a name, in host byte order: [`ServiceName::port`] without the errors of
/// [`ServiceName::parse`]. A text that is no service name has none.
#[must_use]
pub fn port(transport: Transport, name: &str) -> Option<u16> {
    // What the table holds is well-formed, so what matches is.
    ServiceName { key: fold(name)? }.port(transport)
}

/// A text as the key of a name, in lower case and otherwise unchecked; `None` for one that is too long.
#[inline]
fn fold(name: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    key.get_mut(..name.len())
        .filter(|to_fill| to_fill.len() <= ServiceName::MAX_LEN)?
        .copy_from_slice(name.as_bytes());
    let lower = lower_case(u128::from_ne_bytes(key));
    key = lower.to_ne_bytes();
    key[15] = u8::try_from(name.len()).ok()?;
    Some(key)
}

/// Sixteen bytes at once: ASCII capitals to lower case, all else unchanged.
#[inline]
const fn lower_case(bytes: u128) -> u128 {
    const ONES: u128 = u128::MAX / 255;
    const HIGH: u128 = ONES * 0x80;
    // Bytes without their high bits, so that no sum reaches into the next byte.
    let low = bytes & !HIGH;
    let from_a = low + ONES * (0x80 - b'A' as u128);
    let past_z = low + ONES * (0x80 - b'Z' as u128 - 1);
    let capitals = from_a & !past_z & !bytes & HIGH;
    bytes | capitals >> 2
}

/// Every row of the table for a transport: port and name, by ascending port.
pub fn all(transport: Transport) -> impl Iterator<Item = (u16, ServiceName)> {
    let rows = Columns::of(transport).map_or([].iter().zip(&[]), |columns| {
        columns.ports.iter().zip(columns.names)
    });
    rows.filter_map(|(port, id)| Some((*port, *NAMES.get(usize::from(*id))?)))
}

/// The table of one transport: two parallel columns sorted by port, and the first port of each name.
struct Columns {
    ports: &'static [u16],
    names: &'static [u16],
    port_of: &'static [u16],
}

impl Columns {
    const TCP: &'static Self = &Self {
        ports: &table::TCP_PORTS,
        names: &table::TCP_NAMES,
        port_of: &table::TCP_PORT_OF,
    };
    const UDP: &'static Self = &Self {
        ports: &table::UDP_PORTS,
        names: &table::UDP_NAMES,
        port_of: &table::UDP_PORT_OF,
    };

    const fn of(transport: Transport) -> Option<&'static Self> {
        match transport {
            Transport::Tcp => Some(Self::TCP),
            Transport::Udp | Transport::UdpLite => Some(Self::UDP),
            Transport::Ip(_) => None,
        }
    }

    fn names_of(&self, port: u16) -> &'static [u16] {
        let first = self.ports.partition_point(|row| *row < port);
        let rows = self.ports.get(first..).unwrap_or_default();
        let count = rows.iter().take_while(|row| **row == port).count();
        self.names.get(first..first + count).unwrap_or_default()
    }
}

/// The sorted names, cut apart when this is compiled.
static NAMES: [ServiceName; table::COUNT] = split_names();

const fn split_names() -> [ServiceName; table::COUNT] {
    let text = table::NAMES.as_bytes();
    let mut names = [ServiceName { key: [0; 16] }; table::COUNT];
    let mut count = 0;
    let mut from = 0;
    while count < table::COUNT {
        let mut to = from;
        while to < text.len() && text[to] != b' ' {
            to += 1;
        }
        names[count] = match ServiceName::parse_bytes(text, from, to) {
            Ok(name) => name,
            Err(_) => panic!("the table holds something that is no service name"),
        };
        count += 1;
        from = to + 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(transport: Transport, port: u16) -> Option<&'static str> {
        let name = ServiceName::of(transport, port)?;
        Some(NAMES[name.id()?].as_str())
    }

    #[test]
    fn ports_512_to_514_differ_between_tcp_and_udp() {
        for (port, tcp, udp) in [
            (512, "exec", "biff"),
            (513, "login", "who"),
            (514, "shell", "syslog"),
        ] {
            assert_eq!(first(Transport::Tcp, port), Some(tcp));
            assert_eq!(first(Transport::Udp, port), Some(udp));
        }
    }

    #[test]
    fn the_names_are_sorted_and_each_port_leads_back() {
        assert!(
            NAMES
                .windows(2)
                .all(|pair| pair[0] < pair[1] && pair[0].as_str() < pair[1].as_str())
        );
        for transport in [Transport::Tcp, Transport::Udp] {
            assert!(all(transport).is_sorted_by_key(|(port, _)| port));
            for (port, name) in all(transport) {
                assert!(names(transport, port).any(|other| other == name));
                assert!(name.ports(transport).any(|other| other == port), "{name} {port}");
                assert_eq!(name.ports(transport).next(), name.port(transport));
            }
        }
    }

    #[test]
    fn the_canonical_name_comes_first() {
        assert_eq!(first(Transport::Tcp, 80), Some("http"));
        assert_eq!(first(Transport::Udp, 2049), Some("nfs"));
        assert_eq!(first(Transport::Tcp, 465), Some("submissions"));
        assert_eq!(names(Transport::Udp, 3478).len(), 3);
        assert_eq!(
            ServiceName::parse("HTTP-alt").unwrap().port(Transport::Tcp),
            Some(8080)
        );
        assert_eq!(
            ServiceName::parse("x11").unwrap().ports(Transport::Tcp).count(),
            64
        );
        assert_eq!(
            ServiceName::parse("whois++").unwrap().port(Transport::Tcp),
            Some(63)
        );
    }

    #[test]
    fn a_lookup_by_text_is_one_by_name() {
        for transport in [Transport::Tcp, Transport::UdpLite, Transport::ICMP] {
            for name in &NAMES {
                assert_eq!(port(transport, name.as_str()), name.port(transport));
                assert_eq!(
                    port(transport, &name.as_str().to_ascii_uppercase()),
                    name.port(transport)
                );
            }
        }
        for text in [
            "",
            "http ",
            "h\0\0\0",
            "[ttp",
            "HTTP@",
            "sixteen-letters-",
            "ÀÀ",
            "http\0",
        ] {
            assert_eq!(port(Transport::Tcp, text), None, "{text:?}");
        }
    }

    #[test]
    fn udp_lite_shares_the_names_of_udp_and_ip_has_none() {
        assert_eq!(first(Transport::UdpLite, 53), Some("domain"));
        assert_eq!(first(Transport::ICMP, 53), None);
        assert_eq!(
            ServiceName::parse("domain")
                .unwrap()
                .ports(Transport::Ip(6))
                .count(),
            0
        );
    }

    #[test]
    fn a_service_name_is_what_rfc_6335_says() {
        let fails = |text: &str| ServiceName::parse(text).map_err(|error| error.at).unwrap_err();
        assert_eq!(fails(""), 0);
        assert_eq!(fails("80"), 0);
        assert_eq!(fails("-a"), 0);
        assert_eq!(fails("a-"), 1);
        assert_eq!(fails("a--b"), 2);
        assert_eq!(fails("a b"), 1);
        assert_eq!(fails("sixteen-letters-"), 15);
    }

    #[cfg(feature = "services-full")]
    #[test]
    fn in_133_cases_tcp_and_udp_share_a_port_and_no_name() {
        let shared = (1..=u16::MAX).filter(|port| {
            let (mut tcp, udp) = (names(Transport::Tcp, *port), names(Transport::Udp, *port));
            tcp.len() > 0 && udp.len() > 0 && !tcp.any(|name| udp.clone().any(|other| other == name))
        });
        assert_eq!(shared.count(), 133);
    }
}
