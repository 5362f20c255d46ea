//! Datagrams and packets in: batches, the error queue, errors that pass and those that do not.
//!
//! While a batch is offered, what the service sends is recorded, not sent (see `outbox`); then all of it leaves in one
//! go.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use sockeye_endpoint::{Endpoint, Transport};
use sockeye_socket::errno::{EBADF, ENOTSOCK};
use sockeye_socket::{Op, OpError, RecvBatch, SendBatch};

use super::link::{Link, state};
use super::message::{MessageSocket, MessageWire, Report};
use super::table::{Entry, Socket};
use super::{Calling, Core, Inner, Pending, duty};
use crate::backend::{Backend, Readiness};
use crate::driver::{BatchPlace, SocketEvent};
use crate::fault::Fault;
use crate::id::Token;
use crate::options::DatagramOptions;
use crate::outcome::CloseReason;

/// Messages received in one call.
pub(super) const BATCH: usize = 64;
/// Room for one: with GRO the kernel may hand over 64 KiB.
const SLOT: usize = 65_535;
/// Entries taken from the error queue in one turn.
const ERRORS: usize = 256;
/// Receive errors in a row that are about datagrams; after so many the next receive waits.
const MAX_ERRORS: u32 = 16;

/// What an error of a receive is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RecvFault {
    /// Nothing is there.
    Empty,
    /// Something that was sent from here before came back as refused or unreachable: the socket is as it was.
    Datagram,
    /// The system: again later.
    Later,
    /// The descriptor: it never will be better.
    Socket,
}

fn recv_fault(error: &io::Error) -> RecvFault {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
        PermissionDenied, TimedOut,
    };
    match Fault::of(error) {
        Fault::Blocked => RecvFault::Empty,
        Fault::Repeat | Fault::Later => RecvFault::Later,
        Fault::Over => match (error.kind(), error.raw_os_error()) {
            (_, Some(EBADF | ENOTSOCK)) => RecvFault::Socket,
            (
                ConnectionRefused | ConnectionReset | HostUnreachable | NetworkDown | NetworkUnreachable
                | PermissionDenied | TimedOut,
                _,
            ) => RecvFault::Datagram,
            _ => RecvFault::Later,
        },
    }
}

impl<B: Backend> Inner<B> {
    /// Opens a datagram socket from a callback: its service is told once that has returned.
    pub(super) fn bind_now(
        &mut self,
        service: u16,
        at: SocketAddr,
        options: &DatagramOptions,
    ) -> Result<Token, OpError> {
        let io = self.backend.bind(at, options)?;
        let socket = MessageSocket::new(MessageWire::Datagram(io), options.max_queue);
        let token = self.admit_socket(socket, service).map_err(|error| {
            OpError::new(Op::Set("readiness"), Transport::Udp, error).with_local(Endpoint::udp(at))
        })?;
        self.shared.pending.push_back(Pending::SocketOpened(token));
        Ok(token)
    }

    /// Takes over a socket that is bound already, as [`bind_now`](Self::bind_now) opens one.
    pub(super) fn adopt_datagram_now(
        &mut self,
        service: u16,
        socket: OwnedFd,
        options: &DatagramOptions,
    ) -> Result<Token, OpError> {
        let io = self.backend.adopt_datagram(socket, options)?;
        let socket = MessageSocket::new(MessageWire::Datagram(io), options.max_queue);
        let token = self
            .admit_socket(socket, service)
            .map_err(|error| OpError::new(Op::Set("readiness"), Transport::Udp, error))?;
        self.shared.pending.push_back(Pending::SocketOpened(token));
        Ok(token)
    }

    fn admit_socket(&mut self, socket: MessageSocket<B>, service: u16) -> io::Result<Token> {
        let full = || io::Error::from(io::ErrorKind::OutOfMemory);
        let socket = Socket::Message(Box::new(socket));
        let token = self.table.insert(socket, service).ok_or_else(full)?;
        let Some(entry) = self.table.get_mut(token) else {
            return Err(full());
        };
        let registered = match &mut entry.socket {
            Socket::Message(socket) => self.backend.register(socket.io.as_ref(), token),
            _ => Ok(()),
        };
        if let Err(error) = registered {
            self.table.remove(token);
            return Err(error);
        }
        Ok(token)
    }
}

impl<B: Backend> Core<B> {
    /// Takes a socket onto the loop and tells its service.
    pub(crate) fn add_socket(&mut self, socket: MessageSocket<B>, service: u16) -> io::Result<Token> {
        let token = self.inner.admit_socket(socket, service)?;
        self.tell_socket(token, SocketEvent::Open);
        Ok(token)
    }

    /// Something happened on a datagram or packet socket.
    pub(super) fn message_event(&mut self, token: Token, flags: Readiness) {
        if flags.any(Readiness::ERROR) {
            self.take_errors(token);
        }
        if flags.any(Readiness::WRITABLE) {
            self.flush_socket(token);
        }
        // An error that is not in the queue is told by the next call, whichever: a receive, so that it is not
        // taken for the fault of a datagram to be sent.
        if flags.any(Readiness::READABLE.with(Readiness::ERROR)) {
            self.receive(token);
        }
    }

