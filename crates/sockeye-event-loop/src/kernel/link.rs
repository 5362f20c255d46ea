//! Packet sockets of the kernel, and the raw sockets beside them: the loop knows one kind of packet.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::Range;

use mio::event::Source;
use mio::{Interest, Registry};
use sockeye_link::{FrameMode, FrameRecvBatch, FrameSendBatch, LinkSocket};
use sockeye_socket::errno::EIO;
use sockeye_socket::{Meta, Outgoing, QueueEntry, RecvBatch, SendBatch, SendError, SendReport};

use super::packet::KernelPacket;
use crate::backend::MessageIo;
use crate::frames;
use crate::options::FrameOptions;

/// Frames a call, and the longest: a packet of 64 KiB with its header.
const BATCH: usize = 64;
const LONGEST: usize = 65_550;
/// A frame has no address of IP.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// A raw IP or ICMP socket, or a packet socket.
#[derive(Debug)]
pub enum KernelPacketOrFrame {
    /// Packets of IP.
    Packet(KernelPacket),
    /// Frames of a link.
    Frame(Box<KernelLink>),
}

/// A packet socket, and the storage that it receives into.
#[derive(Debug)]
pub struct KernelLink {
    socket: LinkSocket,
    inbox: FrameRecvBatch,
    outbox: FrameSendBatch,
    packed: Vec<u8>,
}

pub(super) fn open(options: &FrameOptions) -> io::Result<KernelPacketOrFrame> {
    let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let mode = if options.cooked {
        FrameMode::Cooked
    } else {
        FrameMode::Whole
    };
    let mut how = sockeye_link::LinkOptions::new()
        .mode(mode)
        .protocol(options.protocol)
        .promiscuous(options.promiscuous)
        .ignore_outgoing(options.ignore_outgoing)
        .timestamps(options.timestamps);
    if let Some(size) = options.send_buffer {
        how = how.send_buffer(bytes(size));
    }
    if let Some(size) = options.recv_buffer {
        how = how.recv_buffer(bytes(size));
    }
    if let Some(filter) = &options.filter {
        how = how.filter(filter.clone());
    }
    let socket = match &options.interface {
        Some(name) => how.open(name)?,
        None => how.open_any()?,
    };
    Ok(KernelPacketOrFrame::Frame(Box::new(KernelLink {
        socket,
        inbox: FrameRecvBatch::new(BATCH, LONGEST),
        outbox: FrameSendBatch::new(BATCH),
        packed: Vec::new(),
    })))
}

impl KernelLink {
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.clear();
        self.inbox.recv_up_to(&self.socket, batch.capacity())?;
        for frame in self.inbox.iter() {
            frames::pack(&frame, &mut self.packed);
            batch.push(&self.packed, NOWHERE, None, Meta::NONE);
        }
        Ok(batch.len())
    }

    fn send_batch<'a>(
        &mut self,
        range: Range<usize>,
        mut message: impl FnMut(usize) -> Outgoing<'a>,
    ) -> SendReport {
        let mut count = 0;
        let (start, all) = (range.start, range.len());
        while count < all {
            let rest = (start + count..range.end).map(|index| (message(index).payload(), None));
            match self.socket.send_batch(&mut self.outbox, rest) {
                Ok(0) => break,
                Ok(sent) => count += sent,
                Err(error) => {
                    let error = Some(SendError::from_errno(error.raw_os_error().unwrap_or(EIO)));
                    return SendReport { count, error };
                }
            }
        }
        SendReport { count, error: None }
    }
}

impl MessageIo for KernelPacketOrFrame {
    #[inline]
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        match self {
            Self::Packet(socket) => socket.recv_batch(batch),
            Self::Frame(socket) => socket.recv_batch(batch),
        }
    }

    #[inline]
    fn send_batch<'a, F>(&mut self, storage: &mut SendBatch, range: Range<usize>, message: F) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>,
    {
        match self {
            Self::Packet(socket) => socket.send_batch(storage, range, message),
            Self::Frame(socket) => socket.send_batch(range, message),
        }
    }

    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        match self {
            Self::Packet(socket) => socket.recv_error(),
            // Nothing is asked for that would come there.
            Self::Frame(_) => Ok(None),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Packet(socket) => socket.local_addr(),
            Self::Frame(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Does the same to whichever socket it is.
macro_rules! each {
    ($value:expr, $socket:ident => $action:expr) => {
        match $value {
            KernelPacketOrFrame::Packet($socket) => $action,
            KernelPacketOrFrame::Frame(link) => {
                let $socket = &mut link.socket;
                $action
            }
        }
    };
}

impl Source for KernelPacketOrFrame {
    fn register(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        each!(self, socket => socket.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: mio::Token, interests: Interest) -> io::Result<()> {
        each!(self, socket => socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(self, socket => socket.deregister(registry))
    }
}
