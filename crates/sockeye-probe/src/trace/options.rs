//! How a [`Tracer`](super::Tracer) traces.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

/// What the probes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceMethod {
    /// Echo requests; the target answers with an echo reply. Works without privileges where ping sockets are allowed.
    Icmp,
    /// UDP datagrams; the target answers that nobody listens there. Works without privileges everywhere on Linux.
    Udp,
    /// TCP SYNs; the target answers with a SYN-ACK or a reset, also behind a firewall that lets that port pass.
    /// Needs raw sockets.
    Tcp {
        /// The address the probes leave from, because the checksum covers it, and the first source port.
        source: SocketAddr,
    },
}

/// Whether the probes look like one flow to routers that spread flows over several paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Each probe is a flow of its own, as with the traceroute of old: finds several paths, and may mix them up.
    Classic,
    /// All probes are one flow (Paris traceroute): the hops found are one path.
    Paris,
}

/// How to trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// What the probes are.
    pub method: TraceMethod,
    /// Whether they are one flow.
    pub flow: Flow,
    /// The hop limit of the first probes, from 1.
    pub first_hop: u8,
    /// The hop limit of the last probes.
    pub max_hops: u8,
    /// Probes to each hop.
    pub probes_per_hop: u8,
    /// Probes in flight at once, to all hops together.
    pub in_flight: u16,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The least time between two probes: routers answer few errors a second.
    pub gap: Duration,
    /// Bytes after the ICMP or UDP header, raised to what the method needs (10); nothing for TCP.
    pub payload_len: usize,
    /// The ICMP identifier, and the only one taken in answers. `None` where the kernel writes its own and delivers no
    /// other: a ping socket.
    pub identifier: Option<u16>,
    /// A random number that nobody else knows. Tags and sequence numbers are made from it.
    pub secret: u64,
}

impl TraceOptions {
    /// The defaults of `traceroute` but for the timeout of one second: three probes to each of 30 hops, 16 in flight.
    #[must_use]
    pub const fn new(method: TraceMethod, secret: u64) -> Self {
        Self {
            method,
            flow: Flow::Paris,
            first_hop: 1,
            max_hops: 30,
            probes_per_hop: 3,
            in_flight: 16,
            timeout: Duration::from_secs(1),
            gap: Duration::ZERO,
            payload_len: 32,
            identifier: None,
            secret,
        }
    }

    /// Probes of a whole trace.
    pub(super) fn probes(&self) -> u16 {
        let hops = self.max_hops.saturating_sub(self.first_hop).saturating_add(1);
        u16::from(hops) * u16::from(self.probes_per_hop)
    }

    pub(super) fn check(&self, destination: SocketAddr) -> Result<(), TraceOptionsError> {
        if self.first_hop == 0 || self.first_hop > self.max_hops {
            return Err(TraceOptionsError::Hops {
                first: self.first_hop,
                max: self.max_hops,
            });
        }
        if self.probes_per_hop == 0 || self.in_flight == 0 {
            return Err(TraceOptionsError::NoProbes);
        }
        let varied = match (self.method, self.flow) {
            (TraceMethod::Udp, Flow::Classic) => Some(destination.port()),
            (TraceMethod::Tcp { source }, Flow::Classic) => Some(source.port()),
            _ => None,
        };
        if let Some(first) = varied
            && first.checked_add(self.probes() - 1).is_none()
        {
            return Err(TraceOptionsError::Ports {
                first,
                probes: self.probes(),
            });
        }
        let needs_port = !matches!(self.method, TraceMethod::Icmp);
        if needs_port && destination.port() == 0 {
            return Err(TraceOptionsError::NoPort);
        }
        if let TraceMethod::Tcp { source } = self.method
            && source.is_ipv4() != destination.is_ipv4()
        {
            return Err(TraceOptionsError::Families);
        }
        Ok(())
    }
}

/// Options that make no sense together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceOptionsError {
    /// Hops count from 1, and the first is not beyond the last.
    #[error("hops from {first} to {max}: the first is at least 1 and at most the last")]
    Hops {
        /// The first.
        first: u8,
        /// The last.
        max: u8,
    },
    /// Nothing would be sent.
    #[error("at least one probe to a hop, and one in flight")]
    NoProbes,
    /// Classic probes have a port each, and these do not fit below 65,536.
    #[error("{probes} ports from {first} on exceed 65535")]
    Ports {
        /// The first port.
        first: u16,
        /// How many are needed.
        probes: u16,
    },
    /// Port 0 is no port to send to.
    #[error("a UDP or TCP trace needs a port")]
    NoPort,
    /// The source address is of the other family.
    #[error("source and destination are of different families")]
    Families,
}