    fn take_errors(&mut self, token: Token) {
        for _ in 0..ERRORS {
            let Some(socket) = self.inner.message_socket(token) else {
                return;
            };
            match socket.io.recv_error() {
                Ok(Some(entry)) => self.tell_socket(token, SocketEvent::Error(entry)),
                Ok(None) => return,
                Err(error) => {
                    self.recv_failed(token, error);
                    return;
                }
            }
        }
        // The queue holds more: no event will say so again.
        self.inner.relist(token);
    }

    fn flush_socket(&mut self, token: Token) {
        let mut report = Report::default();
        let sender = self
            .inner
            .sender
            .get_or_insert_with(|| Box::new(SendBatch::new(BATCH)));
        let Some(Entry {
            socket: Socket::Message(socket),
            ..
        }) = self.inner.table.get_mut(token)
        else {
            return;
        };
        let tell = socket.flush(sender, &mut report) && std::mem::take(&mut socket.notify);
        socket.watch(&mut self.inner.backend, token);
        self.inner.count_messages(token);
        self.report(token, report);
        if tell {
            self.tell_socket(token, SocketEvent::Writable);
        }
    }

    /// Receives batches until there is nothing more, or the turn's share is used up.
    fn receive(&mut self, token: Token) {
        let mut inbox = self
            .inbox
            .take()
            .unwrap_or_else(|| Box::new(RecvBatch::new(BATCH, SLOT)));
        let mut more = true;
        for _ in 0..self.inner.options.datagram_batches {
            let Some(Entry {
                link,
                socket: Socket::Message(socket),
            }) = self.inner.table.get_mut(token)
            else {
                break;
            };
            if link.is(state::HELD) {
                more = false;
                break;
            }
            match socket.io.recv_batch(&mut inbox) {
                Ok(count) => {
                    self.inner.shared.stats.batches += 1;
                    socket.errors = 0;
                    let full = count == inbox.capacity();
                    self.inbox = Some(inbox);
                    self.open_batch = Some((token, BatchPlace::default()));
                    self.finish_batch();
                    let Some(back) = self.inbox.take() else { return };
                    inbox = back;
                    if !full {
                        more = false;
                        break;
                    }
                }
                Err(error) => {
                    self.inbox = Some(inbox);
                    more = self.recv_failed(token, error);
                    let Some(back) = self.inbox.take() else { return };
                    inbox = back;
                    if !more {
                        break;
                    }
                }
            }
        }
        self.inbox = Some(inbox);
        if more {
            self.inner.relist(token);
        }
    }

    /// A receive failed. Whether the next one may follow at once.
    #[cold]
    fn recv_failed(&mut self, token: Token, error: io::Error) -> bool {
        let fault = recv_fault(&error);
        let Some(socket) = self.inner.message_socket(token) else {
            return false;
        };
        match fault {
            RecvFault::Empty => {
                socket.errors = 0;
                false
            }
            RecvFault::Datagram => {
                socket.errors += 1;
                // A refusal is taken away by the call that told it. So many in a row are no refusals.
                let many = socket.errors % MAX_ERRORS == 0;
                if many {
                    self.inner.hold(token);
                }
                self.tell_socket(token, SocketEvent::RecvError(error));
                !many
            }
            RecvFault::Later => {
                self.inner.hold(token);
                self.tell_socket(token, SocketEvent::RecvError(error));
                false
            }
            RecvFault::Socket => {
                self.inner.end_socket(token, CloseReason::Error(error));
                false
            }
        }
    }

