//! What a client asks for, and what a server accepts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::datagram::{HEADER_LEN, MAX_LEN, STREAM_HEADER_LEN};
use super::message::{Mode, Transport};

/// What a client asks for.
///
/// Flows are numbered: 1 to `up` are sent on by the client, the `down` next ones by the server. Those of `rr` and `crr` are
/// all `up`. Flow 0 is for round trips beside the load, where `probe` says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// What is measured.
    pub mode: Mode,
    /// Over what.
    pub transport: Transport,
    /// Flows that the client sends on.
    pub up: u32,
    /// Flows that the server sends on.
    pub down: u32,
    /// Whether there is a flow 0.
    pub probe: bool,
    /// Bytes of a block or a message. Of datagrams the header is part of it.
    pub length: u32,
    /// How long senders send what counts, in nanoseconds; 0 where bytes are given.
    pub time_ns: u64,
    /// How long they send before it counts, in nanoseconds.
    pub omit_ns: u64,
    /// What the senders of a direction send together instead of a time, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bits a second for each flow that sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
    /// Messages a second of all flows that send together, on schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Between two interval messages of the server, in nanoseconds.
    pub interval_ns: u64,
    /// Socket buffers in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// The server sends by sendfile.
    #[serde(default)]
    pub zerocopy: bool,
    /// The CPU that the server is to stay on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
}

/// What a server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Flows of a run, both directions together, without the probe.
    pub flows: u32,
    /// Bytes of a block or a message of streams.
    pub length: u32,
    /// Time and omitted time together.
    pub time: Duration,
    /// Bytes of socket buffers.
    pub window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 4096,
            length: 16 << 20,
            time: Duration::from_secs(2 * 86_400),
            window: 1 << 30,
        }
    }
}

/// Why parameters are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// No flow, or more than allowed.
    #[error("{flows} flows; from 1 to {max} are allowed")]
    Flows {
        /// Those that were asked for.
        flows: u64,
        /// The limit.
        max: u32,
    },
    /// The length of a message.
    #[error("messages of {length} bytes; from {min} to {max} are allowed")]
    Length {
        /// The one that was asked for.
        length: u32,
        /// The header has to fit.
        min: u32,
        /// The limit.
        max: u32,
    },
    /// The time.
    #[error("{seconds} seconds are longer than {max} seconds")]
    Time {
        /// Time and omitted time, in seconds.
        seconds: u64,
        /// The limit in seconds.
        max: u64,
    },
    /// Neither a time nor bytes, or both; or bytes with a time that is omitted.
    #[error("either a time or bytes are needed; bytes have no time that is omitted")]
    End,
    /// The interval.
    #[error("an interval of {ns} ns; from 10 ms to a day is allowed")]
    Interval {
        /// The one that was asked for, in nanoseconds.
        ns: u64,
    },
    /// The socket buffers.
    #[error("socket buffers of {bytes} bytes; at most {max} are allowed")]
    Window {
        /// Those that were asked for.
        bytes: u32,
        /// The limit.
        max: u32,
    },
    /// Connections where there are none, round trips the other way, or two rates.
    #[error("{mode} over {transport} has no such options")]
    Combination {
        /// The name of the mode.
        mode: &'static str,
        /// The name of the transport.
        transport: &'static str,
    },
}

impl Parameters {
    /// The shortest message: what stands in it has to fit.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "headers are short")]
    pub const fn min_length(&self) -> u32 {
        match (self.transport.is_datagrams(), self.mode) {
            (true, _) => HEADER_LEN as u32,
            (false, Mode::Oneway) => STREAM_HEADER_LEN as u32,
            (false, _) => 1,
        }
    }

    /// All flows but the probe.
    #[must_use]
    pub const fn flows(&self) -> u32 {
        self.up.saturating_add(self.down)
    }

    /// Whether the server sends on that flow of its own accord.
    #[must_use]
    pub const fn is_down(&self, flow: u32) -> bool {
        flow > self.up && flow <= self.flows()
    }

    /// The bytes that a flow sends, where bytes are given: shares of a direction are even to one and add up.
    #[must_use]
    pub fn bytes_of(&self, flow: u32) -> Option<u64> {
        let (index, flows) = if self.is_down(flow) {
            (flow - self.up - 1, self.down)
        } else {
            (flow.checked_sub(1)?, self.up)
        };
        let flows = u64::from(flows.max(1));
        let bytes = self.bytes?;
        if self.transport.is_datagrams() || self.mode != Mode::Stream {
            // Whole messages: as many as are needed.
            let messages = bytes.div_ceil(u64::from(self.length.max(1)));
            let share = messages / flows + u64::from(u64::from(index) < messages % flows);
            return Some(share.saturating_mul(self.length.into()));
        }
        Some(bytes / flows + u64::from(u64::from(index) < bytes % flows))
    }

