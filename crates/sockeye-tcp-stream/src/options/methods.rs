//! The options of a stream as methods, one to set and one to read each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_socket::options;

use super::{CongestionControl, Keepalive, whole_milliseconds};
use crate::TcpStream;

macro_rules! plain {
    ($($(#[$doc:meta])* $set:ident, $get:ident: $type:ty = $option:ident;)+) => {
        impl TcpStream {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// The errno of `setsockopt(2)`: EINVAL where the value is out of range.
            pub fn $set(&self, $get: $type) -> io::Result<()> {
                self.socket.set(options::$option, $get)
            }

            #[doc = concat!("What [`", stringify!($set), "`](Self::", stringify!($set), ") sets, as the kernel has it.")]
            ///
            /// # Errors
            ///
            /// The errno of `getsockopt(2)`.
            pub fn $get(&self) -> io::Result<$type> {
                self.socket.get(options::$option)
            }
        )+}
    };
}

plain! {
    /// Sends small segments at once: Nagle's algorithm off.
    #[doc(alias = "TCP_NODELAY")]
    set_nodelay, nodelay: bool = TCP_NODELAY;
    /// Holds back segments that are not full, 200 ms at most; off sends them.
    #[doc(alias = "TCP_CORK")]
    set_cork, cork: bool = TCP_CORK;
    /// Acknowledges at once. The kernel goes back to its own judgement by itself: set it again after each read.
    #[doc(alias = "TCP_QUICKACK")]
    set_quickack, quickack: bool = TCP_QUICKACK;
    /// The bytes not yet sent above which the stream does not count as writable.
    #[doc(alias = "TCP_NOTSENT_LOWAT")]
    set_notsent_lowat, notsent_lowat: u32 = TCP_NOTSENT_LOWAT;
    /// The bytes of the send buffer; the kernel doubles what is set.
    #[doc(alias = "SO_SNDBUF")]
    set_send_buffer, send_buffer: u32 = SO_SNDBUF;
    /// The bytes of the receive buffer; the kernel doubles what is set.
    #[doc(alias = "SO_RCVBUF")]
    set_recv_buffer, recv_buffer: u32 = SO_RCVBUF;
    /// The fewest bytes that make the stream readable.
    #[doc(alias = "SO_RCVLOWAT")]
    set_recv_lowat, recv_lowat: u32 = SO_RCVLOWAT;
    /// The mark for routing rules and filters; needs `CAP_NET_ADMIN`.
    #[doc(alias = "SO_MARK")]
    set_mark, mark: u32 = SO_MARK;
    /// The queueing priority; above 6 needs `CAP_NET_ADMIN`.
    #[doc(alias = "SO_PRIORITY")]
    set_priority, priority: u32 = SO_PRIORITY;
    /// The most bytes a second; `u64::MAX` is no limit.
    #[doc(alias = "SO_MAX_PACING_RATE")]
    set_max_pacing_rate, max_pacing_rate: u64 = SO_MAX_PACING_RATE;
    /// Leaves urgent data in the stream as ordinary bytes, without a mark.
    #[doc(alias = "SO_OOBINLINE")]
    set_urgent_inline, urgent_inline: bool = SO_OOBINLINE;
}

impl TcpStream {
    /// Sets the time to live of what is sent, on IPv6 the hop limit.
    ///
    /// # Errors
    ///
    /// `InvalidInput` outside 1 to 255.
    #[doc(alias = "IP_TTL")]
    #[doc(alias = "IPV6_UNICAST_HOPS")]
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        super::set_ttl(&self.socket, ttl)
    }

    /// What [`set_ttl`](Self::set_ttl) sets.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        super::ttl(&self.socket)
    }

    /// Drops what arrives with a smaller time to live: with 255, only a peer on this link is heard (RFC 5082). 0 drops
    /// nothing.
    ///
    /// # Errors
    ///
    /// `InvalidInput` above 255.
    #[doc(alias = "IP_MINTTL")]
    #[doc(alias = "IPV6_MINHOPCOUNT")]
    pub fn set_min_ttl(&self, ttl: u32) -> io::Result<()> {
        super::set_min_ttl(&self.socket, ttl)
    }

    /// Sets the DSCP, in the upper six bits of `class`.
    ///
    /// # Errors
    ///
    /// The errno of `setsockopt(2)`.
    #[doc(alias = "IP_TOS")]
    #[doc(alias = "IPV6_TCLASS")]
    pub fn set_traffic_class(&self, class: u8) -> io::Result<()> {
        super::set_traffic_class(&self.socket, class)
    }

    /// Probes the peer when it is silent; `None` does not.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for times above 32,767 seconds or more than 127 probes, or where one is zero.
    #[doc(alias = "SO_KEEPALIVE")]
    #[doc(alias = "TCP_KEEPIDLE")]
    #[doc(alias = "TCP_KEEPINTVL")]
    #[doc(alias = "TCP_KEEPCNT")]
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        match keepalive {
            Some(keepalive) => keepalive.apply(&self.socket),
            None => self.socket.set(options::SO_KEEPALIVE, false),
        }
    }

    /// What [`set_keepalive`](Self::set_keepalive) sets.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        Keepalive::of(&self.socket)
    }

    /// Gives the connection up when what was sent stays unacknowledged for so long; zero is the system's judgement
    /// (about 15 minutes). Whole milliseconds, rounded up.
    ///
    /// It does not catch every peer that has stopped reading: one that acknowledges probes of its closed window stays.
    ///
    /// # Errors
    ///
    /// `InvalidInput` above 2^31 milliseconds.
    #[doc(alias = "TCP_USER_TIMEOUT")]
    pub fn set_user_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket
            .set(options::TCP_USER_TIMEOUT, whole_milliseconds(timeout))
    }

    /// What [`set_user_timeout`](Self::set_user_timeout) sets.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn user_timeout(&self) -> io::Result<Duration> {
        Ok(Duration::from_millis(
            self.socket.get(options::TCP_USER_TIMEOUT)?.into(),
        ))
    }

    /// Chooses the congestion control algorithm.
    ///
    /// # Errors
    ///
    /// `NotFound` where the kernel has none of that name, `PermissionDenied` where it is not for everybody.
    #[doc(alias = "TCP_CONGESTION")]
    pub fn set_congestion_control(&self, name: CongestionControl) -> io::Result<()> {
        name.apply(&self.socket)
    }

    /// The congestion control algorithm.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    pub fn congestion_control(&self) -> io::Result<CongestionControl> {
        CongestionControl::of(&self.socket)
    }

    /// A number that no other socket of this boot has, which `ss -e` and BPF programs show too.
    ///
    /// # Errors
    ///
    /// The errno of `getsockopt(2)`.
    #[doc(alias = "SO_COOKIE")]
    pub fn cookie(&self) -> io::Result<u64> {
        self.socket.get(options::SO_COOKIE)
    }

    /// Where the client of a connection that was redirected here (netfilter's REDIRECT or DNAT) wanted to go.
    ///
    /// # Errors
    ///
    /// `NotFound` where the connection was not redirected; ENOPROTOOPT where the kernel has no connection tracking.
    #[doc(alias = "SO_ORIGINAL_DST")]
    #[doc(alias = "IP6T_SO_ORIGINAL_DST")]
    pub fn original_destination(&self) -> io::Result<SocketAddr> {
        self.socket.original_destination()
    }

    /// The IP and TCP headers of the SYN this connection began with, into `buffer`; returns their length. Needs
    /// [`ListenOptions::save_syn`](crate::ListenOptions::save_syn), and can be asked once: afterwards it is 0.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where `buffer` is too short: the headers are kept.
    #[doc(alias = "TCP_SAVED_SYN")]
    pub fn saved_syn(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.get_bytes(options::TCP_SAVED_SYN, buffer)
    }

    /// Bytes that have come and not been read.
    ///
    /// # Errors
    ///
    /// The errno of `ioctl(2)`.
    #[doc(alias = "SIOCINQ")]
    pub fn unread(&self) -> io::Result<usize> {
        self.socket.unread()
    }

    /// Bytes written and not acknowledged.
    ///
    /// # Errors
    ///
    /// The errno of `ioctl(2)`.
    #[doc(alias = "SIOCOUTQ")]
    pub fn unacked(&self) -> io::Result<usize> {
        self.socket.unacked()
    }

    /// Bytes written and not sent yet.
    ///
    /// # Errors
    ///
    /// The errno of `ioctl(2)`.
    #[doc(alias = "SIOCOUTQNSD")]
    pub fn unsent(&self) -> io::Result<usize> {
        self.socket.unsent()
    }
}
