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
    let v6 = is_v6(fd)?;
    let set = |level, name| match option::set(fd, level, name, i32::from(on)) {
        // What the kernel does not have it does not report.
        Err(error) if !on && option::is_unknown(&error) => Ok(()),
        answer => answer,
    };
    for (flag, of_v4, of_v6) in OF_FAMILY {
        if !which.contains(flag) {
            continue;
        }
        let v4_result = set(libc::SOL_IP, of_v4);
        if v6 {
            // The IPv4 options speak for mapped packets, which raw v6 sockets do not carry and refuse to hear of.
            set(libc::SOL_IPV6, of_v6)?;
        } else {
            v4_result?;
        }
    }
    for (flag, name) in OF_SOCKET {
        if which.contains(flag) {
            set(libc::SOL_SOCKET, name)?;
        }
    }
    Ok(())
}

pub(crate) fn active(fd: BorrowedFd<'_>) -> io::Result<Metadata> {
    let v6 = is_v6(fd)?;
    let is_on = |level, name| match option::get::<i32>(fd, level, name) {
        Ok(value) => Ok(value != 0),
        Err(error) if option::is_unknown(&error) => Ok(false),
        Err(error) => Err(error),
    };
    let mut active = Metadata::NONE;
    for (flag, of_v4, of_v6) in OF_FAMILY {
        let (level, name) = if v6 {
            (libc::SOL_IPV6, of_v6)
        } else {
            (libc::SOL_IP, of_v4)
        };
        if is_on(level, name)? {
            active |= flag;
        }
    }
    for (flag, name) in OF_SOCKET {
        if is_on(libc::SOL_SOCKET, name)? {
            active |= flag;
        }
    }
    Ok(active)
}

pub(crate) fn is_v6(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(option::get::<i32>(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)? == libc::AF_INET6)
}
