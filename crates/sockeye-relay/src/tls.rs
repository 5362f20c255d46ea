//! TLS of listeners and backends: what the program has for them, by name, and the services that carry it.

#[cfg(feature = "tls")]
use std::cell::RefCell;
#[cfg(feature = "tls")]
use std::collections::BTreeMap;
#[cfg(feature = "tls")]
use std::rc::Rc;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use sockeye_endpoint::Host;
use sockeye_endpoint::{Address, Scheme, Target};
use sockeye_event_loop::{CloseReason, ConnectId, ConnectRequest, Context, Stream, StreamServiceId};

#[cfg(feature = "tls")]
use sockeye_event_loop::backend::Backend;
#[cfg(feature = "tls")]
use sockeye_event_loop::{EventLoop, ServiceHandle, StreamOptions};
#[cfg(feature = "tls")]
use sockeye_tls::rustls::pki_types::ServerName;
#[cfg(feature = "tls")]
use sockeye_tls::rustls::{ClientConfig, ServerConfig};
#[cfg(feature = "tls")]
use sockeye_tls::{ConnectorOptions, HandshakeFailure, ReloadableConfig, TlsConnector, TlsServer};

use crate::config::{BackendConfig, CheckKind, Config, ProxyVersion};
#[cfg(feature = "quic")]
use crate::quic::Quic;
#[cfg(feature = "tls")]
use crate::record::Cause;
use crate::relay::StartError;
#[cfg(feature = "tls")]
use crate::service::RelayService;
#[cfg(feature = "tls")]
use crate::shared::Shared;

/// What the program has for `tls://` listeners and backends, each under the name that the configuration calls it by.
#[cfg(feature = "tls")]
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) servers: BTreeMap<String, ReloadableConfig>,
    pub(crate) clients: BTreeMap<String, Arc<ClientConfig>>,
    pub(crate) limits: sockeye_tls::HandshakeLimits,
    pub(crate) counters: sockeye_tls::TlsCounters,
}

#[cfg(feature = "tls")]
impl Settings {
    pub(crate) fn add(&mut self, settings: TlsSettings) {
        let servers = settings.servers.into_iter();
        self.servers
            .extend(servers.map(|(name, config)| (name, config.into())));
        self.clients.extend(settings.clients);
    }
}

/// TLS for a reload ([`Running::reload_with`](crate::Running::reload_with)): of `tls://` listeners and of `tls://` backends,
/// each under the name that the configuration calls it by; empty for those that call it by none.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    servers: BTreeMap<String, Arc<ServerConfig>>,
    clients: BTreeMap<String, Arc<ClientConfig>>,
}

#[cfg(feature = "tls")]
impl TlsSettings {
    /// Adds one for listeners.
    #[must_use]
    pub fn server(mut self, name: impl Into<String>, config: impl Into<Arc<ServerConfig>>) -> Self {
        self.servers.insert(name.into(), config.into());
        self
    }

    /// Adds one for backends.
    #[must_use]
    pub fn client(mut self, name: impl Into<String>, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.clients.insert(name.into(), config.into());
        self
    }
}

/// The services that carry TLS for a relay.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    #[cfg(feature = "tls")]
    servers: BTreeMap<String, (StreamServiceId, ReloadableConfig)>,
    #[cfg(feature = "tls")]
    clients: BTreeMap<String, TlsConnector>,
    #[cfg(feature = "tls")]
    limits: sockeye_tls::HandshakeLimits,
    #[cfg(feature = "tls")]
    counters: sockeye_tls::TlsCounters,
    #[cfg(feature = "quic")]
    pub(crate) quic: Quic,
}

/// A connect that is under way.
#[derive(Debug)]
pub(crate) enum Connecting {
    /// Of the loop's own.
    Stream(ConnectId),
    /// Of the client of QUIC by that name.
    #[cfg(feature = "quic")]
    Quic(String, sockeye_quic::QuicId),
}

impl Connecting {
    /// Gives it up: `on_connect_error` follows. `false` if it was decided before.
    pub(crate) fn cancel(&self, cx: &mut Context<'_>, tls: &Tls) -> bool {
        #[cfg(not(feature = "quic"))]
        let _ = tls;
        match self {
            Self::Stream(id) => cx.cancel_connect(*id),
            #[cfg(feature = "quic")]
            Self::Quic(name, id) => tls.quic.cancel(cx, name, *id),
        }
    }
}

