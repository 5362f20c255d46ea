//! The loop as its owner sees it.

use std::any::{Any, TypeId};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use sockeye_endpoint::{Endpoint, Transport, UnixName};
#[cfg(feature = "resolver")]
use sockeye_resolver::dns::Server;
use sockeye_socket::{Op, OpError};

use crate::backend::Backend;
use crate::connect::{ConnectId, ConnectRequest};
use crate::context::Context;
use crate::core::message::{MessageSocket, MessageWire};
use crate::core::scratch::Scratch;
use crate::core::{Core, duty};
use crate::driver::{ForDatagrams, ForPackets, Messages, Streams};
use crate::host::Host;
#[cfg(feature = "resolver")]
use crate::id::StreamServiceId;
use crate::id::{AnyId, DatagramId, ListenerId, ServiceHandle, StreamId};
use crate::kernel::Mio;
#[cfg(feature = "resolver")]
use crate::names::{Asker, NameSource, Way};
use crate::options::{
    DatagramOptions, ListenOptions, LoopOptions, PacketOptions, PairOptions, StreamOptions,
    UnixDatagramOptions, UnixListenOptions,
};
use crate::outcome::PairError;
use crate::remote::Remote;
use crate::service::{DatagramService, PacketService, StreamService};
use crate::stats::Stats;
use crate::time::Time;

mod link;

/// An event loop: services of many types on one thread, on the kernel or in a simulation.
///
/// ```
/// use std::time::Duration;
/// use sockeye_event_loop::{EventLoop, ListenOptions, Stream, StreamOptions, StreamService};
///
/// struct Echo;
///
/// impl StreamService for Echo {
///     type Conn = ();
///     fn on_open(&mut self, _: &mut Stream<'_>) {}
///     fn on_data(&mut self, stream: &mut Stream<'_>, _: &mut (), data: &mut [u8]) -> usize {
///         // What is not taken is offered again when there is room.
///         if stream.write(data).is_taken() { data.len() } else { 0 }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = EventLoop::new()?;
/// let echo = events.add_stream_service(Echo, StreamOptions::default());
/// let listener = events.listen(echo, "127.0.0.1:0".parse()?, &ListenOptions::default())?;
/// println!("listening on {}", events.local_addr(listener)?);
/// events.turn(Some(Duration::ZERO))?; // or `events.run()?`
/// # Ok(())
/// # }
/// ```
pub struct EventLoop<B: Backend = Mio> {
    events: B::Events,
    core: Core<B>,
}

/// What registers a socket with the poller.
const READINESS: Op = Op::Set("readiness");

impl EventLoop<Mio> {
    /// A loop on the kernel.
    ///
    /// # Errors
    /// `EMFILE` and its like: a poller, a waker and a timer need a descriptor each.
    pub fn new() -> io::Result<Self> {
        Self::with_options(LoopOptions::default())
    }

