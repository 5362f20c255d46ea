//! Capture filters beside tcpdump: the same verdict on each packet, over random expressions and random packets.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fmt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sockeye_link::filter::{Expression, FilterErrorKind};
use sockeye_packet::LinkType;
use sockeye_tests::skip::{self, Need};

/// A frame, and how much of it is captured.
#[derive(Clone)]
struct Frame {
    bytes: Vec<u8>,
    captured: usize,
}

/// As hexadecimal digits, which other programs read too.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of ", self.captured)?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn write_capture(path: &Path, link: LinkType, frames: &[Frame]) {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 262_144, link.number()] {
        file.extend(word.to_be_bytes());
    }
    for (index, frame) in frames.iter().enumerate() {
        let captured = frame.captured.min(frame.bytes.len());
        for word in [index, 0, captured, frame.bytes.len()] {
            file.extend(u32::try_from(word).unwrap().to_be_bytes());
        }
        file.extend(&frame.bytes[..captured]);
    }
    std::fs::write(path, file).unwrap();
}

/// Which frames tcpdump takes: each frame's time is its number.
fn tcpdump(path: &Path, options: &[&str], filter: &str) -> Result<Vec<usize>, String> {
    let output = Command::new("tcpdump")
        .args(options)
        .args(["-n", "-w", "-", "-r"])
        .arg(path)
        // The blank keeps a filter that begins with "-" from being an option.
        .arg(format!(" {filter}"))
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let word = |at: usize| {
        let bytes: [u8; 4] = output.stdout[at..at + 4].try_into().unwrap();
        // The file is in the byte order of whoever writes it.
        match output.stdout[0] {
            0xa1 => u32::from_be_bytes(bytes) as usize,
            _ => u32::from_le_bytes(bytes) as usize,
        }
    };
    let (mut taken, mut at) = (Vec::new(), 24);
    while at < output.stdout.len() {
        taken.push(word(at));
        at += 16 + word(at + 8);
    }
    Ok(taken)
}

/// Which frames we take; `None` where frames of this link do not have what the filter speaks of.
fn ours(link: LinkType, frames: &[Frame], filter: &str) -> Option<Vec<usize>> {
    let expression: Expression = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
    let program = match expression.compile(link) {
        Ok(program) => program,
        Err(error) => {
            assert!(
                matches!(error.kind, FilterErrorKind::Link(_)),
                "{filter}: {error}"
            );
            return None;
        }
    };
    let taken = |frame: &Frame| {
        let captured = &frame.bytes[..frame.captured.min(frame.bytes.len())];
        program.accepts(captured, u32::try_from(frame.bytes.len()).unwrap())
    };
    Some((0..frames.len()).filter(|index| taken(&frames[*index])).collect())
}

// Few different values, so that filters often meet them.
const MACS: [[u8; 6]; 4] = [
    [2, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 0, 2],
    [0xff; 6],
    [1, 0, 0x5e, 0, 0, 1],
];
const V4: [[u8; 4]; 4] = [[10, 0, 0, 1], [10, 0, 1, 2], [192, 0, 2, 1], [224, 0, 0, 1]];
const PORTS: [u16; 5] = [53, 80, 443, 1024, 8080];

fn v6(index: usize) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice([&[0x20, 1, 0xd, 0xb8], &[0xfe, 0x80, 0, 0], &[0xff, 2, 0, 0]][index % 3]);
    address[15] = 1 + u8::try_from(index % 2).unwrap();
    address
}

fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let protocol = prop_oneof![
        4 => Just(6_u8), 4 => Just(17), 1 => Just(1), 1 => Just(58), 1 => Just(132), 1 => Just(2), 1 => Just(89)
    ];
    (
        protocol,
        0_usize..5,
        0_usize..5,
        prop::collection::vec(any::<u8>(), 20..40),
    )
        .prop_map(|(protocol, from, to, mut data)| {
            if protocol == 6 || protocol == 17 || protocol == 132 {
                data[..2].copy_from_slice(&PORTS[from].to_be_bytes());
                data[2..4].copy_from_slice(&PORTS[to].to_be_bytes());
            }
            (protocol, data)
        })
}

