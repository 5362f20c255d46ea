//! Connections of a client by TLS, where the program has it.

#[cfg(feature = "tls")]
pub(super) use with_tls::Connector;
#[cfg(not(feature = "tls"))]
pub(super) use without_tls::Connector;

#[cfg(feature = "tls")]
mod with_tls {
    use std::path::Path;

    use rustls::pki_types::ServerName;
    use sockeye::event_loop::{ConnectRequest, Context, EventLoop, StreamOptions, StreamServiceId};
    use sockeye::tls::{ConnectorOptions, TlsConnector};

    use crate::certificates;
    use crate::exit::Failure;
    use crate::files::Files;
    use crate::identity::Client;

    /// Connects by TLS to one server.
    #[derive(Debug)]
    pub(crate) struct Connector {
        connector: TlsConnector,
        name: ServerName<'static>,
    }

    impl Connector {
        /// # Errors
        /// What is wrong with the files or the name.
        pub(crate) fn new(
            events: &mut EventLoop,
            ca: Option<&Path>,
            insecure: bool,
            name: &str,
            stream: StreamOptions,
        ) -> anyhow::Result<Self> {
            let client = Client {
                ca: ca.map(Path::to_owned),
                insecure,
                cert: None,
                key: None,
                alpn: Vec::new(),
            };
            let config = certificates::client(&client, &mut Files::default())?;
            let name = ServerName::try_from(name.to_owned()).map_err(|_| {
                Failure::usage(format!(
                    "{name:?} cannot be the name of a certificate: --servername NAME says another"
                ))
            })?;
            let options = ConnectorOptions {
                stream,
                ..ConnectorOptions::default()
            };
            Ok(Self {
                connector: TlsConnector::new(events, config, options),
                name,
            })
        }

        /// `false` where the service is not of this loop.
        pub(crate) fn connect(
            &self,
            context: &mut Context<'_>,
            service: impl Into<StreamServiceId>,
            request: ConnectRequest,
        ) -> bool {
            let name = self.name.clone();
            self.connector.connect(context, service, name, request).is_ok()
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use std::path::Path;

    use sockeye::event_loop::{ConnectRequest, Context, EventLoop, StreamOptions, StreamServiceId};

    use crate::exit::Failure;

    /// There is none in a program that was built without TLS.
    #[derive(Debug)]
    pub(crate) enum Connector {}

    impl Connector {
        pub(crate) fn new(
            _: &mut EventLoop,
            _: Option<&Path>,
            _: bool,
            _: &str,
            _: StreamOptions,
        ) -> anyhow::Result<Self> {
            Err(Failure::usage(
                "this program was built without TLS: build it with the feature `tls`",
            ))
        }

        pub(crate) fn connect(
            &self,
            _: &mut Context<'_>,
            _: impl Into<StreamServiceId>,
            _: ConnectRequest,
        ) -> bool {
            match *self {}
        }
    }
}
