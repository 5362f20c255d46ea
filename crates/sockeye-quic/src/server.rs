//! [`QuicServer`]: QUIC for connections that come.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use quinn_proto::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramService, Datagrams, EventLoop, ServiceHandle,
    StreamServiceId,
};

use crate::core::{Core, Role};
use crate::ends::{Ends, stream_options};
use crate::handle::{QuicHandle, Shared};
use crate::info::QuicInfo;
use crate::options::{QuicLimits, QuicOptions};
use crate::seed::Shard;
use crate::service::ConnectionService;
use crate::stats::QuicCounters;

pub(crate) type Choose = Box<dyn FnMut(&QuicInfo) -> Option<StreamServiceId>>;
pub(crate) type Admit = Box<dyn FnMut(&Client) -> Admission>;

/// The configuration has no way to begin with QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Its provider lacks the cipher suite that every connection begins with (RFC 9001, section 5.2).
    #[error("QUIC: the TLS configuration lacks TLS13_AES_128_GCM_SHA256, which QUIC begins with")]
    NoInitialCipherSuite,
    /// It does not speak TLS 1.3.
    #[error("QUIC: the TLS configuration does not speak TLS 1.3, which QUIC is built on")]
    NoTls13,
}

impl From<NoInitialCipherSuite> for ConfigError {
    fn from(_: NoInitialCipherSuite) -> Self {
        Self::NoInitialCipherSuite
    }
}

/// Whether a provider has what QUIC is built on.
pub(crate) fn has_tls13(provider: &CryptoProvider) -> bool {
    provider.cipher_suites.iter().any(|suite| suite.tls13().is_some())
}

/// Who wants to connect, before anything is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// Where it says that it is: anybody's address, unless it is validated.
    pub remote: SocketAddr,
    /// The address that it sent to, where the socket reports it.
    pub local: Option<IpAddr>,
    /// Whether it has shown that it receives what is sent there.
    pub validated: bool,
}

/// What a server does with a client that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It goes on, as the limits allow.
    Accept,
    /// It has to show first that it receives what is sent to its address; once it has, it goes on.
    Validate,
    /// It is told that it is refused.
    Refuse,
}

/// QUIC for connections that come: a service of datagram sockets, in whose connections other services serve the streams.
///
/// Each stream that a client opens is a [pair](sockeye_event_loop::PairOptions), whose other end belongs to the service inside.
/// There `peer_addr` and `local_addr` answer as the connection does, and [`quic`](crate::StreamQuic::quic) says what was agreed
/// on. Bytes, ends, resets and back-pressure go through both ways: a half-close is the stream's FIN, a reset is RESET_STREAM and
/// STOP_SENDING, a service that does not read stops the peer.
///
/// ```
/// use std::net::SocketAddr;
/// use sockeye_event_loop::{EventLoop, Stream, StreamOptions, StreamService};
/// use sockeye_quic::{QuicServer, rustls, socket_options};
///
/// struct Echo;
///
/// impl StreamService for Echo {
///     type Conn = ();
///
///     fn on_open(&mut self, _: &mut Stream<'_>) {}
///
///     fn on_data(&mut self, stream: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
///         if stream.write(data).is_taken() { data.len() } else { 0 }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// # let certificates = vec![made.cert.der().clone()];
/// # let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
/// # let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
/// let config = rustls::ServerConfig::builder_with_provider(provider)
///     .with_protocol_versions(&[&rustls::version::TLS13])?
///     .with_no_client_auth()
///     .with_single_cert(certificates, key)?;
/// let mut events = EventLoop::new()?;
/// let echo = events.add_stream_service(Echo, StreamOptions::default());
/// let quic = QuicServer::new(config, echo)?.add_to(&mut events);
/// events.bind(quic, SocketAddr::from(([127, 0, 0, 1], 0)), &socket_options())?;
/// # Ok(())
/// # }
/// ```
pub struct QuicServer {
    tls: ServerConfig,
    shared: Rc<Shared>,
    limits: QuicLimits,
    choose: Option<Choose>,
    admit: Option<Admit>,
}

