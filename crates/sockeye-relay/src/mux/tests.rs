//! First bytes, and whose they are.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(value)].concat()
}

fn server_name(name: &str) -> Vec<u8> {
    extension(0, &vector16(&[&[0], &vector16(name.as_bytes())[..]].concat()))
}

fn alpn(protocols: &[&str]) -> Vec<u8> {
    let list: Vec<u8> = protocols
        .iter()
        .flat_map(|name| vector8(name.as_bytes()))
        .collect();
    extension(16, &vector16(&list))
}

/// A ClientHello with these extensions.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        vec![3, 3],
        vec![7; 32],
        vector8(&[9; 32]),
        vector16(&[0x0a, 0x0a, 0x13, 0x01]),
        vector8(&[0]),
        vector16(&extensions.concat()),
    ]
    .concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &len[1..], &body].concat()
}

/// In records of that many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[22, 3, 1][..], &vector16(piece)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let grease = extension(0x1a1a, &[0]);
    let mut extensions = vec![grease, server_name(name)];
    if !protocols.is_empty() {
        extensions.push(alpn(protocols));
    }
    records(&message(&extensions), 16_384)
}

fn once(rules: &[Pattern], bytes: &[u8]) -> Sniffed {
    Sniffer::default().sniff(rules, bytes)
}

/// The decision about all bytes is that about each prefix which has one, whether the rest comes at once or byte by byte,
/// and what it needs is never more than what is enough.
fn is_the_same_however_it_is_cut(rules: &[Pattern], bytes: &[u8]) -> Sniffed {
    let whole = once(rules, bytes);
    let mut slow = Sniffer::default();
    let mut decided = None;
    for cut in 0..=bytes.len() {
        let fast = once(rules, &bytes[..cut]);
        let slowly = slow.sniff(rules, &bytes[..cut]);
        assert_eq!(slowly, fast, "at {cut}: {}", bytes.escape_ascii());
        match (slowly, decided) {
            (Sniffed::More { needed, .. }, None) => assert!(needed > cut, "{needed} at {cut}"),
            (now, None) => {
                decided = Some(now);
                assert_eq!(now, whole, "at {cut}: {}", bytes.escape_ascii());
                // Who had waited for as many bytes as were said to be needed would have decided the same.
                let mut patient = Sniffer::default();
                let mut at = 0;
                while let Sniffed::More { needed, .. } = patient.sniff(rules, &bytes[..at]) {
                    assert!(needed <= cut, "waits for {needed}, and {cut} are enough");
                    at = needed;
                }
                break;
            }
            (now, Some(before)) => assert_eq!(now, before),
        }
    }
    assert_eq!(decided.unwrap_or(whole), whole);
    whole
}

fn all_rules() -> Vec<Pattern> {
    vec![
        Pattern::server_names(["example.org", "*.example.net"]),
        Pattern::alpn(["h2"]),
        Pattern::tls(),
        Pattern::Http1(HttpPattern {
            methods: vec!["POST".to_owned()],
            targets: vec!["/api/".to_owned(), "*".to_owned()],
        }),
        Pattern::http1(),
        Pattern::Http2,
        Pattern::Ssh,
        Pattern::Socks4,
        Pattern::Socks5,
        Pattern::Proxy,
    ]
}

#[test]
fn each_protocol_cut_at_every_byte() {
    let rules = all_rules();
    let second = |bytes: &[u8]| [bytes, b"and what follows"].concat();
    for (bytes, rule) in [
        (hello("example.org", &["h2"]), 0),
        (hello("EXAMPLE.org", &[]), 0),
        (hello("a.b.Example.NET", &["http/1.1"]), 0),
        (hello("example.net", &["http/1.1", "h2"]), 1),
        (hello(".example.net", &["http/1.1"]), 2),
        (hello("wwwexample.net", &[]), 2),
        (records(&message(&[]), 16_384), 2),
        (records(&message(&[alpn(&["h2"])]), 1), 1),
        (b"POST /api/x HTTP/1.1\r\n".to_vec(), 3),
        (b"POST * HTTP/1.0\r\n".to_vec(), 3),
        (b"POST /ap HTTP/1.1\r\n".to_vec(), 4),
        (b"post /api/ HTTP/1.1\r\n".to_vec(), 4),
        (b"CONNECT example.org:443 HTTP/1.1\r\n".to_vec(), 4),
        (b"GET http://a/\xc3\xa4?x HTTP/1.1\r\n".to_vec(), 4),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 5),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), 6),
        (b"SSH-1.99-x\r\n".to_vec(), 6),
        (vec![4, 1, 0, 80, 192, 0, 2, 1, b'm', b'e', 0], 7),
        (vec![5, 2, 0, 2], 8),
        (vec![5, 1, 0], 8),
        (b"PROXY UNKNOWN\r\n".to_vec(), 9),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), 9),
    ] {
        let sniffed = is_the_same_however_it_is_cut(&rules, &bytes);
        assert_eq!(sniffed, Sniffed::Rule(rule), "{}", bytes.escape_ascii());
        assert_eq!(
            is_the_same_however_it_is_cut(&rules, &second(&bytes)),
            Sniffed::Rule(rule)
        );
    }
}

