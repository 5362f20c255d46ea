//! [`OpError`]: what was tried while setting a socket up, on what, why it failed, and what can be done about it.

use std::fmt;
use std::io;
use std::net::IpAddr;

use sockeye_endpoint::{Endpoint, Transport, UnixName};

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `socket(2)`.
    Open,
    /// `bind(2)`.
    Bind,
    /// `listen(2)`.
    Listen,
    /// `connect(2)`, or its outcome later.
    Connect,
    /// `accept(2)`.
    Accept,
    /// Setting the option of this name.
    Set(&'static str),
    /// Reading the option of this name.
    Get(&'static str),
    /// Taking over a descriptor that something else has opened.
    Adopt,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Bind => f.write_str("bind"),
            Self::Listen => f.write_str("listen"),
            Self::Connect => f.write_str("connect"),
            Self::Accept => f.write_str("accept"),
            Self::Set(name) => write!(f, "set {name}"),
            Self::Get(name) => write!(f, "get {name}"),
            Self::Adopt => f.write_str("adopt"),
        }
    }
}

/// A set-up call that failed: the operation, the transport, the two ends as far as they are known, and the cause.
///
/// It prints as one line, with advice where the cause has a usual remedy:
///
/// ```
/// use std::io;
/// use sockeye_endpoint::{Transport, endpoint};
/// use sockeye_socket::{Op, OpError};
///
/// let denied = io::Error::from_raw_os_error(13);
/// let error = OpError::new(Op::Bind, Transport::Tcp, denied).with_local(endpoint!("tcp://127.0.0.1:80"));
/// assert!(error.to_string().starts_with("bind tcp://127.0.0.1:80: Permission denied (needs CAP_NET_BIND_SERVICE: "));
/// assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);
/// ```
///
/// Converted into an [`io::Error`] it keeps its [kind](io::ErrorKind) and its text;
/// [`of`](Self::of) finds it there again, and with it the errno.
pub struct OpError {
    // One pointer: a `Result` that holds it stays small.
    inner: Box<Inner>,
}

struct Inner {
    op: Op,
    /// `None` for a Unix socket.
    transport: Option<Transport>,
    local: Option<End>,
    peer: Option<End>,
    source: io::Error,
}

/// One end of a socket.
#[derive(Clone, Copy)]
enum End {
    Ip(Endpoint),
    Unix(UnixName),
}

impl End {
    fn ip(self) -> Option<Endpoint> {
        match self {
            Self::Ip(endpoint) => Some(endpoint),
            Self::Unix(_) => None,
        }
    }

    fn unix(self) -> Option<UnixName> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(name) => Some(name),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(endpoint) => fmt::Display::fmt(endpoint, f),
            Self::Unix(name) => write!(f, "unix:{name}"),
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl OpError {
    /// An error without endpoints; [`with_local`](Self::with_local) and [`with_peer`](Self::with_peer) add them.
    #[must_use]
    #[cold]
    pub fn new(op: Op, transport: Transport, source: io::Error) -> Self {
        Self::with(op, Some(transport), source)
    }

    /// An error of a Unix socket; [`with_local_name`](Self::with_local_name) and
    /// [`with_peer_name`](Self::with_peer_name) add its ends.
    #[must_use]
    #[cold]
    pub fn unix(op: Op, source: io::Error) -> Self {
        Self::with(op, None, source)
    }

    fn with(op: Op, transport: Option<Transport>, source: io::Error) -> Self {
        Self {
            inner: Box::new(Inner {
                op,
                transport,
                local: None,
                peer: None,
                source,
            }),
        }
    }

    /// The same with the local end.
    #[must_use]
    pub fn with_local(mut self, local: Endpoint) -> Self {
        self.inner.local = Some(End::Ip(local));
        self
    }

    /// The same with the name of the local end.
    #[must_use]
    pub fn with_local_name(mut self, local: UnixName) -> Self {
        self.inner.local = Some(End::Unix(local));
        self
    }

    /// The same with the remote end.
    #[must_use]
    pub fn with_peer(mut self, peer: Endpoint) -> Self {
        self.inner.peer = Some(End::Ip(peer));
        self
    }

    /// The same with the name of the remote end.
    #[must_use]
    pub fn with_peer_name(mut self, peer: UnixName) -> Self {
        self.inner.peer = Some(End::Unix(peer));
        self
    }

    /// What was tried.
    #[must_use]
    pub fn op(&self) -> Op {
        self.inner.op
    }

    /// The transport of the socket it was tried on, `None` for a Unix socket.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        self.inner.transport
    }