impl QuicServer {
    /// QUIC with the certificates and protocols of `config`; `inner` serves the streams that clients open in both directions.
    ///
    /// # Errors
    /// [`ConfigError`] where QUIC cannot be spoken by that configuration.
    pub fn new(
        config: impl Into<Arc<ServerConfig>>,
        inner: impl Into<StreamServiceId>,
    ) -> Result<Self, ConfigError> {
        let config: Arc<ServerConfig> = config.into();
        let tls = ServerConfig::clone(&config);
        if !has_tls13(tls.crypto_provider()) {
            return Err(ConfigError::NoTls13);
        }
        let crypto = Arc::new(QuicServerConfig::try_from(config)?);
        let mut core = Core::new(Role::Server {
            crypto,
            config: None,
            choose: None,
            admit: None,
            limits: QuicLimits::default(),
        });
        core.inner = Some(inner.into());
        Ok(Self {
            tls,
            shared: Rc::new(Shared {
                core: RefCell::new(core),
                listener: RefCell::new(None),
            }),
            limits: QuicLimits::default(),
            choose: None,
            admit: None,
        })
    }

    /// How connections are.
    #[must_use]
    pub fn options(self, options: QuicOptions) -> Self {
        self.shared.core.borrow_mut().options = options;
        self
    }

    /// Bounds on connections and handshakes.
    #[must_use]
    pub fn limits(mut self, limits: QuicLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Counts into these.
    #[must_use]
    pub fn counters(self, counters: &QuicCounters) -> Self {
        self.shared.core.borrow_mut().counters = counters.clone();
        self
    }

    /// Asks `choose` for the service of a connection's streams, by what was agreed on: the protocol (ALPN), the server's name
    /// (SNI), the client's certificate. `None` closes the connection.
    #[must_use]
    pub fn choose_service(
        mut self,
        choose: impl FnMut(&QuicInfo) -> Option<StreamServiceId> + 'static,
    ) -> Self {
        self.choose = Some(Box::new(choose));
        self
    }

    /// Asks `admit` what to do with each client that comes, before anything is kept of it. The limits hold besides.
    #[must_use]
    pub fn admit(mut self, admit: impl FnMut(&Client) -> Admission + 'static) -> Self {
        self.admit = Some(Box::new(admit));
        self
    }

    /// Serves streams that only the client writes to. Without it there are none: a client may not open any.
    #[must_use]
    pub fn unidirectional(self, service: impl Into<StreamServiceId>) -> Self {
        self.shared.core.borrow_mut().unidirectional = Some(service.into());
        self
    }

    /// Takes early data (0-RTT): streams may open before the handshake is complete, and what they bring may be a copy that
    /// somebody has recorded and sent again. Streams say so: [`early`](crate::QuicStreamInfo::early). Without this call none is
    /// taken, whatever the TLS configuration says.
    #[must_use]
    pub fn early_data(self) -> Self {
        self.shared.core.borrow_mut().early = true;
        self
    }

    /// One of several servers, each on a loop of its own, that share a port: `index` of `count`. Their sockets have to be bound with
    /// [`reuse_port`](sockeye_event_loop::DatagramOptions::reuse_port), in the order of their indices, which is the order in which
    /// [`Shards::start`](sockeye_event_loop::Shards::start) sets shards up. The kernel then gives each packet to the server that has chosen its
    /// connection id, so that a connection stays where it is when its client moves.
    ///
    /// What a sender or the kernel has merged (UDP_SEGMENT, UDP_GRO) is steered as one, by its first packet: have the sockets'
    /// [`gro`](sockeye_event_loop::DatagramOptions::gro) off where one client's socket may have several connections.
    ///
    /// More than 255 cannot be told apart; an index that is none of the count is taken modulo it.
    #[must_use]
    pub fn shard(self, index: u8, count: u8) -> Self {
        let count = count.max(1);
        self.shared.core.borrow_mut().shard = Shard {
            index: index % count,
            count,
        };
        self
    }

    /// Tells `service` of connections.
    #[must_use]
    pub fn connections(self, service: impl ConnectionService) -> Self {
        *self.shared.listener.borrow_mut() = Some(Box::new(service));
        self.shared.core.borrow_mut().has_listener = true;
        self
    }

    /// A way to its connections, for services of the same loop.
    #[must_use]
    pub fn handle(&self) -> QuicHandle {
        QuicHandle(Rc::clone(&self.shared))
    }

    /// Adds it to a loop. What [`bind`](EventLoop::bind) opens for the handle are its sockets: one is enough, several of
    /// different addresses are one server.
    pub fn add_to<B: Backend>(mut self, events: &mut EventLoop<B>) -> ServiceHandle<Self> {
        let ends = events.add_stream_service(Ends(Rc::clone(&self.shared)), stream_options());
        {
            let mut core = self.shared.core.borrow_mut();
            core.ends = Some(ends.into());
            // QUIC knows all early data or none (RFC 9001, section 4.6.1).
            self.tls.max_early_data_size = if core.early { u32::MAX } else { 0 };
            if let Role::Server {
                crypto,
                choose,
                admit,
                limits,
                ..
            } = &mut core.role
            {
                // It was possible with the same suites before.
                if let Ok(made) = QuicServerConfig::try_from(self.tls.clone()) {
                    *crypto = Arc::new(made);
                }
                *choose = self.choose.take();
                *admit = self.admit.take();
                *limits = self.limits.clone();
            }
        }
        events.add_datagram_service(self)
    }
}

impl std::fmt::Debug for QuicServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicServer")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Both sides handle datagrams alike.
pub(crate) mod alike {
    use super::{Context, Datagram, DatagramId, Datagrams, QuicHandle, Shared};

