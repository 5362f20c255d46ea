//! [`TlsServer`]: TLS for connections that come.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::{Acceptor, ClientHello, UnbufferedServerConnection};
use rustls::{Error, ServerConfig};
use sockeye_event_loop::{
    CloseReason, ConnectFailure, Context, ListenerId, Message, Stream, StreamId, StreamService,
    StreamServiceId,
};

use crate::carrier::{Carrier, HandshakeLimits, Place, Side};
use crate::engine::{Connection, Engine, Outgoing};
use crate::error::TlsError;
use crate::hello::{self, Hello};
use crate::info::TlsInfo;
use crate::stats::TlsCounters;

/// How an HTTP request begins, for each method (RFC 9110, section 9, and PATCH of RFC 5789).
const HTTP: [&[u8]; 9] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
];
/// What a browser shows whoever forgot the `s` of https.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
Content-Length: 63\r\nConnection: close\r\n\r\nThis port speaks TLS, and the request was plain. Use https://.\n";

/// A fatal alert `unrecognized_name` (RFC 6066, section 3), in a record of its own.
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// A configuration that can be replaced while connections go on: those that stand keep theirs, new ones take the new one.
///
/// A clone is the same configuration; it can be replaced from any thread.
#[derive(Clone, Debug)]
pub struct ReloadableConfig(Arc<Mutex<Arc<ServerConfig>>>);

impl ReloadableConfig {
    /// For the configuration to begin with.
    #[must_use]
    pub fn new(config: impl Into<Arc<ServerConfig>>) -> Self {
        Self(Arc::new(Mutex::new(config.into())))
    }

    /// From now on new connections get this one.
    pub fn replace(&self, config: impl Into<Arc<ServerConfig>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config.into();
    }

    /// The one that new connections get now.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Arc<ServerConfig>> for ReloadableConfig {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::new(config)
    }
}

impl From<ServerConfig> for ReloadableConfig {
    fn from(config: ServerConfig) -> Self {
        Self::new(config)
    }
}

type ForHello = Box<dyn FnMut(&ClientHello<'_>) -> Option<Arc<ServerConfig>>>;
type ForInfo = Box<dyn FnMut(&TlsInfo) -> Option<StreamServiceId>>;
type OnFailure = Box<dyn FnMut(&mut Context<'_>, &HandshakeFailure<'_>)>;

/// A handshake of a client that came to nothing: nobody inside hears of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HandshakeFailure<'a> {
    /// The connection, which ends.
    pub stream: StreamId,
    /// The listener that it came through. `None` of a connection that was handed over, and has none.
    pub listener: Option<ListenerId>,
    /// The client, as [`Stream::peer_addr`] called it. `None` of a Unix socket.
    pub client: Option<SocketAddr>,
    /// The server that it asked for, if it came to that.
    pub server_name: Option<&'a str>,
    /// Why.
    pub error: &'a TlsError,
}

/// TLS for connections that come: a service around another one, which does not know.
///
/// It has the connection; the service inside has one end of a [pair](sockeye_event_loop::PairOptions), opened once the
/// handshake is complete. There `peer_addr`, `local_addr` and `tag` answer as the connection does, and
/// [`tls`](crate::StreamTls::tls) says what was agreed on. Bytes, ends, resets and back-pressure go through both ways: a half-close is
/// `close_notify`, an end without it is an error ([`TlsError::Truncated`]).
///
/// Its own [`StreamOptions`](sockeye_event_loop::StreamOptions) are of the connection: deadlines, socket options. What may be
/// queued is decided by the marks of the service inside; `max_tail` has to have room for a record, as by default. A listener
/// that is lost ([`StreamService::on_listener_lost`]) is told to the service inside that it was made with.
///
/// ```
/// use std::net::SocketAddr;
/// use std::sync::Arc;
/// use rustls::ServerConfig;
/// use sockeye_event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};
/// use sockeye_tls::{StreamTls, TlsServer};
///
/// struct Hello;
///
/// impl StreamService for Hello {
///     type Conn = ();
///
///     fn on_open(&mut self, stream: &mut Stream<'_>) {
///         let version = stream.tls().map(|tls| tls.version);
///         let _ = stream.write(format!("hello by {version:?}\n").as_bytes());
///         stream.close();
///     }
///
///     fn on_data(&mut self, _: &mut Stream<'_>, (): &mut (), data: &mut [u8]) -> usize {
///         data.len()
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// # let certificates = vec![made.cert.der().clone()];
/// # let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
/// # let provider = Arc::new(rustls::crypto::ring::default_provider());
/// let config = ServerConfig::builder_with_provider(provider)
///     .with_safe_default_protocol_versions()?
///     .with_no_client_auth()
///     .with_single_cert(certificates, key)?;
/// let mut events = EventLoop::new()?;
/// let hello = events.add_stream_service(Hello, StreamOptions::default());
/// let tls = events.add_stream_service(TlsServer::new(config, hello), StreamOptions::default());
/// events.listen(tls, SocketAddr::from(([127, 0, 0, 1], 0)), &ListenOptions::default())?;
/// # Ok(())
/// # }
/// ```
pub struct TlsServer(Carrier<Server>);

