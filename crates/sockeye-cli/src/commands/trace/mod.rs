//! `sockeye trace HOST`: the routers on the way there, once or round after round.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use sockeye::endpoint::Transport;
use sockeye::event_loop::EventLoop;
use sockeye::probe::services::{self, Mode};
use sockeye::probe::{
    Answer, AnswerKind, Extensions, Flow, ProbeState, TraceEnd, TraceEvent, TraceMethod, TraceOptions, Tracer,
};

mod destination;
#[cfg(feature = "terminal")]
mod screen;
mod table;
mod watch;

use destination::{destination, has_port};

use crate::exit::{Exit, Failure};
use crate::output::{Format, Output, RowFormat, Rows};
use crate::privileges;
use crate::probing::{self, Family, Inbox, interval, milliseconds, nanoseconds};
use crate::reverse::ReverseNames;
use crate::signals::stop_on_signals;

/// The rows of `--csv`: one a probe.
const PROBE_ROWS: Rows = Rows {
    events: &["probe"],
    columns: &[
        "hop",
        "probe",
        "kind",
        "from",
        "name",
        "rtt_ns",
        "hop_limit",
        "cause",
    ],
};

/// The same with `--report`: one a hop.
const HOP_ROWS: Rows = Rows {
    events: &["hop_stats"],
    columns: &[
        "hop",
        "sent",
        "received",
        "lost",
        "failed",
        "late",
        "loss",
        "last_ns",
        "rtt_ns.min",
        "rtt_ns.avg",
        "rtt_ns.max",
        "rtt_ns.mdev",
        "jitter_ns.mean",
        "jitter_ns.rfc3550",
        "paths.address",
    ],
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye trace 127.0.0.1\n\
\x20 sockeye trace tcp://example.com:443 -W 0.5\n\
\x20 sockeye trace --watch example.com\n\
\x20 sockeye trace --report 10 --json example.com\n\
\n\
Loss at a router alone is its limit on errors (RFC 1812 section 4.3.2.8). Only\n\
loss that all hops behind it share is loss of packets.")]
pub(crate) struct Arguments {
    /// Where to: a name or an address, or with the method before it: icmp://HOST, udp://HOST:PORT, tcp://HOST:PORT
    #[arg(value_name = "HOST")]
    host: String,
    /// Show loss and times of each hop on the terminal, round after round; "?" tells the keys
    #[cfg(feature = "terminal")]
    #[arg(long, conflicts_with_all = ["report", "json", "csv", "count", "in_flight"])]
    watch: bool,
    /// Run so many rounds and print loss and times of each hop once
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["count", "in_flight"])]
    report: Option<u32>,
    /// ICMP echo requests [default with --watch and --report, where they are allowed and no port is given]
    #[arg(short = 'I', long, group = "method")]
    icmp: bool,
    /// UDP datagrams [default otherwise]
    #[arg(short = 'U', long, group = "method")]
    udp: bool,
    /// TCP SYNs (needs CAP_NET_RAW)
    #[arg(short = 'T', long, group = "method")]
    tcp: bool,
    /// The first UDP port, or with -T the TCP port, as HOST:PORT says it too [default: 33434, TCP 80]
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Each probe a flow of its own, not all of them one (Paris): shows that there are several paths
    #[arg(long)]
    classic: bool,
    #[command(flatten)]
    family: Family,
    /// Probes to each hop
    #[arg(short, long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=20))]
    count: u8,
    /// Seconds between two probes, with --watch and --report between two rounds [default: 0, or 1 a round]
    #[arg(short, long, value_name = "SECONDS", value_parser = interval)]
    interval: Option<f64>,
    /// Seconds to wait for an answer [default: 1, with --watch and --report 3]
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: Option<f64>,
    /// Bytes of payload of ICMP and UDP probes, at least 10
    #[arg(short, long, default_value_t = 32, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(10..=65_507))]
    size: u16,
    /// The hop limit of the last probes (-m too)
    #[arg(short, short_alias = 'm', long, default_value_t = 30, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: u8,
    /// The hop limit of the first probes
    #[arg(short, long, default_value_t = 1, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    first: u8,
    /// Probes in flight at once
    #[arg(short = 'N', long, default_value_t = 16, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=255))]
    in_flight: u16,
    /// Do not look up the names of addresses
    #[arg(short = 'n', long)]
    numeric: bool,
    #[command(flatten)]
    format: RowFormat,
}

