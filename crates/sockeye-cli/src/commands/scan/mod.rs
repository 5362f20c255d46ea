//! `sockeye scan TARGET... -p PORTS`: which ports are open.

mod report;
mod sorted;
mod words;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde_json::json;
use sockeye::endpoint::Transport;
use sockeye::event_loop::{Context, EventLoop, LoopOptions};
use sockeye::probe::services::{self, ScanReport};
use sockeye::probe::{PortState, ScanCounts, ScanMethod, ScanOptions, Scanner};
use sockeye::socket::os;

use crate::exit::{Exit, Failure, classify, describe};
use crate::output::{self, Output, RowFormat, Rows, warn};
use crate::privileges;
use crate::probing::{self, Family, Inbox};
use crate::signals::stop_on_signals;
use report::{Found, Report};
use sorted::{Order, Sorted};
use words::Place;

/// Descriptors that are left to everything but connections: streams, poller, timer, signals, lookups.
const SPARE_DESCRIPTORS: u64 = 24;
/// Between two looks at how far it is.
const PROGRESS: Duration = Duration::from_millis(200);

/// The rows of `--csv`.
pub(crate) const ROWS: Rows = Rows {
    events: &["port"],
    columns: &[
        "address",
        "port",
        "transport",
        "state",
        "reason",
        "offender",
        "service",
        "rtt_ns",
        "attempts",
        "banner",
    ],
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Open ports are printed, the others are counted: --all prints them too. With\n\
--json each comes as it is found, else all in order at the end. UDP: no answer\n\
is open|filtered. Well-known ports are asked in their own protocol. Exit status:\n\
0 if a port is open, 1 if none is.\n\
\n\
Examples:\n\
\x20 sockeye scan 127.0.0.1 -p 1-1024\n\
\x20 sockeye scan 192.0.2.0/24 ::1 -p ssh,http,8000-8100 --banner\n\
\x20 sockeye scan 192.0.2.1 -p 53,123,161 -sU --all --json")]
pub(crate) struct Arguments {
    /// Whom to scan: names, addresses, ranges (192.0.2.1-192.0.2.9) or networks (192.0.2.0/24)
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// Ports: numbers, ranges and service names such as 22,8000-8100,https, or "all" (nmap: "-")
    #[arg(
        short,
        long,
        value_name = "PORTS",
        default_value = "1-1024",
        allow_hyphen_values = true
    )]
    ports: String,
    /// How: T (connects) or U (UDP)
    #[arg(short = 's', long = "scan", value_name = "T|U", default_value = "T", value_parser = method)]
    method: ScanMethod,
    #[command(flatten)]
    family: Family,
    /// Seconds to wait for an answer at most; less once a host is known to be near
    #[arg(short = 'W', long, value_name = "SECONDS", default_value_t = 1.0, value_parser = crate::arguments::seconds)]
    timeout: f64,
    /// How often to repeat a probe without an answer [default: 1, with -sU 2]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=9))]
    retries: Option<u32>,
    /// Probes a second at most [default: as many as the hosts and this machine take]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    /// Probes that wait for an answer at once [default: up to 1000, as descriptors allow]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_parallel: Option<u32>,
    /// Print what servers say first, waiting so many seconds for it
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
        value_parser = crate::arguments::seconds)]
    banner: Option<f64>,
    /// Print every port, not only those that are open
    #[arg(long)]
    all: bool,
    /// Scan more than 256 hosts
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pub(crate) format: RowFormat,
}

fn method(text: &str) -> Result<ScanMethod, String> {
    match text {
        "T" | "tcp" => Ok(ScanMethod::Tcp),
        "U" | "udp" => Ok(ScanMethod::Udp),
        _ => Err("expected T (TCP connects, which need no privileges) or U (UDP)".to_owned()),
    }
}

