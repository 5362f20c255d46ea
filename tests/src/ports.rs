//! Ports for programs that have to be told one: they cannot take port 0 and say what it became.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// Below are ports that people know by heart.
const FIRST: u16 = 10_000;
/// Where the kernel's own choice begins, when it does not say (`ip_local_port_range`, ip(7)).
const KERNELS: u16 = 32_768;

/// How many were handed out or looked at by this process.
static LOOKED_AT: AtomicU16 = AtomicU16::new(0);
/// A name for each port that was handed out, which no other process of these tests can take while this one runs.
static HELD: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// A port of TCP and UDP at which nobody is bound, and that nobody gets by chance before the program that is told it: it is
/// below those that the kernel chooses from (a port of the kernel's choice is free to be chosen again at once), and nobody else
/// gets it from here.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let kernels = range
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    let end = kernels.filter(|kernels| *kernels > FIRST).unwrap_or(KERNELS);
    let span = end - FIRST;
    // Processes begin at different places: fewer looks at what another one has.
    let begin = std::process::id().wrapping_mul(7919) % u32::from(span);
    for _ in 0..span {
        let step = u32::from(LOOKED_AT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((begin + step) % u32::from(span)).expect("less than a span");
        let port = FIRST + offset;
        if let Some(name) = take(port)
            && is_free(port)
        {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            return port;
        }
    }
    panic!("no port from {FIRST} to {end} is free");
}

fn take(port: u16) -> Option<UnixDatagram> {
    let name = UnixAddr::from_abstract_name(format!("sockeye-tests-port-{port}")).expect("a short name");
    UnixDatagram::bind_addr(&name).ok()
}

fn is_free(port: u16) -> bool {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    // Its wildcard is both families', where there is IPv6 at all.
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let is_taken = |result: std::io::Result<()>| {
        result.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    ![v4, v6]
        .into_iter()
        .any(|at| is_taken(TcpListener::bind(at).map(drop)) || is_taken(UdpSocket::bind(at).map(drop)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_a_port_twice() {
        let port = free_port();
        assert!(port >= FIRST && take(port).is_none());
        assert_ne!(free_port(), port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
        assert!(!is_free(port));
        drop(listener);
    }
}