    /// A loop on the kernel, with sizes and budgets of one's own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_options(options: LoopOptions) -> io::Result<Self> {
        Ok(Self::with_backend(Mio::new()?, options))
    }

    /// Calls `handler` on the loop for each of these signals, instead of what they do by default. Signals that come in a
    /// burst may be merged by the kernel.
    ///
    /// One handler and one set of signals a loop: a second call replaces both. Signals that only the first call has named
    /// are then ignored for the rest of the process, as what they did by default does not come back.
    ///
    /// # Errors
    /// `InvalidInput` for signals that cannot be caught (SIGKILL, SIGSTOP) or must not (SIGSEGV and its like).
    #[cfg(feature = "signals")]
    pub fn on_signals(
        &mut self,
        signals: &[i32],
        handler: impl FnMut(&mut Context<'_>, i32) + 'static,
    ) -> io::Result<()> {
        self.core.inner.backend.listen_for_signals(signals)?;
        self.core.on_signal = Some(Box::new(handler));
        Ok(())
    }

    /// Listens, and hands each connection to `take` as it comes: for an acceptor that feeds other loops. The
    /// listener's `max_connections` does not hold: what was handed over is not ours to count.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    #[cfg(feature = "tcp")]
    pub fn hand_over(
        &mut self,
        at: SocketAddr,
        options: &ListenOptions,
        take: impl FnMut(sockeye_tcp_stream::TcpStream, SocketAddr) + 'static,
    ) -> Result<ListenerId, OpError> {
        self.core
            .inner
            .hand_over_now(at, options, Box::new(take))
            .map(ListenerId)
    }

    /// Gives a TCP connection that stands already to a service of this loop.
    #[cfg(feature = "tcp")]
    pub fn adopt<S>(
        &mut self,
        service: ServiceHandle<S>,
        stream: sockeye_tcp_stream::TcpStream,
        peer: SocketAddr,
    ) {
        self.core.adopt(service.index, stream, peer);
    }

    /// Gives a connection of a Unix socket that stands already to a service of this loop, such as one end of
    /// [`UnixStream::pair`](sockeye_unix::UnixStream::pair), whose other end a child process has. It has to be nonblocking,
    /// as those of `sockeye-unix` are. The service's `on_open` follows in the next turn; what the service keeps by the id
    /// can be written down before it, by [`with`](Self::with).
    ///
    /// `None`, and the socket is closed, where the loop has as many connections as it may have.
    #[cfg(feature = "unix")]
    pub fn adopt_unix<S>(
        &mut self,
        service: ServiceHandle<S>,
        stream: sockeye_unix::UnixStream,
    ) -> Option<StreamId> {
        self.core.adopt_unix(service.index, stream).map(StreamId)
    }
}

impl AsFd for EventLoop<Mio> {
    /// Readable when [`turn`](Self::turn) has something to do: so that this loop can be part of another. Before
    /// waiting for it, call `turn` with a zero timeout until it says that nothing is left.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.inner.backend.as_fd()
    }
}

