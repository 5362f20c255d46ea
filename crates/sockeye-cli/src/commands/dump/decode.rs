//! A frame as an event: the shape that `--json` prints.
//!
//! What a packet does not have is left out; a checksum that cannot be judged is `null`. Offsets of errors count from the start
//! of the frame.

use serde_json::{Map, Value, json};
use sockeye::link::capture::CapturedFrame;
use sockeye::packet::{
    ExtensionObject, IcmpExtensions, Icmpv4, Icmpv4Message, Icmpv6, Icmpv6Message, LinkType, Network, Packet,
    PacketError, Quoted, QuotedTransport, Tcp, TcpFlags, TcpOption, Transport,
};

use super::{cut, layers};
use crate::probing::nanoseconds;

/// The event of one frame. `is_json` also asks for what lines do not show.
pub(super) fn frame(number: u64, frame: &CapturedFrame, is_json: bool) -> Value {
    let mut event = Map::new();
    event.insert("number".into(), number.into());
    event.insert("unix_ns".into(), nanoseconds(frame.time));
    event.insert("len".into(), frame.len.into());
    event.insert("captured_len".into(), frame.data.len().into());
    match LinkType::from_number(frame.link_type) {
        Some(link) => layers::write(&mut event, link, &frame.data, is_json),
        None => {
            event.insert("link_type".into(), frame.link_type.into());
        }
    }
    Value::Object(event)
}

/// A fault whose offset counts from `at` bytes into the frame.
pub(super) fn error(error: PacketError, at: usize) -> Value {
    json!({
        "layer": error.layer.name(),
        "offset": error.offset + at,
        "required": error.required,
        "actual": error.actual,
        "fault": error.fault.to_string(),
    })
}

/// Puts in what an IP packet says; the fault is one that is only seen inside of its ICMP message.
pub(super) fn packet(event: &mut Map<String, Value>, packet: &Packet<'_>) -> Option<PacketError> {
    let mut stopped = None;
    event.insert("network".into(), network(packet));
    let checksum_ok = packet.transport_checksum().ok();
    match &packet.transport {
        Transport::Udp(udp) => {
            event.insert(
                "transport".into(),
                json!({
                    "kind": "udp", "src_port": udp.source_port(), "dst_port": udp.destination_port(),
                    "length": udp.length(), "checksum_ok": checksum_ok,
                }),
            );
        }
        Transport::UdpLite(udp) => {
            event.insert(
                "transport".into(),
                json!({
                    "kind": "udplite", "src_port": udp.source_port(), "dst_port": udp.destination_port(),
                    "length": udp.bytes().len(), "coverage": udp.coverage(), "checksum_ok": checksum_ok,
                }),
            );
        }
        Transport::Tcp(tcp) => {
            event.insert("transport".into(), segment(tcp, checksum_ok));
        }
        Transport::Icmpv4(message) => {
            let (fields, fault) = icmpv4(message, checksum_ok);
            event.insert("icmp".into(), fields);
            stopped = fault.map(|fault| fault.shifted(packet.offset));
        }
        Transport::Icmpv6(message) => {
            let (fields, fault) = icmpv6(message, checksum_ok);
            event.insert("icmp".into(), fields);
            stopped = fault.map(|fault| fault.shifted(packet.offset));
        }
        _ => cut::transport(event, packet),
    }
    stopped
}

fn network(packet: &Packet<'_>) -> Value {
    match &packet.network {
        Network::V4(header) => json!({
            "version": 4,
            "src": header.source().to_string(),
            "dst": header.destination().to_string(),
            "protocol": header.protocol(),
            "ttl": header.ttl(),
            "header_len": header.header_len(),
            "total_len": header.total_len(),
            "fragment": {
                "offset": header.fragment_offset(), "more": header.more_fragments(), "id": header.id(),
            },
            "checksum_ok": header.checksum_ok(),
        }),
        Network::V6(header) => {
            let walked: Vec<_> = header.extensions().map_while(Result::ok).collect();
            let mut fields = json!({
                "version": 6,
                "src": header.source().to_string(),
                "dst": header.destination().to_string(),
                "protocol": packet.protocol,
                "ttl": header.hop_limit(),
                "header_len": 40,
                "total_len": 40 + header.jumbo_len().unwrap_or(u32::from(header.payload_len())),
                "extension_headers": walked.iter().map(|header| header.protocol).collect::<Vec<_>>(),
            });
            let fragment = walked.iter().find_map(|header| match header.extension {
                sockeye::packet::Extension::Fragment(fragment) => Some(fragment),
                _ => None,
            });
            if let (Some(fragment), Some(fields)) = (fragment, fields.as_object_mut()) {
                let shown = json!({ "offset": fragment.offset, "more": fragment.more, "id": fragment.id });
                fields.insert("fragment".into(), shown);
            }
            fields
        }
    }
}

