//! The simulated network through its public face: what a user's own test relies on.
#![expect(clippy::unwrap_used, reason = "what is not there fails the test")]

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{
    CloseReason, ConnectFailure, ConnectRequest, Context, Datagram, DatagramOptions, DatagramService,
    Datagrams, Outgoing, QueueEntry, Stream, StreamId, StreamOptions, StreamService, Time,
};
use sockeye_sim::soak::run;
use sockeye_sim::{Call, HostId, LinkOptions, NoRoute, Plan, Sim, SimError};
use sockeye_tests::program;
use sockeye_tests::skip::{self, Need};

const MINUTE: Duration = Duration::from_secs(60);

struct Echo;

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// What a client of these tests saw.
type Diary = Rc<RefCell<Vec<String>>>;

/// Says hello, writes down what happens.
struct Caller(Diary);

impl Caller {
    fn note(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }
}

impl StreamService for Caller {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        self.note(format!("open after {:?}", stream.now() - Time::ZERO));
        let _ = stream.write(b"hello");
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        self.note(format!(
            "{} after {:?}",
            String::from_utf8_lossy(data),
            stream.now() - Time::ZERO
        ));
        data.len()
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        self.note(
            failure
                .attempts
                .last()
                .map_or_else(String::new, |(_, error)| format!("{:?}", error.kind())),
        );
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: StreamId, (): (), reason: CloseReason) {
        self.note(match reason {
            CloseReason::Error(error) => format!("{:?}", error.kind()),
            other => other.name().to_owned(),
        });
    }
}

fn two_hosts(seed: u64) -> (Sim, HostId, HostId, SocketAddr) {
    let mut sim = Sim::new(seed);
    let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    (sim, server, client, ([10, 0, 0, 1], 7).into())
}

/// A client that has called, and what it wrote down until `lines` are there or a minute has passed.
fn call(sim: &mut Sim, client: HostId, to: SocketAddr, lines: usize) -> Diary {
    let diary = Diary::default();
    sim.connect(client, to, Caller(Rc::clone(&diary)));
    let seen = Rc::clone(&diary);
    let _ = sim.run_until(10 * MINUTE, move || seen.borrow().len() >= lines);
    diary
}

#[test]
fn five_lines_are_a_test() {
    let mut sim = Sim::new(42);
    let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    sim.listen(server, 7, Echo).unwrap();
    let diary = call(&mut sim, client, ([10, 0, 0, 1], 7).into(), 2);
    assert!(diary.borrow()[1].starts_with("hello"), "{diary:?}");
}

#[test]
fn latency_is_what_it_was_set_to() {
    let (mut sim, server, client, to) = two_hosts(1);
    sim.set_lan(LinkOptions::latency(Duration::from_millis(10)));
    sim.listen(server, 7, Echo).unwrap();
    let diary = call(&mut sim, client, to, 2);
    // One round trip for the handshake, another one for the answer, and the microseconds of the turns.
    assert!(diary.borrow()[0].starts_with("open after 20"), "{diary:?}");
    assert!(diary.borrow()[1].starts_with("hello after 40"), "{diary:?}");
}

#[test]
fn a_partition_delays_and_healing_delivers() {
    let (mut sim, server, client, to) = two_hosts(1);
    sim.set_lan(LinkOptions::latency(Duration::from_millis(1)));
    sim.listen(server, 7, Echo).unwrap();
    let diary = Diary::default();
    sim.connect(client, to, Caller(Rc::clone(&diary)));
    sim.run_for(Duration::from_micros(2500)).unwrap();
    assert_eq!(diary.borrow().len(), 1, "it stands: {diary:?}");
    sim.partition(server, client);
    sim.run_for(10 * Duration::from_secs(1)).unwrap();
    assert_eq!(diary.borrow().len(), 1, "the answer is lost: {diary:?}");
    sim.heal(server, client);
    sim.run_for(MINUTE).unwrap();
    assert!(
        diary.borrow()[1].starts_with("hello"),
        "it is sent again: {diary:?}"
    );
}

#[test]
fn a_one_way_partition_lets_the_other_way_pass() {
    let (mut sim, server, client, to) = two_hosts(1);
    sim.listen(server, 7, Echo).unwrap();
    // Requests arrive, answers do not: the connect never stands.
    sim.partition_one_way(server, client);
    let diary = Diary::default();
    sim.connect(client, to, Caller(Rc::clone(&diary)));
    sim.run_for(Duration::from_secs(10)).unwrap();
    assert!(diary.borrow().is_empty());
    sim.heal(server, client);
    sim.run_for(MINUTE).unwrap();
    assert_eq!(diary.borrow().len(), 2);
}

