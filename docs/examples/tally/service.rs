//! Tally as a service of the event loop: it does not know over what its lines travel.

use sockeye::event_loop::Sent;
use sockeye::event_loop::codec::{FrameError, FrameService, FrameStream, Framed, Lines};

use crate::counters::{Counters, MAX_LINE};

// ANCHOR: service
/// Counts for all connections together. The loop calls it, one call at a time, so it
/// needs no lock.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    counters: Counters,
}

impl Tally {
    /// Tally behind a codec that cuts the bytes of a stream into lines.
    pub(crate) fn over_lines() -> Framed<Lines, Self> {
        Framed::new(Lines::new(MAX_LINE), Self::default())
    }
}

impl FrameService for Tally {
    type Conn = (); // Nothing to remember about one connection.

    fn on_open(&mut self, _: &mut FrameStream<'_, '_>) {}

    fn on_frame(&mut self, stream: &mut FrameStream<'_, '_>, (): &mut (), line: &mut [u8]) {
        let answer = self.counters.answer(line);
        match stream.send(answer.as_bytes()) {
            Ok(Sent::Sent | Sent::Queued) => {}
            // Gone: the peer went first. Nothing else can be: an answer is short, and
            // no line comes while the queue is full.
            _ => stream.stream().abort(),
        }
    }

    fn on_frame_error(&mut self, stream: &mut FrameStream<'_, '_>, (): &mut (), _: FrameError) {
        let _ = stream.send(b"? the line is too long");
        stream.stream().close(); // Where the next line begins, nobody knows.
    }
}
// ANCHOR_END: service
