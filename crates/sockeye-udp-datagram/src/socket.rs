//! The socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use sockeye_socket::{
    Capabilities, DepartureClock, Dscp, Incoming, Metadata, OpError, Outgoing, QueueEntry, RecvBatch,
    SendBatch, SendError, SendReport, Socket, enable_error_queue, enable_tx_timestamps, options, peek_from,
    peek_msg, recv_error, recv_from, recv_msg, send_msg, send_to, set_departure_clock,
};

use crate::{PathMtu, UdpOptions};

/// A UDP socket: nonblocking, of one family or both, connected to one peer or to none.
///
/// All calls take `&self`: several threads may send and receive on one socket, each datagram going to one of them.
///
/// ```
/// use std::time::Duration;
/// use sockeye_udp_datagram::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// let local = "127.0.0.1:0".parse().expect("an address");
/// let (server, client) = (UdpSocket::bind(local)?, UdpSocket::bind(local)?);
/// client.connect(server.local_addr()?)?;
/// client.send(b"salmon")?;
///
/// server.wait_readable(Duration::from_secs(1))?;
/// let mut buffer = [0; 2048];
/// let (len, from) = server.recv_from(&mut buffer)?;
/// server.send_to(&buffer[..len], from)?;
///
/// client.wait_readable(Duration::from_secs(1))?;
/// assert_eq!(client.recv(&mut buffer)?, 6);
/// // Nonblocking: there is no more.
/// assert_eq!(client.recv(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
/// # Ok(())
/// # }
/// ```
pub struct UdpSocket {
    pub(crate) socket: Socket,
}

