//! Datagram and packet sockets: batches in, batches out, and what waits in between.
//!
//! While a batch is offered, what the service sends is recorded, not sent: a reply that is a slice of a
//! received datagram as its place in the batch, anything else in the outbox's buffer. Then all of it leaves in
//! one go, where runs to one peer of one size become one segmented message.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::{Fault, Op, OpError, Outgoing, RecvBatch, SendBatch};

use super::link::{Entry, NO_CONN, Socket};
use super::{Calling, Core, Inner, Outbox, Place, Record};
use crate::backend::{Backend, MessageIo, Readiness, SocketRef, Token};
use crate::datagrams::{Datagram, Datagrams};
use crate::driver::{
    BatchPlace, Driver, MessageDriver, Receiver, ServiceEvent, SocketEvent, StreamDriver, StreamEvent,
};
use crate::gather::Gather;
use crate::host::Host;
use crate::service::{CloseReason, SendFailure, Sent};

/// Messages received in one call.
const BATCH: usize = 64;
/// Room for one: with GRO the kernel may hand over 64 KiB.
const SLOT: usize = 65_535;
/// Recorded messages after which the core sends before more is offered.
const RECORDS: usize = 4096;
/// Entries taken from the error queue in one turn.
const ERRORS: usize = 256;
/// Receive errors in a row after which a socket is of no use.
const MAX_ERRORS: u32 = 1000;

/// What a waiting message counts for: empty ones are real, and take room too.
fn cost(len: usize) -> usize {
    len.max(64)
}

/// A datagram or packet socket, and what waits for the kernel's buffer.
pub(crate) struct MessageSocket<M> {
    pub(crate) io: M,
    queue: VecDeque<(Outgoing<'static>, Vec<u8>)>,
    queued: usize,
    max_queue: usize,
    /// `on_writable` is owed.
    notify: bool,
    errors: u32,
}

/// Recorded payloads: the received batch and the outbox's buffer.
struct Payloads<'a> {
    received: &'a [u8],
    lent: &'a [u8],
}

impl<'a> Payloads<'a> {
    fn of(&self, record: &Record) -> &'a [u8] {
        let len = record.len as usize;
        let (bytes, start) = match record.place {
            Place::Received(start) => (self.received, start),
            Place::Lent(start) => (self.lent, start),
        };
        bytes.get(start..start + len).unwrap_or(&[])
    }
}

impl<M: MessageIo> MessageSocket<M> {
    fn new(io: M, max_queue: usize) -> Self {
        Self {
            io,
            queue: VecDeque::new(),
            queued: 0,
            max_queue,
            notify: false,
            errors: 0,
        }
    }

