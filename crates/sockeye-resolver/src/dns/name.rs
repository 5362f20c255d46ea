//! Names of the DNS: what a question asks about.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;

use sockeye_endpoint::HostName;
use thiserror::Error;

/// The longest name in its wire format, the root's empty label included (RFC 1035 section 2.3.4).
const MAX_LEN: usize = 255;
/// The longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A complete name of the DNS: labels of any bytes, up to the root.
///
/// The text form is that of zone files (RFC 1035 section 5.1): labels with dots between them, `\.` for a dot and `\DDD` for
/// any byte within a label. The dot at the end may be left out and is not printed, but for the root, `.`. Names are equal
/// whatever the case of their letters (RFC 4343); the case itself is kept.
///
/// ```
/// use sockeye_resolver::dns::Name;
///
/// let name: Name = "_http._tcp.Example.test.".parse()?;
/// assert_eq!(name.to_string(), "_http._tcp.Example.test");
/// assert_eq!(name, "_HTTP._TCP.example.TEST".parse()?);
/// assert_eq!(Name::reverse("192.0.2.7".parse().unwrap()).to_string(), "7.2.0.192.in-addr.arpa");
/// # Ok::<(), sockeye_resolver::dns::NameError>(())
/// ```
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why a text or a sequence of bytes is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no text.
    #[error("an empty text is not a name (the root is `.`)")]
    Empty,
    /// Two dots follow each other, or one stands at the beginning.
    #[error("an empty label")]
    EmptyLabel,
    /// A label has more than 63 bytes.
    #[error("a label of more than 63 bytes")]
    LongLabel,
    /// All labels together have more than 255 bytes, a byte for the length of each included.
    #[error("a name of more than 255 bytes")]
    Long,
    /// A backslash is followed by neither a character nor three digits up to 255.
    #[error("a backslash needs a character or three digits up to 255 after it")]
    Escape,
    /// A letter beyond ASCII.
    #[error("a letter beyond ASCII: write the name in its `xn--` form")]
    NotAscii,
}

impl Name {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// The name under which the pointers (PTR) of an address stand: `1.2.0.192.in-addr.arpa` (RFC 1035 section 3.5), or
    /// 32 nibbles below `ip6.arpa` (RFC 3596 section 2.5).
    #[must_use]
    pub fn reverse(of: IpAddr) -> Self {
        let mut wire = Vec::with_capacity(74);
        let mut label = |text: &[u8]| {
            wire.push(u8::try_from(text.len()).unwrap_or_default());
            wire.extend_from_slice(text);
        };
        match of {
            IpAddr::V4(ip) => {
                for byte in ip.octets().iter().rev() {
                    label(byte.to_string().as_bytes());
                }
                label(b"in-addr");
            }
            IpAddr::V6(ip) => {
                let hex = |nibble: u8| {
                    if nibble < 10 {
                        b'0' + nibble
                    } else {
                        b'a' + nibble - 10
                    }
                };
                for byte in ip.octets().iter().rev() {
                    label(&[hex(byte & 15)]);
                    label(&[hex(byte >> 4)]);
                }
                label(b"ip6");
            }
        }
        label(b"arpa");
        wire.push(0);
        Self(wire.into())
    }

