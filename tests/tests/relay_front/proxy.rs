//! A service that reads a PROXY header before another one gets the connection.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_endpoint::NetSet;
use sockeye_event_loop::{PairOptions, Peer, ServiceHandle, Stream, StreamOptions, UnixName, Watermarks};
use sockeye_relay::proxy::{
    self, Addresses, HeaderFault, ProxyCounts, ProxyServer, ServerOptions, Tlv, Transport, Untrusted, Version,
};

use crate::probe::{Log, Probe, Told};
use crate::world::World;

in_all_worlds!(
    the_service_sees_the_client_and_what_follows_the_header,
    a_header_cut_at_every_byte_is_the_same,
    what_speaks_for_itself_keeps_its_own_addresses,
    a_name_of_a_unix_socket_is_answered_too,
    an_untrusted_source_is_reset_unread,
    an_untrusted_source_is_passed_on_if_wanted,
    what_is_no_header_is_reset_and_counted,
    a_longest_header_is_read_and_one_byte_more_is_not,
    a_header_that_does_not_come_has_a_deadline,
    a_client_that_ends_within_its_header,
    many_that_stall_hold_nobody_up,
    two_relays_in_a_row,
    what_is_carried_sees_the_client_too;
    on_two_loops:
    a_connecting_service_announces_its_client,
);

type Server = ServiceHandle<ProxyServer<Probe>>;

/// What the inner service is told when it opens, and what it reads.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<(Option<Peer>, Option<SocketAddr>, Option<String>)>>>);

impl Seen {
    fn note(&self, stream: &mut Stream<'_>) {
        let header = proxy::header_of(stream);
        let name = header.and_then(|header| header.authority().map(str::to_owned));
        let seen = (stream.peer(), stream.local_addr().ok(), name);
        self.0.borrow_mut().push(seen);
    }

    fn all(&self) -> Vec<(Option<Peer>, Option<SocketAddr>, Option<String>)> {
        self.0.borrow().clone()
    }
}

/// Everybody is trusted.
fn trusting() -> ServerOptions {
    ServerOptions {
        trust_non_ip: true,
        ..ServerOptions::trusting(NetSet::all())
    }
}

/// An inner service behind a server with these options, and where it listens.
fn serve<W: World>(world: &mut W, options: ServerOptions) -> (Server, SocketAddr, Log, Seen) {
    let seen = Seen::default();
    let note = seen.clone();
    let inner = Probe::new().open(move |stream| note.note(stream));
    let log = inner.log.clone();
    let inner = world.server().add_stream_service(inner, StreamOptions::default());
    let server = ProxyServer::new(inner, options);
    let server = world
        .server()
        .add_stream_service(server, StreamOptions::default());
    let at = world.listen(server);
    (server, at, log, seen)
}

fn counts<W: World>(world: &mut W, server: Server) -> ProxyCounts {
    world.server().service(server).unwrap().counts()
}

/// A client that sends that and waits.
fn send<W: World>(world: &mut W, to: SocketAddr, bytes: &[u8]) -> Log {
    let bytes = bytes.to_vec();
    let client = Probe::new().open(move |stream| assert!(stream.write(&bytes).is_taken()));
    client.connect(world, to).log
}

/// A client that sends two pieces, one after the other.
fn send_apart<W: World>(world: &mut W, to: SocketAddr, first: &[u8], second: &[u8]) {
    let (first, second) = (first.to_vec(), second.to_vec());
    Probe::new()
        .open(move |stream| {
            if !first.is_empty() {
                assert!(stream.write(&first).is_taken());
            }
            stream.set_timer(Duration::from_millis(2), 0);
        })
        .timer(move |stream, _| assert!(stream.write(&second).is_taken()))
        .connect(world, to);
}

fn client() -> Addresses {
    Addresses::ip(
        "192.0.2.1:50000".parse().unwrap(),
        "[2001:db8::1]:443".parse().unwrap(),
    )
}

/// What the inner service sees of `client()`.
fn seen(name: Option<&str>) -> (Option<Peer>, Option<SocketAddr>, Option<String>) {
    let (peer, local) = ("[::ffff:192.0.2.1]:50000", "[2001:db8::1]:443");
    let peer = Some(Peer::Ip(peer.parse().unwrap()));
    (peer, Some(local.parse().unwrap()), name.map(str::to_owned))
}

/// A header of version 2 with a checksum, a name and padding up to that length.
fn header_of_len(len: usize) -> Vec<u8> {
    let with = |padding: &[u8]| {
        let tlvs = [Tlv::Authority("example.org"), Tlv::NoOp(padding)];
        proxy::encode_v2(Some(&client()), &tlvs, true).unwrap()
    };
    let header = with(&vec![0; len - with(&[]).len()]);
    assert_eq!(header.len(), len);
    header
}

