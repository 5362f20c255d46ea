//! [`UnixSeqpacket`]: connections whose messages keep their boundaries.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use sockeye_socket::unix::{self, Credentials, PeerProcess, UnixIncoming, UnixName, UnixOutgoing};
use sockeye_socket::{Op, OpError, Socket, Type, options, os};

use crate::accept::AcceptOutcome;
use crate::common::{listener_methods, shared_methods};
use crate::connect::{ConnectOptions, Connecting};
use crate::error::ConnectError;
use crate::options::ListenOptions;
use crate::path::BoundPath;

/// A listening socket of seqpackets, nonblocking.
pub struct UnixSeqpacketListener {
    /// Before the socket: a path is removed while it still answers, so that nobody takes it over in between.
    pub(crate) path: Option<BoundPath>,
    pub(crate) socket: Socket,
}

listener_methods!(
    UnixSeqpacketListener,
    UnixSeqpacket,
    Type::SEQPACKET,
    "seqpackets"
);

/// A connection of messages, nonblocking: each arrives whole, once and in order.
///
/// ```
/// use sockeye_unix::UnixSeqpacket;
///
/// # fn main() -> std::io::Result<()> {
/// let (here, there) = UnixSeqpacket::pair()?;
/// here.send(b"one")?;
/// here.send(b"")?;
/// drop(here);
/// let mut buffer = [0; 16];
/// assert_eq!(there.recv_message(&mut buffer)?, Some(3));
/// # Ok(())
/// # }
/// ```
pub struct UnixSeqpacket {
    pub(crate) socket: Socket,
}

impl UnixSeqpacket {
    /// Connects as a typed state: a [`Connecting`] is connected already, or waits for room in the listener's backlog.
    ///
    /// # Errors
    ///
    /// Why there will be no connection: nobody listens, no such path, no permission.
    pub fn start_connect(name: &UnixName) -> Result<Connecting<Self>, ConnectError> {
        ConnectOptions::new().start_seqpacket(name)
    }

    /// Options for a connection, set before it starts.
    pub fn options() -> ConnectOptions {
        ConnectOptions::new()
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::unix_pair(Type::SEQPACKET)?;
        Ok((one.into(), other.into()))
    }

    /// Sends one message, whole or not at all.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room, EMSGSIZE above the send buffer, `BrokenPipe` where the peer is gone.
    #[inline]
    pub fn send(&self, message: &[u8]) -> io::Result<usize> {
        self.socket.send(message)
    }

    /// Sends one message made of several slices.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.send_vectored(slices)
    }

    /// Receives one message; what exceeds `buf` is lost in silence ([`recv_msg`](Self::recv_msg) tells). 0 is an empty
    /// message or the end: [`recv_message`](Self::recv_message) tells them apart.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none is queued.
    #[inline]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buf)
    }

    /// Receives one message, or `None` at the end.
    ///
    /// The kernel answers 0 to both an empty message and the end. An empty message is known by what is still to come: a
    /// peer that may write on, or bytes behind it. Of one that was the peer's last, only the end is seen.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none is queued.
    pub fn recv_message(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let len = self.socket.recv(buf)?;
        if len == 0 && !buf.is_empty() && self.socket.peer_has_finished()? && self.socket.unread()? == 0 {
            return Ok(None);
        }
        Ok(Some(len))
    }

    /// As [`recv`](Self::recv), and leaves the message in the queue.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// A second descriptor of the same connection.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.socket.try_clone().map(Self::from)
    }
}

shared_methods!(UnixSeqpacket);
