//! What the service inside can learn of the TLS around it.

use std::rc::Rc;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, SupportedCipherSuite};
use sockeye_event_loop::{Stream, StreamId};

/// What was agreed on in the handshake of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// TLS 1.2 or 1.3.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: SupportedCipherSuite,
    /// The application protocol that both sides speak (ALPN, RFC 7301), as bytes: `b"h2"`, `b"http/1.1"`.
    pub alpn: Option<Vec<u8>>,
    /// The name of the server that the client asked for (SNI, RFC 6066). `None` if it asked for none.
    pub server_name: Option<String>,
    /// The peer's certificate and those that lead from it to its issuer, DER. Empty of a client that showed none, and of a
    /// resumed TLS 1.2 session.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// Whether it was a whole handshake or one that resumed a session.
    pub handshake: Option<HandshakeKind>,
    /// Bytes that the client had sent before the handshake was complete (RFC 8446, section 2.3): they may have been recorded
    /// by somebody and sent again. They are the first that the service reads.
    pub early_bytes: usize,
    /// The connection that carries it.
    pub carrier: StreamId,
}

/// [`tls`](Self::tls) on every [`Stream`] of the loop.
pub trait StreamTls {
    /// What is known of the TLS around this connection; `None` if there is none.
    fn tls(&self) -> Option<Rc<TlsInfo>>;

    /// Takes new keys for what is sent from here on, and asks the peer to do so too (TLS 1.3: RFC 8446, section 4.6.3). rustls
    /// does it by itself before keys have been used too often. `false` if there is no TLS around this connection.
    fn refresh_keys(&mut self) -> bool;
}

/// Asks the service that carries a connection for new keys.
pub(crate) struct RefreshKeys;

impl StreamTls for Stream<'_> {
    fn tls(&self) -> Option<Rc<TlsInfo>> {
        self.attached()
    }

    fn refresh_keys(&mut self) -> bool {
        let Some(tls) = self.tls() else { return false };
        self.send_message(tls.carrier, Box::new(RefreshKeys))
    }
}
