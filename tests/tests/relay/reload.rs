//! Another configuration under load, and the end.

use std::net::SocketAddr;
use std::time::Duration;

use sockeye_event_loop::{ConnectRequest, StreamOptions};
use sockeye_relay::{Config, ListenerConfig, PoolConfig, ReloadError, SessionEnd, StartError};

use crate::ground::{Ground, answers, asks, keeps};
use crate::probe::{Probe, Served, Told};
use crate::world::{OnKernel, World};

in_both_worlds!(
    a_reload_under_load_drops_no_session,
    a_listener_that_is_gone_stops_accepting_and_its_sessions_go_on,
    sessions_of_a_backend_that_is_gone_have_their_time,
    a_reload_that_cannot_be_done_changes_nothing,
    a_pool_that_is_gone_leaves_nothing,
    limits_and_balance_may_change,
    a_higher_limit_of_a_listener_lets_those_in_who_wait,
    a_higher_limit_of_a_backend_serves_those_who_wait,
    a_drain_waits_for_sessions_and_then_ends_them,
);

fn until_answered<W: World>(ground: &mut Ground<W>, client: &Served, len: usize) {
    let log = client.log.clone();
    ground.world.until("an answer", || log.received_len(0) == len);
}

/// Writes on a client's connection.
fn write<W: World>(ground: &mut Ground<W>, client: &Served, bytes: &[u8]) {
    let id = client.log.id(0);
    let taken = ground
        .world
        .client()
        .with(client.handle, |_, context| context.write(id, bytes).is_taken());
    assert_eq!(taken, Some(true));
}

/// Clients come and ask all the time, while backends come and go: not one is refused or cut.
fn a_reload_under_load_drops_no_session<W: World>() {
    let mut ground = Ground::<W>::new();
    let backends = [
        ground.backend(answers(b"answered")),
        ground.backend(answers(b"answered")),
        ground.backend(answers(b"answered")),
    ];
    let all: Vec<SocketAddr> = backends.iter().map(|backend| backend.at).collect();
    let config = ground.config(&all[..1]);
    ground.start(config);
    let long = ground.client(asks().open(|stream| {
        stream.set_timer(Duration::from_secs(5), 0);
    }));
    let at = ground.at("in");
    let probe = asks();
    let log = probe.log.clone();
    let clients = ground
        .world
        .client()
        .add_stream_service(probe, StreamOptions::default());
    for round in 0..12 {
        for _ in 0..25 {
            ground.world.client().connect(clients, ConnectRequest::new(at));
        }
        // While those are on their way.
        let now: &[SocketAddr] = match round % 3 {
            0 => &all[..2],
            1 => &all[1..],
            _ => &all,
        };
        let config = ground.config(now);
        ground.reload(config);
        assert_eq!(ground.at("in"), at, "the listener stays");
        ground.until_ended(25 * (round + 1));
    }
    let ends = ground.told.ends();
    assert!(ends.iter().all(|end| *end == SessionEnd::Done), "{ends:?}");
    let answered = log
        .0
        .borrow()
        .received
        .values()
        .filter(|bytes| *bytes == b"answered")
        .count();
    assert_eq!(answered, 300);
    assert!(backends[1..].iter().all(|backend| backend.log.opened() > 0));
    assert_eq!(ground.stats().listener("in").unwrap().counters.sessions, 301);
    assert!(
        !long.log.has(&Told::Dropped),
        "one that has said nothing yet is there too"
    );
}

fn named<W: World>(ground: &Ground<W>, name: &str, to: &str) -> ListenerConfig {
    let at = format!("tcp://{}:0", ground.world.server_ip());
    let mut listener = ListenerConfig::new(at.parse().unwrap(), to);
    listener.name = Some(name.to_owned());
    listener
}

