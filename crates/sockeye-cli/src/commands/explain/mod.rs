//! `sockeye explain WORD...`: what an address, endpoint, network, target, port or service name is.

mod word;

use std::io::{self, BufRead as _, Read as _};

use anyhow::Context as _;
use serde_json::{Value, json};
use sockeye::endpoint::{
    ParseError, Special, Transport, UnixName, embedded_ipv4, multicast_scope, reachability, services,
    special, special_blocks,
};

use crate::exit::Exit;
use crate::output::{Format, Output};
use word::{Kind, Word};

/// The longest line of stdin that is looked at; no word is anywhere near as long.
const MAX_LINE: u64 = 4_096;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye explain 100.64.0.1 fe80::1%eth0 tcp://[::1]:80 10.0.0.0/8 :514 domain\n\
\x20 sockeye explain --json < WORDS")]
pub(crate) struct Arguments {
    /// Addresses, endpoints, unix: names, networks, targets, ports (:514) and service names; without any, one a line on stdin
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Explains each word, the bad ones too.
///
/// # Errors
/// When stdin cannot be read or stdout not be written.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    if arguments.words.is_empty() {
        let mut stdin = io::stdin().lock();
        let mut line = Vec::new();
        while {
            line.clear();
            (&mut stdin)
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)
                .context("read stdin")?
                > 0
        } {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_ascii();
            if !text.is_empty() {
                explain(text, output, &mut exit)?;
            }
        }
    }
    for text in &arguments.words {
        explain(text, output, &mut exit)?;
    }
    Ok(exit)
}

fn explain(text: &str, output: &mut Output, exit: &mut Exit) -> anyhow::Result<()> {
    match Word::parse(text) {
        Ok(word) => {
            output.event("explain", object(text, &word))?;
            for line in lines(text, &word) {
                output.line(line)?;
            }
        }
        Err(error) => {
            *exit = Exit::Negative;
            let said =
                json!({ "kind": kind_name(&error), "at": error.at, "message": error.kind.to_string() });
            output.event("explain", json!({ "input": text, "ok": false, "error": said }))?;
            output.lines([text.to_owned(), format!("  {:<20}{error}", "error")])?;
        }
    }
    Ok(())
}

/// `LeadingZero` as `leading_zero`.
fn kind_name(error: &ParseError) -> String {
    let mut name = String::new();
    for letter in format!("{:?}", error.kind).chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The names of a port on one transport.
fn names(transport: Transport, port: u16) -> Vec<String> {
    services::names(transport, port)
        .map(|name| name.to_string())
        .collect()
}

/// The block of the registries that a word is in: of a network, the whole of it.
fn block(word: &Word) -> Option<&'static Special> {
    let block = special(word.ip?)?;
    word.network
        .is_none_or(|network| block.network().contains_network(&network))
        .then_some(block)
}

/// Whether a word is globally reachable; `None` where there is no address, or a network of both kinds.
fn global(word: &Word) -> Option<(bool, String)> {
    let reach = reachability(word.ip?);
    let mixed = word.network.is_some_and(|network| {
        special_blocks().any(|block| network != block.network() && network.contains_network(&block.network()))
    });
    if mixed {
        return None;
    }
    Some((reach.is_global(), reach.to_string()))
}

/// What the name of a Unix socket is.
fn unix_form(name: &UnixName) -> &'static str {
    if name.as_path_bytes().is_some() {
        "path"
    } else if name.as_abstract_name().is_some() {
        "abstract"
    } else {
        "unnamed"
    }
}

/// What a program is told of a word.
fn object(text: &str, word: &Word) -> Value {
    let special = block(word).map(|block| {
        json!({
            "block": block.network().to_string(),
            "name": block.name,
            "rfc": block.rfc,
            "source": block.source,
            "destination": block.destination,
            "forwardable": block.forwardable,
            "global": block.globally_reachable,
            "reserved": block.reserved,
        })
    });
    let services = word
        .port
        .map(|port| json!({ "tcp": names(Transport::Tcp, port), "udp": names(Transport::Udp, port) }));
    let ports = word.service.map(|service| {
        let on = |transport| service.ports(transport).collect::<Vec<u16>>();
        json!({ "tcp": on(Transport::Tcp), "udp": on(Transport::Udp) })
    });
    let global = global(word);
    json!({
        "input": text,
        "ok": true,
        "kind": word.kind.name(),
        "canonical": word.canonical,
        "transport": word.transport.map(|transport| transport.to_string()),
        "carrier": word.carrier.map(|carrier| carrier.to_string()),
        "name": word.unix.map(|name| unix_form(&name)),
        "host": word.host,
        "ip": word.ip.map(|ip| ip.to_string()),
        "zone": word.zone.map(|zone| zone.to_string()),
        "port": word.port,
        "ports": ports,
        "prefix_len": word.network.map(|network| network.prefix_len()),
        "services": services,
        "special": special,
        "global": global.as_ref().map(|(global, _)| *global),
        "global_reason": global.map(|(_, reason)| reason),
        "embedded_ipv4": word.ip.and_then(embedded_ipv4).map(|embedded| embedded.address().to_string()),
        "multicast_scope": word.ip.and_then(multicast_scope).map(|scope| scope.to_string()),
    })
}