impl Arguments {
    /// The format that was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
            .of(if self.is_watch() { &HOP_ROWS } else { &PROBE_ROWS })
    }

    /// The method that an option asks for.
    fn method(&self) -> Option<Transport> {
        let options = [
            (self.icmp, Transport::ICMP),
            (self.udp, Transport::Udp),
            (self.tcp, Transport::Tcp),
        ];
        options
            .into_iter()
            .find_map(|(asked, method)| asked.then_some(method))
    }

    /// Whether neither an option nor the host says what the probes are. A port does, as ICMP has none.
    fn asks_no_method(&self) -> bool {
        self.method().is_none() && self.port.is_none() && !self.host.contains("://") && !has_port(&self.host)
    }

    /// Whether the route is watched, not traced once.
    const fn is_watch(&self) -> bool {
        #[cfg(feature = "terminal")]
        if self.watch {
            return true;
        }
        self.report.is_some()
    }
}

/// Traces until the target answers, the hops run out, or a signal comes.
///
/// # Errors
/// When the name has no address, or the system does not allow the method.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    #[cfg(feature = "terminal")]
    if arguments.watch {
        return screen::watch(arguments, output);
    }
    if let Some(rounds) = arguments.report {
        return watch::report(arguments, rounds, output);
    }
    let (method, destination) = destination(arguments, false)?;
    let tracer = Tracer::new(destination, options(arguments, method))
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let inbox = Inbox::new();
    let sink = inbox.clone();
    let service = services::trace(&mut events, tracer, move |_, tracer, event| match event {
        TraceEvent::Answer(Answer { from: Some(from), .. }) => sink.put(Told::From(from)),
        TraceEvent::Hop(hop) => sink.put(Told::Hop(hop, tracer.probes(hop).cloned().collect())),
        TraceEvent::Done(end) => sink.put(Told::Done(end)),
        _ => {}
    })
    .map_err(|error| probing::refused(error, method == TraceMethod::Icmp))?;
    privileges::drop_all()?;
    let mode = events
        .service(service)
        .context("the service has left the loop")?
        .mode();
    let mut report = Report {
        arguments,
        method,
        destination,
        hops: Vec::new(),
        answered: false,
        names: ReverseNames::new(!arguments.numeric),
        unnamed: Vec::new(),
    };
    report.begin(output, mode)?;
    let mut end = TraceEnd::Stopped;
    probing::run(&mut events, &inbox, |events, told| match told {
        Told::From(from) => {
            report.names.ask(events, from);
            Ok(false)
        }
        Told::Hop(hop, probes) => {
            report.names.take(events);
            report.hop(output, hop, &probes).map(|()| false)
        }
        Told::Done(how) => {
            report.names.take(events);
            end = how;
            Ok(true)
        }
    })?;
    let fault = events.service(service).and_then(|prober| prober.take_fault());
    let exit = report.end(output, end)?;
    probing::given_up(fault).map(|()| exit)
}

/// What the loop tells the printer.
enum Told {
    From(IpAddr),
    Hop(u8, Vec<ProbeState>),
    Done(TraceEnd),
}

fn options(arguments: &Arguments, method: TraceMethod) -> TraceOptions {
    let secret = probing::secret();
    let [high, low, ..] = secret.to_be_bytes();
    TraceOptions {
        flow: if arguments.classic {
            Flow::Classic
        } else {
            Flow::Paris
        },
        first_hop: arguments.first,
        max_hops: arguments.ttl,
        probes_per_hop: arguments.count,
        in_flight: arguments.in_flight,
        timeout: Duration::from_secs_f64(arguments.timeout.unwrap_or(1.0)),
        gap: Duration::from_secs_f64(arguments.interval.unwrap_or(0.0)),
        payload_len: usize::from(arguments.size),
        identifier: Some(u16::from_be_bytes([high, low])),
        ..TraceOptions::new(method, secret)
    }
}

const fn method_name(method: TraceMethod) -> &'static str {
    match method {
        TraceMethod::Icmp => "icmp",
        TraceMethod::Udp => "udp",
        TraceMethod::Tcp { .. } => "tcp",
    }
}

const fn flow_name(arguments: &Arguments) -> &'static str {
    if arguments.classic { "classic" } else { "paris" }
}

