//! What a run measures: one shape for every protocol, so that reports, comparisons and conditions know only this.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::flows::latency::ClockOffset;

/// Who measures with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `sockeye bench server`.
    Sockeye,
    Iperf3,
    Sockperf,
}

impl Protocol {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sockeye => "sockeye",
            Self::Iperf3 => "iperf3",
            Self::Sockperf => "sockperf",
        }
    }
}

/// Which side has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Client to server.
    Up,
    /// Server to client.
    Down,
}

/// What one flow has moved within one interval.
#[derive(Debug, Clone)]
pub(crate) struct Interval {
    /// Since the start of what counts.
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// The number of the flow, from 1.
    pub(crate) flow: u32,
    pub(crate) direction: Direction,
    /// Payload that was sent, or received, by the side that reports.
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
    /// Of the sending side of TCP.
    pub(crate) tcp: Option<TcpSample>,
    /// Of the receiving side of datagrams.
    pub(crate) datagrams: Option<DatagramSample>,
}

/// TCP_INFO at the end of an interval (tcp(7)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpSample {
    /// Segments sent again within the interval.
    pub(crate) retransmits: u64,
    pub(crate) rtt: Duration,
    pub(crate) rtt_variation: Duration,
    pub(crate) cwnd_bytes: u64,
    pub(crate) delivery_bytes_per_s: Option<u64>,
}

/// What a receiver has seen of numbered datagrams within an interval.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DatagramSample {
    pub(crate) lost: u64,
    /// `None` where the protocol does not tell.
    pub(crate) reordered: Option<u64>,
    /// Likewise.
    pub(crate) duplicates: Option<u64>,
    pub(crate) jitter: Duration,
}

impl DatagramSample {
    /// Another flow at the same time.
    pub(crate) fn beside(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            reordered: added(self.reordered, other.reordered),
            duplicates: added(self.duplicates, other.duplicates),
            // The worst of them: a mean would hide it.
            jitter: self.jitter.max(other.jitter),
        }
    }
}

/// Processor time of a process over the run: user and system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// One flow over the whole run. What was omitted does not count.
#[derive(Debug, Clone)]
pub(crate) struct FlowTotal {
    pub(crate) flow: u32,
    pub(crate) direction: Direction,
    /// Payload that its sender gave to the system.
    pub(crate) sent_bytes: u64,
    pub(crate) sent_messages: u64,
    /// Payload that has come.
    pub(crate) received_bytes: u64,
    pub(crate) received_messages: u64,
    /// From the start of what counts until the last byte came, at least the time that was asked for.
    pub(crate) elapsed: Duration,
    /// Of a sender of TCP.
    pub(crate) retransmits: Option<u64>,
    /// Of a receiver of datagrams.
    pub(crate) datagrams: Option<DatagramSample>,
}

/// A distribution of times in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latency {
    /// `rtt`, `rtt_uncorrected`, `idle`, `loaded` or `delay`.
    pub(crate) name: &'static str,
    pub(crate) histogram: Histogram<u64>,
}

/// What a whole run has measured.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// As it was given.
    pub(crate) target: String,
    pub(crate) protocol: Protocol,
    pub(crate) mode: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) flows: Vec<FlowTotal>,
    /// The first one is what conditions speak of.
    pub(crate) latencies: Vec<Latency>,
    /// Requests without an answer.
    pub(crate) unanswered: u64,
    pub(crate) client_cpu: Option<Cpu>,
    pub(crate) server_cpu: Option<Cpu>,
    /// The server has served others meanwhile.
    pub(crate) server_is_shared: bool,
    /// Of `oneway`: how far apart the clocks are, as it was estimated.
    pub(crate) clock: Option<ClockOffset>,
    /// Delays below zero, which count as zero.
    pub(crate) below_zero: u64,
    /// Ended by a signal, before its time.
    pub(crate) is_interrupted: bool,
    /// What the server has printed, where it was asked for (iperf3's `--get-server-output`).
    pub(crate) server_output: Option<String>,
}

impl Direction {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// All flows of a direction together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_messages: u64,
    pub(crate) received_messages: u64,
    pub(crate) elapsed: Duration,
    pub(crate) retransmits: Option<u64>,
    pub(crate) datagrams: Option<DatagramSample>,
}

impl Sum {
    pub(crate) fn bytes_per_s(&self) -> f64 {
        per_second(self.received_bytes, self.elapsed)
    }

    pub(crate) fn messages_per_s(&self) -> f64 {
        per_second(self.received_messages, self.elapsed)
    }

    /// The part of the datagrams that is lost, in percent.
    pub(crate) fn loss_percent(&self) -> Option<f64> {
        let lost = self.datagrams?.lost;
        let all = lost + self.received_messages;
        Some(if all == 0 {
            0.0
        } else {
            lost as f64 * 100.0 / all as f64
        })
    }
}

/// So much a second; 0 in no time.
pub(crate) fn per_second(amount: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    amount as f64 / time.as_secs_f64()
}

impl Outcome {
    /// Nothing measured yet.
    pub(crate) fn empty(target: String, mode: &'static str, transport: &'static str) -> Self {
        Self {
            target,
            protocol: Protocol::Sockeye,
            mode,
            transport,
            flows: Vec::new(),
            latencies: Vec::new(),
            unanswered: 0,
            client_cpu: None,
            server_cpu: None,
            server_is_shared: false,
            clock: None,
            below_zero: 0,
            is_interrupted: false,
            server_output: None,
        }
    }

    /// The flows of a direction together; `None` where there are none.
    pub(crate) fn sum(&self, direction: Direction) -> Option<Sum> {
        let mut sum: Option<Sum> = None;
        for flow in self.flows.iter().filter(|flow| flow.direction == direction) {
            let sum = sum.get_or_insert_default();
            sum.sent_bytes += flow.sent_bytes;
            sum.received_bytes += flow.received_bytes;
            sum.sent_messages += flow.sent_messages;
            sum.received_messages += flow.received_messages;
            sum.elapsed = sum.elapsed.max(flow.elapsed);
            sum.retransmits = added(sum.retransmits, flow.retransmits);
            if let Some(datagrams) = flow.datagrams {
                sum.datagrams = Some(sum.datagrams.map_or(datagrams, |all| all.beside(datagrams)));
            }
        }
        sum
    }

    /// Both directions, those that there are.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (Direction, Sum)> + '_ {
        [Direction::Up, Direction::Down]
            .into_iter()
            .filter_map(|direction| Some((direction, self.sum(direction)?)))
    }

    /// Whether requests were sent, and not one was answered.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered > 0 && self.flows.iter().all(|flow| flow.received_messages == 0)
    }

    pub(crate) fn latency(&self, name: &str) -> Option<&Histogram<u64>> {
        self.latencies
            .iter()
            .find(|latency| latency.name == name)
            .map(|latency| &latency.histogram)
    }
}

fn added(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (None, None) => None,
        _ => Some(one.unwrap_or(0) + other.unwrap_or(0)),
    }
}
