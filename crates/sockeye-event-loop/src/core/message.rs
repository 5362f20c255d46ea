//! A datagram or packet socket, and what waits for the kernel's buffer. `inbox` receives, `outbox` sends what
//! callbacks recorded.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use sockeye_endpoint::UnixName;
use sockeye_socket::{Fault, Outgoing, QueueEntry, RecvBatch, SendBatch, SendReport};

use super::record::{Payloads, Record};
use crate::backend::{Backend, MessageIo, SocketRef, no_unix_name};
use crate::id::Token;
use crate::outcome::SendFailure;

/// What a waiting message counts for: empty ones are real, and take room too.
pub(super) fn cost(len: usize) -> usize {
    len.max(64)
}

/// A socket of either kind: to the loop they differ in nothing.
#[derive(Debug)]
pub(crate) enum MessageWire<B: Backend> {
    Datagram(B::Datagram),
    Packet(B::Packet),
}

impl<B: Backend> MessageWire<B> {
    pub(super) fn as_ref(&mut self) -> SocketRef<'_, B> {
        match self {
            Self::Datagram(io) => SocketRef::Datagram(io),
            Self::Packet(io) => SocketRef::Packet(io),
        }
    }

    pub(super) fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        match self {
            Self::Datagram(io) => io.recv_batch(batch),
            Self::Packet(io) => io.recv_batch(batch),
        }
    }

    fn send_batch<'a>(
        &mut self,
        storage: &mut SendBatch,
        range: Range<usize>,
        message: impl FnMut(usize) -> Outgoing<'a>,
    ) -> SendReport {
        match self {
            Self::Datagram(io) => io.send_batch(storage, range, message),
            Self::Packet(io) => io.send_batch(storage, range, message),
        }
    }

    pub(super) fn recv_error(&mut self) -> io::Result<Option<QueueEntry>> {
        match self {
            Self::Datagram(io) => io.recv_error(),
            Self::Packet(io) => io.recv_error(),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Datagram(io) => io.local_addr(),
            Self::Packet(io) => io.local_addr(),
        }
    }

    pub(crate) fn local_unix(&self) -> io::Result<UnixName> {
        match self {
            Self::Datagram(io) => io.local_unix(),
            Self::Packet(_) => Err(no_unix_name()),
        }
    }

    pub(crate) fn unix_name(&self, address: SocketAddr) -> Option<UnixName> {
        match self {
            Self::Datagram(io) => io.unix_name(address),
            Self::Packet(_) => None,
        }
    }

    pub(crate) fn unix_addr(&mut self, name: &UnixName) -> Option<SocketAddr> {
        match self {
            Self::Datagram(io) => io.unix_addr(name),
            Self::Packet(_) => None,
        }
    }

    #[cfg(feature = "udp")]
    pub(crate) fn udp(&self) -> Option<&sockeye_udp_datagram::UdpSocket> {
        match self {
            Self::Datagram(io) => io.udp(),
            Self::Packet(io) => io.udp(),
        }
    }
}

/// A datagram or packet socket, and what waits for the kernel's buffer.
pub(crate) struct MessageSocket<B: Backend> {
    pub(crate) io: MessageWire<B>,
    queue: VecDeque<(Outgoing<'static>, Vec<u8>)>,
    queued: usize,
    max_queue: usize,
    /// `on_writable` is owed.
    pub(super) notify: bool,
    /// The backend tells when there is room: while messages wait for it.
    watched: bool,
    /// Receive errors in a row.
    pub(super) errors: u32,
    /// Its service has asked for the end of the turn.
    pub(super) turn_end: bool,
    /// A drain of the loop waits for it.
    pub(super) holds: bool,
}

/// What a round of sending led to.
#[derive(Default)]
pub(super) struct Report {
    pub(super) sent: usize,
    pub(super) failed: Vec<SendFailure>,
}

impl<B: Backend> MessageSocket<B> {
    pub(crate) fn new(io: MessageWire<B>, max_queue: usize) -> Self {
        Self {
            io,
            queue: VecDeque::new(),
            queued: 0,
            max_queue,
            notify: false,
            watched: false,
            errors: 0,
            turn_end: false,
            holds: false,
        }
    }

    /// Has the backend tell when there is room, if and only if messages wait for it.
    #[inline]
    pub(super) fn watch(&mut self, backend: &mut B, token: Token) {
        if self.waits() != self.watched {
            self.watched = !self.watched;
            // It changes what is registered already, for which the kernel needs no memory.
            let _ = backend.watch_writable(self.io.as_ref(), token, self.watched);
        }
    }

    /// Whether more waits than there is room for.
    pub(super) fn is_full(&self) -> bool {
        self.queued > self.max_queue
    }

    /// Whether a message of that length would have to wait, and there is no room for it.
    pub(super) fn has_no_room(&self, len: usize) -> bool {
        self.queued + cost(len) > self.max_queue && !self.queue.is_empty()
    }

    pub(super) fn waits(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Memory that what waits takes.
    pub(super) fn held(&self) -> usize {
        self.queued
    }

    /// Sends what was recorded, in order, and queues what the kernel has no room for.
    pub(super) fn send(
        &mut self,
        sender: &mut SendBatch,
        records: &[Record],
        payloads: &Payloads<'_>,
        report: &mut Report,
    ) {
        let mut next = 0;
        while next < records.len() && self.queue.is_empty() {
            let make = |i: usize| records[i].message.with_payload(payloads.of(&records[i]));
            let outcome = self.io.send_batch(sender, next..records.len(), make);
            report.sent += outcome.count;
            next += outcome.count;
            let Some(error) = outcome.error else { return };
            if error.fault() == Fault::WouldBlock {
                break;
            }
            if let Some(record) = records.get(next) {
                let (destination, len) = (record.message.destination(), record.len as usize);
                report.failed.push(SendFailure {
                    destination,
                    len,
                    error,
                });
            }
            next += 1;
        }
        for record in &records[next.min(records.len())..] {
            let payload = payloads.of(record);
            self.queued += cost(payload.len());
            self.queue.push_back((record.message, payload.to_vec()));
        }
    }

    /// Sends what waits. `true` if nothing is left.
    pub(super) fn flush(&mut self, sender: &mut SendBatch, report: &mut Report) -> bool {
        while !self.queue.is_empty() {
            let queue = &self.queue;
            let outcome = self
                .io
                .send_batch(sender, 0..queue.len(), |i| queue[i].0.with_payload(&queue[i].1));
            report.sent += outcome.count;
            for (_, payload) in self.queue.drain(..outcome.count) {
                self.queued -= cost(payload.len());
            }
            let Some(error) = outcome.error else { continue };
            if error.fault() == Fault::WouldBlock {
                return false;
            }
            if let Some((message, payload)) = self.queue.pop_front() {
                self.queued -= cost(payload.len());
                report.failed.push(SendFailure {
                    destination: message.destination(),
                    len: payload.len(),
                    error,
                });
            }
        }
        true
    }
}
