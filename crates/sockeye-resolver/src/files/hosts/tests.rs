//! Each rule of hosts(5), and files that break them.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn parse(text: impl AsRef<[u8]>) -> Hosts {
    let zone = |name: &str| (name == "eth0").then_some(7);
    Hosts::parse(text.as_ref(), zone)
}

fn v4(hosts: &Hosts, name: &str) -> Vec<String> {
    let addresses = hosts.addresses(name, AddressFamily::V4);
    addresses.map(|address| address.ip().to_string()).collect()
}

fn v6(hosts: &Hosts, name: &str) -> Vec<String> {
    hosts
        .addresses(name, AddressFamily::V6)
        .map(|address| address.to_string())
        .collect()
}

fn names<'a>(hosts: &'a Hosts, ip: &str) -> Vec<&'a str> {
    hosts.names(ip.parse().unwrap()).collect()
}

fn ignored(hosts: &Hosts) -> Vec<usize> {
    hosts
        .ignored()
        .first()
        .iter()
        .map(|ignored| ignored.line)
        .collect()
}

/// The example of the man page.
const EXAMPLE: &str = "\
# The following lines are desirable for IPv4 capable hosts
127.0.0.1       localhost

# 127.0.1.1 is often used for the FQDN of the machine
127.0.1.1       thishost.example.org   thishost
192.168.1.10    foo.example.org        foo
192.168.1.13    bar.example.org        bar
146.82.138.7    master.debian.org      master
209.237.226.90  www.opensource.org

# The following lines are desirable for IPv6 capable hosts
::1             localhost ip6-localhost ip6-loopback
ff02::1         ip6-allnodes
ff02::2         ip6-allrouters
";

#[test]
fn the_example_of_the_man_page() {
    let hosts = parse(EXAMPLE);
    assert!(hosts.ignored().is_empty());
    assert_eq!(hosts.len(), 15);
    assert_eq!(
        (v4(&hosts, "localhost"), v6(&hosts, "localhost")),
        (vec!["127.0.0.1".into()], vec!["[::1]:0".into()])
    );
    assert_eq!(v4(&hosts, "master"), ["146.82.138.7"]);
    assert_eq!(v6(&hosts, "ip6-allnodes"), ["[ff02::1]:0"]);
    assert_eq!(names(&hosts, "192.168.1.10"), ["foo.example.org", "foo"]);
    assert_eq!(
        names(&hosts, "::1"),
        ["localhost", "ip6-localhost", "ip6-loopback"]
    );
    assert!(v4(&hosts, "example.org").is_empty() && !hosts.contains("example.org"));
    assert!(names(&hosts, "192.168.1.11").is_empty());
}

#[test]
fn a_missing_file_is_an_empty_one() {
    assert!(parse("").is_empty() && Hosts::default().is_empty());
}

#[test]
fn all_addresses_of_a_name_come_in_file_order_and_once() {
    let hosts = parse("192.0.2.3 a\n192.0.2.1 b a\n2001:db8::1 a\n192.0.2.3 a\n192.0.2.2 a a\n");
    assert_eq!(v4(&hosts, "a"), ["192.0.2.3", "192.0.2.1", "192.0.2.2"]);
    assert_eq!(v6(&hosts, "a"), ["[2001:db8::1]:0"]);
    assert_eq!(hosts.len(), 5);
}

#[test]
fn the_canonical_name_comes_first_then_the_aliases_then_those_of_later_lines() {
    let hosts = parse("192.0.2.1 z.example z\n192.0.2.1 a.example z b\n");
    assert_eq!(names(&hosts, "192.0.2.1"), ["z.example", "z", "a.example", "b"]);
}