fn ip4() -> impl Strategy<Value = Vec<u8>> {
    (
        transport(),
        0_usize..4,
        0_usize..4,
        5_u8..8,
        any::<u8>(),
        0_usize..6,
    )
        .prop_map(|((protocol, data), from, to, ihl, ttl, fragment)| {
            let fragment: [u8; 2] = [[0, 0], [0, 0], [0x40, 0], [0x20, 0], [0x20, 9], [0, 5]][fragment];
            let mut packet = vec![
                0x40 | ihl,
                0,
                0,
                0,
                0,
                7,
                fragment[0],
                fragment[1],
                ttl,
                protocol,
                0,
                0,
            ];
            packet.extend(V4[from]);
            packet.extend(V4[to]);
            packet.resize(usize::from(ihl) * 4, 1);
            packet.extend(data);
            packet[3] = u8::try_from(packet.len()).unwrap();
            packet
        })
}

fn ip6() -> impl Strategy<Value = Vec<u8>> {
    (transport(), 0_usize..6, 0_usize..6, 0_usize..4).prop_map(|((protocol, data), from, to, fragment)| {
        let mut packet = vec![0x60, 0, 0, 0, 0, u8::try_from(data.len()).unwrap(), protocol, 64];
        packet.extend(v6(from));
        packet.extend(v6(to));
        if fragment == 0 {
            packet[6] = 44;
            packet.extend([protocol, 0, 0, 1, 0, 0, 0, 9]);
        }
        packet.extend(data);
        packet
    })
}

fn arp() -> impl Strategy<Value = Vec<u8>> {
    (0_usize..4, 0_usize..4, 1_u8..3).prop_map(|(from, to, operation)| {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
        packet.extend(MACS[0]);
        packet.extend(V4[from]);
        packet.extend([0; 6]);
        packet.extend(V4[to]);
        packet
    })
}

/// An EtherType and what it carries.
fn carried() -> impl Strategy<Value = (u16, Vec<u8>)> {
    prop_oneof![
        6 => ip4().prop_map(|data| (0x0800, data)),
        4 => ip6().prop_map(|data| (0x86dd, data)),
        2 => arp().prop_map(|data| (0x0806, data)),
        1 => arp().prop_map(|data| (0x8035, data)),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(|data| (0x0800, data)),
        1 => (any::<u16>(), prop::collection::vec(any::<u8>(), 0..60)),
    ]
}

fn ethernet() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::collection::vec(
        (prop::sample::select(vec![0x8100_u16, 0x88a8, 0x9100]), 1_u16..4),
        0..3,
    );
    let tags = prop_oneof![2 => Just(Vec::new()), 1 => tags];
    (carried(), tags, 0_usize..4, 0_usize..4).prop_map(|((kind, data), tags, from, to)| {
        let mut frame = [MACS[to], MACS[from]].concat();
        for (tag, id) in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend((id | 0x2000).to_be_bytes());
        }
        frame.extend(kind.to_be_bytes());
        frame.extend(data);
        frame
    })
}

