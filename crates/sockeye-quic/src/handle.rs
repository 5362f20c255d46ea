//! [`QuicHandle`]: what a service, a listener or the owner of a loop does with connections.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use quinn_proto::{Dir, SendDatagramError as Refused, VarInt};
use sockeye_event_loop::{Context, DatagramId, StreamServiceId};

use crate::client::QuicConnect;
use crate::core::{Core, Heard};
use crate::error::QuicError;
use crate::info::{QuicId, QuicInfo};
use crate::server::{ConfigError, has_tls13};
use crate::service::ConnectionService;

/// What the services of an endpoint share.
pub(crate) struct Shared {
    pub(crate) core: RefCell<Core>,
    pub(crate) listener: RefCell<Option<Box<dyn ConnectionService>>>,
}

/// Why an unreliable datagram was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// The connection is gone, or the peer takes none.
    #[error("QUIC: the peer takes no datagrams")]
    Unsupported,
    /// It is longer than the path or the peer takes: see [`QuicHandle::max_datagram`].
    #[error("QUIC: the datagram is too long")]
    TooLong,
    /// So many wait already that there is no room: later again, or not at all.
    #[error("QUIC: too many datagrams wait to be sent")]
    Full,
}

/// How a connection's path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStats {
    /// The peer's address now.
    pub remote: SocketAddr,
    /// The round-trip time, smoothed.
    pub rtt: Duration,
    /// The shortest round-trip time.
    pub min_rtt: Duration,
    /// What the congestion controller allows in flight, in bytes.
    pub congestion_window: u64,
    /// The size of a datagram, in bytes.
    pub mtu: u16,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets that were taken for lost.
    pub lost_packets: u64,
    /// Times that the congestion controller has heard of congestion, by loss or by ECN.
    pub congestion_events: u64,
    /// Times that datagrams of the size that was used before no longer came through.
    pub black_holes: u64,
    /// UDP datagrams sent.
    pub udp_out: u64,
    /// Bytes in them.
    pub udp_out_bytes: u64,
    /// UDP datagrams received.
    pub udp_in: u64,
    /// Bytes in them.
    pub udp_in_bytes: u64,
    /// Streams that have a pair now.
    pub streams: usize,
}

/// A way to the connections of a [`QuicServer`](crate::QuicServer) or a [`QuicClient`](crate::QuicClient), for services of the
/// same loop. A clone is the same way.
///
/// What it does is for callbacks, which have a [`Context`]: not for the closures that a server chooses and admits by.
#[derive(Clone)]
pub struct QuicHandle(pub(crate) Rc<Shared>);

impl QuicHandle {
    /// Connects. The streams that the request names are opened once the handshake is complete: `on_open` of their services
    /// follows, or `on_connect_error`.
    ///
    /// # Errors
    /// [`QuicError::NoSocket`] where the client has no socket of that family of addresses, [`QuicError::InvalidName`],
    /// [`QuicError::InvalidAddress`], [`QuicError::NotAClient`] of a server's handle. Nothing has begun then.
    pub fn connect(&self, context: &mut Context<'_>, request: QuicConnect) -> Result<QuicId, QuicError> {
        self.0.core.borrow_mut().connect(context, request)
    }

    /// Opens a stream in both directions for a service of the loop: its `on_open` follows with that tag, once the connection is
    /// established and the peer lets it, or `on_connect_error`. Either side may open streams.
    ///
    /// # Errors
    /// What has ended the connection; [`QuicError::TooManyStreams`].
    pub fn open(
        &self,
        context: &mut Context<'_>,
        connection: QuicId,
        service: impl Into<StreamServiceId>,
        tag: u64,
    ) -> Result<(), QuicError> {
        let mut core = self.0.core.borrow_mut();
        core.open_stream(context, connection, Dir::Bi, service.into(), tag)
    }

