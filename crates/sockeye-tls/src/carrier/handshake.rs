//! Handshakes: begun, bounded, complete.

use std::rc::Rc;

use rustls::Error;
use sockeye_event_loop::{PairOptions, Stream, Time, Watermarks};

use super::{Carrier, HANDSHAKE, Place, Session, Side};
use crate::engine::Engine;
use crate::error::TlsError;
use crate::info::TlsInfo;
use crate::stats::Count;

impl<S: Side> Carrier<S> {
    pub(super) fn begin(&mut self, stream: &mut Stream<'_>) -> Place {
        let nowhere = Place {
            session: usize::MAX,
            is_end: false,
        };
        self.counters.add(Count::Begun);
        // What is encrypted has to be taken: the marks of whoever is inside are those that count.
        stream.set_watermarks(Watermarks::default());
        let Ok((engine, kept)) = self.side.open(stream) else {
            self.counters.add(Count::Failed);
            stream.abort();
            return nowhere;
        };
        let now = stream.now();
        let left = self.side.deadline(&kept).map(|by| by.since(now));
        let within = left.map_or(self.limits.deadline, |left| left.min(self.limits.deadline));
        let session = self.sessions.insert(Session {
            engine,
            kept,
            carrier: stream.id(),
            end: None,
            inner: None,
            timer: Some(stream.set_timer(within, HANDSHAKE)),
            before: Vec::new(),
            early_bytes: 0,
            streams: 1,
            ended: false,
            closed: false,
            last_sent: Time::default(),
            told: false,
        });
        self.under_way += 1;
        self.order.push_back((session, stream.id()));
        self.give_up_oldest(stream);
        // A client speaks first.
        self.advance(stream, session, &mut []);
        Place {
            session,
            is_end: false,
        }
    }

    /// Sees to it that no more handshakes are under way than may be.
    pub(super) fn give_up_oldest(&mut self, stream: &mut Stream<'_>) {
        while self.under_way > self.limits.under_way.max(1) {
            let Some((session, id)) = self.order.pop_front() else {
                return;
            };
            let under_way = self.handshake(session).is_some_and(|known| known.carrier == id);
            if under_way && let Some(mut oldest) = stream.other(id) {
                self.fail(&mut oldest, session, TlsError::TooManyHandshakes);
                oldest.abort();
            }
        }
        // Those that are over lie in front of the oldest that is not, or between; they never are more than as many again.
        if self.order.len() > 2 * self.under_way + 64 {
            let sessions = &self.sessions;
            self.order.retain(|(session, id)| {
                sessions
                    .get(*session)
                    .is_some_and(|known| known.timer.is_some() && known.carrier == *id)
            });
        }
    }

    /// The session, while its handshake is under way.
    pub(super) fn handshake(&self, session: usize) -> Option<&Session<S::Kept>> {
        self.sessions
            .get(session)
            .filter(|session| session.timer.is_some())
    }

    /// The handshake is over, one way or the other.
    pub(super) fn leave_handshake(&mut self, stream: &mut Stream<'_>, session: usize) {
        if let Some(timer) = self
            .sessions
            .get_mut(session)
            .and_then(|session| session.timer.take())
        {
            stream.cancel_timer(timer);
            self.under_way -= 1;
        }
    }

    /// The handshake is complete: makes the pair.
    pub(super) fn establish(
        &mut self,
        engine: &Engine,
        stream: &mut Stream<'_>,
        session: usize,
    ) -> Result<(), TlsError> {
        let Some(known) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        let state = engine.state();
        let (Some(version), Some(cipher_suite)) = (state.protocol_version(), state.negotiated_cipher_suite())
        else {
            return Err(Error::HandshakeNotComplete.into());
        };
        let info = TlsInfo {
            version,
            cipher_suite,
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            server_name: self.side.server_name(&known.kept),
            peer_certificates: state.peer_certificates().map(<[_]>::to_vec).unwrap_or_default(),
            handshake: state.handshake_kind(),
            early_bytes: known.early_bytes,
            carrier: stream.id(),
        };
        let resumed = state.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let (inner, tag) = self.side.inner(&known.kept, &info).ok_or(TlsError::Refused)?;
        let like = PairOptions {
            second_like: Some(stream.id()),
            second_tag: tag,
            ..PairOptions::default()
        };
        let own = S::own(&stream.context()).ok_or(TlsError::Refused)?;
        let (end, second) = stream
            .context()
            .pair(own, inner, &like)
            .map_err(|error| Error::General(error.to_string()))?;
        known.end = Some(end);
        known.inner = Some(second);
        known.streams += 1;
        let before = std::mem::take(&mut known.before);
        self.made.insert(end, session);
        self.leave_handshake(stream, session);
        self.counters.add(Count::Completed);
        if resumed {
            self.counters.add(Count::Resumed);
        }
        if let Some(mut end) = stream.other(end) {
            end.set_watermarks(Watermarks::default());
        }
        if let Some(mut second) = stream.other(second) {
            second.attach(Rc::new(info));
        }
        if !before.is_empty()
            && let Some(mut end) = stream.other(end)
            && !end.write(&before).is_taken()
        {
            let why = "more early data than a connection holds".to_owned();
            return Err(Error::General(why).into());
        }
        Ok(())
    }
}
