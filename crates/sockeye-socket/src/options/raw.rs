//! Options of raw and ICMP sockets.

use super::options;

/// `SOL_RAW` of the kernel; libc has it not on every target.
const SOL_RAW: i32 = 255;

options! { libc::IPPROTO_IP;
    /// What is sent begins with an IPv4 header of its own.
    IP_HDRINCL: bool = libc::IP_HDRINCL;
    /// Receive packets with a router alert option that this host forwards.
    IP_ROUTER_ALERT: bool = 5; // linux/in.h; not in libc
    /// IPv4 options of what is sent, as encoded, a multiple of four bytes.
    IP_OPTIONS: [u8] = 4; // linux/in.h; not in libc
}

options! { libc::IPPROTO_IPV6;
    /// What is sent begins with an IPv6 header of its own, in which the kernel fills nothing.
    IPV6_HDRINCL: bool = 36; // linux/in6.h; not in libc
    /// Receive packets with a router alert option of this value that this host forwards; -1 is off.
    IPV6_ROUTER_ALERT: i32 = 22; // linux/in6.h; not in libc
    /// The hop-by-hop options header of what is sent, whole; empty takes it away.
    IPV6_HOPOPTS: [u8] = 54; // linux/in6.h; not in libc
}

options! { SOL_RAW;
    /// A bit for each ICMPv4 message type below 32 that is not received.
    ICMP_FILTER: u32 = 1;
    /// Where in the payload the kernel computes and checks an IPv6 checksum, in bytes; -1 is nowhere.
    ///
    /// At the level `IPPROTO_IPV6`, where RFC 3542 has it, the kernel refuses it for ICMPv6.
    IPV6_CHECKSUM: i32 = 7;
}

options! { libc::IPPROTO_ICMPV6;
    /// A bit for each of the 256 ICMPv6 message types that is not received: 32 bytes, words in host order.
    ICMPV6_FILTER: [u8] = 1, at_most 32;
}
