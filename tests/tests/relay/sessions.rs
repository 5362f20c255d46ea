//! One session: what passes through, how it ends, and what becomes of it when a backend fails.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_event_loop::{ConnectRequest, ListenOptions, StreamOptions, UnixListenOptions, UnixName, errno};
use sockeye_relay::{BackendConfig, Balance, Condition, SessionEnd};
use sockeye_sim::Call;
use sockeye_tests::pattern;

use crate::ground::{Ground, answers, asks, keeps};
use crate::probe::{Probe, Told};
use crate::world::{OnKernel, Simulated, World};

in_both_worlds!(
    a_session_is_relayed_counted_and_told,
    ten_megabytes_each_way,
    a_half_close_passes_through,
    a_reset_of_the_backend_resets_the_client,
    a_reset_of_the_client_resets_the_backend,
    an_idle_session_ends,
    what_is_left_of_a_half_closed_session_ends_sooner,
    a_backend_that_refuses_is_passed_over,
    when_all_refuse_the_client_is_reset,
    a_backend_that_nobody_answers_for_is_passed_over_after_the_deadline,
    a_backend_that_resets_after_accept_goes_out_and_comes_back,
    a_backend_that_answers_and_dies_is_passed_over,
    all_backends_down,
    a_client_that_goes_before_it_has_a_backend,
    the_program_turns_a_client_away,
);

fn a_session_is_relayed_counted_and_told<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(answers(b"an answer"));
    let config = ground.config(&[backend.at]);
    ground.start(config);
    let client = ground.client(asks());
    ground.until_ended(1);
    assert_eq!(backend.log.received(0), b"question");
    assert_eq!(client.log.received(0), b"an answer");
    let record = ground.told.last();
    assert_eq!((&*record.listener, &*record.pool), ("in", "out"));
    assert_eq!(record.backend.as_deref(), Some(&*backend.name()));
    assert_eq!(
        record.client.map(|client| client.ip()),
        Some(ground.world.client_ip())
    );
    assert_eq!(
        (record.attempts, record.from_client, record.from_backend),
        (1, 8, 9)
    );
    assert_eq!(record.end, SessionEnd::Done);
    assert!(record.waited <= record.lasted);
    let stats = ground.stats();
    let listener = stats.listener("in").unwrap();
    assert_eq!(listener.open, 0);
    let counters = listener.counters;
    assert_eq!((counters.sessions, counters.ended, counters.unserved), (1, 1, 0));
    assert_eq!((counters.bytes_in, counters.bytes_out), (8, 9));
    let pool = stats.pool("out").unwrap();
    assert_eq!(
        (
            pool.counters.sessions,
            pool.counters.bytes_in,
            pool.counters.bytes_out
        ),
        (1, 8, 9)
    );
    let backend = pool.backend(&backend.name()).unwrap();
    assert_eq!(
        (backend.open, backend.condition, backend.counters.sessions),
        (0, Condition::Up, 1)
    );
    assert_eq!((backend.counters.bytes_in, backend.counters.bytes_out), (8, 9));
    assert_eq!(ground.world.server().stats().panics, 0);
}

fn ten_megabytes_each_way<W: World>() {
    let mut ground = Ground::<W>::new();
    let (up, down) = (Rc::new(pattern(10 << 20)), Rc::new(pattern((10 << 20) + 7)));
    let backend = ground.backend(Probe::new().pushing(Rc::clone(&down)));
    let config = ground.config(&[backend.at]);
    ground.start(config);
    let client = ground.client(Probe::new().pushing(Rc::clone(&up)));
    let (theirs, ours) = (backend.log.clone(), client.log.clone());
    ground.world.until("all of it", || {
        theirs.received_len(0) == up.len() && ours.received_len(0) == down.len()
    });
    assert!(theirs.received(0) == *up && ours.received(0) == *down);
    let id = ours.id(0);
    ground
        .world
        .client()
        .with(client.handle, |_, context| context.stream(id).unwrap().close());
    ground.until_ended(1);
    let record = ground.told.last();
    assert_eq!(
        (record.from_client, record.from_backend),
        (10 << 20, (10 << 20) + 7)
    );
    assert_eq!(record.end, SessionEnd::Done);
}

