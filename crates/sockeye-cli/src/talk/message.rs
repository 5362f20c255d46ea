//! The peer's side of a conversation, where messages keep their boundaries: UDP, Unix datagrams and seqpackets.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use sockeye::endpoint::{Transport, UnixName};
use sockeye::event_loop::EventLoop;
use sockeye::udp::UdpSocket;
use sockeye::unix::{AcceptOutcome, UnixDatagram, UnixSeqpacket, UnixSeqpacketListener};

use super::allow::Allow;
use super::carry::Wire;
use super::errors::of_address;
use super::{Cut, End, Sparing, Talk};
use crate::output::note;

/// Pieces of stdin for UDP: with their headers they fit into a packet of any usual link.
pub(crate) const UDP: Cut = Cut {
    piece: 1400,
    line: 65_507,
};
/// Pieces for Unix sockets: below what their send buffer takes by default.
pub(crate) const UNIX: Cut = Cut {
    piece: 16 * 1024,
    line: 64 * 1024,
};
/// The longest message that is received whole: above what a Unix socket sends by default.
const ROOM: usize = 512 * 1024;
/// Messages that are received before stdin and stdout have their turn.
const BURST: usize = 64;
/// After how long a full queue is tried again the first time. Each further time it is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(1);
/// After how long it is tried again at most, and an accept for which there were no descriptors.
const RETRY: Duration = Duration::from_millis(10);
/// Senders that are remembered, so that each is said once.
const MAX_SEEN: usize = 256;

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Ip(SocketAddr),
    Unix(UnixName),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(name) => write!(f, "unix:{name}"),
        }
    }
}

/// A socket of messages.
#[derive(Debug)]
pub(crate) enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Seqpacket(UnixSeqpacket),
    /// Of seqpackets: the connection that has its turn is the second.
    Listener(UnixSeqpacketListener, Option<UnixSeqpacket>),
}

/// What a socket that waits for peers has to know.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    pub(crate) keep_open: bool,
    pub(crate) allow: Allow,
}

/// The peer's side.
#[derive(Debug)]
pub(crate) struct Messages {
    socket: Socket,
    talk: Rc<RefCell<Talk>>,
    half_close: bool,
    ends_with_peer: bool,
    /// Of a socket that waits for peers.
    receiving: Option<Receiving>,
    /// Who gets what stdin has: the one peer, or the one that was heard last. A socket that is connected needs none.
    peer: Option<Who>,
    is_connected: bool,
    seen: HashSet<Who>,
    sparing: Sparing,
    served: u64,
    wants_room: bool,
    /// How long to wait for that where nobody tells.
    pause: Duration,
    /// Whoever waits to be accepted has to wait for descriptors.
    backs_off: bool,
    is_shut: bool,
    peer_ended: bool,
    room: Vec<u8>,
}

/// What a receive gave.
enum Received {
    Message(usize, Option<Who>),
    Ended,
}

impl Messages {
    /// On a socket that is connected, or on one that waits for peers.
    pub(crate) fn new(
        socket: Socket,
        talk: Rc<RefCell<Talk>>,
        (half_close, ends_with_peer): (bool, bool),
        receiving: Option<Receiving>,
    ) -> Self {
        Self {
            socket,
            talk,
            half_close,
            ends_with_peer,
            is_connected: receiving.is_none(),
            receiving,
            peer: None,
            seen: HashSet::new(),
            sparing: Sparing::default(),
            served: 0,
            wants_room: false,
            pause: Duration::ZERO,
            backs_off: false,
            is_shut: false,
            peer_ended: false,
            room: vec![0; ROOM],
        }
    }

    /// Peers that there were.
    pub(crate) fn served(&self) -> u64 {
        self.served
    }

    fn keeps_open(&self) -> bool {
        self.receiving
            .as_ref()
            .is_some_and(|receiving| receiving.keep_open)
    }

    fn receive(&mut self) {
        for _ in 0..BURST {
            {
                let talk = self.talk.borrow();
                if talk.is_full() || talk.end.is_some() || self.peer_ended {
                    return;
                }
            }
            match self.receive_one() {
                Ok(Received::Message(len, who)) => self.message(len, who),
                Ok(Received::Ended) => self.ended(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed(error);
                    return;
                }
            }
        }
    }

