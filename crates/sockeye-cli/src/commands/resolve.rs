//! `sockeye resolve TARGET...`: the addresses of names, in the order in which a connection would try them, and why.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use sockeye::endpoint::{Target, TargetDefaults, Transport};
use sockeye::resolver::order::PolicyTable;
use sockeye::resolver::{Answer, Progress, Resolved, Resolver, order};

use crate::exit::Exit;
use crate::names;
use crate::output::{Format, Output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye resolve localhost example.com:https\n\
\x20 sockeye resolve udp://[::1]:53 --json")]
pub(crate) struct Arguments {
    /// Hosts, with or without transport and port: localhost, example.com:https, udp://[::1]:53
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// Seconds that each target may take
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: f64,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Resolves each target, the bad ones too.
///
/// # Errors
/// When no thread can be had or stdout not be written.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    let timeout = Duration::from_secs_f64(arguments.timeout);
    for text in &arguments.targets {
        let defaults = TargetDefaults {
            transport: Some(Transport::Tcp),
            port: Some(0),
        };
        let resolution = match Target::parse_with(&names::bracketed(text), defaults) {
            Ok(target) => resolve(&target, timeout).with_context(|| format!("resolve {text}"))?,
            Err(error) => Resolution::failed(error.to_string()),
        };
        if resolution.resolved.is_empty() {
            exit = Exit::Resolution;
        }
        output.event("resolve", object(text, &resolution))?;
        for line in lines(text, &resolution) {
            output.line(line)?;
        }
    }
    Ok(exit)
}

/// What became of one target.
#[derive(Debug)]
struct Resolution {
    resolved: Vec<Resolved>,
    answers: Vec<Answer>,
    took: Duration,
    error: Option<String>,
}

impl Resolution {
    fn failed(error: String) -> Self {
        Self {
            resolved: Vec::new(),
            answers: Vec::new(),
            took: Duration::ZERO,
            error: Some(error),
        }
    }
}

fn resolve(target: &Target, timeout: Duration) -> anyhow::Result<Resolution> {
    let start = Instant::now();
    let mut query = Resolver::shared().start(target, start + timeout, Arc::new(|| {}))?;
    let mut answers = Vec::new();
    while let Progress::Answer(answer) = query.wait() {
        answers.push(answer);
    }
    let took = start.elapsed();
    let addresses: Vec<_> = answers
        .iter()
        .flat_map(|answer| answer.result.iter().flatten().copied())
        .collect();
    let error = addresses.is_empty().then(|| {
        let said: Vec<String> = answers
            .iter()
            .filter_map(|answer| Some(format!("{}: {}", record(answer), answer.result.as_ref().err()?)))
            .collect();
        said.join("; ")
    });
    Ok(Resolution {
        resolved: order(&addresses, &PolicyTable::default()),
        answers,
        took,
        error,
    })
}

/// The type of the records that were asked for.
fn record(answer: &Answer) -> &'static str {
    match answer.family {
        sockeye::resolver::AddressFamily::V4 => "A",
        sockeye::resolver::AddressFamily::V6 => "AAAA",
    }
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn object(text: &str, resolution: &Resolution) -> Value {
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
    let answer = |answer: &Answer| {
        json!({
            "record": record(answer),
            "addresses": answer.result.as_ref().map(Vec::len).unwrap_or_default(),
            "error": answer.result.as_ref().err().map(ToString::to_string),
            "took_ms": ms(answer.took),
        })
    };
    json!({
        "input": text,
        "ok": resolution.error.is_none(),
        "error": resolution.error.as_ref().map(|error| json!({ "message": error })),
        "addresses": resolution.resolved.iter().map(address).collect::<Vec<_>>(),
        "answers": resolution.answers.iter().map(answer).collect::<Vec<_>>(),
        "took_ms": ms(resolution.took),
    })
}

fn lines(text: &str, resolution: &Resolution) -> Vec<String> {
    let mut lines = vec![text.to_owned()];
    for (index, resolved) in resolution.resolved.iter().enumerate() {
        let source = resolved
            .source
            .map_or_else(|| "no route".to_owned(), |source| format!("from {source}"));
        let why = resolved
            .rule
            .map(|rule| format!("before the next by rule {} ({rule})", rule.number()))
            .unwrap_or_default();
        let line = format!("  {:>2}  {:<28} {source:<24} {why}", index + 1, resolved.address);
        lines.push(line.trim_end().to_owned());
    }
    if let Some(error) = &resolution.error {
        lines.push(format!("  error: {error}"));
    }
    lines.push(format!("  took {:.1} ms", ms(resolution.took)));
    lines
}
