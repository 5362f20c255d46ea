//! Peers that mean no good, in the simulation: garbage, unknown versions, handshakes that nobody goes on with, peers that never
//! read. What is kept is bounded, what is sent to strangers too, and others are served meanwhile.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{Datagram, DatagramOptions, DatagramService, Datagrams, StreamOptions};
use sockeye_quic::{QuicConnect, QuicLimits, QuicOptions};

use crate::probe::Probe;
use crate::setting::{Setting, connect, echo, setting, setting_with};
use crate::world::{Simulated, World};

/// Keeps what it receives.
#[derive(Default)]
struct Ear(Rc<RefCell<Vec<Vec<u8>>>>);

impl DatagramService for Ear {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.0.borrow_mut().push(datagram.data.to_vec());
    }
}

/// Sends datagrams to the server from a socket of the client's host; what comes back.
fn throw(world: &mut Simulated, setting: &Setting, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let ear = Ear(Rc::clone(&heard));
    let events = world.client();
    let service = events.add_datagram_service(ear);
    let from = SocketAddr::from(([10, 0, 0, 2], 0));
    let socket = events.bind(service, from, &DatagramOptions::default()).unwrap();
    let at = setting.at;
    for batch in datagrams.chunks(100) {
        let batch = batch.to_vec();
        world
            .client()
            .with(service, move |_, context| {
                for datagram in &batch {
                    let _ = context.datagrams(socket).send_to(datagram, at);
                }
            })
            .unwrap();
        world.pass(Duration::from_millis(1));
    }
    world.pass(Duration::from_secs(1));
    heard.take()
}

fn healthy(world: &mut Simulated, setting: &Setting) {
    let client = Probe::new().open(|stream| {
        let _ = stream.write(b"hello");
    });
    let log = connect(world, setting, client);
    let answered = log.clone();
    world.until("an answer", || answered.received_len(0) == 5);
    let stream = log.id(0);
    world
        .client()
        .remote()
        .post(move |context| {
            if let Some(mut stream) = context.stream(stream) {
                stream.close();
            }
        })
        .unwrap();
    let quic = setting.client.clone();
    world.until("it is over", move || quic.connections() == 0);
}

fn noise(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut random = seed;
    let mut draw = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    (0..count)
        .map(|_| {
            let len = usize::try_from(draw() % 1_472).unwrap();
            (0..len).map(|_| draw().to_le_bytes()[3]).collect()
        })
        .collect()
}

#[test]
fn garbage_is_answered_by_less_than_it_is() {
    let mut world = Simulated::new();
    let setting = setting(&mut world, echo());
    healthy(&mut world, &setting);
    let thrown = noise(77, 5_000);
    let sent: usize = thrown.iter().map(Vec::len).sum();
    let heard = throw(&mut world, &setting, thrown);
    let back: usize = heard.iter().map(Vec::len).sum();
    assert!(back < sent / 10, "{back} bytes for {sent}");
    assert_eq!(setting.server.connections(), 0);
    healthy(&mut world, &setting);
}

#[test]
fn an_unknown_version_is_told_the_known_ones_and_nothing_is_kept() {
    let mut world = Simulated::new();
    let setting = setting(&mut world, echo());
    // RFC 9000, section 17.2: a long header, a version that nobody has, two connection ids.
    let mut hello = vec![0xc0, 0xfa, 0xce, 0xfa, 0xce, 8];
    hello.extend(*b"destined");
    hello.push(8);
    hello.extend(*b"sourced!");
    let mut short = hello.clone();
    hello.resize(1_200, 0);
    short.resize(1_199, 0);
    let heard = throw(&mut world, &setting, vec![hello, short]);
    assert_eq!(heard.len(), 1, "the short one could be a stranger's");
    let answer = &heard[0];
    // Version 0 is a negotiation (section 17.2.1); the ids come back the other way round.
    assert_eq!((answer[0] & 0x80, &answer[1..5]), (0x80, &[0, 0, 0, 0][..]));
    assert_eq!(
        (&answer[6..14], &answer[15..23]),
        (&b"sourced!"[..], &b"destined"[..])
    );
    assert!(
        answer[23..]
            .chunks_exact(4)
            .any(|version| version == [0, 0, 0, 1])
    );
    assert_eq!(setting.server.connections(), 0);
}

