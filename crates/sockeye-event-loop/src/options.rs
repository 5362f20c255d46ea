//! What a socket of the loop should be like, as plain data that each backend applies.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockeye_endpoint::UnixName;

use crate::id::StreamId;

/// One option of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamOption {
    /// Send small segments at once (TCP_NODELAY). The loop sets it on every stream unless told otherwise.
    NoDelay(bool),
    /// Hold back partial segments until uncorked (TCP_CORK).
    Cork(bool),
    /// Keepalive probes: first after `idle`, then each `interval`, giving up after `count`.
    KeepAlive {
        /// Silence before the first probe.
        idle: Duration,
        /// Between probes.
        interval: Duration,
        /// Probes without an answer that end the connection.
        count: u32,
    },
    /// How long sent data may stay unacknowledged (TCP_USER_TIMEOUT).
    UserTimeout(Option<Duration>),
    /// The kernel's send buffer, in bytes (SO_SNDBUF; the kernel doubles it).
    SendBuffer(usize),
    /// The kernel's receive buffer, in bytes (SO_RCVBUF; the kernel doubles it).
    RecvBuffer(usize),
    /// Unsent bytes above which the socket is not writable (TCP_NOTSENT_LOWAT).
    NotSentLowat(u32),
    /// Type of service or traffic class byte of what is sent (IP_TOS, IPV6_TCLASS).
    TrafficClass(u8),
}

/// Deadlines of a connection. `None` waits for ever; the loop's own close deadline always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Deadlines {
    /// From the start of a connect until it stands. `None` leaves it to the kernel (about two minutes).
    pub connect: Option<Duration>,
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// Without a byte received.
    pub read: Option<Duration>,
    /// With output queued and no byte of it taken by the kernel.
    pub write_stall: Option<Duration>,
}

/// Bounds on what a connection may hold in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// At this many queued bytes and above, what is left of files included, a write is [`Sent::Full`](crate::Sent::Full). Data that a service leaves
    /// unconsumed then stops reading, so that a peer that does not read is not read from.
    pub high: usize,
    /// Once the queue has fallen to this, `on_writable` is called, and reading goes on with what was left.
    pub low: usize,
    /// The longest single write; a longer one is [`Sent::TooLarge`](crate::Sent::TooLarge). The queue never
    /// holds more than `high + max_write` in memory; a part of a file may be longer.
    pub max_write: usize,
    /// The longest unconsumed tail that is kept for `on_data`; beyond it the connection is closed.
    pub max_tail: usize,
}

impl Watermarks {
    /// Whether small writes have to ask: gathering them could pass a mark unseen.
    pub(crate) fn is_tight(&self) -> bool {
        self.high.min(self.max_write) < crate::gather::ROOM
    }
}

impl Default for Watermarks {
    fn default() -> Self {
        Self {
            high: 256 * 1024,
            low: 64 * 1024,
            max_write: 1024 * 1024,
            max_tail: 64 * 1024,
        }
    }
}

/// What every connection of a service gets, accepted or connected; a callback may change it for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Deadlines.
    pub deadlines: Deadlines,
    /// Memory bounds.
    pub watermarks: Watermarks,
    /// How long an orderly close may take to flush and to see the peer's end; then it is a reset.
    pub close_timeout: Duration,
    /// Small writes leave at once (TCP_NODELAY).
    pub nodelay: bool,
    /// Further socket options.
    pub socket: Vec<StreamOption>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            watermarks: Watermarks::default(),
            close_timeout: Duration::from_secs(5),
            nodelay: true,
            socket: Vec::new(),
        }
    }
}

