//! Bytes of a control connection to messages, within bounds. A message that is announced too long is refused by its length;
//! memory is taken for what has arrived, never for what was announced.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::State;
use super::error::{ControlError, Phase};

/// Bytes of the length in front of JSON.
const LEN_BYTES: usize = 4;

/// A part of a message that has arrived.
#[derive(Debug, Default)]
pub(super) struct Partial {
    bytes: Vec<u8>,
}

impl Partial {
    /// Takes JSON after its length. How many of the bytes it took, and the message once it is whole.
    pub(super) fn json<T: DeserializeOwned>(
        &mut self,
        data: &[u8],
        max: u32,
        during: Phase,
    ) -> Result<(usize, Option<T>), ControlError> {
        let mut taken = self.fill(data, LEN_BYTES);
        let Some(len) = self.bytes.first_chunk::<LEN_BYTES>() else {
            return Ok((taken, None));
        };
        let len = u32::from_be_bytes(*len);
        if len > max {
            return Err(ControlError::TooLong { during, len, max });
        }
        let whole = LEN_BYTES + usize::try_from(len).unwrap_or(usize::MAX);
        taken += self.fill(data.get(taken..).unwrap_or_default(), whole);
        if self.bytes.len() < whole {
            return Ok((taken, None));
        }
        let bytes = std::mem::take(&mut self.bytes);
        let text = bytes.get(LEN_BYTES..).unwrap_or_default();
        // Some versions end their text by a NUL.
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        let value = serde_json::from_slice(text).map_err(|source| ControlError::Json { during, source })?;
        Ok((taken, Some(value)))
    }

    /// Takes so many bytes: how many of these, and all once they are there.
    pub(super) fn exactly<const N: usize>(&mut self, data: &[u8]) -> (usize, Option<[u8; N]>) {
        let taken = self.fill(data, N);
        let whole = self.bytes.first_chunk::<N>().copied();
        if whole.is_some() {
            self.bytes.clear();
        }
        (taken, whole)
    }

    /// Adds what is missing of `len` bytes.
    fn fill(&mut self, data: &[u8], len: usize) -> usize {
        let missing = len.saturating_sub(self.bytes.len());
        let piece = data.get(..missing).unwrap_or(data);
        self.bytes.extend_from_slice(piece);
        piece.len()
    }
}

/// Appends a value as JSON after its length.
pub(super) fn write_json(value: &impl Serialize, to: &mut Vec<u8>) {
    // What is written here has neither maps with odd keys nor values that refuse.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&len.to_be_bytes());
    to.extend_from_slice(&text);
}

/// The state of a byte.
pub(super) fn state(byte: u8, during: Phase) -> Result<State, ControlError> {
    let byte = i8::from_be_bytes([byte]);
    State::from_i8(byte).ok_or(ControlError::UnknownState { during, byte })
}
