//! How many connections there may be at once: of a loop, of a listener, and of a listener apart.

use std::time::Duration;

use sockeye_event_loop::{ListenOptions, LoopOptions, StreamOptions};

use crate::connecting::failed;
use crate::probe::{Probe, Served};
use crate::world::World;

in_all_worlds!(
    a_closed_listener_leaves_its_connections;
    on_two_loops:
    a_listener_holds_its_limit,
    the_limit_of_a_listener_may_change,
    a_loop_holds_its_limit,
    a_listener_apart_has_places_of_its_own,
);

fn a_listener_holds_its_limit<W: World>() {
    let mut world = W::new();
    let probe = Probe::new();
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let (_, at) = world.listen_with(
        handle,
        &ListenOptions {
            max_connections: 3,
            ..ListenOptions::default()
        },
    );
    let clients: Vec<Served> = (0..6).map(|_| Probe::new().connect(&mut world, at)).collect();
    world.until("all connect, to the backlog at least", || {
        clients.iter().all(|c| c.log.opened() == 1)
    });
    world.pass(Duration::from_millis(5));
    assert_eq!(log.opened(), 3);
    let id = log.id(0);
    world
        .server()
        .with(handle, |_, context| context.stream(id).unwrap().abort());
    world.until("one goes, one comes", || log.opened() == 4);
    world.pass(Duration::from_millis(2));
    assert_eq!((log.opened(), world.server().open_streams()), (4, 3));
}

fn a_loop_holds_its_limit<W: World>() {
    let mut world = W::with(LoopOptions {
        max_connections: 2,
        ..LoopOptions::default()
    });
    let (a, at_a) = Probe::new().serve(&mut world, StreamOptions::default());
    let (b, at_b) = Probe::new().serve(&mut world, StreamOptions::default());
    let clients: Vec<Served> = [at_a, at_b, at_a, at_b]
        .iter()
        .map(|&at| Probe::new().connect(&mut world, at))
        .collect();
    world.until("all connect, to the backlog at least", || {
        clients.iter().all(|c| c.log.opened() == 1)
    });
    world.pass(Duration::from_millis(5));
    assert_eq!(a.log.opened() + b.log.opened(), 2);
    // Connects count too.
    let probe = Probe::new();
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let request = world.request(at_a);
    world.server().connect(handle, request);
    world.until("no room", || failed(&log).is_some());
    assert_eq!(
        failed(&log).unwrap(),
        "connect: the loop has no room for another connection"
    );
    let (served, id) = if a.log.opened() > 0 {
        (&a, a.log.id(0))
    } else {
        (&b, b.log.id(0))
    };
    world
        .server()
        .with(served.handle, |_, context| context.stream(id).unwrap().abort());
    world.until("one goes, one comes", || a.log.opened() + b.log.opened() == 3);
    assert_eq!(world.server().open_streams(), 2);
}

/// Neither takes a place of the other, and the listener's own limit holds.
fn a_listener_apart_has_places_of_its_own<W: World>() {
    let mut world = W::with(LoopOptions {
        max_connections: 1,
        ..LoopOptions::default()
    });
    let (served, at) = Probe::new().serve(&mut world, StreamOptions::default());
    let probe = Probe::new();
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let options = ListenOptions {
        max_connections: 2,
        apart: true,
        ..ListenOptions::default()
    };
    let (listener, at_apart) = world.listen_with(handle, &options);
    let connect = |world: &mut W, at| drop(Probe::new().connect(world, at));
    connect(&mut world, at_apart);
    world.until("one apart", || log.opened() == 1);
    connect(&mut world, at);
    world.until("and one that counts", || served.log.opened() == 1);
    connect(&mut world, at_apart);
    world.until("the loop is full, not the listener", || log.opened() == 2);
    for at in [at, at_apart] {
        connect(&mut world, at);
    }
    world.pass(Duration::from_millis(5));
    assert_eq!((served.log.opened(), log.opened()), (1, 2));
    assert_eq!(world.server().stats().open, 1);
    let abort = |world: &mut W, handle, id| {
        let server = world.server();
        server.with(handle, |_: &mut Probe, context| {
            context.stream(id).unwrap().abort()
        });
    };
    // What goes makes room where it was, and nowhere else.
    abort(&mut world, handle, log.id(0));
    world.until("the next apart", || log.opened() == 3);
    world.pass(Duration::from_millis(5));
    assert_eq!(served.log.opened(), 1);
    // Of a listener that is closed too they count for nobody.
    world.server().close_listener(listener);
    abort(&mut world, handle, log.id(1));
    abort(&mut world, handle, log.id(2));
    world.until("none is left apart", || log.closes().len() == 3);
    world.pass(Duration::from_millis(5));
    assert_eq!((served.log.opened(), world.server().open_streams()), (1, 1));
    assert_eq!(world.server().stats().open, 1);
    abort(&mut world, served.handle, served.log.id(0));
    world.until("the next one that counts", || served.log.opened() == 2);
    connect(&mut world, at);
    world.pass(Duration::from_millis(5));
    assert_eq!(served.log.opened(), 2, "the loop's limit holds");
}

fn the_limit_of_a_listener_may_change<W: World>() {
    let mut world = W::new();
    let probe = Probe::new();
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let options = ListenOptions {
        max_connections: 1,
        ..ListenOptions::default()
    };
    let (listener, at) = world.listen_with(handle, &options);
    for _ in 0..3 {
        let _ = Probe::new().connect(&mut world, at);
    }
    world.until("one", || log.opened() == 1);
    world.pass(Duration::from_millis(10));
    assert_eq!(log.opened(), 1);
    world
        .server()
        .with(handle, |_, context| context.set_max_connections(listener, 2));
    world.until("the next", || log.opened() == 2);
    world.pass(Duration::from_millis(10));
    assert_eq!(log.opened(), 2, "and not the one after it");
}

fn a_closed_listener_leaves_its_connections<W: World>() {
    let mut world = W::new();
    let probe = Probe::new();
    let log = probe.log.clone();
    let handle = world.server().add_stream_service(probe, StreamOptions::default());
    let limit = ListenOptions {
        max_connections: 1,
        ..ListenOptions::default()
    };
    let (id, at) = world.listen_with(handle, &limit);
    let first = Probe::new().connect(&mut world, at);
    world.until("open", || log.opened() == 1 && first.log.opened() == 1);
    world.server().close_listener(id);
    assert!(world.server().local_addr(id).is_err());
    // The next listener takes the place: the end of the old one's connection must not make room in it.
    let (_, at) = world.listen_with(handle, &limit);
    let second = Probe::new().connect(&mut world, at);
    let third = Probe::new().connect(&mut world, at);
    world.until("the second", || {
        log.opened() == 2 && second.log.opened() == 1 && third.log.opened() == 1
    });
    let old = log.id(0);
    world
        .server()
        .with(handle, |_, context| context.stream(old).unwrap().abort());
    world.until("the first ends", || log.closes().len() == 1);
    world.pass(Duration::from_millis(5));
    assert_eq!(log.opened(), 2, "the limit of the new listener holds");
}
