//! The asking side: clients that go on until every message of theirs went there and back, over as many
//! connections as it takes.

use std::net::SocketAddr;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, Datagram, DatagramOptions, DatagramService,
    Datagrams, Stream, StreamId, StreamService, TimerId,
};

use super::servers::whole;
use super::{Kind, Shared, SimLoop, message, options};

/// How long a client waits before it connects again.
const AGAIN: Duration = Duration::from_millis(60);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a datagram is waited for at first; each time twice as long, up to the longest.
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// Starts the clients of a host. `false` if one of them could not start.
pub(super) fn start(events: &mut SimLoop, own: Vec<u32>, board: &Shared) -> bool {
    let mut fine = true;
    for index in own {
        let (kind, server) = {
            let client = &board.borrow().clients[index as usize];
            (client.kind, client.server)
        };
        let client = Client {
            index,
            kind,
            server,
            board: Shared::clone(board),
        };
        if kind == Kind::Datagrams {
            let service = events.add_datagram_service(Resend {
                client,
                retry: RETRY,
                timer: None,
            });
            let at = SocketAddr::from(([0, 0, 0, 0], 0));
            fine &= events.bind(service, at, &DatagramOptions::default()).is_ok();
        } else {
            let service = events.add_stream_service(client, options());
            events.connect(service, request(server));
        }
    }
    fine
}

fn request(server: SocketAddr) -> ConnectRequest {
    ConnectRequest::new(server).deadline(Duration::from_secs(3))
}

/// One client over a stream.
struct Client {
    index: u32,
    kind: Kind,
    server: SocketAddr,
    board: Shared,
}

impl Client {
    /// The number of the message that is under way.
    fn number(&self) -> u32 {
        self.board.borrow().clients[self.index as usize].done
    }

    fn is_done(&self) -> bool {
        self.board.borrow().clients[self.index as usize].is_done()
    }

    fn advance(&self) {
        self.board.borrow_mut().clients[self.index as usize].done += 1;
    }

    fn expected(&self) -> Vec<u8> {
        message(self.index, self.number(), self.kind)
    }

    fn wrong(&self, what: &str, got: &[u8]) {
        let (index, number, kind) = (self.index, self.number(), self.kind);
        let len = got.len();
        self.board
            .borrow_mut()
            .wrong(|| format!("client {index} ({kind:?}), message {number}: {what}, {len} bytes"));
    }

    fn ask(&self, stream: &mut Stream<'_>, conn: &mut Option<TimerId>) {
        if let Some(timer) = conn.take() {
            stream.cancel_timer(timer);
        }
        if self.is_done() {
            stream.close();
            return;
        }
        *conn = Some(stream.set_timer(ANSWER, 0));
        if !stream.write(&self.expected()).is_taken() {
            stream.abort();
        }
    }
}

impl StreamService for Client {
    /// The deadline of the answer.
    type Conn = Option<TimerId>;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> Self::Conn {
        let mut conn = None;
        self.ask(stream, &mut conn);
        conn
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, data: &mut [u8]) -> usize {
        let mut done = 0;
        while !self.is_done() {
            let rest = &data[done..];
            let Some(len) = whole(rest) else {
                break;
            };
            if self.kind == Kind::Chat && rest[..4] != self.index.to_be_bytes() {
                done += len;
                continue;
            }
            if rest[..len] != self.expected() {
                // In a room, an own message from before a reconnect may still come by.
                if self.kind != Kind::Chat {
                    self.wrong("not what was sent", &rest[..len]);
                    stream.abort();
                    return data.len();
                }
                done += len;
                continue;
            }
            done += len;
            self.advance();
            self.ask(stream, conn);
        }
        done
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, _: &mut Self::Conn) {
        stream.close();
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut Self::Conn, _: u64) {
        *conn = None;
        stream.abort();
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, _: ConnectFailure) {
        context.set_timer(AGAIN, 0);
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, _: u64) {
        if !self.is_done() {
            context.connect(request(self.server));
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, _: Self::Conn, reason: CloseReason) {
        if !self.is_done() && !matches!(reason, CloseReason::LoopEnded) {
            self.board.borrow_mut().reconnects += 1;
            context.set_timer(AGAIN, 0);
        }
    }
}

/// One client over datagrams: it sends again until the answer comes.
struct Resend {
    client: Client,
    retry: Duration,
    timer: Option<TimerId>,
}

impl Resend {
    fn ask(&mut self, socket: &mut Datagrams<'_>) {
        if let Some(timer) = self.timer.take() {
            socket.cancel_timer(timer);
        }
        if self.client.is_done() {
            socket.close();
            return;
        }
        // What is not taken is like what is lost.
        let _ = socket.send_to(&self.client.expected(), self.client.server);
        self.timer = Some(socket.set_timer(self.retry, 0));
    }
}

impl DatagramService for Resend {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.ask(socket);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let number = self.client.number();
        if *datagram.data == *self.client.expected() {
            self.client.advance();
            self.retry = RETRY;
            self.ask(socket);
        } else {
            // Answers to what was sent twice come twice; anything else is wrong.
            let field = datagram.data.get(4..8).map_or(u32::MAX, |field| {
                u32::from_be_bytes([field[0], field[1], field[2], field[3]])
            });
            let known =
                field < number && *datagram.data == *message(self.client.index, field, Kind::Datagrams);
            if !known {
                self.client.wrong("a datagram that nobody sent", datagram.data);
            }
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, _: u64) {
        self.timer = None;
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
        self.ask(socket);
    }
}
