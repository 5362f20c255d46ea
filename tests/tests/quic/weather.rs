//! QUIC over a simulated network that loses, repeats, reorders, shrinks, moves and parts: everything arrives, and every run
//! repeats.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramOptions, DatagramService, Datagrams, ServiceHandle,
    StreamOptions,
};
use sockeye_quic::{
    QuicClient, QuicConnect, QuicCounters, QuicHandle, QuicId, QuicOptions, QuicServer, socket_options,
};
use sockeye_sim::{HostId, LinkOptions, Sim};
use sockeye_tls::testing::seeded_provider;

use crate::probe::{Log, Probe};
use crate::setting::{Identity, echo, pattern};

const SERVER: [u8; 4] = [10, 0, 0, 1];
const CLIENT: [u8; 4] = [10, 0, 0, 2];
const BETWEEN: [u8; 4] = [10, 0, 0, 3];
const PORT: u16 = 443;

struct Net {
    sim: Sim,
    server: HostId,
    client: HostId,
    serving: QuicHandle,
    counters: QuicCounters,
    quic: QuicHandle,
    own: ServiceHandle<QuicClient>,
}

/// The end of the other side may be lost again and again.
fn patient() -> StreamOptions {
    StreamOptions {
        close_timeout: Duration::from_secs(600),
        ..StreamOptions::default()
    }
}

/// A server that echoes and a client, everything of which follows from the seed.
fn net(seed: u64, identity: &Identity, lan: LinkOptions, options: &QuicOptions) -> Net {
    let mut sim = Sim::new(seed);
    sim.set_lan(lan);
    let (server, client) = (sim.host(SERVER), sim.host(CLIENT));
    let events = sim.on(server);
    let inside = events.add_stream_service(echo(), patient());
    let quic = QuicServer::new(identity.server_by(Arc::new(seeded_provider(seed))), inside).unwrap();
    let counters = QuicCounters::default();
    let quic = quic.options(options.clone()).counters(&counters);
    let serving = quic.handle();
    let quic = quic.add_to(events);
    events
        .bind(quic, (SERVER, PORT).into(), &socket_options())
        .unwrap();
    let quic = QuicClient::new(identity.client_by(Arc::new(seeded_provider(!seed)))).unwrap();
    let made = quic.options(options.clone());
    let quic = made.handle();
    let events = sim.on(client);
    let own = made.add_to(events);
    events.bind(own, (CLIENT, 0).into(), &socket_options()).unwrap();
    Net {
        sim,
        server,
        client,
        serving,
        counters,
        quic,
        own,
    }
}

impl Net {
    /// A stream that sends `len` bytes, has them back, and ends.
    fn stream(&mut self, len: u32) -> (ServiceHandle<Probe>, Log) {
        let data = Rc::new(pattern(len));
        let probe = Probe::new().pushing(data).data({
            let mut heard = 0;
            move |stream, data| {
                heard += data.len();
                if heard == len as usize {
                    stream.close();
                }
                data.len()
            }
        });
        let log = probe.log.clone();
        let events = self.sim.on(self.client);
        (events.add_stream_service(probe, patient()), log)
    }

    fn connect(&mut self, request: QuicConnect) -> QuicId {
        let quic = self.quic.clone();
        let events = self.sim.on(self.client);
        events
            .with(self.own, move |_, context| {
                quic.connect(context, request).unwrap()
            })
            .unwrap()
    }

    fn until(&mut self, what: &str, done: impl FnMut() -> bool) {
        if let Err(error) = self.sim.run_until(Duration::from_secs(7_200), done) {
            panic!("{what}: {error}");
        }
    }

    /// Everything has come back, and nothing is left on either side.
    fn finish(&mut self, streams: &[(u32, Log)]) {
        assert_eq!(self.finish_most(streams), 0);
    }

