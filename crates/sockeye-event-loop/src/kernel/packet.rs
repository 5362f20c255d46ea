//! Raw IP and ICMP of the kernel.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use mio::event::Source;
use mio::{Interest, Registry};
use sockeye_endpoint::{Endpoint, Transport};
use sockeye_raw_ip::{Access, Family, HeaderSocket, IcmpSocket, IpOptions, IpSocket};
use sockeye_socket::{
    Metadata, Op, OpError, Outgoing, QueueEntry, RecvBatch, SendBatch, SendReport, Socket, options,
};

use crate::backend::MessageIo;
use crate::options::{PacketKind, PacketOptions};

/// A raw IP or ICMP socket of the kernel.
#[derive(Debug)]
pub struct KernelPacket {
    socket: Kind,
    /// What arrives begins with an IPv4 header: on raw IPv4 sockets.
    has_header: bool,
}

#[derive(Debug)]
enum Kind {
    Ip(IpSocket),
    Header(HeaderSocket),
    Icmp(IcmpSocket),
}

/// Does the same to whichever socket it is.
macro_rules! each {
    ($kind:expr, $socket:ident => $action:expr) => {
        match $kind {
            Kind::Ip($socket) => $action,
            Kind::Header($socket) => $action,
            Kind::Icmp($socket) => $action,
        }
    };
}

pub(super) fn open(options: &PacketOptions) -> Result<KernelPacket, OpError> {
    let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let mut metadata = Metadata::NONE;
    let wanted = [
        (options.packet_info, Metadata::DESTINATION),
        (options.hop_limit, Metadata::HOP_LIMIT),
        (options.timestamps, Metadata::TIMESTAMP),
    ];
    for (_, which) in wanted.iter().filter(|(on, _)| *on) {
        metadata |= *which;
    }
    let mut how = IpOptions::new()
        .metadata(metadata)
        .error_queue(options.error_queue);
    if let Some(device) = &options.device {
        how = how.device(device);
    }
    if let Some(size) = options.send_buffer {
        how = how.send_buffer(bytes(size));
    }
    if let Some(size) = options.recv_buffer {
        how = how.recv_buffer(bytes(size));
    }
    let at = SocketAddr::new(options.local, 0);
    let (socket, is_raw) = match options.kind {
        PacketKind::Ip { protocol } => (Kind::Ip(how.bind(at, protocol)?), true),
        PacketKind::Header { protocol } => (
            Kind::Header(how.open_header(Family::of(options.local), protocol)?),
            true,
        ),
        PacketKind::Icmp => {
            let socket = how.bind_icmp(at, Access::Auto)?;
            let is_raw = socket.is_raw();
            (Kind::Icmp(socket), is_raw)
        }
    };
    if options.probe_mtu {
        let failed = |error| {
            let transport = Transport::Ip(protocol_of(options));
            OpError::new(Op::Set("path MTU discovery"), transport, error).with_local(Endpoint::new(
                transport,
                options.local,
                0,
            ))
        };
        each!(&socket, socket => probe_mtu(socket.as_ref(), at.is_ipv6())).map_err(failed)?;
    }
    Ok(KernelPacket {
        socket,
        has_header: is_raw && at.is_ipv4(),
    })
}

const fn protocol_of(options: &PacketOptions) -> u8 {
    match options.kind {
        PacketKind::Ip { protocol } | PacketKind::Header { protocol } => protocol,
        PacketKind::Icmp if options.local.is_ipv6() => 58,
        PacketKind::Icmp => 1,
    }
}

/// Never fragments, and pays no heed to the path MTU that the kernel knows.
fn probe_mtu(socket: &Socket, v6: bool) -> io::Result<()> {
    /// The same number for both families.
    const PROBE: i32 = 3;
    socket.set(
        if v6 {
            options::IPV6_MTU_DISCOVER
        } else {
            options::IP_MTU_DISCOVER
        },
        PROBE,
    )
}

impl MessageIo for KernelPacket {
    #[inline]
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        let count = each!(&self.socket, socket => socket.recv_batch(batch))?;
        if self.has_header {
            batch.skip_ipv4_headers();
        }
        Ok(count)
    }

    #[inline]
    fn send_batch<'a, F>(
        &mut self,
        storage: &mut SendBatch,
        range: Range<usize>,
        mut message: F,
    ) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>,
    {
        match &self.socket {
            Kind::Ip(socket) => socket.send_batch(storage, range, message),
            // Where it goes stands in its header.
            Kind::Header(socket) => socket.send_batch(storage, range, |index| message(index).payload()),
            Kind::Icmp(socket) => socket.send_batch(storage, range, message),
        }
    }

    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        each!(&self.socket, socket => socket.recv_error())
    }

    /// A ping socket's port is its identifier; a raw socket's is 0.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut local = each!(&self.socket, socket => socket.local_addr())?;
        if let Kind::Icmp(socket) = &self.socket
            && !socket.is_raw()
        {
            local.set_port(socket.identifier());
        }
        Ok(local)
    }
}

impl Source for KernelPacket {
    fn register(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(&mut self.socket, socket => socket.deregister(registry))
    }
}
