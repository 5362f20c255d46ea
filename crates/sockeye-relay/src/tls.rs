//! TLS of listeners and backends: what the program has for them, by name, and the services that carry it.

#[cfg(feature = "tls")]
use std::collections::BTreeMap;
#[cfg(feature = "tls")]
use std::sync::Arc;

use sockeye_endpoint::{Address, Scheme, Target};
use sockeye_event_loop::{ConnectId, ConnectRequest, Context, ListenerId, Stream, StreamServiceId};

use crate::config::{CheckKind, Config};
use crate::relay::StartError;
use crate::service::RelayService;

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
fn name_of(name: Option<&str>) -> &str {
    name.unwrap_or_default()
}

impl Tls {
    /// The service that accepts for a `tls://` listener.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "there is none"))]
    pub(crate) fn server(&self, name: Option<&str>) -> Option<StreamServiceId> {
        #[cfg(feature = "tls")]
        return self.servers.get(name_of(name)).copied();
        #[cfg(not(feature = "tls"))]
        {
            let _ = name;
            None
        }
    }

    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "there is none"))]
    fn has_client(&self, name: Option<&str>) -> bool {
        #[cfg(feature = "tls")]
        return self.clients.contains_key(name_of(name));
        #[cfg(not(feature = "tls"))]
        {
            let _ = name;
            false
        }
    }

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

    /// Connects, under TLS or without. `None`: not even begun.
    pub(crate) fn connect(
        &self,
        cx: &mut Context<'_>,
        to: &Address<Target>,
        settings: Option<&str>,
        under_tls: bool,
        request: ConnectRequest,
    ) -> Option<ConnectId> {
        if !under_tls {
            return Some(cx.connect(request));
        }
        #[cfg(feature = "tls")]
        {
            let Address::Ip { endpoint, .. } = to else {
                return None;
            };
            let name = endpoint.host().to_string();
            let name = name.trim_matches(['[', ']']);
            let name = sockeye_tls::rustls::pki_types::ServerName::try_from(name)
                .ok()?
                .to_owned();
            let own = cx.handle::<RelayService>()?;
            let connector = self.clients.get(name_of(settings))?;
            connector.connect(cx, own, name, request).ok()
        }
        #[cfg(not(feature = "tls"))]
        {
            let _ = (to, settings);
            cx.handle::<RelayService>().and(None)
        }
    }
}

/// The listener that a connection came through, or that which carries it.
pub(crate) fn listener_of(stream: &mut Stream<'_>) -> Option<ListenerId> {
    if let Some(id) = stream.listener() {
        return Some(id);
    }
    #[cfg(feature = "tls")]
    {
        use sockeye_tls::StreamTls as _;
        let carrier = stream.tls()?.carrier;
        stream.other(carrier)?.listener()
    }
    #[cfg(not(feature = "tls"))]
    None
}
