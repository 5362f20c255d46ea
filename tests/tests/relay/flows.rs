//! Flows of datagrams.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye::udp::UdpSocket;
use sockeye_event_loop::{
    Datagram, DatagramId, DatagramOptions, DatagramService, Datagrams, Outgoing, ServiceHandle,
};
use sockeye_relay::{Balance, Condition, Config, ListenerConfig, PoolConfig, SessionEnd};

use sockeye_socket::Capabilities;

use crate::ground::Ground;
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    datagrams_go_both_ways_and_are_counted,
    each_client_has_its_own_flow_and_backend,
    bursts_keep_their_sizes_and_their_order,
    a_silent_flow_ends,
    for_one_flow_too_many_the_most_silent_is_given_up,
    a_backend_that_refuses_ends_the_flow_and_goes_out,
    a_source_may_have_so_many_flows,
    nobody_is_up,
    a_listener_that_is_gone_leaves_its_flows_until_they_are_silent,
    a_drain_ends_flows,
);

/// What a socket has received: from whom, and what.
type Heard = Rc<RefCell<Vec<(SocketAddr, Vec<u8>)>>>;

/// Sends what it is given when its socket is opened or a timer fires, and answers if it is to.
#[derive(Default)]
struct Peer {
    heard: Heard,
    first: Vec<(SocketAddr, Vec<Vec<u8>>)>,
    answer: Option<Box<dyn Fn(&[u8]) -> Vec<u8>>>,
}

impl DatagramService for Peer {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        for (to, payloads) in &self.first {
            for payload in payloads {
                assert!(socket.send_to(payload, *to).is_taken());
            }
        }
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.heard
            .borrow_mut()
            .push((datagram.source, datagram.data.to_vec()));
        if let Some(answer) = &self.answer {
            let answer = answer(datagram.data);
            assert!(socket.send(&datagram.reply(&answer)).is_taken());
        }
    }
}

struct Bound {
    at: SocketAddr,
    heard: Heard,
    handle: ServiceHandle<Peer>,
    id: DatagramId,
}

impl Bound {
    fn name(&self) -> String {
        format!("udp://{}", self.at)
    }
}

fn bind<W: World>(ground: &mut Ground<W>, peer: Peer) -> Bound {
    let heard = Rc::clone(&peer.heard);
    let ip = ground.world.client_ip();
    let events = ground.world.client();
    let handle = events.add_datagram_service(peer);
    let options = DatagramOptions {
        recv_buffer: Some(1 << 20),
        ..DatagramOptions::default()
    };
    let id = events.bind(handle, SocketAddr::new(ip, 0), &options).unwrap();
    let port = events.local_addr(id).unwrap().port();
    Bound {
        at: SocketAddr::new(ip, port),
        heard,
        handle,
        id,
    }
}

fn echo<W: World>(ground: &mut Ground<W>) -> Bound {
    let answer: Box<dyn Fn(&[u8]) -> Vec<u8>> = Box::new(<[u8]>::to_vec);
    bind(
        ground,
        Peer {
            answer: Some(answer),
            ..Peer::default()
        },
    )
}

fn client<W: World>(ground: &mut Ground<W>, payloads: &[&[u8]]) -> Bound {
    let to = ground.at("in");
    let payloads = payloads.iter().map(|payload| payload.to_vec()).collect();
    bind(
        ground,
        Peer {
            first: vec![(to, payloads)],
            ..Peer::default()
        },
    )
}

fn send<W: World>(ground: &mut Ground<W>, by: &Bound, payload: &[u8]) {
    let to = ground.at("in");
    let id = by.id;
    ground.world.client().with(by.handle, |_, context| {
        assert!(context.datagrams(id).send_to(payload, to).is_taken());
    });
}

fn config<W: World>(ground: &Ground<W>, backends: &[SocketAddr]) -> Config {
    let at = format!("udp://{}:0", ground.world.server_ip());
    let mut listener = ListenerConfig::new(at.parse().unwrap(), "out");
    listener.name = Some("in".to_owned());
    let backends = backends.iter().map(|at| format!("udp://{at}").parse().unwrap());
    Config {
        listeners: vec![listener],
        pools: vec![PoolConfig::new("out", backends)],
        ..Config::default()
    }
}

