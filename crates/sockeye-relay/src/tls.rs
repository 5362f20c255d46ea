//! TLS of listeners and backends: what the program has for them, by name, and the services that carry it.

#[cfg(feature = "tls")]
use std::collections::BTreeMap;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use sockeye_endpoint::Host;
use sockeye_endpoint::{Address, Scheme, Target};
use sockeye_event_loop::{
    CloseReason, ConnectId, ConnectRequest, Context, ListenerId, Stream, StreamServiceId,
};

#[cfg(feature = "tls")]
use sockeye_tls::rustls::pki_types::ServerName;

use crate::config::{BackendConfig, CheckKind, Config, ProxyVersion};
use crate::relay::StartError;

/// What the program has for `tls://` listeners and backends, each under the name that the configuration calls it by.
#[cfg(feature = "tls")]
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) servers: BTreeMap<String, sockeye_tls::ReloadableConfig>,
    pub(crate) clients: BTreeMap<String, Arc<sockeye_tls::rustls::ClientConfig>>,
    pub(crate) limits: sockeye_tls::HandshakeLimits,
    pub(crate) counters: sockeye_tls::TlsCounters,
}

/// The services that carry TLS for a relay.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    #[cfg(feature = "tls")]
    pub(crate) servers: BTreeMap<String, StreamServiceId>,
    #[cfg(feature = "tls")]
    pub(crate) clients: BTreeMap<String, sockeye_tls::TlsConnector>,
}

/// Settings that have no name are called so.
#[cfg(feature = "tls")]
const UNNAMED: &str = "";

#[cfg(feature = "tls")]
impl Tls {
    /// The service that accepts for a `tls://` listener.
    pub(crate) fn server(&self, name: Option<&str>) -> Option<StreamServiceId> {
        self.servers.get(name.unwrap_or(UNNAMED)).copied()
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
        let own = cx.handle::<crate::service::RelayService>()?;
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
            if listener.at.scheme() == Scheme::Tls && self.server(listener.tls.as_deref()).is_none() {
                return Err(missing("server", listener.tls.as_ref()));
            }
        }
        for pool in &config.pools {
            let checks = pool.health.check.as_ref();
            let is_checked = checks.is_some_and(|rules| rules.kind == CheckKind::Tls);
            for backend in &pool.backends {
                let needs = backend.at.scheme() == Scheme::Tls || is_checked;
                if needs && !self.has_client(backend.tls.as_deref()) {
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
    ) -> Option<ConnectId> {
        if !under_tls {
            return Some(cx.connect(request));
        }
        let header = to.proxy.map(|version| header(cx, version)).unwrap_or_default();
        self.connect_under_tls(cx, &to.at, to.tls.as_deref(), request, header)
    }
}

/// The listener that a connection came through, or that which carries it.
pub(crate) fn listener_of(stream: &mut Stream<'_>) -> Option<ListenerId> {
    stream.listener().or_else(|| carriers_listener(stream))
}

#[cfg(feature = "tls")]
fn carriers_listener(stream: &mut Stream<'_>) -> Option<ListenerId> {
    use sockeye_tls::StreamTls as _;
    let carrier = stream.tls()?.carrier;
    stream.other(carrier)?.listener()
}

#[cfg(not(feature = "tls"))]
fn carriers_listener(_: &mut Stream<'_>) -> Option<ListenerId> {
    None
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
