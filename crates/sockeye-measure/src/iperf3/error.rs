//! Why a test ends without results: the errors of both sides, and the numbers of iperf3's own.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::State;
use super::parameters::ParametersError;

/// What one side of a test waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The client: to be asked for the parameters.
    Asking,
    /// The server: the parameters.
    Parameters,
    /// The server: its own turn, while another test makes its streams.
    Queued,
    /// The data streams.
    Streams,
    /// The end of the test.
    Running,
    /// The client: to be asked for the results.
    Ending,
    /// The other side's results.
    Results,
    /// The last word.
    Goodbye,
    /// Nothing: it is over.
    Over,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asking => "waiting to be asked for the parameters",
            Self::Parameters => "waiting for the parameters",
            Self::Queued => "waiting for the turn of this test",
            Self::Streams => "waiting for the data streams",
            Self::Running => "the test was running",
            Self::Ending => "waiting to be asked for the results",
            Self::Results => "waiting for the results",
            Self::Goodbye => "waiting for the end of the test",
            Self::Over => "the test was over",
        })
    }
}

/// Why a test ends without results.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// What came first is not the cookie of a test.
    #[error("not iperf3: byte {at} of what came first is {byte:#04x}, which no cookie has")]
    Cookie {
        /// Its place, from 0.
        at: usize,
        /// What it is.
        byte: u8,
    },
    /// A byte that is not a state.
    #[error("unknown state {byte} came while {during}")]
    UnknownState {
        /// What was waited for.
        during: Phase,
        /// What came.
        byte: i8,
    },
    /// A state that has no place there.
    #[error("{state} came while {during}")]
    UnexpectedState {
        /// What was waited for.
        during: Phase,
        /// What came.
        state: State,
    },
    /// Bytes after the end.
    #[error("more bytes came while {during}")]
    Unexpected {
        /// What was waited for.
        during: Phase,
    },
    /// A message that says to be longer than it may be.
    #[error("a message of {len} bytes was announced while {during}: at most {max} are accepted")]
    TooLong {
        /// What was waited for.
        during: Phase,
        /// What was announced, in bytes.
        len: u32,
        /// The limit.
        max: u32,
    },
    /// A message that is not the JSON that was due.
    #[error("a message that cannot be read came while {during}: {source}")]
    Json {
        /// What was waited for.
        during: Phase,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Parameters that make no sense, or ask for too much.
    #[error("the parameters were refused: {0}")]
    Parameters(#[from] ParametersError),
    /// Results of other streams than those of the test.
    #[error("the results name a stream {id}, which this test does not have")]
    NoSuchStream {
        /// The number of the stream.
        id: u32,
    },
    /// The server said ACCESS_DENIED.
    #[error("the server is busy with another test, or does not let this client in: try again later")]
    Denied,
    /// The server said SERVER_ERROR.
    #[error("the server reports: {code}{}", Errno(*.errno))]
    Server {
        /// iperf3's own number.
        code: ErrorCode,
        /// The number of the system's error there; 0 for none.
        errno: i32,
    },
    /// The server said SERVER_TERMINATE.
    #[error("the server has ended the test (while {during})")]
    ServerTerminated {
        /// What was waited for.
        during: Phase,
    },
    /// The client said CLIENT_TERMINATE.
    #[error("the client has ended the test (while {during})")]
    ClientTerminated {
        /// What was waited for.
        during: Phase,
    },
    /// The other side was silent for too long.
    #[error("nothing came for {} s while {during}", after.as_secs_f64())]
    TimedOut {
        /// What was waited for.
        during: Phase,
        /// For how long.
        after: Duration,
    },
    /// The control connection ended.
    #[error("the control connection ended while {during}")]
    Closed {
        /// What was waited for.
        during: Phase,
    },
}

/// The error of the system behind the server's.
struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 <= 0 {
            return Ok(());
        }
        let said = std::io::Error::from_raw_os_error(self.0).to_string();
        let words = said.split(" (os error").next().unwrap_or_default();
        write!(f, ": {words} (errno {})", self.0)
    }
}

/// A number by which iperf3 names an error (`iperf_api.h`), and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i32);

