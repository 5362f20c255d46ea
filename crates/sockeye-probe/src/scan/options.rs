//! How a [`Scanner`](super::Scanner) scans.

use std::time::Duration;

/// How ports are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanMethod {
    /// A TCP connect to each port.
    Tcp,
    /// A UDP datagram to each port.
    Udp,
}

/// How to scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// How ports are asked.
    pub method: ScanMethod,
    /// The longest wait for an answer to one probe. Once the round-trip time of a host is known the wait is four times
    /// its deviation above it, but never below [`MIN_TIMEOUT`](Self::MIN_TIMEOUT), unless this is shorter.
    pub timeout: Duration,
    /// How often a probe without an answer is repeated. A host that answers repeated probes gets more, up to
    /// [`MAX_ATTEMPTS`](Self::MAX_ATTEMPTS) in all.
    pub retries: u32,
    /// Probes that may wait for an answer at once, of all hosts together. At least 1.
    pub max_in_flight: usize,
    /// Probes of one host that may wait for an answer at once, before it has answered anything.
    pub window: u32,
    /// The shortest time between two probes to any hosts.
    pub gap: Duration,
    /// A random number that nobody else knows: the order of the ports is made from it.
    pub secret: u64,
}

impl ScanOptions {
    /// No wait for an answer is shorter, unless [`timeout`](Self::timeout) is: a busy machine answers late.
    pub const MIN_TIMEOUT: Duration = Duration::from_millis(250);
    /// A port is asked no more often than this.
    pub const MAX_ATTEMPTS: u32 = 10;

    /// The defaults of a method, with this random number: answers within a second, one retry for TCP (the kernel repeats
    /// the SYN too) and two for UDP.
    #[must_use]
    pub const fn new(method: ScanMethod, secret: u64) -> Self {
        let (retries, window) = match method {
            ScanMethod::Tcp => (1, 100),
            ScanMethod::Udp => (2, 20),
        };
        Self {
            method,
            timeout: Duration::from_secs(1),
            retries,
            max_in_flight: 1000,
            window,
            gap: Duration::ZERO,
            secret,
        }
    }
}