/// Nobody who does not answer is sent more than three times what came from there (RFC 9000, section 8.1).
#[test]
fn a_stranger_is_sent_at_most_three_times_what_came() {
    let mut world = Simulated::new();
    let setting = setting(&mut world, echo());
    let (sim, server, client) = world.parts();
    sim.partition_one_way(server, client);
    sim.capture();
    let log = connect(&mut world, &setting, Probe::new());
    let failed = log.clone();
    world.until("the client gives up", || !failed.0.borrow().reasons.is_empty());
    world.pass(Duration::from_secs(60));
    let (sim, ..) = world.parts();
    let (mut from_client, mut from_server) = (0, 0);
    for (_, packet) in sim.captured() {
        let payload = packet.len() - 28;
        if packet[12..16] == [10, 0, 0, 2] {
            from_client += payload;
        } else {
            from_server += payload;
        }
        assert!(from_server <= 3 * from_client, "{from_server} for {from_client}");
    }
    assert!(
        from_client >= 1_200 && from_server >= 1_200,
        "{from_client} {from_server}"
    );
    assert_eq!(setting.server.connections(), 0);
}

/// Ten thousand handshakes that stop after their first message, and clients that go on. `keeps`: without Retry something is kept of each.
fn half_open(validate_from: usize) -> (Simulated, Setting, usize) {
    let mut world = Simulated::new();
    let limits = QuicLimits {
        handshakes: 200,
        validate_from,
        ..QuicLimits::default()
    };
    let setting = setting_with(&mut world, echo(), |quic, _| quic.limits(limits), |quic, _| quic);
    let (sim, server, _) = world.parts();
    // A host that hears nothing.
    let deaf = sim.host([10, 0, 0, 9]);
    sim.partition_one_way(server, deaf);
    let identity = crate::setting::Identity::new();
    let quic = sockeye_quic::QuicClient::new(identity.client()).unwrap();
    let handle = quic.handle();
    let events = sim.on(deaf);
    let quic = quic.add_to(events);
    let from = SocketAddr::from(([10, 0, 0, 9], 0));
    events.bind(quic, from, &sockeye_quic::socket_options()).unwrap();
    let mut most = 0;
    for _ in 0..50 {
        let (at, handle) = (setting.at, handle.clone());
        let (sim, ..) = world.parts();
        sim.on(deaf)
            .with(quic, move |_, context| {
                for _ in 0..200 {
                    let request = QuicConnect::new(at, "localhost").deadline(Duration::from_millis(20));
                    handle.connect(context, request).unwrap();
                }
            })
            .unwrap();
        world.pass(Duration::from_millis(5));
        most = most.max(setting.server.connections());
        healthy(&mut world, &setting);
        world.pass(Duration::from_millis(20));
        most = most.max(setting.server.connections());
    }
    (world, setting, most)
}

#[test]
fn ten_thousand_handshakes_that_stop_keep_nobody_out() {
    let (_, setting, most) = half_open(usize::MAX);
    assert!(most <= 210, "{most} connections at once");
    let stats = setting.counters.read();
    assert_eq!(stats.completed, 50);
    assert!(stats.given_up > 9_000, "{stats:?}");
}

#[test]
fn of_strangers_nothing_is_kept_once_there_are_many() {
    let (_, setting, most) = half_open(20);
    assert!(most <= 30, "{most} connections at once");
    let stats = setting.counters.read();
    assert_eq!(stats.completed, 50);
    assert!(stats.retried > 9_000, "{stats:?}");
}

#[test]
fn a_peer_that_never_reads_is_kept_little_for() {
    let mut world = Simulated::new();
    let options = QuicOptions {
        send_window: 100_000,
        ..QuicOptions::default()
    };
    let push = |stream: &mut sockeye_event_loop::Stream<'_>| {
        while stream.write(&[7; 16_384]).is_taken() {}
    };
    let inside = Probe::new().open(push).writable(push);
    let setting = setting_with(
        &mut world,
        inside,
        |quic, _| quic.options(options),
        |quic, _| quic,
    );
    let mut request = QuicConnect::new(setting.at, "localhost").keep();
    for tag in 0..50 {
        let silent = Probe::new().open(|stream| {
            stream.pause();
            let _ = stream.write(b"x");
        });
        let own = world
            .client()
            .add_stream_service(silent, StreamOptions::default());
        request = request.stream(own, tag);
    }
    let quic = setting.client.clone();
    world
        .client()
        .with(setting.client_service, move |_, context| {
            quic.connect(context, request).unwrap()
        })
        .unwrap();
    let inside = setting.inside.clone();
    world.until("all streams", || inside.opened() == 50);
    world.pass(Duration::from_secs(25));
    // A queue and a pair for each stream, whatever the service would like to send.
    let (server, client) = (world.server().stats(), world.client().stats());
    assert!(server.memory_peak < 50 * 700_000, "{}", server.memory_peak);
    assert!(client.memory_peak < 50 * 200_000, "{}", client.memory_peak);
}
