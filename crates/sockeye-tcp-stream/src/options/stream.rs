//! [`StreamOptions`]: options of a stream as data, for streams before they connect, for listeners, whose streams inherit
//! them, and for streams that are there already.

use std::time::Duration;

use sockeye_endpoint::Transport;
use sockeye_socket::{Op, OpError, Socket, options};

use super::{CongestionControl, Keepalive, set_min_ttl, set_traffic_class, set_ttl, whole_milliseconds};
use crate::TcpStream;

/// Options of a stream. What is not set stays as the kernel has it.
///
/// Linux hands the options of a listener on to the streams it accepts, all but the priority, so one value serves both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct StreamOptions {
    nodelay: Option<bool>,
    keepalive: Option<Keepalive>,
    user_timeout: Option<Duration>,
    notsent_lowat: Option<u32>,
    send_buffer: Option<u32>,
    recv_buffer: Option<u32>,
    linger: Option<Duration>,
    congestion: Option<CongestionControl>,
    max_segment: Option<u32>,
    max_pacing_rate: Option<u64>,
    ttl: Option<u32>,
    min_ttl: Option<u32>,
    traffic_class: Option<u8>,
    mark: Option<u32>,
    priority: Option<u32>,
    urgent_inline: Option<bool>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)+) => {
        impl StreamOptions {$(
            $(#[$doc])*
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = Some($name);
                self
            }
        )+}
    };
}

setters! {
    /// Send small segments at once.
    #[doc(alias = "TCP_NODELAY")]
    nodelay: bool;
    /// Probe an idle peer.
    #[doc(alias = "SO_KEEPALIVE")]
    keepalive: Keepalive;
    /// Give the connection up when what was sent stays unacknowledged for so long.
    #[doc(alias = "TCP_USER_TIMEOUT")]
    user_timeout: Duration;
    /// Bytes not yet sent above which the stream is not writable.
    #[doc(alias = "TCP_NOTSENT_LOWAT")]
    notsent_lowat: u32;
    /// Bytes of the send buffer; the kernel doubles and caps them.
    #[doc(alias = "SO_SNDBUF")]
    send_buffer: u32;
    /// Bytes of the receive buffer; the kernel doubles and caps them, and no longer tunes it by itself.
    #[doc(alias = "SO_RCVBUF")]
    recv_buffer: u32;
    /// How long a close holds on to unsent data; zero resets the connection instead.
    #[doc(alias = "SO_LINGER")]
    linger: Duration;
    /// The congestion control algorithm.
    #[doc(alias = "TCP_CONGESTION")]
    congestion: CongestionControl;
    /// The largest segment in bytes, announced in the SYN.
    #[doc(alias = "TCP_MAXSEG")]
    max_segment: u32;
    /// The most bytes a second.
    #[doc(alias = "SO_MAX_PACING_RATE")]
    max_pacing_rate: u64;
    /// The time to live of what is sent, or the hop limit.
    #[doc(alias = "IP_TTL")]
    ttl: u32;
    /// Drop what arrives with a smaller time to live: 255 is a peer on this link (RFC 5082).
    #[doc(alias = "IP_MINTTL")]
    min_ttl: u32;
    /// The DSCP in the upper six bits; TCP keeps the lower two, ECN, to itself.
    #[doc(alias = "IP_TOS")]
    traffic_class: u8;
    /// The mark for routing rules; needs `CAP_NET_ADMIN`.
    #[doc(alias = "SO_MARK")]
    mark: u32;
    /// The queueing priority; above 6 needs `CAP_NET_ADMIN`. Accepted streams do not inherit it.
    #[doc(alias = "SO_PRIORITY")]
    priority: u32;
    /// Leave urgent data in the stream as ordinary bytes (RFC 6093, section 6).
    #[doc(alias = "SO_OOBINLINE")]
    urgent_inline: bool;
}

impl StreamOptions {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets them on a stream.
    ///
    /// # Errors
    ///
    /// The first option that was refused, by name; those before it are set.
    pub fn apply_to(&self, stream: &TcpStream) -> Result<(), OpError> {
        self.apply(&stream.socket)
    }

    pub(crate) fn apply(&self, socket: &Socket) -> Result<(), OpError> {
        macro_rules! set {
            ($field:ident, $name:literal, $set:expr) => {
                if let Some(value) = self.$field {
                    let set = $set;
                    set(value).map_err(|error| OpError::new(Op::Set($name), Transport::Tcp, error))?;
                }
            };
        }
        set!(send_buffer, "SO_SNDBUF", |bytes| socket
            .set(options::SO_SNDBUF, bytes));
        set!(recv_buffer, "SO_RCVBUF", |bytes| socket
            .set(options::SO_RCVBUF, bytes));
        set!(nodelay, "TCP_NODELAY", |on| socket.set(options::TCP_NODELAY, on));
        set!(keepalive, "SO_KEEPALIVE", |keepalive: Keepalive| keepalive
            .apply(socket));
        set!(user_timeout, "TCP_USER_TIMEOUT", |time| {
            socket.set(options::TCP_USER_TIMEOUT, whole_milliseconds(time))
        });
        set!(notsent_lowat, "TCP_NOTSENT_LOWAT", |bytes| socket
            .set(options::TCP_NOTSENT_LOWAT, bytes));
        set!(linger, "SO_LINGER", |time| socket
            .set(options::SO_LINGER, Some(time)));
        set!(congestion, "TCP_CONGESTION", |name: CongestionControl| name
            .apply(socket));
        set!(max_segment, "TCP_MAXSEG", |bytes| socket
            .set(options::TCP_MAXSEG, bytes));
        set!(max_pacing_rate, "SO_MAX_PACING_RATE", |rate| socket
            .set(options::SO_MAX_PACING_RATE, rate));
        set!(ttl, "IP_TTL", |ttl| set_ttl(socket, ttl));
        set!(min_ttl, "IP_MINTTL", |ttl| set_min_ttl(socket, ttl));
        set!(traffic_class, "IP_TOS", |class| set_traffic_class(socket, class));
        set!(mark, "SO_MARK", |mark| socket.set(options::SO_MARK, mark));
        set!(priority, "SO_PRIORITY", |priority| socket
            .set(options::SO_PRIORITY, priority));
        set!(urgent_inline, "SO_OOBINLINE", |on| socket
            .set(options::SO_OOBINLINE, on));
        Ok(())
    }
}
