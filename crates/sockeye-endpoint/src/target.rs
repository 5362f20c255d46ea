//! Where to connect, not resolved yet: a host by address or by name, and a port by number or by service name.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use crate::endpoint::{Endpoint, write_host};
use crate::parse::{self, peek};
use crate::services::ServiceName;
use crate::transport::Transport;
use crate::zone::Zone;
use crate::{ParseError, ParseErrorKind as Kind};

/// A host and a port that are still to be resolved: `localhost:http`, `udp://example.com:53`, `tcp://[::1]:80`.
///
/// Without a transport it is TCP, unless [`parse_with`](Self::parse_with) says otherwise. A service name is looked up in
/// the embedded table for that transport when the target is parsed; nothing else happens then.
///
/// What looks like an address is one or an error, never a name: `127.1`, `0x7f000001` and `10.0.0.256` would be
/// addresses to some resolvers.
///
/// ```
/// use sockeye_endpoint::{Host, ParseErrorKind, Target};
///
/// let web: Target = "LocalHost:http".parse()?;
/// assert_eq!(web.to_string(), "tcp://localhost:80");
/// assert!(matches!(web.host(), Host::Name(name) if name.as_str() == "localhost"));
/// assert_eq!("127.1:80".parse::<Target>().unwrap_err().kind, ParseErrorKind::TooFewOctets);
/// assert_eq!("host.0x10:80".parse::<Target>().unwrap_err().kind, ParseErrorKind::NumericName);
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    transport: Transport,
    host: Host,
    port: u16,
}

/// What a target's text may leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetDefaults {
    /// The transport where the text names none; `None` makes that an error.
    pub transport: Option<Transport>,
    /// The port where the text has none; `None` makes that an error.
    pub port: Option<u16>,
}

/// The host of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An address, and the zone of an IPv6 address.
    Ip(IpAddr, Option<Zone>),
    /// A name.
    Name(HostName),
}

impl Target {
    /// The target of these. A transport without ports takes port 0 whatever `port` says.
    #[must_use]
    pub fn new(transport: Transport, host: Host, port: u16) -> Self {
        let port = if transport.has_ports() { port } else { 0 };
        Self {
            transport,
            host,
            port,
        }
    }

    /// Parses a target whose text may leave out what `defaults` supplies.
    ///
    /// # Errors
    ///
    /// What is wrong and at which byte. Behind a name that had to be mapped (feature `idna`), `at` is where the host
    /// begins.
    pub fn parse_with(text: &str, defaults: TargetDefaults) -> Result<Self, ParseError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return parse::fail(Kind::Empty, 0);
        }
        let (named, from) = parse::scheme(bytes)?;
        let transport = named
            .or(defaults.transport)
            .ok_or(ParseError::new(Kind::MissingTransport, 0))?;
        let (host, at) = read_host(text, from)?;
        let port = match peek(bytes, at) {
            b':' if transport.has_ports() => read_port(bytes, at + 1, transport)?,
            b':' => return parse::fail(Kind::UnexpectedPort, at),
            _ if at < bytes.len() => return Err(parse::surprise(bytes, at)),
            _ if transport.has_ports() => defaults.port.ok_or(ParseError::new(Kind::MissingPort, at))?,
            _ => 0,
        };
        let wrong = match &host {
            Host::Ip(ip, _) if named == Some(Transport::ICMP) => ip.is_ipv6() && is_word(bytes),
            Host::Ip(ip, _) if named == Some(Transport::ICMPV6) => ip.is_ipv4() && is_word(bytes),
            _ => false,
        };
        if wrong {
            return parse::fail(Kind::WrongFamily, from);
        }
        Ok(Self {
            transport,
            host,
            port,
        })
    }

    /// The transport.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port in host byte order; 0 where the transport has none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The endpoint, where the host is an address and nothing needs resolving.
    #[must_use]
    pub const fn endpoint(&self) -> Option<Endpoint> {
        match self.host {
            Host::Ip(ip, zone) => Some(Endpoint::new(self.transport, ip, self.port).with_zone(zone)),
            Host::Name(_) => None,
        }
    }
}

