//! Services as the core holds them: behind one trait object each, with the state of their connections.
//!
//! The core crosses this border once for each read and once for each batch of datagrams; everything behind
//! it is compiled for the service's own type.

use std::any::Any;
use std::io;

use slab::Slab;
use sockeye_socket::{QueueEntry, RecvBatch};

use crate::context::Context;
use crate::datagrams::{Datagram, Datagrams};
use crate::frames;
use crate::gather::Gather;
use crate::host::Host;
use crate::id::{DatagramId, ListenerId, StreamId, Token};
use crate::outcome::{CloseReason, ConnectFailure, Message, Relayed, SendFailure};
use crate::service::{DatagramService, FrameService, PacketService, StreamService};
use crate::stream::Stream;

/// No state of a connection.
pub(crate) const NO_CONN: u32 = u32::MAX;

/// What a connection is told, data apart.
pub(crate) enum StreamEvent {
    Writable,
    ReadComplete,
    Eof,
    RelayEof,
    Drain,
    Timer(u64),
    Message(Message),
    Relayed(Relayed),
}

/// What a stream service as a whole is told.
pub(crate) enum ServiceEvent {
    ConnectFailed(ConnectFailure),
    ListenerLost(ListenerId, io::Error),
    Timer(u64),
    #[cfg(feature = "resolver")]
    Answered(Box<sockeye_resolver::dns::Event>),
}

/// A service as the core holds it: one trait object for every kind, so that the fast path has nothing to tell
/// apart. What a kind does not do is never asked of it.
pub(crate) trait Driver: StreamDriver + MessageDriver {
    fn service(&mut self) -> &mut dyn Any;
}

/// A stream service and its connections.
pub(crate) trait StreamDriver {
    fn open(&mut self, host: &mut dyn Host, out: &mut Gather, token: Token) -> u32;
    fn data(
        &mut self,
        host: &mut dyn Host,
        out: &mut Gather,
        token: Token,
        conn: u32,
        data: &mut [u8],
    ) -> usize;
    fn data_complete(
        &mut self,
        host: &mut dyn Host,
        out: &mut Gather,
        token: Token,
        conn: u32,
        data: &mut [u8],
    ) -> usize;
    fn event(&mut self, host: &mut dyn Host, out: &mut Gather, token: Token, conn: u32, event: StreamEvent);
    fn close(&mut self, host: &mut dyn Host, token: Token, conn: u32, reason: CloseReason);
    fn service_event(&mut self, host: &mut dyn Host, index: u16, event: ServiceEvent);
}

pub(crate) struct Streams<S: StreamService> {
    service: S,
    conns: Slab<S::Conn>,
}

impl<S: StreamService> Streams<S> {
    pub(crate) fn new(service: S) -> Self {
        Self {
            service,
            conns: Slab::new(),
        }
    }
}

impl<S: StreamService> StreamDriver for Streams<S> {
    fn open(&mut self, host: &mut dyn Host, out: &mut Gather, token: Token) -> u32 {
        // The place is taken only once `on_open` has returned: if it panics there is nothing to undo.
        let conn = self.service.on_open(&mut Stream::of_callback(host, out, token));
        u32::try_from(self.conns.insert(conn)).unwrap_or(NO_CONN)
    }

    fn data(
        &mut self,
        host: &mut dyn Host,
        out: &mut Gather,
        token: Token,
        conn: u32,
        data: &mut [u8],
    ) -> usize {
        let Some(conn) = self.conns.get_mut(conn as usize) else {
            return data.len();
        };
        self.service
            .on_data(&mut Stream::of_callback(host, out, token), conn, data)
    }

    fn data_complete(
        &mut self,
        host: &mut dyn Host,
        out: &mut Gather,
        token: Token,
        conn: u32,
        data: &mut [u8],
    ) -> usize {
        let Some(conn) = self.conns.get_mut(conn as usize) else {
            return data.len();
        };
        let mut stream = Stream::of_callback(host, out, token);
        let consumed = self.service.on_data(&mut stream, conn, data);
        self.service.on_read_complete(&mut stream, conn);
        consumed
    }

