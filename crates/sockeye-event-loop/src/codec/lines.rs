//! Lines: bytes up to LF, or CRLF.

use super::framed::{Codec, Found, FrameError};

/// Lines of up to `max` bytes, ended by LF; a CR before it is not part of the line. Written with LF.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    max: usize,
}

impl Lines {
    /// Lines of up to `max` bytes without their ends.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max }
    }
}

impl Codec for Lines {
    fn find(&self, data: &[u8], searched: usize) -> Result<Found, FrameError> {
        let fresh = data.get(searched..).unwrap_or_default();
        let found = fresh
            .iter()
            .position(|&byte| byte == b'\n')
            .map(|at| searched + at);
        // A line that has not ended may still end in CRLF.
        let end = found.unwrap_or(data.len());
        let content = match data.get(..end) {
            Some([line @ .., b'\r']) => line.len(),
            _ => end,
        };
        if content > self.max {
            return Err(FrameError::TooLong {
                len: content,
                max: self.max,
            });
        }
        Ok(match found {
            Some(end) => Found::Frame {
                content: 0..content,
                len: end + 1,
            },
            None => Found::Partial {
                searched: data.len(),
                len: 0,
            },
        })
    }

    fn encode(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if frame.len() > self.max {
            return Err(FrameError::TooLong {
                len: frame.len(),
                max: self.max,
            });
        }
        if frame.contains(&b'\n') || frame.ends_with(b"\r") {
            return Err(FrameError::Unsendable);
        }
        out.extend_from_slice(frame);
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_in_lf_or_crlf() {
        let lines = Lines::new(5);
        assert_eq!(
            lines.find(b"abc\nde", 0),
            Ok(Found::Frame {
                content: 0..3,
                len: 4
            })
        );
        assert_eq!(
            lines.find(b"abc\r\n", 0),
            Ok(Found::Frame {
                content: 0..3,
                len: 5
            })
        );
        assert_eq!(
            lines.find(b"\n", 0),
            Ok(Found::Frame {
                content: 0..0,
                len: 1
            })
        );
        assert_eq!(lines.find(b"abc", 0), Ok(Found::Partial { searched: 3, len: 0 }));
        assert_eq!(
            lines.find(b"abcde\r", 0),
            Ok(Found::Partial { searched: 6, len: 0 })
        );
        assert_eq!(
            lines.find(b"abcdef", 0),
            Err(FrameError::TooLong { len: 6, max: 5 })
        );
    }

    #[test]
    fn a_line_with_a_break_in_it_is_not_sent() {
        let mut out = Vec::new();
        assert_eq!(
            Lines::new(9).encode(b"a\nb", &mut out),
            Err(FrameError::Unsendable)
        );
        assert_eq!(
            Lines::new(9).encode(b"a\r", &mut out),
            Err(FrameError::Unsendable)
        );
        assert!(out.is_empty());
        assert_eq!(Lines::new(9).encode(b"a\rb", &mut out), Ok(()));
        assert_eq!(out, b"a\rb\n");
    }
}