fn a_listener_that_is_gone_stops_accepting_and_its_sessions_go_on<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let config = ground.config(&[backend.at]);
    ground.start(config.clone());
    let old = ground.at("in");
    let client = ground.client(asks());
    until_answered(&mut ground, &client, 8);
    let other = Config {
        listeners: vec![named(&ground, "other", "out")],
        ..config
    };
    ground.reload(other);
    let refused = Probe::new().connect(&mut ground.world, old);
    let log = refused.log.clone();
    ground.world.until("refused", || {
        log.all()
            .iter()
            .any(|told| matches!(told, Told::ConnectFailed(_)))
    });
    write(&mut ground, &client, b", again");
    until_answered(&mut ground, &client, 15);
    assert!(ground.stats().listener("in").is_some(), "it has a session left");
    let id = client.log.id(0);
    ground
        .world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().close());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::Done);
    assert!(ground.stats().listener("in").is_none());
    let at = ground.at("other");
    let next = asks().connect(&mut ground.world, at);
    until_answered(&mut ground, &next, 8);
}

fn sessions_of_a_backend_that_is_gone_have_their_time<W: World>() {
    let mut ground = Ground::<W>::new();
    let (old, new) = (ground.backend(keeps()), ground.backend(keeps()));
    let mut config = ground.config(&[old.at]);
    config.pools[0].drain = Duration::from_millis(200);
    ground.start(config.clone());
    let client = ground.client(asks());
    until_answered(&mut ground, &client, 8);
    let mut changed = ground.config(&[new.at]);
    changed.pools[0].drain = Duration::from_millis(200);
    ground.reload(changed);
    write(&mut ground, &client, b", again");
    until_answered(&mut ground, &client, 15);
    let stats = ground.stats();
    let leaving = stats.pool("out").unwrap().backend(&old.name()).unwrap();
    assert!(leaving.leaving && leaving.open == 1);
    ground.client(asks());
    let theirs = new.log.clone();
    ground
        .world
        .until("new ones go elsewhere", || theirs.received_len(0) == 8);
    ground.until_ended(1);
    let record = ground.told.last();
    assert_eq!(
        (record.end, record.backend.as_deref()),
        (SessionEnd::Drained, Some(&*old.name()))
    );
    assert!(ground.stats().pool("out").unwrap().backend(&old.name()).is_none());
}

fn a_reload_that_cannot_be_done_changes_nothing<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(answers(b"here"));
    let config = ground.config(&[backend.at]);
    ground.start(config.clone());
    let relay = ground.relay.unwrap();
    let mut unsound = config.clone();
    unsound.listeners[0].to = "nobody".to_owned();
    let error = relay.reload(ground.world.server(), unsound).unwrap_err();
    assert_eq!(error.to_string(), "listeners[0].to: no pool named `nobody`");
    // The second new listener has the port of the first.
    let taken = ground.at("in");
    let mut two = named(&ground, "two", "out");
    two.at = format!("tcp://{taken}").parse().unwrap();
    let listeners = vec![named(&ground, "one", "out"), two];
    let before = ground.stats();
    let error = relay
        .reload(ground.world.server(), Config { listeners, ..config })
        .unwrap_err();
    assert!(
        matches!(&error, ReloadError::Start(StartError::Listen { listener, .. }) if listener == "two"),
        "{error}"
    );
    assert_eq!(ground.stats(), before);
    assert_eq!(ground.ask(1), [backend.name()]);
}

fn a_pool_that_is_gone_leaves_nothing<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(answers(b"here"));
    let config = ground.config(&[backend.at]);
    ground.start(config.clone());
    ground.ask(1);
    let mut other = config.clone();
    other.pools = vec![PoolConfig::new("other", [backend.name().parse().unwrap()])];
    other.listeners[0].to = "other".to_owned();
    ground.reload(other);
    assert!(ground.stats().pool("out").is_none());
    ground.ask(1);
    assert_eq!(&*ground.told.last().pool, "other");
}

fn limits_and_balance_may_change<W: World>() {
    let mut ground = Ground::<W>::new();
    let (one, two) = (ground.backend(answers(b"one")), ground.backend(answers(b"two")));
    let mut config = ground.config(&[one.at, two.at]);
    ground.start(config.clone());
    config.pools[0].balance = sockeye_relay::Balance::SourceHash;
    ground.reload(config.clone());
    let served = ground.ask(4);
    assert!(
        served.iter().all(|name| *name == served[0]),
        "one source, one backend: {served:?}"
    );
    config.pools[0]
        .backends
        .iter_mut()
        .for_each(|backend| backend.weight = 0);
    ground.reload(config.clone());
    ground.client(asks());
    ground.until_ended(5);
    assert_eq!(ground.told.last().end, SessionEnd::AllDown);
    config.pools[0].balance = sockeye_relay::Balance::LeastSessions;
    config.pools[0].backends[1].weight = 1;
    ground.reload(config);
    assert_eq!(ground.ask(2), vec![two.name(); 2]);
}

