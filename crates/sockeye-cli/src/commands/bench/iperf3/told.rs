//! What a test tells while it runs and when it is over, apart from how it is printed.

use std::net::SocketAddr;
use std::time::Duration;

use sockeye::measure::iperf3::{Parameters, Results};

use super::super::client::figures::{Direction, Interval};

/// Which test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    /// From 1, in the order in which they came.
    pub(super) number: u64,
    /// The other side's control connection.
    pub(super) peer: SocketAddr,
}

/// Something that is to be told.
#[derive(Debug)]
pub(super) enum Told {
    /// Data flows from now on.
    Began { test: Name, parameters: Box<Parameters> },
    /// One interval of one stream, or of all streams of a direction together.
    Interval {
        test: Name,
        interval: Interval,
        is_sum: bool,
        is_omitted: bool,
    },
    /// It is over, and both sides have told what they counted.
    Ended { test: Name, outcome: Box<Outcome> },
    /// It ended without results.
    Failed {
        test: Option<Name>,
        peer: SocketAddr,
        why: String,
    },
    /// The client needs another socket of datagrams, to this server. Sockets are made between two turns of the loop.
    NeedsSocket(SocketAddr),
    /// The client's connects, or its sockets, failed: with its status.
    Broken(anyhow::Error),
}

/// What came of a test.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) parameters: Parameters,
    pub(super) time: Duration,
    pub(super) flows: Vec<FlowOutcome>,
    /// What both sides have said in all.
    pub(super) local: Results,
    pub(super) remote: Results,
}

/// Of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowOutcome {
    pub(super) flow: u32,
    pub(super) direction: Direction,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// Over which time each side has counted.
    pub(super) sent_in: Duration,
    pub(super) received_in: Duration,
    pub(super) retransmits: Option<u64>,
    pub(super) datagrams: Option<DatagramOutcome>,
}

/// Of datagrams, by the receiver.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DatagramOutcome {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) jitter: Duration,
}
