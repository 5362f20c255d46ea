//! The two services that own the sockets of the client.

use sockeye_socket::QueueEntry;

use super::client::{Shared, pump};
use crate::context::Context;
use crate::datagrams::{Datagram, Datagrams};
use crate::id::{DatagramId, StreamId};
use crate::outcome::{CloseReason, ConnectFailure, ConnectFault, SendFailure};
use crate::service::{DatagramService, StreamService};
use crate::stream::Stream;
use crate::time::Time;

/// Datagrams to and from the name servers. Errors of a receive are left alone: the error queue names the server that each of
/// them concerns.
#[derive(Debug)]
pub(crate) struct DnsDatagrams(pub(crate) Shared);

impl DatagramService for DnsDatagrams {
    fn on_datagram(&mut self, socket: &mut Datagrams<'_>, datagram: Datagram<'_>) {
        let now = socket.now().since(Time::ZERO);
        // A cut message reads as one that is malformed; none is longer than what was asked for.
        self.0.borrow_mut().with_socket(socket.id().0, |engine, number| {
            engine.on_datagram(now, number, datagram.source, datagram.data);
        });
    }

    fn on_batch_complete(&mut self, socket: &mut Datagrams<'_>) {
        pump(&self.0, socket.host());
    }

    fn on_error(&mut self, socket: &mut Datagrams<'_>, entry: QueueEntry) {
        if let QueueEntry::Error(error) = entry
            && let Some(server) = error.destination
        {
            let now = socket.now().since(Time::ZERO);
            self.0.borrow_mut().with_socket(socket.id().0, |engine, number| {
                engine.on_unreachable(now, number, server);
            });
            pump(&self.0, socket.host());
        }
    }

    fn on_send_error(&mut self, socket: &mut Datagrams<'_>, failure: SendFailure) {
        if let Some(server) = failure.destination {
            let now = socket.now().since(Time::ZERO);
            self.0.borrow_mut().with_socket(socket.id().0, |engine, number| {
                engine.on_unreachable(now, number, server);
            });
            pump(&self.0, socket.host());
        }
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: DatagramId, reason: CloseReason) {
        let _ = reason;
        let now = context.now();
        self.0.borrow_mut().forget_socket(now, id.0);
        pump(&self.0, context.host);
    }
}

/// Questions and answers by connections; inside of TLS it is the inner service.
#[derive(Debug)]
pub(crate) struct DnsStreams(pub(crate) Shared);

/// A connection to a name server, by its number in the engine.
#[derive(Debug)]
pub(crate) struct DnsLine(Option<u32>);

impl StreamService for DnsStreams {
    type Conn = DnsLine;

    fn on_open(&mut self, stream: &mut Stream<'_>) -> DnsLine {
        let now = stream.now();
        let number = u32::try_from(stream.tag()).unwrap_or(u32::MAX);
        let known = self.0.borrow_mut().opened(now, number, stream.id().0);
        if !known {
            stream.close();
            return DnsLine(None);
        }
        pump(&self.0, stream.host());
        DnsLine(Some(number))
    }

    fn on_data(&mut self, stream: &mut Stream<'_>, line: &mut DnsLine, data: &mut [u8]) -> usize {
        let Some(number) = line.0 else {
            return data.len();
        };
        let now = stream.now();
        let done = self.0.borrow_mut().received(now, number, data);
        pump(&self.0, stream.host());
        done
    }

    fn on_writable(&mut self, stream: &mut Stream<'_>, line: &mut DnsLine) {
        if let Some(number) = line.0 {
            self.0.borrow_mut().writable(stream.host(), number);
        }
    }

    fn on_connect_error(&mut self, context: &mut Context<'_>, failure: ConnectFailure) {
        let now = context.now();
        let number = u32::try_from(failure.tag).unwrap_or(u32::MAX);
        let mut client = self.0.borrow_mut();
        if let ConnectFault::Failed(error) = failure.cause {
            client.keep_fault(number, error);
        }
        client.forget_line(now, number);
        drop(client);
        pump(&self.0, context.host);
    }

    fn on_service_timer(&mut self, context: &mut Context<'_>, key: u64) {
        let _ = key;
        let now = context.now();
        self.0.borrow_mut().timer_fired(now);
        pump(&self.0, context.host);
    }

    fn on_close(&mut self, context: &mut Context<'_>, id: StreamId, line: DnsLine, reason: CloseReason) {
        let _ = id;
        if let Some(number) = line.0 {
            let now = context.now();
            let mut client = self.0.borrow_mut();
            if let CloseReason::Error(error) = reason {
                client.keep_fault(number, error);
            }
            client.forget_line(now, number);
            drop(client);
            pump(&self.0, context.host);
        }
    }
}
