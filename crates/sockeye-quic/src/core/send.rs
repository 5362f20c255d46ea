//! Datagrams out, and timers.

use quinn_proto::Transmit;
use sockeye_event_loop::{Context, DatagramId, Sent};

use super::Core;
use super::receive::outgoing;
use crate::info::QuicId;
use crate::stats::Count;

/// Datagrams of one batch, which leave in one call where the kernel segments. 32 of 1,452 bytes are within the 64 KiB that one
/// call may have.
const BATCH: usize = 32;
/// Batches of one connection in one turn; others then have theirs.
const BATCHES: usize = 4;

impl Core {
    /// The turn ends: everything that connections of this socket have to say is sent.
    pub(crate) fn turn_end(&mut self, context: &mut Context<'_>, socket: DatagramId) {
        for _ in 0..self.dirty.len() {
            let Some(id) = self.dirty.pop_front() else { break };
            let Some(conn) = self.conn(id) else { continue };
            if conn.socket != socket && self.has_socket(id) {
                // Its own socket has a turn's end too.
                self.dirty.push_back(id);
                continue;
            }
            if self.is_stalled(socket) {
                self.dirty.push_front(id);
                return;
            }
            let Some(conn) = self.conn(id) else { continue };
            conn.dirty = false;
            self.drive(context, id);
        }
        self.hold(context);
    }

    fn has_socket(&mut self, id: QuicId) -> bool {
        let Some(socket) = self.conn(id).map(|conn| conn.socket) else {
            return false;
        };
        self.sockets.iter().any(|known| known.id == socket)
    }

    fn is_stalled(&self, socket: DatagramId) -> bool {
        self.sockets
            .iter()
            .any(|known| known.id == socket && known.stalled.is_some())
    }

    /// Everything that a connection has to do now: events, datagrams, its timer.
    pub(super) fn drive(&mut self, context: &mut Context<'_>, id: QuicId) {
        self.process(context, id);
        if self.transmit(context, id) {
            self.mark(context, id);
        }
        self.process(context, id);
        self.arm(context, id);
    }

    /// Sends what a connection has to send. `true` if there is more.
    fn transmit(&mut self, context: &mut Context<'_>, id: QuicId) -> bool {
        let now = self.now(context);
        for _ in 0..BATCHES {
            let mut out = std::mem::take(&mut self.out);
            out.clear();
            let Some(conn) = self.conn(id) else { return false };
            let socket = conn.socket;
            let Some(transmit) = conn.quic.poll_transmit(now, BATCH, &mut out) else {
                self.out = out;
                return false;
            };
            if !self.send(context, socket, &transmit, &out) {
                if let Some(known) = self.sockets.iter_mut().find(|known| known.id == socket) {
                    known.stalled = Some((transmit, out));
                }
                return true;
            }
            self.out = out;
        }
        true
    }

    /// `false` if the socket has no room.
    fn send(
        &mut self,
        context: &mut Context<'_>,
        socket: DatagramId,
        transmit: &Transmit,
        out: &[u8],
    ) -> bool {
        let payload = out.get(..transmit.size).unwrap_or_default();
        let message = outgoing(transmit, payload);
        let mut socket = context.datagrams(socket);
        let size = transmit.segment_size.unwrap_or(payload.len());
        let sent = if size < payload.len() {
            socket.send_segments(&message, size)
        } else {
            socket.send(&message)
        };
        if sent.is_taken() {
            let datagrams = payload.len().div_ceil(size.max(1));
            self.counters.add_many(Count::UdpOut, datagrams as u64);
            self.counters.add(Count::BatchesOut);
        }
        // What can never be sent is lost, as any datagram may be.
        sent != Sent::Full
    }

    /// A socket has room again.
    pub(crate) fn writable(&mut self, context: &mut Context<'_>, socket: DatagramId) {
        let known = self.sockets.iter_mut().find(|known| known.id == socket);
        if let Some((transmit, out)) = known.and_then(|known| known.stalled.take())
            && !self.send(context, socket, &transmit, &out)
        {
            if let Some(known) = self.sockets.iter_mut().find(|known| known.id == socket) {
                known.stalled = Some((transmit, out));
            }
            return;
        }
        if !self.dirty.is_empty() {
            context.notify_turn_end(socket);
        }
    }

    /// Sets the connection's timer if it has to fire earlier than it would. One that fires too early finds nothing to do and is
    /// set anew: timers move on with each packet, and few of them ever fire.
    fn arm(&mut self, context: &mut Context<'_>, id: QuicId) {
        let now = self.now(context);
        let Some(conn) = self.conn(id) else { return };
        let due = [conn.quic.poll_timeout(), conn.by].into_iter().flatten().min();
        let Some(due) = due else {
            return;
        };
        let socket = conn.socket;
        let old = conn.timer;
        if old.is_some_and(|(_, at)| at <= due) {
            return;
        }
        let mut socket = context.datagrams(socket);
        if let Some((timer, _)) = old {
            socket.cancel_timer(timer);
        }
        let timer = socket.set_timer(due.saturating_duration_since(now), id.to_u64());
        if let Some(conn) = self.conn(id) {
            conn.timer = Some((timer, due));
        }
    }
}
