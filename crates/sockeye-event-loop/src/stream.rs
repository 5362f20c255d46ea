//! The handle through which a service acts on a connection.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::gather::Gather;
use crate::host::{Due, Host};
use crate::id::{ListenerId, StreamId, TimerId, Token};
use crate::options::{Deadlines, StreamOption, Watermarks};
use crate::outcome::{Identity, Message, Peer, Sent};
use crate::time::Time;

/// A connection, while one of the loop's callbacks runs: its own, or another that was looked up by id.
///
/// Everything here acts at once and answers truthfully; callbacks that it causes on other connections wait
/// until the present one has returned.
pub struct Stream<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) token: Token,
    /// What the callback writes is gathered here; `None` of a connection that was looked up by id.
    out: Option<&'a mut Gather>,
}

impl<'a> Stream<'a> {
    #[inline]
    pub(crate) fn new(host: &'a mut dyn Host, token: Token) -> Self {
        Self {
            host,
            token,
            out: None,
        }
    }

    #[inline]
    pub(crate) fn of_callback(host: &'a mut dyn Host, out: &'a mut Gather, token: Token) -> Self {
        Self {
            host,
            token,
            out: Some(out),
        }
    }

    /// The loop.
    #[cfg(feature = "resolver")]
    pub(crate) fn host(&mut self) -> &mut dyn Host {
        self.settle();
        &mut *self.host
    }

    /// Writes what was gathered, before anything that has to come after it.
    fn settle(&mut self) {
        if let Some(out) = &mut self.out
            && !out.bytes().is_empty()
        {
            // Taken when it was gathered, and nothing was queued before it: it is written or queued now.
            let _ = self.host.send(self.token, out.bytes());
            out.clear();
        }
    }

    /// As [`settle`](Self::settle), and nothing is gathered from here on: others may queue something.
    pub(crate) fn settle_for_good(&mut self) {
        self.settle();
        if let Some(out) = &mut self.out {
            out.close();
        }
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> StreamId {
        StreamId(self.token)
    }

    /// The number that the connect was given, or 0 on an accepted connection.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.host.tag(self.token)
    }

    /// The listener that it was accepted through; of an end of a pair, that of the connection that it is like
    /// ([`PairOptions::first_like`](crate::PairOptions::first_like)). `None` of a connection that was not accepted, and once
    /// the listener is closed.
    #[must_use]
    pub fn listener(&self) -> Option<ListenerId> {
        self.host.listener_of(self.token).map(ListenerId)
    }

