//! UDP of the kernel.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use mio::event::Source;
use mio::{Interest, Registry};
use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::{Metadata, Op, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendReport};
use sockeye_udp_datagram::{PathMtu, UdpOptions, UdpSocket};

use crate::backend::MessageIo;
use crate::options::DatagramOptions;

/// A UDP socket of the kernel.
#[derive(Debug)]
pub struct KernelDatagram {
    socket: UdpSocket,
    /// Whether runs to one peer may leave as one message.
    gso: bool,
}

pub(super) fn bind(at: SocketAddr, options: &DatagramOptions) -> Result<KernelDatagram, OpError> {
    let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
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
    let mut how = UdpOptions::new()
        .reuse_address(options.reuse_address)
        .reuse_port(options.reuse_port)
        .broadcast(options.broadcast)
        .gro(options.gro)
        .metadata(metadata)
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
    Ok(KernelDatagram {
        socket,
        gso: options.gso,
    })
}

impl MessageIo for KernelDatagram {
    #[inline]
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.socket.recv_batch(batch)
    }

    #[inline]
    fn send_batch<'a, F>(&mut self, storage: &mut SendBatch, range: Range<usize>, message: F) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>,
    {
        storage.set_coalescing(self.gso);
        self.socket.send_batch(storage, range, message)
    }

    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        self.socket.recv_error()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn udp(&self) -> Option<&UdpSocket> {
        Some(&self.socket)
    }
}

impl Source for KernelDatagram {
    fn register(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}
