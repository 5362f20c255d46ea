//! [`ListenOptions`] and [`DatagramOptions`]: what is decided before a socket is bound.

use std::io;

use sockeye_socket::unix::UnixName;
use sockeye_socket::{Domain, Op, Socket, Type, options};

use crate::error::BindError;
use crate::path::{self, BoundPath, PathPolicy};
use crate::{UnixDatagram, UnixListener, UnixSeqpacketListener};

/// Options of a listener, of streams or of seqpackets.
///
/// ```
/// use sockeye_unix::{ListenOptions, UnixName};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = UnixName::from_abstract_name(format!("doc-{}", std::process::id()).as_bytes())?;
/// let listener = ListenOptions::new().backlog(16).bind(&name)?;
/// assert_eq!(listener.local()?, name);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ListenOptions {
    path: PathPolicy,
    backlog: u32,
    send_buffer: Option<u32>,
    pass_credentials: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Options of a socket of datagrams.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct DatagramOptions {
    path: PathPolicy,
    send_buffer: Option<u32>,
    pass_credentials: bool,
}

macro_rules! shared {
    ($($type:ident),+) => {$(
        impl $type {
            /// Whether a path that another socket has left behind is taken over. On, unless turned off.
            ///
            /// Only a socket file that no socket is bound to any more is removed, never one that is in use (by a socket of
            /// any type, whether it listens yet or not) and never anything that is not a socket. Programs that start at once
            /// are kept apart by an exclusive lock (`flock(2)`) of a file beside the path, with `.lock` appended, which is
            /// held from before the path is looked at until the new socket is bound. Such a file is made where there is
            /// none, readable by its owner only, and removed again by whoever made it.
            ///
            /// A socket of another host, in a folder that is shared with it, cannot be seen to live.
            pub fn take_over(mut self, on: bool) -> Self {
                self.path.take_over = on;
                self
            }

            /// Whether the path is removed when the socket is dropped, if it still leads to it. On, unless turned off. A
            /// descriptor that is handed on ([`into`](Into) an `OwnedFd`, a `Socket`) keeps its path.
            pub fn unlink(mut self, on: bool) -> Self {
                self.path.unlink = on;
                self
            }

            /// The permissions of the path, such as `0o660`, whatever the umask of the process is; nobody can connect with
            /// more than these at any time. To connect takes write permission. Not set, the umask decides.
            pub fn mode(mut self, mode: u32) -> Self {
                self.path.mode = Some(mode & 0o7777);
                self
            }

            /// Bytes of the send buffer, which bounds what one side has under way; the kernel doubles and caps them.
            #[doc(alias = "SO_SNDBUF")]
            pub fn send_buffer(mut self, bytes: u32) -> Self {
                self.send_buffer = Some(bytes);
                self
            }

            /// Reports the sender's process, user and group with each message, from the first one on. What a listener is
            /// told, its connections inherit.
            #[doc(alias = "SO_PASSCRED")]
            pub fn pass_credentials(mut self, on: bool) -> Self {
                self.pass_credentials = on;
                self
            }

            /// Opens a socket, sets the options, and binds it.
            fn open(&self, ty: Type, name: &UnixName) -> Result<(Socket, Option<BoundPath>), BindError> {
                let failed = |op, error| BindError::new(op, name, error);
                let socket = Socket::new(Domain::UNIX, ty, None).map_err(|error| failed(Op::Open, error))?;
                let set = |option, result: io::Result<()>| {
                    result.map_err(|error| failed(Op::Set(option), error))
                };
                if let Some(bytes) = self.send_buffer {
                    set("SO_SNDBUF", socket.set(options::SO_SNDBUF, bytes))?;
                }
                if self.pass_credentials {
                    set("SO_PASSCRED", socket.set(options::SO_PASSCRED, true))?;
                }
                let path = path::bind(&socket, name, &self.path)?;
                Ok((socket, path))
            }
        }
    )+};
}

shared!(ListenOptions, DatagramOptions);

impl ListenOptions {
    /// A stale path is taken over, the path goes with the listener, a backlog of 4096.
    pub fn new() -> Self {
        Self {
            path: PathPolicy::default(),
            backlog: 4096,
            send_buffer: None,
            pass_credentials: false,
        }
    }

    /// How many connections may wait to be accepted. The kernel caps it at `net.core.somaxconn`; when it is full, who
    /// connects is told so at once ([`ConnectOutcome::Full`](crate::ConnectOutcome::Full)).
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Listens for streams.
    ///
    /// # Errors
    ///
    /// The first step that failed, with the name and advice; [`BindError::cause`] tells them apart.
    pub fn bind(&self, name: &UnixName) -> Result<UnixListener, BindError> {
        let (socket, path) = self.listen(Type::STREAM, name)?;
        Ok(UnixListener { path, socket })
    }

    /// Listens for seqpackets.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_seqpacket(&self, name: &UnixName) -> Result<UnixSeqpacketListener, BindError> {
        let (socket, path) = self.listen(Type::SEQPACKET, name)?;
        Ok(UnixSeqpacketListener { path, socket })
    }

    fn listen(&self, ty: Type, name: &UnixName) -> Result<(Socket, Option<BoundPath>), BindError> {
        let (socket, path) = self.open(ty, name)?;
        let backlog = i32::try_from(self.backlog).unwrap_or(i32::MAX);
        socket
            .listen(backlog)
            .map_err(|error| BindError::new(Op::Listen, name, error))?;
        Ok((socket, path))
    }
}

impl DatagramOptions {
    /// A stale path is taken over, the path goes with the socket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a socket of datagrams.
    ///
    /// # Errors
    ///
    /// As [`ListenOptions::bind`].
    pub fn bind(&self, name: &UnixName) -> Result<UnixDatagram, BindError> {
        let (socket, path) = self.open(Type::DGRAM, name)?;
        Ok(UnixDatagram { path, socket })
    }
}
