//! What a parser has ignored: the first findings by line, and how many there were.

use std::fmt;

/// How many findings an [`IgnoredLines`] keeps. Further ones are only counted.
pub const MAX_IGNORED: usize = 64;

/// Something that a parser has ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ignored {
    /// The line of the file, counted from 1; 0 if it came from the environment.
    pub line: usize,
    /// The reason, in words for the person who wrote the line.
    pub why: &'static str,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "environment: {}", self.why),
            line => write!(f, "line {line}: {}", self.why),
        }
    }
}

/// What a parser has ignored: the first [`MAX_IGNORED`] findings in the order of the file, and the count of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoredLines {
    first: Vec<Ignored>,
    total: usize,
}

impl IgnoredLines {
    /// The first findings, at most [`MAX_IGNORED`]. A line with several faults has several findings.
    #[must_use]
    pub fn first(&self) -> &[Ignored] {
        &self.first
    }

    /// How many findings there were, those that were not kept included.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether nothing was ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(super) fn push(&mut self, line: usize, why: &'static str) {
        self.total += 1;
        if self.first.len() < MAX_IGNORED {
            self.first.push(Ignored { line, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut ignored = IgnoredLines::default();
        assert!(ignored.is_empty());
        for line in 1..=1_000 {
            ignored.push(line, "no good");
        }
        assert_eq!((ignored.first().len(), ignored.total()), (MAX_IGNORED, 1_000));
        assert_eq!(ignored.first()[1].to_string(), "line 2: no good");
    }
}
