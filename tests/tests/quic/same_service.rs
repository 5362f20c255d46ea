//! The same service over TCP, a Unix socket, TLS, QUIC and a pair, in both worlds: what goes through is the same, and the service
//! never learns by what.

use std::net::SocketAddr;
use std::rc::Rc;

use rustls::pki_types::ServerName;
use sockeye_event_loop::{
    CloseReason, ConnectRequest, Context, EventLoop, ListenOptions, PairOptions, ServiceHandle, Stream,
    StreamId, StreamOptions, StreamService, UnixListenOptions, UnixName,
};
use sockeye_quic::{QuicClient, QuicConnect, QuicServer, rustls, socket_options};
use sockeye_tls::{ConnectorOptions, TlsConnector, TlsServer};

use crate::probe::{Log, Probe};
use crate::setting::{Identity, pattern};
use crate::world::World;

/// Says how many bytes of each value it has had, when it has had all.
struct Histogram;

impl StreamService for Histogram {
    type Conn = [u32; 256];

    fn on_open(&mut self, stream: &mut Stream<'_>) -> [u32; 256] {
        let _ = stream.write(b"count!");
        [0; 256]
    }

    fn on_data(&mut self, _: &mut Stream<'_>, counts: &mut [u32; 256], data: &mut [u8]) -> usize {
        for byte in data.iter() {
            counts[usize::from(*byte)] += 1;
        }
        data.len()
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, counts: &mut [u32; 256]) {
        for count in counts.iter() {
            let _ = stream.write(&count.to_be_bytes());
        }
        stream.close();
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, _: [u32; 256], reason: CloseReason) {
        assert_eq!(reason.name(), "closed");
    }
}

const LEN: u32 = 300_000;

/// Sends everything and its end, and waits for the answer.
fn client() -> Probe {
    let data = Rc::new(pattern(LEN));
    let mut sent = 0;
    let mut push = move |stream: &mut Stream<'_>| {
        while sent < data.len() {
            let end = data.len().min(sent + 7_001);
            if !stream.write(&data[sent..end]).is_taken() {
                return;
            }
            sent = end;
        }
        stream.shutdown_write();
    };
    let begun = Rc::new(std::cell::RefCell::new(
        Box::new(move |stream: &mut Stream<'_>| push(stream)) as Box<dyn FnMut(&mut Stream<'_>)>,
    ));
    let again = Rc::clone(&begun);
    Probe::new()
        .open(move |stream| begun.borrow_mut()(stream))
        .writable(move |stream| again.borrow_mut()(stream))
}

fn answer() -> Vec<u8> {
    let mut counts = [0_u32; 256];
    for byte in pattern(LEN) {
        counts[usize::from(byte)] += 1;
    }
    let counts = counts.iter().flat_map(|count| count.to_be_bytes());
    b"count!".iter().copied().chain(counts).collect()
}

fn served<W: World>(world: &mut W) -> ServiceHandle<Histogram> {
    world
        .server()
        .add_stream_service(Histogram, StreamOptions::default())
}

fn over_tcp<W: World>(world: &mut W) -> Log {
    let inside = served(world);
    let at = world.listen(inside);
    client().connect(world, at).log
}

fn over_unix<W: World>(world: &mut W) -> Log {
    let inside = served(world);
    // A simulated Unix socket reaches its own host only.
    let events = world.server();
    let id = events
        .listen_unix(inside, &UnixName::UNNAMED, &UnixListenOptions::default())
        .unwrap();
    let name = events.local_unix(id).unwrap();
    let (probe, log) = with_log(client());
    let own = events.add_stream_service(probe, StreamOptions::default());
    events.connect(own, ConnectRequest::to_unix(name));
    log
}

fn over_tls<W: World>(world: &mut W) -> Log {
    let identity = Identity::new();
    let inside = served(world);
    let tls = TlsServer::new(identity.server(), inside);
    let tls = world.server().add_stream_service(tls, StreamOptions::default());
    let (_, at) = world.listen_with(tls, &ListenOptions::default());
    let (probe, log) = with_log(client());
    let own = world.client().add_stream_service(probe, StreamOptions::default());
    let connector = TlsConnector::new(world.client(), identity.client(), ConnectorOptions::default());
    let name = ServerName::try_from("localhost").unwrap();
    let asked = world.client().with(own, |_: &mut Probe, context| {
        connector.connect(context, own, name, ConnectRequest::new(at))
    });
    asked.unwrap().unwrap();
    log
}

fn over_quic<W: World>(world: &mut W) -> Log {
    let identity = Identity::new();
    let inside = served(world);
    let quic = QuicServer::new(identity.server(), inside).unwrap();
    let at = SocketAddr::new(world.server_ip(), 0);
    let quic = quic.add_to(world.server());
    let socket = world.server().bind(quic, at, &socket_options()).unwrap();
    let at = world.server().local_addr(socket).unwrap();
    let (probe, log) = with_log(client());
    let own = world.client().add_stream_service(probe, StreamOptions::default());
    let quic = QuicClient::new(identity.client()).unwrap();
    let handle = quic.handle();
    let from = SocketAddr::new(world.client_ip(), 0);
    let quic = quic.add_to(world.client());
    world.client().bind(quic, from, &socket_options()).unwrap();
    let asked = world.client().with(own, |_: &mut Probe, context| {
        handle.connect(context, QuicConnect::new(at, "localhost").stream(own, 0))
    });
    asked.unwrap().unwrap();
    log
}

fn over_a_pair<W: World>(world: &mut W) -> Log {
    let inside = served(world);
    let (probe, log) = with_log(client());
    let events: &mut EventLoop<W::Backend> = world.server();
    let own = events.add_stream_service(probe, StreamOptions::default());
    events.pair(own, inside, &PairOptions::default()).unwrap();
    log
}

fn with_log(probe: Probe) -> (Probe, Log) {
    let log = probe.log.clone();
    (probe, log)
}

fn a_service_is_the_same_over_all_of_them<W: World>() {
    let ways: [(&str, fn(&mut W) -> Log); 5] = [
        ("tcp", over_tcp),
        ("unix", over_unix),
        ("tls", over_tls),
        ("quic", over_quic),
        ("pair", over_a_pair),
    ];
    for (name, way) in ways {
        let mut world = W::new();
        let log = way(&mut world);
        let done = log.clone();
        world.until(name, || done.closes().len() == 1);
        assert_eq!(log.received(0), answer(), "{name}");
        assert_eq!(log.closes(), ["closed"], "{name}");
    }
}

in_both_worlds!(a_service_is_the_same_over_all_of_them);
