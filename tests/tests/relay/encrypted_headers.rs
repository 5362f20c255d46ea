//! PROXY headers for backends that are reached through TLS: in clear, before the handshake that the relay begins.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye::tls::TlsServer;
use sockeye_endpoint::NetSet;
use sockeye_event_loop::{ListenOptions, Stream, StreamOptions};
use sockeye_relay::proxy::{ProxyServer, ServerOptions};
use sockeye_relay::{CheckKind, CheckRules, Condition, HealthRules, ProxyVersion, SessionEnd};

use crate::ground::{Backend, Ground, asks, keeps};
use crate::probe::Probe;
use crate::secure::{client, close, config, server_of, start, until_heard};
use crate::setting::Authority;
use crate::world::World;

in_both_worlds!(
    a_backend_of_tls_is_told_who_the_client_is,
    a_check_of_tls_says_that_it_is_the_relays_own,
    a_backend_that_knows_no_header_takes_it_for_no_tls,
);

/// A backend that wants a PROXY header in front of TLS.
fn proxied_backend<W: World>(ground: &mut Ground<W>, authority: &Authority, probe: Probe) -> Backend {
    let log = probe.log.clone();
    let at = SocketAddr::new(ground.world.client_ip(), 0);
    let relay = format!("{}/32", ground.world.server_ip());
    let mut trusted = NetSet::new();
    trusted.insert(relay.parse().unwrap());
    let events = ground.world.client();
    let handle = events.add_stream_service(probe, StreamOptions::default());
    let tls = TlsServer::new(server_of(authority, at), handle);
    let tls = events.add_stream_service(tls, StreamOptions::default());
    let proxied = ProxyServer::new(tls, ServerOptions::trusting(trusted));
    let proxied = events.add_stream_service(proxied, StreamOptions::default());
    let listener = events.listen(proxied, at, &ListenOptions::default()).unwrap();
    let port = events.local_addr(listener).unwrap().port();
    Backend {
        at: SocketAddr::new(at.ip(), port),
        log,
        handle,
        listener,
    }
}

fn a_backend_of_tls_is_told_who_the_client_is<W: World>() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for under_tls in [false, true] {
            let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
            let seen = Rc::new(RefCell::new(Vec::new()));
            let sees = Rc::clone(&seen);
            let probe = keeps().open(move |stream: &mut Stream<'_>| {
                sees.borrow_mut()
                    .push((stream.peer_addr(), stream.local_addr().ok()));
            });
            let backend = proxied_backend(&mut ground, &authority, probe);
            let mut config = config(&ground, under_tls, true, &[&backend]);
            config.pools[0].backends[0].proxy = Some(version);
            start(&mut ground, config, &authority);
            let client = if under_tls {
                client(&mut ground, &authority, asks())
            } else {
                ground.client(asks())
            };
            // No byte of the header is within TLS: what comes back is the question alone.
            until_heard(&mut ground, &client, b"question");
            let (id, at) = (client.log.id(0), ground.at("in"));
            let own = ground.world.client().local_addr(id).ok();
            assert_eq!(*seen.borrow(), [(own, Some(at))], "{version:?}");
            assert_eq!(backend.log.received(0), b"question");
            close(&mut ground, &client);
            ground.until_ended(1);
            let record = ground.told.last();
            assert_eq!((record.end, record.attempts), (SessionEnd::Done, 1));
            // What the session counts is what was relayed.
            assert_eq!((record.from_client, record.from_backend), (8, 8));
        }
    }
}

fn a_check_of_tls_says_that_it_is_the_relays_own<W: World>() {
    // A backend that is `tls://`, and one whose sessions are passed on as they are.
    for to_tls in [true, false] {
        let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
        let backend = proxied_backend(&mut ground, &authority, Probe::new());
        let mut config = config(&ground, false, to_tls, &[&backend]);
        config.pools[0].backends[0].proxy = Some(ProxyVersion::V2);
        config.pools[0].health = HealthRules {
            check: Some(CheckRules {
                kind: CheckKind::Tls,
                interval: Duration::from_millis(20),
                deadline: Duration::from_secs(5),
                rise: 1,
                fall: 1,
                port: None,
            }),
            ..HealthRules::default()
        };
        start(&mut ground, config, &authority);
        let log = backend.log.clone();
        ground.world.until("two checks are inside", || log.opened() >= 2);
        let stats = ground.stats();
        let backend = &stats.pool("out").unwrap().backends[0];
        assert_eq!(backend.condition, Condition::Up);
        assert_eq!(backend.counters.checks_failed, 0, "{backend:?}");
    }
}

fn a_backend_that_knows_no_header_takes_it_for_no_tls<W: World>() {
    let (mut ground, authority) = (Ground::<W>::new(), Authority::new());
    let backend = crate::secure::secure_backend(&mut ground, &authority, keeps());
    let mut config = config(&ground, false, true, &[&backend]);
    config.pools[0].backends[0].proxy = Some(ProxyVersion::V1);
    start(&mut ground, config, &authority);
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.ends(), [SessionEnd::ConnectFailed]);
    assert_eq!(backend.log.opened(), 0);
}
