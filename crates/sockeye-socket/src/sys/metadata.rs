//! The socket options behind [`Metadata`].

use std::io;
use std::os::fd::BorrowedFd;

use super::{abi, option};
use crate::message::Metadata;

/// Flag, option of IPv4, option of IPv6.
const OF_FAMILY: [(Metadata, i32, i32); 4] = [
    (Metadata::DESTINATION, libc::IP_PKTINFO, libc::IPV6_RECVPKTINFO),
    (Metadata::TRAFFIC_CLASS, libc::IP_RECVTOS, libc::IPV6_RECVTCLASS),
    (Metadata::HOP_LIMIT, libc::IP_RECVTTL, libc::IPV6_RECVHOPLIMIT),
    (
        Metadata::ORIGINAL_DESTINATION,
        libc::IP_ORIGDSTADDR,
        abi::IPV6_ORIGDSTADDR,
    ),
];
const OF_SOCKET: [(Metadata, i32); 2] = [
    (Metadata::TIMESTAMP, abi::SO_TIMESTAMPNS_NEW),
    (Metadata::DROPS, libc::SO_RXQ_OVFL),
];

pub(crate) fn set(fd: BorrowedFd<'_>, which: Metadata, on: bool) -> io::Result<()> {
    let value = i32::from(on);
    let v6 = is_v6(fd)?;
    for (flag, of_v4, of_v6) in OF_FAMILY {
        if !which.contains(flag) {
            continue;
        }
        let v4_result = option::set(fd, libc::SOL_IP, of_v4, value);
        if v6 {
            // The IPv4 options speak for mapped packets, which raw v6 sockets do not carry and refuse to hear of.
            option::set(fd, libc::SOL_IPV6, of_v6, value)?;
        } else {
            v4_result?;
        }
    }
    for (flag, name) in OF_SOCKET {
        if which.contains(flag) {
            option::set(fd, libc::SOL_SOCKET, name, value)?;
        }
    }
    Ok(())
}

pub(crate) fn active(fd: BorrowedFd<'_>) -> io::Result<Metadata> {
    let v6 = is_v6(fd)?;
    let mut active = Metadata::NONE;
    for (flag, of_v4, of_v6) in OF_FAMILY {
        let (level, name) = if v6 {
            (libc::SOL_IPV6, of_v6)
        } else {
            (libc::SOL_IP, of_v4)
        };
        if option::get::<i32>(fd, level, name)? != 0 {
            active |= flag;
        }
    }
    for (flag, name) in OF_SOCKET {
        if option::get::<i32>(fd, libc::SOL_SOCKET, name)? != 0 {
            active |= flag;
        }
    }
    Ok(active)
}

pub(crate) fn is_v6(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(option::get::<i32>(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)? == libc::AF_INET6)
}
