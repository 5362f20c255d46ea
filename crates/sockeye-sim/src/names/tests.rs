//! Zones, their texts, and what is found in them.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use sockeye_resolver::dns::{
    Binding, Name, NameError, Question, Record, RecordData, RecordType, ResponseCode,
};

use super::{Found, ZoneError, ZoneFault, Zones};

const ZONE: &str = r#"
; a comment, and an empty line

$TTL 1h
$ORIGIN example.test.
@     IN SOA ns admin.mail.example.test. ( 7 2h
               15m 14d   ; the rest
               60 )
      IN NS ns
ns    A 192.0.2.53
      300 IN A 192.0.2.54
www   IN 60 AAAA 2001:db8::80
alias CNAME www
far   CNAME other.invalid.
chain CNAME alias
loop1 CNAME loop2
loop2 CNAME loop1
sub   DNAME www.example.test.
deep.below.ent A 192.0.2.1
*.wild TXT "any ; thing" "two \"words\"" three
x.wild A 192.0.2.2
"#;

fn zones() -> Zones {
    ZONE.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn find(zones: &Zones, text: &str, record_type: RecordType) -> Option<Found> {
    zones.find(&Question::new(name(text), record_type))
}

/// The answer as lines of a zone.
fn answer(text: &str, record_type: RecordType) -> Vec<String> {
    let found = find(&zones(), text, record_type).unwrap();
    assert_eq!(found.code, ResponseCode::NO_ERROR);
    found.answers.iter().map(Record::to_string).collect()
}

#[test]
fn a_zone_file_has_all_forms_of_lines() {
    assert_eq!(
        answer("example.test", RecordType::SOA),
        ["example.test. 3600 IN SOA ns.example.test. admin.mail.example.test. 7 7200 900 1209600 60"]
    );
    assert_eq!(
        answer("ns.example.test", RecordType::A),
        [
            "ns.example.test. 3600 IN A 192.0.2.53",
            "ns.example.test. 300 IN A 192.0.2.54"
        ]
    );
    assert_eq!(
        answer("www.example.test", RecordType::AAAA),
        ["www.example.test. 60 IN AAAA 2001:db8::80"]
    );
    assert_eq!(
        answer("*.wild.example.test", RecordType::TXT),
        [r#"*.wild.example.test. 3600 IN TXT "any ; thing" "two \"words\"" "three""#]
    );
}

#[test]
fn what_is_no_zone_says_where_and_why() {
    let long = format!("a 1 A 192.0.2.1\n{} 1 A 192.0.2.1", "b".repeat(64));
    for (text, line, fault) in [
        ("a 1 A 192.0.2.1\nb 1 TXT \"open\n\n", 2, ZoneFault::Unbalanced),
        ("a 1 SOA ( a b 1", 1, ZoneFault::Unbalanced),
        ("a 1 A 192.0.2.1 )", 1, ZoneFault::Unbalanced),
        ("\n\n$INCLUDE other", 3, ZoneFault::Directive),
        ("$ORIGIN", 1, ZoneFault::Directive),
        ("$TTL soon", 1, ZoneFault::NoTtl),
        (" 1 A 192.0.2.1", 1, ZoneFault::NoOwner),
        ("a A 192.0.2.1", 1, ZoneFault::NoTtl),
        ("a 1 CH TXT x", 1, ZoneFault::Type),
        ("a 1 IN", 1, ZoneFault::Type),
        ("a 1 NOPE x", 1, ZoneFault::Type),
        ("a 4294967296 A 192.0.2.1", 1, ZoneFault::Type),
        ("a 1 A 192.0.2.256", 1, ZoneFault::Data(RecordType::A)),
        ("a 1 A 192.0.2.1 192.0.2.2", 1, ZoneFault::Data(RecordType::A)),
        ("a 1 MX mail", 1, ZoneFault::Data(RecordType::MX)),
        ("a 1 TXT", 1, ZoneFault::Data(RecordType::TXT)),
        ("a 1 DS 1 2 3 4", 1, ZoneFault::Data(RecordType::DS)),
        ("a 1 A \\# 4 c00002", 1, ZoneFault::Data(RecordType::A)),
        ("a 1 A \\# 3 c00002", 1, ZoneFault::Data(RecordType::A)),
        ("a 1 A \\# 4 c000020g", 1, ZoneFault::Data(RecordType::A)),
        ("a 1 HTTPS 1 . port=http", 1, ZoneFault::Data(RecordType::HTTPS)),
        (
            "a 1 HTTPS 1 . port=1 port=2",
            1,
            ZoneFault::Data(RecordType::HTTPS),
        ),
        ("a 1 HTTPS 1 . ech=AAAA", 1, ZoneFault::Data(RecordType::HTTPS)),
        ("a..b 1 A 192.0.2.1", 1, ZoneFault::Name(NameError::EmptyLabel)),
        (&long, 2, ZoneFault::Name(NameError::LongLabel)),
        ("bücher 1 A 192.0.2.1", 1, ZoneFault::Name(NameError::NotAscii)),
    ] {
        assert_eq!(
            text.parse::<Zones>().unwrap_err(),
            ZoneError { line, fault },
            "{text}"
        );
    }
}

#[test]
fn a_quotation_mark_goes_on_a_key_and_begins_a_word_after_a_blank() {
    let zones: Zones = "test. 1 SOA a b 1 1 1 1 1\ntest. 1 TXT a= \"b\" c=\"d e\" \"f\"\"g\""
        .parse()
        .unwrap();
    let texts = find(&zones, "test", RecordType::TXT)
        .unwrap()
        .answers
        .remove(0)
        .data;
    let expected: Vec<Box<[u8]>> = [&b"a="[..], b"b", b"c=d e", b"f", b"g"].map(Into::into).into();
    assert_eq!(texts, RecordData::Txt(expected));
}

#[test]
fn what_prints_as_a_line_is_read_as_the_same() {
    let binding = Binding {
        priority: 1,
        target: Name::root(),
        parameters: vec![
            (1, b"\x02h2\x02h3"[..].into()),
            (2, Box::new([])),
            (3, Box::new([1, 187])),
            (4, Box::new([192, 0, 2, 1, 192, 0, 2, 2])),
            (6, Box::new([0; 16])),
            (7, b"/q{?dns}"[..].into()),
            (65_000, b"\x00\"\\ x"[..].into()),
        ],
    };
    let all = [
        RecordData::A(Ipv4Addr::LOCALHOST),
        RecordData::Aaaa([7; 16].into()),
        RecordData::Cname(name("b.test")),
        RecordData::Ptr(name(r"two\.dots.b\032c")),
        RecordData::Ns(Name::root()),
        RecordData::Dname(name("d")),
        RecordData::Mx {
            preference: 5,
            exchange: name("mx"),
        },
        RecordData::Txt(vec![
            Box::new([]),
            b"\xff\"\\ ;("[..].into(),
            vec![b'a'; 255].into(),
        ]),
        RecordData::Srv {
            priority: 1,
            weight: 2,
            port: 3,
            target: name("s"),
        },
        RecordData::Https(Box::new(binding.clone())),
        RecordData::Svcb(Box::new(binding)),
        RecordData::Caa {
            flags: 128,
            tag: b"issue"[..].into(),
            value: b"ca.test; a=b"[..].into(),
        },
        RecordData::Other {
            record_type: RecordType(65_400),
            data: Box::new([0, 255]),
        },
        RecordData::Other {
            record_type: RecordType::DS,
            data: Box::new([]),
        },
    ];
    for data in all {
        let record = Record::new(name("a.test"), 60, data);
        let zones: Zones = format!("test. 1 SOA a b 1 1 1 1 1\n{record}").parse().unwrap();
        let found = find(&zones, "a.test", record.record_type()).unwrap();
        assert_eq!(found.answers, [record]);
    }
    let generic: Zones = "test. 1 SOA a b 1 1 1 1 1\na.test. 1 A \\# 4 c0 00 02 01"
        .parse()
        .unwrap();
    let found = find(&generic, "a.test", RecordType::A).unwrap();
    assert_eq!(found.answers[0].data, RecordData::A([192, 0, 2, 1].into()));
}

#[test]
fn aliases_are_followed_within_the_zones() {
    assert_eq!(
        answer("chain.example.test", RecordType::AAAA),
        [
            "chain.example.test. 3600 IN CNAME alias.example.test.",
            "alias.example.test. 3600 IN CNAME www.example.test.",
            "www.example.test. 60 IN AAAA 2001:db8::80"
        ]
    );
    assert_eq!(answer("chain.example.test", RecordType::CNAME).len(), 1);
    assert_eq!(answer("far.example.test", RecordType::A).len(), 1);
    assert_eq!(answer("loop1.example.test", RecordType::A).len(), 17);
    assert_eq!(
        answer("sub.example.test", RecordType::DNAME),
        ["sub.example.test. 3600 IN DNAME www.example.test."]
    );
    // An alias whose end is not there: the code is that of the end, as is the zone (RFC 6604).
    let missing = find(&zones(), "a.sub.example.test", RecordType::A).unwrap();
    assert_eq!(missing.code, ResponseCode::NAME_ERROR);
    let lines: Vec<String> = missing.answers.iter().map(Record::to_string).collect();
    assert_eq!(
        lines,
        [
            "sub.example.test. 3600 IN DNAME www.example.test.",
            "a.sub.example.test. 3600 IN CNAME a.www.example.test."
        ]
    );
    assert_eq!(missing.authorities.len(), 1);
    let other: Zones =
        "a. 1 SOA a a 1 1 1 1 1\nx.a. 1 CNAME x.b.\nb. 1 SOA b b 1 1 1 1 1\nx.b. 1 A 192.0.2.1"
            .parse()
            .unwrap();
    assert_eq!(find(&other, "x.a", RecordType::A).unwrap().answers.len(), 2);
}

#[test]
fn no_such_name_and_no_such_records_are_told_apart() {
    for (text, record_type, code) in [
        ("nope.example.test", RecordType::A, ResponseCode::NAME_ERROR),
        ("www.example.test", RecordType::A, ResponseCode::NO_ERROR),
        // A name that is only there because of what stands below it (RFC 4592 section 2.2.2).
        ("ent.example.test", RecordType::A, ResponseCode::NO_ERROR),
        ("below.ent.example.test", RecordType::A, ResponseCode::NO_ERROR),
        ("a.ent.example.test", RecordType::A, ResponseCode::NAME_ERROR),
    ] {
        let found = find(&zones(), text, record_type).unwrap();
        assert_eq!((found.code, found.answers.len()), (code, 0), "{text}");
        // For as long as the zone says (RFC 2308 section 3).
        assert_eq!(found.authorities.len(), 1);
        assert_eq!(
            (found.authorities[0].record_type(), found.authorities[0].ttl),
            (RecordType::SOA, 60)
        );
    }
    assert_eq!(find(&zones(), "example.org", RecordType::A), None);
    assert_eq!(find(&zones(), "test", RecordType::A), None);
}

#[test]
fn wildcards_stand_for_what_is_not_there() {
    let texts = answer("a.b.WILD.example.test", RecordType::TXT);
    assert!(
        texts[0].starts_with("a.b.WILD.example.test. 3600 IN TXT"),
        "{texts:?}"
    );
    assert_eq!(answer("a.wild.example.test", RecordType::A), [""; 0]);
    // A name that is there hides it, also from what is below (RFC 4592 section 2.2.1).
    assert_eq!(answer("x.wild.example.test", RecordType::TXT), [""; 0]);
    let below = find(&zones(), "a.x.wild.example.test", RecordType::TXT).unwrap();
    assert_eq!(below.code, ResponseCode::NAME_ERROR);
}

#[test]
fn every_type_is_given_for_any() {
    assert_eq!(answer("example.test", RecordType::ANY).len(), 2);
}

#[test]
fn records_come_and_go() {
    let a = |last| RecordData::A([192, 0, 2, last].into());
    let host = name("host.example.test");
    let mut zones = Zones::new()
        .zone(name("example.test"))
        .with(Record::new(host.clone(), 60, a(1)))
        .with(Record::new(host.clone(), 60, a(2)));
    assert_eq!(zones.name_count(), 2);
    let count =
        |zones: &Zones| find(zones, "host.example.test", RecordType::A).map(|found| found.answers.len());
    assert_eq!(count(&zones), Some(2));
    zones.remove(&host, Some(RecordType::AAAA));
    assert_eq!(count(&zones), Some(2));
    zones.remove(&host, None);
    assert_eq!((count(&zones), zones.name_count()), (Some(0), 1));
    zones.remove(&name("example.test"), Some(RecordType::SOA));
    assert_eq!((count(&zones), zones.name_count()), (None, 0));
}

#[test]
fn each_of_many_names_is_found() {
    let mut zones = Zones::new().zone(name("test"));
    let all = (0..50_000_u32).map(|number| {
        let data = RecordData::A(number.into());
        Record::new(name(&format!("host-{number}.test")), 60, data)
    });
    zones.extend(all);
    assert_eq!(zones.name_count(), 50_001);
    for number in (0..50_000_u32).step_by(7) {
        let found = find(&zones, &format!("HOST-{number}.test"), RecordType::A).unwrap();
        assert_eq!(found.answers[0].data, RecordData::A(number.into()));
    }
}

/// Words that mean something in a zone file, often in a place where they should not be.
fn zone_like() -> impl Strategy<Value = String> {
    let words = [
        "$ORIGIN",
        "$TTL",
        "@",
        "a",
        "a.test.",
        "\\",
        "\\256",
        "\"",
        "(",
        ")",
        ";",
        "\n",
        " ",
        "\t",
        "IN",
        "60",
        "1h",
        "A",
        "AAAA",
        "SOA",
        "TXT",
        "CAA",
        "HTTPS",
        "TYPE1",
        "\\#",
        "2",
        "c0",
        "192.0.2.1",
        "::1",
        "alpn=",
        "key9=\"",
        ".",
        "..",
        "*",
        "ü",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn prop_a_text_is_a_zone_or_says_on_which_line_it_is_none(text in prop_oneof![zone_like(), any::<String>()]) {
        if let Err(error) = text.parse::<Zones>() {
            prop_assert!((1..=text.matches('\n').count() + 1).contains(&error.line), "{error}");
        }
    }
}