    /// Opens a stream that only this side writes to: its service hears the end of what it could read at once.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_unidirectional(
        &self,
        context: &mut Context<'_>,
        connection: QuicId,
        service: impl Into<StreamServiceId>,
        tag: u64,
    ) -> Result<(), QuicError> {
        let mut core = self.0.core.borrow_mut();
        core.open_stream(context, connection, Dir::Uni, service.into(), tag)
    }

    /// Sends an unreliable datagram (RFC 9221): it arrives once, whole, or not at all.
    ///
    /// # Errors
    /// [`DatagramError`].
    pub fn send_datagram(
        &self,
        context: &mut Context<'_>,
        connection: QuicId,
        data: &[u8],
    ) -> Result<(), DatagramError> {
        let mut core = self.0.core.borrow_mut();
        let sent = core.send_datagram(context, connection, data);
        sent.map_err(|refused| match refused {
            Refused::TooLarge => DatagramError::TooLong,
            Refused::Blocked(_) => DatagramError::Full,
            Refused::UnsupportedByPeer | Refused::Disabled => DatagramError::Unsupported,
        })
    }

    /// The longest datagram that [`send_datagram`](Self::send_datagram) takes now, in bytes. `None` if the peer takes none.
    #[must_use]
    pub fn max_datagram(&self, connection: QuicId) -> Option<usize> {
        self.0.core.borrow_mut().max_datagram(connection)
    }

    /// Closes a connection in order: once all of its streams are over and what they wrote is acknowledged, the peer hears `code`
    /// and `reason`. `false` if it is over already. Codes above 2^62 - 1 are sent as that.
    pub fn close(&self, context: &mut Context<'_>, connection: QuicId, code: u64, reason: &[u8]) -> bool {
        self.end(context, connection, code, reason, false)
    }

    /// Closes a connection at once: its streams are reset, what was not delivered is lost.
    pub fn abort(&self, context: &mut Context<'_>, connection: QuicId, code: u64, reason: &[u8]) -> bool {
        self.end(context, connection, code, reason, true)
    }

    fn end(
        &self,
        context: &mut Context<'_>,
        connection: QuicId,
        code: u64,
        reason: &[u8],
        at_once: bool,
    ) -> bool {
        let code = VarInt::from_u64(code).unwrap_or(VarInt::MAX);
        let reason = Bytes::copy_from_slice(reason);
        let mut core = self.0.core.borrow_mut();
        core.close(context, connection, code, reason, at_once)
    }

    /// Has a connection of a client go through another of its sockets from now on (RFC 9000, section 9): the server sees another
    /// address, and makes sure of it.
    ///
    /// # Errors
    /// [`QuicError::NoSocket`] of a socket that is not this client's, [`QuicError::Gone`].
    pub fn migrate(
        &self,
        context: &mut Context<'_>,
        connection: QuicId,
        to: DatagramId,
    ) -> Result<(), QuicError> {
        self.0.core.borrow_mut().migrate(context, connection, to)
    }

    /// Takes new keys for what is sent from here on (RFC 9001, section 6). `false` if the connection is not established.
    pub fn refresh_keys(&self, context: &mut Context<'_>, connection: QuicId) -> bool {
        self.0.core.borrow_mut().refresh_keys(context, connection)
    }

    /// Gives a server other certificates or protocols: new connections get these, those that are established keep theirs. Of a
    /// client it does nothing.
    ///
    /// # Errors
    /// [`ConfigError`] where QUIC cannot be spoken by that configuration; nothing has changed then.
    pub fn replace_config(&self, config: &rustls::ServerConfig) -> Result<(), ConfigError> {
        if !has_tls13(config.crypto_provider()) {
            return Err(ConfigError::NoTls13);
        }
        Ok(self.0.core.borrow_mut().replace(config)?)
    }

    /// What was agreed on. `None` while the handshake goes on, and once the connection is gone.
    #[must_use]
    pub fn info(&self, connection: QuicId) -> Option<Rc<QuicInfo>> {
        self.0.core.borrow_mut().info(connection)
    }

    /// How the connection's path is. `None` once it is gone.
    #[must_use]
    pub fn stats(&self, connection: QuicId) -> Option<PathStats> {
        self.0.core.borrow_mut().stats(connection)
    }

    /// Connections that there are now, those that are ending included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.core.borrow().connections()
    }

    /// Streams of all connections that are open now.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.0.core.borrow().streams()
    }

    /// Gives what was heard to who listens, when nothing of the endpoint is borrowed: so that it may act on connections.
    pub(crate) fn tell(&self, context: &mut Context<'_>) {
        if !self.0.core.borrow().has_listener {
            return;
        }
        loop {
            let heard = self.0.core.borrow_mut().heard.pop_front();
            let Some(heard) = heard else { return };
            // It is taken out while it runs.
            let Some(mut listener) = self.0.listener.borrow_mut().take() else {
                return;
            };
            match heard {
                Heard::Open(id, info) => listener.on_open(self, context, id, &info),
                Heard::Datagram(id, data) => listener.on_datagram(self, context, id, &data),
                Heard::Path(id, remote) => listener.on_path_change(self, context, id, remote),
                Heard::Closed(id, error) => listener.on_close(self, context, id, &error),
            }
            *self.0.listener.borrow_mut() = Some(listener);
        }
    }
}

impl std::fmt::Debug for QuicHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicHandle").finish_non_exhaustive()
    }
}
