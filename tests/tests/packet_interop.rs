//! Packets against Wireshark's dissectors: what the builders write tshark accepts, and what `sockeye dump` reads it reads the same.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};
use serde_json::Value;
use sockeye::packet::{
    DestinationOptionsBuilder, Emit, ExtensionWriter, FragmentBuilder, HopByHopBuilder, Icmpv4Builder,
    Icmpv6Builder, Ipv4, Ipv4Builder, Ipv4Fragments, Ipv4Option, Ipv4OptionWriter, Ipv6, Ipv6Builder,
    Ipv6Fragments, MplsLabel, RoutingBuilder, TcpBuilder, TcpFlags, TcpOption, TcpOptionWriter, UdpBuilder,
    UdpLiteBuilder, icmpv4, icmpv6,
};
use sockeye::raw::IpSocket;
use sockeye_tests::netns::{Namespace, World};
use sockeye_tests::program::{self, Running};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait;

const LIMIT: Duration = Duration::from_secs(60);
const V4: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
const EDITCAP: Need = Need::Program {
    name: "editcap",
    package: "wireshark-common",
};

fn v6() -> [Ipv6Addr; 2] {
    ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()]
}

/// Collects packets.
#[derive(Default)]
struct Packets(Vec<Vec<u8>>);

impl Packets {
    fn v4(&mut self, payload: &(impl Emit + ?Sized)) -> &[u8] {
        self.v4_with(Ipv4Builder::new(V4[0], V4[1]), payload)
    }

    fn v4_with(&mut self, header: Ipv4Builder<'_>, payload: &(impl Emit + ?Sized)) -> &[u8] {
        let mut buffer = vec![0; 9000];
        let len = header.write(&mut buffer, payload).unwrap();
        buffer.truncate(len);
        self.0.push(buffer);
        self.0.last().unwrap()
    }

    fn v6(&mut self, payload: &(impl Emit + ?Sized)) -> &[u8] {
        self.v6_with(Ipv6Builder::new(v6()[0], v6()[1]), payload)
    }

    fn v6_with(&mut self, header: Ipv6Builder, payload: &(impl Emit + ?Sized)) -> &[u8] {
        let mut buffer = vec![0; 9000];
        let len = header.write(&mut buffer, payload).unwrap();
        buffer.truncate(len);
        self.0.push(buffer);
        self.0.last().unwrap()
    }
}

/// One packet, and more, of everything the builders can write.
fn built() -> Packets {
    let mut packets = Packets::default();
    transports(&mut packets);
    messages(&mut packets);
    chains(&mut packets);
    fragments(&mut packets);
    packets
}

fn transports(packets: &mut Packets) {
    let mut options = TcpOptionWriter::new();
    for option in [
        TcpOption::Mss(1460),
        TcpOption::SackPermitted,
        TcpOption::Timestamps { value: 1, echo: 0 },
        TcpOption::Nop,
        TcpOption::WindowScale(7),
        TcpOption::FastOpen(&[1, 2, 3, 4, 5, 6, 7, 8]),
    ] {
        options.push(option).unwrap();
    }
    let mut sack = TcpOptionWriter::new();
    sack.push(TcpOption::Sack(&[0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0]))
        .unwrap();
    for len in [0_usize, 1, 2, 7, 500, 1400] {
        let payload = &vec![0xa5; len][..];
        packets.v4(&UdpBuilder::new(40_000, 9, payload));
        packets.v4(&UdpBuilder::new(40_000, 9, payload).without_checksum());
        packets.v6(&UdpBuilder::new(40_000, 9, payload));
        packets.v4(&UdpLiteBuilder::new(40_000, 9, payload).coverage(8));
        packets.v6(&UdpLiteBuilder::new(40_000, 9, payload));
        let segment = TcpBuilder::new(40_000, 9, payload)
            .sequence(7)
            .acknowledgment(9)
            .window(1000);
        packets.v4(&segment.flags(TcpFlags::PSH | TcpFlags::ACK));
        packets.v4(&segment.flags(TcpFlags::ACK).options(sack.as_bytes()));
        packets.v6(&segment.flags(TcpFlags::FIN | TcpFlags::ACK | TcpFlags::ECE | TcpFlags::CWR));
        packets.v6(&TcpBuilder::new(40_001, 9, payload)
            .flags(TcpFlags::SYN)
            .options(options.as_bytes()));
    }
    let mut alert = Ipv4OptionWriter::new();
    alert.push(Ipv4Option::RouterAlert { value: 0 }).unwrap();
    alert
        .push(Ipv4Option::RecordRoute {
            pointer: 4,
            route: &[0; 12],
        })
        .unwrap();
    let header = Ipv4Builder::new(V4[0], V4[1])
        .options(alert.as_bytes())
        .dscp(46)
        .ecn(2)
        .id(77)
        .ttl(1);
    packets.v4_with(header, &UdpBuilder::new(40_000, 9, b"options"));
    packets.v6_with(
        Ipv6Builder::new(v6()[0], v6()[1])
            .flow_label(0xabcde)
            .traffic_class(0xb9)
            .hop_limit(3),
        &UdpBuilder::new(40_000, 9, b"label"),
    );
}

