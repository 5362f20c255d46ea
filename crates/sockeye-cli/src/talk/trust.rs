//! TLS of `connect` and `listen`, in programs with and without it.

#[cfg(feature = "tls")]
mod with_tls {
    use anyhow::{Context as _, anyhow};
    use rustls::pki_types::ServerName;
    use sockeye::endpoint::Target;
    use sockeye::event_loop::{
        ConnectRequest, EventLoop, ServiceHandle, StreamOptions, StreamService, StreamServiceId,
    };
    use sockeye::tls::{ConnectorOptions, HandshakeLimits, TlsConnector, TlsServer};

    use crate::certificates;
    use crate::exit::Failure;
    use crate::files::Files;
    use crate::identity::{Client, Server};
    use crate::output::warn;

    /// Connects by TLS, for a service.
    ///
    /// # Errors
    /// What is wrong with the files or the name.
    pub(crate) fn connect<S: StreamService>(
        events: &mut EventLoop,
        service: ServiceHandle<S>,
        client: &Client,
        name: &str,
        request: ConnectRequest,
    ) -> anyhow::Result<()> {
        let config = certificates::client(client, &mut Files::default())?;
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            Failure::usage(format!(
                "{name:?} cannot be the name of a certificate: --servername NAME says another"
            ))
        })?;
        let connector = TlsConnector::new(events, config, ConnectorOptions::default());
        let begun = events
            .with(service, |_, context| {
                connector.connect(context, service, name, request)
            })
            .context("the service has left the loop")?;
        begun.map(|_| ()).map_err(|error| anyhow!(error))
    }

    /// The name that the certificate of a target has to have.
    pub(crate) fn name_of(target: &Target) -> String {
        match target.endpoint() {
            Some(endpoint) => endpoint.ip().to_string(),
            None => target.host().to_string(),
        }
    }

    /// A service that accepts TLS for another one. Failed handshakes are said, one a second at most.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn server(
        events: &mut EventLoop,
        server: &Server,
        inner: impl Into<StreamServiceId>,
        options: StreamOptions,
    ) -> anyhow::Result<ServiceHandle<TlsServer>> {
        let config = certificates::server(server, &mut Files::default())?;
        let mut sparing = crate::talk::Sparing::default();
        let service = TlsServer::new(config, inner)
            .limits(HandshakeLimits::default())
            .on_failure(move |_, failure| {
                let who = failure
                    .client
                    .map_or_else(|| "a peer".to_owned(), |at| at.to_string());
                if sparing.may() {
                    warn(format_args!("sockeye: {who}: {}", failure.error));
                }
            });
        Ok(events.add_stream_service(service, options))
    }
}

#[cfg(feature = "tls")]
pub(crate) use with_tls::{connect, name_of, server};

/// Says that this program was built without TLS.
///
/// # Errors
/// Then.
pub(crate) fn is_there() -> anyhow::Result<()> {
    if cfg!(feature = "tls") {
        return Ok(());
    }
    Err(crate::exit::Failure::usage(
        "this program was built without TLS: build it with the feature `tls`",
    ))
}
