//! Several servers on one port: each connection stays with the one that has chosen its id, wherever its client moves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sockeye_event_loop::{DatagramOptions, EventLoop, StreamOptions};
use sockeye_quic::{QuicClient, QuicConnect, QuicHandle, QuicServer, socket_options};
use sockeye_tests::wait::PATIENCE;

use crate::probe::Probe;
use crate::setting::{Identity, echo};

struct Shard {
    events: EventLoop,
    quic: QuicHandle,
}

fn shard(identity: &Identity, index: u8, at: SocketAddr) -> (Shard, SocketAddr) {
    let mut events = EventLoop::new().unwrap();
    let inside = events.add_stream_service(echo(), StreamOptions::default());
    let made = QuicServer::new(identity.server(), inside)
        .unwrap()
        .shard(index, 3);
    let quic = made.handle();
    let own = made.add_to(&mut events);
    let options = DatagramOptions {
        reuse_port: true,
        ..socket_options()
    };
    let socket = events.bind(own, at, &options).unwrap();
    let at = events.local_addr(socket).unwrap();
    (Shard { events, quic }, at)
}

fn turn(shards: &mut [Shard], client: &mut EventLoop, what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        for shard in &mut *shards {
            shard.events.turn(Some(Duration::ZERO)).unwrap();
        }
        client.turn(Some(Duration::from_micros(200))).unwrap();
    }
}

#[test]
fn connections_stay_with_their_shard_when_clients_move() {
    const CLIENTS: usize = 30;
    let identity = Identity::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (first, at) = shard(&identity, 0, any);
    let mut shards = vec![first];
    for index in 1..3 {
        shards.push(shard(&identity, index, at).0);
    }
    let mut events = EventLoop::new().unwrap();
    // Each has a socket of its own: what one socket sends to one peer may be merged, and is steered as one then.
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let made = QuicClient::new(identity.client()).unwrap();
            let quic = made.handle();
            let own = made.add_to(&mut events);
            events.bind(own, any, &socket_options()).unwrap();
            (quic, own)
        })
        .collect();
    let probe = Probe::new().open(|stream| {
        let _ = stream.write(b"0");
    });
    let log = probe.log.clone();
    let inner = events.add_stream_service(probe, StreamOptions::default());
    let mut ids = Vec::new();
    for (quic, _) in &clients {
        let (quic, request) = (quic.clone(), QuicConnect::new(at, "localhost").stream(inner, 0));
        let id = events.with(inner, move |_, context| quic.connect(context, request).unwrap());
        ids.push(id.unwrap());
    }
    let all = |log: &crate::probe::Log, len: usize| {
        log.opened() == CLIENTS && (0..CLIENTS).all(|nth| log.received_len(nth) == len)
    };
    turn(&mut shards, &mut events, "the first answers", || all(&log, 1));
    let spread: Vec<usize> = shards.iter().map(|shard| shard.quic.connections()).collect();
    assert_eq!(spread.iter().sum::<usize>(), CLIENTS);
    assert!(spread.iter().all(|count| *count > 0), "{spread:?}");
    for moves in 1..4 {
        for (nth, (quic, own)) in clients.iter().enumerate() {
            let other = events.bind(*own, any, &socket_options()).unwrap();
            let (quic, id) = (quic.clone(), ids[nth]);
            events
                .with(inner, move |_, context| quic.migrate(context, id, other).unwrap())
                .unwrap();
        }
        let (heard, streams) = (log.clone(), log.0.borrow().opened.clone());
        events
            .with(inner, move |_, context| {
                for stream in streams {
                    assert!(context.write(stream, b"x").is_taken());
                }
            })
            .unwrap();
        turn(&mut shards, &mut events, "answers after a move", || {
            all(&heard, 1 + moves)
        });
    }
    let after: Vec<usize> = shards.iter().map(|shard| shard.quic.connections()).collect();
    assert_eq!(after, spread);
    assert!(log.closes().is_empty());
}