#[test]
fn what_nobody_claims() {
    let rules = all_rules();
    for bytes in [
        &b"EHLO example.org\r\n"[..],
        b"GET  / HTTP/1.1\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.x\r\n",
        b"GET / HTTP/2.0\r\n",
        b" / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX",
        b"SSH-1.5-x\r\n",
        b"\x04\x03\0\x50\x01\x02\x03\x04",
        b"\x05\0",
        // SSLv2, and records that are none of a handshake.
        b"\x80\x2e\x01\x03\x01",
        b"\x17\x03\x03\0\x05hello",
        b"\x16\x03\x05\0\x05\x01",
        b"\x16\x02\x01\0\x05\x01",
        b"\x16\x03\x01\0\0",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\0\x04\x02\0\0\0",
        b"PROXY\t",
        b"\0",
    ] {
        let sniffed = is_the_same_however_it_is_cut(&rules, bytes);
        assert_eq!(sniffed, Sniffed::Nobody, "{}", bytes.escape_ascii());
    }
    let long_method = [vec![b'A'; 33], b" / HTTP/1.1\r\n".to_vec()].concat();
    assert_eq!(once(&rules, &long_method), Sniffed::Nobody);
    let target = |len: usize| [b"GET /", &vec![b'a'; len][..], b" HTTP/1.1"].concat();
    assert_eq!(once(&rules, &target(8_000)), Sniffed::Rule(4));
    assert_eq!(once(&rules, &target(9_000)), Sniffed::Nobody);
}

#[test]
fn an_earlier_rule_is_waited_for() {
    fn second_is_x(bytes: &[u8]) -> Verdict {
        match bytes {
            [_, b'x', ..] => Verdict::Yes,
            [_, _, ..] => Verdict::No,
            _ => Verdict::More,
        }
    }
    fn first_is_a(bytes: &[u8]) -> Verdict {
        match bytes {
            [] => Verdict::More,
            [b'a', ..] => Verdict::Yes,
            _ => Verdict::No,
        }
    }
    let rules = [Pattern::predicate(second_is_x), Pattern::predicate(first_is_a)];
    assert_eq!(is_the_same_however_it_is_cut(&rules, b"ax"), Sniffed::Rule(0));
    assert_eq!(is_the_same_however_it_is_cut(&rules, b"ay"), Sniffed::Rule(1));
    let waits = Sniffed::More {
        needed: 2,
        so_far: Some(1),
    };
    assert_eq!(once(&rules, b"a"), waits);
}

#[test]
fn a_predicate_is_asked_no_further_than_its_bound() {
    thread_local! {
        static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }
    fn never(bytes: &[u8]) -> Verdict {
        let (times, longest) = ASKED.get();
        ASKED.set((times + 1, longest.max(bytes.len())));
        Verdict::More
    }
    let rules = [
        Pattern::Tls(TlsPattern {
            whole: true,
            ..TlsPattern::default()
        }),
        Pattern::predicate(never),
    ];
    let bytes = records(&message(&[extension(99, &[0; 5_000])]), 16_384);
    let mut sniffer = Sniffer::default();
    for cut in 0..bytes.len() {
        assert!(matches!(
            sniffer.sniff(&rules, &bytes[..cut]),
            Sniffed::More { .. }
        ));
    }
    assert_eq!(sniffer.sniff(&rules, &bytes), Sniffed::Rule(0));
    assert_eq!(ASKED.get(), (257, 256));
}

#[test]
fn a_hello_in_records_of_every_size_is_the_same() {
    let rules = [Pattern::server_names(["example.org"])];
    let message = message(&[
        server_name("example.org"),
        extension(41, &[5; 300]),
        alpn(&["h2", "x"]),
    ]);
    for size in 1..message.len() {
        let bytes = records(&message, size);
        let mut sniffer = Sniffer::default();
        assert_eq!(sniffer.sniff(&rules, &bytes), Sniffed::Rule(0));
        let hello = sniffer.take_hello().unwrap();
        assert_eq!(hello.server_name.as_deref(), Some("example.org"));
        assert_eq!(hello.alpn, [b"h2".to_vec(), b"x".to_vec()]);
    }
    is_the_same_however_it_is_cut(&rules, &records(&message, 1));
    is_the_same_however_it_is_cut(&rules, &records(&message, 7));
}

