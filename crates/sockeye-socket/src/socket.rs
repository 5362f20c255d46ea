//! [`Socket`]: a nonblocking, close-on-exec descriptor and the calls that every kind of socket has.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use crate::options::{self, OptionValue, SocketOption};
use crate::{ZeroCopyBuffer, sys};

/// A socket: one descriptor, owned.
///
/// What it opens is nonblocking and close-on-exec from the same syscall on. What it adopts
/// (`From<OwnedFd>`, [`FromRawFd`]) is used as it is; [`set_nonblocking`](Self::set_nonblocking) puts it right.
pub struct Socket {
    fd: OwnedFd,
}

/// How far `connect(2)` got at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStart {
    /// It is done: a datagram socket, or a local peer that answered within the call.
    Done,
    /// It is under way; the socket becomes writable when it is decided.
    InProgress,
}

impl Socket {
    /// Opens a socket, nonblocking and close-on-exec.
    ///
    /// # Errors
    ///
    /// The errno of `socket(2)`: `PermissionDenied` for raw sockets without `CAP_NET_RAW`, EAFNOSUPPORT and
    /// EPROTONOSUPPORT where the kernel lacks the family or the protocol, EMFILE at the limit of descriptors.
    ///
    /// # References
    ///
    /// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html)
    pub fn new(domain: Domain, ty: Type, protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket2::Socket::new_raw(domain, ty.nonblocking().cloexec(), protocol)?;
        Ok(Self { fd: socket.into() })
    }

    /// The socket as socket2 sees it, for options that this crate does not name.
    #[must_use]
    pub fn socket2(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// Gives the socket an address of this host.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable` (no interface has it), `PermissionDenied` (ports below 1024).
    pub fn bind(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket2().bind(&SockAddr::from(*address))
    }

    /// Sends and receives through the interface of this name only.
    ///
    /// # Errors
    ///
    /// ENODEV where there is no such interface. A name longer than the kernel's (15 bytes), or with a NUL in it, is none:
    /// cut short it might be another's. EPERM where the socket is bound to one and this process may not change that.
    #[doc(alias = "SO_BINDTODEVICE")]
    pub fn bind_to_device(&self, name: &str) -> io::Result<()> {
        const LONGEST: usize = libc::IF_NAMESIZE - 1;
        if name.len() > LONGEST || name.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        self.set_bytes(options::SO_BINDTODEVICE, name.as_bytes())
    }

    /// Starts to connect, and says whether that was all.
    ///
    /// # Errors
    ///
    /// What the kernel knows at once: ENETUNREACH, EHOSTUNREACH, EACCES (prohibited), EINVAL (blackholed),
    /// EADDRNOTAVAIL (no ephemeral port). What comes later is in [`take_error`](Self::take_error).
    pub fn connect(&self, peer: &SocketAddr) -> io::Result<ConnectStart> {
        match self.socket2().connect(&SockAddr::from(*peer)) {
            Ok(()) => Ok(ConnectStart::Done),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(ConnectStart::InProgress),
            Err(error) => Err(error),
        }
    }

    /// Connects with `data` in the SYN where the kernel holds the peer's cookie, and returns how much it took.
    ///
    /// # Errors
    ///
    /// EINPROGRESS where there is no cookie: the connect has started, without data. Else as [`connect`](Self::connect).
    #[doc(alias = "MSG_FASTOPEN")]
    pub fn send_fast_open(&self, data: &[u8], peer: &SocketAddr) -> io::Result<usize> {
        sys::stream::send_fast_open(self.as_fd(), data, peer)
    }

    /// Undoes `connect`: the socket has no peer any more. A stream is reset by it.
    ///
    /// # Errors
    ///
    /// The errno of `connect(2)` with an address of family AF_UNSPEC.
    pub fn disconnect(&self) -> io::Result<()> {
        sys::stream::disconnect(self.as_fd())
    }

    /// Lets connections come in, `backlog` of them at most before they are accepted (the kernel caps it at
    /// `net.core.somaxconn`).
    ///
    /// # Errors
    ///
    /// `AddrInUse` where another socket already listens at this address.
    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        self.socket2().listen(backlog)
    }

