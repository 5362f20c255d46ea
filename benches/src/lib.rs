//! What the benchmarks share: a load, and how their server programs begin.
//!
//! `benches/*.rs` are criterion targets, one a socket type, each with its peers in the same group. A benchmark is called
//! `KIND/GROUP/CASE/CONTENDER` (`tcp/round trip/64 B/mio`), and `cargo xtask bench` compares the contenders of a case: which of
//! them is ours, the practical limit or a peer is in `xtask/src/report/roles.rs`.
//!
//! `examples/*.rs` are programs whose instructions `cargo xtask bench --instructions` counts; a server program
//! takes a port (0 for any), prints `listening on tcp://ADDRESS`, and runs until a signal ends it.

#![forbid(unsafe_code)]

pub mod blocking_echo;
pub mod load;
pub mod meter;
pub mod mio_echo;
pub mod streams;
pub mod tls;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

/// 1024 bytes.
pub const KIB: usize = 1024;
/// 1024 of those.
pub const MIB: usize = 1024 * KIB;
/// The sizes of messages at which throughput is measured.
pub const SIZES: [usize; 6] = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB];

/// A size as the names of the benchmarks have it: `64 B`, `16 KiB`.
#[must_use]
pub fn bytes(size: usize) -> String {
    match size {
        size if size >= MIB && size.is_multiple_of(MIB) => format!("{} MiB", size / MIB),
        size if size >= KIB && size.is_multiple_of(KIB) => format!("{} KiB", size / KIB),
        size => format!("{size} B"),
    }
}

/// Whether this run only has to show that everything works: `cargo xtask bench --smoke` says so.
#[must_use]
pub fn is_smoke() -> bool {
    std::env::var_os("SOCKEYE_BENCH_SMOKE").is_some()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_the_largest_unit_that_fits() {
        let said = [64, KIB, 1_200, 16 * KIB, 65_507, MIB].map(bytes);
        assert_eq!(said, ["64 B", "1 KiB", "1200 B", "16 KiB", "65507 B", "1 MiB"]);
    }
}