fn the_service_sees_the_client_and_what_follows_the_header<W: World>() {
    let mut world = W::new();
    let (server, at, log, seen_there) = serve(&mut world, trusting());
    let headers = [proxy::encode_v1(Some(&client())), header_of_len(200)];
    for (nth, header) in headers.iter().enumerate() {
        send(&mut world, at, &[&header[..], b"hello"].concat());
        world.until("hello", || log.received(nth) == b"hello");
    }
    assert_eq!(seen_there.all(), [seen(None), seen(Some("example.org"))]);
    assert_eq!(
        counts(&mut world, server),
        ProxyCounts {
            relayed: 2,
            ..ProxyCounts::default()
        }
    );
    let left = world.server().timers();
    assert_eq!(left, 0, "the deadlines are cancelled");
}

fn a_header_cut_at_every_byte_is_the_same<W: World>() {
    let mut world = W::new();
    let (server, at, log, seen_there) = serve(&mut world, trusting());
    let headers = [proxy::encode_v1(Some(&client())), header_of_len(100)];
    let mut all = 0;
    for header in headers {
        let bytes = [&header[..], b"ok"].concat();
        for cut in 0..bytes.len() {
            send_apart(&mut world, at, &bytes[..cut], &bytes[cut..]);
            all += 1;
        }
    }
    let inner = log.clone();
    world.until("all of them", || {
        inner.opened() == all && (0..all).all(|nth| inner.received(nth) == b"ok")
    });
    assert_eq!(counts(&mut world, server).relayed, all as u64);
    assert!(seen_there.all().iter().all(|(peer, ..)| *peer == seen(None).0));
}

fn what_speaks_for_itself_keeps_its_own_addresses<W: World>() {
    let mut world = W::new();
    let (server, at, log, seen_there) = serve(&mut world, trusting());
    let own: Rc<RefCell<Vec<Option<Peer>>>> = Rc::default();
    let note = Rc::clone(&own);
    let plain = Probe::new().open(move |stream| note.borrow_mut().push(stream.peer()));
    let plain_log = plain.log.clone();
    let (_, plain_at) = plain.serve(&mut world, StreamOptions::default());
    let headers = [
        proxy::encode_v1(None),
        proxy::encode_v2(None, &[], false).unwrap(),
    ];
    for (nth, header) in headers.iter().enumerate() {
        send(&mut world, at, header);
        world.until("open", || log.opened() == nth + 1);
    }
    send(&mut world, plain_at, b"");
    world.until("the other one", || plain_log.opened() == 1);
    let ip_of = |peer: Option<Peer>| match peer {
        Some(Peer::Ip(address)) => format!("{}", address.ip()),
        other => format!("{other:?}"),
    };
    for (peer, local, _) in seen_there.all() {
        assert_eq!(ip_of(peer), ip_of(own.borrow()[0]));
        assert!(local.is_none_or(|local| local == at));
    }
    assert_eq!(
        counts(&mut world, server),
        ProxyCounts {
            local: 2,
            ..ProxyCounts::default()
        }
    );
}

fn a_name_of_a_unix_socket_is_answered_too<W: World>() {
    let mut world = W::new();
    let (_, at, _, seen_there) = serve(&mut world, trusting());
    let name: UnixName = "@client".parse().unwrap();
    let unix = Addresses::Unix {
        source: name,
        destination: "/run/app.sock".parse().unwrap(),
        transport: Transport::Stream,
    };
    send(
        &mut world,
        at,
        &proxy::encode_v2(Some(&unix), &[], false).unwrap(),
    );
    let s = seen_there.clone();
    world.until("open", || !s.all().is_empty());
    let peer = Peer::Unix {
        name,
        credentials: None,
    };
    assert_eq!(seen_there.all(), [(Some(peer), None, None)]);
}

fn an_untrusted_source_is_reset_unread<W: World>() {
    let mut world = W::new();
    let (server, at, log, _) = serve(
        &mut world,
        ServerOptions::trusting("203.0.113.0/24".parse().map(one).unwrap()),
    );
    let client = send(&mut world, at, &proxy::encode_v1(Some(&client())));
    // The reset may come before the client knows of its connection.
    let failed = |told: &Told| matches!(told, Told::ConnectFailed(_) | Told::Dropped);
    world.until("the end", || client.all().iter().any(failed));
    assert_eq!(log.opened(), 0);
    let expected = ProxyCounts {
        refused: 1,
        ..ProxyCounts::default()
    };
    assert_eq!(counts(&mut world, server), expected);
}

