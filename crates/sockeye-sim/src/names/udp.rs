//! A name server by UDP.

use std::collections::HashMap;
use std::net::SocketAddr;

use sockeye_event_loop::{CloseReason, Context, Datagram, DatagramId, DatagramService, Datagrams, Meta};
use sockeye_socket::Incoming;

use super::answer::{Asking, From, reply};
use super::server::{NameServer, Transport};

/// Answers that may wait for their time. Queries beyond them are dropped.
const MAX_WAITING: usize = 1 << 16;

/// A name server by UDP: see [`NameServer::udp`].
#[derive(Debug)]
pub struct NameServerUdp {
    server: NameServer,
    sockets: Vec<DatagramId>,
    waiting: HashMap<u64, Waiting>,
    next: u64,
}

/// What is sent for one query, when its time has come.
#[derive(Debug)]
struct Waiting {
    messages: Vec<(Vec<u8>, From)>,
    to: SocketAddr,
    meta: Meta,
}

impl NameServerUdp {
    pub(super) fn new(server: NameServer) -> Self {
        Self {
            server,
            sockets: Vec::new(),
            waiting: HashMap::new(),
            next: 0,
        }
    }

    /// Sends answers from the address that was asked, or as their lies want it.
    fn send(&self, socket: &mut Datagrams<'_>, waiting: &Waiting) {
        let mut asked = Incoming::new(&[], waiting.to);
        asked.meta = waiting.meta;
        for (wire, from) in &waiting.messages {
            let message = asked.reply(wire);
            // What does not fit into the queue is lost, as it would be on the way.
            let _ = match from {
                From::Asked => socket.send(&message),
                From::Address(ip) => socket.send(&message.source(*ip)),
                From::OtherPort => match self.other_socket(socket.id()) {
                    Some(other) => socket.other(other).send(&message),
                    None => continue,
                },
            };
        }
    }

    /// The socket after that one.
    fn other_socket(&self, id: DatagramId) -> Option<DatagramId> {
        let own = self.sockets.iter().position(|socket| *socket == id)?;
        let other = self.sockets.iter().cycle().nth(own + 1)?;
        (*other != id).then_some(*other)
    }
}

impl DatagramService for NameServerUdp {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.sockets.push(socket.id());
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let now = socket.now();
        let asking = Asking {
            wire: datagram.data,
            transport: Transport::Udp,
            client: datagram.source,
            now,
            mute: false,
        };
        let replies = reply(&mut self.server.state(), &asking, &mut || socket.random());
        let waiting = Waiting {
            messages: replies.messages,
            to: datagram.source,
            meta: datagram.meta,
        };
        if replies.after.is_zero() {
            self.send(socket, &waiting);
        } else if self.waiting.len() < MAX_WAITING {
            self.next += 1;
            self.waiting.insert(self.next, waiting);
            socket.set_timer(replies.after, self.next);
        } else {
            self.server.state().counters.dropped += 1;
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        if let Some(waiting) = self.waiting.remove(&key) {
            self.send(socket, &waiting);
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: DatagramId, _: CloseReason) {
        self.sockets.retain(|socket| *socket != id);
    }
}
