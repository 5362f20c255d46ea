//! The same client on the kernel's loopback: a name server in a thread, or on the same loop.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use sockeye_event_loop::EventLoop;
use sockeye_event_loop::names::{DnsConfig, NameSource};
use sockeye_resolver::dns::{
    Carrier, DnsOptions, Event, Finding, Origin, QueryError, Record, RecordData, RecordType, Request, Server,
};
use sockeye_sim::names::{Behaviour, NameServer, TcpSupport};
use sockeye_tests::skip::{self, Need};
use sockeye_tests::wait::PATIENCE;

use super::serving::{Refusing, Serving};
use super::setting::{addresses, honest, name, zones};

/// A client that asks these servers.
pub fn client(servers: impl IntoIterator<Item = Server>) -> EventLoop {
    let options = DnsOptions {
        servers: servers.into_iter().collect(),
        ..DnsOptions::default()
    };
    client_with(options)
}

pub fn client_with(options: DnsOptions) -> EventLoop {
    let config = DnsConfig {
        options,
        ..DnsConfig::default()
    };
    let mut events = EventLoop::new().unwrap();
    events.set_names(NameSource::Dns(Box::new(config)));
    events
}

/// Asks everything at once, and waits for all answers: in the order in which they come.
#[track_caller]
pub fn ask_all(events: &mut EventLoop, requests: impl IntoIterator<Item = Request>) -> Vec<Event> {
    let mut left = requests
        .into_iter()
        .map(|request| events.resolve(request).unwrap())
        .count();
    let mut all = Vec::new();
    let begun = Instant::now();
    loop {
        while let Some(event) = events.next_answer() {
            left -= usize::from(event.is_last);
            all.push(event);
        }
        if left == 0 {
            return all;
        }
        assert!(
            begun.elapsed() < 2 * PATIENCE,
            "{left} answers are missing: {:?}",
            events.dns_stats()
        );
        events.turn(Some(Duration::from_millis(100))).unwrap();
    }
}

#[track_caller]
pub fn ask(events: &mut EventLoop, text: &str, record_type: RecordType) -> Event {
    let mut all = ask_all(events, [Request::records(name(text), record_type)]);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// A name with more addresses than fit a datagram.
fn big() -> NameServer {
    let mut zones = zones();
    for place in 0..500_u32 {
        zones.insert(Record::new(
            name("big.example.test"),
            60,
            RecordData::A(place.into()),
        ));
    }
    NameServer::new(zones)
}

#[test]
fn answers_by_udp_and_by_tcp() {
    let serving = Serving::new(big());
    for carrier in [Carrier::Udp, Carrier::Tcp] {
        let mut events = client([Server::new(serving.address).by(carrier)]);
        let answer = ask(&mut events, "alias.example.test", RecordType::AAAA)
            .result
            .unwrap();
        assert_eq!(addresses(&answer), ["2001:db8::80"]);
        assert_eq!(
            (answer.content.carrier, answer.content.server),
            (carrier, Some(serving.address))
        );
        let answer = ask(&mut events, "big.example.test", RecordType::A)
            .result
            .unwrap();
        assert_eq!(
            (answer.content.carrier, answer.content.records.len()),
            (Carrier::Tcp, 500)
        );
        let answer = ask(&mut events, "nope.example.test", RecordType::A)
            .result
            .unwrap();
        assert_eq!(answer.finding(), Finding::NoName);
        let answer = ask(&mut events, "nope.example.test", RecordType::A)
            .result
            .unwrap();
        assert_eq!(
            (answer.finding(), answer.origin),
            (Finding::NoName, Origin::Cache)
        );
    }
}

#[test]
fn answers_by_ipv6() {
    if !skip::require(&[Need::Ipv6]) {
        return;
    }
    let serving = Serving::on(honest(), (Ipv6Addr::LOCALHOST, 0).into());
    let mut events = client([serving.address.into()]);
    let answer = ask(&mut events, "www.example.test", RecordType::A)
        .result
        .unwrap();
    assert_eq!(
        (addresses(&answer), answer.content.server),
        (vec!["192.0.2.80".into()], Some(serving.address))
    );
}

#[test]
fn one_loop_is_server_and_client() {
    let mut events = EventLoop::new().unwrap();
    let served = honest().serve(&mut events, ([127, 0, 0, 1], 0).into()).unwrap();
    let config = DnsConfig {
        options: DnsOptions::with_servers([served.address]),
        ..DnsConfig::default()
    };
    events.set_names(NameSource::Dns(Box::new(config)));
    let answer = ask(&mut events, "www.example.test", RecordType::A)
        .result
        .unwrap();
    assert_eq!(addresses(&answer), ["192.0.2.80"]);
}

#[test]
fn a_thousand_lookups_at_once() {
    let serving = Serving::new(honest());
    // The server's receive buffer takes a few hundred at a time: the rest is asked again.
    let mut events = client_with(DnsOptions {
        timeout: Duration::from_secs(1),
        attempts: 25,
        ..DnsOptions::with_servers([serving.address])
    });
    let all = ask_all(
        &mut events,
        (0..1_000).map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A)),
    );
    assert_eq!(all.len(), 1_000);
    assert!(
        all.iter()
            .all(|event| event.result.as_ref().unwrap().finding() == Finding::NoName)
    );
    let stats = events.dns_stats();
    assert_eq!((stats.lookups, stats.under_way, stats.kept), (1_000, 0, 1_000));
    assert_eq!(stats.datagrams + stats.streamed, 1_000 + stats.retries);
}

