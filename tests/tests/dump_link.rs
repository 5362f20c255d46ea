//! `sockeye dump -r`: every link type and tunnel beside tshark, filters beside tcpdump, and files that are cut or lie.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sockeye_packet::{
    ArpBuilder, Emit, EthernetBuilder, GreBuilder, Ipv4Builder, Ipv6Builder, LinkType, MacAddr, MplsLabel,
    Pseudo, UdpBuilder, VXLAN_PORT, VlanBuilder, VxlanBuilder,
};
use sockeye_tests::program::{self, Output};
use sockeye_tests::skip::{self, Need};

const LIMIT: Duration = Duration::from_secs(60);
const ME: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const YOU: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn written(builder: &impl Emit) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let len = builder.emit(&mut buffer, Pseudo::None).unwrap();
    buffer.truncate(len);
    buffer
}

fn udp4(port: u16) -> impl Emit + Copy {
    Ipv4Builder::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        .carrying(UdpBuilder::new(4000, port, b"hello"))
}

fn udp6(port: u16) -> impl Emit + Copy {
    Ipv6Builder::new("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap())
        .carrying(UdpBuilder::new(4000, port, b"hello"))
}

fn before(header: &[u8], packet: &impl Emit) -> Vec<u8> {
    [header, &written(packet)].concat()
}

/// One frame, and more, of every link type that `dump` decodes.
fn frames() -> Vec<(LinkType, Vec<Vec<u8>>)> {
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let wifi = |control: [u8; 2], more: usize| [&control[..], &vec![0; 22 + more], &snap].concat();
    let label = |label, bottom| {
        MplsLabel {
            label,
            traffic_class: 0,
            bottom,
            ttl: 64,
        }
        .to_word()
        .to_be_bytes()
    };
    let labels = [label(17, false), label(16, true)].concat();
    let ppp_len = u8::try_from(written(&udp4(7)).len() + 2).unwrap();
    let pppoe = [0x11, 0, 0, 7, 0, ppp_len, 0, 0x21];
    let length = u8::try_from(before(&snap, &udp4(7)).len()).unwrap();
    let mac = [YOU.octets(), ME.octets()].concat();
    let outer = Ipv4Builder::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let frame = EthernetBuilder::new(ME, YOU, VlanBuilder::new(9, udp6(53)));
    let geneve = [&[0, 0, 0x65, 0x58, 0, 0, 5, 0][..], &written(&frame)].concat();
    let fcs = |frame: Vec<u8>| [&frame[..], &[1, 2, 3, 4]].concat();
    vec![
        (
            LinkType::Ethernet,
            vec![
                written(&EthernetBuilder::new(ME, YOU, udp4(53))),
                written(&EthernetBuilder::new(
                    ME,
                    YOU,
                    VlanBuilder::new(7, VlanBuilder::new(8, udp6(53))).service(),
                )),
                written(
                    &EthernetBuilder::new(
                        ME,
                        MacAddr::BROADCAST,
                        ArpBuilder::request(ME, [10, 0, 0, 1].into(), [10, 0, 0, 2].into()),
                    )
                    .padded(),
                ),
                before(&[&mac[..], &[0, length], &snap].concat(), &udp4(7)),
                before(&[&mac[..], &[0x88, 0x64], &pppoe].concat(), &udp4(7)),
                before(&[&mac[..], &[0x88, 0x47], &labels].concat(), &udp6(9)),
                written(&EthernetBuilder::new(ME, YOU, outer.carrying(udp4(53)))),
                written(&EthernetBuilder::new(ME, YOU, outer.carrying(udp6(53)))),
                written(&EthernetBuilder::new(
                    ME,
                    YOU,
                    outer.carrying(GreBuilder::new(udp6(53)).key(5).sequence(6).checksum()),
                )),
                written(&EthernetBuilder::new(
                    ME,
                    YOU,
                    outer.carrying(GreBuilder::new(frame)),
                )),
                written(&EthernetBuilder::new(
                    ME,
                    YOU,
                    outer.carrying(UdpBuilder::new(1, VXLAN_PORT, VxlanBuilder::new(5, frame))),
                )),
                written(&EthernetBuilder::new(
                    ME,
                    YOU,
                    outer.carrying(UdpBuilder::new(1, 6081, &geneve[..])),
                )),
            ],
        ),
        (LinkType::Raw, vec![written(&udp4(53)), written(&udp6(53))]),
        (
            LinkType::Ppp,
            vec![
                before(&[0xff, 3, 0, 0x21], &udp4(53)),
                before(&[0x00, 0x57], &udp6(53)),
            ],
        ),
        (LinkType::PppHdlc, vec![before(&[0xff, 3, 0, 0x21], &udp4(53))]),
        (LinkType::Pppoe, vec![before(&pppoe, &udp4(7))]),
        (
            LinkType::CiscoHdlc,
            vec![
                before(&[0x0f, 0, 8, 0], &udp4(53)),
                before(&[0x8f, 0, 0x86, 0xdd], &udp6(53)),
            ],
        ),
        (
            LinkType::Loop,
            vec![
                before(&[0, 0, 0, 2], &udp4(53)),
                before(&[0, 0, 0, 30], &udp6(53)),
            ],
        ),
        (
            LinkType::Cooked,
            vec![before(
                &[&[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &[8, 0]].concat(),
                &udp4(53),
            )],
        ),
        (
            LinkType::Cooked2,
            vec![before(
                &[0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0],
                &udp6(53),
            )],
        ),
        (
            LinkType::Wifi,
            vec![
                before(&wifi([0x08, 0x01], 0), &udp4(53)),
                before(&wifi([0x88, 0x02], 2), &udp4(53)),
                before(&wifi([0x88, 0x03], 8), &udp4(53)),
            ],
        ),
        (
            LinkType::Radiotap,
            vec![fcs(before(
                &[&[0, 0, 9, 0, 2, 0, 0, 0, 0x10][..], &wifi([8, 2], 0)].concat(),
                &udp4(53),
            ))],
        ),
        (LinkType::Mpls, vec![before(&labels, &udp4(53))]),
        (LinkType::Ipv4, vec![written(&udp4(53))]),
        (LinkType::Ipv6, vec![written(&udp6(53))]),
    ]
}

/// A pcap file as the draft describes it; the time of a frame is its number.
fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file: Vec<u8> = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 262_144, link] {
        file.extend(word.to_be_bytes());
    }
    for (index, frame) in frames.iter().enumerate() {
        for word in [index, 0, frame.len(), frame.len()] {
            file.extend(u32::try_from(word).unwrap().to_be_bytes());
        }
        file.extend(frame);
    }
    file
}

