//! Datagram and packet sockets as a program sees them: bind, send, receive, the error queue.
//!
//! The rules are those of Linux's `udp_sendmsg`, `__skb_try_recv_datagram` and `ip_recv_error`.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use sockeye_event_loop::backend::Readiness;
use sockeye_socket::QueuedError;

use super::delivery::Flight;
use super::host::SockRef;
use super::knobs::Call;
use super::open::{Failed, overlap};
use super::{NONE, World, canonical, shaped};
use crate::errno;
use crate::mutant::Mutant;
use crate::trace::Step;

/// What a message socket carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MessageKind {
    Udp,
    /// Payloads of one IP protocol; for ICMP too where the host has no ping sockets.
    Ip(u8),
    /// Whole IPv4 packets.
    Header(u8),
    /// Frames of this ethertype, or of all (3): what arrives at the host.
    Link(u16),
    /// An unprivileged ICMP socket: its port is its identifier.
    Ping,
}

/// A datagram or packet socket.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) in_use: bool,
    pub(crate) generation: u32,
    pub(crate) host: u16,
    pub(crate) token: u64,
    pub(crate) queued: bool,
    pub(crate) kind: MessageKind,
    pub(crate) local: SocketAddr,
    pub(crate) v6_only: bool,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) reuse: (bool, bool),
    pub(crate) error: i32,
    pub(crate) error_queue: bool,
    pub(crate) errors: VecDeque<QueuedError>,
    /// Messages that have arrived, as indices of flights.
    pub(crate) rx: VecDeque<u32>,
    pub(crate) rx_bytes: usize,
    pub(crate) rx_limit: usize,
    pub(crate) drops: u32,
    pub(crate) tx_bytes: usize,
    pub(crate) tx_limit: usize,
    pub(crate) no_space: bool,
    pub(crate) broadcast: bool,
    /// What it sends is never cut.
    pub(crate) uncut: bool,
}

/// `net.core.rmem_default` and `wmem_default`.
const DEFAULT_BUFFER: usize = 212_992;
/// What the kernel counts beside the bytes of a message.
const OVERHEAD: usize = 704;
/// The errors that wait at most; the kernel counts them against the receive buffer.
const MOST_ERRORS: usize = 256;

impl Message {
    pub(crate) fn flags(&self) -> Readiness {
        let mut flags = Readiness::NONE;
        if !self.rx.is_empty() {
            flags = flags.with(Readiness::READABLE);
        }
        if self.tx_bytes < self.tx_limit {
            flags = flags.with(Readiness::WRITABLE);
        }
        if self.error != 0 || !self.errors.is_empty() {
            flags = flags.with(Readiness::ERROR);
        }
        flags
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.local.is_ipv6()
    }

    pub(crate) fn takes_ports(&self) -> bool {
        matches!(self.kind, MessageKind::Udp | MessageKind::Ping)
    }

    /// Room for one more message of that length.
    fn has_room(&self) -> bool {
        self.rx_bytes <= self.rx_limit
    }
}

/// What a new message socket shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) kind: MessageKind,
    pub(crate) at: SocketAddr,
    pub(crate) reuse: (bool, bool),
    pub(crate) v6_only: bool,
    pub(crate) error_queue: bool,
    pub(crate) broadcast: bool,
    /// What it sends is never cut.
    pub(crate) uncut: bool,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) recv_buffer: Option<usize>,
    pub(crate) connect: Option<SocketAddr>,
}

/// One message to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) to: Option<SocketAddr>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) class: u8,
}

