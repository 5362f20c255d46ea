//! What a service inside can learn of the QUIC around its stream.

use std::rc::Rc;

use rustls::pki_types::CertificateDer;
use sockeye_event_loop::{DatagramId, Stream};

/// A connection of a QUIC service. It goes stale without harm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuicId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl QuicId {
    /// The id as one number.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves of `to_u64`")]
    pub(crate) const fn from_u64(raw: u64) -> Self {
        Self {
            index: raw as u32,
            generation: (raw >> 32) as u32,
        }
    }
}

impl std::fmt::Debug for QuicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuicId({}.{})", self.index, self.generation)
    }
}

/// What was agreed on in the handshake of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuicInfo {
    /// The connection.
    pub connection: QuicId,
    /// The application protocol that both sides speak (ALPN, RFC 7301), as bytes: `b"h3"`.
    pub alpn: Option<Vec<u8>>,
    /// The name of the server that the client asked for (SNI, RFC 6066), on both sides.
    pub server_name: Option<String>,
    /// The peer's certificate and those that lead from it to its issuer, DER. Empty of a client that showed none, and while
    /// only early data has come.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

/// In which directions a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    Both,
    /// This side reads.
    Receive,
    /// This side writes.
    Send,
}

/// A stream, and the connection that it is in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuicStreamInfo {
    /// Of the connection.
    pub connection: Rc<QuicInfo>,
    /// The socket that the connection goes through.
    pub socket: DatagramId,
    /// The stream's number on the wire (RFC 9000, section 2.1).
    pub stream: u64,
    /// In which directions it goes.
    pub direction: Direction,
    /// Whether it was opened before the handshake was complete (0-RTT): what the client sent may have been recorded by somebody
    /// and sent again (RFC 8446, section 8).
    pub early: bool,
}

/// [`quic`](Self::quic) on every [`Stream`] of the loop.
pub trait StreamQuic {
    /// What is known of the QUIC around this stream; `None` if there is none.
    fn quic(&self) -> Option<Rc<QuicStreamInfo>>;
}

impl StreamQuic for Stream<'_> {
    fn quic(&self) -> Option<Rc<QuicStreamInfo>> {
        self.attached()
    }
}
