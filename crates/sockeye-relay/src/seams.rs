//! Where TLS, the PROXY protocol and the first bytes of TLS clients are plugged in: a constant that the configuration's check
//! asks, and a function where one is enough.
//!
//! - A service that reads a PROXY header listens in place of the relay's (`listen_for` in `relay::open`) and gives the
//!   connection on by `switch_to`: its listener and, as that service has it answer, its peer are then what the relay sees.
//! - A client of TLS connects in place of the relay's service (`connect_for` in `streams::Streams::connect`); the end of its
//!   pair that is the relay's has the tag of the connect, and is joined as any connection.
//! - A server of TLS listens in place of it too; the end of its pair has to say which listener it is of (`listener_of`).

use std::net::SocketAddr;

use crate::config::ProxyVersion;

/// Whether `tls://` listeners and backends, and checks of that kind, can be had.
pub(crate) const TLS: bool = false;

/// Whether PROXY headers can be read and sent.
pub(crate) const PROXY: bool = false;

/// Whether the name that a TLS client asks for can be read.
pub(crate) const SERVER_NAMES: bool = false;

/// What the first bytes of a client say of the name that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerName {
    /// The name, in lower case; `None` if it is not TLS or asks for none.
    Known(Option<String>),
    /// More bytes have to come.
    More,
}

/// Looks for the name in the first bytes.
pub(crate) fn server_name(first: &[u8]) -> ServerName {
    match first {
        // A record of a handshake (RFC 8446, section 5.1), or nothing yet.
        [] | [22, ..] => ServerName::More,
        _ => ServerName::Known(None),
    }
}

/// The header that tells a backend who the client is. `None`: no addresses that it could tell.
pub(crate) fn proxy_header(
    version: ProxyVersion,
    client: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) -> Option<Vec<u8>> {
    let _ = (version, client, destination);
    None
}
