//! Bytes of a control connection: the hello, and messages behind their length.

use super::message::Message;

/// What a connection begins with: the protocol and its version.
pub const HELLO: [u8; HELLO_LEN] = *b"SKBENCH\x01";
/// Bytes of the hello.
pub const HELLO_LEN: usize = 8;
/// Bytes of the length in front of a message, big-endian.
pub const LENGTH_LEN: usize = 4;

/// Why a connection does not begin as one of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// Another protocol.
    #[error("the peer does not speak the protocol of sockeye bench")]
    Foreign,
    /// The same protocol, in a version that this side does not know.
    #[error("the peer speaks version {version} of the protocol of sockeye bench; this side speaks version 1")]
    Version {
        /// The peer's.
        version: u8,
    },
}

/// Looks at the first bytes of a connection. `Ok(false)`: right so far, and more is needed.
///
/// # Errors
/// As soon as a byte is wrong.
pub fn check_hello(data: &[u8]) -> Result<bool, HelloError> {
    let (magic, version) = HELLO.split_at(HELLO_LEN - 1);
    if !data.iter().zip(magic).all(|(have, want)| have == want) {
        return Err(HelloError::Foreign);
    }
    match data.get(HELLO_LEN - 1) {
        None => Ok(false),
        Some(found) if [*found] == version => Ok(true),
        Some(found) => Err(HelloError::Version { version: *found }),
    }
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length says more than the bound.
    #[error("a message of {len} bytes; at most {max} are allowed")]
    TooLong {
        /// The length that was announced.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// Not the JSON of a message.
    #[error("not a message of the protocol")]
    Malformed(#[from] serde_json::Error),
}

/// Takes the first message of `data`, whose content is at most `max` bytes. Says how many bytes it took; `None` while it is
/// not there to its end.
///
/// # Errors
/// For a length beyond the bound, as soon as the length is there; for content that is no message.
pub fn decode(data: &[u8], max: usize) -> Result<Option<(Message, usize)>, FrameError> {
    let Some((length, rest)) = data.split_first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let len = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if len > max {
        return Err(FrameError::TooLong { len, max });
    }
    let Some(content) = rest.get(..len) else {
        return Ok(None);
    };
    Ok(Some((serde_json::from_slice(content)?, LENGTH_LEN + len)))
}

/// A message behind its length.
///
/// # Errors
/// [`FrameError::TooLong`] where it is longer than `max`.
pub fn encode(message: &Message, max: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; LENGTH_LEN];
    serde_json::to_writer(&mut frame, message)?;
    let len = frame.len() - LENGTH_LEN;
    let length = u32::try_from(len).ok().filter(|_| len <= max);
    let length = length.ok_or(FrameError::TooLong { len, max })?;
    if let Some(room) = frame.first_chunk_mut() {
        *room = length.to_be_bytes();
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{MAX_REQUEST, RunId};
    use super::*;

    #[test]
    fn a_hello_is_judged_as_early_as_it_can_be() {
        for len in 0..HELLO_LEN {
            assert_eq!(check_hello(&HELLO[..len]), Ok(false));
        }
        assert_eq!(check_hello(&HELLO), Ok(true));
        assert_eq!(check_hello(b"G"), Err(HelloError::Foreign));
        assert_eq!(
            check_hello(b"SKBENCH\x02"),
            Err(HelloError::Version { version: 2 })
        );
    }

    #[test]
    fn a_length_that_lies_is_refused_before_its_bytes_come() {
        let Err(FrameError::TooLong { len, max }) = decode(&[0xff, 0xff, 0xff, 0xff], MAX_REQUEST) else {
            panic!("4 GiB");
        };
        assert_eq!((len, max), (0xffff_ffff, MAX_REQUEST));
        assert!(matches!(
            decode(b"\0\0\0\x02hi", 64),
            Err(FrameError::Malformed(_))
        ));
        assert!(matches!(decode(b"\0\0\0\0", 64), Err(FrameError::Malformed(_))));
        assert!(matches!(decode(b"\0\0\0", 64), Ok(None)));
    }

    #[test]
    fn a_message_comes_back_and_leaves_the_rest() {
        let message = Message::Join {
            run: RunId::from_bytes([7; 16]),
            flow: 3,
        };
        let mut bytes = encode(&message, MAX_REQUEST).unwrap();
        let len = bytes.len();
        for cut in 0..len {
            assert!(matches!(decode(&bytes[..cut], MAX_REQUEST), Ok(None)), "{cut}");
        }
        bytes.extend(b"rest");
        assert_eq!(decode(&bytes, MAX_REQUEST).unwrap(), Some((message, len)));
    }

    proptest! {
        #[test]
        fn prop_any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, 100);
            let _ = check_hello(&bytes);
        }
    }
}
