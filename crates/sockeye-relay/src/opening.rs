//! The sockets of listeners: opened, taken over from something else, closed.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use sockeye_endpoint::{Address, Scheme};
use sockeye_event_loop::{Context, ListenOptions, Op, OpError, StreamServiceId, UnixListenOptions};

use crate::config::ListenerConfig;
use crate::service::RelayService;
use crate::shared::{Listener, Opened};
use crate::tls::Tls;
use crate::udp::Udp;

/// A listener that is to be opened.
pub(crate) struct Open<'a> {
    pub(crate) udp: &'a mut Udp,
    pub(crate) tls: &'a Tls,
    pub(crate) key: usize,
    pub(crate) listener: &'a ListenerConfig,
}

impl Open<'_> {
    /// Opens its socket.
    pub(crate) fn open(self, cx: &mut Context<'_>) -> Result<Opened, OpError> {
        let (most, service, listener) = (self.most(), self.carrier(), self.listener);
        match &listener.at {
            Address::Unix(name) => {
                let mut options = UnixListenOptions {
                    max_connections: most,
                    ..UnixListenOptions::default()
                };
                options.backlog = listener.backlog.unwrap_or(options.backlog);
                cx.listen_unix(name, &options).map(Opened::Streams)
            }
            Address::Ip { endpoint, .. } => {
                let at = endpoint.socket_addr().map_err(|error| {
                    let error = io::Error::new(io::ErrorKind::InvalidInput, error);
                    OpError::new(Op::Bind, endpoint.transport(), error)
                })?;
                #[cfg(feature = "quic")]
                if listener.at.scheme() == Scheme::Quic {
                    let name = listener.tls.as_deref().unwrap_or(crate::tls::UNNAMED);
                    return self.tls.quic.listen(cx, name, at).map(Opened::Datagrams);
                }
                if listener.at.scheme() == Scheme::Udp {
                    return self.udp.listen(cx, self.key, at, None).map(Opened::Datagrams);
                }
                let mut options = ListenOptions {
                    max_connections: most,
                    ..ListenOptions::default()
                };
                options.backlog = listener.backlog.unwrap_or(options.backlog);
                let socket = match service {
                    Some(service) => cx.listen_for(service, at, &options),
                    None => cx.listen(at, &options),
                };
                socket.map(Opened::Streams)
            }
        }
    }

    /// Takes a socket that something else has opened.
    pub(crate) fn adopt(self, cx: &mut Context<'_>, socket: OwnedFd) -> Result<Opened, OpError> {
        let most = self.most();
        match &self.listener.at {
            #[cfg(feature = "quic")]
            _ if self.listener.at.scheme() == Scheme::Quic => {
                let name = self.listener.tls.as_deref().unwrap_or(crate::tls::UNNAMED);
                self.tls.quic.adopt(cx, name, socket).map(Opened::Datagrams)
            }
            Address::Ip { endpoint, .. } if self.listener.at.scheme() == Scheme::Udp => {
                let at = SocketAddr::new(endpoint.ip(), endpoint.port());
                let socket = self.udp.listen(cx, self.key, at, Some(socket));
                socket.map(Opened::Datagrams)
            }
            _ => {
                let socket = match self.carrier() {
                    Some(service) => cx.adopt_listener_for(service, socket, most),
                    None => cx.adopt_listener(socket, most),
                };
                socket.map(Opened::Streams)
            }
        }
    }

    fn most(&self) -> usize {
        self.listener.max_sessions.unwrap_or(usize::MAX)
    }

    fn carrier(&self) -> Option<StreamServiceId> {
        carrier(self.tls, self.listener)
    }
}

/// The service that accepts, if it is not the relay itself: a header in front of TLS is the relay's to read.
fn carrier(tls: &Tls, listener: &ListenerConfig) -> Option<StreamServiceId> {
    let is_tls = listener.at.scheme() == Scheme::Tls && listener.proxy.is_none();
    is_tls.then(|| tls.server(listener.tls.as_deref()))?
}

/// A listener that stays may be another one in all but its address.
pub(crate) fn change(cx: &mut Context<'_>, tls: &Tls, socket: Opened, new: &ListenerConfig) {
    let Opened::Streams(id) = socket else { return };
    cx.set_max_connections(id, new.max_sessions.unwrap_or(usize::MAX));
    let own = cx.handle::<RelayService>().map(Into::into);
    if let Some(service) = carrier(tls, new).or(own) {
        // Both are services of this loop.
        let _ = cx.set_acceptor(id, service);
    }
}

/// Whether a listener has the same socket before and after a reload. At port 0, by its name.
pub(crate) fn is_kept(old: &Listener, new: &ListenerConfig) -> bool {
    // A socket of QUIC belongs to another service than one of datagrams.
    let by_quic = |at: &Address| at.scheme() == Scheme::Quic;
    if by_quic(&old.config.at) != by_quic(&new.at) {
        return false;
    }
    match (&old.config.at, &new.at) {
        (Address::Ip { endpoint: before, .. }, Address::Ip { endpoint: now, .. }) => {
            // Under TLS or not: what is listened at is of TCP.
            before == now && (now.port() != 0 || *old.label == *new.label())
        }
        (before, now) => before == now,
    }
}

/// Closes the socket of a listener.
pub(crate) fn close(cx: &mut Context<'_>, socket: Opened) {
    match socket {
        Opened::Streams(id) => cx.close_listener(id),
        Opened::Datagrams(id) => cx.close_datagrams(id),
        Opened::Closed => {}
    }
}