    pub(crate) fn datagram(shared: &Shared, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let id = socket.id();
        shared
            .core
            .borrow_mut()
            .receive(&mut socket.context(), id, datagram);
    }

    pub(crate) fn batch_complete(quic: &QuicHandle, socket: &mut Datagrams<'_>) {
        quic.0.core.borrow_mut().batch_complete(&mut socket.context());
        quic.tell(&mut socket.context());
    }

    pub(crate) fn writable(shared: &Shared, socket: &mut Datagrams<'_>) {
        let id = socket.id();
        shared.core.borrow_mut().writable(&mut socket.context(), id);
    }

    pub(crate) fn timer(quic: &QuicHandle, socket: &mut Datagrams<'_>, key: u64) {
        quic.0.core.borrow_mut().timer(&mut socket.context(), key);
        quic.tell(&mut socket.context());
    }

    pub(crate) fn turn_end(quic: &QuicHandle, socket: &mut Datagrams<'_>) {
        let id = socket.id();
        quic.0.core.borrow_mut().turn_end(&mut socket.context(), id);
        quic.tell(&mut socket.context());
    }

    pub(crate) fn drain(quic: &QuicHandle, socket: &mut Datagrams<'_>) {
        quic.0.core.borrow_mut().drain(&mut socket.context());
        quic.tell(&mut socket.context());
    }

    pub(crate) fn closed(quic: &QuicHandle, context: &mut Context<'_>, id: DatagramId) {
        quic.0.core.borrow_mut().close_socket(context, id);
        quic.tell(context);
    }
}

impl DatagramService for QuicServer {
    fn on_open(&mut self, socket: &mut Datagrams<'_>) {
        self.shared.core.borrow_mut().open(socket);
    }

    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        alike::datagram(&self.shared, socket, datagram);
    }

    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        alike::batch_complete(&self.handle(), socket);
    }

    fn on_writable(&mut self, socket: &mut Datagrams<'_>) {
        alike::writable(&self.shared, socket);
    }

    fn on_timer(&mut self, socket: &mut Datagrams<'_>, key: u64) {
        alike::timer(&self.handle(), socket, key);
    }

    fn on_turn_end(&mut self, socket: &mut Datagrams<'_>) {
        alike::turn_end(&self.handle(), socket);
    }

    fn on_drain(&mut self, socket: &mut Datagrams<'_>) {
        alike::drain(&self.handle(), socket);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, _: CloseReason) {
        alike::closed(&self.handle(), context, id);
    }
}
