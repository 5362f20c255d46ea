//! Which address to try first: the destination and source address selection of RFC 6724, without I/O.
//!
//! [`sort`] puts candidates into order and says of each which rule put it before the next one. The policy table can be
//! replaced.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A destination, and the source address that packets to it would leave from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where to.
    pub destination: IpAddr,
    /// Where from; `None` where there is no route: such a destination goes last.
    pub source: Option<Source>,
    /// Whether packets would go through a tunnel that this machine sets up (rule 7).
    pub encapsulated: bool,
}

/// A source address with what the rules ask of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// It should not be used for new connections any more (RFC 4862).
    pub deprecated: bool,
    /// It is a mobile node's home address (RFC 6275).
    pub home: bool,
    /// It is a mobile node's care-of address.
    pub care_of: bool,
    /// It is a temporary address (RFC 8981).
    pub temporary: bool,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            deprecated: false,
            home: false,
            care_of: false,
            temporary: false,
        }
    }
}

impl Candidate {
    /// A candidate with an ordinary source address, or none.
    #[must_use]
    pub fn new(destination: IpAddr, source: Option<IpAddr>) -> Self {
        Self {
            destination,
            source: source.map(Source::from),
            encapsulated: false,
        }
    }
}

/// A candidate in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ordered {
    /// The candidate.
    pub candidate: Candidate,
    /// The rule that put it before the next one; `None` for the last.
    pub rule: Option<Rule>,
}

/// The rules of RFC 6724 section 6, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// 1: without a source address, packets cannot leave.
    AvoidUnusable,
    /// 2: source and destination of one scope.
    MatchingScope,
    /// 3: the source is not deprecated.
    AvoidDeprecated,
    /// 4: the source is a home address.
    HomeAddress,
    /// 5: source and destination have one label in the policy table.
    MatchingLabel,
    /// 6: the destination has a higher precedence in the policy table.
    HigherPrecedence,
    /// 7: no tunnel.
    NativeTransport,
    /// 8: the destination has a smaller scope.
    SmallerScope,
    /// 9: source and destination have more leading bits in common.
    LongestPrefix,
    /// 10: the order in which they came.
    Unchanged,
}

impl Rule {
    /// The number in RFC 6724 section 6.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::AvoidUnusable => 1,
            Self::MatchingScope => 2,
            Self::AvoidDeprecated => 3,
            Self::HomeAddress => 4,
            Self::MatchingLabel => 5,
            Self::HigherPrecedence => 6,
            Self::NativeTransport => 7,
            Self::SmallerScope => 8,
            Self::LongestPrefix => 9,
            Self::Unchanged => 10,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AvoidUnusable => "avoid unusable destinations",
            Self::MatchingScope => "prefer matching scope",
            Self::AvoidDeprecated => "avoid deprecated addresses",
            Self::HomeAddress => "prefer home addresses",
            Self::MatchingLabel => "prefer matching label",
            Self::HigherPrecedence => "prefer higher precedence",
            Self::NativeTransport => "prefer native transport",
            Self::SmallerScope => "prefer smaller scope",
            Self::LongestPrefix => "use longest matching prefix",
            Self::Unchanged => "leave the order unchanged",
        })
    }
}

/// A row of a [`PolicyTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// The prefix; IPv4 addresses are looked up in their mapped form.
    pub prefix: Ipv6Addr,
    /// The length of the prefix in bits.
    pub prefix_len: u8,
    /// Higher goes first.
    pub precedence: u8,
    /// Source and destination should have the same.
    pub label: u8,
}

/// Precedences and labels by prefix (RFC 6724 section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTable {
    rows: Vec<Policy>,
}

impl PolicyTable {
    /// A table of these rows. The longest prefix that matches counts, whatever the order.
    #[must_use]
    pub fn new(rows: Vec<Policy>) -> Self {
        Self { rows }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Policy] {
        &self.rows
    }

