//! The readers under every strict parser here, as `const fn` over bytes.
//!
//! A reader takes the whole text and an offset, so that an error's `at` counts from where the user's text begins. It
//! reads as far as its grammar goes and returns the offset behind; what may follow is its caller's affair.
//! Nothing is accepted that another parser is known to read differently: no leading zeros (octal to `inet_aton`), no
//! `0x`, no short forms, no signs, no blanks.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::endpoint::Endpoint;
use crate::transport::Transport;
use crate::zone::{Zone, ZoneName};
use crate::{ParseError, ParseErrorKind as Kind};

/// `?` for a `const fn`.
macro_rules! tri {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}

pub(crate) const fn fail<T>(kind: Kind, at: usize) -> Result<T, ParseError> {
    Err(ParseError::new(kind, at))
}

/// The byte at `at`, or NUL behind the end: no grammar here contains NUL, so it ends every token.
pub(crate) const fn peek(text: &[u8], at: usize) -> u8 {
    if at < text.len() { text[at] } else { 0 }
}

/// Why the byte at `at` cannot stand where a number or the end is expected.
#[cold]
pub(crate) const fn surprise(text: &[u8], at: usize) -> ParseError {
    let kind = match peek(text, at) {
        b' ' | b'\t' | b'\r' | b'\n' => Kind::Blank,
        b'+' | b'-' => Kind::Sign,
        _ if at >= text.len() => Kind::ExpectedNumber,
        _ => Kind::UnexpectedCharacter,
    };
    ParseError::new(kind, at)
}

/// A decimal number up to `max` without leading zeros, and the offset behind it.
pub(crate) const fn decimal(text: &[u8], from: usize, max: u32) -> Result<(u32, usize), ParseError> {
    let mut at = from;
    let mut value: u32 = 0;
    while at < text.len() {
        let digit = text[at].wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if value == 0 && at > from {
            return fail(Kind::LeadingZero, from);
        }
        value = match value.checked_mul(10) {
            Some(tens) if tens <= max => tens,
            _ => return fail(Kind::NumberTooBig, from),
        };
        // No overflow: `max` is the only bound that matters, and it is checked again.
        value = match value.checked_add(digit as u32) {
            Some(sum) if sum <= max => sum,
            _ => return fail(Kind::NumberTooBig, from),
        };
        at += 1;
    }
    if at == from {
        return Err(surprise(text, from));
    }
    if value == 0 && (peek(text, at) | 0x20) == b'x' {
        return fail(Kind::Hexadecimal, from);
    }
    Ok((value, at))
}

pub(crate) use tri;

/// A dotted quad, and the offset behind its fourth part.
#[inline]
pub(crate) const fn ipv4(text: &[u8], from: usize) -> Result<(u32, usize), ParseError> {
    match well_formed_ipv4(text, from) {
        Some(read) => Ok(read),
        None => examine_ipv4(text, from),
    }
}

/// [`ipv4`] where nothing is wrong; `None` says only that something is.
#[inline]
const fn well_formed_ipv4(text: &[u8], from: usize) -> Option<(u32, usize)> {
    let mut value: u32 = 0;
    let mut at = from;
    let mut part = 0;
    loop {
        let mut octet = digit(text, at);
        if octet > 9 {
            return None;
        }
        at += 1;
        let second = digit(text, at);
        if second <= 9 {
            if octet == 0 {
                return None;
            }
            octet = octet * 10 + second;
            at += 1;
            let third = digit(text, at);
            if third <= 9 {
                octet = octet * 10 + third;
                at += 1;
                if octet > 255 {
                    return None;
                }
            }
        }
        value = value << 8 | octet;
        part += 1;
        if part == 4 {
            break;
        }
        if peek(text, at) != b'.' {
            return None;
        }
        at += 1;
    }
    // A fourth digit, a fifth part, or `0x` in the last one.
    match peek(text, at) {
        b'0'..=b'9' | b'.' | b'x' | b'X' => None,
        _ => Some((value, at)),
    }
}

/// The value of a decimal digit, above 9 for any other byte and behind the end.
#[inline]
const fn digit(text: &[u8], at: usize) -> u32 {
    peek(text, at).wrapping_sub(b'0') as u32
}

