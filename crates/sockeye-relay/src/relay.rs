//! A relay as its program sees it: made from a configuration, started on a loop, reloaded, drained.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_endpoint::{Address, Scheme};
use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    Context, EventLoop, ListenOptions, OpError, ServiceHandle, StreamOptions, UnixListenOptions,
};
use thiserror::Error;

use crate::checks::Checks;
use crate::config::{Config, ConfigErrors, ListenerConfig};
use crate::lookups::Lookups;
use crate::names::Names;
use crate::pool::Pool;
use crate::record::{Hooks, NoHooks};
use crate::service::{Leaving, RelayService};
use crate::shared::{Listener, Opened, Shared};
use crate::stats::{ListenerCounters, RelayStats};
use crate::streams::Streams;
use crate::tls::Tls;
use crate::udp::{Udp, UdpService};

/// A relay that is not on a loop yet.
pub struct Relay {
    config: Config,
    hooks: Box<dyn Hooks>,
    names: Option<Box<dyn Names>>,
    #[cfg(feature = "tls")]
    tls: crate::tls::Settings,
}

/// A relay on a loop. A copy of it is the same relay.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    service: ServiceHandle<RelayService>,
}

/// Why a relay did not start. Nothing is open then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be opened.
    #[error("listener {listener}: {source}")]
    Listen {
        /// Its name, or else its address.
        listener: String,
        /// What failed, on which address, and why.
        source: OpError,
    },
    /// Backends have names, and nobody could look them up.
    #[error(
        "backends have names: give the relay something that knows them (Relay::names, or the feature `resolver`)"
    )]
    NoNames,
    /// A `tls://` listener or backend has settings that the program has not given it.
    #[error("no TLS settings for a {what} under the name `{name}`: call Relay::tls_{what} with it")]
    NoTls {
        /// Server or client.
        what: &'static str,
        /// What it is to be called; empty where the configuration has no name.
        name: String,
    },
    /// The relay has been told to end.
    #[error("the relay drains")]
    Draining,
    /// The handle is of another loop.
    #[error("there is no such relay on this loop")]
    NoRelay,
}

/// Why a relay goes on with its old configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The new one is not sound.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A new listener could not be opened, or a name not be looked up.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Relay {
    /// A relay of this configuration, which is looked at as a whole first.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn new(config: Config) -> Result<Self, ConfigErrors> {
        config.check()?;
        Ok(Self {
            config,
            hooks: Box::new(NoHooks),
            names: default_names(),
            #[cfg(feature = "tls")]
            tls: crate::tls::Settings::default(),
        })
    }

    /// What the program hears and decides.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Box::new(hooks);
        self
    }

    /// Who knows the names of backends. Without it, the system's resolver if the feature `resolver` is there.
    #[must_use]
    pub fn names(mut self, names: impl Names) -> Self {
        self.names = Some(Box::new(names));
        self
    }

    /// TLS for `tls://` listeners whose [`ListenerConfig::tls`] says this name. A listener that says none gets what was given as
    /// `""`: with one setting, `relay.tls_server("", config)` is all. Certificates are renewed
    /// by [`ReloadableConfig::replace`](sockeye_tls::ReloadableConfig::replace).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_server(
        mut self,
        name: impl Into<String>,
        config: impl Into<sockeye_tls::ReloadableConfig>,
    ) -> Self {
        self.tls.servers.insert(name.into(), config.into());
        self
    }

    /// TLS for `tls://` backends that call it by this name, and for checks of that kind; for those that have none, the empty
    /// one. The server is asked for, and has to be, the host of the backend's address.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_client(
        mut self,
        name: impl Into<String>,
        config: impl Into<Arc<sockeye_tls::rustls::ClientConfig>>,
    ) -> Self {
        self.tls.clients.insert(name.into(), config.into());
        self
    }

    /// Bounds on the handshakes of clients at `tls://` listeners, and what counts them: those that fail are no sessions. The
    /// bounds are of each name that [`tls_server`](Self::tls_server) has.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_handshakes(
        mut self,
        limits: sockeye_tls::HandshakeLimits,
        counters: &sockeye_tls::TlsCounters,
    ) -> Self {
        self.tls.limits = limits;
        self.tls.counters = counters.clone();
        self
    }

    /// Opens the listeners and begins.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start<B: Backend>(self, events: &mut EventLoop<B>) -> Result<Running, StartError> {
        let names = match self.names {
            Some(names) => names,
            None if self.config.has_names() => return Err(StartError::NoNames),
            None => Box::new(NoNames),
        };
        let shared = Rc::new(RefCell::new(Shared::new(self.hooks)));
        let udp = Rc::new(RefCell::new(Udp::default()));
        let datagrams = UdpService {
            shared: Rc::clone(&shared),
            udp: Rc::clone(&udp),
        };
        udp.borrow_mut().own = Some(events.add_datagram_service(datagrams));
        #[cfg(feature = "tls")]
        let told = Rc::clone(&shared);
        let service = RelayService {
            shared,
            udp,
            streams: Streams::default(),
            checks: Checks::default(),
            lookups: Lookups::new(names),
            leaving: Vec::new(),
            tick: None,
            names_timer: None,
        };
        let service = events.add_stream_service(service, StreamOptions::default());
        #[cfg(feature = "tls")]
        {
            let mut tls = Tls::default();
            for (name, config) in self.tls.servers {
                let told = Rc::clone(&told);
                let server = sockeye_tls::TlsServer::new(config, service)
                    .limits(self.tls.limits.clone())
                    .counters(&self.tls.counters)
                    .on_failure(move |_, failure| handshake_failed(&mut told.borrow_mut(), failure));
                let server = events.add_stream_service(server, StreamOptions::default());
                tls.servers.insert(name, server.into());
            }
            for (name, config) in self.tls.clients {
                let options = sockeye_tls::ConnectorOptions::default();
                let client = sockeye_tls::TlsConnector::new(events, config, options);
                tls.clients.insert(name, client);
            }
            events.with(service, |relay: &mut RelayService, _| {
                relay.shared.borrow_mut().tls = tls
            });
        }
        let config = self.config;
        events
            .with(service, |relay, context| relay.take_over(context, config))
            .ok_or(StartError::NoRelay)??;
        Ok(Running { service })
    }
}

