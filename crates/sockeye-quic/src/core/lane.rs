//! One stream of QUIC and one end of a pair: bytes both ways, with back-pressure; ends, resets.
//!
//! What the peer sends stays in quinn-proto until the end has room, and so does not widen the peer's window; what the service
//! writes stays in the pair until quinn-proto has room.

use std::rc::Rc;

use bytes::Bytes;
use quinn_proto::{Dir, ReadError, ReadableError, StreamId as WireId, VarInt, WriteError};
use sockeye_event_loop::{
    CloseReason, Context, Identity, PairOptions, Peer, PeerName, Sent, Stream, StreamServiceId,
};

use super::{Core, Half, Lane, Stage};
use crate::error::QuicError;
use crate::info::{Direction, QuicId, QuicInfo, QuicStreamInfo};
use crate::stats::Count;

/// What waits in an end before no more is read of the stream.
pub(crate) const HIGH: usize = 64 * 1024;
/// What a service that resets its stream tells the peer: there is no code that all protocols share.
const RESET: VarInt = VarInt::from_u32(0);

/// What reading a stream led to.
enum Pulled {
    /// There is no more now.
    Empty,
    /// The end has no room.
    Full,
    /// The peer has ended the stream.
    Ended,
    /// The peer has reset it.
    Reset(u64),
    /// The end is gone.
    Gone,
}

impl Core {
    /// Makes the pair of a stream, and gives its second end to `service`.
    pub(super) fn open_lane(
        &mut self,
        context: &mut Context<'_>,
        id: QuicId,
        stream: WireId,
        service: StreamServiceId,
        tag: Option<u64>,
    ) -> Result<(), QuicError> {
        let ends = self.ends.ok_or(QuicError::Gone)?;
        let Some(conn) = self.conn(id) else {
            return Err(QuicError::Gone);
        };
        let own = stream.initiator() == conn.quic.side();
        let (direction, recv, send) = match (stream.dir(), own) {
            (Dir::Bi, _) => (Direction::Both, Half::Open, Half::Open),
            (Dir::Uni, true) => (Direction::Send, Half::Done, Half::Open),
            (Dir::Uni, false) => (Direction::Receive, Half::Open, Half::Done),
        };
        let (remote, socket, ip) = (conn.remote, conn.socket, conn.quic.local_ip());
        let info = conn.info.clone().unwrap_or_else(|| {
            Rc::new(QuicInfo {
                connection: id,
                alpn: None,
                server_name: conn.server_name.clone(),
                peer_certificates: Vec::new(),
            })
        });
        let about = QuicStreamInfo {
            connection: info,
            socket,
            stream: stream.into(),
            direction,
            early: conn.stage == Stage::Early,
        };
        let local = self.local_of(socket, ip).map(PeerName::Ip);
        let key = self.lanes.vacant_key();
        let options = PairOptions {
            first_tag: Some(key as u64),
            second_tag: tag,
            ..PairOptions::default()
        };
        let (end, inner) = context
            .pair(ends, service, &options)
            .map_err(|_| QuicError::LoopFull)?;
        if let Some(mut inner) = context.stream(inner) {
            inner.answer_as(Identity {
                peer: Peer::Ip(remote),
                local,
            });
            inner.attach(Rc::new(about));
        }
        self.lanes.insert(Lane {
            conn: id,
            stream,
            end,
            direction,
            recv,
            send,
            stopped: None,
            held: None,
            paused: false,
            opened: false,
            orphan: false,
        });
        if let Some(conn) = self.conn(id) {
            conn.streams.insert(stream, key);
        }
        self.counters.add(Count::Streams);
        Ok(())
    }