/// Whether the scheme was spelled `icmp` or `icmpv6` and not `ip+N`, which says what it means.
fn is_word(text: &[u8]) -> bool {
    peek(text, 1) | 0x20 == b'c'
}

/// The host, and the offset behind it.
fn read_host(text: &str, from: usize) -> Result<(Host, usize), ParseError> {
    let bytes = text.as_bytes();
    if peek(bytes, from) == b'[' {
        let (ip, zone, at) = parse::host(bytes, from)?;
        return Ok((Host::Ip(ip, zone), at));
    }
    let rest = &bytes[from..];
    let to = from + rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
    if rest.iter().filter(|byte| **byte == b':').count() > 1 {
        // Either an IPv6 address without its brackets, or a colon too many.
        return match parse::host(bytes, from) {
            Err(error) if error.kind == Kind::MissingBrackets => Err(error),
            _ => parse::fail(Kind::UnexpectedCharacter, to),
        };
    }
    // `to` stands on an ASCII byte or at the end, `from` behind one: both are character boundaries.
    let host = text.get(from..to).unwrap_or_default();
    let host = classify(host).map_err(|error| ParseError::new(error.kind, from + error.at))?;
    Ok((host, to))
}

/// Whether the text is an address or a name. International names are mapped first: full-width digits are digits.
fn classify(text: &str) -> Result<Host, ParseError> {
    let mapped = map(text)?;
    let host = mapped.as_ref();
    let in_text = |error: ParseError| match mapped {
        Cow::Borrowed(_) => error,
        Cow::Owned(_) => ParseError::new(error.kind, 0),
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    let last = labels.rsplit('.').next().unwrap_or_default();
    if !is_number(last) {
        return HostName::check(host).map(Host::Name).map_err(in_text);
    }
    if host
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b'x' | b'X'))
    {
        let (ip, zone, at) = parse::host(host.as_bytes(), 0).map_err(in_text)?;
        if at < host.len() {
            return Err(in_text(parse::surprise(host.as_bytes(), at)));
        }
        return Ok(Host::Ip(ip, zone));
    }
    Err(in_text(ParseError::new(
        Kind::NumericName,
        labels.len() - last.len(),
    )))
}

/// Whether a label would be read as a number by `inet_aton` and by browsers: digits, or `0x` and hexadecimal digits.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The longest text that is looked at as a name: UTS-46 mapping may shorten it, but never by so much.
const MAX_NAME_TEXT: usize = 4 * HostName::MAX_LEN;

#[cfg(feature = "idna")]
fn map(text: &str) -> Result<Cow<'_, str>, ParseError> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

    if text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    if text.len() > MAX_NAME_TEXT {
        return parse::fail(Kind::NameTooLong, 0);
    }
    let mapped = Uts46::new().to_ascii(
        text.as_bytes(),
        AsciiDenyList::EMPTY,
        Hyphens::CheckFirstLast,
        DnsLength::Ignore,
    );
    match mapped {
        // Always owned: the text was not ASCII.
        Ok(mapped) => Ok(Cow::Owned(mapped.into_owned())),
        Err(_) => parse::fail(Kind::Idna, 0),
    }
}

#[cfg(not(feature = "idna"))]
fn map(text: &str) -> Result<Cow<'_, str>, ParseError> {
    match text.bytes().position(|byte| !byte.is_ascii()) {
        Some(at) if text.len() <= MAX_NAME_TEXT => parse::fail(Kind::Idna, at),
        Some(_) => parse::fail(Kind::NameTooLong, 0),
        None => Ok(Cow::Borrowed(text)),
    }
}