#[track_caller]
fn until_heard<W: World>(ground: &mut Ground<W>, by: &Bound, count: usize) {
    let heard = Rc::clone(&by.heard);
    ground.world.until("datagrams", || heard.borrow().len() >= count);
}

fn datagrams_go_both_ways_and_are_counted<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = echo(&mut ground);
    let mut config = config(&ground, &[backend.at]);
    config.listeners[0].udp.idle = Duration::from_millis(100);
    ground.start(config);
    let client = client(&mut ground, &[b"one", b"", b"three"]);
    until_heard(&mut ground, &client, 3);
    let at = ground.at("in");
    let expected: Vec<(SocketAddr, Vec<u8>)> = [&b"one"[..], b"", b"three"]
        .map(|payload| (at, payload.to_vec()))
        .to_vec();
    assert_eq!(
        *client.heard.borrow(),
        expected,
        "from the address that was asked"
    );
    assert_ne!(
        backend.heard.borrow()[0].0,
        client.at,
        "by the relay's own socket"
    );
    ground.until_ended(1);
    let record = ground.told.last();
    assert_eq!(
        (record.from_client, record.from_backend, record.attempts),
        (8, 8, 1)
    );
    assert_eq!(
        (record.end, record.backend.as_deref()),
        (SessionEnd::Idle, Some(&*backend.name()))
    );
    assert_eq!(record.client, Some(client.at));
    let stats = ground.stats();
    let listener = stats.listener("in").unwrap();
    let counters = listener.counters;
    assert_eq!(
        (
            counters.sessions,
            counters.ended,
            counters.timed_out,
            listener.open
        ),
        (1, 1, 1, 0)
    );
    assert_eq!(
        (
            counters.datagrams_in,
            counters.datagrams_out,
            counters.datagrams_dropped
        ),
        (3, 3, 0)
    );
    assert_eq!((counters.bytes_in, counters.bytes_out), (8, 8));
    let backend = &stats.pool("out").unwrap().backends[0];
    assert_eq!(
        (backend.open, backend.counters.sessions, backend.counters.bytes_in),
        (0, 1, 8)
    );
}

fn each_client_has_its_own_flow_and_backend<W: World>() {
    let mut ground = Ground::<W>::new();
    let backends = [echo(&mut ground), echo(&mut ground)];
    let config = config(&ground, &[backends[0].at, backends[1].at]);
    ground.start(config);
    let clients: Vec<Bound> = (0..6_u8).map(|n| client(&mut ground, &[&[n], &[n, n]])).collect();
    for (n, client) in clients.iter().enumerate() {
        until_heard(&mut ground, client, 2);
        let n = u8::try_from(n).unwrap();
        let payloads: Vec<Vec<u8>> = client
            .heard
            .borrow()
            .iter()
            .map(|(_, payload)| payload.clone())
            .collect();
        assert_eq!(payloads, [vec![n], vec![n, n]]);
    }
    for backend in &backends {
        let mut flows: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for (from, _) in backend.heard.borrow().iter() {
            *flows.entry(*from).or_default() += 1;
        }
        assert_eq!(
            flows.into_values().collect::<Vec<_>>(),
            [2, 2, 2],
            "a socket for each"
        );
    }
    assert_eq!(ground.stats().listener("in").unwrap().open, 6);
}

fn bursts_keep_their_sizes_and_their_order<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = echo(&mut ground);
    let config = config(&ground, &[backend.at]);
    ground.start(config);
    // Runs of one size, each with a shorter end, and some that are longer than those before.
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for run in 0..12_u8 {
        let size = 200 + 100 * usize::from(run % 5);
        payloads.extend((0..10).map(|nth| [vec![run, nth], vec![run; size - 2]].concat()));
        payloads.push(vec![run; 17]);
    }
    payloads.push(Vec::new());
    payloads.push(b"end".to_vec());
    let all: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let client = client(&mut ground, &all);
    until_heard(&mut ground, &client, payloads.len());
    let sent: Vec<Vec<u8>> = backend
        .heard
        .borrow()
        .iter()
        .map(|(_, payload)| payload.clone())
        .collect();
    let back: Vec<Vec<u8>> = client
        .heard
        .borrow()
        .iter()
        .map(|(_, payload)| payload.clone())
        .collect();
    assert!(sent == payloads, "to the backend");
    assert!(back == payloads, "and back");
}

