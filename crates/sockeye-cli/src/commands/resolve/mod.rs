//! `sockeye resolve NAME...`: records of names, or the addresses of targets in the order in which a connection would try them.

mod ask;
mod print;
mod tls;
mod words;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sockeye::endpoint::{Target, TargetDefaults, Transport};
use sockeye::event_loop::names::Way;
use sockeye::resolver::dns::{Finding, Name, RecordType};
use sockeye::resolver::order;
use sockeye::resolver::order::PolicyTable;

use self::ask::{Client, Family, Outcome, Question};
use self::print::Resolution;
use self::words::Words;
use crate::address::place;
use crate::exit::{Exit, Failure};
use crate::names;
use crate::output::{Format, Output, note, warn};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a TYPE: the addresses of each target in the order in which a connection\n\
would try them (RFC 6724), and the rule that decided; the search list of\n\
resolv.conf completes short names. With a TYPE: the records of exactly this\n\
name, their TTLs, who answered, how long it took, and the flags of the answer.\n\
\n\
The first word is always a name. Types follow it: A, AAAA, CAA, CNAME, HTTPS,\n\
MX, NS, PTR, SOA, SRV, SVCB, TXT, ANY, or any other by its number, as in\n\
TYPE65. Any other word is a further name.\n\
\n\
Without @SERVER the files of this machine decide who is asked: the servers of\n\
resolv.conf and the hosts file, or the system's own resolver if nsswitch.conf\n\
names other sources than these. --system always asks the system's own. A server\n\
that is named is asked for every name, for those of the hosts file too.\n\
\n\
Examples:\n\
\x20 sockeye resolve localhost example.com:https\n\
\x20 sockeye resolve example.com A AAAA MX @192.0.2.53\n\
\x20 sockeye resolve -x 192.0.2.1\n\
\x20 sockeye resolve example.com HTTPS --tls @1.1.1.1 --short\n\
\x20 sockeye resolve udp://[::1]:53 --json")]
pub(crate) struct Arguments {
    /// Names to look up, record types, name servers to ask: example.com MX @192.0.2.53:5353
    #[arg(value_name = "NAME|TYPE|@SERVER", required_unless_present = "reverse")]
    words: Vec<String>,
    /// Look up the names of an address (PTR)
    #[arg(short = 'x', long, value_name = "ADDRESS")]
    reverse: Vec<IpAddr>,
    /// Ask by TCP only
    #[arg(long, conflicts_with = "tls")]
    tcp: bool,
    /// Ask over TLS (RFC 7858), on port 853 unless @SERVER has another
    #[arg(long)]
    tls: bool,
    /// Name that the servers' certificate must be for [default: their address]
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Option<String>,
    /// PEM file of certificates to trust in place of those of this machine
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
    /// Print only the data of the records, one a line
    #[arg(long)]
    short: bool,
    /// Ask the system's own resolver (getaddrinfo); addresses only
    #[arg(long, conflicts_with_all = ["tcp", "tls", "reverse"])]
    system: bool,
    /// Seconds that each answer may take
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: f64,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Resolves each name, the bad ones too.
///
/// # Errors
/// When the words make no sense, no socket or thread can be had, or stdout not be written.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let words = Words::of(&arguments.words);
    let asks_records = !words.types.is_empty() || !arguments.reverse.is_empty();
    if arguments.system && (!words.types.is_empty() || !words.servers.is_empty()) {
        return Err(Failure::usage(
            "--system asks for addresses only, and asks no server by name: leave out TYPE and @SERVER, or --system",
        ));
    }
    if words.names.is_empty() && arguments.reverse.is_empty() {
        return Err(Failure::usage(
            "there is no name to look up: sockeye resolve example.com A @192.0.2.53",
        ));
    }
    if let Some(advice) = words.advice() {
        note(advice);
    }
    let mut exit = Exit::Success;
    let mut client = Client::new(arguments, &words.servers)?;
    if asks_records {
        exit = worse(exit, records(arguments, &words, &mut client, output)?);
    }
    if words.types.is_empty() && !words.names.is_empty() {
        exit = worse(exit, targets(arguments, &words, &mut client, output)?);
    }
    Ok(exit)
}

fn worse(a: Exit, b: Exit) -> Exit {
    if a == Exit::Success { b } else { a }
}