    fn event(&mut self, host: &mut dyn Host, out: &mut Gather, token: Token, conn: u32, event: StreamEvent) {
        let Some(conn) = self.conns.get_mut(conn as usize) else {
            return;
        };
        let stream = &mut Stream::of_callback(host, out, token);
        match event {
            StreamEvent::Writable => self.service.on_writable(stream, conn),
            StreamEvent::ReadComplete => self.service.on_read_complete(stream, conn),
            StreamEvent::Eof => self.service.on_eof(stream, conn),
            StreamEvent::RelayEof => self.service.on_relay_eof(stream, conn),
            StreamEvent::Drain => self.service.on_drain(stream, conn),
            StreamEvent::Timer(key) => self.service.on_timer(stream, conn, key),
            StreamEvent::Message(message) => self.service.on_message(stream, conn, message),
            StreamEvent::Relayed(relayed) => self.service.on_relayed(conn, relayed),
        }
    }

    fn close(&mut self, host: &mut dyn Host, token: Token, conn: u32, reason: CloseReason) {
        let service = host.service_of(token).unwrap_or(u16::MAX);
        if let Some(conn) = self.conns.try_remove(conn as usize) {
            self.service
                .on_close(&mut Context::new(host, service), StreamId(token), conn, reason);
        }
    }

    fn service_event(&mut self, host: &mut dyn Host, index: u16, event: ServiceEvent) {
        let context = &mut Context::new(host, index);
        match event {
            ServiceEvent::ConnectFailed(failure) => self.service.on_connect_error(context, failure),
            ServiceEvent::ListenerLost(listener, error) => {
                self.service.on_listener_lost(context, listener, error);
            }
            ServiceEvent::Timer(key) => self.service.on_service_timer(context, key),
            #[cfg(feature = "resolver")]
            ServiceEvent::Answered(event) => self.service.on_answer(context, *event),
        }
    }
}

impl<S: StreamService> Driver for Streams<S> {
    fn service(&mut self) -> &mut dyn Any {
        &mut self.service
    }
}

impl<S: StreamService> MessageDriver for Streams<S> {
    fn batch(&mut self, _: &mut dyn Host, _: Token, batch: &mut RecvBatch, next: &mut BatchPlace) {
        next.message = batch.len();
    }

    fn socket_event(&mut self, _: &mut dyn Host, _: Token, _: SocketEvent) {}

    fn socket_closed(&mut self, _: &mut dyn Host, _: Token, _: CloseReason) {}
}

/// What a datagram or packet socket is told, messages apart.
pub(crate) enum SocketEvent {
    Open,
    Writable,
    Error(QueueEntry),
    SendError(SendFailure),
    RecvError(io::Error),
    Timer(u64),
    Message(Message),
    TurnEnd,
    Drain,
}

/// A datagram or packet service.
pub(crate) trait MessageDriver {
    /// Offers the messages of `batch` from place `next` on, counting `next` up before each callback. Stops
    /// early, for the core to send, when the outbox has little room left.
    fn batch(&mut self, host: &mut dyn Host, token: Token, batch: &mut RecvBatch, next: &mut BatchPlace);
    fn socket_event(&mut self, host: &mut dyn Host, token: Token, event: SocketEvent);
    fn socket_closed(&mut self, host: &mut dyn Host, token: Token, reason: CloseReason);
}

/// How far a batch has been offered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchPlace {
    pub(crate) message: usize,
    pub(crate) offset: usize,
    /// Datagrams offered so far.
    pub(crate) datagrams: u64,
}

