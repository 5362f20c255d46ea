//! What is wrong with a filter.

use sockeye_packet::LinkType;
use thiserror::Error;

/// A filter that is not one, or that cannot be compiled; with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("at byte {at}: {kind}")]
#[non_exhaustive]
pub struct FilterError {
    /// Where, in bytes from the start of the text.
    pub at: usize,
    /// What is wrong, and what would be right.
    pub kind: FilterErrorKind,
}

/// The kinds of faults.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// Something else should stand here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A character that no filter has.
    #[error("unexpected character; words, numbers, parentheses and operators are allowed")]
    Character,
    /// A number that is too large here.
    #[error("the number is too large; at most {0}")]
    TooLarge(u64),
    /// A number with a leading zero, which other programs read as octal.
    #[error("a number with a leading zero; write it in decimal without, or in hexadecimal with 0x")]
    LeadingZero,
    /// Something that is not an address; names are not looked up.
    #[error("expected an address such as 192.0.2.1 or 2001:db8::1; names are not looked up")]
    Address,
    /// Something that is not the number of a port.
    #[error("expected the number of a port, 0 to 65535; names are not looked up")]
    Port,
    /// An address with bits behind its prefix.
    #[error("the address has bits behind the prefix; `host` takes a single address")]
    HostBits,
    /// Words that do not go together.
    #[error("{0}")]
    Mixed(&'static str),
    /// Parentheses, brackets or negations within each other.
    #[error("nested deeper than {0}")]
    TooDeep(usize),
    /// A computation that needs more intermediate results than the machine has places.
    #[error("the computation needs more than {0} intermediate results")]
    TooComplex(usize),
    /// A division by a constant 0.
    #[error("division by 0")]
    DivisionByZero,
    /// A shift by 32 or more.
    #[error("a shift by more than 31 bits")]
    Shift,
    /// A test that this kind of link cannot have.
    #[error("frames of the link type {0:?} do not have this")]
    Link(LinkType),
    /// A link type that filters do not know.
    #[error("filters are not made for the link type {0:?}")]
    UnknownLink(LinkType),
}

impl FilterErrorKind {
    pub(super) const fn at(self, at: usize) -> FilterError {
        FilterError { at, kind: self }
    }
}
