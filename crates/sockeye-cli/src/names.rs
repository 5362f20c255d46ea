//! Names to addresses for the commands.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use sockeye::endpoint::{Endpoint, Host, Target};
use sockeye::socket::os::{AddressFamily, NameError, getaddrinfo, interface_index};

use crate::exit::{Exit, Failure};

/// More addresses of a name are not tried.
const MAX_ADDRESSES: usize = 16;

/// The addresses of a target in the order in which to try them.
///
/// # Errors
/// When the name has none within the time.
pub(crate) fn addresses(target: &Target, _timeout: Duration) -> anyhow::Result<Vec<SocketAddr>> {
    let name = match (target.endpoint(), target.host()) {
        (Some(endpoint), _) => return Ok(vec![socket_addr(&endpoint)?]),
        (None, Host::Name(name)) => name,
        (None, Host::Ip(..)) => return Err(Failure::usage(format!("{target}: no endpoint"))),
    };
    let mut addresses = Vec::new();
    let mut failure = NameError::NotFound;
    for family in [AddressFamily::V6, AddressFamily::V4] {
        match getaddrinfo(name.as_str(), family, MAX_ADDRESSES) {
            Ok(found) => addresses.extend(found),
            Err(error) => failure = error,
        }
    }
    if addresses.is_empty() {
        return Err(Failure::with(Exit::Resolution, format!("{name}: {failure}")));
    }
    for address in &mut addresses {
        address.set_port(target.port());
    }
    Ok(addresses)
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
