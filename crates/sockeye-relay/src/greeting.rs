//! What is said before the first byte: the PROXY header of a client or for a backend, and the name that a TLS client asks for.

use std::net::SocketAddr;

use crate::config::ProxyVersion;
use crate::mux::{HelloRead, HelloReader};
use crate::proxy::{Addresses, encode_v1, encode_v2};

/// What the first bytes of a client say of the name that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerName {
    /// The name, in lower case; `None` if it is not TLS or asks for none.
    Known(Option<String>),
    /// More bytes have to come.
    More,
}

/// Looks for the name in the first bytes, all of them again each time.
pub(crate) fn server_name(reader: &mut HelloReader, first: &[u8]) -> ServerName {
    match reader.advance(first) {
        HelloRead::More { .. } => ServerName::More,
        HelloRead::Whole(hello) => ServerName::Known(hello.server_name.clone()),
        HelloRead::Other => ServerName::Known(None),
    }
}

/// The header that tells a backend who the client is. Without addresses that it could tell it says so.
pub(crate) fn proxy_header(
    version: ProxyVersion,
    client: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) -> Vec<u8> {
    let both = client.zip(destination);
    let addresses = both.map(|(client, destination)| Addresses::ip(client, destination));
    match version {
        ProxyVersion::V1 => encode_v1(addresses.as_ref()),
        // It is short: there are no values behind the addresses.
        ProxyVersion::V2 => encode_v2(addresses.as_ref(), &[], true).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{ParseOptions, Parsed, parse};

    #[test]
    fn a_header_says_who_the_client_is() {
        let client: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let asked: SocketAddr = "192.0.2.9:443".parse().unwrap();
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let bytes = proxy_header(version, Some(client), Some(asked));
            let Parsed::Header { consumed, header } = parse(&bytes, &ParseOptions::default()) else {
                panic!("{bytes:?}");
            };
            assert_eq!(consumed, bytes.len());
            assert_eq!(header.addresses, Some(Addresses::ip(client, asked)));
            let bytes = proxy_header(version, None, Some(asked));
            assert!(matches!(
                parse(&bytes, &ParseOptions::default()),
                Parsed::Header { header, .. } if header.addresses.is_none()
            ));
        }
    }
}
