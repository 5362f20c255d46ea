//! QUIC of listeners and backends: each of the program's TLS settings has a server or a client of QUIC beside that of TLS. A
//! session is a stream; to a backend each has a connection of its own.

#[cfg(feature = "quic")]
pub(crate) use with_quic::{Quic, socket_of};
#[cfg(not(feature = "quic"))]
pub(crate) use without_quic::socket_of;

#[cfg(feature = "quic")]
mod with_quic {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use sockeye_endpoint::{Address, Host, Target, Transport};
    use sockeye_event_loop::backend::Backend;
    use sockeye_event_loop::{
        ConnectRequest, Context, DatagramId, EventLoop, Op, OpError, ServiceHandle, Stream,
    };
    use sockeye_quic::{
        QuicClient, QuicConnect, QuicHandle, QuicId, QuicServer, StreamQuic as _, socket_options,
    };
    use sockeye_tls::rustls::{ClientConfig, ServerConfig};

    use crate::service::RelayService;

    /// The services of QUIC, by the names of their TLS settings.
    #[derive(Debug, Default)]
    pub(crate) struct Quic {
        servers: BTreeMap<String, (ServiceHandle<QuicServer>, QuicHandle)>,
        clients: BTreeMap<String, QuicHandle>,
    }

    impl Quic {
        /// A configuration that QUIC cannot be spoken by is none for it.
        pub(crate) fn add_server<B: Backend>(
            &mut self,
            events: &mut EventLoop<B>,
            relay: ServiceHandle<RelayService>,
            name: &str,
            config: Arc<ServerConfig>,
        ) {
            if let Ok(server) = QuicServer::new(config, relay) {
                let quic = server.handle();
                let server = server.add_to(events);
                self.servers.insert(name.to_owned(), (server, quic));
            }
        }

        /// Likewise. Without a socket of a family no backend of that family is reached.
        pub(crate) fn add_client<B: Backend>(
            &mut self,
            events: &mut EventLoop<B>,
            name: &str,
            config: Arc<ClientConfig>,
        ) {
            let Ok(client) = QuicClient::new(config) else {
                return;
            };
            let quic = client.handle();
            let client = client.add_to(events);
            let any = [
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ];
            for ip in any {
                let options = sockeye_event_loop::DatagramOptions {
                    v6_only: ip.is_ipv6().then_some(true),
                    ..socket_options()
                };
                let _ = events.bind(client, SocketAddr::new(ip, 0), &options);
            }
            self.clients.insert(name.to_owned(), quic);
        }

        /// New connections get the certificates of `config`.
        pub(crate) fn replace_server(&self, name: &str, config: &ServerConfig) {
            if let Some((_, quic)) = self.servers.get(name) {
                // One that QUIC cannot be spoken by changes nothing.
                let _ = quic.replace_config(config);
            }
        }

        pub(crate) fn has_server(&self, name: &str) -> bool {
            self.servers.contains_key(name)
        }

        pub(crate) fn has_client(&self, name: &str) -> bool {
            self.clients.contains_key(name)
        }

        fn server(&self, name: &str) -> Result<ServiceHandle<QuicServer>, OpError> {
            let known = self.servers.get(name).map(|(server, _)| *server);
            // The configuration was checked.
            known.ok_or_else(|| OpError::new(Op::Bind, Transport::Udp, std::io::ErrorKind::NotFound.into()))
        }

        pub(crate) fn listen(
            &self,
            cx: &mut Context<'_>,
            name: &str,
            at: SocketAddr,
        ) -> Result<DatagramId, OpError> {
            cx.bind_for(self.server(name)?, at, &socket_options())
        }

        pub(crate) fn adopt(
            &self,
            cx: &mut Context<'_>,
            name: &str,
            socket: OwnedFd,
        ) -> Result<DatagramId, OpError> {
            cx.adopt_datagrams_for(self.server(name)?, socket, &socket_options())
        }

        /// Connects to the first address of the request that answers, for a stream of the relay.
        pub(crate) fn connect(
            &self,
            cx: &mut Context<'_>,
            name: &str,
            to: &Address<Target>,
            request: &ConnectRequest,
        ) -> Option<QuicId> {
            let Address::Ip { endpoint, .. } = to else {
                return None;
            };
            let server_name = match endpoint.host() {
                Host::Ip(ip, _) => ip.to_string(),
                Host::Name(name) => name.as_str().trim_end_matches('.').to_owned(),
            };
            let own = cx.handle::<RelayService>()?;
            let (first, others) = request.addresses().split_first()?;
            let wanted = QuicConnect::new(*first, server_name).alternatives(others.iter().copied());
            let wanted = match request.limited_to() {
                Some(within) => wanted.deadline(within),
                None => wanted,
            };
            let wanted = wanted.stream(own, request.tagged());
            self.clients.get(name)?.connect(cx, wanted).ok()
        }

        /// Gives a connect up: `on_connect_error` follows.
        pub(crate) fn cancel(&self, cx: &mut Context<'_>, name: &str, id: QuicId) -> bool {
            let client = self.clients.get(name);
            client.is_some_and(|quic| quic.abort(cx, id, 0, b""))
        }
    }

    /// The socket by which a stream has come, if it is one of QUIC.
    pub(crate) fn socket_of(stream: &Stream<'_>) -> Option<DatagramId> {
        stream.quic().map(|quic| quic.socket)
    }
}

#[cfg(not(feature = "quic"))]
mod without_quic {
    use sockeye_event_loop::{DatagramId, Stream};

    /// Without the feature there are none.
    pub(crate) fn socket_of(_: &Stream<'_>) -> Option<DatagramId> {
        None
    }
}
