//! The service that scans by TCP connects.

use std::fmt;
use std::io;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectFault, ConnectId, ConnectRequest, Context, Stream, StreamId,
    StreamService, Time, TimerId, errno,
};

use super::scan::{BANNER_MAX, ScanReport};
use super::turns::Turns;
use crate::input::Cause;
use crate::scan::{ProbeId, ScanEvent, ScanOutcome, Scanner};

/// Connects that are started in one turn.
const BURST: usize = 128;
/// The key of the one timer of the service.
const TICK: u64 = 0;

/// A scanner on the event loop. Made by [`scan_tcp`](super::scan_tcp); reached again by
/// [`EventLoop::service`](sockeye_event_loop::EventLoop::service).
///
/// An open connection is reset (RST): so neither side keeps a connection in TIME-WAIT, and a scan of many open ports does
/// not use up the ports of this host.
pub struct ConnectScan<F> {
    scanner: Scanner,
    on_report: F,
    /// How long to wait for what a server says.
    banner: Option<Duration>,
    /// By the slot of the probe.
    connects: Vec<Option<ConnectId>>,
    /// The timer that is set, and for when.
    timer: Option<(TimerId, Duration)>,
    turns: Turns,
}

/// An open connection that waits for what the server says.
#[derive(Debug)]
pub struct Waiting {
    probe: ProbeId,
    said: Vec<u8>,
}

impl<F> ConnectScan<F>
where
    F: FnMut(&mut Context<'_>, &mut Scanner, ScanReport<'_>) + 'static,
{
    pub(super) const fn new(scanner: Scanner, banner: Option<Duration>, on_report: F) -> Self {
        Self {
            scanner,
            on_report,
            banner,
            connects: Vec::new(),
            timer: None,
            turns: Turns::NEW,
        }
    }

    /// The scanner: its counts, and its `stop`.
    pub const fn scanner(&mut self) -> &mut Scanner {
        &mut self.scanner
    }

    /// Starts what is due and sets the timer for the next time.
    pub(super) fn pump(&mut self, context: &mut Context<'_>) {
        self.turns.see(context);
        let now = since_origin(context.exact_now());
        while let Some(event) = self.scanner.poll_event(now, self.turns.heard()) {
            match event {
                ScanEvent::Expired(probe) => self.cancel(context, probe),
                ScanEvent::Verdict(verdict) => {
                    self.cancel(context, verdict.probe);
                    (self.on_report)(context, &mut self.scanner, ScanReport { verdict, said: &[] });
                }
            }
        }
        while self.turns.has_room(BURST) {
            let now = since_origin(context.exact_now());
            let Some(transmit) = self.scanner.poll_transmit(now) else {
                break;
            };
            self.turns.sent();
            let request = ConnectRequest::new(transmit.destination).tag(transmit.probe.to_bits());
            let connect = context.connect(request);
            let slot = transmit.probe.slot();
            if self.connects.len() <= slot {
                self.connects.resize(slot + 1, None);
            }
            if let Some(place) = self.connects.get_mut(slot) {
                *place = Some(connect);
            }
        }
        self.arm(context);
    }

    fn cancel(&mut self, context: &mut Context<'_>, probe: ProbeId) {
        if let Some(connect) = self.connects.get_mut(probe.slot()).and_then(Option::take) {
            // Its failure is told, and is a stale probe's.
            context.cancel_connect(connect);
        }
    }

    fn arm(&mut self, context: &mut Context<'_>) {
        let Some(deadline) = self.scanner.poll_timeout() else {
            return;
        };
        let turn = self.turns.see(context);
        let deadline = self.turns.look(deadline, BURST);
        if let Some((timer, at)) = self.timer {
            if at <= deadline {
                return;
            }
            context.cancel_timer(timer);
        }
        let timer = context.set_timer(deadline.saturating_sub(turn), TICK);
        self.timer = Some((timer, deadline));
    }

    fn told(&mut self, context: &mut Context<'_>, probe: ProbeId, outcome: ScanOutcome) {
        let now = since_origin(context.exact_now());
        if let Some(verdict) = self.scanner.handle_outcome(now, probe, outcome) {
            (self.on_report)(context, &mut self.scanner, ScanReport { verdict, said: &[] });
        }
        self.pump(context);
    }
}