    /// Accepts one connection, nonblocking and close-on-exec.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nobody waits. The rest is for `accept_outcome` of `sockeye-tcp-stream` to classify.
    #[inline]
    pub fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        let (fd, peer) = sys::stream::accept(self.as_fd())?;
        Ok((Self { fd }, peer))
    }

    /// Receives into `buffer`: for a stream the next bytes (0 at its end), for a datagram socket one datagram.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::stream::recv(self.as_fd(), buffer, 0)
    }

    /// As [`recv`](Self::recv) into memory that need not be initialised; the first bytes returned are.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        sys::stream::recv_uninit(self.as_fd(), buffer, 0)
    }

    /// As [`recv`](Self::recv), and the data stays where it is.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::stream::recv(self.as_fd(), buffer, libc::MSG_PEEK)
    }

    /// As [`recv`](Self::recv) into several buffers, the first filled first. Buffers past the 1024th are not used.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        sys::stream::recv_vectored(self.as_fd(), buffers)
    }

    /// Sends, and returns how many bytes the kernel took: a stream may take a part, a datagram goes whole.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room; `BrokenPipe` where writing is over, never `SIGPIPE`.
    #[inline]
    pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        sys::stream::send(self.as_fd(), buffer, 0)
    }

    /// As [`send`](Self::send), with more to follow soon: a stream holds back a part of a segment (`MSG_MORE`).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_more(&self, buffer: &[u8]) -> io::Result<usize> {
        sys::stream::send(self.as_fd(), buffer, libc::MSG_MORE)
    }

    /// As [`send`](Self::send) from several buffers, in order. Buffers past the 1024th are not used.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        sys::stream::send_vectored(self.as_fd(), buffers, 0)
    }

    /// Sends `range` of `buffer` without a copy into the kernel (`MSG_ZEROCOPY`). [`options::SO_ZEROCOPY`] comes first;
    /// without it the kernel copies.
    ///
    /// The buffer may be dropped as soon as this returns. A completion follows on the error queue all the same
    /// ([`QueueEntry::ZeroCopy`](crate::QueueEntry::ZeroCopy)); until it is there, the memory is not free.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); `InvalidInput` for a range outside the buffer; ENOBUFS past the allowance of pinned
    /// memory (`net.core.optmem_max` for a socket, `RLIMIT_MEMLOCK` for a user).
    #[doc(alias = "MSG_ZEROCOPY")]
    pub fn send_zerocopy(&self, buffer: &ZeroCopyBuffer, range: Range<usize>) -> io::Result<usize> {
        let bytes = buffer.get(range).ok_or(io::ErrorKind::InvalidInput)?;
        // Only pages that are never written again and never reused while the kernel reads them come here.
        sys::stream::send(self.as_fd(), bytes, libc::MSG_ZEROCOPY)
    }

    /// Sends one byte as TCP's urgent data.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_urgent(&self, byte: u8) -> io::Result<usize> {
        sys::stream::send(self.as_fd(), &[byte], libc::MSG_OOB)
    }

    /// Receives the byte of urgent data that waits outside the stream.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where it has been announced and not come yet, `InvalidInput` where there is none.
    pub fn recv_urgent(&self) -> io::Result<u8> {
        let mut byte = [0];
        match sys::stream::recv(self.as_fd(), &mut byte, libc::MSG_OOB)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(byte[0]),
        }
    }

    /// Whether the next byte to read follows the place where urgent data was sent.
    ///
    /// # Errors
    ///
    /// The errno of `sockatmark(3)`.
    pub fn is_at_mark(&self) -> io::Result<bool> {
        sys::stream::at_mark(self.as_fd())
    }

    /// Bytes that have been received and not read (`SIOCINQ`); for a datagram socket those of the next datagram.
    ///
    /// # Errors
    ///
    /// The errno of `ioctl(2)`: `InvalidInput` on a listener.
    #[doc(alias = "SIOCINQ")]
    #[doc(alias = "FIONREAD")]
    pub fn unread(&self) -> io::Result<usize> {
        sys::stream::count_of(self.as_fd(), sys::stream::Queue::Unread)
    }

    /// Bytes in the send queue: not sent, or sent and not acknowledged (`SIOCOUTQ`).
    ///
    /// # Errors
    ///
    /// As [`unread`](Self::unread).
    #[doc(alias = "SIOCOUTQ")]
    pub fn unacked(&self) -> io::Result<usize> {
        sys::stream::count_of(self.as_fd(), sys::stream::Queue::Unacked)
    }

    /// Bytes in the send queue that have not been sent once (`SIOCOUTQNSD`).
    ///
    /// # Errors
    ///
    /// As [`unread`](Self::unread).
    #[doc(alias = "SIOCOUTQNSD")]
    pub fn unsent(&self) -> io::Result<usize> {
        sys::stream::count_of(self.as_fd(), sys::stream::Queue::Unsent)
    }

    /// Closes one direction or both.
    ///
    /// # Errors
    ///
    /// `NotConnected` where there is no peer (any more).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket2().shutdown(how)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The errno of `getsockname(2)`; EAFNOSUPPORT where the socket is not of an IP family.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_address(&self.socket2().local_addr()?)
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// `NotConnected` where there is none (any more).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip_address(&self.socket2().peer_addr()?)
    }

    /// Where a connection that netfilter has redirected here was meant to go.
    ///
    /// # Errors
    ///
    /// `NotFound` where it was not redirected; ENOPROTOOPT where the kernel has no connection tracking.
    #[doc(alias = "SO_ORIGINAL_DST")]
    pub fn original_destination(&self) -> io::Result<SocketAddr> {
        // A mapped peer was redirected as the IPv4 peer that it is.
        let is_v6 = matches!(self.peer_addr()?, SocketAddr::V6(peer) if peer.ip().to_ipv4_mapped().is_none());
        let option = if is_v6 {
            options::IP6T_SO_ORIGINAL_DST
        } else {
            options::SO_ORIGINAL_DST
        };
        let mut bytes = [0; sys::address::ADDRESS_LEN];
        let len = self.get_bytes(option, if is_v6 { &mut bytes } else { &mut bytes[..16] })?;
        let address = bytes.get(..len).and_then(sys::address::decode);
        address.ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
    }

    /// The pending error, which reading it clears (`SO_ERROR`): the next call answers `None`.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)` itself.
    #[doc(alias = "SO_ERROR")]
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self.get(options::SO_ERROR)? {
            0 => Ok(None),
            errno => Ok(Some(io::Error::from_raw_os_error(errno))),
        }
    }

    /// Reads an option.
    ///
    /// # Errors
    ///
    /// ENOPROTOOPT where the kernel or this kind of socket does not have it.
    pub fn get<T: OptionValue>(&self, option: SocketOption<T>) -> io::Result<T> {
        option.get(self.as_fd())
    }

    /// Sets an option.
    ///
    /// # Errors
    ///
    /// ENOPROTOOPT where the kernel or this kind of socket does not have it, EINVAL where the value is out of range,
    /// EPERM where it needs a capability.
    pub fn set<T: OptionValue>(&self, option: SocketOption<T>, value: T) -> io::Result<()> {
        option.set(self.as_fd(), value)
    }

    /// Sets an option that a kernel or a kind of socket may be without, and says whether it is there.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), but for ENOPROTOOPT and EOPNOTSUPP, which are `false`.
    pub fn set_if_known<T: OptionValue>(&self, option: SocketOption<T>, value: T) -> io::Result<bool> {
        match self.set(option, value) {
            Ok(()) => Ok(true),
            Err(error) if sys::option::is_unknown(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads an option of text or a structure into `buffer` and returns how many bytes it has.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_bytes(&self, option: SocketOption<[u8]>, buffer: &mut [u8]) -> io::Result<usize> {
        option.get_bytes(self.as_fd(), buffer)
    }

    /// Sets an option of text.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn set_bytes(&self, option: SocketOption<[u8]>, value: &[u8]) -> io::Result<()> {
        option.set_bytes(self.as_fd(), value)
    }

    /// Makes the socket nonblocking or blocking.
    ///
    /// # Errors
    ///
    /// The errno of `ioctl(2)`.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        sys::process::set_nonblocking(self.as_fd(), nonblocking)
    }

    /// Whether the socket is of an IPv6 family.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn is_ipv6(&self) -> io::Result<bool> {
        Ok(self.get(options::SO_DOMAIN)? == libc::AF_INET6)
    }

    /// A second descriptor of the same socket.
    ///
    /// Both share everything, and a poller goes on reporting the one while the other is open: deregister before closing.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
        })
    }

    /// Waits until the socket is readable (`true`) or `timeout` has passed (`false`).
    ///
    /// A loop has its own poller; this is for the program that has one socket and time.
    ///
    /// # Errors
    ///
    /// The errno of `poll(2)`; `Interrupted` is not among them.
    pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
        self.wait(libc::POLLIN, timeout)
    }

    /// Waits until the socket is writable (`true`) or `timeout` has passed (`false`).
    ///
    /// # Errors
    ///
    /// As [`wait_readable`](Self::wait_readable).
    pub fn wait_writable(&self, timeout: Duration) -> io::Result<bool> {
        self.wait(libc::POLLOUT, timeout)
    }

    /// Polls for `timeout` altogether, however many signals come between.
    fn wait(&self, events: libc::c_short, timeout: Duration) -> io::Result<bool> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            // Rounded up, so that the last round does not spin.
            let left_ms = i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
            match sys::stream::poll_once(self.as_fd(), events, left_ms) {
                Ok(0) if deadline.is_none_or(|at| Instant::now() < at) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer.map(|ready| ready != 0),
            }
        }
    }
}