/// How a pair should be.
///
/// ```
/// use std::time::Duration;
/// use sockeye_event_loop::{EventLoop, PairOptions, Stream, StreamOptions, StreamService};
///
/// struct Echo;
///
/// impl StreamService for Echo {
///     type Conn = ();
///     fn on_open(&mut self, _: &mut Stream<'_>) {}
///     fn on_data(&mut self, stream: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
///         if stream.write(data).is_taken() { data.len() } else { 0 }
///     }
/// }
///
/// /// Says something and keeps what it hears.
/// #[derive(Default)]
/// struct Caller(Vec<u8>);
///
/// impl StreamService for Caller {
///     type Conn = ();
///     fn on_open(&mut self, stream: &mut Stream<'_>) {
///         let _ = stream.write(b"salmon");
///     }
///     fn on_data(&mut self, _: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
///         self.0.extend_from_slice(data);
///         data.len()
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = EventLoop::new()?;
/// let echo = events.add_stream_service(Echo, StreamOptions::default());
/// let caller = events.add_stream_service(Caller::default(), StreamOptions::default());
/// // No socket: the two services talk inside the loop.
/// events.pair(caller, echo, &PairOptions::default())?;
/// while events.service(caller).is_some_and(|caller| caller.0.len() < 6) {
///     events.turn(Some(Duration::from_millis(1)))?;
/// }
/// assert_eq!(events.service(caller).map(|caller| caller.0.as_slice()), Some(&b"salmon"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairOptions {
    /// Bytes that each direction holds before a write has to wait in the writer's queue.
    pub capacity: usize,
    /// The first end answers `peer`, `peer_addr`, `local_addr`, `local_unix`, `listener` and `tag` as this connection does
    /// now, and has what is attached to it: without it, there is no address and no listener.
    pub first_like: Option<StreamId>,
    /// The same for the second end.
    pub second_like: Option<StreamId>,
    /// What `tag` answers at the first end.
    pub first_tag: Option<u64>,
    /// What `tag` answers at the second end.
    pub second_tag: Option<u64>,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            capacity: 64 * 1024,
            first_like: None,
            second_like: None,
            first_tag: None,
            second_tag: None,
        }
    }
}

/// How to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections the kernel keeps before they are accepted (capped by `net.core.somaxconn`).
    pub backlog: u32,
    /// Bind although an old connection still waits (SO_REUSEADDR).
    pub reuse_address: bool,
    /// Several listeners on one port share its connections (SO_REUSEPORT).
    pub reuse_port: bool,
    /// An IPv6 listener takes IPv6 only (`true`) or IPv4 too (`false`). `None` is the system's default.
    pub v6_only: Option<bool>,
    /// Bind to an interface by name (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// Connections that may be open through this listener at once; beyond it they wait in the backlog.
    pub max_connections: usize,
    /// Its connections are bounded by `max_connections` above alone, and do not count for
    /// [`LoopOptions::max_connections`]: for who has to be reached although the loop is full, and is to take nobody's place.
    pub apart: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_address: true,
            reuse_port: false,
            v6_only: None,
            device: None,
            max_connections: usize::MAX,
            apart: false,
        }
    }
}

/// How to listen at the name of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListenOptions {
    /// Connections the kernel keeps before they are accepted (capped by `net.core.somaxconn`). Who connects to a full one
    /// tries again until its deadline.
    pub backlog: u32,
    /// Permissions of the path, whatever the umask is; nobody can connect with more than these at any time. To connect takes
    /// write permission. `None`: the umask decides. An abstract name has none.
    pub mode: Option<u32>,
    /// Take a path over that a program has left behind which is gone. One that is live is an error, and so is what is no
    /// socket.
    pub take_over: bool,
    /// Remove the path with the listener.
    pub unlink: bool,
    /// Connections that may be open through this listener at once; beyond it they wait in the backlog.
    pub max_connections: usize,
    /// Its connections are bounded by `max_connections` above alone, and do not count for
    /// [`LoopOptions::max_connections`]: for who has to be reached although the loop is full, and is to take nobody's place.
    pub apart: bool,
}

impl Default for UnixListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            mode: None,
            take_over: true,
            unlink: true,
            max_connections: usize::MAX,
            apart: false,
        }
    }
}

/// How a Unix socket of datagrams should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixDatagramOptions {
    /// Permissions of the path, as in [`UnixListenOptions`].
    pub mode: Option<u32>,
    /// Take over a path that a program has left behind which is gone.
    pub take_over: bool,
    /// Remove the path with the socket.
    pub unlink: bool,
    /// The kernel's send buffer in bytes.
    pub send_buffer: Option<usize>,
    /// The only peer.
    pub connect: Option<UnixName>,
    /// Bytes of datagrams that may wait in the loop for the kernel's buffer.
    pub max_queue: usize,
}

impl Default for UnixDatagramOptions {
    fn default() -> Self {
        Self {
            mode: None,
            take_over: true,
            unlink: true,
            send_buffer: None,
            connect: None,
            max_queue: 256 * 1024,
        }
    }
}

/// How to connect.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConnectOptions {
    /// The address to connect from.
    pub source: Option<SocketAddr>,
    /// Bind to an interface by name (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// Socket options that have to be set before the connect (buffer sizes decide the window scale).
    pub socket: Vec<StreamOption>,
}

