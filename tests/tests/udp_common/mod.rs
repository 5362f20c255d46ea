//! What the UDP tests share: sockets on loopback in every shape, and receives that have a deadline.

#![allow(dead_code, reason = "each test target uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sockeye::udp::{Incoming, OpError, QueueEntry, QueuedError, RecvBatch, UdpOptions, UdpSocket};
use sockeye_tests::wait;

/// How long anything on loopback may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A way of carrying UDP: the family, and IPv4 over a socket of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    V4,
    V6,
    Mapped,
}

impl Path {
    pub(crate) const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Mapped];

    /// Where sockets are bound.
    pub(crate) fn any(self) -> SocketAddr {
        match self {
            Self::V4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
            Self::V6 | Self::Mapped => (Ipv6Addr::UNSPECIFIED, 0).into(),
        }
    }

    /// The loopback address that this way leads to, with `port`.
    pub(crate) fn loopback(self, port: u16) -> SocketAddr {
        match self {
            Self::V4 => (Ipv4Addr::LOCALHOST, port).into(),
            Self::V6 => (Ipv6Addr::LOCALHOST, port).into(),
            Self::Mapped => (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port).into(),
        }
    }

    /// Whether packets are of IPv6.
    pub(crate) fn is_v6(self) -> bool {
        self == Self::V6
    }

    /// A socket bound on this way.
    pub(crate) fn bind(self, options: &UdpOptions) -> UdpSocket {
        let options = if self == Self::Mapped {
            options.clone().v6_only(false)
        } else {
            options.clone()
        };
        options.bind(self.any()).unwrap()
    }

    /// Two sockets, and the address that leads to the first.
    pub(crate) fn pair(
        self,
        receiver: &UdpOptions,
        sender: &UdpOptions,
    ) -> (UdpSocket, UdpSocket, SocketAddr) {
        let receiver = self.bind(receiver);
        let to = self.loopback(receiver.local_addr().unwrap().port());
        (receiver, self.bind(sender), to)
    }
}

/// Two IPv4 sockets on loopback without options.
pub(crate) fn v4_pair() -> (UdpSocket, UdpSocket, SocketAddr) {
    Path::V4.pair(&UdpOptions::new(), &UdpOptions::new())
}

pub(crate) fn bind(text: &str) -> Result<UdpSocket, OpError> {
    UdpOptions::new().bind(text.parse().unwrap())
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// An address of loopback at which nobody listens, until the process ends.
pub(crate) fn closed_port() -> SocketAddr {
    let socket = UdpSocket::bind(addr("127.0.0.1:0")).unwrap();
    close_to_others(&socket);
    let at = socket.local_addr().unwrap();
    // A port that is given back may be somebody's at once, or stay open for a while in a child that another test forks.
    std::mem::forget(socket);
    at
}

/// What others send to it is refused: a connected socket takes datagrams of its peer only, here itself.
pub(crate) fn close_to_others(socket: &UdpSocket) {
    socket.connect(socket.local_addr().unwrap()).unwrap();
}

/// The next message, within the deadline.
#[track_caller]
pub(crate) fn recv<'b>(socket: &UdpSocket, buffer: &'b mut [u8]) -> Incoming<'b> {
    assert!(
        socket.wait_readable(PATIENCE).unwrap(),
        "nothing came to {socket:?}"
    );
    socket.recv_msg(buffer).unwrap()
}

/// The payload of the next message, within the deadline.
#[track_caller]
pub(crate) fn recv_payload(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    recv(socket, &mut buffer).payload.to_vec()
}

/// All datagrams up to `count`, GRO undone, within the deadline.
#[track_caller]
pub(crate) fn recv_datagrams(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut batch = RecvBatch::new(64, 65_536);
    let mut datagrams = Vec::new();
    while datagrams.len() < count {
        let have = datagrams.len();
        assert!(
            socket.wait_readable(PATIENCE).unwrap(),
            "{have} of {count} datagrams came"
        );
        socket.recv_batch(&mut batch).unwrap();
        for incoming in batch.iter() {
            assert!(!incoming.truncated && !incoming.control_truncated, "{incoming:?}");
            datagrams.extend(incoming.segments().map(<[u8]>::to_vec));
        }
    }
    datagrams
}

/// Asserts that nothing is queued. On loopback a datagram is queued before its send returns.
#[track_caller]
pub(crate) fn assert_empty(socket: &UdpSocket) {
    let error = socket.recv_msg(&mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

/// The next error of the error queue, within the deadline.
#[track_caller]
pub(crate) fn recv_error(socket: &UdpSocket) -> QueuedError {
    match recv_entry(socket) {
        QueueEntry::Error(error) => error,
        other => panic!("{other:?} is no error"),
    }
}

/// The next entry of the error queue, within the deadline.
#[track_caller]
pub(crate) fn recv_entry(socket: &UdpSocket) -> QueueEntry {
    wait::value("an entry in the error queue", PATIENCE, || {
        socket.recv_error().unwrap()
    })
}
