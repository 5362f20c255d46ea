//! Interface names, indices and addresses through libc.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::{address, check};
use crate::os::Interface;

pub(crate) fn index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `name` ends in NUL and lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

pub(crate) fn name(index: u32) -> io::Result<String> {
    let mut buffer = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the call writes a name and its NUL, IF_NAMESIZE bytes at most, into `buffer`, which has as many.
    let found = unsafe { libc::if_indextoname(index, buffer.as_mut_ptr().cast()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&buffer).map_err(io::Error::other)?;
    Ok(name.to_string_lossy().into_owned())
}

/// The list of getifaddrs, freed when dropped.
struct List(*mut libc::ifaddrs);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the pointer came from getifaddrs and is freed once.
        unsafe { libc::freeifaddrs(self.0) };
    }
}

pub(crate) fn all() -> io::Result<Vec<Interface>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the call writes one pointer.
    check(unsafe { libc::getifaddrs(&raw mut first) })?;
    let list = List(first);
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut next = list.0;
    while !next.is_null() {
        // SAFETY: a pointer of the list that is not null leads to an entry that lives until the list is freed.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        // SAFETY: each entry has a name that ends in NUL.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy();
        // SAFETY: null, or an address of the entry.
        let ip = unsafe { address_at(entry.ifa_addr) };
        // SAFETY: likewise.
        let mask = unsafe { address_at(entry.ifa_netmask) };
        let address = ip.zip(mask).map(|(ip, mask)| (ip, prefix_len(mask)));
        if let Some(known) = interfaces.iter_mut().find(|interface| interface.name == name) {
            known.addresses.extend(address);
            continue;
        }
        // One that has just gone has no index.
        let Ok(index) = index(&name) else { continue };
        let has = |flag: i32| entry.ifa_flags & flag.cast_unsigned() != 0;
        interfaces.push(Interface {
            index,
            name: name.into_owned(),
            is_up: has(libc::IFF_UP),
            is_loopback: has(libc::IFF_LOOPBACK),
            is_multicast: has(libc::IFF_MULTICAST),
            is_broadcast: has(libc::IFF_BROADCAST),
            addresses: address.into_iter().collect(),
        });
    }
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// The IP address behind a pointer of the list; others (of the link layer) are `None`.
///
/// # Safety
///
/// The pointer is null or leads to a socket address.
unsafe fn address_at(pointer: *const libc::sockaddr) -> Option<IpAddr> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, so by the caller's promise it leads to a socket address, which begins with its family.
    let family = i32::from(unsafe { (*pointer).sa_family });
    let len = match family {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    // SAFETY: an address of that family has that many bytes, and lives as long as the list.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len) };
    address::decode(bytes).as_ref().map(SocketAddr::ip)
}

fn prefix_len(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(u8::MAX)
}
