//! One connection: what quinn-proto says of it, its streams, its end.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{Dir, Event, Side, StreamEvent, StreamId as WireId, VarInt};
use rustls::pki_types::CertificateDer;
use sockeye_event_loop::Context;

use super::{Conn, Core, Half, Heard, NONE, Role, Stage};
use crate::error::QuicError;
use crate::info::{QuicId, QuicInfo};
use crate::stats::Count;

/// The code of a connection that no service is there for: "no application protocol" of TLS (RFC 9001, section 4.8) would say
/// the same before the handshake is complete; afterwards it is the application that closes.
const NO_SERVICE: u32 = 0x178;

/// What both sides have agreed on, as far as it is known now.
fn learnt(conn: &Conn) -> QuicInfo {
    let session = conn.quic.crypto_session();
    let data = session.handshake_data();
    let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
    let certificates = session.peer_identity();
    let certificates = certificates.and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let (alpn, name) = data.map_or((None, None), |data| (data.protocol, data.server_name));
    QuicInfo {
        connection: conn.id,
        alpn,
        server_name: name.or_else(|| conn.server_name.clone()),
        peer_certificates: certificates.map(|chain| *chain).unwrap_or_default(),
    }
}

impl Core {
    /// Passes on what quinn-proto has to say of a connection, to its endpoint and to the services.
    pub(super) fn process(&mut self, context: &mut Context<'_>, id: QuicId) {
        loop {
            self.tell_endpoint(id);
            let Some(conn) = self.conn(id) else { return };
            let Some(event) = conn.quic.poll() else { break };
            self.event(context, id, event);
        }
        let Some(conn) = self.conn(id) else { return };
        let remote = conn.quic.remote_address();
        if std::mem::replace(&mut conn.remote, remote) != remote {
            self.hear(Heard::Path(id, remote));
        }
        self.forget_if_over(context, id);
    }

    /// quinn-proto's connections and their endpoint talk to each other through whoever drives them.
    fn tell_endpoint(&mut self, id: QuicId) {
        let Some(running) = &mut self.running else { return };
        let Some(conn) = self.conns.get_mut(id.index as usize).filter(|conn| conn.id == id) else {
            return;
        };
        while let Some(event) = conn.quic.poll_endpoint_events() {
            if conn.drained {
                continue;
            }
            if event.is_drained() {
                conn.drained = true;
                if let Some(place) = self.by_handle.get_mut(conn.handle.0) {
                    *place = NONE;
                }
            }
            if let Some(answer) = running.endpoint.handle_event(conn.handle, event) {
                conn.quic.handle_event(answer);
            }
        }
    }

    fn event(&mut self, context: &mut Context<'_>, id: QuicId, event: Event) {
        match event {
            Event::HandshakeDataReady => self.handshake_data(context, id),
            Event::Connected => self.connected(context, id),
            Event::ConnectionLost { reason } => self.lose(context, id, reason.into()),
            Event::Stream(event) => self.stream_event(context, id, event),
            Event::DatagramReceived => self.datagrams(id),
            Event::DatagramsUnblocked => {}
        }
    }

