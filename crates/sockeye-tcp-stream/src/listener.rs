//! [`TcpListener`]: where connections come in.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::{Op, OpError, Protocol, Socket, options, os};

use crate::TcpStream;
use crate::accept::AcceptOutcome;
use crate::options::ListenOptions;

/// A listening socket, nonblocking.
///
/// Every method of `mio::net::TcpListener` is here under its name and with its signature;
/// [`accept_outcome`](Self::accept_outcome) says what to do about a failed accept, [`options`](Self::options) sets what
/// has to be set before `bind`.
///
/// ```
/// use sockeye_tcp_stream::{AcceptOutcome, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
/// let _client = TcpStream::connect(listener.local_addr()?)?;
///
/// # listener.wait_readable(std::time::Duration::from_secs(1))?;
/// // At each event of an edge-triggered poller: until nobody waits any more.
/// let mut streams = Vec::new();
/// loop {
///     match listener.accept_outcome() {
///         AcceptOutcome::Accepted(stream, peer) => {
///             println!("{peer}");
///             streams.push(stream);
///         }
///         AcceptOutcome::Empty => break,
///         AcceptOutcome::Retry(_) => {}
///         // No descriptors: no event will come for those who wait, so try again after a while.
///         AcceptOutcome::BackOff(_) => break,
///         AcceptOutcome::Fatal(error) => return Err(error),
///     }
/// }
/// assert_eq!(streams.len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct TcpListener {
    pub(crate) socket: Socket,
}

/// The connections that wait at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// Connections that are made and not accepted.
    pub waiting: u32,
    /// How many may wait: the backlog as the kernel has capped it. One more than this is taken in.
    pub limit: u32,
}

impl TcpListener {
    /// Listens at `addr` with `SO_REUSEADDR` and the default [backlog](ListenOptions::backlog); port 0 is any free one.
    ///
    /// # Errors
    ///
    /// The errno of the call that failed: `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` (ports below 1024).
    /// [`ListenOptions::bind`] says more in words.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        ListenOptions::new().bind(addr).map_err(OpError::into_cause)
    }

    /// Options for a listener, set before it is bound.
    pub fn options() -> ListenOptions {
        ListenOptions::new()
    }

    /// Wraps a listener of the standard library as it is: make it nonblocking first.
    #[must_use]
    pub fn from_std(listener: net::TcpListener) -> Self {
        Self {
            socket: listener.into(),
        }
    }

    /// Takes over a descriptor that something else has opened, and sees to it that it is a listening TCP socket and
    /// nonblocking.
    ///
    /// # Errors
    ///
    /// ENOTSOCK where it is no socket, `InvalidInput` where it is another kind, or does not listen.
    pub fn adopt(fd: OwnedFd) -> Result<Self, OpError> {
        let socket = Socket::from(fd);
        let adopted = || -> io::Result<()> {
            let listens = socket.get(options::SO_ACCEPTCONN)?;
            let protocol = socket.get(options::SO_PROTOCOL)?;
            let is_tcp = [Protocol::TCP, Protocol::MPTCP]
                .into_iter()
                .any(|tcp| i32::from(tcp) == protocol);
            if !listens || !is_tcp {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "no listening TCP socket",
                ));
            }
            socket.set_nonblocking(true)
        };
        match adopted() {
            Ok(()) => Ok(Self { socket }),
            Err(error) => Err(OpError::new(Op::Adopt, Transport::Tcp, error)),
        }
    }

    /// The listeners that a service manager has opened for this process (systemd's socket activation), with their names;
    /// none where there is no such manager. The environment is left as it is.
    ///
    /// # Errors
    ///
    /// Where the environment contradicts itself, or a descriptor is not a listening TCP socket: those that are none of
    /// this crate's take [`inherited_fds`](sockeye_socket::os::inherited_fds) and sort them.
    #[doc(alias = "LISTEN_FDS")]
    pub fn inherited() -> Result<Vec<(Option<String>, Self)>, OpError> {
        let inherited =
            os::inherited_fds().map_err(|error| OpError::new(Op::Adopt, Transport::Tcp, error))?;
        inherited
            .into_iter()
            .map(|inherited| Ok((inherited.name, Self::adopt(inherited.fd)?)))
            .collect()
    }

    /// Accepts one connection, nonblocking and close-on-exec, with the address of its peer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nobody waits; for all others [`accept_outcome`](Self::accept_outcome) knows what to do.
    #[inline]
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.socket.accept()?;
        Ok((TcpStream { socket }, peer))
    }

    /// Accepts one connection, or says what to do instead.
    #[inline]
    pub fn accept_outcome(&self) -> AcceptOutcome {
        match self.accept() {
            Ok((stream, peer)) => AcceptOutcome::Accepted(stream, peer),
            Err(error) => AcceptOutcome::of(error),
        }
    }

    /// The address it listens at.
    ///
    /// # Errors
    ///
    /// The errno of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The endpoint it listens at.
    ///
    /// # Errors
    ///
    /// As [`local_addr`](Self::local_addr).
    pub fn local(&self) -> io::Result<Endpoint> {
        self.local_addr().map(Endpoint::tcp)
    }

    /// How many connections wait to be accepted, and how many may.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    #[doc(alias = "TCP_INFO")]
    pub fn queue(&self) -> io::Result<AcceptQueue> {
        let mut info = [0; 32];
        let len = self.socket.get_bytes(options::TCP_INFO, &mut info)?;
        let field = |at: usize| {
            let bytes = info.get(..len)?.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        // On a listener these two fields of tcp_info hold the queue (tcpi_unacked, tcpi_sacked).
        match (field(24), field(28)) {
            (Some(waiting), Some(limit)) => Ok(AcceptQueue { waiting, limit }),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sets the time to live of what its connections send: accepted ones inherit it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` outside 1 to 255.
    #[doc(alias = "IP_TTL")]
    #[doc(alias = "IPV6_UNICAST_HOPS")]
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        crate::options::set_ttl(&self.socket, ttl)
    }

    /// What [`set_ttl`](Self::set_ttl) has set.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        crate::options::ttl(&self.socket)
    }

    /// The pending error, which asking clears.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// Waits until a connection can be accepted or `timeout` has passed (`false`). For programs without a loop.
    ///
    /// # Errors
    ///
    /// The errno of `poll(2)`; `Interrupted` is not among them.
    pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
        self.socket.wait_readable(timeout)
    }

    /// A second descriptor of the same listener.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
        })
    }

    /// The socket beneath, for options that have no method here.
    #[must_use]
    #[inline]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("fd", &self.socket.as_raw_fd())
            .field("local", &self.local().ok())
            .finish()
    }
}
