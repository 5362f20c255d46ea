//! Where something can be reached: transport, address, zone and port.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::str::FromStr;

use thiserror::Error;

use crate::ParseError;
use crate::parse;
use crate::transport::Transport;
use crate::zone::{Zone, ZoneName};

/// A transport, an address with its zone, and a port: TCP 53 and UDP 53 are different endpoints.
///
/// It is written `tcp://127.0.0.1:80`, `udp://[fe80::1%eth0]:53`, `icmp://10.0.0.1`, `ip+89://10.0.0.1`. Equality,
/// order and hash are of exactly what is written; [`same_endpoint`](Self::same_endpoint) asks whether two lead to the
/// same place.
///
/// ```
/// use sockeye_endpoint::{Endpoint, Transport};
///
/// let web: Endpoint = "tcp://[::1]:80".parse()?;
/// assert_eq!(web.transport(), Transport::Tcp);
/// assert_eq!(web.socket_addr()?, "[::1]:80".parse().unwrap());
/// assert_ne!(web, web.with_transport(Transport::Udp));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    transport: Transport,
    ip: IpAddr,
    zone: Option<Zone>,
    port: u16,
}

impl Endpoint {
    /// The endpoint of these. A transport without ports takes port 0 whatever `port` says.
    #[must_use]
    pub const fn new(transport: Transport, ip: IpAddr, port: u16) -> Self {
        let port = if transport.has_ports() { port } else { 0 };
        Self {
            transport,
            ip,
            zone: None,
            port,
        }
    }

    /// The endpoint that a socket address names on this transport; its flow label is no part of an endpoint.
    #[must_use]
    pub const fn from_socket_addr(transport: Transport, address: SocketAddr) -> Self {
        let zone = match address {
            SocketAddr::V6(v6) => Zone::from_index(v6.scope_id()),
            SocketAddr::V4(_) => None,
        };
        Self::new(transport, address.ip(), address.port()).with_zone(zone)
    }

    /// [`from_socket_addr`](Self::from_socket_addr) for TCP.
    #[must_use]
    pub const fn tcp(address: SocketAddr) -> Self {
        Self::from_socket_addr(Transport::Tcp, address)
    }

    /// [`from_socket_addr`](Self::from_socket_addr) for UDP.
    #[must_use]
    pub const fn udp(address: SocketAddr) -> Self {
        Self::from_socket_addr(Transport::Udp, address)
    }

    /// An endpoint of IP itself: no port.
    #[must_use]
    pub const fn ip_protocol(protocol: u8, ip: IpAddr) -> Self {
        Self::new(Transport::Ip(protocol), ip, 0)
    }

    /// Parses an endpoint that names its transport.
    ///
    /// # Errors
    ///
    /// What is wrong and at which byte; [`ParseErrorKind`](crate::ParseErrorKind) lists the kinds.
    pub const fn parse(text: &str) -> Result<Self, ParseError> {
        parse::endpoint(text.as_bytes(), None)
    }

    /// Parses an endpoint whose text may leave out the transport: `127.0.0.1:80`, `[::1]:80`.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse) without [`MissingTransport`](crate::ParseErrorKind::MissingTransport).
    pub const fn parse_or(text: &str, default: Transport) -> Result<Self, ParseError> {
        parse::endpoint(text.as_bytes(), Some(default))
    }

    /// The transport.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The address, without its zone.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The zone, when there is one. An IPv4 address never has one.
    #[must_use]
    pub const fn zone(&self) -> Option<Zone> {
        self.zone
    }

    /// The port in host byte order; 0 where the transport has none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The same with another zone. On an IPv4 address the zone stays `None`.
    #[must_use]
    pub const fn with_zone(mut self, zone: Option<Zone>) -> Self {
        self.zone = match self.ip {
            IpAddr::V6(_) => zone,
            IpAddr::V4(_) => None,
        };
        self
    }

    /// The same with another port. On a transport without ports it stays 0.
    #[must_use]
    pub const fn with_port(self, port: u16) -> Self {
        Self::new(self.transport, self.ip, port).with_zone(self.zone)
    }

    /// The same on another transport.
    #[must_use]
    pub const fn with_transport(self, transport: Transport) -> Self {
        Self::new(transport, self.ip, self.port).with_zone(self.zone)
    }

    /// What a socket call takes.
    ///
    /// # Errors
    ///
    /// [`UnresolvedZone`] when the zone is a name: only the system knows its index. See
    /// [`socket_addr_with`](Self::socket_addr_with).
    pub fn socket_addr(&self) -> Result<SocketAddr, UnresolvedZone> {
        self.socket_addr_with(|_| None)
    }

