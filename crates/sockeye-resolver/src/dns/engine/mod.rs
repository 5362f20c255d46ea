//! The engine: questions in, datagrams and messages out, answers back. Without I/O, clock or threads.
//!
//! The owner asks with [`Engine::lookup`], sends what [`poll_transmit`](Engine::poll_transmit) yields, hands in what its
//! sockets receive, comes back at [`poll_timeout`](Engine::poll_timeout), and takes results from
//! [`poll_event`](Engine::poll_event). Time is a [`Duration`] since an origin of the owner's choice.
//!
//! ```
//! use std::time::Duration;
//! use sockeye_resolver::dns::{DnsOptions, Engine, Message, Record, RecordData, RecordType, Request, Transmit};
//!
//! let server = "192.0.2.53:53".parse()?;
//! let mut engine = Engine::new(DnsOptions::with_servers([server]), || 4);
//! let now = Duration::ZERO;
//! engine.lookup(now, Request::records("example.test".parse()?, RecordType::A))?;
//!
//! // The owner opens a socket for each number that it sees, and sends.
//! let mut wire = Vec::new();
//! let Some(Transmit::Datagram { socket, to }) = engine.poll_transmit(now, &mut wire) else { panic!() };
//!
//! // Somewhere else: the server answers.
//! let query = Message::parse(&wire)?;
//! let mut answer = Message::answer_to(&query);
//! let name = query.question.as_ref().unwrap().name.clone();
//! answer.answers.push(Record::new(name, 60, RecordData::A([192, 0, 2, 80].into())));
//! wire.clear();
//! answer.write(512, &mut wire);
//!
//! engine.on_datagram(now, socket, to, &wire);
//! let event = engine.poll_event().expect("it is answered");
//! assert_eq!(event.result?.addresses().next(), Some([192, 0, 2, 80].into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, Carrier, Content, QueryError};
use super::cache::Cache;
use super::keyed::Keyed;
use super::message::Question;
use super::record::RecordType;

mod connections;
mod flight;
mod ids;
mod local;
mod lookup;
mod options;
mod peer;
mod received;
mod slab;
mod sockets;
mod timers;

use connections::Connection;
use flight::{Flight, Via};
pub use local::LocalNames;
use lookup::Lookup;
pub use lookup::{LookupId, Request, StartError, Wanted};
pub use options::{DnsOptions, Server};
use peer::Peer;
use slab::Slab;
use sockets::Sockets;
use timers::{Due, Timers};

/// Servers that are asked; those after them are not.
const MAX_SERVERS: usize = 32;

/// What the owner is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Transmit {
    /// Send the message as a datagram. A number that was not seen before is a new socket: bind it to port 0, which is a port
    /// by chance.
    Datagram {
        /// Which socket.
        socket: u32,
        /// Where to.
        to: SocketAddr,
    },
    /// Close a socket.
    CloseSocket {
        /// Which one.
        socket: u32,
    },
    /// Open a connection.
    Connect {
        /// Its number from now on.
        connection: u32,
        /// Where to.
        to: SocketAddr,
        /// TCP or TLS.
        carrier: Carrier,
    },
    /// Write the message to a connection; its length is in front of it already.
    Stream {
        /// Which connection.
        connection: u32,
    },
    /// Close a connection.
    CloseConnection {
        /// Which one.
        connection: u32,
    },
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Whose.
    pub lookup: LookupId,
    /// Of which type the records are: a lookup of addresses is answered once for each family.
    pub record_type: RecordType,
    /// The answer, be it "no".
    pub result: Result<Answer, QueryError>,
    /// Nothing follows for this lookup.
    pub is_last: bool,
}

/// What the engine has done. Numbers only grow, but for those that say "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsStats {
    /// Lookups that were begun.
    pub lookups: u64,
    /// Answers from the cache.
    pub cached: u64,
    /// Answers that should be gone and were given because nobody answered.
    pub stale: u64,
    /// Answers of this host: the hosts file and names for special uses.
    pub local: u64,
    /// Questions that found the same one under way.
    pub shared: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Messages written to connections.
    pub streamed: u64,
    /// Questions that were sent once more.
    pub retries: u64,
    /// Times that a server took too long.
    pub timeouts: u64,
    /// Answers that were too long for a datagram.
    pub truncated: u64,
    /// Answers that said "failed", "refused" or nothing of use.
    pub failures: u64,
    /// Datagrams from somebody who was not asked.
    pub wrong_source: u64,
    /// Messages that answer nothing that is under way: late, twice, or a wrong id.
    pub unexpected: u64,
    /// Answers to another question.
    pub wrong_question: u64,
    /// Answers without the case of the letters, from a server that kept it before.
    pub wrong_case: u64,
    /// Answers with a wrong cookie or none.
    pub wrong_cookie: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// Questions under way now.
    pub under_way: usize,
    /// Answers in the cache now.
    pub kept: usize,
    /// About how many bytes they take.
    pub kept_bytes: usize,
    /// Sockets now.
    pub sockets: usize,
}

