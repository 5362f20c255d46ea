//! An event as a line for people.

use std::fmt::Write as _;

use serde_json::Value;

/// One line: number, time, who to whom, what.
pub(super) fn line(event: &Value) -> String {
    let mut line = format!(
        "{} {:.6}",
        event["number"],
        event["time"].as_f64().unwrap_or_default()
    );
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
    let _ = match text(&transport["kind"]) {
        Some("tcp") => {
            let flags = transport["flags"].as_array().map_or(String::new(), |flags| {
                flags.iter().filter_map(text).collect::<Vec<_>>().join(",")
            });
            let (seq, ack, len) = (&transport["seq"], &transport["ack"], &transport["length"]);
            write!(line, " tcp [{flags}] seq {seq} ack {ack} len {len}")
        }
        Some(kind) => write!(line, " {kind} len {}", transport["length"]),
        None if !icmp.is_null() => {
            let _ = write!(line, " icmp type {} code {}", icmp["type"], icmp["code"]);
            if !icmp["id"].is_null() {
                let _ = write!(line, " id {} seq {}", icmp["id"], icmp["seq"]);
            }
            match text(&icmp["quoted"]["dst"]) {
                Some(destination) => write!(line, " about a packet to {destination}"),
                None => Ok(()),
            }
        }
        None if !network.is_null() => write!(line, " protocol {}", network["protocol"]),
        None => Ok(()),
    };
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
