//! Sockets for ICMP messages, with as little privilege as will do.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use sockeye_endpoint::Transport;
use sockeye_packet::{Icmpv4Builder, Icmpv6Builder, PacketError, Pseudo, icmpv4, icmpv6, protocol};
use sockeye_socket::{
    Dscp, Metadata, Op, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendError, SendReport, Socket,
    enable_error_queue, enable_tx_timestamps, join_group, join_source, leave_group, leave_source, options,
    recv_error, recv_from, recv_msg, send_msg, send_to,
};

use crate::common::{self, common, sends_payloads};
use crate::incoming::{packets, strip_in_place};
use crate::{Family, IcmpFilter, IncomingPacket, IpOptions};

/// Which kind of socket to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Access {
    /// A ping socket where the system allows one, else a raw one.
    #[default]
    Auto,
    /// A ping socket: echo requests out, echo replies in, nothing else. Needs a group inside `net.ipv4.ping_group_range`,
    /// which by default holds none; root is no exception.
    Unprivileged,
    /// A raw socket: every ICMP message. Needs CAP_NET_RAW.
    Raw,
}

/// A socket for ICMP messages of one family: nonblocking.
///
/// Messages begin with the ICMP type, both ways. Over IPv6 and on ping sockets the kernel computes the checksum; on a raw
/// IPv4 socket the message must bring its own ([`write_echo`](Self::write_echo) and the builders of `sockeye-packet` do).
/// Echo requests of others, and its own on loopback, are not received unless [`set_filter`](Self::set_filter) says so.
///
/// ICMP errors about what was sent come by the error queue on both kinds ([`IpOptions::error_queue`]); a raw socket also
/// receives them as messages.
pub struct IcmpSocket {
    socket: Socket,
    has_header: bool,
    is_raw: bool,
    is_ipv6: bool,
    identifier: u16,
}

impl IcmpSocket {
    /// Opens a socket. For more see [`IpOptions::bind_icmp`].
    ///
    /// # Errors
    /// [`OpError`], with advice: `PermissionDenied` where neither kind is allowed, or not the one that was asked for.
    pub fn open(family: Family, access: Access) -> Result<Self, OpError> {
        IpOptions::new().bind_icmp(family.unspecified(), access)
    }

    pub(crate) const fn protocol_of(family: Family) -> u8 {
        match family {
            Family::V4 => protocol::ICMPV4,
            Family::V6 => protocol::ICMPV6,
        }
    }

    /// Whether it is a raw socket, and not a ping socket.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.is_raw
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        if self.is_ipv6 { Family::V6 } else { Family::V4 }
    }

    /// The identifier of its echo requests.
    ///
    /// On a ping socket the kernel writes it into every request and delivers only replies that carry it. On a raw
    /// socket it is a suggestion, different for each socket; the replies to others are received too.
    #[must_use]
    pub fn identifier(&self) -> u16 {
        self.identifier
    }

    /// Writes an echo request with this socket's identifier into `out`, ready to be sent, and says how long it is.
    ///
    /// # Errors
    /// [`sockeye_packet::Fault::BufferTooSmall`] for fewer than 8 bytes and `data`.
    pub fn write_echo(&self, out: &mut [u8], sequence: u16, data: &[u8]) -> Result<usize, PacketError> {
        match self.family() {
            Family::V4 => Icmpv4Builder::echo_request(self.identifier, sequence, data).write(out),
            Family::V6 => {
                Icmpv6Builder::echo_request(self.identifier, sequence, data).write(out, Pseudo::None)
            }
        }
    }

    /// Receives only the types that pass `filter`.
    ///
    /// # Errors
    /// [`OpError`]: ENOPROTOOPT on a ping socket, which receives echo replies and nothing else.
    #[doc(alias = "ICMP_FILTER")]
    #[doc(alias = "ICMP6_FILTER")]
    pub fn set_filter(&self, filter: IcmpFilter) -> Result<(), OpError> {
        let (name, result) = match self.family() {
            Family::V4 => ("ICMP_FILTER", self.socket.set(options::ICMP_FILTER, filter.v4())),
            Family::V6 => (
                "ICMPV6_FILTER",
                self.socket.set_bytes(options::ICMPV6_FILTER, &filter.v6()),
            ),
        };
        let transport = Transport::Ip(Self::protocol_of(self.family()));
        result.map_err(|source| OpError::new(Op::Set(name), transport, source))
    }

    /// A raw socket hears requests: everybody's, and its own on loopback.
    pub(crate) fn hide_requests(&self) -> Result<(), OpError> {
        if !self.is_raw {
            return Ok(());
        }
        let request = match self.family() {
            Family::V4 => icmpv4::ECHO_REQUEST,
            Family::V6 => icmpv6::ECHO_REQUEST,
        };
        self.set_filter(IcmpFilter::pass_all().drop(request))
    }
}

impl TryFrom<Socket> for IcmpSocket {
    type Error = io::Error;

    /// Takes the socket as it is, after a look at its family and kind.
    fn try_from(socket: Socket) -> io::Result<Self> {
        let is_ipv6 = socket.is_ipv6()?;
        let is_raw = socket.get(options::SO_TYPE)? == i32::from(sockeye_socket::Type::RAW);
        let identifier = if is_raw {
            // Counts up with each socket of the system, so that no two in use share the low 16 bits soon.
            let [low, high, ..] = socket.get(options::SO_COOKIE)?.to_le_bytes();
            u16::from_le_bytes([low, high])
        } else {
            // A ping socket shows it as its port.
            socket.local_addr()?.port()
        };
        Ok(Self {
            has_header: is_raw && !is_ipv6,
            is_raw,
            is_ipv6,
            identifier,
            socket,
        })
    }
}

common!(IcmpSocket);
sends_payloads!(IcmpSocket);