/// Who waits for a question: one part of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    lookup: u32,
    generation: u32,
    part: u8,
}

/// The result of a question, for one who waits for it.
#[derive(Debug)]
struct Settled {
    waiter: Waiter,
    question: Arc<Question>,
    result: Result<Arc<Content>, QueryError>,
}

/// What is to be done by the owner, in order.
#[derive(Debug)]
enum Out {
    /// One that no longer waits to be sent is passed over.
    Question(u32),
    CloseSocket(u32),
    Connect(u32),
    CloseConnection(u32),
}

/// A client of the DNS as a state machine. See the module's page.
pub struct Engine {
    options: DnsOptions,
    local: LocalNames,
    random: Box<dyn FnMut() -> u64 + Send>,
    peers: Vec<Peer>,
    rotation: usize,
    lookups: Slab<Lookup>,
    flights: Slab<Flight>,
    by_question: HashMap<Arc<Question>, u32, Keyed>,
    sockets: Sockets,
    connections: HashMap<u32, Connection>,
    next_connection: u32,
    timers: Timers,
    cache: Cache,
    out: VecDeque<Out>,
    /// Parts of lookups that have their results.
    settled: VecDeque<Settled>,
    events: VecDeque<Event>,
    /// Lookups that were answered at once.
    instant: u32,
    stats: DnsStats,
}

impl Engine {
    /// An engine. `random` gives the ids, the case of letters and the cookies: strangers must not be able to tell its
    /// numbers before (in a simulation they come from the seed).
    #[must_use]
    pub fn new(options: DnsOptions, random: impl FnMut() -> u64 + Send + 'static) -> Self {
        let mut engine = Self {
            cache: Cache::new(options.cache),
            options: DnsOptions {
                servers: Vec::new(),
                ..options.clone()
            },
            local: LocalNames::default(),
            random: Box::new(random),
            peers: Vec::new(),
            rotation: 0,
            lookups: Slab::default(),
            flights: Slab::default(),
            by_question: HashMap::default(),
            sockets: Sockets::default(),
            connections: HashMap::new(),
            next_connection: 0,
            timers: Timers::default(),
            out: VecDeque::new(),
            settled: VecDeque::new(),
            events: VecDeque::new(),
            instant: 0,
            stats: DnsStats::default(),
        };
        engine.set_servers(&options.servers);
        engine
    }

    /// What this host knows itself: the hosts file, and when it is asked.
    pub fn set_local_names(&mut self, local: LocalNames) {
        self.local = local;
    }

    fn set_servers(&mut self, servers: &[Server]) {
        for server in servers.iter().take(MAX_SERVERS) {
            let random = (self.random)();
            self.peers.push(Peer::new(server.clone(), random));
        }
    }

    /// Takes over other options: other servers, another search list. What is under way is asked of the new servers, and what
    /// is kept is kept unless the servers are others.
    pub fn reconfigure(&mut self, now: Duration, options: DnsOptions) {
        let same = self.peers.len() == options.servers.len().min(MAX_SERVERS)
            && self
                .peers
                .iter()
                .zip(&options.servers)
                .all(|(peer, server)| peer.server == *server);
        if same {
            if self.options.cache != options.cache {
                self.cache = Cache::new(options.cache);
            }
            self.options = DnsOptions {
                servers: Vec::new(),
                ..options
            };
            return;
        }
        // Everything that refers to the old servers goes, and what was under way begins anew.
        let flights = self.flights.indices();
        for &flight in &flights {
            self.unsend(now, flight);
        }
        let mut connections: Vec<u32> = self.connections.keys().copied().collect();
        connections.sort_unstable();
        for number in connections {
            self.close_connection(number);
        }
        for socket in self.sockets.numbers() {
            self.close_socket(socket);
        }
        self.out
            .retain(|out| !matches!(out, Out::Question(_) | Out::Connect(_)));
        self.cache = Cache::new(options.cache);
        self.options = DnsOptions {
            servers: Vec::new(),
            ..options.clone()
        };
        self.peers.clear();
        self.set_servers(&options.servers);
        self.begin_anew(now, flights);
        self.settle(now);
    }

