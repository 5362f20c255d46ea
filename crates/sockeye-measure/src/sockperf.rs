//! The messages of sockperf: a header of 14 bytes, big-endian, and a payload.
//!
//! A client numbers its messages; the server answers those that ask for it, by the same bytes with the client's flag taken
//! away. Checked against sockperf 3.7: `ping-pong`, `under-load` and `throughput`.

use thiserror::Error;

/// Bytes of the header, and of the shortest message.
pub const HEADER_LEN: usize = 14;
/// The longest message that sockperf sends: what IPv4 can carry over UDP.
pub const MAX_LEN: usize = 65_507;
/// The port of a sockperf server.
pub const PORT: u16 = 11_111;

/// Sent by a client.
const CLIENT: u16 = 1;
/// The client wants an answer.
const PONG: u16 = 2;
/// Sent before what counts.
const WARM_UP: u16 = 4;

/// What a message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its number, from 1. 0 belongs to no run.
    pub number: u64,
    /// Sent by a client, not by a server.
    pub is_client: bool,
    /// The client wants an answer.
    pub wants_answer: bool,
    /// Sent before what counts.
    pub is_warm_up: bool,
    /// Bytes of the message, the header among them.
    pub len: usize,
    /// The other bits of the flags, as they came.
    rest: u16,
}

/// A message that is not one of sockperf's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message of sockperf has {HEADER_LEN} to {MAX_LEN} bytes, and this one says {len}")]
pub struct LengthError {
    /// What it says.
    pub len: u32,
}

impl Header {
    /// The header of a client's message of `len` bytes, which are at least [`HEADER_LEN`].
    #[must_use]
    pub const fn request(number: u64, wants_answer: bool, is_warm_up: bool, len: usize) -> Self {
        Self {
            number,
            is_client: true,
            wants_answer,
            is_warm_up,
            len,
            rest: 0,
        }
    }

    /// Reads the header at the front of what has arrived: `None` until it is whole.
    ///
    /// # Errors
    /// [`LengthError`] if the length that it says is impossible: where messages follow each other nothing after it can be
    /// read.
    pub fn parse(data: &[u8]) -> Result<Option<Self>, LengthError> {
        let Some(header) = data.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let [a, b, c, d, e, f, g, h, flags_high, flags_low, i, j, k, l] = *header;
        let len = u32::from_be_bytes([i, j, k, l]);
        let flags = u16::from_be_bytes([flags_high, flags_low]);
        let bytes = usize::try_from(len).ok();
        let bytes = bytes.filter(|bytes| (HEADER_LEN..=MAX_LEN).contains(bytes));
        Ok(Some(Self {
            number: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            is_client: flags & CLIENT != 0,
            wants_answer: flags & PONG != 0,
            is_warm_up: flags & WARM_UP != 0,
            len: bytes.ok_or(LengthError { len })?,
            rest: flags & !(CLIENT | PONG | WARM_UP),
        }))
    }

    /// Writes the header to the front of a message; nothing where there is no room.
    pub fn write(&self, message: &mut [u8]) {
        let Some(room) = message.first_chunk_mut::<HEADER_LEN>() else {
            return;
        };
        let bit = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        let flags = self.rest
            | bit(self.is_client, CLIENT)
            | bit(self.wants_answer, PONG)
            | bit(self.is_warm_up, WARM_UP);
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        let number = self.number.to_be_bytes();
        let bytes = number
            .into_iter()
            .chain(flags.to_be_bytes())
            .chain(len.to_be_bytes());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    /// Whether a server answers this message, by [`answer`](Self::answer) in front of the same payload.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.is_client && self.wants_answer
    }

    /// The header of the answer.
    #[must_use]
    pub const fn answer(self) -> Self {
        Self {
            is_client: false,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_that_of_a_capture() {
        // The first request of `sockperf pp` 3.7 to 127.0.0.1.
        let captured = [0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 14];
        let header = Header::parse(&captured).unwrap().unwrap();
        assert_eq!(header, Header::request(1, true, false, 14));
        assert!(header.is_answered());
        let mut answer = captured;
        header.answer().write(&mut answer);
        assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 14]);
        assert!(!Header::parse(&answer).unwrap().unwrap().is_answered());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for len in [0, 13, 65_508, u32::MAX] {
            let mut message = [0; HEADER_LEN];
            message[10..].copy_from_slice(&len.to_be_bytes());
            assert_eq!(Header::parse(&message), Err(LengthError { len }));
        }
        assert_eq!(Header::parse(&[0; 13]), Ok(None));
    }

    proptest! {
        #[test]
        fn prop_what_is_read_is_written_back(mut bytes in proptest::array::uniform14(any::<u8>()), len in 14_u32..65_508) {
            bytes[10..].copy_from_slice(&len.to_be_bytes());
            let header = Header::parse(&bytes).unwrap().unwrap();
            let mut written = [0; HEADER_LEN];
            header.write(&mut written);
            prop_assert_eq!(written, bytes);
        }
    }
}
