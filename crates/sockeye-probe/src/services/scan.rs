//! Port scans on the event loop: TCP by connects, UDP by datagrams and the error queue.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramOptions, DatagramService, Datagrams, EventLoop,
    Fault, OpError, QueueEntry, SendFailure, Sent, ServiceHandle, StreamOptions, TimerId, errno,
};

use super::connects::{ConnectScan, since_origin};
use super::turns::Turns;
use super::{convert, unspecified};
use crate::input::Cause;
use crate::scan::{ProbeId, ScanEvent, ScanOutcome, ScanTransmit, Scanner, Verdict, payload};

/// Bytes of what a server says that are kept.
pub(super) const BANNER_MAX: usize = 256;
/// Datagrams that are sent in one turn.
const BURST: usize = 64;
/// The key of the one timer.
const TICK: u64 = 0;

/// What a scan tells of a port.
#[derive(Clone, Copy, Debug)]
pub struct ScanReport<'a> {
    /// The state and the reason.
    pub verdict: Verdict,
    /// What the server has said, at most 256 bytes: of a TCP port only if banners are asked for, of a UDP port its answer.
    pub said: &'a [u8],
}

/// Scans by TCP connects from this loop. With `banner`, an open connection waits so long for the first line that the
/// server says; it counts as in flight meanwhile. Descriptors are not counted here: choose
/// [`max_in_flight`](crate::ScanOptions::max_in_flight) below the limit of the process.
///
/// The first probes leave within this call.
pub fn scan_tcp<B, F>(
    events: &mut EventLoop<B>,
    scanner: Scanner,
    banner: Option<Duration>,
    on_report: F,
) -> ServiceHandle<ConnectScan<F>>
where
    B: Backend,
    F: FnMut(&mut Context<'_>, &mut Scanner, ScanReport<'_>) + 'static,
{
    let options = StreamOptions {
        // Nothing is ever sent.
        nodelay: false,
        ..StreamOptions::default()
    };
    let service = events.add_stream_service(ConnectScan::new(scanner, banner, on_report), options);
    events.with(service, |scan, context| scan.pump(context));
    service
}

/// Scans by UDP from this loop, over a socket for each family among the hosts that the scanner has by now; their errors
/// come by its error queue: no privilege. Where this host lacks one of two families, the addresses of that one are
/// unreachable.
///
/// # Errors
/// The socket that could not be opened and why: nothing is sent then.
pub fn scan_udp<B, F>(
    events: &mut EventLoop<B>,
    scanner: Scanner,
    on_report: F,
) -> Result<ServiceHandle<DatagramScan<F>>, OpError>
where
    B: Backend,
    F: FnMut(&mut Context<'_>, &mut Scanner, ScanReport<'_>) + 'static,
{
    let families = [false, true].map(|v6| scanner.has_family(v6));
    let service = events.add_datagram_service(DatagramScan {
        scanner,
        on_report,
        sockets: Vec::new(),
        held: None,
        timer: None,
        turns: Turns::NEW,
        fault: None,
    });
    let (mut is_open, mut lacking) = (false, None);
    for (v6, wanted) in [false, true].into_iter().zip(families) {
        if !wanted {
            continue;
        }
        let options = DatagramOptions {
            error_queue: true,
            gro: false,
            gso: false,
            v6_only: v6.then_some(true),
            // Errors come in bursts, and each takes a whole buffer of the kernel.
            recv_buffer: Some(4 << 20),
            ..DatagramOptions::default()
        };
        match events.bind(service, SocketAddr::new(unspecified(v6), 0), &options) {
            Ok(_) => is_open = true,
            Err(error) if is_lacking_a_family(&error) => lacking = Some(error),
            Err(error) => {
                // The socket of the other family may be open already.
                if let Some(scan) = events.service(service) {
                    scan.scanner.stop();
                }
                return Err(error);
            }
        }
    }
    match lacking {
        Some(error) if !is_open => Err(error),
        _ => Ok(service),
    }
}

/// Whether this host has no addresses of the socket's family.
fn is_lacking_a_family(error: &OpError) -> bool {
    matches!(
        error.raw_os_error(),
        Some(errno::EAFNOSUPPORT | errno::EADDRNOTAVAIL)
    )
}

/// A scanner by UDP on the event loop. Made by [`scan_udp`]; reached again by
/// [`EventLoop::service`](sockeye_event_loop::EventLoop::service).
pub struct DatagramScan<F> {
    scanner: Scanner,
    on_report: F,
    /// Each with whether it is of IPv6.
    sockets: Vec<(DatagramId, bool)>,
    /// A probe of the other family's socket, or one that found the queue full.
    held: Option<ScanTransmit>,
    timer: Option<(DatagramId, TimerId, Duration)>,
    turns: Turns,
    fault: Option<io::Error>,
}

