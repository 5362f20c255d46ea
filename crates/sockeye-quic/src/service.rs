//! [`ConnectionService`]: for who wants to hear of connections, not of streams alone.

use std::net::SocketAddr;

use sockeye_event_loop::Context;

use crate::error::QuicError;
use crate::handle::QuicHandle;
use crate::info::{QuicId, QuicInfo};

/// What runs on connections as a whole: their beginning and end, unreliable datagrams, changes of the path.
///
/// A server or a client has at most one; see [`QuicServer::connections`](crate::QuicServer::connections). Streams have services
/// of their own. For each connection the order is `on_open`, then anything else, then `on_close` once and last. A callback that
/// panics is the last that the service hears.
pub trait ConnectionService: 'static {
    /// A connection is established.
    fn on_open(&mut self, quic: &QuicHandle, context: &mut Context<'_>, id: QuicId, info: &QuicInfo) {
        let _ = (quic, context, id, info);
    }

    /// An unreliable datagram has come (RFC 9221).
    fn on_datagram(&mut self, quic: &QuicHandle, context: &mut Context<'_>, id: QuicId, data: &[u8]) {
        let _ = (quic, context, id, data);
    }

    /// The peer has another address now: it has moved, or whatever translates its addresses has.
    fn on_path_change(
        &mut self,
        quic: &QuicHandle,
        context: &mut Context<'_>,
        id: QuicId,
        remote: SocketAddr,
    ) {
        let _ = (quic, context, id, remote);
    }

    /// The connection is over: closed by either side, with a code, or lost. Streams may still read what had come.
    fn on_close(&mut self, quic: &QuicHandle, context: &mut Context<'_>, id: QuicId, why: &QuicError) {
        let _ = (quic, context, id, why);
    }
}
