//! What the probes of `trace` are, and where they go.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Context as _;
use sockeye::endpoint::{ParseErrorKind, Target, TargetDefaults, Transport};
use sockeye::probe::TraceMethod;

use super::Arguments;
use crate::exit::{Failure, Unreachable};
use crate::names;
use crate::probing::{self, TRACE_PORT};

/// The TCP port unless told.
const TCP_PORT: u16 = 80;

/// Source ports of TCP probes begin somewhere from here on, below the end by more than a trace needs.
const FIRST_SOURCE_PORT: u16 = 49_152;

/// The method and the target. `no_icmp`: whoever asked for no method gets UDP.
///
/// # Errors
/// When options and the host contradict each other, the name has no address, or there is no route for TCP to leave by.
pub(super) fn destination(arguments: &Arguments, no_icmp: bool) -> anyhow::Result<(TraceMethod, SocketAddr)> {
    let host = &arguments.host;
    let asked = arguments.method();
    let by_icmp = arguments.is_watch() && !no_icmp && arguments.asks_no_method();
    let default = if by_icmp { Transport::ICMP } else { Transport::Udp };
    let default = asked.unwrap_or(default);
    let default_port = if default == Transport::Tcp {
        TCP_PORT
    } else {
        TRACE_PORT
    };
    let target = probing::target(host, default, arguments.port.unwrap_or(default_port))?;
    let transport = target.transport();
    if asked.is_some_and(|asked| asked != transport) {
        return Err(Failure::usage(format!(
            "{host}: the host says another method than the option"
        )));
    }
    if let Some(port) = arguments.port
        && port != target.port()
    {
        return Err(Failure::usage(if transport.has_ports() {
            format!("{host}: the host says another port than the option -p")
        } else {
            format!("{host}: ICMP has no ports: leave -p out, or ask by UDP (-U) or TCP (-T)")
        }));
    }
    let address = probing::address(&target, arguments.family)?;
    let method = match transport {
        Transport::ICMP | Transport::ICMPV6 => TraceMethod::Icmp,
        Transport::Udp => TraceMethod::Udp,
        Transport::Tcp => TraceMethod::Tcp {
            source: source(address)?,
        },
        other => return Err(Failure::usage(format!("{other}: trace speaks icmp, udp and tcp"))),
    };
    Ok((method, address))
}

/// The address that packets to `destination` leave from, and a port.
fn source(destination: SocketAddr) -> anyhow::Result<SocketAddr> {
    let any: SocketAddr = if destination.is_ipv6() {
        ([0u16; 8], 0).into()
    } else {
        ([0u8; 4], 0).into()
    };
    // Connecting a UDP socket sends nothing, and asks the routing table.
    let mut source = UdpSocket::bind(any)
        .and_then(|socket| socket.connect(destination).and_then(|()| socket.local_addr()))
        .map_err(|error| match Unreachable::of(&error, destination.ip()) {
            Some(unreachable) => anyhow::Error::from(unreachable),
            None => error.into(),
        })
        .with_context(|| format!("find a route to {}", destination.ip()))?;
    let [_, low, ..] = probing::secret().to_be_bytes();
    source.set_port(FIRST_SOURCE_PORT + 16 * u16::from(low));
    Ok(source)
}

/// Whether the text has a port, be it a right one or not.
pub(super) fn has_port(host: &str) -> bool {
    let defaults = TargetDefaults {
        // One with ports.
        transport: Some(Transport::Udp),
        port: None,
    };
    let parsed = Target::parse_with(&names::bracketed(host), defaults);
    !parsed.is_err_and(|error| error.kind == ParseErrorKind::MissingPort)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        for host in [
            "192.0.2.1:53",
            "[::1]:53",
            "example.com:53",
            "example.com:domain",
            "host:99999",
        ] {
            assert!(has_port(host), "{host}");
        }
        for host in [
            "192.0.2.1",
            "::1",
            "[::1]",
            "2001:db8::53",
            "fe80::1%lo",
            "example.com",
        ] {
            assert!(!has_port(host), "{host}");
        }
    }
}
