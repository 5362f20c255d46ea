//! What is settled before a socket is bound.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::options::{self, OptionValue, SocketOption};
use sockeye_socket::{Domain, Metadata, Op, OpError, Protocol, Socket, Type, enable_error_queue};

use crate::common::{min_hops_filter, set_hop_limit};
use crate::{Access, HeaderSocket, IcmpSocket, IpSocket};

/// One of the two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The address that stands for all of the host's own.
    #[must_use]
    pub const fn unspecified(self) -> SocketAddr {
        match self {
            Self::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            Self::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        }
    }

    const fn header_include(self) -> SocketOption<bool> {
        match self {
            Self::V4 => options::IP_HDRINCL,
            Self::V6 => options::IPV6_HDRINCL,
        }
    }

    const fn domain(self) -> Domain {
        match self {
            Self::V4 => Domain::IPV4,
            Self::V6 => Domain::IPV6,
        }
    }
}

/// How a raw or ICMP socket shall be: plain data, applied in the one order that works when the socket is opened.
///
/// Sockets start nonblocking and close-on-exec, and, unlike the system's default, hear only the groups they joined
/// themselves.
///
/// ```no_run
/// use sockeye_raw_ip::{IpOptions, Metadata};
///
/// // VRRP: only from neighbours (RFC 9568 section 5.1.1.3), and with the interface each packet came in by.
/// let vrrp = IpOptions::new()
///     .min_hops(255)
///     .metadata(Metadata::DESTINATION)
///     .bind("0.0.0.0:0".parse().unwrap(), 112)?;
/// # Ok::<(), sockeye_raw_ip::OpError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use]
pub struct IpOptions {
    device: Option<String>,
    freebind: bool,
    transparent: bool,
    broadcast: bool,
    send_buffer: Option<u32>,
    recv_buffer: Option<u32>,
    metadata: Metadata,
    error_queue: bool,
    multicast_all: bool,
    mark: Option<u32>,
    hop_limit: Option<u8>,
    min_hops: Option<u8>,
    checksum_offset: Option<u16>,
}

impl IpOptions {
    /// Nothing asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends and receives through this interface only; needs no privilege unless the socket is bound to one already.
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

    /// Size of the send buffer, in bytes; the kernel doubles it for its own overhead.
    #[doc(alias = "SO_SNDBUF")]
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Size of the receive buffer, in bytes; the kernel doubles it for its own overhead.
    #[doc(alias = "SO_RCVBUF")]
    pub fn recv_buffer(mut self, bytes: u32) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Reports these with each received packet.
    pub fn metadata(mut self, which: Metadata) -> Self {
        self.metadata = which;
        self
    }

    /// Queues errors with the packet they speak of. A socket of protocol 255 gets none.
    #[doc(alias = "IP_RECVERR")]
    pub fn error_queue(mut self, on: bool) -> Self {
        self.error_queue = on;
        self
    }

    /// Hears every group that any socket of this host joined, as the system's default has it; off unless asked for. A
    /// kernel that cannot switch it off is told by
    /// [`Capabilities::own_groups_only`](sockeye_socket::Capabilities::own_groups_only).
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

