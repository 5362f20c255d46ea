//! The service that drives an engine.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramService, Datagrams, Outgoing, Packet, PacketService,
    Packets, QueueEntry, SendFailure, Sent, Time, TimerId,
};

use super::convert;
use super::engine::{Engine, Transmit};
use super::wall::WallClock;
use crate::input::{Input, Message};

/// Receives that fail in a row, none of them about a probe, after which a socket is given up: between them the loop
/// pauses, from 10 ms to twice as long each time.
const MAX_FAULTS: u32 = 6;
/// The key of the one timer.
const TICK: u64 = 0;
/// Raw sockets show their protocol number where ping sockets show their identifier, which is a port above the
/// reserved ones.
const MAX_PROTOCOL: u16 = 255;

/// What a socket of the service is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Sends and receives ICMP.
    Icmp,
    /// Sends and receives UDP.
    Udp,
    /// Sends and receives TCP segments.
    Tcp,
    /// Receives the ICMP errors about what another socket sent.
    Errors,
}

/// How the probes of a [`Prober`] leave, and with what privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Over an unprivileged ping socket.
    PingSocket,
    /// Over UDP with the error queue: no privilege.
    Udp,
    /// Over raw sockets: CAP_NET_RAW.
    Raw,
}

impl Mode {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PingSocket => "ping-socket",
            Self::Udp => "udp",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PingSocket => "unprivileged ping socket",
            Self::Udp => "unprivileged UDP socket",
            Self::Raw => "raw socket",
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Member {
    id: DatagramId,
    role: Role,
    v6: bool,
}

/// An engine on the event loop. Made by [`ping`](super::ping), [`trace`](super::trace) and
/// [`path_mtu`](super::path_mtu); reached again by [`EventLoop::service`](sockeye_event_loop::EventLoop::service).
pub struct Prober<E: Engine, F> {
    engine: E,
    on_event: F,
    members: Vec<Member>,
    /// The role of the socket that opens next.
    next_role: Role,
    mode: Mode,
    message: Vec<u8>,
    wall: WallClock,
    /// A probe that found the queue full; its message is in the buffer.
    held: Option<Transmit>,
    /// The timer that is set, where, and for when.
    timer: Option<(DatagramId, TimerId, Duration)>,
    /// Receives that have failed in a row.
    faults: u32,
    /// Why it has given up.
    fault: Option<io::Error>,
}

impl<E, F> Prober<E, F>
where
    E: Engine,
    F: FnMut(&mut Context<'_>, &mut E, E::Event) + 'static,
{
    pub(super) const fn new(engine: E, on_event: F) -> Self {
        Self {
            engine,
            on_event,
            members: Vec::new(),
            next_role: Role::Icmp,
            mode: Mode::Raw,
            message: Vec::new(),
            wall: WallClock::NEW,
            held: None,
            timer: None,
            faults: 0,
            fault: None,
        }
    }

    pub(super) const fn expect(&mut self, role: Role) {
        self.next_role = role;
    }

    /// The engine: its statistics, and its `stop`.
    pub const fn engine(&mut self) -> &mut E {
        &mut self.engine
    }

    /// How the probes leave, once the sockets are open.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Why it has given up, once: a receive failed again and again, and not because of a probe, or a socket is lost. It has
    /// stopped the loop then, as nothing would ever come of what is in flight.
    pub const fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// A receive failed. What is about a probe is in the error queue too, and a passing fault passes; anything else would
    /// be told for ever, and no answer heard.
    fn not_received(&mut self, socket: &mut Datagrams<'_>, error: io::Error) {
        if convert::is_about_a_probe(&error) {
            return;
        }
        self.faults += 1;
        if self.faults >= MAX_FAULTS && self.fault.is_none() {
            self.fault = Some(error);
            socket.context().stop();
        }
    }

    /// A socket is gone. If nobody closed it, no answer is heard there any more.
    fn closed(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.members.retain(|member| member.id != id);
        if let CloseReason::Error(error) = reason
            && self.fault.is_none()
        {
            self.fault = Some(error);
            context.stop();
        }
    }

    fn opened(&mut self, socket: &mut Datagrams<'_>) {
        let Ok(local) = socket.local_addr() else { return };
        let role = self.next_role;
        self.members.push(Member {
            id: socket.id(),
            role,
            v6: local.is_ipv6(),
        });
        match role {
            Role::Udp => self.mode = Mode::Udp,
            Role::Icmp if local.port() > MAX_PROTOCOL => {
                self.mode = Mode::PingSocket;
                self.engine.forget_identifier();
            }
            Role::Icmp | Role::Tcp | Role::Errors => {}
        }
        // The first probes leave with the first turn, when all sockets are open.
        self.arm(socket, socket.id(), Duration::ZERO);
    }

    /// Everything that is due: events out, probes out, and the timer for the next time.
    fn pump(&mut self, socket: &mut Datagrams<'_>) {
        let now = since_origin(socket.exact_now());
        while let Some(event) = self.engine.poll_event(now) {
            (self.on_event)(&mut socket.context(), &mut self.engine, event);
        }
        for _ in 0..E::BURST {
            // Each probe's time is its own: what went before it took its time too.
            let now = since_origin(socket.exact_now());
            let due = self
                .held
                .take()
                .or_else(|| self.engine.poll_transmit(now, &mut self.message));
            let Some(transmit) = due else { break };
            let Some(sender) = self.sender(transmit.destination.is_ipv6()) else {
                continue;
            };
            if sender != socket.id() {
                // In a callback of its own socket, whose failures are told and whose times are right.
                self.held = Some(transmit);
                self.arm(socket, sender, Duration::ZERO);
                return;
            }
            if self.send(socket, transmit) == Sent::Full {
                // `on_writable` follows.
                self.held = Some(transmit);
                return;
            }
        }
        if let Some(deadline) = self.engine.poll_timeout() {
            self.arm(socket, socket.id(), deadline);
        }
    }

    /// The socket that sends to a family.
    fn sender(&self, v6: bool) -> Option<DatagramId> {
        let sends = |member: &&Member| member.role != Role::Errors && member.v6 == v6;
        self.members.iter().find(sends).map(|member| member.id)
    }

    fn send(&self, socket: &mut Datagrams<'_>, transmit: Transmit) -> Sent {
        let mut message = Outgoing::to(transmit.destination, &self.message);
        if let Some(hops) = transmit.hop_limit {
            message = message.hop_limit(hops);
        }
        socket.send(&message)
    }

    /// Sees to it that the timer fires no later than `deadline`, for that socket where it is set anew.
    fn arm(&mut self, socket: &mut Datagrams<'_>, owner: DatagramId, deadline: Duration) {
        if let Some((previous, timer, at)) = self.timer {
            if at <= deadline && self.held.is_none() {
                return;
            }
            socket.other(previous).cancel_timer(timer);
        }
        // What is due at once is due with the next turn: first comes what was received, whose time is running.
        let deadline = deadline.max(since_origin(socket.exact_now()));
        let turn = since_origin(socket.now());
        let timer = socket.other(owner).set_timer(deadline.saturating_sub(turn), TICK);
        self.timer = Some((owner, timer, deadline));
    }

    fn received(&mut self, socket: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        self.faults = 0;
        let from = datagram.source;
        let id = socket.id();
        let Some(member) = self.members.iter().find(|member| member.id == id) else {
            return;
        };
        let message = match member.role {
            Role::Icmp | Role::Errors => Message::Icmp {
                from,
                message: datagram.data,
            },
            Role::Udp => Message::Udp {
                from,
                payload: datagram.data,
            },
            Role::Tcp => Message::Tcp {
                from,
                segment: datagram.data,
            },
        };
        let input = Input {
            received_at: None,
            hop_limit: datagram.meta.hop_limit,
            message,
        };
        self.take(socket, input, datagram.meta.timestamp);
    }

    fn queued(&mut self, socket: &mut Datagrams<'_>, entry: &QueueEntry) {
        let Some((error, cause)) = convert::of_entry(entry) else {
            return;
        };
        let Some(destination) = error.destination else {
            return;
        };
        let message = Message::Error {
            offender: error.offender,
            destination,
            cause,
            quoted: &error.quoted,
        };
        self.take(socket, Input::new(message), error.timestamp);
        self.pump(socket);
    }

    fn take(&mut self, socket: &mut Datagrams<'_>, mut input: Input<'_>, stamp: Option<SystemTime>) {
        let now = since_origin(socket.exact_now());
        input.received_at = stamp.and_then(|stamp| self.wall.received_at(stamp, now));
        if let Some(event) = self.engine.handle_input(now, input) {
            (self.on_event)(&mut socket.context(), &mut self.engine, event);
        }
    }

    fn not_sent(&mut self, socket: &mut Datagrams<'_>, failure: &SendFailure) {
        let Some(destination) = failure.destination else {
            return;
        };
        let cause = convert::of_failure(failure);
        let now = since_origin(socket.exact_now());
        if let Some(event) = self
            .engine
            .handle_send_failure(now, destination, failure.len, cause)
        {
            (self.on_event)(&mut socket.context(), &mut self.engine, event);
        }
        self.pump(socket);
    }

    fn ticked(&mut self, socket: &mut Datagrams<'_>) {
        self.timer = None;
        self.pump(socket);
    }
}

/// The loop's time as the engines have it.
const fn since_origin(time: Time) -> Duration {
    Duration::from_nanos(time.as_nanos())
}

impl<E, F> PacketService for Prober<E, F>
where
    E: Engine,
    F: FnMut(&mut Context<'_>, &mut E, E::Event) + 'static,
{
    fn on_open(&mut self, socket: &mut Packets<'_>) {
        self.opened(socket);
    }

    fn on_packet(&mut self, socket: &mut Packets<'_>, packet: Packet<'_>) {
        self.received(socket, &packet);
    }

    fn on_batch_complete(&mut self, socket: &mut Packets<'_>) {
        self.pump(socket);
    }

    fn on_writable(&mut self, socket: &mut Packets<'_>) {
        self.pump(socket);
    }

    fn on_error(&mut self, socket: &mut Packets<'_>, entry: QueueEntry) {
        self.queued(socket, &entry);
    }

    fn on_send_error(&mut self, socket: &mut Packets<'_>, failure: SendFailure) {
        self.not_sent(socket, &failure);
    }

    fn on_recv_error(&mut self, socket: &mut Packets<'_>, error: io::Error) {
        self.not_received(socket, error);
    }

    fn on_timer(&mut self, socket: &mut Packets<'_>, _key: u64) {
        self.ticked(socket);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.closed(context, id, reason);
    }
}

impl<E, F> DatagramService for Prober<E, F>
where
    E: Engine,
    F: FnMut(&mut Context<'_>, &mut E, E::Event) + 'static,
{
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.opened(socket);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.received(socket, &datagram);
    }

    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        self.pump(socket);
    }

    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        self.pump(socket);
    }

    fn on_error(&mut self, socket: &mut Datagrams<'_>, entry: QueueEntry) {
        self.queued(socket, &entry);
    }

    fn on_send_error(&mut self, socket: &mut Datagrams<'_>, failure: SendFailure) {
        self.not_sent(socket, &failure);
    }

    fn on_recv_error(&mut self, socket: &mut Datagrams<'_>, error: io::Error) {
        self.not_received(socket, error);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _key: u64) {
        self.ticked(socket);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.closed(context, id, reason);
    }
}

impl<E: Engine + fmt::Debug, F> fmt::Debug for Prober<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("engine", &self.engine)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
