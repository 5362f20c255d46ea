//! mio's own behaviour as the floor: the same programs, once with mio's Unix sockets and once with ours, and nothing
//! between them but the import.

#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::time::Instant;

use mio::event::Event;
use mio::{Events, Poll, Token};
use sockeye_tests::wait::PATIENCE;

const FIRST: Token = Token(0);
const SECOND: Token = Token(1);
const THIRD: Token = Token(2);

struct Poller {
    poll: Poll,
    events: Events,
}

impl Poller {
    fn new() -> Self {
        Self {
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(16),
        }
    }

    /// Waits for an event of that kind.
    fn until(&mut self, token: Token, ready: impl Fn(&Event) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            self.poll.poll(&mut self.events, Some(PATIENCE)).unwrap();
            let mut events = self.events.iter();
            if events.any(|event| event.token() == token && ready(event)) {
                return;
            }
        }
        panic!("no event of {token:?}");
    }
}

macro_rules! same_programs {
    ($name:ident: $($types:tt)*) => {
        mod $name {
            use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
            use std::net::Shutdown;
            use std::os::fd::AsRawFd;

            use mio::Interest;
            use $($types)*::{UnixDatagram, UnixListener, UnixStream};

            use super::*;

            #[test]
            fn a_stream_comes_in_at_a_listener() {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("mio.sock");
                let mut poller = Poller::new();
                let mut listener = UnixListener::bind(&path).unwrap();
                let registry = poller.poll.registry().try_clone().unwrap();
                registry.register(&mut listener, FIRST, Interest::READABLE).unwrap();
                assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);

                let mut client = UnixStream::connect(&path).unwrap();
                registry
                    .register(&mut client, SECOND, Interest::READABLE | Interest::WRITABLE)
                    .unwrap();
                poller.until(FIRST, Event::is_readable);
                let (mut server, peer) = listener.accept().unwrap();
                assert!(peer.is_unnamed());
                assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(path.as_path()));
                assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(path.as_path()));
                registry
                    .register(&mut server, THIRD, Interest::READABLE | Interest::WRITABLE)
                    .unwrap();

                assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
                assert_eq!(client.write(b"hello").unwrap(), 5);
                poller.until(THIRD, Event::is_readable);
                let mut buffer = [0; 8];
                assert_eq!((&server).read(&mut buffer).unwrap(), 5);
                assert_eq!(server.write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")]).unwrap(), 5);
                poller.until(SECOND, Event::is_readable);
                let (one, two) = buffer.split_at_mut(3);
                let mut slices = [IoSliceMut::new(one), IoSliceMut::new(two)];
                assert_eq!(client.read_vectored(&mut slices).unwrap(), 5);
                assert_eq!(&buffer[..5], b"hello");
                assert!(client.take_error().unwrap().is_none() && listener.take_error().unwrap().is_none());
                registry.deregister(&mut client).unwrap();
                assert!(UnixListener::bind(&path).is_err(), "the path is in use");
            }

            #[test]
            fn the_end_of_one_side_is_told_to_the_other() {
                let mut poller = Poller::new();
                let (mut one, mut other) = UnixStream::pair().unwrap();
                let registry = poller.poll.registry().try_clone().unwrap();
                registry.register(&mut other, FIRST, Interest::READABLE).unwrap();
                registry.register(&mut one, SECOND, Interest::READABLE).unwrap();
                one.write_all(b"last").unwrap();
                one.shutdown(Shutdown::Write).unwrap();
                poller.until(FIRST, Event::is_read_closed);
                let mut all = Vec::new();
                assert_eq!(other.read_to_end(&mut all).unwrap(), 4);
                assert_eq!(one.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
                drop(other);
                poller.until(SECOND, Event::is_read_closed);
                assert_eq!(one.read(&mut [0; 1]).unwrap(), 0);
            }

            #[test]
            fn a_full_stream_blocks_and_is_writable_again() {
                let mut poller = Poller::new();
                let (mut one, mut other) = UnixStream::pair().unwrap();
                let registry = poller.poll.registry().try_clone().unwrap();
                registry.register(&mut one, FIRST, Interest::WRITABLE).unwrap();
                poller.until(FIRST, Event::is_writable);
                let mut written = 0;
                let full = loop {
                    match one.write(&[7; 4096]) {
                        Ok(len) => written += len,
                        Err(error) => break error,
                    }
                };
                assert_eq!(full.kind(), ErrorKind::WouldBlock);
                let mut read = 0;
                while read < written {
                    read += other.read(&mut [0; 65_536]).unwrap();
                }
                poller.until(FIRST, Event::is_writable);
                assert!(one.write(b"again").is_ok());
            }

            #[test]
            fn datagrams_with_and_without_a_name() {
                let folder = tempfile::tempdir().unwrap();
                let (a, b) = (folder.path().join("a"), folder.path().join("b"));
                let mut poller = Poller::new();
                let mut one = UnixDatagram::bind(&a).unwrap();
                let other = UnixDatagram::bind(&b).unwrap();
                let registry = poller.poll.registry().try_clone().unwrap();
                registry.register(&mut one, FIRST, Interest::READABLE).unwrap();
                assert_eq!(one.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
                assert_eq!(other.send_to(b"named", &a).unwrap(), 5);
                poller.until(FIRST, Event::is_readable);
                let mut buffer = [0; 8];
                let (len, from) = one.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..len], from.as_pathname()), (b"named".as_slice(), Some(b.as_path())));

                let unbound = UnixDatagram::unbound().unwrap();
                unbound.connect(&a).unwrap();
                assert_eq!(unbound.send(b"").unwrap(), 0);
                poller.until(FIRST, Event::is_readable);
                let (len, from) = one.recv_from(&mut buffer).unwrap();
                assert!(len == 0 && from.is_unnamed());
                assert_eq!(unbound.peer_addr().unwrap().as_pathname(), Some(a.as_path()));
                let (left, right) = UnixDatagram::pair().unwrap();
                left.send(b"pair").unwrap();
                assert_eq!(right.recv(&mut buffer).unwrap(), 4);
                left.shutdown(Shutdown::Both).unwrap();
            }

            #[test]
            fn sockets_of_std_go_both_ways() {
                let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
                one.set_nonblocking(true).unwrap();
                other.set_nonblocking(true).unwrap();
                let (one, mut other) = (UnixStream::from_std(one), UnixStream::from_std(other));
                let number = one.as_raw_fd();
                let mut one = std::os::unix::net::UnixStream::from(one);
                assert_eq!(one.as_raw_fd(), number);
                one.write_all(b"back").unwrap();
                let mut buffer = [0; 8];
                assert_eq!(other.read(&mut buffer).unwrap(), 4);
            }

            #[test]
            fn abstract_addresses_are_bound_and_connected() {
                use std::os::linux::net::SocketAddrExt as _;
                let name = format!("sockeye-{}-{}", stringify!($name), std::process::id());
                let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
                let listener = UnixListener::bind_addr(&address).unwrap();
                let client = UnixStream::connect_addr(&address).unwrap();
                let (server, _) = listener.accept().unwrap();
                assert_eq!(
                    client.peer_addr().unwrap().as_abstract_name(),
                    server.local_addr().unwrap().as_abstract_name()
                );
            }
        }
    };
}

same_programs!(as_mio: mio::net);
same_programs!(as_ours: sockeye::unix);