impl ErrorCode {
    /// Too many parallel streams.
    pub const STREAMS: Self = Self(6);
    /// The block is too long.
    pub const BLOCK_SIZE: Self = Self(7);
    /// The duration is too long.
    pub const DURATION: Self = Self(5);
    /// The omitted time is too long.
    pub const OMIT: Self = Self(12);
    /// Something that this server does not do.
    pub const UNIMPLEMENTED: Self = Self(13);
    /// A datagram too short or too long.
    pub const UDP_BLOCK_SIZE: Self = Self(20);
    /// Both directions and the reverse one at once.
    pub const REVERSE_BIDIR: Self = Self(25);
    /// A message that was not expected.
    pub const MESSAGE: Self = Self(110);
    /// The parameters could not be read.
    pub const RECV_PARAMETERS: Self = Self(114);
    /// The results could not be read.
    pub const RECV_RESULTS: Self = Self(117);
    /// No such protocol.
    pub const PROTOCOL: Self = Self(131);
    /// A stream could not be made.
    pub const CREATE_STREAM: Self = Self(200);

    /// What it means; `None` of a number that is not known here.
    #[must_use]
    pub const fn words(self) -> Option<&'static str> {
        Some(match self.0 {
            5 => "the test is too long",
            6 => "too many parallel streams",
            7 => "the block is too long",
            8 => "the socket buffer is too large",
            10 => "the maximum segment size is too large",
            11 => "it has no sendfile",
            12 => "the omitted time is too long",
            13 => "it does not do that",
            18 => "it has no SCTP",
            20 => "datagrams of this length are not possible",
            21 => "no such type of service",
            25 => "reverse and bidirectional exclude each other",
            27 => "the rate is above the server's limit",
            100 => "a test could not be made",
            101 => "the test could not be prepared",
            102 => "it cannot listen for the streams",
            103 => "it could not connect",
            104 => "it could not accept the connection",
            106 => "the cookie did not come",
            107 => "writing to the control connection failed",
            108 => "reading from the control connection failed",
            109 => "the control connection ended",
            110 => "a message came that it did not expect",
            111 => "a state could not be sent",
            112 => "a state could not be received",
            113 => "the parameters could not be sent",
            114 => "the parameters could not be received",
            115 => "the results could not be packed",
            116 => "the results could not be sent",
            117 => "the results could not be received",
            118 => "select failed",
            119 => "the client has ended the test",
            120 => "the server has ended the test",
            121 => "it is busy with another test",
            122 => "it could not set TCP_NODELAY",
            123 => "it could not set the maximum segment size",
            124 => "it could not set the socket buffers (-w)",
            125 => "it could not set the type of service",
            126 | 127 => "it could not set the flow label",
            130 => "it could not set the window",
            131 => "it does not have this protocol",
            132 => "it could not set the CPU",
            134 => "it does not have this congestion control (-C)",
            140 => "it could not set the pacing rate",
            141 => "its socket buffers are smaller than asked for (-w)",
            142 => "authentication failed: it wants a user name and a password",
            143 => "it could not bind to the device",
            144 => "no data came for too long",
            200 => "a stream could not be made",
            201 => "a stream could not be prepared",
            202 => "it cannot listen for a stream",
            203 => "a stream could not be connected",
            204 => "a stream could not be accepted",
            205 => "writing to a stream failed",
            206 => "reading from a stream failed",
            207 => "a stream has ended",
            208 => "the results name a stream that it does not have",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            Some(words) => write!(f, "{words} (iperf3's error {})", self.0),
            None => write!(f, "iperf3's error {}", self.0),
        }
    }
}

impl ControlError {
    /// What a server tells the client of it: `None` where there is nobody to tell.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        Some(match self {
            Self::Parameters(error) => error.code(),
            Self::UnknownState { .. } | Self::UnexpectedState { .. } | Self::Unexpected { .. } => {
                ErrorCode::MESSAGE
            }
            Self::TooLong { during, .. } | Self::Json { during, .. } => match during {
                Phase::Parameters => ErrorCode::RECV_PARAMETERS,
                _ => ErrorCode::RECV_RESULTS,
            },
            Self::NoSuchStream { .. } => ErrorCode::RECV_RESULTS,
            Self::TimedOut { during, .. } => match during {
                Phase::Parameters => ErrorCode::RECV_PARAMETERS,
                Phase::Queued | Phase::Streams => ErrorCode::CREATE_STREAM,
                _ => ErrorCode::RECV_RESULTS,
            },
            _ => return None,
        })
    }
}
