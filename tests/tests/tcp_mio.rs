//! mio's own behaviour as the floor: the same program, once with mio's types and once with ours, and nothing between them
//! but the import.

#![expect(clippy::unwrap_used, reason = "what a test expects and does not get fails it")]

mod tcp_common;

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use tcp_common::{PATIENCE, addr};

/// One event as a program sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    token: usize,
    readable: bool,
    writable: bool,
    read_closed: bool,
    write_closed: bool,
    error: bool,
}

impl From<&Event> for Seen {
    fn from(event: &Event) -> Self {
        Self {
            token: event.token().0,
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
        }
    }
}

/// The events until one of them satisfies `wanted`.
fn events_until(poll: &mut Poll, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
    let mut events = Events::with_capacity(16);
    let mut seen = Vec::new();
    while !seen.iter().any(&wanted) {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "not the event that was waited for: {seen:?}");
        seen.extend(events.iter().map(Seen::from));
    }
    seen
}

/// No event for `token`, for as long as one takes that comes.
fn silence(poll: &mut Poll, token: usize) {
    let mut events = Events::with_capacity(16);
    let end = Instant::now() + Duration::from_millis(100);
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        poll.poll(&mut events, Some(left)).unwrap();
        let seen: Vec<_> = events
            .iter()
            .map(Seen::from)
            .filter(|seen| seen.token == token)
            .collect();
        assert_eq!(seen, []);
    }
}

