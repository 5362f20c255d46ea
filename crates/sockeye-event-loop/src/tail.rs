//! Bytes that a service has left unconsumed, and what has arrived behind them.

/// A buffer that is filled at its end and consumed at its front. Growing costs in all no more than what was put in:
/// room doubles, and what is left moves to the front only when it is no more than what was consumed before it.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// All of it initialised once; what holds data is `start..end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The service is not called before there are so many bytes.
    pub(crate) wanted: usize,
}

impl Tail {
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Bytes of memory that were touched: what is only reserved takes none.
    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn data(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Appends a copy.
    pub(crate) fn keep(&mut self, data: &[u8]) {
        self.room(data.len()).copy_from_slice(data);
        self.filled(data.len());
    }

    /// Room for `size` bytes behind the data. What is put there counts once [`filled`](Self::filled) says so.
    pub(crate) fn room(&mut self, size: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < size && self.start >= self.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let needed = self.end + size;
        if self.bytes.len() < needed {
            // All that is awaited at once, where there are addresses for it: growing step by step would move it each time.
            if self.wanted > needed && self.bytes.capacity() < self.wanted {
                let _ = self
                    .bytes
                    .try_reserve_exact(self.start + self.wanted - self.bytes.len());
            }
            // What a small tail needs exactly, so that an idle connection keeps no more; a long one grows by half.
            self.bytes.resize(needed.max(self.end + self.end / 2), 0);
        }
        &mut self.bytes[self.end..self.end + size]
    }

    pub(crate) fn filled(&mut self, len: usize) {
        self.end += len;
    }

    pub(crate) fn consume(&mut self, len: usize) {
        self.start += len.min(self.len());
        // What little is left of much goes to the front at once: what follows is put where memory was in use just now.
        if self.len() <= self.start / 8 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Puts the data, which are few, into `room`, and keeps that. What there was is given back.
    pub(crate) fn move_into(&mut self, mut room: Vec<u8>) {
        let len = self.len();
        if let Some(front) = room.get_mut(..len) {
            front.copy_from_slice(&self.bytes[self.start..self.end]);
            (self.bytes, self.start, self.end) = (room, 0, len);
        }
    }

    /// The memory, when there are no data in it.
    pub(crate) fn take_room(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }

    /// Gives the memory back, the data with it.
    pub(crate) fn free(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_through_growth_and_consumption() {
        let mut tail = Tail::default();
        let byte = |at: u32| at.to_le_bytes()[0];
        let mut put = 0_u32;
        let mut taken = 0_u32;
        let mut copied = 0;
        for round in 0..10_000_u32 {
            let piece: Vec<u8> = (0..round % 97).map(|at| byte(put + at)).collect();
            let before = tail.held();
            tail.keep(&piece);
            copied += usize::from(tail.held() != before) * tail.len();
            put += round % 97;
            let left = (put - taken) as usize;
            assert_eq!(tail.len(), left);
            let expected: Vec<u8> = (taken..put).map(byte).collect();
            assert!(tail.data() == expected);
            let eaten = (round % 131).min(put - taken);
            tail.consume(eaten as usize);
            taken += eaten;
        }
        assert!(copied < put as usize, "{copied} bytes copied for {put}");
    }

    #[test]
    fn a_tail_that_grows_to_64_mib_is_copied_a_few_times_in_all() {
        let mut tail = Tail::default();
        let mut growths = 0;
        while tail.len() < 64 << 20 {
            let before = tail.held();
            tail.room(64 << 10);
            tail.filled(64 << 10);
            growths += usize::from(tail.held() != before);
        }
        assert!(growths < 40, "{growths} growths");
    }
}
