//! Headers and first bytes on a network that loses, on hosts whose calls come up short: the same services, and the same
//! run for the same seed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sockeye_endpoint::NetSet;
use sockeye_event_loop::{ConnectRequest, ListenOptions, StreamOptions, errno};
use sockeye_relay::mux::{Mux, MuxOptions, Pattern};
use sockeye_relay::proxy::{self, Addresses, ProxyServer, ServerOptions, Tlv};
use sockeye_sim::{Call, LinkOptions, Sim};
use sockeye_tests::pattern;

use crate::probe::{Log, Probe, Told};

const CLIENTS: u16 = 40;

/// What that client sends behind its header.
fn request(nth: u16) -> Vec<u8> {
    let first = if nth.is_multiple_of(2) {
        &b"SSH-2.0-x\r\n"[..]
    } else {
        b"GET / HTTP/1.1\r\n"
    };
    [first, &pattern(1_000 + usize::from(nth))].concat()
}

/// Forty clients behind a relay whose headers differ in length; gives the trace of the run.
fn a_run(seed: u64) -> u64 {
    let mut sim = Sim::new(seed);
    let server = sim.host(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let client = sim.host(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
    sim.set_lan(LinkOptions {
        jitter: Duration::from_millis(3),
        loss_ppm: 50_000,
        ..LinkOptions::default()
    });
    for host in [server, client] {
        sim.set_short(host, 400_000);
        sim.set_spurious(host, 50_000);
        sim.set_interrupts(host, 50_000);
    }
    let events = sim.on(server);
    // Each answers with the port that it is told of, which says whether it was this client's header.
    let mut add = || {
        let answer = Probe::new().open(|stream| {
            let port = stream.peer_addr().map_or(0, |peer| peer.port());
            assert!(stream.write(&port.to_be_bytes()).is_taken());
        });
        let log = answer.log.clone();
        (events.add_stream_service(answer, StreamOptions::default()), log)
    };
    let (ssh, web) = (add(), add());
    let inner = Mux::new(MuxOptions::default())
        .rule(Pattern::Ssh, ssh.0)
        .rule(Pattern::http1(), web.0);
    let inner = events.add_stream_service(inner, StreamOptions::default());
    let options = ServerOptions {
        deadline: Duration::from_secs(600),
        ..ServerOptions::trusting(NetSet::all())
    };
    let proxied = events.add_stream_service(ProxyServer::new(inner, options), StreamOptions::default());
    let outer = Mux::new(MuxOptions::default()).rule(Pattern::Proxy, proxied);
    let outer = events.add_stream_service(outer, StreamOptions::default());
    let at: SocketAddr = "10.0.0.1:7000".parse().unwrap();
    events.listen(outer, at, &ListenOptions::default()).unwrap();
    let clients: Vec<Log> = (0..CLIENTS)
        .map(|nth| {
            let source: SocketAddr = ([192, 0, 2, 1], 1_000 + nth).into();
            let addresses = Addresses::ip(source, at);
            let padding = vec![0; usize::from(nth) * 50];
            let header = if nth.is_multiple_of(3) {
                proxy::encode_v1(Some(&addresses))
            } else {
                proxy::encode_v2(Some(&addresses), &[Tlv::NoOp(&padding)], true).unwrap()
            };
            let bytes = [header, request(nth)].concat();
            let probe = Probe::new().open(move |stream| assert!(stream.write(&bytes).is_taken()));
            let log = probe.log.clone();
            let handle = sim.on(client).add_stream_service(probe, StreamOptions::default());
            sim.on(client).connect(handle, ConnectRequest::new(at));
            log
        })
        .collect();
    let all = |log: &Log| (0..log.opened()).all(|nth| log.received_len(nth) > 1_000);
    let done = || clients.iter().all(|client| client.received_len(0) == 2) && all(&ssh.1) && all(&web.1);
    if let Err(error) = sim.run_until(Duration::from_secs(3_600), done) {
        panic!("seed {seed}: {error}");
    }
    for (nth, client) in (0..CLIENTS).zip(&clients) {
        assert_eq!(
            client.received(0),
            (1_000 + nth).to_be_bytes(),
            "seed {seed}, client {nth}"
        );
    }
    assert_eq!((ssh.1.opened(), web.1.opened()), (20, 20));
    let stats = sim.on(server).stats();
    assert_eq!((stats.panics, stats.timed_out), (0, 0));
    sim.trace_hash()
}

#[test]
fn every_client_is_told_of_as_itself_and_the_run_repeats() {
    for seed in 1..=10 {
        assert_eq!(a_run(seed), a_run(seed), "seed {seed}");
    }
}

/// A listener of whoever stands in front is lost: the service behind is told, whatever there is between the two.
#[test]
fn a_listener_that_is_lost_is_told_behind_the_front() {
    let mut sim = Sim::new(7);
    let server = sim.host(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    let client = sim.host(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
    let events = sim.on(server);
    let (greeter, ssh) = (Probe::new(), Probe::new());
    let (told, untold) = (greeter.log.clone(), ssh.log.clone());
    let greeter = events.add_stream_service(greeter, StreamOptions::default());
    let ssh = events.add_stream_service(ssh, StreamOptions::default());
    let mux = Mux::new(MuxOptions::default())
        .otherwise(greeter)
        .rule(Pattern::Ssh, ssh);
    let mux = events.add_stream_service(mux, StreamOptions::default());
    let front = ProxyServer::new(mux, ServerOptions::trusting(NetSet::all()));
    let front = events.add_stream_service(front, StreamOptions::default());
    let at: SocketAddr = "10.0.0.1:7000".parse().unwrap();
    events.listen(front, at, &ListenOptions::default()).unwrap();
    sim.fail(server, Call::Accept, 1, errno::EBADF);
    let probe = sim
        .on(client)
        .add_stream_service(Probe::new(), StreamOptions::default());
    sim.on(client).connect(probe, ConnectRequest::new(at));
    let lost = |told: &Told| matches!(told, Told::ListenerLost(_));
    let seen = told.clone();
    sim.run_until(Duration::from_secs(60), move || seen.all().iter().any(lost))
        .unwrap();
    assert_eq!(told.all().iter().filter(|told| lost(told)).count(), 1);
    assert!(!untold.all().iter().any(lost));
}
