//! What a scanner asks for, and what it tells.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::options::ScanMethod;
use crate::input::Cause;

/// A probe that waits for an answer. Stale once its attempt is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl ProbeId {
    /// A number below the most probes that were in flight at once: a place for what the caller keeps of the probe.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// The whole id as one number, to be given along with a connect.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The id of [`to_bits`](Self::to_bits).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each half is taken by itself")]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            slot: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

/// A probe to send: a connect to start, or a datagram with [`payload`](super::payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanTransmit {
    /// Which probe.
    pub probe: ProbeId,
    /// Where to.
    pub destination: SocketAddr,
    /// Which attempt it is, from 1.
    pub attempt: u32,
}

/// What became of one attempt, as its socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScanOutcome {
    /// The connection was established, or a datagram came back.
    Answered,
    /// The connection was refused, or the host reported that nobody listens at the port.
    Refused,
    /// A router, a filter or this host reported that the probe does not arrive.
    Unreachable {
        /// Who reported it; `None` where that is unknown or this host did.
        offender: Option<IpAddr>,
        /// What the report says.
        cause: Cause,
    },
    /// This host had no descriptor, port, memory or room in a queue for it: it is sent again later, and fewer are in
    /// flight from now on.
    NoRoom,
    /// It was not sent, and another attempt may be: it is sent again at once.
    Again,
}

impl ScanOutcome {
    /// What it says of the port; `None` where the probe was not sent.
    pub(super) const fn meaning(self, method: ScanMethod) -> Option<(PortState, Reason)> {
        let meaning = match (self, method) {
            (Self::Answered, ScanMethod::Tcp) => (PortState::Open, Reason::SynAck),
            (Self::Answered, ScanMethod::Udp) => (PortState::Open, Reason::Answer),
            (Self::Refused, ScanMethod::Tcp) => (PortState::Closed, Reason::Refused),
            (Self::Refused, ScanMethod::Udp) => (PortState::Closed, Reason::PortUnreachable),
            (Self::Unreachable { offender, cause }, _) => {
                (PortState::Filtered, Reason::Unreachable { offender, cause })
            }
            (Self::NoRoom | Self::Again, _) => return None,
        };
        Some(meaning)
    }

    /// Whether this host itself kept the probe back, so that it says nothing of the way there.
    pub(super) const fn is_of_this_host(self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                cause: Cause::NotSent | Cause::ProhibitRoute | Cause::BlackholeRoute,
                ..
            }
        )
    }
}

/// What is known of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortState {
    /// Somebody listens.
    Open,
    /// The host says that nobody listens.
    Closed,
    /// Something on the way keeps probes or answers back.
    Filtered,
    /// No answer by UDP: a service that does not answer to strangers, or a filter.
    OpenOrFiltered,
}

impl PortState {
    /// One word for it, as nmap has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Filtered => "filtered",
            Self::OpenOrFiltered => "open|filtered",
        }
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a port has its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The connection was established.
    SynAck,
    /// A datagram came back.
    Answer,
    /// The host refused: by RST or by ICMP port unreachable.
    Refused,
    /// ICMP port unreachable came back for a datagram.
    PortUnreachable,
    /// Something reported that the probe does not arrive.
    Unreachable {
        /// Who reported it; `None` where that is unknown or this host did.
        offender: Option<IpAddr>,
        /// What the report says.
        cause: Cause,
    },
    /// No answer to any attempt.
    Timeout,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SynAck => f.write_str("syn-ack"),
            Self::Answer => f.write_str("answer"),
            Self::Refused => f.write_str("refused"),
            Self::PortUnreachable => f.write_str("icmp port unreachable"),
            Self::Unreachable { cause, .. } => write!(f, "{cause}"),
            Self::Timeout => f.write_str("timeout"),
        }
    }
}

/// What was found out about one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The probe that found it out: stale by now, unless it was [held](super::Scanner::hold).
    pub probe: ProbeId,
    /// The host and the port.
    pub destination: SocketAddr,
    /// The state.
    pub state: PortState,
    /// Why.
    pub reason: Reason,
    /// From the last attempt to its answer; `None` without an answer.
    pub rtt: Option<Duration>,
    /// How often the port was asked.
    pub attempts: u32,
}

/// Something happened by the passing of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEvent {
    /// An attempt had no answer in time, and there will be another: its socket is of no use any more.
    Expired(ProbeId),
    /// The last attempt had no answer in time.
    Verdict(Verdict),
}

/// How many ports have which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCounts {
    /// Probes that were sent, repeated ones too.
    pub sent: u64,
    /// Ports that are open.
    pub open: u64,
    /// Ports that are closed.
    pub closed: u64,
    /// Ports that are filtered.
    pub filtered: u64,
    /// Ports that are open or filtered.
    pub open_or_filtered: u64,
}

impl ScanCounts {
    /// Ports whose state is known.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.open + self.closed + self.filtered + self.open_or_filtered
    }

    pub(super) const fn add(&mut self, state: PortState) {
        match state {
            PortState::Open => self.open += 1,
            PortState::Closed => self.closed += 1,
            PortState::Filtered => self.filtered += 1,
            PortState::OpenOrFiltered => self.open_or_filtered += 1,
        }
    }
}
