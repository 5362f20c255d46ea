//! The loop, as a callback that concerns no single connection sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sockeye_endpoint::UnixName;
use sockeye_socket::OpError;

use crate::connect::{ConnectId, ConnectRequest};
use crate::host::{Due, Host};
use crate::id::{AnyId, DatagramId, ListenerId, StreamId, TimerId, Token};
use crate::options::{ListenOptions, UnixListenOptions};
use crate::outcome::{Message, Sent};
use crate::stats::Stats;
use crate::time::Time;

/// The loop and one of its services, while a callback runs.
pub struct Context<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) service: u16,
    /// The service that answers for names go to.
    #[cfg(feature = "resolver")]
    asker: u16,
}

impl<'a> Context<'a> {
    pub(crate) fn new(host: &'a mut dyn Host, service: u16) -> Self {
        Self {
            host,
            service,
            #[cfg(feature = "resolver")]
            asker: service,
        }
    }

    /// The loop, for a callback of a socket of datagrams: its service has no connections, but asks for names.
    pub(crate) fn of_socket(host: &'a mut dyn Host, token: Token) -> Self {
        #[cfg(feature = "resolver")]
        let asker = host.service_of(token).unwrap_or(u16::MAX);
        #[cfg(not(feature = "resolver"))]
        let _ = token;
        Self {
            host,
            service: u16::MAX,
            #[cfg(feature = "resolver")]
            asker,
        }
    }

    /// The clock.
    pub fn now(&mut self) -> Time {
        self.host.now()
    }

    /// The clock, read anew: [`now`](Self::now) is read once a turn. For those who measure.
    pub fn exact_now(&mut self) -> Time {
        self.host.exact_now()
    }

    /// A random number, from the seed in a simulation. Not for keys.
    pub fn random(&mut self) -> u64 {
        self.host.random()
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

    /// Gives a connect up: `on_connect_error` follows. `false` if it was decided before.
    pub fn cancel_connect(&mut self, id: ConnectId) -> bool {
        self.host.cancel_connect(id)
    }

    /// Looks a name up, for this service: `on_answer` follows once this callback has returned, once for records and twice for
    /// addresses. What is in the cache is answered without a query.
    ///
    /// The loop's own client of the DNS is asked, also where [`NameSource::System`](crate::names::NameSource::System) sends
    /// connects to the system. The page of [`names`](crate::names) has an example.
    ///
    /// # Errors
    /// [`StartError`](sockeye_resolver::dns::StartError) if too many lookups are under way.
    #[cfg(feature = "resolver")]
    pub fn resolve(
        &mut self,
        request: sockeye_resolver::dns::Request,
    ) -> Result<sockeye_resolver::dns::LookupId, sockeye_resolver::dns::StartError> {
        self.host.resolve(self.asker, request)
    }

    /// Cancels a lookup: no `on_answer` follows, except for a result that is queued already. `false` if it was over.
    #[cfg(feature = "resolver")]
    pub fn cancel_resolve(&mut self, id: sockeye_resolver::dns::LookupId) -> bool {
        self.host.cancel_resolve(id)
    }

    /// Listens, for this service.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    pub fn listen(&mut self, at: SocketAddr, options: &ListenOptions) -> Result<ListenerId, OpError> {
        self.host.listen(self.service, at, options).map(ListenerId)
    }

    /// Listens at the name of a Unix socket, for this service.
    ///
    /// # Errors
    /// The operation that failed, at which name, and why; `Unsupported` without the feature `unix`.
    pub fn listen_unix(&mut self, at: &UnixName, options: &UnixListenOptions) -> Result<ListenerId, OpError> {
        self.host.listen_unix(self.service, at, options).map(ListenerId)
    }

    /// Stops listening. Connections that were accepted stay.
    pub fn close_listener(&mut self, id: ListenerId) {
        self.host.close_listener(id.0);
    }

    /// Connections that may be open through a listener at once, from now on; those that are open stay.
    pub fn set_max_connections(&mut self, listener: ListenerId, max: usize) {
        self.host.set_max_connections(listener.0, max);
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

    /// The name of a listener or a connection that is a Unix socket.
    ///
    /// # Errors
    /// `Unsupported` of any other; `NotConnected` if it is gone.
    pub fn local_unix(&self, of: impl Into<AnyId>) -> std::io::Result<UnixName> {
        self.host.local_unix(of.into().0)
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

    /// Whether the loop is ending: nothing new should be begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.host.is_draining()
    }

    /// Asks for an [`on_turn_end`](crate::DatagramService::on_turn_end) of the service of a datagram socket once everything of
    /// this turn has been handled. However often it is asked for, there is one.
    pub fn notify_turn_end(&mut self, socket: DatagramId) {
        self.host.notify_turn_end(socket.0);
    }

    /// Has a drain of the loop wait for this datagram socket too, as it waits for streams, until its deadline, or no longer: for
    /// a service that has something under way that no stream shows.
    pub fn hold_drain(&mut self, socket: DatagramId, on: bool) {
        self.host.hold_drain(socket.0, on);
    }

    /// In a simulation: numbers that follow from its seed, for a library that makes its own randomness of a seed. `None` on the
    /// kernel: there a library has to ask the system, as these are not for keys.
    pub fn simulated_seed(&mut self) -> Option<[u8; 32]> {
        self.host.simulated_seed()
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