impl Running {
    /// The relay's service, for [`Remote::with`](sockeye_event_loop::Remote::with) and callbacks.
    #[must_use]
    pub fn service(&self) -> ServiceHandle<RelayService> {
        self.service
    }

    /// Takes over a new configuration: see [`RelayService::reload`].
    ///
    /// # Errors
    /// As there; [`StartError::NoRelay`] with another loop than its own.
    pub fn reload<B: Backend>(&self, events: &mut EventLoop<B>, config: Config) -> Result<(), ReloadError> {
        events
            .with(self.service, |relay, context| relay.reload(context, config))
            .unwrap_or(Err(ReloadError::Start(StartError::NoRelay)))
    }

    /// Takes nobody any more and lets what there is end: see [`RelayService::drain`].
    pub fn drain<B: Backend>(&self, events: &mut EventLoop<B>, within: Duration) {
        events.with(self.service, |relay, context| relay.drain(context, within));
    }

    /// Whether a drain is over.
    pub fn is_drained<B: Backend>(&self, events: &mut EventLoop<B>) -> bool {
        events
            .service(self.service)
            .is_some_and(|relay| relay.is_drained())
    }

    /// What it has done so far.
    pub fn stats<B: Backend>(&self, events: &mut EventLoop<B>) -> RelayStats {
        events
            .service(self.service)
            .map(|relay| relay.stats())
            .unwrap_or_default()
    }

    /// Where a listener listens, by its name or else its address: for those at port 0.
    pub fn local_addr<B: Backend>(
        &self,
        events: &mut EventLoop<B>,
        listener: &str,
    ) -> Option<std::net::SocketAddr> {
        let socket = events.service(self.service)?.socket_of(listener)?;
        match socket {
            Opened::Streams(id) => events.local_addr(id).ok(),
            Opened::Datagrams(id) => events.local_addr(id).ok(),
            Opened::Closed => None,
        }
    }
}

impl RelayService {
    /// Takes over a new configuration, or goes on with the old one if it cannot. No session is lost: listeners that stay
    /// stay open (with the backlog that they have), those that are gone stop accepting; backends that stay keep what is
    /// known of them, and sessions of those that are gone have [`PoolConfig::drain`](crate::PoolConfig::drain) to end.
    ///
    /// # Errors
    /// What is wrong with the configuration, or could not be opened.
    pub fn reload(&mut self, context: &mut Context<'_>, config: Config) -> Result<(), ReloadError> {
        config.check()?;
        Ok(self.take_over(context, config)?)
    }

