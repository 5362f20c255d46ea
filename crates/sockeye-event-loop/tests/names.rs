//! Connects to names: looked up off the loop, raced by Happy Eyeballs.

#![expect(clippy::expect_used, reason = "helpers of tests say what they expect")]

use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sockeye_event_loop::{
    ConnectFailure, ConnectFault, ConnectRequest, Context, EventLoop, Stream, StreamOptions, StreamService,
};

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
