//! Sockets that are open already, and TLS settings that come with a reload.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use sockeye_relay::{ListenerConfig, PoolConfig, Relay, ReloadError, SessionEnd, TlsSettings};

use crate::ground::{Ground, answers, asks, keeps};
use crate::probe::{Probe, Told};
use crate::secure::{client, close, config, server_of, session, start, until_heard, until_over};
use crate::setting::Authority;
use crate::world::{OnKernel, World};

in_both_worlds!(
    settings_that_are_renewed_come_with_a_reload,
    settings_that_are_new_come_with_a_reload,
    a_reload_that_fails_leaves_the_settings,
    a_listener_may_begin_and_cease_to_speak_tls,
);

fn settings<W: World>(ground: &Ground<W>, name: &str, authority: &Authority) -> TlsSettings {
    let own = SocketAddr::new(ground.world.server_ip(), 0);
    TlsSettings::default().server(name, server_of(authority, own))
}

/// Whether clients of this authority are served, and others are not.
#[track_caller]
fn trusts<W: World>(ground: &mut Ground<W>, authority: &Authority, other: &Authority) {
    let served = client(ground, authority, asks());
    ground.world.until("an answer", || served.log.received_len(0) > 0);
    let refused = client(ground, other, Probe::new());
    until_over(ground, &refused.log);
    assert!(!refused.log.has(&Told::Open));
}

fn settings_that_are_renewed_come_with_a_reload<W: World>() {
    let mut ground = Ground::<W>::new();
    let (old, new) = (Authority::new(), Authority::new());
    let backend = ground.backend(keeps());
    let config = config(&ground, true, false, &[&backend]);
    start(&mut ground, config.clone(), &old);
    let before = client(&mut ground, &old, asks());
    trusts(&mut ground, &old, &new);
    let (relay, tls) = (ground.relay.unwrap(), settings(&ground, "", &new));
    relay.reload_with(ground.world.server(), config, tls).unwrap();
    trusts(&mut ground, &new, &old);
    session(&mut ground, &before, &backend);
}

fn settings_that_are_new_come_with_a_reload<W: World>() {
    let mut ground = Ground::<W>::new();
    let (old, new) = (Authority::new(), Authority::new());
    let backend = ground.backend(keeps());
    let mut config = config(&ground, true, false, &[&backend]);
    start(&mut ground, config.clone(), &old);
    let at = ground.at("in");
    config.listeners[0].tls = Some("other".to_owned());
    let (relay, tls) = (ground.relay.unwrap(), settings(&ground, "other", &new));
    relay.reload_with(ground.world.server(), config, tls).unwrap();
    assert_eq!(ground.at("in"), at, "the listener stays");
    trusts(&mut ground, &new, &old);
}

fn a_reload_that_fails_leaves_the_settings<W: World>() {
    let mut ground = Ground::<W>::new();
    let (old, new) = (Authority::new(), Authority::new());
    let backend = ground.backend(keeps());
    let config = config(&ground, true, false, &[&backend]);
    start(&mut ground, config.clone(), &old);
    let relay = ground.relay.unwrap();
    let mut unsound = config.clone();
    unsound.pools.clear();
    let tls = settings(&ground, "", &new);
    let failed = relay.reload_with(ground.world.server(), unsound, tls.clone());
    assert!(matches!(failed, Err(ReloadError::Config(_))), "{failed:?}");
    let mut missing = config;
    missing.listeners[0].tls = Some("nobody's".to_owned());
    let failed = relay.reload_with(ground.world.server(), missing, tls);
    assert!(matches!(failed, Err(ReloadError::Start(_))), "{failed:?}");
    trusts(&mut ground, &old, &new);
}

fn a_listener_may_begin_and_cease_to_speak_tls<W: World>() {
    let mut ground = Ground::<W>::new();
    let authority = Authority::new();
    let backend = ground.backend(keeps());
    let plain = config(&ground, false, false, &[&backend]);
    let secure = config(&ground, true, false, &[&backend]);
    start(&mut ground, plain.clone(), &authority);
    let at = ground.at("in");
    ground.reload(secure);
    assert_eq!(ground.at("in"), at, "the listener stays");
    let under_tls = client(&mut ground, &authority, asks());
    session(&mut ground, &under_tls, &backend);
    ground.reload(plain);
    assert_eq!(ground.at("in"), at, "the listener stays");
    let without = ground.client(asks());
    until_heard(&mut ground, &without, b"question");
    close(&mut ground, &without);
    ground.until_ended(2);
    assert_eq!(ground.told.ends(), [SessionEnd::Done; 2]);
}

#[test]
fn a_listener_takes_a_socket_that_is_open_already() {
    let mut ground = Ground::<OnKernel>::new();
    let backend = ground.backend(answers(b"answered"));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = ground.config(&[backend.at]);
    config.listeners[0].at = format!("tcp://{}", tcp.local_addr().unwrap()).parse().unwrap();
    let datagrams = format!("udp://{}", udp.local_addr().unwrap());
    config
        .listeners
        .push(ListenerConfig::new(datagrams.parse().unwrap(), "datagrams"));
    let to = UdpSocket::bind("127.0.0.1:0").unwrap();
    to.set_read_timeout(Some(sockeye_tests::wait::PATIENCE)).unwrap();
    let backend_at = format!("udp://{}", to.local_addr().unwrap());
    config
        .pools
        .push(PoolConfig::new("datagrams", [backend_at.parse().unwrap()]));
    let (at, datagrams_at) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let relay = Relay::new(config.clone())
        .unwrap()
        .hooks(ground.told.clone())
        .inherited("in", tcp.into())
        .inherited(datagrams, udp.into());
    ground.start_relay(relay);
    assert_eq!(ground.at("in"), at);
    ground.client(asks());
    ground.until_ended(1);
    assert_eq!(ground.told.ends(), [SessionEnd::Done]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"ask", datagrams_at).unwrap();
    let stats = |ground: &mut Ground<OnKernel>| ground.stats().listeners[1].counters.datagrams_in;
    while stats(&mut ground) == 0 {
        ground
            .world
            .server()
            .turn(Some(std::time::Duration::from_millis(10)))
            .unwrap();
    }
    assert_eq!(to.recv(&mut [0; 8]).unwrap(), 3);
    // It is found again.
    ground.reload(config);
    ground.client(asks());
    ground.until_ended(2);
}

#[test]
fn what_is_no_listener_is_refused() {
    let ground = Ground::<OnKernel>::new();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = ground.config(&["127.0.0.1:9".parse().unwrap()]);
    let relay = Relay::new(config).unwrap().inherited("in", udp.into());
    let mut events = sockeye_event_loop::EventLoop::new().unwrap();
    let refused = relay.start(&mut events).unwrap_err();
    assert!(
        refused.to_string().contains("no listening TCP socket"),
        "{refused}"
    );
}
