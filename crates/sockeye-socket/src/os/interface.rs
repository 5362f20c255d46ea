//! The network interfaces of this host: names, indices, addresses.

use std::io;
use std::net::IpAddr;

use crate::sys;

/// A network interface, as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its index, the number that socket options and IPv6 zones take.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it is the loopback interface.
    pub is_loopback: bool,
    /// Whether it carries multicast.
    pub is_multicast: bool,
    /// Whether it carries broadcast.
    pub is_broadcast: bool,
    /// Its addresses with the length of the prefix in bits.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The interfaces of this network namespace, in the order of their indices.
///
/// # Errors
/// What `getifaddrs` returns.
///
/// # References
/// [getifaddrs(3)](https://man7.org/linux/man-pages/man3/getifaddrs.3.html)
#[doc(alias = "getifaddrs")]
pub fn interfaces() -> io::Result<Vec<Interface>> {
    sys::interface::all()
}

/// The index of the interface with this name.
///
/// # Errors
/// ENODEV where there is none.
#[doc(alias = "if_nametoindex")]
pub fn interface_index(name: &str) -> io::Result<u32> {
    sys::interface::index(name)
}

/// The name of the interface with this index.
///
/// # Errors
/// ENXIO where there is none (any more).
#[doc(alias = "if_indextoname")]
pub fn interface_name(index: u32) -> io::Result<String> {
    sys::interface::name(index)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn names_and_indices_lead_to_each_other() {
        let index = interface_index("lo").unwrap();
        assert_eq!(interface_name(index).unwrap(), "lo");
        assert_eq!(
            interface_index("no-such-one").unwrap_err().raw_os_error(),
            Some(libc::ENODEV)
        );
        assert!(interface_index("nul\0inside").is_err());
        assert!(interface_name(u32::MAX).is_err());
    }

    #[test]
    fn loopback_is_among_the_interfaces() {
        let all = interfaces().unwrap();
        let loopback = all.iter().find(|interface| interface.is_loopback).unwrap();
        assert_eq!(loopback.name, "lo");
        assert!(loopback.addresses.contains(&(IpAddr::V4(Ipv4Addr::LOCALHOST), 8)));
        assert!(all.is_sorted_by_key(|interface| interface.index));
    }
}
