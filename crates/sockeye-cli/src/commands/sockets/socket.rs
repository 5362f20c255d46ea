//! A socket of this machine as the kernel describes it: type, state, queues, addresses. Where it comes from is not here.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use sockeye::endpoint::Transport;
use sockeye::socket::os;

/// What kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Tcp,
    Udp,
    /// Raw IP of this protocol.
    Raw(u8),
    UnixStream,
    UnixDatagram,
    UnixSeqpacket,
}

impl Kind {
    /// By the type of `socket(2)`, as `AF_UNIX` knows it.
    pub(super) fn of_unix(kind: u32) -> Self {
        match kind {
            2 => Self::UnixDatagram,
            5 => Self::UnixSeqpacket,
            _ => Self::UnixStream,
        }
    }

    /// As it is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Raw(_) => "raw",
            Self::UnixStream => "unix-stream",
            Self::UnixDatagram => "unix-dgram",
            Self::UnixSeqpacket => "unix-seqpacket",
        }
    }
}

/// The states of a socket; the kernel uses the numbers of TCP's for all of them (`net/tcp_states.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
#[repr(u8)]
pub(super) enum State {
    /// Data can be sent and received
    #[value(alias = "estab")]
    Established = 1,
    /// A SYN was sent
    SynSent = 2,
    /// A SYN was received and answered
    #[value(alias = "syn-recv")]
    SynReceived = 3,
    /// Closed here, the FIN is not acknowledged
    #[value(name = "fin-wait-1")]
    FinWait1 = 4,
    /// Closed here, the peer has not closed
    #[value(name = "fin-wait-2")]
    FinWait2 = 5,
    /// Closed on both sides; late segments are waited for
    TimeWait = 6,
    /// No connection: UDP and raw sockets without a peer, unconnected Unix sockets
    #[value(alias = "closed", alias = "unconn")]
    Unconnected = 7,
    /// The peer has closed, this side has not
    CloseWait = 8,
    /// Closed on both sides, the last FIN is not acknowledged
    LastAck = 9,
    /// Accepts connections
    #[value(alias = "listening")]
    Listen = 10,
    /// Both sides closed at once
    Closing = 11,
}

impl State {
    pub(super) const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynReceived,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Unconnected,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// By the kernel's number; `None` for one that is not known here.
    pub(super) fn of(number: u8) -> Option<Self> {
        // Requests that are not yet connections (TCP_NEW_SYN_RECV) are shown as what they are to the peer.
        let number = if number == 12 { 3 } else { number };
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// As it is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::FinWait1 => "fin-wait-1",
            Self::FinWait2 => "fin-wait-2",
            Self::TimeWait => "time-wait",
            Self::Unconnected => "unconnected",
            Self::CloseWait => "close-wait",
            Self::LastAck => "last-ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }
}

/// One end of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Side {
    /// An address and a port; 0 is none.
    Ip(IpAddr, u16),
    /// The path of a Unix socket.
    Path(Vec<u8>),
    /// The abstract name of a Unix socket, without the NUL that begins it.
    Abstract(Vec<u8>),
    /// A Unix socket without a name; its inode where it is known.
    Unnamed(Option<u64>),
}

/// The timer of a TCP connection that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer {
    pub(super) name: &'static str,
    pub(super) left_ms: Option<u64>,
    pub(super) retransmits: u8,
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// Bytes that were not read; of a listener, connections that were not accepted.
    pub(super) recv_queue: u32,
    /// Bytes that were not acknowledged; of a listener, its backlog.
    pub(super) send_queue: u32,
    pub(super) local: Side,
    pub(super) peer: Side,
    /// 0 where no process has it any more.
    pub(super) inode: u64,
    pub(super) uid: Option<u32>,
    /// The index of the interface that it is bound to, or of its zone; 0 is none.
    pub(super) interface: u32,
    pub(super) timer: Option<Timer>,
    /// `struct tcp_info`, as long as this kernel makes it.
    pub(super) info: Option<Vec<u8>>,
    pub(super) congestion: Option<String>,
    pub(super) cgroup: Option<u64>,
}

impl Socket {
    pub(super) fn new(kind: Kind, state: State, local: Side, peer: Side) -> Self {
        Self {
            kind,
            state,
            recv_queue: 0,
            send_queue: 0,
            local,
            peer,
            inode: 0,
            uid: None,
            interface: 0,
            timer: None,
            info: None,
            congestion: None,
            cgroup: None,
        }
    }
}

/// The name in a Unix address: a path, which may end in NUL, or NUL and an abstract name.
pub(super) fn unix_name(bytes: &[u8]) -> Option<Side> {
    match bytes {
        [] => None,
        [0, name @ ..] => Some(Side::Abstract(name.to_vec())),
        path => {
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            path.get(..end).map(|path| Side::Path(path.to_vec()))
        }
    }
}

/// The names of interfaces, each asked for once.
#[derive(Debug, Default)]
pub(super) struct Interfaces(HashMap<u32, String>);

impl Interfaces {
    /// The name, or the number of an interface that is gone.
    pub(super) fn name(&mut self, index: u32) -> &str {
        self.0
            .entry(index)
            .or_insert_with(|| os::interface_name(index).unwrap_or_else(|_| index.to_string()))
    }
}

/// `address:port` as endpoints are written, `*` for no port; the protocol for a raw socket.
pub(super) fn text(socket: &Socket, side: &Side, interfaces: &mut Interfaces) -> String {
    match side {
        Side::Ip(ip, port) => {
            // A zone belongs to the local end, to a link-local peer too.
            let has_zone = socket.interface != 0
                && (std::ptr::eq(side, &socket.local)
                    || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
            let mut text = String::with_capacity(24);
            // Writing to a String does not fail. Most have neither zone nor protocol: the short way first.
            let _ = match ip {
                IpAddr::V4(ip) => write!(text, "{ip}"),
                IpAddr::V6(ip) => write!(text, "[{ip}"),
            };
            if has_zone {
                text.push('%');
                text.push_str(interfaces.name(socket.interface));
            }
            text.push_str(if ip.is_ipv6() { "]:" } else { ":" });
            let _ = match (socket.kind, port) {
                (Kind::Raw(protocol), _) if std::ptr::eq(side, &socket.local) => {
                    write!(text, "{}", Transport::Ip(protocol))
                }
                (_, 0) => write!(text, "*"),
                (_, port) => write!(text, "{port}"),
            };
            text
        }
        Side::Path(path) => String::from_utf8_lossy(path).into_owned(),
        Side::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
        Side::Unnamed(Some(inode)) => format!("#{inode}"),
        Side::Unnamed(None) => "*".to_owned(),
    }
}