/// The same as pcapng: a section, one interface, and a block a frame.
fn pcapng(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let len = u32::try_from(12 + body.len().next_multiple_of(4)).unwrap();
        file.extend(kind.to_be_bytes());
        file.extend(len.to_be_bytes());
        file.extend(body);
        file.resize(file.len().next_multiple_of(4), 0);
        file.extend(len.to_be_bytes());
    };
    block(
        0x0a0d_0d0a,
        &[
            0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
    );
    let link = u16::try_from(link).unwrap().to_be_bytes();
    block(1, &[link[0], link[1], 0, 0, 0, 4, 0, 0]);
    for (index, frame) in frames.iter().enumerate() {
        let (index, len) = (u32::try_from(index).unwrap(), u32::try_from(frame.len()).unwrap());
        let mut body = Vec::new();
        for word in [0, 0, index * 1_000_000, len, len] {
            body.extend(word.to_be_bytes());
        }
        body.extend(frame);
        block(6, &body);
    }
    file
}

fn run(path: &Path, options: &[&str], filter: &str) -> Output {
    let mut command = Command::new(program::sockeye());
    command.arg("dump").args(options).arg("-r").arg(path);
    if !filter.is_empty() {
        command.arg(filter);
    }
    program::output(&mut command, LIMIT)
}

