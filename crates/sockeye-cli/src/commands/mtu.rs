//! `sockeye mtu HOST`: the largest packet that arrives there.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use sockeye::endpoint::Transport;
use sockeye::event_loop::EventLoop;
use sockeye::probe::services::{self, Mode};
use sockeye::probe::{Limit, MtuEnd, MtuEvent, MtuMethod, MtuOptions, PmtuProbe};

use crate::exit::{Exit, Failure};
use crate::output::{Format, Output};
use crate::privileges;
use crate::probing::{self, Family, Inbox, TRACE_PORT, interval, milliseconds, nanoseconds};
use crate::signals::stop_on_signals;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye mtu 127.0.0.1\n\
\x20 sockeye mtu udp://example.com:9 --size 1500")]
pub(crate) struct Arguments {
    /// Where to: a name or an address for ICMP echo, udp://HOST:PORT for a port that echoes or that nobody listens at
    #[arg(value_name = "HOST")]
    host: String,
    #[command(flatten)]
    family: Family,
    /// Probes of each size before silence counts as too big
    #[arg(short, long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=20))]
    count: u8,
    /// Seconds between two probes of one size
    #[arg(short, long, default_value_t = 0.1, value_name = "SECONDS", value_parser = interval)]
    interval: f64,
    /// Seconds to wait for an answer
    #[arg(short = 'W', long, default_value_t = 1.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: f64,
    /// The largest size worth knowing, IP header included
    #[arg(short, long, default_value_t = 65_535, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(68..))]
    size: u16,
    /// TTL or hop limit of the probes
    #[arg(short, long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Searches until the path MTU is known, or a signal comes.
///
/// # Errors
/// When the name has no address, or the system allows neither ping sockets nor raw ones.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let (method, destination) = destination(arguments)?;
    let probe = PmtuProbe::new(destination, options(arguments, method));
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let inbox = Inbox::new();
    let sink = inbox.clone();
    let service = services::path_mtu(&mut events, probe, move |_, _, event| sink.put(event))
        .map_err(|error| probing::refused(error, method == MtuMethod::Icmp))?;
    privileges::drop_all()?;
    let mode = events
        .service(service)
        .context("the service has left the loop")?
        .mode();
    begin(arguments, output, destination, method, mode)?;
    let mut end = MtuEnd::Stopped;
    probing::run(&mut events, &inbox, |_, event| {
        if let MtuEvent::Done(how) = event {
            end = how;
            return Ok(true);
        }
        tell(output, event).map(|()| false)
    })?;
    let prober = events.service(service).context("the service has left the loop")?;
    let (largest, fault) = (prober.engine().largest(), prober.take_fault());
    let exit = finish(arguments, output, end, largest)?;
    probing::given_up(fault).map(|()| exit)
}

fn destination(arguments: &Arguments) -> anyhow::Result<(MtuMethod, SocketAddr)> {
    let target = probing::target(&arguments.host, Transport::ICMP, TRACE_PORT)?;
    let method = match target.transport() {
        Transport::ICMP | Transport::ICMPV6 => MtuMethod::Icmp,
        Transport::Udp => MtuMethod::Udp,
        other => return Err(Failure::usage(format!("{other}: mtu speaks icmp and udp"))),
    };
    Ok((method, probing::address(&target, arguments.family)?))
}

fn options(arguments: &Arguments, method: MtuMethod) -> MtuOptions {
    let secret = probing::secret();
    let [high, low, ..] = secret.to_be_bytes();
    MtuOptions {
        ceiling: u32::from(arguments.size),
        timeout: Duration::from_secs_f64(arguments.timeout),
        attempts: arguments.count,
        spacing: Duration::from_secs_f64(arguments.interval),
        hop_limit: arguments.ttl,
        identifier: Some(u16::from_be_bytes([high, low])),
        ..MtuOptions::new(method, secret)
    }
}

fn begin(
    arguments: &Arguments,
    output: &mut Output,
    destination: SocketAddr,
    method: MtuMethod,
    mode: Mode,
) -> anyhow::Result<()> {
    let (host, address) = (&arguments.host, destination.ip());
    let method = if method == MtuMethod::Udp { "udp" } else { "icmp" };
    output.event(
        "begin",
        json!({ "target": host, "address": address, "method": method, "mode": mode.name() }),
    )?;
    output.line(format_args!("path mtu to {host} ({address}), {method}, {mode}"))?;
    Ok(())
}

fn tell(output: &mut Output, event: MtuEvent) -> anyhow::Result<()> {
    match event {
        MtuEvent::Passed { size, rtt } => {
            output.event("passed", json!({ "bytes": size, "rtt_ns": nanoseconds(rtt) }))?;
            output.line(format_args!("{size:5} bytes pass  {}", milliseconds(rtt)))?;
        }
        MtuEvent::TooBig { size, mtu, offender } => {
            output.event(
                "too_big",
                json!({ "bytes": size, "mtu": mtu, "offender": offender }),
            )?;
            let who = offender.map_or_else(|| "this host".to_owned(), |offender| offender.to_string());
            let figure = mtu.map_or_else(String::new, |mtu| format!(", at most {mtu}"));
            output.line(format_args!("{size:5} bytes are too big, says {who}{figure}"))?;
        }
        MtuEvent::Silent { size } => {
            output.event("silent", json!({ "bytes": size }))?;
            output.line(format_args!("{size:5} bytes are not answered"))?;
        }
        _ => {}
    }
    Ok(())
}

fn finish(
    arguments: &Arguments,
    output: &mut Output,
    end: MtuEnd,
    largest: Option<u32>,
) -> anyhow::Result<Exit> {
    let host = &arguments.host;
    let (fields, line, exit) = match end {
        MtuEnd::Found { mtu, limit } => {
            let (name, router, why) = match limit {
                Limit::Local => ("local", None, "this host's own link".to_owned()),
                Limit::Router(router) => ("router", Some(router), format!("reported by {router}")),
                Limit::Silence => ("silence", None, "larger packets vanish without a word".to_owned()),
                _ => ("ceiling", None, "searched no further".to_owned()),
            };
            (
                json!({ "outcome": "found", "mtu": mtu, "limit": name, "router": router }),
                format!("path mtu to {host}: {mtu} bytes ({why})"),
                Exit::Success,
            )
        }
        MtuEnd::Failed { offender, cause } => {
            let who = offender.map_or_else(|| "this host".to_owned(), |offender| offender.to_string());
            (
                json!({ "outcome": "failed", "offender": offender, "cause": cause.to_string() }),
                format!("{host} cannot be reached: {cause}, says {who}"),
                Exit::Negative,
            )
        }
        MtuEnd::NoAnswer => (
            json!({ "outcome": "no_answer" }),
            format!("{host} does not answer"),
            Exit::Negative,
        ),
        _ => (
            json!({ "outcome": "interrupted" }),
            largest.map_or_else(
                || "interrupted before anything was answered".to_owned(),
                |size| format!("interrupted: at least {size} bytes pass"),
            ),
            if largest.is_some() {
                Exit::Negative
            } else {
                Exit::Interrupted
            },
        ),
    };
    let mut fields = fields;
    if let serde_json::Value::Object(fields) = &mut fields {
        fields.insert("largest".to_owned(), json!(largest));
        fields.insert("interrupted".to_owned(), json!(end == MtuEnd::Stopped));
    }
    output.event("end", fields)?;
    output.line(line)?;
    Ok(exit)
}
