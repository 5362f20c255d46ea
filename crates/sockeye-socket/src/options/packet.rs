//! Options of packet sockets (AF_PACKET).

use super::options;

options! { crate::sys::abi::SOL_PACKET;
    /// Receive more: a `packet_mreq` (index as `i32`, kind and address length as `u16`, eight bytes of address).
    PACKET_ADD_MEMBERSHIP: [u8] = 1, at_most 16;
    /// Undo [`PACKET_ADD_MEMBERSHIP`] with the same value.
    PACKET_DROP_MEMBERSHIP: [u8] = 2, at_most 16;
    /// A ring that the kernel fills with frames: a `tpacket_req` or, in version 3, a `tpacket_req3`.
    PACKET_RX_RING: [u8] = 5, at_most 28;
    /// Frames and drops since this was last read: three `u32` with a ring of version 3, else two.
    PACKET_STATISTICS: [u8] = 6;
    /// Report the VLAN tag and the state of the checksum with each frame.
    PACKET_AUXDATA: bool = 8;
    /// The layout of rings: 0, 1 or 2 stand for `TPACKET_V1`, `V2`, `V3`.
    PACKET_VERSION: i32 = 10;
    /// A ring of frames to send: as for [`PACKET_RX_RING`].
    PACKET_TX_RING: [u8] = 13, at_most 28;
    /// A send ring passes over frames that the kernel refuses.
    PACKET_LOSS: bool = 14;
    /// Share frames among the sockets of a group: its number, and kind and flags in the upper half.
    PACKET_FANOUT: u32 = 18;
    /// Send past the queueing discipline, straight to the driver.
    PACKET_QDISC_BYPASS: bool = 20;
    /// Do not receive what this host sends (Linux 4.20).
    PACKET_IGNORE_OUTGOING: bool = 23;
}
