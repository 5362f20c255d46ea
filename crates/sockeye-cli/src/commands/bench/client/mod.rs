//! `sockeye bench client TARGET`: the side that starts and reports.
//!
//! | module | what |
//! |---|---|
//! | [`arguments`], [`plan`] | what is to be measured, and what makes no sense |
//! | [`driver`], [`service`], [`crr`], [`intervals`] | the run: phases, connections, turns, intervals |
//! | [`figures`], [`series`], [`print`] | what was measured, whatever protocol measured it, and how it is shown |
//! | [`afterwards`], [`conditions`], [`compare`], [`hdr`], `report` | what is done with it: conditions, comparisons, files |

mod afterwards;
mod arguments;
mod compare;
mod conditions;
mod crr;
mod driver;
pub(crate) mod figures;
mod hdr;
mod intervals;
mod plan;
pub(crate) mod print;
#[cfg(feature = "report")]
mod report;
mod secure;
#[cfg_attr(
    not(feature = "report"),
    allow(dead_code, reason = "only charts read all of it")
)]
mod series;
mod service;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde_json::json;
use sockeye::event_loop::EventLoop;
use sockeye::measure::run::{Mode, Parameters, Report};

use super::flows::Role;
use super::flows::cpu::Pinned;
use super::flows::datagram::{Sorter, Table};
use super::flows::stream::CLIENT_TAIL;
use super::server::{loop_options, stream_options};
use super::{iperf3, sockperf};
use crate::exit::Exit;
use crate::output::{self, Output, Rows};
use crate::privileges;
use crate::probing::{self, Inbox};
use crate::signals;
use afterwards::Afterwards;
pub(crate) use arguments::{Arguments, ModeArgument};
use driver::{Driver, Event};
use figures::{Cpu, Direction, FlowTotal, Latency, Outcome};
use plan::{Plan, Way};
use secure::Connector;
use series::Series;
use service::{Client, Connects, Joins};

/// The rows of `--csv`: an interval each.
pub(crate) const ROWS: Rows = Rows {
    events: &["interval"],
    columns: &[
        "from_ns",
        "to_ns",
        "flow",
        "direction",
        "bytes",
        "bytes_per_s",
        "messages",
        "retransmits",
        "rtt_ns",
        "rtt_variation_ns",
        "cwnd_bytes",
        "delivery_bytes_per_s",
        "lost",
        "reordered",
        "duplicates",
        "jitter_ns",
    ],
};

/// Measures, and reports.
///
/// # Errors
/// When the server cannot be reached, or a run breaks.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    if arguments.iperf3 {
        return iperf3::measure(arguments, output);
    }
    if arguments.sockperf {
        return sockperf::measure(arguments, output);
    }
    let plan = Plan::new(arguments)?;
    let mut afterwards = Afterwards::new(arguments, &plan)?;
    let mut series = Series::default();
    let Some(outcome) = measure(arguments, &plan, &mut series, output)? else {
        return Ok(Exit::Interrupted);
    };
    print::outcome(output, &outcome)?;
    afterwards.finish(arguments, &outcome, &series, output)
}