    /// Offers what is left of the open batch. After a panic in one of its callbacks it goes on with the next.
    pub(super) fn finish_batch(&mut self) {
        while let Some((token, place)) = self.open_batch {
            let Some(inbox) = &mut self.inbox else { break };
            if place.message >= inbox.len() || self.inner.shared.outbox.closing {
                break;
            }
            let Some(link) = self.inner.message_link(token) else {
                break;
            };
            let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
                break;
            };
            let storage = inbox.storage();
            let arena = (storage.as_ptr().addr(), storage.len());
            self.inner.begin_outbox(token, arena);
            if let Some((_, place)) = &mut self.open_batch {
                let before = *place;
                driver.batch(&mut self.inner, token, inbox, place);
                debug_assert!(before.message != place.message || before.offset != place.offset);
            }
            self.inner.shared.calling = Calling::Nobody;
            let report = self
                .inner
                .flush_outbox(token, self.inbox.as_ref().map_or(&[], |inbox| inbox.storage()));
            self.report(token, report);
        }
        if let Some((token, place)) = self.open_batch.take() {
            self.inner.shared.stats.datagrams_in += place.datagrams;
            // After a panic in its last callback something may still be recorded.
            let report = self
                .inner
                .flush_outbox(token, self.inbox.as_ref().map_or(&[], |inbox| inbox.storage()));
            self.report(token, report);
        }
    }

    /// Tells a socket's service something, and sends what it says to that.
    pub(super) fn tell_socket(&mut self, token: Token, event: SocketEvent) {
        let Some(link) = self.inner.message_link(token) else {
            return;
        };
        let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
            return;
        };
        self.inner.begin_outbox(token, (0, 0));
        driver.socket_event(&mut self.inner, token, event);
        self.inner.shared.calling = Calling::Nobody;
        let report = self.inner.flush_outbox(token, &[]);
        self.report(token, report);
    }

    /// Tells those who have asked that the turn ends. What they ask for in it is for the next turn.
    pub(super) fn run_turn_ends(&mut self) {
        for _ in 0..self.inner.shared.turn_ends.len() {
            let Some(token) = self.inner.shared.turn_ends.pop_front() else {
                break;
            };
            if let Some(socket) = self.inner.message_socket(token) {
                socket.turn_end = false;
            }
            self.tell_socket(token, SocketEvent::TurnEnd);
            self.run_pending();
        }
        if self.inner.shared.turn_ends.is_empty() {
            self.inner.shared.duties &= !duty::TURN_ENDS;
        }
    }

    fn report(&mut self, token: Token, report: Report) {
        self.inner.shared.stats.datagrams_out += report.sent as u64;
        self.inner.shared.stats.send_errors += report.failed.len() as u64;
        for failure in report.failed {
            // Not `tell_socket`: what the service answers to a failure waits for the next flush, so that a
            // failing answer to a failure does not go round and round here.
            let Some(link) = self.inner.message_link(token) else {
                return;
            };
            let Some(driver) = self.drivers.get_mut(usize::from(link.service)) else {
                return;
            };
            self.inner.shared.calling = Calling::Service;
            driver.socket_event(&mut self.inner, token, SocketEvent::SendError(failure));
            self.inner.shared.calling = Calling::Nobody;
        }
    }
}

impl<B: Backend> Core<B> {
    /// A socket is gone: its service's last callback, then the place is free.
    pub(super) fn socket_closed(&mut self, token: Token, reason: CloseReason) {
        let Some(link) = self.inner.table.link(token) else {
            return;
        };
        let service = link.service;
        if let Some(driver) = self.drivers.get_mut(usize::from(service)) {
            self.inner.shared.calling = Calling::Service;
            driver.socket_closed(&mut self.inner, token, reason);
            self.inner.shared.calling = Calling::Nobody;
        }
        self.inner.table.remove(token);
    }
}

impl<B: Backend> Inner<B> {
    /// A drain waits for the socket, or no longer.
    pub(super) fn hold_drain_now(&mut self, token: Token, on: bool) {
        let Some(socket) = self.message_socket(token) else {
            return;
        };
        match (std::mem::replace(&mut socket.holds, on), on) {
            (false, true) => self.shared.holding += 1,
            (true, false) => self.shared.holding -= 1,
            _ => {}
        }
    }

    /// The socket's service is told of the end of this turn, once.
    pub(super) fn notify_turn_end_now(&mut self, token: Token) {
        if let Some(socket) = self.message_socket(token)
            && !std::mem::replace(&mut socket.turn_end, true)
        {
            self.shared.turn_ends.push_back(token);
            self.shared.duties |= duty::TURN_ENDS;
        }
    }

    pub(super) fn message_socket(&mut self, token: Token) -> Option<&mut MessageSocket<B>> {
        match self.table.get_mut(token) {
            Some(Entry {
                socket: Socket::Message(socket),
                ..
            }) => Some(socket),
            _ => None,
        }
    }

    /// Its link, unless the socket is closed: then only `on_close` is still to come.
    fn message_link(&self, token: Token) -> Option<&Link> {
        match self.table.get(token) {
            Some(Entry {
                link,
                socket: Socket::Message(_),
            }) => Some(link),
            _ => None,
        }
    }

    /// Closes the socket now; `on_close` follows.
    pub(super) fn end_socket(&mut self, token: Token, reason: CloseReason) {
        self.hold_drain_now(token, false);
        let Some(entry) = self.table.get_mut(token) else {
            return;
        };
        if let Socket::Message(_) = entry.socket {
            entry.socket = Socket::Vacant;
            self.count_messages(token);
            self.shared
                .pending
                .push_back(Pending::SocketClosed(token, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_about_datagrams_and_only_a_bad_descriptor_ends_a_socket() {
        use sockeye_socket::errno::{
            EAGAIN, ECONNREFUSED, EHOSTUNREACH, EINTR, EMSGSIZE, ENETDOWN, ENOBUFS, ENOMEM, EPERM,
        };
        let of = |errno| recv_fault(&io::Error::from_raw_os_error(errno));
        const EIO: i32 = 5;
        for errno in [ECONNREFUSED, EHOSTUNREACH, ENETDOWN, EPERM] {
            assert_eq!(of(errno), RecvFault::Datagram, "{errno}");
        }
        for errno in [EINTR, ENOBUFS, ENOMEM, EIO, EMSGSIZE] {
            assert_eq!(of(errno), RecvFault::Later, "{errno}");
        }
        for errno in [EBADF, ENOTSOCK] {
            assert_eq!(of(errno), RecvFault::Socket, "{errno}");
        }
        assert_eq!(of(EAGAIN), RecvFault::Empty);
    }
}