/// The names of the flags that are set.
pub(super) fn flags(flags: TcpFlags) -> Value {
    flags
        .to_string()
        .split(',')
        .filter(|name| !name.is_empty())
        .collect()
}

fn segment(tcp: &Tcp<&[u8]>, checksum_ok: Option<bool>) -> Value {
    let options: Vec<_> = tcp
        .options()
        .map_while(Result::ok)
        .map(|option| tcp_option(&option))
        .collect();
    json!({
        "kind": "tcp", "src_port": tcp.source_port(), "dst_port": tcp.destination_port(),
        "length": tcp.payload().len(), "checksum_ok": checksum_ok, "flags": flags(tcp.flags()),
        "seq": tcp.sequence(), "ack": tcp.acknowledgment(), "window": tcp.window(), "options": options,
    })
}

fn tcp_option(option: &TcpOption<'_>) -> Value {
    let kind = option.kind();
    match option {
        TcpOption::End => json!({ "kind": kind, "name": "end" }),
        TcpOption::Nop => json!({ "kind": kind, "name": "nop" }),
        TcpOption::Mss(size) => json!({ "kind": kind, "name": "mss", "value": size }),
        TcpOption::WindowScale(shift) => json!({ "kind": kind, "name": "window-scale", "value": shift }),
        TcpOption::SackPermitted => json!({ "kind": kind, "name": "sack-permitted" }),
        TcpOption::Sack(_) => {
            json!({ "kind": kind, "name": "sack", "blocks": option.sack_blocks().collect::<Vec<_>>() })
        }
        TcpOption::Timestamps { value, echo } => {
            json!({ "kind": kind, "name": "timestamps", "value": value, "echo": echo })
        }
        TcpOption::Mptcp { subtype, .. } => json!({ "kind": kind, "name": "mptcp", "subtype": subtype }),
        TcpOption::FastOpen(cookie) => json!({ "kind": kind, "name": "fast-open", "len": cookie.len() }),
        _ => json!({ "kind": kind }),
    }
}

fn header(message_type: u8, code: u8, checksum_ok: Option<bool>) -> Map<String, Value> {
    Map::from_iter([
        ("type".to_owned(), message_type.into()),
        ("code".to_owned(), code.into()),
        ("checksum_ok".to_owned(), checksum_ok.into()),
    ])
}

/// Puts identifier and sequence number in.
fn identify(fields: &mut Map<String, Value>, id: u16, sequence: u16) {
    fields.insert("id".into(), id.into());
    fields.insert("seq".into(), sequence.into());
}

fn icmpv4(message: &Icmpv4<&[u8]>, checksum_ok: Option<bool>) -> (Value, Option<PacketError>) {
    let mut fields = header(message.message_type(), message.code(), checksum_ok);
    match message.message() {
        Icmpv4Message::EchoRequest { id, sequence, .. }
        | Icmpv4Message::EchoReply { id, sequence, .. }
        | Icmpv4Message::Timestamp { id, sequence, .. }
        | Icmpv4Message::Mask { id, sequence, .. } => identify(&mut fields, id, sequence),
        Icmpv4Message::Unreachable {
            code: 4,
            next_hop_mtu,
        } => {
            fields.insert("mtu".into(), next_hop_mtu.into());
        }
        Icmpv4Message::Redirect { gateway, .. } => {
            fields.insert("gateway".into(), gateway.to_string().into());
        }
        Icmpv4Message::ParameterProblem { pointer, .. } => {
            fields.insert("pointer".into(), pointer.into());
        }
        _ => {}
    }
    let fault = behind(&mut fields, message.quoted(), message.extensions());
    (Value::Object(fields), fault)
}