fn messages(packets: &mut Packets) {
    let quote4 = packets
        .v4(&UdpBuilder::new(33_000, 33_434, b"probe of a traceroute"))
        .to_vec();
    let quote6 = packets
        .v6(&UdpBuilder::new(33_000, 33_434, b"probe of a traceroute"))
        .to_vec();
    let mut buffer = [0; 64];
    let mut extensions = ExtensionWriter::new(&mut buffer).unwrap();
    extensions
        .push_label(MplsLabel {
            label: 16_001,
            traffic_class: 2,
            bottom: true,
            ttl: 1,
        })
        .unwrap();
    extensions
        .push(
            2,
            0x0b,
            &[0, 0, 0, 3, 8, b'e', b't', b'h', b'0', 0, 0, 0, 0, 0, 5, 220],
        )
        .unwrap();
    let extensions = extensions.finish();
    let (quote4, quote6) = (quote4.as_slice(), quote6.as_slice());
    packets.v4(&Icmpv4Builder::echo_request(0x1234, 1, b"ping"));
    packets.v4(&Icmpv4Builder::echo_reply(0x1234, 1, b"pong!"));
    packets.v4(&Icmpv4Builder::timestamp(false, 5, 6, [43_200_000, 0, 0]));
    packets.v4(&Icmpv4Builder::timestamp(
        true,
        5,
        6,
        [43_200_000, 43_200_001, 43_200_002],
    ));
    packets.v4(&Icmpv4Builder::unreachable(icmpv4::CODE_PORT, 0, quote4));
    packets.v4(&Icmpv4Builder::unreachable(
        icmpv4::CODE_FRAGMENTATION_NEEDED,
        1280,
        quote4,
    ));
    packets.v4(&Icmpv4Builder::time_exceeded(0, quote4));
    packets.v4(&Icmpv4Builder::time_exceeded(0, &quote4[..28]));
    packets.v4(&Icmpv4Builder::time_exceeded(0, quote4).extensions(extensions));
    packets.v4(&Icmpv4Builder::parameter_problem(0, 20, quote4));
    packets.v4(&Icmpv4Builder::redirect(1, [192, 0, 2, 254].into(), quote4));
    packets.v6(&Icmpv6Builder::echo_request(0x1234, 1, b"ping"));
    packets.v6(&Icmpv6Builder::echo_reply(0x1234, 1, b"pong!"));
    packets.v6(&Icmpv6Builder::unreachable(icmpv6::CODE_PORT, quote6));
    packets.v6(&Icmpv6Builder::too_big(1280, quote6));
    packets.v6(&Icmpv6Builder::time_exceeded(0, quote6));
    packets.v6(&Icmpv6Builder::time_exceeded(0, quote6).extensions(extensions));
    packets.v6(&Icmpv6Builder::parameter_problem(1, 6, quote6));
    let neighbour = Ipv6Builder::new(v6()[0], v6()[1]).hop_limit(255);
    packets.v6_with(
        neighbour,
        &Icmpv6Builder::neighbour_solicitation(v6()[1], [2, 0, 0, 0, 0, 1]),
    );
    packets.v6_with(
        neighbour,
        &Icmpv6Builder::neighbour_advertisement(v6()[1], [2, 0, 0, 0, 0, 2], [false, true, true]),
    );
    // A multicast listener report of one group, behind the router alert that RFC 3810 asks for.
    let mut record = [0; 20];
    record[0] = 4;
    record[4..].copy_from_slice(&"ff02::fb".parse::<Ipv6Addr>().unwrap().octets());
    let report = Icmpv6Builder::new(icmpv6::MLD_REPORT_V2, 0, [0, 0, 0, 1], record);
    let group = Ipv6Builder::new("fe80::1".parse().unwrap(), "ff02::16".parse().unwrap()).hop_limit(1);
    packets.v6_with(group, &HopByHopBuilder::new(&[5, 2, 0, 0], report));
}