impl<F> StreamService for ConnectScan<F>
where
    F: FnMut(&mut Context<'_>, &mut Scanner, ScanReport<'_>) + 'static,
{
    type Conn = Waiting;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Waiting {
        let probe = ProbeId::from_bits(stream.tag());
        let waiting = Waiting {
            probe,
            said: Vec::new(),
        };
        match self.banner {
            Some(wait)
                if self
                    .scanner
                    .hold(since_origin(stream.context().exact_now()), probe) =>
            {
                stream.set_timer(wait, TICK);
                // Its host may have room for one more now.
                self.pump(&mut stream.context());
            }
            _ => {
                stream.abort();
                self.told(&mut stream.context(), probe, ScanOutcome::Answered);
            }
        }
        waiting
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, waiting: &mut Waiting, data: &mut [u8]) -> usize {
        let room = BANNER_MAX - waiting.said.len();
        waiting.said.extend_from_slice(&data[..room.min(data.len())]);
        // A line is enough: most greetings are one.
        if waiting.said.len() >= BANNER_MAX || waiting.said.contains(&b'\n') {
            stream.abort();
        }
        data.len()
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, _waiting: &mut Waiting) {
        stream.abort();
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, _waiting: &mut Waiting, _key: u64) {
        stream.abort();
    }

    fn on_close(&mut self, context: &mut Context<'_>, _id: StreamId, waiting: Waiting, _reason: CloseReason) {
        if let Some(verdict) = self.scanner.release(waiting.probe) {
            let said = &waiting.said;
            (self.on_report)(context, &mut self.scanner, ScanReport { verdict, said });
            self.pump(context);
        }
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        if matches!(&failure.cause, ConnectFault::Failed(error) if error.kind() == io::ErrorKind::TimedOut) {
            // The kernel heard nothing: how long that takes to be silence is the scanner's to say, at its own deadline.
            return self.pump(context);
        }
        self.told(
            context,
            ProbeId::from_bits(failure.tag),
            of_failure(failure.cause),
        );
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, _key: u64) {
        self.timer = None;
        self.pump(context);
    }
}

/// What an error of `connect(2)` says of the port.
fn of_failure(fault: ConnectFault) -> ScanOutcome {
    let unreachable = |cause| ScanOutcome::Unreachable {
        offender: None,
        cause,
    };
    let error = match fault {
        ConnectFault::Failed(error) => error,
        ConnectFault::TooManyConnections => return ScanOutcome::NoRoom,
        _ => return unreachable(Cause::NotSent),
    };
    match error.raw_os_error() {
        // RST after the handshake, before this host has looked, is one more way to refuse.
        Some(errno::ECONNREFUSED | errno::ECONNRESET) => ScanOutcome::Refused,
        Some(
            errno::EMFILE
            | errno::ENFILE
            | errno::ENOBUFS
            | errno::ENOMEM
            | errno::EADDRNOTAVAIL
            | errno::EAGAIN,
        ) => ScanOutcome::NoRoom,
        Some(errno::EACCES) => unreachable(Cause::ProhibitRoute),
        Some(errno::EINVAL) => unreachable(Cause::BlackholeRoute),
        Some(errno::EPERM) => unreachable(Cause::Prohibited),
        _ => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ScanOutcome::Refused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                unreachable(Cause::NetworkUnreachable)
            }
            io::ErrorKind::HostUnreachable => unreachable(Cause::HostUnreachable),
            io::ErrorKind::OutOfMemory => ScanOutcome::NoRoom,
            _ => unreachable(Cause::NotSent),
        },
    }
}

pub(super) const fn since_origin(time: Time) -> Duration {
    Duration::from_nanos(time.as_nanos())
}

impl<F> fmt::Debug for ConnectScan<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectScan")
            .field("scanner", &self.scanner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connect_are_outcomes() {
        let outcome = |errno| of_failure(ConnectFault::Failed(io::Error::from_raw_os_error(errno)));
        let unreachable = |cause| ScanOutcome::Unreachable {
            offender: None,
            cause,
        };
        assert_eq!(outcome(errno::ECONNREFUSED), ScanOutcome::Refused);
        assert_eq!(outcome(errno::EMFILE), ScanOutcome::NoRoom);
        assert_eq!(outcome(errno::EADDRNOTAVAIL), ScanOutcome::NoRoom);
        assert_eq!(outcome(errno::EHOSTUNREACH), unreachable(Cause::HostUnreachable));
        assert_eq!(
            outcome(errno::ENETUNREACH),
            unreachable(Cause::NetworkUnreachable)
        );
        assert_eq!(outcome(errno::EPERM), unreachable(Cause::Prohibited));
    }
}
