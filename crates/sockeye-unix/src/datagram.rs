//! [`UnixDatagram`]: messages between names, reliable and in order.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sockeye_socket::unix::{
    self, Credentials, PeerProcess, UnixIncoming, UnixName, UnixOutgoing, UnixRecvBatch, UnixSendBatch,
};
use sockeye_socket::{Domain, Socket, Type, options};

use crate::common::shared_methods;
use crate::error::BindError;
use crate::name::{addr_of, name_of_addr, name_of_path};
use crate::options::DatagramOptions;
use crate::path::BoundPath;

/// A socket of datagrams, nonblocking.
///
/// Every method of `mio::net::UnixDatagram` is here under its name and with its signature. Datagrams are neither lost nor
/// reordered: a receiver that is slow makes its senders wait.
///
/// ```
/// use sockeye_unix::UnixDatagram;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let name = sockeye_unix::name_of_path(folder.path().join("log.sock"))?;
/// let log = UnixDatagram::options().mode(0o622).bind(&name)?;
/// let sender = UnixDatagram::unbound()?;
/// sender.send_to_name(b"started", &name)?;
/// let mut buffer = [0; 64];
/// let (len, source) = log.recv_from_name(&mut buffer)?;
/// assert!(buffer.starts_with(b"started") && len == 7 && source.is_unnamed());
/// # Ok(())
/// # }
/// ```
pub struct UnixDatagram {
    /// Before the socket: a path is removed while it still answers, so that nobody takes it over in between.
    pub(crate) path: Option<BoundPath>,
    pub(crate) socket: Socket,
}

/// Construction, and the peer.
impl UnixDatagram {
    /// Binds to a path that does not exist yet; it stays when the socket is dropped. [`options`](Self::options) do better.
    ///
    /// # Errors
    ///
    /// `AddrInUse` where it exists; `InvalidInput` for a path above 107 bytes; else what the file system says.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        plain(&name_of_path(path)?)
    }

    /// Binds to an address, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        plain(&name_of_addr(address)?)
    }

    /// A socket without a name: it can send, and nobody can answer.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    pub fn unbound() -> io::Result<Self> {
        Socket::new(Domain::UNIX, Type::DGRAM, None).map(Self::from)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::unix_pair(Type::DGRAM)?;
        Ok((one.into(), other.into()))
    }

    /// Options for a socket, set before it is bound.
    pub fn options() -> DatagramOptions {
        DatagramOptions::new()
    }

    /// Wraps a socket of the standard library as it is: make it nonblocking first.
    #[must_use]
    pub fn from_std(socket: net::UnixDatagram) -> Self {
        Socket::from(socket).into()
    }

    /// Connects to the socket at `path`: `send` goes there, and only datagrams from there are received.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` and `NotFound` where there is none; EPERM where it is connected to another.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.connect_name(&name_of_path(path)?)
    }

    /// As [`connect`](Self::connect) to an address, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.connect_name(&name_of_addr(address)?)
    }

    /// As [`connect`](Self::connect) to a name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_name(&self, name: &UnixName) -> io::Result<()> {
        self.socket.connect_unix(name)
    }

    /// A second descriptor of the same socket. The path goes with the first.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.socket.try_clone().map(Self::from)
    }

    /// Leaves the path in its place when this is dropped: for another process that goes on receiving there.
    pub fn keep_path(&mut self) {
        if let Some(path) = self.path.take() {
            path.keep();
        }
    }
}

/// Datagrams.
impl UnixDatagram {
    /// Sends a datagram to the connected peer, whole or not at all.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the peer's queue is full; the socket becomes writable when it no longer is. EMSGSIZE above the
    /// send buffer; `ConnectionRefused` where the peer is gone.
    #[inline]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.send(buf)
    }

    /// Sends a datagram to the socket at `path`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but no event says when a full queue has room again; `NotFound` and `PermissionDenied` of
    /// the path.
    pub fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.send_to_name(buf, &name_of_path(path)?)
    }

    /// As [`send_to`](Self::send_to) to an address, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn send_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.send_to_name(buf, &name_of_addr(address)?)
    }

    /// As [`send_to`](Self::send_to) to a name.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    #[inline]
    pub fn send_to_name(&self, buf: &[u8], name: &UnixName) -> io::Result<usize> {
        self.socket.send_to_unix(buf, name)
    }

    /// Receives a datagram; what exceeds `buf` is lost in silence. 0 is an empty datagram.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none is queued.
    #[inline]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buf)
    }

    /// Receives a datagram and says who sent it; what exceeds `buf` is lost in silence. A path of 108 bytes, for which the
    /// standard library has no address, is unnamed here; [`recv_from_name`](Self::recv_from_name) has it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, source) = self.socket.recv_from_unix(buf)?;
        Ok((len, addr_of(&source).or_else(|_| addr_of(&UnixName::UNNAMED))?))
    }

    /// Receives a datagram and says who sent it, by name.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_from_name(&self, buf: &mut [u8]) -> io::Result<(usize, UnixName)> {
        self.socket.recv_from_unix(buf)
    }

    /// As [`recv`](Self::recv), and leaves the datagram in the queue.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// Receives what is queued into `batch`; returns how many datagrams.
    ///
    /// # Errors
    ///
    /// As [`UnixRecvBatch::recv`].
    #[inline]
    pub fn recv_batch(&self, batch: &mut UnixRecvBatch) -> io::Result<usize> {
        batch.recv(&self.socket)
    }

    /// Sends many datagrams in one call; returns how many went. See [`UnixSendBatch::send`].
    ///
    /// # Errors
    ///
    /// As [`UnixSendBatch::send`].
    #[inline]
    pub fn send_batch(
        &self,
        batch: &mut UnixSendBatch,
        messages: &[(&[u8], Option<UnixName>)],
    ) -> io::Result<usize> {
        batch.send(&self.socket, messages)
    }
}

fn plain(name: &UnixName) -> io::Result<UnixDatagram> {
    DatagramOptions::new()
        .take_over(false)
        .unlink(false)
        .bind(name)
        .map_err(BindError::into_cause)
}

shared_methods!(UnixDatagram);
