//! A byte ring that grows to its limit on demand and keeps its memory: no allocation in steady state.

/// Bytes in order, in a buffer whose length is a power of two.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct Ring {
    /// In front, where a look whether there is anything finds it beside what the owner has before the ring.
    len: usize,
    head: usize,
    bytes: Vec<u8>,
}

impl Ring {
    const SMALLEST: usize = 256;

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the content, keeps the memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.head = 0;
        self.len = 0;
    }

    /// Forgets all but the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Appends all of `data`. The caller holds the limit.
    #[inline]
    pub(crate) fn push(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.len + data.len() > self.bytes.len() {
            self.grow(self.len + data.len());
        }
        if self.len == 0 {
            self.head = 0;
        }
        let mask = self.bytes.len() - 1;
        let tail = (self.head + self.len) & mask;
        let until_end = (self.bytes.len() - tail).min(data.len());
        let (first, second) = data.split_at(until_end);
        self.bytes[tail..tail + first.len()].copy_from_slice(first);
        self.bytes[..second.len()].copy_from_slice(second);
        self.len += data.len();
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let mut larger = vec![0; needed.next_power_of_two().max(Self::SMALLEST)];
        let (first, second) = self.slices(self.len);
        larger[..first.len()].copy_from_slice(first);
        larger[first.len()..first.len() + second.len()].copy_from_slice(second);
        self.bytes = larger;
        self.head = 0;
    }

    /// The first `len` bytes, in up to two pieces.
    #[inline]
    pub(crate) fn slices(&self, len: usize) -> (&[u8], &[u8]) {
        let len = len.min(self.len);
        let until_end = (self.bytes.len() - self.head).min(len);
        (
            &self.bytes[self.head..self.head + until_end],
            &self.bytes[..len - until_end],
        )
    }

    /// Drops the first `len` bytes.
    #[inline]
    pub(crate) fn consume(&mut self, len: usize) {
        let len = len.min(self.len);
        if len > 0 {
            self.head = (self.head + len) & (self.bytes.len() - 1);
            self.len -= len;
        }
    }

    /// Takes up to `out.len()` bytes.
    #[inline]
    pub(crate) fn pop(&mut self, out: &mut [u8]) -> usize {
        let (first, second) = self.slices(out.len());
        let count = first.len() + second.len();
        out[..first.len()].copy_from_slice(first);
        out[first.len()..count].copy_from_slice(second);
        self.consume(count);
        count
    }

    /// Moves the first `len` bytes to the end of `other`.
    pub(crate) fn move_to(&mut self, other: &mut Self, len: usize) {
        let (first, second) = self.slices(len);
        other.push(first);
        other.push(second);
        self.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prop_a_ring_is_a_queue(steps in proptest::collection::vec((any::<bool>(), 0_usize..700), 0..60)) {
            let (mut ring, mut model) = (Ring::default(), VecDeque::new());
            let mut next = 0_u8;
            for (push, count) in steps {
                if push {
                    let data: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                    ring.push(&data);
                    model.extend(data);
                } else {
                    let mut out = vec![0; count];
                    let got = ring.pop(&mut out);
                    let expected: Vec<u8> = model.drain(..count.min(model.len())).collect();
                    prop_assert_eq!(&out[..got], &expected[..]);
                }
                prop_assert_eq!(ring.len(), model.len());
            }
            let mut other = Ring::default();
            let half = ring.len() / 2;
            ring.move_to(&mut other, half);
            let mut out = vec![0; half];
            prop_assert_eq!(other.pop(&mut out), half);
            prop_assert_eq!(out, model.drain(..half).collect::<Vec<_>>());
        }
    }
}
