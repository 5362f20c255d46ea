//! Options as plain data: [`StreamOptions`] for what a stream has, [`ListenOptions`] for what a listener adds.

use std::fmt;
use std::io;
use std::time::Duration;

use sockeye_socket::{Domain, Protocol, Socket, Type, errno, options};

mod listen;
mod methods;
mod stream;

pub use listen::ListenOptions;
pub use stream::StreamOptions;

/// When an idle peer is probed, how often, and when it is given up.
///
/// The kernel counts whole seconds; a part of one counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes before the connection fails with `TimedOut`.
    pub count: u32,
}

impl Keepalive {
    pub(crate) fn apply(&self, socket: &Socket) -> io::Result<()> {
        socket.set(options::TCP_KEEPIDLE, whole_seconds(self.idle))?;
        socket.set(options::TCP_KEEPINTVL, whole_seconds(self.interval))?;
        socket.set(options::TCP_KEEPCNT, self.count)?;
        socket.set(options::SO_KEEPALIVE, true)
    }

    pub(crate) fn of(socket: &Socket) -> io::Result<Option<Self>> {
        if !socket.get(options::SO_KEEPALIVE)? {
            return Ok(None);
        }
        Ok(Some(Self {
            idle: Duration::from_secs(socket.get(options::TCP_KEEPIDLE)?.into()),
            interval: Duration::from_secs(socket.get(options::TCP_KEEPINTVL)?.into()),
            count: socket.get(options::TCP_KEEPCNT)?,
        }))
    }
}

/// Rounded up, so that only nothing is nothing; what is beyond the kernel's range it refuses itself.
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// Rounded up, as [`whole_seconds`].
pub(crate) fn whole_milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// The name of a congestion control algorithm: `cubic`, `reno`, `bbr`.
///
/// `/proc/sys/net/ipv4/tcp_available_congestion_control` has those of the system.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CongestionControl {
    name: [u8; Self::MAX],
    len: u8,
}

impl CongestionControl {
    /// The longest name (`TCP_CA_NAME_MAX`, without the NUL).
    const MAX: usize = 15;

    /// The name, or `None` where it is empty, longer than 15 bytes, or not of printable ASCII.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let valid = (1..=Self::MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !valid {
            return None;
        }
        let mut bytes = [0; Self::MAX];
        bytes
            .iter_mut()
            .zip(name.bytes())
            .for_each(|(to, from)| *to = from);
        Some(Self {
            name: bytes,
            len: u8::try_from(name.len()).ok()?,
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored.
        self.name
            .get(..self.len.into())
            .and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }

    pub(crate) fn apply(&self, socket: &Socket) -> io::Result<()> {
        socket.set_bytes(options::TCP_CONGESTION, self.as_str().as_bytes())
    }

    pub(crate) fn of(socket: &Socket) -> io::Result<Self> {
        let mut name = [0; Self::MAX + 1];
        let len = socket.get_bytes(options::TCP_CONGESTION, &mut name)?;
        let name = name
            .get(..len)
            .unwrap_or(&name)
            .split(|&byte| byte == 0)
            .next()
            .unwrap_or(&[]);
        std::str::from_utf8(name)
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl fmt::Debug for CongestionControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for CongestionControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether to open a socket of Multipath TCP (RFC 8684), which is TCP with more than one path, and TCP where the peer
/// has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mptcp {
    /// Plain TCP.
    #[default]
    Off,
    /// MPTCP, and plain TCP where this kernel does not have it.
    Prefer,
    /// MPTCP, and an error where this kernel does not have it. A peer without it is still spoken to in plain TCP.
    Require,
}

impl Mptcp {
    pub(crate) fn open(self, domain: Domain) -> io::Result<Socket> {
        let tcp = || Socket::new(domain, Type::STREAM, None);
        let mptcp = || Socket::new(domain, Type::STREAM, Some(Protocol::MPTCP));
        match self {
            Self::Off => tcp(),
            Self::Require => mptcp(),
            Self::Prefer => match mptcp() {
                Err(error) if lacks_mptcp(&error) => tcp(),
                answer => answer,
            },
        }
    }
}

/// No such protocol in the kernel, or `net.mptcp.enabled` is 0.
fn lacks_mptcp(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(errno::EPROTONOSUPPORT | errno::ENOPROTOOPT | errno::EINVAL)
    )
}

/// On an IPv6 socket both: what it sends to mapped addresses follows the IPv4 option.
pub(crate) fn set_ttl(socket: &Socket, ttl: u32) -> io::Result<()> {
    if socket.is_ipv6()? {
        let hops = i32::try_from(ttl).ok().filter(|hops| (1..=255).contains(hops));
        socket.set(
            options::IPV6_UNICAST_HOPS,
            hops.ok_or(io::ErrorKind::InvalidInput)?,
        )?;
        if socket.get(options::IPV6_V6ONLY)? {
            return Ok(());
        }
    }
    socket.set(options::IP_TTL, ttl)
}

pub(crate) fn ttl(socket: &Socket) -> io::Result<u32> {
    if socket.is_ipv6()? {
        let hops = socket.get(options::IPV6_UNICAST_HOPS)?;
        return u32::try_from(hops).map_err(|_| io::ErrorKind::InvalidData.into());
    }
    socket.get(options::IP_TTL)
}

pub(crate) fn set_min_ttl(socket: &Socket, ttl: u32) -> io::Result<()> {
    if socket.is_ipv6()? {
        socket.set(options::IPV6_MINHOPCOUNT, ttl)?;
        if socket.get(options::IPV6_V6ONLY)? {
            return Ok(());
        }
    }
    socket.set(options::IP_MINTTL, ttl)
}

pub(crate) fn set_traffic_class(socket: &Socket, class: u8) -> io::Result<()> {
    if socket.is_ipv6()? {
        socket.set(options::IPV6_TCLASS, class.into())?;
        if socket.get(options::IPV6_V6ONLY)? {
            return Ok(());
        }
    }
    socket.set(options::IP_TOS, class.into())
}

pub(crate) fn set_transparent(socket: &Socket, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        return socket.set(options::IPV6_TRANSPARENT, true);
    }
    socket.set(options::IP_TRANSPARENT, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_is_a_second_and_nothing_is_nothing() {
        let cases = [
            (0, 0),
            (1, 1),
            (999_999_999, 1),
            (1_000_000_000, 1),
            (1_000_000_001, 2),
        ];
        for (ns, seconds) in cases {
            assert_eq!(whole_seconds(Duration::from_nanos(ns)), seconds, "{ns}");
        }
        assert_eq!(whole_seconds(Duration::MAX), u32::MAX);
        assert_eq!(whole_milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(whole_milliseconds(Duration::ZERO), 0);
    }

    #[test]
    fn a_congestion_control_is_a_short_word() {
        assert_eq!(CongestionControl::new("cubic").unwrap().to_string(), "cubic");
        for bad in ["", "sixteen-bytes-xx", "a b", "b\u{f6}se", "nul\0"] {
            assert_eq!(CongestionControl::new(bad), None, "{bad:?}");
        }
    }
}