macro_rules! floor {
    ($world:ident, $($path:ident)::+) => {
        mod $world {
            use super::*;
            use $($path)::+::{TcpListener, TcpStream};

            /// Every name with mio's signature: this compiles, or a program does not move over.
            #[test]
            fn names_and_signatures() {
                let _: fn(SocketAddr) -> io::Result<TcpListener> = TcpListener::bind;
                let _: fn(std::net::TcpListener) -> TcpListener = TcpListener::from_std;
                let _: fn(&TcpListener) -> io::Result<(TcpStream, SocketAddr)> = TcpListener::accept;
                let _: fn(&TcpListener) -> io::Result<SocketAddr> = TcpListener::local_addr;
                let _: fn(&TcpListener, u32) -> io::Result<()> = TcpListener::set_ttl;
                let _: fn(&TcpListener) -> io::Result<u32> = TcpListener::ttl;
                let _: fn(&TcpListener) -> io::Result<Option<io::Error>> = TcpListener::take_error;
                let _: fn(SocketAddr) -> io::Result<TcpStream> = TcpStream::connect;
                let _: fn(std::net::TcpStream) -> TcpStream = TcpStream::from_std;
                let _: fn(&TcpStream) -> io::Result<SocketAddr> = TcpStream::peer_addr;
                let _: fn(&TcpStream) -> io::Result<SocketAddr> = TcpStream::local_addr;
                let _: fn(&TcpStream, Shutdown) -> io::Result<()> = TcpStream::shutdown;
                let _: fn(&TcpStream, bool) -> io::Result<()> = TcpStream::set_nodelay;
                let _: fn(&TcpStream) -> io::Result<bool> = TcpStream::nodelay;
                let _: fn(&TcpStream, u32) -> io::Result<()> = TcpStream::set_ttl;
                let _: fn(&TcpStream) -> io::Result<u32> = TcpStream::ttl;
                let _: fn(&TcpStream) -> io::Result<Option<io::Error>> = TcpStream::take_error;
                let _: fn(&TcpStream, &mut [u8]) -> io::Result<usize> = TcpStream::peek;
                let _: fn(&TcpStream, fn() -> io::Result<u8>) -> io::Result<u8> = TcpStream::try_io;

                fn both<T>()
                where
                    T: mio::event::Source + Debug + AsFd + AsRawFd + IntoRawFd + FromRawFd,
                    T: From<OwnedFd> + Into<OwnedFd> + Send + Sync + 'static,
                {
                }
                both::<TcpListener>();
                both::<TcpStream>();
                fn stream<T: Read + Write + Into<std::net::TcpStream>>()
                where
                    for<'a> &'a T: Read + Write,
                {
                }
                stream::<TcpStream>();
                let _: fn(TcpListener) -> std::net::TcpListener = Into::into;
            }

            /// A registered listener, a registered client that is connected, and its registered server.
            fn connected() -> (Poll, TcpListener, TcpStream, TcpStream) {
                let mut poll = Poll::new().unwrap();
                let mut listener = TcpListener::bind(addr("127.0.0.1:0")).unwrap();
                poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut client, Token(1), both).unwrap();
                let (mut accepted, mut writable) = (false, false);
                while !(accepted && writable) {
                    for seen in events_until(&mut poll, |_| true) {
                        accepted |= seen.token == 0 && seen.readable;
                        writable |= seen.token == 1 && seen.writable;
                    }
                }
                assert!(client.take_error().unwrap().is_none());
                assert!(client.peer_addr().is_ok());
                let (mut server, peer) = listener.accept().unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
                poll.registry().register(&mut server, Token(2), both).unwrap();
                events_until(&mut poll, |seen| seen.token == 2 && seen.writable);
                (poll, listener, client, server)
            }

            #[test]
            fn connect_accept_write_read_peek() {
                let (mut poll, _listener, mut client, mut server) = connected();
                client.set_nodelay(true).unwrap();
                assert!(client.nodelay().unwrap());
                assert_eq!(client.write(b"question").unwrap(), 8);
                events_until(&mut poll, |seen| seen.token == 2 && seen.readable);
                let mut buffer = [0; 16];
                assert_eq!(server.peek(&mut buffer).unwrap(), 8);
                assert_eq!(server.try_io(|| (&server).read(&mut buffer)).unwrap(), 8);
                assert_eq!(&buffer[..8], b"question");
                assert_eq!(server.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            }

            /// Data and FIN arriving together are one event; after a read that was short no further one comes.
            #[test]
            fn data_and_fin_together_are_one_edge() {
                let (mut poll, _listener, mut client, mut server) = connected();
                client.write_all(b"last").unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                let seen = events_until(&mut poll, |seen| seen.token == 2 && seen.read_closed);
                assert!(seen.iter().any(|seen| seen.readable));
                let mut buffer = [0; 64];
                // Short: 4 of 64. A loop that stops here, because the buffer was not filled, waits for ever.
                assert_eq!(server.read(&mut buffer).unwrap(), 4);
                silence(&mut poll, 2);
                assert_eq!(server.read(&mut buffer).unwrap(), 0);
            }

            #[test]
            fn a_refused_connection_is_told_once() {
                let closed = TcpListener::bind(addr("127.0.0.1:0")).unwrap().local_addr().unwrap();
                let mut poll = Poll::new().unwrap();
                let mut client = TcpStream::connect(closed).unwrap();
                poll.registry().register(&mut client, Token(1), Interest::WRITABLE).unwrap();
                let seen = events_until(&mut poll, |seen| seen.error);
                assert!(seen.iter().any(|seen| seen.write_closed));
                let error = client.take_error().unwrap().unwrap();
                assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
                assert!(client.take_error().unwrap().is_none());
                assert_eq!(client.peer_addr().unwrap_err().kind(), io::ErrorKind::NotConnected);
            }

            #[test]
            fn a_reset_is_an_event_with_the_data_before_it() {
                let (mut poll, _listener, mut client, server) = connected();
                (&server).write_all(b"words").unwrap();
                events_until(&mut poll, |seen| seen.token == 1 && seen.readable);
                let std_server = std::net::TcpStream::from(server);
                socket2::SockRef::from(&std_server).set_linger(Some(Duration::ZERO)).unwrap();
                drop(std_server);
                events_until(&mut poll, |seen| seen.token == 1 && seen.error);
                let mut buffer = [0; 64];
                assert_eq!(client.read(&mut buffer).unwrap(), 5);
                assert_eq!(client.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            }

            #[test]
            fn registration_changes_and_ends() {
                let (mut poll, _listener, mut client, mut server) = connected();
                poll.registry().reregister(&mut server, Token(7), Interest::READABLE).unwrap();
                client.write_all(b"x").unwrap();
                events_until(&mut poll, |seen| seen.token == 7 && seen.readable);
                poll.registry().deregister(&mut server).unwrap();
                client.write_all(b"y").unwrap();
                silence(&mut poll, 7);
            }

            #[test]
            fn errors_of_set_up_keep_their_errno() {
                let held = TcpListener::bind(addr("127.0.0.1:0")).unwrap();
                let error = TcpListener::bind(held.local_addr().unwrap()).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
                let error = TcpStream::connect(addr("255.255.255.255:1")).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
            }
        }
    };
}

floor!(with_mio, mio::net);
floor!(with_ours, sockeye::tcp);