    /// The same, but for streams whose connection was lost, which their services were told: how many.
    fn finish_most(&mut self, streams: &[(u32, Log)]) -> usize {
        let logs: Vec<Log> = streams.iter().map(|(_, log)| log.clone()).collect();
        // A reason is that of a close, or of a connect that failed.
        let is_over = |log: &Log| log.0.borrow().reasons.len() == 1;
        self.until("all streams", move || logs.iter().all(is_over));
        let mut lost = 0;
        for (len, log) in streams {
            if log.closes() == ["closed"] {
                assert_eq!(log.received(0), pattern(*len));
            } else {
                let reason = log.0.borrow().reasons[0].clone();
                let told = [
                    "the peer has lost the connection",
                    "not complete in time",
                    "nothing came from the peer",
                ];
                assert!(told.iter().any(|words| reason.contains(words)), "{reason}");
                lost += 1;
            }
        }
        let (serving, quic) = (self.serving.clone(), self.quic.clone());
        self.until("nothing is left", move || {
            serving.connections() + quic.connections() + serving.streams() + quic.streams() == 0
        });
        // What waits for a link that is slow leaves.
        self.sim.run_for(Duration::from_secs(10)).unwrap();
        assert_eq!(self.sim.on(self.server).open_streams(), 0);
        assert_eq!(self.sim.on(self.server).stats().memory, 0);
        // That happens only with handshakes that the server has given up.
        assert!(lost == 0 || self.counters.read().timed_out > 0, "{lost} lost");
        lost
    }
}

fn lossy() -> LinkOptions {
    LinkOptions {
        latency: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        loss_ppm: 300_000,
        ..LinkOptions::default()
    }
}

#[test]
fn three_packets_of_ten_are_lost_and_everything_arrives() {
    let options = QuicOptions {
        idle_timeout: Some(Duration::from_secs(600)),
        ..QuicOptions::default()
    };
    let mut net = net(3, &Identity::new(), lossy(), &options);
    let (service, log) = net.stream(200_000);
    let request = QuicConnect::new((SERVER, PORT).into(), "localhost").stream(service, 0);
    let id = net.connect(request.deadline(Duration::from_secs(300)));
    let (quic, most) = (net.quic.clone(), Rc::new(RefCell::new(0)));
    let (lost, done) = (Rc::clone(&most), log.clone());
    net.until("the echo", move || {
        if let Some(stats) = quic.stats(id) {
            *lost.borrow_mut() = stats.lost_packets;
        }
        done.closes().len() == 1
    });
    assert!(*most.borrow() > 20, "{} packets lost", most.borrow());
    net.finish(&[(200_000, log)]);
}

#[test]
fn repeated_and_reordered_packets_change_nothing() {
    let lan = LinkOptions {
        latency: Duration::from_millis(5),
        jitter: Duration::from_millis(20),
        duplicate_ppm: 300_000,
        reorder_ppm: 300_000,
        ..LinkOptions::default()
    };
    let mut net = net(5, &Identity::new(), lan, &QuicOptions::default());
    let mut request = QuicConnect::new((SERVER, PORT).into(), "localhost");
    let mut streams = Vec::new();
    for nth in 0..10 {
        let len = 1 + nth * 20_000;
        let (service, log) = net.stream(len);
        request = request.stream(service, u64::from(nth));
        streams.push((len, log));
    }
    net.connect(request);
    net.finish(&streams);
}

#[test]
fn a_path_whose_mtu_shrinks_under_way_is_found_out() {
    let lan = LinkOptions {
        latency: Duration::from_millis(10),
        // So that most is still to come when it shrinks.
        bandwidth: Some(20_000_000),
        queue: Duration::from_millis(30),
        mtu: 1_500,
        ..LinkOptions::default()
    };
    let mut net = net(7, &Identity::new(), lan, &QuicOptions::default());
    let (service, log) = net.stream(3_000_000);
    let id = net.connect(QuicConnect::new((SERVER, PORT).into(), "localhost").stream(service, 0));
    let (quic, heard) = (net.quic.clone(), log.clone());
    net.until("a longer datagram", move || {
        heard.received_len(0) > 500_000 && quic.stats(id).unwrap().mtu > 1_400
    });
    assert!(log.received_len(0) < 3_000_000);
    net.sim.set_lan(LinkOptions { mtu: 1_280, ..lan });
    let (quic, heard) = (net.quic.clone(), log.clone());
    let mtu = Rc::new(RefCell::new(0));
    let seen = Rc::clone(&mtu);
    net.until("the rest", move || {
        if let Some(stats) = quic.stats(id) {
            *seen.borrow_mut() = stats.mtu;
        }
        heard.received_len(0) == 3_000_000
    });
    assert!(*mtu.borrow() <= 1_252, "{}", mtu.borrow());
    net.finish(&[(3_000_000, log)]);
}

