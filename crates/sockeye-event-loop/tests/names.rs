//! Connects to names: looked up off the loop, raced by Happy Eyeballs.

#![expect(clippy::expect_used, reason = "helpers of tests say what they expect")]

use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::names::{DnsConfig, NameSource};
use sockeye_event_loop::{
    ConnectFailure, ConnectFault, ConnectRequest, Context, EventLoop, Stream, StreamOptions, StreamService,
};
use sockeye_resolver::dns::{Carrier, Event, QueryError, RecordType, Request, Server};

#[derive(Debug)]
enum Seen {
    Open(u64, std::net::SocketAddr),
    Failed(ConnectFailure),
}

struct Client(Rc<RefCell<Vec<Seen>>>);

impl StreamService for Client {
    type Conn = ();

    fn on_open(&mut self, stream: &mut Stream<'_>) {
        let peer = stream.peer_addr().expect("an open stream has a peer");
        self.0.borrow_mut().push(Seen::Open(stream.tag(), peer));
    }

    fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        data.len()
    }

    fn on_connect_error(&mut self, _: &mut Context<'_>, failure: ConnectFailure) {
        self.0.borrow_mut().push(Seen::Failed(failure));
    }
}

fn connect(request: ConnectRequest) -> Seen {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut events = EventLoop::new().expect("a loop");
    let client = events.add_stream_service(Client(Rc::clone(&seen)), StreamOptions::default());
    events.connect(client, request.tag(7));
    let late = Instant::now() + Duration::from_secs(20);
    while seen.borrow().is_empty() {
        assert!(Instant::now() < late, "no outcome within 20 s");
        events.turn(Some(Duration::from_millis(100))).expect("a turn");
    }
    seen.borrow_mut().remove(0)
}

fn target(text: &str) -> sockeye_endpoint::Target {
    text.parse().expect("a target")
}

#[test]
fn a_name_is_looked_up_and_the_address_that_listens_wins() {
    // Only IPv4 listens: where localhost is ::1 too, that is refused first.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let request = ConnectRequest::to_target(target(&format!("localhost:{port}")));
    match connect(request.deadline(Duration::from_secs(10))) {
        Seen::Open(7, peer) => assert_eq!(peer, listener.local_addr().expect("its address")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_numeric_target_needs_no_lookup() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let at = listener.local_addr().expect("its address");
    match connect(ConnectRequest::to_target(target(&at.to_string()))) {
        Seen::Open(7, peer) => assert_eq!(peer, at),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_numeric_target_says_so() {
    let at = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port that is free again");
    match connect(ConnectRequest::to_target(target(&at.to_string()))) {
        Seen::Failed(ConnectFailure {
            tag: 7,
            attempts,
            cause: ConnectFault::Failed(error),
        }) => {
            assert_eq!(attempts.len(), 1);
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_filter_that_lets_nothing_through_leaves_no_address() {
    let request = ConnectRequest::to_target(target("127.0.0.1:9")).filter(|ip| !ip.is_loopback());
    match connect(request) {
        Seen::Failed(ConnectFailure {
            cause: ConnectFault::NoAddress,
            attempts,
            ..
        }) => assert!(attempts.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_name_is_unresolved() {
    let request = ConnectRequest::to_target(target("no-such-host.invalid:80"));
    match connect(request.deadline(Duration::from_secs(15))) {
        Seen::Failed(ConnectFailure {
            cause: ConnectFault::Unresolved(_) | ConnectFault::TimedOut,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

/// A service of datagrams that looks a name up when its socket opens.
struct Looker(Rc<RefCell<Vec<std::net::IpAddr>>>);

impl sockeye_event_loop::DatagramService for Looker {
    fn on_open(&mut self, socket: &mut sockeye_event_loop::Datagrams<'_>) {
        let request = Request::addresses("localhost".parse().expect("a name"));
        socket.context().resolve(request).expect("a lookup");
    }

    fn on_datagram(
        &mut self,
        _: &mut sockeye_event_loop::Datagrams<'_>,
        _: sockeye_event_loop::Datagram<'_>,
    ) {
    }

    fn on_answer(&mut self, _: &mut Context<'_>, event: Event) {
        let answer = event.result.expect("an answer");
        self.0.borrow_mut().extend(answer.addresses());
    }
}

#[test]
fn a_service_of_datagrams_is_given_its_answers() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut events = EventLoop::new().expect("a loop");
    let looker = events.add_datagram_service(Looker(Rc::clone(&seen)));
    let at = "127.0.0.1:0".parse().expect("an address");
    events.bind(looker, at, &Default::default()).expect("a socket");
    for _ in 0..100 {
        events.turn(Some(Duration::from_millis(20))).expect("a turn");
        if seen.borrow().len() >= 2 {
            break;
        }
    }
    assert!(seen.borrow().len() >= 2 && seen.borrow().iter().all(|ip| ip.is_loopback()));
}

#[test]
fn who_connects_by_tls_may_look_names_up() {
    let mut events = EventLoop::new().expect("a loop");
    let mut config = DnsConfig::default();
    let server = "127.0.0.1:853".parse().expect("an address");
    config.options.servers = vec![Server::new(server).by(Carrier::Tls)];
    events.set_names(NameSource::Dns(Box::new(config)));
    events.set_dns_tls(|context, _, _, _| {
        let request = Request::addresses("localhost".parse().expect("a name"));
        context.resolve(request).expect("a lookup");
        None
    });
    let request = Request::records("a.test".parse().expect("a name"), RecordType::MX);
    let id = events.resolve(request).expect("a lookup");
    let late = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(event) = events.next_answer() {
            assert_eq!((event.lookup, event.is_last), (id, true));
            assert_eq!(event.result, Err(QueryError::Unreachable { server }));
            break;
        }
        assert!(Instant::now() < late, "no answer within 20 s");
        events.turn(Some(Duration::from_millis(20))).expect("a turn");
    }
}

#[test]
fn results_that_the_owner_does_not_take_are_bounded() {
    let mut events = EventLoop::new().expect("a loop");
    events.set_names(NameSource::Dns(Box::default()));
    let request = Request::records("localhost".parse().expect("a name"), RecordType::A);
    let mut begun = 0;
    while events.resolve(request.clone()).is_ok() {
        begun += 1;
        assert!(begun <= 1 << 16, "the results pile up");
    }
    assert!(events.next_answer().is_some());
    assert!(
        events.resolve(request).is_ok(),
        "one was taken: there is room again"
    );
}
