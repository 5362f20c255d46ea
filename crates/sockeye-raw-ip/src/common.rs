//! What the three sockets have in common, written once.

use std::io;
use std::net::SocketAddr;

use sockeye_socket::filter::{Compare, Filter, Program, Width};
use sockeye_socket::{Dscp, Socket, options};

/// `SKF_NET_OFF`: loads from here on count from the IP header, wherever the socket's own data begins.
const NETWORK_HEADER: u32 = 0xfff0_0000;

/// Takes only packets with at least this many hops left, of either family: TTL is byte 8 of IPv4, hop limit byte 7 of IPv6.
pub(crate) fn min_hops_filter(is_ipv6: bool, hops: u8) -> Filter {
    let offset = if is_ipv6 { 7 } else { 8 };
    Program::new()
        .load(Width::Byte, NETWORK_HEADER + offset)
        .require(Compare::GreaterOrEqual, u32::from(hops))
        .accept()
}

/// An address for which the kernel shows a port that means nothing: the protocol, or an identifier.
pub(crate) fn without_port(mut address: SocketAddr) -> SocketAddr {
    address.set_port(0);
    address
}

/// Sets TTL or hop limit of what goes to single hosts.
pub(crate) fn set_hop_limit(socket: &Socket, hops: u8) -> io::Result<()> {
    if socket.is_ipv6()? {
        socket.set(options::IPV6_UNICAST_HOPS, i32::from(hops))
    } else {
        socket.set(options::IP_TTL, u32::from(hops))
    }
}

/// Sets the DSCP of what is sent.
pub(crate) fn set_dscp(socket: &Socket, dscp: Dscp) -> io::Result<()> {
    let octet = dscp.value() << 2;
    if socket.is_ipv6()? {
        socket.set(options::IPV6_TCLASS, i32::from(octet))
    } else {
        socket.set(options::IP_TOS, u32::from(octet))
    }
}

/// Sends with a router alert option, value 0, or without.
pub(crate) fn set_router_alert(socket: &Socket, on: bool) -> io::Result<()> {
    if socket.is_ipv6()? {
        // Next header (filled in by the kernel), length, router alert, PadN.
        let header: &[u8] = if on { &[0, 0, 5, 2, 0, 0, 1, 0] } else { &[] };
        socket.set_bytes(options::IPV6_HOPOPTS, header)
    } else {
        socket.set_bytes(options::IP_OPTIONS, if on { &[148, 4, 0, 0] } else { &[] })
    }
}

/// Sets the hops of what goes to groups.
pub(crate) fn set_multicast_hops(socket: &Socket, hops: u8) -> io::Result<()> {
    if socket.is_ipv6()? {
        socket.set(options::IPV6_MULTICAST_HOPS, i32::from(hops))
    } else {
        socket.set(options::IP_MULTICAST_TTL, u32::from(hops))
    }
}

/// Sets whether members on this host hear what goes to groups.
pub(crate) fn set_multicast_loop(socket: &Socket, on: bool) -> io::Result<()> {
    socket.set(
        if socket.is_ipv6()? {
            options::IPV6_MULTICAST_LOOP
        } else {
            options::IP_MULTICAST_LOOP
        },
        on,
    )
}

/// Sets the interface that packets to groups leave by.
pub(crate) fn set_multicast_interface(socket: &Socket, index: u32) -> io::Result<()> {
    if socket.is_ipv6()? {
        return socket.set(options::IPV6_MULTICAST_IF, index);
    }
    // `ip_mreqn`: group, address, index.
    let mut request = [0; 12];
    request[8..].copy_from_slice(&index.to_ne_bytes());
    socket.set_bytes(options::IP_MULTICAST_IF, &request)
}

