//! Connecting as a typed state: [`ConnectOptions`] -> [`Connecting`] -> [`TcpStream`] or [`ConnectError`].

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::{Domain, Op, OpError, Socket, errno, options};

use crate::error::ConnectError;
use crate::options::{Mptcp, StreamOptions, set_transparent};
use crate::{TcpState, TcpStream};

/// What a connection starts with: its source, how it opens, and the options of the stream.
///
/// ```
/// use std::time::Duration;
/// use sockeye_tcp_stream::{ConnectOptions, StreamOptions, TcpListener};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
/// # let peer = listener.local_addr()?;
/// let stream = ConnectOptions::new()
///     .stream(StreamOptions::new().nodelay(true).send_buffer(1 << 20))
///     .local("127.0.0.2:0".parse()?)
///     .connect(peer, Duration::from_secs(5))?;
/// assert_eq!(stream.local_addr()?.ip().to_string(), "127.0.0.2");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ConnectOptions {
    stream: StreamOptions,
    local: Option<SocketAddr>,
    device: Option<String>,
    mptcp: Mptcp,
    reuse_address: bool,
    late_port: bool,
    transparent: bool,
    syn_count: Option<u32>,
}

impl ConnectOptions {
    /// The kernel's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The options of the stream, set before the SYN leaves: buffer sizes decide the window scale in it.
    pub fn stream(mut self, options: StreamOptions) -> Self {
        self.stream = options;
        self
    }

    /// The source address; with port 0 the kernel chooses one.
    pub fn local(mut self, local: SocketAddr) -> Self {
        self.local = Some(local);
        self
    }

    /// Leaves the choice of the source's port to the connect, which may then share one among different peers: without
    /// it, binding to an address and port 0 gives each connection a port of its own, and 28,000 use them up.
    #[doc(alias = "IP_BIND_ADDRESS_NO_PORT")]
    pub fn late_port(mut self, late: bool) -> Self {
        self.late_port = late;
        self
    }

    /// Binds although former connections from the same source are still closing.
    #[doc(alias = "SO_REUSEADDR")]
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Sends through this interface only.
    #[doc(alias = "SO_BINDTODEVICE")]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }

    /// Whether to speak MPTCP. What came of it, [`TcpStream::mptcp`] says.
    pub fn mptcp(mut self, mptcp: Mptcp) -> Self {
        self.mptcp = mptcp;
        self
    }

    /// Allows a [source](Self::local) that is not this host's. Needs `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    #[doc(alias = "IP_TRANSPARENT")]
    pub fn transparent(mut self, transparent: bool) -> Self {
        self.transparent = transparent;
        self
    }

    /// How often the SYN is sent before the kernel gives up: 1 is about 3 seconds, 6 about two minutes.
    #[doc(alias = "TCP_SYNCNT")]
    pub fn syn_count(mut self, count: u32) -> Self {
        self.syn_count = Some(count);
        self
    }

    /// Starts to connect to `peer`.
    ///
    /// # Errors
    ///
    /// What the kernel knows at once; [`ConnectError::cause`] tells them apart.
    pub fn start(&self, peer: SocketAddr) -> Result<Connecting, ConnectError> {
        let socket = self.open(peer)?;
        match socket.connect(&peer) {
            Ok(_) => Ok(Connecting::new(socket, peer, self.local)),
            Err(error) => Err(self.failed(Op::Connect, peer, error)),
        }
    }

    /// Starts to connect with `data` in the SYN where the kernel holds the peer's cookie (TCP fast open), and returns how
    /// much of it the kernel has taken: 0 where there is no cookie yet, and the data is to be written once connected.
    ///
    /// What a peer does with such data must bear being done twice. [`TcpInfo::fast_open`](crate::TcpInfo::fast_open)
    /// says whether the peer took it.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start); EOPNOTSUPP where `net.ipv4.tcp_fastopen` forbids it to clients.
    ///
    /// # References
    ///
    /// [RFC 7413](https://www.rfc-editor.org/rfc/rfc7413)
    #[doc(alias = "MSG_FASTOPEN")]
    pub fn start_with_data(
        &self,
        peer: SocketAddr,
        data: &[u8],
    ) -> Result<(Connecting, usize), ConnectError> {
        let socket = self.open(peer)?;
        let taken = match socket.send_fast_open(data, &peer) {
            Ok(taken) => taken,
            Err(error) if error.raw_os_error() == Some(errno::EINPROGRESS) => 0,
            Err(error) => return Err(self.failed(Op::Connect, peer, error)),
        };
        Ok((Connecting::new(socket, peer, self.local), taken))
    }

