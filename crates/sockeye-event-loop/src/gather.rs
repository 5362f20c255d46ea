//! Small writes of one callback, gathered so that they leave in one call when it has returned.

/// Up to so many bytes.
pub(crate) const ROOM: usize = 4096;

/// The gathering buffer of a loop. It belongs to the handle of the connection whose callback runs; whatever
/// that handle does beside writing small pieces settles it first, so that order and answers hold.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    bytes: Vec<u8>,
    /// Whether the connection can take it plainly, as nothing waits before it (`OPEN`), and how many bytes the callback
    /// waits for before it is called again: in one word, as each callback begins with a store to both.
    state: u64,
}

/// The lowest bit: a small constant is stored by one instruction.
const OPEN: u64 = 1;

impl Gather {
    /// Takes its memory, of exactly [`ROOM`] bytes.
    pub(crate) fn have_room(&mut self) {
        self.bytes.reserve_exact(ROOM);
    }

    #[inline]
    pub(crate) fn begin(&mut self, open: bool) {
        self.state = if open { OPEN } else { 0 };
    }

    /// Takes a copy, unless it is closed or full. The buffer never grows.
    #[inline]
    pub(crate) fn push(&mut self, data: &[u8]) -> bool {
        let fits = self.state & OPEN != 0 && data.len() <= self.bytes.capacity() - self.bytes.len();
        if fits {
            self.bytes.extend_from_slice(data);
        }
        fits
    }

    /// Nothing is gathered for the rest of the callback.
    pub(crate) fn close(&mut self) {
        self.state &= !OPEN;
    }

    pub(crate) fn want(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.state = self.state & OPEN | u64::from(bytes) << 1;
    }

    pub(crate) fn wanted(&self) -> usize {
        usize::try_from(self.state >> 1).unwrap_or(usize::MAX)
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer itself, for whoever gives another one of exactly [`ROOM`] in exchange.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}
