//! Names to addresses for the commands.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use sockeye::endpoint::{Endpoint, Target};
use sockeye::socket::os::{self, interface_index};

use crate::exit::Failure;
use crate::privileges;

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
    if let Some(endpoint) = target.endpoint() {
        return Ok(vec![socket_addr(&endpoint)?]);
    }
    privileges::without(|| {
        sockeye::resolver::resolve(target, timeout).with_context(|| format!("resolve {}", target.host()))
    })
}

/// The address of an endpoint, its zone looked up among the interfaces of this host.
///
/// # Errors
/// When there is no such interface.
pub(crate) fn socket_addr(endpoint: &Endpoint) -> anyhow::Result<SocketAddr> {
    if matches!(endpoint.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) && endpoint.zone().is_none() {
        return Err(Failure::usage(format!(
            "{endpoint}: a link-local address needs its interface, such as {}%{}{}",
            endpoint.ip(),
            interfaces().first().map_or("eth0", String::as_str),
            there_are(),
        )));
    }
    endpoint
        .socket_addr_with(|zone| interface_index(zone).ok())
        .with_context(|| format!("{endpoint}{}", there_are()))
}

/// The interfaces that a link-local address can be reached by, those that are up first.
fn interfaces() -> Vec<String> {
    let mut all = os::interfaces().unwrap_or_default();
    all.sort_by_key(|interface| (!interface.is_up, interface.is_loopback, interface.index));
    all.into_iter().map(|interface| interface.name).collect()
}

/// The interfaces of this machine, in brackets, for the end of an error.
pub(crate) fn there_are() -> String {
    match interfaces().as_slice() {
        [] => String::new(),
        names => format!(" (interfaces: {})", names.join(", ")),
    }
}