    /// The address whose pointers stand under this name: what [`reverse`](Self::reverse) was given.
    #[must_use]
    pub fn reversed(&self) -> Option<IpAddr> {
        let labels: Vec<&[u8]> = self.labels().collect();
        let (tail, arpa) = labels.split_last_chunk::<2>()?;
        if !arpa[1].eq_ignore_ascii_case(b"arpa") {
            return None;
        }
        let digits = |label: &[u8], radix| u8::from_str_radix(std::str::from_utf8(label).ok()?, radix).ok();
        let ip = if arpa[0].eq_ignore_ascii_case(b"in-addr") && tail.len() == 4 {
            let mut octets = [0; 4];
            for (octet, label) in octets.iter_mut().zip(tail.iter().rev()) {
                *octet = digits(label, 10)?;
            }
            IpAddr::from(octets)
        } else if arpa[0].eq_ignore_ascii_case(b"ip6") && tail.len() == 32 {
            let mut octets = [0; 16];
            for (octet, pair) in octets.iter_mut().rev().zip(tail.chunks_exact(2)) {
                let [low, high] = pair else { return None };
                if low.len() != 1 || high.len() != 1 {
                    return None;
                }
                *octet = digits(high, 16)? << 4 | digits(low, 16)?;
            }
            IpAddr::from(octets)
        } else {
            return None;
        };
        // `+1` and `007` are numbers to the parser of integers, and no labels of an address.
        (Self::reverse(ip) == *self).then_some(ip)
    }

    /// A name of bytes in the wire format, uncompressed, with the root's empty label at the end.
    ///
    /// # Errors
    /// What breaks RFC 1035 section 3.1.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        if wire.len() > MAX_LEN {
            return Err(NameError::Long);
        }
        let mut rest = wire;
        loop {
            let (&len, after) = rest.split_first().ok_or(NameError::EmptyLabel)?;
            if len == 0 {
                let complete = after.is_empty();
                return complete.then(|| Self(wire.into())).ok_or(NameError::EmptyLabel);
            }
            if usize::from(len) > MAX_LABEL {
                return Err(NameError::LongLabel);
            }
            rest = after.get(usize::from(len)..).ok_or(NameError::LongLabel)?;
        }
    }

    /// The name of labels, from the left.
    pub(crate) fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            push_label(&mut wire, label)?;
        }
        wire.push(0);
        Ok(Self(wire.into()))
    }

    /// The wire format, uncompressed (RFC 1035 section 3.1).
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels from the left, without the root's empty one.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (&len, after) = rest.split_first().filter(|(len, _)| **len > 0)?;
            let (label, tail) = after.split_at_checked(usize::from(len))?;
            rest = tail;
            Some(label)
        })
    }

    /// How many labels it has; the root has none.
    #[must_use]
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether it is `other` or stands below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let skip = self.label_count().checked_sub(other.label_count());
        skip.is_some_and(|skip| {
            self.labels()
                .skip(skip)
                .zip(other.labels())
                .all(|(a, b)| a.eq_ignore_ascii_case(b))
        })
    }

    /// The name one label up; the root has none.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (&len, after) = self.0.split_first()?;
        (len > 0).then(|| after.get(usize::from(len)..).map(|wire| Self(wire.into())))?
    }

    /// This name's labels with those of `suffix` after them.
    ///
    /// # Errors
    /// [`NameError::Long`].
    pub fn below(&self, suffix: &Self) -> Result<Self, NameError> {
        Self::from_labels(self.labels().chain(suffix.labels()))
    }

    /// The same name with the case of each letter by chance, one bit a letter (draft-vixie-dnsext-dns0x20): an answer that
    /// shows the same case has seen the question.
    #[must_use]
    pub fn with_case_by(&self, mut random: impl FnMut() -> u64) -> Self {
        let mut wire = self.0.clone();
        let (mut bits, mut left) = (0, 0);
        for byte in &mut wire {
            // Lengths of labels are at most 63 and no letters.
            if byte.is_ascii_alphabetic() {
                if left == 0 {
                    (bits, left) = (random(), 64);
                }
                *byte = if bits & 1 == 1 {
                    byte.to_ascii_uppercase()
                } else {
                    byte.to_ascii_lowercase()
                };
                (bits, left) = (bits >> 1, left - 1);
            }
        }
        Self(wire)
    }

    /// Has the letters of `kept` in the place of those of `drawn`, which is the same name in a case by chance, where this
    /// name ends in labels of exactly that case.
    pub(crate) fn undo_case(&mut self, drawn: &Self, kept: &Self) {
        let both = self.0.iter().rev().zip(drawn.0.iter().rev());
        let common = both.take_while(|(own, drawn)| own == drawn).count();
        let mut start = 0;
        while self.0.len().saturating_sub(start) > common {
            start += self.0.get(start).map_or(1, |len| usize::from(*len) + 1);
        }
        let rest = self.0.get_mut(start..).unwrap_or_default();
        let from = kept.0.len().saturating_sub(rest.len());
        if let Some(letters) = kept.0.get(from..).filter(|letters| letters.len() == rest.len()) {
            rest.copy_from_slice(letters);
        }
    }

    /// Whether the names are the same byte for byte.
    #[must_use]
    pub fn has_case_of(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    let len = u8::try_from(label.len()).map_err(|_| NameError::LongLabel)?;
    if label.len() > MAX_LABEL {
        return Err(NameError::LongLabel);
    }
    if wire.len() + label.len() + 2 > MAX_LEN {
        return Err(NameError::Long);
    }
    wire.push(len);
    wire.extend_from_slice(label);
    Ok(())
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text {
            "" => return Err(NameError::Empty),
            "." => return Ok(Self::root()),
            _ => {}
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::new();
        let mut bytes = text.bytes();
        let mut complete = false;
        while let Some(byte) = bytes.next() {
            complete = byte == b'.';
            match byte {
                b'.' => {
                    push_label(&mut wire, &label)?;
                    label.clear();
                }
                b'\\' => label.push(unescape(&mut bytes)?),
                _ if !byte.is_ascii() => return Err(NameError::NotAscii),
                _ => label.push(byte),
            }
        }
        if !complete {
            push_label(&mut wire, &label)?;
        }
        wire.push(0);
        Ok(Self(wire.into()))
    }
}