/// A port by number or by service name, up to the end of the text.
fn read_port(text: &[u8], from: usize, transport: Transport) -> Result<u16, ParseError> {
    let word = &text[from..];
    let letters = word.iter().any(u8::is_ascii_alphabetic) && word[0].is_ascii_alphanumeric();
    if !letters || word.starts_with(b"0x") {
        return parse::port(text, from);
    }
    let name = ServiceName::parse_bytes(text, from, text.len())?;
    name.port(transport)
        .ok_or(ParseError::new(Kind::UnknownService, from))
}

impl FromStr for Target {
    type Err = ParseError;

    /// The transport may be left out, and is TCP then; the port may not.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(
            text,
            TargetDefaults {
                transport: Some(Transport::Tcp),
                port: None,
            },
        )
    }
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        let host = Host::Ip(endpoint.ip(), endpoint.zone());
        Self {
            transport: endpoint.transport(),
            host,
            port: endpoint.port(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Host::Name(name) = &self.host else {
            return self
                .endpoint()
                .map_or(Ok(()), |endpoint| fmt::Display::fmt(&endpoint, f));
        };
        write!(f, "{}://{name}", self.transport)?;
        if self.transport.has_ports() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip, zone) => write_host(f, *ip, *zone),
            Self::Name(name) => fmt::Display::fmt(name, f),
        }
    }
}

/// A host name in lower-case ASCII: labels of letters, digits, hyphens and underscores, the last one no number.
///
/// Underscores are no part of RFC 1123, but names in use have them and resolvers resolve them. A dot at the end says
/// that the name is complete and is kept.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Box<str>);

impl HostName {
    /// The longest name in bytes, without the dot at the end.
    pub const MAX_LEN: usize = 253;

    /// Checks a name of ASCII text; upper-case letters become lower case.
    fn check(text: &str) -> Result<Self, ParseError> {
        let labels = text.strip_suffix('.').unwrap_or(text);
        if labels.is_empty() {
            return parse::fail(
                if text.is_empty() {
                    Kind::Empty
                } else {
                    Kind::EmptyLabel
                },
                0,
            );
        }
        let mut from = 0;
        for label in labels.split('.') {
            check_label(label).map_err(|error| ParseError::new(error.kind, from + error.at))?;
            from += label.len() + 1;
        }
        if labels.len() > Self::MAX_LEN {
            return parse::fail(Kind::NameTooLong, Self::MAX_LEN);
        }
        Ok(Self(text.to_ascii_lowercase().into_boxed_str()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_label(label: &str) -> Result<(), ParseError> {
    let bytes = label.as_bytes();
    if bytes.is_empty() {
        return parse::fail(Kind::EmptyLabel, 0);
    }
    if let Some(at) = bytes
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'))
    {
        return match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' => parse::fail(Kind::Blank, at),
            _ => parse::fail(Kind::UnexpectedCharacter, at),
        };
    }
    if bytes.len() > 63 {
        return parse::fail(Kind::LabelTooLong, 63);
    }
    match (bytes[0], bytes[bytes.len() - 1]) {
        (b'-', _) => parse::fail(Kind::EdgeHyphen, 0),
        (_, b'-') => parse::fail(Kind::EdgeHyphen, bytes.len() - 1),
        _ => Ok(()),
    }
}

impl FromStr for HostName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match classify(text)? {
            Host::Name(name) => Ok(name),
            Host::Ip(..) => parse::fail(Kind::NumericName, 0),
        }
    }
}

impl FromStr for Host {
    type Err = ParseError;

    /// An address (IPv6 in brackets) or a name.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (host, at) = read_host(text, 0)?;
        if at < text.len() {
            return Err(parse::surprise(text.as_bytes(), at));
        }
        Ok(host)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn target(text: &str) -> Result<Target, ParseError> {
        text.parse()
    }

    #[track_caller]
    fn fails(text: &str, kind: Kind, at: usize) {
        assert_eq!(target(text), Err(ParseError::new(kind, at)), "{text}");
    }

