//! Whatever goes wrong on the way, with TLS on both sides of the relay or headers and names in front: each session ends, and
//! everything is given back. Runs do not repeat to the byte, as keys and signatures are chance.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use sockeye::tls::{ConnectorOptions, TlsConnector, TlsServer, rustls};
use sockeye_event_loop::errno::ETIMEDOUT;
use sockeye_event_loop::{ConnectRequest, ListenOptions, StreamOptions};
use sockeye_relay::{
    CheckKind, CheckRules, Config, ListenerConfig, PoolConfig, ProxyIn, ProxyVersion, Relay, ServerNameRoute,
    SessionEnd,
};
use sockeye_sim::{Call, Sim};

use crate::faults::{CLIENTS, Client, Echo, PEERS, RELAY, is_accounted, sim_of};
use crate::ground::Told;
use crate::secure::server_of;
use crate::setting::Authority;

/// One run: how sessions ended, how many clients were answered. This call of the relay's host fails.
fn run(
    seed: u64,
    mut sim: Sim,
    fails: Option<(Call, u32)>,
    authority: &Authority,
) -> (Vec<SessionEnd>, usize) {
    let (relay_host, peers) = (sim.host(RELAY), sim.host(PEERS));
    if let Some((call, nth)) = fails {
        sim.fail(relay_host, call, nth, ETIMEDOUT);
    }
    let (told, at) = (Told::default(), SocketAddr::from((PEERS, 7001)));
    for port in [7001, 7002] {
        let events = sim.on(peers);
        let echo = events.add_stream_service(Echo, StreamOptions::default());
        let server = TlsServer::new(server_of(authority, at), echo);
        let server = events.add_stream_service(server, StreamOptions::default());
        // The plan may fail it: a backend that refuses.
        let _ = events.listen(server, (PEERS, port).into(), &ListenOptions::default());
    }
    let backends = [7001, 7002].map(|port| format!("tls://10.0.0.2:{port}").parse().unwrap());
    let mut pool = PoolConfig::new("out", backends);
    pool.health.out = Duration::from_secs(1);
    pool.health.check = seed.is_multiple_of(3).then(|| CheckRules {
        kind: CheckKind::Tls,
        ..CheckRules::default()
    });
    let mut listener = ListenerConfig::new("tls://10.0.0.1:443".parse().unwrap(), "out");
    listener.timeouts.idle = Duration::from_secs(30);
    let config = Config {
        listeners: vec![listener],
        pools: vec![pool],
        ..Config::default()
    };
    let relay = Relay::new(config)
        .unwrap()
        .hooks(told.clone())
        .tls_server("", server_of(authority, (RELAY, 443).into()))
        .tls_client("", authority.client());
    let Ok(relay) = relay.start(sim.on(relay_host)) else {
        return (Vec::new(), 0);
    };
    let (over, answered) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let client = Client {
        over: Rc::clone(&over),
        answered: Rc::clone(&answered),
    };
    // A reset may be lost, and then nobody tells a client that only waits.
    let mut options = StreamOptions::default();
    options.deadlines.idle = Some(Duration::from_secs(60));
    let client = sim.on(peers).add_stream_service(client, options);
    let connector = TlsConnector::new(sim.on(peers), authority.client(), ConnectorOptions::default());
    let name = ServerName::try_from("10.0.0.1").unwrap();
    for _ in 0..CLIENTS {
        let request = ConnectRequest::new((RELAY, 443).into()).deadline(Duration::from_secs(10));
        let begun = sim.on(peers).with(client, |_: &mut Client, context| {
            connector.connect(context, client, name.clone(), request)
        });
        begun.unwrap().unwrap();
        sim.run_for(Duration::from_millis(50)).unwrap();
    }
    let now = |sim: &mut Sim| {
        let now = sim
            .on(peers)
            .with(client, |_: &mut Client, context| context.now());
        now.unwrap()
    };
    let begun = now(&mut sim);
    let done = sim.run_until(Duration::from_secs(600), || over.get() == CLIENTS);
    assert!(
        done.is_ok(),
        "seed {seed}: {} of {CLIENTS} clients are over",
        over.get()
    );
    // No reset is lost there: whoever is on the other side is told, and does not end by its own patience.
    let took = now(&mut sim).since(begun);
    assert!(
        fails.is_none() || took < Duration::from_secs(20),
        "{fails:?}: {took:?}"
    );
    sim.run_for(Duration::from_secs(120)).unwrap();
    is_accounted(seed, &mut sim, relay_host, relay, &told);
    (told.ends(), answered.get())
}

#[test]
fn every_session_under_tls_ends_whatever_happens() {
    let authority = Authority::new();
    let mut answered = 0;
    let mut ends: Vec<SessionEnd> = Vec::new();
    for seed in 0..30 {
        let (told, count) = run(seed, sim_of(seed), None, &authority);
        ends.extend(told);
        answered += count;
    }
    assert!(answered > 30 * CLIENTS / 2, "{answered} of {}", 30 * CLIENTS);
    for end in [
        SessionEnd::Done,
        SessionEnd::BackendReset,
        SessionEnd::ClientReset,
    ] {
        assert!(ends.contains(&end), "no session of all was {end}");
    }
}

