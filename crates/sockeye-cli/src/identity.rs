//! Which files say who a side of TLS is, and whom it trusts.

use std::path::PathBuf;

#[cfg(feature = "relay")]
use serde::Deserialize;

/// What a `tls://` listener shows.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "relay", derive(Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Server {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// Protocols that are offered, such as `h2`; none: ALPN is not answered.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS asks for it"))]
    #[cfg_attr(feature = "relay", serde(default))]
    pub(crate) alpn: Vec<String>,
}

/// Whom a connection to a `tls://` backend trusts, and what it shows.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "relay", derive(Deserialize), serde(default, deny_unknown_fields))]
pub(crate) struct Client {
    /// Instead of the certificates that this machine trusts.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) alpn: Vec<String>,
}
