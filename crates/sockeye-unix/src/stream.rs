//! [`UnixStream`]: what mio's stream offers under the same names, and what the kernel offers beside it.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use sockeye_socket::os::{self, Pipe};
use sockeye_socket::unix::{self, Credentials, PeerProcess, UnixIncoming, UnixName, UnixOutgoing};
use sockeye_socket::{Domain, Socket, Type, options};

use crate::common::shared_methods;
use crate::connect::{ConnectOptions, Connecting};
use crate::error::ConnectError;
use crate::name::{name_of_addr, name_of_path};

/// A connection of bytes, nonblocking.
///
/// Reads and writes go straight to the kernel, through `UnixStream` and `&UnixStream` alike; no call raises `SIGPIPE`.
/// Every method of `mio::net::UnixStream` is here under its name and with its signature. A plain read takes no descriptors:
/// those that come with the bytes are closed by the kernel.
///
/// ```
/// use std::os::fd::AsFd;
/// use sockeye_unix::{UnixOutgoing, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// let (here, there) = UnixStream::pair()?;
/// let file = std::fs::File::open("/dev/null")?;
/// here.send_msg(&UnixOutgoing::new(b"take this").fds(&[file.as_fd()]))?;
/// let mut buffer = [0; 16];
/// let incoming = there.recv_msg(&mut buffer)?;
/// assert_eq!((incoming.len, incoming.fds.len(), incoming.fds_lost), (9, 1, false));
/// # Ok(())
/// # }
/// ```
pub struct UnixStream {
    pub(crate) socket: Socket,
}

impl UnixStream {
    /// Connects to the listener at `path`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where its backlog is full: the stream is not connected and no event says when there is room;
    /// [`start_connect`](Self::start_connect) has a type for it. `ConnectionRefused`, `NotFound`, `PermissionDenied`;
    /// `InvalidInput` for a path above 107 bytes.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        connected(&name_of_path(path)?)
    }

    /// Connects to the listener at an address, which may be an abstract name.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        connected(&name_of_addr(address)?)
    }

    /// Connects as a typed state: a [`Connecting`] is a stream already, or waits for room in the listener's backlog.
    ///
    /// # Errors
    ///
    /// Why there will be none: nobody listens, no such path, no permission.
    pub fn start_connect(name: &UnixName) -> Result<Connecting, ConnectError> {
        ConnectOptions::new().start(name)
    }

    /// Options for a connection, set before it starts.
    pub fn options() -> ConnectOptions {
        ConnectOptions::new()
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    #[doc(alias = "socketpair")]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::unix_pair(Type::STREAM)?;
        Ok((one.into(), other.into()))
    }

    /// Wraps a stream of the standard library as it is: make it nonblocking first.
    #[must_use]
    pub fn from_std(stream: net::UnixStream) -> Self {
        Socket::from(stream).into()
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

    /// A second descriptor of the same connection.
    ///
    /// A poller goes on reporting for the one while the other is open: deregister before closing.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.socket.try_clone().map(Self::from)
    }

    /// Sends up to `len` bytes of `file` from `*offset` on, and advances `*offset` by what went, which is returned: 0 at the
    /// end of the file. No `SIGPIPE` is raised.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room, else as a write.
    #[doc(alias = "sendfile")]
    pub fn send_file(&self, file: impl AsFd, offset: &mut u64, len: usize) -> io::Result<usize> {
        os::sendfile(self, file, offset, len)
    }

    /// Moves up to `len` bytes that have come into `pipe`; 0 is the end of the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing has come, or, while the pipe is not empty, perhaps because it has no room.
    #[doc(alias = "splice")]
    pub fn splice_into(&self, pipe: &mut Pipe, len: usize) -> io::Result<usize> {
        pipe.fill_from(self, len)
    }

    /// Sends what is in `pipe`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room, the rest stays in the pipe; else as a write, without `SIGPIPE`.
    #[doc(alias = "splice")]
    pub fn splice_from(&self, pipe: &mut Pipe) -> io::Result<usize> {
        pipe.drain_into(self, false)
    }
}

fn connected(name: &UnixName) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.connect_unix(name)?;
    Ok(socket.into())
}

shared_methods!(UnixStream);

/// For `UnixStream` and `&UnixStream` alike: the kernel minds who shares a socket.
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

read_and_write!(UnixStream, &UnixStream);