/// Construction, addresses and the peer.
impl UdpSocket {
    /// Binds to `local`; port 0 lets the system choose. For more than that see [`UdpOptions`].
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` for a port below 1024. [`UdpOptions::bind`] says it with advice.
    pub fn bind(local: SocketAddr) -> io::Result<Self> {
        UdpOptions::new().bind(local).map_err(OpError::into_cause)
    }

    /// As [`UdpSocket::bind`] with options.
    ///
    /// # Errors
    /// As [`UdpOptions::bind`].
    pub fn bind_with(local: SocketAddr, options: &UdpOptions) -> Result<Self, OpError> {
        options.bind(local)
    }

    /// Connects to `peer`: `send` goes there, and only datagrams from there are received from now on. Those queued
    /// before are still delivered, whoever sent them.
    ///
    /// # Errors
    /// What the kernel knows of the route: ENETUNREACH, EHOSTUNREACH, EACCES (prohibited), EINVAL (blackholed).
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.socket.connect(&peer).map(|_| ())
    }

    /// Undoes [`connect`](Self::connect).
    ///
    /// # Errors
    /// What `connect` with an address of family AF_UNSPEC returns.
    pub fn disconnect(&self) -> io::Result<()> {
        self.socket.disconnect()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What `getsockname` returns.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The peer it is connected to.
    ///
    /// # Errors
    /// `NotConnected` where there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// A second descriptor of the same socket.
    ///
    /// # Errors
    /// EMFILE at the limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
        })
    }

    /// The pending error, which reading it clears.
    ///
    /// # Errors
    /// What `getsockopt` itself returns.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// Waits until there is something to receive (`true`) or `timeout` has passed (`false`). For programs without a loop.
    ///
    /// # Errors
    /// The errno of `poll(2)`; `Interrupted` is not among them.
    pub fn wait_readable(&self, timeout: Duration) -> io::Result<bool> {
        self.socket.wait_readable(timeout)
    }
}

/// Datagrams as the standard library has them.
impl UdpSocket {
    /// Sends `payload` to the connected peer, whole or not at all.
    ///
    /// # Errors
    /// `WouldBlock` when the send buffer is full. `ConnectionRefused` tells that an earlier datagram was refused; this
    /// one was not sent.
    #[inline]
    pub fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.socket.send(payload)
    }

    /// Receives a datagram from the connected peer; what exceeds `buffer` is lost in silence. 0 is an empty datagram.
    ///
    /// # Errors
    /// `WouldBlock` when none is queued.
    #[inline]
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer)
    }

    /// Sends `payload` to `destination`, whole or not at all.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_to(&self, payload: &[u8], destination: SocketAddr) -> io::Result<usize> {
        send_to(self, payload, destination)
    }

    /// Receives a datagram and says who sent it; what exceeds `buffer` is lost in silence.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        recv_from(self, buffer)
    }

    /// As [`recv`](Self::recv), and leaves the datagram in the queue.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.peek(buffer)
    }

    /// As [`recv_from`](Self::recv_from), and leaves the datagram in the queue.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        peek_from(self, buffer)
    }
}

/// Messages, batches, and the error queue.
impl UdpSocket {
    /// Sends one message with everything it carries beside its payload.
    ///
    /// # Errors
    /// [`SendError`]: see [`sockeye_socket::send_msg`].
    #[inline]
    pub fn send_msg(&self, message: &Outgoing<'_>) -> Result<usize, SendError> {
        send_msg(self, message)
    }

    /// Receives one message with everything the socket was asked to report.
    ///
    /// # Errors
    /// `WouldBlock` when none is queued.
    #[inline]
    pub fn recv_msg<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Incoming<'b>> {
        recv_msg(self, buffer)
    }

    /// As [`recv_msg`](Self::recv_msg), and leaves the message in the queue.
    ///
    /// # Errors
    /// As [`recv_msg`](Self::recv_msg).
    pub fn peek_msg<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Incoming<'b>> {
        peek_msg(self, buffer)
    }

    /// Receives what is queued into `batch`; returns how many messages.
    ///
    /// # Errors
    /// As [`RecvBatch::recv`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use sockeye_udp_datagram::{Outgoing, RecvBatch, SendBatch, UdpOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = UdpOptions::new().gro(true).bind("127.0.0.1:0".parse()?)?;
    /// let client = UdpOptions::new().bind("127.0.0.1:0".parse()?)?;
    /// let to = server.local_addr()?;
    ///
    /// // A hundred datagrams: one system call, as segments of few messages where the kernel can.
    /// let text: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    /// let mut outgoing = SendBatch::new(64);
    /// let report = client.send_batch(&mut outgoing, 0..100, |i| Outgoing::to(to, text[i].as_bytes()));
    /// assert_eq!((report.count, report.error), (100, None));
    ///
    /// // With GRO one message may hold many datagrams: `segments` takes them apart.
    /// let mut incoming = RecvBatch::new(32, 65_535);
    /// let mut seen = Vec::new();
    /// while seen.len() < 100 {
    ///     server.wait_readable(Duration::from_secs(1))?;
    ///     server.recv_batch(&mut incoming)?;
    ///     seen.extend(incoming.iter().flat_map(|message| message.segments().map(<[u8]>::to_vec).collect::<Vec<_>>()));
    /// }
    /// assert_eq!(seen[99], b"099");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.recv(self)
    }

    /// Sends the messages that `make` returns for the indices in `range`; see [`SendBatch::send_with`].
    #[inline]
    pub fn send_batch<'m>(
        &self,
        batch: &mut SendBatch,
        range: Range<usize>,
        make: impl FnMut(usize) -> Outgoing<'m>,
    ) -> SendReport {
        batch.send_with(self, range, make)
    }

    /// Takes one entry from the error queue, `None` when it is empty.
    ///
    /// # Errors
    /// As [`sockeye_socket::recv_error`].
    ///
    /// ```
    /// use sockeye_udp_datagram::{QueueEntry, UdpOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let socket = UdpOptions::new().error_queue(true).bind("127.0.0.1:0".parse()?)?;
    /// // A port at which nobody listens: one that was just given back.
    /// let nobody = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    /// socket.send_to(b"salmon", nobody)?;
    /// # let entry = loop {
    /// #     if let Some(entry) = socket.recv_error()? { break entry; }
    /// #     std::thread::yield_now();
    /// # };
    /// // Once the poller says that there is an error: `if let Some(entry) = socket.recv_error()?`
    /// if let QueueEntry::Error(error) = entry {
    ///     assert_eq!(error.destination, Some(nobody));
    ///     println!("{:?} from {:?}", error.cause, error.offender);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_error(&self) -> io::Result<Option<QueueEntry>> {
        recv_error(self)
    }
}

/// Options that can change while the socket is in use.
impl UdpSocket {
    /// What the kernel offers and what of it is active here.
    ///
    /// # Errors
    /// What `getsockopt` returns.
    pub fn capabilities(&self) -> io::Result<Capabilities> {
        Capabilities::of(self)
    }

