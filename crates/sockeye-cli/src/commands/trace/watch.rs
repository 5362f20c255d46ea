//! `sockeye trace --report COUNT`, and what it shares with `--watch`: the watch on its loop, and its figures for programs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use sockeye::event_loop::{Context, EventLoop, ServiceHandle};
use sockeye::probe::services::{self, Mode, Prober};
use sockeye::probe::{Hop, Jitter, Path, TraceEnd, TraceMethod, Watch, WatchEvent, WatchOptions};

use super::destination::destination;
use super::table::{self, Figures};
use super::{
    Arguments, EndWords, end_words, flow_name, interfaces_json, kind_words, labels_json, method_name, options,
};
use crate::exit::{Exit, Failure};
use crate::output::{Output, note};
use crate::privileges;
use crate::probing::{self, Inbox, nanoseconds, rtt_json};
use crate::reverse::ReverseNames;
use crate::signals::stop_on_signals;

/// How long an answer may take unless told: rounds overlap, so patience costs nothing, and what is late is no loss.
const TIMEOUT: f64 = 3.0;
/// Seconds from one round to the next.
const INTERVAL: f64 = 1.0;

type OnEvent = Box<dyn FnMut(&mut Context<'_>, &mut Watch, WatchEvent)>;

/// A watch on its loop.
pub(super) struct Watching {
    pub(super) events: EventLoop,
    pub(super) inbox: Inbox<WatchEvent>,
    service: ServiceHandle<Prober<Watch, OnEvent>>,
    pub(super) method: TraceMethod,
    pub(super) destination: SocketAddr,
    pub(super) mode: Mode,
}

impl Watching {
    /// Opens the sockets on a loop that takes its signals already. Whoever asked for no method gets ICMP, or UDP where the system does not allow that.
    ///
    /// # Errors
    /// When the name has no address, or the system does not allow the method.
    pub(super) fn begin(
        mut events: EventLoop,
        arguments: &Arguments,
        rounds: Option<u32>,
    ) -> anyhow::Result<Self> {
        let (mut method, mut to) = destination(arguments, false)?;
        let inbox = Inbox::new();
        let opened = open(&mut events, arguments, (method, to), rounds, &inbox)?;
        let service = match opened {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && arguments.asks_no_method() => {
                note("sockeye: ICMP is not allowed here, so the probes are UDP (see: sockeye doctor)");
                (method, to) = destination(arguments, true)?;
                open(&mut events, arguments, (method, to), rounds, &inbox)?
            }
            other => other,
        };
        let service = service.map_err(|error| probing::refused(error, method == TraceMethod::Icmp))?;
        privileges::drop_all()?;
        let mode = events
            .service(service)
            .context("the service has left the loop")?
            .mode();
        Ok(Self {
            events,
            inbox,
            service,
            method,
            destination: to,
            mode,
        })
    }

    /// The engine, to look at and to steer.
    ///
    /// # Errors
    /// None in practice: the service stays as long as the loop.
    pub(super) fn watch(&mut self) -> anyhow::Result<&mut Watch> {
        let prober = self.events.service(self.service);
        Ok(prober.context("the service has left the loop")?.engine())
    }

    /// Why the sockets were given up, if they were.
    pub(super) fn take_fault(&mut self) -> Option<io::Error> {
        self.events
            .service(self.service)
            .and_then(|prober| prober.take_fault())
    }
}

type Opened = Result<ServiceHandle<Prober<Watch, OnEvent>>, sockeye::socket::OpError>;

fn open(
    events: &mut EventLoop,
    arguments: &Arguments,
    (method, to): (TraceMethod, SocketAddr),
    rounds: Option<u32>,
    inbox: &Inbox<WatchEvent>,
) -> anyhow::Result<Opened> {
    let mut trace = options(arguments, method);
    trace.timeout = Duration::from_secs_f64(arguments.timeout.unwrap_or(TIMEOUT));
    let watch = WatchOptions {
        trace,
        interval: Duration::from_secs_f64(arguments.interval.unwrap_or(INTERVAL).max(MIN_INTERVAL)),
        rounds,
        ..WatchOptions::new(method, 0)
    };
    let watch = Watch::new(to, watch).map_err(|error| Failure::usage(error.to_string()))?;
    let sink = inbox.clone();
    let on_event: OnEvent = Box::new(move |_, _, event| sink.put(event));
    Ok(services::watch(events, watch, on_event))
}

/// Rounds that follow each other without a pause would only measure the limits of routers.
const MIN_INTERVAL: f64 = 0.01;

/// Runs so many rounds and prints the table once.
///
/// # Errors
/// As [`Watching::begin`], and what the sockets report.
pub(super) fn report(arguments: &Arguments, rounds: u32, output: &mut Output) -> anyhow::Result<Exit> {
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let mut watching = Watching::begin(events, arguments, Some(rounds))?;
    let mut names = ReverseNames::new(!arguments.numeric);
    let (host, address) = (&arguments.host, watching.destination.ip());
    let (method, flow, mode) = (method_name(watching.method), flow_name(arguments), watching.mode);
    output.event(
        "begin",
        json!({
            "target": host, "address": address, "method": method, "flow": flow, "mode": mode.name(),
            "max_hops": arguments.ttl, "rounds": rounds,
        }),
    )?;
    output.line(format_args!(
        "trace to {host} ({address}), rounds: {rounds}, {method} {flow}, {mode}"
    ))?;
    let finished = probing::run(&mut watching.events, &watching.inbox, |events, event| {
        names.take(events);
        if let WatchEvent::Answer { from, .. } = event {
            names.ask(events, from);
        }
        Ok(matches!(event, WatchEvent::Done(_)))
    })?;
    names.take(&mut watching.events);
    let fault = watching.take_fault();
    let exit = end(watching.watch()?, &names, !finished, output)?;
    probing::given_up(fault).map(|()| exit)
}

/// Prints the figures and how the route ends.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn end(
    watch: &Watch,
    names: &ReverseNames,
    interrupted: bool,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    for (number, hop) in watch.hops() {
        output.event("hop_stats", hop_json(number, hop, names))?;
    }
    let address = watch.destination().ip();
    let EndWords {
        outcome,
        hop,
        cause,
        line,
    } = end_words(watch.end(), address);
    output.lines(table::lines(
        &table::rows(watch, |ip| names.shown(ip)),
        Figures::Times,
        None,
    ))?;
    let rounds = watch.rounds();
    if interrupted {
        output.line(format_args!("{line}; interrupted, rounds: {rounds}"))?;
    } else {
        output.line(&line)?;
    }
    let fields = json!({
        "outcome": outcome, "hop": hop, "cause": cause, "interrupted": interrupted, "rounds": rounds,
        "strangers": watch.strangers(), "duplicates": watch.duplicates(),
    });
    output.event("end", fields)?;
    let answered = watch.hops().any(|(_, hop)| hop.received > 0);
    Ok(match watch.end() {
        TraceEnd::Reached { .. } => Exit::Success,
        _ if interrupted && !answered => Exit::Interrupted,
        _ => Exit::Negative,
    })
}

