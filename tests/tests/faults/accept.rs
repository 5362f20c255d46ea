//! accept: errors that pass, connections that are over before they are taken, floods.

use std::time::Duration;

use libc as e;
use sockeye_event_loop::StreamOptions;
use sockeye_sim::Call;

use crate::ground::{abort_all, healthy, injected, is_served, leaks_nothing, serve_echo};
use crate::probe::{Probe, Told};
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    a_flood_of_ten_thousand_beside_a_healthy_one,
    a_flood_that_resets_at_once_is_over_and_nothing_is_left,
);

/// Errors of accept(2) that are about the connection which was waiting, or about memory at this moment. By number: some of
/// them no other code needs.
const PASSING: [(i32, &str); 15] = [
    (e::EMFILE, "EMFILE"),
    (e::ENFILE, "ENFILE"),
    (e::ENOBUFS, "ENOBUFS"),
    (e::ENOMEM, "ENOMEM"),
    (e::ECONNABORTED, "ECONNABORTED"),
    (e::EINTR, "EINTR"),
    (71, "EPROTO"),
    (e::EPERM, "EPERM"),
    (100, "ENETDOWN"),
    (92, "ENOPROTOOPT"),
    (112, "EHOSTDOWN"),
    (64, "ENONET"),
    (113, "EHOSTUNREACH"),
    (e::ENETUNREACH, "ENETUNREACH"),
    (e::ETIMEDOUT, "ETIMEDOUT"),
];

#[test]
fn every_passing_error_leaves_the_listener_simulated() {
    for (errno, name) in PASSING {
        let mut world = Simulated::new();
        let (_, at) = serve_echo(&mut world);
        world.fail_at_the_server(Call::Accept, 3, errno);
        for _ in 0..4 {
            is_served(&mut world, at);
        }
        let stats = world.server().stats();
        assert_eq!(
            (stats.accepted, stats.listeners_lost),
            (4, 0),
            "{name}: {stats:?}"
        );
    }
}

#[test]
fn every_passing_error_leaves_the_listener() {
    let injects: Vec<String> = PASSING
        .iter()
        .map(|(_, name)| format!("accept4:error={name}:when=1..3"))
        .collect();
    let injects: Vec<&str> = injects.iter().map(String::as_str).collect();
    injected(
        "accept::every_passing_error_leaves_the_listener",
        &injects,
        || {
            let mut world = OnKernel::new();
            let (_, at) = serve_echo(&mut world);
            for _ in 0..4 {
                is_served(&mut world, at);
            }
            let stats = world.server().stats();
            assert_eq!((stats.accepted, stats.listeners_lost), (4, 0), "{stats:?}");
        },
    );
}

/// Rounds of five hundred who connect, say nothing and are reset: a healthy connection is served in each.
fn a_flood_of_ten_thousand_beside_a_healthy_one<W: World>() {
    const ROUNDS: usize = 20;
    const EACH: usize = 500;
    let mut world = W::new();
    let (server, at) = serve_echo(&mut world);
    let healthy = healthy(&mut world, at);
    let flood = Probe::new();
    let log = flood.log.clone();
    let handle = world.client().add_stream_service(flood, StreamOptions::default());
    let flood = crate::probe::Served { log, handle };
    let (s, h) = (server.log.clone(), healthy.log.clone());
    for round in 1..=ROUNDS {
        let before = h.received_len(0);
        for _ in 0..EACH {
            let request = world.request(at);
            world.client().connect(flood.handle, request);
        }
        let f = flood.log.clone();
        world.until("all are accepted", || {
            s.opened() == 1 + round * EACH && f.opened() == EACH
        });
        world.until("the healthy one is served meanwhile", || {
            h.received_len(0) > before + 40
        });
        abort_all(&mut world, &flood);
        world.until("all are gone", || s.closes().len() == round * EACH);
        *flood.log.0.borrow_mut() = Default::default();
    }
    assert!(!h.has(&Told::Dropped));
    let stats = world.server().stats();
    assert_eq!(stats.accepted, 1 + (ROUNDS * EACH) as u64);
    assert_eq!((world.server().open_streams(), stats.panics), (1, 0));
}

