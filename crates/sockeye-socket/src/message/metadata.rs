//! Which metadata a socket shall report with each message.

use std::fmt;
use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::AsFd;

use crate::sys;

/// A set of things to report with each received message. What is not asked for costs nothing.
///
/// ```
/// use sockeye_socket::Metadata;
///
/// let wanted = Metadata::DESTINATION | Metadata::TRAFFIC_CLASS;
/// assert!(wanted.contains(Metadata::DESTINATION));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Metadata(u8);

impl Metadata {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Destination address and interface: [`Meta::destination`](crate::Meta::destination), `local`, `interface`.
    #[doc(alias = "IP_PKTINFO")]
    #[doc(alias = "IPV6_RECVPKTINFO")]
    pub const DESTINATION: Self = Self(1);
    /// ECN and DSCP.
    #[doc(alias = "IP_RECVTOS")]
    #[doc(alias = "IPV6_RECVTCLASS")]
    pub const TRAFFIC_CLASS: Self = Self(1 << 1);
    /// TTL or hop limit.
    #[doc(alias = "IP_RECVTTL")]
    #[doc(alias = "IPV6_RECVHOPLIMIT")]
    pub const HOP_LIMIT: Self = Self(1 << 2);
    /// When the kernel received it, in nanoseconds.
    #[doc(alias = "SO_TIMESTAMPNS")]
    pub const TIMESTAMP: Self = Self(1 << 3);
    /// How many datagrams the socket has dropped.
    #[doc(alias = "SO_RXQ_OVFL")]
    pub const DROPS: Self = Self(1 << 4);
    /// Destination before redirection, for transparent proxies.
    #[doc(alias = "IP_RECVORIGDSTADDR")]
    #[doc(alias = "IPV6_RECVORIGDSTADDR")]
    pub const ORIGINAL_DESTINATION: Self = Self(1 << 5);
    /// All of the above.
    pub const ALL: Self = Self(0b11_1111);

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without what is in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Asks `socket` to report these, leaving the others as they are.
    ///
    /// On an IPv6 socket that also carries IPv4 the options of both are set: each speaks only of its own packets.
    ///
    /// # Errors
    /// What `setsockopt` returns; `ENOPROTOOPT` where the kernel or the kind of socket does not know the option.
    pub fn enable(self, socket: impl AsFd) -> io::Result<()> {
        sys::metadata::set(socket.as_fd(), self, true)
    }

    /// No longer asks `socket` to report these.
    ///
    /// # Errors
    /// As [`Metadata::enable`].
    pub fn disable(self, socket: impl AsFd) -> io::Result<()> {
        sys::metadata::set(socket.as_fd(), self, false)
    }

    /// What `socket` reports at present, by the kernel's own account.
    ///
    /// # Errors
    /// What `getsockopt` returns.
    pub fn active(socket: impl AsFd) -> io::Result<Self> {
        sys::metadata::active(socket.as_fd())
    }
}

impl BitOr for Metadata {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Metadata {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::DESTINATION, "DESTINATION"),
            (Self::TRAFFIC_CLASS, "TRAFFIC_CLASS"),
            (Self::HOP_LIMIT, "HOP_LIMIT"),
            (Self::TIMESTAMP, "TIMESTAMP"),
            (Self::DROPS, "DROPS"),
            (Self::ORIGINAL_DESTINATION, "ORIGINAL_DESTINATION"),
        ];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(flag, _)| self.contains(*flag))
                    .map(|(_, name)| *name),
            )
            .finish()
    }
}