#[test]
fn names_are_compared_without_case_and_dot_at_the_end() {
    let hosts = parse("192.0.2.1 WWW.Example.ORG.\n");
    for name in ["www.example.org", "WWW.EXAMPLE.ORG", "www.example.org."] {
        assert_eq!(v4(&hosts, name), ["192.0.2.1"]);
        assert!(hosts.contains(name));
    }
    assert!(!hosts.contains("www") && !hosts.contains("") && !hosts.contains("."));
    assert_eq!(names(&hosts, "192.0.2.1"), ["www.example.org"]);
}

#[test]
fn fields_are_separated_by_any_number_of_blanks_and_may_be_indented() {
    let hosts = parse("\t 192.0.2.1 \t a\x0b\x0cb\t\t\n \t \n");
    assert_eq!(names(&hosts, "192.0.2.1"), ["a", "b"]);
    assert!(hosts.ignored().is_empty());
}

#[test]
fn a_comment_begins_anywhere() {
    let hosts = parse("192.0.2.1 a # b\n192.0.2.2 c#d\n#192.0.2.3 e\n   # f\n");
    assert_eq!(names(&hosts, "192.0.2.1"), ["a"]);
    assert_eq!(names(&hosts, "192.0.2.2"), ["c"]);
    assert_eq!(hosts.len(), 2);
    assert!(hosts.ignored().is_empty());
}

#[test]
fn no_family_is_made_out_of_the_other() {
    let hosts = parse("::1 six\n::ffff:192.0.2.1 mapped\n");
    assert!(v4(&hosts, "six").is_empty() && v4(&hosts, "mapped").is_empty());
    assert_eq!(v6(&hosts, "mapped"), ["[::ffff:192.0.2.1]:0"]);
}

#[test]
fn ipv6_addresses_have_zones() {
    let hosts =
        parse("fe80::1%eth0 router\nfe80::1%9 router\nfe80::2%gone lost\nfe80::3 open\nfe80::4% none\n");
    assert_eq!(v6(&hosts, "router"), ["[fe80::1%7]:0", "[fe80::1%9]:0"]);
    assert_eq!(v6(&hosts, "open"), ["[fe80::3]:0"]);
    assert_eq!(names(&hosts, "fe80::1"), ["router", "router"]);
    assert_eq!(ignored(&hosts), [3, 5]);
}

