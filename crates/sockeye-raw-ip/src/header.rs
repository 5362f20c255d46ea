//! Sockets that send packets with their own IP header.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use sockeye_packet::{Ipv4, Ipv6};
use sockeye_socket::{
    Dscp, Metadata, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendReport, Socket,
    enable_error_queue, enable_tx_timestamps, join_group, join_source, leave_group, leave_source, options,
    recv_error, recv_from, recv_msg, send_to,
};

use crate::common::{self, common};
use crate::incoming::{packets, strip_in_place};
use crate::{Family, IncomingPacket, IpOptions};

/// A raw socket that sends whole packets, IP header included.
///
/// In an IPv4 header the kernel always fills total length and checksum, and source and identification where they are
/// 0. In an IPv6 header it fills nothing. It never fragments: beyond the MTU of the interface it says EMSGSIZE.
///
/// What it receives looks as on an [`IpSocket`](crate::IpSocket) of its protocol. One of protocol 255 sends packets of all protocols and
/// hears of none but 255, neither packets nor errors.
pub struct HeaderSocket {
    socket: Socket,
    has_header: bool,
}

impl HeaderSocket {
    /// Protocol 255, for sockets that only send.
    pub const SEND_ONLY: u8 = 255;

    /// Opens a socket that sends and does not receive, packets of any protocol. For more see [`IpOptions::open_header`].
    ///
    /// # Errors
    /// [`OpError`]: `PermissionDenied` without CAP_NET_RAW.
    pub fn open(family: Family) -> Result<Self, OpError> {
        IpOptions::new().open_header(family, Self::SEND_ONLY)
    }

    /// Opens a socket that also receives the packets of `protocol`.
    ///
    /// # Errors
    /// As [`HeaderSocket::open`]; EPROTONOSUPPORT for protocol 0.
    pub fn open_for(family: Family, protocol: u8) -> Result<Self, OpError> {
        IpOptions::new().open_header(family, protocol)
    }

    /// Sends `packet` to the destination in its header.
    ///
    /// # Errors
    /// `InvalidInput` where there is no sound header of an IP version; else as [`send_to`](Self::send_to).
    #[inline]
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.send_to(packet, destination_of(packet)?)
    }

    /// Sends `packet` to `destination`, whatever its header says: a source-routed or tunnelled packet, or a link-local
    /// one that needs its zone. The port is ignored.
    ///
    /// # Errors
    /// `InvalidInput` for an IHL that does not fit, EMSGSIZE beyond the MTU, `WouldBlock` when the send buffer is full.
    #[inline]
    pub fn send_to(&self, packet: &[u8], mut destination: SocketAddr) -> io::Result<usize> {
        destination.set_port(0);
        send_to(self, packet, destination)
    }

    /// Sends the packets that `make` returns for the indices in `range`, each to the destination in its header; one
    /// without a header is an error of the kernel.
    #[inline]
    pub fn send_batch<'m>(
        &self,
        batch: &mut SendBatch,
        range: Range<usize>,
        mut make: impl FnMut(usize) -> &'m [u8],
    ) -> SendReport {
        if batch.is_coalescing() {
            batch.set_coalescing(false);
        }
        batch.send_with(self, range, |index| {
            let packet = make(index);
            destination_of(packet).map_or(Outgoing::connected(packet), |to| Outgoing::to(to, packet))
        })
    }
}

/// The destination in a packet's header.
fn destination_of(packet: &[u8]) -> io::Result<SocketAddr> {
    let address = match packet.first().map(|first| first >> 4) {
        Some(4) => Ipv4::lax(packet).map(|lax| IpAddr::V4(lax.view.destination())),
        _ => Ipv6::lax(packet).map(|lax| IpAddr::V6(lax.view.destination())),
    };
    match address {
        Ok(address) => Ok(SocketAddr::new(address, 0)),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

impl TryFrom<Socket> for HeaderSocket {
    type Error = io::Error;

    /// Takes the socket as it is, after a look at its family.
    fn try_from(socket: Socket) -> io::Result<Self> {
        Ok(Self {
            has_header: !socket.is_ipv6()?,
            socket,
        })
    }
}

common!(HeaderSocket);
