//! [`TlsConnector`]: TLS for connections that are made.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error};
use sockeye_event_loop::backend::Backend;
use sockeye_event_loop::{
    ConnectFailure, ConnectFault, ConnectId, ConnectRequest, Context, EventLoop, PairError, Peer, PeerName,
    ServiceHandle, Stream, StreamId, StreamOptions, StreamServiceId, SwitchError, Time,
};

use crate::carrier::{Carrier, HandshakeLimits, Side};
use crate::engine::{Connection, Engine, Outgoing};
use crate::error::TlsError;
use crate::info::TlsInfo;
use crate::stats::TlsCounters;

/// Makes connections under TLS for the services of a loop.
///
/// A service connects through it as it would connect by itself: `on_open` follows once the handshake is complete, with the
/// tag of the request and the address of the server, or `on_connect_error`. A handshake that came to nothing is a
/// [`ConnectFault::Failed`] whose error is a [`TlsError`]. The connector is for services of the loop that it was made with; a
/// clone is the same connector.
///
/// ```no_run
/// use rustls::pki_types::ServerName;
/// use sockeye_event_loop::{ConnectRequest, Context, ServiceHandle, StreamService};
/// use sockeye_tls::TlsConnector;
///
/// fn connect<S: StreamService>(context: &mut Context<'_>, tls: &TlsConnector, own: ServiceHandle<S>) {
///     let request = ConnectRequest::new(([192, 0, 2, 1], 443).into()).tag(7);
///     if let Ok(name) = ServerName::try_from("example.org") {
///         let _ = tls.connect(context, own, name, request);
///     }
/// }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    preamble: Arc<[u8]>,
    jobs: Rc<RefCell<Jobs>>,
    handle: ServiceHandle<Carrier<Client>>,
}

#[derive(Default)]
struct Jobs {
    last: u64,
    /// Connects under way, by the number that they were given.
    connects: HashMap<u64, Job>,
    /// Connections that stand and are handed over.
    handed: HashMap<StreamId, Job>,
}

/// What to do with a connection.
#[derive(Clone)]
struct Job {
    config: Arc<ClientConfig>,
    /// Bytes in clear before the handshake.
    preamble: Arc<[u8]>,
    name: ServerName<'static>,
    inner: StreamServiceId,
    /// What the service inside called it.
    tag: u64,
    /// When the handshake has to be complete, if the request says so.
    by: Option<Time>,
}

/// How a [`TlsConnector`] is.
#[derive(Clone, Debug, Default)]
pub struct ConnectorOptions {
    /// Bounds on handshakes.
    pub limits: HandshakeLimits,
    /// Counts into these.
    pub counters: TlsCounters,
    /// Of the connections themselves.
    pub stream: StreamOptions,
}

impl TlsConnector {
    /// A connector for the services of `events`.
    pub fn new<B: Backend>(
        events: &mut EventLoop<B>,
        config: impl Into<Arc<ClientConfig>>,
        options: ConnectorOptions,
    ) -> Self {
        let jobs = Rc::new(RefCell::new(Jobs::default()));
        let mut carrier = Carrier::new(Client(Rc::clone(&jobs)));
        carrier.limits = options.limits;
        carrier.counters = options.counters;
        Self {
            config: config.into(),
            preamble: Arc::default(),
            jobs,
            handle: events.add_stream_service(carrier, options.stream),
        }
    }

    /// The same connector with another configuration: other roots, a client certificate, other protocols.
    #[must_use]
    pub fn with_config(&self, config: impl Into<Arc<ClientConfig>>) -> Self {
        Self {
            config: config.into(),
            ..self.clone()
        }
    }

    /// The same connector, which sends these bytes in clear before the handshake of each connection that it makes, such as a
    /// PROXY header. Empty bytes are none. They have no part in [`start`](Self::start): who has a connection writes to it
    /// before.
    ///
    /// They are written at once, so that there can be no more of them than the connection queues ([`ConnectorOptions::stream`]); a
    /// connect with more fails.
    #[must_use]
    pub fn with_preamble(&self, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            preamble: bytes.into(),
            ..self.clone()
        }
    }

    /// Connects, and offers TLS to the server of that name, for the service `inner`. A deadline of the request is for the
    /// connect and the handshake together; that of [`HandshakeLimits`] holds besides.
    ///
    /// # Errors
    /// [`PairError::NoSuchService`] if the connector is of another loop.
    pub fn connect(
        &self,
        context: &mut Context<'_>,
        inner: impl Into<StreamServiceId>,
        name: ServerName<'static>,
        request: ConnectRequest,
    ) -> Result<ConnectId, PairError> {
        let job = Job {
            config: Arc::clone(&self.config),
            preamble: Arc::clone(&self.preamble),
            name,
            inner: inner.into(),
            tag: request.tagged(),
            by: request.limited_to().map(|within| context.now() + within),
        };
        let mut jobs = self.jobs.borrow_mut();
        jobs.last += 1;
        let number = jobs.last;
        let id = context.connect_for(self.handle, request.tag(number))?;
        jobs.connects.insert(number, job);
        Ok(id)
    }

    /// Offers TLS on a connection that stands, as after STARTTLS: it is [switched](Stream::switch_to) to TLS, and the service
    /// `inner` opens when the handshake is complete, with the same tag. Nothing that the server has sent may be
    /// left unread before: it would be taken for TLS.
    ///
    /// # Errors
    /// As [`Stream::switch_to`].
    pub fn start(
        &self,
        stream: &mut Stream<'_>,
        inner: impl Into<StreamServiceId>,
        name: ServerName<'static>,
    ) -> Result<(), SwitchError> {
        let job = Job {
            config: Arc::clone(&self.config),
            preamble: Arc::default(),
            name,
            inner: inner.into(),
            tag: stream.tag(),
            by: None,
        };
        stream.switch_to(self.handle)?;
        self.jobs.borrow_mut().handed.insert(stream.id(), job);
        Ok(())
    }
}