    /// Forgets what is kept.
    pub fn clear_cache(&mut self) {
        self.cache.clear();
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> DnsStats {
        DnsStats {
            under_way: self.flights.len(),
            kept: self.cache.len(),
            kept_bytes: self.cache.bytes(),
            sockets: self.sockets.len(),
            ..self.stats
        }
    }

    /// What to do next, if anything. A message to send replaces what is in `message`.
    pub fn poll_transmit(&mut self, now: Duration, message: &mut Vec<u8>) -> Option<Transmit> {
        let _ = now;
        loop {
            message.clear();
            match self.out.pop_front()? {
                Out::CloseSocket(socket) => return Some(Transmit::CloseSocket { socket }),
                Out::CloseConnection(connection) => return Some(Transmit::CloseConnection { connection }),
                Out::Connect(connection) => {
                    let server = self
                        .connections
                        .get(&connection)
                        .map(|connection| connection.server);
                    let Some(peer) = server.and_then(|server| self.peers.get(server)) else {
                        continue;
                    };
                    let carrier = match peer.server.carrier {
                        Carrier::Udp => Carrier::Tcp,
                        other => other,
                    };
                    return Some(Transmit::Connect {
                        connection,
                        to: peer.server.address,
                        carrier,
                    });
                }
                Out::Question(flight) => {
                    let sent = self
                        .flights
                        .get_mut(flight)
                        .and_then(|flight| flight.sent.as_mut());
                    // The question may have gone, or have been sent by an earlier entry.
                    let Some(sent) = sent.filter(|sent| sent.is_queued) else {
                        continue;
                    };
                    sent.is_queued = false;
                    if let Via::Connection(_) = sent.via {
                        message.extend_from_slice(&[0, 0]);
                    }
                    match self.write_question(flight, message) {
                        Some((Via::Socket(socket), to)) => {
                            self.stats.datagrams += 1;
                            return Some(Transmit::Datagram { socket, to });
                        }
                        Some((Via::Connection(connection), _)) => {
                            let len = u16::try_from(message.len().saturating_sub(2)).unwrap_or_default();
                            if let Some(head) = message.first_chunk_mut() {
                                *head = len.to_be_bytes();
                            }
                            self.stats.streamed += 1;
                            return Some(Transmit::Stream { connection });
                        }
                        None => {}
                    }
                }
            }
        }
    }

    /// The next result.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Flight(flight) => self.flight_timed_out(now, flight),
                Due::Lookup(lookup) => self.lookup_timed_out(now, lookup),
                Due::Stale(lookup) => self.give_stale(now, lookup),
                Due::Socket(socket) => self.close_socket(socket),
                Due::Connection(connection) => self.close_connection(connection),
            }
            self.settle(now);
        }
    }

    /// A datagram has come in.
    pub fn on_datagram(&mut self, now: Duration, socket: u32, from: SocketAddr, bytes: &[u8]) {
        let Some(id) = bytes.first_chunk().map(|id| u16::from_be_bytes(*id)) else {
            self.stats.malformed += 1;
            return;
        };
        let flight = self
            .sockets
            .slot(socket)
            .and_then(|slot| slot.ids.get(&id).copied());
        let sent = flight.and_then(|flight| self.flights.get(flight)?.sent.as_ref());
        let Some((flight, peer)) = flight.zip(sent.and_then(|sent| self.peers.get(sent.server))) else {
            self.stats.unexpected += 1;
            return;
        };
        if !peer.is_at(from) {
            self.stats.wrong_source += 1;
            return;
        }
        self.on_message(now, flight, bytes);
        self.settle(now);
    }

    /// A datagram could not be delivered, by what the network or the server's host says: whoever waits for that server asks the
    /// next one.
    pub fn on_unreachable(&mut self, now: Duration, socket: u32, server: SocketAddr) {
        for flight in self.sockets.flights(socket) {
            let sent = self.flights.get(flight).and_then(|flight| flight.sent.as_ref());
            let Some(index) = sent.map(|sent| sent.server) else {
                continue;
            };
            let Some(peer) = self.peers.get_mut(index) else {
                continue;
            };
            if peer.is_at(server) {
                peer.avoided_until = now.saturating_add(self.options.avoid);
                self.next_try(now, flight, QueryError::Unreachable { server });
            }
        }
        self.settle(now);
    }

    /// A socket could not be opened, or is of no use any more.
    pub fn on_socket_lost(&mut self, now: Duration, socket: u32) {
        if let Some(at) = self.sockets.slot(socket).and_then(|slot| slot.idle_at.take()) {
            self.timers.clear(at, Due::Socket(socket));
        }
        for flight in self.sockets.remove(socket) {
            if let Some((server, _)) = self.server_of(flight) {
                self.next_try(now, flight, QueryError::Unreachable { server });
            }
        }
        self.settle(now);
    }

    fn close_socket(&mut self, socket: u32) {
        if let Some(slot) = self.sockets.slot(socket) {
            if let Some(at) = slot.idle_at.take() {
                self.timers.clear(at, Due::Socket(socket));
            }
            self.sockets.remove(socket);
            self.out.push_back(Out::CloseSocket(socket));
        }
    }

    /// A socket has no question left: it goes now if it has asked what it may, else after a while.
    fn socket_is_unused(&mut self, now: Duration, socket: u32) {
        if self.sockets.is_spent(socket, &self.options) {
            self.close_socket(socket);
            return;
        }
        let at = now.saturating_add(self.options.idle);
        if let Some(slot) = self.sockets.slot(socket) {
            let before = slot.idle_at.replace(at);
            if let Some(before) = before {
                self.timers.clear(before, Due::Socket(socket));
            }
            self.timers.set(at, Due::Socket(socket));
        }
    }
}

#[cfg(test)]
mod tests;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field(
                "servers",
                &self
                    .peers
                    .iter()
                    .map(|peer| peer.server.address)
                    .collect::<Vec<_>>(),
            )
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
