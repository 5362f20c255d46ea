//! The names and signatures of `std::net::UdpSocket` and `mio::net::UdpSocket`, beside our own: what is written for
//! those compiles with this type. Where ours say more, each says which it is.
//!
//! Not here: read and write timeouts, as the socket never blocks (`wait_readable`), and `FromRawFd`, which is unsafe
//! (`From<OwnedFd>`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sockeye_socket::options;

use crate::UdpSocket;

/// As in `std` and mio.
impl UdpSocket {
    /// Takes over a socket of the standard library as it is: making it nonblocking is left to the caller. `try_from`
    /// does it too.
    #[must_use]
    pub fn from_std(socket: std::net::UdpSocket) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Whether calls return at once. Ours always do: `true` changes nothing, `false` is for a socket that is given away.
    ///
    /// # Errors
    /// What `fcntl(2)` says.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.socket.set_nonblocking(nonblocking)
    }

    /// Whether it may send to broadcast addresses.
    ///
    /// # Errors
    /// What `getsockopt(2)` says.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket.get(options::SO_BROADCAST)
    }

    /// The time to live of what is sent over IPv4 (1 to 255); see [`set_hop_limit`](Self::set_hop_limit) for both families.
    ///
    /// # Errors
    /// `InvalidInput` for 0 and above 255.
    #[doc(alias = "IP_TTL")]
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set(options::IP_TTL, ttl)
    }

    /// The time to live of what is sent over IPv4.
    ///
    /// # Errors
    /// What `getsockopt(2)` says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.get(options::IP_TTL)
    }

    /// Whether an IPv6 socket takes IPv6 only.
    ///
    /// # Errors
    /// EOPNOTSUPP or ENOPROTOOPT on an IPv4 socket.
    #[doc(alias = "IPV6_V6ONLY")]
    pub fn only_v6(&self) -> io::Result<bool> {
        self.socket.get(options::IPV6_V6ONLY)
    }

    /// Joins an IPv4 group on the interface that has this address; the unspecified one lets the routing table choose.
    /// [`join_group`](Self::join_group) takes the interface by index, and both families.
    ///
    /// # Errors
    /// `InvalidInput` where it is no group, `AddrInUse` where it is joined already, ENODEV where no interface has the
    /// address.
    #[doc(alias = "IP_ADD_MEMBERSHIP")]
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket
            .set_bytes(options::IP_ADD_MEMBERSHIP, &membership(multiaddr, interface))
    }

    /// Leaves an IPv4 group on the interface that has this address.
    ///
    /// # Errors
    /// `AddrNotAvailable` where it was not joined there.
    #[doc(alias = "IP_DROP_MEMBERSHIP")]
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket
            .set_bytes(options::IP_DROP_MEMBERSHIP, &membership(multiaddr, interface))
    }

    /// Joins an IPv6 group on the interface with that index; 0 lets the routing table choose.
    ///
    /// # Errors
    /// As [`join_group`](Self::join_group).
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.join_group(IpAddr::V6(*multiaddr), interface)
    }

    /// Leaves an IPv6 group on that interface.
    ///
    /// # Errors
    /// As [`leave_group`](Self::leave_group).
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.leave_group(IpAddr::V6(*multiaddr), interface)
    }

    /// Whether members on this host hear what the socket sends to IPv4 groups; on unless set.
    ///
    /// # Errors
    /// What `setsockopt(2)` says.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.socket.set(options::IP_MULTICAST_LOOP, on)
    }

    /// Whether members on this host hear what the socket sends to IPv4 groups.
    ///
    /// # Errors
    /// What `getsockopt(2)` says.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket.get(options::IP_MULTICAST_LOOP)
    }

    /// The time to live of what is sent to IPv4 groups; 1 unless set.
    ///
    /// # Errors
    /// `InvalidInput` above 255.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.socket.set(options::IP_MULTICAST_TTL, ttl)
    }

    /// The time to live of what is sent to IPv4 groups.
    ///
    /// # Errors
    /// What `getsockopt(2)` says.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket.get(options::IP_MULTICAST_TTL)
    }

    /// Whether members on this host hear what the socket sends to IPv6 groups; on unless set.
    ///
    /// # Errors
    /// ENOPROTOOPT on an IPv4 socket.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.socket.set(options::IPV6_MULTICAST_LOOP, on)
    }

    /// Whether members on this host hear what the socket sends to IPv6 groups.
    ///
    /// # Errors
    /// ENOPROTOOPT on an IPv4 socket.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket.get(options::IPV6_MULTICAST_LOOP)
    }

    /// Runs `f`, which does some I/O on the socket's descriptor. On Linux that is all: readiness needs no help.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn try_io<F, T>(&self, f: F) -> io::Result<T>
    where
        F: FnOnce() -> io::Result<T>,
    {
        f()
    }
}

/// What ip(7) calls an `ip_mreq`.
fn membership(group: &Ipv4Addr, interface: &Ipv4Addr) -> [u8; 8] {
    let [a, b, c, d] = group.octets();
    let [e, f, g, h] = interface.octets();
    [a, b, c, d, e, f, g, h]
}
