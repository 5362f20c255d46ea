//! The headers of a frame as fields of its event: those of the link, and one nested object for each tunnel.

use serde_json::{Map, Value, json};
use sockeye::packet::{
    Arp, Carried, Cooked, Found, Geneve, Gre, Header, Layers, LinkType, MacAddr, Mpls, PacketError,
    PacketType, Radiotap, Wifi, WifiKind,
};

use super::{cut, decode};

type Fields = Map<String, Value>;

/// Puts what the headers of a frame say into its event. `is_json` also asks for what lines do not show.
pub(super) fn write(event: &mut Fields, link: LinkType, frame: &[u8], is_json: bool) {
    let mut levels = vec![std::mem::take(event)];
    let mut fault = None;
    for found in Layers::new(link, frame) {
        let Some(level) = levels.last_mut() else { break };
        fault = fault.or(found.fault.map(|fault| decode::error(fault, 0)));
        if let Header::Packet(packet) = &found.header {
            // A packet straight inside of a packet: IP in IP, 6in4.
            if level.contains_key("network") {
                levels.push(tunnel("ip", []));
            }
            if let Some(level) = levels.last_mut() {
                let inner = decode::packet(level, packet);
                fault = fault.or(inner.map(|inner: PacketError| decode::error(inner, found.offset)));
            }
        } else if let Some(next) = begins(&found.header) {
            levels.push(next);
        } else {
            header(level, &found, is_json);
        }
    }
    // From the inside to the outside.
    let mut inside: Option<Fields> = None;
    while let Some(mut level) = levels.pop() {
        if let Some(inside) = inside.take() {
            level.insert("inside".into(), inside.into());
        }
        inside = Some(level);
    }
    *event = inside.unwrap_or_default();
    if let Some(fault) = fault {
        event.insert("error".into(), fault);
    }
}

/// The fields with which the inside of a tunnel begins.
fn tunnel<const N: usize>(kind: &str, fields: [(&str, Option<Value>); N]) -> Fields {
    let mut tunnel = Map::new();
    tunnel.insert("kind".into(), kind.into());
    for (name, value) in fields {
        if let Some(value) = value {
            tunnel.insert(name.into(), value);
        }
    }
    Map::from_iter([("tunnel".to_owned(), Value::Object(tunnel))])
}

fn begins(header: &Header<'_>) -> Option<Fields> {
    Some(match header {
        Header::Gre(gre) => gre_fields(gre),
        Header::Vxlan(vxlan) => tunnel("vxlan", [("vni", Some(vxlan.vni().into()))]),
        Header::Geneve(geneve) => geneve_fields(geneve),
        _ => return None,
    })
}

fn gre_fields(gre: &Gre<&[u8]>) -> Fields {
    let checksum_ok = gre.checksum_status().ok();
    tunnel(
        "gre",
        [
            ("version", (gre.version() != 0).then(|| gre.version().into())),
            ("protocol", Some(gre.protocol().into())),
            ("key", gre.key().map(Into::into)),
            ("seq", gre.sequence().map(Into::into)),
            ("ack", gre.acknowledgment().map(Into::into)),
            ("checksum_ok", checksum_ok.map(Into::into)),
        ],
    )
}

fn geneve_fields(geneve: &Geneve<&[u8]>) -> Fields {
    tunnel(
        "geneve",
        [
            ("vni", Some(geneve.vni().into())),
            ("protocol", Some(geneve.protocol().into())),
        ],
    )
}

/// A header of the link, or what is not decoded.
fn header(level: &mut Fields, found: &Found<'_>, is_json: bool) {
    match &found.header {
        Header::Vlan(_, tag) => push(level, "vlans", tag.id().into()),
        Header::Arp(view) => {
            level.insert("arp".into(), arp(view));
        }
        Header::Mpls(view) => {
            level.insert("mpls".into(), labels(view));
        }
        Header::Pppoe(view) => {
            let fields = json!({ "code": view.code(), "session": view.session() });
            level.insert("pppoe".into(), fields);
        }
        Header::Other(carried, _) => other(level, *carried),
        // What is left of the beginning of an IP header.
        Header::Unsound(data) if is_ip(found) => cut::network(level, data),
        header if is_json => {
            if let Some(fields) = link(header) {
                level.insert("link".into(), fields);
            }
        }
        _ => {}
    }
}

