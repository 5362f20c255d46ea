//! The first line of HTTP/1, looked at byte by byte as it arrives, each byte once.

/// The longest method: the longest registered one has 17 letters.
const MAX_METHOD: usize = 32;
/// The longest method and target together; RFC 9112, section 3, recommends 8000 at least.
const MAX_LINE: usize = 8 * 1024;
/// With another digit behind it this is HTTP/1.
const VERSION: &[u8] = b"HTTP/1.";

/// How far the line has come.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestReader {
    /// Bytes that have been looked at.
    at: usize,
    /// Where the method ends, and the target: 0 while they have not.
    method_end: usize,
    target_end: usize,
    outcome: Option<bool>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading<'a> {
    More,
    Whole {
        method: &'a [u8],
        target: &'a [u8],
    },
    /// No request of HTTP/1.
    Other,
}

impl RequestReader {
    /// Takes what is new: `bytes` are all from the first on.
    pub(super) fn advance<'a>(&mut self, bytes: &'a [u8]) -> Reading<'a> {
        while self.outcome.is_none() {
            let Some(byte) = bytes.get(self.at) else {
                return Reading::More;
            };
            self.outcome = self.look_at(*byte);
            self.at += 1;
        }
        let method = bytes.get(..self.method_end);
        let target = bytes.get(self.method_end + 1..self.target_end);
        match (self.outcome, method, target) {
            (Some(true), Some(method), Some(target)) => Reading::Whole { method, target },
            _ => Reading::Other,
        }
    }

    /// Whether the next byte decides it.
    fn look_at(&mut self, byte: u8) -> Option<bool> {
        let at = self.at;
        if self.method_end == 0 {
            match byte {
                b' ' if at > 0 => self.method_end = at,
                _ if is_token(byte) && at < MAX_METHOD => {}
                _ => return Some(false),
            }
        } else if self.target_end == 0 {
            match byte {
                b' ' if at > self.method_end + 1 => self.target_end = at,
                // Bytes above ASCII are not allowed, and sent.
                b'!'..=b'~' | 0x80.. if at < MAX_LINE => {}
                _ => return Some(false),
            }
        } else {
            let nth = at - self.target_end - 1;
            match VERSION.get(nth) {
                Some(expected) if byte == *expected => {}
                Some(_) => return Some(false),
                None => return Some(byte.is_ascii_digit()),
            }
        }
        None
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