fn a_higher_limit_of_a_listener_lets_those_in_who_wait<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = ground.config(&[backend.at]);
    config.listeners[0].max_sessions = Some(1);
    ground.start(config.clone());
    let first = ground.client(asks());
    until_answered(&mut ground, &first, 8);
    let second = ground.client(asks());
    ground.world.pass(Duration::from_millis(20));
    assert_eq!(second.log.received_len(0), 0);
    config.listeners[0].max_sessions = None;
    ground.reload(config);
    until_answered(&mut ground, &second, 8);
}

fn a_higher_limit_of_a_backend_serves_those_who_wait<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = ground.config(&[backend.at]);
    config.pools[0].backends[0].max_sessions = Some(1);
    config.pools[0].queue.max = 5;
    config.pools[0].queue.deadline = Duration::from_secs(3_600);
    ground.start(config.clone());
    let first = ground.client(asks());
    until_answered(&mut ground, &first, 8);
    let second = ground.client(asks());
    while ground.stats().pool("out").unwrap().waiting == 0 {
        ground.world.pass(Duration::from_millis(1));
    }
    config.pools[0].backends[0].max_sessions = Some(2);
    ground.reload(config);
    until_answered(&mut ground, &second, 8);
}

fn a_drain_waits_for_sessions_and_then_ends_them<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let config = ground.config(&[backend.at]);
    ground.start(config);
    let at = ground.at("in");
    let clients = [ground.client(asks()), ground.client(asks())];
    clients
        .iter()
        .for_each(|client| until_answered(&mut ground, client, 8));
    let relay = ground.relay.unwrap();
    relay.drain(ground.world.server(), Duration::from_millis(300));
    assert!(!relay.is_drained(ground.world.server()));
    let refused = Probe::new().connect(&mut ground.world, at);
    let log = refused.log.clone();
    ground.world.until("refused", || {
        log.all()
            .iter()
            .any(|told| matches!(told, Told::ConnectFailed(_)))
    });
    let id = clients[0].log.id(0);
    ground.world.client().with(clients[0].handle, |_, context| {
        context.stream(id).unwrap().close()
    });
    ground.until_ended(1);
    write(&mut ground, &clients[1], b", again");
    until_answered(&mut ground, &clients[1], 15);
    ground.until_ended(2);
    assert_eq!(ground.told.ends(), [SessionEnd::Done, SessionEnd::Drained]);
    assert!(relay.is_drained(ground.world.server()));
    let config = ground.config(&[backend.at]);
    let error = relay.reload(ground.world.server(), config).unwrap_err();
    assert!(
        matches!(error, ReloadError::Start(StartError::Draining)),
        "{error}"
    );
    assert_eq!(ground.world.server().open_streams(), 0);
}

/// One session that is joined, one that connects: the first is left in peace until the time is up.
fn two_sessions() -> Ground<OnKernel> {
    let mut ground = Ground::<OnKernel>::new();
    let (backend, hanging) = (ground.backend(keeps()), ground.hanging());
    let mut config = ground.config(&[backend.at, hanging]);
    config.pools[0].connect.deadline = Duration::from_secs(60);
    ground.start(config);
    let client = ground.client(asks());
    until_answered(&mut ground, &client, 8);
    let connecting = ground.client(asks());
    let log = connecting.log.clone();
    ground.world.until("it is there", || log.opened() == 1);
    while ground.stats().listener("in").unwrap().open < 2 {
        ground.world.pass(Duration::from_millis(1));
    }
    ground
}

#[test]
fn a_drain_of_the_loop_ends_the_relay() {
    let mut ground = two_sessions();
    ground.world.server().drain(Duration::from_millis(50)).unwrap();
    assert_eq!(ground.told.ends(), [SessionEnd::LoopEnded; 2]);
    assert_eq!(ground.world.server().open_streams(), 0);
    assert_eq!(ground.world.server().stats().panics, 0);
}
