//! What a pinger is asked to send, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;

use crate::input::Cause;

/// A target of a [`Pinger`](super::Pinger): its number in the order of [`Pinger::add`](super::Pinger::add), from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub(super) u32);

impl TargetId {
    /// The number, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A target was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddError {
    /// It is a target already: its replies could not be told apart.
    #[error("{0} is a target already")]
    Duplicate(IpAddr),
    /// Replies come from other addresses than this one.
    #[error("{0} is not the address of one host")]
    NotUnicast(IpAddr),
    /// There are 2^32 targets already.
    #[error("too many targets")]
    Full,
}

/// A request to send; the message itself is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingTransmit {
    /// Whose request it is.
    pub target: TargetId,
    /// Its number, from 1.
    pub sequence: u32,
    /// Where to; the port is 0.
    pub destination: SocketAddr,
    /// The TTL or hop limit to send it with; `None` is the system's.
    pub hop_limit: Option<u8>,
}

/// Something happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingEvent {
    /// Whose request.
    pub target: TargetId,
    /// Which one, from 1; the last one sent for [`PingOutcome::Finished`].
    pub sequence: u32,
    /// What happened.
    pub outcome: PingOutcome,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PingOutcome {
    /// It was answered in time.
    Reply {
        /// The round-trip time.
        rtt: Duration,
        /// Bytes of the reply, ICMP header included.
        len: usize,
        /// TTL or hop limit of the reply on arrival, where it is known.
        hop_limit: Option<u8>,
    },
    /// It was answered before; this is one more reply.
    Duplicate {
        /// From the request to this reply.
        rtt: Duration,
    },
    /// It was counted lost or failed before; here is its reply.
    Late {
        /// The round-trip time, unless the request is so old that its time is forgotten.
        rtt: Option<Duration>,
    },
    /// A reply came whose payload differs from the request's. The request goes on waiting for a sound one.
    Corrupt {
        /// The first byte of the payload that differs or is missing, from 0.
        at: usize,
    },
    /// An error came back, or it could not be sent.
    Failed {
        /// Who reported it; `None` where this host did.
        offender: Option<IpAddr>,
        /// What the report says.
        cause: Cause,
    },
    /// No reply within the timeout.
    Lost,
    /// The target's last request has its outcome: nothing more will be sent to it. Told once.
    Finished,
}