#[test]
fn a_partition_that_ends_in_time_costs_nothing_but_time() {
    let mut net = net(
        9,
        &Identity::new(),
        LinkOptions::default(),
        &QuicOptions::default(),
    );
    let (service, log) = net.stream(2_000_000);
    net.connect(QuicConnect::new((SERVER, PORT).into(), "localhost").stream(service, 0));
    let heard = log.clone();
    net.until("some of it", move || heard.received_len(0) > 100_000);
    let (server, client) = (net.server, net.client);
    net.sim.partition(server, client);
    net.sim.run_for(Duration::from_secs(8)).unwrap();
    assert!(log.received_len(0) < 2_000_000);
    net.sim.heal(server, client);
    net.finish(&[(2_000_000, log)]);
}

/// Data leaves as ECN-capable on both sides, and what routers would mark is reported: the IP headers say so.
#[test]
fn packets_are_ecn_capable_both_ways() {
    let mut net = net(
        13,
        &Identity::new(),
        LinkOptions::default(),
        &QuicOptions::default(),
    );
    net.sim.capture();
    let (service, log) = net.stream(300_000);
    net.connect(QuicConnect::new((SERVER, PORT).into(), "localhost").stream(service, 0));
    net.finish(&[(300_000, log)]);
    for from in [SERVER, CLIENT] {
        let captured = net.sim.captured();
        let sent: Vec<u8> = captured
            .iter()
            .filter(|(_, packet)| packet[12..16] == from)
            .map(|(_, packet)| packet[1] & 3)
            .collect();
        // Were what arrived not told, the sender would take the path for one that loses the marks, and give it up.
        let capable = sent.iter().filter(|ecn| **ecn == 0b10).count();
        assert!(capable * 10 > sent.len() * 9, "{capable} of {}", sent.len());
    }
}

#[test]
fn a_server_of_many_addresses_answers_from_the_one_that_was_asked() {
    const SECOND: [u8; 4] = [10, 0, 0, 77];
    let identity = Identity::new();
    let mut net = net(15, &identity, LinkOptions::default(), &QuicOptions::default());
    net.sim.add_address(net.server, SECOND);
    let events = net.sim.on(net.server);
    let inside = events.add_stream_service(echo(), StreamOptions::default());
    let quic = QuicServer::new(identity.server(), inside).unwrap().add_to(events);
    events
        .bind(quic, ([0, 0, 0, 0], 444).into(), &socket_options())
        .unwrap();
    net.sim.capture();
    let (service, log) = net.stream(100_000);
    net.connect(QuicConnect::new((SECOND, 444).into(), "localhost").stream(service, 0));
    let done = log.clone();
    net.until("the echo", move || done.closes().len() == 1);
    assert_eq!(log.closes(), ["closed"]);
    for (_, packet) in net.sim.captured() {
        assert!(packet[12..16] == SECOND || packet[12..16] == CLIENT);
    }
}

/// What translates addresses between a client and a server: it knows one client, and has a port for it that changes.
#[derive(Default)]
struct Translator {
    inside: Option<DatagramId>,
    outside: Option<DatagramId>,
    client: Option<SocketAddr>,
}

impl DatagramService for Translator {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let from = Some(socket.id());
        if from == self.inside {
            self.client = Some(datagram.source);
            if let Some(outside) = self.outside {
                let _ = socket
                    .other(outside)
                    .send_to(datagram.data, (SERVER, PORT).into());
            }
        } else if let (Some(inside), Some(client)) = (self.inside, self.client)
            && from == self.outside
        {
            let _ = socket.other(inside).send_to(datagram.data, client);
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: DatagramId, _: CloseReason) {}
}

