//! Connections to servers: opened when a question needs one, shared by all that do, closed when none has for a while.

use std::collections::HashMap;
use std::time::Duration;

use super::ids::{MAX_IDS, free_id};
use super::options::Server;
use super::timers::Due;
use super::{Engine, Out};
use crate::dns::answer::QueryError;
use crate::dns::keyed::Keyed;

/// A connection that the engine wants to have.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Which server's.
    pub(crate) server: usize,
    pub(crate) is_open: bool,
    /// Questions that wait for their answers, by their ids; until it is open, for being sent.
    pub(crate) ids: HashMap<u16, u32, Keyed>,
    /// When an answer came by it last.
    pub(crate) answered: Option<Duration>,
    /// When it is closed if no question comes before.
    pub(crate) idle_at: Option<Duration>,
}

impl Connection {
    pub(crate) fn new(server: usize) -> Self {
        Self {
            server,
            is_open: false,
            ids: HashMap::default(),
            answered: None,
            idle_at: None,
        }
    }

    /// An id that no question of this connection has.
    pub(crate) fn take_id(&mut self, flight: u32, mut random: impl FnMut() -> u64) -> Option<u16> {
        if self.ids.len() >= MAX_IDS {
            return None;
        }
        let id = free_id(&self.ids, &mut random);
        self.ids.insert(id, flight);
        Some(id)
    }

    /// Whether no question uses it.
    pub(crate) fn is_unused(&self) -> bool {
        self.ids.is_empty()
    }

    /// All questions that use it, in order: what follows must not hang on the order of a hash table.
    pub(crate) fn flights(&self) -> Vec<u32> {
        let mut flights: Vec<u32> = self.ids.values().copied().collect();
        flights.sort_unstable();
        flights
    }
}

impl Engine {
    /// The server of a connection.
    #[must_use]
    pub fn server_of_connection(&self, connection: u32) -> Option<&Server> {
        let server = self.connections.get(&connection)?.server;
        self.peers.get(server).map(|peer| &peer.server)
    }

    /// A connection is open.
    pub fn on_connected(&mut self, now: Duration, connection: u32) {
        let _ = now;
        if let Some(open) = self.connections.get_mut(&connection)
            && !open.is_open
        {
            open.is_open = true;
            for flight in open.flights() {
                self.queue(flight);
            }
        }
    }

    /// Bytes have come in on a connection. Says how many of them are done with; give the rest again with what follows it.
    pub fn on_stream_data(&mut self, now: Duration, connection: u32, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some((head, after)) = rest.split_first_chunk::<2>() {
            let Some((message, tail)) = after.split_at_checked(u16::from_be_bytes(*head).into()) else {
                break;
            };
            rest = tail;
            let Some(open) = self.connections.get_mut(&connection) else {
                return bytes.len();
            };
            let flight = message
                .first_chunk()
                .and_then(|id| open.ids.get(&u16::from_be_bytes(*id)).copied());
            match flight {
                Some(flight) => {
                    if self.on_message(now, flight, message)
                        && let Some(open) = self.connections.get_mut(&connection)
                    {
                        open.answered = Some(now);
                    }
                }
                None => self.stats.unexpected += 1,
            }
            self.settle(now);
        }
        bytes.len() - rest.len()
    }

    /// A connection has failed or ended. Questions that waited are asked once more of the same server if it had answered others
    /// by this connection (RFC 7766 section 6.2.4: servers close when they like), else of the next one.
    pub fn on_disconnected(&mut self, now: Duration, connection: u32) {
        let Some(gone) = self.forget_connection(connection) else {
            return;
        };
        let again = gone.answered.is_some();
        let Some(address) = self.peers.get(gone.server).map(|peer| peer.server.address) else {
            return;
        };
        let opened = gone.is_open;
        for flight in gone.flights() {
            if again {
                self.ask_by_new_connection(now, flight, address);
            } else if opened {
                self.next_try(now, flight, QueryError::Unusable { server: address });
            } else {
                self.next_try(now, flight, QueryError::Unreachable { server: address });
            }
        }
        self.settle(now);
    }

    fn forget_connection(&mut self, number: u32) -> Option<Connection> {
        let gone = self.connections.remove(&number)?;
        if let Some(peer) = self.peers.get_mut(gone.server) {
            peer.connection = None;
        }
        if let Some(at) = gone.idle_at {
            self.timers.clear(at, Due::Connection(number));
        }
        Some(gone)
    }

    pub(super) fn close_connection(&mut self, number: u32) {
        if self.forget_connection(number).is_some() {
            self.out.push_back(Out::CloseConnection(number));
        }
    }
}
