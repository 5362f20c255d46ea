//! A name server by UDP.

use std::collections::HashMap;
use std::net::SocketAddr;

use sockeye_event_loop::{CloseReason, Context, Datagram, DatagramId, DatagramService, Datagrams, Meta};
use sockeye_socket::Incoming;

use super::answer::{Asking, From, Reply, reply};
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

/// An answer that waits for its time.
#[derive(Debug)]
struct Waiting {
    wire: Vec<u8>,
    from: From,
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

    /// Sends an answer from the address that was asked, or as its lie wants it.
    fn send(&self, socket: &mut Datagrams<'_>, waiting: &Waiting) {
        let mut asked = Incoming::new(&[], waiting.to);
        asked.meta = waiting.meta;
        let message = asked.reply(&waiting.wire);
        // What does not fit into the queue is lost, as it would be on the way.
        let _ = match waiting.from {
            From::Asked => socket.send(&message),
            From::Address(ip) => socket.send(&message.source(ip)),
            From::OtherPort => {
                let own = self.sockets.iter().position(|id| *id == socket.id());
                let next = own.map(|own| (own + 1) % self.sockets.len());
                let other = next.and_then(|next| self.sockets.get(next));
                match other.filter(|id| **id != socket.id()) {
                    Some(other) => socket.other(*other).send(&message),
                    None => return,
                }
            }
        };
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
        for Reply { after, wire, from } in replies {
            let waiting = Waiting {
                wire,
                from,
                to: datagram.source,
                meta: datagram.meta,
            };
            if after.is_zero() {
                self.send(socket, &waiting);
            } else if self.waiting.len() < MAX_WAITING {
                self.next += 1;
                self.waiting.insert(self.next, waiting);
                socket.set_timer(after, self.next);
            } else {
                self.server.state().counters.dropped += 1;
            }
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
