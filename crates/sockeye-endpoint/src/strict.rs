//! Strict parsers of std's types.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::parse::{fail, host, ipv4, ipv6, looks_like_ipv6, peek, port, surprise, tri, zone};
use crate::zone::Zone;
use crate::{ParseError, ParseErrorKind as Kind};

/// Parses a socket address by the strict rules: `127.0.0.1:80`, `[::1]:80`, `[fe80::1%2]:80`.
///
/// What it accepts, std's parser accepts too, and reads alike. The zone is an index: a socket address has no place for
/// a name.
///
/// # Errors
///
/// What is wrong and at which byte; [`Kind::UnresolvedZone`] for a zone by name.
pub const fn parse_socket_addr(text: &str) -> Result<SocketAddr, ParseError> {
    let text = text.as_bytes();
    if text.is_empty() {
        return fail(Kind::Empty, 0);
    }
    let (ip, zone, at) = tri!(host(text, 0));
    if peek(text, at) != b':' {
        return Err(if at < text.len() {
            surprise(text, at)
        } else {
            ParseError::new(Kind::MissingPort, at)
        });
    }
    let port = tri!(port(text, at + 1));
    let scope_id = match zone {
        None => 0,
        Some(Zone::Index(index)) => index.get(),
        Some(Zone::Name(_)) => return fail(Kind::UnresolvedZone, at),
    };
    Ok(match ip {
        IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
        IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope_id)),
    })
}

/// Parses an address by the strict rules, without brackets and zone.
///
/// # Errors
///
/// What is wrong and at which byte.
pub const fn parse_ip(text: &str) -> Result<IpAddr, ParseError> {
    let text = text.as_bytes();
    if text.is_empty() {
        return fail(Kind::Empty, 0);
    }
    let (ip, at) = if looks_like_ipv6(text) {
        let (groups, at) = tri!(ipv6(text, 0));
        (IpAddr::V6(Ipv6Addr::from_bits(groups)), at)
    } else {
        let (quad, at) = tri!(ipv4(text, 0));
        (IpAddr::V4(Ipv4Addr::from_bits(quad)), at)
    };
    if at < text.len() {
        return Err(surprise(text, at));
    }
    Ok(ip)
}

/// Parses an address with a zone, where there is one, and without brackets: `10.0.0.1`, `fe80::1%eth0`.
///
/// # Errors
///
/// What is wrong and at which byte.
pub const fn parse_scoped_ip(text: &str) -> Result<(IpAddr, Option<Zone>), ParseError> {
    let bytes = text.as_bytes();
    if !looks_like_ipv6(bytes) {
        return Ok((tri!(parse_ip(text)), None));
    }
    let (groups, at) = tri!(ipv6(bytes, 0));
    let zone = match peek(bytes, at) {
        b'%' => Some(tri!(zone(bytes, at + 1, bytes.len()))),
        _ if at == bytes.len() => None,
        _ => return Err(surprise(bytes, at)),
    };
    Ok((IpAddr::V6(Ipv6Addr::from_bits(groups)), zone))
}