#[test]
fn a_client_whose_address_is_translated_anew_stays() {
    let mut net = net(
        11,
        &Identity::new(),
        LinkOptions::default(),
        &QuicOptions::default(),
    );
    let between = net.sim.host(BETWEEN);
    let events = net.sim.on(between);
    let translator = events.add_datagram_service(Translator::default());
    let plain = DatagramOptions::default();
    let inside = events.bind(translator, (BETWEEN, PORT).into(), &plain).unwrap();
    let outside = events.bind(translator, (BETWEEN, 5_000).into(), &plain).unwrap();
    events
        .with(translator, move |service, _| {
            service.inside = Some(inside);
            service.outside = Some(outside);
        })
        .unwrap();
    let (service, log) = net.stream(3_000_000);
    net.connect(QuicConnect::new((BETWEEN, PORT).into(), "localhost").stream(service, 0));
    for port in 5_001..5_004_u16 {
        let (heard, so_far) = (log.clone(), log.received_len(0));
        net.until("some of it", move || heard.received_len(0) > so_far + 400_000);
        let events = net.sim.on(between);
        let outside = events.bind(translator, (BETWEEN, port).into(), &plain).unwrap();
        events
            .with(translator, move |service, context| {
                let old = service.outside.replace(outside);
                context.close_datagrams(old.unwrap());
            })
            .unwrap();
    }
    net.finish(&[(3_000_000, log)]);
}

/// A network of that seed: its weather, how many connections and streams there are, how much they send.
fn soak(seed: u64, identity: &Identity) -> (u64, u64, usize, usize) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = move |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    };
    let part = |draw: &mut dyn FnMut(u64) -> u64, most: u64| u32::try_from(draw(most)).unwrap();
    let lan = LinkOptions {
        latency: Duration::from_millis(draw(60)),
        jitter: Duration::from_millis(draw(20)),
        loss_ppm: part(&mut draw, 150_000),
        duplicate_ppm: part(&mut draw, 100_000),
        reorder_ppm: part(&mut draw, 100_000),
        bandwidth: (draw(2) == 0).then(|| 4_000_000 + draw(50_000_000)),
        mtu: usize::try_from(1_280 + draw(300)).unwrap(),
        ..LinkOptions::default()
    };
    let options = QuicOptions {
        max_streams: 1 + part(&mut draw, 8),
        stream_window: 20_000 + part(&mut draw, 500_000),
        idle_timeout: Some(Duration::from_secs(300)),
        ..QuicOptions::default()
    };
    let mut net = net(seed, identity, lan, &options);
    let mut streams = Vec::new();
    for _ in 0..=draw(3) {
        let mut request =
            QuicConnect::new((SERVER, PORT).into(), "localhost").deadline(Duration::from_secs(200));
        for tag in 0..=draw(6) {
            let len = 1 + part(&mut draw, 60_000);
            let (service, log) = net.stream(len);
            request = request.stream(service, tag);
            streams.push((len, log));
        }
        net.connect(request);
        net.sim.run_for(Duration::from_millis(draw(100))).unwrap();
    }
    if draw(2) == 0 {
        let (server, client) = (net.server, net.client);
        net.sim.partition(server, client);
        net.sim.run_for(Duration::from_millis(draw(3_000))).unwrap();
        net.sim.heal(server, client);
    }
    let lost = net.finish_most(&streams);
    (
        net.sim.trace_hash(),
        net.sim.now().as_nanos(),
        streams.len(),
        lost,
    )
}

/// `SOCKEYE_QUIC_SEEDS=1000` runs so many, `SOCKEYE_QUIC_SEED=77` that one.
#[test]
fn every_seed_gives_the_same_run_twice() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("SOCKEYE_QUIC_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("SOCKEYE_QUIC_SEEDS").unwrap_or(20),
    };
    let identity = Identity::new();
    let mut different = std::collections::BTreeSet::new();
    let (mut all, mut lost) = (0, 0);
    for seed in seeds.clone() {
        // Shown if it fails.
        println!("seed {seed}");
        let first = soak(seed, &identity);
        assert_eq!(first, soak(seed, &identity), "seed {seed}");
        different.insert(first.0);
        (all, lost) = (all + first.2, lost + first.3);
    }
    // Where the client's last handshake message is lost together with much of what follows it, quinn-proto 0.11.19 seems to
    // hold it back for the congestion window, which nothing opens any more: the server gives such a handshake up.
    println!("{lost} of {all} streams lost with a handshake");
    assert!(all < 100 || lost * 20 <= all, "{lost} of {all} streams");
    assert_eq!(different.len(), seeds.count());
}