fn a_half_close_passes_through<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(Probe::new().eof(|stream| {
        assert!(stream.write(b"after your end").is_taken());
        stream.close();
    }));
    let config = ground.config(&[backend.at]);
    ground.start(config);
    let client = ground.client(Probe::new().open(|stream| {
        assert!(stream.write(b"all").is_taken());
        stream.shutdown_write();
    }));
    ground.until_ended(1);
    assert_eq!(backend.log.received(0), b"all");
    let ours = client.log.clone();
    ground
        .world
        .until("the answer", || ours.received(0) == b"after your end");
    assert_eq!(ground.told.ends(), [SessionEnd::Done]);
}

fn a_reset_of_the_backend_resets_the_client<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(Probe::new().data(|stream, data| {
        stream.abort();
        data.len()
    }));
    let config = ground.config(&[backend.at]);
    ground.start(config);
    let client = ground.client(asks());
    ground.until_ended(1);
    let ours = client.log.clone();
    ground
        .world
        .until("the client hears", || ours.has(&Told::Dropped));
    assert_eq!(ours.closes(), ["error"]);
    assert_eq!(ground.told.ends(), [SessionEnd::BackendReset]);
    assert_eq!(ground.stats().pool("out").unwrap().backends[0].counters.failed, 1);
}

fn a_reset_of_the_client_resets_the_backend<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let config = ground.config(&[backend.at]);
    ground.start(config);
    let client = ground.client(asks().data(|stream, data| {
        stream.abort();
        data.len()
    }));
    ground.until_ended(1);
    let theirs = backend.log.clone();
    ground
        .world
        .until("the backend hears", || theirs.has(&Told::Dropped));
    assert_eq!(theirs.closes(), ["error"]);
    assert_eq!(ground.told.ends(), [SessionEnd::ClientReset]);
    assert_eq!(client.log.received(0), b"question");
    assert_eq!(ground.stats().pool("out").unwrap().backends[0].counters.failed, 0);
}

fn an_idle_session_ends<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(keeps());
    let mut config = ground.config(&[backend.at]);
    config.listeners[0].timeouts.idle = Duration::from_millis(50);
    ground.start(config);
    let client = ground.client(asks());
    ground.until_ended(1);
    assert_eq!(client.log.received(0), b"question");
    assert_eq!(ground.told.ends(), [SessionEnd::Idle]);
    assert!(ground.told.last().lasted >= Duration::from_millis(50));
    assert_eq!(ground.stats().listener("in").unwrap().counters.timed_out, 1);
}

fn what_is_left_of_a_half_closed_session_ends_sooner<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(Probe::new().eof(|_| {}));
    let mut config = ground.config(&[backend.at]);
    config.listeners[0].timeouts.half_closed = Duration::from_millis(30);
    ground.start(config);
    ground.client(asks().open(|stream| stream.shutdown_write()));
    ground.until_ended(1);
    assert_eq!(ground.told.ends(), [SessionEnd::HalfClosed]);
    assert!(
        ground.told.last().lasted < Duration::from_secs(10),
        "long before it is idle"
    );
    assert_eq!(ground.stats().listener("in").unwrap().counters.timed_out, 1);
}

fn a_backend_that_refuses_is_passed_over<W: World>() {
    let mut ground = Ground::<W>::new();
    let (nobody, backend) = (ground.nobody(), ground.backend(answers(b"here")));
    let mut config = ground.config(&[nobody, backend.at]);
    config.pools[0].health.failures = 2;
    ground.start(config);
    let served = ground.ask(4);
    assert_eq!(served, vec![backend.name(); 4], "no client has noticed");
    let attempts: Vec<u32> = ground
        .told
        .records
        .borrow()
        .iter()
        .map(|record| record.attempts)
        .collect();
    assert_eq!(attempts, [2, 2, 1, 1], "after two in a row it is out");
    assert_eq!(
        *ground.told.changes.borrow(),
        [(format!("out tcp://{nobody}"), Condition::Down)]
    );
    let stats = ground.stats();
    let pool = stats.pool("out").unwrap();
    assert_eq!((pool.counters.retries, pool.counters.connects_failed), (2, 0));
    let refusing = pool.backend(&format!("tcp://{nobody}")).unwrap();
    assert_eq!(
        (refusing.counters.connects_failed, refusing.counters.downs),
        (2, 1)
    );
    assert_eq!((refusing.condition, refusing.open), (Condition::Down, 0));
    ground.ask(2);
    assert_eq!(ground.told.last().attempts, 1);
}

