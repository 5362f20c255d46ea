//! A question on its way: which server has it, which one is next, and what comes of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::connections::Connection;
use super::timers::Due;
use super::{Engine, Out, Settled, Waiter};
use crate::dns::answer::{Carrier, Content, QueryError};
use crate::dns::message::{Edns, Message, Question};
use crate::dns::name::Name;
use crate::dns::record::Record;

/// Connections that a question may lose to one server before the next one is asked. Servers may close when they like (RFC
/// 7766 section 6.2.4), and one that does so after each answer would have all others asked again and again.
const MAX_MOVES: u8 = 16;

/// How often each server is asked at most: servers that cannot be reached are passed over at once, and time does not pass.
const MAX_ROUNDS: u32 = 100;

/// What a server is given at least: with no time at all every round would be over at once.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// A question on its way. Everyone who asks the same waits for it.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) question: Arc<Question>,
    /// The name that is asked for now: an alias of the question's.
    pub(super) name: Name,
    /// The aliases so far.
    pub(super) records: Vec<Record>,
    /// Who waits. Some may be gone.
    waiters: Vec<Waiter>,
    /// How many of them are not.
    live: usize,
    /// The servers in the order of this question.
    order: Box<[u8]>,
    /// How many servers have been asked; each counts as often as it was asked.
    tries: u32,
    /// Where the question is now.
    pub(crate) sent: Option<Sent>,
    pub(super) with_edns: bool,
    pub(super) by_connection: bool,
    /// Something came that was not from the server, so the rest is asked by a connection.
    pub(super) suspicious: bool,
    /// The server gave another cookie and was asked again.
    pub(super) bad_cookies: u8,
    /// How often the server has closed the connection by which it was asked.
    moves: u8,
    timeout_at: Duration,
    last: Option<QueryError>,
}

impl Flight {
    /// Forgets what concerns the server that was asked, for the next one.
    fn forget_server(&mut self) {
        (self.by_connection, self.with_edns) = (false, true);
        (self.bad_cookies, self.moves) = (0, 0);
    }
}

/// By what a question has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Socket(u32),
    Connection(u32),
}

#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) via: Via,
    pub(crate) id: u16,
    pub(crate) server: usize,
    /// The name with its case by chance.
    pub(super) cased: Name,
    at: Duration,
    /// It is still to be written, by an entry of the engine's queue.
    pub(crate) is_queued: bool,
}

impl Engine {
    /// Asks, or joins whoever asks the same.
    pub(super) fn ask(&mut self, now: Duration, question: &Arc<Question>, waiter: Option<Waiter>) {
        if let Some(&flight) = self.by_question.get(question) {
            if let (Some(flight), Some(waiter)) = (self.flights.get_mut(flight), waiter) {
                self.stats.shared += 1;
                if flight.waiters.len() > 2 * flight.live + 16 {
                    let lookups = &self.lookups;
                    flight
                        .waiters
                        .retain(|waiter| lookups.generation(waiter.lookup) == waiter.generation);
                }
                flight.waiters.push(waiter);
                flight.live += 1;
            }
            return;
        }
        let order = self.order(now);
        if order.is_empty() {
            if let Some(waiter) = waiter {
                self.settled.push_back(Settled {
                    waiter,
                    question: Arc::clone(question),
                    result: Err(QueryError::NoServers),
                });
            }
            return;
        }
        let flight = self.flights.insert(Flight {
            question: Arc::clone(question),
            name: question.name.clone(),
            records: Vec::new(),
            live: usize::from(waiter.is_some()),
            waiters: waiter.into_iter().collect(),
            order,
            tries: 0,
            sent: None,
            with_edns: true,
            by_connection: false,
            suspicious: false,
            bad_cookies: 0,
            moves: 0,
            timeout_at: Duration::ZERO,
            last: None,
        });
        self.by_question.insert(Arc::clone(question), flight);
        self.start_try(now, flight);
    }

    /// The servers in the order in which to ask them now: those that did not answer lately go last.
    fn order(&mut self, now: Duration) -> Box<[u8]> {
        let count = self.peers.len();
        let first = if self.options.rotate { self.rotation } else { 0 };
        self.rotation = (first + 1) % count.max(1);
        let mut order: Vec<u8> = (0..count)
            .filter_map(|n| u8::try_from((n + first) % count).ok())
            .collect();
        order.sort_by_key(|server| {
            self.peers
                .get(usize::from(*server))
                .is_some_and(|peer| peer.avoided_until > now)
        });
        order.into()
    }

