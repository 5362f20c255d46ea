//! Numbers of the kernel's interface that libc does not name on every target.

/// `SO_TIMESTAMPNS_NEW`: receive timestamps as two 64-bit words on every architecture.
pub(crate) const SO_TIMESTAMPNS_NEW: i32 = 64;
/// `SO_TIMESTAMPING_NEW`: likewise for transmit timestamps.
pub(crate) const SO_TIMESTAMPING_NEW: i32 = 65;
/// `SCM_TS_OPT_ID`: the caller's own number for a transmit timestamp (Linux 6.13).
pub(crate) const SCM_TS_OPT_ID: i32 = 81;
/// `SO_PASSPIDFD`: a message's sender as a pidfd (Linux 6.5).
pub(crate) const SO_PASSPIDFD: i32 = 76;
/// `IPV6_ORIGDSTADDR` and its receive option.
pub(crate) const IPV6_ORIGDSTADDR: i32 = 74;
/// `IPV6_MULTICAST_ALL`.
pub(crate) const IPV6_MULTICAST_ALL: i32 = 29;

/// `SOL_PACKET`: the level of packet sockets' options.
pub(crate) const SOL_PACKET: i32 = 263;
/// `PACKET_AUXDATA`: status, VLAN tag and lengths beside a frame.
pub(crate) const PACKET_AUXDATA: i32 = 8;

/// `SOF_TIMESTAMPING_TX_SOFTWARE`: stamp when the driver takes the packet.
pub(crate) const STAMP_TX_SOFTWARE: u32 = 1 << 1;
/// `SOF_TIMESTAMPING_SOFTWARE`: report software stamps.
pub(crate) const STAMP_REPORT_SOFTWARE: u32 = 1 << 4;
/// `SOF_TIMESTAMPING_OPT_ID`: number the datagrams.
pub(crate) const STAMP_OPT_ID: u32 = 1 << 7;
/// `SOF_TIMESTAMPING_OPT_TSONLY`: the stamp alone, without the packet.
pub(crate) const STAMP_OPT_TSONLY: u32 = 1 << 11;

/// `SO_EE_CODE_ZEROCOPY_COPIED`: the kernel copied the bytes of a zero-copy send.
pub(crate) const ZEROCOPY_COPIED: u8 = 1;

/// Origins of an entry in the error queue (`SO_EE_ORIGIN_*`).
pub(crate) mod origin {
    pub(crate) const LOCAL: u8 = 1;
    pub(crate) const ICMP: u8 = 2;
    pub(crate) const ICMP6: u8 = 3;
    pub(crate) const TIMESTAMPING: u8 = 4;
    pub(crate) const ZEROCOPY: u8 = 5;
    pub(crate) const TXTIME: u8 = 6;
}
