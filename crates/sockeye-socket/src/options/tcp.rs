//! Options of TCP and MPTCP sockets.

use super::{INT_MAX, options};

options! { libc::IPPROTO_TCP;
    /// Send small segments at once (Nagle's algorithm off).
    TCP_NODELAY: bool = libc::TCP_NODELAY;
    /// Hold back segments that are not full, for at most 200 ms.
    TCP_CORK: bool = libc::TCP_CORK;
    /// Acknowledge at once. The kernel falls back by itself, so set it again after each read.
    TCP_QUICKACK: bool = libc::TCP_QUICKACK;
    /// Seconds of silence before the first keepalive probe.
    TCP_KEEPIDLE: u32 = libc::TCP_KEEPIDLE;
    /// Seconds between keepalive probes.
    TCP_KEEPINTVL: u32 = libc::TCP_KEEPINTVL;
    /// Unanswered keepalive probes before the connection is given up.
    TCP_KEEPCNT: u32 = libc::TCP_KEEPCNT;
    /// Milliseconds that sent data may stay unacknowledged before the connection is given up; 0 is the system's.
    TCP_USER_TIMEOUT: u32 = libc::TCP_USER_TIMEOUT;
    /// SYN segments before connecting is given up.
    TCP_SYNCNT: u32 = libc::TCP_SYNCNT;
    /// Seconds a closed socket waits for the peer's FIN; -1 does not wait.
    TCP_LINGER2: i32 = libc::TCP_LINGER2;
    /// Seconds a listener waits for the first data before it lets a connection be accepted. The kernel rounds it to
    /// whole retransmissions of SYN-ACK.
    TCP_DEFER_ACCEPT: u32 = libc::TCP_DEFER_ACCEPT, up_to INT_MAX;
    /// The largest segment, in bytes.
    TCP_MAXSEG: u32 = libc::TCP_MAXSEG;
    /// Bytes not yet sent above which a stream does not count as writable.
    TCP_NOTSENT_LOWAT: u32 = libc::TCP_NOTSENT_LOWAT;
    /// The largest window to announce, in bytes.
    TCP_WINDOW_CLAMP: u32 = libc::TCP_WINDOW_CLAMP, up_to INT_MAX;
    /// On a listener: how many fast-open connections may wait for the handshake's end.
    TCP_FASTOPEN: u32 = libc::TCP_FASTOPEN, up_to INT_MAX;
    /// On a client: the first write travels with the SYN.
    TCP_FASTOPEN_CONNECT: bool = libc::TCP_FASTOPEN_CONNECT;
    /// Fast open without a cookie.
    TCP_FASTOPEN_NO_COOKIE: bool = libc::TCP_FASTOPEN_NO_COOKIE;
    /// Keep the headers of the SYN.
    TCP_SAVE_SYN: bool = libc::TCP_SAVE_SYN;
    /// The IP and TCP headers of the SYN; they can be read once. Read only.
    TCP_SAVED_SYN: [u8] = libc::TCP_SAVED_SYN;
    /// The congestion control algorithm, by name.
    TCP_CONGESTION: [u8] = libc::TCP_CONGESTION, at_most 15;
    /// `struct tcp_info`. Read only.
    TCP_INFO: [u8] = libc::TCP_INFO;
    /// Whether the connection speaks MPTCP. Read only.
    TCP_IS_MPTCP: bool = 43; // linux/tcp.h; not in libc
}

options! { 284; // SOL_MPTCP
    /// `struct mptcp_info`. Read only; EOPNOTSUPP once the connection has fallen back to TCP.
    MPTCP_INFO: [u8] = 1;
}
