//! Python's `ipaddress` reads the same texts: each disagreement has its reason in a table here.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sockeye::endpoint::{
    Network, ParseErrorKind as Kind, is_globally_reachable, parse_scoped_ip, special_blocks,
};
use sockeye_tests::program::output_with_input;
use sockeye_tests::skip::{Need, require};

/// One JSON array a line: the address as a number and its zone, the network, whether it is global.
const SCRIPT: &str = r#"
import ipaddress, json, sys
def tried(f):
    try: return f()
    except ValueError: return None
for line in sys.stdin:
    text = json.loads(line)
    address = tried(lambda: ipaddress.ip_address(text))
    network = tried(lambda: ipaddress.ip_network(text))
    print(json.dumps([
        None if address is None else [address.version, str(int(address)), getattr(address, "scope_id", None)],
        None if network is None else [str(int(network.network_address)), network.prefixlen],
        None if address is None else address.is_global,
    ]))
"#;

/// Why Python takes a text as an address that we do not take.
const LAXER_ADDRESSES: &[(Kind, &str)] = &[
    (
        Kind::LeadingZero,
        "a zone of digits with leading zeros, or %0, which names none",
    ),
    (
        Kind::NumberTooBig,
        "a zone index past 32 bits is only a name to Python",
    ),
    (
        Kind::ZoneTooLong,
        "no interface on Linux has a name of more than 15 bytes",
    ),
    (
        Kind::UnexpectedCharacter,
        "a zone with characters that no interface's name has",
    ),
    (Kind::Blank, "a zone with a blank in it"),
];

/// Why Python takes a text as a network that we do not take.
const LAXER_NETWORKS: &[(Kind, &str)] = &[
    (
        Kind::MissingPrefix,
        "a bare address is a network of one to Python",
    ),
    (Kind::LeadingZero, "/08"),
    (
        Kind::NumberTooBig,
        "a netmask (/255.0.0.0) in place of a prefix length",
    ),
    (
        Kind::UnexpectedCharacter,
        "a netmask (/0.0.0.0) in place of a prefix length",
    ),
    (
        Kind::UnexpectedZone,
        "a zone on a network, which newer versions of Python refuse too",
    ),
];

/// Where Python (3.8 to 3.14) and IANA's registries disagree about reachability, as of the table's date here.
const GLOBAL_DIFFERS: &[(&str, &str)] = &[
    ("224.0.0.0/4", "multicast is global to Python"),
    ("ff00::/8", "multicast is global to Python"),
    (
        "192.0.0.0/24",
        "older versions count blocks inside it that are reachable, or all of it",
    ),
    ("192.88.99.0/24", "deprecated; the registry says N/A"),
    ("100.64.0.0/10", "neither private nor global to older versions"),
    ("64:ff9b::/96", "Python does not look at the embedded address"),
    ("64:ff9b:1::/48", "missing in older versions"),
    ("100:0:0:1::/64", "registered in 2025"),
    (
        "2001::/23",
        "older versions count blocks inside it that are reachable, or all of it",
    ),
    ("2002::/16", "the registry says N/A"),
    ("3fff::/20", "registered in 2024"),
    ("5f00::/16", "registered in 2024"),
    ("fec0::/10", "site-local, deprecated; global to Python"),
    ("::/96", "IPv4-compatible, deprecated; global to Python"),
    (
        "::ffff:0:0/96",
        "Python answers for the embedded address from 3.13 on",
    ),
];

/// IPv6 space outside 2000::/3 that nobody has been given is global to Python.
fn is_unallocated(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if !matches!(ip.segments()[0], 0x2000..=0x3fff))
}

/// A small generator of numbers, the same on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // Steele, Lea, Flood: SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let count = u64::try_from(of.len()).unwrap_or(1);
        &of[usize::try_from(self.next() % count).unwrap_or(0)]
    }
}

/// Texts on which parsers in use disagree.
const TRAPS: &[&str] = &[
    "0177.0.0.1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "127.0.0.1",
    "127.0.0.1 ",
    "+1.2.3.4",
    "1.2.3.4.5",
    "1.2.3",
    "::",
    "::1",
    "1::",
    "::1:80",
    "fe80::1%eth0",
    "fe80::1%",
    "fe80::1%25",
    "fe80::1%0",
    "::ffff:1.2.3.4",
    "1:2:3:4:5:6:7::",
    "1:2:3:4:5:6:7:8:9",
    "::1.2.3.04",
    "10.0.0.0/8",
    "10.0.0.1/8",
    "10.0.0.0/08",
    "10.0.0.0/+8",
    "010.0.0.0/8",
    "10.0.0.0/255.0.0.0",
    "10.0.0.0/0.255.255.255",
    "10.0.0.0",
    "2001:db8::/32",
    "2001:db8::/129",
    "fe80::%eth0/64",
    "",
    "１２７.0.0.1",
    "4000::1",
    "fec0::1",
    "::8.8.8.8",
    "64:ff9b::a00:1",
    "224.0.0.1",
    "ff0e::1",
];