fn events(path: &Path, filter: &str) -> Vec<Value> {
    let output = run(path, &["--json"], filter);
    assert!(output.status.success(), "{}{}", output.text(), output.stderr);
    output
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The innermost level of an event.
fn innermost(event: &Value) -> &Value {
    let mut level = event;
    while !level["inside"].is_null() {
        level = &level["inside"];
    }
    level
}

#[test]
fn the_innermost_packet_is_the_one_that_tshark_finds() {
    if !skip::require(&[Need::program("tshark")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames");
    // tshark does not know captures of MPLS alone.
    for (link, frames) in frames().into_iter().filter(|(link, _)| *link != LinkType::Mpls) {
        for file in [pcap(link.number(), &frames), pcapng(link.number(), &frames)] {
            std::fs::write(&path, file).unwrap();
            let mut tshark = Command::new("tshark");
            tshark
                .args([
                    "-n",
                    "-T",
                    "fields",
                    "-E",
                    "separator=,",
                    "-E",
                    "occurrence=l",
                    "-r",
                ])
                .arg(&path);
            for field in [
                "ip.dst",
                "ipv6.dst",
                "udp.dstport",
                "vlan.id",
                "mpls.label",
                "arp.dst.proto_ipv4",
            ] {
                tshark.args(["-e", field]);
            }
            let theirs = program::output(&mut tshark, LIMIT);
            let problems = theirs.stderr.clone();
            let theirs: Vec<_> = theirs
                .text()
                .lines()
                .map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>())
                .collect();
            let events = events(&path, "");
            assert_eq!(events.len(), theirs.len(), "{link:?} {problems}");
            for (event, theirs) in events.iter().zip(theirs) {
                let level = innermost(event);
                let shown = format!("{link:?} {theirs:?} {event}");
                assert!(event["error"].is_null(), "{shown}");
                let [ip4, ip6, port, vlan, label, arp] = &theirs[..] else {
                    panic!("{shown}")
                };
                let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
                if let Some(arp_target) = level["arp"]["target"]["ip"].as_str() {
                    assert_eq!(arp_target, arp, "{shown}");
                    continue;
                }
                // Both versions may be in one frame: ours is the inner one.
                assert!([ip4, ip6].contains(&&text(&level["network"]["dst"])), "{shown}");
                assert_eq!(level["transport"]["dst_port"].to_string(), *port, "{shown}");
                if let Some(last) = level["vlans"].as_array().and_then(|vlans| vlans.last()) {
                    assert_eq!(last.to_string(), *vlan, "{shown}");
                }
                if let Some(last) = level["mpls"].as_array().and_then(|labels| labels.last()) {
                    assert_eq!(last["label"].to_string(), *label, "{shown}");
                }
            }
        }
    }
}

#[test]
fn tunnels_are_nested_in_events_and_follow_each_other_in_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    let (link, frames) = frames().swap_remove(0);
    std::fs::write(&path, pcap(link.number(), &frames)).unwrap();
    let events = events(&path, "");
    assert_eq!(events[0]["link"]["src"], "02:00:00:00:00:01");
    assert_eq!(events[1]["vlans"].to_string(), "[7,8]");
    assert_eq!(events[2]["arp"]["sender"]["link"], "02:00:00:00:00:01");
    assert_eq!(events[4]["pppoe"]["session"], 7);
    assert_eq!(events[6]["inside"]["tunnel"]["kind"], "ip");
    let gre = &events[8]["inside"]["tunnel"];
    assert_eq!(
        (&gre["key"], &gre["seq"], &gre["checksum_ok"]),
        (&5.into(), &6.into(), &true.into())
    );
    assert_eq!(events[10]["network"]["dst"], "192.0.2.2");
    assert_eq!(events[10]["inside"]["tunnel"]["vni"], 5);
    assert_eq!(events[10]["inside"]["link"]["dst"], "02:00:00:00:00:02");
    assert_eq!(events[11]["inside"]["tunnel"]["kind"], "geneve");
    let lines = run(&path, &[], "").text();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[2], "3 2.000000 arp who has 10.0.0.2 tell 10.0.0.1");
    assert_eq!(
        lines[8],
        "9 8.000000 192.0.2.1 > 192.0.2.2 gre key 5 seq 6: [fd00::1]:4000 > [fd00::2]:53 udp len 13"
    );
    assert_eq!(
        lines[10],
        "11 10.000000 192.0.2.1:1 > 192.0.2.2:4789 udp len 87 vxlan vni 5: vlan 9 [fd00::1]:4000 > [fd00::2]:53 udp len 13"
    );
}