impl World {
    /// socket(2), bind(2) and, if asked for, connect(2) of a datagram or packet socket.
    pub(crate) fn open_message(&mut self, host: u16, opening: Opening) -> Result<u32, Failed> {
        self.count_call(host, Call::Socket).map_err(Failed::Open)?;
        self.take_descriptor(host).map_err(Failed::Open)?;
        let bound = self.message_address(host, &opening).map_err(Failed::Bind);
        let ends = bound.and_then(|local| self.message_peer(host, local, &opening).map_err(Failed::Connect));
        let (local, peer) = match ends {
            Ok(ends) => ends,
            Err(error) => {
                self.give_descriptor(host);
                return Err(error);
            }
        };
        let sized = |asked: Option<usize>| asked.map_or(DEFAULT_BUFFER, |bytes| (2 * bytes).max(4608));
        let ignored = self.mutated(Mutant::BufferSizesIgnored);
        let socket = Message {
            in_use: true,
            generation: 0,
            host,
            token: u64::MAX,
            queued: false,
            kind: opening.kind,
            local,
            v6_only: opening.v6_only,
            peer,
            reuse: opening.reuse,
            error: 0,
            error_queue: opening.error_queue,
            errors: VecDeque::new(),
            rx: VecDeque::new(),
            rx_bytes: 0,
            rx_limit: if ignored {
                DEFAULT_BUFFER
            } else {
                sized(opening.recv_buffer)
            },
            drops: 0,
            tx_bytes: 0,
            tx_limit: sized(opening.send_buffer),
            no_space: false,
            broadcast: opening.broadcast,
            uncut: opening.uncut,
        };
        self.messages.push(socket);
        let index = u32::try_from(self.messages.len() - 1).unwrap_or(NONE);
        if self.messages[index as usize].takes_ports() {
            self.hosts[usize::from(host)]
                .ports
                .messages
                .entry(local.port())
                .or_default()
                .push(index);
        }
        Ok(index)
    }

    fn message_address(&mut self, host: u16, opening: &Opening) -> Result<SocketAddr, i32> {
        let at = opening.at;
        let multicast = canonical(at).ip().is_multicast();
        if !multicast && !self.is_local(host, canonical(at).ip()) {
            return Err(errno::EADDRNOTAVAIL);
        }
        let ping = opening.kind == MessageKind::Ping;
        if opening.kind != MessageKind::Udp && !ping {
            return Ok(SocketAddr::new(at.ip(), 0));
        }
        let clashes = |world: &Self, port: u16| {
            let others = world.hosts[usize::from(host)].ports.messages.get(&port);
            others.is_some_and(|others| {
                others.iter().any(|&index| {
                    let other = &world.messages[index as usize];
                    let shared = (opening.reuse.0 && other.reuse.0) || (opening.reuse.1 && other.reuse.1);
                    (other.in_use || world.mutated(Mutant::AddressNeverFree))
                        && (other.kind == MessageKind::Ping) == ping
                        && !shared
                        && overlap((at.ip(), opening.v6_only), (other.local.ip(), other.v6_only))
                })
            })
        };
        if at.port() != 0 {
            let clash = clashes(self, at.port()) && !self.mutated(Mutant::AddressAlwaysFree);
            return if clash { Err(errno::EADDRINUSE) } else { Ok(at) };
        }
        let slot = &mut self.hosts[usize::from(host)];
        let port = slot
            .ports
            .pick(|ports, port| ports.messages.get(&port).is_none_or(Vec::is_empty));
        Ok(SocketAddr::new(at.ip(), port.ok_or(errno::EADDRINUSE)?))
    }

    fn message_peer(
        &mut self,
        host: u16,
        local: SocketAddr,
        opening: &Opening,
    ) -> Result<(SocketAddr, Option<SocketAddr>), i32> {
        let Some(peer) = opening.connect.map(canonical) else {
            return Ok((local, None));
        };
        self.count_call(host, Call::Connect)?;
        self.route(host, peer.ip())?;
        let mut local = local;
        if local.ip().is_unspecified() {
            let own = self.source_for(host, peer.ip()).ok_or(errno::ENETUNREACH)?;
            local = shaped(SocketAddr::new(own, local.port()), local.is_ipv6());
        }
        Ok((local, Some(peer)))
    }

    #[inline]
    pub(crate) fn wake_message(&mut self, index: u32) {
        let slot = &mut self.messages[index as usize];
        if !slot.queued && slot.token != u64::MAX {
            slot.queued = true;
            let host = slot.host;
            self.hosts[usize::from(host)].ready.push(SockRef::Message(index));
            self.make_runnable(host);
        }
    }

    /// close(2).
    pub(crate) fn close_message(&mut self, index: u32) {
        let slot = &mut self.messages[index as usize];
        slot.in_use = false;
        slot.token = u64::MAX;
        slot.generation = slot.generation.wrapping_add(1);
        let (host, port, ports) = (slot.host, slot.local.port(), slot.takes_ports());
        let waiting = std::mem::take(&mut slot.rx);
        slot.errors.clear();
        for flight in waiting {
            self.free_flight(flight);
        }
        self.give_descriptor(host);
        if ports
            && !self.mutated(Mutant::AddressNeverFree)
            && let Some(others) = self.hosts[usize::from(host)].ports.messages.get_mut(&port)
        {
            others.retain(|&other| other != index);
        }
    }