/// Clients that reset as soon as they are connected: for the server some are over before it takes them.
fn a_flood_that_resets_at_once_is_over_and_nothing_is_left<W: World>() {
    const MANY: usize = 500;
    let mut world = W::new();
    let (server, at) = serve_echo(&mut world);
    let flood = Probe::new().open(|stream| stream.abort());
    let log = flood.log.clone();
    let handle = world.client().add_stream_service(flood, StreamOptions::default());
    for _ in 0..MANY {
        let request = world.request(at);
        world.client().connect(handle, request);
    }
    world.until("all have reset", || log.closes().len() == MANY);
    is_served(&mut world, at);
    let s = server.log.clone();
    world.until("all are gone", || s.closes().len() == s.opened());
    assert_eq!(world.server().open_streams(), 0);
    assert_eq!(world.server().stats().panics, 0);
}

/// Reset while it waited in the backlog: it is accepted and is an error at once, or never seen; who waits behind it is served.
#[test]
fn who_reset_in_the_backlog_does_not_hold_up_those_behind() {
    crate::ground::alone(
        "accept::who_reset_in_the_backlog_does_not_hold_up_those_behind",
        || {
            let mut world = OnKernel::new();
            let (server, at) = serve_echo(&mut world);
            // The server's loop does not turn: they wait.
            for _ in 0..20 {
                let gone = std::net::TcpStream::connect(at).unwrap();
                socket2::SockRef::from(&gone)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            is_served(&mut world, at);
            let s = server.log.clone();
            world.until("all are gone", || s.closes().len() == s.opened());
            assert!(
                s.closes().iter().all(|why| why == "error" || why == "closed"),
                "{:?}",
                s.closes()
            );
            assert_eq!(s.closes().iter().filter(|why| *why == "closed").count(), 1);
        },
    );
}

#[test]
fn who_reset_in_the_backlog_does_not_hold_up_those_behind_simulated() {
    use sockeye_sim::Sim;
    let mut sim = Sim::new(3);
    let (server, client) = (sim.host([10, 0, 0, 1]), sim.host([10, 0, 0, 2]));
    let (echo, gone, asker) = (
        crate::ground::echo(),
        Probe::new().open(|stream| stream.abort()),
        crate::ground::asker(b"and now?".to_vec()),
    );
    let (served, reset, answered) = (echo.log.clone(), gone.log.clone(), asker.log.clone());
    sim.listen(server, 7, echo).unwrap();
    let at = ([10, 0, 0, 1], 7).into();
    // Its program stands still: they wait in the backlog of its kernel.
    sim.pause(server);
    let events = sim.on(client);
    let service = events.add_stream_service(gone, StreamOptions::default());
    for _ in 0..20 {
        events.connect(service, sockeye_event_loop::ConnectRequest::new(at));
    }
    let all = reset.clone();
    sim.run_until(Duration::from_secs(60), move || all.closes().len() == 20)
        .unwrap();
    sim.connect(client, at, asker);
    sim.resume(server);
    let a = answered.clone();
    sim.run_until(Duration::from_secs(60), move || a.has(&Told::Dropped))
        .unwrap();
    assert_eq!(answered.received(0), b"and now?");
    let s = served.clone();
    sim.run_until(Duration::from_secs(60), move || s.closes().len() == s.opened())
        .unwrap();
    assert_eq!(
        served.closes().iter().filter(|why| *why == "closed").count(),
        1,
        "{:?}",
        served.closes()
    );
}

/// The helper sees what it is there for.
#[test]
fn a_descriptor_that_is_left_is_seen() {
    let name = "accept::a_descriptor_that_is_left_is_seen";
    if !crate::ground::is_child(name) {
        return crate::ground::alone(name, || {});
    }
    let left = std::panic::catch_unwind(|| {
        leaks_nothing(|| std::mem::forget(std::fs::File::open("/dev/null").unwrap()));
    });
    assert!(left.is_err(), "it is not seen");
}
