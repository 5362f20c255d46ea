//! What came of it: what both sides tell each other after the test.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::numbers::{count, count_u32, is_zero, measure, optional, or_minus_one};

/// What one side has counted. Fields that are not known here are skipped.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Results {
    /// Processor time during the test, in percent of one processor.
    #[serde(default, deserialize_with = "measure")]
    pub cpu_util_total: f64,
    /// Of it, in the process.
    #[serde(default, deserialize_with = "measure")]
    pub cpu_util_user: f64,
    /// Of it, in the kernel.
    #[serde(default, deserialize_with = "measure")]
    pub cpu_util_system: f64,
    /// Whether this side sends and counts segments that were sent again: 1 or 0; `None` (-1) of a side that does not send.
    #[serde(default, deserialize_with = "optional", serialize_with = "or_minus_one")]
    pub sender_has_retransmits: Option<u64>,
    /// The congestion control of TCP that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion_used: Option<String>,
    /// What the server has printed, where the client has asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_output_text: Option<String>,
    /// The same, of a server that prints JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_output_json: Option<Value>,
    /// Each stream.
    pub streams: Vec<StreamResults>,
}

/// What one side has counted of one stream: what it has sent, or what it has received.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamResults {
    /// The stream, by [`stream_id`](super::stream_id).
    #[serde(deserialize_with = "count_u32")]
    pub id: u32,
    /// Payload in bytes, without the omitted beginning.
    #[serde(deserialize_with = "count")]
    pub bytes: u64,
    /// Segments that were sent again; `None` of a receiver, of UDP, and where the kernel does not tell.
    #[serde(default, deserialize_with = "optional", serialize_with = "or_minus_one")]
    pub retransmits: Option<u64>,
    /// The jitter that a receiver of datagrams has measured, in seconds (RFC 3550, section 6.4.1).
    #[serde(rename = "jitter", default, deserialize_with = "measure")]
    pub jitter_s: f64,
    /// Datagrams that did not arrive.
    #[serde(default, deserialize_with = "count")]
    pub errors: u64,
    /// Of those, within the omitted beginning (iperf3 3.13 and later).
    #[serde(default, deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub omitted_errors: u64,
    /// Datagrams: those sent, or the highest number received.
    #[serde(default, deserialize_with = "count")]
    pub packets: u64,
    /// Of those, within the omitted beginning (iperf3 3.13 and later).
    #[serde(default, deserialize_with = "count", skip_serializing_if = "is_zero")]
    pub omitted_packets: u64,
    /// Seconds since the test began, when counting began.
    #[serde(default, deserialize_with = "measure")]
    pub start_time: f64,
    /// When it ended.
    #[serde(default, deserialize_with = "measure")]
    pub end_time: f64,
}

impl StreamResults {
    /// Nothing counted yet of the stream of that number.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }
}