/// How a datagram socket should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramOptions {
    /// Bind although another socket has the address (SO_REUSEADDR); for multicast receivers.
    pub reuse_address: bool,
    /// Several sockets on one port share its datagrams (SO_REUSEPORT).
    pub reuse_port: bool,
    /// An IPv6 socket takes IPv6 only (`true`) or IPv4 too (`false`). `None` is the system's default.
    pub v6_only: Option<bool>,
    /// Bind to an interface by name (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// The kernel's send buffer in bytes.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer in bytes.
    pub recv_buffer: Option<usize>,
    /// Let the kernel merge runs of datagrams on receive (UDP_GRO), if it can. A service does not see it.
    pub gro: bool,
    /// Merge runs of datagrams to one peer on send (UDP_SEGMENT). A service does not see it.
    pub gso: bool,
    /// Take errors from the error queue (IP_RECVERR): only it says which destination an error belongs to.
    pub error_queue: bool,
    /// Report the address and interface each datagram was sent to; replies leave from that address.
    pub packet_info: bool,
    /// Report the ECN and DSCP bits.
    pub traffic_class: bool,
    /// Report the hop limit.
    pub hop_limit: bool,
    /// Report the kernel's receive time.
    pub timestamps: bool,
    /// May send to broadcast addresses (SO_BROADCAST).
    pub broadcast: bool,
    /// Never fragment what is sent, and pay no heed to what the kernel has learnt of the path MTU: for those who look
    /// for it themselves (IP_PMTUDISC_PROBE).
    pub probe_mtu: bool,
    /// The one peer to connect to, if any.
    pub connect: Option<SocketAddr>,
    /// Bytes of datagrams that may wait in the loop while the kernel's buffer is full.
    pub max_queue: usize,
}

impl Default for DatagramOptions {
    fn default() -> Self {
        Self {
            reuse_address: false,
            reuse_port: false,
            v6_only: None,
            device: None,
            send_buffer: None,
            recv_buffer: None,
            gro: true,
            gso: true,
            error_queue: false,
            packet_info: false,
            traffic_class: false,
            hop_limit: false,
            timestamps: false,
            broadcast: false,
            probe_mtu: false,
            connect: None,
            max_queue: 256 * 1024,
        }
    }
}

/// Which kind of packet socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketKind {
    /// Payloads of one IP protocol; the kernel writes the IP header. Needs CAP_NET_RAW.
    Ip {
        /// The IP protocol number, not 0 and not 255.
        protocol: u8,
    },
    /// Whole packets with the IP header written here (IP_HDRINCL). Needs CAP_NET_RAW.
    Header {
        /// The IP protocol number to receive.
        protocol: u8,
    },
    /// ICMP or ICMPv6: an unprivileged ping socket where the system allows it, else a raw one.
    Icmp,
}

/// How a packet socket should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOptions {
    /// Which kind.
    pub kind: PacketKind,
    /// The address to bind to; its family decides between IPv4 and IPv6. The unspecified address takes all.
    pub local: IpAddr,
    /// Bind to an interface by name (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// The kernel's send buffer in bytes.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer in bytes.
    pub recv_buffer: Option<usize>,
    /// Take errors from the error queue (IP_RECVERR).
    pub error_queue: bool,
    /// Report the address and interface each packet was sent to.
    pub packet_info: bool,
    /// Report the hop limit.
    pub hop_limit: bool,
    /// Report the kernel's receive time.
    pub timestamps: bool,
    /// Never fragment what is sent, and pay no heed to what the kernel has learnt of the path MTU: for those who look
    /// for it themselves (IP_PMTUDISC_PROBE).
    pub probe_mtu: bool,
    /// Bytes of packets that may wait in the loop while the kernel's buffer is full.
    pub max_queue: usize,
}

impl PacketOptions {
    /// A socket of that kind on that address, everything else as it is by default.
    #[must_use]
    pub fn new(kind: PacketKind, local: IpAddr) -> Self {
        Self {
            kind,
            local,
            device: None,
            send_buffer: None,
            recv_buffer: None,
            error_queue: false,
            packet_info: false,
            hop_limit: false,
            timestamps: false,
            probe_mtu: false,
            max_queue: 256 * 1024,
        }
    }
}

