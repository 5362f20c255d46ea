//! Connections that come onto a loop between two of its turns: what has arrived by then is offered all the same.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sockeye::event_loop::{EventLoop, Stream, StreamOptions, StreamService};
use sockeye_tests::wait::PATIENCE;

/// Sends back what comes, and ends with the peer.
#[derive(Default)]
struct Echo {
    opened: usize,
}

impl StreamService for Echo {
    type Conn = ();

    fn on_open(&mut self, _: &mut Stream<'_>) {
        self.opened += 1;
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
        if stream.write(data).is_taken() {
            data.len()
        } else {
            0
        }
    }
}

/// Turns the loop until it has no connection left.
fn run(events: &mut EventLoop) {
    let begun = Instant::now();
    while events.open_streams() > 0 {
        assert!(begun.elapsed() < PATIENCE, "a connection is left");
        events.turn(Some(Duration::from_millis(100))).unwrap();
    }
}

#[test]
fn a_unix_stream_whose_peer_has_said_all_and_gone_is_heard() {
    let mut events = EventLoop::new().unwrap();
    let service = events.add_stream_service(Echo::default(), StreamOptions::default());
    for _ in 0..10 {
        let (here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.write_all(b"said before").unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        let id = events.adopt_unix(service, sockeye::unix::UnixStream::from_std(here));
        assert!(id.is_some());
        run(&mut events);
        let mut back = Vec::new();
        there.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"said before");
    }
    assert_eq!(events.service(service).unwrap().opened, 10);
}

#[test]
fn a_tcp_stream_whose_peer_has_said_all_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut events = EventLoop::new().unwrap();
    let service = events.add_stream_service(Echo::default(), StreamOptions::default());
    let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut here, peer) = listener.accept().unwrap();
    there.write_all(b"said before").unwrap();
    there.shutdown(Shutdown::Write).unwrap();
    // It has arrived, and the end with it, when the kernel lets it be looked at.
    while here.peek(&mut [0; 16]).unwrap() < 11 {}
    here.set_nonblocking(true).unwrap();
    here.flush().unwrap();
    events.adopt(service, here.into(), peer);
    run(&mut events);
    let mut back = Vec::new();
    there.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"said before");
}