#[test]
fn a_connect_into_silence_times_out_as_in_the_kernel() {
    let (mut sim, server, client, to) = two_hosts(1);
    sim.partition(server, client);
    let diary = call(&mut sim, client, to, 1);
    assert_eq!(*diary.borrow(), ["TimedOut"]);
    // Six repetitions: 1 + 2 + 4 + ... + 64 seconds.
    assert!((sim.now() - Time::ZERO).abs_diff(Duration::from_secs(127)) < Duration::from_secs(1));
}

#[test]
fn routes_refuse_in_four_ways() {
    for (why, kind) in [
        (NoRoute::None, "NetworkUnreachable"),
        (NoRoute::Unreachable, "HostUnreachable"),
        (NoRoute::Prohibited, "PermissionDenied"),
        (NoRoute::Blackhole, "InvalidInput"),
    ] {
        let (mut sim, _, client, to) = two_hosts(1);
        sim.refuse_route(client, to.ip()..=to.ip(), why);
        assert_eq!(*call(&mut sim, client, to, 1).borrow(), [kind]);
    }
}

#[test]
fn an_address_that_nobody_has_is_unreachable() {
    let (mut sim, _, client, _) = two_hosts(1);
    assert_eq!(
        *call(&mut sim, client, ([10, 9, 9, 9], 7).into(), 1).borrow(),
        ["HostUnreachable"]
    );
}

#[test]
fn ports_run_out() {
    let (mut sim, server, client, to) = two_hosts(1);
    sim.listen(server, 7, Echo).unwrap();
    sim.set_ephemeral_ports(client, 40_000..=40_001);
    for _ in 0..2 {
        assert_eq!(call(&mut sim, client, to, 2).borrow().len(), 2);
    }
    assert_eq!(*call(&mut sim, client, to, 1).borrow(), ["AddrNotAvailable"]);
}

#[test]
fn descriptors_run_out_and_accepting_goes_on_when_there_are_some() {
    let (mut sim, server, client, to) = two_hosts(1);
    sim.listen(server, 7, Echo).unwrap();
    sim.set_descriptor_limit(server, sim.descriptors(server));
    let diary = Diary::default();
    sim.connect(client, to, Caller(Rc::clone(&diary)));
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(diary.borrow().len(), 1, "it stands and waits: {diary:?}");
    sim.set_descriptor_limit(server, 100);
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(
        diary.borrow().len(),
        2,
        "the loop tried again by itself: {diary:?}"
    );
}

#[test]
fn the_nth_call_fails() {
    let (mut sim, server, client, to) = two_hosts(1);
    sim.listen(server, 7, Echo).unwrap();
    // ECONNRESET at the client's first read.
    sim.fail(client, Call::Read, 1, 104);
    let diary = call(&mut sim, client, to, 2);
    assert_eq!(diary.borrow()[1], "ConnectionReset");
}

#[test]
fn a_crashed_host_is_silent_and_a_booted_one_resets() {
    let (mut sim, server, client, to) = two_hosts(1);
    let boots = Rc::new(Cell::new(0));
    let counted = Rc::clone(&boots);
    sim.boot(server, move |events| {
        counted.set(counted.get() + 1);
        let echo = events.add_stream_service(Echo, StreamOptions::default());
        events
            .listen(echo, "0.0.0.0:7".parse().unwrap(), &Default::default())
            .unwrap();
    });
    let diary = Diary::default();
    let events = sim.on(client);
    let service = events.add_stream_service(Caller(Rc::clone(&diary)), StreamOptions::default());
    events.connect(service, ConnectRequest::new(to));
    sim.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(diary.borrow().len(), 2);
    sim.crash(server);
    sim.run_for(MINUTE).unwrap();
    assert_eq!(diary.borrow().len(), 2, "no word of the crash: {diary:?}");
    sim.restart(server);
    assert_eq!(boots.get(), 2);
    // A new connection finds the new program.
    assert_eq!(call(&mut sim, client, to, 2).borrow().len(), 2);
}

/// Writes down when its timer fires, on its own clock.
struct Alarm(Rc<Cell<Option<Time>>>);

impl StreamService for Alarm {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {}

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, _: u64) {
        self.0.set(Some(context.now()));
    }
}