/// Puts the services that carry TLS on the loop of a relay.
#[cfg(feature = "tls")]
pub(crate) fn carry<B: Backend>(
    events: &mut EventLoop<B>,
    relay: ServiceHandle<RelayService>,
    shared: &Rc<RefCell<Shared>>,
    settings: Settings,
) {
    {
        let tls = &mut shared.borrow_mut().tls;
        tls.limits = settings.limits;
        tls.counters = settings.counters;
    }
    for (name, config) in settings.servers {
        add_server(events, relay, shared, name, config);
    }
    for (name, config) in settings.clients {
        add_client(events, shared, name, config);
    }
}

/// Adds what is not there yet, before a configuration asks for it.
#[cfg(feature = "tls")]
pub(crate) fn add_new<B: Backend>(
    events: &mut EventLoop<B>,
    relay: ServiceHandle<RelayService>,
    shared: &Rc<RefCell<Shared>>,
    settings: &TlsSettings,
) {
    for (name, config) in &settings.servers {
        if !shared.borrow().tls.servers.contains_key(name) {
            let config = ReloadableConfig::new(Arc::clone(config));
            add_server(events, relay, shared, name.clone(), config);
        }
    }
    for (name, config) in &settings.clients {
        if !shared.borrow().tls.clients.contains_key(name) {
            add_client(events, shared, name.clone(), Arc::clone(config));
        }
    }
}

#[cfg(feature = "tls")]
fn add_server<B: Backend>(
    events: &mut EventLoop<B>,
    relay: ServiceHandle<RelayService>,
    shared: &Rc<RefCell<Shared>>,
    name: String,
    config: ReloadableConfig,
) {
    let told = Rc::clone(shared);
    let server = {
        let tls = &shared.borrow().tls;
        TlsServer::new(config.clone(), relay)
            .limits(tls.limits.clone())
            .counters(&tls.counters)
            .on_failure(move |_, failure| handshake_failed(&mut told.borrow_mut(), failure))
    };
    let server = events.add_stream_service(server, StreamOptions::default());
    let tls = &mut shared.borrow_mut().tls;
    #[cfg(feature = "quic")]
    tls.quic.add_server(events, relay, &name, config.current());
    tls.servers.insert(name, (server.into(), config));
}

#[cfg(feature = "tls")]
fn add_client<B: Backend>(
    events: &mut EventLoop<B>,
    shared: &Rc<RefCell<Shared>>,
    name: String,
    config: Arc<ClientConfig>,
) {
    let tls = &mut shared.borrow_mut().tls;
    #[cfg(feature = "quic")]
    tls.quic.add_client(events, &name, Arc::clone(&config));
    let client = TlsConnector::new(events, config, ConnectorOptions::default());
    tls.clients.insert(name, client);
}

/// Of a listener that was closed meanwhile nothing is told.
#[cfg(feature = "tls")]
fn handshake_failed(shared: &mut Shared, failure: &HandshakeFailure<'_>) {
    let listener = failure.listener.and_then(|id| shared.listener_at(id));
    if let Some(listener) = listener {
        let cause = Cause::Handshake(failure.error.clone());
        shared.turned_away(listener, failure.client, &cause);
    }
}

/// Settings that have no name are called so.
#[cfg(feature = "tls")]
pub(crate) const UNNAMED: &str = "";

#[cfg(feature = "tls")]
impl Tls {
    /// The service that accepts for a `tls://` listener.
    pub(crate) fn server(&self, name: Option<&str>) -> Option<StreamServiceId> {
        let (service, _) = self.servers.get(name.unwrap_or(UNNAMED))?;
        Some(*service)
    }

    /// New connections get these from now on.
    pub(crate) fn replace(&mut self, settings: TlsSettings) {
        for (name, config) in settings.servers {
            #[cfg(feature = "quic")]
            self.quic.replace_server(&name, &config);
            if let Some((_, current)) = self.servers.get(&name) {
                current.replace(config);
            }
        }
        for (name, config) in settings.clients {
            if let Some(client) = self.clients.get_mut(&name) {
                *client = client.with_config(config);
            }
        }
    }

    fn has_client(&self, name: Option<&str>) -> bool {
        self.clients.contains_key(name.unwrap_or(UNNAMED))
    }