#[test]
fn a_filter_shows_what_tcpdump_shows() {
    if !skip::require(&[Need::program("tcpdump")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    for (link, frames) in frames() {
        let known = [
            LinkType::Ethernet,
            LinkType::Raw,
            LinkType::Cooked,
            LinkType::Cooked2,
            LinkType::Ipv4,
            LinkType::Ipv6,
        ];
        std::fs::write(&path, pcap(link.number(), &frames)).unwrap();
        for filter in [
            "udp port 53",
            "host 10.0.0.1",
            "ip6",
            "ip proto 47 or ip proto 41",
            "not udp",
            "len < 70",
        ] {
            if !known.contains(&link) {
                let output = run(&path, &[], filter);
                let is_refused =
                    output.status.code() == Some(2) && output.stderr.contains("cannot be filtered");
                assert!(
                    is_refused || link == LinkType::Loop,
                    "{link:?}: {}",
                    output.stderr
                );
                continue;
            }
            let mut tcpdump = Command::new("tcpdump");
            tcpdump.args(["-n", "-tt", "-r"]).arg(&path).arg(filter);
            let theirs = program::output(&mut tcpdump, LIMIT);
            let theirs: Vec<u64> = theirs
                .text()
                .lines()
                .filter_map(|line| line.split_once('.')?.0.parse().ok())
                .collect();
            let ours: Vec<u64> = events(&path, filter)
                .iter()
                .map(|event| event["unix_ns"].as_u64().unwrap() / 1_000_000_000)
                .collect();
            assert_eq!(ours, theirs, "{link:?} {filter}");
        }
    }
}

#[test]
fn a_filter_that_is_none_is_a_usage_error_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    std::fs::write(&path, pcap(1, &[])).unwrap();
    for (filter, message) in [
        (
            "port http",
            "filter, byte 5, before \"http\": expected the number of a port",
        ),
        ("tcp and", "filter, byte 7, behind \"tcp and\": expected a test"),
    ] {
        let output = run(&path, &[], filter);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr.contains(message), "{}", output.stderr);
    }
    std::fs::write(&path, pcap(147, &[vec![1, 2, 3]])).unwrap();
    let output = run(&path, &[], "tcp");
    assert!(
        output.stderr.contains("link type 147 is not decoded"),
        "{}",
        output.stderr
    );
    assert_eq!(run(&path, &[], "").text().trim(), "1 0.000000 link type 147");
}

/// Bytes that lie, and files that end anywhere: a status that is known, never a signal, and no more packets than there are.
#[test]
fn a_capture_that_is_cut_or_lies_has_a_clear_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames");
    let frames = [vec![1; 40], written(&udp4(53))];
    for whole in [pcap(101, &frames), pcapng(101, &frames)] {
        let cuts = (0..whole.len()).step_by(9).map(|len| whole[..len].to_vec());
        let header = whole.len().min(72);
        let lies = (0..header).step_by(5).map(|at| {
            let mut lying = whole.clone();
            lying[at] ^= 0xff;
            lying
        });
        for file in cuts.chain(lies) {
            std::fs::write(&path, &file).unwrap();
            let output = run(&path, &["--json"], "");
            assert!(
                matches!(output.status.code(), Some(0 | 5)),
                "{:?} {}",
                output.status,
                output.stderr
            );
            assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
            let text = output.text();
            let packets = text
                .lines()
                .filter(|line| line.contains("\"event\":\"packet\""))
                .count();
            assert!(packets <= 2, "{text}");
            assert!(
                text.lines()
                    .all(|line| serde_json::from_str::<Value>(line).is_ok()),
                "{text}"
            );
        }
    }
}