/// What random texts are put together from.
const PIECES: &[&str] = &[
    "0",
    "1",
    "01",
    "9",
    "10",
    "255",
    "256",
    "1000",
    "f",
    "ff",
    "db8",
    "ffff",
    "10000",
    "fe80",
    "2001",
    ".",
    ".",
    ".",
    ".",
    ":",
    ":",
    ":",
    ":",
    "::",
    "::",
    "%",
    "%1",
    "%eth0",
    "/",
    "/8",
    "/64",
    "/032",
    "-",
    "+",
    " ",
    "x",
    "1.2.3.4",
    "10.0.0.0",
    "2001:db8::",
];

/// Known traps, the edges of every registered block, and thousands of texts put together from pieces.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = TRAPS.iter().map(ToString::to_string).collect();
    for block in special_blocks() {
        let network = block.network();
        texts.extend([network.address(), network.last()].map(|ip| ip.to_string()));
        texts.push(network.to_string());
    }
    let mut numbers = Numbers(1);
    for _ in 0..6_000 {
        let count = 1 + numbers.next() % 9;
        texts.push((0..count).map(|_| *numbers.pick(PIECES)).collect());
    }
    for _ in 0..1_000 {
        let bits = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
        let ip = Ipv6Addr::from_bits(bits);
        texts.push(ip.to_string());
        texts.push(Ipv4Addr::from_bits(ip.segments()[0].into()).to_string());
        texts.push(format!("{ip}/{}", numbers.next() % 130));
    }
    texts
}

#[test]
fn python_agrees_but_for_the_listed_reasons() {
    if !require(&[Need::program("python3")]) {
        return;
    }
    let texts = texts();
    let input: String = texts
        .iter()
        .map(|text| format!("{}\n", Value::from(text.as_str())))
        .collect();
    let output = output_with_input(
        Command::new("python3").args(["-c", SCRIPT]),
        input.as_bytes(),
        Duration::from_secs(120),
    );
    assert!(output.status.success(), "{}", output.stderr);
    let answers: Vec<Value> = output
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), texts.len());
    let mut agreed = 0;
    for (text, answer) in texts.iter().zip(&answers) {
        compare_address(text, &answer[0]);
        compare_network(text, &answer[1]);
        compare_reach(text, &answer[2]);
        agreed += usize::from(answer[0].is_array() || answer[1].is_array());
    }
    assert!(agreed > 2_000, "only {agreed} texts were addresses or networks");
}

#[track_caller]
fn compare_address(text: &str, theirs: &Value) {
    match parse_scoped_ip(text) {
        Ok((ip, zone)) => {
            let (version, bits) = match ip {
                IpAddr::V4(ip) => (4, u128::from(ip.to_bits())),
                IpAddr::V6(ip) => (6, ip.to_bits()),
            };
            assert_eq!(theirs[0], version, "{text}");
            assert_eq!(theirs[1].as_str(), Some(bits.to_string().as_str()), "{text}");
            assert_eq!(
                theirs[2].as_str().map(str::to_owned),
                zone.map(|zone| zone.to_string()),
                "{text}"
            );
        }
        Err(error) if theirs.is_array() => {
            let listed = LAXER_ADDRESSES.iter().any(|(kind, _)| *kind == error.kind);
            assert!(
                listed && text.contains('%'),
                "Python takes {text:?}; we do not: {error}"
            );
        }
        Err(_) => {}
    }
}

#[track_caller]
fn compare_network(text: &str, theirs: &Value) {
    match text.parse::<Network>() {
        Ok(network) => {
            let bits = match network.address() {
                IpAddr::V4(ip) => u128::from(ip.to_bits()),
                IpAddr::V6(ip) => ip.to_bits(),
            };
            assert_eq!(theirs[0].as_str(), Some(bits.to_string().as_str()), "{text}");
            assert_eq!(theirs[1], network.prefix_len(), "{text}");
        }
        Err(error) if theirs.is_array() => {
            let listed = LAXER_NETWORKS.iter().any(|(kind, _)| *kind == error.kind);
            assert!(listed, "Python takes the network {text:?}; we do not: {error}");
        }
        Err(_) => {}
    }
}

#[track_caller]
fn compare_reach(text: &str, theirs: &Value) {
    let (Ok((ip, None)), Some(theirs)) = (parse_scoped_ip(text), theirs.as_bool()) else {
        return;
    };
    if is_globally_reachable(ip) == theirs {
        return;
    }
    let listed = GLOBAL_DIFFERS
        .iter()
        .any(|(block, _)| block.parse::<Network>().unwrap().contains(ip));
    assert!(
        listed || is_unallocated(ip),
        "Python says that {ip} is global: {theirs}"
    );
}