fn one(network: sockeye_endpoint::Network) -> NetSet {
    let mut set = NetSet::new();
    set.insert(network);
    set
}

fn an_untrusted_source_is_passed_on_if_wanted<W: World>() {
    let mut world = W::new();
    let options = ServerOptions {
        untrusted: Untrusted::PassOn,
        ..ServerOptions::trusting(NetSet::new())
    };
    let (server, at, log, seen_there) = serve(&mut world, options);
    let header = proxy::encode_v1(Some(&client()));
    send(&mut world, at, &header);
    world.until("the header as bytes", || log.received(0) == header);
    assert_ne!(seen_there.all(), [seen(None)], "nobody believes it");
    let expected = ProxyCounts {
        passed_on: 1,
        ..ProxyCounts::default()
    };
    assert_eq!(counts(&mut world, server), expected);
}

fn what_is_no_header_is_reset_and_counted<W: World>() {
    let mut world = W::new();
    let (server, at, log, _) = serve(&mut world, trusting());
    let mut wrong_sum = header_of_len(100);
    wrong_sum[64] ^= 1;
    let mut too_short = header_of_len(100);
    too_short[15] = 3;
    let mut too_far = header_of_len(100);
    too_far[14..16].copy_from_slice(&[0xff, 0xff]);
    for (nth, (bytes, why)) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], HeaderFault::NoHeader),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n", HeaderFault::Port),
        (&[b'P'; 200], HeaderFault::NoHeader),
        (
            &[b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 100]].concat(),
            HeaderFault::TooLong(107),
        ),
        (&wrong_sum, HeaderFault::Checksum),
        (&too_short, HeaderFault::Length),
        (&too_far, HeaderFault::TooLong(4096)),
    ]
    .into_iter()
    .enumerate()
    {
        let client = send(&mut world, at, bytes);
        world.until("the end", || client.has(&Told::Dropped));
        let server = world.server().service(server).unwrap();
        assert_eq!(server.last_invalid().map(|invalid| invalid.why), Some(why));
        assert_eq!(server.counts().invalid, nth as u64 + 1);
    }
    assert_eq!(log.opened(), 0);
    assert_eq!(world.server().open_streams(), 0);
}

fn a_longest_header_is_read_and_one_byte_more_is_not<W: World>() {
    let mut world = W::new();
    let (server, at, log, seen_there) = serve(&mut world, trusting());
    let client = send(&mut world, at, &header_of_len(4097));
    world.until("the end", || client.has(&Told::Dropped));
    send(&mut world, at, &[header_of_len(4096), b"end".to_vec()].concat());
    world.until("what follows", || log.received(0) == b"end");
    assert_eq!(seen_there.all(), [seen(Some("example.org"))]);
    let expected = ProxyCounts {
        relayed: 1,
        invalid: 1,
        ..ProxyCounts::default()
    };
    assert_eq!(counts(&mut world, server), expected);
}

fn a_header_that_does_not_come_has_a_deadline<W: World>() {
    let mut world = W::new();
    let options = ServerOptions {
        deadline: Duration::from_millis(20),
        ..trusting()
    };
    let (server, at, log, _) = serve(&mut world, options);
    let header = header_of_len(100);
    for cut in [0, 1, 15, 16, 99] {
        let client = send(&mut world, at, &header[..cut]);
        world.until("the end", || client.has(&Told::Dropped));
    }
    assert_eq!(log.opened(), 0);
    let expected = ProxyCounts {
        late: 5,
        ..ProxyCounts::default()
    };
    assert_eq!(counts(&mut world, server), expected);
}

fn a_client_that_ends_within_its_header<W: World>() {
    let mut world = W::new();
    let (server, at, log, _) = serve(&mut world, trusting());
    let header = header_of_len(100);
    for cut in [0, 5, 99] {
        let bytes = header[..cut].to_vec();
        let client = Probe::new()
            .open(move |stream| {
                assert!(stream.write(&bytes).is_taken());
                stream.shutdown_write();
            })
            .connect(&mut world, at)
            .log;
        world.until("the end", || client.has(&Told::Dropped));
        assert_eq!(client.closes(), ["closed"]);
    }
    assert_eq!(world.server().timers(), 0, "no deadline is left");
    assert_eq!(log.opened(), 0);
    let expected = ProxyCounts {
        cut_short: 3,
        ..ProxyCounts::default()
    };
    assert_eq!(counts(&mut world, server), expected);
}

