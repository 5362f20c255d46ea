//! What the two sides say to each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::parameters::Parameters;

/// Names a run; only who was told it can join. 128 random bits, as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId([u8; 16]);

impl RunId {
    /// From random bytes of the system.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Without the bits: a log must not let somebody join.
impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunId(..)")
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.to_string()
    }
}

/// Text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by 32 hexadecimal digits")]
pub struct NotARun;

impl TryFrom<String> for RunId {
    type Error = NotARun;

    fn try_from(text: String) -> Result<Self, NotARun> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NotARun);
        }
        u128::from_str_radix(&text, 16)
            .map(|bits| Self(bits.to_be_bytes()))
            .map_err(|_| NotARun)
    }
}

/// What is measured, by netperf's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As many bytes as go through.
    Stream,
    /// Request and response, over and over on one flow.
    Rr,
    /// Connect, request, response, close.
    Crr,
    /// Messages without answers, and how long each was on its way.
    Oneway,
}

impl Mode {
    /// Its name as in the program's arguments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Rr => "rr",
            Self::Crr => "crr",
            Self::Oneway => "oneway",
        }
    }
}

/// What carries the flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// A Unix socket of streams.
    Unix,
    /// UDP.
    Udp,
    /// IP packets of protocol 253 (RFC 3692), without ports.
    Raw,
}

impl Transport {
    /// Its name as in the program's addresses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Unix => "unix",
            Self::Udp => "udp",
            Self::Raw => "raw",
        }
    }

    /// Whether messages keep their boundaries, may be lost, and need a header of their own.
    #[must_use]
    pub const fn is_datagrams(self) -> bool {
        matches!(self, Self::Udp | Self::Raw)
    }
}

/// What went over a flow, as one side has counted it. Omitted time does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Payload that was given to the system, in bytes.
    pub sent_bytes: u64,
    /// Blocks, requests or datagrams.
    pub sent_messages: u64,
    /// Payload that has come, in bytes.
    pub received_bytes: u64,
    /// Reads, responses or datagrams.
    pub received_messages: u64,
}

/// What a receiver of numbered messages has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatagramCounts {
    /// Messages that have not come.
    pub lost: u64,
    /// Messages that came after later ones.
    pub reordered: u64,
    /// Messages that had come before.
    pub duplicates: u64,
    /// Interarrival jitter at this moment, in nanoseconds.
    pub jitter_ns: u64,
}

/// TCP_INFO of a sender (tcp(7)) at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlowTcp {
    /// Segments sent again, ever.
    pub retransmits: u64,
    /// Smoothed round-trip time in nanoseconds.
    pub rtt_ns: u64,
    /// Its mean deviation in nanoseconds.
    pub rtt_variation_ns: u64,
    /// The congestion window in bytes.
    pub cwnd_bytes: u64,
    /// At what rate bytes arrived of late, a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_bytes_per_s: Option<u64>,
}

/// One flow as the server sees it: within an interval, or in all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlowReport {
    /// Its number.
    pub flow: u32,
    /// Since the interval before, or in all.
    pub counts: Counts,
    /// From when counting began until the last message, in nanoseconds.
    pub elapsed_ns: u64,
    /// Of the receiver of datagrams; so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datagrams: Option<DatagramCounts>,
    /// Of the sender of TCP; now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<FlowTcp>,
}

/// Processor time of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuTime {
    /// Its own code, in nanoseconds.
    pub user_ns: u64,
    /// The kernel's work for it, in nanoseconds.
    pub system_ns: u64,
}

/// What a server says at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Each flow.
    pub flows: Vec<FlowReport>,
    /// What its process has used from the start to the end of the run.
    pub cpu: CpuTime,
    /// Whether it served other runs at the same time, whose processor time is in `cpu` too.
    pub shared: bool,
    /// One-way delays of `oneway` in nanoseconds, as pairs of value and count in the order of the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delays: Vec<(u64, u64)>,
    /// Delays below zero, which were counted as zero: the clocks are further apart than was estimated.
    #[serde(default)]
    pub below_zero: u64,
}

/// A message of a control connection, or the first one of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Message {
    /// Client: what is wanted.
    Parameters(Parameters),
    /// Server: the run exists, and flows may join it.
    Ready {
        /// Names it.
        run: RunId,
    },
    /// Server: no, and why; the connection ends.
    Refused {
        /// For a person.
        reason: String,
    },
    /// Client, on a new connection: it is that flow of that run.
    Join {
        /// The run.
        run: RunId,
        /// The number of the flow.
        flow: u32,
    },
    /// Server, on that connection: yes.
    Joined,
    /// Client: what time is it?
    Ping {
        /// When it was sent, on the client's clock.
        sent_ns: u64,
    },
    /// Server: it is so late.
    Pong {
        /// From the question.
        sent_ns: u64,
        /// The server's clock.
        at_ns: u64,
    },
    /// Client: all flows have joined, go.
    Start {
        /// The server's clock less the client's, in nanoseconds, as the client has estimated it.
        offset_ns: i64,
    },
    /// Server: counting has begun on its side, so that nothing that the client sends from now on is missed.
    Started,
    /// Server: what happened since the interval before.
    Interval {
        /// From 0 on.
        index: u32,
        /// The flows that there is something to say of.
        flows: Vec<FlowReport>,
    },
    /// Server: all its flows have sent what they had to.
    Sent {
        /// Messages by flow, in the order of the flows from 1 on: 0 for those of the client.
        messages: Vec<u64>,
    },
    /// Client: likewise, and the report is wanted.
    Finish {
        /// Messages by flow, in the order of the flows from 1 on: 0 for those of the server.
        messages: Vec<u64>,
    },
    /// Server: the figures. The connection ends.
    Report(Report),
}

#[cfg(test)]
mod tests {
    use super::super::parameters::tests::parameters;
    use super::*;

    #[test]
    fn a_run_is_named_by_its_digits_and_shown_to_nobody() {
        let run = RunId::from_bytes([0xab; 16]);
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(text, format!("\"{}\"", "ab".repeat(16)));
        assert_eq!(serde_json::from_str::<RunId>(&text).unwrap(), run);
        assert!(serde_json::from_str::<RunId>(&format!("\"+{}\"", "a".repeat(31))).is_err());
        assert_eq!(format!("{run:?}"), "RunId(..)");
    }

    #[test]
    fn a_message_says_its_type_and_has_no_fields_that_nobody_knows() {
        let text = serde_json::to_string(&Message::Ping { sent_ns: 5 }).unwrap();
        assert_eq!(text, r#"{"type":"ping","sent_ns":5}"#);
        let mut value = serde_json::to_value(Message::Parameters(parameters())).unwrap();
        assert!(serde_json::from_value::<Message>(value.clone()).is_ok());
        value["surprise"] = 1.into();
        assert!(serde_json::from_value::<Message>(value).is_err());
    }
}
