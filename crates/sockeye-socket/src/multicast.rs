//! Membership in multicast groups, of both families, by interface, from any source or from one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use crate::sys;

/// Joins `group` on the interface with this index; 0 lets the routing table choose one.
///
/// # Errors
/// `InvalidInput` where `group` is no group, `AddrInUse` where the socket has joined it already, ENODEV where there is
/// no such interface or no route to the group, ENOBUFS at the limit `net.ipv4.igmp_max_memberships`.
///
/// # References
/// [RFC 3678](https://www.rfc-editor.org/rfc/rfc3678) section 5
#[doc(alias = "MCAST_JOIN_GROUP")]
#[doc(alias = "IP_ADD_MEMBERSHIP")]
#[doc(alias = "IPV6_JOIN_GROUP")]
pub fn join_group(socket: impl AsFd, group: IpAddr, interface: u32) -> io::Result<()> {
    change(socket, libc::MCAST_JOIN_GROUP, group, None, interface)
}

/// Leaves `group` on that interface.
///
/// # Errors
/// `AddrNotAvailable` where the socket is not a member.
#[doc(alias = "MCAST_LEAVE_GROUP")]
#[doc(alias = "IP_DROP_MEMBERSHIP")]
pub fn leave_group(socket: impl AsFd, group: IpAddr, interface: u32) -> io::Result<()> {
    change(socket, libc::MCAST_LEAVE_GROUP, group, None, interface)
}

/// Joins `group` for what `source` sends to it (SSM).
///
/// # Errors
/// As [`join_group`]; `AddrNotAvailable` where the source is in the list already.
///
/// # References
/// [RFC 4607](https://www.rfc-editor.org/rfc/rfc4607)
#[doc(alias = "MCAST_JOIN_SOURCE_GROUP")]
#[doc(alias = "IP_ADD_SOURCE_MEMBERSHIP")]
pub fn join_source(socket: impl AsFd, group: IpAddr, source: IpAddr, interface: u32) -> io::Result<()> {
    change(
        socket,
        libc::MCAST_JOIN_SOURCE_GROUP,
        group,
        Some(source),
        interface,
    )
}

/// No longer takes what `source` sends to `group`.
///
/// # Errors
/// As [`leave_group`].
#[doc(alias = "MCAST_LEAVE_SOURCE_GROUP")]
pub fn leave_source(socket: impl AsFd, group: IpAddr, source: IpAddr, interface: u32) -> io::Result<()> {
    change(
        socket,
        libc::MCAST_LEAVE_SOURCE_GROUP,
        group,
        Some(source),
        interface,
    )
}

/// `struct group_req`, or `struct group_source_req` where there is a source: an index, then socket addresses in the
/// room of a `sockaddr_storage` each, at the alignment of a pointer.
fn change(
    socket: impl AsFd,
    option: i32,
    group: IpAddr,
    source: Option<IpAddr>,
    interface: u32,
) -> io::Result<()> {
    const STORAGE: usize = 128;
    const FIRST: usize = size_of::<usize>();
    let mut request = [0; FIRST + 2 * STORAGE];
    request[..4].copy_from_slice(&interface.to_ne_bytes());
    let mut place = FIRST;
    for address in std::iter::once(group).chain(source) {
        let mut raw = sys::address::RawAddress::EMPTY;
        raw.set(&SocketAddr::new(address, 0));
        let bytes = raw.bytes();
        request[place..place + bytes.len()].copy_from_slice(&bytes);
        place += STORAGE;
    }
    let level = if group.is_ipv4() {
        libc::SOL_IP
    } else {
        libc::SOL_IPV6
    };
    sys::option::set_bytes(socket.as_fd(), level, option, &request[..place])
}
