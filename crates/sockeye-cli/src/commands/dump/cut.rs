//! What the bytes of a header that was cut off still say: the fields that lie within them whole.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};
use sockeye::packet::{Network, Packet, TcpFlags, Transport, protocol};

/// Big-endian fields, each there only if all of its bytes are.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u8(&self, at: usize) -> Option<u8> {
        self.at::<1>(at).map(|[byte]| byte)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.at(at).map(u16::from_be_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.at(at).map(u32::from_be_bytes)
    }
}

/// The fields that are there.
fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let there = |(name, value): (&str, Option<Value>)| Some((name.to_owned(), value?));
    fields.into_iter().filter_map(there).collect()
}

fn value<T: Into<Value>>(field: Option<T>) -> Option<Value> {
    field.map(Into::into)
}

/// Puts in what the beginning of an IP header says.
pub(super) fn network(event: &mut Map<String, Value>, data: &[u8]) {
    let bytes = Bytes(data);
    let fields = match bytes.u8(0).map(|first| first >> 4) {
        Some(4) => present([
            ("version", Some(json!(4))),
            ("total_len", value(bytes.u16(2))),
            ("ttl", value(bytes.u8(8))),
            ("protocol", value(bytes.u8(9))),
            ("src", bytes.at(12).map(|ip: [u8; 4]| json!(Ipv4Addr::from(ip)))),
            ("dst", bytes.at(16).map(|ip: [u8; 4]| json!(Ipv4Addr::from(ip)))),
        ]),
        Some(6) => present([
            ("version", Some(json!(6))),
            ("protocol", value(bytes.u8(6))),
            ("ttl", value(bytes.u8(7))),
            ("src", bytes.at(8).map(|ip: [u8; 16]| json!(Ipv6Addr::from(ip)))),
            ("dst", bytes.at(24).map(|ip: [u8; 16]| json!(Ipv6Addr::from(ip)))),
        ]),
        _ => return,
    };
    event.insert("network".into(), fields.into());
}

/// Puts in what the beginning of a transport header says, where the packet has one.
pub(super) fn transport(event: &mut Map<String, Value>, packet: &Packet<'_>) {
    let Transport::Other(data) = packet.transport else {
        return;
    };
    if data.is_empty() || packet.fragment.is_some_and(|(offset, _)| offset > 0) {
        return;
    }
    let bytes = Bytes(data);
    match (packet.protocol, packet.network) {
        (protocol::TCP, _) => {
            event.insert("transport".into(), segment(&bytes).into());
        }
        (protocol::UDP, _) => {
            event.insert("transport".into(), ports("udp", &bytes).into());
        }
        (protocol::UDP_LITE, _) => {
            event.insert("transport".into(), ports("udplite", &bytes).into());
        }
        (protocol::ICMPV4, Network::V4(_)) => {
            event.insert("icmp".into(), icmp(&bytes, [0, 8]).into());
        }
        (protocol::ICMPV6, Network::V6(_)) => {
            event.insert("icmp".into(), icmp(&bytes, [128, 129]).into());
        }
        _ => {}
    }
}

fn ports(kind: &str, bytes: &Bytes<'_>) -> Map<String, Value> {
    present([
        ("kind", Some(kind.into())),
        ("src_port", value(bytes.u16(0))),
        ("dst_port", value(bytes.u16(2))),
        ("length", if kind == "udp" { value(bytes.u16(4)) } else { None }),
    ])
}

fn segment(bytes: &Bytes<'_>) -> Map<String, Value> {
    let flags = bytes
        .u16(12)
        .map(|word| super::decode::flags(TcpFlags::from_bits(word & 0x1ff)));
    present([
        ("kind", Some("tcp".into())),
        ("src_port", value(bytes.u16(0))),
        ("dst_port", value(bytes.u16(2))),
        ("seq", value(bytes.u32(4))),
        ("ack", value(bytes.u32(8))),
        ("flags", flags),
        ("window", value(bytes.u16(14))),
    ])
}

/// Echo messages have an identifier and a sequence number.
fn icmp(bytes: &Bytes<'_>, echo: [u8; 2]) -> Map<String, Value> {
    let kind = bytes.u8(0);
    let is_echo = kind.is_some_and(|kind| echo.contains(&kind));
    let word = |at| value(bytes.u16(at).filter(|_| is_echo));
    present([
        ("type", value(kind)),
        ("code", value(bytes.u8(1))),
        ("id", word(4)),
        ("seq", word(6)),
    ])
}