fn hop_json(number: u8, hop: &Hop, names: &ReverseNames) -> Value {
    let paths: Vec<Value> = hop.paths().iter().map(|path| path_json(path, names)).collect();
    json!({
        "hop": number, "sent": hop.sent, "received": hop.received, "lost": hop.lost, "failed": hop.failed,
        "pending": hop.pending, "late": hop.late, "loss": hop.loss(), "last_ns": hop.rtt.last().map(nanoseconds),
        "rtt_ns": rtt_json(&hop.rtt), "jitter_ns": jitter_json(&hop.jitter), "paths": paths, "unlisted": hop.unlisted,
    })
}

fn jitter_json(jitter: &Jitter) -> Value {
    json!({
        "last": jitter.last().map(nanoseconds), "mean": jitter.mean().map(nanoseconds),
        "max": jitter.max().map(nanoseconds), "rfc3550": jitter.smoothed().map(nanoseconds),
    })
}

fn path_json(path: &Path, names: &ReverseNames) -> Value {
    let (kind, cause) = kind_words(path.kind);
    json!({
        "address": path.address, "name": names.name(path.address), "received": path.received, "kind": kind,
        "cause": cause, "last_ns": path.rtt.last().map(nanoseconds), "rtt_ns": rtt_json(&path.rtt),
        "mpls": labels_json(&path.extensions), "interfaces": interfaces_json(&path.extensions),
    })
}
