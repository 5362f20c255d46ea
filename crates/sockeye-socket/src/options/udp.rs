//! Options of datagram sockets: UDP's own, and multicast.

use super::options;

options! { libc::SOL_UDP;
    /// Hand over several datagrams of one sender in one receive.
    UDP_GRO: bool = libc::UDP_GRO;
    /// Cut every payload into datagrams of so many bytes; 0 is off. A message can say it for itself.
    UDP_SEGMENT: u32 = libc::UDP_SEGMENT;
    /// Hold data back until switched off, then send all of it as one datagram.
    UDP_CORK: bool = libc::UDP_CORK;
    /// Send without a checksum over IPv6 (RFC 6935, for tunnels only).
    UDP_NO_CHECK6_TX: bool = 101; // linux/udp.h; not in libc
    /// Take datagrams without a checksum over IPv6.
    UDP_NO_CHECK6_RX: bool = 102; // linux/udp.h; not in libc
}

options! { libc::SOL_SOCKET;
    /// Send without a checksum over IPv4. The kernel then refuses segmentation.
    SO_NO_CHECK: bool = libc::SO_NO_CHECK;
    /// Where to start peeking; -1 is the front of the queue.
    SO_PEEK_OFF: i32 = libc::SO_PEEK_OFF;
}

options! { libc::IPPROTO_IP;
    /// Receive datagrams of groups that other sockets joined, too. On unless set otherwise, whatever one expects.
    IP_MULTICAST_ALL: bool = libc::IP_MULTICAST_ALL;
    /// The time to live of datagrams to groups; 1 unless set.
    IP_MULTICAST_TTL: u32 = libc::IP_MULTICAST_TTL, at_most 255;
    /// The interface to send to groups through, as an `ip_mreqn`.
    IP_MULTICAST_IF: [u8] = libc::IP_MULTICAST_IF, at_most 12;
    /// Hear what oneself sends to groups.
    IP_MULTICAST_LOOP: bool = libc::IP_MULTICAST_LOOP;
    /// Joins an IPv4 group by the address of an interface: group and address, four bytes each (struct ip_mreq, ip(7)).
    IP_ADD_MEMBERSHIP: [u8] = libc::IP_ADD_MEMBERSHIP, at_most 12;
    /// Leaves it.
    IP_DROP_MEMBERSHIP: [u8] = libc::IP_DROP_MEMBERSHIP, at_most 12;
}

options! { libc::IPPROTO_IPV6;
    /// As [`IP_MULTICAST_ALL`].
    IPV6_MULTICAST_ALL: bool = 29; // linux/in6.h; not in libc on every target
    /// The hop limit of datagrams to groups; -1 is the route's, 1 unless set.
    IPV6_MULTICAST_HOPS: i32 = libc::IPV6_MULTICAST_HOPS;
    /// As [`IP_MULTICAST_LOOP`].
    IPV6_MULTICAST_LOOP: bool = libc::IPV6_MULTICAST_LOOP;
    /// Index of the interface to send to groups through; 0 lets routing decide.
    IPV6_MULTICAST_IF: u32 = libc::IPV6_MULTICAST_IF;
}
