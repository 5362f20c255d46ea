//! Datagram sockets of the kernel: UDP, and Unix sockets.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
#[cfg(feature = "udp")]
use std::os::fd::OwnedFd;

use mio::event::Source;
use mio::{Interest, Registry};
#[cfg(feature = "unix")]
use sockeye_endpoint::UnixName;
#[cfg(feature = "udp")]
use sockeye_endpoint::{Endpoint, Transport};
#[cfg(feature = "udp")]
use sockeye_socket::{Metadata, Op, OpError};
use sockeye_socket::{Outgoing, QueueEntry, RecvBatch, SendBatch, SendReport};
#[cfg(feature = "udp")]
use sockeye_udp_datagram::{PathMtu, UdpOptions, UdpSocket};

#[cfg(feature = "unix")]
use super::unix_datagram::UnixSocket;
use crate::backend::MessageIo;
#[cfg(feature = "udp")]
use crate::options::DatagramOptions;

/// A datagram socket of the kernel.
#[derive(Debug)]
pub enum KernelDatagram {
    /// UDP.
    #[cfg(feature = "udp")]
    Udp {
        /// The socket.
        socket: UdpSocket,
        /// Whether runs to one peer may leave as one message.
        gso: bool,
    },
    /// A Unix socket.
    #[cfg(feature = "unix")]
    Unix(Box<UnixSocket>),
}

#[cfg(feature = "udp")]
pub(super) fn bind(at: SocketAddr, options: &DatagramOptions) -> Result<KernelDatagram, OpError> {
    let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let mut how = UdpOptions::new()
        .reuse_address(options.reuse_address)
        .reuse_port(options.reuse_port)
        .broadcast(options.broadcast)
        .gro(options.gro)
        .metadata(metadata_of(options))
        .error_queue(options.error_queue);
    if let (Some(only), true) = (options.v6_only, at.is_ipv6()) {
        how = how.v6_only(only);
    }
    if let Some(device) = &options.device {
        how = how.device(device);
    }
    if options.probe_mtu {
        how = how.path_mtu(PathMtu::Probe);
    }
    if let Some(size) = options.send_buffer {
        how = how.send_buffer(bytes(size));
    }
    if let Some(size) = options.recv_buffer {
        how = how.recv_buffer(bytes(size));
    }
    let socket = how.bind(at)?;
    if let Some(peer) = options.connect {
        let failed = |error| {
            let error = OpError::new(Op::Connect, Transport::Udp, error);
            error.with_local(Endpoint::udp(at)).with_peer(Endpoint::udp(peer))
        };
        socket.connect(peer).map_err(failed)?;
    }
    Ok(KernelDatagram::Udp {
        socket,
        gso: options.gso,
    })
}

/// Takes over a UDP socket that something else has bound.
#[cfg(feature = "udp")]
pub(super) fn adopt(socket: OwnedFd, options: &DatagramOptions) -> Result<KernelDatagram, OpError> {
    let socket = UdpSocket::from(sockeye_socket::Socket::from(socket));
    let prepared = || -> io::Result<()> {
        if socket.socket().get(sockeye_socket::options::SO_PROTOCOL)?
            != i32::from(sockeye_socket::Protocol::UDP)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no UDP socket"));
        }
        socket.set_nonblocking(true)?;
        // A kernel without the option gives datagrams one by one.
        let _ = socket.set_gro(options.gro);
        socket.set_metadata(metadata_of(options))
    };
    prepared().map_err(|error| OpError::new(Op::Adopt, Transport::Udp, error))?;
    Ok(KernelDatagram::Udp {
        socket,
        gso: options.gso,
    })
}

/// What is to be known of each datagram.
#[cfg(feature = "udp")]
fn metadata_of(options: &DatagramOptions) -> Metadata {
    let mut metadata = Metadata::NONE;
    let wanted = [
        (options.packet_info, Metadata::DESTINATION),
        (options.traffic_class, Metadata::TRAFFIC_CLASS),
        (options.hop_limit, Metadata::HOP_LIMIT),
        (options.timestamps, Metadata::TIMESTAMP),
    ];
    for (_, which) in wanted.iter().filter(|(on, _)| *on) {
        metadata |= *which;
    }
    metadata
}

impl MessageIo for KernelDatagram {
    #[inline]
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        match self {
            #[cfg(feature = "udp")]
            Self::Udp { socket, .. } => socket.recv_batch(batch),
            #[cfg(feature = "unix")]
            Self::Unix(socket) => socket.recv_batch(batch),
        }
    }

    #[inline]
    fn send_batch<'a, F>(&mut self, storage: &mut SendBatch, range: Range<usize>, message: F) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>,
    {
        match self {
            #[cfg(feature = "udp")]
            Self::Udp { socket, gso } => {
                storage.set_coalescing(*gso);
                socket.send_batch(storage, range, message)
            }
            #[cfg(feature = "unix")]
            Self::Unix(socket) => {
                let _ = storage;
                socket.send_batch(range, message)
            }
        }
    }

    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        match self {
            #[cfg(feature = "udp")]
            Self::Udp { socket, .. } => socket.recv_error(),
            #[cfg(feature = "unix")]
            Self::Unix(_) => Ok(None),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            #[cfg(feature = "udp")]
            Self::Udp { socket, .. } => socket.local_addr(),
            #[cfg(feature = "unix")]
            Self::Unix(_) => Err(super::unix::no_address()),
        }
    }

    #[cfg(feature = "unix")]
    fn local_unix(&self) -> io::Result<UnixName> {
        match self {
            #[cfg(feature = "udp")]
            Self::Udp { .. } => Err(crate::backend::no_unix_name()),
            Self::Unix(socket) => socket.socket.local(),
        }
    }

    #[cfg(feature = "unix")]
    fn unix_name(&self, address: SocketAddr) -> Option<UnixName> {
        match self {
            #[cfg(feature = "udp")]
            Self::Udp { .. } => None,
            Self::Unix(socket) => socket.name_of(address),
        }
    }

    #[cfg(feature = "unix")]
    fn unix_addr(&mut self, name: &UnixName) -> Option<SocketAddr> {
        match self {
            #[cfg(feature = "udp")]
            Self::Udp { .. } => None,
            Self::Unix(socket) => Some(socket.address_of(name)),
        }
    }

    #[cfg(feature = "udp")]
    fn udp(&self) -> Option<&UdpSocket> {
        match self {
            Self::Udp { socket, .. } => Some(socket),
            #[cfg(feature = "unix")]
            Self::Unix(_) => None,
        }
    }
}

impl KernelDatagram {
    /// Each datagram that a peer takes from its queue makes a Unix socket writable anew: an event for each answer. One that
    /// is not connected has no use for them, as none tells whose queue has room.
    fn of_use(&self, interests: Interest) -> Interest {
        match self {
            #[cfg(feature = "unix")]
            Self::Unix(socket) if !socket.connected => {
                interests.remove(Interest::WRITABLE).unwrap_or(interests)
            }
            _ => interests,
        }
    }
}

/// The same call on whichever it is.
macro_rules! either {
    ($of:expr, $socket:ident => $call:expr) => {
        match $of {
            #[cfg(feature = "udp")]
            KernelDatagram::Udp { socket: $socket, .. } => $call,
            #[cfg(feature = "unix")]
            KernelDatagram::Unix(unix) => {
                let $socket = &mut unix.socket;
                $call
            }
        }
    };
}

impl Source for KernelDatagram {
    fn register(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        let interests = self.of_use(interests);
        either!(self, socket => socket.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        let interests = self.of_use(interests);
        either!(self, socket => socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        either!(self, socket => socket.deregister(registry))
    }
}
