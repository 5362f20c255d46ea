//! Messages of Unix sockets: a payload with descriptors and credentials beside it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sockeye_endpoint::UnixName;

use super::Credentials;
use crate::sys::unix::{kind, message as sys};

/// The most descriptors one message carries (`SCM_MAX_FD`).
pub const MAX_PASSED_FDS: usize = sys::MAX_FDS;

/// A message to send: a payload, and what goes beside it.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct UnixOutgoing<'a> {
    payload: &'a [u8],
    fds: &'a [BorrowedFd<'a>],
    destination: Option<&'a UnixName>,
    credentials: Option<Credentials>,
}

impl<'a> UnixOutgoing<'a> {
    /// A payload to the connected peer.
    pub fn new(payload: &'a [u8]) -> Self {
        Self {
            payload,
            ..Self::default()
        }
    }

    /// A datagram to the socket of that name.
    pub fn to(destination: &'a UnixName, payload: &'a [u8]) -> Self {
        Self {
            destination: Some(destination),
            ..Self::new(payload)
        }
    }

    /// Descriptors that the receiver gets duplicates of; this process keeps its own.
    #[doc(alias = "SCM_RIGHTS")]
    pub fn fds(mut self, fds: &'a [BorrowedFd<'a>]) -> Self {
        self.fds = fds;
        self
    }

    /// Credentials for the receiver, which the kernel checks: others than this process's own take CAP_SYS_ADMIN,
    /// CAP_SETUID and CAP_SETGID. Without this, a receiver with `SO_PASSCRED` gets this process's.
    #[doc(alias = "SCM_CREDENTIALS")]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }
}

/// A message that was received, and what came beside it.
///
/// Every descriptor that the kernel has given to this process for it is in here, close-on-exec, and is closed when it is
/// dropped.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnixIncoming {
    /// Bytes of the buffer that were filled. 0 is the end of a stream.
    pub len: usize,
    /// Bytes of the datagram, which may be more than the buffer has.
    pub full_len: usize,
    /// Who sent it; unnamed on a stream, where it is the peer.
    pub source: UnixName,
    /// The descriptors that came with it, in their order.
    pub fds: Vec<OwnedFd>,
    /// There were more descriptors: this process is at its limit, and those that are missing are gone. It may also be
    /// that something else beside the payload was cut, so a message that has to be whole is to be refused.
    pub fds_lost: bool,
    /// The sender's process, where `SO_PASSCRED` is set.
    pub credentials: Option<Credentials>,
    /// The sender's process as a descriptor, where `SO_PASSPIDFD` is set.
    pub pidfd: Option<OwnedFd>,
}

impl UnixIncoming {
    /// Whether the datagram was longer than the buffer.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.full_len > self.len
    }
}

/// Sends one message over a Unix socket and returns how many bytes of the payload went. On a stream the descriptors go with
/// the first of them.
///
/// # Errors
///
/// `InvalidInput`, with nothing sent, where there are more than [`MAX_PASSED_FDS`] descriptors, where a stream is to carry
/// some without a byte (the kernel would drop them in silence), and where the socket is not a Unix socket, which would drop
/// them, too. `WouldBlock` when there is no room; `BrokenPipe`, never `SIGPIPE`; EMSGSIZE for a datagram above the send
/// buffer; ETOOMANYREFS where too many descriptors of this user are on their way (`RLIMIT_NOFILE` of them); EPERM for
/// credentials that are not this process's own.
///
/// # References
///
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), "Ancillary messages"
pub fn send_unix_msg(socket: impl AsFd, message: &UnixOutgoing<'_>) -> io::Result<usize> {
    let socket = socket.as_fd();
    let beside = !message.fds.is_empty() || message.credentials.is_some();
    if message.fds.len() > MAX_PASSED_FDS {
        return Err(invalid("a message carries at most 253 descriptors"));
    }
    if beside {
        let stream = is_stream(socket)?;
        if stream && message.payload.is_empty() {
            return Err(invalid(
                "a stream carries descriptors and credentials with a byte only",
            ));
        }
    }
    let credentials = message.credentials.map(|credentials| credentials.words());
    sys::send(
        socket,
        message.payload,
        message.destination,
        message.fds,
        credentials,
    )
}

/// Receives one message of a Unix socket into `buffer`, with everything that came beside it.
///
/// # Errors
///
/// `WouldBlock` when there is nothing. `InvalidInput` for a stream and an empty buffer, which could not be told from the
/// end, and where the socket is not a Unix socket.
pub fn recv_unix_msg(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<UnixIncoming> {
    let socket = socket.as_fd();
    let stream = is_stream(socket)?;
    if stream && buffer.is_empty() {
        return Err(invalid("a stream is read into a buffer of a byte or more"));
    }
    let received = sys::recv(socket, buffer, !stream)?;
    Ok(UnixIncoming {
        len: received.len.min(buffer.len()),
        full_len: received.len,
        source: received.source,
        fds: received.fds,
        fds_lost: received.fds_lost,
        credentials: received.credentials.map(Credentials::of),
        pidfd: received.pidfd,
    })
}

/// Whether a Unix socket is one of streams.
fn is_stream(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let (domain, ty, _) = kind(socket)?;
    if domain != libc::AF_UNIX {
        return Err(invalid("descriptors travel over Unix sockets only"));
    }
    Ok(ty == libc::SOCK_STREAM)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