#[test]
fn a_suspended_clock_stands_and_a_paused_one_does_not() {
    for (suspended, expected_ms) in [(true, 15_000), (false, 10_000)] {
        let (mut sim, _, client, _) = two_hosts(1);
        let fired = Rc::new(Cell::new(None));
        let events = sim.on(client);
        let service = events.add_stream_service(Alarm(Rc::clone(&fired)), StreamOptions::default());
        events
            .with(service, |_, context| {
                context.set_timer(Duration::from_secs(10), 0)
            })
            .unwrap();
        sim.run_for(Duration::from_secs(1)).unwrap();
        if suspended {
            sim.suspend(client)
        } else {
            sim.pause(client)
        }
        sim.run_for(Duration::from_secs(5)).unwrap();
        sim.resume(client);
        sim.run_until(MINUTE, || fired.get().is_some()).unwrap();
        let world = sim.now() - Time::ZERO;
        assert!(
            world.abs_diff(Duration::from_millis(expected_ms)) < Duration::from_millis(5),
            "{world:?}"
        );
        let own = fired.get().unwrap() - Time::ZERO;
        assert!(
            own.abs_diff(Duration::from_secs(10)) < Duration::from_millis(5),
            "its own clock: {own:?}"
        );
    }
}

/// Sends what it is given, writes down datagrams and errors.
struct Talker {
    to: SocketAddr,
    hops: Option<u8>,
    len: usize,
    diary: Diary,
}

impl DatagramService for Talker {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        let payload = vec![7; self.len];
        let mut message = Outgoing::to(self.to, &payload);
        if let Some(hops) = self.hops {
            message = message.hop_limit(hops);
        }
        let _ = socket.send(&message);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.diary.borrow_mut().push(format!(
            "{} bytes, hops {:?}",
            datagram.data.len(),
            datagram.meta.hop_limit
        ));
        let _ = socket;
    }

    fn on_error(&mut self, _: &mut Datagrams<'_>, entry: QueueEntry) {
        if let QueueEntry::Error(error) = entry {
            let line = format!(
                "{:?} from {:?}, mtu {:?}",
                error.cause,
                error.offender.unwrap(),
                error.mtu
            );
            self.diary.borrow_mut().push(line);
        }
    }
}

/// A client, two routers in a row, a server; what comes of a datagram with that hop limit and length.
fn across_routers(hops: Option<u8>, len: usize) -> (Vec<String>, Vec<String>) {
    let mut sim = Sim::new(1);
    let (client, server) = (sim.host([10, 1, 0, 1]), sim.host([10, 3, 0, 1]));
    let (near, far) = (sim.router([10, 1, 0, 254]), sim.router([10, 3, 0, 254]));
    let link = LinkOptions::latency(Duration::from_millis(1));
    sim.link(client, near, link);
    sim.link(near, far, LinkOptions { mtu: 600, ..link });
    sim.link(far, server, link);
    let options = DatagramOptions {
        error_queue: true,
        hop_limit: true,
        ..DatagramOptions::default()
    };
    let to: SocketAddr = ([10, 3, 0, 1], 9).into();
    let (sent, received) = (Diary::default(), Diary::default());
    let silent = Talker {
        to: ([10, 1, 0, 1], 1).into(),
        hops: Some(1),
        len: 0,
        diary: Rc::clone(&received),
    };
    let events = sim.on(server);
    let service = events.add_datagram_service(silent);
    events.bind(service, to, &options).unwrap();
    let events = sim.on(client);
    let service = events.add_datagram_service(Talker {
        to,
        hops,
        len,
        diary: Rc::clone(&sent),
    });
    events
        .bind(service, "0.0.0.0:0".parse().unwrap(), &options)
        .unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    let received = received
        .borrow()
        .iter()
        .filter(|line| line.contains("bytes"))
        .cloned()
        .collect();
    let sent = sent.borrow().clone();
    (sent, received)
}

#[test]
fn routers_count_down_the_hop_limit() {
    let (errors, received) = across_routers(None, 100);
    assert_eq!(
        (errors.len(), &received[..]),
        (0, &["100 bytes, hops Some(62)".to_owned()][..])
    );
}

#[test]
fn a_router_reports_a_hop_limit_that_ran_out() {
    for (hops, router) in [(1, "10.1.0.254"), (2, "10.3.0.254")] {
        let (errors, received) = across_routers(Some(hops), 100);
        assert_eq!(
            errors,
            [format!("Icmpv4 {{ kind: 11, code: 0 }} from {router}, mtu None")]
        );
        assert!(received.is_empty());
    }
    assert_eq!(across_routers(Some(3), 100).1.len(), 1);
}

#[test]
fn a_router_reports_what_is_too_big_with_its_mtu() {
    let (errors, received) = across_routers(None, 1000);
    assert_eq!(
        errors,
        ["Icmpv4 { kind: 3, code: 4 } from 10.1.0.254, mtu Some(600)"]
    );
    assert!(received.is_empty());
}

