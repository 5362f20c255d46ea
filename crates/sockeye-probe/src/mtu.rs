//! Path MTU: the largest packet that arrives, found by sending packets that must not be fragmented.
//!
//! Two ways at once. Routers that find a packet too big say so and how big it may be (RFC 1191, RFC 8201): what they say
//! is tried next, and believed once a packet of that size has arrived. Where they say nothing, or a firewall keeps
//! their words back, sizes that are not answered are narrowed down until one byte more is too much (packet-layer
//! discovery, RFC 8899).
//!
//! A [`PmtuProbe`] does no I/O: its caller sends what [`poll_transmit`](PmtuProbe::poll_transmit) yields, hands in what
//! sockets receive, and calls back at [`poll_timeout`](PmtuProbe::poll_timeout). The socket must forbid fragmentation
//! and ignore what the kernel has learnt of the path (`IP_PMTUDISC_PROBE`).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye_packet::protocol;

use crate::input::{Cause, Input, Message};
use crate::time::{Clock, ns};
use crate::token::{Secret, TAG_LEN};
use crate::wire::{self, Decoded, Echo};

mod options;
mod search;

use options::Family;
pub use options::{MtuMethod, MtuOptions};
pub use search::Limit;
use search::{Next, Report, Search};

/// Probes whose answers are still recognised.
const REMEMBERED: usize = 64;
/// The tag, and the number of the probe.
const HEAD_LEN: usize = TAG_LEN + 2;

/// A probe to send; the message itself is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MtuTransmit {
    /// Which probe, for [`PmtuProbe::handle_send_error`].
    pub probe: u16,
    /// Where to; the port counts for UDP.
    pub destination: SocketAddr,
    /// The size of the whole IP packet, in bytes.
    pub size: u32,
    /// The TTL or hop limit to send it with; `None` is the system's.
    pub hop_limit: Option<u8>,
}

/// Something happened to a size. All sizes are those of whole IP packets, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MtuEvent {
    /// A packet of this size arrived, and was answered.
    Passed {
        /// The size.
        size: u32,
        /// The round-trip time.
        rtt: Duration,
    },
    /// Somebody says that this size is too big.
    TooBig {
        /// The size.
        size: u32,
        /// What would fit; old routers do not say.
        mtu: Option<u32>,
        /// Who says so; `None` for this host.
        offender: Option<IpAddr>,
    },
    /// No packet of this size was answered.
    Silent {
        /// The size.
        size: u32,
    },
    /// The search is over. Told once, last.
    Done(MtuEnd),
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MtuEnd {
    /// This is the path MTU: a packet of this size arrived.
    Found {
        /// In bytes, IP header included.
        mtu: u32,
        /// What keeps larger ones out.
        limit: Limit,
    },
    /// The target cannot be reached.
    Failed {
        /// Who says so; `None` for this host.
        offender: Option<IpAddr>,
        /// Why.
        cause: Cause,
    },
    /// Nothing was ever answered.
    NoAnswer,
    /// [`PmtuProbe::stop`] was called.
    Stopped,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u16,
    size: u32,
    sent_ns: u64,
}

/// The size that is being tried.
#[derive(Clone, Copy, Debug)]
struct Trial {
    size: u32,
    attempts: u8,
    /// When the last of the attempts left.
    last_ns: u64,
}

/// Finds the path MTU to one target; see the [module](self) for how to drive it.
#[derive(Debug)]
pub struct PmtuProbe {
    destination: SocketAddr,
    options: MtuOptions,
    family: Family,
    secret: Secret,
    clock: Clock,
    search: Search,
    trial: Option<Trial>,
    sent: VecDeque<Sent>,
    next_number: u16,
    failed: Option<(Option<IpAddr>, Cause)>,
    stopped: bool,
    done: bool,
    strangers: u64,
}