    /// TTL or hop limit of what is sent to single hosts.
    #[doc(alias = "IP_TTL")]
    #[doc(alias = "IPV6_UNICAST_HOPS")]
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = Some(hops);
        self
    }

    /// Receives only what arrives with this TTL or hop limit and above: 255 admits neighbours alone (RFC 5082).
    ///
    /// The kernel's own option for it speaks of TCP only, so this is a packet filter, and the socket's only one.
    #[doc(alias = "IP_MINTTL")]
    #[doc(alias = "IPV6_MINHOPCOUNT")]
    pub fn min_hops(mut self, hops: u8) -> Self {
        self.min_hops = Some(hops);
        self
    }

    /// The kernel computes the IPv6 checksum at this even offset of the payload when sending, and drops what arrives
    /// with a wrong one. IPv6 and [`IpSocket`] only; ICMPv6 has it at 2 unasked.
    #[doc(alias = "IPV6_CHECKSUM")]
    pub fn checksum_offset(mut self, offset: u16) -> Self {
        self.checksum_offset = Some(offset);
        self
    }

    /// Opens a raw socket of `protocol` (1 to 255) and binds it to `local`, which may be unspecified.
    ///
    /// # Errors
    /// [`OpError`]: `PermissionDenied` without CAP_NET_RAW, EPROTONOSUPPORT for protocol 0, `AddrNotAvailable`, and
    /// the option that failed.
    pub fn bind(&self, local: SocketAddr, protocol: u8) -> Result<IpSocket, OpError> {
        let socket = self.open(Family::of(local.ip()), Type::RAW, protocol)?;
        if protocol == HeaderSocket::SEND_ONLY {
            // The kernel takes this number to mean that every packet brings its header.
            self.set(&socket, protocol, Family::of(local.ip()).header_include(), false)?;
        }
        bind_to(&socket, local, protocol)?;
        let socket = IpSocket::try_from(socket).map_err(|source| failed(Op::Adopt, protocol, source))?;
        if let Some(offset) = self.checksum_offset {
            socket
                .set_checksum_offset(Some(offset))
                .map_err(|source| failed(Op::Set("IPV6_CHECKSUM"), protocol, source))?;
        }
        Ok(socket)
    }

    /// Opens a raw socket that sends packets with their own header; it receives those of `protocol`.
    ///
    /// # Errors
    /// As [`IpOptions::bind`].
    pub fn open_header(&self, family: Family, protocol: u8) -> Result<HeaderSocket, OpError> {
        let socket = self.open(family, Type::RAW, protocol)?;
        self.set(&socket, protocol, family.header_include(), true)?;
        HeaderSocket::try_from(socket).map_err(|source| failed(Op::Adopt, protocol, source))
    }

    /// Opens a socket for ICMP messages and binds it to `local`, which may be unspecified.
    ///
    /// # Errors
    /// As [`IcmpSocket::open`]; `AddrNotAvailable`, and the option that failed.
    pub fn bind_icmp(&self, local: SocketAddr, access: Access) -> Result<IcmpSocket, OpError> {
        let family = Family::of(local.ip());
        let protocol = IcmpSocket::protocol_of(family);
        let socket = match access {
            Access::Unprivileged => self.open(family, Type::DGRAM, protocol)?,
            Access::Raw => self.open(family, Type::RAW, protocol)?,
            Access::Auto => match self.open(family, Type::DGRAM, protocol) {
                Ok(socket) => socket,
                // EACCES: the group is outside the range. EPROTONOSUPPORT: the kernel has no ping sockets.
                Err(error) if error.op() == Op::Open => self.open(family, Type::RAW, protocol)?,
                Err(error) => return Err(error),
            },
        };
        // The kernel switches reuse on by itself here, and another socket could take a ping socket's identifier.
        self.set(&socket, protocol, options::SO_REUSEADDR, false)?;
        bind_to(&socket, local, protocol)?;
        let socket = IcmpSocket::try_from(socket).map_err(|source| failed(Op::Adopt, protocol, source))?;
        socket.hide_requests()?;
        Ok(socket)
    }

    fn set<T: OptionValue>(
        &self,
        socket: &Socket,
        protocol: u8,
        option: SocketOption<T>,
        value: T,
    ) -> Result<(), OpError> {
        socket
            .set(option, value)
            .map_err(|source| failed(Op::Set(option.name()), protocol, source))
    }

    /// A socket with everything set that must come before the bind.
    fn open(&self, family: Family, kind: Type, protocol: u8) -> Result<Socket, OpError> {
        let socket = Socket::new(family.domain(), kind, Some(Protocol::from(i32::from(protocol))))
            .map_err(|source| failed(Op::Open, protocol, source))?;
        let check =
            |name, result: io::Result<()>| result.map_err(|source| failed(Op::Set(name), protocol, source));
        if let Some(device) = &self.device {
            check("SO_BINDTODEVICE", socket.bind_to_device(device))?;
        }
        if let Some(bytes) = self.recv_buffer {
            self.set(&socket, protocol, options::SO_RCVBUF, bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            self.set(&socket, protocol, options::SO_SNDBUF, bytes)?;
        }
        if let Some(mark) = self.mark {
            self.set(&socket, protocol, options::SO_MARK, mark)?;
        }
        let (freebind, transparent, multicast_all) = match family {
            Family::V4 => (
                options::IP_FREEBIND,
                options::IP_TRANSPARENT,
                options::IP_MULTICAST_ALL,
            ),
            Family::V6 => (
                options::IPV6_FREEBIND,
                options::IPV6_TRANSPARENT,
                options::IPV6_MULTICAST_ALL,
            ),
        };
        for (on, option) in [
            (self.broadcast, options::SO_BROADCAST),
            (self.freebind, freebind),
            (self.transparent, transparent),
        ] {
            if on {
                self.set(&socket, protocol, option, true)?;
            }
        }
        // Nobody asked for it by default: a kernel without the option is no reason for having no socket.
        let known = socket.set_if_known(multicast_all, self.multicast_all);
        check(multicast_all.name(), known.map(|_| ()))?;
        if let Some(hops) = self.hop_limit {
            check("hop limit", set_hop_limit(&socket, hops))?;
        }
        if let Some(hops) = self.min_hops {
            check(
                "SO_ATTACH_FILTER",
                min_hops_filter(family == Family::V6, hops).attach(&socket),
            )?;
        }
        if self.error_queue {
            check("IP_RECVERR", enable_error_queue(&socket, true))?;
        }
        if self.metadata != Metadata::NONE {
            check("metadata", self.metadata.enable(&socket))?;
        }
        Ok(socket)
    }
}

fn failed(op: Op, protocol: u8, source: io::Error) -> OpError {
    OpError::new(op, Transport::Ip(protocol), source)
}

/// Binds without a port: a ping socket then gets an identifier nobody else has.
fn bind_to(socket: &Socket, mut local: SocketAddr, protocol: u8) -> Result<(), OpError> {
    local.set_port(0);
    let end = Endpoint::ip_protocol(protocol, local.ip());
    socket
        .bind(&local)
        .map_err(|source| failed(Op::Bind, protocol, source).with_local(end))
}