    fn socket_of(&self, label: &str) -> Option<Opened> {
        let shared = self.shared.borrow();
        let mut listeners = shared.listeners.iter();
        listeners
            .find(|(_, listener)| *listener.label == *label && !listener.leaving)
            .map(|(_, listener)| listener.socket)
    }

    /// Opens what is new, and then, as nothing can fail any more, changes over.
    pub(crate) fn take_over(&mut self, cx: &mut Context<'_>, config: Config) -> Result<(), StartError> {
        if self.shared.borrow().draining {
            return Err(StartError::Draining);
        }
        self.shared.borrow().tls.suffices(&config)?;
        let kept = self.open_new(cx, &config)?;
        self.close_gone(cx, &kept);
        self.change_pools(cx, &config);
        {
            let shared = &mut *self.shared.borrow_mut();
            shared.sources.set_limits(config.sources);
            self.lookups.reload(shared, config.names, cx.now());
            self.checks.schedule(shared, cx);
        }
        self.drive_names(cx);
        Ok(())
    }

    /// Opens listeners that are not open, and says which there are to be.
    fn open_new(&mut self, cx: &mut Context<'_>, config: &Config) -> Result<Vec<usize>, StartError> {
        let shared = &mut *self.shared.borrow_mut();
        let mut kept: Vec<usize> = Vec::new();
        let mut changes: Vec<(usize, ListenerConfig)> = Vec::new();
        let mut opened: Vec<usize> = Vec::new();
        for listener in &config.listeners {
            let same = shared.listeners.iter().find(|(key, old)| {
                !old.leaving && !kept.contains(key) && old.socket != Opened::Closed && is_kept(old, listener)
            });
            if let Some((key, _)) = same {
                kept.push(key);
                changes.push((key, listener.clone()));
                continue;
            }
            let key = shared.listeners.insert(Listener {
                label: listener.label().into(),
                config: listener.clone(),
                socket: Opened::Closed,
                open: 0,
                counters: ListenerCounters::default(),
                leaving: false,
            });
            opened.push(key);
            let socket = open(&mut self.udp.borrow_mut(), &shared.tls, cx, key, listener);
            match socket {
                Ok(socket) => {
                    if let Some(new) = shared.listeners.get_mut(key) {
                        new.socket = socket;
                    }
                    kept.push(key);
                }
                Err(source) => {
                    for key in opened {
                        let new = shared.listeners.remove(key);
                        close(cx, new.socket);
                    }
                    self.udp.borrow_mut().close_unused(shared, cx);
                    return Err(StartError::Listen {
                        listener: listener.label(),
                        source,
                    });
                }
            }
        }
        for (key, config) in changes {
            if let Some(listener) = shared.listeners.get_mut(key) {
                if let Opened::Streams(id) = listener.socket {
                    cx.set_max_connections(id, config.max_sessions.unwrap_or(usize::MAX));
                }
                listener.label = config.label().into();
                listener.config = config;
            }
        }
        Ok(kept)
    }

    fn close_gone(&mut self, cx: &mut Context<'_>, kept: &[usize]) {
        let shared = &mut *self.shared.borrow_mut();
        let all: Vec<usize> = shared.listeners.iter().map(|(key, _)| key).collect();
        for key in all.into_iter().filter(|key| !kept.contains(key)) {
            if let Some(listener) = shared.listeners.get_mut(key) {
                listener.leaving = true;
                if let Opened::Streams(id) = listener.socket {
                    cx.close_listener(id);
                    listener.socket = Opened::Closed;
                }
            }
            shared.tidy(key, usize::MAX);
        }
        self.udp.borrow_mut().close_unused(shared, cx);
    }

