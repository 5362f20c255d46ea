//! What can be wrong with a text, and where.

use thiserror::Error;

/// Why a text is not what it should be, and at which byte.
///
/// `at` counts bytes from the beginning of the text that was parsed; it never exceeds the text's length and
/// equals it when something is missing at the end.
///
/// ```
/// use sockeye_endpoint::{Endpoint, ParseErrorKind};
///
/// let error = "tcp://10.0.0.01:80".parse::<Endpoint>().unwrap_err();
/// assert_eq!((error.kind, error.at), (ParseErrorKind::LeadingZero, 13));
/// assert_eq!(error.to_string(), "leading zero (some parsers read such a number as octal) at byte 13");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{kind} at byte {at}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// The offset in bytes of the first thing that is wrong.
    pub at: usize,
}

impl ParseError {
    #[cold]
    pub(crate) const fn new(kind: ParseErrorKind, at: usize) -> Self {
        Self { kind, at }
    }
}

/// The kinds of [`ParseError`]. The text of each says what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Nothing at all.
    #[error("empty text")]
    Empty,
    /// No `tcp://` or its like in front, and no default was given.
    #[error("no transport (write tcp://, udp://, udplite://, icmp://, icmpv6:// or ip+N://)")]
    MissingTransport,
    /// A scheme that names no transport.
    #[error("unknown transport (known are tcp, udp, udplite, icmp, icmpv6 and ip+N)")]
    UnknownTransport,
    /// `icmp` with an IPv6 address, or `icmpv6` with an IPv4 address.
    #[error("icmp goes with IPv4 addresses, icmpv6 with IPv6 addresses")]
    WrongFamily,
    /// A decimal number that begins with zero.
    #[error("leading zero (some parsers read such a number as octal)")]
    LeadingZero,
    /// An octet, port, protocol, zone or prefix length that is out of its range.
    #[error("number out of range")]
    NumberTooBig,
    /// A number is expected and there is none.
    #[error("expected a decimal number")]
    ExpectedNumber,
    /// A `+` or `-` before a number.
    #[error("sign before a number")]
    Sign,
    /// A space, tab or line end.
    #[error("blank")]
    Blank,
    /// `0x7f000001` or its like.
    #[error("hexadecimal number where decimal is expected")]
    Hexadecimal,
    /// An IPv4 address of one, two or three parts.
    #[error("an IPv4 address has four parts")]
    TooFewOctets,
    /// An IPv4 address of five parts or more.
    #[error("an IPv4 address has no more than four parts")]
    TooManyOctets,
    /// An IPv6 address of fewer than eight groups without `::`.
    #[error("an IPv6 address has eight groups or `::`")]
    TooFewGroups,
    /// An IPv6 address of more than eight groups, or of eight and `::`.
    #[error("an IPv6 address has no more than eight groups")]
    TooManyGroups,
    /// More than four hexadecimal digits in a group.
    #[error("a group of an IPv6 address has at most four digits")]
    GroupTooLong,
    /// A second `::`.
    #[error("second `::` in an IPv6 address")]
    SecondEllipsis,
    /// A `:` without a group after it.
    #[error("a group is missing beside `:`")]
    LoneColon,
    /// An IPv6 address with a port, or before one, that is not in brackets.
    #[error("an IPv6 address stands in brackets here: [::1]")]
    MissingBrackets,
    /// `[` without `]`.
    #[error("no `]` after `[`")]
    UnclosedBracket,
    /// Brackets around something that is no IPv6 address.
    #[error("only an IPv6 address stands in brackets")]
    UnexpectedBracket,
    /// No `:` and port after the host.
    #[error("no port")]
    MissingPort,
    /// A port on a transport that has none.
    #[error("this transport has no ports")]
    UnexpectedPort,
    /// `%` without a zone after it.
    #[error("empty zone")]
    EmptyZone,
    /// A zone on an IPv4 address.
    #[error("an IPv4 address has no zone")]
    UnexpectedZone,
    /// A zone name of more than 15 bytes.
    #[error("a zone name has at most 15 bytes")]
    ZoneTooLong,
    /// A zone by name where only an index can stand.
    #[error("a zone by name, which only the system can resolve")]
    UnresolvedZone,
    /// No `/` and prefix length.
    #[error("no prefix length")]
    MissingPrefix,
    /// Bits set behind the prefix of a network.
    #[error("bits are set behind the prefix")]
    HostBits,
    /// The end of a range is before its beginning.
    #[error("the range ends before it begins")]
    ReversedRange,
    /// No `-` and last address of a range.
    #[error("no `-` and last address")]
    MissingLast,
    /// A range from an IPv4 address to an IPv6 address, or the other way round.
    #[error("the ends of the range are of different families")]
    MixedFamilies,
    /// A host name whose last label is a number: some resolvers take it for an IPv4 address.
    #[error("a host name does not end in a numeric label")]
    NumericName,
    /// A label of more than 63 bytes.
    #[error("a label of a host name has at most 63 bytes")]
    LabelTooLong,
    /// A name of more than 253 bytes.
    #[error("a host name has at most 253 bytes")]
    NameTooLong,
    /// Two dots in a row, or one in front.
    #[error("empty label in a host name")]
    EmptyLabel,
    /// A hyphen at the beginning or the end of a label.
    #[error("a label neither begins nor ends with a hyphen")]
    EdgeHyphen,
    /// A name that UTS-46 does not permit, or non-ASCII text without the feature `idna`.
    #[error("not a permitted internationalised name")]
    Idna,
    /// A service name that is not in the table for this transport.
    #[error("unknown service name for this transport")]
    UnknownService,
    /// A service name that RFC 6335 does not permit.
    #[error("a service name has 1 to 15 letters, digits and single inner hyphens, one letter among them")]
    ServiceSyntax,
    /// No `tcp://`, `unix:` or its like in front, and no default was given.
    #[error(
        "no scheme (write tcp://, udp://, udplite://, icmp://, icmpv6://, ip+N://, unix:, tls:// or quic://)"
    )]
    MissingScheme,
    /// A scheme that is none of an address.
    #[error("unknown scheme (known are tcp, udp, udplite, icmp, icmpv6, ip+N, unix, tls and quic)")]
    UnknownScheme,
    /// A name of a Unix socket of more than 107 bytes.
    #[error("the name of a Unix socket has at most 107 bytes")]
    UnixNameTooLong,
    /// A NUL in a path.
    #[error("a path does not contain NUL")]
    Nul,
    /// A control character, or one that changes the order in which text is read.
    #[error("control character (write it as \\xHH, byte by byte)")]
    ControlCharacter,
    /// `\\` without `xHH` behind it.
    #[error("`\\` begins \\xHH, the byte of that number (write itself as \\x5c)")]
    BadEscape,
    /// `//` at the beginning of a path, which others read as a host.
    #[error("a second slash (write unix:/path)")]
    SecondSlash,
    /// `unix:` at the beginning of a name, as in an address. A path that begins so is written `./unix:`, or `\\x75nix:`.
    #[error(
        "`unix:` is no part of the name (leave it out, or parse an Address; a path that begins so is written ./unix:)"
    )]
    UnixPrefix,
    /// A character that cannot stand here.
    #[error("unexpected character")]
    UnexpectedCharacter,
}