    /// Sends what was recorded, in order, and queues what the kernel has no room for.
    fn send(
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
    fn flush(&mut self, sender: &mut SendBatch, report: &mut Report) -> bool {
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

/// What a round of sending led to.
#[derive(Default)]
struct Report {
    sent: usize,
    failed: Vec<SendFailure>,
}

/// A service with the trait it implements.
pub(crate) struct Messages<R>(pub(crate) R);

impl<R: Receiver + ServiceOf> MessageDriver for Messages<R> {
    fn batch(&mut self, host: &mut dyn Host, token: Token, batch: &mut RecvBatch, next: &mut BatchPlace) {
        while next.message < batch.len() {
            let slot = next.message;
            let Some(incoming) = batch.get(slot) else { return };
            let total = incoming.payload.len();
            let size = incoming.segment_size.unwrap_or(total).max(1);
            let (source, truncated, meta) = (incoming.source, incoming.truncated, incoming.meta);
            loop {
                let start = next.offset;
                let end = (start + size).min(total);
                let last = end == total;
                (next.message, next.offset) = if last { (slot + 1, 0) } else { (slot, end) };
                let data = batch.payload_mut(slot).get_mut(start..end).unwrap_or_default();
                let datagram = Datagram {
                    data,
                    source,
                    truncated,
                    meta,
                };
                next.datagrams += 1;
                let mut socket = Datagrams::new(host, token);
                self.0.receive(&mut socket, datagram);
                if socket.is_closed() {
                    return;
                }
                if last {
                    break;
                }
            }
            // Behind the last one there is no other call that would tell of the end of the batch.
            if host.must_flush() && next.message < batch.len() {
                return;
            }
        }
        self.0.complete(&mut Datagrams::new(host, token));
    }

    fn socket_event(&mut self, host: &mut dyn Host, token: Token, event: SocketEvent) {
        self.0.tell(&mut Datagrams::new(host, token), event);
    }
}

impl<R: Receiver + ServiceOf> Driver for Messages<R> {
    fn service(&mut self) -> &mut dyn std::any::Any {
        self.0.service()
    }
}

/// Streams never name a message service: their handles have its type.
impl<R> StreamDriver for Messages<R> {
    fn open(&mut self, _: &mut dyn Host, _: &mut Gather, _: Token) -> u32 {
        NO_CONN
    }

    fn data(&mut self, _: &mut dyn Host, _: &mut Gather, _: Token, _: u32, data: &mut [u8]) -> usize {
        data.len()
    }

    fn data_complete(
        &mut self,
        _: &mut dyn Host,
        _: &mut Gather,
        _: Token,
        _: u32,
        data: &mut [u8],
    ) -> usize {
        data.len()
    }

    fn event(&mut self, _: &mut dyn Host, _: &mut Gather, _: Token, _: u32, _: StreamEvent<'_>) {}

    fn close(&mut self, _: &mut dyn Host, _: Token, _: u32, _: CloseReason) {}

    fn service_event(&mut self, _: &mut dyn Host, _: u16, _: ServiceEvent) {}
}

/// Access to the user's service behind its receiver.
pub(crate) trait ServiceOf {
    fn service(&mut self) -> &mut dyn std::any::Any;
}

impl<S: 'static> ServiceOf for crate::driver::ForDatagrams<S> {
    fn service(&mut self) -> &mut dyn std::any::Any {
        &mut self.0
    }
}

impl<S: 'static> ServiceOf for crate::driver::ForPackets<S> {
    fn service(&mut self) -> &mut dyn std::any::Any {
        &mut self.0
    }
}

impl<B: Backend> Core<B> {
    /// Takes a socket onto the loop and tells its service.
    pub(crate) fn add_socket(
        &mut self,
        socket: Socket<B>,
        service: u16,
        at: SocketAddr,
    ) -> Result<Token, OpError> {
        let local = Endpoint::udp(at);
        let failed =
            |error: io::Error| OpError::new(Op::Set("readiness"), Transport::Udp, error).with_local(local);
        let full = || failed(io::ErrorKind::OutOfMemory.into());
        let token = self.inner.table.insert(socket, service).ok_or_else(full)?;
        let Some(entry) = self.inner.table.get_mut(token) else {
            return Err(full());
        };
        let registered = match &mut entry.socket {
            Socket::Datagram(socket) => self
                .inner
                .backend
                .register(SocketRef::Datagram(&mut socket.io), token),
            Socket::Packet(socket) => self
                .inner
                .backend
                .register(SocketRef::Packet(&mut socket.io), token),
            _ => Ok(()),
        };
        if let Err(error) = registered {
            self.inner.table.remove(token);
            return Err(failed(error));
        }
        self.tell_socket(token, SocketEvent::Open);
        Ok(token)
    }

    /// Something happened on a datagram or packet socket.
    pub(super) fn message_event(&mut self, token: Token, flags: Readiness) {
        if flags.any(Readiness::ERROR) {
            self.take_errors(token);
        }
        if flags.any(Readiness::WRITABLE) {
            self.flush_socket(token);
        }
        // An error that is not in the queue is told by the next call, whichever: a receive, so that it is not
        // taken for the fault of a datagram to be sent.
        if flags.any(Readiness::READABLE.with(Readiness::ERROR)) {
            self.receive(token);
        }
    }

    fn take_errors(&mut self, token: Token) {
        for _ in 0..ERRORS {
            let entry = match self.inner.table.get_mut(token) {
                Some(Entry {
                    socket: Socket::Datagram(socket),
                    ..
                }) => socket.io.recv_error(),
                Some(Entry {
                    socket: Socket::Packet(socket),
                    ..
                }) => socket.io.recv_error(),
                _ => return,
            };
            match entry {
                Ok(Some(entry)) => self.tell_socket(token, SocketEvent::Error(entry)),
                Ok(None) => return,
                Err(error) => return self.tell_socket(token, SocketEvent::RecvError(error)),
            }
        }
        // The queue holds more: no event will say so again.
        self.inner.relist(token);
    }

    fn flush_socket(&mut self, token: Token) {
        let mut report = Report::default();
        let sender = self
            .inner
            .sender
            .get_or_insert_with(|| Box::new(SendBatch::new(BATCH)));
        let (empty, notify) = match self.inner.table.get_mut(token) {
            Some(Entry {
                socket: Socket::Datagram(socket),
                ..
            }) => (socket.flush(sender, &mut report), &mut socket.notify),
            Some(Entry {
                socket: Socket::Packet(socket),
                ..
            }) => (socket.flush(sender, &mut report), &mut socket.notify),
            _ => return,
        };
        let tell = empty && std::mem::take(notify);
        self.report(token, report);
        if tell {
            self.tell_socket(token, SocketEvent::Writable);
        }
    }

    /// Receives batches until there is nothing more, or the turn's share is used up.
    fn receive(&mut self, token: Token) {
        let mut inbox = self
            .inbox
            .take()
            .unwrap_or_else(|| Box::new(RecvBatch::new(BATCH, SLOT)));
        let mut more = true;
        for _ in 0..self.inner.options.datagram_batches {
            let received = match self.inner.table.get_mut(token) {
                Some(Entry {
                    socket: Socket::Datagram(socket),
                    ..
                }) => socket.io.recv_batch(&mut inbox),
                Some(Entry {
                    socket: Socket::Packet(socket),
                    ..
                }) => socket.io.recv_batch(&mut inbox),
                _ => break,
            };
            match received {
                Ok(count) => {
                    self.inner.shared.stats.batches += 1;
                    self.forget_errors(token);
                    let full = count == inbox.capacity();
                    self.inbox = Some(inbox);
                    self.open_batch = Some((token, BatchPlace::default()));
                    self.finish_batch();
                    let Some(back) = self.inbox.take() else { return };
                    inbox = back;
                    if !full {
                        more = false;
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                Err(error) => {
                    if self.too_many_errors(token) {
                        more = false;
                    }
                    self.inbox = Some(inbox);
                    self.tell_socket(token, SocketEvent::RecvError(error));
                    let Some(back) = self.inbox.take() else { return };
                    inbox = back;
                    if !more {
                        self.inner.close_socket_now(token);
                        break;
                    }
                }
            }
        }
        self.inbox = Some(inbox);
        if more {
            self.inner.relist(token);
        }
    }

    fn forget_errors(&mut self, token: Token) {
        match self.inner.table.get_mut(token) {
            Some(Entry {
                socket: Socket::Datagram(socket),
                ..
            }) => socket.errors = 0,
            Some(Entry {
                socket: Socket::Packet(socket),
                ..
            }) => socket.errors = 0,
            _ => {}
        }
    }

    fn too_many_errors(&mut self, token: Token) -> bool {
        let errors = match self.inner.table.get_mut(token) {
            Some(Entry {
                socket: Socket::Datagram(socket),
                ..
            }) => &mut socket.errors,
            Some(Entry {
                socket: Socket::Packet(socket),
                ..
            }) => &mut socket.errors,
            _ => return true,
        };
        *errors += 1;
        *errors > MAX_ERRORS
    }

    /// Offers what is left of the open batch. After a panic in one of its callbacks it goes on with the next.
    pub(super) fn finish_batch(&mut self) {
        while let Some((token, place)) = self.open_batch {
            let Some(inbox) = &mut self.inbox else { break };
            if place.message >= inbox.len() || self.inner.shared.outbox.closing {
                break;
            }
            let Some(link) = self.inner.table.link(token) else {
                break;
            };
            let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
                break;
            };
            let storage = inbox.storage();
            let arena = (storage.as_ptr().addr(), storage.len());
            self.inner.begin_outbox(token, arena);
            if let Some((_, place)) = &mut self.open_batch {
                let before = *place;
                driver.batch(&mut self.inner, token, inbox, place);
                debug_assert!(before.message != place.message || before.offset != place.offset);
            }
            self.inner.shared.calling = Calling::Nobody;
            let report = self
                .inner
                .flush_outbox(token, self.inbox.as_ref().map_or(&[], |inbox| inbox.storage()));
            self.report(token, report);
        }
        if let Some((token, place)) = self.open_batch.take() {
            self.inner.shared.stats.datagrams_in += place.datagrams;
            // After a panic in its last callback something may still be recorded.
            let report = self
                .inner
                .flush_outbox(token, self.inbox.as_ref().map_or(&[], |inbox| inbox.storage()));
            self.report(token, report);
        }
    }

    /// Tells a socket's service something, and sends what it says to that.
    pub(super) fn tell_socket(&mut self, token: Token, event: SocketEvent) {
        let Some(link) = self.inner.table.link(token) else {
            return;
        };
        let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
            return;
        };
        self.inner.begin_outbox(token, (0, 0));
        driver.socket_event(&mut self.inner, token, event);
        self.inner.shared.calling = Calling::Nobody;
        let report = self.inner.flush_outbox(token, &[]);
        self.report(token, report);
    }

    fn report(&mut self, token: Token, report: Report) {
        self.inner.shared.stats.datagrams_out += report.sent as u64;
        self.inner.shared.stats.send_errors += report.failed.len() as u64;
        for failure in report.failed {
            // Not `tell_socket`: what the service answers to a failure waits for the next flush, so that a
            // failing answer to a failure does not go round and round here.
            let Some(link) = self.inner.table.link(token) else {
                return;
            };
            let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
                return;
            };
            self.inner.shared.calling = Calling::Service;
            driver.socket_event(&mut self.inner, token, SocketEvent::SendError(failure));
            self.inner.shared.calling = Calling::Nobody;
        }
    }
}

impl<B: Backend> Inner<B> {
    pub(crate) fn datagram_socket(io: B::Datagram, max_queue: usize) -> Socket<B> {
        Socket::Datagram(Box::new(MessageSocket::new(io, max_queue)))
    }