/// Scans until every port has its state, or a signal comes.
///
/// # Errors
/// Targets or ports that make no sense, a name without an address, no descriptors for any probe.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let transport = match arguments.method {
        ScanMethod::Tcp => Transport::Tcp,
        ScanMethod::Udp => Transport::Udp,
    };
    let (scanner, order, unresolved) = scanner(arguments, transport, output)?;
    // Connects and datagrams need none; the limit of descriptors has been raised.
    privileges::drop_all()?;
    // Programs get each port as it is found.
    let mut sorted = Sorted::new((!arguments.format.of(&ROWS).json).then_some(order));
    let most = scanner.options().max_in_flight;
    let mut events = EventLoop::with_options(loop_options(most)).context("make an event loop")?;
    stop_on_signals(&mut events).context("take signals")?;
    let report = Report {
        transport,
        total: scanner.total(),
        banner: arguments.banner.is_some(),
    };
    report.begin(output, &scanner, &arguments.targets)?;
    let bar = progress(&scanner);
    let inbox = Inbox::new();
    let sink = inbox.clone();
    let all = arguments.all;
    let on_report = move |context: &mut Context<'_>, scanner: &mut Scanner, told: ScanReport<'_>| {
        if all || told.verdict.state == PortState::Open {
            sink.put(Found::new(&told));
        }
        if scanner.is_finished() {
            context.stop();
        }
    };
    // Each method is a service of another type.
    let (last, fault, held) = match arguments.method {
        ScanMethod::Tcp => {
            let banner = arguments.banner.map(Duration::from_secs_f64);
            let service = services::scan_tcp(&mut events, scanner, banner, on_report);
            let mut state = |events: &mut EventLoop| {
                let scan = events.service(service)?;
                Some(State::of(scan.scanner()))
            };
            let mut print = |found: Vec<Found>| report.found(output, &sorted.put(found));
            let last = drive(&mut events, &mut state, &inbox, &mut print, &bar)?;
            let scan = events.service(service);
            let held = scan.map(|scan| scan.scanner().release_all());
            (last, None, held.unwrap_or_default())
        }
        ScanMethod::Udp => {
            let service = services::scan_udp(&mut events, scanner, on_report)?;
            let mut state = |events: &mut EventLoop| {
                let scan = events.service(service)?;
                Some(State::of(scan.scanner()))
            };
            let mut print = |found: Vec<Found>| report.found(output, &sorted.put(found));
            let last = drive(&mut events, &mut state, &inbox, &mut print, &bar)?;
            let fault = events.service(service).and_then(|scan| scan.take_fault());
            (last, fault, Vec::new())
        }
    };
    bar.finish_and_clear();
    let State { counts, starved } = last;
    // Those are open, and were still to say something.
    let held: Vec<Found> = held.into_iter().map(Found::silent).collect();
    let interrupted = u128::from(counts.done()) < report.total || !held.is_empty();
    report.found(output, &sorted.put(held))?;
    report.found(output, &sorted.finish())?;
    report.end(output, counts, interrupted, begun.elapsed())?;
    probing::given_up(fault)?;
    if starved {
        return Err(no_room());
    }
    Ok(match counts {
        _ if unresolved => Exit::Resolution,
        ScanCounts { open: 1.., .. } => Exit::Success,
        _ if interrupted && counts.done() == 0 => Exit::Interrupted,
        _ => Exit::Negative,
    })
}

