//! Sockets of one IP protocol.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use sockeye_packet::protocol;
use sockeye_socket::{
    Dscp, Metadata, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendError, SendReport, Socket,
    enable_error_queue, enable_tx_timestamps, join_group, join_source, leave_group, leave_source, options,
    recv_error, recv_from, recv_msg, send_msg, send_to,
};

use crate::common::{self, common, sends_payloads};
use crate::incoming::{packets, strip_in_place};
use crate::{IncomingPacket, IpOptions};

/// A raw socket that carries the payloads of one IP protocol: nonblocking, of one family.
///
/// The kernel writes the IP header. Every socket of the protocol gets a copy of every packet.
pub struct IpSocket {
    socket: Socket,
    has_header: bool,
}

impl IpSocket {
    /// Opens a raw socket of `protocol` (1 to 255) and binds it to `local`, which may be unspecified. For more see [`IpOptions`].
    ///
    /// # Errors
    /// [`OpError`]: `PermissionDenied` without CAP_NET_RAW, EPROTONOSUPPORT for protocol 0, `AddrNotAvailable`.
    pub fn bind(local: SocketAddr, protocol: u8) -> Result<Self, OpError> {
        IpOptions::new().bind(local, protocol)
    }

    /// As [`IpSocket::bind`] with options.
    ///
    /// # Errors
    /// As [`IpOptions::bind`].
    pub fn bind_with(local: SocketAddr, protocol: u8, options: &IpOptions) -> Result<Self, OpError> {
        options.bind(local, protocol)
    }

    /// The protocol number.
    ///
    /// # Errors
    /// What `getsockopt` returns.
    pub fn protocol(&self) -> io::Result<u8> {
        self.socket
            .get(options::SO_PROTOCOL)
            .map(|protocol| u8::try_from(protocol).unwrap_or(u8::MAX))
    }

    /// The kernel computes the IPv6 checksum at this even offset of the payload when sending, and drops what arrives
    /// with a wrong one, in silence; `None` switches that off.
    ///
    /// # Errors
    /// `InvalidInput` for an odd offset, and on ICMPv6 for any but 2; ENOPROTOOPT over IPv4.
    #[doc(alias = "IPV6_CHECKSUM")]
    pub fn set_checksum_offset(&self, offset: Option<u16>) -> io::Result<()> {
        // The kernel would take it, and send messages that nobody accepts.
        if self.protocol()? == protocol::ICMPV6 && offset != Some(2) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.socket
            .set(options::IPV6_CHECKSUM, offset.map_or(-1, i32::from))
    }
}

impl TryFrom<Socket> for IpSocket {
    type Error = io::Error;

    /// Takes the socket as it is, after a look at its family.
    fn try_from(socket: Socket) -> io::Result<Self> {
        Ok(Self {
            has_header: !socket.is_ipv6()?,
            socket,
        })
    }
}

common!(IpSocket);
sends_payloads!(IpSocket);