/// The methods and conversions every socket of this crate has.
macro_rules! common {
    ($name:ident) => {
        /// Addresses, the peer, and waiting.
        impl $name {
            /// Sends to `peer` from now on, and receives only what comes from there. What is queued stays.
            ///
            /// Another peer can follow, but there is no way back: a socket of these kinds that is disconnected never
            /// receives again (the kernel takes it out of its tables for good). Open a new one.
            ///
            /// # Errors
            /// What the kernel knows of the route: ENETUNREACH, EHOSTUNREACH, EACCES (prohibited), EINVAL (blackholed).
            pub fn connect(&self, mut peer: SocketAddr) -> io::Result<()> {
                // Any port but 0, which would make getpeername(2) deny the connection.
                peer.set_port(1);
                self.socket.connect(&peer).map(|_| ())
            }

            /// The address of this end, with port 0.
            ///
            /// # Errors
            /// What `getsockname` returns.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.socket.local_addr().map(common::without_port)
            }

            /// The peer it is connected to, with port 0.
            ///
            /// # Errors
            /// `NotConnected` where there is none.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.socket.peer_addr().map(common::without_port)
            }

            /// A second descriptor of the same socket.
            ///
            /// # Errors
            /// EMFILE at the limit of descriptors.
            pub fn try_clone(&self) -> io::Result<Self> {
                Self::try_from(self.socket.try_clone()?)
            }

            /// The pending error, which reading it clears.
            ///
            /// # Errors
            /// What `getsockopt` itself returns.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.socket.take_error()
            }

            /// Waits until there is something to receive (`true`) or `timeout` has passed (`false`). For programs without a loop.
            ///
            /// # Errors
            /// The errno of `poll(2)`; `Interrupted` is not among them.
            pub fn wait_readable(&self, timeout: ::std::time::Duration) -> io::Result<bool> {
                self.socket.wait_readable(timeout)
            }

            /// The socket under it, for every other option.
            #[must_use]
            pub fn socket(&self) -> &Socket {
                &self.socket
            }

            /// Whether the kernel hands out the IPv4 header: true on raw IPv4 sockets only.
            #[must_use]
            pub fn has_header(&self) -> bool {
                self.has_header
            }
        }

        /// Receiving: one, with metadata, many; and the error queue.
        impl $name {
            /// Receives a packet and returns the length of its payload, which begins at the front of `buffer`; what
            /// exceeds `buffer` is lost in silence. 0 is an empty packet.
            ///
            /// On a raw IPv4 socket the buffer must have room for the IP header too, up to 60 bytes.
            ///
            /// # Errors
            /// `WouldBlock` when none is queued.
            #[inline]
            pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let len = self.socket.recv(buffer)?;
                Ok(if self.has_header {
                    strip_in_place(buffer, len)
                } else {
                    len
                })
            }

            /// As [`recv`](Self::recv), and says who sent it; the port is 0.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            #[inline]
            pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
                let (len, source) = recv_from(self, buffer)?;
                Ok((
                    if self.has_header {
                        strip_in_place(buffer, len)
                    } else {
                        len
                    },
                    source,
                ))
            }

            /// Receives one packet with its header, where there is one, and everything the socket was asked to report.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            #[inline]
            pub fn recv_msg<'b>(&self, buffer: &'b mut [u8]) -> io::Result<IncomingPacket<'b>> {
                Ok(IncomingPacket::new(
                    recv_msg(self, buffer)?,
                    self.has_header,
                ))
            }

            /// Receives what is queued into `batch`; returns how many packets. [`packets`](Self::packets) reads them.
            ///
            /// # Errors
            /// As [`RecvBatch::recv`].
            #[inline]
            pub fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
                batch.recv(self)
            }

            /// The packets of the last receive into `batch`, in order.
            #[inline]
            pub fn packets<'b>(
                &self,
                batch: &'b RecvBatch,
            ) -> impl ExactSizeIterator<Item = IncomingPacket<'b>> + use<'b> {
                packets(batch, self.has_header)
            }

            /// Takes one entry from the error queue, `None` when it is empty.
            ///
            /// # Errors
            /// As [`sockeye_socket::recv_error`].
            pub fn recv_error(&self) -> io::Result<Option<QueueEntry>> {
                recv_error(self)
            }
        }

        /// Options that can change while the socket is in use.
        impl $name {
            /// Reports exactly these with each received packet.
            ///
            /// # Errors
            /// What `setsockopt` returns.
            pub fn set_metadata(&self, which: Metadata) -> io::Result<()> {
                which.enable(self)?;
                Metadata::ALL.without(which).disable(self)
            }

            /// Queues errors with the packet they speak of.
            ///
            /// # Errors
            /// What `setsockopt` returns.
            #[doc(alias = "IP_RECVERR")]
            pub fn set_error_queue(&self, on: bool) -> io::Result<()> {
                enable_error_queue(self, on)
            }

            /// Prepares for [`Outgoing::timestamp_id`](sockeye_socket::Outgoing::timestamp_id).
            ///
            /// # Errors
            /// What `setsockopt` returns.
            #[doc(alias = "SO_TIMESTAMPING")]
            pub fn enable_tx_timestamps(&self) -> io::Result<()> {
                enable_tx_timestamps(self)
            }

            /// TTL or hop limit of what goes to single hosts.
            ///
            /// # Errors
            /// `InvalidInput` for 0 over IPv4.
            #[doc(alias = "IP_TTL")]
            #[doc(alias = "IPV6_UNICAST_HOPS")]
            pub fn set_hop_limit(&self, hops: u8) -> io::Result<()> {
                common::set_hop_limit(&self.socket, hops)
            }

            /// Receives only what arrives with this TTL or hop limit and above; see [`IpOptions::min_hops`](crate::IpOptions::min_hops).
            ///
            /// # Errors
            /// What `setsockopt` returns.
            #[doc(alias = "IP_MINTTL")]
            pub fn set_min_hops(&self, hops: u8) -> io::Result<()> {
                common::min_hops_filter(self.socket.is_ipv6()?, hops).attach(self)
            }

            /// DSCP of what is sent; the ECN bits are messages' own.
            ///
            /// # Errors
            /// What `setsockopt` returns.
            #[doc(alias = "IP_TOS")]
            #[doc(alias = "IPV6_TCLASS")]
            pub fn set_dscp(&self, dscp: Dscp) -> io::Result<()> {
                common::set_dscp(&self.socket, dscp)
            }

            /// Sends with a router alert option (RFC 2113, RFC 2711), or without: routers on the way look at the packet.
            ///
            /// # Errors
            /// `PermissionDenied` over IPv6 without CAP_NET_RAW.
            #[doc(alias = "IP_OPTIONS")]
            #[doc(alias = "IPV6_HOPOPTS")]
            pub fn set_router_alert(&self, on: bool) -> io::Result<()> {
                common::set_router_alert(&self.socket, on)
            }
        }

        /// Multicast, of both families. Interfaces are named by index; 0 lets the routing table choose.
        impl $name {
            /// Joins `group` on an interface, whoever sends to it.
            ///
            /// # Errors
            /// `InvalidInput` where it is no group, `AddrInUse` where it is joined already, ENODEV where there is no
            /// such interface or no route to the group.
            #[doc(alias = "IP_ADD_MEMBERSHIP")]
            #[doc(alias = "IPV6_JOIN_GROUP")]
            pub fn join_group(&self, group: IpAddr, interface: u32) -> io::Result<()> {
                join_group(self, group, interface)
            }

            /// Leaves `group` on that interface.
            ///
            /// # Errors
            /// `AddrNotAvailable` where it was not joined.
            pub fn leave_group(&self, group: IpAddr, interface: u32) -> io::Result<()> {
                leave_group(self, group, interface)
            }

            /// Joins `group` for what `source` sends to it.
            ///
            /// # Errors
            /// As [`join_group`](Self::join_group).
            #[doc(alias = "IP_ADD_SOURCE_MEMBERSHIP")]
            pub fn join_source(&self, group: IpAddr, source: IpAddr, interface: u32) -> io::Result<()> {
                join_source(self, group, source, interface)
            }

            /// No longer takes what `source` sends to `group`.
            ///
            /// # Errors
            /// As [`leave_group`](Self::leave_group).
            pub fn leave_source(&self, group: IpAddr, source: IpAddr, interface: u32) -> io::Result<()> {
                leave_source(self, group, source, interface)
            }

            /// TTL or hop limit of packets to groups; 1 unless set.
            ///
            /// # Errors
            /// What `setsockopt` returns.
            #[doc(alias = "IP_MULTICAST_TTL")]
            #[doc(alias = "IPV6_MULTICAST_HOPS")]
            pub fn set_multicast_hops(&self, hops: u8) -> io::Result<()> {
                common::set_multicast_hops(&self.socket, hops)
            }

            /// Whether members on this host hear what the socket sends to groups; on unless set.
            ///
            /// # Errors
            /// What `setsockopt` returns.
            #[doc(alias = "IP_MULTICAST_LOOP")]
            pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
                common::set_multicast_loop(&self.socket, on)
            }

            /// The interface that packets to groups leave by; 0 lets the routing table choose.
            ///
            /// # Errors
            /// ENODEV or `AddrNotAvailable` where there is no such interface.
            #[doc(alias = "IP_MULTICAST_IF")]
            pub fn set_multicast_interface(&self, index: u32) -> io::Result<()> {
                common::set_multicast_interface(&self.socket, index)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("protocol", &self.socket.get(options::SO_PROTOCOL).ok())
                    .field("local", &self.local_addr().ok().map(|local| local.ip()))
                    .field("peer", &self.peer_addr().ok().map(|peer| peer.ip()))
                    .finish_non_exhaustive()
            }
        }

        impl AsRef<Socket> for $name {
            fn as_ref(&self) -> &Socket {
                &self.socket
            }
        }

        impl AsFd for $name {
            #[inline]
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.as_fd()
            }
        }

        impl AsRawFd for $name {
            #[inline]
            fn as_raw_fd(&self) -> RawFd {
                self.socket.as_raw_fd()
            }
        }

        impl From<$name> for Socket {
            fn from(socket: $name) -> Self {
                socket.socket
            }
        }

        impl From<$name> for OwnedFd {
            fn from(socket: $name) -> Self {
                socket.socket.into()
            }
        }

        impl TryFrom<OwnedFd> for $name {
            type Error = io::Error;

            /// Takes the descriptor as it is, after a look at its family and kind.
            fn try_from(fd: OwnedFd) -> io::Result<Self> {
                Self::try_from(Socket::from(fd))
            }
        }

        /// An entry in the error queue shows as `readable = false, error = true, write_closed = true`: not closed, but
        /// time to call `recv_error`.
        #[cfg(feature = "mio")]
        impl mio::event::Source for $name {
            fn register(
                &mut self,
                registry: &mio::Registry,
                token: mio::Token,
                interests: mio::Interest,
            ) -> io::Result<()> {
                mio::unix::SourceFd(&self.as_raw_fd()).register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &mio::Registry,
                token: mio::Token,
                interests: mio::Interest,
            ) -> io::Result<()> {
                mio::unix::SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
                mio::unix::SourceFd(&self.as_raw_fd()).deregister(registry)
            }
        }
    };
}

