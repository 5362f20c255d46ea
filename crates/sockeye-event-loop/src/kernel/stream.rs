//! Streams of the kernel, over TCP or a Unix socket.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
#[cfg(feature = "tcp")]
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry};
#[cfg(feature = "unix")]
use sockeye_endpoint::UnixName;
use sockeye_socket::errno::{EBADF, EINVAL};
#[cfg(feature = "unix")]
use sockeye_socket::unix::Credentials;
use sockeye_socket::{OpError, os};
#[cfg(feature = "tcp")]
use sockeye_tcp_stream::{TcpListener, TcpStream};
#[cfg(feature = "unix")]
use sockeye_unix::{UnixListener, UnixStream};

#[cfg(feature = "tcp")]
use super::tcp;
#[cfg(feature = "unix")]
use super::unix;
use crate::backend::{ConnectProgress, ListenerIo, SendFileError, StreamIo};
use crate::options::StreamOption;

/// A listener of the kernel.
#[derive(Debug)]
pub enum KernelListener {
    /// At an IP address.
    #[cfg(feature = "tcp")]
    Tcp(TcpListener),
    /// At the name of a Unix socket.
    #[cfg(feature = "unix")]
    Unix(UnixListener),
}

/// A stream of the kernel. Both kinds read and write by the same calls on a descriptor in the same place, so that there is
/// nothing to tell apart on the fast path.
#[derive(Debug)]
pub enum KernelStream {
    /// Over TCP.
    #[cfg(feature = "tcp")]
    Tcp(TcpStream),
    /// Over a Unix socket.
    #[cfg(feature = "unix")]
    Unix(UnixStream),
}

/// The same call on whichever it is.
macro_rules! either {
    ($type:ident, $of:expr, $socket:ident => $call:expr) => {
        match $of {
            #[cfg(feature = "tcp")]
            $type::Tcp($socket) => $call,
            #[cfg(feature = "unix")]
            $type::Unix($socket) => $call,
        }
    };
}

/// Takes over a listener that something else has opened.
pub(super) fn adopt_listener(socket: OwnedFd) -> Result<KernelListener, OpError> {
    #[cfg(all(feature = "tcp", feature = "unix"))]
    {
        let socket = sockeye_socket::Socket::from(socket);
        // Only a Unix socket has such a name.
        if socket.local_unix().is_ok() {
            return UnixListener::adopt(socket.into()).map(KernelListener::Unix);
        }
        tcp::adopt(socket.into()).map(KernelListener::Tcp)
    }
    #[cfg(all(feature = "tcp", not(feature = "unix")))]
    return tcp::adopt(socket).map(KernelListener::Tcp);
    #[cfg(not(feature = "tcp"))]
    return UnixListener::adopt(socket).map(KernelListener::Unix);
}

impl ListenerIo for KernelListener {
    type Stream = KernelStream;

    #[inline]
    fn accept(&mut self) -> io::Result<(KernelStream, Option<SocketAddr>)> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(listener) => listener
                .accept()
                .map(|(stream, peer)| (KernelStream::Tcp(stream), Some(peer))),
            #[cfg(feature = "unix")]
            Self::Unix(listener) => listener
                .accept()
                .map(|(stream, _)| (KernelStream::Unix(stream), None)),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(feature = "unix")]
            Self::Unix(_) => Err(unix::no_address()),
        }
    }

    #[cfg(feature = "unix")]
    fn local_unix(&self) -> io::Result<UnixName> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(_) => Err(crate::backend::no_unix_name()),
            Self::Unix(listener) => listener.local(),
        }
    }
}

/// What `sendfile(2)` says of a file that it cannot read: `/proc`, a pipe, a directory, one opened for writing.
fn has_no_sendfile(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotSeekable, Unsupported};
    matches!(error.raw_os_error(), Some(EINVAL | EBADF))
        || matches!(error.kind(), NotSeekable | Unsupported | IsADirectory)
}

impl AsFd for KernelStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(Self, self, stream => stream.as_fd())
    }
}

impl KernelStream {
    /// The socket beneath.
    #[cfg(feature = "tcp")]
    pub(super) fn socket(&self) -> &sockeye_socket::Socket {
        either!(Self, self, stream => stream.socket())
    }

