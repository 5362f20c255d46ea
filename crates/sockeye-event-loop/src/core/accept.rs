//! Listeners: accepting within a budget, limits, and what to do when descriptors run out.
//!
//! An edge-triggered listener stays silent after a failed accept although connections wait. So a listener
//! that stopped is remembered, and tried again when a descriptor of this loop becomes free, or after a
//! pause, whichever is first.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use sockeye_endpoint::{Endpoint, Transport, UnixName};
use sockeye_socket::{Op, OpError};

use super::link::state;
#[cfg(feature = "tcp")]
use super::listener::HandOver;
use super::listener::Listener;
use super::table::{Entry, Socket};
use super::{Core, Inner, Pending};
#[cfg(feature = "tcp")]
use crate::backend::StreamIo;
use crate::backend::{Backend, ListenerIo, SocketRef};
use crate::host::Due;
use crate::id::Token;
use crate::options::{ListenOptions, UnixListenOptions};
use crate::trace;

/// What registers a socket with the poller.
const READINESS: Op = Op::Set("readiness");

/// Failed accepts in a row after which accepting pauses.
const MAX_FAILURES: u32 = 16;

/// What an accept that failed means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// That connection is gone, or a signal came: the next one.
    Next,
    /// Nothing waits.
    Empty,
    /// Descriptors or memory are used up: later.
    BackOff,
    /// The listener itself is of no use any more.
    Fatal,
}

fn classify(error: &io::Error) -> Fault {
    use sockeye_socket::AcceptFault;
    match AcceptFault::of(error) {
        AcceptFault::WouldBlock => Fault::Empty,
        AcceptFault::Retry => Fault::Next,
        AcceptFault::BackOff => Fault::BackOff,
        _ => Fault::Fatal,
    }
}

impl<B: Backend> Core<B> {
    /// A listener is readable, or has been left so.
    pub(super) fn accept_event(&mut self, token: Token) {
        let mut budget = self.inner.options.accept_budget;
        loop {
            let has_place = self.inner.connections() < self.inner.options.max_connections;
            let has_memory = !self.inner.shared.memory.is_full();
            let Some(Entry {
                link,
                socket: Socket::Listener(listener),
            }) = self.inner.table.get_mut(token)
            else {
                return;
            };
            link.set(state::READABLE);
            let room = (listener.apart || has_place) && has_memory;
            if !room || listener.open >= listener.max {
                return self.inner.wait_for_place(token);
            }
            if budget == 0 {
                return self.inner.relist(token);
            }
            budget -= 1;
            let outcome = listener.io.accept();
            match &outcome {
                Err(error) if classify(error) != Fault::Empty => {
                    self.inner.shared.stats.accept_errors += 1;
                    listener.failures += 1;
                }
                _ => listener.failures = 0,
            }
            match outcome {
                #[cfg(feature = "tcp")]
                Ok((stream, peer)) if listener.hand_over.is_some() => {
                    if let (Some(take), Ok(stream), Some(peer)) =
                        (&mut listener.hand_over, stream.into_tcp(), peer)
                    {
                        take(stream, peer);
                        self.inner.shared.stats.handed_over += 1;
                    }
                }
                Ok((stream, peer)) => {
                    listener.open += 1;
                    let (service, apart) = (link.service, listener.apart);
                    self.accepted(token, (stream, peer), service, apart);
                }
                Err(error) => match classify(&error) {
                    // Errors of one connection do not come without end: a firewall or a security module refuses each.
                    Fault::Next if listener.failures % MAX_FAILURES == 0 => {
                        return self.inner.back_off(token);
                    }
                    Fault::Next => {}
                    Fault::Empty => return link.clear(state::READABLE),
                    Fault::BackOff => return self.inner.back_off(token),
                    Fault::Fatal => {
                        let service = link.service;
                        trace::listener_failed(token, &error);
                        self.inner.close_listener_now(token);
                        self.inner.shared.stats.listeners_lost += 1;
                        let lost = Pending::ListenerLost(service, token, error);
                        return self.inner.shared.pending.push_back(lost);
                    }
                },
            }
        }
    }

