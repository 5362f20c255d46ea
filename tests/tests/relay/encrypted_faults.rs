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
use sockeye_relay::{CheckKind, CheckRules, Config, ListenerConfig, PoolConfig, Relay, SessionEnd};
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
