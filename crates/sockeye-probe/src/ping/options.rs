//! How a [`Pinger`](super::Pinger) pings.

use std::time::Duration;

/// When the next request to a target leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One each interval. Requests that were missed (a busy caller, a machine that slept) are not made up for.
    Every(Duration),
    /// One as soon as the last was answered or lost, so that a target has at most one in flight, but no sooner
    /// than this after the last.
    Adaptive {
        /// The shortest interval.
        at_least: Duration,
    },
}

/// How to ping. The defaults are those of `ping`: a request a second with 56 bytes, without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingOptions {
    /// When the next request to a target leaves.
    pub pace: Pace,
    /// The least time between two requests to whatever targets: spreads many targets over the interval.
    pub gap: Duration,
    /// Requests to each target; `None` goes on until [`Pinger::stop`](super::Pinger::stop).
    pub count: Option<u32>,
    /// Whether a target that has answered gets no further request: `count` is then one request and its retries.
    pub until_answered: bool,
    /// How long a reply may take. One that comes after it is late: told and counted, but the request stays lost.
    pub timeout: Duration,
    /// Bytes after the ICMP header, at most 65,507. From 8 on, replies are told from a stranger's by a tag in them;
    /// below that by what fits of it.
    pub payload_len: usize,
    /// TTL or hop limit of the requests; `None` is the system's.
    pub hop_limit: Option<u8>,
    /// The identifier in the requests, and the only one taken in replies. `None` where the kernel writes its own and
    /// delivers no other: a ping socket.
    pub identifier: Option<u16>,
    /// A random number that nobody else knows. Tags are made from it.
    pub secret: u64,
}

impl PingOptions {
    /// The longest payload that fits into an IPv4 packet.
    pub const MAX_PAYLOAD_LEN: usize = 65_507;

    /// The defaults, with this random number.
    #[must_use]
    pub const fn new(secret: u64) -> Self {
        Self {
            pace: Pace::Every(Duration::from_secs(1)),
            gap: Duration::ZERO,
            count: None,
            until_answered: false,
            timeout: Duration::from_secs(1),
            payload_len: 56,
            hop_limit: None,
            identifier: None,
            secret,
        }
    }
}
