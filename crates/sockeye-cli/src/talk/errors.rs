//! What went wrong with a peer, and what to do about it.

use std::io;
use std::net::SocketAddr;

use anyhow::anyhow;
use sockeye::endpoint::{Endpoint, Transport};
use sockeye::event_loop::{ConnectFailure, ConnectFault, PeerName};
use sockeye::socket::{Op, OpError};

use crate::exit::Unreachable;

/// Keeps the cause, so that its status is right, and names the address that was tried last.
pub(crate) fn connect_error(mut failure: ConnectFailure) -> anyhow::Error {
    // What this side was to be: its source, its interface.
    let is_own = |error: &io::Error| OpError::of(error).is_some_and(|error| error.op() != Op::Connect);
    if let Some((_, error)) = failure.attempts.pop_if(|(_, error)| is_own(error)) {
        return anyhow!(error);
    }
    let said = failure.to_string();
    match (failure.cause, failure.attempts.last()) {
        (ConnectFault::Failed(error), _) if advised(&error).is_some() => with_advice(error),
        // It says of itself what it is of.
        (ConnectFault::Failed(error), _) if is_of_quic(&error) => error.into(),
        (ConnectFault::Failed(error), Some((PeerName::Unix(name), _))) => {
            anyhow!(OpError::unix(Op::Connect, error).with_peer_name(*name))
        }
        (ConnectFault::Failed(error), Some((PeerName::Ip(address), _))) => {
            of_address(Transport::Tcp, error, *address)
        }
        (ConnectFault::Failed(error), _) => error.into(),
        _ => anyhow!(said),
    }
}

/// An error of a connect to an address, or of what was sent to it.
pub(crate) fn of_address(transport: Transport, error: io::Error, address: SocketAddr) -> anyhow::Error {
    if let Some(unreachable) = Unreachable::of(&error, address.ip()) {
        return anyhow!(unreachable);
    }
    if transport != Transport::Tcp && error.kind() == io::ErrorKind::ConnectionRefused {
        return anyhow!("Connection refused (the port is closed: no socket has it)");
    }
    // For its advice, where the cause has a usual remedy.
    let peer = Endpoint::from_socket_addr(transport, address);
    anyhow!(OpError::new(Op::Connect, transport, error).with_peer(peer))
}

/// An error of a connection, with what to do about it.
pub(crate) fn with_advice(error: io::Error) -> anyhow::Error {
    match advised(&error) {
        Some(advice) => anyhow!("{error} ({advice})"),
        None => error.into(),
    }
}

#[cfg(feature = "quic")]
fn is_of_quic(error: &io::Error) -> bool {
    sockeye::quic::QuicError::of(error).is_some()
}

#[cfg(not(feature = "quic"))]
fn is_of_quic(_: &io::Error) -> bool {
    false
}

/// What helps against an error of TLS.
#[cfg(feature = "tls")]
fn advised(error: &io::Error) -> Option<String> {
    crate::advice::of_tls(
        error,
        crate::advice::Options {
            name: "--servername NAME",
            insecure: Some("--insecure trusts whoever answers"),
            plain: "tcp:// talks without",
        },
    )
}

#[cfg(not(feature = "tls"))]
fn advised(_: &io::Error) -> Option<String> {
    None
}
