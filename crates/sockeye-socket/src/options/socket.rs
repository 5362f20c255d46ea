//! Options of every socket, level `SOL_SOCKET`.

use std::time::Duration;

use super::{INT_MAX, options};

options! { libc::SOL_SOCKET;
    /// Bind although connections of a former owner of the address are still closing.
    SO_REUSEADDR: bool = libc::SO_REUSEADDR;
    /// Share the address with other sockets of the same user; the kernel spreads the load among them.
    SO_REUSEPORT: bool = libc::SO_REUSEPORT;
    /// Send to broadcast addresses.
    SO_BROADCAST: bool = libc::SO_BROADCAST;
    /// Probe an idle peer.
    SO_KEEPALIVE: bool = libc::SO_KEEPALIVE;
    /// Leave urgent data where it is in the stream, as ordinary bytes.
    SO_OOBINLINE: bool = libc::SO_OOBINLINE;
    /// Send to directly attached hosts only.
    SO_DONTROUTE: bool = libc::SO_DONTROUTE;
    /// What `close` and a blocking close do with unsent data: `None` sends on in the background, zero resets the
    /// connection, more waits that many seconds.
    SO_LINGER: Option<Duration> = libc::SO_LINGER;
    /// Bytes of the send buffer. The kernel doubles what is set, and caps it at `net.core.wmem_max` before.
    SO_SNDBUF: u32 = libc::SO_SNDBUF, up_to INT_MAX;
    /// Bytes of the receive buffer. The kernel doubles what is set, and caps it at `net.core.rmem_max` before.
    SO_RCVBUF: u32 = libc::SO_RCVBUF, up_to INT_MAX;
    /// As [`SO_SNDBUF`] without the cap; needs `CAP_NET_ADMIN`.
    SO_SNDBUFFORCE: u32 = libc::SO_SNDBUFFORCE, up_to INT_MAX;
    /// As [`SO_RCVBUF`] without the cap; needs `CAP_NET_ADMIN`.
    SO_RCVBUFFORCE: u32 = libc::SO_RCVBUFFORCE, up_to INT_MAX;
    /// The fewest bytes that make a stream readable.
    SO_RCVLOWAT: u32 = libc::SO_RCVLOWAT, up_to INT_MAX;
    /// The mark that routing rules and filters see; needs `CAP_NET_ADMIN`.
    SO_MARK: u32 = libc::SO_MARK;
    /// The queueing priority; above 6 it needs `CAP_NET_ADMIN`.
    SO_PRIORITY: u32 = libc::SO_PRIORITY;
    /// The most bytes a second that the fq queueing discipline (or TCP's own pacing) lets go; `u64::MAX` is no limit.
    SO_MAX_PACING_RATE: u64 = libc::SO_MAX_PACING_RATE;
    /// Microseconds of busy polling before a receive sleeps.
    SO_BUSY_POLL: u32 = libc::SO_BUSY_POLL, up_to INT_MAX;
    /// The CPU that handled the last packet; on a `SO_REUSEPORT` socket, the CPU whose packets it prefers.
    SO_INCOMING_CPU: i32 = libc::SO_INCOMING_CPU;
    /// The receive queue (NAPI) of the last packet, 0 where there is none. Read only.
    SO_INCOMING_NAPI_ID: u32 = libc::SO_INCOMING_NAPI_ID;
    /// Allows `MSG_ZEROCOPY`: see [`Socket::send_zerocopy`](crate::Socket::send_zerocopy). A send of another library that
    /// hands flags on as they are may then let the kernel read its buffer after it has returned.
    SO_ZEROCOPY: bool = libc::SO_ZEROCOPY;
    /// A number that no other socket of this boot has. Read only.
    SO_COOKIE: u64 = libc::SO_COOKIE;
    /// Whether the socket listens. Read only.
    SO_ACCEPTCONN: bool = libc::SO_ACCEPTCONN;
    /// The address family. Read only.
    SO_DOMAIN: i32 = libc::SO_DOMAIN;
    /// The socket's type (`SOCK_STREAM` ...). Read only.
    SO_TYPE: i32 = libc::SO_TYPE;
    /// The protocol. Read only.
    SO_PROTOCOL: i32 = libc::SO_PROTOCOL;
    /// The pending error; reading clears it. Read only.
    SO_ERROR: i32 = libc::SO_ERROR;
    /// Unix sockets: report the sender's process, user and group with each message.
    SO_PASSCRED: bool = libc::SO_PASSCRED;
    /// Unix sockets: report the sender's process as a descriptor with each message (Linux 6.5).
    SO_PASSPIDFD: bool = crate::sys::abi::SO_PASSPIDFD;
    /// The interface the socket is bound to, by name; empty is none.
    SO_BINDTODEVICE: [u8] = libc::SO_BINDTODEVICE, at_most 15;
}
