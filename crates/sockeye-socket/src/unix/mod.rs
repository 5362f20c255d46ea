//! What Unix sockets have beside other sockets: names, credentials of the peer, descriptors in messages. The types of
//! sockets are in `sockeye-unix`.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::sys::{stream, unix as sys};
use crate::{Socket, Type};

mod batch;
mod message;

/// The name of a Unix socket, and what is wrong with a text or bytes that are none.
pub use sockeye_endpoint::{ParseError, ParseErrorKind, UnixName};

pub use batch::{UnixDatagramIn, UnixRecvBatch, UnixSendBatch};
pub use message::{MAX_PASSED_FDS, UnixIncoming, UnixOutgoing, recv_unix_msg, send_unix_msg};

/// A process as the kernel vouches for it: its number, user and group.
///
/// They are those of the moment at which the peer connected, listened, or sent; the process may have changed or exited
/// since, and its number may be another's by now. A [pidfd](PeerProcess) cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The number of the process, `None` where it lives outside of this process's PID namespace.
    pub pid: Option<NonZeroU32>,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

impl Credentials {
    const fn of([pid, uid, gid]: [u32; 3]) -> Self {
        Self {
            pid: NonZeroU32::new(pid),
            uid,
            gid,
        }
    }

    const fn words(&self) -> [u32; 3] {
        let pid = match self.pid {
            Some(pid) => pid.get(),
            None => 0,
        };
        [pid, self.uid, self.gid]
    }
}

/// The peer's process as a descriptor.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerProcess {
    /// A pidfd, readable once the process has exited. It never becomes another process's.
    Pidfd(OwnedFd),
    /// The process is gone, and this kernel keeps no descriptor for it.
    Gone,
    /// This kernel has no such option (before Linux 6.5).
    Unsupported,
}

impl PeerProcess {
    /// The descriptor, where there is one.
    #[must_use]
    pub fn pidfd(self) -> Option<OwnedFd> {
        match self {
            Self::Pidfd(fd) => Some(fd),
            _ => None,
        }
    }
}

/// The process that connected to this socket, or that listened where it connected.
///
/// # Errors
///
/// `NotConnected` where there is no peer, or the kernel has not noted who it is: sockets of datagrams have one only if
/// they were made as a pair.
#[doc(alias = "SO_PEERCRED")]
pub fn peer_credentials(socket: impl AsFd) -> io::Result<Credentials> {
    match sys::peer_credentials(socket.as_fd())? {
        [0, u32::MAX, u32::MAX] => Err(io::ErrorKind::NotConnected.into()),
        words => Ok(Credentials::of(words)),
    }
}

/// The process of [`peer_credentials`] as a descriptor.
///
/// # Errors
///
/// `NotConnected` as there; EMFILE at the limit of descriptors.
#[doc(alias = "SO_PEERPIDFD")]
pub fn peer_process(socket: impl AsFd) -> io::Result<PeerProcess> {
    match sys::peer_pidfd(socket.as_fd()) {
        Ok(fd) => Ok(PeerProcess::Pidfd(fd)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Ok(PeerProcess::Unsupported),
            Some(libc::ESRCH | libc::EINVAL) => Ok(PeerProcess::Gone),
            Some(libc::ENODATA) => Err(io::ErrorKind::NotConnected.into()),
            _ => Err(error),
        },
    }
}

/// The supplementary groups of the process of [`peer_credentials`].
///
/// # Errors
///
/// `NotConnected` as there; ENOPROTOOPT before Linux 4.13.
#[doc(alias = "SO_PEERGROUPS")]
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    // `NGROUPS_MAX`.
    const MOST: usize = 65_536;
    let mut bytes = vec![0; 64 * size_of::<u32>()];
    loop {
        match sys::peer_groups(socket.as_fd(), &mut bytes) {
            Ok(len) => {
                let groups = bytes
                    .get(..len)
                    .unwrap_or_default()
                    .chunks_exact(size_of::<u32>());
                return Ok(groups
                    .filter_map(|group| Some(u32::from_ne_bytes(group.try_into().ok()?)))
                    .collect());
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ERANGE) if bytes.len() < MOST * size_of::<u32>() => {
                    bytes.resize(bytes.len() * 2, 0);
                }
                Some(libc::ENODATA) => return Err(io::ErrorKind::NotConnected.into()),
                _ => return Err(error),
            },
        }
    }
}

/// Calls that speak of the names of Unix sockets.
impl Socket {
    /// Two Unix sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// EMFILE at the limit of descriptors.
    #[doc(alias = "socketpair")]
    pub fn unix_pair(ty: Type) -> io::Result<(Self, Self)> {
        let [one, other] = sys::pair(ty.into())?;
        Ok((one.into(), other.into()))
    }

