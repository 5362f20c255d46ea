//! What is settled before a socket is bound or connected.

use std::io;
use std::net::SocketAddr;

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::options::{self, OptionValue, SocketOption};
use sockeye_socket::{Domain, Metadata, Op, OpError, Protocol, Socket, Type, enable_error_queue};

use crate::UdpSocket;

/// How a socket treats datagrams larger than the path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathMtu {
    /// Never sets don't-fragment; this host and routers cut as they need.
    #[doc(alias = "IP_PMTUDISC_DONT")]
    Fragment,
    /// Sets don't-fragment on what fits the known path MTU and cuts what does not. The system's default.
    #[doc(alias = "IP_PMTUDISC_WANT")]
    Discover,
    /// Sets don't-fragment and refuses what exceeds the known path MTU.
    #[doc(alias = "IP_PMTUDISC_DO")]
    Refuse,
    /// Sets don't-fragment and ignores the known path MTU: for probing it oneself.
    #[doc(alias = "IP_PMTUDISC_PROBE")]
    Probe,
    /// Refuses what exceeds the interface's MTU, never sets don't-fragment, and believes no ICMP error.
    #[doc(alias = "IP_PMTUDISC_INTERFACE")]
    Interface,
    /// As [`PathMtu::Interface`], but cuts what exceeds the interface's MTU.
    #[doc(alias = "IP_PMTUDISC_OMIT")]
    Omit,
}

impl PathMtu {
    const ALL: [Self; 6] = [
        Self::Fragment,
        Self::Discover,
        Self::Refuse,
        Self::Probe,
        Self::Interface,
        Self::Omit,
    ];

    /// The kernel's number, which is the same for both families.
    pub(crate) fn number(self) -> i32 {
        Self::ALL
            .iter()
            .zip(0..)
            .find(|(mode, _)| **mode == self)
            .map_or(1, |(_, number)| number)
    }

    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL
            .iter()
            .zip(0..)
            .find(|(_, known)| *known == number)
            .map(|(mode, _)| *mode)
    }
}

/// Bytes of a kernel buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferSize {
    /// Bytes asked for. The kernel doubles them, for its own overhead.
    pub bytes: u32,
    /// Beyond the system's cap (`net.core.rmem_max`, `wmem_max`), which needs CAP_NET_ADMIN.
    pub forced: bool,
}

impl From<u32> for BufferSize {
    fn from(bytes: u32) -> Self {
        Self { bytes, forced: false }
    }
}

/// How a UDP socket shall be: plain data, applied in the one order that works when the socket is opened.
///
/// Sockets start nonblocking and close-on-exec, and, unlike the system's default, hear only the groups they joined
/// themselves (see [`multicast_all`](Self::multicast_all)).
///
/// ```
/// use sockeye_udp_datagram::{Metadata, PathMtu, UdpOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = UdpOptions::new()
///     .reuse_port(true)                    // one socket a thread, and the kernel spreads the flows
///     .recv_buffer(4 << 20)                // for bursts
///     .gro(true)                           // datagrams of one sender come in one buffer
///     .metadata(Metadata::DESTINATION)     // the address that each was sent to
///     .path_mtu(PathMtu::Probe)            // never fragment, whatever the kernel has learnt
///     .error_queue(true)                   // ICMP errors, with the datagram that met them
///     .bind("0.0.0.0:0".parse()?)?;
/// assert!(socket.local_addr()?.port() > 0);
///
/// // What cannot be: the error says which operation, on which address, and what to do.
/// let error = UdpOptions::new().bind("192.0.2.1:53".parse()?).unwrap_err();
/// println!("{error}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use]
pub struct UdpOptions {
    reuse_address: bool,
    reuse_port: bool,
    v6_only: Option<bool>,
    device: Option<String>,
    freebind: bool,
    transparent: bool,
    broadcast: bool,
    send_buffer: Option<BufferSize>,
    recv_buffer: Option<BufferSize>,
    gro: bool,
    metadata: Metadata,
    error_queue: bool,
    path_mtu: Option<PathMtu>,
    without_checksum: bool,
    multicast_all: bool,
    mark: Option<u32>,
}

impl UdpOptions {
    /// Nothing asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Several sockets may bind the same address; of unicast datagrams the last to bind gets all, of groups each its own.
    #[doc(alias = "SO_REUSEADDR")]
    pub fn reuse_address(mut self, on: bool) -> Self {
        self.reuse_address = on;
        self
    }

