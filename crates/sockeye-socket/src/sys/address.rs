//! Socket addresses as the kernel writes them, encoded and decoded byte by byte: no casts, no alignment to get wrong.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of a `sockaddr_in6`, the largest address an IP socket reports.
pub(crate) const ADDRESS_LEN: usize = 28;

/// The same as the kernel counts it.
pub(crate) const ADDRESS_SOCKLEN: libc::socklen_t = 28;

const V4_SOCKLEN: libc::socklen_t = 16;
const FAMILY_V4: libc::sa_family_t = 2;
const FAMILY_V6: libc::sa_family_t = 10;
const _: () = assert!(FAMILY_V4 as i32 == libc::AF_INET && FAMILY_V6 as i32 == libc::AF_INET6);

/// A `sockaddr_in` or `sockaddr_in6` in the kernel's layout.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
pub(crate) struct RawAddress([u8; ADDRESS_LEN]);

impl RawAddress {
    pub(crate) const EMPTY: Self = Self([0; ADDRESS_LEN]);

    /// Writes `address` and returns how many bytes of it count.
    #[inline]
    pub(crate) fn set(&mut self, address: &SocketAddr) -> u32 {
        let bytes = &mut self.0;
        match address {
            SocketAddr::V4(v4) => {
                bytes[0..2].copy_from_slice(&FAMILY_V4.to_ne_bytes());
                bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                bytes[8..16].fill(0);
                V4_SOCKLEN
            }
            SocketAddr::V6(v6) => {
                bytes[0..2].copy_from_slice(&FAMILY_V6.to_ne_bytes());
                bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                ADDRESS_SOCKLEN
            }
        }
    }

    /// The address in the first `len` bytes.
    #[inline]
    pub(crate) fn decode(&self, len: u32) -> Option<SocketAddr> {
        decode(self.0.get(..(len as usize).min(ADDRESS_LEN))?)
    }

    pub(crate) fn bytes(&self) -> [u8; ADDRESS_LEN] {
        self.0
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    #[inline]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// The IP address and port in `bytes`, or `None` where they hold another family or too little.
#[inline]
pub(crate) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?);
    if family == FAMILY_V4 {
        let bytes: &[u8; 8] = bytes.get(..8)?.try_into().ok()?;
        let [_, _, p0, p1, a, b, c, d] = *bytes;
        let port = u16::from_be_bytes([p0, p1]);
        return Some(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port)));
    }
    if family == FAMILY_V6 {
        let bytes: &[u8; ADDRESS_LEN] = bytes.get(..ADDRESS_LEN)?.try_into().ok()?;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        let flowinfo = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let mut octets = [0; 16];
        octets.copy_from_slice(&bytes[8..24]);
        let scope = u32::from_ne_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        return Some(SocketAddr::V6(SocketAddrV6::new(
            Ipv6Addr::from(octets),
            port,
            flowinfo,
            scope,
        )));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_kernel_layout() {
        for text in ["192.0.2.1:80", "[2001:db8::7]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut raw = RawAddress::EMPTY;
            let len = raw.set(&address);
            assert_eq!(raw.decode(len), Some(address));
        }
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 7, 3));
        let mut raw = RawAddress::EMPTY;
        let len = raw.set(&scoped);
        assert_eq!(raw.decode(len), Some(scoped));
    }

    #[test]
    fn a_short_or_foreign_address_is_none_not_a_guess() {
        let mut raw = RawAddress::EMPTY;
        assert_eq!(raw.decode(0), None);
        let len = raw.set(&"[::1]:1".parse().unwrap());
        assert_eq!(raw.decode(len - 1), None);
        assert_eq!(raw.decode(1), None);
        raw.0[0..2].copy_from_slice(&1u16.to_ne_bytes());
        assert_eq!(raw.decode(28), None);
    }
}
