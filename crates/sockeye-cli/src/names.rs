//! Names to addresses for the commands.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use sockeye::endpoint::{Endpoint, Target};
use sockeye::socket::os::interface_index;

/// An IPv6 address alone in the brackets that a target wants: it needs none to be told from its port.
pub(crate) fn bracketed(text: &str) -> Cow<'_, str> {
    let bare = !text.contains("://") && !text.starts_with('[') && text.matches(':').count() > 1;
    if bare {
        format!("[{text}]").into()
    } else {
        text.into()
    }
}

/// The addresses of a target in the order in which to try them.
///
/// # Errors
/// When the name has none within the time.
pub(crate) fn addresses(target: &Target, timeout: Duration) -> anyhow::Result<Vec<SocketAddr>> {
    sockeye::resolver::resolve(target, timeout).with_context(|| format!("resolve {target}"))
}

/// The address of an endpoint, its zone looked up among the interfaces of this host.
///
/// # Errors
/// When there is no such interface.
pub(crate) fn socket_addr(endpoint: &Endpoint) -> anyhow::Result<SocketAddr> {
    endpoint
        .socket_addr_with(|zone| interface_index(zone).ok())
        .with_context(|| endpoint.to_string())
}