    /// The row of the longest prefix that matches. Without any: precedence 0, label 0.
    #[must_use]
    pub fn lookup(&self, ip: IpAddr) -> Policy {
        let bits = mapped(ip).to_bits();
        let matches =
            |row: &&Policy| common_prefix_len(row.prefix.to_bits(), bits) >= row.prefix_len.min(128).into();
        let row = self.rows.iter().filter(matches).max_by_key(|row| row.prefix_len);
        row.copied().unwrap_or(Policy {
            prefix: Ipv6Addr::UNSPECIFIED,
            prefix_len: 0,
            precedence: 0,
            label: 0,
        })
    }
}

impl Default for PolicyTable {
    /// The table of RFC 6724 section 2.1.
    fn default() -> Self {
        let row = |prefix: [u16; 8], prefix_len, precedence, label| {
            let prefix = Ipv6Addr::from(prefix);
            Policy {
                prefix,
                prefix_len,
                precedence,
                label,
            }
        };
        Self::new(vec![
            row([0, 0, 0, 0, 0, 0, 0, 1], 128, 50, 0),
            row([0, 0, 0, 0, 0, 0, 0, 0], 0, 40, 1),
            row([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, 35, 4),
            row([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, 30, 2),
            row([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, 5, 5),
            row([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, 3, 13),
            row([0, 0, 0, 0, 0, 0, 0, 0], 96, 1, 3),
            row([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, 1, 11),
            row([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, 1, 12),
        ])
    }
}

/// Puts candidates into the order in which to try them.
///
/// Rule 9 is asked of IPv6 pairs only: on IPv4 it would undo the rotation by which name servers share load among the
/// addresses of a name.
#[must_use]
pub fn sort(candidates: &[Candidate], table: &PolicyTable) -> Vec<Ordered> {
    // By insertion, not by the standard library: rule 9 compares within one family only, so with three candidates the
    // relation need not be transitive, and a library sort may panic on that. Lists are short and capped.
    let mut sorted: Vec<Candidate> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let before = |placed: &Candidate| compare(placed, candidate, table).0 != Ordering::Greater;
        let place = sorted.iter().rposition(before).map_or(0, |index| index + 1);
        sorted.insert(place, *candidate);
    }
    let rule_of = |index: usize| {
        let (this, next) = (sorted.get(index)?, sorted.get(index + 1)?);
        Some(compare(this, next, table).1)
    };
    sorted
        .iter()
        .enumerate()
        .map(|(index, candidate)| Ordered {
            candidate: *candidate,
            rule: rule_of(index),
        })
        .collect()
}

/// Which of two goes first (`Less`: `a`), and by which rule.
fn compare(a: &Candidate, b: &Candidate, table: &PolicyTable) -> (Ordering, Rule) {
    let (Some(source_a), Some(source_b)) = (a.source, b.source) else {
        // Rules 2 to 5 and 9 speak of source addresses.
        let usable = b.source.is_some().cmp(&a.source.is_some());
        return first_of([
            (usable, Rule::AvoidUnusable),
            (
                precedence(b, table).cmp(&precedence(a, table)),
                Rule::HigherPrecedence,
            ),
            (a.encapsulated.cmp(&b.encapsulated), Rule::NativeTransport),
            (
                scope(a.destination).cmp(&scope(b.destination)),
                Rule::SmallerScope,
            ),
        ]);
    };
    let matches_scope = |c: &Candidate, source: Source| scope(c.destination) == scope(source.address);
    let matches_label = |c: &Candidate, source: Source| {
        table.lookup(c.destination).label == table.lookup(source.address).label
    };
    let prefix = |c: &Candidate, source: Source| {
        common_prefix_len(mapped(c.destination).to_bits(), mapped(source.address).to_bits()).min(64)
    };
    let both_v6 = a.destination.is_ipv6() && b.destination.is_ipv6();
    // `false` sorts first: each rule asks what is worse about `a`.
    first_of([
        (
            matches_scope(b, source_b).cmp(&matches_scope(a, source_a)),
            Rule::MatchingScope,
        ),
        (
            source_a.deprecated.cmp(&source_b.deprecated),
            Rule::AvoidDeprecated,
        ),
        (home_rank(source_b).cmp(&home_rank(source_a)), Rule::HomeAddress),
        (
            matches_label(b, source_b).cmp(&matches_label(a, source_a)),
            Rule::MatchingLabel,
        ),
        (
            precedence(b, table).cmp(&precedence(a, table)),
            Rule::HigherPrecedence,
        ),
        (a.encapsulated.cmp(&b.encapsulated), Rule::NativeTransport),
        (
            scope(a.destination).cmp(&scope(b.destination)),
            Rule::SmallerScope,
        ),
        (
            if both_v6 {
                prefix(b, source_b).cmp(&prefix(a, source_a))
            } else {
                Ordering::Equal
            },
            Rule::LongestPrefix,
        ),
    ])
}

fn first_of<const N: usize>(rules: [(Ordering, Rule); N]) -> (Ordering, Rule) {
    let decided = rules.into_iter().find(|(ordering, _)| ordering.is_ne());
    decided.unwrap_or((Ordering::Equal, Rule::Unchanged))
}

fn precedence(candidate: &Candidate, table: &PolicyTable) -> u8 {
    table.lookup(candidate.destination).precedence
}

/// Home and care-of at once is best, then home alone, then neither, then care-of alone.
fn home_rank(source: Source) -> u8 {
    match (source.home, source.care_of) {
        (true, true) => 3,
        (true, false) => 2,
        (false, false) => 1,
        (false, true) => 0,
    }
}

/// The source address that section 5 chooses for a destination among those of its family, or `None`.
///
/// Rules 5 and 5.5, which ask for the outgoing interface and the next hop, are the caller's: leave out the addresses of
/// interfaces that packets would not leave by.
#[must_use]
pub fn choose_source(destination: IpAddr, sources: &[Source], table: &PolicyTable) -> Option<Source> {
    let mut best: Option<Source> = None;
    for source in sources
        .iter()
        .filter(|source| source.address.is_ipv4() == destination.is_ipv4())
    {
        if best.is_none_or(|best| is_better_source(destination, *source, best, table)) {
            best = Some(*source);
        }
    }
    best
}

fn is_better_source(destination: IpAddr, a: Source, b: Source, table: &PolicyTable) -> bool {
    let same = |source: Source| source.address == destination;
    let label = |source: Source| table.lookup(source.address).label == table.lookup(destination).label;
    let prefix = |source: Source| {
        common_prefix_len(mapped(source.address).to_bits(), mapped(destination).to_bits()).min(64)
    };
    let decisions = [
        same(b).cmp(&same(a)),
        appropriate_scope(scope(destination), scope(a.address), scope(b.address)),
        a.deprecated.cmp(&b.deprecated),
        home_rank(b).cmp(&home_rank(a)),
        label(b).cmp(&label(a)),
        b.temporary.cmp(&a.temporary),
        prefix(b).cmp(&prefix(a)),
    ];
    decisions.into_iter().find(|ordering| ordering.is_ne()) == Some(Ordering::Less)
}

/// Rule 2 of section 5: the smallest scope that is not smaller than the destination's.
fn appropriate_scope(destination: u8, a: u8, b: u8) -> Ordering {
    match a.cmp(&b) {
        Ordering::Equal => Ordering::Equal,
        Ordering::Less if a < destination => Ordering::Greater,
        Ordering::Less => Ordering::Less,
        Ordering::Greater if b < destination => Ordering::Less,
        Ordering::Greater => Ordering::Greater,
    }
}

/// The scope of an address as RFC 6724 section 3 counts it: in IPv4, loopback and link-local addresses are link-local
/// and all others, private ones too, are global.
fn scope(ip: IpAddr) -> u8 {
    const LINK_LOCAL: u8 = 0x2;
    const SITE_LOCAL: u8 = 0x5;
    const GLOBAL: u8 = 0xe;
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() => LINK_LOCAL,
        IpAddr::V4(_) => GLOBAL,
        IpAddr::V6(ip) if ip.is_multicast() => ip.octets()[1] & 0xf,
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local() => LINK_LOCAL,
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfec0 => SITE_LOCAL,
        IpAddr::V6(_) => GLOBAL,
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn common_prefix_len(a: u128, b: u128) -> u32 {
    (a ^ b).leading_zeros()
}

#[cfg(test)]
mod tests;
