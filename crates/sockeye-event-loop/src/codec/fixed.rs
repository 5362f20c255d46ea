//! Frames that all have one length.

use super::framed::{Codec, Found, FrameError};

/// Frames of `len` bytes each.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    len: usize,
}

impl Fixed {
    /// Frames of `len` bytes. A length of 0 is taken as 1: empty frames would never end.
    #[must_use]
    pub const fn new(len: usize) -> Self {
        Self {
            len: if len == 0 { 1 } else { len },
        }
    }
}

impl Codec for Fixed {
    fn find(&self, data: &[u8], _: usize) -> Result<Found, FrameError> {
        Ok(if data.len() < self.len {
            Found::Partial {
                searched: 0,
                len: self.len,
            }
        } else {
            Found::Frame {
                content: 0..self.len,
                len: self.len,
            }
        })
    }

    fn encode(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if frame.len() != self.len {
            return Err(FrameError::Unsendable);
        }
        out.extend_from_slice(frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_one_length() {
        let four = Fixed::new(4);
        assert_eq!(four.find(b"abc", 0), Ok(Found::Partial { searched: 0, len: 4 }));
        assert_eq!(
            four.find(b"abcde", 0),
            Ok(Found::Frame {
                content: 0..4,
                len: 4
            })
        );
        assert_eq!(four.encode(b"abc", &mut Vec::new()), Err(FrameError::Unsendable));
    }
}
