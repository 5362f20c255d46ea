//! A listening socket.

#[cfg(feature = "tcp")]
use std::net::SocketAddr;

use crate::backend::Backend;

/// A listening socket and how many connections came through it that are still open.
pub(crate) struct Listener<B: Backend> {
    pub(crate) io: B::Listener,
    pub(crate) open: usize,
    pub(crate) max: usize,
    /// The loop's limit is not for its connections.
    pub(crate) apart: bool,
    /// Accepts in a row that failed, each as if it were about its connection.
    pub(super) failures: u32,
    /// Who takes the connections, if it is not the listener's service.
    #[cfg(feature = "tcp")]
    pub(crate) hand_over: Option<HandOver>,
}

/// Takes accepted connections off the loop.
#[cfg(feature = "tcp")]
pub(crate) type HandOver = Box<dyn FnMut(sockeye_tcp_stream::TcpStream, SocketAddr)>;