    /// Checks them against the limits of a server.
    ///
    /// # Errors
    /// The first that is beyond.
    pub fn check(&self, limits: &Limits) -> Result<(), ParameterError> {
        let flows = u64::from(self.up) + u64::from(self.down);
        if flows == 0 || flows > limits.flows.into() {
            let max = limits.flows;
            return Err(ParameterError::Flows { flows, max });
        }
        let min = self.min_length();
        let max = if self.transport.is_datagrams() {
            MAX_LEN.min(limits.length)
        } else {
            limits.length
        };
        if self.length < min || self.length > max {
            let length = self.length;
            return Err(ParameterError::Length { length, min, max });
        }
        let seconds = self.time_ns.saturating_add(self.omit_ns).div_ceil(1_000_000_000);
        let max = limits.time.as_secs();
        if seconds > max {
            return Err(ParameterError::Time { seconds, max });
        }
        if self.bytes.is_some() == (self.time_ns > 0) || (self.bytes.is_some() && self.omit_ns > 0) {
            return Err(ParameterError::End);
        }
        if !(10_000_000..=86_400_000_000_000).contains(&self.interval_ns) {
            let ns = self.interval_ns;
            return Err(ParameterError::Interval { ns });
        }
        if let Some(bytes) = self.window.filter(|bytes| *bytes > limits.window) {
            let max = limits.window;
            return Err(ParameterError::Window { bytes, max });
        }
        let is_answered = matches!(self.mode, Mode::Rr | Mode::Crr);
        let is_wrong = (is_answered && self.down > 0)
            || (self.mode == Mode::Crr && self.transport.is_datagrams())
            || (self.probe && self.mode != Mode::Stream)
            || (self.rate.is_some() && (self.bitrate.is_some() || self.mode == Mode::Stream))
            || self.rate == Some(0)
            || self.bitrate == Some(0)
            || (self.zerocopy && (self.mode != Mode::Stream || self.transport.is_datagrams()));
        if is_wrong {
            let (mode, transport) = (self.mode.name(), self.transport.name());
            return Err(ParameterError::Combination { mode, transport });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn parameters() -> Parameters {
        Parameters {
            mode: Mode::Stream,
            transport: Transport::Tcp,
            up: 2,
            down: 1,
            probe: true,
            length: 128 * 1024,
            time_ns: 1_000_000_000,
            omit_ns: 0,
            bytes: None,
            bitrate: None,
            rate: None,
            interval_ns: 1_000_000_000,
            window: None,
            zerocopy: false,
            cpu: None,
        }
    }

    #[test]
    fn parameters_beyond_the_limits_are_refused_one_by_one() {
        let limits = Limits::default();
        assert_eq!(parameters().check(&limits), Ok(()));
        let refused = |change: &dyn Fn(&mut Parameters)| {
            let mut changed = parameters();
            change(&mut changed);
            changed.check(&limits).unwrap_err()
        };
        assert!(matches!(
            refused(&|p| p.up = u32::MAX),
            ParameterError::Flows { .. }
        ));
        assert!(matches!(
            refused(&|p| (p.up, p.down) = (0, 0)),
            ParameterError::Flows { .. }
        ));
        assert!(matches!(
            refused(&|p| p.length = 0),
            ParameterError::Length { .. }
        ));
        assert!(matches!(
            refused(&|p| p.length = u32::MAX),
            ParameterError::Length { .. }
        ));
        assert!(matches!(
            refused(&|p| p.transport = Transport::Udp),
            ParameterError::Length { .. }
        ));
        assert!(matches!(
            refused(&|p| p.time_ns = u64::MAX),
            ParameterError::Time { .. }
        ));
        assert_eq!(refused(&|p| p.time_ns = 0), ParameterError::End);
        assert_eq!(refused(&|p| p.bytes = Some(1)), ParameterError::End);
        assert!(matches!(
            refused(&|p| p.interval_ns = 1),
            ParameterError::Interval { .. }
        ));
        assert!(matches!(
            refused(&|p| p.window = Some(u32::MAX)),
            ParameterError::Window { .. }
        ));
        assert!(matches!(
            refused(&|p| p.mode = Mode::Rr),
            ParameterError::Combination { .. }
        ));
        assert!(matches!(
            refused(&|p| p.bitrate = Some(0)),
            ParameterError::Combination { .. }
        ));
    }

    #[test]
    fn shares_of_bytes_add_up() {
        let mut parameters = parameters();
        (parameters.time_ns, parameters.bytes) = (0, Some(1001));
        assert_eq!(parameters.bytes_of(1), Some(501));
        assert_eq!(parameters.bytes_of(2), Some(500));
        assert_eq!(parameters.bytes_of(3), Some(1001), "the other direction");
        assert_eq!(parameters.bytes_of(0), None, "the probe");
        (parameters.transport, parameters.length) = (Transport::Udp, 100);
        assert_eq!(parameters.bytes_of(1), Some(600), "whole datagrams");
        assert_eq!(parameters.bytes_of(2), Some(500));
    }
}
