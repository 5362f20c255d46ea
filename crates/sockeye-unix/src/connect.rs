//! Connecting as a typed state: [`ConnectOptions`] -> [`Connecting`] -> a connection or [`ConnectError`].

use std::io;
use std::marker::PhantomData;
use std::thread;
use std::time::{Duration, Instant};

use sockeye_socket::unix::UnixName;
use sockeye_socket::{Domain, Op, OpError, Socket, Type, options};

use crate::error::ConnectError;
use crate::{UnixSeqpacket, UnixStream};

/// What a connection starts with.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ConnectOptions {
    local: Option<UnixName>,
    send_buffer: Option<u32>,
    recv_buffer: Option<u32>,
    pass_credentials: bool,
}

impl ConnectOptions {
    /// The kernel's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for this end, which the listener sees. A path is made and not removed; without a name
    /// ([`UnixName::UNNAMED`]) the kernel makes up an abstract one.
    pub fn local(mut self, local: UnixName) -> Self {
        self.local = Some(local);
        self
    }

    /// Bytes of the send buffer; the kernel doubles and caps them.
    #[doc(alias = "SO_SNDBUF")]
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Bytes of the receive buffer. What the peer may have under way is bounded by its own send buffer, not by this.
    #[doc(alias = "SO_RCVBUF")]
    pub fn recv_buffer(mut self, bytes: u32) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Reports the sender's process, user and group with each message.
    #[doc(alias = "SO_PASSCRED")]
    pub fn pass_credentials(mut self, on: bool) -> Self {
        self.pass_credentials = on;
        self
    }

    /// Connects a stream to `peer`.
    ///
    /// # Errors
    ///
    /// Why there will be none; [`ConnectError::cause`] tells them apart.
    pub fn start(&self, peer: &UnixName) -> Result<Connecting, ConnectError> {
        self.begin(Type::STREAM, peer)
    }

    /// Connects a seqpacket to `peer`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_seqpacket(&self, peer: &UnixName) -> Result<Connecting<UnixSeqpacket>, ConnectError> {
        self.begin(Type::SEQPACKET, peer)
    }

    /// Connects a stream and waits for room in the listener's backlog, `timeout` at most.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`Connecting::wait`].
    pub fn connect(&self, peer: &UnixName, timeout: Duration) -> Result<UnixStream, ConnectError> {
        self.start(peer)?.wait(timeout)
    }

    fn begin<S: From<Socket>>(&self, ty: Type, peer: &UnixName) -> Result<Connecting<S>, ConnectError> {
        let failed = |op, error| self.failed(op, peer, error);
        let socket = Socket::new(Domain::UNIX, ty, None).map_err(|error| failed(Op::Open, error))?;
        let set = |name, result: io::Result<()>| result.map_err(|error| failed(Op::Set(name), error));
        if let Some(bytes) = self.send_buffer {
            set("SO_SNDBUF", socket.set(options::SO_SNDBUF, bytes))?;
        }
        if let Some(bytes) = self.recv_buffer {
            set("SO_RCVBUF", socket.set(options::SO_RCVBUF, bytes))?;
        }
        if self.pass_credentials {
            set("SO_PASSCRED", socket.set(options::SO_PASSCRED, true))?;
        }
        if let Some(local) = &self.local {
            socket.bind_unix(local).map_err(|error| failed(Op::Bind, error))?;
        }
        let mut connecting = Connecting {
            socket,
            connected: false,
            peer: *peer,
            local: self.local,
            becomes: PhantomData,
        };
        connecting.attempt()?;
        Ok(connecting)
    }

    #[cold]
    fn failed(&self, op: Op, peer: &UnixName, error: io::Error) -> ConnectError {
        ConnectError::new(with_ends(OpError::unix(op, error), self.local, peer))
    }
}

fn with_ends(error: OpError, local: Option<UnixName>, peer: &UnixName) -> OpError {
    let error = error.with_peer_name(*peer);
    match local {
        Some(local) => error.with_local_name(local),
        None => error,
    }
}

/// A connection that is made already, or waits for room in the backlog of its listener.
///
/// The kernel decides within the call that connects a Unix socket; only a full backlog leaves it open (EAGAIN), and then
/// no event says when there is room. So this is not a source of events: ask for the [outcome](Self::outcome) at once, and
/// where it is [`Full`](ConnectOutcome::Full), again after a while. To drop it is to give up.
#[derive(Debug)]
#[must_use]
pub struct Connecting<S = UnixStream> {
    socket: Socket,
    connected: bool,
    peer: UnixName,
    local: Option<UnixName>,
    becomes: PhantomData<fn() -> S>,
}

/// What a [`Connecting`] has become.
#[derive(Debug)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "moved once a connect, which a box would make an allocation"
)]
pub enum ConnectOutcome<S = UnixStream> {
    /// A connection; writing may begin.
    Connected(S),
    /// The backlog of the listener is full: ask again after a while. Nothing reports when there is room.
    Full(Connecting<S>),
    /// No connection, for the reason given.
    Failed(ConnectError),
}

impl<S: From<Socket>> Connecting<S> {
    /// The name that is being connected to.
    #[must_use]
    pub fn peer(&self) -> UnixName {
        self.peer
    }

    /// Whether the connection is made; `false` while the backlog of the listener is full.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What has become of it; where the backlog was full, after trying once more.
    pub fn outcome(mut self) -> ConnectOutcome<S> {
        match self.attempt() {
            Err(error) => ConnectOutcome::Failed(error),
            Ok(()) if self.connected => ConnectOutcome::Connected(self.socket.into()),
            Ok(()) => ConnectOutcome::Full(self),
        }
    }

    /// Connects, unless that is done.
    fn attempt(&mut self) -> Result<(), ConnectError> {
        if self.connected {
            return Ok(());
        }
        match self.socket.connect_unix(&self.peer) {
            Ok(()) => self.connected = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                let error = OpError::unix(Op::Connect, error);
                return Err(ConnectError::new(with_ends(error, self.local, &self.peer)));
            }
        }
        Ok(())
    }

    /// Tries until there is a connection, at most for `timeout`, with pauses of up to 20 ms: no event could be waited for.
    /// For programs without a loop.
    ///
    /// # Errors
    ///
    /// Why there is no connection; [`ConnectCause::Deadline`](crate::ConnectCause::Deadline) where the backlog stayed full.
    pub fn wait(mut self, timeout: Duration) -> Result<S, ConnectError> {
        let deadline = Instant::now().checked_add(timeout);
        let mut pause = Duration::from_millis(1);
        loop {
            self = match self.outcome() {
                ConnectOutcome::Connected(stream) => return Ok(stream),
                ConnectOutcome::Failed(error) => return Err(error),
                ConnectOutcome::Full(pending) => pending,
            };
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(self.give_up());
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Gives up, because the caller's deadline has passed, and says so as an error.
    #[must_use]
    pub fn give_up(self) -> ConnectError {
        let error = OpError::unix(Op::Connect, io::ErrorKind::TimedOut.into());
        ConnectError::deadline(with_ends(error, self.local, &self.peer))
    }

    /// The socket beneath.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket as it is, connected or not. For those who keep track themselves.
    pub fn into_unconfirmed(self) -> S {
        self.socket.into()
    }
}