fn a_silent_flow_ends<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = echo(&mut ground);
    let mut config = config(&ground, &[backend.at]);
    config.listeners[0].udp.idle = Duration::from_millis(200);
    ground.start(config);
    let (busy, silent) = (client(&mut ground, &[b"busy"]), client(&mut ground, &[b"silent"]));
    until_heard(&mut ground, &busy, 1);
    until_heard(&mut ground, &silent, 1);
    // The busy one is heard of again and again, until the silent one is gone.
    while ground.told.count() == 0 {
        ground.world.pass(Duration::from_millis(20));
        send(&mut ground, &busy, b"busy");
    }
    let record = ground.told.last();
    assert_eq!((record.client, record.end), (Some(silent.at), SessionEnd::Idle));
    assert!(record.lasted >= Duration::from_millis(200), "{:?}", record.lasted);
    ground.until_ended(2);
    // Who comes again has a new flow.
    let before = silent.heard.borrow().len();
    send(&mut ground, &silent, b"again");
    until_heard(&mut ground, &silent, before + 1);
    assert_eq!(ground.stats().listener("in").unwrap().counters.sessions, 3);
}

fn for_one_flow_too_many_the_most_silent_is_given_up<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = echo(&mut ground);
    let mut config = config(&ground, &[backend.at]);
    config.listeners[0].udp.max_flows = 2;
    ground.start(config);
    let (one, two) = (client(&mut ground, &[b"one"]), client(&mut ground, &[b"two"]));
    until_heard(&mut ground, &one, 1);
    until_heard(&mut ground, &two, 1);
    send(&mut ground, &one, b"one");
    until_heard(&mut ground, &one, 2);
    let three = client(&mut ground, &[b"three"]);
    until_heard(&mut ground, &three, 1);
    let record = ground.told.last();
    assert_eq!((record.client, record.end), (Some(two.at), SessionEnd::GivenUp));
    let stats = ground.stats();
    let listener = stats.listener("in").unwrap();
    assert_eq!((listener.open, listener.counters.given_up), (2, 1));
}

fn a_backend_that_refuses_ends_the_flow_and_goes_out<W: World>() {
    let mut ground = Ground::<W>::new();
    let (gone, backend) = (echo(&mut ground), echo(&mut ground));
    let mut config = config(&ground, &[gone.at, backend.at]);
    config.pools[0].health.failures = 1;
    ground.start(config);
    let id = gone.id;
    ground
        .world
        .client()
        .with(gone.handle, |_, context| context.close_datagrams(id));
    let first = client(&mut ground, &[b"lost"]);
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::BackendReset);
    assert_eq!(
        *ground.told.changes.borrow(),
        [(format!("out {}", gone.name()), Condition::Down)]
    );
    send(&mut ground, &first, b"again");
    until_heard(&mut ground, &first, 1);
    let counters = ground
        .stats()
        .pool("out")
        .unwrap()
        .backend(&gone.name())
        .unwrap()
        .counters;
    assert_eq!((counters.failed, counters.downs), (1, 1));
}

fn a_source_may_have_so_many_flows<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = echo(&mut ground);
    let mut config = config(&ground, &[backend.at]);
    config.sources.max_sessions = Some(1);
    ground.start(config);
    let one = client(&mut ground, &[b"one"]);
    until_heard(&mut ground, &one, 1);
    let two = client(&mut ground, &[b"two"]);
    ground.until_ended(1);
    assert_eq!(
        (ground.told.last().client, ground.told.last().end),
        (Some(two.at), SessionEnd::TooManyOfSource)
    );
    let counters = ground.stats().listener("in").unwrap().counters;
    assert_eq!((counters.too_many_of_source, counters.datagrams_dropped), (1, 1));
}

