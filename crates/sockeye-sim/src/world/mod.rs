//! The simulated world: every kernel, every link, and what will happen next.
//!
//! One value holds it all, borrowed once for each simulated system call. What is hot lives in flat tables
//! and is named by index.

mod delivery;
mod errors;
mod frame;
mod handshake;
mod host;
mod knobs;
mod message;
mod open;
mod packet;
mod poll;
mod ports;
mod route;
mod segment;
mod stream;
mod unix;
mod unix_datagram;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use errors::Header;
pub(crate) use host::{Host, HostState, SockRef};
pub use knobs::Call;
pub(crate) use message::{Message, MessageKind, Opening, Sending};
pub(crate) use open::Failed;
pub(crate) use packet::unspecified;
pub(crate) use ports::EPHEMERAL;
pub use route::NoRoute;
pub(crate) use route::Node;
pub(crate) use stream::{Listener, Stream};

use crate::capture::Capture;
use crate::link::Link;
use crate::mutant::Mutant;
use crate::queue::Queue;
use crate::trace::{Step, Trace};

/// The address of a socket that has none.
pub(crate) const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// No such index.
pub(crate) const NONE: u32 = u32::MAX;

/// Something that will happen. Sockets are named by index and generation: they may be gone by then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A connect request reaches its listener.
    Syn { stream: u32, generation: u32 },
    /// The answer reaches the one who connects.
    SynAck { stream: u32, generation: u32 },
    /// The third step reaches the listener.
    Ack { stream: u32, generation: u32 },
    /// A connect, or its answer, is tried again.
    SynTimer { stream: u32, generation: u32 },
    /// `len` bytes from the front of the stream's send buffer reach its peer.
    Segment { stream: u32, generation: u32, len: u32 },
    /// A lost segment is sent again.
    Retransmit { stream: u32, generation: u32 },
    /// The stream has waited for the peer's window since then for as long as its user lets it.
    ZeroWindow {
        stream: u32,
        generation: u32,
        since: u64,
    },
    /// News of freed room reaches the stream: the peer's window, or its acknowledgement.
    Window { stream: u32, generation: u32 },
    /// The stream's end reaches its peer.
    Fin { stream: u32, generation: u32 },
    /// The stream's reset reaches its peer; the stream's place is free then.
    Reset { stream: u32, generation: u32 },
    /// A reset from nobody, or an ICMP error, reaches the stream itself.
    Refused {
        stream: u32,
        generation: u32,
        errno: i32,
    },
    /// An orphan has waited long enough.
    Orphan { stream: u32, generation: u32 },
    /// A keepalive probe is due.
    Keepalive { stream: u32, generation: u32 },
    /// A datagram or packet reaches a host.
    Flight { flight: u32 },
    /// A datagram has left for a link that takes its time.
    Departed { socket: u32, generation: u32, len: u32 },
    /// A host's alarm.
    Alarm { host: u16, generation: u32 },
    /// A fault of the plan begins or ends.
    Fault { index: u32, ends: bool },
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    /// Nanoseconds since the simulation began.
    pub(crate) now: u64,
    pub(crate) seed: u64,
    /// Arrival times are rounded up to this, so that what is close together comes together.
    pub(crate) tick_ns: u64,
    pub(crate) queue: Queue<Event>,
    pub(crate) trace: Trace,
    pub(crate) hosts: Vec<Host>,
    /// A host was woken from outside since the last step, or has a loop now that may have been before.
    pub(crate) any_woken: Arc<AtomicBool>,
    pub(crate) links: Vec<Link>,
    pub(crate) routes: route::Routes,
    pub(crate) streams: Vec<Stream>,
    free_streams: Vec<u32>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) messages: Vec<Message>,
    pub(crate) unix_datagrams: Vec<unix_datagram::UnixDatagram>,
    flights: Vec<delivery::Flight>,
    free_flights: Vec<u32>,
    /// Hosts that have something to do.
    pub(crate) runnable: Vec<u16>,
    /// Faults of the plan that are due, for [`Sim`](crate::Sim) to act on.
    pub(crate) due_faults: Vec<(u32, bool)>,
    pub(crate) capture: Option<Capture>,
    mutant: Option<Mutant>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            seed,
            tick_ns: 1000,
            queue: Queue::new(),
            trace: Trace::new(seed),
            hosts: Vec::new(),
            any_woken: Arc::default(),
            links: Vec::new(),
            routes: route::Routes::new(),
            streams: Vec::new(),
            free_streams: Vec::new(),
            listeners: Vec::new(),
            messages: Vec::new(),
            unix_datagrams: Vec::new(),
            flights: Vec::new(),
            free_flights: Vec::new(),
            runnable: Vec::new(),
            due_faults: Vec::new(),
            capture: None,
            mutant: None,
        }
    }

    /// Whether that mutant is planted.
    #[inline]
    pub(crate) fn mutated(&self, mutant: Mutant) -> bool {
        cfg!(feature = "mutants") && self.mutant == Some(mutant)
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn plant(&mut self, mutant: Option<Mutant>) {
        self.mutant = mutant;
    }

    /// Rounds a future time up to the tick.
    #[inline]
    pub(crate) fn tick(&self, at: u64) -> u64 {
        if self.tick_ns <= 1 {
            at
        } else {
            at.div_ceil(self.tick_ns) * self.tick_ns
        }
    }

    pub(crate) fn step(&mut self, step: Step, who: u32, amount: u64) {
        self.trace.step(self.now, step, who, amount);
    }

    /// Puts a host on the list of those that have something to do.
    #[inline]
    pub(crate) fn make_runnable(&mut self, host: u16) {
        let slot = &mut self.hosts[usize::from(host)];
        if !slot.runnable && slot.has_loop {
            slot.runnable = true;
            self.runnable.push(host);
        }
    }

    /// Lets everything happen that is due at the next moment, if that is not after `until`. Says whether
    /// anything was.
    pub(crate) fn advance(&mut self, until: u64) -> bool {
        let Some(at) = self.queue.next_at().filter(|&at| at <= until) else {
            return false;
        };
        self.now = self.now.max(at);
        while let Some((_, event)) = self.queue.pop_until(self.now) {
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Segment {
                stream,
                generation,
                len,
            } => {
                if self.is_stream(stream, generation) {
                    self.segment_arrives(stream, len as usize);
                }
            }
            Event::Alarm { host, generation } => self.alarm(host, generation),
            Event::Flight { flight } => self.flight_arrives(flight),
            Event::Departed {
                socket,
                generation,
                len,
            } => self.departed(socket, generation, len),
            Event::Fault { index, ends } => self.due_faults.push((index, ends)),
            Event::Syn { stream, generation }
            | Event::SynAck { stream, generation }
            | Event::Ack { stream, generation }
            | Event::SynTimer { stream, generation }
            | Event::Retransmit { stream, generation }
            | Event::ZeroWindow {
                stream, generation, ..
            }
            | Event::Window { stream, generation }
            | Event::Fin { stream, generation }
            | Event::Reset { stream, generation }
            | Event::Refused {
                stream, generation, ..
            }
            | Event::Orphan { stream, generation }
            | Event::Keepalive { stream, generation } => {
                if self.is_stream(stream, generation) {
                    self.stream_event(event, stream);
                }
            }
        }
    }

    fn stream_event(&mut self, event: Event, stream: u32) {
        match event {
            Event::Syn { .. } => self.syn_arrives(stream),
            Event::SynAck { .. } => self.syn_ack_arrives(stream),
            Event::Ack { .. } => self.ack_arrives(stream),
            Event::SynTimer { .. } => self.syn_timer(stream),
            Event::Retransmit { .. } => self.retransmit(stream),
            Event::Window { .. } => self.window_opens(stream),
            Event::ZeroWindow { since, .. } => self.window_stays_shut(stream, since),
            Event::Fin { .. } => self.fin_arrives(stream),
            Event::Reset { .. } => self.reset_arrives(stream),
            Event::Refused { errno, .. } => self.refused(stream, errno),
            Event::Orphan { .. } => self.orphan_expires(stream),
            Event::Keepalive { .. } => self.keepalive(stream),
            _ => {}
        }
    }

    fn is_stream(&self, stream: u32, generation: u32) -> bool {
        self.streams
            .get(stream as usize)
            .is_some_and(|slot| slot.generation == generation && slot.in_use)
    }

    /// Hosts whose loops were woken from outside.
    pub(crate) fn notice_wakes(&mut self) {
        if !self.any_woken.swap(false, Ordering::AcqRel) {
            return;
        }
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            if host.has_loop && host.woken.woken.load(Ordering::Acquire) {
                host.wake_due = true;
                #[expect(clippy::cast_possible_truncation, reason = "hosts are counted in u16")]
                self.make_runnable(index as u16);
            }
        }
    }

    /// Which host has that address; a host's own loopback is itself.
    pub(crate) fn host_of(&self, from: u16, address: IpAddr) -> Option<u16> {
        if address.is_loopback() {
            Some(from)
        } else {
            self.routes.owner(address)
        }
    }
}

/// The same address without the IPv4-mapped form.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => SocketAddr::new(IpAddr::V6(*v6.ip()), v6.port()),
        },
        v4 => v4,
    }
}

/// The form in which a socket of that family reports an address.
pub(crate) fn shaped(address: SocketAddr, v6: bool) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v6 => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()),
        other => other,
    }
}

/// A world that handles share.
pub(crate) type Shared = Rc<std::cell::RefCell<World>>;