/// Which trait a service has: the two differ in names only.
pub(crate) trait Receiver: 'static {
    fn receive(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>);
    fn complete(&mut self, socket: &mut Datagrams<'_>);
    fn tell(&mut self, socket: &mut Datagrams<'_>, event: SocketEvent);
    fn closed(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason);
    #[cfg(feature = "resolver")]
    fn answered(&mut self, context: &mut Context<'_>, event: sockeye_resolver::dns::Event);
}

pub(crate) struct ForDatagrams<S>(pub(crate) S);
pub(crate) struct ForPackets<S>(pub(crate) S);
pub(crate) struct ForFrames<S>(pub(crate) S);

impl<S: DatagramService> Receiver for ForDatagrams<S> {
    #[inline]
    fn receive(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.0.on_datagram(socket, datagram);
    }

    fn complete(&mut self, socket: &mut Datagrams<'_>) {
        self.0.on_batch_complete(socket);
    }

    fn closed(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.0.on_close(context, id, reason);
    }

    #[cfg(feature = "resolver")]
    fn answered(&mut self, context: &mut Context<'_>, event: sockeye_resolver::dns::Event) {
        self.0.on_answer(context, event);
    }

    fn tell(&mut self, socket: &mut Datagrams<'_>, event: SocketEvent) {
        match event {
            SocketEvent::Open => self.0.on_open(socket),
            SocketEvent::Writable => self.0.on_writable(socket),
            SocketEvent::Error(error) => self.0.on_error(socket, error),
            SocketEvent::SendError(failure) => self.0.on_send_error(socket, failure),
            SocketEvent::RecvError(error) => self.0.on_recv_error(socket, error),
            SocketEvent::Timer(key) => self.0.on_timer(socket, key),
            SocketEvent::Message(message) => self.0.on_message(socket, message),
            SocketEvent::TurnEnd => self.0.on_turn_end(socket),
            SocketEvent::Drain => self.0.on_drain(socket),
        }
    }
}

impl<S: PacketService> Receiver for ForPackets<S> {
    #[inline]
    fn receive(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        self.0.on_packet(socket, datagram);
    }

    fn complete(&mut self, socket: &mut Datagrams<'_>) {
        self.0.on_batch_complete(socket);
    }

    fn closed(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.0.on_close(context, id, reason);
    }

    #[cfg(feature = "resolver")]
    fn answered(&mut self, context: &mut Context<'_>, event: sockeye_resolver::dns::Event) {
        self.0.on_answer(context, event);
    }

    fn tell(&mut self, socket: &mut Datagrams<'_>, event: SocketEvent) {
        match event {
            SocketEvent::Open => self.0.on_open(socket),
            SocketEvent::Writable => self.0.on_writable(socket),
            SocketEvent::Error(error) => self.0.on_error(socket, error),
            SocketEvent::SendError(failure) => self.0.on_send_error(socket, failure),
            SocketEvent::RecvError(error) => self.0.on_recv_error(socket, error),
            SocketEvent::Timer(key) => self.0.on_timer(socket, key),
            SocketEvent::Message(message) => self.0.on_message(socket, message),
            // These services have no callback for the one, and nothing is carried by them.
            SocketEvent::TurnEnd | SocketEvent::Drain => {}
        }
    }
}

impl<S: FrameService> Receiver for ForFrames<S> {
    #[inline]
    fn receive(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        if let Some(frame) = frames::unpack(datagram.data) {
            self.0.on_frame(socket, frame);
        }
    }

    fn complete(&mut self, socket: &mut Datagrams<'_>) {
        self.0.on_batch_complete(socket);
    }

    fn closed(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        self.0.on_close(context, id, reason);
    }

    #[cfg(feature = "resolver")]
    fn answered(&mut self, _: &mut Context<'_>, _: sockeye_resolver::dns::Event) {}

    fn tell(&mut self, socket: &mut Datagrams<'_>, event: SocketEvent) {
        match event {
            SocketEvent::Open => self.0.on_open(socket),
            SocketEvent::Writable => self.0.on_writable(socket),
            // Nothing is asked for that would come from the error queue.
            SocketEvent::Error(_) => {}
            SocketEvent::SendError(failure) => self.0.on_send_error(socket, failure),
            SocketEvent::RecvError(error) => self.0.on_recv_error(socket, error),
            SocketEvent::Timer(key) => self.0.on_timer(socket, key),
            SocketEvent::Message(message) => self.0.on_message(socket, message),
            // As with packets.
            SocketEvent::TurnEnd | SocketEvent::Drain => {}
        }
    }
}

/// A service with the trait it implements.
pub(crate) struct Messages<R>(pub(crate) R);

impl<R: Receiver + ServiceOf> MessageDriver for Messages<R> {
    fn batch(&mut self, host: &mut dyn Host, token: Token, batch: &mut RecvBatch, next: &mut BatchPlace) {
        while next.message < batch.len() {
            let slot = next.message;
            let Some(incoming) = batch.get(slot) else { return };
            let total = incoming.payload.len();
            let size = incoming.segment_size.unwrap_or(total).max(1);
            let (source, truncated, meta) = (incoming.source, incoming.truncated, incoming.meta);
            loop {
                let start = next.offset;
                let end = (start + size).min(total);
                let last = end == total;
                (next.message, next.offset) = if last { (slot + 1, 0) } else { (slot, end) };
                let data = batch.payload_mut(slot).get_mut(start..end).unwrap_or_default();
                let datagram = Datagram {
                    data,
                    source,
                    truncated,
                    meta,
                };
                next.datagrams += 1;
                let mut socket = Datagrams::new(host, token);
                self.0.receive(&mut socket, datagram);
                if socket.is_closed() {
                    return;
                }
                if last {
                    break;
                }
            }
            // Behind the last one there is no other call that would tell of the end of the batch.
            if host.must_flush() && next.message < batch.len() {
                return;
            }
        }
        self.0.complete(&mut Datagrams::new(host, token));
    }

    fn socket_event(&mut self, host: &mut dyn Host, token: Token, event: SocketEvent) {
        self.0.tell(&mut Datagrams::new(host, token), event);
    }

    fn socket_closed(&mut self, host: &mut dyn Host, token: Token, reason: CloseReason) {
        let service = host.service_of(token).unwrap_or(u16::MAX);
        self.0
            .closed(&mut Context::new(host, service), DatagramId(token), reason);
    }
}

impl<R: Receiver + ServiceOf> Driver for Messages<R> {
    fn service(&mut self) -> &mut dyn Any {
        self.0.service()
    }
}

/// Streams never name a message service: their handles have its type.
impl<R: Receiver> StreamDriver for Messages<R> {
    fn open(&mut self, _: &mut dyn Host, _: &mut Gather, _: Token) -> u32 {
        NO_CONN
    }

    fn data(&mut self, _: &mut dyn Host, _: &mut Gather, _: Token, _: u32, data: &mut [u8]) -> usize {
        data.len()
    }

    fn data_complete(
        &mut self,
        _: &mut dyn Host,
        _: &mut Gather,
        _: Token,
        _: u32,
        data: &mut [u8],
    ) -> usize {
        data.len()
    }

    fn event(&mut self, _: &mut dyn Host, _: &mut Gather, _: Token, _: u32, _: StreamEvent) {}

    fn close(&mut self, _: &mut dyn Host, _: Token, _: u32, _: CloseReason) {}

    fn service_event(&mut self, host: &mut dyn Host, index: u16, event: ServiceEvent) {
        #[cfg(feature = "resolver")]
        if let ServiceEvent::Answered(event) = event {
            self.0.answered(&mut Context::new(host, index), *event);
        }
        #[cfg(not(feature = "resolver"))]
        let _ = (host, index, event);
    }
}

/// Access to the user's service behind its receiver.
pub(crate) trait ServiceOf {
    fn service(&mut self) -> &mut dyn Any;
}

impl<S: 'static> ServiceOf for ForDatagrams<S> {
    fn service(&mut self) -> &mut dyn Any {
        &mut self.0
    }
}

impl<S: 'static> ServiceOf for ForPackets<S> {
    fn service(&mut self) -> &mut dyn Any {
        &mut self.0
    }
}

impl<S: 'static> ServiceOf for ForFrames<S> {
    fn service(&mut self) -> &mut dyn Any {
        &mut self.0
    }
}
