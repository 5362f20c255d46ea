//! What the benchmarks share: a load, and how their server programs begin.
//!
//! `benches/*.rs` are criterion targets, one a socket type, each with its peers in the same group.
//! `examples/*.rs` are programs whose instructions `cargo xtask bench --instructions` counts; a server program
//! takes a port (0 for any), prints `listening on tcp://ADDRESS`, and runs until a signal ends it.

#![forbid(unsafe_code)]

pub mod load;
pub mod meter;
pub mod mio_echo;
pub mod streams;
pub mod tls;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

/// Where a server program is to listen: on the loopback, at the port of its first argument.
///
/// # Errors
/// When the argument is no port.
pub fn listen_address() -> io::Result<SocketAddr> {
    let port = match std::env::args().nth(1) {
        Some(port) => port
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        None => 0,
    };
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Says where a server program listens, so that whoever started it can go on.
///
/// # Errors
/// When nobody reads.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on tcp://{address}")?;
    out.flush()
}
