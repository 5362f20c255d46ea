//! DNS over TLS (RFC 7858), on the kernel and in the simulation.

use std::net::SocketAddr;

use rustls::ClientConfig;
use sockeye::tls::{ConnectorOptions, TlsConnector};
use sockeye_event_loop::EventLoop;
use sockeye_event_loop::backend::Backend;
use sockeye_resolver::dns::{Carrier, Event, Finding, QueryError, RecordType, Request, Server};
use sockeye_sim::LinkOptions;
use sockeye_sim::names::{Behaviour, TcpSupport};

use super::certificates::Authority;
use super::kernel;
use super::serving::{Serving, serve_tls};
use super::setting::{AT_ONCE, Ground, TIMEOUT, addresses, honest, ms, name};

fn carry<B: Backend>(events: &mut EventLoop<B>, config: ClientConfig) {
    TlsConnector::new(events, config, ConnectorOptions::default()).carry_names(events);
}

fn many(count: u32) -> Vec<Request> {
    (0..count)
        .map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A))
        .collect()
}

#[track_caller]
fn assert_none_of_them_exists(events: &[Event]) {
    for event in events {
        let answer = event.result.as_ref().unwrap();
        assert_eq!(
            (answer.finding(), answer.content.carrier),
            (Finding::NoName, Carrier::Tls)
        );
    }
}

fn on_the_kernel(names: &[&str], tls_name: Option<&str>, trusts: bool) -> (Serving, Event) {
    let authority = Authority::new();
    let serving = Serving::over_tls(honest(), authority.server(names));
    let mut server = Server::new(serving.address).by(Carrier::Tls);
    server.tls_name = tls_name.map(|name| name.parse().unwrap());
    let mut events = kernel::client([server]);
    let other = Authority::new();
    carry(
        &mut events,
        if trusts {
            authority.client()
        } else {
            other.client()
        },
    );
    let event = kernel::ask(&mut events, "www.example.test", RecordType::A);
    (serving, event)
}

#[test]
fn a_server_shows_a_certificate_for_its_address_or_its_name() {
    for (names, tls_name) in [
        (&["127.0.0.1"], None),
        (&["dns.example.test"], Some("dns.example.test")),
    ] {
        let (serving, event) = on_the_kernel(names, tls_name, true);
        let answer = event.result.unwrap();
        assert_eq!(addresses(&answer), ["192.0.2.80"]);
        assert_eq!(
            (answer.content.carrier, answer.content.server),
            (Carrier::Tls, Some(serving.address))
        );
    }
}

#[test]
fn a_certificate_that_does_not_fit_is_an_error() {
    for (names, tls_name, trusts) in [
        (&["127.0.0.1"], None, false),
        (&["127.0.0.2"], None, true),
        (&["127.0.0.1"], Some("dns.example.test"), true),
    ] {
        let (serving, event) = on_the_kernel(names, tls_name, trusts);
        let server = serving.address;
        assert_eq!(
            event.result,
            Err(QueryError::Unreachable { server }),
            "{names:?} {tls_name:?}"
        );
        let counters = serving.server.counters();
        assert_eq!((counters.udp, counters.tcp), (0, 0), "nothing was asked");
    }
}

#[test]
fn many_questions_share_a_connection() {
    let authority = Authority::new();
    let serving = Serving::over_tls(honest(), authority.server(&["127.0.0.1"]));
    let mut events = kernel::client([Server::new(serving.address).by(Carrier::Tls)]);
    carry(&mut events, authority.client());
    assert_none_of_them_exists(&kernel::ask_all(&mut events, many(100)));
    assert_eq!(serving.server.counters().connections, 1);
}

/// The first server of the simulation speaks TLS on port 853, with a certificate for this address.
fn simulated(address: &str, behaviour: Behaviour) -> Ground {
    let authority = Authority::new();
    let server = honest().with(behaviour);
    let mut ground = Ground::with(1, [server.clone(), honest()]);
    let at = ([10, 0, 0, 53], 853).into();
    serve_tls(
        ground.sim.on(ground.hosts[0]),
        &server,
        authority.server(&[address]),
        at,
    );
    ground.configure(|options| options.servers = vec![Server::new(at).by(Carrier::Tls)]);
    carry(ground.sim.on(ground.client), authority.client());
    ground
}

