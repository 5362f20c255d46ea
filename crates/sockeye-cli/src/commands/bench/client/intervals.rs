//! Intervals: what this side has counted, joined with what only the server can see.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{Context, Time};
use sockeye::measure::run::{Counts, DatagramCounts, FlowReport, FlowTcp, Mode, Parameters, Transport};

use super::super::flows::{Flow, Less as _, Role};
use super::figures::{DatagramSample, Direction, Interval, TcpSample};

/// Intervals that wait for the server; a server that is later is not waited for.
const MAX_WAITING: u8 = 2;

/// One side of a flow within an interval.
#[derive(Debug, Clone, Copy)]
struct Row {
    flow: u32,
    role: Role,
    counts: Counts,
    tcp: Option<FlowTcp>,
    datagrams: Option<DatagramCounts>,
}

#[derive(Debug)]
struct Own {
    index: u32,
    from: Duration,
    to: Duration,
    rows: Vec<Row>,
}

/// All of them, in order.
#[derive(Debug)]
pub(super) struct Intervals {
    every: Duration,
    /// Whether the server has something to add.
    is_joined: bool,
    begun: Time,
    last: Time,
    index: u32,
    is_stopped: bool,
    waiting: VecDeque<Own>,
    told: HashMap<u32, Vec<FlowReport>>,
    next_out: u32,
    /// Retransmissions and datagram counts of each flow so far.
    before: HashMap<u32, (u64, DatagramCounts)>,
}

impl Intervals {
    pub(super) fn new(parameters: &Parameters) -> Self {
        let is_datagrams = parameters.transport.is_datagrams();
        let has_load = matches!(parameters.mode, Mode::Stream | Mode::Oneway);
        let tcp_down = parameters.transport == Transport::Tcp && parameters.down > 0;
        Self {
            every: Duration::from_nanos(parameters.interval_ns),
            is_joined: has_load && ((is_datagrams && parameters.up > 0) || tcp_down),
            begun: Time::ZERO,
            last: Time::ZERO,
            index: 0,
            is_stopped: false,
            waiting: VecDeque::new(),
            told: HashMap::new(),
            next_out: 0,
            before: HashMap::new(),
        }
    }

    pub(super) fn begin(&mut self, now: Time) {
        (self.begun, self.last) = (now, now);
    }

    /// When the present one ends.
    pub(super) fn next(&self) -> Time {
        self.begun + self.every.saturating_mul(self.index.saturating_add(1))
    }

    /// Whether there is enough of one for a line of its own.
    pub(super) fn has_half(&self, now: Time) -> bool {
        now.since(self.last) >= self.every / 2
    }

    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// One ends, as this side sees it.
    pub(super) fn end(&mut self, flows: &[Rc<Flow>], now: Time, context: &mut Context<'_>) {
        if self.is_stopped || now <= self.last {
            return;
        }
        let rows = flows.iter().map(|flow| Row {
            flow: flow.number,
            role: flow.role,
            counts: flow.interval(),
            tcp: flow.tcp(context),
            datagrams: flow.datagrams(),
        });
        self.waiting.push_back(Own {
            index: self.index,
            from: self.last.since(self.begun),
            to: now.since(self.begun),
            rows: rows.collect(),
        });
        self.index += 1;
        self.last = now;
    }

    /// What the server has seen of one.
    pub(super) fn told(&mut self, index: u32, flows: Vec<FlowReport>) {
        // Of those that are still to be printed, and not of a future that this side has not thought of.
        if self.is_joined && index >= self.next_out && index <= self.index.saturating_add(MAX_WAITING.into())
        {
            self.told.insert(index, flows);
        }
    }

    /// The next one to print; with `all` without waiting for the server.
    pub(super) fn take(&mut self, all: bool) -> Option<Vec<Interval>> {
        let own = self.waiting.front()?;
        let is_complete = !self.is_joined || self.told.contains_key(&own.index);
        if !is_complete && !all && self.waiting.len() <= MAX_WAITING.into() {
            return None;
        }
        let own = self.waiting.pop_front()?;
        let told = self.told.remove(&own.index).unwrap_or_default();
        self.told.retain(|index, _| *index > own.index);
        self.next_out = own.index + 1;
        let told: HashMap<u32, &FlowReport> = told.iter().map(|report| (report.flow, report)).collect();
        let rows = own.rows.iter().map(|row| {
            let report = told.get(&row.flow).copied();
            self.interval(own.from, own.to, row, report)
        });
        Some(rows.collect())
    }

    fn interval(&mut self, from: Duration, to: Duration, row: &Row, report: Option<&FlowReport>) -> Interval {
        let (direction, bytes, messages, tcp, datagrams) = match row.role {
            Role::Receive => (
                Direction::Down,
                row.counts.received_bytes,
                row.counts.received_messages,
                report.and_then(|report| report.tcp),
                row.datagrams,
            ),
            Role::Ask | Role::Answer => (
                Direction::Up,
                row.counts.received_bytes,
                row.counts.received_messages,
                None,
                None,
            ),
            Role::Send => {
                let datagrams = report.and_then(|report| report.datagrams);
                // What has come says more than what was sent, where both are known: datagrams are lost.
                let counts = match (report, datagrams) {
                    (Some(report), Some(_)) => {
                        (report.counts.received_bytes, report.counts.received_messages)
                    }
                    _ => (row.counts.sent_bytes, row.counts.sent_messages),
                };
                (Direction::Up, counts.0, counts.1, row.tcp, datagrams)
            }
        };
        let before = self.before.entry(row.flow).or_default();
        let retransmits = tcp.map(|tcp| {
            let so_far = std::mem::replace(&mut before.0, tcp.retransmits);
            tcp.retransmits.saturating_sub(so_far)
        });
        let datagrams = datagrams.map(|now| now.less(&std::mem::replace(&mut before.1, now)));
        Interval {
            from,
            to,
            flow: row.flow,
            direction,
            bytes,
            messages,
            tcp: tcp.map(|tcp| sample_of(&tcp, retransmits.unwrap_or(0))),
            datagrams: datagrams.as_ref().map(datagram_sample),
        }
    }
}

fn sample_of(tcp: &FlowTcp, retransmits: u64) -> TcpSample {
    TcpSample {
        retransmits,
        rtt: Duration::from_nanos(tcp.rtt_ns),
        rtt_variation: Duration::from_nanos(tcp.rtt_variation_ns),
        cwnd_bytes: tcp.cwnd_bytes,
        delivery_bytes_per_s: tcp.delivery_bytes_per_s,
    }
}

/// The counts of the protocol as a sample.
pub(super) fn datagram_sample(counts: &DatagramCounts) -> DatagramSample {
    DatagramSample {
        lost: counts.lost,
        reordered: Some(counts.reordered),
        duplicates: Some(counts.duplicates),
        jitter: Duration::from_nanos(counts.jitter_ns),
    }
}