/// The calls of `send`, `send_to`, `send_msg`, `send_batch` for sockets whose payload begins after the IP header.
macro_rules! sends_payloads {
    ($name:ident) => {
        /// Sending: the kernel writes the IP header.
        impl $name {
            /// Sends `payload` to the connected peer, whole or not at all.
            ///
            /// # Errors
            /// `WouldBlock` when the send buffer is full.
            #[inline]
            pub fn send(&self, payload: &[u8]) -> io::Result<usize> {
                self.socket.send(payload)
            }

            /// Sends `payload` to `destination`, whole or not at all; the port is ignored.
            ///
            /// # Errors
            /// As [`send`](Self::send).
            #[inline]
            pub fn send_to(&self, payload: &[u8], mut destination: SocketAddr) -> io::Result<usize> {
                destination.set_port(0);
                send_to(self, payload, destination)
            }

            /// Sends one message with everything it carries beside its payload; the port is ignored.
            ///
            /// # Errors
            /// [`SendError`]: see [`sockeye_socket::send_msg`].
            #[inline]
            pub fn send_msg(&self, message: &Outgoing<'_>) -> Result<usize, SendError> {
                send_msg(self, &message.without_port())
            }

            /// Sends the messages that `make` returns for the indices in `range`; see [`SendBatch::send_with`]. Nothing is
            /// coalesced here: that is UDP's.
            #[inline]
            pub fn send_batch<'m>(
                &self,
                batch: &mut SendBatch,
                range: Range<usize>,
                mut make: impl FnMut(usize) -> Outgoing<'m>,
            ) -> SendReport {
                if batch.is_coalescing() {
                    batch.set_coalescing(false);
                }
                batch.send_with(self, range, |index| make(index).without_port())
            }
        }
    };
}

pub(crate) use common;
pub(crate) use sends_payloads;