    fn change_pools(&mut self, cx: &mut Context<'_>, config: &Config) {
        let now = cx.now();
        let mut leaving = Vec::new();
        {
            let shared = &mut *self.shared.borrow_mut();
            let mut old = std::mem::take(&mut shared.by_name);
            let mut by_name: BTreeMap<Arc<str>, usize> = BTreeMap::new();
            for pool in &config.pools {
                let name: Arc<str> = pool.name.as_str().into();
                let key = match old.remove(&name) {
                    Some(key) => {
                        if let Some(kept) = shared.pools.get_mut(key) {
                            let gone = kept.reload(pool.clone(), &mut shared.serials);
                            leaving.extend(gone.into_iter().map(|backend| (key, backend, pool.drain)));
                        }
                        key
                    }
                    None => shared.pools.insert(Pool::new(pool.clone(), &mut shared.serials)),
                };
                by_name.insert(name, key);
            }
            for key in old.into_values() {
                if let Some(pool) = shared.pools.get_mut(key) {
                    let drain = pool.config.drain;
                    leaving.extend(pool.leave_all().into_iter().map(|backend| (key, backend, drain)));
                }
            }
            shared.by_name = by_name;
            shared.by_serial = shared
                .by_name
                .values()
                .filter_map(|key| Some((*key, shared.pools.get(*key)?)))
                .flat_map(|(pool, backends)| {
                    backends
                        .backends()
                        .map(move |(key, backend)| (backend.serial, (pool, key)))
                })
                .collect();
            let pools: Vec<usize> = shared.pools.iter().map(|(key, _)| key).collect();
            for key in pools {
                shared.tidy(usize::MAX, key);
                // New backends and higher limits may have room for those that wait.
                self.streams.serve_waiting(shared, cx, key);
            }
        }
        for (pool, key, drain) in leaving {
            let serial = self
                .shared
                .borrow()
                .pools
                .get(pool)
                .and_then(|pool| Some(pool.backend(key)?.serial));
            if let Some(serial) = serial {
                let at = now + drain;
                self.set_leaving(
                    cx,
                    Leaving {
                        at,
                        pool,
                        key,
                        serial,
                    },
                    drain,
                );
            }
        }
    }
}

/// Whether a listener is the same before and after a reload. At port 0, by its name.
fn is_kept(old: &Listener, new: &ListenerConfig) -> bool {
    let any_port = matches!(&new.at, Address::Ip { endpoint, .. } if endpoint.port() == 0);
    old.config.at == new.at && (!any_port || *old.label == *new.label())
}

fn open(
    udp: &mut Udp,
    tls: &Tls,
    cx: &mut Context<'_>,
    key: usize,
    listener: &ListenerConfig,
) -> Result<Opened, OpError> {
    let most = listener.max_sessions.unwrap_or(usize::MAX);
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
                let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
                OpError::new(sockeye_event_loop::Op::Bind, endpoint.transport(), error)
            })?;
            if endpoint.transport() == sockeye_endpoint::Transport::Udp {
                return udp.listen(cx, key, at).map(Opened::Datagrams);
            }
            let mut options = ListenOptions {
                max_connections: most,
                ..ListenOptions::default()
            };
            options.backlog = listener.backlog.unwrap_or(options.backlog);
            let socket = match tls.server(listener.tls.as_deref()) {
                // A header in front of TLS is the relay's to read.
                Some(service) if listener.at.scheme() == Scheme::Tls && listener.proxy.is_none() => {
                    cx.listen_for(service, at, &options)
                }
                _ => cx.listen(at, &options),
            };
            socket.map(Opened::Streams)
        }
    }
}

/// Of a listener that was closed meanwhile nothing is told.
#[cfg(feature = "tls")]
fn handshake_failed(shared: &mut Shared, failure: &sockeye_tls::HandshakeFailure<'_>) {
    let listener = failure.listener.and_then(|id| shared.listener_at(id));
    if let Some(listener) = listener {
        let cause = crate::record::Cause::Handshake(failure.error.clone());
        shared.turned_away(listener, failure.client, &cause);
    }
}

fn close(cx: &mut Context<'_>, socket: Opened) {
    match socket {
        Opened::Streams(id) => cx.close_listener(id),
        Opened::Datagrams(id) => cx.close_datagrams(id),
        Opened::Closed => {}
    }
}

/// Nobody knows a name; there are none.
struct NoNames;

impl Names for NoNames {
    fn start(&mut self, _: &sockeye_endpoint::Target, _: Duration) {}

    fn poll(&mut self, _: &sockeye_endpoint::Target) -> Option<std::io::Result<Vec<std::net::SocketAddr>>> {
        Some(Err(std::io::ErrorKind::NotFound.into()))
    }
}

#[cfg(feature = "resolver")]
fn default_names() -> Option<Box<dyn Names>> {
    Some(Box::new(crate::names::SystemNames::default()))
}

#[cfg(not(feature = "resolver"))]
fn default_names() -> Option<Box<dyn Names>> {
    None
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
