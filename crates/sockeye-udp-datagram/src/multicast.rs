//! Groups: membership, and how datagrams leave to them.

use std::io;
use std::net::IpAddr;

use sockeye_socket::{join_group, join_source, leave_group, leave_source, options};

use crate::UdpSocket;

/// Multicast, of both families. Interfaces are named by index (see `sockeye_socket::os::interface_index`); 0 lets the
/// routing table choose.
impl UdpSocket {
    /// Joins `group` on an interface, whoever sends to it.
    ///
    /// # Errors
    /// `InvalidInput` where it is no group, `AddrInUse` where it is joined already, ENODEV where there is no such
    /// interface or no route to the group.
    #[doc(alias = "join_multicast_v4")]
    #[doc(alias = "IP_ADD_MEMBERSHIP")]
    #[doc(alias = "IPV6_JOIN_GROUP")]
    pub fn join_group(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        join_group(self, group, interface)
    }

    /// Leaves `group` on that interface.
    ///
    /// # Errors
    /// `AddrNotAvailable` where it was not joined.
    #[doc(alias = "leave_multicast_v4")]
    pub fn leave_group(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        leave_group(self, group, interface)
    }

    /// Joins `group` for what `source` sends to it.
    ///
    /// # Errors
    /// As [`join_group`](Self::join_group).
    #[doc(alias = "IP_ADD_SOURCE_MEMBERSHIP")]
    pub fn join_source(&self, group: IpAddr, source: IpAddr, interface: u32) -> io::Result<()> {
        join_source(self, group, source, interface)
    }

    /// No longer takes what `source` sends to `group`.
    ///
    /// # Errors
    /// As [`leave_group`](Self::leave_group).
    pub fn leave_source(&self, group: IpAddr, source: IpAddr, interface: u32) -> io::Result<()> {
        leave_source(self, group, source, interface)
    }

    /// TTL or hop limit of datagrams to groups; 1 unless set.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "IP_MULTICAST_TTL")]
    #[doc(alias = "IPV6_MULTICAST_HOPS")]
    pub fn set_multicast_hops(&self, hops: u8) -> io::Result<()> {
        if self.socket.is_ipv6()? {
            self.socket.set(options::IPV6_MULTICAST_HOPS, i32::from(hops))?;
        }
        self.socket.set(options::IP_MULTICAST_TTL, u32::from(hops))
    }

    /// Whether members on this host hear what the socket sends to groups; on unless set.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "IP_MULTICAST_LOOP")]
    #[doc(alias = "IPV6_MULTICAST_LOOP")]
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        if self.socket.is_ipv6()? {
            self.socket.set(options::IPV6_MULTICAST_LOOP, on)?;
        }
        self.socket.set(options::IP_MULTICAST_LOOP, on)
    }

    /// The interface that datagrams to groups leave by; 0 lets the routing table choose.
    ///
    /// # Errors
    /// ENODEV or `AddrNotAvailable` where there is no such interface.
    #[doc(alias = "IP_MULTICAST_IF")]
    #[doc(alias = "IPV6_MULTICAST_IF")]
    pub fn set_multicast_interface(&self, index: u32) -> io::Result<()> {
        if self.socket.is_ipv6()? {
            self.socket.set(options::IPV6_MULTICAST_IF, index)
        } else {
            let mut request = [0; 12];
            request[8..].copy_from_slice(&index.to_ne_bytes());
            self.socket.set_bytes(options::IP_MULTICAST_IF, &request)
        }
    }

    /// Whether the socket hears groups that only others on this host joined. Off on sockets of this crate.
    ///
    /// # Errors
    /// What `setsockopt` returns.
    #[doc(alias = "IP_MULTICAST_ALL")]
    #[doc(alias = "IPV6_MULTICAST_ALL")]
    pub fn set_multicast_all(&self, on: bool) -> io::Result<()> {
        if self.socket.is_ipv6()? {
            self.socket.set(options::IPV6_MULTICAST_ALL, on)?;
        }
        self.socket.set(options::IP_MULTICAST_ALL, on)
    }
}