    /// Connects and waits until it is decided or `timeout` has passed.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`Connecting::wait`].
    pub fn connect(&self, peer: SocketAddr, timeout: Duration) -> Result<TcpStream, ConnectError> {
        self.start(peer)?.wait(timeout)
    }

    /// A socket with every option set, bound where a source is asked for.
    fn open(&self, peer: SocketAddr) -> Result<Socket, ConnectError> {
        let socket = self
            .mptcp
            .open(Domain::for_address(peer))
            .map_err(|e| self.failed(Op::Open, peer, e))?;
        self.stream
            .apply(&socket)
            .map_err(|error| self.with_ends(error, peer))?;
        let set = |name, result: io::Result<()>| result.map_err(|e| self.failed(Op::Set(name), peer, e));
        if let Some(device) = &self.device {
            set("SO_BINDTODEVICE", socket.bind_to_device(device))?;
        }
        if self.transparent {
            set("IP_TRANSPARENT", set_transparent(&socket, peer.is_ipv6()))?;
        }
        if let Some(count) = self.syn_count {
            set("TCP_SYNCNT", socket.set(options::TCP_SYNCNT, count))?;
        }
        if self.reuse_address {
            set("SO_REUSEADDR", socket.set(options::SO_REUSEADDR, true))?;
        }
        if self.late_port {
            set(
                "IP_BIND_ADDRESS_NO_PORT",
                socket.set(options::IP_BIND_ADDRESS_NO_PORT, true),
            )?;
        }
        if let Some(local) = &self.local {
            socket
                .bind(local)
                .map_err(|error| self.failed(Op::Bind, peer, error))?;
        }
        Ok(socket)
    }

    #[cold]
    fn failed(&self, op: Op, peer: SocketAddr, error: io::Error) -> ConnectError {
        self.with_ends(OpError::new(op, Transport::Tcp, error), peer)
    }

    fn with_ends(&self, error: OpError, peer: SocketAddr) -> ConnectError {
        ConnectError::new(with_ends(error, self.local, peer))
    }
}

fn with_ends(error: OpError, local: Option<SocketAddr>, peer: SocketAddr) -> OpError {
    let error = error.with_peer(Endpoint::tcp(peer));
    match local {
        Some(local) => error.with_local(Endpoint::tcp(local)),
        None => error,
    }
}

/// A connection on its way: not readable, not writable, and not a [`TcpStream`] before it is one.
///
/// Register it with a poller for writability; at each event, and at the deadline, [`outcome`](Self::outcome) says what
/// it has become. To drop it is to give up.
///
/// ```
/// use std::time::Duration;
/// use sockeye_tcp_stream::{ConnectOutcome, TcpListener, TcpStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
/// let mut connecting = TcpStream::start_connect(listener.local_addr()?)?;
/// let stream = loop {
///     match connecting.outcome() {
///         ConnectOutcome::Connected(stream) => break stream,
///         // Go back to the poller; here, to be short, to the same question.
///         ConnectOutcome::Pending(still) => connecting = still,
///         ConnectOutcome::Failed(error) => return Err(error.into()),
///     }
/// };
/// # drop(stream);
///
/// // Or wait for it, with a deadline. Nobody listens here any more:
/// let at = listener.local_addr()?;
/// drop(listener);
/// let error = TcpStream::start_connect(at).and_then(|connecting| connecting.wait(Duration::from_secs(5)));
/// println!("{}", error.unwrap_err()); // the address, "connection refused", and what to look at
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Connecting {
    stream: TcpStream,
    peer: SocketAddr,
    local: Option<SocketAddr>,
}