fn when_all_refuse_the_client_is_reset<W: World>() {
    let mut ground = Ground::<W>::new();
    let all = [ground.nobody(), ground.nobody(), ground.nobody(), ground.nobody()];
    let mut config = ground.config(&all);
    config.pools[0].connect.retries = 2;
    ground.start(config);
    let client = ground.client(asks());
    ground.until_ended(1);
    let ours = client.log.clone();
    ground
        .world
        .until("the client hears", || ours.has(&Told::Dropped));
    assert_eq!(ours.closes(), ["error"]);
    let record = ground.told.last();
    assert_eq!((record.end, record.attempts), (SessionEnd::ConnectFailed, 3));
    let stats = ground.stats();
    let pool = stats.pool("out").unwrap().counters;
    assert_eq!((pool.retries, pool.connects_failed, pool.sessions), (2, 1, 0));
    assert_eq!(stats.listener("in").unwrap().counters.unserved, 1);
    // Two backends, two retries: nobody is left before the retries are.
    let mut config = ground.config(&all[..2]);
    config.pools[0].name = "other".to_owned();
    config.listeners[0].to = "other".to_owned();
    ground.reload(config);
    ground.client(asks());
    ground.until_ended(2);
    let record = ground.told.last();
    assert_eq!((record.end, record.attempts), (SessionEnd::ConnectFailed, 2));
}

fn a_backend_that_nobody_answers_for_is_passed_over_after_the_deadline<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(answers(b"here"));
    let hangs = ground.hanging();
    let mut config = ground.config(&[hangs, backend.at]);
    config.pools[0].connect.deadline = Duration::from_millis(100);
    ground.start(config);
    assert_eq!(ground.ask(1), [backend.name()]);
    let record = ground.told.last();
    assert_eq!(record.attempts, 2);
    assert!(record.waited >= Duration::from_millis(100), "{:?}", record.waited);
    let stats = ground.stats();
    let hanging = stats.pool("out").unwrap().backends[0].clone();
    assert_eq!((hanging.counters.connects_failed, hanging.open), (1, 0));
}

fn a_backend_that_resets_after_accept_goes_out_and_comes_back<W: World>() {
    let mut ground = Ground::<W>::new();
    let sick = Rc::new(Cell::new(true));
    let is_sick = Rc::clone(&sick);
    let backend = ground.backend(answers(b"well again").open(move |stream| {
        if is_sick.get() {
            stream.abort();
        }
    }));
    let mut config = ground.config(&[backend.at]);
    config.pools[0].health.failures = 3;
    config.pools[0].health.out = Duration::from_millis(200);
    ground.start(config);
    // The third in a row; a connect that fails for a reset and one that succeeds before it are two rows.
    let mut ended = 0;
    while ground.told.changes.borrow().is_empty() {
        ended += 1;
        assert!(ended < 10);
        ground.client(asks());
        ground.until_ended(ended);
    }
    // A reset that comes with the connect itself is a connect that fails.
    let failed = |end: &SessionEnd| matches!(end, SessionEnd::BackendReset | SessionEnd::ConnectFailed);
    assert!(ground.told.ends().iter().all(failed), "{:?}", ground.told.ends());
    let down = (format!("out {}", backend.name()), Condition::Down);
    assert_eq!(*ground.told.changes.borrow(), std::slice::from_ref(&down));
    sick.set(false);
    ground.client(asks());
    ground.until_ended(ended + 1);
    assert_eq!(ground.told.last().end, SessionEnd::AllDown);
    let told = ground.told.clone();
    ground
        .world
        .until("it is back", || told.changes.borrow().len() == 2);
    assert_eq!(told.changes.borrow()[1], (down.0, Condition::Up));
    ground.client(asks());
    ground.until_ended(ended + 2);
    assert_eq!(ground.told.last().end, SessionEnd::Done);
    let counters = ground.stats().pool("out").unwrap().backends[0].counters;
    assert_eq!(
        (counters.failed + counters.connects_failed, counters.downs),
        (3, 1)
    );
}

