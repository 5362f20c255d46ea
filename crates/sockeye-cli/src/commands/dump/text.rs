//! An event as a line for people.

use std::fmt::Write as _;

use serde_json::Value;

/// One line: number, time, who to whom, what.
pub(super) fn line(event: &Value) -> String {
    let (number, time) = (&event["number"], event["time"].as_f64().unwrap_or_default());
    format!("{number} {time:.6}{}", body(event))
}

/// Who to whom, and what, each behind a blank.
pub(super) fn body(event: &Value) -> String {
    let mut line = String::new();
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

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}