fn primitive(is_cut: bool) -> impl Strategy<Value = String> {
    let pick = |words: &'static [&'static str]| prop::sample::select(words);
    let direction = || pick(&["", "src ", "dst ", "src or dst ", "src and dst "]);
    let relation = || pick(&["=", "!=", "<", "<=", ">", ">=", "=="]);
    let address = || {
        pick(&[
            "10.0.0.1",
            "10.0.1.2",
            "192.0.2.1",
            "224.0.0.1",
            "2001:db8::1",
            "fe80::2",
            "ff02::1",
        ])
    };
    // tcpdump's optimiser leaves out what cannot differ, and with it loads and divisions that would have refused a packet.
    let net = || {
        let short = pick(&["2001:db8::/32", "fe80::/10", "fc00::/6"]);
        let net = pick(&[
            "10",
            "10.0.0.0/16",
            "10.0.1",
            "192.0.2.0/24",
            "128.0.0.0/1",
            "10.0.0.0 mask 255.0.0.0",
            "192.0.2.1",
            "2001:db8::1",
            "ff02::/127",
        ]);
        (any::<bool>(), net, short).prop_map(
            move |(is_short, net, short)| {
                if is_short && !is_cut { short } else { net }
            },
        )
    };
    let bytes = || {
        pick(&[
            "ip[8]",
            "ip[2:2]",
            "ip[12:4]",
            "ip6[7]",
            "ip6[4:2]",
            "tcp[13]",
            "tcp[tcpflags]",
            "udp[4:2]",
            "icmp[0]",
            "icmp[icmptype]",
            "icmp6[0]",
            "arp[6:2]",
            "ether[0]",
            "ether[12:2]",
            "ip[ip[0] & 15]",
            "tcp[0:2]",
            "len",
            "(ip[8] + 3)",
            "(ip[9] * 2 - ip[8])",
            "(tcp[2:2] / 16)",
            "(ip[8] >> 2)",
            "(ip[0] & 0xf) << 2",
            "(ip[8] | ip[9])",
            "-ip[8]",
            "(udp[0:2] - udp[2:2])",
            "ether[len - 1]",
            "tcp[(tcp[12] >> 4) * 4 - 1]",
            "rarp[6:2]",
            "sctp[0:2]",
            "(ip[9] / 3)",
            "(tcp[13] ^ ip[1] ^ 7)",
        ])
    };
    prop_oneof![
        3 => pick(&["ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp", "esp", "ah", "pim", "vrrp"])
            .prop_map(str::to_owned),
        3 => (direction(), pick(&["", "host "]), address()).prop_filter_map("host", |(direction, host, address)| {
            (!direction.is_empty() || !host.is_empty()).then(|| format!("{direction}{host}{address}"))
        }),
        1 => (pick(&["ip ", "arp ", "rarp "]), direction(), pick(&["10.0.0.1", "192.0.2.1"]))
            .prop_map(|(protocol, direction, address)| format!("{protocol}{direction}host {address}")),
        1 => (direction(), pick(&["02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"]))
            .prop_map(|(direction, address)| format!("ether {direction}host {address}")),
        2 => (direction(), net()).prop_map(|(direction, net)| format!("{direction}net {net}")),
        4 => (pick(&["", "tcp ", "udp ", "sctp "]), direction(), prop::sample::select(&PORTS[..]))
            .prop_map(|(protocol, direction, port)| format!("{protocol}{direction}port {port}")),
        2 => (pick(&["", "tcp ", "udp "]), direction(), pick(&["53-443", "80-80", "1000-2000", "443-53", "0-65535"]))
            .prop_map(|(protocol, direction, range)| format!("{protocol}{direction}portrange {range}")),
        1 => (pick(&["ip ", "ip6 ", ""]), pick(&["6", "17", "58", "\\tcp", "\\udp", "89", "0x11"]))
            .prop_map(|(protocol, number)| format!("{protocol}proto {number}")),
        1 => pick(&["ether proto 0x0800", "ether proto \\arp", "ether proto 0x88cc", "ether proto \\ip6"])
            .prop_map(str::to_owned),
        1 => pick(&["less 60", "greater 70", "len > 80", "len <= 64", "vlan", "vlan 1", "vlan 2", "ether broadcast",
            "broadcast", "ether multicast", "multicast", "ip multicast", "ip6 multicast"]).prop_map(str::to_owned),
        3 => (bytes(), relation(), prop_oneof![0_u32..8, 60_u32..90, any::<u32>()])
            .prop_map(|(bytes, relation, number)| format!("{bytes} {relation} {number}")),
        2 => (bytes(), 1_u32..256, relation(), 0_u32..4)
            .prop_map(|(bytes, mask, relation, number)| format!("{bytes} & {mask} {relation} {number}")),
        1 => (bytes(), relation(), bytes()).prop_map(|(left, relation, right)| format!("{left} {relation} {right}")),
        1 => pick(&["tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[13] = 2", "icmp[icmptype] = icmp-echo",
            "port 80 or 443", "host 10.0.0.1 or 10.0.1.2", "port (53 or 8080)", "tcp dst port 80 or 443 or 53",
            "tcp[tcpflags] & tcp-ack == tcp-ack", "(ip[8] = 1)", "5 > ip[8]"]).prop_map(str::to_owned),
    ]
}

