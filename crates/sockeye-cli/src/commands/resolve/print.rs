//! Answers for people and for programs.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sockeye::event_loop::names::Way;
use sockeye::resolver::dns::{Answer, Finding, Flags, Origin, QueryError, Record, RecordType};
use sockeye::resolver::{AddressFamily, Resolved};

use super::ask::{Family, Outcome};
use crate::probing::{milliseconds, nanoseconds};

/// Why an answer has no records.
pub(super) fn none(answer: &Answer) -> String {
    match answer.finding() {
        Finding::NoName => "no such name".to_owned(),
        _ => format!("no {} records", answer.question.record_type),
    }
}

/// Who answered, for people.
fn origin(answer: &Answer) -> String {
    let content = &answer.content;
    match (answer.origin, content.server) {
        (Origin::Hosts, _) => "from the hosts file".to_owned(),
        (Origin::SpecialUse, _) => "by RFC 6761".to_owned(),
        (Origin::Server, Some(server)) => format!("from {server} by {}", content.carrier),
        (Origin::Stale, _) => "kept from before, out of date".to_owned(),
        _ => "kept from before".to_owned(),
    }
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Server => "server",
        Origin::Cache => "cache",
        Origin::Stale => "stale",
        Origin::Hosts => "hosts",
        Origin::SpecialUse => "special-use",
        _ => "other",
    }
}

/// The flags by their names in RFC 1035 and RFC 4035.
fn flags(flags: Flags) -> Vec<&'static str> {
    [
        (flags.authoritative, "aa"),
        (flags.truncated, "tc"),
        (flags.recursion_desired, "rd"),
        (flags.recursion_available, "ra"),
        (flags.authentic, "ad"),
        (flags.checking_disabled, "cd"),
    ]
    .into_iter()
    .filter_map(|(is_set, name)| is_set.then_some(name))
    .collect()
}

/// The data of the records, a line each: what a script takes.
///
/// # Errors
/// Why there are none, for stderr; nothing of a server's "no".
pub(super) fn short_lines(name: &str, outcome: &Outcome) -> Result<Vec<String>, String> {
    match &outcome.result {
        Ok(answer) => Ok(answer
            .content
            .records
            .iter()
            .map(|record| record.data.to_string())
            .collect()),
        Err(error) => Err(format!("{name} {}: {error}", outcome.record_type)),
    }
}

/// A question and its answer, a line each record.
pub(super) fn answer_lines(name: &str, outcome: &Outcome) -> Vec<String> {
    let answer = match &outcome.result {
        Ok(answer) => answer,
        Err(error) => {
            return vec![format!(
                "{name} {}: error: {error} ({})",
                outcome.record_type,
                milliseconds(outcome.took)
            )];
        }
    };
    let records = &answer.content.records;
    let found = match answer.finding() {
        Finding::Records => match records.len() {
            1 => "1 record".to_owned(),
            count => format!("{count} records"),
        },
        _ => none(answer),
    };
    let mut flags = flags(answer.content.flags).join(" ");
    if !flags.is_empty() {
        flags = format!(", flags {flags}");
    }
    let head = format!(
        "{} {}: {}, {found}, {} in {}{flags}",
        answer.question.name,
        outcome.record_type,
        answer.content.code,
        origin(answer),
        milliseconds(answer.took),
    );
    let with_ttl = |record: &Record| format!("  {}", aged(answer, record));
    std::iter::once(head)
        .chain(records.iter().map(with_ttl))
        .chain(
            answer
                .content
                .authorities
                .iter()
                .map(|record| format!("  authority: {record}")),
        )
        .collect()
}

/// A record with the time that it has left.
fn aged(answer: &Answer, record: &Record) -> Record {
    Record {
        ttl: answer.ttl_left(record),
        ..record.clone()
    }
}

pub(super) fn answer_object(name: &str, outcome: &Outcome) -> Value {
    let record = |answer: &Answer, record: &Record| {
        json!({
            "name": record.name.to_string(),
            "type": record.record_type().to_string(),
            "ttl": answer.ttl_left(record),
            "data": record.data.to_string(),
        })
    };
    let mut object = json!({
        "input": name,
        "type": outcome.record_type.to_string(),
        "ok": matches!(&outcome.result, Ok(answer) if answer.finding() == Finding::Records),
        "took_ns": nanoseconds(outcome.took),
    });
    let fields = match &outcome.result {
        Ok(answer) => json!({
            "name": answer.question.name.to_string(),
            "code": answer.content.code.to_string(),
            "records": answer.content.records.iter().map(|each| record(answer, each)).collect::<Vec<_>>(),
            "authority": answer.content.authorities.iter().map(|each| record(answer, each)).collect::<Vec<_>>(),
            "flags": flags(answer.content.flags),
            "server": answer.content.server.map(|server| server.to_string()),
            "carrier": answer.content.server.map(|_| answer.content.carrier.to_string()),
            "origin": origin_word(answer.origin),
            "error": Value::Null,
        }),
        Err(error) => failed_fields(&error.to_string(), server_of(error.error)),
    };
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
    }
    object
}

/// What there is to say in the place of an answer.
fn failed_fields(error: &str, server: Option<SocketAddr>) -> Value {
    json!({
        "name": Value::Null,
        "code": Value::Null,
        "records": [],
        "authority": [],
        "flags": [],
        "server": server.map(|server| server.to_string()),
        "carrier": Value::Null,
        "origin": Value::Null,
        "error": { "message": error },
    })
}