    /// What a socket call takes, with `index_of` to say which interface a name is.
    ///
    /// # Errors
    ///
    /// [`UnresolvedZone`] when `index_of` does not know the name.
    pub fn socket_addr_with(
        &self,
        index_of: impl FnOnce(&str) -> Option<u32>,
    ) -> Result<SocketAddr, UnresolvedZone> {
        let ip = match self.ip {
            IpAddr::V4(ip) => return Ok(SocketAddr::V4(SocketAddrV4::new(ip, self.port))),
            IpAddr::V6(ip) => ip,
        };
        let scope_id = match self.zone {
            None => 0,
            Some(Zone::Index(index)) => index.get(),
            Some(Zone::Name(name)) => index_of(name.as_str()).ok_or(UnresolvedZone { name })?,
        };
        Ok(SocketAddr::V6(SocketAddrV6::new(ip, self.port, 0, scope_id)))
    }

    /// The form in which endpoints that lead to the same place are equal: a mapped address (`::ffff:10.0.0.1`) becomes
    /// the IPv4 address that it stands for, and a zone goes where the address is not scoped.
    #[must_use]
    pub const fn canonical(self) -> Self {
        let IpAddr::V6(ip) = self.ip else { return self };
        match ip.to_ipv4_mapped() {
            Some(mapped) => Self {
                ip: IpAddr::V4(mapped),
                zone: None,
                ..self
            },
            None if is_scoped(ip) => self,
            None => Self { zone: None, ..self },
        }
    }

    /// Whether the two lead to the same place: equality of [`canonical`](Self::canonical) forms.
    ///
    /// A zone by name and a zone by number are never known to be the same.
    #[must_use]
    pub fn same_endpoint(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

/// Whether a zone means something on this address: link-local unicast, and multicast of interface or link scope.
const fn is_scoped(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    first & 0xffc0 == 0xfe80 || matches!(first & 0xff0f, 0xff01 | 0xff02)
}

/// The zone is an interface name that has not been resolved to an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("no interface index is known for zone {name}")]
pub struct UnresolvedZone {
    /// The interface name.
    pub name: ZoneName,
}

/// A flow label would be lost: it is no part of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("the socket address carries flow information {flowinfo:#x}, which an endpoint does not")]
pub struct FlowInfoLost {
    /// `sin6_flowinfo`, as [`SocketAddrV6::flowinfo`] returns it.
    pub flowinfo: u32,
}

impl From<(Transport, SocketAddrV4)> for Endpoint {
    fn from((transport, address): (Transport, SocketAddrV4)) -> Self {
        Self::from_socket_addr(transport, SocketAddr::V4(address))
    }
}

impl TryFrom<(Transport, SocketAddr)> for Endpoint {
    type Error = FlowInfoLost;

    fn try_from((transport, address): (Transport, SocketAddr)) -> Result<Self, FlowInfoLost> {
        match address {
            SocketAddr::V6(v6) if v6.flowinfo() != 0 => Err(FlowInfoLost {
                flowinfo: v6.flowinfo(),
            }),
            _ => Ok(Self::from_socket_addr(transport, address)),
        }
    }
}

impl TryFrom<Endpoint> for (Transport, SocketAddr) {
    type Error = UnresolvedZone;

    fn try_from(endpoint: Endpoint) -> Result<Self, UnresolvedZone> {
        Ok((endpoint.transport, endpoint.socket_addr()?))
    }
}

impl FromStr for Endpoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.transport, self.ip) {
            // The parser takes these names for slips, so what was meant is written as a number.
            (Transport::ICMP, IpAddr::V6(_)) | (Transport::ICMPV6, IpAddr::V4(_)) => {
                write!(f, "ip+{}://", self.transport.protocol())?;
            }
            _ => write!(f, "{}://", self.transport)?,
        }
        write_host(f, self.ip, self.zone)?;
        if self.transport.has_ports() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `10.0.0.1`, `[::1]`, `[fe80::1%eth0]`. The standard library's output is that of RFC 5952.
pub(crate) fn write_host(f: &mut fmt::Formatter<'_>, ip: IpAddr, zone: Option<Zone>) -> fmt::Result {
    match (ip, zone) {
        (IpAddr::V4(ip), _) => write!(f, "{ip}"),
        (IpAddr::V6(ip), None) => write!(f, "[{ip}]"),
        (IpAddr::V6(ip), Some(zone)) => write!(f, "[{ip}%{zone}]"),
    }
}

/// An [`Endpoint`] checked when the program is compiled.
///
/// ```
/// use sockeye_endpoint::{Endpoint, endpoint};
///
/// const RESOLVER: Endpoint = endpoint!("udp://[::1]:53");
/// assert_eq!(RESOLVER.port(), 53);
/// ```
///
/// ```compile_fail
/// let short = sockeye_endpoint::endpoint!("tcp://127.1:80");
/// ```
#[macro_export]
macro_rules! endpoint {
    ($text:expr) => {
        const {
            match $crate::Endpoint::parse($text) {
                Ok(endpoint) => endpoint,
                Err(_) => panic!(concat!("not an endpoint: ", stringify!($text))),
            }
        }
    };
}
