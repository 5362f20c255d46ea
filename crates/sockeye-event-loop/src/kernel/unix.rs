//! Unix sockets of the kernel: how they are opened and set.

use std::io;

use sockeye_endpoint::UnixName;
use sockeye_socket::unix::Credentials;
use sockeye_socket::{Op, OpError, options as socket};
use sockeye_unix::{ConnectOutcome, ListenOptions, UnixListener, UnixStream};

use crate::options::{ConnectOptions, StreamOption, UnixListenOptions};

pub(super) fn listen(at: &UnixName, options: &UnixListenOptions) -> Result<UnixListener, OpError> {
    let mut how = ListenOptions::new()
        .backlog(options.backlog)
        .take_over(options.take_over)
        .unlink(options.unlink);
    if let Some(mode) = options.mode {
        how = how.mode(mode);
    }
    how.bind(at).map_err(OpError::from)
}

pub(super) fn connect(to: &UnixName, options: &ConnectOptions) -> Result<UnixStream, OpError> {
    let stream = match UnixStream::start_connect(to)?.outcome() {
        ConnectOutcome::Connected(stream) => stream,
        ConnectOutcome::Failed(error) => return Err(error.into()),
        _ => {
            let full = io::Error::from(io::ErrorKind::WouldBlock);
            return Err(OpError::unix(Op::Connect, full).with_peer_name(*to));
        }
    };
    for option in &options.socket {
        // What cannot be set does not cost the connection.
        let _ = set(&stream, option);
    }
    Ok(stream)
}

pub(super) fn set(stream: &UnixStream, option: &StreamOption) -> io::Result<()> {
    let short = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    match *option {
        StreamOption::SendBuffer(bytes) => stream.socket().set(socket::SO_SNDBUF, short(bytes)),
        StreamOption::RecvBuffer(bytes) => stream.socket().set(socket::SO_RCVBUF, short(bytes)),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "an option of TCP, and this is a Unix socket",
        )),
    }
}

pub(super) fn peer(stream: &UnixStream) -> Option<(UnixName, Option<Credentials>)> {
    let name = stream.peer().ok()?;
    Some((name, stream.peer_credentials().ok()))
}

/// The answer to whoever asks a Unix socket for an IP address.
#[cold]
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no IP address")
}