#[test]
fn a_port_that_refuses_is_passed_over() {
    let serving = Serving::new(honest());
    let refusing = Refusing::new();
    let refused = refusing.address();
    let mut events = client_with(DnsOptions {
        // Longer than the test's patience.
        timeout: 10 * PATIENCE,
        ..DnsOptions::with_servers([refused, serving.address])
    });
    let answer = ask(&mut events, "www.example.test", RecordType::A)
        .result
        .unwrap();
    assert_eq!(answer.content.server, Some(serving.address));
    assert_eq!((events.dns_stats().retries, events.dns_stats().timeouts), (1, 0));

    let mut events = client([refused.into()]);
    let result = ask(&mut events, "www.example.test", RecordType::A).result;
    assert_eq!(result, Err(QueryError::Unreachable { server: refused }));
    // So it is by TCP.
    let mut events = client([Server::new(refused).by(Carrier::Tcp)]);
    let result = ask(&mut events, "www.example.test", RecordType::A).result;
    assert_eq!(result, Err(QueryError::Unreachable { server: refused }));
}

#[test]
fn connections_that_close_are_opened_again() {
    let serving = Serving::new(honest().with(Behaviour::tcp(TcpSupport::ClosesAfter(2))));
    let mut events = client([Server::new(serving.address).by(Carrier::Tcp)]);
    let all = ask_all(
        &mut events,
        (0..10).map(|n| Request::records(name(&format!("n{n}.example.test")), RecordType::A)),
    );
    assert!(all.iter().all(|event| event.result.is_ok()));
    assert!(serving.server.counters().connections >= 5);
}

#[test]
fn a_name_leads_to_a_connection() {
    use sockeye_event_loop::{ConnectRequest, Stream, StreamOptions, StreamService};

    struct Note(Vec<SocketAddr>);
    impl StreamService for Note {
        type Conn = ();
        fn on_open(&mut self, stream: &mut Stream<'_>) {
            self.0.extend(stream.peer_addr());
        }
        fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
            data.len()
        }
    }

    let server = honest();
    server.update(|zones| {
        zones.insert(Record::new(
            name("here.example.test"),
            60,
            RecordData::A([127, 0, 0, 1].into()),
        ));
    });
    let serving = Serving::new(server);
    let mut events = client([serving.address.into()]);
    let note = events.add_stream_service(Note(Vec::new()), StreamOptions::default());
    // The name server listens for connections itself.
    let target = format!("tcp://here.example.test:{}", serving.address.port());
    events.connect(note, ConnectRequest::to_target(target.parse().unwrap()));
    let begun = Instant::now();
    while events.service(note).unwrap().0.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        events.turn(Some(Duration::from_millis(100))).unwrap();
    }
    assert_eq!(events.service(note).unwrap().0, [serving.address]);
}