/// What a person is told of a word.
fn lines(text: &str, word: &Word) -> Vec<String> {
    let mut lines = vec![text.to_owned()];
    let mut say = |what: &str, text: String| lines.push(format!("  {what:<20}{text}"));
    say("kind", word.kind.name().to_owned());
    say("canonical", word.canonical.clone());
    if let Some(carrier) = word.carrier {
        say("carried by", format!("{carrier} over {}", carrier.transport()));
    }
    if let Some(name) = word.unix {
        say(
            "name",
            match unix_form(&name) {
                "path" => "a path: who may write to it may connect".to_owned(),
                "abstract" => {
                    "abstract: whoever is in the network namespace may connect, and it goes with its socket"
                        .to_owned()
                }
                _ => "none: the kernel makes up an abstract one".to_owned(),
            },
        );
    }
    if let Some(zone) = word.zone {
        say("zone", zone.to_string());
    }
    if let Some(block) = block(word) {
        say(
            "class",
            format!("{} ({}), in {}", block.name, block.rfc, block.network()),
        );
    }
    match global(word) {
        Some((true, _)) => say("globally reachable", "yes".to_owned()),
        Some((false, reason)) => say("globally reachable", format!("no: {reason}")),
        None if word.network.is_some() => say("globally reachable", "in part".to_owned()),
        None => {}
    }
    if let Some(embedded) = word.ip.and_then(embedded_ipv4) {
        say("embeds", embedded.address().to_string());
    }
    if let Some(scope) = word.ip.and_then(multicast_scope) {
        say("multicast scope", scope.to_string());
    }
    if let Some(network) = word.network {
        say(
            "addresses",
            format!("{} to {}", network.address(), network.last()),
        );
    }
    for transport in [Transport::Tcp, Transport::Udp] {
        match (word.service, word.port) {
            (Some(service), _) if word.kind == Kind::Service => {
                let ports: Vec<String> = service.ports(transport).map(|port| port.to_string()).collect();
                say(
                    &format!("on {transport}"),
                    if ports.is_empty() {
                        "-".to_owned()
                    } else {
                        ports.join(", ")
                    },
                );
            }
            (_, Some(port)) => {
                let names = names(transport, port);
                say(
                    &format!("on {transport}"),
                    if names.is_empty() {
                        "-".to_owned()
                    } else {
                        names.join(", ")
                    },
                );
            }
            (_, None) => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str) -> Value {
        object(text, &Word::parse(text).unwrap())
    }

    #[test]
    fn each_kind_is_told_apart() {
        for (text, kind, canonical) in [
            ("tcp://127.0.0.1:80", "endpoint", "tcp://127.0.0.1:80"),
            ("ip+89://10.0.0.1", "endpoint", "ip+89://10.0.0.1"),
            ("[::1]:0", "endpoint", "[::1]:0"),
            ("100.64.0.1", "address", "100.64.0.1"),
            ("2001:0001::0003", "address", "2001:1::3"),
            ("fe80::1%eth0", "address", "fe80::1%eth0"),
            ("[::1]", "address", "::1"),
            ("::ffff:10.0.0.1", "address", "::ffff:10.0.0.1"),
            ("10.0.0.0/8", "network", "10.0.0.0/8"),
            ("unix:/run/app.sock", "unix", "unix:/run/app.sock"),
            ("unix:@app", "unix", "unix:@app"),
            ("tls://localhost:443", "target", "tls://localhost:443"),
            ("quic://[::1]:443", "endpoint", "quic://[::1]:443"),
            (":514", "port", "514"),
            ("514", "port", "514"),
            (":http", "service", "http"),
            ("domain", "service", "domain"),
            ("cl/1", "service", "cl/1"),
            ("localhost:http", "target", "tcp://localhost:80"),
            ("localhost:syslog", "target", "udp://localhost:514"),
            ("udp://Example.com:53", "target", "udp://example.com:53"),
            ("Example.com", "target", "example.com"),
        ] {
            let said = explained(text);
            assert_eq!(
                (said["kind"].as_str(), said["canonical"].as_str()),
                (Some(kind), Some(canonical)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, kind, at) in [
            ("0177.0.0.1", "leading_zero", 0),
            ("tcp://127.1:80", "too_few_octets", 11),
            ("10.0.0.1/8", "host_bits", 8),
            (":0514", "leading_zero", 1),
            ("::1::2", "second_ellipsis", 3),
            ("a b", "blank", 1),
            (":no-such-service", "unknown_service", 1),
            ("tcp://", "empty", 6),
            ("", "empty", 0),
        ] {
            let error = Word::parse(text).unwrap_err();
            assert_eq!((kind_name(&error).as_str(), error.at), (kind, at), "{text}");
        }
    }

    #[test]
    fn classes_reach_and_services() {
        let shared = explained("100.64.0.1");
        assert_eq!(shared["special"]["block"], "100.64.0.0/10");
        assert_eq!(
            (&shared["global"], &shared["special"]["global"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(explained("2001:1::3")["global"], true);
        assert_eq!(explained("::ffff:10.0.0.1")["embedded_ipv4"], "10.0.0.1");
        assert_eq!(explained("ff02::1")["multicast_scope"], "link-local");
        let port = explained(":514");
        assert_eq!(port["services"], json!({ "tcp": ["shell"], "udp": ["syslog"] }));
        assert_eq!(explained("domain")["ports"], json!({ "tcp": [53], "udp": [53] }));
        assert_eq!(explained("10.1.0.0/16")["special"]["name"], "Private-Use");
        assert_eq!(explained("0.0.0.0/0")["global"], Value::Null);
    }
}
