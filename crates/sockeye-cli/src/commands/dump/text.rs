//! An event as a line for people.

use std::fmt::Write as _;

use serde_json::Value;

/// One line: number, time, who to whom, what; behind a tunnel the same again for what it carries.
pub(super) fn line(event: &Value) -> String {
    let nanoseconds = event["unix_ns"].as_u64().unwrap_or_default();
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    format!("{} {seconds}.{:06}{}", event["number"], rest / 1000, body(event))
}

/// Who to whom, and what, each behind a blank; behind a tunnel the same again.
pub(super) fn body(event: &Value) -> String {
    let mut line = String::new();
    let mut level = event;
    loop {
        describe(&mut line, level);
        let inside = &level["inside"];
        if inside.is_null() {
            break;
        }
        tunnel(&mut line, &inside["tunnel"]);
        level = inside;
    }
    let error = &event["error"];
    if let Some(layer) = text(&error["layer"]) {
        let fault = text(&error["fault"]).unwrap_or_default();
        let (offset, required, actual) = (&error["offset"], &error["required"], &error["actual"]);
        let _ = write!(
            line,
            " [{layer} at byte {offset}: {fault}, required {required}, actual {actual}]"
        );
    }
    line
}

/// The word of a tunnel, and what tells it from others of its kind.
fn tunnel(line: &mut String, tunnel: &Value) {
    let _ = write!(line, " {}", text(&tunnel["kind"]).unwrap_or("tunnel"));
    for name in ["vni", "key", "seq"] {
        if !tunnel[name].is_null() {
            let _ = write!(line, " {name} {}", tunnel[name]);
        }
    }
    line.push(':');
}

/// Tags, labels and sessions below IP, and ARP.
fn below(line: &mut String, level: &Value) {
    let numbers = |values: &Value| -> Vec<String> {
        values
            .as_array()
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect()
    };
    let vlans = numbers(&level["vlans"]);
    if !vlans.is_empty() {
        let _ = write!(line, " vlan {}", vlans.join("/"));
    }
    if let Some(labels) = level["mpls"].as_array() {
        let labels: Vec<_> = labels.iter().map(|label| label["label"].to_string()).collect();
        let _ = write!(line, " mpls {}", labels.join("/"));
    }
    let pppoe = &level["pppoe"];
    if !pppoe.is_null() {
        let _ = match pppoe["code"].as_u64() {
            Some(0) => write!(line, " pppoe session {}", pppoe["session"]),
            _ => write!(line, " pppoe discovery code {}", pppoe["code"]),
        };
    }
    let arp = &level["arp"];
    if !arp.is_null() {
        let ip = |end: &str| text(&arp[end]["ip"]).unwrap_or("?");
        let _ = match arp["operation"].as_u64() {
            Some(1) => write!(line, " arp who has {} tell {}", ip("target"), ip("sender")),
            Some(2) => {
                let link = text(&arp["sender"]["link"]).unwrap_or("?");
                write!(line, " arp {} is at {link}", ip("sender"))
            }
            _ => write!(line, " arp operation {}", arp["operation"]),
        };
    }
}

/// What one level says: the whole frame, or the inside of a tunnel.
fn describe(line: &mut String, event: &Value) {
    below(line, event);
    let (network, transport, icmp) = (&event["network"], &event["transport"], &event["icmp"]);
    // Writing into a String cannot fail.
    let _ = match (text(&network["src"]), text(&network["dst"])) {
        (Some(source), Some(destination)) => {
            let v6 = network["version"] == 6;
            let end = |address: &str, port: &Value| match port {
                Value::Null => address.to_owned(),
                port if v6 => format!("[{address}]:{port}"),
                port => format!("{address}:{port}"),
            };
            let source = end(source, &transport["src_port"]);
            write!(line, " {source} > {}", end(destination, &transport["dst_port"]))
        }
        (Some(source), None) => write!(line, " {source} > ?"),
        _ if !event["ethertype"].is_null() => {
            write!(
                line,
                " ethertype 0x{:04x}",
                event["ethertype"].as_u64().unwrap_or_default()
            )
        }
        _ if !event["link_type"].is_null() => write!(line, " link type {}", event["link_type"]),
        _ if !event["ppp_protocol"].is_null() => {
            let protocol = event["ppp_protocol"].as_u64().unwrap_or_default();
            write!(line, " ppp protocol 0x{protocol:04x}")
        }
        _ if !event["sap"].is_null() => {
            write!(
                line,
                " llc sap 0x{:02x}",
                event["sap"].as_u64().unwrap_or_default()
            )
        }
        _ => Ok(()),
    };
    // Of a packet that was cut off some fields are not there.
    let mut field = |name: &str, value: &Value| {
        if !value.is_null() {
            let _ = write!(line, " {name} {value}");
        }
    };
    match text(&transport["kind"]) {
        Some("tcp") => {
            let flags = transport["flags"].as_array().map(|flags| {
                let names: Vec<_> = flags.iter().filter_map(text).collect();
                format!("tcp [{}]", names.join(","))
            });
            let name = flags.as_deref().unwrap_or("tcp");
            field(&format!("{name} seq"), &transport["seq"]);
            field("ack", &transport["ack"]);
            field("len", &transport["length"]);
        }
        Some(kind) => field(&format!("{kind} len"), &transport["length"]),
        None if !icmp.is_null() => {
            field("icmp type", &icmp["type"]);
            field("code", &icmp["code"]);
            field("id", &icmp["id"]);
            field("seq", &icmp["seq"]);
            if let Some(destination) = text(&icmp["quoted"]["dst"]) {
                let _ = write!(line, " about a packet to {destination}");
            }
        }
        // A tunnel is named behind this.
        None if !event["inside"].is_null() => {}
        None => field("protocol", &network["protocol"]),
    }
    let fragment = &network["fragment"];
    if fragment["more"] == true || fragment["offset"].as_u64().is_some_and(|offset| offset > 0) {
        let more = if fragment["more"] == true { "+" } else { "" };
        let _ = write!(line, " fragment {}@{}{more}", fragment["id"], fragment["offset"]);
    }
    let bad = |layer: &Value| layer["checksum_ok"] == false;
    if bad(network) || bad(transport) || bad(icmp) {
        line.push_str(" bad checksum");
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}
