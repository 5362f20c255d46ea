//! What the kernel offers for messages, found by trying it, and what of it is active on a socket.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use crate::errqueue;
use crate::message::{Metadata, Outgoing, send_msg};
use crate::sys;

/// Segments a message of every kernel that knows `UDP_SEGMENT`.
const SEGMENTS_AT_LEAST: usize = 64;
/// Segments a message of newer kernels.
const SEGMENTS_AT_MOST: usize = 128;

/// What is really there: asked from the kernel and the socket, not concluded from a version number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The socket takes [`Outgoing::segment_size`] (`UDP_SEGMENT`). A route or device can still refuse it.
    pub segmentation: bool,
    /// Datagrams one message may be cut into; 1 without segmentation.
    pub max_segments: usize,
    /// The socket puts datagrams of one sender together on receive (`UDP_GRO` is on).
    pub coalesced_receive: bool,
    /// The socket hears only groups that it has joined itself (`IP_MULTICAST_ALL` is off, on IPv6 `IPV6_MULTICAST_ALL`).
    pub own_groups_only: bool,
    /// What the socket reports with each message.
    pub metadata: Metadata,
    /// ICMP errors are queued with the datagram they speak of (`IP_RECVERR` is on).
    pub error_queue: bool,
    /// The socket was prepared for [`Outgoing::timestamp_id`].
    pub tx_timestamps: bool,
    /// The kernel lets the caller number transmit timestamps (Linux 6.13).
    pub tx_timestamp_id: bool,
    /// The socket was told the clock of [`Outgoing::departure_ns`].
    pub departure_time: bool,
}

impl Capabilities {
    /// Asks `socket` and the kernel. A dozen system calls: ask once, not for each message.
    ///
    /// # Errors
    /// What `getsockopt` returns for a descriptor that is not an IP socket.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let fd = socket.as_fd();
        let v6 = sys::metadata::is_v6(fd)?;
        let is_on = |level, name| sys::option::get::<i32>(fd, level, name).is_ok_and(|value| value != 0);
        let segmentation = sys::option::get::<i32>(fd, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        Ok(Self {
            segmentation,
            max_segments: if segmentation { max_segments() } else { 1 },
            coalesced_receive: is_on(libc::SOL_UDP, libc::UDP_GRO),
            own_groups_only: hears_own_groups_only(fd, v6),
            metadata: Metadata::active(fd)?,
            error_queue: if v6 {
                is_on(libc::SOL_IPV6, libc::IPV6_RECVERR)
            } else {
                is_on(libc::SOL_IP, libc::IP_RECVERR)
            },
            tx_timestamps: errqueue::tx_timestamps_enabled(fd),
            tx_timestamp_id: probed().tx_timestamp_id,
            departure_time: errqueue::departure_clock_set(fd),
        })
    }
}

/// Where the option is not there, neither is what it does.
fn hears_own_groups_only(fd: BorrowedFd<'_>, v6: bool) -> bool {
    let (level, name) = if v6 {
        (libc::SOL_IPV6, sys::abi::IPV6_MULTICAST_ALL)
    } else {
        (libc::SOL_IP, libc::IP_MULTICAST_ALL)
    };
    sys::option::get::<i32>(fd, level, name).is_ok_and(|hears_all| hears_all == 0)
}

/// Datagrams that one message may be cut into on this kernel.
pub(crate) fn max_segments() -> usize {
    probed().max_segments
}

#[derive(Clone, Copy)]
struct Probed {
    max_segments: usize,
    tx_timestamp_id: bool,
}

/// What trying on a loopback socket of our own has shown. Where loopback is down nothing is shown and nothing kept.
fn probed() -> Probed {
    static PROBED: OnceLock<Probed> = OnceLock::new();
    if let Some(probed) = PROBED.get() {
        return *probed;
    }
    match probe() {
        Ok(probed) => *PROBED.get_or_init(|| probed),
        Err(_) => Probed {
            max_segments: SEGMENTS_AT_LEAST,
            tx_timestamp_id: false,
        },
    }
}

fn probe() -> io::Result<Probed> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let to = socket.local_addr()?;
    // A plain datagram first: if that fails, the failures below would say nothing.
    socket.send_to(&[], to)?;
    let payload = [0; SEGMENTS_AT_LEAST + 1];
    let more_than_64 = send_msg(&socket, &Outgoing::to(to, &payload).segment_size(1)).is_ok();
    let tx_timestamp_id = errqueue::enable_tx_timestamps(&socket).is_ok()
        && send_msg(&socket, &Outgoing::to(to, &[]).timestamp_id(0)).is_ok();
    Ok(Probed {
        max_segments: if more_than_64 {
            SEGMENTS_AT_MOST
        } else {
            SEGMENTS_AT_LEAST
        },
        tx_timestamp_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_say_what_is_active_and_nothing_else() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = Capabilities::of(&socket).unwrap();
        assert_eq!(before.metadata, Metadata::NONE);
        assert!(
            !before.coalesced_receive
                && !before.error_queue
                && !before.tx_timestamps
                && !before.departure_time
        );
        (Metadata::DESTINATION | Metadata::DROPS).enable(&socket).unwrap();
        errqueue::enable_error_queue(&socket, true).unwrap();
        let after = Capabilities::of(&socket).unwrap();
        assert_eq!(after.metadata, Metadata::DESTINATION | Metadata::DROPS);
        assert!(after.error_queue && !after.coalesced_receive);
        Metadata::DROPS.disable(&socket).unwrap();
        assert_eq!(Metadata::active(&socket).unwrap(), Metadata::DESTINATION);
    }

    #[test]
    fn a_tcp_socket_has_no_segments() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let capabilities = Capabilities::of(&socket).unwrap();
        assert!(!capabilities.segmentation);
        assert_eq!(capabilities.max_segments, 1);
    }
}
