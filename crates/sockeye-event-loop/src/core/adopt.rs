//! Connections that were made elsewhere come onto the loop.

use super::link::state;
use super::{Core, Pending};
use crate::backend::Backend;
use crate::id::Token;
use crate::trace;

impl<B: Backend> Core<B> {
    /// Takes a connection that was accepted elsewhere.
    #[cfg(feature = "tcp")]
    pub(crate) fn adopt(
        &mut self,
        service: u16,
        stream: sockeye_tcp_stream::TcpStream,
        peer: std::net::SocketAddr,
    ) {
        if self.inner.connections() >= self.inner.options.max_connections {
            return;
        }
        let Some(stream) = self.inner.backend.adopt(stream) else {
            return;
        };
        if let Some(token) = self.inner.admit(stream, service) {
            if let Some(link) = self.inner.table.link_mut(token) {
                link.peer = Some(peer);
            }
            trace::accepted(token, Some(peer));
            self.adopted(token);
        }
    }

    /// Takes a connection of a Unix socket that was made elsewhere.
    #[cfg(feature = "unix")]
    pub(crate) fn adopt_unix(&mut self, service: u16, stream: sockeye_unix::UnixStream) -> Option<Token> {
        if self.inner.connections() >= self.inner.options.max_connections {
            return None;
        }
        let stream = self.inner.backend.adopt_unix(stream)?;
        let token = self.inner.admit(stream, service)?;
        trace::accepted(token, None);
        self.adopted(token);
        Some(token)
    }

    /// Between two turns the next poll may report what has arrived before the service has opened it: nothing is offered
    /// until then.
    fn adopted(&mut self, token: Token) {
        if let Some(link) = self.inner.table.link_mut(token) {
            link.set(state::OPENING | state::READABLE);
        }
        self.inner.shared.stats.accepted += 1;
        self.inner.shared.pending.push_back(Pending::Opened(token));
    }
}