fn is_ip(found: &Found<'_>) -> bool {
    let layer = found.fault.map(|fault| fault.layer.name());
    matches!(layer, Some("ipv4" | "ipv6"))
}

fn push(level: &mut Fields, name: &str, value: Value) {
    match level.get_mut(name).and_then(Value::as_array_mut) {
        Some(values) => values.push(value),
        None => {
            level.insert(name.into(), vec![value].into());
        }
    }
}

fn other(level: &mut Fields, carried: Carried) {
    let (name, value) = match carried {
        Carried::EtherType(kind) => ("ethertype", json!(kind)),
        Carried::Ppp(protocol) => ("ppp_protocol", json!(protocol)),
        Carried::Sap(sap) => ("sap", json!(sap)),
        Carried::Device(protocol) => ("device_protocol", json!(protocol)),
        Carried::Family(family) => ("family", json!(family)),
        _ => return,
    };
    level.insert(name.into(), value);
}

fn address(address: MacAddr) -> Value {
    address.to_string().into()
}

/// The header of the link itself.
fn link(header: &Header<'_>) -> Option<Value> {
    Some(match header {
        Header::Ethernet(view) => json!({
            "kind": "ethernet", "src": address(view.source()), "dst": address(view.destination()),
        }),
        Header::Cooked(view) => cooked(view),
        Header::Cooked2(view) => {
            let direction = direction(view.packet_type());
            json!({
                "kind": "cooked2", "src": view.source().map(address), "direction": direction,
                "interface": view.interface(),
            })
        }
        Header::Loopback(_) => json!({ "kind": "loopback" }),
        Header::Hdlc(_) => json!({ "kind": "hdlc" }),
        Header::Radiotap(view) => radio(view),
        Header::Wifi(view) => wifi(view),
        _ => return None,
    })
}

fn cooked(view: &Cooked<&[u8]>) -> Value {
    json!({
        "kind": "cooked", "src": view.source().map(address), "direction": direction(view.packet_type()),
    })
}

fn direction(way: PacketType) -> Value {
    match way {
        PacketType::Host => "in".into(),
        PacketType::Broadcast => "broadcast".into(),
        PacketType::Multicast => "multicast".into(),
        PacketType::OtherHost => "others".into(),
        PacketType::Outgoing => "out".into(),
        PacketType::Other(number) => number.into(),
        _ => Value::Null,
    }
}

fn radio(view: &Radiotap<&[u8]>) -> Value {
    json!({ "kind": "radiotap", "channel_mhz": view.channel_mhz(), "signal_dbm": view.signal_dbm() })
}

fn wifi(view: &Wifi<&[u8]>) -> Value {
    let frame = match view.kind() {
        WifiKind::Management => "management",
        WifiKind::Control => "control",
        WifiKind::Data => "data",
        WifiKind::Extension => "extension",
    };
    json!({
        "kind": "wifi", "src": view.source().map(address), "dst": address(view.destination()), "frame": frame,
        "subtype": view.subtype(), "protected": view.is_protected(),
    })
}

fn arp(view: &Arp<&[u8]>) -> Value {
    let mut fields = Map::new();
    fields.insert("operation".into(), view.operation().into());
    for (end, found) in [("sender", view.sender()), ("target", view.target())] {
        if let Some((hardware, protocol)) = found {
            let pair = json!({ "link": address(hardware), "ip": protocol.to_string() });
            fields.insert(end.into(), pair);
        }
    }
    Value::Object(fields)
}

fn labels(view: &Mpls<&[u8]>) -> Value {
    let label = |label: sockeye::packet::MplsLabel| {
        json!({
            "label": label.label, "traffic_class": label.traffic_class, "bottom": label.bottom, "ttl": label.ttl,
        })
    };
    view.labels().map(label).collect()
}