#[test]
fn a_call_that_fails_ends_one_session_on_both_sides() {
    let authority = Authority::new();
    for call in [Call::Read, Call::Write] {
        let mut cut = 0;
        for nth in 1..60 {
            let seed = u64::from(nth);
            let (told, answered) = run(seed, Sim::new(seed), Some((call, nth)), &authority);
            assert!(answered >= CLIENTS - 1, "{call:?} {nth}: {answered}");
            let ends: Vec<SessionEnd> = told.into_iter().filter(|end| *end != SessionEnd::Done).collect();
            assert!(ends.len() <= 1, "{call:?} {nth}: {ends:?}");
            cut += ends.len();
        }
        assert!(cut > 10, "{call:?}: {cut} sessions were cut");
    }
}

/// Two relays in a row: the first tells the second whom it relays, and that one looks for a server name.
fn run_in_a_row(seed: u64) -> (u64, Vec<SessionEnd>, usize) {
    let mut sim = sim_of(seed);
    let (relay_host, peers) = (sim.host(RELAY), sim.host(PEERS));
    let events = sim.on(peers);
    let echo = events.add_stream_service(Echo, StreamOptions::default());
    let _ = events.listen(echo, (PEERS, 7001).into(), &ListenOptions::default());
    let version = if seed.is_multiple_of(2) {
        ProxyVersion::V1
    } else {
        ProxyVersion::V2
    };
    let relay_of =
        |sim: &mut Sim, listener: ListenerConfig, mut pool: PoolConfig, proxy: Option<ProxyVersion>| {
            pool.backends[0].proxy = proxy;
            pool.health.failures = 0;
            let told = Told::default();
            let config = Config {
                listeners: vec![listener],
                pools: vec![pool],
                ..Config::default()
            };
            let relay = Relay::new(config).unwrap().hooks(told.clone());
            relay.start(sim.on(relay_host)).ok().map(|relay| (relay, told))
        };
    let mut second = ListenerConfig::new("tcp://10.0.0.1:81".parse().unwrap(), "out");
    second.timeouts.idle = Duration::from_secs(30);
    second.proxy = Some(ProxyIn {
        trusted: "10.0.0.1/32".parse().unwrap(),
        deadline: Duration::from_secs(5),
    });
    second.server_names.push(ServerNameRoute {
        names: vec!["one.test".to_owned()],
        to: "out".to_owned(),
    });
    let pool = |to: &str| PoolConfig::new("out", [to.parse().unwrap()]);
    let second = relay_of(&mut sim, second, pool("tcp://10.0.0.2:7001"), None);
    let mut first = ListenerConfig::new("tcp://10.0.0.1:80".parse().unwrap(), "out");
    first.timeouts.idle = Duration::from_secs(30);
    let first = relay_of(&mut sim, first, pool("tcp://10.0.0.1:81"), Some(version));
    let (Some((second, told)), Some((first, first_told))) = (second, first) else {
        return (sim.trace_hash(), Vec::new(), 0);
    };
    let (over, answered) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let client = Client {
        over: Rc::clone(&over),
        answered: Rc::clone(&answered),
    };
    let mut options = StreamOptions::default();
    options.deadlines.idle = Some(Duration::from_secs(60));
    let client = sim.on(peers).add_stream_service(client, options);
    for _ in 0..CLIENTS {
        let request = ConnectRequest::new((RELAY, 80).into()).deadline(Duration::from_secs(10));
        sim.on(peers).connect(client, request);
        sim.run_for(Duration::from_millis(50)).unwrap();
    }
    let done = sim.run_until(Duration::from_secs(600), || over.get() == CLIENTS);
    assert!(done.is_ok(), "seed {seed}: {} of {CLIENTS} clients", over.get());
    sim.run_for(Duration::from_secs(120)).unwrap();
    is_accounted(seed, &mut sim, relay_host, first, &first_told);
    is_accounted(seed, &mut sim, relay_host, second, &told);
    // Whoever had a session there was announced by a whole header: it is never the first relay.
    let peer = std::net::IpAddr::from(PEERS);
    let clients = told.records.borrow();
    assert!(
        clients
            .iter()
            .all(|record| record.client.map(|client| client.ip()) == Some(peer)),
        "seed {seed}: {clients:?}"
    );
    (sim.trace_hash(), told.ends(), answered.get())
}

#[test]
fn every_session_with_a_header_ends_whatever_happens_and_runs_repeat() {
    let mut answered = 0;
    let mut ends: Vec<SessionEnd> = Vec::new();
    for seed in 0..60 {
        let first = run_in_a_row(seed);
        assert_eq!(run_in_a_row(seed), first, "seed {seed} again");
        answered += first.2;
        ends.extend(first.1);
    }
    assert!(answered > 60 * CLIENTS / 2, "{answered} of {}", 60 * CLIENTS);
    for end in [
        SessionEnd::Done,
        SessionEnd::BackendReset,
        SessionEnd::ClientReset,
    ] {
        assert!(ends.contains(&end), "no session of all was {end}");
    }
}