impl PmtuProbe {
    /// A search for the path MTU to `destination`, whose port counts for UDP only.
    #[must_use]
    pub fn new(destination: SocketAddr, options: MtuOptions) -> Self {
        let family = Family::of(destination);
        let secret = Secret::new(options.secret);
        Self {
            search: Search::new(
                family.floor,
                family.base,
                options.ceiling.min(u32::from(u16::MAX)),
            ),
            next_number: wire::low16(secret.word(0)),
            destination,
            family,
            secret,
            clock: Clock::default(),
            trial: None,
            sent: VecDeque::with_capacity(REMEMBERED),
            failed: None,
            stopped: false,
            done: false,
            strangers: 0,
            options,
        }
    }

    /// The next probe that is due, written to `message` in place of what was there: an ICMP message or a UDP payload.
    pub fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<MtuTransmit> {
        let now_ns = self.clock.advance(now);
        if self.is_over() {
            return None;
        }
        let mut trial = match self.trial {
            Some(trial) => trial,
            None => match self.search.next() {
                Next::Try(size) => Trial {
                    size,
                    attempts: 0,
                    last_ns: now_ns,
                },
                Next::Found(..) | Next::Nothing => return None,
            },
        };
        let due_ns = trial.last_ns.saturating_add(ns(self.options.spacing));
        if trial.attempts >= self.options.attempts.max(1) || (trial.attempts > 0 && now_ns < due_ns) {
            return None;
        }
        trial.attempts += 1;
        trial.last_ns = now_ns;
        self.trial = Some(trial);
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            number,
            size: trial.size,
            sent_ns: now_ns,
        });
        self.write(number, trial.size, message);
        Some(MtuTransmit {
            probe: number,
            destination: self.destination,
            size: trial.size,
            hop_limit: self.options.hop_limit,
        })
    }

    /// Takes something that a socket received, and says what it was for the search. `None` where it is no answer to
    /// one of its probes, or says nothing new.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Option<MtuEvent> {
        let now_ns = self.clock.advance(now);
        if self.is_over() {
            return None;
        }
        let received_ns = input.received_at.map_or(now_ns, |moment| self.clock.at(moment));
        let (offender, cause, sent) = match input.message {
            Message::Icmp { from, message } => match wire::decode(from.is_ipv6(), message) {
                Some(Decoded::EchoReply(echo)) => return self.echo_reply(received_ns, from, echo),
                Some(Decoded::Error(error)) if error.destination == self.destination.ip() => (
                    Some(from.ip()),
                    error.cause,
                    self.quoted(error.protocol, error.transport),
                ),
                _ => (None, Cause::NotSent, None),
            },
            Message::Udp { from, payload } => {
                let ours = self.options.method == MtuMethod::Udp && from == self.destination;
                let sent = self
                    .datagram(payload)
                    .filter(|sent| ours && self.is_whole(payload, *sent));
                return self.answered(received_ns, sent);
            }
            Message::Error {
                offender,
                destination,
                cause,
                quoted,
            } if destination.ip() == self.destination.ip() => {
                // What this host itself reports quotes nothing.
                let local = offender.is_none() && quoted.is_empty();
                (
                    offender,
                    cause,
                    if local { self.latest() } else { self.queued(quoted) },
                )
            }
            Message::Error { .. } | Message::Tcp { .. } => (None, Cause::NotSent, None),
        };
        self.reported(received_ns, offender, cause, sent)
    }

    /// Takes the news that a probe could not be sent. [`Cause::TooBig`] is a result like any other: this host's link.
    pub fn handle_send_error(&mut self, now: Duration, probe: u16, cause: Cause) -> Option<MtuEvent> {
        let now_ns = self.clock.advance(now);
        if self.is_over() {
            return None;
        }
        let sent = self.find(probe);
        self.reported(now_ns, None, cause, sent)
    }

    /// What happened by the mere passing of time, and the end. Call until `None`.
    pub fn poll_event(&mut self, now: Duration) -> Option<MtuEvent> {
        let now_ns = self.clock.advance(now);
        if self.done {
            return None;
        }
        if let Some(trial) = self.trial
            && !self.is_over()
            && trial.attempts >= self.options.attempts.max(1)
            && now_ns >= trial.last_ns.saturating_add(ns(self.options.timeout))
        {
            self.trial = None;
            self.search.silent(trial.size);
            return Some(MtuEvent::Silent { size: trial.size });
        }
        let end = self.end()?;
        self.done = true;
        Some(MtuEvent::Done(end))
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) again, on the caller's
    /// clock; a past moment means now. `None`: the search is over.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        if self.done {
            return None;
        }
        let next_ns = match self.trial {
            Some(trial) if !self.is_over() => {
                let last = trial.attempts >= self.options.attempts.max(1);
                trial.last_ns.saturating_add(ns(if last {
                    self.options.timeout
                } else {
                    self.options.spacing
                }))
            }
            _ => 0,
        };
        Some(self.clock.deadline(next_ns))
    }

    /// Ends the search where it stands.
    pub const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether the end was told.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// Where the search goes.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// What the probes are.
    #[must_use]
    pub const fn method(&self) -> MtuMethod {
        self.options.method
    }

    /// Sets the identifier; see [`MtuOptions::identifier`].
    pub const fn set_identifier(&mut self, identifier: Option<u16>) {
        self.options.identifier = identifier;
    }

    /// The newest probe whose message has this length, for whoever only knows that.
    #[cfg(feature = "services")]
    pub(crate) fn newest(&self, len: usize) -> Option<u16> {
        let header = if self.options.method == MtuMethod::Icmp {
            wire::ECHO_HEADER_LEN
        } else {
            0
        };
        let of_len = |sent: &&Sent| self.payload_len(sent.size) + header == len;
        self.sent.iter().rev().find(of_len).map(|sent| sent.number)
    }

    /// The largest size that has arrived so far.
    #[must_use]
    pub const fn largest(&self) -> Option<u32> {
        self.search.good()
    }

    /// Inputs that belonged to no probe, or contradicted what is known: other programs' answers, forgeries, wreckage.
    #[must_use]
    pub const fn strangers(&self) -> u64 {
        self.strangers
    }

    const fn is_over(&self) -> bool {
        self.done || self.stopped || self.failed.is_some()
    }

    fn end(&self) -> Option<MtuEnd> {
        if self.stopped {
            return Some(MtuEnd::Stopped);
        }
        if let Some((offender, cause)) = self.failed {
            return Some(MtuEnd::Failed { offender, cause });
        }
        match self.search.next() {
            Next::Try(_) => None,
            Next::Found(mtu, limit) => Some(MtuEnd::Found { mtu, limit }),
            Next::Nothing => Some(MtuEnd::NoAnswer),
        }
    }

    fn payload_len(&self, size: u32) -> usize {
        size.saturating_sub(self.family.overhead) as usize
    }

    fn tag(&self, sent: Sent) -> [u8; TAG_LEN] {
        self.secret.tag(sent.size, u32::from(sent.number))
    }

    fn write(&self, number: u16, size: u32, message: &mut Vec<u8>) {
        let tag = self.tag(Sent {
            number,
            size,
            sent_ns: 0,
        });
        let fill = |payload: &mut Vec<u8>| {
            payload.extend_from_slice(&tag);
            payload.extend_from_slice(&number.to_be_bytes());
            let rest = self.payload_len(size).saturating_sub(HEAD_LEN);
            payload.extend((0..=u8::MAX).cycle().take(rest));
        };
        match self.options.method {
            MtuMethod::Icmp => {
                let identifier = self.options.identifier.unwrap_or(0);
                wire::echo_request(message, self.destination.is_ipv6(), identifier, number, fill);
            }
            MtuMethod::Udp => {
                message.clear();
                fill(message);
            }
        }
    }

    fn find(&self, number: u16) -> Option<Sent> {
        self.sent.iter().rev().find(|sent| sent.number == number).copied()
    }

    /// The probe of that number, if as much of its tag as is there is right.
    fn checked(&self, number: u16, payload: &[u8]) -> Option<Sent> {
        let sent = self.find(number)?;
        let shown = payload.len().min(TAG_LEN);
        (payload[..shown] == self.tag(sent)[..shown]).then_some(sent)
    }

    /// Whether an answer carries all of the probe's payload: one that was cut has not shown that the size passes.
    fn is_whole(&self, payload: &[u8], sent: Sent) -> bool {
        let rest = self.payload_len(sent.size).saturating_sub(HEAD_LEN);
        let pattern = (0..=u8::MAX).cycle().take(rest);
        payload
            .get(HEAD_LEN..)
            .is_some_and(|tail| tail.iter().copied().eq(pattern))
    }

    fn echo(&self, echo: Echo<'_>) -> Option<Sent> {
        if self.options.identifier.is_some_and(|own| own != echo.identifier) {
            return None;
        }
        self.checked(echo.sequence, echo.payload)
    }

    fn datagram(&self, payload: &[u8]) -> Option<Sent> {
        let &[high, low] = payload.get(TAG_LEN..HEAD_LEN)? else {
            return None;
        };
        self.checked(u16::from_be_bytes([high, low]), payload)
    }

    /// The probe that an ICMP error quotes.
    fn quoted(&self, number: u8, transport: &[u8]) -> Option<Sent> {
        match self.options.method {
            MtuMethod::Icmp if wire::is_icmp(number, self.destination.ip()) => self.queued(transport),
            MtuMethod::Udp if number == protocol::UDP => {
                let &[_, _, high, low, ..] = transport.first_chunk::<8>()?;
                let port = u16::from_be_bytes([high, low]);
                (port == self.destination.port()).then(|| self.queued(transport.get(8..).unwrap_or(&[])))?
            }
            _ => None,
        }
    }

    /// The probe that an entry of the error queue quotes: its ICMP message, or its UDP payload.
    fn queued(&self, quoted: &[u8]) -> Option<Sent> {
        match self.options.method {
            MtuMethod::Icmp => self.echo(wire::quoted_echo(self.destination.is_ipv6(), quoted)?),
            // One size is tried at a time: where the payload is not quoted it can only be that one.
            MtuMethod::Udp if quoted.len() < HEAD_LEN => self.latest(),
            MtuMethod::Udp => self.datagram(quoted),
        }
    }

    fn latest(&self) -> Option<Sent> {
        self.sent.back().copied()
    }

    fn echo_reply(&mut self, received_ns: u64, from: SocketAddr, echo: Echo<'_>) -> Option<MtuEvent> {
        let ours = self.options.method == MtuMethod::Icmp && from.ip() == self.destination.ip();
        let sent = self
            .echo(echo)
            .filter(|sent| ours && self.is_whole(echo.payload, *sent));
        self.answered(received_ns, sent)
    }

    fn answered(&mut self, received_ns: u64, sent: Option<Sent>) -> Option<MtuEvent> {
        let Some(sent) = sent else {
            self.strangers += 1;
            return None;
        };
        // Late or not: it has arrived.
        if self.search.good().is_some_and(|good| sent.size <= good) {
            return None;
        }
        self.search.passed(sent.size);
        self.trial = self.trial.filter(|trial| trial.size > sent.size);
        let rtt = Duration::from_nanos(received_ns.saturating_sub(sent.sent_ns));
        Some(MtuEvent::Passed { size: sent.size, rtt })
    }

    fn reported(
        &mut self,
        received_ns: u64,
        offender: Option<IpAddr>,
        cause: Cause,
        sent: Option<Sent>,
    ) -> Option<MtuEvent> {
        let Some(sent) = sent else {
            self.strangers += 1;
            return None;
        };
        match cause {
            Cause::TooBig { mtu } => {
                let limit = offender.map_or(Limit::Local, Limit::Router);
                match self.search.too_big(sent.size, mtu, limit) {
                    Report::News => {}
                    Report::Known => return None,
                    Report::Lie => {
                        self.strangers += 1;
                        return None;
                    }
                }
                self.trial = None;
                Some(MtuEvent::TooBig {
                    size: sent.size,
                    mtu,
                    offender,
                })
            }
            Cause::PortUnreachable
                if self.options.method == MtuMethod::Udp
                    && offender.is_none_or(|offender| offender == self.destination.ip()) =>
            {
                self.answered(received_ns, Some(sent))
            }
            // Once a packet has arrived, one that did not is loss.
            _ if self.search.good().is_some() => None,
            _ => {
                self.failed = Some((offender, cause));
                None
            }
        }
    }
}
