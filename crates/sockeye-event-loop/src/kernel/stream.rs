//! TCP of the kernel.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry};
use sockeye_socket::errno::{EBADF, EINVAL};
use sockeye_socket::{OpError, os};
use sockeye_tcp_stream::{Keepalive, StreamOptions as SocketOptions, TcpListener, TcpStream};

use crate::backend::{ConnectProgress, ListenerIo, SendFileError, StreamIo};
use crate::options::{ConnectOptions, ListenOptions, StreamOption};

/// A TCP listener of the kernel.
#[derive(Debug)]
pub struct KernelListener(TcpListener);

/// A TCP stream of the kernel.
#[derive(Debug)]
pub struct KernelStream(pub(super) TcpStream);

/// Urgent data stays in its place as ordinary bytes (RFC 6093, section 6): a stream loses nothing. What a listener
/// is told, its connections inherit.
fn in_the_stream() -> SocketOptions {
    SocketOptions::new().urgent_inline(true)
}

pub(super) fn listen(at: SocketAddr, options: &ListenOptions) -> Result<KernelListener, OpError> {
    let mut how = TcpListener::options()
        .backlog(options.backlog)
        .reuse_address(options.reuse_address)
        .reuse_port(options.reuse_port)
        .stream(in_the_stream());
    if let (Some(only), true) = (options.v6_only, at.is_ipv6()) {
        how = how.only_v6(only);
    }
    if let Some(device) = &options.device {
        how = how.device(device);
    }
    how.bind(at).map(KernelListener)
}

pub(super) fn connect(to: SocketAddr, options: &ConnectOptions) -> Result<KernelStream, OpError> {
    let mut socket = in_the_stream();
    for option in &options.socket {
        // The window scale is settled by the SYN: buffer sizes have to be set before it.
        socket = match *option {
            StreamOption::SendBuffer(bytes) => socket.send_buffer(u32::try_from(bytes).unwrap_or(u32::MAX)),
            StreamOption::RecvBuffer(bytes) => socket.recv_buffer(u32::try_from(bytes).unwrap_or(u32::MAX)),
            _ => socket,
        };
    }
    let mut how = TcpStream::options().stream(socket);
    if let Some(source) = options.source {
        how = how.local(source).late_port(source.port() == 0);
    }
    if let Some(device) = &options.device {
        how = how.device(device);
    }
    let stream = KernelStream(how.start(to)?.into_unconfirmed());
    for option in &options.socket {
        // What cannot be set does not cost the connection.
        let _ = set(&stream.0, option);
    }
    Ok(stream)
}

fn set(stream: &TcpStream, option: &StreamOption) -> io::Result<()> {
    let short = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    match *option {
        StreamOption::NoDelay(on) => stream.set_nodelay(on),
        StreamOption::Cork(on) => stream.set_cork(on),
        StreamOption::KeepAlive {
            idle,
            interval,
            count,
        } => stream.set_keepalive(Some(Keepalive {
            idle,
            interval,
            count,
        })),
        StreamOption::UserTimeout(timeout) => stream.set_user_timeout(timeout.unwrap_or(Duration::ZERO)),
        StreamOption::SendBuffer(bytes) => stream.set_send_buffer(short(bytes)),
        StreamOption::RecvBuffer(bytes) => stream.set_recv_buffer(short(bytes)),
        StreamOption::NotSentLowat(bytes) => stream.set_notsent_lowat(bytes),
        StreamOption::TrafficClass(class) => stream.set_traffic_class(class),
    }
}

impl ListenerIo for KernelListener {
    type Stream = KernelStream;

    #[inline]
    fn accept(&mut self) -> io::Result<(KernelStream, SocketAddr)> {
        self.0.accept().map(|(stream, peer)| (KernelStream(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What `sendfile(2)` says of a file that it cannot read: `/proc`, a pipe, a directory, one opened for writing.
fn has_no_sendfile(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotSeekable, Unsupported};
    matches!(error.raw_os_error(), Some(EINVAL | EBADF))
        || matches!(error.kind(), NotSeekable | Unsupported | IsADirectory)
}

impl KernelStream {
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
                return os::splice(file, &self.0, len, false).map_err(|error| match error.kind() {
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
        (&self.0).read(buf)
    }

    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&self.0).write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.0).write_vectored(bufs)
    }

    fn connect_progress(&mut self) -> ConnectProgress {
        // The pending error is told once; only a connected socket has a peer.
        match self.0.take_error() {
            Ok(Some(error)) | Err(error) => return ConnectProgress::Failed(error),
            Ok(None) => {}
        }
        match self.0.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => ConnectProgress::Pending,
            Err(error) => ConnectProgress::Failed(error),
            Ok(_) => match self.0.is_connected_to_itself() {
                // The kernel chose the peer's own port as the source: nobody else is there.
                Ok(true) => ConnectProgress::Failed(io::ErrorKind::ConnectionRefused.into()),
                Ok(false) => ConnectProgress::Connected,
                Err(error) => ConnectProgress::Failed(error),
            },
        }
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    fn abort(&mut self) {
        // It cannot fail on a TCP socket.
        let _ = self.0.set_linger(Some(Duration::ZERO));
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn set_option(&mut self, option: &StreamOption) -> io::Result<()> {
        set(&self.0, option)
    }

    fn send_file(&mut self, file: &File, offset: u64, len: usize) -> Result<usize, SendFileError> {
        let mut from = offset;
        match os::sendfile(&self.0, file, &mut from, len) {
            Err(error) if has_no_sendfile(&error) => self.copy_file(file, offset, len),
            outcome => outcome.map_err(SendFileError::Stream),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn tcp(&self) -> Option<&TcpStream> {
        Some(&self.0)
    }

    fn into_tcp(self) -> Result<TcpStream, Self> {
        Ok(self.0)
    }
}

macro_rules! source {
    ($type:ty) => {
        impl Source for $type {
            fn register(
                &mut self,
                registry: &Registry,
                token: mio::Token,
                interests: Interest,
            ) -> io::Result<()> {
                self.0.register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &Registry,
                token: mio::Token,
                interests: Interest,
            ) -> io::Result<()> {
                self.0.reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                self.0.deregister(registry)
            }
        }
    };
}

source!(KernelListener);
source!(KernelStream);
