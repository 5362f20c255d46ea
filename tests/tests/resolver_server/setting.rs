//! A name server and a client, each on a host, and what the client hears.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, Datagram, DatagramOptions, DatagramService, Datagrams, Outgoing,
    Stream, StreamId, StreamService, Time,
};
use sockeye_resolver::dns::{Edns, Message, Question, RecordType};
use sockeye_sim::names::{NameServer, Served, Zones};
use sockeye_sim::{HostId, Sim};

pub const ZONE: &str = "
$ORIGIN example.test.
$TTL 300
@     SOA ns admin 1 2h 15m 14d 60
@     NS ns
ns    A 10.0.0.53
www   A 192.0.2.80
www   AAAA 2001:db8::80
alias CNAME www
*.any A 192.0.2.42
";

/// Longer than any answer here takes.
pub const LONG: Duration = Duration::from_secs(30);

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub fn zones() -> Zones {
    ZONE.parse().unwrap()
}

/// A query with EDNS.
pub fn query(id: u16, name: &str, record_type: RecordType) -> Message {
    let mut query = Message::query(id, Question::new(name.parse().unwrap(), record_type));
    query.edns = Some(Edns {
        udp_size: 1_232,
        ..Edns::default()
    });
    query
}

pub fn wire(message: &Message) -> Vec<u8> {
    let mut wire = Vec::new();
    message.write(65_535, &mut wire);
    wire
}

/// A message that came, or a piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// After the beginning of the simulation.
    pub at: Duration,
    pub from: SocketAddr,
    pub wire: Vec<u8>,
}

impl Heard {
    pub fn message(&self) -> Message {
        Message::parse(&self.wire).unwrap()
    }

    /// The addresses in the answer.
    pub fn addresses(&self) -> Vec<String> {
        let message = self.message();
        let addresses = message.answers.iter().filter_map(|record| record.data.address());
        addresses.map(|ip| ip.to_string()).collect()
    }
}

#[derive(Default)]
pub struct Notes {
    pub heard: Vec<Heard>,
    pub closed: Vec<(Duration, String)>,
}

pub type Diary = Rc<RefCell<Notes>>;

/// Sends datagrams at their times.
struct Client {
    to: SocketAddr,
    queries: Vec<(Duration, Vec<u8>)>,
    diary: Diary,
}

impl DatagramService for Client {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        for (key, (after, _)) in (0..).zip(&self.queries) {
            socket.set_timer(*after, key);
        }
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        let (_, wire) = &self.queries[usize::try_from(key).unwrap()];
        assert!(socket.send(&Outgoing::to(self.to, wire)).is_taken());
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let heard = Heard {
            at: socket.now() - Time::ZERO,
            from: datagram.source,
            wire: datagram.data.to_vec(),
        };
        self.diary.borrow_mut().heard.push(heard);
    }
}

/// Sends pieces one after the other, and takes each whole message for one.
struct StreamClient {
    pieces: Vec<Vec<u8>>,
    end: bool,
    diary: Diary,
}

impl StreamService for StreamClient {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        for key in 0..self.pieces.len() as u64 {
            stream.set_timer(ms(key), key);
        }
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, (): &mut (), key: u64) {
        let place = usize::try_from(key).unwrap();
        let _ = stream.write(&self.pieces[place]);
        if self.end && place + 1 == self.pieces.len() {
            stream.shutdown_write();
        }
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some((&[high, low], rest)) = data[done..].split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let Some(wire) = rest.get(..len) else { break };
            let heard = Heard {
                at: stream.now() - Time::ZERO,
                from: stream.peer_addr().unwrap(),
                wire: wire.to_vec(),
            };
            self.diary.borrow_mut().heard.push(heard);
            done += len + 2;
        }
        done
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let at = context.now() - Time::ZERO;
        self.diary.borrow_mut().closed.push((at, failure.to_string()));
    }

    fn on_close(&mut self, context: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        let at = context.now() - Time::ZERO;
        self.diary.borrow_mut().closed.push((at, reason.to_string()));
    }
}

pub struct Ground {
    pub sim: Sim,
    pub server: NameServer,
    pub host: HostId,
    pub client: HostId,
    pub served: Served,
}

impl Ground {
    pub fn new(server: NameServer) -> Self {
        Self::with_seed(1, server)
    }

    pub fn with_seed(seed: u64, server: NameServer) -> Self {
        let mut sim = Sim::new(seed);
        let (host, client) = (sim.host([10, 0, 0, 53]), sim.host([10, 0, 0, 1]));
        let served = server.serve(sim.on(host), ([0, 0, 0, 0], 53).into()).unwrap();
        Self {
            sim,
            server,
            host,
            client,
            served,
        }
    }

    pub fn address(&self) -> SocketAddr {
        ([10, 0, 0, 53], 53).into()
    }

    /// Sends bytes at their times from now on, by one socket; what has come after half a minute.
    pub fn send(&mut self, to: SocketAddr, queries: Vec<(Duration, Vec<u8>)>) -> Vec<Heard> {
        let diary = Diary::default();
        let service = Client {
            to,
            queries,
            diary: Rc::clone(&diary),
        };
        let events = self.sim.on(self.client);
        let client = events.add_datagram_service(service);
        let at: SocketAddr = ([0, 0, 0, 0], 0).into();
        events.bind(client, at, &DatagramOptions::default()).unwrap();
        self.sim.run_for(LONG).unwrap();
        diary.take().heard
    }

    /// Asks at once; every message that comes back.
    pub fn ask(&mut self, queries: &[Message]) -> Vec<Heard> {
        let queries = queries
            .iter()
            .map(|query| (Duration::ZERO, wire(query)))
            .collect();
        self.send(self.address(), queries)
    }

    /// Asks one question; the one message that comes back.
    #[track_caller]
    pub fn one(&mut self, query: &Message) -> Heard {
        let mut heard = self.ask(std::slice::from_ref(query));
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard.remove(0)
    }

    /// Sends pieces on one connection, a millisecond apart, and may end its side then.
    pub fn stream(&mut self, pieces: Vec<Vec<u8>>, end: bool) -> Notes {
        let diary = Diary::default();
        let service = StreamClient {
            pieces,
            end,
            diary: Rc::clone(&diary),
        };
        let to = self.address();
        self.sim.connect(self.client, to, service);
        self.sim.run_for(LONG).unwrap();
        diary.take()
    }
}

/// A message with its length before it.
pub fn framed(message: &Message) -> Vec<u8> {
    let wire = wire(message);
    [&u16::try_from(wire.len()).unwrap().to_be_bytes()[..], &wire].concat()
}
