//! Frames with their length in front, big-endian.

use super::framed::{Codec, Found, FrameError};

/// How wide the length is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte: up to 255.
    One,
    /// Two bytes, as DNS over TCP has it: up to 65,535.
    Two,
    /// Four bytes.
    Four,
}

/// Frames of up to `max` bytes behind their length, which counts the content only and is big-endian.
#[derive(Clone, Copy, Debug)]
pub struct LengthPrefixed {
    width: Width,
    max: usize,
}

impl LengthPrefixed {
    /// Frames of up to `max` bytes; less where the width does not reach that far.
    #[must_use]
    pub const fn new(width: Width, max: usize) -> Self {
        let reach = match width {
            Width::One => 0xff,
            Width::Two => 0xffff,
            Width::Four => 0xffff_ffff,
        };
        Self {
            width,
            max: if max < reach { max } else { reach },
        }
    }

    const fn prefix(&self) -> usize {
        match self.width {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
        }
    }
}

impl Codec for LengthPrefixed {
    fn find(&self, data: &[u8], _: usize) -> Result<Found, FrameError> {
        let prefix = self.prefix();
        let Some(head) = data.get(..prefix) else {
            return Ok(Found::Partial {
                searched: 0,
                len: prefix,
            });
        };
        let len = head.iter().fold(0, |len, &byte| len << 8 | usize::from(byte));
        if len > self.max {
            return Err(FrameError::TooLong { len, max: self.max });
        }
        if data.len() < prefix + len {
            return Ok(Found::Partial {
                searched: 0,
                len: prefix + len,
            });
        }
        Ok(Found::Frame {
            content: prefix..prefix + len,
            len: prefix + len,
        })
    }

    fn encode(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let too_long = || FrameError::TooLong {
            len: frame.len(),
            max: self.max,
        };
        if frame.len() > self.max {
            return Err(too_long());
        }
        let len = u32::try_from(frame.len()).map_err(|_| too_long())?.to_be_bytes();
        let (_, head) = len.split_at(4 - self.prefix());
        out.extend_from_slice(head);
        out.extend_from_slice(frame);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_big_endian_and_counts_the_content() {
        let two = LengthPrefixed::new(Width::Two, 300);
        assert_eq!(two.find(&[1], 0), Ok(Found::Partial { searched: 0, len: 2 }));
        assert_eq!(
            two.find(&[0, 2, 7], 0),
            Ok(Found::Partial { searched: 0, len: 4 })
        );
        assert_eq!(
            two.find(&[0, 2, 7, 8, 9], 0),
            Ok(Found::Frame {
                content: 2..4,
                len: 4
            })
        );
        assert_eq!(
            two.find(&[0, 0], 0),
            Ok(Found::Frame {
                content: 2..2,
                len: 2
            })
        );
        assert_eq!(
            two.find(&[2, 0], 0),
            Err(FrameError::TooLong { len: 512, max: 300 })
        );
        let mut out = Vec::new();
        assert_eq!(two.encode(&[5; 258], &mut out), Ok(()));
        assert_eq!(out[..3], [1, 2, 5]);
        assert!(
            LengthPrefixed::new(Width::One, 1000)
                .encode(&[0; 256], &mut out)
                .is_err()
        );
    }
}
