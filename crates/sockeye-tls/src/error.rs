//! Why a TLS connection came to nothing, or ended.

use std::io;

use crate::words::Words;

/// What ended a TLS connection other than in order.
///
/// The service inside hears it as the source of the error in [`CloseReason::Error`](sockeye_event_loop::CloseReason), or of
/// the failed connect: see [`TlsError::of`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The two sides did not agree, a certificate was not accepted, or what arrived was no TLS. It says what.
    #[error("TLS: {}", Words(.0))]
    Protocol(#[from] rustls::Error),
    /// The connection ended without `close_notify`: what had arrived may be a part only (RFC 8446, section 6.1).
    #[error("TLS: the connection ended without close_notify, so what arrived may be a part only")]
    Truncated,
    /// The handshake was not complete by its deadline.
    #[error("TLS: the handshake was not complete in time")]
    HandshakeTimedOut,
    /// So many other handshakes were begun meanwhile that this one, the oldest under way, was given up.
    #[error("TLS: too many handshakes under way, and this was the oldest")]
    TooManyHandshakes,
    /// The peer spoke plain HTTP. A server has answered it with a page that says so.
    #[error("TLS: the peer speaks plain HTTP")]
    PlainHttp,
    /// A server's closure chose no configuration for this client.
    #[error("TLS: no configuration for this client")]
    Refused,
}

impl TlsError {
    /// The TLS error behind an I/O error, if there is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Truncated => io::ErrorKind::UnexpectedEof,
            Self::HandshakeTimedOut => io::ErrorKind::TimedOut,
            Self::TooManyHandshakes => io::ErrorKind::ResourceBusy,
            Self::Refused => io::ErrorKind::ConnectionRefused,
            Self::Protocol(_) | Self::PlainHttp => io::ErrorKind::InvalidData,
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(error.kind(), error)
    }
}
