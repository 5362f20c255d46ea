//! Port scans in the simulated network: hosts that answer, refuse, keep silent, and a path that loses packets.

#![expect(clippy::expect_used, reason = "what a test expects and does not get fails it")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye::endpoint::PortSet;
use sockeye::event_loop::{
    Datagram, DatagramOptions, DatagramService, Datagrams, OpError, Stream, StreamService, errno,
};
use sockeye::probe::services::{self, ScanReport};
use sockeye::probe::{PortState, Reason, ScanMethod, ScanOptions, Scanner, Verdict};
use sockeye::sim::{HostId, LinkOptions, Sim};

const LIMIT: Duration = Duration::from_secs(600);
const SERVER: [u8; 4] = [10, 0, 0, 2];
const SILENT: [u8; 4] = [10, 0, 0, 3];

struct Greeter;

impl StreamService for Greeter {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        assert!(stream.write(b"hello\r\n").is_taken());
    }

    fn on_data(&mut self, _stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

struct Mute;

impl StreamService for Mute {
    type Conn = ();

    fn on_open(&mut self, _stream: &mut Stream<'_>) {}

    fn on_data(&mut self, _stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }
}

struct Answerer;

impl DatagramService for Answerer {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        assert!(socket.send_to(b"yes", datagram.source).is_taken());
    }
}

struct Silent;

impl DatagramService for Silent {
    fn on_datagram(&mut self, _socket: &mut Datagrams<'_>, _datagram: Datagram<'_>) {}
}

struct World {
    sim: Sim,
    client: HostId,
    server: HostId,
}

/// A host that listens on the ports 10 and 20, and one that nothing comes through to.
fn world(seed: u64, loss_ppm: u32) -> World {
    let mut sim = Sim::new(seed);
    let (client, server, silent) = (sim.host([10, 0, 0, 1]), sim.host(SERVER), sim.host(SILENT));
    let link = LinkOptions {
        latency: Duration::from_millis(5),
        loss_ppm,
        ..LinkOptions::default()
    };
    sim.link(client, server, link);
    sim.link(client, silent, LinkOptions::default());
    sim.partition(client, silent);
    for port in [10, 20] {
        sim.listen(server, port, Greeter).expect("a listener");
        let events = sim.on(server);
        let service = events.add_datagram_service(Answerer);
        let at = SocketAddr::from((SERVER, port));
        events
            .bind(service, at, &DatagramOptions::default())
            .expect("a socket");
    }
    World { sim, client, server }
}

type Found = BTreeMap<SocketAddr, (Verdict, Vec<u8>)>;

/// Scans the ports 1 to 100 of both hosts: more than leave in one turn.
fn scan(world: &mut World, method: ScanMethod, banner: bool) -> Found {
    let options = ScanOptions {
        retries: 5,
        ..ScanOptions::new(method, 7)
    };
    let banner = banner.then_some(Duration::from_secs(2));
    run(world, "1-100", options, &[SERVER, SILENT], banner)
}

fn run(
    world: &mut World,
    ports: &str,
    options: ScanOptions,
    hosts: &[[u8; 4]],
    banner: Option<Duration>,
) -> Found {
    let ports: PortSet = ports.parse().expect("ports");
    let mut scanner = Scanner::new(&ports, options);
    for host in hosts {
        scanner.add_host(SocketAddr::from((*host, 0)));
    }
    start(world, scanner, banner).expect("sockets")(world)
}

/// Starts a scan, which ends when what this returns is called.
fn start(
    world: &mut World,
    scanner: Scanner,
    banner: Option<Duration>,
) -> Result<impl FnOnce(&mut World) -> Found + use<>, OpError> {
    let found = Rc::new(RefCell::new(Found::new()));
    let finished = Rc::new(Cell::new(false));
    let (told, done) = (Rc::clone(&found), Rc::clone(&finished));
    let on_report =
        move |_: &mut sockeye::event_loop::Context<'_>, scanner: &mut Scanner, report: ScanReport<'_>| {
            let before = told
                .borrow_mut()
                .insert(report.verdict.destination, (report.verdict, report.said.to_vec()));
            assert!(before.is_none(), "one verdict a port");
            done.set(scanner.is_finished());
        };
    let events = world.sim.on(world.client);
    match scanner.options().method {
        ScanMethod::Tcp => {
            services::scan_tcp(events, scanner, banner, on_report);
        }
        ScanMethod::Udp => {
            services::scan_udp(events, scanner, on_report)?;
        }
    }
    Ok(move |world: &mut World| {
        world.sim.run_until(LIMIT, || finished.get()).expect("it ends");
        found.take()
    })
}

fn check(found: &Found, silent: PortState) {
    assert_eq!(found.len(), 200);
    for (at, (verdict, _)) in found {
        let state = match (at.ip() == std::net::IpAddr::from(SERVER), at.port()) {
            (true, 10 | 20) => PortState::Open,
            (true, _) => PortState::Closed,
            (false, _) => silent,
        };
        assert_eq!(verdict.state, state, "{verdict:?}");
        assert_eq!(verdict.reason == Reason::Timeout, state == silent, "{verdict:?}");
    }
}

#[test]
fn hosts_answer_refuse_and_keep_silent() {
    let found = scan(&mut world(1, 0), ScanMethod::Tcp, false);
    check(&found, PortState::Filtered);
    for (verdict, said) in found.values() {
        assert!(
            verdict.rtt.is_none_or(|rtt| rtt == Duration::from_millis(10)),
            "{verdict:?}"
        );
        assert!(said.is_empty());
    }
    let found = scan(&mut world(1, 0), ScanMethod::Udp, false);
    check(&found, PortState::OpenOrFiltered);
    assert_eq!(found[&SocketAddr::from((SERVER, 10))].1, b"yes");
}

#[test]
fn a_banner_is_what_the_server_says_first() {
    let found = scan(&mut world(2, 0), ScanMethod::Tcp, true);
    check(&found, PortState::Filtered);
    for (at, (_, said)) in found {
        let open = at.ip() == std::net::IpAddr::from(SERVER) && matches!(at.port(), 10 | 20);
        assert_eq!(said, if open { &b"hello\r\n"[..] } else { b"" });
    }
}

#[test]
fn loss_changes_no_state_and_a_seed_repeats() {
    for seed in 0..10 {
        for method in [ScanMethod::Tcp, ScanMethod::Udp] {
            // Six attempts: that all of them fail happens to one port in a thousand runs or fewer.
            let silent = match method {
                ScanMethod::Tcp => PortState::Filtered,
                ScanMethod::Udp => PortState::OpenOrFiltered,
            };
            let mut first = world(seed, 50_000);
            check(&scan(&mut first, method, false), silent);
            let mut second = world(seed, 50_000);
            scan(&mut second, method, false);
            assert_eq!(first.sim.trace_hash(), second.sim.trace_hash());
        }
    }
}

/// One port after another would be asked for a second each; before, while and after it is found out whether the host holds
/// back its errors.
#[test]
fn a_few_silent_ports_take_no_longer_than_one() {
    for silent in [1, 5, 19] {
        let mut world = world(8, 0);
        let events = world.sim.on(world.server);
        for port in 200..200 + silent {
            let service = events.add_datagram_service(Silent);
            let at = SocketAddr::from((SERVER, port));
            events
                .bind(service, at, &DatagramOptions::default())
                .expect("a socket");
        }
        let ports = format!("199-{}", 199 + silent);
        let options = ScanOptions::new(ScanMethod::Udp, 7);
        let found = run(&mut world, &ports, options, &[SERVER], None);
        for (at, (verdict, _)) in &found {
            let state = match at.port() {
                199 => PortState::Closed,
                _ => PortState::OpenOrFiltered,
            };
            assert_eq!(verdict.state, state, "{verdict:?}");
        }
        let took = Duration::from_nanos(world.sim.now().as_nanos());
        assert!(took < Duration::from_secs(3), "{silent}: {took:?}");
    }
}

#[test]
fn few_descriptors_slow_a_scan_and_change_no_state() {
    let mut world = world(3, 0);
    world.sim.set_descriptor_limit(world.client, 12);
    check(&scan(&mut world, ScanMethod::Tcp, false), PortState::Filtered);
}

/// The kernel gives a connect up after two minutes: no report that the host cannot be reached.
#[test]
fn silence_is_silence_when_the_kernel_gives_up_too() {
    let mut world = world(4, 0);
    let options = ScanOptions {
        retries: 0,
        timeout: Duration::from_secs(200),
        ..ScanOptions::new(ScanMethod::Tcp, 7)
    };
    let found = run(&mut world, "1-3", options, &[SILENT], None);
    assert_eq!(found.len(), 3);
    for (verdict, _) in found.values() {
        assert_eq!(
            (verdict.state, verdict.reason, verdict.rtt),
            (PortState::Filtered, Reason::Timeout, None)
        );
    }
}

/// An open port opens the window of its host, whether it still is to say something or not.
#[test]
fn other_ports_are_asked_while_one_is_to_say_something() {
    let mut world = world(5, 0);
    for port in [201, 202] {
        world.sim.listen(world.server, port, Mute).expect("a listener");
    }
    let options = ScanOptions {
        window: 1,
        ..ScanOptions::new(ScanMethod::Tcp, 7)
    };
    let banner = Some(Duration::from_secs(2));
    let found = run(&mut world, "201,202", options, &[SERVER], banner);
    assert_eq!(found.len(), 2);
    // One after the other, in 10 ms each, and both wait for two seconds.
    let took = Duration::from_nanos(world.sim.now().as_nanos());
    assert!(took < Duration::from_millis(2_100), "{took:?}");
}

#[test]
fn sockets_are_opened_for_the_families_there_are_and_a_lack_of_descriptors_is_an_error() {
    for (v4, v6, needed) in [(true, false, 1), (false, true, 1), (true, true, 2)] {
        for room in [needed - 1, needed] {
            let mut world = world(6, 0);
            let limit = world.sim.descriptors(world.client) + room;
            world.sim.set_descriptor_limit(world.client, limit);
            let ports: PortSet = "10".parse().expect("a port");
            let mut scanner = Scanner::new(&ports, ScanOptions::new(ScanMethod::Udp, 7));
            if v4 {
                scanner.add_host(SocketAddr::from((SERVER, 0)));
            }
            if v6 {
                scanner.add_host(SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 2], 0)));
            }
            match start(&mut world, scanner, None) {
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(errno::EMFILE));
                    assert!(room < needed, "{v4} {v6}");
                    let sent = world.sim.on(world.client).stats().datagrams_out;
                    world.sim.run_for(Duration::from_secs(5)).expect("it goes on");
                    assert_eq!(world.sim.on(world.client).stats().datagrams_out, sent);
                }
                Ok(end) => {
                    assert_eq!(room, needed, "{v4} {v6}");
                    assert_eq!(end(&mut world).len(), needed);
                }
            }
        }
    }
}