/// The server that an error is about.
fn server_of(error: QueryError) -> Option<SocketAddr> {
    match error {
        QueryError::TimedOut { last } => last,
        QueryError::Failed { server, .. }
        | QueryError::Unusable { server }
        | QueryError::Unreachable { server } => Some(server),
        _ => None,
    }
}

/// A text that is no name, asked for by a type.
pub(super) fn no_name_object(text: &str, record_type: RecordType, error: &str) -> Value {
    let mut object = json!({
        "input": text,
        "type": record_type.to_string(),
        "ok": false,
        "took_ns": 0,
    });
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), failed_fields(error, None)) {
        object.extend(fields);
    }
    object
}

/// A target, and the order in which a connection would try its addresses.
#[derive(Debug)]
pub(super) struct Resolution {
    pub(super) resolved: Vec<Resolved>,
    pub(super) families: Vec<Family>,
    pub(super) took: Duration,
    pub(super) error: Option<String>,
    pub(super) way: Option<Way>,
}

fn record(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::V4 => "A",
        AddressFamily::V6 => "AAAA",
    }
}

/// The error of a target without addresses: what became of each family.
pub(super) fn errors(families: &[Family]) -> String {
    let said: Vec<String> = families
        .iter()
        .filter_map(|family| {
            Some(format!(
                "{}: {}",
                record(family.family),
                family.result.as_ref().err()?
            ))
        })
        .collect();
    said.join("; ")
}

pub(super) fn target_object(text: &str, resolution: &Resolution) -> Value {
    let address = |resolved: &Resolved| {
        json!({
            "address": resolved.address.to_string(),
            "ip": resolved.address.ip().to_string(),
            "port": resolved.address.port(),
            "source": resolved.source.map(|source| source.to_string()),
            "rule": resolved.rule.map(|rule| rule.number()),
            "why": resolved.rule.map(|rule| rule.to_string()),
        })
    };
    let answer = |family: &Family| {
        let answer = family.answer.as_ref();
        json!({
            "record": record(family.family),
            "addresses": family.result.as_ref().map(Vec::len).unwrap_or_default(),
            "error": family.result.as_ref().err(),
            "took_ns": nanoseconds(family.took),
            "server": answer.and_then(|answer| answer.content.server).map(|server| server.to_string()),
            "origin": answer.map(|answer| origin_word(answer.origin)),
        })
    };
    json!({
        "input": text,
        "ok": resolution.error.is_none(),
        "error": resolution.error.as_ref().map(|error| json!({ "message": error })),
        "addresses": resolution.resolved.iter().map(address).collect::<Vec<_>>(),
        "answers": resolution.families.iter().map(answer).collect::<Vec<_>>(),
        "way": resolution.way.as_ref().map(|way| match way {
            Way::Dns => "dns",
            _ => "system",
        }),
        "took_ns": nanoseconds(resolution.took),
    })
}

/// The addresses in their order, each with the rule that put it before the next.
pub(super) fn order_lines(resolved: &[Resolved]) -> Vec<String> {
    let line = |(index, resolved): (usize, &Resolved)| {
        let source = resolved
            .source
            .map_or_else(|| "no route".to_owned(), |source| format!("from {source}"));
        let why = resolved
            .rule
            .map(|rule| format!("before the next by rule {} ({rule})", rule.number()))
            .unwrap_or_default();
        let address = match resolved.address {
            SocketAddr::V6(v6) if v6.port() == 0 && v6.scope_id() != 0 => {
                format!("{}%{}", v6.ip(), v6.scope_id())
            }
            at if at.port() == 0 => at.ip().to_string(),
            at => at.to_string(),
        };
        let line = format!("  {:>2}  {address:<28} {source:<24} {why}", index + 1);
        line.trim_end().to_owned()
    };
    resolved.iter().enumerate().map(line).collect()
}

/// The addresses of a target in their order, a line each.
///
/// # Errors
/// Why there are none, for stderr.
pub(super) fn short_target_lines(text: &str, resolution: &Resolution) -> Result<Vec<String>, String> {
    match &resolution.error {
        Some(error) => Err(format!("{text}: {error}")),
        None => Ok(resolution
            .resolved
            .iter()
            .map(|resolved| resolved.address.ip().to_string())
            .collect()),
    }
}

pub(super) fn target_lines(text: &str, resolution: &Resolution) -> Vec<String> {
    let mut lines = vec![text.to_owned()];
    lines.extend(order_lines(&resolution.resolved));
    if let Some(error) = &resolution.error {
        lines.push(format!("  error: {error}"));
    }
    let took = format!("  took {}", milliseconds(resolution.took));
    lines.push(match &resolution.way {
        Some(Way::Dns) => format!("{took}, {}", answered_by(&resolution.families)),
        Some(Way::System { because }) => format!("{took}, by the system's resolver ({because})"),
        _ => took,
    });
    lines
}

/// Who answered for a target.
fn answered_by(families: &[Family]) -> String {
    let mut who: Vec<String> = families
        .iter()
        .filter_map(|family| family.answer.as_ref())
        .map(origin)
        .collect();
    who.dedup();
    if who.is_empty() {
        "by DNS".to_owned()
    } else {
        who.join(" and ")
    }
}