    #[test]
    fn names_services_and_defaults() {
        let shown = |text: &str| target(text).unwrap().to_string();
        assert_eq!(shown("localhost:http"), "tcp://localhost:80");
        assert_eq!(shown("udp://Example.COM.:domain"), "udp://example.com.:53");
        assert_eq!(shown("udp://loghost:syslog"), "udp://loghost:514");
        assert_eq!(shown("icmp://gateway"), "icmp://gateway");
        assert_eq!(shown("_srv.example:3com-tsmux"), "tcp://_srv.example:106");
        assert_eq!(shown("[fe80::1%eth0]:22"), "tcp://[fe80::1%eth0]:22");
        let defaults = TargetDefaults {
            transport: Some(Transport::Udp),
            port: Some(53),
        };
        assert_eq!(
            Target::parse_with("resolver", defaults).unwrap().to_string(),
            "udp://resolver:53"
        );
        assert_eq!(
            Target::parse_with("[::1]", defaults).unwrap().to_string(),
            "udp://[::1]:53"
        );
    }

    #[test]
    fn a_name_whose_last_label_is_numeric_is_an_error() {
        fails("127.1:80", Kind::TooFewOctets, 5);
        fails("0177.0.0.1:80", Kind::LeadingZero, 0);
        fails("0x7f000001:80", Kind::Hexadecimal, 0);
        fails("127.0.0.1.:80", Kind::TooManyOctets, 9);
        fails("10.0.0.256:80", Kind::NumberTooBig, 7);
        fails("foo.1:80", Kind::NumericName, 4);
        fails("foo.0x1.:80", Kind::NumericName, 4);
        assert!(target("1.2.3.4.in-addr.arpa:53").is_ok());
        assert!(target("0xcafe.example:53").is_ok());
    }

    #[test]
    fn what_is_wrong_and_where() {
        fails("", Kind::Empty, 0);
        fails(":80", Kind::Empty, 0);
        fails("localhost", Kind::MissingPort, 9);
        fails("localhost:", Kind::ExpectedNumber, 10);
        fails("localhost:+80", Kind::Sign, 10);
        fails("localhost:080", Kind::LeadingZero, 10);
        fails("localhost:0x50", Kind::Hexadecimal, 10);
        fails("localhost:65536", Kind::NumberTooBig, 10);
        fails("localhost:no-such-name", Kind::UnknownService, 10);
        fails("localhost:exec-", Kind::ServiceSyntax, 14);
        fails("udp://localhost:exec", Kind::UnknownService, 16);
        fails("::1:80", Kind::MissingBrackets, 0);
        fails("x:y:z", Kind::UnexpectedCharacter, 1);
        fails("a..b:80", Kind::EmptyLabel, 2);
        fails("-a:80", Kind::EdgeHyphen, 0);
        fails("ok.a-:80", Kind::EdgeHyphen, 4);
        fails("a b:80", Kind::Blank, 1);
        fails("gopher://a:80", Kind::UnknownTransport, 0);
        fails("icmp://[::1]", Kind::WrongFamily, 7);
        fails("icmp://a:80", Kind::UnexpectedPort, 8);
        let long = ["a"; 64].concat();
        fails(&alloc::format!("{long}:80"), Kind::LabelTooLong, 63);
        let longer = ["a."; 127].concat();
        fails(&alloc::format!("{longer}a:80"), Kind::NameTooLong, 253);
    }

    #[cfg(feature = "idna")]
    #[test]
    fn full_width_digits_are_an_address_after_mapping() {
        assert_eq!(
            target("１２７.０.０.１:80").unwrap().to_string(),
            "tcp://127.0.0.1:80"
        );
        fails("１２７.１:80", Kind::TooFewOctets, 0);
        assert_eq!(
            target("bücher.example:80").unwrap().to_string(),
            "tcp://xn--bcher-kva.example:80"
        );
        fails("tcp://a\u{fffd}:80", Kind::Idna, 6);
    }

    #[cfg(not(feature = "idna"))]
    #[test]
    fn without_idna_a_name_is_ascii() {
        fails("tcp://bücher.example:80", Kind::Idna, 7);
    }
}