    /// A piece of a file without `sendfile(2)`: read and written, or spliced if it is a pipe.
    #[cold]
    fn copy_file(&mut self, file: &File, offset: u64, len: usize) -> Result<usize, SendFileError> {
        let mut chunk = [0; 64 * 1024];
        let want = len.min(chunk.len());
        let (room, _) = chunk.split_at_mut(want);
        let got = match file.read_at(room, offset) {
            Ok(got) => got,
            // A pipe has no offsets: what comes next is taken out of it.
            Err(error) if error.kind() == io::ErrorKind::NotSeekable => {
                return os::splice(file, &*self, len, false).map_err(|error| match error.kind() {
                    // Whether the pipe is empty or the stream full, it does not say.
                    io::ErrorKind::WouldBlock => SendFileError::NotYet,
                    _ => SendFileError::Stream(error),
                });
            }
            Err(error) => return Err(SendFileError::File(error)),
        };
        let (data, _) = chunk.split_at(got);
        if data.is_empty() {
            return Ok(0);
        }
        self.write(data).map_err(SendFileError::Stream)
    }
}

impl StreamIo for KernelStream {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        either!(Self, self, stream => (&*stream).read(buf))
    }

    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        either!(Self, self, stream => (&*stream).write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(Self, self, stream => (&*stream).write_vectored(bufs))
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(stream) => tcp::progress(stream),
            // It was decided when the call returned.
            #[cfg(feature = "unix")]
            Self::Unix(_) => ConnectProgress::Connected,
        }
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        either!(Self, self, stream => stream.shutdown(how))
    }

    fn abort(&mut self) {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(stream) => {
                // It cannot fail on a TCP socket.
                let _ = stream.set_linger(Some(Duration::ZERO));
            }
            #[cfg(feature = "unix")]
            Self::Unix(_) => {}
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(stream) => stream.local_addr(),
            #[cfg(feature = "unix")]
            Self::Unix(_) => Err(unix::no_address()),
        }
    }

    #[cfg(feature = "unix")]
    fn local_unix(&self) -> io::Result<UnixName> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(_) => Err(crate::backend::no_unix_name()),
            Self::Unix(stream) => stream.local(),
        }
    }

    #[cfg(feature = "unix")]
    fn unix_peer(&self) -> Option<(UnixName, Option<Credentials>)> {
        self.unix().and_then(unix::peer)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(stream) => stream.peer_addr(),
            #[cfg(feature = "unix")]
            Self::Unix(_) => Err(unix::no_address()),
        }
    }

    fn set_option(&mut self, option: &StreamOption) -> io::Result<()> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(stream) => tcp::set(stream, option),
            #[cfg(feature = "unix")]
            Self::Unix(stream) => unix::set(stream, option),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, len: usize) -> Result<usize, SendFileError> {
        let mut from = offset;
        match os::sendfile(&*self, file, &mut from, len) {
            Err(error) if has_no_sendfile(&error) => self.copy_file(file, offset, len),
            outcome => outcome.map_err(SendFileError::Stream),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    #[cfg(feature = "tcp")]
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            #[cfg(feature = "unix")]
            Self::Unix(_) => None,
        }
    }

    #[cfg(feature = "unix")]
    fn unix(&self) -> Option<&UnixStream> {
        match self {
            #[cfg(feature = "tcp")]
            Self::Tcp(_) => None,
            Self::Unix(stream) => Some(stream),
        }
    }

    #[cfg(feature = "tcp")]
    fn into_tcp(self) -> Result<TcpStream, Self> {
        match self {
            Self::Tcp(stream) => Ok(stream),
            #[cfg(feature = "unix")]
            Self::Unix(_) => Err(self),
        }
    }
}

macro_rules! source {
    ($type:ident) => {
        impl Source for $type {
            fn register(
                &mut self,
                registry: &Registry,
                token: mio::Token,
                interests: Interest,
            ) -> io::Result<()> {
                either!(Self, self, socket => socket.register(registry, token, interests))
            }

            fn reregister(
                &mut self,
                registry: &Registry,
                token: mio::Token,
                interests: Interest,
            ) -> io::Result<()> {
                either!(Self, self, socket => socket.reregister(registry, token, interests))
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                either!(Self, self, socket => socket.deregister(registry))
            }
        }
    };
}

source!(KernelListener);
source!(KernelStream);
