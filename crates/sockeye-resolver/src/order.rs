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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// An example of section 10.2: whatever order the destinations come in, they leave in that of `wanted`.
    #[track_caller]
    fn example(sources: &[Source], wanted: [(&str, &str); 2], rule: Rule) {
        let table = PolicyTable::default();
        let candidate = |(destination, source): (&str, &str)| {
            let chosen = choose_source(ip(destination), sources, &table);
            assert_eq!(
                chosen.map(|source| source.address),
                Some(ip(source)),
                "the source for {destination}"
            );
            Candidate {
                destination: ip(destination),
                source: chosen,
                encapsulated: false,
            }
        };
        let [first, second] = wanted.map(candidate);
        for given in [[first, second], [second, first]] {
            let sorted = sort(&given, &table);
            assert_eq!(
                sorted[0],
                Ordered {
                    candidate: first,
                    rule: Some(rule)
                }
            );
            assert_eq!(
                sorted[1],
                Ordered {
                    candidate: second,
                    rule: None
                }
            );
        }
    }

    fn sources(texts: &[&str]) -> Vec<Source> {
        texts.iter().map(|text| ip(text).into()).collect()
    }

    #[test]
    fn rfc_6724_section_10_2_example_1_prefer_matching_scope() {
        let sources = sources(&["2001:db8:1::2", "fe80::1", "169.254.13.78"]);
        let wanted = [
            ("2001:db8:1::1", "2001:db8:1::2"),
            ("198.51.100.121", "169.254.13.78"),
        ];
        example(&sources, wanted, Rule::MatchingScope);
    }

    #[test]
    fn rfc_6724_section_10_2_example_2_prefer_matching_scope() {
        let sources = sources(&["fe80::1", "198.51.100.117"]);
        let wanted = [("198.51.100.121", "198.51.100.117"), ("2001:db8:1::1", "fe80::1")];
        example(&sources, wanted, Rule::MatchingScope);
    }

    #[test]
    fn rfc_6724_section_10_2_example_3_prefer_higher_precedence() {
        let sources = sources(&["2001:db8:1::2", "fe80::1", "10.1.2.4"]);
        let wanted = [("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")];
        example(&sources, wanted, Rule::HigherPrecedence);
    }

    #[test]
    fn rfc_6724_section_10_2_example_4_prefer_smaller_scope() {
        let sources = sources(&["2001:db8:1::2", "fe80::2"]);
        let wanted = [("fe80::1", "fe80::2"), ("2001:db8:1::1", "2001:db8:1::2")];
        example(&sources, wanted, Rule::SmallerScope);
    }

    #[test]
    fn rfc_6724_section_10_2_example_5_prefer_home_address() {
        let mut sources = sources(&["2001:db8:1::2", "2001:db8:3::1", "fe80::2"]);
        (sources[0].care_of, sources[1].home, sources[2].care_of) = (true, true, true);
        let wanted = [("2001:db8:1::1", "2001:db8:3::1"), ("fe80::1", "fe80::2")];
        example(&sources, wanted, Rule::HomeAddress);
    }

    #[test]
    fn rfc_6724_section_10_2_example_6_avoid_deprecated_addresses() {
        let mut sources = sources(&["2001:db8:1::2", "fe80::2"]);
        sources[1].deprecated = true;
        let wanted = [("2001:db8:1::1", "2001:db8:1::2"), ("fe80::1", "fe80::2")];
        example(&sources, wanted, Rule::AvoidDeprecated);
    }

    #[test]
    fn rfc_6724_section_10_2_example_7_longest_matching_prefix() {
        let sources = sources(&["2001:db8:1::2", "2001:db8:3f44::2", "fe80::2"]);
        let wanted = [
            ("2001:db8:1::1", "2001:db8:1::2"),
            ("2001:db8:3ffe::1", "2001:db8:3f44::2"),
        ];
        example(&sources, wanted, Rule::LongestPrefix);
    }

    #[test]
    fn rfc_6724_section_10_2_example_8_prefer_matching_label() {
        let sources = sources(&["2002:c633:6401::2", "fe80::2"]);
        let wanted = [
            ("2002:c633:6401::1", "2002:c633:6401::2"),
            ("2001:db8:1::1", "2002:c633:6401::2"),
        ];
        example(&sources, wanted, Rule::MatchingLabel);
    }

    #[test]
    fn rfc_6724_section_10_2_example_9_prefer_higher_precedence() {
        let sources = sources(&["2002:c633:6401::2", "2001:db8:1::2", "fe80::2"]);
        let wanted = [
            ("2001:db8:1::1", "2001:db8:1::2"),
            ("2002:c633:6401::1", "2002:c633:6401::2"),
        ];
        example(&sources, wanted, Rule::HigherPrecedence);
    }

    #[test]
    fn rule_1_puts_what_has_no_route_last() {
        let table = PolicyTable::default();
        let given = [
            Candidate::new(ip("::1"), None),
            Candidate::new(ip("192.0.2.1"), Some(ip("192.0.2.2"))),
        ];
        let sorted = sort(&given, &table);
        assert_eq!(sorted[0].candidate.destination, ip("192.0.2.1"));
        assert_eq!(sorted[0].rule, Some(Rule::AvoidUnusable));
    }

    #[test]
    fn rule_7_prefers_no_tunnel_and_rule_10_what_came_first() {
        let table = PolicyTable::default();
        let native = Candidate::new(ip("192.0.2.1"), Some(ip("192.0.2.9")));
        let tunnel = Candidate {
            encapsulated: true,
            ..Candidate::new(ip("192.0.2.2"), Some(ip("192.0.2.9")))
        };
        let sorted = sort(&[tunnel, native], &table);
        assert_eq!(
            (sorted[0].candidate, sorted[0].rule),
            (native, Some(Rule::NativeTransport))
        );
        let other = Candidate::new(ip("192.0.2.200"), Some(ip("192.0.2.201")));
        let sorted = sort(&[native, other], &table);
        assert_eq!(
            (sorted[0].candidate, sorted[0].rule),
            (native, Some(Rule::Unchanged))
        );
    }

    #[test]
    fn the_table_is_replaceable() {
        // Section 10.3: IPv4 first.
        let mut rows = PolicyTable::default().rows().to_vec();
        rows[2].precedence = 100;
        let given = [
            Candidate::new(ip("2001:db8::1"), Some(ip("2001:db8::2"))),
            Candidate::new(ip("192.0.2.1"), Some(ip("192.0.2.2"))),
        ];
        let sorted = sort(&given, &PolicyTable::new(rows));
        assert_eq!(sorted[0].candidate.destination, ip("192.0.2.1"));
        assert_eq!(PolicyTable::new(Vec::new()).lookup(ip("::1")).precedence, 0);
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        const POOL: [&str; 8] = [
            "::1",
            "fe80::1",
            "2001:db8::1",
            "2001:db8:1::1",
            "2002::1",
            "fc00::1",
            "10.0.0.1",
            "169.254.0.1",
        ];
        let address = proptest::sample::select(&POOL[..]).prop_map(ip);
        let candidate = (address.clone(), proptest::option::of(address), any::<bool>()).prop_map(
            |(destination, source, encapsulated)| Candidate {
                encapsulated,
                ..Candidate::new(destination, source)
            },
        );
        proptest::collection::vec(candidate, 0..40)
    }

    proptest! {
        #[test]
        fn prop_sorting_never_panics_loses_or_invents(given in candidates()) {
            let sorted = sort(&given, &PolicyTable::default());
            prop_assert_eq!(sorted.len(), given.len());
            for candidate in &given {
                let count = |list: &mut dyn Iterator<Item = Candidate>| list.filter(|c| c == candidate).count();
                prop_assert_eq!(count(&mut given.iter().copied()), count(&mut sorted.iter().map(|o| o.candidate)));
            }
        }
    }
}