impl<B: Backend> EventLoop<B> {
    /// A loop in the world of a backend.
    #[must_use]
    pub fn with_backend(backend: B, options: LoopOptions) -> Self {
        let events = backend.events(options.events_per_turn);
        #[cfg_attr(
            not(feature = "resolver"),
            expect(unused_mut, reason = "only names change it")
        )]
        let mut core = Core::new(backend, options);
        #[cfg(feature = "resolver")]
        core.add_names();
        Self { events, core }
    }

    /// Chooses who answers for names from now on; lookups under way are asked anew. Before it is called: [`NameSource::Auto`],
    /// which in a simulation has no name server. The page of [`names`](crate::names) has an example.
    #[cfg(feature = "resolver")]
    pub fn set_names(&mut self, source: NameSource) {
        self.between_turns();
        self.core.set_names(source);
    }

    /// Who is asked for the addresses of a target now, and why.
    #[cfg(feature = "resolver")]
    pub fn name_way(&mut self) -> Way {
        self.between_turns();
        self.core.name_way()
    }

    /// Says how servers of [`Carrier::Tls`](sockeye_resolver::dns::Carrier) are connected to: `connect` begins a connection
    /// for the service that it is given, or says `None`. `TlsConnector::carry_names` of `sockeye-tls` does it; without any,
    /// such servers cannot be reached.
    #[cfg(feature = "resolver")]
    pub fn set_dns_tls(
        &mut self,
        connect: impl FnMut(&mut Context<'_>, StreamServiceId, &Server, ConnectRequest) -> Option<ConnectId>
        + 'static,
    ) {
        self.core.inner.names.borrow_mut().set_tls(Box::new(connect));
    }

    /// What ended the last connection to a name server that failed, if one did since this was last asked: of a server that
    /// [cannot be reached](sockeye_resolver::dns::QueryError::Unreachable) it says why, such as the error of a TLS handshake.
    /// Of 64 servers at most.
    #[cfg(feature = "resolver")]
    pub fn name_server_fault(&mut self, server: SocketAddr) -> Option<io::Error> {
        self.core.inner.names.borrow_mut().take_fault(server)
    }

    /// Looks a name up by the client of the DNS, for the owner of the loop: [`next_answer`](Self::next_answer) returns the
    /// results. A service uses [`Context::resolve`].
    ///
    /// # Errors
    /// [`StartError`](sockeye_resolver::dns::StartError) if too many lookups are under way, or 65,536 results were not taken.
    #[cfg(feature = "resolver")]
    pub fn resolve(
        &mut self,
        request: sockeye_resolver::dns::Request,
    ) -> Result<sockeye_resolver::dns::LookupId, sockeye_resolver::dns::StartError> {
        self.between_turns();
        self.core.inner.resolve_now(request, Asker::Owner)
    }

    /// Gives a lookup up: no result of it follows. `false` if it was over.
    #[cfg(feature = "resolver")]
    pub fn cancel_resolve(&mut self, id: sockeye_resolver::dns::LookupId) -> bool {
        self.between_turns();
        self.core.inner.cancel_resolve_now(id)
    }

    /// The next result of a lookup that was begun by [`resolve`](Self::resolve).
    #[cfg(feature = "resolver")]
    pub fn next_answer(&mut self) -> Option<sockeye_resolver::dns::Event> {
        self.core.inner.names.borrow_mut().next_answer()
    }

    /// What the client of the DNS has done so far.
    #[cfg(feature = "resolver")]
    #[must_use]
    pub fn dns_stats(&self) -> sockeye_resolver::dns::DnsStats {
        self.core.inner.names.borrow().stats()
    }

    /// Forgets the answers that the client of the DNS has kept.
    #[cfg(feature = "resolver")]
    pub fn clear_dns_cache(&mut self) {
        self.core.inner.names.borrow_mut().clear_cache();
    }

    /// Adds a service for streams. Listeners and connects name it by the handle.
    ///
    /// # Panics
    /// Beyond 65,534 services on one loop.
    pub fn add_stream_service<S: StreamService>(
        &mut self,
        service: S,
        options: StreamOptions,
    ) -> ServiceHandle<S> {
        let driver = Box::new(Streams::new(service));
        ServiceHandle::new(self.core.add_streams(driver, options, Some(TypeId::of::<S>())))
    }

    /// Adds a service for datagram sockets.
    ///
    /// # Panics
    /// Beyond 65,534 services on one loop.
    pub fn add_datagram_service<S: DatagramService>(&mut self, service: S) -> ServiceHandle<S> {
        let driver = Box::new(Messages(ForDatagrams(service)));
        ServiceHandle::new(self.core.add_datagrams(driver, TypeId::of::<S>()))
    }

    /// Adds a service for packet sockets.
    ///
    /// # Panics
    /// Beyond 65,534 services on one loop.
    pub fn add_packet_service<S: PacketService>(&mut self, service: S) -> ServiceHandle<S> {
        let driver = Box::new(Messages(ForPackets(service)));
        ServiceHandle::new(self.core.add_streams(driver, StreamOptions::default(), None))
    }

    /// Listens for connections of a service. At the path of a Unix socket: [`listen_unix`](Self::listen_unix).
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    pub fn listen<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        at: SocketAddr,
        options: &ListenOptions,
    ) -> Result<ListenerId, OpError> {
        self.core.inner.listen(service.index, at, options).map(ListenerId)
    }

    /// Listens at the name of a Unix socket for connections of a service.
    ///
    /// # Errors
    /// The operation that failed, at which name, and why; `Unsupported` without the feature `unix`.
    pub fn listen_unix<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        at: &UnixName,
        options: &UnixListenOptions,
    ) -> Result<ListenerId, OpError> {
        let listener = self.core.inner.listen_unix(service.index, at, options);
        listener.map(ListenerId)
    }

    /// Stops listening. Connections that were accepted stay.
    pub fn close_listener(&mut self, listener: ListenerId) {
        self.core.inner.close_listener(listener.0);
    }

    /// Connects, for a service: its `on_open` or `on_connect_error` follows.
    pub fn connect<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        request: ConnectRequest,
    ) -> ConnectId {
        self.between_turns();
        self.core.inner.connect(service.index, request)
    }

    /// Makes a pair: two ends inside the loop, one for each service. See [`Context::pair`](crate::Context::pair).
    ///
    /// # Errors
    /// As there.
    pub fn pair<A: StreamService, C: StreamService>(
        &mut self,
        first: ServiceHandle<A>,
        second: ServiceHandle<C>,
        options: &PairOptions,
    ) -> Result<(StreamId, StreamId), PairError> {
        self.between_turns();
        let [one, two] = self.core.inner.pair_now(first.key(), second.key(), options)?;
        Ok((StreamId(one), StreamId(two)))
    }

    /// Opens a datagram socket for a service.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why.
    pub fn bind<S: DatagramService>(
        &mut self,
        service: ServiceHandle<S>,
        at: SocketAddr,
        options: &DatagramOptions,
    ) -> Result<DatagramId, OpError> {
        self.between_turns();
        let io = self.core.inner.backend.bind(at, options)?;
        let socket = MessageSocket::new(MessageWire::Datagram(io), options.max_queue);
        let added = self.core.add_socket(socket, service.index);
        added
            .map(DatagramId)
            .map_err(|error| OpError::new(READINESS, Transport::Udp, error).with_local(Endpoint::udp(at)))
    }

    /// Opens a Unix socket of datagrams for a service, which is the same as for UDP: addresses of `100::/64` stand for the
    /// names of its peers, and [`Datagrams::unix_name`](crate::Datagrams::unix_name) tells them.
    ///
    /// # Errors
    /// The operation that failed, at which name, and why; `Unsupported` without the feature `unix`.
    pub fn bind_unix<S: DatagramService>(
        &mut self,
        service: ServiceHandle<S>,
        at: &UnixName,
        options: &UnixDatagramOptions,
    ) -> Result<DatagramId, OpError> {
        self.between_turns();
        let io = self.core.inner.backend.bind_unix(at, options)?;
        let socket = MessageSocket::new(MessageWire::Datagram(io), options.max_queue);
        let added = self.core.add_socket(socket, service.index);
        added
            .map(DatagramId)
            .map_err(|error| OpError::unix(READINESS, error).with_local_name(*at))
    }

    /// Opens a raw IP or ICMP socket for a service.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why; `PermissionDenied` names the capability.
    pub fn open_packet<S: PacketService>(
        &mut self,
        service: ServiceHandle<S>,
        options: &PacketOptions,
    ) -> Result<DatagramId, OpError> {
        self.between_turns();
        let io = self.core.inner.backend.open_packet(options)?;
        let socket = MessageSocket::new(MessageWire::Packet(io), options.max_queue);
        let at = SocketAddr::new(options.local, 0);
        let added = self.core.add_socket(socket, service.index);
        added
            .map(DatagramId)
            .map_err(|error| OpError::new(READINESS, Transport::Udp, error).with_local(Endpoint::udp(at)))
    }

    /// The address of a listener, a connection, a datagram or a packet socket.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `NotConnected` if it is gone.
    pub fn local_addr(&self, of: impl Into<AnyId>) -> io::Result<SocketAddr> {
        self.core.inner.local_addr(of.into().0)
    }

    /// The name of a listener or a connection that is a Unix socket.
    ///
    /// # Errors
    /// `Unsupported` of any other; `NotConnected` if it is gone.
    pub fn local_unix(&self, of: impl Into<AnyId>) -> io::Result<UnixName> {
        self.core.inner.local_unix(of.into().0)
    }

    /// One turn: waits until something is ready, at most `timeout` (`None`: for as long as it takes), and handles
    /// it within the budgets. Returns at once when work is left from the turn before.
    ///
    /// # Errors
    /// What the poller says; the loop is of no use then. Errors of sockets go to their services.
    ///
    /// # Panics
    /// With a panic of a callback, under [`PanicPolicy::Propagate`](crate::PanicPolicy).
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.core.turn(&mut self.events, timeout)
    }

    /// Turns until [`Context::stop`], [`Remote::stop`] or the end of a drain.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    ///
    /// # Panics
    /// As [`turn`](Self::turn).
    pub fn run(&mut self) -> io::Result<()> {
        self.core.run(&mut self.events)
    }

    /// Ends in order: listeners close, each connection gets what had arrived and then `on_drain`, which closes it
    /// by default. Returns when all are gone, at the latest after `within`, when the rest is reset.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    ///
    /// # Panics
    /// As [`turn`](Self::turn).
    pub fn drain(&mut self, within: Duration) -> io::Result<()> {
        self.between_turns();
        self.core.drain(within);
        while !self.core.is_drained() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Begins what [`drain`](Self::drain) does and returns; `run` ends when it is over.
    pub fn start_drain(&mut self, within: Duration) {
        self.between_turns();
        self.core.drain(within);
    }

    /// Whether a stop was asked for and not yet heeded by [`run`](Self::run).
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.core.inner.shared.has(duty::STOP)
    }

    /// Whether a turn would return at once: work is left from the turn before.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let shared = &self.core.inner.shared;
        !shared.ready.is_empty()
            || !shared.pending.is_empty()
            || shared.has(duty::NOW)
            || !shared.pairs.is_empty()
    }

    /// Exchanges the buffers of this loop for others: for loops that take turns in one thread, as those of a simulation do.
    /// Between turns a loop has nothing in them.
    pub fn exchange_scratch(&mut self, scratch: &mut Scratch) {
        self.core.exchange_scratch(scratch);
    }

    /// When the next timer is due, if any is set.
    #[must_use]
    pub fn next_timer(&self) -> Option<Time> {
        self.core.inner.shared.timers.next()
    }

    /// A handle for other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote {
            queue: std::sync::Arc::clone(&self.core.remote),
        }
    }

    /// What the loop has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Host::stats(&self.core.inner)
    }

    /// Streams that are open now, connects in progress included.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.core.inner.shared.open_streams
    }

    /// Timers that are set now, the loop's own included.
    #[must_use]
    pub fn timers(&self) -> usize {
        self.core.inner.shared.timers.len()
    }

    /// The clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.core.inner.backend.now()
    }

    /// A service's state, between turns.
    pub fn service<S: 'static>(&mut self, service: ServiceHandle<S>) -> Option<&mut S> {
        let driver = self.core.drivers.get_mut(usize::from(service.index))?;
        let state: &mut dyn Any = driver.service();
        state.downcast_mut()
    }

    /// Runs something with a service's state and the loop, between turns.
    pub fn with<S: 'static, R>(
        &mut self,
        service: ServiceHandle<S>,
        action: impl FnOnce(&mut S, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.between_turns();
        let driver = self.core.drivers.get_mut(usize::from(service.index))?;
        let state = driver.service().downcast_mut::<S>()?;
        Some(action(
            state,
            &mut Context::new(&mut self.core.inner, service.index),
        ))
    }

    /// Between turns the time of the last one is old: it is read anew when somebody asks.
    fn between_turns(&mut self) {
        self.core.inner.shared.now_is_fresh = false;
    }

    /// The backend: a simulation has more to say than the trait.
    pub fn backend(&mut self) -> &mut B {
        &mut self.core.inner.backend
    }
}

impl<B: Backend> Drop for EventLoop<B> {
    /// Every connection hears [`CloseReason::LoopEnded`](crate::CloseReason::LoopEnded).
    fn drop(&mut self) {
        self.core.remote.end();
        self.core.end();
    }
}

impl<B: Backend> fmt::Debug for EventLoop<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("open_streams", &self.open_streams())
            .field("services", &self.core.drivers.len())
            .field("timers", &self.timers())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_turns_the_clock_is_read_anew() {
        let mut events = EventLoop::new().unwrap();
        let service = events.add_datagram_service(Silent);
        let first = events.with(service, |_, context| context.now()).unwrap();
        let until = first + Duration::from_millis(2);
        while events.now() < until {}
        let second = events.with(service, |_, context| context.now()).unwrap();
        assert!(second >= until, "{second:?} is the time of {first:?}");
    }

    struct Silent;

    impl DatagramService for Silent {
        fn on_datagram(&mut self, _: &mut crate::Datagrams<'_>, _: crate::Datagram<'_>) {}
    }
}
