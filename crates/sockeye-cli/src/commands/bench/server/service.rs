//! The connections of a server: each says first whether it controls a run or is a flow of one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::event_loop::{
    CloseReason, Context, Datagrams, Deadlines, ListenerId, Message as Told, Stream, StreamId, StreamService,
};
use sockeye::measure::run::datagram::{Header, Kind};
use sockeye::measure::run::{MAX_REPLY, MAX_REQUEST, Message, RunId};

use super::super::flows::Stage;
use super::super::flows::control::{Fault, Reader, keep_alive, send};
use super::super::flows::datagram::{Joining, Who};
use super::super::flows::stream::{DUE, StreamFlow};
use super::log::{Event, peer_of};
use super::runs::Runs;

/// For the first message.
const GREETING: Duration = Duration::from_secs(10);

/// The service of all listeners.
#[derive(Debug)]
pub(super) struct Server(pub(super) Rc<RefCell<Runs>>);

/// What a connection is.
#[derive(Debug)]
pub(super) enum Conn {
    New(Reader),
    Control(Reader),
    Flow(RunId, Box<StreamFlow>),
    /// Nothing that it sends is read any more.
    Refused,
}

impl Server {
    fn refuse(&self, stream: &mut Stream<'_>, reason: String) -> Conn {
        let _ = send(
            stream,
            &Message::Refused {
                reason: reason.clone(),
            },
            MAX_REPLY,
        );
        stream.close();
        let peer = peer_of(stream);
        self.0.borrow().log.put(Event::Refused { peer, reason });
        Conn::Refused
    }

    /// The first message of a connection.
    fn greet(&self, stream: &mut Stream<'_>, message: Message) -> Conn {
        let mut runs = self.0.borrow_mut();
        let refused = match message {
            Message::Parameters(parameters) => match runs.open(stream, parameters) {
                Ok(()) => {
                    stream.set_deadlines(Deadlines::default());
                    keep_alive(stream);
                    return Conn::Control(Reader::of_messages(MAX_REQUEST));
                }
                Err(reason) => reason,
            },
            Message::Join { run, flow } => match runs.join(stream, run, flow) {
                Ok(flow) => {
                    stream.set_deadlines(Deadlines::default());
                    return Conn::Flow(run, Box::new(flow));
                }
                Err(reason) => reason,
            },
            _ => Fault::Unexpected.to_string(),
        };
        drop(runs);
        self.refuse(stream, refused)
    }

    /// Looks at the run of a flow that has news.
    fn look(&self, stream: &mut Stream<'_>, id: RunId, flow: &StreamFlow) {
        if flow.flow.news.get() {
            let mut runs = self.0.borrow_mut();
            if let Some(control) = runs.run_of(id) {
                runs.look(&mut stream.context(), Some(control));
            }
        }
    }
}

impl StreamService for Server {
    type Conn = Conn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Conn {
        stream.set_deadlines(Deadlines {
            read: Some(GREETING),
            ..Deadlines::default()
        });
        Conn::New(Reader::with_hello(MAX_REQUEST))
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, data: &mut [u8]) -> usize {
        let mut taken = 0;
        loop {
            let rest = data.get(taken..).unwrap_or_default();
            let reader = match conn {
                Conn::New(reader) | Conn::Control(reader) => reader,
                Conn::Flow(id, flow) => {
                    if !rest.is_empty() {
                        flow.take(stream, rest);
                        self.look(stream, *id, flow);
                    }
                    return data.len();
                }
                Conn::Refused => return data.len(),
            };
            let message = match reader.next(rest) {
                Ok((message, len)) => {
                    taken += len;
                    message
                }
                Err(fault) => {
                    *conn = self.refuse(stream, fault.to_string());
                    return data.len();
                }
            };
            let Some(message) = message else {
                return taken;
            };
            match conn {
                Conn::New(_) => *conn = self.greet(stream, message),
                _ => {
                    let result = self.0.borrow_mut().take(stream, message);
                    if let Err(reason) = result
                        && !stream.is_closing()
                    {
                        *conn = self.refuse(stream, reason.clone());
                        let id = stream.id();
                        let mut runs = self.0.borrow_mut();
                        runs.forget(&mut stream.context(), id, Some(reason));
                    }
                }
            }
        }
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        if let Conn::Flow(id, flow) = conn {
            flow.go_on(stream);
            self.look(stream, *id, flow);
        }
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, _: Told) {
        self.on_writable(stream, conn);
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Conn, key: u64) {
        match conn {
            Conn::Flow(id, flow) if key == DUE => {
                flow.due(stream);
                self.look(stream, *id, flow);
            }
            Conn::Control(_) => self.0.borrow_mut().timer(stream, key),
            _ => {}
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut Conn) {
        match conn {
            Conn::Flow(id, flow) => {
                flow.ended();
                let id = *id;
                self.look(stream, id, flow);
                // A flow that still sends goes on: the client has ended its own half only.
                if flow.flow.stage.get() != Stage::Going || flow.flow.is_done.get() || !flow.sends() {
                    stream.close();
                }
            }
            _ => stream.close(),
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: Conn, reason: CloseReason) {
        let mut runs = self.0.borrow_mut();
        match conn {
            Conn::Control(_) => runs.forget(context, id, None),
            Conn::Flow(run, flow) => {
                let is_in_order = matches!(reason, CloseReason::Closed) && flow.flow.has_ended.get();
                if !is_in_order && !matches!(reason, CloseReason::LoopEnded) {
                    runs.flow_broke(context, run, flow.flow.number, &reason.to_string());
                }
            }
            Conn::New(_) if !matches!(reason, CloseReason::Closed | CloseReason::LoopEnded) => {
                let peer = "a peer".to_owned();
                let reason = format!("it said nothing of sockeye bench: {reason}");
                runs.log.put(Event::Refused { peer, reason });
            }
            Conn::New(_) | Conn::Refused => {}
        }
    }

    fn on_listener_lost(&mut self, context: &mut Context<'_>, _: ListenerId, error: std::io::Error) {
        self.0.borrow().log.put(Event::Refused {
            peer: "a listener".to_owned(),
            reason: error.to_string(),
        });
        context.stop();
    }
}

/// Datagrams of a server.
#[derive(Debug)]
pub(super) struct Joins(pub(super) Rc<RefCell<Runs>>);

impl Joining for Joins {
    fn join(&mut self, socket: &mut Datagrams<'_>, header: Header, who: Who) -> Option<Header> {
        // An answer to an answer would never end.
        if header.kind != Kind::Join {
            return None;
        }
        let id = socket.id();
        self.0.borrow_mut().join_by_datagram(id, header, who)
    }

    fn look(&mut self, socket: &mut Datagrams<'_>) {
        self.0.borrow_mut().look(&mut socket.context(), None);
    }

    fn lost(&mut self, _: &mut Datagrams<'_>, _: std::io::Error) {
        // Of one client that has closed its socket, as a rule; its run ends by its control connection.
    }
}