fn chains(packets: &mut Packets) {
    let upper = UdpBuilder::new(40_000, 9, b"behind headers");
    packets.v6(&DestinationOptionsBuilder::new(&[], upper));
    packets.v6(&HopByHopBuilder::new(
        &[5, 2, 0, 0],
        DestinationOptionsBuilder::new(&[0x1e, 3, 1, 2, 3], upper),
    ));
    packets.v6(&HopByHopBuilder::new(
        &[],
        TcpBuilder::new(40_000, 9, b"x").flags(TcpFlags::ACK),
    ));
    // Segment routing with no segment left: the destination is the final one.
    let mut segments = [0; 20];
    segments[4..].copy_from_slice(&v6()[1].octets());
    packets.v6(&RoutingBuilder::new(4, 0, &segments, upper));
    packets.v6(&FragmentBuilder::new(99, 0, false, upper));
}

fn fragments(packets: &mut Packets) {
    let payload = vec![7; 3000];
    let whole = {
        let header = Ipv4Builder::new(V4[0], V4[1]).dont_fragment(false).id(4242);
        packets
            .v4_with(header, &UdpBuilder::new(40_000, 9, payload.as_slice()))
            .to_vec()
    };
    let mut buffer = [0; 1500];
    let mut pieces = Ipv4Fragments::new(Ipv4::new(whole.as_slice()).unwrap(), 1280).unwrap();
    while let Some(len) = pieces.write_next(&mut buffer).unwrap() {
        packets.0.push(buffer[..len].to_vec());
    }
    let whole = packets
        .v6(&HopByHopBuilder::new(
            &[],
            UdpBuilder::new(40_000, 9, payload.as_slice()),
        ))
        .to_vec();
    let mut pieces = Ipv6Fragments::new(Ipv6::new(whole.as_slice()).unwrap(), 0xfeed, 1280).unwrap();
    while let Some(len) = pieces.write_next(&mut buffer).unwrap() {
        packets.0.push(buffer[..len].to_vec());
    }
}