fn a_backend_that_answers_and_dies_is_passed_over<W: World>() {
    let mut ground = Ground::<W>::new();
    let dying = ground.backend(keeps());
    let other = ground.backend(answers(b"here"));
    let config = ground.config(&[dying.at, other.at]);
    ground.start(config);
    let client = ground.client(asks());
    let ours = client.log.clone();
    ground.world.until("an answer", || ours.received_len(0) == 8);
    let id = dying.log.id(0);
    let listener = dying.listener;
    ground.world.client().close_listener(listener);
    ground
        .world
        .client()
        .with(dying.handle, |_, context| context.stream(id).unwrap().abort());
    ground.until_ended(1);
    assert_eq!(ground.told.last().end, SessionEnd::BackendReset);
    assert_eq!(ground.told.last().from_backend, 8);
    assert_eq!(
        ground.stats().pool("out").unwrap().backends[0].counters.failed,
        0,
        "it had answered"
    );
    assert_eq!(ground.ask(4), vec![other.name(); 4]);
}

fn all_backends_down<W: World>() {
    let mut ground = Ground::<W>::new();
    let nobody = ground.nobody();
    let mut config = ground.config(&[nobody]);
    config.pools[0].health.failures = 1;
    config.pools[0].health.out = Duration::from_secs(3600);
    ground.start(config);
    for nth in 1..=3 {
        ground.client(asks());
        ground.until_ended(nth);
    }
    let expected = [
        SessionEnd::ConnectFailed,
        SessionEnd::AllDown,
        SessionEnd::AllDown,
    ];
    assert_eq!(ground.told.ends(), expected);
    let pool = ground.stats().pool("out").unwrap().counters;
    assert_eq!((pool.all_down, pool.connects_failed), (2, 1));
}

fn a_client_that_goes_before_it_has_a_backend<W: World>() {
    let mut ground = Ground::<W>::new();
    let hangs = ground.hanging();
    let config = ground.config(&[hangs]);
    ground.start(config);
    let gone = ground.client(
        Probe::new()
            .open(|stream| {
                stream.set_timer(Duration::from_millis(20), 0);
            })
            .timer(|stream, _| stream.abort()),
    );
    ground.until_ended(1);
    assert!(gone.log.has(&Told::Dropped));
    let record = ground.told.last();
    assert_eq!((record.end, record.attempts), (SessionEnd::ClientReset, 1));
    let stats = ground.stats();
    let backend = &stats.pool("out").unwrap().backends[0];
    assert_eq!(
        (backend.open, backend.counters.connects_failed),
        (0, 0),
        "not the backend's fault"
    );
}

fn the_program_turns_a_client_away<W: World>() {
    let mut ground = Ground::<W>::new();
    let backend = ground.backend(answers(b"here"));
    let config = ground.config(&[backend.at]);
    ground.start(config);
    ground.told.refuse.set(true);
    ground.client(asks());
    ground.until_ended(1);
    ground.told.refuse.set(false);
    ground.client(asks());
    ground.until_ended(2);
    assert_eq!(ground.told.ends(), [SessionEnd::NotAdmitted, SessionEnd::Done]);
    assert_eq!(ground.stats().listener("in").unwrap().counters.not_admitted, 1);
    assert_eq!(backend.log.opened(), 1);
}

/// This host has no descriptor: no backend is to blame.
#[test]
fn a_want_of_descriptors_is_nobody_elses_fault() {
    let mut ground = Ground::<Simulated>::new();
    let backend = ground.backend(answers(b"here"));
    let mut config = ground.config(&[backend.at]);
    config.pools[0].health.failures = 1;
    ground.start(config);
    ground
        .world
        .fail_at_the_server(Call::Connect, 1, errno::EADDRNOTAVAIL);
    ground.client(asks());
    ground.until_ended(1);
    ground.client(asks());
    ground.until_ended(2);
    assert_eq!(ground.told.ends(), [SessionEnd::NoRoom, SessionEnd::Done]);
    assert_eq!(
        ground.stats().pool("out").unwrap().backends[0]
            .counters
            .connects_failed,
        0
    );
}