fn unescape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return if first.is_ascii() {
            Ok(first)
        } else {
            Err(NameError::NotAscii)
        };
    }
    let mut number = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::Escape)?;
        number = number * 10 + u32::from(digit - b'0');
    }
    u8::try_from(number).map_err(|_| NameError::Escape)
}

impl TryFrom<&HostName> for Name {
    type Error = NameError;

    fn try_from(host: &HostName) -> Result<Self, NameError> {
        host.as_str().parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        if self.is_root() {
            return f.write_str(".");
        }
        for (place, label) in self.labels().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(byte))?
                    }
                    b'!'..=b'~' => f.write_char(char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // Lengths of labels are no letters: the case of the letters alone is left out.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut lower = [0; MAX_LEN];
        let Some(lower) = lower.get_mut(..self.0.len()) else {
            return;
        };
        lower.copy_from_slice(&self.0);
        lower.make_ascii_lowercase();
        state.write(lower);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    /// By the labels from the right, without their case (RFC 4034 section 6.1).
    fn cmp(&self, other: &Self) -> Ordering {
        let folded = |name: &Self| -> Vec<Vec<u8>> {
            let mut labels: Vec<_> = name.labels().map(<[u8]>::to_ascii_lowercase).collect();
            labels.reverse();
            labels
        };
        folded(self).cmp(&folded(other))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_case_by_chance_is_undone_where_it_was_drawn() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let (drawn, kept) = (name("wWw.eXample.TEst"), name("www.Example.test"));
        for (text, expected) in [
            ("wWw.eXample.TEst", "www.Example.test"),
            ("Mail.eXample.TEst", "Mail.Example.test"),
            ("a.wWw.eXample.TEst", "a.www.Example.test"),
            ("TEst", "test"),
            ("test", "test"),
            ("xample.TEst", "xample.test"),
            ("EXAMPLE.TEST", "EXAMPLE.TEST"),
            (".", "."),
        ] {
            let mut changed = name(text);
            changed.undo_case(&drawn, &kept);
            assert_eq!(changed.to_string(), name(expected).to_string(), "{text}");
        }
    }

    #[test]
    fn texts_of_all_bytes_go_there_and_back() {
        for text in [
            ".",
            "a",
            "a.b",
            "_sip._udp.example.test",
            r"two\.dots.x",
            r"\000\255.x",
            r"a\ b\;\(\).x",
        ] {
            let name = name(text);
            assert_eq!(name, name.to_string().parse().unwrap(), "{text}");
            assert!(name.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(Name::from_wire(name.as_wire()).unwrap(), name);
        }
        assert_eq!(name("a.b.").to_string(), "a.b");
        assert_eq!(name(r"\097").to_string(), "a");
    }

    #[test]
    fn what_is_no_name_says_why() {
        let long = "a".repeat(64);
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(name(&longest).as_wire().len(), 255);
        for (text, error) in [
            ("", NameError::Empty),
            ("..", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (long.as_str(), NameError::LongLabel),
            (&format!("{longest}b"), NameError::Long),
            (r"a\", NameError::Escape),
            (r"a\25", NameError::Escape),
            (r"a\256", NameError::Escape),
            ("bücher.test", NameError::NotAscii),
            (r"\ü", NameError::NotAscii),
        ] {
            assert_eq!(text.parse::<Name>().unwrap_err(), error, "{text}");
        }
        for wire in [&[][..], &[1, b'a'], &[3, b'a', 0], &[0, 0], &[64; 70], &[0xc0, 0]] {
            assert!(Name::from_wire(wire).is_err(), "{wire:?}");
        }
    }

    #[test]
    fn case_is_kept_and_does_not_count() {
        let (upper, lower) = (name("EXAMPLE.Test"), name("example.test"));
        assert_eq!(upper, lower);
        assert!(!upper.has_case_of(&lower));
        assert_eq!(upper.to_string(), "EXAMPLE.Test");
        assert!(HashSet::from([upper.clone()]).contains(&lower));
        assert_eq!(upper.cmp(&lower), Ordering::Equal);
        assert_ne!(name(r"a\.b"), name("a.b"));
    }

    #[test]
    fn the_case_by_chance_uses_a_bit_a_letter() {
        let mut drawn = 0;
        let cased = name("abcdefgh.x1").with_case_by(|| {
            drawn += 1;
            0b1_0000_0101
        });
        assert_eq!((cased.to_string().as_str(), drawn), ("AbCdefgh.X1", 1));
        let long = name(&format!("{0}.{0}", "a".repeat(63)));
        let mut drawn = 0;
        let _ = long.with_case_by(|| {
            drawn += 1;
            0
        });
        assert_eq!(drawn, 2);
    }

    #[test]
    fn addresses_reverse_there_and_back() {
        let v6 = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa";
        assert_eq!(
            Name::reverse("4321:0:1:2:3:4:567:89ab".parse().unwrap()).to_string(),
            v6
        );
        for ip in ["192.0.2.7", "0.0.0.0", "::", "fe80::1", "4321:0:1:2:3:4:567:89ab"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(Name::reverse(ip).reversed(), Some(ip));
        }
        for text in [
            "1.2.3.in-addr.arpa",
            "01.2.3.4.in-addr.arpa",
            "+1.2.3.4.in-addr.arpa",
            "256.1.1.1.in-addr.arpa",
            "x.ip6.arpa",
            "arpa",
            ".",
        ] {
            assert_eq!(name(text).reversed(), None, "{text}");
        }
    }

    #[test]
    fn names_stand_below_others() {
        assert!(name("a.b.test").is_within(&name("B.test")));
        assert!(name("b.test").is_within(&name("b.test")) && name("x").is_within(&Name::root()));
        assert!(!name("ab.test").is_within(&name("b.test")) && !name("test").is_within(&name("a.test")));
        assert_eq!(name("a.b").parent(), Some(name("b")));
        assert_eq!(Name::root().parent(), None);
        assert_eq!(name("a").below(&name("b.c")).unwrap(), name("a.b.c"));
    }
}