/// Says what was found, for people or for programs.
struct Report<'a> {
    arguments: &'a Arguments,
    method: TraceMethod,
    destination: SocketAddr,
    hops: Vec<Value>,
    answered: bool,
    names: ReverseNames,
    /// Addresses that were printed before their names were known.
    unnamed: Vec<IpAddr>,
}

impl Report<'_> {
    fn begin(&self, output: &mut Output, mode: Mode) -> anyhow::Result<()> {
        let (host, address) = (&self.arguments.host, self.destination.ip());
        let (method, flow) = (method_name(self.method), flow_name(self.arguments));
        let fields = json!({
            "target": host, "address": address, "method": method, "flow": flow, "mode": mode.name(),
            "max_hops": self.arguments.ttl,
        });
        output.event("begin", fields)?;
        let max = self.arguments.ttl;
        output.line(format_args!(
            "trace to {host} ({address}), at most {max} hops, {method} {flow}, {mode}"
        ))?;
        Ok(())
    }

    fn hop(&mut self, output: &mut Output, hop: u8, probes: &[ProbeState]) -> anyhow::Result<()> {
        self.answered |= probes
            .iter()
            .any(|probe| matches!(probe, ProbeState::Answered(_)));
        let probe = |probe: &ProbeState| probe_json(probe, &self.names);
        let fields = json!({ "hop": hop, "probes": probes.iter().map(probe).collect::<Vec<_>>() });
        output.event("hop", fields.clone())?;
        for (number, probe) in (1..).zip(fields["probes"].as_array().into_iter().flatten()) {
            output.row("probe", &probe_row(hop, number, probe))?;
        }
        self.hops.push(fields);
        output.line(hop_line(hop, probes, &self.names))?;
        for probe in probes {
            if let ProbeState::Answered(answer) = probe
                && let Some(from) = answer.from
                && self.names.name(from).is_none()
                && !self.unnamed.contains(&from)
            {
                self.unnamed.push(from);
            }
        }
        for extensions in distinct_extensions(probes) {
            for line in extension_lines(extensions) {
                output.line(format_args!("      {line}"))?;
            }
        }
        Ok(())
    }

    fn end(self, output: &mut Output, end: TraceEnd) -> anyhow::Result<Exit> {
        let EndWords {
            outcome,
            hop,
            cause,
            line,
        } = end_words(end, self.destination.ip());
        let interrupted = end == TraceEnd::Stopped;
        let late = self
            .unnamed
            .iter()
            .filter_map(|ip| Some((ip.to_string(), self.names.name(*ip)?)));
        let late: Vec<(String, &str)> = late.collect();
        let names: serde_json::Map<String, Value> =
            late.iter().map(|(ip, name)| (ip.clone(), json!(name))).collect();
        let fields = json!({
            "outcome": outcome, "hop": hop, "cause": cause, "interrupted": interrupted, "hops": self.hops,
            "names": names,
        });
        output.event("end", fields)?;
        for (ip, name) in &late {
            output.line(format_args!("    {ip} is {name}"))?;
        }
        match end {
            TraceEnd::MaxHops => {
                output.line(format_args!("{line} within {} hops", self.arguments.ttl))?;
            }
            TraceEnd::Stopped => output.line(format_args!("{line} after {} hops", self.hops.len()))?,
            _ => output.line(line)?,
        }
        Ok(match end {
            TraceEnd::Reached { .. } => Exit::Success,
            TraceEnd::Stopped if !self.answered => Exit::Interrupted,
            _ => Exit::Negative,
        })
    }
}

/// How a route ends, in the words of programs and of people.
struct EndWords {
    outcome: &'static str,
    hop: Option<u8>,
    cause: Option<String>,
    line: String,
}

fn end_words(end: TraceEnd, address: IpAddr) -> EndWords {
    let (outcome, hop, cause, line) = match end {
        TraceEnd::Reached { hop } => {
            let hops = if hop == 1 { "hop" } else { "hops" };
            (
                "reached",
                Some(hop),
                None,
                format!("{address} is {hop} {hops} away"),
            )
        }
        TraceEnd::Failed { hop, cause } => {
            let line = format!("{address} was not reached: {cause} at hop {hop}");
            ("failed", Some(hop), Some(cause.to_string()), line)
        }
        TraceEnd::MaxHops => ("max_hops", None, None, format!("{address} was not reached")),
        _ => ("interrupted", None, None, "interrupted".to_owned()),
    };
    EndWords {
        outcome,
        hop,
        cause,
        line,
    }
}