/// The side that is connected to.
struct Server {
    config: ReloadableConfig,
    inner: StreamServiceId,
    for_hello: Option<ForHello>,
    for_info: Option<ForInfo>,
    on_failure: Option<OnFailure>,
}

/// What is kept of a connection.
#[derive(Default)]
struct Kept {
    /// Reads the first message for a closure that chooses by it.
    acceptor: Option<Acceptor>,
    /// Bytes that it has had.
    fed: usize,
    server_name: Option<String>,
    /// Whom a failure is told of.
    listener: Option<ListenerId>,
    client: Option<SocketAddr>,
}

impl TlsServer {
    /// TLS by `config` around the service `inner`.
    #[must_use]
    pub fn new(config: impl Into<ReloadableConfig>, inner: impl Into<StreamServiceId>) -> Self {
        Self(Carrier::new(Server {
            config: config.into(),
            inner: inner.into(),
            for_hello: None,
            for_info: None,
            on_failure: None,
        }))
    }

    /// Asks `choose` for the configuration once the client has said which server and which protocols it wants (SNI, ALPN).
    /// `None` refuses it, by the alert `unrecognized_name`.
    ///
    /// Where only the certificate depends on the name, rustls'
    /// [`ResolvesServerCert`](rustls::server::ResolvesServerCert) in one configuration is cheaper.
    #[must_use]
    pub fn choose_config(
        mut self,
        choose: impl FnMut(&ClientHello<'_>) -> Option<Arc<ServerConfig>> + 'static,
    ) -> Self {
        self.0.side.for_hello = Some(Box::new(choose));
        self
    }

    /// Asks `choose` for the service inside, by what was agreed on: the protocol (ALPN), the server's name (SNI), the
    /// client's certificate. `None` closes the connection.
    #[must_use]
    pub fn choose_service(
        mut self,
        choose: impl FnMut(&TlsInfo) -> Option<StreamServiceId> + 'static,
    ) -> Self {
        self.0.side.for_info = Some(Box::new(choose));
        self
    }

    /// Tells `tell` of each handshake that came to nothing, for a log: the service inside does not hear of it, and
    /// [`counters`](Self::counters) only count it.
    #[must_use]
    pub fn on_failure(mut self, tell: impl FnMut(&mut Context<'_>, &HandshakeFailure<'_>) + 'static) -> Self {
        self.0.side.on_failure = Some(Box::new(tell));
        self
    }

    /// Bounds on handshakes.
    #[must_use]
    pub fn limits(mut self, limits: HandshakeLimits) -> Self {
        self.0.limits = limits;
        self
    }

    /// Counts into these.
    #[must_use]
    pub fn counters(mut self, counters: &TlsCounters) -> Self {
        self.0.counters = counters.clone();
        self
    }
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsServer")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl Side for Server {
    type Kept = Kept;

    fn own(context: &Context<'_>) -> Option<StreamServiceId> {
        context.handle::<TlsServer>().map(Into::into)
    }

    fn open(&mut self, stream: &mut Stream<'_>) -> Result<(Option<Box<Engine>>, Kept), TlsError> {
        let kept = Kept {
            listener: stream.listener(),
            client: stream.peer_addr(),
            ..Kept::default()
        };
        Ok((None, kept))
    }

    fn hello(
        &mut self,
        kept: &mut Kept,
        data: &[u8],
        out: &mut Outgoing,
    ) -> Result<Option<Box<Engine>>, TlsError> {
        if is_plain_http(data) {
            out.add(PLAIN_HTTP);
            return Err(TlsError::PlainHttp);
        }
        if HTTP.iter().any(|method| method.starts_with(data)) {
            // It may become a request.
            return Ok(None);
        }
        let config = match &mut self.for_hello {
            Some(choose) => chosen(kept, choose, data, out)?,
            None => match hello::server_name(data) {
                Hello::Incomplete => None,
                Hello::Whole(name) => {
                    kept.server_name = name;
                    Some(self.config.current())
                }
            },
        };
        let Some(config) = config else { return Ok(None) };
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Some(Box::new(Engine::new(Connection::Server(connection)))))
    }