    pub(crate) fn packet_socket(io: B::Packet, max_queue: usize) -> Socket<B> {
        Socket::Packet(Box::new(MessageSocket::new(io, max_queue)))
    }

    /// Callbacks of a socket begin: what they send is recorded.
    fn begin_outbox(&mut self, token: Token, arena: (usize, usize)) {
        let full = match self.table.get(token) {
            Some(Entry {
                socket: Socket::Datagram(socket),
                ..
            }) => socket.queued > socket.max_queue,
            Some(Entry {
                socket: Socket::Packet(socket),
                ..
            }) => socket.queued > socket.max_queue,
            _ => false,
        };
        let outbox = &mut self.shared.outbox;
        outbox.socket = Some(token);
        outbox.arena = arena;
        outbox.full = full;
        self.shared.calling = Calling::Service;
    }

    /// Records a message of the socket whose callback runs, or sends one of another socket at once.
    #[inline]
    pub(super) fn send_message_now(&mut self, token: Token, message: &Outgoing<'_>) -> Sent {
        let outbox = &mut self.shared.outbox;
        if outbox.socket != Some(token) {
            return self.send_apart(token, message);
        }
        if outbox.closing {
            return Sent::Gone;
        }
        if outbox.full {
            return self.refuse(token);
        }
        let payload = message.payload();
        let (start, len) = outbox.arena;
        let offset = payload.as_ptr().addr().wrapping_sub(start);
        let place = if offset < len && payload.len() <= len - offset {
            Place::Received(offset)
        } else {
            if outbox.lent.len() + payload.len() > self.max_lent {
                return self.refuse(token);
            }
            let at = outbox.lent.len();
            outbox.lent.extend_from_slice(payload);
            Place::Lent(at)
        };
        self.record(token, place, payload.len(), message)
    }