fn nobody_is_up<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = echo(&mut ground);
    let mut config = config(&ground, &[backend.at]);
    config.pools[0].backends[0].weight = 0;
    ground.start(config);
    client(&mut ground, &[b"one", b"two"]);
    ground.until_ended(2);
    assert_eq!(ground.told.ends(), [SessionEnd::AllDown; 2]);
    let stats = ground.stats();
    assert_eq!(stats.listener("in").unwrap().counters.datagrams_dropped, 2);
    assert_eq!(stats.pool("out").unwrap().counters.all_down, 2);
}

fn a_listener_that_is_gone_leaves_its_flows_until_they_are_silent<W: World>() {
    let mut ground = Ground::<W>::new();
    let late = Rc::new(Cell::new(None));
    let backend = echo(&mut ground);
    let mut old = config(&ground, &[backend.at]);
    old.listeners[0].udp.idle = Duration::from_millis(200);
    ground.start(old.clone());
    let one = client(&mut ground, &[b"one"]);
    until_heard(&mut ground, &one, 1);
    let at = ground.at("in");
    late.set(Some(at));
    let mut new = old;
    new.listeners[0].name = Some("other".to_owned());
    ground.reload(new);
    // By the old socket, which has a flow left.
    let id = one.id;
    ground.world.client().with(one.handle, |_, context| {
        assert!(context.datagrams(id).send_to(b"more", at).is_taken());
    });
    until_heard(&mut ground, &one, 2);
    assert_eq!(one.heard.borrow()[1], (at, b"more".to_vec()));
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::Idle);
    let stats = ground.stats();
    assert!(stats.listener("in").is_none() && stats.listener("other").is_some());
}

fn a_drain_ends_flows<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = echo(&mut ground);
    let config = config(&ground, &[backend.at]);
    ground.start(config);
    let one = client(&mut ground, &[b"one"]);
    until_heard(&mut ground, &one, 1);
    let relay = ground.relay.unwrap();
    relay.drain(ground.world.server(), Duration::from_millis(50));
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::Drained);
    assert!(relay.is_drained(ground.world.server()));
}

#[test]
fn a_drain_waits_for_flows_that_move_and_for_no_others() {
    let mut ground = Ground::<Simulated>::new();
    let backend = echo(&mut ground);
    let config = config(&ground, &[backend.at]);
    ground.start(config);
    let (busy, silent) = (client(&mut ground, &[b"busy"]), client(&mut ground, &[b"silent"]));
    until_heard(&mut ground, &busy, 1);
    until_heard(&mut ground, &silent, 1);
    ground.world.pass(Duration::from_secs(2));
    send(&mut ground, &busy, b"busy");
    until_heard(&mut ground, &busy, 2);
    let relay = ground.relay.unwrap();
    relay.drain(ground.world.server(), Duration::from_secs(3_600));
    ground.until_ended(1);
    let record = ground.told.last();
    assert_eq!(
        (record.client, record.end),
        (Some(silent.at), SessionEnd::Drained)
    );
    assert!(record.lasted < Duration::from_secs(3), "{:?}", record.lasted);
    let (at, id) = (busy.heard.borrow()[0].0, busy.id);
    for nth in 0..20 {
        ground.world.pass(Duration::from_millis(500));
        ground.world.client().with(busy.handle, |_, context| {
            assert!(context.datagrams(id).send_to(b"busy", at).is_taken());
        });
        until_heard(&mut ground, &busy, 3 + nth);
    }
    assert!(ground.told.count() == 1 && !relay.is_drained(ground.world.server()));
    ground.until_ended(2);
    let record = ground.told.last();
    assert_eq!((record.client, record.end), (Some(busy.at), SessionEnd::Drained));
    assert!(record.lasted < Duration::from_secs(15), "{:?}", record.lasted);
    assert!(relay.is_drained(ground.world.server()));
}