    /// The end is there. Nothing is written to it before, nor is it closed: what had to wait for that is done now.
    pub(crate) fn opened(&mut self, end: &mut Stream<'_>, key: usize) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return end.abort();
        };
        lane.opened = true;
        if lane.orphan {
            return end.abort_with(QuicError::EarlyDataRejected.into());
        }
        if lane.direction == Direction::Send {
            end.shutdown_write();
        }
        let id = lane.conn;
        let context = &mut end.context();
        if self.conn(id).is_none_or(|conn| conn.lost.is_some()) {
            self.lane_lost(context, key);
        } else {
            self.pull(context, key);
        }
    }

    /// Reads a stream as far as its end has room.
    pub(crate) fn pull(&mut self, context: &mut Context<'_>, key: usize) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        if lane.recv != Half::Open || lane.orphan || !lane.opened {
            return;
        }
        let id = lane.conn;
        let Some(conn) = self.conns.get_mut(id.index as usize).filter(|conn| conn.id == id) else {
            return;
        };
        let lost = conn.lost.clone();
        let Some(mut end) = context.stream(lane.end) else {
            return;
        };
        let (pulled, owed) = read(lane, &mut conn.quic, &mut end);
        match pulled {
            Pulled::Empty => {
                if let Some(error) = lost {
                    lane.recv = Half::Done;
                    lane.send = Half::Done;
                    end.shutdown_write_with(error.into());
                }
            }
            Pulled::Full => end.notify_writable(),
            Pulled::Gone => {}
            Pulled::Ended => {
                lane.recv = Half::Done;
                end.shutdown_write();
            }
            Pulled::Reset(code) => {
                lane.recv = Half::Done;
                lane.send = Half::Done;
                // It may be over already.
                if lane.direction == Direction::Both {
                    let _ = conn.quic.send_stream(lane.stream).reset(RESET);
                }
                end.abort_with(QuicError::StreamReset { code }.into());
            }
        }
        if owed || matches!(pulled, Pulled::Reset(_)) {
            self.mark(context, id);
        }
        self.close_if_over(context, key);
    }

    /// The service has written: takes what quinn-proto has room for.
    pub(crate) fn push(&mut self, stream: &mut Stream<'_>, key: usize, data: &[u8]) -> usize {
        let Some(lane) = self.lanes.get_mut(key) else {
            return data.len();
        };
        let id = lane.conn;
        let Some(conn) = self.conns.get_mut(id.index as usize).filter(|conn| conn.id == id) else {
            return data.len();
        };
        let refusal = match (&conn.lost, lane.stopped) {
            // It hears of it once it has read what had come.
            (Some(_), _) if lane.recv == Half::Open => return data.len(),
            (Some(error), _) => Some(error.clone()),
            (None, Some(code)) => Some(QuicError::StreamStopped { code }),
            _ if lane.direction == Direction::Receive => Some(QuicError::ReceiveOnly),
            _ => None,
        };
        if let Some(error) = refusal {
            stream.abort_with(error.into());
            return data.len();
        }
        let mut taken = 0;
        // To the end, or until it says that it is blocked: only then does it say when it no longer is.
        while let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty()) {
            match conn.quic.send_stream(lane.stream).write(rest) {
                Ok(len) => taken += len,
                Err(WriteError::Blocked) => break,
                Err(WriteError::Stopped(code)) => {
                    let code = code.into_inner();
                    stream.abort_with(QuicError::StreamStopped { code }.into());
                    return data.len();
                }
                // It was reset: what is written is for nobody.
                Err(WriteError::ClosedStream) => return data.len(),
            }
        }
        if taken < data.len() {
            lane.paused = true;
            stream.pause();
        }
        if taken > 0 {
            self.mark(&mut stream.context(), id);
        }
        taken
    }

    /// quinn-proto has room for a stream again.
    pub(super) fn has_room(&mut self, context: &mut Context<'_>, key: usize) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        if std::mem::take(&mut lane.paused)
            && let Some(mut end) = context.stream(lane.end)
        {
            end.resume();
        }
    }

    /// The service has ended its side.
    pub(crate) fn end_of_inner(&mut self, context: &mut Context<'_>, key: usize) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let id = lane.conn;
        if lane.send != Half::Open {
            return self.close_if_over(context, key);
        }
        lane.send = Half::Done;
        let stream = lane.stream;
        let Some(conn) = self.conns.get_mut(id.index as usize).filter(|conn| conn.id == id) else {
            return;
        };
        if conn.lost.is_none() && conn.quic.send_stream(stream).finish().is_ok() {
            lane.send = Half::Finishing;
            self.mark(context, id);
        }
        self.close_if_over(context, key);
    }

    /// The peer has acknowledged everything of a stream.
    pub(super) fn finished(&mut self, context: &mut Context<'_>, key: usize) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        lane.send = Half::Done;
        self.close_if_over(context, key);
    }

    /// The peer reads no more of a stream. As with TCP only a service that goes on writing hears of it.
    pub(super) fn stopped(&mut self, context: &mut Context<'_>, key: usize, code: VarInt) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let id = lane.conn;
        lane.stopped = Some(code.into_inner());
        if lane.send == Half::Finishing {
            lane.send = Half::Done;
        }
        let stream = lane.stream;
        if let Some(conn) = self.conn(id) {
            let _ = conn.quic.send_stream(stream).reset(code);
        }
        self.has_room(context, key);
        self.mark(context, id);
        self.close_if_over(context, key);
    }

    /// The connection is over: what had come is read, then the service hears of the error.
    pub(super) fn lane_lost(&mut self, context: &mut Context<'_>, key: usize) {
        let Some(lane) = self.lanes.get_mut(key).filter(|lane| lane.opened) else {
            return;
        };
        let id = lane.conn;
        let (end, recv, send) = (lane.end, lane.recv, lane.send);
        let error = self.conn(id).and_then(|conn| conn.lost.clone());
        let Some(error) = error else { return };
        if recv == Half::Open {
            self.pull(context, key);
        } else if (send == Half::Open || (send == Half::Finishing && !error.is_in_order()))
            && let Some(mut end) = context.stream(end)
        {
            end.abort_with(error.into());
        }
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.send = Half::Done;
            // Whoever writes on hears it then.
            lane.paused = false;
        }
        if let Some(mut end) = context.stream(end) {
            end.resume();
        }
        self.close_if_over(context, key);
    }

    fn close_if_over(&mut self, context: &mut Context<'_>, key: usize) {
        let Some(lane) = self.lanes.get(key) else { return };
        if lane.opened
            && Self::is_over(lane.recv, lane.send)
            && let Some(mut end) = context.stream(lane.end)
        {
            end.close();
        }
    }

    /// The end is gone: so is the stream.
    pub(crate) fn end_closed(&mut self, context: &mut Context<'_>, key: usize, reason: &CloseReason) {
        let Some(lane) = self.lanes.try_remove(key) else {
            return;
        };
        if lane.orphan {
            return self.close_if_unused(context, lane.conn);
        }
        let id = lane.conn;
        let Some(conn) = self.conn(id) else { return };
        conn.streams.remove(&lane.stream);
        if conn.lost.is_none() {
            let in_order = matches!(reason, CloseReason::Closed);
            // Each may be over already. Half of something must not look like the whole.
            if lane.send == Half::Open || (lane.send == Half::Finishing && !in_order) {
                let _ = conn.quic.send_stream(lane.stream).reset(RESET);
            } else if lane.send == Half::Finishing {
                conn.finishing.insert(lane.stream);
            }
            if lane.recv == Half::Open {
                let _ = conn.quic.recv_stream(lane.stream).stop(RESET);
            }
            self.mark(context, id);
        }
        self.close_if_unused(context, id);
        self.forget_if_over(context, id);
    }
}