#[test]
fn in_the_simulation_too() {
    let mut ground = simulated("10.0.0.53", Behaviour::default());
    let requests = many(100);
    let (took, events) = ground.ask_all(requests);
    assert_none_of_them_exists(&events);
    assert!(took < AT_ONCE, "{took:?}");
    let counters = ground.servers[0].counters();
    assert_eq!((counters.udp, counters.tcp, counters.connections), (0, 100, 1));
    ground.assert_idle();
}

#[test]
fn without_anybody_for_tls_such_servers_cannot_be_reached() {
    let mut ground = Ground::new(honest());
    ground.configure(|options| options.servers[0].carrier = Carrier::Tls);
    let (took, result) = ground.ask("www.example.test", RecordType::A);
    let server = Ground::server_at(0);
    assert_eq!(result, Err(QueryError::Unreachable { server }));
    assert!(took < AT_ONCE, "{took:?}");
    ground.assert_idle();
}

#[test]
fn a_wrong_certificate_leads_to_the_next_server() {
    let mut ground = simulated("10.0.0.99", Behaviour::default());
    let (took, result) = ground.ask("www.example.test", RecordType::A);
    let server = SocketAddr::from(([10, 0, 0, 53], 853));
    assert_eq!(result, Err(QueryError::Unreachable { server }));
    assert!(took < AT_ONCE, "{took:?}");
    ground.configure(|options| options.servers[0] = Server::new(server).by(Carrier::Tls));
    let (took, result) = ground.ask("www.example.test", RecordType::A);
    let content = result.unwrap().content;
    assert_eq!(
        (content.server, content.carrier),
        (Some(Ground::server_at(1)), Carrier::Udp)
    );
    assert!(took < AT_ONCE, "{took:?}");
    ground.assert_idle();
}

#[test]
fn a_server_that_stalls_or_closes_behind_tls() {
    let mut ground = simulated("10.0.0.53", Behaviour::tcp(TcpSupport::Silent));
    let (took, result) = ground.ask("www.example.test", RecordType::A);
    let last = Some(([10, 0, 0, 53], 853).into());
    assert_eq!(result, Err(QueryError::TimedOut { last }));
    assert!(
        (2 * TIMEOUT..2 * TIMEOUT + 2 * AT_ONCE).contains(&took),
        "{took:?}"
    );
    ground.assert_idle();

    let mut ground = simulated("10.0.0.53", Behaviour::tcp(TcpSupport::ClosesAfter(3)));
    let (_, events) = ground.ask_all(many(10));
    assert_none_of_them_exists(&events);
    ground.assert_idle();
}

#[test]
fn a_server_that_is_cut_off_in_the_handshake() {
    let mut ground = simulated("10.0.0.53", Behaviour::default());
    // The connection takes 2 ms, the rest of the handshake 2 ms more.
    ground.sim.set_lan(LinkOptions::latency(ms(1)));
    ground.resolve(Request::records(name("www.example.test"), RecordType::A));
    ground.sim.run_for(ms(3)).unwrap();
    assert_eq!(ground.sim.on(ground.hosts[0]).open_streams(), 1);
    ground.cut_off(0);
    ground.sim.run_for(2 * TIMEOUT + ms(100)).unwrap();
    let answers = std::mem::take(&mut ground.diary.borrow_mut().answers);
    let last = Some(([10, 0, 0, 53], 853).into());
    assert_eq!(answers[0].1.result, Err(QueryError::TimedOut { last }));
    assert_eq!(ground.servers[0].counters().tcp, 0);
    ground.assert_idle();
}

#[test]
fn more_questions_than_a_queue_holds_wait_for_it() {
    let mut ground = simulated("10.0.0.53", Behaviour::default());
    let (_, events) = ground.ask_all(many(20_000));
    assert_none_of_them_exists(&events);
    let stats = ground.stats();
    assert_eq!((stats.streamed, stats.retries, stats.timeouts), (20_000, 0, 0));
    ground.assert_idle();
}