    /// A message has arrived for the socket; it is dropped where the buffer is full.
    pub(crate) fn queue_message(&mut self, index: u32, flight: u32) {
        let bytes = self.flight(flight).payload.len() + OVERHEAD;
        let unbounded = self.mutated(Mutant::RecvBufferUnbounded);
        let reversed = self.mutated(Mutant::DatagramsReversed);
        let slot = &mut self.messages[index as usize];
        if !slot.has_room() && !unbounded {
            slot.drops += 1;
            self.free_flight(flight);
            return;
        }
        slot.rx_bytes += bytes;
        if reversed {
            slot.rx.push_front(flight);
        } else {
            slot.rx.push_back(flight);
        }
        if !self.mutated(Mutant::DataIsSilent) {
            self.wake_message(index);
        }
    }

    /// recvmsg(2): the pending error first, then the oldest message. The caller gives the flight back.
    pub(crate) fn receive(&mut self, index: u32) -> Result<u32, i32> {
        let slot = &self.messages[index as usize];
        let host = slot.host;
        self.count_call(host, Call::Receive)?;
        let slot = &mut self.messages[index as usize];
        if slot.error != 0 {
            let error = slot.error;
            slot.error = 0;
            return Err(error);
        }
        let Some(flight) = slot.rx.pop_front() else {
            return Err(if self.mutated(Mutant::EmptyReceiveIsFine) {
                0
            } else {
                errno::EAGAIN
            });
        };
        let bytes = self.flight(flight).payload.len();
        let slot = &mut self.messages[index as usize];
        slot.rx_bytes -= bytes + OVERHEAD;
        self.step(Step::Receive, index, bytes as u64);
        Ok(flight)
    }

    /// Takes the oldest error from the queue; the next one, if any, becomes the pending one.
    pub(crate) fn receive_error(&mut self, index: u32) -> Option<QueuedError> {
        if self.mutated(Mutant::ErrorQueueEmpty) {
            return None;
        }
        let slot = &mut self.messages[index as usize];
        let taken = slot.errors.pop_front()?;
        slot.error = slot.errors.front().map_or(0, |next| next.errno);
        Some(taken)
    }

    /// An error about something the socket sent.
    pub(crate) fn queue_error(&mut self, index: u32, error: QueuedError, hard: bool) {
        let for_all = self.mutated(Mutant::RefusalForAll);
        let slot = &mut self.messages[index as usize];
        if slot.error_queue {
            if slot.errors.len() < MOST_ERRORS {
                slot.errors.push_back(error);
            }
        } else if !for_all && (!hard || slot.peer.is_none()) {
            return;
        }
        slot.error = error.errno;
        self.wake_message(index);
    }

    /// An error of this host about a message that it did not send: it is told by the call, and no later call fails for it.
    pub(crate) fn queue_local_error(&mut self, index: u32, error: QueuedError) {
        let slot = &mut self.messages[index as usize];
        if slot.errors.len() < MOST_ERRORS && !self.mutated(Mutant::LocalErrorsUnqueued) {
            self.messages[index as usize].errors.push_back(error);
            self.wake_message(index);
        }
    }

    /// A message has left the host's queue for a slow link.
    pub(crate) fn departed(&mut self, index: u32, generation: u32, len: u32) {
        let slot = &mut self.messages[index as usize];
        if !slot.in_use || slot.generation != generation {
            return;
        }
        slot.tx_bytes = slot.tx_bytes.saturating_sub(len as usize);
        // sock_def_write_space: once half of the buffer is free.
        if slot.no_space && slot.tx_bytes * 2 <= slot.tx_limit {
            slot.no_space = false;
            self.wake_message(index);
        }
    }

    /// The host's kernel has an error to tell about a message it sent: an ICMP error has arrived.
    pub(crate) fn socket_of(&self, host: u16, flight: &Flight) -> Option<u32> {
        let about = flight.about.as_ref()?;
        let ports = &self.hosts[usize::from(host)].ports;
        if about.protocol == super::packet::UDP {
            let candidates = ports.messages.get(&about.local.port())?;
            return candidates.iter().copied().find(|&index| {
                let socket = &self.messages[index as usize];
                socket.in_use
                    && socket.kind == MessageKind::Udp
                    && socket.peer.is_none_or(|peer| peer == about.remote)
            });
        }
        None
    }
}
