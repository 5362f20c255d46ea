//! [`ListenOptions`]: what is decided before a listener is bound.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::{Domain, Op, OpError, options};

use super::{Mptcp, StreamOptions, set_transparent, whole_seconds};
use crate::TcpListener;

/// Options of a listener.
///
/// ```
/// use sockeye_tcp_stream::{ListenOptions, StreamOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = ListenOptions::new()
///     .v6_only(false)
///     .backlog(1024)
///     .stream(StreamOptions::new().nodelay(true))
///     .bind("[::]:0".parse()?)?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ListenOptions {
    stream: StreamOptions,
    backlog: u32,
    reuse_address: bool,
    reuse_port: bool,
    v6_only: Option<bool>,
    device: Option<String>,
    fast_open: Option<u32>,
    defer_accept: Option<Duration>,
    save_syn: bool,
    mptcp: Mptcp,
    freebind: bool,
    transparent: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ListenOptions {
    /// `SO_REUSEADDR`, a backlog of 4096, and the kernel's defaults.
    pub fn new() -> Self {
        Self {
            stream: StreamOptions::new(),
            backlog: 4096,
            reuse_address: true,
            reuse_port: false,
            v6_only: None,
            device: None,
            fast_open: None,
            defer_accept: None,
            save_syn: false,
            mptcp: Mptcp::Off,
            freebind: false,
            transparent: false,
        }
    }

    /// Options that the accepted streams inherit.
    pub fn stream(mut self, options: StreamOptions) -> Self {
        self.stream = options;
        self
    }

    /// How many connections may wait to be accepted. The kernel caps it at `net.core.somaxconn` (4096 unless changed);
    /// when it is full, SYNs are dropped, and who connects waits a second for his next one.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Bind although connections of a former listener are still closing. On, unless turned off.
    #[doc(alias = "SO_REUSEADDR")]
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Share the address with other listeners of the same user; the kernel deals the connections out among them.
    #[doc(alias = "SO_REUSEPORT")]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// On an IPv6 address: whether to leave IPv4 out. `false` takes both in (dual stack), IPv4 peers as `::ffff:a.b.c.d`.
    /// Not set, it is `net.ipv6.bindv6only`. An IPv4 address takes no notice.
    #[doc(alias = "IPV6_V6ONLY")]
    pub fn v6_only(mut self, only: bool) -> Self {
        self.v6_only = Some(only);
        self
    }

    /// Take connections in from this interface only.
    #[doc(alias = "SO_BINDTODEVICE")]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }

    /// Take data in with the SYN (fast open), `queue` connections at most whose handshake is not over. The server's half
    /// of `net.ipv4.tcp_fastopen` (2) has to be on.
    #[doc(alias = "TCP_FASTOPEN")]
    pub fn fast_open(mut self, queue: u32) -> Self {
        self.fast_open = Some(queue);
        self
    }

    /// Do not report a connection before its first data, or about `time` have come.
    #[doc(alias = "TCP_DEFER_ACCEPT")]
    pub fn defer_accept(mut self, time: Duration) -> Self {
        self.defer_accept = Some(time);
        self
    }

    /// Keep the headers of each connection's SYN for [`TcpStream::saved_syn`](crate::TcpStream::saved_syn).
    #[doc(alias = "TCP_SAVE_SYN")]
    pub fn save_syn(mut self, save: bool) -> Self {
        self.save_syn = save;
        self
    }

    /// Whether to speak MPTCP to those who do; others are spoken to in TCP by the same listener.
    pub fn mptcp(mut self, mptcp: Mptcp) -> Self {
        self.mptcp = mptcp;
        self
    }

    /// Bind to an address that no interface has yet.
    #[doc(alias = "IP_FREEBIND")]
    pub fn freebind(mut self, freebind: bool) -> Self {
        self.freebind = freebind;
        self
    }

    /// Take in connections to addresses that are not this host's (`nft` and `ip rule` lead them here). Needs
    /// `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    #[doc(alias = "IP_TRANSPARENT")]
    pub fn transparent(mut self, transparent: bool) -> Self {
        self.transparent = transparent;
        self
    }

    /// Opens, sets, binds and listens.
    ///
    /// # Errors
    ///
    /// The first step that failed, with the address and advice.
    pub fn bind(&self, addr: SocketAddr) -> Result<TcpListener, OpError> {
        let local = Endpoint::tcp(addr);
        let failed = |op, error| OpError::new(op, Transport::Tcp, error).with_local(local);
        let set = |name, result: io::Result<()>| result.map_err(|error| failed(Op::Set(name), error));

        let socket = self
            .mptcp
            .open(Domain::for_address(addr))
            .map_err(|error| failed(Op::Open, error))?;
        self.stream
            .apply(&socket)
            .map_err(|error| error.with_local(local))?;
        if self.reuse_address {
            set("SO_REUSEADDR", socket.set(options::SO_REUSEADDR, true))?;
        }
        if self.reuse_port {
            set("SO_REUSEPORT", socket.set(options::SO_REUSEPORT, true))?;
        }
        if let (Some(only), true) = (self.v6_only, addr.is_ipv6()) {
            set("IPV6_V6ONLY", socket.set(options::IPV6_V6ONLY, only))?;
        }
        if let Some(device) = &self.device {
            set("SO_BINDTODEVICE", socket.bind_to_device(device))?;
        }
        if self.freebind {
            set("IP_FREEBIND", socket.set(options::IP_FREEBIND, true))?;
        }
        if self.transparent {
            set("IP_TRANSPARENT", set_transparent(&socket, addr.is_ipv6()))?;
        }
        if let Some(time) = self.defer_accept {
            set(
                "TCP_DEFER_ACCEPT",
                socket.set(options::TCP_DEFER_ACCEPT, whole_seconds(time)),
            )?;
        }
        if self.save_syn {
            set("TCP_SAVE_SYN", socket.set(options::TCP_SAVE_SYN, true))?;
        }
        socket.bind(&addr).map_err(|error| failed(Op::Bind, error))?;
        if let Some(queue) = self.fast_open {
            set("TCP_FASTOPEN", socket.set(options::TCP_FASTOPEN, queue))?;
        }
        let backlog = i32::try_from(self.backlog).unwrap_or(i32::MAX);
        socket
            .listen(backlog)
            .map_err(|error| failed(Op::Listen, error))?;
        Ok(TcpListener { socket })
    }
}
