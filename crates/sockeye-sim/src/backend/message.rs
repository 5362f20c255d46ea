//! Datagram and packet sockets of a simulated host.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, SystemTime};

use sockeye_endpoint::UnixName;
use sockeye_event_loop::backend::{MessageIo, pack_frame};
use sockeye_socket::link::IncomingFrame;
use sockeye_socket::{Dscp, Ecn, Meta, Outgoing, QueueEntry, RecvBatch, SendBatch, SendError, SendReport};

use super::{SimSocket, no_address, no_name};
use crate::errno::{self, error};
use crate::mutant::Mutant;
use crate::world::{MessageKind, Sending, World, shaped};

/// A frame has no address of IP.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl SimSocket {
    /// Sends one message; a run of segments as the datagrams it stands for.
    fn send_one(&self, world: &mut World, message: &Outgoing<'_>) -> Result<(), i32> {
        let class = message.codepoint().map_or(0, Dscp::value) << 2 | message.ecn_bits().map_or(0, Ecn::bits);
        let sending = Sending {
            payload: message.payload(),
            to: message.destination(),
            source: message.source_address(),
            hop_limit: message.hops(),
            class,
        };
        if let MessageKind::Link(_) = world.messages[self.index as usize].kind {
            return world.send_frame(self.index, message.payload());
        }
        if world.messages[self.index as usize].kind != MessageKind::Udp {
            return world.send_packet(self.index, &sending);
        }
        match message.segment_bytes() {
            Some(size) if usize::from(size) < sending.payload.len() => {
                if size == 0 || !self.wants.gso {
                    return Err(errno::EINVAL);
                }
                let mut sent = Ok(());
                for payload in sending.payload.chunks(usize::from(size)) {
                    sent = sent.and(world.send_datagram(self.index, &Sending { payload, ..sending }));
                }
                sent
            }
            _ => world.send_datagram(self.index, &sending),
        }
    }

    fn meta(&self, world: &World, flight: u32) -> Meta {
        let arrived = world.flight(flight);
        let mut meta = Meta::NONE;
        if self.wants.destination && !world.mutated(Mutant::DestinationUnknown) {
            let destination = arrived.destination.ip();
            meta.destination = Some(destination);
            let own = !destination.is_multicast() && destination != Ipv4Addr::BROADCAST;
            meta.local = own.then_some(destination);
            meta.interface = Some(1);
        }
        if self.wants.class {
            meta.ecn = Some(Ecn::from_class(arrived.class));
            meta.dscp = Some(Dscp::from_class(arrived.class));
        }
        if self.wants.hop_limit && !world.mutated(Mutant::HopLimitUnknown) {
            meta.hop_limit = Some(arrived.hop_limit);
        }
        if self.wants.timestamp {
            meta.timestamp = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(arrived.arrived_ns));
        }
        meta
    }
}

impl MessageIo for SimSocket {
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.clear();
        let mut world = self.world.borrow_mut();
        if let Some(peers) = &mut self.peers {
            while batch.len() < batch.capacity() {
                match world.receive_unix(self.index) {
                    Ok((source, payload)) => {
                        batch.push(&payload, peers.address_of(&source), None, Meta::NONE);
                    }
                    Err(_) if !batch.is_empty() => break,
                    Err(number) => return Err(error(number)),
                }
            }
            return Ok(batch.len());
        }
        while batch.len() < batch.capacity() {
            let flight = match world.receive(self.index) {
                Ok(flight) => flight,
                // What came before the error is told first; the error is told at the next call.
                Err(errno::EAGAIN) if !batch.is_empty() => break,
                Err(0) => break,
                Err(number) if !batch.is_empty() => {
                    world.messages[self.index as usize].error = number;
                    break;
                }
                Err(number) => return Err(error(number)),
            };
            let socket = &world.messages[self.index as usize];
            if let MessageKind::Link(_) = socket.kind {
                let (frame, mut meta) = world.frame_of(socket.host, flight);
                meta.timestamp = self.meta(&world, flight).timestamp;
                let mut packed = Vec::new();
                pack_frame(&IncomingFrame::new(&frame, meta), &mut packed);
                batch.push(&packed, NOWHERE, None, Meta::NONE);
                world.free_flight(flight);
                continue;
            }
            let v6 = socket.is_v6();
            let meta = self.meta(&world, flight);
            let arrived = world.flight(flight);
            let source = shaped(arrived.source, v6);
            let payload = match world.mutated(Mutant::NoTruncation) {
                true => &arrived.payload[..arrived.payload.len().min(batch.slot_len())],
                false => arrived.payload.as_slice(),
            };
            batch.push(payload, source, None, meta);
            world.free_flight(flight);
        }
        Ok(batch.len())
    }

    fn send_batch<'a, F>(
        &mut self,
        _storage: &mut SendBatch,
        range: Range<usize>,
        mut message: F,
    ) -> SendReport
    where
        F: FnMut(usize) -> Outgoing<'a>,
    {
        let mut world = self.world.borrow_mut();
        let (start, count) = (range.start, range.len());
        for index in range {
            let message = message(index);
            let sent = match &self.peers {
                Some(peers) => match message.destination().map(|to| peers.name_of(to)) {
                    // A peer without a name, or one that is long forgotten.
                    Some(None) => Err(errno::EDESTADDRREQ),
                    Some(to) => world.send_unix(self.index, message.payload(), to),
                    None => world.send_unix(self.index, message.payload(), None),
                },
                None => self.send_one(&mut world, &message),
            };
            if let Err(number) = sent {
                return SendReport {
                    count: index - start,
                    error: Some(SendError::from_errno(number)),
                };
            }
        }
        SendReport { count, error: None }
    }

    fn local_unix(&self) -> io::Result<UnixName> {
        if self.peers.is_none() {
            return Err(no_name());
        }
        Ok(self.world.borrow().unix_datagrams[self.index as usize].name)
    }

    fn unix_name(&self, address: SocketAddr) -> Option<UnixName> {
        self.peers.as_ref()?.name_of(address)
    }

    fn unix_addr(&mut self, name: &UnixName) -> Option<SocketAddr> {
        Some(self.peers.as_mut()?.address_of(name))
    }

    fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        if self.peers.is_some() {
            return Ok(None);
        }
        Ok(self
            .world
            .borrow_mut()
            .receive_error(self.index)
            .map(QueueEntry::Error))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        if self.peers.is_some() {
            return Err(no_address());
        }
        let world = self.world.borrow();
        let mut local = world.messages[self.index as usize].local;
        if world.mutated(Mutant::LocalPortIsZero) {
            local.set_port(0);
        }
        Ok(local)
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        if self.peers.is_some() {
            return self.world.borrow_mut().close_unix_datagram(self.index);
        }
        self.world.borrow_mut().close_message(self.index);
    }
}