/// Runs the plan; `None` when a signal ended it before there was anything.
fn measure(
    arguments: &Arguments,
    plan: &Plan,
    series: &mut Series,
    output: &mut Output,
) -> anyhow::Result<Option<Outcome>> {
    sockeye::socket::os::raise_nofile_limit(u64::MAX).context("raise the limit of descriptors")?;
    let _pinned = plan.cpu.map(Pinned::to).transpose().context("-A")?;
    let mut events = EventLoop::with_options(loop_options()).context("make an event loop")?;
    let (inbox, table) = (Inbox::new(), Table::default());
    let connector = match &plan.server_name {
        Some(name) => {
            let options = stream_options(CLIENT_TAIL);
            let ca = arguments.ca.as_deref();
            Some(Connector::new(
                &mut events,
                ca,
                arguments.insecure,
                name,
                options,
            )?)
        }
        None => None,
    };
    let connects = Connects::new(plan.way.clone(), &plan.parameters, connector);
    let driver = Driver::new(plan, connects, inbox.clone(), Rc::clone(&table))?;
    let driver = Rc::new(RefCell::new(driver));
    let client = Client {
        driver: Rc::clone(&driver),
    };
    let streams = events.add_stream_service(client, stream_options(CLIENT_TAIL));
    let sorter = || Sorter {
        flows: Rc::clone(&table),
        joining: Joins(Rc::clone(&driver)),
    };
    let parameters = plan.parameters.clone();
    driver.borrow_mut().connects().streams = Some(streams);
    // Apart: what is opened asks nothing of the run.
    let mut connects = driver.borrow_mut();
    connects.connects().prepare(&mut events, &parameters, sorter)?;
    drop(connects);
    // Raw sockets are open by now; the connections of the run are still to come.
    privileges::keep(match &plan.way {
        Way::Unix(name) => privileges::for_unix(name),
        Way::Ip(_) => privileges::NONE,
    })?;
    let interrupted = Rc::clone(&driver);
    signals::on_signals(&mut events, move |context| {
        if !interrupted.borrow_mut().interrupt(context) {
            context.stop();
        }
    })
    .context("take signals")?;
    let begun = events.with(streams, |_, context| {
        driver.borrow_mut().connects().control(context)
    });
    begun
        .filter(|begun| *begun)
        .context("the service has left the loop")?;
    let mut progress = Progress::new(&parameters);
    let mut idle = None;
    let mut result = None;
    let is_over = probing::run(&mut events, &inbox, |_, event| {
        match event {
            Event::Started(before) => {
                idle = before;
                started(arguments, &parameters, output)?;
                progress.start();
            }
            Event::Intervals(rows) => {
                series.add(&rows);
                progress.hide(|| print::intervals(output, &rows))?;
            }
            Event::Over(report) => {
                result = Some(report);
                return Ok(true);
            }
            Event::Failed(error) => return Err(error),
        }
        Ok(false)
    });
    progress.finish();
    if !is_over? {
        output.failed("interrupted before there was any result", Exit::Interrupted)?;
        return Ok(None);
    }
    let report = result.context("there is no report")?;
    let driver = driver.borrow();
    Ok(Some(outcome(arguments, &driver, idle, &report)))
}

fn started(arguments: &Arguments, parameters: &Parameters, output: &mut Output) -> anyhow::Result<()> {
    output.event(
        "start",
        json!({
            "target": arguments.target, "mode": parameters.mode.name(), "transport": parameters.transport.name(),
            "up": parameters.up, "down": parameters.down, "length_bytes": parameters.length,
            "time_ns": (parameters.time_ns > 0).then_some(parameters.time_ns), "omit_ns": parameters.omit_ns,
            "bytes": parameters.bytes, "bitrate": parameters.bitrate, "rate": parameters.rate,
        }),
    )?;
    output.line(format_args!(
        "{} over {} with {}: {} up, {} down, messages of {} bytes",
        parameters.mode.name(),
        parameters.transport.name(),
        arguments.target,
        parameters.up,
        parameters.down,
        parameters.length
    ))?;
    Ok(())
}

