//! What is wrong with filters and where, filters of any length, and programs in the kernel. Verdicts beside tcpdump's are in
//! `tests/tests/link_filter.rs`.

use std::net::UdpSocket;

use proptest::prelude::*;

use super::*;

fn program(filter: &str) -> Program {
    let expression: Expression = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
    expression.compile(LinkType::Ethernet).unwrap()
}

/// An Ethernet frame with a TCP segment between two ports.
fn segment(from: u16, to: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([
        8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.resize(60, 0);
    frame
}

#[test]
fn errors_say_where_and_what_would_be_right() {
    for (filter, at, word) in [
        ("port", 4, "number of a port"),
        ("port 80 and", 11, "a test"),
        ("port 80 443", 8, "`and`, `or`"),
        ("port 65536", 5, "0 to 65535"),
        ("port http", 5, "not looked up"),
        ("portrange 5", 10, "range of ports"),
        ("host example.org", 5, "not looked up"),
        ("host 10.0.0.0/8", 13, "`net` takes a prefix"),
        ("net 10.0.0.1/8", 4, "bits behind the prefix"),
        ("net 10.0.0.0/33", 13, "at most 32"),
        ("net ::/129", 7, "at most 128"),
        ("net 10.0.0.0 mask 255.0.255.0", 18, "all ones before all zeros"),
        ("(tcp", 4, "`)`"),
        ("tcp)", 3, "the end"),
        ("ip[8", 4, "`]`"),
        ("ip[8:3] = 1", 5, "1, 2 or 4"),
        ("ip[8]", 5, "a comparison"),
        ("ip[8] = ", 8, "a number"),
        ("ip[010] = 1", 3, "leading zero"),
        ("ip[8] / 0 = 1", 8, "division by 0"),
        ("ip[8] << 32 = 1", 9, "31 bits"),
        ("len = 4294967296", 6, "too large"),
        ("vlan 4096", 5, "at most 4095"),
        ("icmp port 3", 10, "have ports"),
        ("tcp host 10.0.0.1", 9, "go with"),
        ("ip6 host 10.0.0.1", 9, "behind `ip6`"),
        ("ip host ::1", 8, "IPv4"),
        ("ether host 02:00:00:00:00:0g", 27, "link address"),
        ("ether", 5, "behind `ether`"),
        ("src proto 6", 10, "no direction"),
        ("ip proto 256", 9, "at most 255"),
        ("ether proto 5", 12, "0x0600"),
        ("10.0.0.1", 0, "a test"),
        ("port 80 and $", 12, "unexpected character"),
        ("esp[0] = 1", 0, "cannot be looked at"),
        ("tcp port 80 \u{e9}", 12, "unexpected character"),
    ] {
        let error = filter.parse::<Expression>().unwrap_err();
        assert_eq!(error.at, at, "{filter}: {error}");
        assert!(error.to_string().contains(word), "{filter}: {error}");
    }
}

#[test]
fn what_a_link_does_not_have_is_an_error() {
    for filter in ["vlan", "ether host 02:00:00:00:00:01", "ip or ether broadcast"] {
        let expression: Expression = filter.parse().unwrap();
        let error = expression.compile(LinkType::Raw).unwrap_err();
        assert_eq!(error.kind, FilterErrorKind::Link(LinkType::Raw));
        assert_eq!(error.at, filter.find("ether").unwrap_or(0));
    }
    let any: Expression = " ".parse().unwrap();
    assert!(any.compile(LinkType::Radiotap).unwrap().accepts(&[], 0));
    let error = "tcp"
        .parse::<Expression>()
        .unwrap()
        .compile(LinkType::Radiotap)
        .unwrap_err();
    assert_eq!(error.kind, FilterErrorKind::UnknownLink(LinkType::Radiotap));
}

#[test]
fn nesting_has_a_limit_and_length_has_none() {
    let nested = |depth: usize| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    assert!(nested(100).parse::<Expression>().is_ok());
    let error = nested(101).parse::<Expression>().unwrap_err();
    assert_eq!((error.at, error.kind), (101, FilterErrorKind::TooDeep(100)));
    assert!(nested(5000).parse::<Expression>().is_err());
    assert!("not ".repeat(2500).parse::<Expression>().is_err());
    assert!(program(&format!("{}tcp", "not ".repeat(2500))).accepts(&segment(1, 2), 60));
    let index = |depth: usize| format!("{}0{} = 1", "ip[".repeat(depth), "]".repeat(depth));
    assert!(index(100).parse::<Expression>().is_ok());
    assert!(index(101).parse::<Expression>().is_err());
    let many = |depth: usize| format!("{}ip[0]{} = 1", "ip[0] - (".repeat(depth), ")".repeat(depth));
    assert!(
        many(16)
            .parse::<Expression>()
            .unwrap()
            .compile(LinkType::Ethernet)
            .is_ok()
    );
    let error = many(17)
        .parse::<Expression>()
        .unwrap()
        .compile(LinkType::Ethernet)
        .unwrap_err();
    assert_eq!(error.kind, FilterErrorKind::TooComplex(16));
}

/// Ports 1 to `count`, of TCP.
fn ports(count: u16) -> String {
    let ports: Vec<_> = (1..=count).map(|port| format!("tcp port {port}")).collect();
    ports.join(" or ")
}

#[test]
fn a_long_filter_is_right_and_its_program_grows_with_it() {
    let filter = ports(700);
    assert!(filter.len() > 10_000);
    let long = program(&filter);
    for port in 1..=1000 {
        assert_eq!(long.accepts(&segment(port, 5000), 60), port <= 700, "{port}");
        assert_eq!(long.accepts(&segment(5000, port), 60), port <= 700, "{port}");
    }
    // The protocol is looked at once; for each port the two versions of IP have a test for each end.
    let instructions = |count| program(&ports(count)).instructions().len();
    let (one, two) = (instructions(1000), instructions(2000));
    assert!(two <= 2 * one + one / 50, "{one} {two}");
    assert!(one < 10 * 1000, "{one}");
}

#[test]
fn alternating_words_bind_from_left_to_right_at_any_length() {
    // (((a or b) and c) or d) and ...: the last word decides what all before it leave open.
    let text: Vec<_> = (0..800)
        .map(|port| format!("port {port} {}", if port % 2 == 0 { "or" } else { "and" }))
        .collect();
    let filter = format!("{} tcp", text.join(" "));
    let program = program(&filter);
    for port in [0_u16, 1, 2, 797, 798, 799, 800, 2000] {
        // By the definition, not by the compiler.
        let mut holds = port == 0;
        for next in 1..800 {
            let is = port == next;
            holds = if next % 2 == 1 { holds || is } else { holds && is };
        }
        assert_eq!(program.accepts(&segment(port, 60_000), 60), holds, "{port}");
    }
}

#[test]
fn a_test_that_is_known_is_not_made_again() {
    let once = program("tcp port 80").instructions().len();
    let twice = program("tcp port 80 or tcp port 443").instructions().len();
    assert!(twice <= once + 8, "{once} {twice}");
    assert_eq!(
        program("ip and ip and ip").instructions(),
        program("ip").instructions()
    );
    assert_eq!(
        program("ip and ip6").instructions().len(),
        3,
        "nothing is left but to refuse"
    );
}

#[test]
fn a_computation_over_two_protocols_takes_packets_of_both() {
    // tcpdump 4.99 asks for the protocol of the first operand only.
    let mut ip = segment(1, 2);
    assert!(program("(ip[8] | ip[9]) = 70").accepts(&ip, 60), "64 and 6");
    assert!(program("(ip[8] | tcp[1]) = 65").accepts(&ip, 60));
    assert!(program("64 + tcp[1] = 65").accepts(&ip, 60));
    ip[23] = 17;
    assert!(!program("(ip[8] | tcp[1]) = 65").accepts(&ip, 60));
    assert!(!program("64 + tcp[1] = 65").accepts(&ip, 60));
}

#[test]
fn the_kernel_takes_the_programs() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let many: Vec<_> = (1..=300).map(|port| format!("port {port}")).collect();
    for filter in [
        "",
        "tcp port 80 and not host 10.0.0.1",
        "vlan 5 and ip6 net 2001:db8::/32",
        "tcp[(tcp[12] >> 4) * 4 - 1] = ip[8] % 3",
        &many.join(" or "),
    ] {
        let filter = program(filter);
        assert!(filter.instructions().len() <= 4096);
        filter.to_filter().attach(&socket).unwrap();
    }
    let too_long = program(&ports(2000));
    assert!(too_long.to_filter().attach(&socket).is_err());
}

#[test]
fn a_program_that_is_wrong_takes_nothing() {
    let run = |program: &[(u16, [u8; 2], u32)]| {
        let program: Vec<_> = program
            .iter()
            .map(|(code, jumps, k)| Instruction::new(*code, *jumps, *k))
            .collect();
        vm::run(&program, &[1, 2, 3, 4], 9)
    };
    assert_eq!(run(&[(0x20, [0, 0], 0), (0x16, [0, 0], 0)]), 0x0102_0304);
    assert_eq!(run(&[(0x80, [0, 0], 0), (0x16, [0, 0], 0)]), 9);
    for wrong in [
        &[][..],
        &[(0x20, [0, 0], 1), (0x06, [0, 0], 1)],
        &[(0x50, [0, 0], u32::MAX), (0x06, [0, 0], 1)],
        &[(0x05, [0, 0], 7), (0x06, [0, 0], 1)],
        &[(0x05, [0, 0], u32::MAX), (0x06, [0, 0], 1)],
        &[(0x15, [9, 9], 0), (0x06, [0, 0], 1)],
        &[(0x34, [0, 0], 0), (0x06, [0, 0], 1)],
        &[(0x60, [0, 0], 16), (0x06, [0, 0], 1)],
        &[(0xffff, [0, 0], 0), (0x06, [0, 0], 1)],
    ] {
        assert_eq!(run(wrong), 0, "{wrong:x?}");
    }
}

proptest! {
    #[test]
    fn prop_any_text_is_read_or_refused_within_it(text in "[ -~]{0,60}|[a-z0-9 ()\\[\\]!&|=<>+*/:.\\-]{0,80}|\\PC{0,20}") {
        match text.parse::<Expression>() {
            Ok(expression) => {
                if let Ok(program) = expression.compile(LinkType::Ethernet) {
                    let _ = program.accepts(&segment(1, 2), 60);
                }
            }
            Err(error) => prop_assert!(error.at <= text.len() && text.is_char_boundary(error.at), "{error}"),
        }
    }

    #[test]
    fn prop_words_in_any_order_are_read_or_refused(words in prop::collection::vec(prop::sample::select(&[
        "and", "or", "not", "(", ")", "tcp", "ip", "ip6", "port", "host", "net", "src", "dst", "80", "10.0.0.1", "::1", "[",
        "]", "=", "&", "/", "8", "vlan", "less", "len", "-", "1-2", "portrange", "proto", "mask", "ether", "multicast",
    ][..]), 0..12)) {
        let text = words.join(" ");
        match text.parse::<Expression>() {
            Ok(expression) => drop(expression.compile(LinkType::Cooked)),
            Err(error) => prop_assert!(error.at <= text.len()),
        }
    }
}
