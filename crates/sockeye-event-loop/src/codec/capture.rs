//! What a wrapped service wrote, until its wrapper has sealed it.

use crate::service::Sent;
use crate::stream::Stream;

/// How the wrapped service ended the stream, from nothing to the hardest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum End {
    #[default]
    Open,
    ShutdownWrite,
    Close,
    Abort,
}

/// The output of a wrapped service. One can serve all connections of a wrapper, one after another.
#[derive(Debug, Default)]
pub struct Capture {
    bytes: Vec<u8>,
    limit: usize,
    max_write: usize,
    pub(crate) end: End,
}

impl Capture {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn begin(&mut self, room: usize, max_write: usize) {
        self.limit = self.bytes.len() + room;
        self.max_write = max_write;
        self.end = End::Open;
    }

    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// As on a connection: taken whole below the mark, refused at it.
    pub(crate) fn write(&mut self, data: &[u8]) -> Sent {
        if self.end != End::Open {
            return Sent::Gone;
        }
        if data.len() > self.max_write {
            return Sent::TooLarge;
        }
        if self.room() == 0 {
            return Sent::Full;
        }
        self.write_sealed(data)
    }

    pub(crate) fn write_sealed(&mut self, data: &[u8]) -> Sent {
        if self.end != End::Open {
            return Sent::Gone;
        }
        self.bytes.extend_from_slice(data);
        Sent::Queued
    }

    pub(crate) fn max_write(&self) -> usize {
        self.max_write
    }

    /// What was written since the last [`clear`](Self::clear), to be sealed in place or elsewhere.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Forgets what was written, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Does to the wrapper's stream what the wrapped service did to its own: half-close, close. To be called
    /// after everything that was captured has been written on.
    pub fn finish(&mut self, stream: &mut Stream<'_>) {
        match std::mem::take(&mut self.end) {
            End::Open => {}
            End::ShutdownWrite => stream.shutdown_write(),
            End::Close => stream.close(),
            End::Abort => stream.abort(),
        }
    }
}
