//! Names of hosts, as the C library's resolver knows them.

use std::ffi::CStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Why `getaddrinfo` has no answer: its own code, or the errno behind `EAI_SYSTEM`.
#[derive(Debug)]
pub(crate) enum Failure {
    Code(libc::c_int),
    System(io::Error),
}

/// The addresses that the C library's resolver has for a name, at most `max`; port 0.
pub(crate) fn getaddrinfo(host: &CStr, family: libc::c_int, max: usize) -> Result<Vec<SocketAddr>, Failure> {
    // One socket type, or each address comes once a type.
    let hints = libc::addrinfo {
        ai_flags: 0,
        ai_family: family,
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: std::ptr::null_mut(),
        ai_canonname: std::ptr::null_mut(),
        ai_next: std::ptr::null_mut(),
    };
    let mut list = std::ptr::null_mut();
    // SAFETY: `host` ends in NUL, `hints` is fully set, no service is asked for, and `list` takes one pointer.
    let code = unsafe { libc::getaddrinfo(host.as_ptr(), std::ptr::null(), &raw const hints, &raw mut list) };
    match code {
        0 => {}
        libc::EAI_SYSTEM => return Err(Failure::System(io::Error::last_os_error())),
        _ => return Err(Failure::Code(code)),
    }
    let list = List(list);
    let mut addresses = Vec::new();
    let mut next = list.0.cast_const();
    while addresses.len() < max {
        // SAFETY: null, or a node of the list, which lives until `list` is dropped.
        let Some(node) = (unsafe { next.as_ref() }) else {
            break;
        };
        if let Some(address) = read_address(node)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
        next = node.ai_next;
    }
    Ok(addresses)
}

/// What `getaddrinfo` has allocated.
struct List(*mut libc::addrinfo);

impl Drop for List {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from a successful getaddrinfo and is freed this once.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
}

/// The address of one node; `None` for a family that is not the Internet's.
fn read_address(node: &libc::addrinfo) -> Option<SocketAddr> {
    let len = usize::try_from(node.ai_addrlen).ok()?;
    match node.ai_family {
        libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the library says that the address is of this family, and that it is this long.
            let address = unsafe { node.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(
                ip,
                u16::from_be(address.sin_port),
            )))
        }
        libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let address = unsafe { node.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(
                ip,
                port,
                0,
                address.sin6_scope_id,
            )))
        }
        _ => None,
    }
}
