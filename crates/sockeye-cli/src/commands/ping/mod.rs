//! `sockeye ping HOST...`: who answers, and how fast.

#[cfg(feature = "metrics")]
mod metrics;

#[cfg(feature = "terminal")]
use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use sockeye::endpoint::Transport;
use sockeye::event_loop::EventLoop;
#[cfg(feature = "metrics")]
use sockeye::event_loop::Remote;
use sockeye::probe::services;
use sockeye::probe::{AddError, Pace, PingOptions, PingOutcome, Pinger};

mod histogram;
mod histories;
mod hosts;
#[cfg(feature = "terminal")]
mod live;
mod report;

use histogram::Histograms;
use histories::Histories;
use report::Report;

use crate::exit::{Exit, Failure, classify, describe};
#[cfg(feature = "metrics")]
use crate::metrics::Ask;
use crate::output::{self, Output, RowFormat, Rows, warn};
use crate::privileges;
use crate::probing::{self, Family, Inbox, interval};
use crate::reverse::ReverseNames;
use crate::signals::stop_on_signals;

/// Seconds between two requests to a host.
const INTERVAL: f64 = 1.0;
/// The same at least, where the next one leaves as soon as the last is answered.
const ADAPTIVE_INTERVAL: f64 = 0.01;
/// Seconds between two requests when whole networks are asked: the neighbours that are looked for by ARP or NDP are many.
const GENERATED_GAP: f64 = 0.001;