    fn record(&mut self, token: Token, place: Place, len: usize, message: &Outgoing<'_>) -> Sent {
        let outbox = &mut self.shared.outbox;
        if outbox.records.len() >= 4 * RECORDS {
            return self.refuse(token);
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        outbox.records.push(Record {
            place,
            len,
            message: message.with_payload(&[]),
        });
        Sent::Sent
    }

    /// No room: `on_writable` follows.
    #[cold]
    fn refuse(&mut self, token: Token) -> Sent {
        self.shared.stats.full += 1;
        match self.table.get_mut(token) {
            Some(Entry {
                socket: Socket::Datagram(socket),
                ..
            }) => socket.notify = true,
            Some(Entry {
                socket: Socket::Packet(socket),
                ..
            }) => socket.notify = true,
            _ => return Sent::Gone,
        }
        self.relist(token);
        Sent::Full
    }

    /// A message of a socket whose callback does not run: sent now, or queued behind what waits.
    fn send_apart(&mut self, token: Token, message: &Outgoing<'_>) -> Sent {
        let len = message.payload().len();
        let sender = self.sender.get_or_insert_with(|| Box::new(SendBatch::new(BATCH)));
        let record = Record {
            place: Place::Lent(0),
            len: u32::try_from(len).unwrap_or(u32::MAX),
            message: message.with_payload(&[]),
        };
        let payloads = Payloads {
            received: &[],
            lent: message.payload(),
        };
        let mut report = Report::default();
        let (full, waits) = match self.table.get_mut(token) {
            Some(Entry {
                socket: Socket::Datagram(socket),
                ..
            }) => {
                let full = socket.queued + cost(len) > socket.max_queue && !socket.queue.is_empty();
                if !full {
                    socket.send(sender, &[record], &payloads, &mut report);
                }
                (full, !socket.queue.is_empty())
            }
            Some(Entry {
                socket: Socket::Packet(socket),
                ..
            }) => {
                let full = socket.queued + cost(len) > socket.max_queue && !socket.queue.is_empty();
                if !full {
                    socket.send(sender, &[record], &payloads, &mut report);
                }
                (full, !socket.queue.is_empty())
            }
            _ => return Sent::Gone,
        };
        self.shared.stats.datagrams_out += report.sent as u64;
        self.shared.stats.send_errors += report.failed.len() as u64;
        match (full, waits) {
            (true, _) => self.refuse(token),
            (false, true) => Sent::Queued,
            (false, false) => Sent::Sent,
        }
    }

    pub(super) fn lend_now(&mut self, token: Token, max_len: usize) -> Option<&mut [u8]> {
        let outbox = &mut self.shared.outbox;
        // Outside of its callbacks there is no flush that would take it up.
        if outbox.socket != Some(token)
            || outbox.full
            || outbox.closing
            || outbox.lent.len() + max_len > self.max_lent
        {
            return None;
        }
        let at = outbox.lent.len();
        outbox.lent.resize(at + max_len, 0);
        outbox.lending = max_len;
        outbox.lent.get_mut(at..)
    }

    pub(super) fn commit_now(&mut self, token: Token, message: &Outgoing<'_>, len: usize) -> Sent {
        let outbox = &mut self.shared.outbox;
        let at = outbox
            .lent
            .len()
            .saturating_sub(std::mem::take(&mut outbox.lending));
        outbox.lent.truncate(at + len);
        self.record(token, Place::Lent(at), len, message)
    }

    pub(super) fn must_flush_now(&self) -> bool {
        let outbox = &self.shared.outbox;
        outbox.records.len() >= RECORDS || outbox.lent.len() >= self.max_lent / 2
    }

    /// Sends what the callbacks of a socket recorded.
    fn flush_outbox(&mut self, token: Token, received: &[u8]) -> Report {
        let mut report = Report::default();
        if self.shared.outbox.records.is_empty() {
            self.forget_outbox(token);
            return report;
        }
        let Outbox {
            mut records,
            mut lent,
            closing,
            ..
        } = std::mem::take(&mut self.shared.outbox);
        let payloads = Payloads {
            received,
            lent: &lent,
        };
        let sender = self.sender.get_or_insert_with(|| Box::new(SendBatch::new(BATCH)));
        match self.table.get_mut(token) {
            Some(Entry {
                socket: Socket::Datagram(socket),
                ..
            }) => socket.send(sender, &records, &payloads, &mut report),
            Some(Entry {
                socket: Socket::Packet(socket),
                ..
            }) => socket.send(sender, &records, &payloads, &mut report),
            _ => {}
        }
        // The storage goes back for the next batch.
        records.clear();
        lent.clear();
        self.shared.outbox = Outbox {
            records,
            lent,
            closing,
            ..Outbox::default()
        };
        self.forget_outbox(token);
        report
    }

    /// Nothing is recorded any more; a socket that was closed meanwhile goes.
    pub(super) fn forget_outbox(&mut self, token: Token) {
        let outbox = &mut self.shared.outbox;
        outbox.records.clear();
        outbox.lent.clear();
        outbox.socket = None;
        outbox.full = false;
        if std::mem::take(&mut outbox.closing) {
            self.table.remove(token);
        }
    }

    pub(super) fn close_socket_now(&mut self, token: Token) {
        let Some(entry) = self.table.get(token) else {
            return;
        };
        if let Socket::Datagram(_) | Socket::Packet(_) = entry.socket {
            if self.shared.outbox.socket == Some(token) {
                // What its callback has sent before still leaves.
                self.shared.outbox.closing = true;
            } else {
                self.table.remove(token);
            }
        }
    }
}
