//! Options of IP sockets, levels `IPPROTO_IP` and `IPPROTO_IPV6`.

use super::options;

options! { libc::IPPROTO_IP;
    /// The time to live of what is sent, 1 to 255.
    IP_TTL: u32 = libc::IP_TTL, at_most 255;
    /// DSCP and ECN of what is sent, as the byte in the header. TCP keeps the ECN bits to itself.
    IP_TOS: u32 = libc::IP_TOS, at_most 255;
    /// Bind and connect from addresses that are not this host's; needs `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    IP_TRANSPARENT: bool = libc::IP_TRANSPARENT;
    /// Bind to an address that no interface has (yet).
    IP_FREEBIND: bool = libc::IP_FREEBIND;
    /// Leave the choice of the port to `connect`, which then may share one among different peers.
    IP_BIND_ADDRESS_NO_PORT: bool = libc::IP_BIND_ADDRESS_NO_PORT;
    /// The ephemeral ports this socket chooses from: the low one in the lower half, the high one in the upper, 0 for
    /// the system's.
    IP_LOCAL_PORT_RANGE: u32 = 51; // linux/in.h; not in libc
    /// Drop what arrives with a smaller time to live (RFC 5082), 0 for none.
    IP_MINTTL: u32 = libc::IP_MINTTL;
    /// Path MTU discovery: `IP_PMTUDISC_DONT` 0, `WANT` 1, `DO` 2, `PROBE` 3, `INTERFACE` 4, `OMIT` 5.
    IP_MTU_DISCOVER: i32 = libc::IP_MTU_DISCOVER;
    /// The path MTU known for the connected peer, in bytes of IP packet. Read only.
    IP_MTU: u32 = libc::IP_MTU;
    /// Queue errors, ICMP ones among them, with their origin.
    IP_RECVERR: bool = libc::IP_RECVERR;
    /// The address that the client of a redirected connection wanted, as a `sockaddr_in` (netfilter). Read only.
    SO_ORIGINAL_DST: [u8] = libc::SO_ORIGINAL_DST;
}

options! { libc::IPPROTO_IPV6;
    /// Take no IPv4 connections in on an IPv6 socket.
    IPV6_V6ONLY: bool = libc::IPV6_V6ONLY;
    /// The hop limit of what is sent; -1 is the route's.
    IPV6_UNICAST_HOPS: i32 = libc::IPV6_UNICAST_HOPS;
    /// DSCP and ECN of what is sent, as the byte in the header.
    IPV6_TCLASS: i32 = libc::IPV6_TCLASS;
    /// As [`IP_TRANSPARENT`].
    IPV6_TRANSPARENT: bool = libc::IPV6_TRANSPARENT;
    /// As [`IP_FREEBIND`].
    IPV6_FREEBIND: bool = libc::IPV6_FREEBIND;
    /// As [`IP_MINTTL`].
    IPV6_MINHOPCOUNT: u32 = libc::IPV6_MINHOPCOUNT;
    /// As [`IP_MTU_DISCOVER`].
    IPV6_MTU_DISCOVER: i32 = libc::IPV6_MTU_DISCOVER;
    /// As [`IP_MTU`].
    IPV6_MTU: u32 = libc::IPV6_MTU;
    /// As [`IP_RECVERR`].
    IPV6_RECVERR: bool = libc::IPV6_RECVERR;
    /// As [`SO_ORIGINAL_DST`], a `sockaddr_in6`.
    IP6T_SO_ORIGINAL_DST: [u8] = libc::IP6T_SO_ORIGINAL_DST;
}
