//! connect: errors of the calls that it is made of, and itself at the other side.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use libc as e;
use sockeye_event_loop::{ConnectOptions, ConnectRequest, StreamOptions};
use sockeye_sim::{Call, LinkOptions, Sim};

use crate::ground::{asker, echo, injected, is_served, serve_echo};
use crate::probe::{Probe, Told};
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    a_connect_to_itself_is_no_connection,
    a_thousand_refusals_leave_nothing,
);

/// What a connect may fail with at once.
const ERRORS: [(i32, &str); 9] = [
    (e::ENOBUFS, "ENOBUFS"),
    (e::ENOMEM, "ENOMEM"),
    (e::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (e::EACCES, "EACCES"),
    (e::EPERM, "EPERM"),
    (100, "ENETDOWN"),
    (e::ENETUNREACH, "ENETUNREACH"),
    (113, "EHOSTUNREACH"),
    (e::EINVAL, "EINVAL"),
];

fn is_over(told: &Told) -> bool {
    matches!(told, Told::ConnectFailed(_) | Told::Dropped)
}

/// One connect of the server's loop fails, and is told once; the next one is a connection.
fn fails_once<W: World>(world: &mut W, at: SocketAddr) {
    let client = asker(b"hello".to_vec()).connect(world, at);
    let log = client.log.clone();
    world.until("told", || log.all().iter().any(is_over));
    let failures = log
        .all()
        .iter()
        .filter(|told| matches!(told, Told::ConnectFailed(_)))
        .count();
    assert_eq!((failures, log.opened()), (1, 0), "{:?}", log.all());
    is_served(world, at);
    assert_eq!(world.client().stats().panics + world.server().stats().panics, 0);
}

#[test]
fn an_error_of_connect_is_told_once_simulated() {
    for (errno, _) in ERRORS {
        let mut world = Simulated::new();
        let (_, at) = serve_echo(&mut world);
        world.fail_at_the_client(Call::Connect, 1, errno);
        fails_once(&mut world, at);
    }
}

#[test]
fn an_error_of_connect_is_told_once() {
    let injects: Vec<String> = ERRORS
        .iter()
        .map(|(_, name)| format!("connect:error={name}:when=1"))
        .collect();
    let injects: Vec<&str> = injects.iter().map(String::as_str).collect();
    injected("connect::an_error_of_connect_is_told_once", &injects, || {
        let mut world = OnKernel::new();
        let (_, at) = serve_echo(&mut world);
        fails_once(&mut world, at);
    });
}

/// No descriptor, or no memory, for the socket itself.
#[test]
fn a_socket_that_cannot_be_opened_is_told_once_simulated() {
    for errno in [e::EMFILE, e::ENFILE, e::ENOBUFS, e::ENOMEM, e::EACCES] {
        let mut world = Simulated::new();
        let (_, at) = serve_echo(&mut world);
        world.fail_at_the_client(Call::Socket, 1, errno);
        fails_once(&mut world, at);
    }
}

#[test]
fn a_socket_that_cannot_be_opened_is_told_once() {
    // The first socket is the listener's.
    let injects = [
        "socket:error=EMFILE:when=2",
        "socket:error=ENFILE:when=2",
        "socket:error=ENOBUFS:when=2",
        "socket:error=ENOMEM:when=2",
        "socket:error=EACCES:when=2",
    ];
    injected(
        "connect::a_socket_that_cannot_be_opened_is_told_once",
        &injects,
        || {
            let mut world = OnKernel::new();
            let (_, at) = serve_echo(&mut world);
            fails_once(&mut world, at);
        },
    );
}

/// Source and destination are the same: the kernel would make a connection with one end of that.
fn a_connect_to_itself_is_no_connection<W: World>() {
    let mut world = W::new();
    let probe = Probe::new();
    let log = probe.log.clone();
    let service = world.client().add_stream_service(probe, StreamOptions::default());
    let itself = SocketAddr::new(world.client_ip(), 23_456);
    let options = ConnectOptions {
        source: Some(itself),
        ..ConnectOptions::default()
    };
    let request = ConnectRequest::new(itself).options(options);
    world.client().connect(service, request);
    world.until("told", || log.all().iter().any(is_over));
    assert_eq!(log.opened(), 0, "{:?}", log.all());
    assert_eq!(world.client().open_streams(), 0);
}

fn a_thousand_refusals_leave_nothing<W: World>() {
    let mut world = W::new();
    let (_, at) = serve_echo(&mut world);
    // A port of the server's at which nobody listens.
    let gone = Probe::new();
    let handle = world.server().add_stream_service(gone, StreamOptions::default());
    let (listener, nobody) = world.listen_with(handle, &Default::default());
    world.server().close_listener(listener);
    let failures = Rc::new(Cell::new(0));
    let count = Rc::clone(&failures);
    let probe = Probe::new().connect_error(move |_| count.set(count.get() + 1));
    let service = world.client().add_stream_service(probe, StreamOptions::default());
    for round in 1..=10 {
        for _ in 0..100 {
            let request = world.request(nobody);
            world.client().connect(service, request);
        }
        world.until("a hundred more", || failures.get() == round * 100);
    }
    assert_eq!((world.client().open_streams(), world.client().timers()), (0, 0));
    is_served(&mut world, at);
}

/// The answer to a connect is lost, and to its repetition too: it is made again until it is there.
#[test]
fn a_lossy_link_costs_a_connect_time_simulated() {
    for seed in 0..20 {
        let mut sim = Sim::new(seed);
        let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
        sim.set_lan(LinkOptions {
            latency: Duration::from_millis(1),
            loss_ppm: 400_000,
            ..LinkOptions::default()
        });
        sim.listen(server, 7, echo()).unwrap();
        let asker = asker(b"through all that".to_vec());
        let log = asker.log.clone();
        sim.connect(client, ([10, 0, 0, 1], 7).into(), asker);
        let told = log.clone();
        sim.run_until(Duration::from_secs(3_600), move || told.all().iter().any(is_over))
            .unwrap();
        if log.opened() == 1 {
            let received = log.received(0);
            assert!(b"through all that".starts_with(&received[..]), "seed {seed}");
        }
    }
}