/// How a packet socket should be, for frames of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameOptions {
    /// The interface by name; without one all interfaces are listened to, and nothing can be sent.
    pub interface: Option<String>,
    /// Frames without their link header, received only.
    pub cooked: bool,
    /// Frames of this ethertype only; 3 (ETH_P_ALL) is all of them, and what this host sends besides.
    pub protocol: u16,
    /// Frames for other hosts, too.
    pub promiscuous: bool,
    /// Nothing that this host sends.
    pub ignore_outgoing: bool,
    /// Report the kernel's receive time.
    pub timestamps: bool,
    /// Receive only what this filter takes, from the first frame on.
    pub filter: Option<sockeye_socket::filter::Filter>,
    /// The kernel's send buffer in bytes.
    pub send_buffer: Option<usize>,
    /// The kernel's receive buffer in bytes.
    pub recv_buffer: Option<usize>,
    /// Bytes of frames that may wait in the loop while the kernel's buffer is full.
    pub max_queue: usize,
}

impl FrameOptions {
    /// Whole frames of all protocols on that interface, everything else as it is by default.
    #[must_use]
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: Some(interface.into()),
            cooked: false,
            protocol: 3,
            promiscuous: false,
            ignore_outgoing: false,
            timestamps: false,
            filter: None,
            send_buffer: None,
            recv_buffer: None,
            max_queue: 256 * 1024,
        }
    }
}

/// What a callback that panics does to the loop. Under `panic=abort` nothing of it holds: the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PanicPolicy {
    /// The connection whose callback panicked is reset; everything else goes on.
    #[default]
    CloseConnection,
    /// The panic leaves [`EventLoop::turn`](crate::EventLoop::turn) as it came.
    Propagate,
}

/// Sizes and budgets of a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopOptions {
    /// Events taken from the kernel in one turn.
    pub events_per_turn: usize,
    /// The one read buffer that all streams share, in bytes.
    pub read_buffer: usize,
    /// Bytes one stream may read in one turn before the others get theirs. The last piece that a joined stream splices is not
    /// cut to it: that goes over by up to a pipe, 1 MiB.
    pub stream_budget: usize,
    /// Connections one listener may accept in one turn.
    pub accept_budget: usize,
    /// Batches one datagram socket may receive in one turn.
    pub datagram_batches: usize,
    /// Timers, remote commands and deferred callbacks handled in one turn, each.
    pub work_budget: usize,
    /// Streams that may be open at once on this loop, all listeners and connects together, but for ends of pairs and what
    /// comes through listeners [apart](ListenOptions::apart).
    pub max_connections: usize,
    /// Commands that may wait in the loop's [`Remote`](crate::Remote).
    pub remote_capacity: usize,
    /// How long accepting pauses when descriptors or memory are used up.
    pub accept_back_off: Duration,
    /// How long a read or write pauses that failed for want of memory (`ENOBUFS`, `ENOMEM`); up to 64 times as long while
    /// they go on failing. The connection's deadlines hold meanwhile.
    pub retry_back_off: Duration,
    /// Bytes that the loop may keep for all its connections together: output that waits, and input that was not consumed.
    /// Near it, those that do not read what they are sent get less and less room and are not read from; accepting
    /// waits; and those that have stood still the longest are reset, by [`CloseReason::MemoryBudget`](crate::CloseReason::MemoryBudget)
    ///. The shards of [`Shards`](crate::Shards) share it out.
    pub memory_budget: usize,
    /// For how long the loop asks the kernel again and again, without waiting, before it waits: a message that comes
    /// meanwhile is answered without the delay of a wake-up, and a core is busy all that time. Zero, the default, waits
    /// at once. Sockets are told too (SO_BUSY_POLL, where that is allowed), so that their device is asked instead of
    /// its interrupt awaited. A simulation has nothing to wait for, and does not spin.
    pub spin: Duration,
    /// What a panic in a callback does.
    pub panic_policy: PanicPolicy,
}

impl Default for LoopOptions {
    fn default() -> Self {
        Self {
            events_per_turn: 1024,
            read_buffer: 64 * 1024,
            stream_budget: 1024 * 1024,
            accept_budget: 256,
            datagram_batches: 8,
            work_budget: 4096,
            max_connections: usize::MAX,
            remote_capacity: 64 * 1024,
            accept_back_off: Duration::from_millis(50),
            retry_back_off: Duration::from_millis(10),
            memory_budget: 192 * 1024 * 1024,
            spin: Duration::ZERO,
            panic_policy: PanicPolicy::CloseConnection,
        }
    }
}