#[test]
fn a_hello_of_64_kib_byte_by_byte_and_none_that_is_longer() {
    let rules = [Pattern::server_names(["example.org"])];
    let long = |len: usize| {
        let rest = len - message(&[server_name("example.org"), extension(9, &[]), extension(9, &[])]).len();
        let (one, two) = (rest / 2, rest - rest / 2);
        message(&[
            extension(9, &vec![0; one]),
            server_name("example.org"),
            extension(9, &vec![0; two]),
        ])
    };
    let most = long(64 * 1024 - 1_000);
    assert_eq!(most.len(), 64 * 1024 - 1_000);
    let bytes = records(&most, 1);
    let mut sniffer = Sniffer::default();
    for cut in 0..bytes.len() {
        assert!(matches!(
            sniffer.sniff(&rules, &bytes[..cut]),
            Sniffed::More { .. }
        ));
    }
    assert_eq!(sniffer.sniff(&rules, &bytes), Sniffed::Rule(0));
    let longest = records(&long(64 * 1024), 16_384);
    assert_eq!(once(&rules, &longest), Sniffed::Rule(0));
    let longer = records(&long(64 * 1024 + 1), 16_384);
    assert_eq!(once(&rules, &longer), Sniffed::Nobody);
    assert_eq!(once(&rules, &longer[..9]), Sniffed::Nobody);
}

#[test]
fn a_lie_in_each_length_is_no_hello() {
    let rules = [Pattern::server_names(["example.org"])];
    let whole = message(&[server_name("example.org"), alpn(&["h2"])]);
    // Session, suites, compressions, extensions, and those of the two extensions; each one off by one.
    let extensions = 4 + 2 + 32 + 33 + 6 + 2;
    for at in [4 + 34, 4 + 34 + 34, 4 + 34 + 33 + 6, extensions + 1] {
        for add in [1, 255] {
            let mut wrong = whole.clone();
            wrong[at] = wrong[at].wrapping_add(add);
            assert_eq!(
                once(&rules, &records(&wrong, 16_384)),
                Sniffed::Nobody,
                "byte {at} by {add}"
            );
        }
    }
    for (at, add) in (extensions + 2..whole.len()).flat_map(|at| [(at, 1), (at, 128)]) {
        let mut wrong = whole.clone();
        wrong[at] = wrong[at].wrapping_add(add);
        is_the_same_however_it_is_cut(&rules, &records(&wrong, 16_384));
    }
    for extensions in [
        vec![server_name("a"), server_name("b")],
        vec![alpn(&["h2"]), alpn(&["h2"])],
        vec![alpn(&[])],
        vec![alpn(&[""])],
        vec![server_name("")],
        vec![server_name("with blank")],
        vec![extension(0, &[])],
    ] {
        let any = [Pattern::Tls(TlsPattern {
            whole: true,
            ..TlsPattern::default()
        })];
        assert_eq!(
            once(&any, &records(&message(&extensions), 16_384)),
            Sniffed::Nobody
        );
    }
}

fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(hello("example.org", &["h2"])),
        Just(records(&message(&[server_name("a.example.net")]), 5)),
        Just(vec![22, 3, 1, 0, 9]),
        Just(vec![1, 0, 0, 5]),
        Just(b"GET ".to_vec()),
        Just(b"/api/ HTTP/1.1".to_vec()),
        Just(b"PRI * HTTP/2.0\r\n\r\n".to_vec()),
        Just(b"SSH-2".to_vec()),
        Just(b"PROXY".to_vec()),
        Just(vec![5, 3]),
        Just(vec![4, 1]),
        vec(any::<u8>(), 0..20),
    ];
    vec(part, 0..5).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn prop_any_bytes_are_the_same_however_they_are_cut(
        bytes in prop_oneof![vec(any::<u8>(), 0..300), nearly()],
        order in Just(all_rules()).prop_shuffle(),
    ) {
        is_the_same_however_it_is_cut(&order, &bytes);
    }

    #[test]
    fn prop_a_changed_hello_is_the_same_however_it_is_cut(
        size in 1_usize..200, at: proptest::sample::Index, byte: u8,
    ) {
        let mut bytes = records(&message(&[server_name("example.org"), alpn(&["h2", "http/1.1"])]), size);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        is_the_same_however_it_is_cut(&all_rules(), &bytes);
    }
}
