//! What the probes of `trace` are, and where they go.

use std::net::{SocketAddr, UdpSocket};

use anyhow::Context as _;
use sockeye::endpoint::Transport;
use sockeye::probe::TraceMethod;

use super::Arguments;
use crate::exit::{Failure, Unreachable};
use crate::probing::{self, TRACE_PORT};

/// Source ports of TCP probes begin somewhere from here on, below the end by more than a trace needs.
const FIRST_SOURCE_PORT: u16 = 49_152;

/// The method and the target. `no_icmp`: whoever asked for no method gets UDP.
pub(super) fn destination(arguments: &Arguments, no_icmp: bool) -> anyhow::Result<(TraceMethod, SocketAddr)> {
    let by_default = arguments.is_watch() && !no_icmp && !arguments.udp;
    let asked = if arguments.tcp {
        Transport::Tcp
    } else if arguments.icmp || by_default {
        Transport::ICMP
    } else {
        Transport::Udp
    };
    let port = arguments
        .port
        .unwrap_or(if asked == Transport::Tcp { 80 } else { TRACE_PORT });
    let target = probing::target(&arguments.host, asked, port)?;
    let transport = target.transport();
    if (arguments.tcp || arguments.icmp || arguments.udp) && transport != asked {
        return Err(Failure::usage(format!(
            "{}: the host says another method than the option",
            arguments.host
        )));
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
