//! What a run measures: one shape for every protocol, so that reports, comparisons and conditions know only this.

use std::time::Duration;

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
    pub(crate) reordered: u64,
    pub(crate) duplicates: u64,
    pub(crate) jitter: Duration,
}

/// Processor time of a process over the run: user and system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}