/// [`ipv4`] number by number, to say what is wrong and where.
#[cold]
#[inline(never)]
const fn examine_ipv4(text: &[u8], from: usize) -> Result<(u32, usize), ParseError> {
    let mut value = 0;
    let mut at = from;
    let mut part = 0;
    loop {
        let (octet, next) = tri!(decimal(text, at, 255));
        value = value << 8 | octet;
        at = next;
        part += 1;
        if part == 4 {
            break;
        }
        if peek(text, at) != b'.' {
            return Err(short_ipv4(text, at));
        }
        at += 1;
    }
    if peek(text, at) == b'.' {
        return fail(Kind::TooManyOctets, at);
    }
    Ok((value, at))
}

#[cold]
const fn short_ipv4(text: &[u8], at: usize) -> ParseError {
    match peek(text, at) {
        b':' | b'/' | b'%' | b']' => ParseError::new(Kind::TooFewOctets, at),
        _ if at >= text.len() => ParseError::new(Kind::TooFewOctets, at),
        _ => surprise(text, at),
    }
}

/// An IPv6 address without brackets and zone, and the offset behind it.
pub(crate) const fn ipv6(text: &[u8], from: usize) -> Result<(u128, usize), ParseError> {
    // Groups before `::` are shifted into `head`, those behind it into `tail`.
    let mut head: u128 = 0;
    let mut tail: u128 = 0;
    let mut groups: u32 = 0;
    let mut head_groups: u32 = 0;
    let mut ellipsis = false;
    let mut at = from;
    if peek(text, at) == b':' {
        if peek(text, at + 1) != b':' {
            return fail(Kind::LoneColon, at);
        }
        ellipsis = true;
        at += 2;
    }
    loop {
        let start = at;
        let (group, next) = tri!(hex_group(text, start));
        at = next;
        if at == start {
            // Nothing behind `::` is how an address may end; anywhere else a group is missing.
            if ellipsis && groups == head_groups && peek(text, at) != b':' {
                break;
            }
            return Err(no_group(text, at));
        }
        if groups == 8 {
            return fail(Kind::TooManyGroups, start);
        }
        if peek(text, at) == b'.' {
            if groups > 6 {
                return fail(Kind::TooManyGroups, start);
            }
            let (quad, next) = tri!(ipv4(text, start));
            tail = tail << 32 | quad as u128;
            groups += 2;
            at = next;
            break;
        }
        tail = tail << 16 | group as u128;
        groups += 1;
        if peek(text, at) != b':' {
            break;
        }
        at += 1;
        if peek(text, at) == b':' {
            if ellipsis {
                return fail(Kind::SecondEllipsis, at - 1);
            }
            ellipsis = true;
            head = tail;
            tail = 0;
            head_groups = groups;
            at += 1;
        }
    }
    let groups_read = Groups {
        head,
        tail,
        groups,
        head_groups,
        ellipsis,
    };
    Ok((tri!(groups_read.join(at)), at))
}

/// At most four hexadecimal digits, and the offset behind them. There may be none.
#[inline]
const fn hex_group(text: &[u8], from: usize) -> Result<(u32, usize), ParseError> {
    let mut group: u32 = 0;
    let mut at = from;
    loop {
        let digit = hex_digit(peek(text, at));
        if digit > 15 {
            return Ok((group, at));
        }
        if at - from == 4 {
            return fail(Kind::GroupTooLong, from);
        }
        group = group << 4 | digit;
        at += 1;
    }
}

/// What has been read of an IPv6 address: the groups before `::`, and those behind it, or all of them.
struct Groups {
    head: u128,
    tail: u128,
    groups: u32,
    head_groups: u32,
    ellipsis: bool,
}

impl Groups {
    /// The address; `at` is where its text ends.
    #[inline]
    const fn join(self, at: usize) -> Result<u128, ParseError> {
        match (self.ellipsis, self.groups) {
            (false, 8) => Ok(self.tail),
            (false, _) => fail(Kind::TooFewGroups, at),
            (true, 8) => fail(Kind::TooManyGroups, at),
            // With none before `::`, `head` is zero and must not be shifted by its whole width.
            (true, _) if self.head_groups == 0 => Ok(self.tail),
            (true, _) => Ok(self.tail | self.head << (128 - 16 * self.head_groups)),
        }
    }
}

