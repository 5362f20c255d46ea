//! What the three files have in common: lines, words, host names and addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longer names cannot be sent in a query (RFC 1035 section 2.3.4: 255 bytes with the lengths of the labels).
const MAX_NAME_BYTES: usize = 253;

/// RFC 1035 section 2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// The lines with their numbers from 1, without their ends. `\r\n` ends a line as `\n` does (glibc takes the `\r` for
/// a part of the last word; musl and Go do not), and as in C nothing of a line is read from a NUL on.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(text.split(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.split(|byte| *byte == 0).next().unwrap_or_default()
    }))
}

/// The words of a line, separated by spaces and tabs.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty())
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `isspace` of C, which splits hosts and nsswitch.conf.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Without the blanks at its start.
pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_space(**byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// Puts the name in lower case and without the dot at its end into `name`. False for what can be no host name:
/// letters, digits, `-` and `_` make a label.
pub(super) fn read_name(word: &[u8], name: &mut String) -> bool {
    name.clear();
    let word = word.strip_suffix(b".").unwrap_or(word);
    if word.len() > MAX_NAME_BYTES {
        return false;
    }
    let mut label = 0;
    for &byte in word {
        match byte {
            b'.' if label == 0 => return false,
            b'.' => label = 0,
            b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' if label < MAX_LABEL_BYTES => label += 1,
            _ => return false,
        }
        name.push(char::from(byte.to_ascii_lowercase()));
    }
    label > 0
}

/// An IPv6 address, with the text behind its `%`.
pub(super) fn read_v6(word: &[u8]) -> Option<(Ipv6Addr, Option<&str>)> {
    let word = str::from_utf8(word).ok()?;
    let (address, zone) = match word.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (word, None),
    };
    Some((address.parse().ok()?, zone))
}

/// The number of a zone. As in glibc only link-local addresses have zones with names; a number is one for any.
pub(super) fn zone_index(address: Ipv6Addr, zone: &str, lookup: &dyn Fn(&str) -> Option<u32>) -> Option<u32> {
    let is_local = address.is_unicast_link_local() || is_link_local_multicast(address);
    let named = if is_local && !zone.is_empty() {
        lookup(zone)
    } else {
        None
    };
    named.or_else(|| number(zone, 10))
}

/// RFC 4291 section 2.7: scopes 1 and 2 need an interface.
fn is_link_local_multicast(address: Ipv6Addr) -> bool {
    matches!(address.octets(), [0xff, scope, ..] if matches!(scope & 0x0f, 1 | 2))
}

/// An IPv4 address as inet_aton(3) reads it: one to four parts in decimal, octal (`0`) or hexadecimal (`0x`), the last
/// of which fills the bytes that are left. Nothing may follow.
pub(super) fn inet_aton(word: &[u8]) -> Option<Ipv4Addr> {
    let word = str::from_utf8(word).ok()?;
    let mut parts = word.split('.');
    let last = aton_part(parts.next_back()?)?;
    let mut value = 0;
    let mut shift = 32_u32;
    for part in parts {
        shift = shift.checked_sub(8).filter(|shift| *shift > 0)?;
        value |= u32::from(u8::try_from(aton_part(part)?).ok()?) << shift;
    }
    let fits = u64::from(last) < 1 << shift;
    fits.then(|| Ipv4Addr::from_bits(value | last))
}

fn aton_part(part: &str) -> Option<u32> {
    let hexadecimal = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
    match (hexadecimal, part.strip_prefix('0')) {
        (Some(digits), _) => number(digits, 16),
        (None, Some(digits)) if !digits.is_empty() => number(digits, 8),
        _ => number(part, 10),
    }
}

/// Digits and nothing else: `from_str_radix` would take a sign.
fn number(digits: &str, radix: u32) -> Option<u32> {
    let all = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    all.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_ipv4_is_what_inet_aton_says() {
        let read = |text: &str| inet_aton(text.as_bytes()).map(|address| address.to_string());
        for (text, wanted) in [
            ("192.0.2.1", "192.0.2.1"),
            ("127.1", "127.0.0.1"),
            ("10.1.770", "10.1.3.2"),
            ("0x7f.0.0.1", "127.0.0.1"),
            ("010.0.0.1", "8.0.0.1"),
            ("4294967295", "255.255.255.255"),
            ("0", "0.0.0.0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(wanted), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "1.16777216",
            "4294967296",
            "08.1",
            "0x",
            "+1.2.3.4",
            "1.2.3.-4",
            "1.2.3.4 ",
            "a.b.c.d",
            "1.2.3.4%eth0",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_lower_case_and_bounded() {
        let read = |text: &str| {
            let mut name = String::new();
            read_name(text.as_bytes(), &mut name).then_some(name)
        };
        assert_eq!(read("Example.ORG.").as_deref(), Some("example.org"));
        assert_eq!(read("_sip._tcp.a-b.0").as_deref(), Some("_sip._tcp.a-b.0"));
        let label = "a".repeat(63);
        assert_eq!(read(&label).as_deref(), Some(&*label));
        assert_eq!(read(&format!("{label}a")), None);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(read(&longest).is_some() && read(&format!("{longest}.")).is_some());
        assert_eq!(read(&format!("{longest}b")), None);
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "#",
            "a b",
            "b\u{fc}cher",
            "a/b",
            "a\\.b",
            "*",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn lines_end_at_newlines_carriage_returns_and_nuls() {
        let all: Vec<_> = lines(b"a\r\n\nb\0c\nd\re").collect();
        assert_eq!(all, [(1, &b"a"[..]), (2, b""), (3, b"b"), (4, b"d\re")]);
    }
}