    /// The local end, where one was asked for.
    #[must_use]
    pub fn local(&self) -> Option<Endpoint> {
        self.inner.local.and_then(End::ip)
    }

    /// The name of the local end, where it is that of a Unix socket.
    #[must_use]
    pub fn local_name(&self) -> Option<UnixName> {
        self.inner.local.and_then(End::unix)
    }

    /// The remote end, where one was asked for.
    #[must_use]
    pub fn peer(&self) -> Option<Endpoint> {
        self.inner.peer.and_then(End::ip)
    }

    /// The name of the remote end, where it is that of a Unix socket.
    #[must_use]
    pub fn peer_name(&self) -> Option<UnixName> {
        self.inner.peer.and_then(End::unix)
    }

    /// The cause.
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        &self.inner.source
    }

    /// The kind of the cause.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.inner.source.kind()
    }

    /// The errno of the cause, where it came from the kernel.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.inner.source.raw_os_error()
    }

    /// The `OpError` inside an [`io::Error`] that was made from one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The cause alone, errno kept.
    #[must_use]
    pub fn into_cause(self) -> io::Error {
        self.inner.source
    }

    /// What usually helps, as a clause without a full stop.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        let errno = self.raw_os_error()?;
        let (op, local, peer) = (self.op(), self.local(), self.peer());
        let Some(transport) = self.transport() else {
            return unix_advice(op, errno);
        };
        match (op, errno) {
            (_, libc::EMFILE) => Some("this process is at its limit of descriptors: ulimit -n"),
            (_, libc::ENFILE) => Some("the system is at its limit of descriptors: sysctl fs.file-max"),
            (Op::Open, errno) => open_advice(transport, errno),
            (Op::Bind, errno) => bind_advice(local, errno),
            (Op::Listen, libc::EADDRINUSE) => Some("another socket listens here: ss -tlnp"),
            (Op::Connect, errno) => connect_advice(transport, local.is_some(), peer, errno),
            (Op::Set(name), errno) => set_advice(name, errno),
            (Op::Adopt, libc::ENOTSOCK) => Some("the descriptor is no socket"),
            _ => None,
        }
    }
}

fn unix_advice(op: Op, errno: i32) -> Option<&'static str> {
    match (op, errno) {
        (_, libc::EMFILE) => Some("this process is at its limit of descriptors: ulimit -n"),
        (_, libc::ENFILE) => Some("the system is at its limit of descriptors: sysctl fs.file-max"),
        (Op::Bind, libc::EADDRINUSE) => {
            Some("the name is taken: ss -xlp shows by which socket, ls -l by which file")
        }
        (Op::Bind, libc::EACCES) => Some("needs write permission in the folder of the path"),
        (Op::Bind, libc::ENOENT) => Some("the folder of the path does not exist"),
        (Op::Bind, libc::EROFS) => Some("the file system is read-only"),
        (Op::Connect, libc::ENOENT) => Some("there is no such socket"),
        (Op::Connect, libc::ECONNREFUSED) => Some("nobody listens there"),
        (Op::Connect, libc::EACCES) => {
            Some("needs write permission on the socket, search permission on its folders")
        }
        (Op::Connect, libc::EPROTOTYPE) => Some("a socket of another type has that name"),
        (Op::Connect, libc::EAGAIN) => Some("its backlog is full: try again"),
        (Op::Adopt, libc::ENOTSOCK) => Some("the descriptor is no socket"),
        (Op::Set(_), libc::ENOPROTOOPT | libc::EOPNOTSUPP) => {
            Some("this kernel or kind of socket has no such option")
        }
        _ => None,
    }
}

fn open_advice(transport: Transport, errno: i32) -> Option<&'static str> {
    match (transport, errno) {
        (Transport::ICMP | Transport::ICMPV6, libc::EACCES) => {
            Some("the group of this process is outside sysctl net.ipv4.ping_group_range")
        }
        (Transport::Ip(_), libc::EPERM | libc::EACCES) => {
            Some("needs CAP_NET_RAW: setcap cap_net_raw+ep PROGRAM")
        }
        (_, libc::EAFNOSUPPORT) => Some("this kernel has the address family switched off"),
        (Transport::Tcp, libc::EPROTONOSUPPORT | libc::ENOPROTOOPT) => {
            Some("MPTCP is switched off: sysctl net.mptcp.enabled=1")
        }
        (_, libc::EPROTONOSUPPORT) => Some("this kernel does not have the protocol"),
        _ => None,
    }
}

