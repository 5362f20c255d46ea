//! Datagrams in, and clients that come.

use bytes::BytesMut;
use quinn_proto::{AcceptError, DatagramEvent, EcnCodepoint, Incoming, Transmit};
use sockeye_event_loop::{Context, Datagram, DatagramId, Outgoing};
use sockeye_socket::Ecn;
use std::time::Instant;

use super::{Core, NONE, Role};
use crate::error::QuicError;
use crate::info::QuicId;
use crate::server::{Admission, Client};
use crate::stats::Count;

/// Datagrams are copied into blocks of this size, which they share: one allocation for a dozen. Not longer, as one that is kept
/// keeps the whole block.
const BLOCK: usize = 16 * 1024;

fn copied(pool: &mut BytesMut, data: &[u8]) -> BytesMut {
    if pool.capacity() < data.len() {
        pool.reserve(BLOCK.max(data.len()));
    }
    pool.extend_from_slice(data);
    pool.split()
}

/// What quinn-proto wants sent, as the loop sends it.
pub(super) fn outgoing<'a>(transmit: &Transmit, payload: &'a [u8]) -> Outgoing<'a> {
    let mut message = Outgoing::to(transmit.destination, payload);
    if let Some(address) = transmit.src_ip {
        message = message.source(address);
    }
    if let Some(ecn) = transmit.ecn {
        message = message.ecn(Ecn::from_class(ecn as u8));
    }
    message
}

impl Core {
    /// A datagram has come.
    pub(crate) fn receive(&mut self, context: &mut Context<'_>, socket: DatagramId, datagram: Datagram<'_>) {
        if datagram.truncated {
            return;
        }
        let now = self.now(context);
        let Some(running) = &mut self.running else { return };
        self.counters.add(Count::UdpIn);
        let ecn = datagram
            .meta
            .ecn
            .and_then(|ecn| EcnCodepoint::from_bits(ecn.bits()));
        let data = copied(&mut self.pool, datagram.data);
        self.out.clear();
        let event = running.endpoint.handle(
            now,
            datagram.source,
            datagram.meta.local,
            ecn,
            data,
            &mut self.out,
        );
        match event {
            None => {}
            Some(DatagramEvent::Response(transmit)) => self.respond(context, socket, &transmit),
            Some(DatagramEvent::NewConnection(incoming)) => self.come(context, socket, incoming, now),
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let index = self.by_handle.get(handle.0).copied().unwrap_or(NONE);
                let Some(conn) = self.conns.get_mut(index as usize) else {
                    return;
                };
                conn.quic.handle_event(event);
                if conn.quic.remote_address() != conn.remote {
                    // Whoever moves may come through another socket.
                    conn.socket = socket;
                }
                let id = conn.id;
                if self.touched.last() != Some(&id) {
                    self.touched.push(id);
                }
            }
        }
    }

    /// A batch of datagrams has been handled: what they said of connections is passed on. What is sent for it is sent at the
    /// end of the turn, when the services have had their say.
    pub(crate) fn batch_complete(&mut self, context: &mut Context<'_>) {
        let mut touched = std::mem::take(&mut self.touched);
        for id in touched.drain(..) {
            self.process(context, id);
            self.mark(context, id);
        }
        self.touched = touched;
    }

    /// An answer that belongs to no connection. If there is no room for it, it is lost as any datagram may be.
    fn respond(&mut self, context: &mut Context<'_>, socket: DatagramId, transmit: &Transmit) {
        let payload = self.out.get(..transmit.size).unwrap_or_default();
        let sent = context.datagrams(socket).send(&outgoing(transmit, payload));
        if sent.is_taken() {
            self.counters.add(Count::UdpOut);
            self.counters.add(Count::BatchesOut);
        }
    }

    /// A client comes.
    fn come(&mut self, context: &mut Context<'_>, socket: DatagramId, incoming: Incoming, now: Instant) {
        let client = Client {
            remote: incoming.remote_address(),
            local: incoming.local_ip(),
            validated: incoming.remote_address_validated(),
        };
        let draining = self.draining || context.is_draining();
        let Role::Server { admit, limits, .. } = &mut self.role else {
            // There is no configuration for it, so that quinn-proto does not offer any.
            return self.turn_away(context, socket, incoming);
        };
        let (most, by) = (limits.handshakes, now + limits.handshake_deadline);
        let mut admission = match admit {
            Some(admit) => admit(&client),
            None => Admission::Accept,
        };
        if draining || self.conns.len() >= limits.connections {
            admission = Admission::Refuse;
        }
        let must_validate = admission == Admission::Validate || self.under_way >= limits.validate_from;
        if admission != Admission::Refuse && must_validate && !client.validated && incoming.may_retry() {
            return self.retry(context, socket, incoming);
        }
        if admission == Admission::Refuse {
            return self.turn_away(context, socket, incoming);
        }
        if self.under_way >= most.max(1) {
            self.give_oldest_up(context);
        }
        self.accept(context, socket, incoming, now, by);
    }

    fn accept(
        &mut self,
        context: &mut Context<'_>,
        socket: DatagramId,
        incoming: Incoming,
        now: Instant,
        by: Instant,
    ) {
        let Some(running) = &mut self.running else { return };
        self.out.clear();
        match running.endpoint.accept(incoming, now, &mut self.out, None) {
            Ok((handle, quic)) => {
                let id = self.add(handle, quic, socket, Some(by));
                self.under_way += 1;
                while self
                    .order
                    .front()
                    .is_some_and(|&oldest| !self.is_in_handshake(oldest))
                {
                    self.order.pop_front();
                }
                self.order.push_back(id);
                self.touched.push(id);
            }
            Err(AcceptError { response, .. }) => {
                self.counters.add(Count::Begun);
                self.counters.add(Count::Failed);
                if let Some(transmit) = response {
                    self.respond(context, socket, &transmit);
                }
            }
        }
    }

    fn turn_away(&mut self, context: &mut Context<'_>, socket: DatagramId, incoming: Incoming) {
        let Some(running) = &mut self.running else { return };
        self.counters.add(Count::Refused);
        self.out.clear();
        let transmit = running.endpoint.refuse(incoming, &mut self.out);
        self.respond(context, socket, &transmit);
    }

    /// Nothing is kept of the client: its address and what it wanted are in the token that it has to bring back.
    fn retry(&mut self, context: &mut Context<'_>, socket: DatagramId, incoming: Incoming) {
        let Some(running) = &mut self.running else { return };
        self.out.clear();
        match running.endpoint.retry(incoming, &mut self.out) {
            Ok(transmit) => {
                self.counters.add(Count::Retried);
                self.respond(context, socket, &transmit);
            }
            Err(error) => running.endpoint.ignore(error.into_incoming()),
        }
    }

    fn give_oldest_up(&mut self, context: &mut Context<'_>) {
        while let Some(id) = self.order.pop_front() {
            if self.is_in_handshake(id) {
                self.counters.add(Count::GivenUp);
                self.give_up(context, id, QuicError::TooManyHandshakes);
                return;
            }
        }
    }

    /// A handshake that goes no further: nothing of it is kept, and nothing is sent for it.
    pub(super) fn give_up(&mut self, context: &mut Context<'_>, id: QuicId, error: QuicError) {
        self.lose(context, id, error);
        self.drop_quic(id);
        self.forget_if_over(context, id);
    }
}