/// Unix sockets reach no other host, so that this is for the kernel alone.
#[test]
fn unix_sockets_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let name =
        |file: &str| UnixName::from_path(folder.path().join(file).as_os_str().as_encoded_bytes()).unwrap();
    let (front, back) = (name("front"), name("back"));
    let mut ground = Ground::<OnKernel>::new();
    let events = ground.world.client();
    let handle = events.add_stream_service(answers(b"by path"), StreamOptions::default());
    events
        .listen_unix(handle, &back, &UnixListenOptions::default())
        .unwrap();
    let mut config = ground.config(&[]);
    config.listeners[0].at = front.into();
    config.pools[0].backends = vec![BackendConfig::new(back.into())];
    config.sources.max_sessions = Some(1);
    ground.start(config);
    let client = asks();
    let log = client.log.clone();
    let handle = ground
        .world
        .client()
        .add_stream_service(client, StreamOptions::default());
    for nth in 1..=3 {
        ground
            .world
            .client()
            .connect(handle, ConnectRequest::to_unix(front));
        ground.until_ended(nth);
    }
    assert_eq!(log.received(2), b"by path");
    let record = ground.told.last();
    assert_eq!((record.client, record.end), (None, SessionEnd::Done));
    assert_eq!(record.backend.as_deref(), Some(&*format!("unix:{back}")));
}

fn many_at_once<W: World>(mut ground: Ground<W>, sessions: usize) {
    let (one, two) = (ground.backend(keeps()), ground.backend(keeps()));
    let mut config = ground.config(&[one.at, two.at]);
    config.pools[0].balance = Balance::LeastSessions;
    ground.start(config);
    let at = ground.at("in");
    let client = asks().connect(&mut ground.world, at);
    for _ in 1..sessions {
        let request = ground.world.request(at);
        ground.world.client().connect(client.handle, request);
    }
    let answered = client.log.clone();
    let told = |log: &crate::probe::Log| {
        log.0
            .borrow()
            .received
            .values()
            .filter(|bytes| bytes.len() == 8)
            .count()
    };
    ground
        .world
        .until("all have an answer", || told(&answered) == sessions);
    assert_eq!((one.log.opened(), two.log.opened()), (sessions / 2, sessions / 2));
    assert_eq!(ground.stats().listener("in").unwrap().open, sessions);
    let ids = answered.0.borrow().opened.clone();
    ground.world.client().with(client.handle, |_, context| {
        for id in ids {
            context.stream(id).unwrap().close();
        }
    });
    ground.until_ended(sessions);
    assert!(ground.told.ends().iter().all(|end| *end == SessionEnd::Done));
    let stats = ground.stats();
    assert!(
        stats
            .pool("out")
            .unwrap()
            .backends
            .iter()
            .all(|backend| backend.open == 0)
    );
    assert_eq!(ground.world.server().open_streams(), 0);
}

/// Four descriptors each in this one process: as many as a limit of 20,000 has room for.
#[test]
fn thousands_of_sessions_on_the_kernel() {
    let descriptors = descriptor_limit();
    many_at_once(Ground::<OnKernel>::new(), (descriptors / 5).min(4_000) / 2 * 2);
}

/// How many descriptors this process may have.
fn descriptor_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(1_000)
}

#[test]
fn ten_thousand_sessions_in_the_simulation() {
    let mut ground = Ground::<Simulated>::new();
    ground.world.set_descriptor_limit(100_000);
    many_at_once(ground, 10_000);
}

/// Listeners have descriptors too: with a session for each backend there would be more than one process has.
#[test]
fn ten_thousand_backends() {
    let mut ground = Ground::<Simulated>::new();
    let probe = keeps();
    let theirs = probe.log.clone();
    let events = ground.world.client();
    let handle = events.add_stream_service(probe, StreamOptions::default());
    let mut all = Vec::new();
    for port in 10_000..20_000 {
        let at = SocketAddr::new(ground.world.client_ip(), port);
        let events = ground.world.client();
        events.listen(handle, at, &ListenOptions::default()).unwrap();
        all.push(at);
    }
    let mut config = ground.config(&all);
    config.pools[0].balance = Balance::LeastSessions;
    ground.start(config);
    let at = ground.at("in");
    let client = asks().connect(&mut ground.world, at);
    for _ in 1..2_000 {
        let request = ground.world.request(at);
        ground.world.client().connect(client.handle, request);
    }
    ground.world.until("2,000 have one", || theirs.opened() == 2_000);
    let stats = ground.stats();
    let open = stats
        .pool("out")
        .unwrap()
        .backends
        .iter()
        .map(|backend| backend.open);
    let (busy, idle): (Vec<u32>, Vec<u32>) = open.partition(|open| *open > 0);
    assert_eq!((busy.len(), idle.len()), (2_000, 8_000), "one each");
}
