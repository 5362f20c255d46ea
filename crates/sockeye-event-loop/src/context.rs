//! The loop, as a callback that concerns no single connection sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::{Op, OpError};

use crate::Time;
use crate::connect::{ConnectId, ConnectRequest};
use crate::event_loop::AnyId;
use crate::host::{Due, Host};
use crate::id::{ListenerId, ServiceHandle, StreamId, TimerId};
use crate::options::{ListenOptions, PairOptions};
use crate::service::{Message, PairError, Sent, StreamService};
use crate::stats::Stats;
use crate::stream::Stream;

/// The loop and one of its services, while a callback runs.
pub struct Context<'a> {
    host: &'a mut dyn Host,
    service: u16,
}

impl<'a> Context<'a> {
    pub(crate) fn new(host: &'a mut dyn Host, service: u16) -> Self {
        Self { host, service }
    }

    /// The handle of the service whose callback this is, if it is an `S`: so that a service can connect, listen and
    /// make pairs for itself. A service in a codec asks for the type around it.
    #[must_use]
    pub fn handle<S: StreamService>(&self) -> Option<ServiceHandle<S>> {
        let handle = ServiceHandle::new(self.service);
        self.host.has_streams(handle.key()).then_some(handle)
    }

    /// The clock.
    pub fn now(&mut self) -> Time {
        self.host.now()
    }

    /// A random number, from the seed in a simulation. Not for keys.
    pub fn random(&mut self) -> u64 {
        self.host.random()
    }

    /// A connection of the loop, of whatever service. `None` if it is gone.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.host
            .is_stream(id.0)
            .then(|| Stream::new(&mut *self.host, id.0))
    }

    /// Writes the same bytes to many connections; what has to wait is shared, not copied. Says how many took them.
    pub fn broadcast(&mut self, data: &Arc<[u8]>, to: impl IntoIterator<Item = StreamId>) -> usize {
        to.into_iter()
            .filter(|id| self.host.send_shared(id.0, data).is_taken())
            .count()
    }

    /// Writes to one connection: [`Sent::Gone`] if it is not there.
    pub fn write(&mut self, to: StreamId, data: &[u8]) -> Sent {
        self.host.send(to.0, data)
    }

    /// Sends a message to a connection: its `on_message` follows. `false` if it is gone.
    pub fn send_message(&mut self, to: StreamId, message: Message) -> bool {
        self.host.message(to.0, message)
    }

    /// Connects, for this service: `on_open` or `on_connect_error` follows, with the request's tag.
    pub fn connect(&mut self, request: ConnectRequest) -> ConnectId {
        self.host.connect(self.service, request)
    }

    /// Connects, for another stream service of the loop.
    ///
    /// # Errors
    /// [`PairError::NoSuchService`] for a handle of another loop.
    pub fn connect_for<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        request: ConnectRequest,
    ) -> Result<ConnectId, PairError> {
        if !self.host.has_streams(service.key()) {
            return Err(PairError::NoSuchService);
        }
        Ok(self.host.connect(service.index, request))
    }

    /// Makes a pair: two ends inside the loop, without a socket. What `first` writes to its end is `second`'s
    /// `on_data`, and the other way round; each end is a connection like any other. `on_open` of both follows once
    /// this callback has returned; they can be written to and messaged at once.
    ///
    /// A service that carries others (a cipher, a tunnel) owns the connection and the first end; whoever is carried
    /// gets the second, and never learns of it. When the loop drains, services are told only after the first ends that
    /// they have are gone: what is carried ends before what carries it.
    ///
    /// # Errors
    /// A handle of another loop, a table without a place.
    pub fn pair<A: StreamService, B: StreamService>(
        &mut self,
        first: ServiceHandle<A>,
        second: ServiceHandle<B>,
        options: &PairOptions,
    ) -> Result<(StreamId, StreamId), PairError> {
        let [one, two] = self.host.pair(first.key(), second.key(), options)?;
        Ok((StreamId(one), StreamId(two)))
    }

    /// Gives a connect up: `on_connect_error` follows. `false` if it was decided before.
    pub fn cancel_connect(&mut self, id: ConnectId) -> bool {
        self.host.cancel_connect(id)
    }

    /// Listens, for this service.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    pub fn listen(&mut self, at: SocketAddr, options: &ListenOptions) -> Result<ListenerId, OpError> {
        self.host.listen(self.service, at, options).map(ListenerId)
    }

    /// Listens, for another stream service of the loop.
    ///
    /// # Errors
    /// As [`listen`](Self::listen); `InvalidInput` for a handle of another loop.
    pub fn listen_for<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        at: SocketAddr,
        options: &ListenOptions,
    ) -> Result<ListenerId, OpError> {
        if !self.host.has_streams(service.key()) {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, PairError::NoSuchService);
            return Err(OpError::new(Op::Listen, Transport::Tcp, error).with_local(Endpoint::tcp(at)));
        }
        self.host.listen(service.index, at, options).map(ListenerId)
    }

    /// Stops listening. Connections that were accepted stay.
    pub fn close_listener(&mut self, id: ListenerId) {
        self.host.close_listener(id.0);
    }

    /// Where a listener listens.
    ///
    /// # Errors
    /// `NotConnected` if it is gone.
    pub fn listener_addr(&self, id: ListenerId) -> std::io::Result<SocketAddr> {
        self.host.local_addr(id.0)
    }

    /// The address of a listener, a connection, a datagram or a packet socket: also a way to ask whether it is still there.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `NotConnected` if it is gone.
    pub fn local_addr(&self, of: impl Into<AnyId>) -> std::io::Result<SocketAddr> {
        self.host.local_addr(of.into().0)
    }

    /// Sets a timer of this stream service: `on_service_timer` with `key`, no earlier than `after` from now.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        let due = Due::Service {
            service: self.service,
            key,
        };
        self.host.set_timer_after(after, due)
    }

    /// Cancels a timer; `false` if it has fired or was cancelled.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.host.cancel_timer(timer)
    }

    /// What the loop has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.host.stats()
    }

    /// Ends [`EventLoop::run`](crate::EventLoop::run) after this turn.
    pub fn stop(&mut self) {
        self.host.stop();
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
