//! The peer's side of a conversation, where it is a connection of streams: TCP, TLS, a Unix socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use anyhow::anyhow;
use sockeye::event_loop::{
    CloseReason, ConnectFailure, Context, ListenerId, Peer, Sent, Stream, StreamId, StreamService,
};

use super::allow::Allow;
use super::errors::{connect_error, with_advice};
use super::{End, Sparing, Talk};
use crate::exit::describe;
use crate::output::{note, warn};
use crate::privileges;

/// One connection at a time, and what it has to know.
#[derive(Debug)]
pub(crate) struct Carrier {
    talk: Rc<RefCell<Talk>>,
    half_close: bool,
    /// The end of the peer ends it all: nobody at a terminal should have to end stdin too.
    ends_with_peer: bool,
    listening: Option<Listening>,
    active: Option<Active>,
    /// Connections of other listeners, which wait for their turn: one of each at most.
    waiting: VecDeque<StreamId>,
}

/// What a carrier that accepts has to know.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    pub(crate) keep_open: bool,
    pub(crate) allow: Allow,
    pub(crate) listeners: Vec<ListenerId>,
    pub(crate) sparing: Sparing,
    /// Peers that there were.
    pub(crate) served: u64,
}

#[derive(Debug)]
struct Active {
    id: StreamId,
    name: String,
    peer_ended: bool,
    is_shut: bool,
    /// It was ended by this side, so that how it ends is no fault.
    is_over: bool,
}