impl<F> DatagramScan<F>
where
    F: FnMut(&mut Context<'_>, &mut Scanner, ScanReport<'_>) + 'static,
{
    /// The scanner: its counts, and its `stop`.
    pub const fn scanner(&mut self) -> &mut Scanner {
        &mut self.scanner
    }

    /// Why it has given up, once: a socket is lost. It has stopped the loop then.
    pub const fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    fn pump(&mut self, socket: &mut Datagrams<'_>) {
        self.turns.see(&mut socket.context());
        let now = since_origin(socket.exact_now());
        while let Some(event) = self.scanner.poll_event(now, self.turns.heard()) {
            if let ScanEvent::Verdict(verdict) = event {
                let report = ScanReport { verdict, said: &[] };
                (self.on_report)(&mut socket.context(), &mut self.scanner, report);
            }
        }
        while let Some(transmit) = self.held.take().or_else(|| self.due(socket)) {
            let v6 = transmit.destination.is_ipv6();
            let Some(&(sender, _)) = self.sockets.iter().find(|(_, of_v6)| *of_v6 == v6) else {
                let cause = Cause::NetworkUnreachable;
                self.told(
                    socket,
                    transmit.probe,
                    ScanOutcome::Unreachable {
                        offender: None,
                        cause,
                    },
                    &[],
                );
                continue;
            };
            let payload = payload(transmit.destination.port());
            if socket.other(sender).send_to(payload, transmit.destination) == Sent::Full {
                // `on_writable` follows.
                self.held = Some(transmit);
                return;
            }
        }
        self.arm(socket);
    }

    /// The next probe, unless this turn has sent enough.
    fn due(&mut self, socket: &mut Datagrams<'_>) -> Option<ScanTransmit> {
        if !self.turns.has_room(BURST) {
            return None;
        }
        let now = since_origin(socket.exact_now());
        let transmit = self.scanner.poll_transmit(now)?;
        self.turns.sent();
        Some(transmit)
    }

    fn arm(&mut self, socket: &mut Datagrams<'_>) {
        let Some(deadline) = self.scanner.poll_timeout() else {
            return;
        };
        let turn = self.turns.see(&mut socket.context());
        let deadline = self.turns.look(deadline, BURST);
        if let Some((owner, timer, at)) = self.timer {
            if at <= deadline {
                return;
            }
            socket.other(owner).cancel_timer(timer);
        }
        let timer = socket.set_timer(deadline.saturating_sub(turn), TICK);
        self.timer = Some((socket.id(), timer, deadline));
    }

    fn told(&mut self, socket: &mut Datagrams<'_>, probe: ProbeId, outcome: ScanOutcome, said: &[u8]) {
        let now = since_origin(socket.exact_now());
        if let Some(verdict) = self.scanner.handle_outcome(now, probe, outcome) {
            let report = ScanReport { verdict, said };
            (self.on_report)(&mut socket.context(), &mut self.scanner, report);
        }
    }
}

/// What an ICMP error says of a port: the host's own word, or that of somebody on the way.
fn of_error(destination: SocketAddr, offender: Option<std::net::IpAddr>, cause: Cause) -> ScanOutcome {
    match cause {
        // A filter on the way may say so too (`reject`), in its own name.
        Cause::PortUnreachable if offender.is_none_or(|from| from == destination.ip()) => {
            ScanOutcome::Refused
        }
        _ => ScanOutcome::Unreachable { offender, cause },
    }
}

impl<F> DatagramService for DatagramScan<F>
where
    F: FnMut(&mut Context<'_>, &mut Scanner, ScanReport<'_>) + 'static,
{
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let v6 = socket.local_addr().is_ok_and(|local| local.is_ipv6());
        self.sockets.push((socket.id(), v6));
        if self.timer.is_none() {
            // The first probes leave with the first turn, when all sockets are open.
            self.arm(socket);
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if let Some(probe) = self.scanner.find(datagram.source) {
            let said = &datagram.data[..datagram.data.len().min(BANNER_MAX)];
            self.told(socket, probe, ScanOutcome::Answered, said);
        }
    }

    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        self.pump(socket);
    }

    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        self.pump(socket);
    }

    fn on_error(&mut self, socket: &mut Datagrams<'_>, entry: QueueEntry) {
        if let Some((error, cause)) = convert::of_entry(&entry)
            && let Some(destination) = error.destination
            && let Some(probe) = self.scanner.find(destination)
        {
            let outcome = of_error(destination, error.offender, cause);
            self.told(socket, probe, outcome, &[]);
        }
        self.pump(socket);
    }

    fn on_send_error(&mut self, socket: &mut Datagrams<'_>, failure: SendFailure) {
        if let Some(probe) = failure.destination.and_then(|to| self.scanner.find(to)) {
            let outcome = match failure.error.fault() {
                // The word of another port, which is in the error queue: this one was not asked (udp(7)).
                Fault::Refused => ScanOutcome::Again,
                Fault::Congested | Fault::WouldBlock => ScanOutcome::NoRoom,
                _ => ScanOutcome::Unreachable {
                    offender: None,
                    cause: convert::of_failure(&failure),
                },
            };
            self.told(socket, probe, outcome, &[]);
        }
        self.pump(socket);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _key: u64) {
        self.timer = None;
        self.pump(socket);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.sockets.retain(|(socket, _)| *socket != id);
        if let CloseReason::Error(error) = reason
            && self.fault.is_none()
        {
            self.fault = Some(error);
            context.stop();
        }
    }
}

impl<F> fmt::Debug for DatagramScan<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramScan")
            .field("scanner", &self.scanner)
            .finish_non_exhaustive()
    }
}
