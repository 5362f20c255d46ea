//! What a callback does with another service of its loop, which it names by its handle: connect and listen for it, make a
//! pair with it, give it a connection.

use std::io;
use std::net::SocketAddr;

use sockeye_endpoint::{Endpoint, Transport, UnixName};
use sockeye_socket::{Op, OpError};

use crate::connect::{ConnectId, ConnectRequest};
use crate::context::Context;
use crate::id::{ListenerId, ServiceHandle, StreamId};
use crate::options::{ListenOptions, PairOptions, UnixListenOptions};
use crate::outcome::{PairError, SwitchError};
use crate::service::StreamService;
use crate::stream::Stream;

impl Context<'_> {
    /// The handle of the service whose callback this is, if it is an `S`: so that a service can connect, listen and
    /// make pairs for itself. A service in a codec asks for the type around it.
    #[must_use]
    pub fn handle<S: StreamService>(&self) -> Option<ServiceHandle<S>> {
        let handle = ServiceHandle::new(self.service);
        self.host.has_streams(handle.key()).then_some(handle)
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
            let error = io::Error::new(io::ErrorKind::InvalidInput, PairError::NoSuchService);
            return Err(OpError::new(Op::Listen, Transport::Tcp, error).with_local(Endpoint::tcp(at)));
        }
        self.host.listen(service.index, at, options).map(ListenerId)
    }

    /// Listens at the name of a Unix socket, for another stream service of the loop.
    ///
    /// # Errors
    /// As [`listen_unix`](Self::listen_unix); `InvalidInput` for a handle of another loop.
    pub fn listen_unix_for<S: StreamService>(
        &mut self,
        service: ServiceHandle<S>,
        at: &UnixName,
        options: &UnixListenOptions,
    ) -> Result<ListenerId, OpError> {
        if !self.host.has_streams(service.key()) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, PairError::NoSuchService);
            return Err(OpError::unix(Op::Listen, error).with_local_name(*at));
        }
        self.host.listen_unix(service.index, at, options).map(ListenerId)
    }
}

impl Stream<'_> {
    /// Gives this connection to another service of the loop: once this callback has returned this service hears
    /// `on_close` with [`CloseReason::Switched`](crate::CloseReason), the other one `on_open`, then what was not
    /// consumed and what follows it. Output that waits stays in its order; timers, deadlines and watermarks of this
    /// service hold no longer; what it has [attached](Stream::attach) and has it [answer](Stream::answer_as) stays.
    /// If the connection is closed in this callback too, it stays with this service, which hears of that.
    ///
    /// # Errors
    /// [`SwitchError`]; nothing has happened then.
    pub fn switch_to<S: StreamService>(&mut self, service: ServiceHandle<S>) -> Result<(), SwitchError> {
        self.settle_for_good();
        self.host.switch(self.token, service.key())
    }
}