    fn receive_one(&mut self) -> io::Result<Received> {
        let connected = self.is_connected;
        Ok(match &self.socket {
            Socket::Udp(socket) if connected => Received::Message(socket.recv(&mut self.room)?, None),
            Socket::Udp(socket) => {
                let (len, source) = socket.recv_from(&mut self.room)?;
                Received::Message(len, Some(Who::Ip(source)))
            }
            Socket::Unix(socket) if connected => Received::Message(socket.recv(&mut self.room)?, None),
            Socket::Unix(socket) => {
                let (len, source) = socket.recv_from_name(&mut self.room)?;
                Received::Message(len, Some(Who::Unix(source)))
            }
            Socket::Seqpacket(socket) | Socket::Listener(_, Some(socket)) => {
                match socket.recv_message(&mut self.room)? {
                    Some(len) => Received::Message(len, None),
                    None => Received::Ended,
                }
            }
            Socket::Listener(_, None) => return Err(io::ErrorKind::WouldBlock.into()),
        })
    }

    fn message(&mut self, len: usize, who: Option<Who>) {
        if let Some(who) = who
            && !self.admits(who)
        {
            return;
        }
        let message = self.room.get(..len).unwrap_or_default();
        self.talk.borrow_mut().received(message);
    }

    /// Whether a message of this sender is for us; if so, the sender is the peer now.
    fn admits(&mut self, who: Who) -> bool {
        let Some(receiving) = &self.receiving else {
            return true;
        };
        let is_allowed = match who {
            Who::Ip(address) => receiving.allow.admits_ip(address.ip()),
            Who::Unix(_) => true,
        };
        if !is_allowed {
            if self.sparing.may() {
                note(format_args!("dropped a datagram of {who}: not within --allow"));
            }
            return false;
        }
        let is_first = self.served == 0;
        if !receiving.keep_open && !is_first && self.peer.is_some_and(|peer| peer != who) {
            if self.sparing.may() {
                note(format_args!(
                    "dropped a datagram of {who}: -k takes more than one peer"
                ));
            }
            return false;
        }
        if self.peer != Some(who) {
            if self.peer.is_none() {
                self.talk.borrow_mut().begin();
            }
            self.peer = Some(who);
            if self.seen.len() < MAX_SEEN && self.seen.insert(who) {
                self.served += 1;
                note(format_args!("datagrams from {who}"));
            }
        }
        if is_first {
            self.pump_now();
        }
        true
    }

    /// The peer of a connection has ended its side.
    fn ended(&mut self) {
        self.peer_ended = true;
        if self.ends_with_peer || self.is_shut {
            self.over(End::Closed);
        }
    }

    /// The peer is gone, which is the end unless others may come.
    fn over(&mut self, end: End) {
        if !self.keeps_open() {
            self.talk.borrow_mut().ends(end);
            return;
        }
        if let Socket::Listener(_, connection) = &mut self.socket {
            *connection = None;
        }
        self.peer = None;
        (self.peer_ended, self.is_shut, self.wants_room) = (false, false, false);
    }

    fn failed(&mut self, error: io::Error) {
        let error = match &self.socket {
            Socket::Udp(socket) => match socket.peer_addr() {
                Ok(peer) => of_address(Transport::Udp, error, peer),
                // Of an answer that somebody did not want: others may come.
                Err(_) if self.receiving.is_some() => {
                    if self.sparing.may() {
                        note(format_args!("an answer was not taken: {error}"));
                    }
                    return;
                }
                Err(_) => error.into(),
            },
            _ if self.peer_ended => {
                self.over(End::Closed);
                return;
            }
            _ => anyhow!(error),
        };
        self.over(End::Peer(error));
    }