fn expression(is_cut: bool) -> impl Strategy<Value = String> {
    primitive(is_cut).prop_recursive(4, 24, 6, |inner| {
        let tied = (
            inner.clone(),
            prop::collection::vec((prop::bool::ANY, inner.clone()), 1..6),
        );
        prop_oneof![
            3 => tied.prop_map(|(first, rest)| {
                rest.into_iter().fold(first, |text, (and, next)| {
                    format!("{text} {} {next}", if and { "and" } else { "or" })
                })
            }),
            1 => inner.clone().prop_map(|inner| format!("not ({inner})")),
            1 => inner.clone().prop_map(|inner| format!("! ({inner})")),
            2 => inner.prop_map(|inner| format!("({inner})")),
        ]
    })
}

fn agrees(link: LinkType, options: &[&str], frames: &[Frame], filter: &str) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    write_capture(&path, link, frames);
    let theirs = tcpdump(&path, options, filter);
    // What tcpdump finds impossible ("expression rejects all packets") is right if nothing is taken.
    let theirs = match theirs {
        Err(error) if error.contains("rejects all packets") => Some(Vec::new()),
        Err(error)
            if link != LinkType::Ethernet
                && (error.contains("support") || error.contains("not a broadcast link")) =>
        {
            None
        }
        Err(error) => return Err(TestCaseError::fail(format!("{filter}: {error}"))),
        Ok(theirs) => Some(theirs),
    };
    prop_assert_eq!(ours(link, frames, filter), theirs, "{}", filter);
    Ok(())
}

/// Many filters, each on frames of its own.
fn many(link: LinkType, options: &[&str], frames: impl Strategy<Value = Vec<u8>>, is_cut: bool) {
    let config = ProptestConfig {
        cases: cases(),
        max_shrink_iters: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let frame = (frames, 0_usize..120).prop_map(move |(mut bytes, cut)| {
        if !is_cut {
            // All that a filter can look at is there.
            bytes.resize(250, 0);
        }
        let captured = if is_cut && cut < 90 { cut } else { bytes.len() };
        Frame { bytes, captured }
    });
    let frames = prop::collection::vec(frame, 60);
    let outcome = TestRunner::new(config).run(&(expression(is_cut), frames), |(filter, frames)| {
        agrees(link, options, &frames, &filter)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_verdict_on_whole_frames_is_that_of_tcpdump() {
    if !skip::require(&[Need::program("tcpdump")]) {
        return;
    }
    many(LinkType::Ethernet, &[], ethernet(), false);
}

/// A load behind the end of a packet refuses it, whatever stands behind an `or`. tcpdump's optimiser leaves out loads, and
/// moves them, so it is switched off here.
#[test]
fn the_verdict_on_frames_cut_anywhere_is_that_of_tcpdump() {
    if !skip::require(&[Need::program("tcpdump")]) {
        return;
    }
    many(LinkType::Ethernet, &["-O"], ethernet(), true);
}

#[test]
fn the_verdict_on_other_links_is_that_of_tcpdump() {
    if !skip::require(&[Need::program("tcpdump")]) {
        return;
    }
    many(LinkType::Raw, &["-O"], prop_oneof![ip4(), ip6()], true);
    let cooked = (carried(), 0_u16..5).prop_map(|((kind, data), way)| {
        [
            &way.to_be_bytes()[..],
            &[0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0],
            &kind.to_be_bytes(),
            &data,
        ]
        .concat()
    });
    many(LinkType::Cooked, &["-O"], cooked, true);
    let cooked2 = carried().prop_map(|(kind, data)| {
        [
            &kind.to_be_bytes()[..],
            &[0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0],
            &data,
        ]
        .concat()
    });
    many(LinkType::Cooked2, &["-O"], cooked2, true);
}

/// How many processes of tcpdump a test starts; more by `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(100)
}
