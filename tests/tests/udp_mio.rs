//! What mio's own tests ask of its `UdpSocket`, asked of ours: the same scenarios with another import.

#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use sockeye::udp::UdpSocket;
use sockeye_tests::wait::PATIENCE;

const FIRST: Token = Token(0);
const SECOND: Token = Token(1);
const HELLO: &[u8] = b"Hello world!";

fn any_v4() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn any_v6() -> SocketAddr {
    (Ipv6Addr::LOCALHOST, 0).into()
}

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

    fn register(&self, socket: &mut UdpSocket, token: Token, interest: Interest) {
        self.poll.registry().register(socket, token, interest).unwrap();
    }

    /// Waits for an event of that kind.
    fn until(&mut self, token: Token, ready: impl Fn(&mio::event::Event) -> bool) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            self.poll.poll(&mut self.events, Some(PATIENCE)).unwrap();
            if self
                .events
                .iter()
                .any(|event| event.token() == token && ready(event))
            {
                return;
            }
        }
        panic!("no event of {token:?}");
    }

    fn has_none(&mut self) -> bool {
        self.poll
            .poll(&mut self.events, Some(Duration::from_millis(10)))
            .unwrap();
        self.events.is_empty()
    }
}

fn would_block<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.unwrap_err().kind() == io::ErrorKind::WouldBlock
}

fn unconnected(mut one: UdpSocket, mut two: UdpSocket) {
    let mut poller = Poller::new();
    let both = Interest::READABLE.add(Interest::WRITABLE);
    poller.register(&mut one, FIRST, both);
    poller.register(&mut two, SECOND, both);
    let (at_one, at_two) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    let mut buffer = [0; 64];
    assert!(would_block(one.peek_from(&mut buffer)));
    assert!(would_block(one.recv_from(&mut buffer)));
    poller.until(FIRST, mio::event::Event::is_writable);
    assert_eq!(one.send_to(HELLO, at_two).unwrap(), HELLO.len());
    poller.until(SECOND, mio::event::Event::is_readable);
    assert_eq!(two.peek_from(&mut buffer).unwrap(), (HELLO.len(), at_one));
    assert_eq!(two.recv_from(&mut buffer).unwrap(), (HELLO.len(), at_one));
    assert_eq!(&buffer[..HELLO.len()], HELLO);
    assert!(would_block(two.recv_from(&mut buffer)));
    assert!(one.take_error().unwrap().is_none() && two.take_error().unwrap().is_none());
}

fn connected(mut one: UdpSocket, mut two: UdpSocket) {
    let (at_one, at_two) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    assert_eq!(one.peer_addr().unwrap_err().kind(), io::ErrorKind::NotConnected);
    one.connect(at_two).unwrap();
    two.connect(at_one).unwrap();
    assert_eq!(
        (one.peer_addr().unwrap(), two.peer_addr().unwrap()),
        (at_two, at_one)
    );
    let mut poller = Poller::new();
    let both = Interest::READABLE.add(Interest::WRITABLE);
    poller.register(&mut one, FIRST, both);
    poller.register(&mut two, SECOND, both);
    let mut buffer = [0; 64];
    assert!(would_block(two.peek(&mut buffer)) && would_block(two.recv(&mut buffer)));
    assert_eq!(one.send(HELLO).unwrap(), HELLO.len());
    poller.until(SECOND, mio::event::Event::is_readable);
    assert_eq!(two.peek(&mut buffer).unwrap(), HELLO.len());
    assert_eq!(two.recv(&mut buffer).unwrap(), HELLO.len());
    assert_eq!(&buffer[..HELLO.len()], HELLO);
}