    /// The other side's address, where it is one of IP: [`peer`](Self::peer) knows the others too.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.host.peer_addr(self.token)
    }

    /// Who is at the other side, however it is reached. `None` when the connection is gone.
    #[must_use]
    pub fn peer(&self) -> Option<Peer> {
        self.host.peer(self.token)
    }

    /// This side's address.
    ///
    /// # Errors
    /// What `getsockname(2)` says; `NotConnected` when the connection is gone, `Unsupported` of a Unix socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.host.local_addr(self.token)
    }

    /// Has this connection answer `peer`, `peer_addr`, `local_addr` and `local_unix` with these from now on, also after a
    /// [`switch_to`](Self::switch_to), and of ends of pairs that are made to be like it: what a service does that has
    /// learnt whom a connection was relayed for. The socket itself stays as it is.
    pub fn answer_as(&mut self, identity: Identity) {
        self.host.answer_as(self.token, identity);
    }

    /// Attaches what a service knows of this connection for those that get it later: by
    /// [`switch_to`](Self::switch_to), or as an end of a pair that is made to be like it. One value of a type; another one
    /// takes its place.
    pub fn attach<T: Any>(&mut self, value: Rc<T>) {
        self.host.attach(self.token, value);
    }

    /// The value of that type that a service has [attached](Self::attach).
    #[must_use]
    pub fn attached<T: Any>(&self) -> Option<Rc<T>> {
        let values = self.host.attached(self.token).iter();
        values.cloned().find_map(|value| value.downcast().ok())
    }

    /// Sends bytes: all of them are taken, or none. See [`Sent`].
    #[inline]
    pub fn write(&mut self, data: &[u8]) -> Sent {
        if let Some(out) = &mut self.out
            && out.push(data)
        {
            return Sent::Sent;
        }
        self.write_now(data)
    }

    fn write_now(&mut self, data: &[u8]) -> Sent {
        self.settle();
        let sent = self.host.send(self.token, data);
        if sent != Sent::Sent {
            // Something waits: what follows has to wait behind it.
            self.settle_for_good();
        }
        sent
    }

    /// Sends bytes that many connections share; what has to wait is not copied.
    pub fn write_shared(&mut self, data: &Arc<[u8]>) -> Sent {
        self.settle_for_good();
        self.host.send_shared(self.token, data)
    }

    /// Sends `len` bytes of a file from `offset`, after everything written before and before everything
    /// written later, by `sendfile(2)` where the backend has it.
    ///
    /// A file may be of any length: `Watermarks::max_write` does not bound it, as it takes no memory. What is left of it counts
    /// for [`queued`](Self::queued) and the watermarks as bytes in memory do: whoever has more to send after a long file asks
    /// for an `on_writable`, or is called when a write was [`Sent::Full`].
    pub fn send_file(&mut self, file: &Arc<File>, offset: u64, len: u64) -> Sent {
        self.settle_for_good();
        self.host.send_file(self.token, file, offset, len)
    }

    /// Bytes written and not yet taken by the kernel, with what is left of files.
    #[must_use]
    pub fn queued(&self) -> usize {
        let gathered = if let Some(out) = &self.out {
            out.bytes().len()
        } else {
            0
        };
        self.host.queued(self.token).saturating_add(gathered)
    }

    /// Asks for an `on_writable` once the queue is at or below the low watermark: soon, if it is already.
    pub fn notify_writable(&mut self) {
        self.host.notify_writable(self.token);
    }

    /// Says, from `on_data`, how many bytes it takes to go on, counted from the first unconsumed one: it is not called
    /// again before so many are there, or the peer has ended. A hint: it saves calls, and makes reads as long as what is
    /// awaited. It holds until `on_data` is called again, and no further than `Watermarks::max_tail`.
    pub fn want(&mut self, bytes: usize) {
        if let Some(out) = &mut self.out {
            out.want(bytes);
        }
    }

    /// Whether it is time to handle data: not paused, not closing, the queue below the high watermark. A service
    /// that handles several messages in one `on_data` asks after each, and leaves the rest unconsumed.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.host.is_reading(self.token)
    }

    /// Stops reading. What the peer sends fills the kernel's buffer and then stops the peer.
    pub fn pause(&mut self) {
        self.host.pause(self.token);
    }

    /// Reads again, beginning with what was kept.
    pub fn resume(&mut self) {
        self.host.resume(self.token);
    }

    /// Sends FIN once the queue is empty, and goes on reading. Nothing can be written after it.
    pub fn shutdown_write(&mut self) {
        self.settle_for_good();
        self.host.shutdown_write(self.token);
    }

    /// Closes in order: sends what is queued, then FIN, waits for the peer's end or the close deadline. No
    /// callback but `on_close` follows.
    pub fn close(&mut self) {
        self.settle_for_good();
        self.host.close(self.token);
    }

    /// Resets the connection: what is queued is gone, the peer sees RST. `on_close` follows.
    pub fn abort(&mut self) {
        if let Some(out) = &mut self.out {
            out.clear();
            out.close();
        }
        self.host.abort(self.token);
    }

    /// As [`abort`](Self::abort), for who carries others: the other end of a pair hears `error` in place of ECONNRESET. As of
    /// any reset it is told at once, also while it is paused.
    pub fn abort_with(&mut self, error: io::Error) {
        if let Some(out) = &mut self.out {
            out.clear();
            out.close();
        }
        self.host.abort_with(self.token, error);
    }

    /// As [`shutdown_write`](Self::shutdown_write), for who carries others: once the other end of a pair has read what was
    /// written, it hears `error` in place of an end. So what had arrived is not lost, and is not taken for the whole.
    pub fn shutdown_write_with(&mut self, error: io::Error) {
        self.settle_for_good();
        self.host.shutdown_write_with(self.token, error);
    }

    /// Whether its service has closed it, and it is not over yet.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.host.is_closing(self.token)
    }

    /// Relays this connection and another one, bytes both ways with backpressure, by splice where both are
    /// TCP sockets of the kernel. Of callbacks only `on_relay_eof`, `on_relayed` and `on_close` follow on either. `false`
    /// if one of them is closing, joined already or this very connection.
    pub fn join(&mut self, other: StreamId) -> bool {
        self.settle_for_good();
        self.host.join(self.token, other.0)
    }

    /// Sets a timer of this connection: `on_timer` with `key`, no earlier than `after` from now.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        let due = Due::Stream {
            token: self.token,
            key,
            owner: self.host.owner(self.token),
        };
        self.host.set_timer_after(after, due)
    }

    /// Cancels a timer; `false` if it has fired or was cancelled.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        self.host.cancel_timer(timer)
    }

    /// Replaces the deadlines of this connection; they count from now.
    pub fn set_deadlines(&mut self, deadlines: Deadlines) {
        self.host.set_deadlines(self.token, deadlines);
    }

    /// Replaces the memory bounds of this connection. `max_tail` stays within the service's.
    pub fn set_watermarks(&mut self, watermarks: Watermarks) {
        self.settle();
        self.host.set_watermarks(self.token, watermarks);
        if let Some(out) = &mut self.out
            && watermarks.is_tight()
        {
            out.close();
        }
    }

    /// Sets a socket option.
    ///
    /// # Errors
    /// What `setsockopt(2)` says; `Unsupported` where the backend has no such option.
    pub fn set_option(&mut self, option: &StreamOption) -> io::Result<()> {
        self.settle();
        self.host.set_stream_option(self.token, option)
    }

    /// The TCP socket, for what the loop does not offer: `None` in a simulation. The loop reads, writes and
    /// closes it; a caller only asks and sets.
    #[cfg(feature = "tcp")]
    pub fn tcp(&mut self) -> Option<&sockeye_tcp_stream::TcpStream> {
        self.settle();
        self.host.tcp(self.token)
    }

    /// The Unix socket, for what the loop does not offer, such as passing descriptors: `None` where it is none of the
    /// kernel's. The loop reads, writes and closes it; a caller only asks, sets, and sends what goes beside the stream.
    #[cfg(feature = "unix")]
    pub fn unix(&mut self) -> Option<&sockeye_unix::UnixStream> {
        self.settle();
        self.host.unix(self.token)
    }

    /// Takes the TCP socket off the loop; `on_close` follows with [`CloseReason::Detached`](crate::CloseReason).
    /// `None`, and nothing happens, in a simulation, or with output queued. Bytes that were
    /// offered and not consumed are lost to the new owner: detach from a callback that has consumed them.
    #[cfg(feature = "tcp")]
    pub fn detach(&mut self) -> Option<sockeye_tcp_stream::TcpStream> {
        self.settle_for_good();
        self.host.detach(self.token)
    }

    /// The clock.
    pub fn now(&mut self) -> Time {
        self.host.now()
    }

    /// A random number, from the seed in a simulation. Not for keys.
    pub fn random(&mut self) -> u64 {
        self.host.random()
    }

    /// Another connection of the loop, of whatever service. `None` if it is gone, or this one.
    pub fn other(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.settle_for_good();
        (id.0 != self.token && self.host.is_stream(id.0)).then(|| Stream::new(&mut *self.host, id.0))
    }

    /// Sends a message to a connection: its `on_message` follows. `false` if it is gone.
    pub fn send_message(&mut self, to: StreamId, message: Message) -> bool {
        self.host.message(to.0, message)
    }

    /// What belongs to the loop and not to one connection: connects, listeners, service timers.
    pub fn context(&mut self) -> Context<'_> {
        self.settle_for_good();
        let service = self.host.service_of(self.token).unwrap_or(u16::MAX);
        Context::new(&mut *self.host, service)
    }
}

impl Context<'_> {
    /// A connection of the loop, of whatever service. `None` if it is gone.
    pub fn stream(&mut self, id: StreamId) -> Option<Stream<'_>> {
        self.host
            .is_stream(id.0)
            .then(|| Stream::new(&mut *self.host, id.0))
    }
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.id())
            .field("peer", &self.peer_addr())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}