    /// Sends the question to the server whose turn it is.
    fn start_try(&mut self, now: Duration, index: u32) {
        let Some(flight) = self.flights.get_mut(index) else {
            return;
        };
        let turn = (flight.tries as usize)
            .checked_rem(flight.order.len())
            .and_then(|turn| flight.order.get(turn));
        let Some(server) = turn.map(|server| usize::from(*server)) else {
            return;
        };
        let Some(peer) = self.peers.get(server) else {
            return;
        };
        let by_connection = flight.by_connection || flight.suspicious || peer.server.carrier != Carrier::Udp;
        let random = &mut self.random;
        // By a connection nobody else can answer.
        let cased = if self.options.random_case && !by_connection {
            flight.name.with_case_by(&mut *random)
        } else {
            flight.name.clone()
        };
        flight.timeout_at = now.saturating_add(self.options.timeout.max(MIN_TIMEOUT));
        self.timers.set(flight.timeout_at, Due::Flight(index));
        let placed = if by_connection {
            self.place_on_connection(server, index)
        } else {
            let is_v6 = peer.server.address.is_ipv6();
            let placed = self.sockets.place(is_v6, index, &self.options, random);
            let slot = placed.and_then(|(socket, _)| Some((socket, self.sockets.slot(socket)?)));
            if let Some((socket, at)) = slot.and_then(|(socket, slot)| Some((socket, slot.idle_at.take()?))) {
                self.timers.clear(at, Due::Socket(socket));
            }
            placed.map(|(socket, id)| (Via::Socket(socket), id))
        };
        let Some((via, id)) = placed else {
            // More questions under way than there are ids: the timeout tries again.
            return;
        };
        if let Some(flight) = self.flights.get_mut(index) {
            flight.sent = Some(Sent {
                via,
                id,
                server,
                cased,
                at: now,
                is_queued: false,
            });
        }
        let waits = matches!(via, Via::Connection(connection)
            if self.connections.get(&connection).is_some_and(|connection| !connection.is_open));
        if !waits {
            self.queue(index);
        }
    }

    /// Has a question written as soon as the owner asks what to send.
    pub(super) fn queue(&mut self, index: u32) {
        let sent = self
            .flights
            .get_mut(index)
            .and_then(|flight| flight.sent.as_mut());
        if let Some(sent) = sent.filter(|sent| !sent.is_queued) {
            sent.is_queued = true;
            self.out.push_back(Out::Question(index));
        }
    }

    /// Finds the server's connection, or wants one; the question waits until it is open.
    fn place_on_connection(&mut self, server: usize, index: u32) -> Option<(Via, u16)> {
        let peer = self.peers.get_mut(server)?;
        let number = match peer.connection {
            Some(number) => number,
            None => {
                let number = self.next_connection;
                self.next_connection = number.wrapping_add(1);
                peer.connection = Some(number);
                self.connections.insert(number, Connection::new(server));
                self.out.push_back(Out::Connect(number));
                number
            }
        };
        let connection = self.connections.get_mut(&number)?;
        if let Some(at) = connection.idle_at.take() {
            self.timers.clear(at, Due::Connection(number));
        }
        let id = connection.take_id(index, &mut self.random)?;
        Some((Via::Connection(number), id))
    }

    /// Appends the message of a question that is to leave. Its server, and by what.
    pub(super) fn write_question(&mut self, index: u32, out: &mut Vec<u8>) -> Option<(Via, SocketAddr)> {
        let flight = self.flights.get(index)?;
        let sent = flight.sent.as_ref()?;
        let peer = self.peers.get(sent.server)?;
        let question = Question::new(sent.cased.clone(), flight.question.record_type);
        let mut message = Message::query(sent.id, question);
        message.flags.authentic = self.options.trust_ad;
        if flight.with_edns && !peer.without_edns && self.options.edns_size > 0 {
            message.edns = Some(Edns {
                udp_size: self.options.edns_size.max(512),
                version: 0,
                dnssec_ok: false,
                cookie: self.options.cookies.then(|| peer.cookie()),
            });
        }
        message.write(usize::from(u16::MAX), out);
        Some((sent.via, peer.server.address))
    }

