//! A name server by TCP: messages with two bytes of length before each (RFC 1035 section 4.2.2, RFC 7766).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sockeye_event_loop::{Deadlines, Stream, StreamService};

use super::answer::{Asking, reply};
use super::behaviour::TcpSupport;
use super::server::{NameServer, Transport};

/// Answers of one connection that may wait for their time; beyond them it is not read from.
const MAX_WAITING: usize = 1_024;

/// The timer of a connection that is served byte by byte. Answers that wait have smaller keys.
const BYTE: u64 = u64::MAX;

/// A name server by TCP: see [`NameServer::tcp`].
#[derive(Debug)]
pub struct NameServerTcp {
    server: NameServer,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    support: TcpSupport,
    answered: u32,
    /// Answers that wait for their time.
    waiting: HashMap<u64, Vec<u8>>,
    next: u64,
    /// What leaves byte by byte.
    bytes: VecDeque<u8>,
    /// The client asks no more: the connection ends with the last answer.
    ended: bool,
}

impl NameServerTcp {
    pub(super) fn new(server: NameServer) -> Self {
        Self { server }
    }
}

impl Session {
    /// Sends an answer, at once or byte by byte, and closes the connection if it was the last one.
    fn send(&mut self, stream: &mut Stream<'_>, wire: &[u8]) {
        let len = u16::try_from(wire.len()).unwrap_or_default();
        let framed = [&len.to_be_bytes(), wire].concat();
        if let TcpSupport::Slow(interval) = self.support {
            if self.bytes.is_empty() {
                stream.set_timer(interval, BYTE);
            }
            self.bytes.extend(framed);
            return;
        }
        if !stream.write(&framed).is_taken() {
            // A client that asks and does not read.
            stream.abort();
            return;
        }
        self.answered += 1;
        if self.support == TcpSupport::ClosesAfter(self.answered) {
            stream.close();
        } else {
            self.end_if_done(stream);
        }
    }

    fn end_if_done(&mut self, stream: &mut Stream<'_>) {
        if self.ended && self.waiting.is_empty() && self.bytes.is_empty() {
            stream.close();
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING && self.bytes.len() < usize::from(u16::MAX)
    }
}

impl StreamService for NameServerTcp {
    type Conn = Session;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Session {
        let (support, idle) = {
            let mut state = self.server.state();
            state.counters.connections += 1;
            (state.behaviour.tcp, state.tcp_idle)
        };
        stream.set_deadlines(Deadlines {
            idle: Some(idle),
            ..Deadlines::default()
        });
        if support == TcpSupport::Reset {
            stream.abort();
        }
        Session {
            support,
            answered: 0,
            waiting: HashMap::new(),
            next: 0,
            bytes: VecDeque::new(),
            ended: false,
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, session: &mut Session, data: &mut [u8]) -> usize {
        let mut done = 0;
        while stream.is_reading() && session.has_room() {
            let Some(rest) = data.get(done..) else { break };
            let Some((&[high, low], rest)) = rest.split_first_chunk::<2>() else {
                stream.want(2);
                break;
            };
            let len = usize::from(u16::from_be_bytes([high, low]));
            let Some(wire) = rest.get(..len) else {
                stream.want(len + 2);
                break;
            };
            done += len + 2;
            let asking = Asking {
                wire,
                transport: Transport::Tcp,
                client: stream.peer_addr().unwrap_or_else(|| ([0, 0, 0, 0], 0).into()),
                now: stream.now(),
                mute: matches!(session.support, TcpSupport::Silent | TcpSupport::ClosesAfter(0)),
            };
            let replies = reply(&mut self.server.state(), &asking, &mut || stream.random());
            if session.support == TcpSupport::ClosesAfter(0) {
                stream.close();
                break;
            }
            for (wire, _) in replies.messages {
                if replies.after.is_zero() {
                    session.send(stream, &wire);
                } else {
                    session.next += 1;
                    session.waiting.insert(session.next, wire);
                    stream.set_timer(replies.after, session.next);
                }
            }
        }
        if !session.has_room() {
            stream.pause();
        }
        done
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, session: &mut Session, key: u64) {
        if key != BYTE {
            if let Some(wire) = session.waiting.remove(&key) {
                session.send(stream, &wire);
            }
        } else if let Some(byte) = session.bytes.pop_front() {
            let _ = stream.write(&[byte]);
            if let TcpSupport::Slow(interval) = session.support
                && !session.bytes.is_empty()
            {
                stream.set_timer(interval.max(Duration::from_nanos(1)), BYTE);
            }
            session.end_if_done(stream);
        }
        if session.has_room() {
            stream.resume();
        }
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, session: &mut Session) {
        session.ended = true;
        // A server that does not answer does not let go either.
        if session.support != TcpSupport::Silent {
            session.end_if_done(stream);
        }
    }
}
