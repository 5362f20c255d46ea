//! How to test: what the client tells the server before it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::ErrorCode;
use super::numbers::{count, count_u32, flag, is_no, is_zero};

/// The most parallel streams (iperf3's limit).
pub const MAX_STREAMS: u32 = 128;
/// The longest block of TCP in bytes (iperf3's limit).
pub const MAX_BLOCK: u64 = 1024 * 1024;
/// The longest datagram in bytes: what IPv4 can carry over UDP.
pub const MAX_DATAGRAM: u64 = 65_507;
/// The longest test in seconds (iperf3's limit).
pub const MAX_TIME_S: u32 = 86_400;
/// The longest omitted beginning in seconds (iperf3's limit).
pub const MAX_OMIT_S: u32 = 600;
/// The block of TCP where none is named.
const BLOCK: u64 = 128 * 1024;
/// The datagram where none is named: it fits into a packet of 1,500 bytes.
const DATAGRAM: u64 = 1448;

/// What carries the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// How to test. Fields that iperf3 does not send are 0, `false` or absent; fields that are not known here are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Parameters {
    /// TCP carries the data.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub tcp: bool,
    /// UDP carries the data.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub udp: bool,
    /// SCTP carries the data.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub sctp: bool,
    /// Seconds at the start that do not count.
    #[serde(deserialize_with = "count_u32")]
    pub omit: u32,
    /// Seconds to test; 0 if an amount ends the test.
    #[serde(deserialize_with = "count_u32")]
    pub time: u32,
    /// Bytes that end the test; 0 for none.
    #[serde(deserialize_with = "count")]
    pub num: u64,
    /// Blocks that end the test; 0 for none.
    #[serde(deserialize_with = "count")]
    pub blockcount: u64,
    /// The maximum segment size of TCP in bytes; 0 leaves it to the system.
    #[serde(rename = "MSS", deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub mss: u64,
    /// TCP_NODELAY.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub nodelay: bool,
    /// Streams in each direction.
    #[serde(deserialize_with = "count_u32")]
    pub parallel: u32,
    /// The server sends.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub reverse: bool,
    /// Both send.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub bidirectional: bool,
    /// The socket buffers in bytes; 0 leaves them to the system.
    #[serde(deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub window: u64,
    /// Bytes of a block or a datagram; 0 is the default of whoever sends.
    #[serde(deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub len: u64,
    /// Bits a second that each stream may send; 0 is as fast as it goes.
    #[serde(deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub bandwidth: u64,
    /// Microseconds between two looks at the rate.
    #[serde(deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub pacing_timer: u64,
    /// Blocks that are sent in one go when the rate allows for one.
    #[serde(deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub burst: u64,
    /// The type of service byte of what is sent.
    #[serde(rename = "TOS", deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub tos: u64,
    /// The IPv6 flow label.
    #[serde(deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub flowlabel: u64,
    /// In front of each line of the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The congestion control of TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<String>,
    /// The client wants the server's output with the results.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub get_server_output: bool,
    /// Numbers of datagrams have 64 bits.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub udp_counters_64bit: bool,
    /// The payload is a pattern, not random.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub repeating_payload: bool,
    /// Senders use sendfile.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub zerocopy: bool,
    /// Datagrams are not fragmented (IPv4).
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_no")]
    pub dont_fragment: bool,
    /// The encrypted name and password of servers that want them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authtoken: Option<String>,
    /// The client's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
}

/// Parameters that make no sense, or ask for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// Not exactly one of TCP and UDP.
    #[error("neither TCP nor UDP alone")]
    Protocol,
    /// No stream, or too many.
    #[error("{0} parallel streams: 1 to {MAX_STREAMS} are possible")]
    Streams(u32),
    /// A block of TCP that is too long.
    #[error("a block of {0} bytes: at most {MAX_BLOCK} are possible")]
    Block(u64),
    /// A datagram that has no room for its header, or does not fit into a packet of IP.
    #[error("datagrams of {0} bytes: 16 to {MAX_DATAGRAM} are possible")]
    Datagram(u64),
    /// A test that is too long.
    #[error("{0} seconds: at most {MAX_TIME_S} are possible")]
    Time(u32),
    /// An omitted beginning that is too long.
    #[error("{0} omitted seconds: at most {MAX_OMIT_S} are possible")]
    Omit(u32),
    /// The reverse direction, and both.
    #[error("reverse and bidirectional exclude each other")]
    Direction,
}

impl ParametersError {
    /// The number by which iperf3 names it.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Protocol => ErrorCode::PROTOCOL,
            Self::Streams(_) => ErrorCode::STREAMS,
            Self::Block(_) => ErrorCode::BLOCK_SIZE,
            Self::Datagram(_) => ErrorCode::UDP_BLOCK_SIZE,
            Self::Time(_) => ErrorCode::DURATION,
            Self::Omit(_) => ErrorCode::OMIT,
            Self::Direction => ErrorCode::REVERSE_BIDIR,
        }
    }
}

impl Parameters {
    /// A test of one stream from the client to the server.
    #[must_use]
    pub fn new(protocol: Protocol) -> Self {
        Self {
            tcp: protocol == Protocol::Tcp,
            udp: protocol == Protocol::Udp,
            parallel: 1,
            ..Self::default()
        }
    }

    /// Whether they make sense, and are within the limits.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<Protocol, ParametersError> {
        let protocol = match (self.tcp, self.udp, self.sctp) {
            (true, false, false) => Protocol::Tcp,
            (false, true, false) => Protocol::Udp,
            _ => return Err(ParametersError::Protocol),
        };
        if !(1..=MAX_STREAMS).contains(&self.parallel) {
            return Err(ParametersError::Streams(self.parallel));
        }
        match protocol {
            Protocol::Tcp if self.len > MAX_BLOCK => return Err(ParametersError::Block(self.len)),
            // A header of 64 bits always fits, so that nobody has to ask which one it is.
            Protocol::Udp if self.len != 0 && !(16..=MAX_DATAGRAM).contains(&self.len) => {
                return Err(ParametersError::Datagram(self.len));
            }
            _ => {}
        }
        if self.time > MAX_TIME_S {
            return Err(ParametersError::Time(self.time));
        }
        if self.omit > MAX_OMIT_S {
            return Err(ParametersError::Omit(self.omit));
        }
        if self.reverse && self.bidirectional {
            return Err(ParametersError::Direction);
        }
        Ok(protocol)
    }

    /// Streams of both directions together.
    #[must_use]
    pub const fn streams(&self) -> u32 {
        if self.bidirectional {
            self.parallel.saturating_mul(2)
        } else {
            self.parallel
        }
    }

    /// Whether the server sends on the stream at `index`, from 0 in the order in which streams are made. Where both send,
    /// the client's streams come first.
    #[must_use]
    pub const fn server_sends(&self, index: u32) -> bool {
        self.reverse || (self.bidirectional && index >= self.parallel)
    }

    /// Bytes of a block or a datagram, the default where none are named.
    #[must_use]
    pub const fn block(&self) -> u64 {
        match (self.len, self.udp) {
            (0, true) => DATAGRAM,
            (0, false) => BLOCK,
            (len, _) => len,
        }
    }
}