    fn pump_now(&mut self) {
        self.wants_room = false;
        loop {
            let outcome = {
                let talk = self.talk.borrow();
                let Some(piece) = talk.piece() else { break };
                self.send(piece)
            };
            match outcome {
                Ok(()) => {
                    self.pause = Duration::ZERO;
                    self.talk.borrow_mut().piece_is_sent();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wants_room = true;
                    self.pause = (self.pause * 2).clamp(FIRST_RETRY, RETRY);
                    return;
                }
                Err(error) => {
                    // One that cannot be sent must not be tried for ever.
                    self.talk.borrow_mut().piece_is_sent();
                    self.failed(error);
                    // The rest goes on, where anybody is left to have it.
                    if self.talk.borrow().end.is_some() || !self.is_there() {
                        return;
                    }
                }
            }
        }
        if self.is_shut || !self.talk.borrow().is_all_sent() || !self.is_there() {
            return;
        }
        self.is_shut = true;
        self.talk.borrow_mut().done_at = Some(Instant::now());
        if let Socket::Seqpacket(socket) | Socket::Listener(_, Some(socket)) = &self.socket {
            if self.half_close {
                // Of a peer that is gone already a receive tells.
                let _ = socket.shutdown(Shutdown::Write);
            }
            if self.peer_ended {
                self.over(End::Closed);
            }
        }
    }

    fn is_there(&self) -> bool {
        match &self.socket {
            Socket::Listener(_, connection) => connection.is_some(),
            Socket::Unix(_) if !self.is_connected => {
                matches!(self.peer, Some(Who::Unix(name)) if !name.is_unnamed())
            }
            _ => self.is_connected || self.peer.is_some(),
        }
    }

    /// Whether the poller tells when a send has room again: of a Unix datagram it looks at the queue of the peer only where the
    /// socket is connected (Linux, `unix_dgram_poll`).
    fn knows_of_room(&self) -> bool {
        self.is_connected || !matches!(self.socket, Socket::Unix(_))
    }

    fn send(&self, piece: &[u8]) -> io::Result<()> {
        let sent = match (&self.socket, self.peer) {
            (Socket::Udp(socket), Some(Who::Ip(peer))) => socket.send_to(piece, peer),
            (Socket::Udp(socket), _) => socket.send(piece),
            (Socket::Unix(socket), Some(Who::Unix(peer))) => socket.send_to_name(piece, &peer),
            (Socket::Unix(socket), _) => socket.send(piece),
            (Socket::Seqpacket(socket) | Socket::Listener(_, Some(socket)), _) => socket.send(piece),
            (Socket::Listener(_, None), _) => Err(io::ErrorKind::NotConnected.into()),
        };
        sent.map(|_| ())
    }

    /// The next connection, where none has its turn.
    fn accept(&mut self) {
        let Socket::Listener(listener, connection @ None) = &mut self.socket else {
            return;
        };
        match listener.accept_outcome() {
            AcceptOutcome::Accepted(socket, _) => {
                *connection = Some(socket);
                self.served += 1;
                self.talk.borrow_mut().begin();
                note("connection of seqpackets");
                self.pump_now();
            }
            AcceptOutcome::BackOff(_) => self.backs_off = true,
            AcceptOutcome::Fatal(error) => {
                let error = anyhow!(error).context("accept");
                self.talk.borrow_mut().ends(End::Here(error));
            }
            _ => {}
        }
    }
}

impl Wire for Messages {
    fn has_peer(&mut self, _: &mut EventLoop) -> bool {
        self.is_there()
    }

    fn pump(&mut self, _: &mut EventLoop) {
        if std::mem::take(&mut self.backs_off) {
            self.accept();
        }
        self.pump_now();
    }

    fn expire(&mut self, _: &mut EventLoop) {
        self.over(End::Closed);
    }

    fn entry(&self) -> Option<(BorrowedFd<'_>, bool, bool)> {
        let talk = self.talk.borrow();
        if talk.end.is_some() {
            return None;
        }
        let fd = match &self.socket {
            Socket::Udp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Seqpacket(socket) | Socket::Listener(_, Some(socket)) => socket.as_fd(),
            Socket::Listener(listener, None) => listener.as_fd(),
        };
        let reads = !self.peer_ended && !self.backs_off && !talk.is_full();
        Some((fd, reads, self.wants_room && self.knows_of_room()))
    }

    fn retry(&self) -> Option<Duration> {
        if self.talk.borrow().end.is_some() {
            return None;
        }
        let full = (self.wants_room && !self.knows_of_room()).then_some(self.pause);
        full.or(self.backs_off.then_some(RETRY))
    }

    fn ready(&mut self) {
        self.accept();
        self.receive();
        if self.wants_room {
            self.pump_now();
        }
    }
}