fn ip_address(address: &SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Socket");
        shown.field("fd", &self.fd.as_raw_fd());
        match self.local_unix() {
            Ok(local) => shown.field("local", &local).field("peer", &self.peer_unix().ok()),
            Err(_) => shown
                .field("local", &self.local_addr().ok())
                .field("peer", &self.peer_addr().ok()),
        };
        shown.finish()
    }
}

impl AsFd for Socket {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl IntoRawFd for Socket {
    fn into_raw_fd(self) -> RawFd {
        self.fd.into_raw_fd()
    }
}

impl FromRawFd for Socket {
    /// # Safety
    ///
    /// The descriptor is open, and nobody else owns it.
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller's promise, passed on.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Self { fd }
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.fd
    }
}

macro_rules! convert_with {
    ($($other:ty),+) => {$(
        impl From<$other> for Socket {
            /// Takes the socket as it is: blocking, if it was.
            fn from(other: $other) -> Self {
                Self { fd: other.into() }
            }
        }

        impl From<Socket> for $other {
            /// The socket stays nonblocking.
            fn from(socket: Socket) -> Self {
                socket.fd.into()
            }
        }
    )+};
}

convert_with!(
    socket2::Socket,
    std::net::TcpStream,
    std::net::TcpListener,
    std::net::UdpSocket,
    std::os::unix::net::UnixStream,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixDatagram
);

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(fd: BorrowedFd<'_>) -> (bool, bool) {
        // SAFETY: the command takes no argument.
        let status = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        // SAFETY: likewise.
        let descriptor = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        (status & libc::O_NONBLOCK != 0, descriptor & libc::FD_CLOEXEC != 0)
    }

    #[test]
    fn a_new_socket_is_nonblocking_and_close_on_exec_and_so_is_what_it_accepts() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(flags(listener.as_fd()), (true, true));
        listener.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        listener.listen(1).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);

        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.connect(&listener.local_addr().unwrap()).unwrap();
        assert!(listener.wait_readable(Duration::from_secs(5)).unwrap());
        let (accepted, peer) = listener.accept().unwrap();
        assert_eq!(flags(accepted.as_fd()), (true, true));
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[test]
    fn so_error_is_consumed_by_reading_it() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert_eq!(socket.connect(&closed).unwrap(), ConnectStart::InProgress);
        assert!(socket.wait_writable(Duration::from_secs(5)).unwrap());
        let error = socket.take_error().unwrap().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::ConnectionRefused));
        assert!(socket.take_error().unwrap().is_none());
    }

    #[test]
    fn conversions_keep_the_descriptor() {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        assert!(socket.is_ipv6().unwrap());
        let fd = socket.as_raw_fd();
        let socket = Socket::from(std::net::UdpSocket::from(socket));
        let socket = Socket::from(socket2::Socket::from(socket));
        assert_eq!(OwnedFd::from(socket).as_raw_fd(), fd);
    }
}
