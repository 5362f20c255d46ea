//! Listeners and backends that speak TLS: what ends and begins at the relay goes through it as if it did not.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use sockeye::tls::{
    ConnectorOptions, HandshakeLimits, ReloadableConfig, StreamTls, TlsConnector, TlsCounters, rustls,
};
use sockeye_event_loop::StreamOptions;
use sockeye_relay::proxy::{self, Addresses, ParseOptions, Parsed};
use sockeye_relay::{
    CheckKind, CheckRules, Condition, HealthRules, ProxyIn, ProxyVersion, Relay, ReloadError, SessionEnd,
    StartError,
};
use sockeye_tests::pattern;

use crate::ground::{Ground, answers, asks, keeps};
use crate::probe::{Probe, Told};
use crate::secure::{
    PLACES, backend_with, client, close, config, secure_backend, server_of, session, start, until_heard,
    until_over,
};
use crate::setting::Authority;
use crate::world::World;

in_both_worlds!(
    a_listener_ends_tls,
    tls_ends_and_begins_again,
    a_backend_speaks_tls,
    much_goes_both_ways,
    a_backend_that_is_not_trusted_is_passed_over,
    a_backend_of_another_name_is_not_reached,
    a_handshake_has_the_deadline_of_the_connect,
    a_check_finishes_a_handshake,
    a_check_that_waits_for_a_handshake_has_a_deadline,
    settings_that_are_missing_are_told,
    what_is_not_tls_is_no_session,
    a_plain_backend_is_told_who_the_client_of_tls_is,
    a_header_comes_in_front_of_tls,
    a_reload_keeps_a_listener_of_tls,
    a_drain_waits_for_sessions_of_tls,
    certificates_are_replaced,
);

fn a_listener_ends_tls<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = ground.backend(keeps());
    let config = config(&ground, true, false, &[&backend]);
    start(&mut ground, config, &authority);
    let client = client(&mut ground, &authority, asks());
    session(&mut ground, &client, &backend);
    let counters = ground.stats().listener("in").unwrap().counters;
    assert_eq!((counters.sessions, counters.ended, counters.bytes_in), (1, 1, 8));
}

fn tls_ends_and_begins_again<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let under_tls = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&under_tls);
    let probe = keeps().open(move |stream| seen.borrow_mut().push(stream.tls().is_some()));
    let backend = secure_backend(&mut ground, &authority, probe);
    let config = config(&ground, true, true, &[&backend]);
    start(&mut ground, config, &authority);
    let client = client(&mut ground, &authority, asks());
    session(&mut ground, &client, &backend);
    assert_eq!(*under_tls.borrow(), [true]);
}

fn a_backend_speaks_tls<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = secure_backend(&mut ground, &authority, keeps());
    let config = config(&ground, false, true, &[&backend]);
    start(&mut ground, config, &authority);
    let client = ground.client(asks());
    session(&mut ground, &client, &backend);
}

fn much_goes_both_ways<W: World>() {
    for (listener, backends) in PLACES {
        let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
        let (up, down) = (Rc::new(pattern(1 << 20)), Rc::new(pattern((1 << 20) + 7)));
        let probe = Probe::new().pushing(Rc::clone(&down));
        let backend = if backends {
            secure_backend(&mut ground, &authority, probe)
        } else {
            ground.backend(probe)
        };
        let config = config(&ground, listener, backends, &[&backend]);
        start(&mut ground, config, &authority);
        let probe = Probe::new().pushing(Rc::clone(&up));
        let client = if listener {
            client(&mut ground, &authority, probe)
        } else {
            ground.client(probe)
        };
        let (theirs, ours) = (backend.log.clone(), client.log.clone());
        ground.world.until("all of it", || {
            theirs.received_len(0) == up.len() && ours.received_len(0) == down.len()
        });
        assert!(theirs.received(0) == *up && ours.received(0) == *down);
        close(&mut ground, &client);
        ground.until_ended(1);
        let record = ground.told.last();
        assert_eq!(
            (record.from_client, record.from_backend),
            (1 << 20, (1 << 20) + 7)
        );
        assert_eq!(record.end, SessionEnd::Done);
    }
}