#[test]
fn lines_that_are_no_entry_are_ignored_by_number() {
    let hosts = parse(
        "192.0.2 a\n192.0.2.1\n192.0.2.1 # a\nlocalhost 127.0.0.1\n010.0.0.1 octal\n1.2.3.4/8 net\n[::1] b\n",
    );
    assert!(hosts.is_empty());
    assert_eq!(ignored(&hosts), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(
        hosts.ignored().first()[1].to_string(),
        "line 2: no name follows the address"
    );
}

#[test]
fn a_name_that_is_none_does_not_harm_the_others_of_its_line() {
    let label = "a".repeat(64);
    let long = vec!["a".repeat(63); 4].join(".");
    assert_eq!(long.len(), 255);
    let hosts = parse(format!(
        "192.0.2.1 ok {label} {long} *.example b\u{fc}cher a..b _srv 9p x-\n"
    ));
    assert_eq!(names(&hosts, "192.0.2.1"), ["ok", "_srv", "9p", "x-"]);
    assert_eq!(ignored(&hosts), [1; 5]);
}

#[test]
fn names_as_long_as_they_may_be_are_found() {
    let label = "b".repeat(63);
    let name = format!("{label}.{label}.{label}.{}", "c".repeat(61));
    let hosts = parse(format!("192.0.2.1 {name} {label}\n"));
    assert!(hosts.contains(&name) && hosts.contains(&format!("{name}.")) && hosts.contains(&label));
    assert!(!hosts.contains(&"b".repeat(1 << 20)));
}

#[test]
fn line_ends_of_any_system_nuls_and_bytes_that_are_no_text() {
    let hosts = parse(b"192.0.2.1 a\r\n192.0.2.2 b\0c d\n\xff\xfe e\n192.0.2.3 \x80 f\n\0\0\0\n192.0.2.4 g");
    for (name, address) in [
        ("a", "192.0.2.1"),
        ("b", "192.0.2.2"),
        ("f", "192.0.2.3"),
        ("g", "192.0.2.4"),
    ] {
        assert_eq!(v4(&hosts, name), [address]);
    }
    assert_eq!(hosts.len(), 4);
    assert_eq!(ignored(&hosts), [3, 4]);
}

/// Each of these takes minutes if the work for a line grows with the lines before it.
#[test]
fn hundreds_of_thousands_of_lines_are_not_quadratic() {
    let file = |lines: u32, line: &dyn Fn(u32) -> (Ipv4Addr, String)| {
        let mut text = String::new();
        for at in 0..lines {
            let (address, name) = line(at);
            writeln!(text, "{address} {name}").unwrap();
        }
        parse(text)
    };
    let address = |at| Ipv4Addr::from_bits(0x0a00_0000 + at);

    let different = file(300_000, &|at| (address(at), format!("host{at}.example")));
    assert_eq!(different.len(), 300_000);
    assert_eq!(v4(&different, "host299999.example"), ["10.4.147.223"]);
    assert_eq!(names(&different, "10.4.147.223"), ["host299999.example"]);

    let one_name = file(100_000, &|at| (address(at), "same.example".to_owned()));
    let mut addresses = one_name.addresses("same.example", AddressFamily::V4);
    assert_eq!(addresses.nth(99_999).unwrap().ip(), address(99_999));
    assert_eq!(addresses.next(), None);

    let one_address = file(100_000, &|at| (address(0), format!("host{at}")));
    assert_eq!(one_address.names(address(0).into()).count(), 100_000);

    let one_pair = file(100_000, &|_| (address(0), "same".to_owned()));
    assert_eq!(one_pair.len(), 1);

    let rubbish = parse("no address\n".repeat(300_000));
    assert_eq!((rubbish.len(), rubbish.ignored().total()), (0, 300_000));
}

#[test]
fn a_line_of_megabytes_is_a_line() {
    let hosts = parse(format!(
        "192.0.2.1 {}\n192.0.2.2 {}\n",
        "a ".repeat(1 << 20),
        "b".repeat(1 << 20)
    ));
    assert_eq!(names(&hosts, "192.0.2.1"), ["a"]);
    assert_eq!(ignored(&hosts), [2]);
}

proptest! {
    #[test]
    fn prop_any_bytes_are_a_hosts_file(text in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(parse(&text).len() <= text.len());
    }

    /// Against the plainest reading: all lines, each time.
    #[test]
    fn prop_lookups_are_what_a_search_through_the_lines_finds(
        lines in proptest::collection::vec((0_u8..4, proptest::collection::vec("[a-dA-D]", 1..4)), 0..30),
    ) {
        let mut text = String::new();
        for (host, words) in &lines {
            writeln!(text, "192.0.2.{host} {}", words.join(" ")).unwrap();
        }
        let hosts = parse(&text);
        for name in ["a", "b", "C", "d", "e"] {
            let mut wanted = Vec::new();
            for (host, words) in &lines {
                let address = format!("192.0.2.{host}");
                if words.iter().any(|word| word.eq_ignore_ascii_case(name)) && !wanted.contains(&address) {
                    wanted.push(address);
                }
            }
            prop_assert_eq!(v4(&hosts, name), wanted);
        }
        for host in 0..4 {
            let mut wanted: Vec<String> = Vec::new();
            let of_host = lines.iter().filter(|(of, _)| *of == host);
            for word in of_host.flat_map(|(_, words)| words) {
                let word = word.to_ascii_lowercase();
                if !wanted.contains(&word) {
                    wanted.push(word);
                }
            }
            prop_assert_eq!(names(&hosts, &format!("192.0.2.{host}")), wanted);
        }
    }
}
