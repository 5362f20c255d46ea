//! [`QuicClient`]: QUIC for connections that are made.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::Dir;
use quinn_proto::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    CloseReason, Context, Datagram, DatagramId, DatagramService, Datagrams, EventLoop, ServiceHandle,
    StreamServiceId,
};

use crate::core::{Core, Role};
use crate::ends::{Ends, stream_options};
use crate::handle::{QuicHandle, Shared};
use crate::options::QuicOptions;
use crate::server::{ConfigError, alike, has_tls13};
use crate::service::ConnectionService;
use crate::stats::QuicCounters;

/// How long a handshake may take, if the request does not say.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where to connect, and what for.
#[derive(Clone, Debug)]
pub struct QuicConnect {
    pub(crate) remote: SocketAddr,
    pub(crate) others: VecDeque<SocketAddr>,
    pub(crate) server_name: String,
    pub(crate) early: bool,
    pub(crate) keep: bool,
    pub(crate) deadline: Duration,
    pub(crate) streams: Vec<(Dir, StreamServiceId, u64)>,
}

impl QuicConnect {
    /// To an address, for the server of that name: its certificate has to say so. The name may be an address.
    #[must_use]
    pub fn new(remote: SocketAddr, server_name: impl Into<String>) -> Self {
        Self {
            remote,
            others: VecDeque::new(),
            server_name: server_name.into(),
            early: false,
            keep: false,
            deadline: DEADLINE,
            streams: Vec::new(),
        }
    }

    /// Other addresses of the same server, in order. One that does not answer within a second is given up for the next: over UDP
    /// nobody says that nobody is there. The deadline is one for all. With [`early_data`](Self::early_data) they are not tried.
    #[must_use]
    pub fn alternatives(mut self, others: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.others.extend(others);
        self
    }

    /// Opens a stream in both directions for a service, which hears this number as its tag.
    #[must_use]
    pub fn stream(mut self, service: impl Into<StreamServiceId>, tag: u64) -> Self {
        self.streams.push((Dir::Bi, service.into(), tag));
        self
    }

    /// Opens a stream that only this side writes to.
    #[must_use]
    pub fn unidirectional_stream(mut self, service: impl Into<StreamServiceId>, tag: u64) -> Self {
        self.streams.push((Dir::Uni, service.into(), tag));
        self
    }

    /// Opens the streams at once where the server was connected to before and has said that it takes early data (0-RTT). What
    /// they send may be recorded by somebody and sent again. Streams that the server did not take are reset by
    /// [`EarlyDataRejected`](crate::QuicError::EarlyDataRejected).
    #[must_use]
    pub fn early_data(mut self) -> Self {
        self.early = true;
        self
    }

    /// The connection stays when its last stream is over. Without it, it is closed in order then.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// How long the handshake may take: ten seconds by default.
    #[must_use]
    pub fn deadline(mut self, within: Duration) -> Self {
        self.deadline = within;
        self
    }
}

/// Makes QUIC connections for the services of a loop.
///
/// It is a service of datagram sockets, one for each family of addresses; [`handle`](Self::handle) gives the way to connect.
///
/// ```no_run
/// use std::net::SocketAddr;
/// use sockeye_event_loop::{Context, EventLoop, ServiceHandle, StreamService};
/// use sockeye_quic::{QuicClient, QuicConnect, QuicHandle, rustls, socket_options};
///
/// fn client(config: rustls::ClientConfig) -> Result<(EventLoop, QuicHandle), Box<dyn std::error::Error>> {
///     let mut events = EventLoop::new()?;
///     let client = QuicClient::new(config)?;
///     let quic = client.handle();
///     let client = client.add_to(&mut events);
///     events.bind(client, SocketAddr::from(([0, 0, 0, 0], 0)), &socket_options())?;
///     Ok((events, quic))
/// }
///
/// // From a callback of a service, for itself.
/// fn connect<S: StreamService>(quic: &QuicHandle, context: &mut Context<'_>, own: ServiceHandle<S>) {
///     let request = QuicConnect::new(([192, 0, 2, 1], 443).into(), "example.org").stream(own, 7);
///     let _ = quic.connect(context, request);
/// }
/// ```
pub struct QuicClient {
    tls: ClientConfig,
    shared: Rc<Shared>,
}

impl QuicClient {
    /// A client that trusts, offers and resumes as `config` says.
    ///
    /// # Errors
    /// [`ConfigError`] where QUIC cannot be spoken by that configuration.
    pub fn new(config: impl Into<Arc<ClientConfig>>) -> Result<Self, ConfigError> {
        let config: Arc<ClientConfig> = config.into();
        let tls = ClientConfig::clone(&config);
        if !has_tls13(tls.crypto_provider()) {
            return Err(ConfigError::NoTls13);
        }
        let crypto = Arc::new(QuicClientConfig::try_from(config)?);
        let core = Core::new(Role::Client { crypto, config: None });
        Ok(Self {
            tls,
            shared: Rc::new(Shared {
                core: RefCell::new(core),
                listener: RefCell::new(None),
            }),
        })
    }

    /// How connections are.
    #[must_use]
    pub fn options(self, options: QuicOptions) -> Self {
        self.shared.core.borrow_mut().options = options;
        self
    }

    /// Counts into these.
    #[must_use]
    pub fn counters(self, counters: &QuicCounters) -> Self {
        self.shared.core.borrow_mut().counters = counters.clone();
        self
    }

    /// Serves streams that servers open. Without it there are none.
    #[must_use]
    pub fn serve(self, service: impl Into<StreamServiceId>) -> Self {
        self.shared.core.borrow_mut().inner = Some(service.into());
        self
    }

    /// Serves streams that only the server writes to. Without it there are none.
    #[must_use]
    pub fn unidirectional(self, service: impl Into<StreamServiceId>) -> Self {
        self.shared.core.borrow_mut().unidirectional = Some(service.into());
        self
    }

    /// Can send early data (0-RTT), for requests that ask for it. Without this call none can.
    #[must_use]
    pub fn early_data(self) -> Self {
        self.shared.core.borrow_mut().early = true;
        self
    }

    /// Tells `service` of connections.
    #[must_use]
    pub fn connections(self, service: impl ConnectionService) -> Self {
        *self.shared.listener.borrow_mut() = Some(Box::new(service));
        self.shared.core.borrow_mut().has_listener = true;
        self
    }

    /// The way to connect, for services of the same loop.
    #[must_use]
    pub fn handle(&self) -> QuicHandle {
        QuicHandle(Rc::clone(&self.shared))
    }

    /// Adds it to a loop. What [`bind`](EventLoop::bind) opens for the handle are its sockets.
    pub fn add_to<B: Backend>(mut self, events: &mut EventLoop<B>) -> ServiceHandle<Self> {
        let ends = events.add_stream_service(Ends(Rc::clone(&self.shared)), stream_options());
        {
            let mut core = self.shared.core.borrow_mut();
            core.ends = Some(ends.into());
            self.tls.enable_early_data = core.early;
            if let Role::Client { crypto, .. } = &mut core.role
                && let Ok(made) = QuicClientConfig::try_from(self.tls.clone())
            {
                // It was possible with the same suites before.
                *crypto = Arc::new(made);
            }
        }
        events.add_datagram_service(self)
    }
}

impl std::fmt::Debug for QuicClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicClient").finish_non_exhaustive()
    }
}

impl DatagramService for QuicClient {
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