    fn connect_under_tls(
        &self,
        cx: &mut Context<'_>,
        to: &Address<Target>,
        settings: Option<&str>,
        request: ConnectRequest,
        header: Vec<u8>,
    ) -> Option<ConnectId> {
        let Address::Ip { endpoint, .. } = to else {
            return None;
        };
        let name = match endpoint.host() {
            Host::Ip(ip, _) => ServerName::IpAddress((*ip).into()),
            // A dot at the end is no part of the name that a certificate has.
            Host::Name(name) => ServerName::try_from(name.as_str().trim_end_matches('.').to_owned()).ok()?,
        };
        let own = cx.handle::<RelayService>()?;
        let connector = self.clients.get(settings.unwrap_or(UNNAMED))?;
        connector
            .with_preamble(header)
            .connect(cx, own, name, request)
            .ok()
    }
}

/// Without the feature the configuration's check has refused all that would ask.
#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_self, reason = "as with the feature")]
impl Tls {
    pub(crate) fn server(&self, _: Option<&str>) -> Option<StreamServiceId> {
        None
    }

    fn has_client(&self, _: Option<&str>) -> bool {
        false
    }

    fn connect_under_tls(
        &self,
        _: &mut Context<'_>,
        _: &Address<Target>,
        _: Option<&str>,
        _: ConnectRequest,
        _: Vec<u8>,
    ) -> Option<ConnectId> {
        None
    }
}

impl Tls {
    /// Whether everything that a configuration asks for is there.
    pub(crate) fn suffices(&self, config: &Config) -> Result<(), StartError> {
        let missing = |what, name: Option<&String>| StartError::NoTls {
            what,
            name: name.cloned().unwrap_or_default(),
        };
        for listener in &config.listeners {
            let name = listener.tls.as_deref();
            let is_missing = match listener.at.scheme() {
                Scheme::Tls => self.server(name).is_none(),
                #[cfg(feature = "quic")]
                Scheme::Quic => !self.quic.has_server(name.unwrap_or(UNNAMED)),
                _ => false,
            };
            if is_missing {
                return Err(missing("server", listener.tls.as_ref()));
            }
        }
        for pool in &config.pools {
            let checks = pool.health.check.as_ref();
            let is_checked = checks.is_some_and(|rules| rules.kind == CheckKind::Tls);
            for backend in &pool.backends {
                let needs = backend.at.scheme() == Scheme::Tls || is_checked;
                let name = backend.tls.as_deref();
                #[cfg(feature = "quic")]
                if backend.at.scheme() == Scheme::Quic && !self.quic.has_client(name.unwrap_or(UNNAMED)) {
                    return Err(missing("client", backend.tls.as_ref()));
                }
                if needs && !self.has_client(name) {
                    return Err(missing("client", backend.tls.as_ref()));
                }
            }
        }
        Ok(())
    }

    /// Connects, under TLS with this PROXY header in front of it, or without, when whoever is told of the connection writes
    /// one first. `None`: not even begun.
    pub(crate) fn connect(
        &self,
        cx: &mut Context<'_>,
        to: &BackendConfig,
        under_tls: bool,
        request: ConnectRequest,
        header: impl FnOnce(&mut Context<'_>, ProxyVersion) -> Vec<u8>,
    ) -> Option<Connecting> {
        #[cfg(feature = "quic")]
        if to.at.scheme() == Scheme::Quic {
            let name = to.tls.as_deref().unwrap_or(UNNAMED);
            let id = self.quic.connect(cx, name, &to.at, &request)?;
            return Some(Connecting::Quic(name.to_owned(), id));
        }
        if !under_tls {
            return Some(Connecting::Stream(cx.connect(request)));
        }
        let header = to.proxy.map(|version| header(cx, version)).unwrap_or_default();
        let begun = self.connect_under_tls(cx, &to.at, to.tls.as_deref(), request, header);
        begun.map(Connecting::Stream)
    }
}

/// Whether a connection came out of TLS: it has the listener of the one that carries it.
#[cfg(feature = "tls")]
pub(crate) fn came_out_of_tls(stream: &Stream<'_>) -> bool {
    use sockeye_tls::StreamTls as _;
    stream.tls().is_some()
}

#[cfg(not(feature = "tls"))]
pub(crate) fn came_out_of_tls(_: &Stream<'_>) -> bool {
    false
}

/// Whether it ended under TLS without `close_notify`.
#[cfg(feature = "tls")]
pub(crate) fn is_cut(reason: &CloseReason) -> bool {
    use sockeye_tls::TlsError;
    let CloseReason::Error(error) = reason else {
        return false;
    };
    matches!(TlsError::of(error), Some(TlsError::Truncated))
}

#[cfg(not(feature = "tls"))]
pub(crate) fn is_cut(_: &CloseReason) -> bool {
    false
}