fn icmpv6(message: &Icmpv6<&[u8]>, checksum_ok: Option<bool>) -> (Value, Option<PacketError>) {
    let mut fields = header(message.message_type(), message.code(), checksum_ok);
    match message.message() {
        Icmpv6Message::EchoRequest { id, sequence, .. } | Icmpv6Message::EchoReply { id, sequence, .. } => {
            identify(&mut fields, id, sequence);
        }
        Icmpv6Message::TooBig { mtu } => {
            fields.insert("mtu".into(), mtu.into());
        }
        Icmpv6Message::ParameterProblem { pointer, .. } => {
            fields.insert("pointer".into(), pointer.into());
        }
        Icmpv6Message::NeighbourSolicitation { target, .. }
        | Icmpv6Message::NeighbourAdvertisement { target, .. }
        | Icmpv6Message::Redirect { target, .. } => {
            fields.insert("target".into(), target.to_string().into());
        }
        Icmpv6Message::MldQuery { group, .. }
        | Icmpv6Message::MldReport { group }
        | Icmpv6Message::MldDone { group } => {
            fields.insert("group".into(), group.to_string().into());
        }
        Icmpv6Message::MldReportV2 { records } => {
            let groups: Vec<_> = records
                .map_while(Result::ok)
                .map(|record| record.group.to_string())
                .collect();
            fields.insert("groups".into(), groups.into());
        }
        _ => {}
    }
    let fault = behind(&mut fields, message.quoted(), message.extensions());
    (Value::Object(fields), fault)
}

/// The quote and the extensions of an error, and the fault in the latter.
fn behind(
    fields: &mut Map<String, Value>,
    quote: Option<Result<Quoted<'_>, PacketError>>,
    extensions: Option<Result<IcmpExtensions<'_>, PacketError>>,
) -> Option<PacketError> {
    let mut fault = None;
    match quote {
        Some(Ok(quote)) => {
            fields.insert("quoted".into(), quoted(&quote));
        }
        Some(Err(error)) => fault = Some(error),
        None => {}
    }
    match extensions {
        Some(Ok(extensions)) => {
            let mut objects = Vec::new();
            for object in extensions {
                match object {
                    Ok(object) => objects.push(extension(&object)),
                    Err(error) => fault = fault.or(Some(error)),
                }
            }
            fields.insert("extensions".into(), objects.into());
        }
        Some(Err(error)) => fault = fault.or(Some(error)),
        None => {}
    }
    fault
}

fn quoted(quote: &Quoted<'_>) -> Value {
    let mut fields = json!({
        "src": quote.source.to_string(), "dst": quote.destination.to_string(), "protocol": quote.protocol,
        "ttl": quote.ttl, "header_len": quote.header_len, "total_len": quote.total_len,
        "fragment_offset": quote.fragment_offset, "captured_len": quote.payload.len(),
    });
    if let Some(fields) = fields.as_object_mut() {
        if let Some((source, destination)) = quote.ports() {
            fields.insert("src_port".into(), source.into());
            fields.insert("dst_port".into(), destination.into());
        }
        match quote.transport() {
            Some(QuotedTransport::Udp { length, .. }) => {
                fields.insert("length".into(), length.into());
            }
            Some(QuotedTransport::Tcp { sequence, .. }) => {
                fields.insert("seq".into(), sequence.into());
            }
            Some(QuotedTransport::Echo {
                message_type,
                id,
                sequence,
                ..
            }) => {
                fields.insert("type".into(), message_type.into());
                identify(fields, id, sequence);
            }
            _ => {}
        }
    }
    fields
}

fn extension(object: &ExtensionObject<'_>) -> Value {
    match object {
        ExtensionObject::Mpls(_) => {
            let labels = object.labels().map(|label| {
                json!({
                    "label": label.label, "traffic_class": label.traffic_class, "bottom": label.bottom,
                    "ttl": label.ttl,
                })
            });
            json!({ "class": 1, "mpls": labels.collect::<Vec<_>>() })
        }
        ExtensionObject::Interface(info) => json!({
            "class": 2,
            "role": format!("{:?}", info.role).to_lowercase(),
            "index": info.index,
            "address": info.address.map(|address| address.to_string()),
            "name": info.name.map(String::from_utf8_lossy),
            "mtu": info.mtu,
        }),
        ExtensionObject::InterfaceId { by, data } => json!({ "class": 3, "by": by, "len": data.len() }),
        ExtensionObject::Other {
            class,
            class_type,
            data,
        } => {
            json!({ "class": class, "type": class_type, "len": data.len() })
        }
        other => json!({ "other": format!("{other:?}") }),
    }
}
