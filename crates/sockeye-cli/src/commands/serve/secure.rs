//! TLS around what is served, where the program has it.

#[cfg(feature = "tls")]
pub(super) use with_tls::{Secure, Service};
#[cfg(not(feature = "tls"))]
pub(super) use without_tls::{Secure, Service};

#[cfg(feature = "tls")]
mod with_tls {
    use std::net::SocketAddr;
    use std::path::Path;
    use std::sync::Arc;

    use rustls::ServerConfig;
    use sockeye::event_loop::{
        EventLoop, ListenOptions, ListenerId, ServiceHandle, StreamOptions, StreamServiceId,
    };
    use sockeye::socket::OpError;
    use sockeye::tls::TlsServer;

    use super::super::watch::{Notice, Shared};
    use crate::certificates;
    use crate::files::Files;
    use crate::identity::Server;

    /// The certificate and its key.
    #[derive(Debug, Clone)]
    pub(in super::super) struct Secure(Arc<ServerConfig>);

    impl Secure {
        /// Reads both.
        ///
        /// # Errors
        /// What cannot be read, or is not what it has to be.
        pub(in super::super) fn load(cert: &Path, key: &Path, files: &mut Files) -> anyhow::Result<Self> {
            let identity = Server {
                cert: cert.to_owned(),
                key: key.to_owned(),
                alpn: Vec::new(),
            };
            certificates::server(&identity, files).map(|config| Self(Arc::new(config)))
        }

        /// Puts TLS around a service of a loop.
        pub(in super::super) fn around(
            &self,
            events: &mut EventLoop,
            inner: StreamServiceId,
            options: StreamOptions,
            shared: &Arc<Shared>,
        ) -> Service {
            let shared = Arc::clone(shared);
            let server = TlsServer::new(Arc::clone(&self.0), inner).on_failure(move |context, failure| {
                shared.tell(Notice::Handshake, context.now(), || {
                    let client = failure.client.map(|client| format!(" with {client}"));
                    let client = client.unwrap_or_default();
                    format!("a TLS handshake{client} failed: {}", failure.error)
                });
            });
            Service(events.add_stream_service(server, options))
        }
    }

    /// A service under TLS.
    #[derive(Debug)]
    pub(in super::super) struct Service(ServiceHandle<TlsServer>);

    impl Service {
        /// # Errors
        /// What the system says.
        pub(in super::super) fn listen(
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
    use std::sync::Arc;

    use sockeye::event_loop::{EventLoop, ListenOptions, ListenerId, StreamOptions, StreamServiceId};
    use sockeye::socket::OpError;

    use super::super::watch::Shared;
    use crate::exit::Failure;
    use crate::files::Files;

    /// There is none in a program that was built without TLS.
    #[derive(Debug, Clone)]
    pub(in super::super) enum Secure {}

    impl Secure {
        pub(in super::super) fn load(_: &Path, _: &Path, _: &mut Files) -> anyhow::Result<Self> {
            Err(Failure::usage(
                "this program was built without TLS: build it with the feature `tls`",
            ))
        }

        pub(in super::super) fn around(
            &self,
            _: &mut EventLoop,
            _: StreamServiceId,
            _: StreamOptions,
            _: &Arc<Shared>,
        ) -> Service {
            match *self {}
        }
    }

    /// Likewise.
    #[derive(Debug)]
    pub(in super::super) enum Service {}

    impl Service {
        pub(in super::super) fn listen(
            &self,
            _: &mut EventLoop,
            _: SocketAddr,
            _: &ListenOptions,
        ) -> Result<ListenerId, OpError> {
            match *self {}
        }
    }
}