#[cold]
const fn no_group(text: &[u8], at: usize) -> ParseError {
    match peek(text, at) {
        b':' | b']' | b'%' | b'/' => ParseError::new(Kind::LoneColon, at - 1),
        _ if at >= text.len() => ParseError::new(Kind::LoneColon, at),
        _ => surprise(text, at),
    }
}

/// The value of a hexadecimal digit, above 15 for any other byte.
const fn hex_digit(byte: u8) -> u32 {
    let digit = byte.wrapping_sub(b'0');
    if digit <= 9 {
        return digit as u32;
    }
    let letter = (byte | 0x20).wrapping_sub(b'a');
    if letter <= 5 { letter as u32 + 10 } else { 16 }
}

/// The zone in `text[from..to]`.
pub(crate) const fn zone(text: &[u8], from: usize, to: usize) -> Result<Zone, ParseError> {
    if from >= to {
        return fail(Kind::EmptyZone, from);
    }
    let mut at = from;
    let mut digits = true;
    while at < to {
        match text[at] {
            b'0'..=b'9' => {}
            b'/' | b':' | b'%' | b'[' | b']' => return fail(Kind::UnexpectedCharacter, at),
            b'!'..=b'~' => digits = false,
            b' ' | b'\t' | b'\r' | b'\n' => return fail(Kind::Blank, at),
            _ => return fail(Kind::UnexpectedCharacter, at),
        }
        at += 1;
    }
    if digits {
        let (index, _) = tri!(decimal(text, from, u32::MAX));
        return match Zone::from_index(index) {
            Some(zone) => Ok(zone),
            None => fail(Kind::LeadingZero, from),
        };
    }
    if to - from > ZoneName::MAX_LEN {
        return fail(Kind::ZoneTooLong, from);
    }
    Ok(Zone::Name(ZoneName::from_checked(text, from, to)))
}

/// The transport named by `text[from..to]`.
pub(crate) const fn transport(text: &[u8], from: usize, to: usize) -> Result<Transport, ParseError> {
    if is_word(text, from, to, b"tcp") {
        return Ok(Transport::Tcp);
    }
    if is_word(text, from, to, b"udp") {
        return Ok(Transport::Udp);
    }
    if is_word(text, from, to, b"udplite") {
        return Ok(Transport::UdpLite);
    }
    if is_word(text, from, to, b"icmp") {
        return Ok(Transport::ICMP);
    }
    if is_word(text, from, to, b"icmpv6") {
        return Ok(Transport::ICMPV6);
    }
    if to > from + 3 && is_word(text, from, from + 3, b"ip+") {
        let (protocol, next) = tri!(decimal(text, from + 3, 255));
        if next != to {
            return Err(surprise(text, next));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`decimal` keeps it at or below 255"
        )]
        return Ok(Transport::Ip(protocol as u8));
    }
    fail(Kind::UnknownTransport, from)
}