/// Records of names by type, and names of addresses.
fn records(
    arguments: &Arguments,
    words: &Words,
    client: &mut Client,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut asked: Vec<(String, RecordType, Name)> = Vec::new();
    let mut exit = Exit::Success;
    for ip in &arguments.reverse {
        asked.push((ip.to_string(), RecordType::PTR, Name::reverse(*ip)));
    }
    for text in &words.names {
        let name = words::name(text);
        match name {
            Ok(name) => asked.extend(words.types.iter().map(|kind| (text.clone(), *kind, name.clone()))),
            Err(error) => {
                for kind in &words.types {
                    exit = Exit::Resolution;
                    let error = error.to_string();
                    output.event("answer", print::no_name_object(text, *kind, &error))?;
                    if arguments.short {
                        short(arguments, output, Err(format!("{text} {kind}: {error}")))?;
                    } else {
                        output.line(format!("{text} {kind}: error: {error}"))?;
                    }
                }
            }
        }
    }
    let questions = asked
        .iter()
        .map(|(_, kind, name)| Question::Records(name.clone(), *kind))
        .collect();
    let outcomes = client.ask(questions)?;
    let mut addresses: Vec<(String, Vec<std::net::SocketAddr>)> = Vec::new();
    for ((text, _, _), outcome) in asked.iter().zip(outcomes.into_iter().flatten()) {
        if !matches!(&outcome.result, Ok(answer) if answer.finding() == Finding::Records) {
            exit = Exit::Resolution;
        }
        output.event("answer", print::answer_object(text, &outcome))?;
        if arguments.short {
            short(arguments, output, print::short_lines(text, &outcome))?;
        } else {
            output.lines(print::answer_lines(text, &outcome))?;
        }
        collect(&mut addresses, text, &outcome);
    }
    for (text, addresses) in addresses {
        let resolved = order(&addresses, &PolicyTable::default());
        output.event(
            "order",
            serde_json::json!({
                "input": text,
                "addresses": resolved.iter().map(|resolved| serde_json::json!({
                    "ip": resolved.address.ip().to_string(),
                    "source": resolved.source.map(|source| source.to_string()),
                    "rule": resolved.rule.map(|rule| rule.number()),
                })).collect::<Vec<_>>(),
            }),
        )?;
        if !arguments.short {
            output.line(format!("{text}: the order of connection attempts"))?;
            output.lines(print::order_lines(&resolved))?;
        }
    }
    Ok(exit)
}

/// Prints data to stdout, for a script; why there is none goes to stderr, where no script takes it for data.
fn short(
    arguments: &Arguments,
    output: &mut Output,
    lines: Result<Vec<String>, String>,
) -> anyhow::Result<()> {
    match lines {
        Ok(lines) => output.lines(lines)?,
        Err(_) if arguments.format.json => {}
        Err(error) => warn(error),
    }
    Ok(())
}

/// The addresses of an answer, to those of its name.
fn collect(all: &mut Vec<(String, Vec<std::net::SocketAddr>)>, text: &str, outcome: &Outcome) {
    let Ok(answer) = &outcome.result else { return };
    let found: Vec<_> = answer.addresses().map(|ip| (ip, 0).into()).collect();
    if found.is_empty() || !matches!(outcome.record_type, RecordType::A | RecordType::AAAA) {
        return;
    }
    match all.iter_mut().find(|(name, _)| name == text) {
        Some((_, addresses)) => addresses.extend(found),
        None => all.push((text.to_owned(), found)),
    }
}

/// The addresses of targets, in their order.
fn targets(
    arguments: &Arguments,
    words: &Words,
    client: &mut Client,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    let timeout = Duration::from_secs_f64(arguments.timeout);
    let way = if arguments.system {
        Way::System {
            because: "--system".to_owned(),
        }
    } else {
        client.way()
    };
    for text in &words.names {
        let defaults = TargetDefaults {
            transport: Some(Transport::Tcp),
            port: Some(0),
        };
        let resolution = match Target::parse_with(&names::bracketed(text), defaults) {
            Ok(target) => resolve(&target, client, &way, timeout)?,
            Err(error) => failed(place(&names::bracketed(text), error)),
        };
        if resolution.resolved.is_empty() {
            exit = Exit::Resolution;
        }
        output.event("resolve", print::target_object(text, &resolution))?;
        if arguments.short {
            short(arguments, output, print::short_target_lines(text, &resolution))?;
        } else {
            output.lines(print::target_lines(text, &resolution))?;
        }
    }
    Ok(exit)
}

fn failed(error: String) -> Resolution {
    Resolution {
        resolved: Vec::new(),
        families: Vec::new(),
        took: Duration::ZERO,
        error: Some(error),
        way: None,
    }
}

fn resolve(target: &Target, client: &mut Client, way: &Way, timeout: Duration) -> anyhow::Result<Resolution> {
    let start = Instant::now();
    let name = ask::name_of(target);
    let way = name.is_some().then(|| way.clone());
    let families: Vec<Family> = match (name, &way) {
        (Some(name), Some(Way::Dns)) => {
            let (name, search) = name?;
            let outcomes = client.ask(vec![Question::Addresses(name, search)])?;
            outcomes
                .into_iter()
                .flatten()
                .map(|outcome| Family::of(outcome, target.port()))
                .collect()
        }
        _ => ask::system(target, timeout)?
            .into_iter()
            .map(Family::from)
            .collect(),
    };
    let took = start.elapsed();
    let addresses: Vec<_> = families
        .iter()
        .flat_map(|family| family.result.iter().flatten().copied())
        .collect();
    Ok(Resolution {
        resolved: order(&addresses, &PolicyTable::default()),
        error: addresses.is_empty().then(|| print::errors(&families)),
        families,
        took,
        way,
    })
}