impl Carrier {
    pub(crate) fn new(talk: Rc<RefCell<Talk>>, half_close: bool, ends_with_peer: bool) -> Self {
        Self {
            talk,
            half_close,
            ends_with_peer,
            listening: None,
            active: None,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn listen(&mut self, listening: Listening) {
        self.listening = Some(listening);
    }

    /// Whether a peer is there to be sent to.
    pub(crate) fn has_peer(&self) -> bool {
        self.active.as_ref().is_some_and(|active| !active.is_over)
    }

    /// Peers that there were.
    pub(crate) fn served(&self) -> u64 {
        self.listening.as_ref().map_or(0, |listening| listening.served)
    }

    /// Sends what waits, and takes up reading where stdout has room again.
    pub(crate) fn pump(&mut self, context: &mut Context<'_>) {
        let Some(id) = self.active.as_ref().map(|active| active.id) else {
            return;
        };
        if let Some(mut stream) = context.stream(id) {
            self.send(&mut stream);
            let talk = self.talk.borrow();
            if talk.end.is_some() {
                stream.abort();
            } else if !talk.has_output() {
                stream.resume();
            }
        }
    }

    /// Time is over: what waits still leaves.
    pub(crate) fn expire(&mut self, context: &mut Context<'_>) {
        if let Some(active) = &mut self.active
            && !std::mem::replace(&mut active.is_over, true)
            && let Some(mut stream) = context.stream(active.id)
        {
            stream.close();
        }
    }

    fn activate(&mut self, stream: &mut Stream<'_>) {
        let name = name_of(stream.peer());
        if let Some(listening) = &mut self.listening {
            listening.served += 1;
            note(format_args!("connection from {name}"));
            if !listening.keep_open {
                for listener in listening.listeners.drain(..) {
                    stream.context().close_listener(listener);
                }
            }
        }
        self.active = Some(Active {
            id: stream.id(),
            name,
            peer_ended: false,
            is_shut: false,
            is_over: false,
        });
        self.talk.borrow_mut().begin();
        self.send(stream);
    }

    fn send(&mut self, stream: &mut Stream<'_>) {
        let Some(active) = &mut self.active else {
            return;
        };
        let mut talk = self.talk.borrow_mut();
        while let Some(piece) = talk.piece() {
            match stream.write(piece) {
                Sent::Sent | Sent::Queued => talk.piece_is_sent(),
                Sent::Full | Sent::TooLarge | Sent::Gone => return,
            }
        }
        if !talk.is_all_sent() || active.is_shut {
            return;
        }
        active.is_shut = true;
        talk.done_at = Some(std::time::Instant::now());
        if active.peer_ended {
            stream.close();
        } else if self.half_close {
            stream.shutdown_write();
        }
    }

    /// The next one that waits.
    fn next(&mut self, context: &mut Context<'_>) {
        while let Some(id) = self.waiting.pop_front() {
            if let Some(mut stream) = context.stream(id) {
                self.activate(&mut stream);
                stream.resume();
                return;
            }
        }
    }
}

/// Who is at the other side, in words.
pub(crate) fn name_of(peer: Option<Peer>) -> String {
    match peer {
        Some(Peer::Ip(address)) => address.to_string(),
        Some(Peer::Unix { name, credentials }) => {
            let pid = credentials.and_then(|credentials| credentials.pid);
            match pid {
                Some(pid) if name.is_unnamed() => format!("process {pid}"),
                Some(pid) => format!("unix:{name} (process {pid})"),
                None => format!("unix:{name}"),
            }
        }
        _ => "a peer".to_owned(),
    }
}

impl StreamService for Carrier {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if let Some(listening) = &mut self.listening {
            if !listening.allow.admits(stream.peer()) {
                if listening.sparing.may() {
                    note(format_args!(
                        "refused {}: not within --allow",
                        name_of(stream.peer())
                    ));
                }
                stream.abort();
                return;
            }
            let is_over = self.talk.borrow().end.is_some() || (!listening.keep_open && listening.served > 0);
            if is_over {
                stream.abort();
                return;
            }
        }
        // A listener has given up everything before it waits for peers.
        if self.listening.is_none()
            && let Err(error) = privileges::drop_all()
        {
            self.talk.borrow_mut().ends(End::Here(error));
            stream.abort();
            return;
        }
        if self.active.is_some() {
            stream.pause();
            self.waiting.push_back(stream.id());
            return;
        }
        self.activate(stream);
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if self.active.as_ref().is_none_or(|active| active.id != stream.id()) {
            return 0;
        }
        let mut talk = self.talk.borrow_mut();
        talk.received(data);
        if talk.is_full() {
            stream.pause();
        }
        data.len()
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        self.send(stream);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, (): &mut ()) {
        let Some(active) = self.active.as_mut().filter(|active| active.id == stream.id()) else {
            stream.close();
            return;
        };
        active.peer_ended = true;
        if self.ends_with_peer || active.is_shut {
            stream.close();
        }
    }

    fn on_connect_error(&mut self, _context: &mut Context<'_>, failure: ConnectFailure) {
        let error = connect_error(failure);
        self.talk.borrow_mut().ends(End::Peer(error));
    }

    fn on_listener_lost(&mut self, _: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        if let Some(listening) = &mut self.listening {
            listening.listeners.retain(|id| *id != listener);
            if listening.listeners.is_empty() && self.active.is_none() {
                let error = anyhow!(error).context("the listener is lost");
                self.talk.borrow_mut().ends(End::Here(error));
            }
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, (): (), reason: CloseReason) {
        self.waiting.retain(|waiting| *waiting != id);
        let Some(active) = self.active.take_if(|active| active.id == id) else {
            return;
        };
        let end = match reason {
            _ if active.is_over => End::Closed,
            CloseReason::Closed => End::Closed,
            // It had said all that it had to say, and went before we had.
            CloseReason::Error(_) if active.peer_ended => End::Closed,
            CloseReason::Error(error) => End::Peer(with_advice(error)),
            other => End::Peer(anyhow!("{other}")),
        };
        match (&self.listening, end) {
            (Some(listening), end) if listening.keep_open => {
                let name = &active.name;
                match end {
                    End::Peer(error) => warn(format_args!("{name}: {}", describe(&error))),
                    _ => note(format_args!("{name}: closed")),
                }
                self.next(context);
            }
            (_, end) => self.talk.borrow_mut().ends(end),
        }
    }
}