    /// Takes the question back from where it is.
    pub(super) fn unsend(&mut self, now: Duration, index: u32) -> Option<Sent> {
        let flight = self.flights.get_mut(index)?;
        self.timers.clear(flight.timeout_at, Due::Flight(index));
        let sent = flight.sent.take()?;
        match sent.via {
            Via::Socket(socket) => {
                if self.sockets.give_back(socket, sent.id) {
                    self.socket_is_unused(now, socket);
                }
            }
            Via::Connection(number) => {
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.ids.remove(&sent.id);
                    if connection.is_unused() && connection.idle_at.is_none() {
                        let at = now.saturating_add(self.options.idle);
                        connection.idle_at = Some(at);
                        self.timers.set(at, Due::Connection(number));
                    }
                }
            }
        }
        Some(sent)
    }

    /// Asks the next server, or gives up where every one was asked as often as it may be.
    pub(super) fn next_try(&mut self, now: Duration, index: u32, why: QueryError) {
        self.unsend(now, index);
        let Some(flight) = self.flights.get_mut(index) else {
            return;
        };
        flight.tries += 1;
        flight.last = Some(worse(flight.last, why));
        flight.forget_server();
        let rounds = self.options.attempts.clamp(1, MAX_ROUNDS);
        // A server that has said what it has to say is not asked for it again.
        let passing = matches!(why, QueryError::TimedOut { .. } | QueryError::Unreachable { .. });
        let limit = if passing { rounds } else { rounds.min(2) };
        if u64::from(flight.tries) >= u64::from(limit) * flight.order.len() as u64 {
            let last = flight.last.unwrap_or(why);
            self.end(now, index, Err(last));
        } else {
            self.stats.retries += 1;
            self.start_try(now, index);
        }
    }

    /// The server whose turn it is has taken too long.
    pub(super) fn flight_timed_out(&mut self, now: Duration, index: u32) {
        self.stats.timeouts += 1;
        let sent = self.flights.get(index).and_then(|flight| flight.sent.as_ref());
        let Some((server, via, at)) = sent.map(|sent| (sent.server, sent.via, sent.at)) else {
            self.next_try(now, index, QueryError::TimedOut { last: None });
            return;
        };
        let avoid = now.saturating_add(self.options.avoid);
        let mut address = None;
        if let Some(peer) = self.peers.get_mut(server) {
            address = Some(peer.server.address);
            if peer.answered.is_none_or(|answered| answered < at) {
                peer.avoided_until = avoid;
            }
        }
        self.unsend(now, index);
        if let Via::Connection(number) = via {
            // Nothing came since the question left: it may hang for ever, and what comes next opens another.
            let silent = self
                .connections
                .get(&number)
                .is_some_and(|connection| connection.answered.is_none_or(|answered| answered < at));
            if let Some(address) = address.filter(|_| silent) {
                self.abandon_connection(now, number, address);
            }
        }
        self.next_try(now, index, QueryError::TimedOut { last: address });
    }

    /// Closes a connection by which nothing has come for the time that a server may take. Whatever waits for it asks the next
    /// server: to have each question wait for its own timeout, and take the others along to a new connection meanwhile, would
    /// bring no more than one of them to another server at a time.
    fn abandon_connection(&mut self, now: Duration, number: u32, server: SocketAddr) {
        let flights = self
            .connections
            .get(&number)
            .map(Connection::flights)
            .unwrap_or_default();
        self.close_connection(number);
        for flight in flights {
            self.next_try(now, flight, QueryError::TimedOut { last: Some(server) });
        }
    }

    /// Asks the same server again in another way.
    pub(super) fn ask_again(&mut self, now: Duration, index: u32, change: impl FnOnce(&mut Flight)) {
        self.unsend(now, index);
        if let Some(flight) = self.flights.get_mut(index) {
            change(flight);
            self.stats.retries += 1;
            self.start_try(now, index);
        }
    }

    /// The connection of a question has ended: the same server is asked by another, unless that has been done often enough.
    pub(super) fn ask_by_new_connection(&mut self, now: Duration, index: u32, server: SocketAddr) {
        match self.flights.get(index) {
            Some(flight) if flight.moves >= MAX_MOVES => {
                self.next_try(now, index, QueryError::Unusable { server });
            }
            _ => self.ask_again(now, index, |flight| {
                flight.moves += 1;
                flight.by_connection = true;
            }),
        }
    }

    /// The servers are others now: questions under way are asked of them.
    pub(super) fn begin_anew(&mut self, now: Duration, flights: Vec<u32>) {
        for index in flights {
            let order = self.order(now);
            if order.is_empty() {
                self.end(now, index, Err(QueryError::NoServers));
            } else if let Some(flight) = self.flights.get_mut(index) {
                flight.order = order;
                flight.tries = 0;
                flight.forget_server();
                // Nor does anything count that the old servers said.
                (flight.suspicious, flight.last) = (false, None);
                flight.name = flight.question.name.clone();
                flight.records.clear();
                self.start_try(now, index);
            }
        }
    }

    /// The question is answered, or nobody answers it.
    pub(super) fn end(&mut self, now: Duration, index: u32, result: Result<Arc<Content>, QueryError>) {
        self.unsend(now, index);
        let Some(flight) = self.flights.remove(index) else {
            return;
        };
        self.by_question.remove(&flight.question);
        for waiter in flight.waiters {
            self.settled.push_back(Settled {
                waiter,
                question: Arc::clone(&flight.question),
                result: result.clone(),
            });
        }
    }

    /// Somebody does not wait any more; nobody asks what nobody waits for.
    pub(super) fn leave(&mut self, now: Duration, question: &Arc<Question>) {
        let Some(&index) = self.by_question.get(question) else {
            return;
        };
        let Some(flight) = self.flights.get_mut(index) else {
            return;
        };
        flight.live = flight.live.saturating_sub(1);
        if flight.live == 0 {
            self.unsend(now, index);
            self.flights.remove(index);
            self.by_question.remove(question);
        }
    }
}

/// The error that says more: what a server said is worth more than that one said nothing.
fn worse(before: Option<QueryError>, now: QueryError) -> QueryError {
    match (before, now) {
        (
            Some(said @ QueryError::Failed { .. }),
            QueryError::TimedOut { .. } | QueryError::Unreachable { .. } | QueryError::Unusable { .. },
        ) => said,
        (
            Some(said @ QueryError::Unusable { .. }),
            QueryError::TimedOut { .. } | QueryError::Unreachable { .. },
        ) => said,
        _ => now,
    }
}
