//! [`TcpStream`]: what mio's stream offers under the same names, and what the kernel offers beside it.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use sockeye_endpoint::Endpoint;
use sockeye_socket::{Domain, Socket, Type, options};

use crate::connect::{ConnectOptions, Connecting};
use crate::{ConnectError, connect};

/// A TCP connection, nonblocking.
///
/// Reads and writes go straight to the kernel, through `TcpStream` and `&TcpStream` alike; no call raises `SIGPIPE`.
/// Every method of `mio::net::TcpStream` is here under its name and with its signature.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use sockeye_tcp_stream::{TcpListener, TcpStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
/// let connecting = TcpStream::start_connect(listener.local_addr()?)?;
/// let mut stream = connecting.wait(Duration::from_secs(5))?;
/// let (mut accepted, peer) = listener.accept()?;
/// assert_eq!(peer, stream.local_addr()?);
///
/// stream.write_all(b"a message")?;
/// let mut buffer = [0; 16];
/// accepted.wait_readable(Duration::from_secs(5))?;
/// assert_eq!(accepted.read(&mut buffer)?, 9);
/// # Ok(())
/// # }
/// ```
pub struct TcpStream {
    pub(crate) socket: Socket,
}

impl TcpStream {
    /// Starts a connection. The stream returned may not be connected yet, or never.
    ///
    /// This is mio's call: whoever makes it waits for writability, asks [`take_error`](Self::take_error) once, then
    /// [`peer_addr`](Self::peer_addr). [`start_connect`](Self::start_connect) does all that and answers with a type.
    ///
    /// # Errors
    ///
    /// What the kernel knows at once, with its errno: ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL, EADDRNOTAVAIL, EMFILE.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.connect(&addr)?;
        Ok(Self { socket })
    }

    /// Starts a connection as a typed state: a [`Connecting`] becomes a stream or a [`ConnectError`].
    ///
    /// # Errors
    ///
    /// What the kernel knows at once: no route, no descriptor, no port. A loop that tries the next address treats it as
    /// it treats a later failure.
    pub fn start_connect(addr: SocketAddr) -> Result<Connecting, ConnectError> {
        ConnectOptions::new().start(addr)
    }

    /// Options for a connection, set before it starts.
    pub fn options() -> ConnectOptions {
        ConnectOptions::new()
    }

    /// Wraps a stream of the standard library as it is: make it nonblocking first.
    #[must_use]
    pub fn from_std(stream: net::TcpStream) -> Self {
        Self {
            socket: stream.into(),
        }
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// `NotConnected` before the connection is made and after it is lost.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The errno of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The other end as an endpoint.
    ///
    /// # Errors
    ///
    /// As [`peer_addr`](Self::peer_addr).
    pub fn peer(&self) -> io::Result<Endpoint> {
        self.peer_addr().map(Endpoint::tcp)
    }

    /// This end as an endpoint.
    ///
    /// # Errors
    ///
    /// As [`local_addr`](Self::local_addr).
    pub fn local(&self) -> io::Result<Endpoint> {
        self.local_addr().map(Endpoint::tcp)
    }

    /// Whether the stream is connected to itself: an ephemeral port that was asked to connect to its own number.
    ///
    /// [`Connecting`] refuses such a connection; one made by [`connect`](Self::connect) can ask.
    ///
    /// # Errors
    ///
    /// `NotConnected` where there is no peer.
    pub fn is_connected_to_itself(&self) -> io::Result<bool> {
        Ok(connect::is_self(self.local_addr()?, self.peer_addr()?))
    }

    /// Ends reading, writing (the peer sees the end of the stream), or both.
    ///
    /// # Errors
    ///
    /// `NotConnected` where the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// Closes by RST: what is unsent is dropped, and the peer reads `ConnectionReset`.
    ///
    /// # Errors
    ///
    /// The errno of `setsockopt(2)`; the stream is closed all the same.
    pub fn abort(self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }

    /// The pending error, which asking clears: the next call answers `None`.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// Reads without taking: the next read returns the same bytes.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing.
    #[inline]
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buf)
    }

    /// Reads into memory that need not be initialised; the first bytes returned are. 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// As [`Read::read`].
    #[inline]
    pub fn read_uninit(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        self.socket.recv_uninit(buf)
    }

    /// Writes with more to follow at once: a last part of a segment waits for it, at most 200 ms.
    ///
    /// # Errors
    ///
    /// As [`Write::write`].
    #[inline]
    #[doc(alias = "MSG_MORE")]
    pub fn write_more(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.send_more(buf)
    }

    /// Runs `f`, which does some I/O on the stream's descriptor. On Linux that is all: readiness needs no help.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    #[inline]
    pub fn try_io<F, T>(&self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> io::Result<T>,
    {
        f()
    }

    /// Waits until there is something to read or `timeout` has passed (`false`). For programs without a loop.
    ///
    /// # Errors
    ///
    /// The errno of `poll(2)`; `Interrupted` is not among them.
    pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
        self.socket.wait_readable(timeout)
    }

    /// Waits until there is room to write or `timeout` has passed (`false`). For programs without a loop.
    ///
    /// # Errors
    ///
    /// As [`wait_readable`](Self::wait_readable).
    pub fn wait_writable(&self, timeout: Duration) -> io::Result<bool> {
        self.socket.wait_writable(timeout)
    }

    /// A second descriptor of the same connection.
    ///
    /// A poller goes on reporting for the one while the other is open: deregister before closing.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
        })
    }

    /// What `close` does with unsent data: `None` sends it on in the background, zero drops it and resets, more also
    /// holds up `close` in a blocking program. Whole seconds; a part of one counts as one.
    ///
    /// # Errors
    ///
    /// The errno of `setsockopt(2)`.
    #[doc(alias = "SO_LINGER")]
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.set(options::SO_LINGER, linger)
    }

    /// What [`set_linger`](Self::set_linger) has set.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.get(options::SO_LINGER)
    }

    /// The socket beneath, for options that have no method here.
    #[must_use]
    #[inline]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// For `TcpStream` and `&TcpStream` alike: the kernel minds who shares a socket.
macro_rules! read_and_write {
    ($($stream:ty),+) => {$(
        impl Read for $stream {
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.recv(buf)
            }

            #[inline]
            fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.socket.recv_vectored(bufs)
            }
        }

        impl Write for $stream {
            #[inline]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.socket.send(buf)
            }

            #[inline]
            fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.socket.send_vectored(bufs)
            }

            #[inline]
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    )+};
}

read_and_write!(TcpStream, &TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("fd", &self.socket.as_raw_fd())
            .field("local", &self.local().ok())
            .field("peer", &self.peer().ok())
            .finish()
    }
}
