//! TLS around the connections of a server, where the program has it.

#[cfg(feature = "tls")]
pub(super) use with_tls::Service;
#[cfg(not(feature = "tls"))]
pub(super) use without_tls::Service;

#[cfg(feature = "tls")]
mod with_tls {
    use std::net::SocketAddr;
    use std::path::Path;

    use sockeye::event_loop::{EventLoop, ListenOptions, ListenerId, ServiceHandle, StreamOptions};
    use sockeye::socket::OpError;
    use sockeye::tls::TlsServer;

    use super::super::log::{Event, Log};
    use super::super::service::Server;
    use crate::certificates;
    use crate::files::Files;
    use crate::identity;

    /// The service around the service.
    pub(crate) struct Service(ServiceHandle<TlsServer>);

    impl Service {
        /// # Errors
        /// What is wrong with the files.
        pub(crate) fn new(
            events: &mut EventLoop,
            inner: ServiceHandle<Server>,
            options: StreamOptions,
            (cert, key): (&Path, &Path),
            log: Log,
        ) -> anyhow::Result<Self> {
            let identity = identity::Server {
                cert: cert.to_owned(),
                key: key.to_owned(),
                alpn: Vec::new(),
            };
            let config = certificates::server(&identity, &mut Files::default())?;
            let server = TlsServer::new(config, inner).on_failure(move |_, failure| {
                log.put(Event::Refused {
                    peer: failure
                        .client
                        .map_or_else(|| "a peer".to_owned(), |at| at.to_string()),
                    reason: format!("the TLS handshake failed: {}", failure.error),
                });
            });
            Ok(Self(events.add_stream_service(server, options)))
        }

        /// # Errors
        /// What the system says.
        pub(crate) fn listen(
            &self,
            events: &mut EventLoop,
            at: SocketAddr,
            options: &ListenOptions,
        ) -> Result<ListenerId, OpError> {
            events.listen(self.0, at, options)
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use std::net::SocketAddr;
    use std::path::Path;

    use sockeye::event_loop::{EventLoop, ListenOptions, ListenerId, ServiceHandle, StreamOptions};
    use sockeye::socket::OpError;

    use super::super::log::Log;
    use super::super::service::Server;
    use crate::exit::Failure;

    /// There is none in a program that was built without TLS.
    pub(crate) enum Service {}

    impl Service {
        pub(crate) fn new(
            _: &mut EventLoop,
            _: ServiceHandle<Server>,
            _: StreamOptions,
            _: (&Path, &Path),
            _: Log,
        ) -> anyhow::Result<Self> {
            Err(Failure::usage(
                "this program was built without TLS: build it with the feature `tls`",
            ))
        }

        pub(crate) fn listen(
            &self,
            _: &mut EventLoop,
            _: SocketAddr,
            _: &ListenOptions,
        ) -> Result<ListenerId, OpError> {
            match *self {}
        }
    }
}
