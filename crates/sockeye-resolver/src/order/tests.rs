//! The examples of RFC 6724 section 10.2, and any list of candidates.

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
