//! Messages of the control connection, to and from a stream of the loop.

use sockeye::event_loop::{Sent, Stream, StreamOption};
use sockeye::measure::run::{
    FrameError, HELLO, HELLO_LEN, HelloError, LENGTH_LEN, Message, check_hello, decode, encode,
};
use std::time::Duration;

/// Why a peer is not listened to any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a message that has no place there")]
    Unexpected,
}

/// How a side of a connection is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    /// The hello is still to come.
    expects_hello: bool,
    max: usize,
}

impl Reader {
    /// What a server reads.
    pub(crate) const fn with_hello(max: usize) -> Self {
        Self {
            expects_hello: true,
            max,
        }
    }

    /// What a client reads.
    pub(crate) const fn of_messages(max: usize) -> Self {
        Self {
            expects_hello: false,
            max,
        }
    }

    /// The next message, and how many bytes are done with.
    ///
    /// # Errors
    /// When it is not one.
    pub(crate) fn next(&mut self, data: &[u8]) -> Result<(Option<Message>, usize), Fault> {
        let mut taken = 0;
        if self.expects_hello {
            if !check_hello(data)? {
                return Ok((None, 0));
            }
            self.expects_hello = false;
            taken = HELLO_LEN;
        }
        let rest = data.get(taken..).unwrap_or_default();
        match decode(rest, self.max)? {
            Some((message, len)) => Ok((Some(message), taken + len)),
            None => Ok((None, taken)),
        }
    }
}

/// Sends a message; `false` where it cannot be, as the peer does not read or is gone.
pub(crate) fn send(stream: &mut Stream<'_>, message: &Message, max: usize) -> bool {
    // Only what is longer than the bound cannot be encoded, and this side keeps within.
    encode(message, max).is_ok_and(|frame| stream.write(&frame).is_taken())
}

/// The hello and the first message of a connection.
///
/// # Errors
/// When the message is too long.
pub(crate) fn opening(message: &Message, max: usize) -> Result<Vec<u8>, FrameError> {
    let frame = encode(message, max)?;
    let mut bytes = Vec::with_capacity(HELLO_LEN + LENGTH_LEN + frame.len());
    bytes.extend(HELLO);
    bytes.extend(frame);
    Ok(bytes)
}

/// Sends what a connection opens with.
pub(crate) fn open(stream: &mut Stream<'_>, message: &Message, max: usize) -> Sent {
    match opening(message, max) {
        Ok(bytes) => stream.write(&bytes),
        Err(_) => Sent::TooLarge,
    }
}

/// Has the kernel look whether the peer's host is still there: a control connection is silent for long.
pub(crate) fn keep_alive(stream: &mut Stream<'_>) {
    // A Unix socket has no such option, and needs none.
    let _ = stream.set_option(&StreamOption::KeepAlive {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        count: 3,
    });
}