fn bind_advice(local: Option<Endpoint>, errno: i32) -> Option<&'static str> {
    match errno {
        libc::EACCES if local.is_some_and(|local| (1..1024).contains(&local.port())) => Some(
            "needs CAP_NET_BIND_SERVICE: setcap cap_net_bind_service+ep PROGRAM, \
             or sysctl net.ipv4.ip_unprivileged_port_start",
        ),
        libc::EADDRINUSE => Some("another socket holds this address: ss -anp shows which"),
        libc::EADDRNOTAVAIL => {
            Some("no interface of this host has the address: ip address, or the option freebind")
        }
        libc::EINVAL if local.is_some_and(|local| local.ip().is_ipv6()) => {
            Some("a link-local address needs its interface: fe80::1%eth0")
        }
        _ => None,
    }
}

fn connect_advice(
    transport: Transport,
    bound: bool,
    peer: Option<Endpoint>,
    errno: i32,
) -> Option<&'static str> {
    match errno {
        libc::ECONNREFUSED if transport == Transport::Tcp => Some("nothing listens there"),
        libc::ETIMEDOUT => Some("no answer: the host is down, or a firewall drops the packets"),
        libc::ENETUNREACH => Some("no route to that network: ip route get ADDRESS"),
        libc::EHOSTUNREACH => Some("the route leads to no such host, or to an unreachable route"),
        libc::EACCES => Some("a prohibit route leads there: ip route get ADDRESS"),
        libc::EPERM => Some("a local firewall forbids it: nft list ruleset"),
        libc::EINVAL if peer.is_some_and(|peer| lacks_interface(&peer)) => {
            Some("a link-local address needs its interface: fe80::1%eth0")
        }
        libc::EINVAL => Some("a blackhole route leads there: ip route get ADDRESS"),
        libc::EADDRNOTAVAIL if bound => Some("every port of that source is in use towards this peer"),
        libc::EADDRNOTAVAIL => Some("no ephemeral port is free: sysctl net.ipv4.ip_local_port_range"),
        _ => None,
    }
}

fn lacks_interface(endpoint: &Endpoint) -> bool {
    matches!(endpoint.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) && endpoint.zone().is_none()
}

fn set_advice(name: &str, errno: i32) -> Option<&'static str> {
    match (name, errno) {
        ("TCP_CONGESTION", libc::ENOENT) => {
            Some("no such algorithm: sysctl net.ipv4.tcp_available_congestion_control")
        }
        ("TCP_CONGESTION", libc::EPERM) => {
            Some("not among sysctl net.ipv4.tcp_allowed_congestion_control, else needs CAP_NET_ADMIN")
        }
        ("SO_BINDTODEVICE", libc::ENODEV) => Some("no such interface: ip link"),
        ("SO_BINDTODEVICE", libc::EPERM) => Some("already bound to a device: needs CAP_NET_RAW to change it"),
        (_, libc::EINVAL) => range_advice(name),
        // EPERM of another option has another reason: a security module, a locked filter, a descriptor that cannot be polled.
        (
            "SO_MARK"
            | "SO_PRIORITY"
            | "SO_RCVBUFFORCE"
            | "SO_SNDBUFFORCE"
            | "SO_TXTIME"
            | "SO_BUSY_POLL"
            | "SO_PREFER_BUSY_POLL"
            | "IP_TRANSPARENT"
            | "IPV6_TRANSPARENT",
            libc::EPERM,
        ) => Some("needs CAP_NET_ADMIN: setcap cap_net_admin+ep PROGRAM"),
        (_, libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Some("this kernel or kind of socket has no such option"),
        _ => None,
    }
}

/// What an option can be, where the kernel says only that it cannot be this.
fn range_advice(name: &str) -> Option<&'static str> {
    match name {
        "SO_KEEPALIVE" => Some("times are 1 to 32767 seconds, probes 1 to 127"),
        "TCP_USER_TIMEOUT" => Some("at most 2147483647 milliseconds, 24 days"),
        "TCP_MAXSEG" => Some("a segment has 88 to 32767 bytes"),
        "TCP_SYNCNT" => Some("1 to 127 SYNs"),
        "IP_TTL" | "hop limit" => Some("1 to 255 hops"),
        "IP_MINTTL" => Some("0 to 255 hops"),
        _ => None,
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            op,
            transport,
            local,
            peer,
            source,
        } = &*self.inner;
        match (local, peer) {
            (Some(local), Some(peer)) => write!(f, "{op} {local} -> {peer}: ")?,
            (Some(end), None) | (None, Some(end)) => write!(f, "{op} {end}: ")?,
            (None, None) => match transport {
                Some(transport) => write!(f, "{op} {transport}: ")?,
                None => write!(f, "{op} unix: ")?,
            },
        }
        write_cause(f, source)?;
        match self.advice() {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

/// The cause without the number that the standard library appends: the words are enough for a reader, and
/// [`OpError::raw_os_error`] has the number for a program.
fn write_cause(f: &mut fmt::Formatter<'_>, cause: &io::Error) -> fmt::Result {
    let text = cause.to_string();
    let words = match cause.raw_os_error() {
        Some(errno) => text
            .strip_suffix(&format!(" (os error {errno})"))
            .unwrap_or(&text),
        None => &text,
    };
    f.write_str(words)
}

impl fmt::Debug for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            op,
            transport,
            local,
            peer,
            source,
        } = &*self.inner;
        f.debug_struct("OpError")
            .field("op", op)
            .field("transport", transport)
            .field("local", local)
            .field("peer", peer)
            .field("source", source)
            .finish()
    }
}

