//! The serving side: echo, chat, answers, a relay, datagrams sent back.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, Datagram, DatagramService, Datagrams, Sent, Stream,
    StreamId, StreamService,
};

/// Writes back what fits and leaves the rest for later.
fn echo(stream: &mut Stream<'_>, data: &[u8]) -> usize {
    if stream.write(data).is_taken() {
        data.len()
    } else {
        0
    }
}

/// Sends everything back.
#[derive(Debug)]
pub(super) struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        echo(stream, data)
    }
}

/// The length of the first message in `data`, if it is there as a whole.
pub(super) fn whole(data: &[u8]) -> Option<usize> {
    let field = data.get(8..12)?;
    let len = u32::from_be_bytes([field[0], field[1], field[2], field[3]]) as usize;
    (data.len() >= len && len >= 12).then_some(len)
}

/// Gives each message to everyone who is there, its sender too.
#[derive(Debug, Default)]
pub(super) struct Chat {
    members: Vec<StreamId>,
}

impl StreamService for Chat {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.members.push(stream.id());
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(len) = whole(&data[done..]) {
            let message = &data[done..done + len];
            if stream.write(message) == Sent::Full {
                return done;
            }
            let own = stream.id();
            for &member in self.members.iter().filter(|member| **member != own) {
                // Who does not read misses it: the room goes on.
                let _ = stream.context().write(member, message);
            }
            done += len;
        }
        done
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: StreamId, (): (), _: CloseReason) {
        self.members.retain(|member| *member != id);
    }
}

/// Answers each question after a moment.
#[derive(Debug)]
pub(super) struct Answer;

impl StreamService for Answer {
    type Conn = VecDeque<Vec<u8>>;

    fn on_open(&mut self, _: &mut Stream<'_>) -> Self::Conn {
        VecDeque::new()
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, waiting: &mut Self::Conn, data: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(len) = whole(&data[done..]) {
            waiting.push_back(data[done..done + len].to_vec());
            let moment = Duration::from_micros(stream.random() % 5000);
            stream.set_timer(moment, 0);
            done += len;
        }
        done
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, waiting: &mut Self::Conn, _: u64) {
        if let Some(answer) = waiting.pop_front()
            && stream.write(&answer) == Sent::Full
        {
            stream.abort();
        }
    }
}

/// Connects each connection through to the echo of the same host.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) to: SocketAddr,
    /// Who waits for its other side.
    pub(super) pairs: Vec<StreamId>,
}

/// The tag under which the other side of a connection is asked for; never 0.
fn tag(id: StreamId) -> u64 {
    id.to_u64() + 1
}

impl StreamService for Relay {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        if stream.tag() == 0 {
            // The one who came: it waits until the other side stands.
            stream.pause();
            let request = ConnectRequest::new(self.to)
                .tag(tag(stream.id()))
                .deadline(Duration::from_secs(2));
            stream.context().connect(request);
            self.pairs.push(stream.id());
        } else {
            let waiting = self.pairs.iter().position(|id| tag(*id) == stream.tag());
            let joined = waiting.is_some_and(|at| {
                let id = self.pairs.swap_remove(at);
                stream.join(id)
            });
            if !joined {
                stream.abort();
            }
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), _: &mut [u8]) -> usize {
        stream.abort();
        0
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        if let Some(at) = self.pairs.iter().position(|id| tag(*id) == failure.tag) {
            let id = self.pairs.swap_remove(at);
            if let Some(mut stream) = context.stream(id) {
                stream.abort();
            }
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, id: StreamId, (): (), _: CloseReason) {
        self.pairs.retain(|other| *other != id);
    }
}

/// Sends each datagram back.
#[derive(Debug)]
pub(super) struct Reflect;

impl DatagramService for Reflect {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let _ = socket.send(&datagram.echo());
    }
}