    /// Several sockets of one user share the address and the load; see
    /// [`Filter::attach_reuse_port`](crate::filter::Filter::attach_reuse_port) for steering.
    #[doc(alias = "SO_REUSEPORT")]
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// An IPv6 socket carries IPv6 only (`true`) or IPv4 as well (`false`); the system's default otherwise.
    #[doc(alias = "IPV6_V6ONLY")]
    pub fn v6_only(mut self, on: bool) -> Self {
        self.v6_only = Some(on);
        self
    }

    /// Sends and receives through this interface only.
    #[doc(alias = "SO_BINDTODEVICE")]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }

    /// May bind an address that no interface has (yet).
    #[doc(alias = "IP_FREEBIND")]
    pub fn freebind(mut self, on: bool) -> Self {
        self.freebind = on;
        self
    }

    /// May bind and send from addresses of others; needs CAP_NET_ADMIN or CAP_NET_RAW.
    #[doc(alias = "IP_TRANSPARENT")]
    pub fn transparent(mut self, on: bool) -> Self {
        self.transparent = on;
        self
    }

    /// May send to broadcast addresses.
    #[doc(alias = "SO_BROADCAST")]
    pub fn broadcast(mut self, on: bool) -> Self {
        self.broadcast = on;
        self
    }

    /// Size of the send buffer.
    #[doc(alias = "SO_SNDBUF")]
    #[doc(alias = "SO_SNDBUFFORCE")]
    pub fn send_buffer(mut self, size: impl Into<BufferSize>) -> Self {
        self.send_buffer = Some(size.into());
        self
    }

    /// Size of the receive buffer.
    #[doc(alias = "SO_RCVBUF")]
    #[doc(alias = "SO_RCVBUFFORCE")]
    pub fn recv_buffer(mut self, size: impl Into<BufferSize>) -> Self {
        self.recv_buffer = Some(size.into());
        self
    }

    /// Takes several datagrams of one sender in one receive; see [`UdpSocket::set_gro`]. Where the kernel refuses it they
    /// come one by one: [`Capabilities::coalesced_receive`](crate::Capabilities::coalesced_receive) says which.
    #[doc(alias = "UDP_GRO")]
    pub fn gro(mut self, on: bool) -> Self {
        self.gro = on;
        self
    }

    /// Reports these with each received message.
    pub fn metadata(mut self, which: Metadata) -> Self {
        self.metadata = which;
        self
    }

    /// Queues errors with the datagram they speak of; see [`UdpSocket::recv_error`].
    #[doc(alias = "IP_RECVERR")]
    pub fn error_queue(mut self, on: bool) -> Self {
        self.error_queue = on;
        self
    }

    /// How datagrams larger than the path are treated.
    #[doc(alias = "IP_MTU_DISCOVER")]
    pub fn path_mtu(mut self, mode: PathMtu) -> Self {
        self.path_mtu = Some(mode);
        self
    }

    /// Sends without a checksum over IPv4. The kernel then refuses segmentation, and batches leave one by one.
    #[doc(alias = "SO_NO_CHECK")]
    pub fn without_checksum(mut self, on: bool) -> Self {
        self.without_checksum = on;
        self
    }

    /// Hears every group that any socket of this host joined, as the system's default has it; off unless asked for. A
    /// kernel that cannot switch it off is told by [`Capabilities::own_groups_only`](crate::Capabilities::own_groups_only).
    #[doc(alias = "IP_MULTICAST_ALL")]
    pub fn multicast_all(mut self, on: bool) -> Self {
        self.multicast_all = on;
        self
    }

