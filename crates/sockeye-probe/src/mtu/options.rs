//! How a [`PmtuProbe`](super::PmtuProbe) probes.

use std::net::SocketAddr;
use std::time::Duration;

/// What the probes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MtuMethod {
    /// Echo requests.
    Icmp,
    /// UDP datagrams to a port that echoes them, or to one where nobody listens: the refusal quotes the probe.
    Udp,
}

/// How to look for the path MTU. All sizes are those of whole IP packets, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MtuOptions {
    /// What the probes are.
    pub method: MtuMethod,
    /// The largest size worth knowing, at most 65,535: the link's MTU, where it is known.
    pub ceiling: u32,
    /// How long an answer to the last attempt may take.
    pub timeout: Duration,
    /// Probes of one size before silence counts as an answer (MAX_PROBES of RFC 8899). Loss that is not due to size
    /// makes the result too small with this power of its probability.
    pub attempts: u8,
    /// The time between two probes of one size.
    pub spacing: Duration,
    /// TTL or hop limit of the probes; `None` is the system's.
    pub hop_limit: Option<u8>,
    /// The ICMP identifier, and the only one taken in answers. `None` where the kernel writes its own: a ping socket.
    pub identifier: Option<u16>,
    /// A random number that nobody else knows. Tags are made from it.
    pub secret: u64,
}

impl MtuOptions {
    /// Three attempts at each size, 100 ms apart, one second for an answer.
    #[must_use]
    pub const fn new(method: MtuMethod, secret: u64) -> Self {
        Self {
            method,
            ceiling: 65_535,
            timeout: Duration::from_secs(1),
            attempts: 3,
            spacing: Duration::from_millis(100),
            hop_limit: None,
            identifier: None,
            secret,
        }
    }
}

/// What a family's packets must be able to be, and where the search begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// IP header and ICMP or UDP header.
    pub(super) overhead: u32,
    /// No link may be narrower: 68 (RFC 791), 1280 (RFC 8200).
    pub(super) floor: u32,
    /// The first size: BASE_PLPMTU of RFC 8899, which nearly every path carries.
    pub(super) base: u32,
}

impl Family {
    pub(super) const fn of(destination: SocketAddr) -> Self {
        if destination.is_ipv6() {
            Self {
                overhead: 40 + 8,
                floor: 1280,
                base: 1280,
            }
        } else {
            Self {
                overhead: 20 + 8,
                floor: 68,
                base: 1200,
            }
        }
    }
}