/// Reads a stream into its end. Whether the peer has to be told of room that there is now.
fn read(lane: &mut Lane, quic: &mut quinn_proto::Connection, end: &mut Stream<'_>) -> (Pulled, bool) {
    if let Some(bytes) = lane.held.take()
        && let Some(pulled) = give(lane, end, bytes)
    {
        return (pulled, false);
    }
    let mut stream = quic.recv_stream(lane.stream);
    let mut chunks = match stream.read(true) {
        Ok(chunks) => chunks,
        Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
            return (Pulled::Empty, false);
        }
    };
    let pulled = loop {
        if end.queued() >= HIGH {
            break Pulled::Full;
        }
        match chunks.next(HIGH) {
            Ok(Some(chunk)) => {
                if let Some(pulled) = give(lane, end, chunk.bytes) {
                    break pulled;
                }
            }
            Ok(None) => break Pulled::Ended,
            Err(ReadError::Blocked) => break Pulled::Empty,
            Err(ReadError::Reset(code)) => break Pulled::Reset(code.into_inner()),
        }
    };
    (pulled, chunks.finalize().should_transmit())
}

/// Writes to an end. What it does not take now is held.
fn give(lane: &mut Lane, end: &mut Stream<'_>, bytes: Bytes) -> Option<Pulled> {
    match end.write(&bytes) {
        Sent::Sent | Sent::Queued => None,
        Sent::Full => {
            lane.held = Some(bytes);
            Some(Pulled::Full)
        }
        // Chunks are never longer than what may be written at once.
        Sent::TooLarge | Sent::Gone => Some(Pulled::Gone),
    }
}