/// What a [`Connecting`] has become.
#[derive(Debug)]
#[must_use]
pub enum ConnectOutcome {
    /// A stream; writing may begin.
    Connected(TcpStream),
    /// Still on its way: the event was for something else.
    Pending(Connecting),
    /// No connection, for the reason given. `SO_ERROR` has been read, once, and is kept here.
    Failed(ConnectError),
}

impl Connecting {
    fn new(socket: Socket, peer: SocketAddr, local: Option<SocketAddr>) -> Self {
        Self {
            stream: TcpStream { socket },
            peer,
            local,
        }
    }

    /// The address that is being connected to.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The address it is connected from, once the kernel has chosen one.
    ///
    /// # Errors
    ///
    /// The errno of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// What has become of it. Asked too early, it answers [`Pending`](ConnectOutcome::Pending).
    ///
    /// The order matters, and each step is asked once: the pending error, which is gone after it is read; then the
    /// peer's address, which only a connected socket has; and where both are silent, the state of the connection, so
    /// that one which was lost between two questions is not waited for.
    pub fn outcome(self) -> ConnectOutcome {
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return ConnectOutcome::Failed(self.failed(error)),
        }
        let peer = match self.stream.peer_addr() {
            Ok(peer) => peer,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return self.not_connected(),
            Err(error) => return ConnectOutcome::Failed(self.failed(error)),
        };
        match self.stream.local_addr() {
            Ok(local) if is_self(local, peer) => {
                let error = with_ends(
                    OpError::new(
                        Op::Connect,
                        Transport::Tcp,
                        io::ErrorKind::ConnectionRefused.into(),
                    ),
                    Some(local),
                    peer,
                );
                ConnectOutcome::Failed(ConnectError::itself(error))
            }
            Ok(_) => ConnectOutcome::Connected(self.stream),
            Err(error) => ConnectOutcome::Failed(self.failed(error)),
        }
    }

    #[cold]
    fn not_connected(self) -> ConnectOutcome {
        match self.stream.info().map(|info| info.state()) {
            Ok(TcpState::SynSent | TcpState::SynReceived) => ConnectOutcome::Pending(self),
            // Established between the two questions.
            Ok(TcpState::Established | TcpState::CloseWait) => ConnectOutcome::Connected(self.stream),
            Ok(_) => {
                let error = io::Error::from_raw_os_error(errno::ECONNRESET);
                ConnectOutcome::Failed(self.failed(error))
            }
            Err(error) => ConnectOutcome::Failed(self.failed(error)),
        }
    }

    /// Waits until it is decided or `timeout` has passed. For programs without a loop.
    ///
    /// # Errors
    ///
    /// Why there is no connection; [`ConnectCause::Deadline`](crate::ConnectCause::Deadline) where the time was up first.
    pub fn wait(mut self, timeout: Duration) -> Result<TcpStream, ConnectError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            let decided = match self.stream.wait_writable(left) {
                Ok(decided) => decided,
                Err(error) => return Err(self.failed(error)),
            };
            self = match self.outcome() {
                ConnectOutcome::Connected(stream) => return Ok(stream),
                ConnectOutcome::Failed(error) => return Err(error),
                ConnectOutcome::Pending(pending) => pending,
            };
            if !decided {
                return Err(self.give_up());
            }
        }
    }

    /// Gives up, because the caller's deadline has passed, and says so as an error.
    #[must_use]
    pub fn give_up(self) -> ConnectError {
        let error = OpError::new(Op::Connect, Transport::Tcp, io::ErrorKind::TimedOut.into());
        ConnectError::deadline(with_ends(error, self.local, self.peer))
    }

    /// The socket beneath.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.stream.socket
    }

    /// The stream as mio gives it: nobody knows yet whether it will be one. For those who keep track themselves.
    pub fn into_unconfirmed(self) -> TcpStream {
        self.stream
    }

    #[cold]
    fn failed(&self, error: io::Error) -> ConnectError {
        let error = OpError::new(Op::Connect, Transport::Tcp, error);
        ConnectError::new(with_ends(error, self.local, self.peer))
    }
}

/// Whether both ends are one: the zone of a link-local address is part of it, the flow label is not.
pub(crate) fn is_self(local: SocketAddr, peer: SocketAddr) -> bool {
    Endpoint::tcp(local).same_endpoint(&Endpoint::tcp(peer))
}