impl std::error::Error for OpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.inner.source)
    }
}

impl From<OpError> for io::Error {
    fn from(error: OpError) -> Self {
        Self::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use sockeye_endpoint::endpoint;

    use super::*;

    fn failed(op: Op, transport: Transport, errno: i32) -> OpError {
        OpError::new(op, transport, io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn advice_is_given_only_where_it_is_true() {
        let advice = |op, transport, errno| failed(op, transport, errno).advice();
        for option in ["readiness", "SO_ATTACH_FILTER", "SO_REUSEPORT"] {
            assert_eq!(
                advice(Op::Set(option), Transport::Tcp, libc::EPERM),
                None,
                "{option}"
            );
        }
        let admin = advice(Op::Set("SO_MARK"), Transport::Tcp, libc::EPERM).unwrap();
        assert!(admin.contains("CAP_NET_ADMIN"), "{admin}");
        let connect = |errno, peer| {
            let error = failed(Op::Connect, Transport::Tcp, errno).with_peer(peer);
            error.advice().unwrap_or_default()
        };
        let peer = endpoint!("tcp://192.0.2.1:443");
        assert!(connect(libc::EACCES, peer).contains("prohibit route"));
        assert!(connect(libc::EPERM, peer).contains("firewall"));
        assert!(connect(libc::EINVAL, peer).contains("blackhole route"));
        let link_local = endpoint!("tcp://[fe80::1]:443");
        assert!(connect(libc::EINVAL, link_local).contains("needs its interface"));
    }

    #[test]
    fn a_line_says_what_was_tried_on_what_why_and_what_to_do() {
        let local = endpoint!("tcp://127.0.0.1:80");
        let peer = endpoint!("tcp://192.0.2.1:443");
        let cases = [
            (
                failed(Op::Bind, Transport::Tcp, libc::EACCES).with_local(local),
                "bind tcp://127.0.0.1:80: Permission denied (needs CAP_NET_BIND_SERVICE: setcap \
                 cap_net_bind_service+ep PROGRAM, or sysctl net.ipv4.ip_unprivileged_port_start)",
            ),
            (
                failed(Op::Open, Transport::Ip(89), libc::EPERM),
                "open ip+89: Operation not permitted (needs CAP_NET_RAW: setcap cap_net_raw+ep PROGRAM)",
            ),
            (
                failed(Op::Connect, Transport::Tcp, libc::ECONNREFUSED)
                    .with_local(local)
                    .with_peer(peer),
                "connect tcp://127.0.0.1:80 -> tcp://192.0.2.1:443: Connection refused (nothing listens there)",
            ),
            (
                failed(Op::Get("TCP_INFO"), Transport::Tcp, libc::EBADF),
                "get TCP_INFO tcp: Bad file descriptor",
            ),
        ];
        for (error, line) in cases {
            assert_eq!(error.to_string(), line);
        }
    }

    #[test]
    fn an_io_error_keeps_kind_and_text_and_gives_the_errno_back() {
        for errno in [
            libc::EADDRINUSE,
            libc::ECONNREFUSED,
            libc::EMFILE,
            libc::EACCES,
            libc::ENETUNREACH,
        ] {
            let kind = io::Error::from_raw_os_error(errno).kind();
            let error = failed(Op::Bind, Transport::Udp, errno);
            let text = error.to_string();
            let error = io::Error::from(error);
            assert_eq!((error.kind(), error.to_string()), (kind, text));
            assert_eq!(OpError::of(&error).and_then(OpError::raw_os_error), Some(errno));
        }
        assert!(OpError::of(&io::Error::from_raw_os_error(libc::EIO)).is_none());
    }

    #[test]
    fn a_result_with_it_is_one_pointer_wide() {
        assert_eq!(size_of::<Result<(), OpError>>(), size_of::<usize>());
    }
}