#[test]
fn unconnected_sockets_send_and_receive() {
    for at in [any_v4(), any_v6()] {
        unconnected(UdpSocket::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
    }
}

#[test]
fn connected_sockets_send_and_receive() {
    for at in [any_v4(), any_v6()] {
        connected(UdpSocket::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
    }
}

#[test]
fn sockets_of_std_become_ours() {
    let make = || {
        let socket = std::net::UdpSocket::bind(any_v4()).unwrap();
        // `from_std` takes it as it is, as mio's does.
        socket.set_nonblocking(true).unwrap();
        UdpSocket::from_std(socket)
    };
    unconnected(make(), make());
    connected(make(), make());
    let blocking = std::net::UdpSocket::bind(any_v4()).unwrap();
    blocking.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let ours = UdpSocket::try_from(blocking).unwrap();
    assert!(would_block(ours.recv(&mut [0; 4])));
}

#[test]
fn a_descriptor_goes_out_and_comes_back() {
    let socket = UdpSocket::bind(any_v4()).unwrap();
    let (number, at) = (socket.as_raw_fd(), socket.local_addr().unwrap());
    let descriptor = OwnedFd::from(socket);
    assert_eq!(descriptor.as_raw_fd(), number);
    assert_eq!(UdpSocket::from(descriptor).local_addr().unwrap(), at);
}

#[test]
fn options_of_ipv4_are_what_was_set() {
    let socket = UdpSocket::bind(any_v4()).unwrap();
    for ttl in [1, 10, 255] {
        socket.set_ttl(ttl).unwrap();
        socket.set_multicast_ttl_v4(ttl).unwrap();
        assert_eq!(
            (socket.ttl().unwrap(), socket.multicast_ttl_v4().unwrap()),
            (ttl, ttl)
        );
    }
    assert!(socket.set_ttl(256).is_err() && socket.set_multicast_ttl_v4(256).is_err());
    for on in [true, false] {
        socket.set_broadcast(on).unwrap();
        socket.set_multicast_loop_v4(on).unwrap();
        assert_eq!(
            (socket.broadcast().unwrap(), socket.multicast_loop_v4().unwrap()),
            (on, on)
        );
    }
    assert!(socket.only_v6().is_err() && socket.multicast_loop_v6().is_err());
}

#[test]
fn options_of_ipv6_are_what_was_set() {
    let socket = UdpSocket::bind(any_v6()).unwrap();
    for on in [true, false] {
        socket.set_multicast_loop_v6(on).unwrap();
        assert_eq!(socket.multicast_loop_v6().unwrap(), on);
    }
    socket.only_v6().unwrap();
}

#[test]
fn groups_are_joined_and_left() {
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    let interface = Ipv4Addr::LOCALHOST;
    socket.join_multicast_v4(&group, &interface).unwrap();
    let again = socket.join_multicast_v4(&group, &interface).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    socket.leave_multicast_v4(&group, &interface).unwrap();
    let left = socket.leave_multicast_v4(&group, &interface).unwrap_err();
    assert_eq!(left.kind(), io::ErrorKind::AddrNotAvailable);
    let no_group = socket
        .join_multicast_v4(&Ipv4Addr::new(10, 0, 0, 1), &interface)
        .unwrap_err();
    assert_eq!(no_group.kind(), io::ErrorKind::InvalidInput);
    let nowhere = socket
        .join_multicast_v4(&group, &Ipv4Addr::new(192, 0, 2, 77))
        .unwrap_err();
    assert_eq!(nowhere.raw_os_error(), Some(libc::ENODEV));

    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
    let loopback = sockeye::socket::os::interface_index("lo").unwrap();
    socket.join_multicast_v6(&group, loopback).unwrap();
    socket.leave_multicast_v6(&group, loopback).unwrap();
    assert!(socket.leave_multicast_v6(&group, loopback).is_err());
}

/// A datagram to a group reaches a member over the loopback, joined by mio's names.
#[test]
fn a_member_hears_what_is_sent_to_its_group() {
    let group = Ipv4Addr::new(239, 255, 77, 1);
    let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    member.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
    let sender = UdpSocket::bind(any_v4()).unwrap();
    sender
        .set_multicast_interface(sockeye::socket::os::interface_index("lo").unwrap())
        .unwrap();
    let to = SocketAddr::new(IpAddr::V4(group), member.local_addr().unwrap().port());
    sender.send_to(HELLO, to).unwrap();
    assert!(member.wait_readable(PATIENCE).unwrap());
    let mut buffer = [0; 64];
    assert_eq!(
        member.recv_from(&mut buffer).unwrap(),
        (HELLO.len(), sender.local_addr().unwrap())
    );
}

#[test]
fn an_empty_datagram_is_a_datagram() {
    let (one, two) = (
        UdpSocket::bind(any_v4()).unwrap(),
        UdpSocket::bind(any_v4()).unwrap(),
    );
    assert_eq!(one.send_to(&[], two.local_addr().unwrap()).unwrap(), 0);
    assert!(two.wait_readable(Duration::from_secs(5)).unwrap());
    assert_eq!(
        two.recv_from(&mut [0; 4]).unwrap(),
        (0, one.local_addr().unwrap())
    );
}

#[test]
fn a_socket_is_connected_to_another_peer() {
    let (one, two, three) = (
        UdpSocket::bind(any_v4()).unwrap(),
        UdpSocket::bind(any_v4()).unwrap(),
        UdpSocket::bind(any_v4()).unwrap(),
    );
    for peer in [&two, &three] {
        one.connect(peer.local_addr().unwrap()).unwrap();
        one.send(HELLO).unwrap();
        assert!(peer.wait_readable(Duration::from_secs(5)).unwrap());
        assert_eq!(peer.recv(&mut [0; 64]).unwrap(), HELLO.len());
    }
    // Who is not the peer is not heard.
    two.send_to(HELLO, one.local_addr().unwrap()).unwrap();
    three
        .send_to(b"from the peer", one.local_addr().unwrap())
        .unwrap();
    let mut buffer = [0; 64];
    assert!(one.wait_readable(Duration::from_secs(5)).unwrap());
    let len = one.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"from the peer");
    assert!(would_block(one.recv(&mut buffer)));
}

#[test]
fn datagrams_keep_their_borders() {
    let (one, two) = (
        UdpSocket::bind(any_v4()).unwrap(),
        UdpSocket::bind(any_v4()).unwrap(),
    );
    for word in [&b"one"[..], b"two two", b"three"] {
        one.send_to(word, two.local_addr().unwrap()).unwrap();
    }
    let mut buffer = [0; 64];
    for word in [&b"one"[..], b"two two", b"three"] {
        assert!(two.wait_readable(Duration::from_secs(5)).unwrap());
        let len = two.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], word);
    }
}

