//! Records both ways: what arrives goes to the end of the pair, what is written there goes out.

use std::time::Duration;

use sockeye_event_loop::{Stream, Time};

use super::{Carrier, Side};
use crate::engine::{Engine, Plain, Step, record_len};
use crate::error::TlsError;

/// Plaintext is encrypted while less than this waits to be sent.
const HIGH: usize = 64 * 1024;
/// After so long without output records begin small again, as the congestion window does (RFC 5681, section 4.1).
const IDLE: Duration = Duration::from_secs(1);
/// A piece of plaintext up to this length is one small record in any case.
const SHORT: usize = 1_024;

impl<S: Side> Carrier<S> {
    /// Goes on with what has arrived; says how many bytes are done with.
    pub(super) fn advance(&mut self, stream: &mut Stream<'_>, session: usize, data: &mut [u8]) -> usize {
        let mut done = 0;
        let outcome = self.work(stream, session, data, &mut done);
        self.send(stream);
        let Err(error) = outcome else { return done };
        self.fail(stream, session, error);
        // The alert is sent, and an end; what the peer still sends is of no use.
        stream.close();
        data.len()
    }

    pub(super) fn work(
        &mut self,
        stream: &mut Stream<'_>,
        session: usize,
        data: &mut [u8],
        done: &mut usize,
    ) -> Result<(), TlsError> {
        let Some(known) = self.sessions.get_mut(session) else {
            *done = data.len();
            return Ok(());
        };
        if known.engine.is_none() {
            known.engine = self.side.hello(&mut known.kept, data, &mut self.out)?;
        }
        let Some(mut engine) = known.engine.take() else {
            want_record(stream, data);
            return Ok(());
        };
        let (used, outcome) =
            engine.behind_held(data, |engine, data| self.records(engine, stream, session, data));
        *done = used;
        let stalled = outcome?;
        let rest = &data[used..];
        let Some(known) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        if !stalled && known.end.is_some() && engine.has_to_hold(rest) {
            engine.hold(rest);
            *done = data.len();
        } else if !stalled {
            want_record(stream, rest);
        }
        let closed = engine.peer_closed();
        known.engine = Some(engine);
        if closed {
            // Whatever follows is none of it.
            *done = data.len();
            self.end_of_peer(stream, session);
        }
        Ok(())
    }

    /// Works through records. Says how many bytes are done with, and whether it stopped for want of room inside. After an
    /// error the engine is of no use.
    pub(super) fn records(
        &mut self,
        engine: &mut Engine,
        stream: &mut Stream<'_>,
        session: usize,
        data: &mut [u8],
    ) -> (usize, Result<bool, TlsError>) {
        let mut done = 0;
        // What is decrypted has to be taken: there has to be room first.
        let mut needs_room = true;
        loop {
            let Some(known) = self.sessions.get_mut(session) else {
                return (data.len(), Ok(false));
            };
            let mut end = None;
            if let Some(id) = known.end {
                let Some(mut there) = stream.other(id) else {
                    // Nobody is inside any more.
                    return (data.len(), Ok(false));
                };
                if needs_room && there.queued() > 0 {
                    there.notify_writable();
                    stream.pause();
                    return (done, Ok(true));
                }
                end = Some(there);
            }
            let mut taker = Taker {
                end,
                before: &mut known.before,
                early_bytes: &mut known.early_bytes,
                took: false,
            };
            let (used, step) = engine.step(&mut data[done..], &mut self.out, &mut taker);
            let taker_took = taker.took;
            needs_room = taker_took;
            done += used;
            let again = match step {
                Ok(step) => matches!(step, Step::Again),
                Err(error) => {
                    engine.alert(&mut data[done..], &mut self.out);
                    return (done, Err(error.into()));
                }
            };
            if known.timer.is_some() && !engine.state().is_handshaking() {
                if let Err(error) = self.establish(engine, stream, session) {
                    return (done, Err(error));
                }
            } else if !again || taker_took && done == data.len() && !engine.state().wants_write() {
                // rustls stops behind each record: with nothing behind it there is nothing to go on with.
                return (done, Ok(false));
            }
        }
    }

    /// Sends what was encrypted. A record that was lost would make those behind it worthless: where there is no room for it,
    /// as when the loop's memory is used up, the connection ends.
    pub(super) fn send(&mut self, stream: &mut Stream<'_>) {
        if !self.out.is_empty() && !stream.write(self.out.bytes()).is_taken() {
            stream.abort();
        }
        self.out.clear();
    }

    /// Encrypts what the service inside has written.
    pub(super) fn seal(&mut self, end: &mut Stream<'_>, session: usize, data: &[u8]) -> usize {
        let now = if data.len() > SHORT {
            end.now()
        } else {
            Time::default()
        };
        let Some(known) = self.sessions.get_mut(session) else {
            return data.len();
        };
        let (Some(engine), Some(mut carrier)) = (&mut known.engine, end.other(known.carrier)) else {
            return data.len();
        };
        if carrier.queued() >= HIGH {
            carrier.notify_writable();
            end.pause();
            return 0;
        }
        if data.len() > SHORT {
            if now.since(known.last_sent) > IDLE {
                engine.was_idle();
            }
            known.last_sent = now;
        }
        let sealed = engine.seal(data, &mut self.out);
        self.send(&mut carrier);
        if let Err(error) = sealed {
            self.fail(&mut carrier, session, error.into());
            carrier.abort();
        }
        data.len()
    }
}

/// What takes the plaintext.
struct Taker<'a, 's> {
    end: Option<Stream<'s>>,
    before: &'a mut Vec<u8>,
    early_bytes: &'a mut usize,
    took: bool,
}

impl Plain for Taker<'_, '_> {
    fn plain(&mut self, bytes: &[u8]) {
        self.took = true;
        match &mut self.end {
            Some(end) => {
                let _ = end.write(bytes);
            }
            None => self.before.extend_from_slice(bytes),
        }
    }

    fn early(&mut self, bytes: &[u8]) {
        *self.early_bytes += bytes.len();
        self.before.extend_from_slice(bytes);
    }
}

/// Lets the loop wait for a whole record.
fn want_record(stream: &mut Stream<'_>, rest: &[u8]) {
    if let Some(len) = record_len(rest).filter(|len| *len > rest.len()) {
        stream.want(len);
    }
}
