//! `sockeye bench client TARGET`: the side that starts and reports, by our own protocol or, with all that comes before and after
//! it the same, by [`iperf3`]'s or [`sockperf`]'s.
//!
//! | module | what |
//! |---|---|
//! | [`arguments`], [`plan`] | what is to be measured, and what makes no sense |
//! | [`driver`], [`service`], [`crr`], [`intervals`] | the run: phases, connections, turns, intervals |
//! | [`figures`], [`series`], [`live`], [`print`] | what was measured, whatever protocol measured it, and how it is shown |
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
mod live;
pub(crate) mod plan;
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
use sockeye::event_loop::EventLoop;
use sockeye::measure::run::{Mode, Parameters, Report};

use super::flows::Role;
use super::flows::cpu::Pinned;
use super::flows::datagram::{Sorter, Table};
use super::flows::stream::CLIENT_TAIL;
use super::server::{loop_options, stream_options};
use super::{iperf3, sockperf};
use crate::exit::Exit;
use crate::output::{Output, Rows};
use crate::privileges;
use crate::probing::{self, Inbox};
use crate::signals;
use afterwards::Afterwards;
pub(crate) use arguments::{Arguments, ModeArgument};
use driver::{Driver, Event};
use figures::{Cpu, Direction, FlowTotal, Latency, Outcome, Protocol};
pub(crate) use live::Live;
use plan::{Plan, Way};
use secure::Connector;
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
        let plan = iperf3::Plan::new(arguments)?;
        return with(arguments, Protocol::Iperf3, &plan.parameters, output, |live| {
            iperf3::measure(arguments, &plan, live)
        });
    }
    if arguments.sockperf {
        let plan = sockperf::Plan::new(arguments)?;
        return with(arguments, Protocol::Sockperf, &plan.parameters, output, |live| {
            sockperf::measure(arguments, &plan, live)
        });
    }
    let plan = Plan::new(arguments)?;
    with(arguments, Protocol::Sockeye, &plan.parameters, output, |live| {
        measure(arguments, &plan, live)
    })
}

/// Measures by any protocol; all that comes before and after is the same.
fn with(
    arguments: &Arguments,
    protocol: Protocol,
    parameters: &Parameters,
    output: &mut Output,
    measure: impl FnOnce(&mut Live<'_>) -> anyhow::Result<Option<Outcome>>,
) -> anyhow::Result<Exit> {
    let mut afterwards = Afterwards::new(arguments, protocol, parameters)?;
    let mut live = Live::new(&arguments.target, protocol, parameters, output);
    let outcome = measure(&mut live);
    let series = live.end();
    let Some(outcome) = outcome? else {
        output.failed("interrupted before there was any result", Exit::Interrupted)?;
        return Ok(Exit::Interrupted);
    };
    print::outcome(output, &outcome)?;
    let exit = afterwards.finish(arguments, &outcome, &series, output)?;
    if outcome.is_unanswered() {
        return Ok(Exit::Negative);
    }
    Ok(exit)
}

/// Runs the plan; `None` when a signal ended it before there was anything.
fn measure(arguments: &Arguments, plan: &Plan, live: &mut Live<'_>) -> anyhow::Result<Option<Outcome>> {
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
    let mut idle = None;
    let mut result = None;
    let is_over = probing::run(&mut events, &inbox, |_, event| {
        match event {
            Event::Started(before) => {
                idle = before;
                live.started()?;
            }
            Event::Intervals(rows) => live.intervals(&rows)?,
            Event::Over(report) => {
                result = Some(report);
                return Ok(true);
            }
            Event::Failed(error) => return Err(error),
        }
        Ok(false)
    });
    if !is_over? {
        return Ok(None);
    }
    let report = result.context("there is no report")?;
    let driver = driver.borrow();
    Ok(Some(outcome(arguments, &driver, idle, &report)))
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
