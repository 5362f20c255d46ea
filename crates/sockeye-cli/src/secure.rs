//! TLS around what is served, where the program has it.

#[cfg(feature = "tls")]
pub(crate) use with_tls::{Secure, Service};
#[cfg(not(feature = "tls"))]
pub(crate) use without_tls::{Secure, Service};

#[cfg(feature = "tls")]
mod with_tls {
    use std::fmt::Display;
    use std::net::SocketAddr;
    use std::path::Path;
    use std::sync::Arc;

    use rustls::ServerConfig;
    use sockeye::event_loop::{
        Context, EventLoop, ListenOptions, ListenerId, ServiceHandle, StreamOptions, StreamServiceId,
    };
    use sockeye::socket::OpError;
    use sockeye::tls::TlsServer;

    use crate::certificates;
    use crate::files::Files;
    use crate::identity::Server;

    /// The certificate and its key.
    #[derive(Debug, Clone)]
    pub(crate) struct Secure(Arc<ServerConfig>);

    impl Secure {
        /// Reads both.
        ///
        /// # Errors
        /// What cannot be read, or is not what it has to be.
        pub(crate) fn load(cert: &Path, key: &Path, files: &mut Files) -> anyhow::Result<Self> {
            let identity = Server {
                cert: cert.to_owned(),
                key: key.to_owned(),
                alpn: Vec::new(),
            };
            certificates::server(&identity, files).map(|config| Self(Arc::new(config)))
        }

        /// Puts TLS around a service of a loop. `failed` is told of each handshake that came to nothing: whose, and why.
        pub(crate) fn around(
            &self,
            events: &mut EventLoop,
            inner: StreamServiceId,
            options: StreamOptions,
            mut failed: impl FnMut(&mut Context<'_>, Option<SocketAddr>, &dyn Display) + 'static,
        ) -> Service {
            let server = TlsServer::new(Arc::clone(&self.0), inner)
                .on_failure(move |context, failure| failed(context, failure.client, failure.error));
            Service(events.add_stream_service(server, options))
        }
    }

    #[cfg(feature = "quic")]
    impl Secure {
        /// A server of QUIC whose streams `inner` serves.
        ///
        /// # Errors
        /// When the certificate is none for QUIC.
        pub(crate) fn quic(&self, inner: StreamServiceId) -> anyhow::Result<sockeye::quic::QuicServer> {
            Ok(sockeye::quic::QuicServer::new(Arc::clone(&self.0), inner)?)
        }
    }

    /// A service under TLS.
    #[derive(Debug)]
    pub(crate) struct Service(ServiceHandle<TlsServer>);

    impl Service {
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
    use std::fmt::Display;
    use std::net::SocketAddr;
    use std::path::Path;

    use sockeye::event_loop::{
        Context, EventLoop, ListenOptions, ListenerId, StreamOptions, StreamServiceId,
    };
    use sockeye::socket::OpError;

    use crate::exit::Failure;
    use crate::files::Files;

    /// There is none in a program that was built without TLS.
    #[derive(Debug, Clone)]
    pub(crate) enum Secure {}

    impl Secure {
        pub(crate) fn load(_: &Path, _: &Path, _: &mut Files) -> anyhow::Result<Self> {
            Err(Failure::usage(
                "this program was built without TLS: build it with the feature `tls`",
            ))
        }

        pub(crate) fn around(
            &self,
            _: &mut EventLoop,
            _: StreamServiceId,
            _: StreamOptions,
            _: impl FnMut(&mut Context<'_>, Option<SocketAddr>, &dyn Display) + 'static,
        ) -> Service {
            match *self {}
        }
    }

    /// Likewise.
    #[derive(Debug)]
    pub(crate) enum Service {}

    impl Service {
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
