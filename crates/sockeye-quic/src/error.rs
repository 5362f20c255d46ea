//! Why a QUIC connection or one of its streams came to nothing, or ended.

use std::io;
use std::sync::Arc;

use quinn_proto::{ConnectionError, TransportError};

/// What ended a connection or a stream other than in order.
///
/// The service inside hears it as the source of the error in [`CloseReason::Error`](sockeye_event_loop::CloseReason), or of
/// the failed connect: see [`QuicError::of`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuicError {
    /// The peer's application has closed the connection (RFC 9000, section 10.2).
    #[error("QUIC: the peer closed the connection with code {code}{}", Why(.reason))]
    ClosedByPeer {
        /// Its code; what it means is for the application protocol.
        code: u64,
        /// Its words, which come from outside.
        reason: Arc<str>,
    },
    /// The peer's QUIC has closed the connection: a violation, a refusal, or an alert of TLS.
    #[error("QUIC: the peer ended the connection: {}{}", Code(*.code), Why(.reason))]
    RefusedByPeer {
        /// The transport error (RFC 9000, section 20.1).
        code: u64,
        /// Its words, which come from outside.
        reason: Arc<str>,
    },
    /// The peer has violated the protocol, or its certificate was not accepted.
    #[error("QUIC: {}{}", Code(*.code), Why(.reason))]
    Transport {
        /// The transport error (RFC 9000, section 20.1).
        code: u64,
        /// What it was.
        reason: Arc<str>,
    },
    /// The peer knows nothing of the connection any more: a stateless reset (RFC 9000, section 10.3).
    #[error("QUIC: the peer has lost the connection (stateless reset)")]
    StatelessReset,
    /// Nothing came from the peer for the idle timeout.
    #[error("QUIC: nothing came from the peer for too long")]
    TimedOut,
    /// The peer speaks none of the versions that this side speaks.
    #[error("QUIC: the peer speaks no version of QUIC that is spoken here")]
    VersionMismatch,
    /// This side has closed the connection.
    #[error("QUIC: closed by this side")]
    ClosedHere,
    /// The handshake was not complete by its deadline.
    #[error("QUIC: the handshake was not complete in time")]
    HandshakeTimedOut,
    /// So many other handshakes were begun meanwhile that this one, the oldest under way, was given up.
    #[error("QUIC: too many handshakes under way, and this was the oldest")]
    TooManyHandshakes,
    /// No service is there for what was agreed on.
    #[error("QUIC: no service for this connection")]
    NoService,
    /// The peer has reset the stream (RFC 9000, section 3.5).
    #[error("QUIC: the peer reset the stream with code {code}")]
    StreamReset {
        /// Its code.
        code: u64,
    },
    /// The peer reads no more of the stream, and the service went on writing.
    #[error("QUIC: the peer stopped reading the stream with code {code}")]
    StreamStopped {
        /// Its code.
        code: u64,
    },
    /// The stream receives only, and the service wrote to it.
    #[error("QUIC: the stream is unidirectional and can only be read")]
    ReceiveOnly,
    /// The server took no early data: what was sent is lost, and can be sent again on a new stream.
    #[error("QUIC: the server did not accept early data")]
    EarlyDataRejected,
    /// More streams wait for the peer's leave to be opened than may.
    #[error("QUIC: too many streams wait to be opened")]
    TooManyStreams,
    /// There is no socket for that family of addresses, or it is closed.
    #[error("QUIC: no socket for that address")]
    NoSocket,
    /// There is no such connection any more.
    #[error("QUIC: the connection is gone")]
    Gone,
    /// The name is none that a certificate could have.
    #[error("QUIC: not a name of a server")]
    InvalidName,
    /// The address cannot be connected to, such as port 0.
    #[error("QUIC: not an address to connect to")]
    InvalidAddress,
    /// Client and server are made of configurations of their own; this one has none to connect by.
    #[error("QUIC: a server does not connect")]
    NotAClient,
    /// The endpoint has used up its connection ids.
    #[error("QUIC: no connection ids left")]
    NoIds,
    /// The loop has no place for another stream.
    #[error("QUIC: the loop has no place for another stream")]
    LoopFull,
}

/// `: reason`, escaped, if there is one.
struct Why<'a>(&'a str);

impl std::fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.0.escape_debug())
    }
}

/// The name of a transport error (RFC 9000, section 20.1), with the alert of TLS where it is one.
struct Code(u64);

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 17] = [
            "no error",
            "internal error",
            "connection refused",
            "flow control violated",
            "stream limit exceeded",
            "frame on a stream in the wrong state",
            "final size changed",
            "frame malformed",
            "transport parameters malformed",
            "too many connection ids",
            "protocol violated",
            "invalid token",
            "application error",
            "crypto buffer exceeded",
            "key update error",
            "keys used up",
            "no viable path",
        ];
        let name = usize::try_from(self.0).ok().and_then(|code| NAMES.get(code));
        match name {
            Some(name) => f.write_str(name),
            None if (0x100..0x200).contains(&self.0) => write!(f, "TLS alert {}", self.0 - 0x100),
            None => write!(f, "transport error {:#x}", self.0),
        }
    }
}

fn words(reason: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(reason).into()
}

impl QuicError {
    /// The QUIC error behind an I/O error, if there is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::ClosedByPeer { .. } | Self::StatelessReset | Self::StreamReset { .. } => {
                io::ErrorKind::ConnectionReset
            }
            Self::RefusedByPeer { code: 2, .. } | Self::NoService => io::ErrorKind::ConnectionRefused,
            Self::RefusedByPeer { .. } | Self::ClosedHere | Self::EarlyDataRejected => {
                io::ErrorKind::ConnectionAborted
            }
            Self::TimedOut | Self::HandshakeTimedOut => io::ErrorKind::TimedOut,
            Self::TooManyHandshakes | Self::TooManyStreams | Self::NoIds | Self::LoopFull => {
                io::ErrorKind::ResourceBusy
            }
            Self::StreamStopped { .. } => io::ErrorKind::BrokenPipe,
            Self::NoSocket | Self::Gone => io::ErrorKind::NotConnected,
            Self::ReceiveOnly | Self::NotAClient => io::ErrorKind::Unsupported,
            Self::InvalidName | Self::InvalidAddress => io::ErrorKind::InvalidInput,
            Self::Transport { .. } | Self::VersionMismatch => io::ErrorKind::InvalidData,
        }
    }

    /// Whether the peer has closed the connection and called it no error.
    pub(crate) fn is_in_order(&self) -> bool {
        matches!(
            self,
            Self::ClosedByPeer { code: 0, .. } | Self::RefusedByPeer { code: 0, .. } | Self::ClosedHere
        )
    }
}

impl From<QuicError> for io::Error {
    fn from(error: QuicError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<ConnectionError> for QuicError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::VersionMismatch => Self::VersionMismatch,
            ConnectionError::TransportError(TransportError { code, reason, .. }) => Self::Transport {
                code: code.into(),
                reason: reason.into(),
            },
            ConnectionError::ConnectionClosed(close) => Self::RefusedByPeer {
                code: close.error_code.into(),
                reason: words(&close.reason),
            },
            ConnectionError::ApplicationClosed(close) => Self::ClosedByPeer {
                code: close.error_code.into_inner(),
                reason: words(&close.reason),
            },
            ConnectionError::Reset => Self::StatelessReset,
            ConnectionError::TimedOut => Self::TimedOut,
            ConnectionError::LocallyClosed => Self::ClosedHere,
            ConnectionError::CidsExhausted => Self::NoIds,
        }
    }
}