/// Each flow has a socket, and each client too.
fn many_flows<W: World>(mut ground: Ground<W>, flows: usize) {
    let backends = [echo(&mut ground), echo(&mut ground)];
    let mut config = config(&ground, &[backends[0].at, backends[1].at]);
    config.pools[0].balance = Balance::LeastSessions;
    config.listeners[0].udp.max_flows = flows;
    config.listeners[0].udp.idle = Duration::from_secs(2);
    ground.start(config);
    let mut clients = Vec::new();
    for batch in 0..flows.div_ceil(100) {
        let count = (flows - batch * 100).min(100);
        clients.extend((0..count).map(|_| client(&mut ground, &[b"hello"])));
        let last = clients.last().unwrap();
        until_heard(&mut ground, last, 1);
    }
    for client in &clients {
        until_heard(&mut ground, client, 1);
    }
    let stats = ground.stats();
    let counters = stats.listener("in").unwrap().counters;
    assert_eq!(
        (counters.sessions, counters.datagrams_dropped, counters.given_up),
        (flows as u64, 0, 0)
    );
    // All of them are silent from here on.
    ground.until_ended(flows);
    assert!(ground.told.ends().iter().all(|end| *end == SessionEnd::Idle));
    let stats = ground.stats();
    assert!(
        stats
            .pool("out")
            .unwrap()
            .backends
            .iter()
            .all(|backend| backend.open == 0)
    );
    assert_eq!(
        stats.pool("out").unwrap().backends[0].counters.sessions,
        (flows / 2) as u64
    );
}

#[test]
fn ten_thousand_flows_in_the_simulation() {
    let mut ground = Ground::<Simulated>::new();
    ground.world.set_descriptor_limit(100_000);
    many_flows(ground, 10_000);
}

#[test]
fn two_thousand_flows_on_the_kernel() {
    many_flows(Ground::<OnKernel>::new(), 2_000);
}

/// A socket that is bound to any address has many: the reply has to leave from the one that was asked.
#[test]
fn replies_leave_from_the_address_that_was_asked() {
    let mut ground = Ground::<OnKernel>::new();
    let backend = echo(&mut ground);
    let mut config = config(&ground, &[backend.at]);
    config.listeners[0].at = "udp://0.0.0.0:0".parse().unwrap();
    ground.start(config);
    let port = ground.at("in").port();
    let asked: Vec<SocketAddr> = (2..5)
        .map(|last| SocketAddr::from(([127, 0, 0, last], port)))
        .collect();
    let first = asked
        .iter()
        .map(|to| (*to, vec![to.to_string().into_bytes()]))
        .collect();
    let client = bind(
        &mut ground,
        Peer {
            first,
            ..Peer::default()
        },
    );
    until_heard(&mut ground, &client, 3);
    for (from, payload) in client.heard.borrow().iter() {
        assert_eq!(from.to_string().as_bytes(), payload);
    }
    assert_eq!(
        ground.stats().listener("in").unwrap().open,
        3,
        "a flow for each address"
    );
}

/// What comes as one message of many datagrams leaves as one, both ways: the kernel at the far end sees a run that was never
/// cut.
#[test]
fn a_run_that_comes_in_one_piece_leaves_in_one_piece() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (backend, client) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
    for socket in [&backend, &client] {
        socket.set_gro(true).unwrap();
    }
    let able = Capabilities::of(&backend).unwrap();
    assert!(able.segmentation && able.coalesced_receive, "Linux 5.0 has both");
    let mut ground = Ground::<OnKernel>::new();
    let config = config(&ground, &[backend.local_addr().unwrap()]);
    ground.start(config);
    let at = ground.at("in");
    let payload = sockeye_tests::pattern(20 * 500 + 77);
    let by_relay = one_run(&mut ground, &client, at, &backend, &payload);
    assert_eq!(one_run(&mut ground, &backend, by_relay, &client, &payload), at);
    assert_eq!(ground.stats().listener("in").unwrap().counters.datagrams_in, 21);
}

/// Sends a run in one call and awaits it in one piece; says who sent it last.
fn one_run(
    ground: &mut Ground<OnKernel>,
    from: &UdpSocket,
    to: SocketAddr,
    at: &UdpSocket,
    payload: &[u8],
) -> SocketAddr {
    from.send_msg(&Outgoing::to(to, payload).segment_size(500))
        .unwrap();
    let mut buffer = vec![0; 65_535];
    let mut source = None;
    ground.world.until("a run", || {
        if let Ok(incoming) = at.recv_msg(&mut buffer) {
            assert_eq!(
                (incoming.payload.len(), incoming.segment_size),
                (payload.len(), Some(500))
            );
            assert!(incoming.payload == payload);
            source = Some(incoming.source);
        }
        source.is_some()
    });
    source.unwrap()
}