#[test]
fn a_dropped_peer_is_a_refusal() {
    let one = UdpSocket::bind(any_v4()).unwrap();
    let two = UdpSocket::bind(any_v4()).unwrap();
    one.connect(two.local_addr().unwrap()).unwrap();
    drop(two);
    one.send(HELLO).unwrap();
    assert!(one.wait_readable(Duration::from_secs(5)).unwrap());
    let error = one.recv(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(one.take_error().unwrap().is_none(), "it is told once");
}

#[test]
fn readiness_comes_anew_with_each_datagram() {
    let (one, mut two) = (
        UdpSocket::bind(any_v4()).unwrap(),
        UdpSocket::bind(any_v4()).unwrap(),
    );
    let mut poller = Poller::new();
    poller.register(&mut two, FIRST, Interest::READABLE);
    for _ in 0..2 {
        one.send_to(HELLO, two.local_addr().unwrap()).unwrap();
        poller.until(FIRST, mio::event::Event::is_readable);
        let read = two.try_io(|| two.recv(&mut [0; 64])).unwrap();
        assert_eq!(read, HELLO.len());
        assert!(would_block(two.try_io(|| two.recv(&mut [0; 64]))));
    }
    assert!(poller.has_none());
}

#[test]
fn interests_change_and_end() {
    let (one, mut two) = (
        UdpSocket::bind(any_v4()).unwrap(),
        UdpSocket::bind(any_v4()).unwrap(),
    );
    let mut poller = Poller::new();
    poller.register(&mut two, FIRST, Interest::READABLE);
    assert!(poller.has_none());
    poller
        .poll
        .registry()
        .reregister(&mut two, SECOND, Interest::WRITABLE)
        .unwrap();
    poller.until(SECOND, mio::event::Event::is_writable);
    poller.poll.registry().deregister(&mut two).unwrap();
    one.send_to(HELLO, two.local_addr().unwrap()).unwrap();
    assert!(poller.has_none());
}

#[test]
fn a_shared_socket_is_used_by_reference_and_by_clone() {
    let one = std::sync::Arc::new(UdpSocket::bind(any_v4()).unwrap());
    let two = one.try_clone().unwrap();
    assert_eq!(one.local_addr().unwrap(), two.local_addr().unwrap());
    let at = one.local_addr().unwrap();
    let shared = std::sync::Arc::clone(&one);
    std::thread::spawn(move || shared.send_to(HELLO, at).unwrap())
        .join()
        .unwrap();
    assert!(two.wait_readable(Duration::from_secs(5)).unwrap());
    assert_eq!(two.recv(&mut [0; 64]).unwrap(), HELLO.len());
    one.set_nonblocking(true).unwrap();
}
