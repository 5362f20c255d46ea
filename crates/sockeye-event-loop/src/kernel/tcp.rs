//! TCP of the kernel: how its sockets are opened and set.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sockeye_endpoint::Transport;
use sockeye_socket::{Op, OpError};
use sockeye_tcp_stream::{Keepalive, StreamOptions as SocketOptions, TcpListener, TcpStream};

use crate::backend::ConnectProgress;
use crate::options::{ConnectOptions, ListenOptions, StreamOption};

/// Urgent data stays in its place as ordinary bytes (RFC 6093, section 6): a stream loses nothing. What a listener
/// is told, its connections inherit.
fn in_the_stream() -> SocketOptions {
    SocketOptions::new().urgent_inline(true)
}

pub(super) fn listen(at: SocketAddr, options: &ListenOptions) -> Result<TcpListener, OpError> {
    let mut how = TcpListener::options()
        .backlog(options.backlog)
        .reuse_address(options.reuse_address)
        .reuse_port(options.reuse_port)
        .stream(in_the_stream());
    if let (Some(only), true) = (options.v6_only, at.is_ipv6()) {
        how = how.v6_only(only);
    }
    if let Some(device) = &options.device {
        how = how.device(device);
    }
    how.bind(at)
}

/// What it has been told by whoever opened it stays.
pub(super) fn adopt(socket: OwnedFd) -> Result<TcpListener, OpError> {
    let listener = TcpListener::adopt(socket)?;
    listener
        .socket()
        .set(sockeye_socket::options::SO_OOBINLINE, true)
        .map_err(|error| OpError::new(Op::Set("SO_OOBINLINE"), Transport::Tcp, error))?;
    Ok(listener)
}

pub(super) fn connect(to: SocketAddr, options: &ConnectOptions) -> Result<TcpStream, OpError> {
    let mut socket = in_the_stream();
    for option in &options.socket {
        // The window scale is settled by the SYN: buffer sizes have to be set before it.
        socket = match *option {
            StreamOption::SendBuffer(bytes) => socket.send_buffer(u32::try_from(bytes).unwrap_or(u32::MAX)),
            StreamOption::RecvBuffer(bytes) => socket.recv_buffer(u32::try_from(bytes).unwrap_or(u32::MAX)),
            _ => socket,
        };
    }
    let mut how = TcpStream::options().stream(socket);
    if let Some(source) = options.source {
        how = how.local(source).late_port(source.port() == 0);
    }
    if let Some(device) = &options.device {
        how = how.device(device);
    }
    let stream = how.start(to)?.into_unconfirmed();
    for option in &options.socket {
        // What cannot be set does not cost the connection.
        let _ = set(&stream, option);
    }
    Ok(stream)
}

pub(super) fn set(stream: &TcpStream, option: &StreamOption) -> io::Result<()> {
    let short = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    match *option {
        StreamOption::NoDelay(on) => stream.set_nodelay(on),
        StreamOption::Cork(on) => stream.set_cork(on),
        StreamOption::KeepAlive {
            idle,
            interval,
            count,
        } => stream.set_keepalive(Some(Keepalive {
            idle,
            interval,
            count,
        })),
        StreamOption::UserTimeout(timeout) => stream.set_user_timeout(timeout.unwrap_or(Duration::ZERO)),
        StreamOption::SendBuffer(bytes) => stream.set_send_buffer(short(bytes)),
        StreamOption::RecvBuffer(bytes) => stream.set_recv_buffer(short(bytes)),
        StreamOption::NotSentLowat(bytes) => stream.set_notsent_lowat(bytes),
        StreamOption::TrafficClass(class) => stream.set_traffic_class(class),
    }
}

/// How a connect stands. The pending error is told once; only a connected socket has a peer.
pub(super) fn progress(stream: &TcpStream) -> ConnectProgress {
    match stream.take_error() {
        Ok(Some(error)) | Err(error) => return ConnectProgress::Failed(error),
        Ok(None) => {}
    }
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => ConnectProgress::Pending,
        Err(error) => ConnectProgress::Failed(error),
        Ok(_) => match stream.is_connected_to_itself() {
            // The kernel chose the peer's own port as the source: nobody else is there.
            Ok(true) => ConnectProgress::Failed(io::ErrorKind::ConnectionRefused.into()),
            Ok(false) => ConnectProgress::Connected,
            Err(error) => ConnectProgress::Failed(error),
        },
    }
}
