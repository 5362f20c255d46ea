//! What the engines have in common, so that one service drives them all.

use std::net::SocketAddr;
use std::time::Duration;

use crate::input::{Cause, Input};
use crate::mtu::{MtuEvent, PmtuProbe};
use crate::ping::{PingEvent, Pinger};
use crate::trace::{TraceEvent, Tracer, Watch, WatchEvent};

/// A probe to send; its message is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// The TTL or hop limit to send it with; `None` is the system's.
    pub hop_limit: Option<u8>,
}

/// An engine without I/O that a [`Prober`](super::Prober) drives.
pub trait Engine: 'static {
    /// What it tells.
    type Event;

    /// Probes that leave in a row before what came in is looked at. More cost less; fewer measure better, because an
    /// answer that waits behind the sending of others looks late.
    const BURST: usize = 1;

    /// The next probe that is due, written to `message`.
    fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<Transmit>;

    /// Takes what a socket received.
    fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Option<Self::Event>;

    /// Takes the news that the last probe of `len` bytes to `destination` could not be sent.
    fn handle_send_failure(
        &mut self,
        now: Duration,
        destination: SocketAddr,
        len: usize,
        cause: Cause,
    ) -> Option<Self::Event>;

    /// What happened by the passing of time.
    fn poll_event(&mut self, now: Duration) -> Option<Self::Event>;

    /// When to come back.
    fn poll_timeout(&mut self) -> Option<Duration>;

    /// The socket writes identifiers of its own and sorts the replies by them.
    fn forget_identifier(&mut self);
}

/// The methods that each engine has under the same name.
macro_rules! delegate {
    () => {
        fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Option<Self::Event> {
            Self::handle_input(self, now, input)
        }

        fn poll_event(&mut self, now: Duration) -> Option<Self::Event> {
            Self::poll_event(self, now)
        }

        fn poll_timeout(&mut self) -> Option<Duration> {
            Self::poll_timeout(self)
        }

        fn forget_identifier(&mut self) {
            self.set_identifier(None);
        }
    };
}

impl Engine for Pinger {
    type Event = PingEvent;

    const BURST: usize = 4;

    fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<Transmit> {
        let request = Self::poll_transmit(self, now, message)?;
        Some(Transmit {
            destination: request.destination,
            hop_limit: request.hop_limit,
        })
    }

    fn handle_send_failure(
        &mut self,
        now: Duration,
        destination: SocketAddr,
        _len: usize,
        cause: Cause,
    ) -> Option<PingEvent> {
        let (target, sequence) = self.newest(destination)?;
        self.handle_send_error(now, target, sequence, cause)
    }

    delegate!();
}

impl Engine for Tracer {
    type Event = TraceEvent;

    fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<Transmit> {
        let probe = Self::poll_transmit(self, now, message)?;
        Some(Transmit {
            destination: probe.destination,
            hop_limit: Some(probe.hop_limit),
        })
    }

    fn handle_send_failure(
        &mut self,
        now: Duration,
        destination: SocketAddr,
        _len: usize,
        cause: Cause,
    ) -> Option<TraceEvent> {
        let probe = self.newest(destination)?;
        self.handle_send_error(now, probe, cause)
    }

    delegate!();
}

impl Engine for Watch {
    type Event = WatchEvent;

    fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<Transmit> {
        let probe = Self::poll_transmit(self, now, message)?;
        Some(Transmit {
            destination: probe.destination,
            hop_limit: Some(probe.hop_limit),
        })
    }

    fn handle_send_failure(
        &mut self,
        now: Duration,
        destination: SocketAddr,
        _len: usize,
        cause: Cause,
    ) -> Option<WatchEvent> {
        let probe = self.newest(destination)?;
        self.handle_send_error(now, probe, cause)
    }

    delegate!();
}

impl Engine for PmtuProbe {
    type Event = MtuEvent;

    fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<Transmit> {
        let probe = Self::poll_transmit(self, now, message)?;
        Some(Transmit {
            destination: probe.destination,
            hop_limit: probe.hop_limit,
        })
    }

    fn handle_send_failure(
        &mut self,
        now: Duration,
        _destination: SocketAddr,
        len: usize,
        cause: Cause,
    ) -> Option<MtuEvent> {
        let probe = self.newest(len)?;
        self.handle_send_error(now, probe, cause)
    }

    delegate!();
}