    /// Reports exactly these with each received message.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    pub fn set_metadata(&self, which: Metadata) -> io::Result<()> {
        which.enable(self)?;
        Metadata::ALL.without(which).disable(self)
    }

    /// Queues errors with the datagram they speak of.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "IP_RECVERR")]
    pub fn set_error_queue(&self, on: bool) -> io::Result<()> {
        enable_error_queue(self, on)
    }

    /// Takes several datagrams of one sender in one receive, up to 128 of them and 65,535 bytes. Every receive then
    /// needs a buffer as large, and must cut by [`Incoming::segments`]: `recv` and `recv_from` cannot tell datagrams apart.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "UDP_GRO")]
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.socket.set(options::UDP_GRO, on)
    }

    /// Prepares for [`Outgoing::timestamp_id`].
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "SO_TIMESTAMPING")]
    pub fn enable_tx_timestamps(&self) -> io::Result<()> {
        enable_tx_timestamps(self)
    }

    /// Says which clock [`Outgoing::departure_ns`] is of.
    ///
    /// # Errors
    /// `PermissionDenied` for TAI without CAP_NET_ADMIN.
    #[doc(alias = "SO_TXTIME")]
    pub fn set_departure_clock(&self, clock: DepartureClock) -> io::Result<()> {
        set_departure_clock(self, clock)
    }

    /// TTL or hop limit of datagrams to single hosts, of both families on a socket that carries both.
    ///
    /// # Errors
    /// `InvalidInput` for 0 over IPv4.
    #[doc(alias = "IP_TTL")]
    #[doc(alias = "IPV6_UNICAST_HOPS")]
    pub fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
        if self.socket.is_ipv6()? {
            self.socket.set(options::IPV6_UNICAST_HOPS, i32::from(hops))?;
        }
        self.socket.set(options::IP_TTL, u32::from(hops))
    }

    /// DSCP of what is sent, of both families on a socket that carries both; the ECN bits are messages' own.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "IP_TOS")]
    #[doc(alias = "IPV6_TCLASS")]
    pub fn set_dscp(&self, dscp: Dscp) -> io::Result<()> {
        let octet = dscp.value() << 2;
        if self.socket.is_ipv6()? {
            self.socket.set(options::IPV6_TCLASS, i32::from(octet))?;
        }
        self.socket.set(options::IP_TOS, u32::from(octet))
    }

    /// Whether it may send to broadcast addresses.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "SO_BROADCAST")]
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.socket.set(options::SO_BROADCAST, on)
    }

    /// How datagrams larger than the path are treated, for both families on a socket that carries both.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "IP_MTU_DISCOVER")]
    #[doc(alias = "IPV6_MTU_DISCOVER")]
    pub fn set_path_mtu_mode(&self, mode: PathMtu) -> io::Result<()> {
        if self.socket.is_ipv6()? {
            self.socket.set(options::IPV6_MTU_DISCOVER, mode.number())?;
        }
        self.socket.set(options::IP_MTU_DISCOVER, mode.number())
    }

    /// How datagrams larger than the path are treated at present.
    ///
    /// # Errors
    /// What `getsockopt` returns.
    pub fn path_mtu_mode(&self) -> io::Result<PathMtu> {
        let option = if self.socket.is_ipv6()? {
            options::IPV6_MTU_DISCOVER
        } else {
            options::IP_MTU_DISCOVER
        };
        PathMtu::from_number(self.socket.get(option)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The MTU of the path to the connected peer as far as the kernel knows it, in bytes, IP header included.
    ///
    /// # Errors
    /// `NotConnected` where there is no peer.
    #[doc(alias = "IP_MTU")]
    #[doc(alias = "IPV6_MTU")]
    pub fn path_mtu(&self) -> io::Result<u32> {
        let v4_peer = match self.peer_addr()? {
            SocketAddr::V4(_) => true,
            SocketAddr::V6(peer) => peer.ip().to_ipv4_mapped().is_some(),
        };
        self.socket.get(if v4_peer {
            options::IP_MTU
        } else {
            options::IPV6_MTU
        })
    }

    /// The socket under it, for every other option: `socket.socket().set(options::SO_PRIORITY, 6)`.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish_non_exhaustive()
    }
}

impl AsRef<Socket> for UdpSocket {
    fn as_ref(&self) -> &Socket {
        &self.socket
    }
}

impl From<Socket> for UdpSocket {
    /// Takes the socket as it is.
    fn from(socket: Socket) -> Self {
        Self { socket }
    }
}

impl From<UdpSocket> for Socket {
    fn from(socket: UdpSocket) -> Self {
        socket.socket
    }
}

impl TryFrom<std::net::UdpSocket> for UdpSocket {
    type Error = io::Error;

    /// Makes it nonblocking.
    fn try_from(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: socket.into(),
        })
    }
}

impl From<UdpSocket> for std::net::UdpSocket {
    /// The socket stays nonblocking.
    fn from(socket: UdpSocket) -> Self {
        socket.socket.into()
    }
}

sockeye_socket::__descriptor_traits!(UdpSocket);