fn many_that_stall_hold_nobody_up<W: World>() {
    const STALLED: usize = 200;
    let mut world = W::new();
    let options = ServerOptions {
        deadline: Duration::from_secs(1),
        ..trusting()
    };
    let (server, at, log, _) = serve(&mut world, options);
    let header = header_of_len(4_000);
    let stalled: Vec<Log> = (0..STALLED)
        .map(|nth| send(&mut world, at, &header[..nth * 19]))
        .collect();
    send(&mut world, at, &[&header[..], b"hello"].concat());
    world.until("hello", || log.received(0) == b"hello");
    world.until("the deadline", || {
        stalled.iter().all(|client| client.has(&Told::Dropped))
    });
    let counts = counts(&mut world, server);
    assert_eq!((counts.relayed, counts.late), (1, STALLED as u64));
    assert_eq!(world.server().timers(), 0, "no deadline is left");
}

fn two_relays_in_a_row<W: World>() {
    let mut world = W::new();
    let seen_there = Seen::default();
    let note = seen_there.clone();
    let inner = Probe::new().open(move |stream| note.note(stream));
    let log = inner.log.clone();
    let inner = world.server().add_stream_service(inner, StreamOptions::default());
    // The second one believes only whom the first header names.
    let second = ServerOptions::trusting("198.51.100.0/24".parse().map(one).unwrap());
    let second = world
        .server()
        .add_stream_service(ProxyServer::new(inner, second), StreamOptions::default());
    let first = world
        .server()
        .add_stream_service(ProxyServer::new(second, trusting()), StreamOptions::default());
    let at = world.listen(first);
    let relay = Addresses::ip(
        "198.51.100.7:1".parse().unwrap(),
        "198.51.100.8:2".parse().unwrap(),
    );
    let bytes = [
        proxy::encode_v1(Some(&relay)),
        header_of_len(100),
        b"hello".to_vec(),
    ]
    .concat();
    send(&mut world, at, &bytes);
    world.until("hello", || log.received(0) == b"hello");
    assert_eq!(seen_there.all(), [seen(Some("example.org"))]);
}

fn what_is_carried_sees_the_client_too<W: World>() {
    let mut world = W::new();
    let seen_there = Seen::default();
    let note = seen_there.clone();
    let carried = Probe::new().open(move |stream| note.note(stream));
    let carried = world
        .server()
        .add_stream_service(carried, StreamOptions::default());
    let ends = world
        .server()
        .add_stream_service(Probe::new(), StreamOptions::default());
    let carrier = Probe::new().open(move |stream| {
        let like = PairOptions {
            second_like: Some(stream.id()),
            ..PairOptions::default()
        };
        stream.context().pair(ends, carried, &like).unwrap();
    });
    let carrier = world
        .server()
        .add_stream_service(carrier, StreamOptions::default());
    let server = world
        .server()
        .add_stream_service(ProxyServer::new(carrier, trusting()), StreamOptions::default());
    let at = world.listen(server);
    send(&mut world, at, &header_of_len(100));
    let s = seen_there.clone();
    world.until("open", || !s.all().is_empty());
    assert_eq!(seen_there.all(), [seen(Some("example.org"))]);
}

/// A relay in one piece: what connects for a client says so, and the server at the other side sees that client.
fn a_connecting_service_announces_its_client<W: World>() {
    let mut world = W::new();
    for version in [Version::V1, Version::V2] {
        let (_, at, log, seen_there) = serve(&mut world, trusting());
        let request = world.request(at);
        let client: Rc<RefCell<Option<Addresses>>> = Rc::default();
        let (note, say) = (Rc::clone(&client), Rc::clone(&client));
        let outward = Probe::new().open(move |stream| {
            let addresses = *say.borrow();
            let tlvs = [Tlv::UniqueId(b"7")];
            let sent = proxy::announce(stream, version, addresses.as_ref(), &tlvs, true).unwrap();
            assert!(sent.is_taken() && stream.write(b"relayed").is_taken());
        });
        let tight = StreamOptions {
            watermarks: Watermarks {
                high: 100,
                ..Watermarks::default()
            },
            ..StreamOptions::default()
        };
        let outward = world.server().add_stream_service(outward, tight);
        let (_, front) = Probe::new()
            .open(move |stream| {
                *note.borrow_mut() = Addresses::of(stream);
                stream.context().connect_for(outward, request.clone()).unwrap();
            })
            .serve(&mut world, StreamOptions::default());
        send(&mut world, front, b"");
        world.until("it came", || log.received(0) == b"relayed");
        let said = client.borrow().unwrap().identity();
        let expected = match (said.peer, version) {
            (Peer::Unix { .. }, Version::V1) => None,
            (peer, _) => Some(peer),
        };
        if let Some(expected) = expected {
            assert_eq!(seen_there.all()[0].0, Some(expected));
        }
    }
}