const fn is_word(text: &[u8], from: usize, to: usize, word: &[u8]) -> bool {
    if to - from != word.len() {
        return false;
    }
    let mut at = 0;
    while at < word.len() {
        if text[from + at].to_ascii_lowercase() != word[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Where the host begins: behind `scheme://`, and the transport that it names, if there is one.
pub(crate) const fn scheme(text: &[u8]) -> Result<(Option<Transport>, usize), ParseError> {
    let mut at = 0;
    // The longest scheme is `udplite`; a longer word is looked at only to say that it is unknown.
    while at < text.len() && (text[at].is_ascii_alphanumeric() || text[at] == b'+' || text[at] == b'-') {
        at += 1;
    }
    if peek(text, at) == b':' && peek(text, at + 1) == b'/' && peek(text, at + 2) == b'/' {
        let transport = tri!(transport(text, 0, at));
        return Ok((Some(transport), at + 3));
    }
    Ok((None, 0))
}

/// An address with its zone: `a.b.c.d` or `[v6%zone]`, and the offset behind it.
pub(crate) const fn host(text: &[u8], from: usize) -> Result<(IpAddr, Option<Zone>, usize), ParseError> {
    if peek(text, from) != b'[' {
        return match ipv4(text, from) {
            Ok((quad, next)) => {
                if peek(text, next) == b'%' {
                    return fail(Kind::UnexpectedZone, next);
                }
                Ok((IpAddr::V4(Ipv4Addr::from_bits(quad)), None, next))
            }
            Err(error) => Err(bare_ipv6(text, from, error)),
        };
    }
    if peek(text, from + 1) == b']' {
        return fail(Kind::UnexpectedBracket, from + 1);
    }
    let (groups, at) = match ipv6(text, from + 1) {
        Ok(read) => read,
        Err(error) => {
            return match ipv4(text, from + 1) {
                Ok(_) => fail(Kind::UnexpectedBracket, from),
                Err(_) => Err(error),
            };
        }
    };
    let ip = IpAddr::V6(Ipv6Addr::from_bits(groups));
    match peek(text, at) {
        b']' => Ok((ip, None, at + 1)),
        b'%' => {
            let mut end = at + 1;
            while end < text.len() && text[end] != b']' {
                end += 1;
            }
            if end == text.len() {
                return fail(Kind::UnclosedBracket, end);
            }
            let zone = tri!(zone(text, at + 1, end));
            Ok((ip, Some(zone), end + 1))
        }
        _ if at >= text.len() => fail(Kind::UnclosedBracket, at),
        _ => Err(surprise(text, at)),
    }
}

/// Whether a `:` comes before anything that ends an address: then it is no IPv4 address.
pub(crate) const fn looks_like_ipv6(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() && at < 6 {
        match text[at] {
            b':' => return true,
            byte if hex_digit(byte) <= 15 => at += 1,
            _ => return false,
        }
    }
    false
}

/// Says "brackets" rather than what is wrong with it as an IPv4 address when an IPv6 address seems to be meant.
#[cold]
const fn bare_ipv6(text: &[u8], from: usize, error: ParseError) -> ParseError {
    let mut at = from;
    let mut colons = 0;
    while at < text.len() {
        match text[at] {
            b':' => colons += 1,
            b'%' => break,
            b'.' => {}
            byte if hex_digit(byte) <= 15 => {}
            _ => return error,
        }
        at += 1;
    }
    if colons >= 2 {
        ParseError::new(Kind::MissingBrackets, from)
    } else {
        error
    }
}

/// A port, up to the end of the text.
#[inline]
pub(crate) const fn port(text: &[u8], from: usize) -> Result<u16, ParseError> {
    let mut value: u32 = 0;
    let mut at = from;
    while at < text.len() && at < from + 5 {
        let digit = text[at].wrapping_sub(b'0');
        if digit > 9 || (value == 0 && at > from) {
            return examine_port(text, from);
        }
        value = value * 10 + digit as u32;
        at += 1;
    }
    if at < text.len() || at == from || value > 65_535 {
        return examine_port(text, from);
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(value as u16)
}

/// [`port`] where something is wrong, to say what and where.
#[cold]
#[inline(never)]
const fn examine_port(text: &[u8], from: usize) -> Result<u16, ParseError> {
    let (port, next) = tri!(decimal(text, from, 65_535));
    if next != text.len() {
        return Err(surprise(text, next));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`decimal` keeps it at or below 65,535"
    )]
    Ok(port as u16)
}

/// A whole endpoint; `default` stands in where the text names no transport.
pub(crate) const fn endpoint(text: &[u8], default: Option<Transport>) -> Result<Endpoint, ParseError> {
    if text.is_empty() {
        return fail(Kind::Empty, 0);
    }
    let (named, from) = tri!(scheme(text));
    let ((Some(transport), _) | (None, Some(transport))) = (named, default) else {
        return fail(Kind::MissingTransport, 0);
    };
    let (ip, zone, at) = tri!(host(text, from));
    match (transport, ip) {
        // `ip+1://[::1]` says what it means; `icmp://[::1]` is a slip.
        (Transport::ICMP, IpAddr::V6(_)) | (Transport::ICMPV6, IpAddr::V4(_))
            if text[0] | 0x20 == b'i' && text[1] | 0x20 == b'c' =>
        {
            return fail(Kind::WrongFamily, from);
        }
        _ => {}
    }
    let port = match peek(text, at) {
        b':' if transport.has_ports() => tri!(port(text, at + 1)),
        b':' => return fail(Kind::UnexpectedPort, at),
        _ if at < text.len() => return Err(surprise(text, at)),
        _ if transport.has_ports() => return fail(Kind::MissingPort, at),
        _ => 0,
    };
    Ok(Endpoint::new(transport, ip, port).with_zone(zone))
}