#[test]
fn loss_duplication_and_reordering_show_in_datagrams() {
    let mut sim = Sim::new(5);
    let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    sim.set_lan(LinkOptions {
        latency: Duration::from_millis(1),
        loss_ppm: 200_000,
        duplicate_ppm: 200_000,
        reorder_ppm: 200_000,
        ..LinkOptions::default()
    });
    let diary = Diary::default();
    let to: SocketAddr = ([10, 0, 0, 1], 9).into();
    let events = sim.on(server);
    let idle = Talker {
        to: ([10, 0, 0, 2], 1).into(),
        hops: None,
        len: 0,
        diary: Rc::clone(&diary),
    };
    let service = events.add_datagram_service(idle);
    events.bind(service, to, &DatagramOptions::default()).unwrap();
    let events = sim.on(client);
    for len in 1..=300 {
        let service = events.add_datagram_service(Talker {
            to,
            hops: None,
            len,
            diary: Diary::default(),
        });
        events
            .bind(service, "0.0.0.0:0".parse().unwrap(), &DatagramOptions::default())
            .unwrap();
    }
    sim.run_for(Duration::from_secs(1)).unwrap();
    let diary = diary.borrow();
    let lens: Vec<usize> = diary
        .iter()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    let distinct: std::collections::BTreeSet<_> = lens.iter().collect();
    assert!(
        (200..280).contains(&distinct.len()),
        "lost: {}",
        300 - distinct.len()
    );
    assert!(
        lens.len() > distinct.len() + 20,
        "twice: {}",
        lens.len() - distinct.len()
    );
    assert!(!lens.is_sorted(), "some overtook others");
}

#[test]
fn a_wait_that_is_not_met_says_when() {
    let (mut sim, ..) = two_hosts(1);
    let waited = sim.run_until(MINUTE, || false);
    assert!(
        matches!(waited, Err(SimError::TimedOut(at)) if at - Time::ZERO == MINUTE),
        "{waited:?}"
    );
}

#[test]
fn a_seed_is_the_same_each_time_and_another_is_not() {
    let hash = |seed| run(&Plan::of_seed(seed)).unwrap().trace_hash;
    assert_eq!(hash(11), hash(11));
    assert_ne!(hash(11), hash(12));
}

#[test]
fn fifty_seeds_survive_their_chaos() {
    for seed in 0..50 {
        let plan = Plan::of_seed(seed);
        let outcome = run(&plan).unwrap_or_else(|failure| panic!("{failure}\n{plan}"));
        assert!(outcome.messages >= u64::from(plan.messages));
    }
}

#[test]
fn any_bytes_are_a_plan_that_survives() {
    for seed in 0..20_u64 {
        let bytes: Vec<u8> = (0..200_u64)
            .flat_map(|word| (seed * 31 + word * word).to_le_bytes())
            .collect();
        let plan = Plan::from_bytes(&bytes);
        if let Err(failure) = run(&plan) {
            panic!("{failure}\n{plan}");
        }
    }
}

#[test]
fn tshark_reads_a_capture() {
    if !skip::require(&[Need::program("tshark")]) {
        return;
    }
    let (mut sim, server, client, to) = two_hosts(1);
    sim.set_lan(LinkOptions::latency(Duration::from_millis(3)));
    sim.capture();
    sim.listen(server, 7, Echo).unwrap();
    call(&mut sim, client, to, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sim.pcapng");
    sim.write_pcapng(std::fs::File::create(&path).unwrap()).unwrap();
    let mut tshark = std::process::Command::new("tshark");
    tshark.arg("-r").arg(&path).args([
        "-T",
        "fields",
        "-e",
        "tcp.flags.str",
        "-e",
        "tcp.len",
        "-e",
        "tcp.analysis.flags",
    ]);
    let output = program::output(&mut tshark, MINUTE);
    assert!(output.status.success(), "{}", output.stderr);
    let text = output.text();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let syn = rows[0][0].contains('S') && rows[1][0].contains('S') && rows[1][0].contains('A');
    assert!(syn, "the handshake comes first: {text}");
    assert_eq!(
        rows.iter().filter(|row| row[1] == "5").count(),
        2,
        "hello and its echo: {text}"
    );
    assert!(
        rows.iter()
            .all(|row| row.get(2).is_none_or(|flags| flags.is_empty())),
        "no complaints: {text}"
    );
}

#[test]
fn the_unspecified_source_is_the_hosts_own() {
    let (mut sim, server, client, _) = two_hosts(1);
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    sim.add_address(server, v6);
    sim.add_address(client, "2001:db8::2".parse::<IpAddr>().unwrap());
    sim.listen(server, 7, Echo).unwrap();
    assert_eq!(
        call(&mut sim, client, SocketAddr::new(v6, 7), 2).borrow().len(),
        2
    );
}