/// Writes a capture of frames, a millisecond apart.
fn write_capture(path: &Path, link: DataLink, frames: &[Vec<u8>]) {
    let header = PcapHeader {
        datalink: link,
        ts_resolution: TsResolution::MicroSecond,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(File::create(path).unwrap(), header).unwrap();
    for (number, frame) in frames.iter().enumerate() {
        let time = Duration::from_secs(1_700_000_000) + Duration::from_millis(u64::try_from(number).unwrap());
        let len = u32::try_from(frame.len()).unwrap();
        writer.write_packet(&PcapPacket::new(time, len, frame)).unwrap();
    }
}

/// What tshark says of each frame; `occurrence` is `f` for the outermost header and `l` for the innermost.
fn tshark(path: &Path, occurrence: &str, fields: &[&str], options: &[&str]) -> Vec<HashMap<String, String>> {
    let mut command = Command::new("tshark");
    command
        .arg("-n")
        .arg("-r")
        .arg(path)
        .args(["-T", "fields", "-E", "separator=/t"]);
    command.args(["-E", &format!("occurrence={occurrence}")]);
    for check in ["ip", "tcp", "udp", "udplite"] {
        command.args(["-o", &format!("{check}.check_checksum:TRUE")]);
    }
    for option in options {
        command.args(["-o", option]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = program::output(&mut command, LIMIT);
    assert!(output.status.success(), "tshark: {}", output.stderr);
    output
        .text()
        .lines()
        .map(|line| {
            let values = line.split('\t').map(str::to_owned);
            fields
                .iter()
                .map(|field| (*field).to_owned())
                .zip(values)
                .collect()
        })
        .collect()
}

#[test]
fn tshark_accepts_every_packet_the_builders_write() {
    if !skip::require(&[Need::program("tshark")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("built.pcap");
    let packets = built();
    write_capture(&path, DataLink::RAW, &packets.0);
    const STATUS: [&str; 5] = [
        "ip.checksum.status",
        "tcp.checksum.status",
        "udp.checksum.status",
        "icmp.checksum.status",
        "icmpv6.checksum.status",
    ];
    let mut fields = vec![
        "frame.number",
        "_ws.malformed",
        "_ws.expert.severity",
        "_ws.expert.message",
    ];
    fields.extend(STATUS);
    fields.extend(["icmp.ext.checksum.status", "icmp.mpls.label", "icmpv6.type"]);
    let frames = tshark(&path, "f", &fields, &[]);
    assert_eq!(frames.len(), packets.0.len());
    let mut good = 0;
    for frame in &frames {
        assert_eq!(frame["_ws.malformed"], "", "{frame:?}");
        for status in STATUS {
            // 1 good; 3 none sent; 2 not verified, of fragments, of UDP-Lite's partial ones, and of what is quoted.
            assert_ne!(frame[status], "0", "{status} of {frame:?}");
            good += usize::from(frame[status] == "1");
        }
        assert_ne!(frame["icmp.ext.checksum.status"], "0", "{frame:?}");
    }
    assert!(good > packets.0.len(), "only {good} checksums were verified");
    assert!(frames.iter().any(|frame| frame["icmp.mpls.label"] == "16001"));
}

/// The events of `sockeye dump --json`.
fn dump(path: &Path) -> Vec<Value> {
    let mut command = Command::new(program::sockeye());
    command.args(["dump", "--json", "--read"]).arg(path);
    let output = program::output(&mut command, LIMIT);
    assert!(
        output.status.success(),
        "dump: {}{}",
        output.text(),
        output.stderr
    );
    output
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Field of tshark, and place in the event.
const COMPARED: [(&str, &str); 41] = [
    ("frame.number", "/number"),
    ("frame.len", "/len"),
    ("frame.cap_len", "/captured_len"),
    ("ip.version", "/network/version"),
    ("ip.src", "/network/src"),
    ("ip.dst", "/network/dst"),
    ("ip.proto", "/network/protocol"),
    ("ip.ttl", "/network/ttl"),
    ("ip.hdr_len", "/network/header_len"),
    ("ip.len", "/network/total_len"),
    ("ip.id", "/network/fragment/id"),
    ("ip.frag_offset", "/network/fragment/offset"),
    ("ip.flags.mf", "/network/fragment/more"),
    ("ip.checksum.status", "/network/checksum_ok"),
    ("ipv6.version", "/network/version"),
    ("ipv6.src", "/network/src"),
    ("ipv6.dst", "/network/dst"),
    ("ipv6.hlim", "/network/ttl"),
    ("ipv6.fraghdr.offset", "/network/fragment/offset"),
    ("ipv6.fraghdr.more", "/network/fragment/more"),
    ("ipv6.fraghdr.ident", "/network/fragment/id"),
    ("udp.srcport", "/transport/src_port"),
    ("udp.dstport", "/transport/dst_port"),
    ("udp.length", "/transport/length"),
    ("udp.checksum.status", "/transport/checksum_ok"),
    ("tcp.srcport", "/transport/src_port"),
    ("tcp.dstport", "/transport/dst_port"),
    ("tcp.len", "/transport/length"),
    ("tcp.seq_raw", "/transport/seq"),
    ("tcp.ack_raw", "/transport/ack"),
    ("tcp.checksum.status", "/transport/checksum_ok"),
    ("icmp.type", "/icmp/type"),
    ("icmp.code", "/icmp/code"),
    ("icmp.ident", "/icmp/id"),
    ("icmp.seq", "/icmp/seq"),
    ("icmp.checksum.status", "/icmp/checksum_ok"),
    ("icmpv6.type", "/icmp/type"),
    ("icmpv6.code", "/icmp/code"),
    ("icmpv6.echo.identifier", "/icmp/id"),
    ("icmpv6.echo.sequence_number", "/icmp/seq"),
    ("icmpv6.checksum.status", "/icmp/checksum_ok"),
];

/// A value of tshark as the event has it.
fn as_event(field: &str, text: &str) -> Value {
    if field.ends_with(".status") {
        return match text {
            "0" => false.into(),
            "1" => true.into(),
            _ => Value::Null,
        };
    }
    if field.ends_with(".mf") || field.ends_with(".more") {
        return (text == "1" || text == "True").into();
    }
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    // Fragment offsets come as they stand in the header, in units of eight bytes.
    let unit = if field.ends_with("offset") { 8 } else { 1 };
    number.map_or_else(|| text.into(), |number| Value::from(number * unit))
}

/// Compares every field of every frame; returns how many values agreed.
fn compare(path: &Path) -> usize {
    let fields: Vec<_> = COMPARED.iter().map(|(field, _)| *field).collect();
    // Each frame for itself, as we see them.
    let apart = [
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
    ];
    let theirs = tshark(path, "f", &fields, &apart);
    let inner = tshark(
        path,
        "l",
        &["ip.dst", "ipv6.dst", "udp.srcport", "tcp.srcport"],
        &apart,
    );
    let ours = dump(path);
    assert_eq!(ours.len(), theirs.len());
    let mut agreed = 0;
    for ((ours, theirs), inner) in ours.iter().zip(&theirs).zip(&inner) {
        let quoted = ours.pointer("/icmp/quoted");
        for (field, place) in COMPARED {
            // In an error, the first transport header is the quoted one.
            let is_transport = field.starts_with("udp") || field.starts_with("tcp");
            if theirs[field].is_empty() || (is_transport && quoted.is_some()) {
                continue;
            }
            let value = ours.pointer(place).unwrap_or(&Value::Null);
            assert_eq!(
                value,
                &as_event(field, &theirs[field]),
                "{field} of {ours}\n{theirs:?}"
            );
            agreed += 1;
        }
        if let Some(quoted) = quoted {
            let destination = if inner["ip.dst"].is_empty() {
                &inner["ipv6.dst"]
            } else {
                &inner["ip.dst"]
            };
            assert_eq!(quoted["dst"], destination.as_str(), "{ours}");
            for port in ["udp.srcport", "tcp.srcport"] {
                if !inner[port].is_empty() {
                    assert_eq!(quoted["src_port"].to_string(), inner[port], "{ours}");
                    agreed += 1;
                }
            }
        }
        assert_eq!(ours["schema"], 1);
    }
    agreed
}

#[test]
fn dump_agrees_with_tshark_on_what_the_builders_write() {
    if !skip::require(&[Need::program("tshark")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("built.pcap");
    let packets = built();
    write_capture(&path, DataLink::RAW, &packets.0);
    let agreed = compare(&path);
    assert!(agreed > 10 * packets.0.len(), "{agreed} values");
    // The same behind two VLAN tags, and behind the four bytes of the null link layer.
    let tagged = packets.0.iter().map(|packet| {
        let kind: &[u8] = if packet[0] >> 4 == 4 {
            &[8, 0]
        } else {
            &[0x86, 0xdd]
        };
        [&[2; 12], &[0x88, 0xa8, 0, 5, 0x81, 0, 0x20, 7][..], kind, packet].concat()
    });
    write_capture(&path, DataLink::ETHERNET, &tagged.collect::<Vec<_>>());
    assert_eq!(compare(&path), agreed);
    assert_eq!(dump(&path)[0]["vlans"], serde_json::json!([5, 7]));
    let null = packets.0.iter().map(|packet| {
        let family = if packet[0] >> 4 == 4 { 2_u32 } else { 30 };
        [&family.to_ne_bytes(), packet.as_slice()].concat()
    });
    write_capture(&path, DataLink::NULL, &null.collect::<Vec<_>>());
    assert_eq!(compare(&path), agreed);
}

#[test]
fn dump_says_where_a_packet_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    let mut packets = Packets::default();
    let whole = packets.v4(&UdpBuilder::new(1, 2, &[9; 100])).to_vec();
    let mut lying = whole.clone();
    lying[24..26].copy_from_slice(&[0, 3]);
    write_capture(
        &path,
        DataLink::RAW,
        &[whole[..60].to_vec(), whole[..10].to_vec(), lying],
    );
    let events = dump(&path);
    let place = |event: &Value| {
        let error = &event["error"];
        (
            error["layer"].clone(),
            error["offset"].clone(),
            error["required"].clone(),
            error["actual"].clone(),
        )
    };
    assert_eq!(
        place(&events[0]),
        ("ipv4".into(), 0.into(), 128.into(), 60.into())
    );
    assert_eq!(events[0]["transport"]["dst_port"], 2, "what is sound is shown");
    assert_eq!(place(&events[1]), ("ipv4".into(), 0.into(), 20.into(), 10.into()));
    assert_eq!(place(&events[2]), ("udp".into(), 24.into(), 8.into(), 3.into()));
    // A file that ends in a packet: what came before is printed, then an error.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let mut command = Command::new(program::sockeye());
    let output = program::output(command.arg("dump").arg("--read").arg(&path), LIMIT);
    assert!(!output.status.success());
    assert_eq!(output.text().lines().count(), 2, "{}", output.text());
}

#[test]
fn dump_shows_every_field_that_a_cut_packet_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pcap");
    let mut packets = Packets::default();
    let udp = packets.v4(&UdpBuilder::new(1234, 2345, &[9; 100])).to_vec();
    // RFC 792: an echo request with identifier 7 and sequence number 9; RFC 9293: ports 80 and 443, sequence number 5.
    let with = |protocol: u8, header: &[u8]| {
        let mut packet = udp[..20].to_vec();
        packet[9] = protocol;
        packet.extend_from_slice(header);
        packet
    };
    let echo = with(1, &[8, 0, 0, 0, 0, 7, 0, 9]);
    let tcp = with(
        6,
        &[
            0, 80, 1, 187, 0, 0, 0, 5, 0, 0, 0, 6, 0x50, 0x12, 4, 0, 0, 0, 0, 0,
        ],
    );
    let cut = [
        udp[..24].to_vec(),
        udp[..22].to_vec(),
        echo[..22].to_vec(),
        echo[..26].to_vec(),
        tcp[..28].to_vec(),
        tcp[..36].to_vec(),
        udp[..16].to_vec(),
    ];
    write_capture(&path, DataLink::RAW, &cut);
    let events = dump(&path);
    let port = |event: &Value, name: &str| event["transport"][name].as_u64();
    assert_eq!(
        (port(&events[0], "src_port"), port(&events[0], "dst_port")),
        (Some(1234), Some(2345))
    );
    assert_eq!(
        (port(&events[1], "src_port"), port(&events[1], "dst_port")),
        (Some(1234), None)
    );
    let icmp = |event: &Value, name: &str| event["icmp"][name].as_u64();
    assert_eq!(
        (icmp(&events[2], "type"), icmp(&events[2], "code")),
        (Some(8), Some(0))
    );
    assert_eq!((icmp(&events[3], "id"), icmp(&events[3], "seq")), (Some(7), None));
    assert_eq!(
        (
            port(&events[4], "dst_port"),
            port(&events[4], "seq"),
            port(&events[4], "ack")
        ),
        (Some(443), Some(5), None)
    );
    assert_eq!(
        events[5]["transport"]["flags"].as_array().map(Vec::len),
        Some(2),
        "{}",
        events[5]
    );
    assert!(events[6]["network"]["src"].is_string() && events[6]["network"]["dst"].is_null());
    assert!(
        events.iter().all(|event| event["error"].is_object()),
        "and says that it was cut"
    );
    let mut command = Command::new(program::sockeye());
    let output = program::output(command.arg("dump").arg("--read").arg(&path), LIMIT);
    assert!(
        output.text().contains(" icmp type 8 code 0 "),
        "{}",
        output.text()
    );
    assert!(!output.text().contains("null"), "{}", output.text());
}

#[test]
fn dump_takes_the_link_type_from_the_low_half_of_its_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fcs.pcap");
    let mut packets = Packets::default();
    let packet = packets.v4(&UdpBuilder::new(1, 2, b"x")).to_vec();
    write_capture(&path, DataLink::RAW, &[packet]);
    // draft-ietf-opsawg-pcap: the word at byte 20; here with the bit that says how long the FCS is, and 4 bytes of it.
    let mut bytes = std::fs::read(&path).unwrap();
    let word = u32::from_ne_bytes(bytes[20..24].try_into().unwrap());
    let word = if bytes[..4] == 0xa1b2_c3d4_u32.to_be_bytes() || bytes[..4] == 0xa1b2_3c4d_u32.to_be_bytes() {
        (word.swap_bytes() | 0x2400_0000).swap_bytes()
    } else {
        word | 0x2400_0000
    };
    bytes[20..24].copy_from_slice(&word.to_ne_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(dump(&path)[0]["transport"]["dst_port"], 2);
}

/// Traffic of a capture, made inside `left` by this very test.
fn make_traffic() {
    let peers: [IpAddr; 2] = [V4[1].into(), v6()[1].into()];
    for peer in peers {
        let local: IpAddr = if peer.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(peer, 7), LIMIT).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&[b'x'; 3000]).unwrap();
        stream.read_exact(&mut [0; 3000]).unwrap();
        drop(stream);
        assert!(TcpStream::connect_timeout(&SocketAddr::new(peer, 9), LIMIT).is_err());
        let socket = UdpSocket::bind((local, 0)).unwrap();
        // To a closed port: an error comes back with a quote. Large: in fragments.
        socket.send_to(b"refused", (peer, 9)).unwrap();
        socket.send_to(&[5; 4000], (peer, 9)).unwrap();
        let raw = IpSocket::bind(SocketAddr::new(local, 0), 253).unwrap();
        raw.set_router_alert(true).unwrap();
        raw.send_to(b"behind options", SocketAddr::new(peer, 0)).unwrap();
    }
}

#[test]
fn dump_agrees_with_tshark_on_captures_of_real_traffic() {
    const NAME: &str = "dump_agrees_with_tshark_on_captures_of_real_traffic";
    const INSIDE: &str = "SOCKEYE_PACKET_TRAFFIC";
    const MARK: &[u8] = b"the end of the traffic";
    if std::env::var_os(INSIDE).is_some() {
        make_traffic();
        return;
    }
    let programs = ["tshark", "tcpdump", "socat", "ping", "ip"].map(Need::program);
    if !skip::require(&programs) || !skip::require(&[EDITCAP, Need::Namespaces]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (left, right) = (world.namespace(), world.namespace());
    left.veth(
        "l0",
        &["192.0.2.1/24", "2001:db8::1/64"],
        &right,
        "r0",
        &["192.0.2.2/24", "2001:db8::2/64"],
    );
    let echo = ["TCP4-LISTEN:7,fork", "TCP6-LISTEN:7,fork,ipv6only=1"].map(|listen| {
        let running = Running::start(right.command("socat").args(["-d", "-d", listen, "PIPE"]));
        assert!(running.error_line(LIMIT).is_some(), "socat listens");
        running
    });
    let captures = [("l0", "ethernet.pcap"), ("any", "cooked.pcap")].map(|(interface, name)| {
        let path = folder.path().join(name);
        (capture(&left, interface, &path), path)
    });
    left.run("ping", &["-c2", "-i0.2", "-s", "4000", "192.0.2.2"]);
    left.run("ping", &["-6", "-c2", "-i0.2", "-s", "4000", "2001:db8::2"]);
    let mut command = left.command(&std::env::current_exe().unwrap().to_string_lossy());
    let output = program::output(
        command.args(["--exact", NAME, "--nocapture"]).env(INSIDE, "1"),
        LIMIT,
    );
    assert!(output.status.success(), "{}{}", output.text(), output.stderr);
    left.run("ping", &["-c1", "-p", &hex(&MARK[..16]), "192.0.2.2"]);
    for (mut running, path) in captures {
        wait::until("the mark in the capture", LIMIT, || {
            let bytes = std::fs::read(&path).unwrap_or_default();
            bytes.windows(16).filter(|window| *window == &MARK[..16]).count() >= 2
        });
        running.signal(libc::SIGINT);
        running.wait(LIMIT);
        let agreed = compare(&path);
        assert!(agreed > 500, "{agreed} values of {}", path.display());
        let newer = path.with_extension("pcapng");
        let mut command = Command::new("editcap");
        let output = program::output(command.args(["-F", "pcapng"]).arg(&path).arg(&newer), LIMIT);
        assert!(output.status.success(), "{}", output.stderr);
        assert_eq!(compare(&newer), agreed);
    }
    drop(echo);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Starts a capture and waits until it runs.
fn capture(namespace: &Namespace, interface: &str, path: &Path) -> Running {
    let mut command = namespace.command("tcpdump");
    // The kernel keeps a slot of the snapshot's length for each packet that waits: by default ten of them, which a burst
    // fills while tcpdump has no CPU.
    command
        .args(["-i", interface, "-s", "8192", "-B", "16384"])
        .args(["-U", "--immediate-mode", "-Z", "root", "-w"])
        .arg(path);
    let running = Running::start(&mut command);
    wait::until("tcpdump to listen", LIMIT, || {
        running
            .error_line(LIMIT)
            .is_some_and(|line| line.contains("listening on"))
    });
    running
}