fn a_backend_that_is_not_trusted_is_passed_over<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let bad = secure_backend(&mut ground, &Authority::new(), keeps());
    let good = secure_backend(&mut ground, &authority, keeps());
    let config = config(&ground, false, true, &[&bad, &good]);
    start(&mut ground, config.clone(), &authority);
    let client = ground.client(asks());
    session(&mut ground, &client, &good);
    assert_eq!(ground.told.last().attempts, 2);
    let pool = ground.stats().pool("out").unwrap().clone();
    assert_eq!(pool.counters.retries, 1);
    let counted: Vec<(u64, u64)> = pool
        .backends
        .iter()
        .map(|backend| (backend.counters.connects_failed, backend.counters.sessions))
        .collect();
    assert_eq!(counted, [(1, 0), (0, 1)]);
    // And with nobody else to go to.
    let mut alone = config;
    alone.pools[0].backends.truncate(1);
    ground.reload(alone);
    let client = ground.client(asks());
    ground.until_ended(2);
    assert_eq!(ground.told.last().end, SessionEnd::ConnectFailed);
    assert_eq!(until_over(&mut ground, &client.log), ["error"]);
    assert_eq!(bad.log.opened(), 0, "it never had a session");
}

fn a_backend_of_another_name_is_not_reached<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let other: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let backend = backend_with(&mut ground, server_of(&authority, other).into(), keeps());
    let config = config(&ground, false, true, &[&backend]);
    start(&mut ground, config, &authority);
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.ends(), [SessionEnd::ConnectFailed]);
}

fn a_handshake_has_the_deadline_of_the_connect<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let mute = ground.backend(Probe::new());
    let good = secure_backend(&mut ground, &authority, keeps());
    let mut config = config(&ground, false, true, &[&mute, &good]);
    config.pools[0].connect.deadline = Duration::from_millis(500);
    start(&mut ground, config, &authority);
    let client = ground.client(asks());
    session(&mut ground, &client, &good);
    let record = ground.told.last();
    assert_eq!(record.attempts, 2);
    assert!(record.waited >= Duration::from_millis(500), "{record:?}");
    assert!(record.waited < Duration::from_secs(5), "{record:?}");
}

fn checked() -> HealthRules {
    HealthRules {
        check: Some(CheckRules {
            kind: CheckKind::Tls,
            interval: Duration::from_millis(20),
            deadline: Duration::from_millis(500),
            rise: 2,
            fall: 2,
            port: None,
        }),
        failures: 0,
        ..HealthRules::default()
    }
}

#[track_caller]
fn until_changed<W: World>(ground: &mut Ground<W>, changes: usize, condition: Condition) {
    let told = ground.told.clone();
    ground
        .world
        .until("a change", || told.changes.borrow().len() >= changes);
    assert_eq!(told.changes.borrow()[changes - 1].1, condition);
}

fn a_check_finishes_a_handshake<W: World>() {
    for to_tls in [true, false] {
        let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
        let at = SocketAddr::new(ground.world.client_ip(), 0);
        let certificates = ReloadableConfig::new(server_of(&Authority::new(), at));
        let backend = backend_with(&mut ground, certificates.clone(), answers(b"here"));
        // Sessions of one that is not `tls://` are passed on as they are.
        let mut config = config(&ground, false, to_tls, &[&backend]);
        config.pools[0].health = checked();
        start(&mut ground, config, &authority);
        until_changed(&mut ground, 1, Condition::Down);
        certificates.replace(server_of(&authority, at));
        until_changed(&mut ground, 2, Condition::Up);
        let counters = ground.stats().pool("out").unwrap().backends[0].counters;
        assert_eq!(counters.connects_failed, 0, "{counters:?}");
        assert!(
            counters.checks_failed >= 2 && counters.checks_passed >= 2,
            "{counters:?}"
        );
    }
}

fn a_check_that_waits_for_a_handshake_has_a_deadline<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let mute = ground.backend(Probe::new());
    let mut config = config(&ground, false, true, &[&mute]);
    config.pools[0].health = checked();
    start(&mut ground, config, &authority);
    let relay = ground.relay.unwrap().service();
    let now = |ground: &mut Ground<W>| {
        ground
            .world
            .server()
            .with(relay, |_, context| context.now())
            .unwrap()
    };
    let begun = now(&mut ground);
    until_changed(&mut ground, 1, Condition::Down);
    let took = now(&mut ground).since(begun);
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(8),
        "{took:?}"
    );
}

