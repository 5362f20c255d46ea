//! One host under scan: how far it is, how much it takes at once, how long its answers take.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::options::{ScanMethod, ScanOptions};
use crate::time::ns;

/// A host whose probes are lost is asked at most once each so long, in the end: what Linux allows a peer in ICMP errors
/// (`net.ipv4.icmp_ratelimit`) is one a second.
const MAX_DELAY_NS: u64 = 1_000_000_000;
/// The first pause between two probes to a host whose answers go missing.
const FIRST_DELAY_NS: u64 = 20_000_000;
/// After this many answers it is looked at how many of them took a repeated probe.
const SAMPLE: u32 = 8;

/// A port that is to be asked again, and how often it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub(super) port: u16,
    pub(super) attempts: u32,
}

/// Whether a host is thought to hold back its ICMP errors (RFC 1812, section 4.3.2.8), so that silence says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoldsBack {
    /// Nothing speaks for it.
    Unknown,
    /// It has answered, and then it has not: one probe at a time shows which.
    Asked,
    /// A repeated probe was answered.
    Yes,
    /// Repeated probes were not answered either: those ports are silent.
    No,
}

#[derive(Debug)]
pub(super) struct Host {
    /// The port is 0.
    pub(super) address: SocketAddr,
    /// Ports begun, in the scanner's order from `offset` on.
    pub(super) begun: u32,
    /// Where in that order this host begins, so that hosts are not all asked for one port at once.
    pub(super) offset: u32,
    /// Ports to ask again; no longer than what was in flight, as they go before new ones.
    pub(super) again: VecDeque<Again>,
    pub(super) in_flight: u32,
    /// In the scanner's queue of hosts that may send.
    pub(super) queued: bool,
    /// Nothing leaves before this.
    pub(super) not_before_ns: u64,
    window: u32,
    /// Up to here each answer opens the window by one; from here on a window full of answers does.
    threshold: u32,
    credit: u32,
    delay_ns: u64,
    holds_back: HoldsBack,
    /// Smoothed round-trip time and its deviation (RFC 6298, section 2), once there is one.
    rtt_ns: Option<(u64, u64)>,
    /// The most attempts that an answer took.
    most_attempts: u32,
    answers: u32,
    repeated: u32,
}

impl Host {
    pub(super) fn new(address: SocketAddr, offset: u32, options: &ScanOptions) -> Self {
        Self {
            address,
            begun: 0,
            offset,
            again: VecDeque::new(),
            in_flight: 0,
            queued: false,
            not_before_ns: 0,
            window: options.window.max(1),
            threshold: u32::MAX,
            credit: 0,
            delay_ns: 0,
            holds_back: HoldsBack::Unknown,
            rtt_ns: None,
            most_attempts: 1,
            answers: 0,
            repeated: 0,
        }
    }

    /// Whether another probe may leave now.
    pub(super) const fn has_room(&self) -> bool {
        let window = if matches!(self.holds_back, HoldsBack::Asked) {
            1
        } else {
            self.window
        };
        self.in_flight < window
    }

    pub(super) fn sent(&mut self, now_ns: u64) {
        self.in_flight += 1;
        self.not_before_ns = now_ns.saturating_add(self.delay_ns);
    }

    /// How long the answer to an attempt may take: longer each time.
    pub(super) fn timeout_ns(&self, attempt: u32, options: &ScanOptions) -> u64 {
        let longest = ns(options.timeout);
        let least = ns(ScanOptions::MIN_TIMEOUT);
        let longer = |usual: u64| usual.saturating_mul(1 << attempt.saturating_sub(1).min(4));
        let usual = self
            .rtt_ns
            .map(|(rtt, deviation)| rtt.saturating_add(4 * deviation));
        let is_last = attempt >= self.attempts(options);
        let timeout_ns = match (usual, self.holds_back) {
            (Some(usual), HoldsBack::Unknown) => longer(usual.max(least)),
            // Errors that a host holds back are lost, not late: while it is found out whether it does, the pause before
            // each attempt is what counts, and behind the last one there is none.
            (Some(usual), HoldsBack::Asked) if is_last => longer(usual).max(least),
            (Some(usual), HoldsBack::No) => longer(usual).max(least),
            // The round trip of others says nothing.
            _ => longer(longest),
        };
        timeout_ns.min(longest)
    }

    /// A port that is to be asked again, behind the others; while one port shows whether the host holds back its errors, that
    /// one goes first until it is decided.
    pub(super) fn ask_again(&mut self, again: Again) {
        if self.holds_back == HoldsBack::Asked && again.attempts > 1 {
            self.again.push_front(again);
        } else {
            self.again.push_back(again);
        }
    }

    /// How often a port may be asked.
    pub(super) fn attempts(&self, options: &ScanOptions) -> u32 {
        let asked = options.retries.saturating_add(1);
        let proven = if self.most_attempts > 1 {
            self.most_attempts + 2
        } else {
            1
        };
        asked.max(proven.min(ScanOptions::MAX_ATTEMPTS))
    }

    /// An answer came, to that attempt.
    pub(super) fn answered(&mut self, attempt: u32, rtt: Duration, method: ScanMethod) {
        self.in_flight = self.in_flight.saturating_sub(1);
        // Nothing tells which of several datagrams was answered (Karn's algorithm).
        if attempt == 1 || method == ScanMethod::Tcp {
            self.measure(ns(rtt));
        }
        if attempt > 1 {
            self.repeated += 1;
            self.most_attempts = self.most_attempts.max(attempt);
            // No connect is refused because of a limit on answers.
            if method == ScanMethod::Udp && self.holds_back != HoldsBack::Yes {
                self.holds_back = HoldsBack::Yes;
                (self.window, self.threshold, self.credit) = (1, 1, 0);
            }
        } else if self.window < self.threshold {
            self.window = self.window.saturating_add(1);
        } else {
            self.credit += 1;
            if self.credit >= self.window {
                self.credit = 0;
                self.window = self.window.saturating_add(1);
            }
        }
        self.answers += 1;
        if self.answers >= SAMPLE {
            self.judge(method);
        }
    }

    /// Many answers that took a repeated probe: the first ones were lost, or the host holds its answers back.
    fn judge(&mut self, method: ScanMethod) {
        if self.repeated * 3 >= self.answers {
            self.window = (self.window / 2).max(1);
            self.threshold = self.window;
            if method == ScanMethod::Udp {
                self.delay_ns = (self.delay_ns * 2).clamp(FIRST_DELAY_NS, MAX_DELAY_NS);
            }
        } else if self.repeated == 0 {
            self.delay_ns = self.delay_ns / 4 * 3;
        }
        (self.answers, self.repeated) = (0, 0);
    }

    /// An attempt was not made, or its answer is of no use here.
    pub(super) const fn left(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// An attempt is over without an answer; the last one to its port, or not.
    pub(super) fn expired(&mut self, was_last: bool, method: ScanMethod) {
        self.left();
        let knows = self.rtt_ns.is_some() && method == ScanMethod::Udp;
        match self.holds_back {
            HoldsBack::Unknown if knows => self.holds_back = HoldsBack::Asked,
            HoldsBack::Asked if was_last => self.holds_back = HoldsBack::No,
            _ => {}
        }
    }

    fn measure(&mut self, rtt: u64) {
        self.rtt_ns = Some(match self.rtt_ns {
            None => (rtt, rtt / 2),
            Some((smooth, deviation)) => (
                smooth - smooth / 8 + rtt / 8,
                deviation - deviation / 4 + smooth.abs_diff(rtt) / 4,
            ),
        });
    }
}