    fn stream_event(&mut self, context: &mut Context<'_>, id: QuicId, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir } => self.accept_streams(context, id, dir),
            StreamEvent::Available { .. } => self.open_waiting(context, id),
            StreamEvent::Readable { id: stream } => {
                if let Some(lane) = self.lane_of(id, stream) {
                    self.pull(context, lane);
                }
            }
            StreamEvent::Writable { id: stream } => {
                if let Some(lane) = self.lane_of(id, stream) {
                    self.has_room(context, lane);
                }
            }
            StreamEvent::Finished { id: stream } => {
                if let Some(lane) = self.lane_of(id, stream) {
                    self.finished(context, lane);
                }
                self.delivered(context, id, stream);
            }
            StreamEvent::Stopped {
                id: stream,
                error_code,
            } => {
                if let Some(lane) = self.lane_of(id, stream) {
                    self.stopped(context, lane, error_code);
                }
                self.delivered(context, id, stream);
            }
        }
    }

    /// Nothing of the stream is under way any more.
    fn delivered(&mut self, context: &mut Context<'_>, id: QuicId, stream: WireId) {
        let Some(conn) = self.conn(id) else { return };
        if conn.finishing.remove(&stream) && conn.finishing.is_empty() {
            self.close_if_unused(context, id);
        }
    }

    fn lane_of(&mut self, id: QuicId, stream: WireId) -> Option<usize> {
        self.conn(id)?.streams.get(&stream).copied()
    }

    fn datagrams(&mut self, id: QuicId) {
        let listens = self.has_listener;
        let Some(conn) = self.conn(id) else { return };
        let mut received = Vec::new();
        while let Some(data) = conn.quic.datagrams().recv() {
            received.push(data);
        }
        self.counters.add_many(Count::DatagramsIn, received.len() as u64);
        if listens {
            let all = received.into_iter().map(|data| Heard::Datagram(id, data));
            self.heard.extend(all);
        }
    }

    /// The client has said what it wants. Early data has a service from here on, if that was asked for.
    fn handshake_data(&mut self, context: &mut Context<'_>, id: QuicId) {
        let early = self.early;
        let Some(conn) = self.conn(id) else { return };
        if !early || conn.quic.side() == Side::Client || conn.stage != Stage::Handshake {
            return;
        }
        let info = Rc::new(learnt(conn));
        conn.info = Some(Rc::clone(&info));
        conn.stage = Stage::Early;
        self.choose(id, &info);
        self.accept_streams(context, id, Dir::Bi);
        self.accept_streams(context, id, Dir::Uni);
    }

    /// Who serves the streams of this connection. `false` if there is nobody.
    fn choose(&mut self, id: QuicId, info: &QuicInfo) -> bool {
        let Role::Server {
            choose: Some(choose), ..
        } = &mut self.role
        else {
            return true;
        };
        let service = choose(info);
        if let Some(conn) = self.conn(id) {
            conn.service = service;
        }
        service.is_some()
    }

    fn connected(&mut self, context: &mut Context<'_>, id: QuicId) {
        self.leave_handshake(id);
        let Some(conn) = self.conn(id) else { return };
        let rejected = conn.early && conn.quic.side() == Side::Client && !conn.quic.accepted_0rtt();
        let chosen = conn.stage == Stage::Early && conn.quic.side() == Side::Server;
        let info = Rc::new(learnt(conn));
        conn.info = Some(Rc::clone(&info));
        conn.stage = Stage::Open;
        self.counters.add(Count::Completed);
        if rejected {
            self.reject_early(context, id);
        }
        if !chosen && !self.choose(id, &info) {
            let reason = Bytes::from_static(b"no service");
            return self.close_now(
                context,
                id,
                VarInt::from_u32(NO_SERVICE),
                reason,
                QuicError::NoService,
            );
        }
        self.hear(Heard::Open(id, info));
        self.accept_streams(context, id, Dir::Bi);
        self.accept_streams(context, id, Dir::Uni);
        self.open_waiting(context, id);
        if self.draining {
            self.close_if_unused(context, id);
        }
    }

    /// The server took no early data: the streams that were opened for it are gone.
    fn reject_early(&mut self, context: &mut Context<'_>, id: QuicId) {
        let Some(conn) = self.conn(id) else { return };
        let lanes: Vec<usize> = std::mem::take(&mut conn.streams).into_values().collect();
        for key in lanes {
            let Some(lane) = self.lanes.get_mut(key) else {
                continue;
            };
            lane.orphan = true;
            if let Some(mut end) = context.stream(lane.end).filter(|_| lane.opened) {
                end.abort_with(QuicError::EarlyDataRejected.into());
            }
        }
    }

    /// Streams that the peer has opened get their pairs.
    fn accept_streams(&mut self, context: &mut Context<'_>, id: QuicId, dir: Dir) {
        let unidirectional = self.unidirectional;
        loop {
            let Some(conn) = self.conn(id) else { return };
            // A server's connection is only early where that was asked for.
            if !matches!(conn.stage, Stage::Open | Stage::Early) {
                return;
            }
            let Some(stream) = conn.quic.streams().accept(dir) else {
                return;
            };
            let service = match dir {
                Dir::Bi => conn.service,
                Dir::Uni => unidirectional,
            };
            let opened = match service {
                Some(service) => self.open_lane(context, id, stream, service, None),
                None => Err(QuicError::NoService),
            };
            if opened.is_err() {
                self.refuse_stream(id, stream);
            }
        }
    }

    fn refuse_stream(&mut self, id: QuicId, stream: WireId) {
        const CODE: VarInt = VarInt::from_u32(0);
        let Some(conn) = self.conn(id) else { return };
        let own = stream.initiator() == conn.quic.side();
        // Either may be over already.
        if stream.dir() == Dir::Bi || !own {
            let _ = conn.quic.recv_stream(stream).stop(CODE);
        }
        if stream.dir() == Dir::Bi || own {
            let _ = conn.quic.send_stream(stream).reset(CODE);
        }
    }

    pub(super) fn is_in_handshake(&self, id: QuicId) -> bool {
        let conn = self.conns.get(id.index as usize).filter(|conn| conn.id == id);
        conn.is_some_and(|conn| conn.by.is_some())
    }

    /// The handshake is over, whatever became of it.
    fn leave_handshake(&mut self, id: QuicId) -> bool {
        let Some(conn) = self.conn(id) else { return false };
        let was = conn.by.take().is_some();
        if was && conn.quic.side() == Side::Server {
            self.under_way -= 1;
        }
        was
    }

    /// The connection is over by that error: its streams read what had come, and then hear of it.
    pub(super) fn lose(&mut self, context: &mut Context<'_>, id: QuicId, error: QuicError) {
        let in_handshake = self.leave_handshake(id);
        let Some(conn) = self.conn(id) else { return };
        if conn.lost.is_some() {
            return;
        }
        let was_open = conn.stage == Stage::Open;
        self.living -= 1;
        let Some(conn) = self.conn(id) else { return };
        conn.lost = Some(error.clone());
        conn.stage = Stage::Lost;
        let lanes: Vec<usize> = conn.streams.values().copied().collect();
        let waiting = std::mem::take(&mut conn.waiting);
        let remote = conn.remote;
        if in_handshake || !was_open {
            self.counters.add(Count::Failed);
        } else if !error.is_in_order() {
            self.counters.add(Count::Lost);
        }
        for opening in waiting.into_iter().flatten() {
            super::connect::fail(context, &opening, remote, &error);
        }
        for lane in lanes {
            self.lane_lost(context, lane);
        }
        if was_open {
            self.hear(Heard::Closed(id, error));
        }
    }

    /// Closes a connection now: what was not delivered is lost. Its streams hear `error`.
    pub(super) fn close_now(
        &mut self,
        context: &mut Context<'_>,
        id: QuicId,
        code: VarInt,
        reason: Bytes,
        error: QuicError,
    ) {
        let now = self.now(context);
        let Some(conn) = self.conn(id) else { return };
        conn.quic.close(now, code, reason);
        self.lose(context, id, error);
        self.mark(context, id);
    }

    /// Closes a connection that nothing is open on, if that is wanted.
    pub(super) fn close_if_unused(&mut self, context: &mut Context<'_>, id: QuicId) {
        let draining = self.draining;
        let Some(conn) = self.conn(id) else { return };
        let open = conn.streams.len() + conn.finishing.len();
        let waiting: usize = conn.waiting.iter().map(VecDeque::len).sum();
        if conn.lost.is_some() || open + waiting > 0 {
            return;
        }
        let closing = conn.closing.take();
        let Some((code, reason)) = closing.or(draining.then(|| (VarInt::from_u32(0), Bytes::new()))) else {
            return;
        };
        self.close_now(context, id, code, reason, QuicError::ClosedHere);
    }

    /// The loop is to end: what carries nothing is closed.
    pub(crate) fn drain(&mut self, context: &mut Context<'_>) {
        let all: Vec<QuicId> = self.conns.iter().map(|(_, conn)| conn.id).collect();
        self.draining = true;
        for id in all {
            self.close_if_unused(context, id);
        }
        self.hold(context);
    }

    /// In a drain the loop waits until every connection is closed: what streams wrote last is acknowledged then.
    pub(super) fn hold(&mut self, context: &mut Context<'_>) {
        if self.draining
            && let Some(socket) = self.sockets.first()
        {
            context.hold_drain(socket.id, self.living + self.dirty.len() > 0);
        }
    }

    /// A timer of a connection.
    pub(crate) fn timer(&mut self, context: &mut Context<'_>, key: u64) {
        let id = QuicId::from_u64(key);
        let now = self.now(context);
        let Some(conn) = self.conn(id) else { return };
        conn.timer = None;
        if conn.by.is_some_and(|by| by <= now) {
            if self.try_next(context, id) {
                return;
            }
            self.counters.add(Count::TimedOut);
            return self.give_up(context, id, QuicError::HandshakeTimedOut);
        }
        conn.quic.handle_timeout(now);
        self.process(context, id);
        self.mark(context, id);
    }

    /// Whether both halves of a stream are over.
    pub(super) fn is_over(recv: Half, send: Half) -> bool {
        recv == Half::Done && send == Half::Done
    }

    /// The moment by which a handshake that begins now has to be complete.
    pub(super) fn handshake_by(now: Instant, within: std::time::Duration) -> Option<Instant> {
        now.checked_add(within)
    }
}