/// The rows of `--csv`.
pub(crate) const ROWS: Rows = Rows {
    events: &[
        "reply",
        "duplicate",
        "late",
        "corrupt",
        "failed",
        "lost",
        "alive",
        "unreachable",
    ],
    columns: &[
        "event",
        "target",
        "address",
        "name",
        "sequence",
        "rtt_ns",
        "bytes",
        "hop_limit",
        "offender",
        "cause",
    ],
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n\
\x20 sockeye ping -c 3 127.0.0.1 ::1\n\
\x20 sockeye ping --file HOSTS --count 1 --quiet --json\n\
\x20 sockeye ping --alive --generate 192.0.2.0/24\n\
\x20 sockeye ping --live 192.0.2.1 198.51.100.1\n\
\x20 sockeye ping -c 100 -i 0.1 --histogram --sparks 127.0.0.1\n\
\x20 sockeye ping --file HOSTS --quiet --metrics 127.0.0.1:9100")]
pub(crate) struct Arguments {
    /// Whom to ping: names or addresses
    #[arg(value_name = "HOST", required_unless_present_any = ["file", "generate"])]
    hosts: Vec<String>,
    /// Read hosts from a file, one a line; "-" is stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// The hosts of a network or a range: ADDRESS/PREFIX or FIRST-LAST; may be given several times
    #[arg(short, long, value_name = "NETWORK")]
    generate: Vec<String>,
    /// Allow more than 65536 hosts of networks, at most 1048576
    #[arg(long, requires = "generate")]
    yes: bool,
    #[command(flatten)]
    family: Family,
    /// Print only the hosts that answer, one a line; each is asked until it answers, at most 1 + RETRY times unless --count
    #[arg(short, long, conflicts_with = "unreachable")]
    alive: bool,
    /// Print only the hosts that do not answer, one a line, asked likewise
    #[arg(short, long)]
    unreachable: bool,
    /// With --alive and --unreachable: how often a host that has not answered is asked again
    #[arg(short, long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=1000), conflicts_with = "count")]
    retry: u32,
    /// Until interrupted: what happens without --count, for those who know fping
    #[arg(short = 'l', long = "loop", conflicts_with_all = ["count", "alive", "unreachable"])]
    endless: bool,
    /// Requests to each host [default: until interrupted]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Seconds between two requests to a host [default: 1; 0.01 with -A, and with --alive or --unreachable without --count]
    #[arg(short, long, value_name = "SECONDS", value_parser = interval)]
    interval: Option<f64>,
    /// The next request as soon as the last is answered or lost, but never sooner than the interval
    #[arg(short = 'A', long)]
    adaptive: bool,
    /// Seconds between two requests to any hosts [default: 0, with --generate 0.001]
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    gap: Option<f64>,
    /// Seconds to wait for a reply
    #[arg(short = 'W', long, default_value_t = 1.0, value_name = "SECONDS", value_parser = crate::arguments::seconds)]
    timeout: f64,
    /// Bytes of payload
    #[arg(short, long, default_value_t = 56, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(0..=65_507))]
    size: u16,
    /// TTL or hop limit of the requests
    #[arg(short, long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    /// A line of sparks a host at the end, on a terminal while it goes on as well: times from ▁ to ▇, × for a lost one
    #[arg(long)]
    sparks: bool,
    /// At the end how many round trips took how long, as bars: a host, or together if there are more than 64
    #[arg(long)]
    histogram: bool,
    /// One line a host, drawn in place [default on a terminal, with several hosts or --sparks]
    #[cfg(feature = "terminal")]
    #[arg(long, conflicts_with_all = ["json", "csv", "alive", "unreachable"])]
    live: bool,
    /// One line a reply, also with several hosts or --sparks
    #[cfg(feature = "terminal")]
    #[arg(long, conflicts_with = "live")]
    no_live: bool,
    /// Do not look up the names of addresses
    #[arg(short = 'n', long)]
    numeric: bool,
    #[cfg(feature = "metrics")]
    #[command(flatten)]
    metrics: crate::metrics::Endpoint,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

impl Arguments {
    /// Whether hosts are listed, and nothing is said of single replies.
    const fn is_list(&self) -> bool {
        self.alive || self.unreachable
    }

    /// Whether the hosts have a live line each.
    #[cfg(feature = "terminal")]
    fn is_live(&self, hosts: usize) -> anyhow::Result<bool> {
        let is_terminal = std::io::stdout().is_terminal();
        // The parser does not see this one: it may stand in front of the command.
        if self.live && output::is_quiet() {
            return Err(Failure::usage(
                "--live draws while it goes on, and --quiet says nothing then: leave one of them out",
            ));
        }
        if self.live && !is_terminal {
            return Err(Failure::usage(
                "--live draws on a terminal, and stdout is none: without it there is a line a reply",
            ));
        }
        let wanted = self.live || (!self.no_live && (self.sparks || hosts > 1));
        Ok(is_terminal && wanted && !(output::is_quiet() || self.format.is_for_programs() || self.is_list()))
    }
}

/// Pings until every host has had its requests, or a signal comes.
///
/// # Errors
/// When a name has no address, or the system allows neither ping sockets nor raw ones.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let (pinger, names, unresolved) = targets(arguments, output)?;
    #[cfg(feature = "terminal")]
    let mut live = arguments.is_live(names.len())?.then(live::Live::new);
    #[cfg(feature = "terminal")]
    let is_live = live.is_some();
    #[cfg(not(feature = "terminal"))]
    let is_live = false;
    let mut events = EventLoop::new().context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let inbox = Inbox::new();
    let sink = inbox.clone();
    let (quiet, list) = (output::is_quiet(), arguments.is_list());
    let collects = arguments.sparks || arguments.histogram || is_live;
    #[cfg(feature = "metrics")]
    let watched = (arguments.metrics.is_asked()).then(|| metrics::Watched::new(&names, &pinger));
    #[cfg(feature = "metrics")]
    let counted = watched.clone();
    let service = services::ping(&mut events, pinger, move |_, pinger, event| {
        let last = pinger.is_finished();
        #[cfg(feature = "metrics")]
        if let Some(counted) = &counted {
            counted.outcome(&event);
        }
        let wanted = collects
            || if list {
                event.outcome == PingOutcome::Finished
            } else {
                !quiet
            };
        if last || wanted {
            sink.put((event, last));
        }
    })
    .map_err(|error| probing::refused(error, true))?;
    let prober = events.service(service).context("the service has left the loop")?;
    let mode = prober.mode();
    let addresses: Vec<IpAddr> = prober.engine().targets().map(|(_, address)| address).collect();
    let histograms = arguments.histogram.then(|| Histograms::new(names.len()));
    let mut report = Report {
        names,
        addresses,
        len: arguments.size,
        reverse: ReverseNames::new(!arguments.numeric && !quiet && !list && !is_live),
        list,
        sparks: arguments.sparks,
        histories: Histories::default(),
        histograms,
    };
    report.begin(output, mode)?;
    #[cfg(feature = "metrics")]
    if let Some(watched) = watched {
        let source = move |remote: &Remote, ask: Ask| {
            let watched = watched.clone();
            remote.with(service, move |prober, context| {
                let snapshot = watched.snapshot(prober.engine());
                ask.answer_on(context, snapshot);
            })
        };
        arguments.metrics.start(&mut events, "ping", output, source)?;
    }
    privileges::drop_all()?;

    let finished = loop {
        #[cfg(feature = "terminal")]
        let wait = live.as_ref().and_then(live::Live::wait);
        #[cfg(not(feature = "terminal"))]
        let wait = None;
        events.turn(wait).context("run the event loop")?;
        let mut finished = false;
        while let Some((event, last)) = inbox.take() {
            finished |= last;
            report.collect(&event, arguments.sparks || is_live);
            if list {
                if event.outcome == PingOutcome::Finished {
                    let prober = events.service(service).context("the service has left the loop")?;
                    report.listed(output, arguments.alive, prober.engine(), event.target)?;
                }
            } else if !(quiet || is_live) {
                report.find_names(&mut events, &event);
                report.outcome(output, event)?;
            }
            #[cfg(feature = "terminal")]
            live.iter_mut().for_each(live::Live::changed);
        }
        let over = finished || events.is_stopping();
        #[cfg(feature = "terminal")]
        if let Some(live) = &mut live {
            let prober = events.service(service).context("the service has left the loop")?;
            live.draw(output, &report.names, prober.engine(), &report.histories, over)?;
        }
        if over {
            break finished;
        }
    };
    let prober = events.service(service).context("the service has left the loop")?;
    let fault = prober.take_fault();
    let exit = report.end(output, prober.engine(), !finished)?;
    probing::given_up(fault)?;
    Ok(if unresolved { Exit::Resolution } else { exit })
}

/// The hosts to ping, as the user named them, and whether there were others that have no address: those are reported, and
/// are the command's error where no host is left.
fn targets(arguments: &Arguments, output: &mut Output) -> anyhow::Result<(Pinger, Vec<String>, bool)> {
    let mut pinger = Pinger::new(options(arguments));
    let mut names = Vec::new();
    let mut unresolved = Vec::new();
    for host in hosts::hosts(arguments)? {
        let target = probing::target(&host, Transport::ICMP, 0)?;
        if ![Transport::ICMP, Transport::ICMPV6].contains(&target.transport()) {
            return Err(Failure::usage(format!(
                "{target}: ping asks by ICMP, which has no ports; sockeye connect -z {target} says whether a port is open"
            )));
        }
        let address = match probing::address(&target, arguments.family) {
            Ok(address) => address,
            Err(error) if classify(&error) == Exit::Resolution => {
                unresolved.push((host, error));
                continue;
            }
            Err(error) => return Err(error),
        };
        match pinger.add(address) {
            Ok(_) => names.push(host),
            // Named twice, or two names of one host: pinged once.
            Err(AddError::Duplicate(_)) => {}
            Err(error) => return Err(Failure::usage(format!("{host}: {error}"))),
        }
    }
    let last = if pinger.is_empty() { unresolved.pop() } else { None };
    for (host, error) in &unresolved {
        let message = describe(error);
        output.event("unresolved", json!({ "target": host, "message": message }))?;
        warn(format_args!("sockeye: {message}"));
    }
    match last {
        Some((_, error)) => Err(error),
        None => Ok((pinger, names, !unresolved.is_empty())),
    }
}

fn options(arguments: &Arguments) -> PingOptions {
    let paced = |default| Duration::from_secs_f64(arguments.interval.unwrap_or(default));
    let secret = probing::secret();
    // The high half: the low one is mixed into the tags, and this is sent in the open.
    let [high, low, ..] = secret.to_be_bytes();
    let asks_again = arguments.is_list() && arguments.count.is_none();
    let gap = if arguments.generate.is_empty() {
        0.0
    } else {
        GENERATED_GAP
    };
    PingOptions {
        pace: if arguments.adaptive || asks_again {
            Pace::Adaptive {
                at_least: paced(ADAPTIVE_INTERVAL),
            }
        } else {
            Pace::Every(paced(INTERVAL))
        },
        gap: Duration::from_secs_f64(arguments.gap.unwrap_or(gap)),
        count: if asks_again {
            Some(arguments.retry + 1)
        } else {
            arguments.count
        },
        until_answered: asks_again,
        timeout: Duration::from_secs_f64(arguments.timeout),
        payload_len: usize::from(arguments.size),
        hop_limit: arguments.ttl,
        identifier: Some(u16::from_be_bytes([high, low])),
        ..PingOptions::new(secret)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn no_pace_is_faster_than_the_interval_that_was_given() {
        let adaptive = |ms| Pace::Adaptive {
            at_least: Duration::from_millis(ms),
        };
        let every = |ms| Pace::Every(Duration::from_millis(ms));
        for (words, pace) in [
            (&[][..], every(1000)),
            (&["-i", "0.5"], every(500)),
            (&["-A"], adaptive(10)),
            (&["-A", "-i", "0.5"], adaptive(500)),
            (&["-A", "-i", "0"], adaptive(0)),
            (&["--alive"], adaptive(10)),
            (&["--unreachable", "-i", "2"], adaptive(2000)),
            (&["--alive", "--count", "2"], every(1000)),
        ] {
            let words = [&["ping", "192.0.2.1"], words].concat();
            let line = Line::try_parse_from(&words).unwrap();
            assert_eq!(options(&line.arguments).pace, pace, "{words:?}");
        }
    }
}
