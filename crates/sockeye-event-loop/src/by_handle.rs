//! What a callback does with another service of its loop, which it names by its handle: connect and listen for it, make a
//! pair with it, give it a connection.

use std::io;
use std::net::SocketAddr;

use sockeye_endpoint::{Endpoint, Transport, UnixName};
use sockeye_socket::{Op, OpError};

use crate::connect::{ConnectId, ConnectRequest};
use crate::context::Context;
use crate::datagrams::Datagrams;
use crate::id::{DatagramId, ListenerId, ServiceHandle, StreamId, StreamServiceId};
use crate::options::{DatagramOptions, ListenOptions, PairOptions, UnixListenOptions};
use crate::outcome::{ConnectFailure, PairError, SwitchError};
use crate::service::{DatagramService, StreamService};
use crate::stream::Stream;

const NO_DATAGRAM_SERVICE: &str = "the handle names no datagram service of this loop";

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
    pub fn connect_for(
        &mut self,
        service: impl Into<StreamServiceId>,
        request: ConnectRequest,
    ) -> Result<ConnectId, PairError> {
        let StreamServiceId(service) = service.into();
        if !self.host.has_streams(service) {
            return Err(PairError::NoSuchService);
        }
        Ok(self.host.connect(service.index, request))
    }

    /// Tells another stream service of the loop that a connect of it came to nothing, for who connects on behalf of others:
    /// its `on_connect_error` follows once this callback has returned.
    ///
    /// # Errors
    /// [`PairError::NoSuchService`] for a handle of another loop.
    pub fn fail_connect_for(
        &mut self,
        service: impl Into<StreamServiceId>,
        failure: ConnectFailure,
    ) -> Result<(), PairError> {
        let StreamServiceId(service) = service.into();
        if !self.host.has_streams(service) {
            return Err(PairError::NoSuchService);
        }
        self.host.fail_connect(service.index, failure);
        Ok(())
    }

    /// Tells another stream service of the loop that a listener is of no use any more, for who accepts on behalf of others: its
    /// `on_listener_lost` follows once this callback has returned.
    ///
    /// # Errors
    /// [`PairError::NoSuchService`] for a handle of another loop.
    pub fn lose_listener_for(
        &mut self,
        service: impl Into<StreamServiceId>,
        listener: ListenerId,
        error: io::Error,
    ) -> Result<(), PairError> {
        let StreamServiceId(service) = service.into();
        if !self.host.has_streams(service) {
            return Err(PairError::NoSuchService);
        }
        self.host.lose_listener(service.index, listener.0, error);
        Ok(())
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
    pub fn pair(
        &mut self,
        first: impl Into<StreamServiceId>,
        second: impl Into<StreamServiceId>,
        options: &PairOptions,
    ) -> Result<(StreamId, StreamId), PairError> {
        let [one, two] = self.host.pair(first.into().0, second.into().0, options)?;
        Ok((StreamId(one), StreamId(two)))
    }

    /// Opens a datagram socket for a service of the loop: its `on_open` follows once this callback has returned.
    ///
    /// # Errors
    /// The operation that failed, on which address, and why; `InvalidInput` for a handle of another loop.
    pub fn bind_for<S: DatagramService>(
        &mut self,
        service: ServiceHandle<S>,
        at: SocketAddr,
        options: &DatagramOptions,
    ) -> Result<DatagramId, OpError> {
        if !self.host.has_datagrams(service.key()) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, NO_DATAGRAM_SERVICE);
            return Err(OpError::new(Op::Bind, Transport::Udp, error).with_local(Endpoint::udp(at)));
        }
        self.host.bind(service.index, at, options).map(DatagramId)
    }

    /// Closes a datagram or packet socket: its `on_close` follows.
    pub fn close_datagrams(&mut self, id: DatagramId) {
        self.host.close_socket(id.0);
    }

    /// A datagram or packet socket of the loop; what is sent through it leaves at once.
    pub fn datagrams(&mut self, id: DatagramId) -> Datagrams<'_> {
        Datagrams::new(&mut *self.host, id.0)
    }

    /// Listens, for another stream service of the loop.
    ///
    /// # Errors
    /// As [`listen`](Self::listen); `InvalidInput` for a handle of another loop.
    pub fn listen_for(
        &mut self,
        service: impl Into<StreamServiceId>,
        at: SocketAddr,
        options: &ListenOptions,
    ) -> Result<ListenerId, OpError> {
        let StreamServiceId(service) = service.into();
        if !self.host.has_streams(service) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, PairError::NoSuchService);
            return Err(OpError::new(Op::Listen, Transport::Tcp, error).with_local(Endpoint::tcp(at)));
        }
        self.host.listen(service.index, at, options).map(ListenerId)
    }

    /// Listens at the name of a Unix socket, for another stream service of the loop.
    ///
    /// # Errors
    /// As [`listen_unix`](Self::listen_unix); `InvalidInput` for a handle of another loop.
    pub fn listen_unix_for(
        &mut self,
        service: impl Into<StreamServiceId>,
        at: &UnixName,
        options: &UnixListenOptions,
    ) -> Result<ListenerId, OpError> {
        let StreamServiceId(service) = service.into();
        if !self.host.has_streams(service) {
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
    pub fn switch_to(&mut self, service: impl Into<StreamServiceId>) -> Result<(), SwitchError> {
        self.settle_for_good();
        self.host.switch(self.token, service.into().0)
    }
}
