//! Sets of ports.

use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;

use crate::parse;
use crate::ranges::RangeSet;
use crate::{ParseError, ParseErrorKind};

/// A set of ports, written `22,80,8000-8099`.
///
/// ```
/// use sockeye_endpoint::PortSet;
///
/// let web: PortSet = "80,443,8080,8000-8079".parse()?;
/// assert!(web.contains(8042));
/// assert_eq!(web.to_string(), "80,443,8000-8080");
/// assert_eq!(web.complement().len(), 65_536 - web.len());
/// # Ok::<(), sockeye_endpoint::ParseError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct PortSet {
    set: RangeSet<u16>,
}

impl PortSet {
    /// No port.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every port, 0 to 65,535.
    #[must_use]
    pub fn all() -> Self {
        Self::new().complement()
    }

    /// Whether the port is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.set.contains(port)
    }

    /// Adds one port or a range of them; an empty range adds nothing.
    pub fn insert(&mut self, ports: impl Into<PortRange>) {
        let PortRange(range) = ports.into();
        self.set.insert(*range.start(), *range.end());
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            set: self.set.union(&other.set),
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            set: self.set.intersection(&other.set),
        }
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        Self {
            set: self.set.difference(&other.set),
        }
    }

    /// What is not in this one.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self {
            set: self.set.complement(),
        }
    }

    /// Whether there is no port in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// How many ports are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges().map(|range| range.len()).sum()
    }

    /// The ranges, ascending, with at least one port missing between two of them.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        self.set.ranges().map(|(first, last)| *first..=*last)
    }

    /// The ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.ranges().flatten()
    }
}

/// One port or a range of ports: what [`PortSet::insert`] takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortRange(RangeInclusive<u16>);

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self(port..=port)
    }
}

impl From<RangeInclusive<u16>> for PortRange {
    fn from(range: RangeInclusive<u16>) -> Self {
        Self(range)
    }
}

impl<T: Into<PortRange>> FromIterator<T> for PortSet {
    fn from_iter<I: IntoIterator<Item = T>>(ports: I) -> Self {
        let mut set = Self::new();
        set.extend(ports);
        set
    }
}

impl<T: Into<PortRange>> Extend<T> for PortSet {
    fn extend<I: IntoIterator<Item = T>>(&mut self, ports: I) {
        let ranges = ports.into_iter().map(|ports| ports.into().0.into_inner());
        self.set.extend(ranges.collect());
    }
}

impl FromStr for PortSet {
    type Err = ParseError;

    /// `22,80,8000-8099`; nothing between the commas but digits and `-`. The empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = text.as_bytes();
        let mut ranges = Vec::new();
        let mut at = 0;
        while !bytes.is_empty() {
            let start = at;
            let (first, next) = port(bytes, at)?;
            let mut last = first;
            at = next;
            if parse::peek(bytes, at) == b'-' {
                (last, at) = port(bytes, at + 1)?;
            }
            if last < first {
                return Err(ParseError::new(ParseErrorKind::ReversedRange, start));
            }
            ranges.push((first, last));
            match parse::peek(bytes, at) {
                b',' => at += 1,
                _ if at == bytes.len() => break,
                _ => return Err(parse::surprise(bytes, at)),
            }
        }
        Ok(Self {
            set: RangeSet::from_ranges(ranges),
        })
    }
}

fn port(bytes: &[u8], at: usize) -> Result<(u16, usize), ParseError> {
    let (port, next) = parse::decimal(bytes, at, u32::from(u16::MAX))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`decimal` keeps it at or below 65,535"
    )]
    Ok((port as u16, next))
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.set.ranges().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({self})")
    }
}