#[cfg(feature = "resolver")]
impl TlsConnector {
    /// Carries the loop's questions to the name servers that are asked over TLS (RFC 7858), which are those with
    /// `Carrier::Tls`. A server has to show a certificate for its `tls_name`, or for its address if it has none.
    pub fn carry_names<B: Backend>(self, events: &mut EventLoop<B>) {
        events.set_dns_tls(move |context, inner, server, request| {
            let name = match &server.tls_name {
                Some(name) => ServerName::try_from(name.as_str().trim_end_matches('.').to_owned()).ok()?,
                None => ServerName::from(server.address.ip()),
            };
            self.connect(context, inner, name, request).ok()
        });
    }
}

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConnector")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// The side that connects.
pub(crate) struct Client(Rc<RefCell<Jobs>>);

/// What is kept of a connection.
pub(crate) struct Kept {
    inner: StreamServiceId,
    tag: u64,
    peer: Option<PeerName>,
    name: String,
    by: Option<Time>,
}

impl Side for Client {
    type Kept = Kept;

    fn own(context: &Context<'_>) -> Option<StreamServiceId> {
        context.handle::<Carrier<Self>>().map(Into::into)
    }

    fn open(&mut self, stream: &mut Stream<'_>) -> Result<(Option<Box<Engine>>, Kept), TlsError> {
        let mut jobs = self.0.borrow_mut();
        let handed = jobs.handed.remove(&stream.id());
        let job = handed.or_else(|| jobs.connects.remove(&stream.tag()));
        let job = job.ok_or(TlsError::Refused)?;
        let name = job.name.to_str().into_owned();
        let kept = Kept {
            inner: job.inner,
            tag: job.tag,
            peer: match stream.peer() {
                Some(Peer::Ip(address)) => Some(PeerName::Ip(address)),
                Some(Peer::Unix { name, .. }) => Some(PeerName::Unix(name)),
                _ => None,
            },
            name,
            by: job.by,
        };
        drop(jobs);
        let begun = UnbufferedClientConnection::new(job.config, job.name).map_err(TlsError::from);
        let begun = begun.and_then(|connection| {
            if job.preamble.is_empty() || stream.write(&job.preamble).is_taken() {
                Ok(connection)
            } else {
                let why = "more bytes before the handshake than a connection queues";
                Err(Error::General(why.to_owned()).into())
            }
        });
        match begun {
            Ok(connection) => Ok((Some(Box::new(Engine::new(Connection::Client(connection)))), kept)),
            Err(error) => {
                let id = stream.id();
                self.failed(&mut stream.context(), &kept, id, &error);
                Err(error)
            }
        }
    }

    fn hello(&mut self, _: &mut Kept, _: &[u8], _: &mut Outgoing) -> Result<Option<Box<Engine>>, TlsError> {
        Ok(None)
    }

    fn deadline(&self, kept: &Kept) -> Option<Time> {
        kept.by
    }

    fn server_name(&self, kept: &Kept) -> Option<String> {
        Some(kept.name.clone())
    }

    fn inner(&mut self, kept: &Kept, _: &TlsInfo) -> Option<(StreamServiceId, Option<u64>)> {
        Some((kept.inner, Some(kept.tag)))
    }

    fn failed(&mut self, context: &mut Context<'_>, kept: &Kept, _: StreamId, error: &TlsError) {
        let attempt = |peer| (peer, error.clone().into());
        let failure = ConnectFailure {
            tag: kept.tag,
            attempts: kept.peer.into_iter().map(attempt).collect(),
            cause: ConnectFault::Failed(error.clone().into()),
        };
        // The service is there: it was when the connect began.
        let _ = context.fail_connect_for(kept.inner, failure);
    }

    fn connect_failed(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let job = self.0.borrow_mut().connects.remove(&failure.tag);
        if let Some(job) = job {
            let failure = ConnectFailure {
                tag: job.tag,
                ..failure
            };
            let _ = context.fail_connect_for(job.inner, failure);
        }
    }
}