/// What both sides have counted.
fn outcome(arguments: &Arguments, driver: &Driver, idle: Option<Histogram<u64>>, report: &Report) -> Outcome {
    let parameters = &driver.parameters;
    let time = Duration::from_nanos(if driver.is_interrupted {
        0
    } else {
        parameters.time_ns
    });
    let mut flows = Vec::new();
    for flow in driver.flows.iter().skip(1) {
        let own = flow.counted();
        let told = report.flows.iter().find(|told| told.flow == flow.number);
        let theirs = told.map(|told| told.counts).unwrap_or_default();
        let their_time = Duration::from_nanos(told.map_or(0, |told| told.elapsed_ns));
        let their_tcp = told.and_then(|told| told.tcp).map(|tcp| tcp.retransmits);
        let (direction, sent, received, elapsed) = match flow.role {
            Role::Receive => (Direction::Down, theirs, own, flow.elapsed()),
            Role::Send => (Direction::Up, own, theirs, their_time),
            Role::Ask | Role::Answer => (Direction::Up, own, own, flow.elapsed()),
        };
        let datagrams = match flow.role {
            Role::Receive => driver
                .sent_by_server(flow)
                .and_then(|sent| flow.datagrams_of(sent))
                .or_else(|| flow.datagrams()),
            Role::Send => told.and_then(|told| told.datagrams),
            Role::Ask | Role::Answer => None,
        };
        // Of a stream nothing is lost but time.
        let datagrams =
            datagrams.filter(|_| parameters.transport.is_datagrams() || parameters.mode == Mode::Oneway);
        flows.push(FlowTotal {
            flow: flow.number,
            direction,
            sent_bytes: sent.sent_bytes,
            sent_messages: sent.sent_messages,
            received_bytes: received.received_bytes,
            received_messages: received.received_messages,
            elapsed: elapsed.max(time),
            retransmits: match flow.role {
                Role::Send => driver.retransmits(flow.number),
                Role::Receive => their_tcp,
                Role::Ask | Role::Answer => None,
            },
            datagrams: datagrams.as_ref().map(intervals::datagram_sample),
        });
    }
    let (user, system) = driver.cpu_used;
    let is_oneway = parameters.mode == Mode::Oneway;
    let mut outcome = Outcome {
        flows,
        unanswered: driver.round_trips.borrow().lost,
        client_cpu: Some(Cpu { user, system }),
        server_cpu: Some(Cpu {
            user: Duration::from_nanos(report.cpu.user_ns),
            system: Duration::from_nanos(report.cpu.system_ns),
        }),
        server_is_shared: report.shared,
        clock: driver.clock.filter(|_| is_oneway),
        is_interrupted: driver.is_interrupted,
        ..Outcome::empty(
            arguments.target.clone(),
            parameters.mode.name(),
            parameters.transport.name(),
        )
    };
    latencies(&mut outcome, driver, idle, report);
    outcome
}

fn latencies(outcome: &mut Outcome, driver: &Driver, idle: Option<Histogram<u64>>, report: &Report) {
    let mut add = |name, histogram: &Histogram<u64>| {
        outcome.latencies.push(Latency {
            name,
            histogram: histogram.clone(),
        });
    };
    match driver.parameters.mode {
        Mode::Rr | Mode::Crr => {
            let round_trips = driver.round_trips.borrow();
            add("rtt", &round_trips.corrected);
            if driver.parameters.rate.is_some() {
                add("rtt_uncorrected", &round_trips.uncorrected);
            }
        }
        Mode::Oneway => {
            if let Some(delays) = &driver.delays {
                let mut delays = delays.borrow_mut();
                delays.add(&report.delays);
                add("delay", &delays.histogram);
                outcome.below_zero = delays.below_zero + report.below_zero;
            }
        }
        Mode::Stream => {
            if let Some(idle) = idle {
                add("loaded", &driver.probe.borrow().corrected);
                add("idle", &idle);
            }
        }
    }
}

/// The progress line, for runs that take their time.
struct Progress {
    bar: ProgressBar,
    is_wanted: bool,
}

impl Progress {
    fn new(parameters: &Parameters) -> Self {
        let seconds = Duration::from_nanos(parameters.time_ns + parameters.omit_ns).as_secs();
        let template = if parameters.time_ns > 0 {
            "{spinner} measuring {elapsed}/{len} s"
        } else {
            "{spinner} measuring {elapsed}"
        };
        Self {
            bar: output::progress(seconds, template),
            is_wanted: parameters.time_ns == 0 || seconds > 2,
        }
    }

    fn start(&mut self) {
        if self.is_wanted {
            self.bar.reset_elapsed();
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    /// Prints lines where the progress line is.
    fn hide<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