    fn accepted(
        &mut self,
        listener: Token,
        (stream, peer): (B::Stream, Option<SocketAddr>),
        service: u16,
        apart: bool,
    ) {
        match self.inner.admit(stream, service) {
            Some(token) => {
                if let Some(link) = self.inner.table.link_mut(token) {
                    link.peer = peer;
                    link.listener = listener.index();
                    if apart {
                        link.set(state::APART);
                        self.inner.shared.open_apart += 1;
                    }
                }
                self.inner.shared.stats.accepted += 1;
                trace::accepted(token, peer);
                self.open(token);
            }
            None => {
                // The poller has no room (ENOSPC, ENOMEM): this connection is lost, the next may not be.
                if let Some(Entry {
                    socket: Socket::Listener(listener),
                    ..
                }) = self.inner.table.get_mut(listener)
                {
                    listener.open -= 1;
                    self.inner.shared.stats.accept_errors += 1;
                }
                self.inner.back_off(listener);
            }
        }
    }
}

impl<B: Backend> Inner<B> {
    pub(super) fn listen_now(
        &mut self,
        service: u16,
        at: SocketAddr,
        options: &ListenOptions,
    ) -> Result<Token, OpError> {
        let io = self.backend.listen(at, options)?;
        self.add_listener(service, io, (options.max_connections, options.apart))
            .map_err(|error| OpError::new(READINESS, Transport::Tcp, error).with_local(Endpoint::tcp(at)))
    }

    pub(super) fn listen_unix_now(
        &mut self,
        service: u16,
        at: &UnixName,
        options: &UnixListenOptions,
    ) -> Result<Token, OpError> {
        let io = self.backend.listen_unix(at, options)?;
        self.add_listener(service, io, (options.max_connections, options.apart))
            .map_err(|error| OpError::unix(READINESS, error).with_local_name(*at))
    }

    pub(super) fn adopt_listener_now(
        &mut self,
        service: u16,
        socket: OwnedFd,
        max: usize,
    ) -> Result<Token, OpError> {
        let io = self.backend.adopt_listener(socket)?;
        self.add_listener(service, io, (max, false))
            .map_err(|error| OpError::new(READINESS, Transport::Tcp, error))
    }

    /// `max` and `apart` as in [`ListenOptions`].
    fn add_listener(
        &mut self,
        service: u16,
        io: B::Listener,
        (max, apart): (usize, bool),
    ) -> io::Result<Token> {
        let listener = Box::new(Listener {
            io,
            open: 0,
            max,
            apart,
            failures: 0,
            #[cfg(feature = "tcp")]
            hand_over: None,
        });
        let full = || io::Error::from(io::ErrorKind::OutOfMemory);
        let token = self
            .table
            .insert(Socket::Listener(listener), service)
            .ok_or_else(full)?;
        if let Some(Entry {
            socket: Socket::Listener(listener),
            ..
        }) = self.table.get_mut(token)
            && let Err(error) = self
                .backend
                .register(SocketRef::Listener(&mut listener.io), token)
        {
            self.table.remove(token);
            return Err(error);
        }
        Ok(token)
    }

    /// A listener whose connections somebody else takes.
    #[cfg(feature = "tcp")]
    pub(crate) fn hand_over_now(
        &mut self,
        at: SocketAddr,
        options: &ListenOptions,
        take: HandOver,
    ) -> Result<Token, OpError> {
        let token = self.listen_now(super::NO_SERVICE, at, options)?;
        if let Some(Entry {
            socket: Socket::Listener(listener),
            ..
        }) = self.table.get_mut(token)
        {
            listener.hand_over = Some(take);
        }
        Ok(token)
    }

    pub(super) fn close_listener_now(&mut self, token: Token) {
        if let Some(Entry {
            socket: Socket::Listener(_),
            ..
        }) = self.table.get(token)
        {
            self.shared.waiting_listeners.retain(|&waiting| waiting != token);
            self.table.remove(token);
            // Its connections stay; whoever takes its place must not be given theirs back.
            for entry in &mut self.table.entries {
                if entry.link.listener == token.index() {
                    entry.link.listener = super::link::NO_LISTENER;
                }
            }
        }
    }

    /// At a limit: the backlog keeps what comes until a connection ends.
    fn wait_for_place(&mut self, token: Token) {
        if !self.shared.waiting_listeners.contains(&token) {
            self.shared.waiting_listeners.push(token);
        }
    }

    /// Out of descriptors or memory: tried again after a pause, or when one of ours becomes free.
    fn back_off(&mut self, token: Token) {
        self.shared.stats.accept_back_offs += 1;
        trace::backed_off(token);
        self.wait_for_place(token);
        if !self.shared.accept_timer {
            self.shared.accept_timer = true;
            let at = self.now() + self.options.accept_back_off;
            self.shared.timers.set(at, Due::Accept);
        }
    }

    /// Puts every listener that waits back to work.
    pub(super) fn wake_listeners(&mut self) {
        for token in std::mem::take(&mut self.shared.waiting_listeners) {
            self.relist(token);
        }
    }
}