    fn server_name(&self, kept: &Kept) -> Option<String> {
        kept.server_name.clone()
    }

    fn inner(&mut self, _: &Kept, info: &TlsInfo) -> Option<(StreamServiceId, Option<u64>)> {
        let inner = match &mut self.for_info {
            Some(choose) => choose(info)?,
            None => self.inner,
        };
        Some((inner, None))
    }

    fn failed(&mut self, context: &mut Context<'_>, kept: &Kept, id: StreamId, error: &TlsError) {
        if let Some(tell) = &mut self.on_failure {
            let failure = HandshakeFailure {
                stream: id,
                listener: kept.listener,
                client: kept.client,
                server_name: kept.server_name.as_deref(),
                error,
            };
            tell(context, &failure);
        }
    }

    fn connect_failed(&mut self, _: &mut Context<'_>, _: ConnectFailure) {}
}

/// Whether a request of HTTP begins here.
fn is_plain_http(data: &[u8]) -> bool {
    HTTP.iter().any(|method| data.starts_with(method))
}

/// The configuration that the closure chooses, once the client has said all that it may choose by.
fn chosen(
    kept: &mut Kept,
    choose: &mut ForHello,
    data: &[u8],
    out: &mut Outgoing,
) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let acceptor = kept.acceptor.get_or_insert_default();
    while let Some(mut new) = data.get(kept.fed..).filter(|new| !new.is_empty()) {
        kept.fed += acceptor
            .read_tls(&mut new)
            .map_err(|error| Error::General(error.to_string()))?;
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                kept.acceptor = None;
                let hello = accepted.client_hello();
                kept.server_name = hello.server_name().map(str::to_owned);
                let config = choose(&hello);
                if config.is_none() {
                    out.add(UNRECOGNIZED_NAME);
                }
                return config.ok_or(TlsError::Refused).map(Some);
            }
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                if alert.write_all(&mut bytes).is_ok() {
                    out.add(&bytes);
                }
                return Err(error.into());
            }
        }
    }
    Ok(None)
}

/// A connection of [`TlsServer`] or [`TlsConnector`](crate::TlsConnector), or the end of a pair.
#[derive(Debug)]
pub struct TlsConn(pub(crate) Place);

impl StreamService for TlsServer {
    type Conn = TlsConn;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> TlsConn {
        TlsConn(self.0.on_open(stream))
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, conn: &mut TlsConn, data: &mut [u8]) -> usize {
        self.0.on_data(stream, &mut conn.0, data)
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, conn: &mut TlsConn) {
        self.0.on_writable(stream, &mut conn.0);
    }

    fn on_eof(&mut self, stream: &mut Stream<'_>, conn: &mut TlsConn) {
        self.0.on_eof(stream, &mut conn.0);
    }

    fn on_timer(&mut self, stream: &mut Stream<'_>, conn: &mut TlsConn, key: u64) {
        self.0.on_timer(stream, &mut conn.0, key);
    }

    fn on_message(&mut self, stream: &mut Stream<'_>, conn: &mut TlsConn, message: Message) {
        self.0.on_message(stream, &mut conn.0, message);
    }

    fn on_drain(&mut self, stream: &mut Stream<'_>, conn: &mut TlsConn) {
        self.0.on_drain(stream, &mut conn.0);
    }

    fn on_listener_lost(&mut self, context: &mut Context<'_>, listener: ListenerId, error: io::Error) {
        // The service that it was made with: whom a closure would have chosen nobody knows.
        let _ = context.lose_listener_for(self.0.side.inner, listener, error);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, conn: TlsConn, reason: CloseReason) {
        self.0.on_close(context, id, conn.0, reason);
    }
}