/// What an answer says, in the words of programs, and why the target cannot be reached if it says that.
fn kind_words(kind: AnswerKind) -> (&'static str, Option<String>) {
    match kind {
        AnswerKind::Router => ("router", None),
        AnswerKind::Reached => ("reached", None),
        AnswerKind::Failed(cause) => ("failed", Some(cause.to_string())),
        _ => ("other", None),
    }
}

fn probe_json(probe: &ProbeState, names: &ReverseNames) -> Value {
    let ProbeState::Answered(answer) = probe else {
        return json!({ "kind": "lost" });
    };
    let (kind, cause) = kind_words(answer.kind);
    json!({
        "kind": kind, "from": answer.from, "name": answer.from.and_then(|from| names.name(from)), "rtt_ns": nanoseconds(answer.rtt), "hop_limit": answer.hop_limit,
        "cause": cause, "mpls": labels_json(&answer.extensions), "interfaces": interfaces_json(&answer.extensions),
    })
}

/// A probe as it is in the event of its hop, with its place in front.
fn probe_row(hop: u8, number: u8, probe: &Value) -> Value {
    let mut fields = json!({ "hop": hop, "probe": number });
    if let (Value::Object(fields), Value::Object(probe)) = (&mut fields, probe) {
        fields.extend(probe.clone());
    }
    fields
}

fn labels_json(extensions: &Extensions) -> Value {
    let label = |label: &sockeye::probe::MplsLabel| json!({ "label": label.label, "traffic_class": label.traffic_class, "bottom": label.bottom, "ttl": label.ttl });
    extensions.labels.iter().map(label).collect()
}

fn interfaces_json(extensions: &Extensions) -> Value {
    let interface = |interface: &sockeye::probe::Interface| {
        json!({
            "role": format!("{:?}", interface.role).to_lowercase(), "index": interface.index,
            "address": interface.address, "name": interface.name, "mtu": interface.mtu,
        })
    };
    extensions.interfaces.iter().map(interface).collect()
}

/// ` 2  192.0.2.1  0.123 ms  0.110 ms  *`: an address where it changes, a time or a star for each probe.
fn hop_line(hop: u8, probes: &[ProbeState], names: &ReverseNames) -> String {
    let mut line = format!("{hop:2} ");
    let mut last: Option<&Answer> = None;
    for probe in probes {
        let ProbeState::Answered(answer) = probe else {
            line.push_str(" *");
            continue;
        };
        if last.is_none_or(|last| last.from != answer.from) {
            match answer.from {
                Some(from) => line.push_str(&format!(" {}", names.shown(from))),
                None => line.push_str(" this host"),
            }
        }
        last = Some(answer);
        line.push_str(&format!("  {}", milliseconds(answer.rtt)));
        if let AnswerKind::Failed(cause) = answer.kind
            && !cause.mark().is_empty()
        {
            line.push_str(&format!(" {}", cause.mark()));
        }
    }
    line
}

fn distinct_extensions(probes: &[ProbeState]) -> Vec<&Extensions> {
    let mut found: Vec<&Extensions> = Vec::new();
    for probe in probes {
        if let ProbeState::Answered(answer) = probe
            && !answer.extensions.is_empty()
            && !found.contains(&&answer.extensions)
        {
            found.push(&answer.extensions);
        }
    }
    found
}

fn extension_lines(extensions: &Extensions) -> Vec<String> {
    let labels = extensions.labels.iter().map(|label| {
        format!(
            "MPLS label {} class {} ttl {}",
            label.label, label.traffic_class, label.ttl
        )
    });
    let interfaces = extensions.interfaces.iter().map(|interface| {
        let mut line = format!("interface ({:?})", interface.role).to_lowercase();
        let parts = [
            interface.name.clone(),
            interface.address.map(|address| address.to_string()),
            interface.index.map(|index| format!("index {index}")),
            interface.mtu.map(|mtu| format!("mtu {mtu}")),
        ];
        for part in parts.into_iter().flatten() {
            line.push(' ');
            line.push_str(&part);
        }
        line
    });
    labels.chain(interfaces).collect()
}