fn settings_that_are_missing_are_told<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = ground.backend(keeps());
    let with_listener = config(&ground, true, false, &[&backend]);
    let with_backend = config(&ground, false, true, &[&backend]);
    let mut with_check = config(&ground, false, false, &[&backend]);
    with_check.pools[0].health = checked();
    let mut named = with_backend.clone();
    named.pools[0].backends[0].tls = Some("inner".to_owned());
    let missing = [
        (with_listener.clone(), "server", ""),
        (with_backend, "client", ""),
        (with_check, "client", ""),
        (named, "client", "inner"),
    ];
    for (config, role, called) in missing.clone() {
        let relay = Relay::new(config).unwrap();
        match relay.start(ground.world.server()) {
            Err(StartError::NoTls { what, name }) => assert_eq!((what, &*name), (role, called)),
            other => panic!("{other:?}"),
        }
    }
    // A reload that lacks something changes nothing.
    let own = SocketAddr::new(ground.world.server_ip(), 0);
    let relay = Relay::new(with_listener)
        .unwrap()
        .hooks(ground.told.clone())
        .tls_server("", server_of(&authority, own));
    ground.start_relay(relay);
    for (config, ..) in missing.into_iter().skip(1) {
        let outcome = ground.relay.unwrap().reload(ground.world.server(), config);
        assert!(
            matches!(outcome, Err(ReloadError::Start(StartError::NoTls { .. }))),
            "{outcome:?}"
        );
    }
    let client = client(&mut ground, &authority, asks());
    session(&mut ground, &client, &backend);
}

fn what_is_not_tls_is_no_session<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = ground.backend(keeps());
    let config = config(&ground, true, false, &[&backend]);
    let limits = HandshakeLimits {
        deadline: Duration::from_millis(500),
        ..HandshakeLimits::default()
    };
    let (own, counters) = (
        SocketAddr::new(ground.world.server_ip(), 0),
        TlsCounters::default(),
    );
    let relay = Relay::new(config)
        .unwrap()
        .hooks(ground.told.clone())
        .tls_server("", server_of(&authority, own))
        .tls_handshakes(limits, &counters);
    ground.start_relay(relay);
    let plain = ground.client(asks());
    until_over(&mut ground, &plain.log);
    let stranger = client(&mut ground, &Authority::new(), asks());
    until_over(&mut ground, &stranger.log);
    let silent = ground.client(Probe::new());
    assert_eq!(until_over(&mut ground, &silent.log), ["error"]);
    let stats = counters.read();
    assert_eq!(
        (stats.begun, stats.failed, stats.timed_out),
        (3, 3, 1),
        "{stats:?}"
    );
    let stats = ground.stats();
    let listener = stats.listener("in").unwrap();
    assert_eq!((listener.open, listener.counters.sessions), (0, 0));
    assert_eq!((backend.log.opened(), ground.told.count()), (0, 0));
    let told = ground.told.turned_away.borrow();
    let causes: Vec<&str> = told.iter().map(|(_, _, cause)| cause.as_str()).collect();
    assert_eq!(causes.len(), 3, "{causes:?}");
    assert!(
        causes.iter().all(|cause| cause.starts_with("TLS: ")),
        "{causes:?}"
    );
    assert!(causes[1].contains("has ended it by the alert"), "{causes:?}");
    assert!(causes[2].contains("not complete in time"), "{causes:?}");
    for (listener, client, _) in told.iter() {
        assert_eq!(listener, "in");
        assert_eq!(client.unwrap().ip(), ground.world.client_ip());
    }
}

fn a_plain_backend_is_told_who_the_client_of_tls_is<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = ground.backend(Probe::new());
    let mut config = config(&ground, true, false, &[&backend]);
    config.pools[0].backends[0].proxy = Some(ProxyVersion::V2);
    start(&mut ground, config, &authority);
    let client = client(&mut ground, &authority, asks());
    let theirs = backend.log.clone();
    ground
        .world
        .until("the question", || theirs.received(0).ends_with(b"question"));
    let (id, at) = (client.log.id(0), ground.at("in"));
    let own = ground.world.client().local_addr(id).unwrap();
    let bytes = theirs.received(0);
    let Parsed::Header { consumed, header } = proxy::parse(&bytes, &ParseOptions::default()) else {
        panic!("{bytes:?}");
    };
    assert_eq!(header.addresses, Some(Addresses::ip(own, at)));
    assert_eq!(&bytes[consumed..], b"question");
}