    /// Gives the socket a name; for [`UnixName::UNNAMED`] the kernel makes up an abstract one.
    ///
    /// # Errors
    ///
    /// `AddrInUse` where something has the name, be it a file; else what the file system says of the path.
    pub fn bind_unix(&self, name: &UnixName) -> io::Result<()> {
        sys::bind(self.as_fd(), name)
    }

    /// Connects to the socket of that name: it is done when this returns, or it has failed.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the backlog of the listener is full: no event says when it no longer is.
    /// `ConnectionRefused` where nobody listens (or the path is none of a socket), `NotFound`, `PermissionDenied`,
    /// EPROTOTYPE for a socket of another type.
    pub fn connect_unix(&self, name: &UnixName) -> io::Result<()> {
        sys::connect(self.as_fd(), name)
    }

    /// Accepts one connection, nonblocking and close-on-exec, with the name of its peer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nobody waits; [`AcceptFault`](crate::AcceptFault) classifies the others.
    #[inline]
    pub fn accept_unix(&self) -> io::Result<(Self, UnixName)> {
        let (fd, peer) = sys::accept(self.as_fd())?;
        Ok((fd.into(), peer))
    }

    /// The name of this end.
    ///
    /// # Errors
    ///
    /// EAFNOSUPPORT where it is no Unix socket.
    pub fn local_unix(&self) -> io::Result<UnixName> {
        sys::local(self.as_fd())
    }

    /// The name of the other end.
    ///
    /// # Errors
    ///
    /// `NotConnected` where there is none; EAFNOSUPPORT where it is no Unix socket.
    pub fn peer_unix(&self) -> io::Result<UnixName> {
        sys::peer(self.as_fd())
    }

    /// Sends one datagram to the socket of that name.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where the receiver's queue is full: no event says when it no longer is, unless connected to it.
    /// `ConnectionRefused` and `NotFound` where nobody receives there, EMSGSIZE above the send buffer.
    #[inline]
    pub fn send_to_unix(&self, data: &[u8], name: &UnixName) -> io::Result<usize> {
        sys::send_to(self.as_fd(), data, name)
    }

    /// Receives one datagram and says who sent it; what exceeds `data` is lost in silence, and descriptors that came with
    /// it are closed.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when none is queued.
    #[inline]
    pub fn recv_from_unix(&self, data: &mut [u8]) -> io::Result<(usize, UnixName)> {
        sys::recv_from(self.as_fd(), data, 0)
    }

    /// As [`recv_from_unix`](Self::recv_from_unix), and leaves the datagram in the queue.
    ///
    /// # Errors
    ///
    /// As [`recv_from_unix`](Self::recv_from_unix).
    pub fn peek_from_unix(&self, data: &mut [u8]) -> io::Result<(usize, UnixName)> {
        sys::recv_from(self.as_fd(), data, libc::MSG_PEEK)
    }

    /// Whether the peer writes no more, so that what is queued is all that will come.
    ///
    /// # Errors
    ///
    /// The errno of `poll(2)`.
    #[doc(alias = "POLLRDHUP")]
    pub fn peer_has_finished(&self) -> io::Result<bool> {
        let events = stream::poll_once(self.as_fd(), libc::POLLRDHUP, 0)?;
        Ok(events & (libc::POLLRDHUP | libc::POLLHUP) != 0)
    }

    /// Whether it is a Unix socket of that type, and whether it listens; `None` where it is another.
    ///
    /// # Errors
    ///
    /// ENOTSOCK where the descriptor is no socket.
    pub fn listens_as_unix(&self, ty: Type) -> io::Result<Option<bool>> {
        let (domain, of_type, listens) = sys::kind(self.as_fd())?;
        Ok((domain == libc::AF_UNIX && of_type == i32::from(ty)).then_some(listens))
    }
}

/// Opens the file that is locked while a path is taken over, and says whether it had to be made; then it is readable by its
/// owner only. A symbolic link is not followed.
///
/// # Errors
///
/// What the file system says of the path; ELOOP for a symbolic link.
pub fn open_lock_file(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.open(path).map(|file| (file, false))
        }
        Err(error) => Err(error),
    }
}

/// Takes an exclusive lock of the whole file (`flock(2)`); `false` where somebody else has it. Closing it gives it back.
///
/// # Errors
///
/// EOPNOTSUPP and ENOLCK of file systems without locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    sys::try_lock(file.as_fd())
}

/// A descriptor of the file itself, a socket's or any other's, for asking and changing its mode through
/// `/proc/self/fd`. A symbolic link is not followed.
///
/// # Errors
///
/// What the file system says of the path.
#[doc(alias = "O_PATH")]
pub fn open_path(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
        .open(path)
}
