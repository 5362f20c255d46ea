//! The change of an address under a transport checksum.

use core::net::IpAddr;

use crate::checksum::update_checksum_bytes;

/// The checksum after an address of its pseudo-header became another of the same family; unchanged if the families differ.
pub(crate) fn readdressed(checksum: u16, old: IpAddr, new: IpAddr) -> u16 {
    match (old, new) {
        (IpAddr::V4(old), IpAddr::V4(new)) => update_checksum_bytes(checksum, &old.octets(), &new.octets()),
        (IpAddr::V6(old), IpAddr::V6(new)) => update_checksum_bytes(checksum, &old.octets(), &new.octets()),
        _ => checksum,
    }
}