/// A proxy that passes TLS on says first whom it is for: the session is that one's, and so is what the backend is told.
fn a_header_comes_in_front_of_tls<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = ground.backend(keeps());
    let mut config = config(&ground, true, false, &[&backend]);
    config.listeners[0].proxy = Some(ProxyIn {
        trusted: format!("{}/32", ground.world.client_ip()).parse().unwrap(),
        deadline: Duration::from_secs(5),
    });
    config.pools[0].backends[0].proxy = Some(ProxyVersion::V2);
    start(&mut ground, config, &authority);
    let original: SocketAddr = "192.0.2.7:4000".parse().unwrap();
    let asked: SocketAddr = "198.51.100.1:443".parse().unwrap();
    let addresses = Addresses::ip(original, asked);
    let header = proxy::encode_v2(Some(&addresses), &[], true).unwrap();
    let at = ground.at("in");
    let request = ground.world.request(at);
    let events = ground.world.client();
    let inside = asks();
    let log = inside.log.clone();
    let inside = events.add_stream_service(inside, StreamOptions::default());
    let connector = TlsConnector::new(events, authority.client(), ConnectorOptions::default());
    let name = ServerName::from(at.ip());
    let outside = Probe::new().open(move |stream| {
        assert!(stream.write(&header).is_taken());
        connector.start(stream, inside, name.clone()).unwrap();
    });
    let outside = events.add_stream_service(outside, StreamOptions::default());
    events.connect(outside, request);
    let heard = backend.log.clone();
    ground.world.until("the backend has it", move || {
        let bytes = heard.received(0);
        matches!(
            proxy::parse(&bytes, &ParseOptions::default()),
            Parsed::Header { consumed, .. } if bytes.len() == consumed + 8
        )
    });
    let Parsed::Header { header, .. } = proxy::parse(&backend.log.received(0), &ParseOptions::default())
    else {
        panic!("it was whole");
    };
    assert_eq!(header.addresses, Some(addresses));
    assert_eq!(log.opened(), 1);
    let counters = ground.stats().listener("in").unwrap().counters;
    assert_eq!((counters.sessions, counters.no_header), (1, 0));
}

fn a_reload_keeps_a_listener_of_tls<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let (one, two) = (ground.backend(keeps()), ground.backend(keeps()));
    let first = config(&ground, true, false, &[&one]);
    start(&mut ground, first, &authority);
    let at = ground.at("in");
    let old = client(&mut ground, &authority, asks());
    until_heard(&mut ground, &old, b"question");
    let second = config(&ground, true, false, &[&two]);
    ground.reload(second.clone());
    assert_eq!(ground.at("in"), at);
    let new = client(&mut ground, &authority, asks());
    session(&mut ground, &new, &two);
    // The old one goes on.
    let id = old.log.id(0);
    let write = |_: &mut Probe, context: &mut sockeye_event_loop::Context<'_>| {
        assert!(context.write(id, b", again").is_taken());
    };
    ground.world.client().with(old.handle, write).unwrap();
    until_heard(&mut ground, &old, b"question, again");
    // And a port that spoke TLS speaks plainly.
    let third = config(&ground, false, false, &[&two]);
    ground.reload(third);
    assert_eq!(ground.at("in"), at);
    let plain = ground.client(asks());
    until_heard(&mut ground, &plain, b"question");
    close(&mut ground, &old);
    ground.until_ended(2);
    assert_eq!(ground.told.ends(), [SessionEnd::Done; 2]);
}

fn a_drain_waits_for_sessions_of_tls<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = secure_backend(&mut ground, &authority, keeps());
    let config = config(&ground, true, true, &[&backend]);
    start(&mut ground, config, &authority);
    let at = ground.at("in");
    let old = client(&mut ground, &authority, asks());
    until_heard(&mut ground, &old, b"question");
    let relay = ground.relay.unwrap();
    relay.drain(ground.world.server(), Duration::from_secs(60));
    let late = asks().connect(&mut ground.world, at);
    until_over(&mut ground, &late.log);
    assert!(!relay.is_drained(ground.world.server()));
    close(&mut ground, &old);
    ground.until_ended(1);
    assert_eq!(ground.told.ends(), [SessionEnd::Done]);
    assert!(relay.is_drained(ground.world.server()));
}

fn certificates_are_replaced<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = ground.backend(keeps());
    let config = config(&ground, true, false, &[&backend]);
    let (own, other) = (SocketAddr::new(ground.world.server_ip(), 0), Authority::new());
    let certificates = ReloadableConfig::new(server_of(&other, own));
    let relay = Relay::new(config)
        .unwrap()
        .hooks(ground.told.clone())
        .tls_server("", certificates.clone());
    ground.start_relay(relay);
    let old = client(&mut ground, &other, asks());
    until_heard(&mut ground, &old, b"question");
    let early = client(&mut ground, &authority, asks());
    until_over(&mut ground, &early.log);
    assert_eq!(early.log.opened(), 0);
    certificates.replace(server_of(&authority, own));
    let new = client(&mut ground, &authority, asks());
    until_heard(&mut ground, &new, b"question");
    // Connections that there are go on.
    assert!(!old.log.has(&Told::Dropped));
    close(&mut ground, &old);
    ground.until_ended(1);
    assert_eq!(ground.told.ends(), [SessionEnd::Done]);
}