/// The scanner, its hosts and limits, and whether there were names without an address: those are reported, and are the
/// command's error where no host is left.
fn scanner(
    arguments: &Arguments,
    transport: Transport,
    output: &mut Output,
) -> anyhow::Result<(Scanner, Order, bool)> {
    let ports = words::ports(&arguments.ports, transport)?;
    let mut options = ScanOptions {
        timeout: Duration::from_secs_f64(arguments.timeout),
        gap: arguments
            .rate
            .map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate),
        ..ScanOptions::new(arguments.method, probing::secret())
    };
    if let Some(retries) = arguments.retries {
        options.retries = retries;
    }
    if let Some(limit) = arguments.max_parallel {
        options.max_in_flight = usize::try_from(limit).unwrap_or(usize::MAX);
    }
    if arguments.method == ScanMethod::Tcp {
        options.max_in_flight = options.max_in_flight.min(descriptors(options.max_in_flight));
    }
    let mut scanner = Scanner::new(&ports, options);
    let mut order = Order::default();
    let mut unresolved = Vec::new();
    for text in &arguments.targets {
        match words::place(text, arguments.family, transport) {
            Ok(place) => {
                order.push(place);
                match place {
                    Place::Host(address) => scanner.add_host(address),
                    Place::Range(range) => scanner.add_range(range),
                }
                // Before more names are looked up.
                let hosts = scanner.hosts();
                if hosts > words::MAX_HOSTS && !arguments.yes {
                    return Err(Failure::usage(format!(
                        "{hosts} hosts up to {text}: --yes scans more than {}",
                        words::MAX_HOSTS
                    )));
                }
            }
            Err(error) if classify(&error) == Exit::Resolution => unresolved.push((text, error)),
            Err(error) => return Err(error),
        }
    }
    if scanner.hosts() == 0
        && let Some((_, error)) = unresolved.pop()
    {
        return Err(error);
    }
    for (target, error) in &unresolved {
        let message = describe(error);
        output.event("unresolved", json!({ "target": target, "message": message }))?;
        warn(format_args!("sockeye: {message}"));
    }
    Ok((scanner, order, !unresolved.is_empty()))
}

/// A turn takes the answers to all probes in flight: one that is left for a later turn may come after the end of its
/// attempt.
fn loop_options(max_in_flight: usize) -> LoopOptions {
    let default = LoopOptions::default();
    LoopOptions {
        events_per_turn: max_in_flight.max(default.events_per_turn),
        ..default
    }
}

/// How many connections this process may have open at once; its limit is raised for them, as far as that goes.
fn descriptors(wanted: usize) -> usize {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let limit = os::raise_nofile_limit(wanted.saturating_add(SPARE_DESCRIPTORS));
    let free = limit.map_or(wanted, |limit| limit.saturating_sub(SPARE_DESCRIPTORS));
    usize::try_from(free.max(1)).unwrap_or(usize::MAX)
}

fn no_room() -> anyhow::Error {
    let limit = os::nofile_limit().map_or_else(|_| String::new(), |(soft, _)| format!(" of {soft}"));
    Failure::with(
        Exit::Io,
        format!(
            "no descriptor or no local port for any probe in five seconds: raise the limit{limit} (ulimit -n), \
             or look for other programs that use them up (sockeye sockets --summary)"
        ),
    )
}

/// How a scan stands between two turns.
struct State {
    counts: ScanCounts,
    starved: bool,
}

impl State {
    fn of(scanner: &Scanner) -> Self {
        Self {
            counts: scanner.counts(),
            starved: scanner.is_starved(),
        }
    }
}

/// Turns the loop until the scan is over, prints what was found, and says how it stands then.
fn drive(
    events: &mut EventLoop,
    state: &mut dyn FnMut(&mut EventLoop) -> Option<State>,
    inbox: &Inbox<Found>,
    print: &mut dyn FnMut(Vec<Found>) -> anyhow::Result<()>,
    bar: &ProgressBar,
) -> anyhow::Result<State> {
    let look = (!bar.is_hidden()).then_some(PROGRESS);
    loop {
        events.turn(look).context("run the event loop")?;
        let found = inbox.take_all();
        if !found.is_empty() {
            bar.suspend(|| print(found))?;
        }
        let now = state(events).context("the service has left the loop")?;
        bar.set_position(now.counts.done());
        if events.is_stopping() || now.starved {
            return Ok(now);
        }
    }
}

/// The progress line; nothing where stderr is no terminal.
fn progress(scanner: &Scanner) -> ProgressBar {
    let total = u64::try_from(scanner.total()).unwrap_or(u64::MAX);
    output::progress(total, "{spinner} {pos} of {len} ports [{elapsed}, {eta} left]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_takes_the_answers_to_all_that_is_in_flight() {
        assert_eq!(loop_options(5_000).events_per_turn, 5_000);
        assert_eq!(loop_options(1), LoopOptions::default());
    }
}