    /// Marks what is sent for routing rules and filters; needs CAP_NET_ADMIN.
    #[doc(alias = "SO_MARK")]
    pub fn mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Opens a socket, applies the options and binds it to `local`; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`OpError`] with the option or the address it was about, and advice.
    pub fn bind(&self, local: SocketAddr) -> Result<UdpSocket, OpError> {
        let socket = self.open(local)?;
        let at = |error: OpError| error.with_local(Endpoint::udp(local));
        socket
            .bind(&local)
            .map_err(|source| at(OpError::new(Op::Bind, Transport::Udp, source)))?;
        Ok(UdpSocket::from(socket))
    }

    /// Opens a socket, applies the options, binds it to `local` if there is one, and connects it to `peer`.
    ///
    /// # Errors
    /// As [`UdpOptions::bind`], and what the kernel knows of the route: unreachable, prohibited, blackholed.
    pub fn connect(&self, local: Option<SocketAddr>, peer: SocketAddr) -> Result<UdpSocket, OpError> {
        let socket = match local {
            Some(local) => self.bind(local)?,
            None => UdpSocket::from(self.open(peer)?),
        };
        socket.connect(peer).map_err(|source| {
            let error = OpError::new(Op::Connect, Transport::Udp, source).with_peer(Endpoint::udp(peer));
            match local {
                Some(local) => error.with_local(Endpoint::udp(local)),
                None => error,
            }
        })?;
        Ok(socket)
    }

    /// A socket of the family of `address` with everything set that must come before the bind.
    fn open(&self, address: SocketAddr) -> Result<Socket, OpError> {
        let v6 = address.is_ipv6();
        let failed = |op, source| OpError::new(op, Transport::Udp, source).with_local(Endpoint::udp(address));
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
            .map_err(|source| failed(Op::Open, source))?;
        let setter = Setter {
            socket: &socket,
            failed: &failed,
        };

        setter.flag(self.reuse_address, options::SO_REUSEADDR)?;
        setter.flag(self.reuse_port, options::SO_REUSEPORT)?;
        setter.flag(self.broadcast, options::SO_BROADCAST)?;
        setter.value(self.mark, options::SO_MARK)?;
        setter.buffer(self.recv_buffer, options::SO_RCVBUF, options::SO_RCVBUFFORCE)?;
        setter.buffer(self.send_buffer, options::SO_SNDBUF, options::SO_SNDBUFFORCE)?;
        if let Some(device) = &self.device {
            setter.check("SO_BINDTODEVICE", socket.bind_to_device(device))?;
        }
        // Sending without a checksum is of IPv4; IPv6 has its own option, for tunnels.
        setter.flag(self.without_checksum && !v6, options::SO_NO_CHECK)?;
        setter.flag(self.without_checksum && v6, options::UDP_NO_CHECK6_TX)?;
        if self.gro {
            // An offload changes the cost and nothing else, so none is worth a socket: old kernels and gVisor have none.
            let _refused = socket.set(options::UDP_GRO, true);
        }
        if v6 {
            setter.value(self.v6_only, options::IPV6_V6ONLY)?;
            setter.flag(self.freebind, options::IPV6_FREEBIND)?;
            setter.flag(self.transparent, options::IPV6_TRANSPARENT)?;
            setter.if_known(self.multicast_all, options::IPV6_MULTICAST_ALL)?;
            setter.value(self.path_mtu.map(PathMtu::number), options::IPV6_MTU_DISCOVER)?;
        }
        // An IPv6 socket that carries IPv4 too has the IPv4 options beside its own.
        setter.flag(self.freebind, options::IP_FREEBIND)?;
        setter.flag(self.transparent, options::IP_TRANSPARENT)?;
        setter.if_known(self.multicast_all, options::IP_MULTICAST_ALL)?;
        setter.value(self.path_mtu.map(PathMtu::number), options::IP_MTU_DISCOVER)?;
        if self.error_queue {
            setter.check("IP_RECVERR", enable_error_queue(&socket, true))?;
        }
        if self.metadata != Metadata::NONE {
            setter.check("metadata", self.metadata.enable(&socket))?;
        }
        Ok(socket)
    }
}

/// Sets options and says which one failed.
struct Setter<'a> {
    socket: &'a Socket,
    failed: &'a dyn Fn(Op, io::Error) -> OpError,
}

impl Setter<'_> {
    fn check(&self, name: &'static str, result: io::Result<()>) -> Result<(), OpError> {
        result.map_err(|source| (self.failed)(Op::Set(name), source))
    }

    /// Switches on; what is off already costs no call.
    fn flag(&self, on: bool, option: SocketOption<bool>) -> Result<(), OpError> {
        self.value(on.then_some(true), option)
    }

    fn value<T: OptionValue>(&self, value: Option<T>, option: SocketOption<T>) -> Result<(), OpError> {
        match value {
            Some(value) => self.check(option.name(), self.socket.set(option, value)),
            None => Ok(()),
        }
    }

    /// Not asked for by anybody: a kernel without the option is no reason for having no socket.
    fn if_known(&self, on: bool, option: SocketOption<bool>) -> Result<(), OpError> {
        self.check(option.name(), self.socket.set_if_known(option, on).map(|_| ()))
    }

    fn buffer(
        &self,
        size: Option<BufferSize>,
        capped: SocketOption<u32>,
        forced: SocketOption<u32>,
    ) -> Result<(), OpError> {
        match size {
            Some(size) if size.forced => self.value(Some(size.bytes), forced),
            size => self.value(size.map(|size| size.bytes), capped),
        }
    }
}
