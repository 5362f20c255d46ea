//! How a session ends: by the peer, by the service inside, by an error, and what each side hears of it.

use std::io;

use rustls::Error;
use sockeye_event_loop::{CloseReason, Context, Stream, StreamId};

use super::{Carrier, Place, Side};
use crate::error::TlsError;
use crate::stats::Count;

impl<S: Side> Carrier<S> {
    /// The connection has come to nothing by an error of TLS. Who is inside, or wanted to be, is told.
    pub(super) fn fail(&mut self, stream: &mut Stream<'_>, session: usize, error: TlsError) {
        let in_handshake = self.handshake(session).is_some();
        self.leave_handshake(stream, session);
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        let which = match error {
            TlsError::PlainHttp => Some(Count::PlainHttp),
            TlsError::HandshakeTimedOut => Some(Count::TimedOut),
            TlsError::TooManyHandshakes => Some(Count::GivenUp),
            TlsError::Truncated if !in_handshake => Some(Count::Truncated),
            _ => None,
        };
        if let Some(which) = which {
            self.counters.add(which);
        }
        if std::mem::replace(&mut known.told, true) {
            return;
        }
        if let Some(mut end) = known.end.and_then(|end| stream.other(end)) {
            end.shutdown_write_with(error.into());
        } else if in_handshake {
            self.counters.add(Count::Failed);
            let id = stream.id();
            self.side.failed(&mut stream.context(), &known.kept, id, &error);
        }
    }

    /// The peer has sent `close_notify`: an end in order, after what was read.
    pub(super) fn end_of_peer(&mut self, stream: &mut Stream<'_>, session: usize) {
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        if std::mem::replace(&mut known.ended, true) {
            return;
        }
        if let Some(mut end) = known.end.and_then(|end| stream.other(end)) {
            end.shutdown_write();
        }
    }

    /// The service inside has ended its side.
    pub(super) fn end_of_inner(&mut self, end: &mut Stream<'_>, session: usize) {
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        let (Some(engine), Some(mut carrier)) = (&mut known.engine, end.other(known.carrier)) else {
            return;
        };
        if !std::mem::replace(&mut known.closed, true) {
            // It cannot fail but when the connection is over anyway.
            let _ = engine.close(&mut self.out);
            self.send(&mut carrier);
            carrier.shutdown_write();
        }
    }

    /// One of the two streams is gone.
    pub(super) fn leave(
        &mut self,
        context: &mut Context<'_>,
        place: Place,
        id: StreamId,
        reason: &CloseReason,
    ) {
        let Some(known) = self.sessions.get_mut(place.session) else {
            return;
        };
        known.streams -= 1;
        let (carrier, end) = (known.carrier, known.end);
        if place.is_end {
            self.made.remove(&id);
            if let Some(mut carrier) = context.stream(carrier) {
                match reason {
                    CloseReason::Closed => carrier.close(),
                    // Half of something must not look like the whole.
                    _ => carrier.abort(),
                }
            }
        } else {
            if known.timer.take().is_some() {
                self.under_way -= 1;
                if !std::mem::replace(&mut known.told, true) {
                    self.counters.add(Count::Failed);
                    let error = match reason {
                        CloseReason::Closed => TlsError::Truncated,
                        other => TlsError::Protocol(Error::General(other.to_string())),
                    };
                    self.side.failed(context, &known.kept, id, &error);
                }
            }
            // What it was told before says more.
            let end = end.filter(|_| !known.told);
            if let Some(mut end) = end.and_then(|end| context.stream(end)) {
                match reason {
                    CloseReason::Closed if known.ended => end.close(),
                    // What it has not read it reads first.
                    CloseReason::Closed => end.shutdown_write_with(TlsError::Truncated.into()),
                    CloseReason::Error(error) => end.abort_with(copy_of(error)),
                    CloseReason::TimedOut(_) => end.abort_with(io::ErrorKind::TimedOut.into()),
                    _ => end.abort(),
                }
            }
        }
        if known.streams == 0 {
            self.sessions.remove(place.session);
        }
    }
}

/// The same error again: the kernel's by its number.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}
